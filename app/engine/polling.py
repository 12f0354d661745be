"""The polling transport of a connection: packets wait here until a poll takes them."""

import asyncio
import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from .outbox import Message
from .packets import ProtocolError
from .websocket import reset, unsent

if TYPE_CHECKING:
    from .connection import Connection

PING, PONG_PROBE, NOOP, CLOSE = Message(b"2"), Message(b"3probe"), Message(b"6"), Message(b"1")
SEPARATOR = "\x1e"
_LARGE_ANSWER = 16_384
_ANSWER_PACKETS = 16
"""Packets that answer one poll. python-engineio's client drops the whole of an answer that has more."""


class Answer:
    """A large answer to a poll, on its way through the HTTP server."""

    __slots__ = ("_left", "_number", "_polling", "_transport")

    def __init__(self, polling: "Polling", transport: asyncio.BaseTransport) -> None:
        self._polling, self._transport = polling, cast(asyncio.WriteTransport, transport)
        self._number = polling.polls
        self._left: int | None = None

    def check(self, _due: float) -> None:
        """Bytes have waited for a while: drop the connection if the client takes none."""
        connection = self._polling.connection
        # Who polls again has read it; what waits on the same transport is then of later answers.
        if self._number != self._polling.polls or connection.closed or self._transport.is_closing():
            return
        left = self._transport.get_write_buffer_size() + unsent(self._transport)
        if self._left is not None and left >= self._left > 0:
            reset(self._transport)
            connection.close("slow reader")
        elif left > 0:
            self._left = left
            connection.server.answers.add(self)


class Polling:
    """What a connection needs only while it polls."""

    __slots__ = ("_transport", "_waiter", "connection", "packets", "polls", "posting", "size")

    def __init__(self, connection: "Connection") -> None:
        self.connection = connection
        self.packets: list[Message] = []
        self.size = 0
        self.polls = 0  # so far
        self.posting = False  # a POST is being read
        self._waiter: asyncio.Future[None] | None = None  # of the poll that waits
        self._transport: asyncio.BaseTransport | None = None

    @property
    def polled(self) -> bool:
        """Whether a poll waits."""
        return self._waiter is not None

    def hold(self, messages: Sequence[Message]) -> None:
        """Keep packets for the next poll, or wake the one that waits."""
        connection = self.connection
        before = self.size
        for message in messages:
            if message.ephemeral and connection.waits:
                connection.server.stats.ephemeral_dropped += 1
                continue
            self.packets.append(message)
            self.size += len(message.plain)
        connection.waits = self.size > connection.server.limits.high_water
        if not connection.grew(before, self.size):
            connection.close("slow reader")
        elif self._waiter is not None:
            self._wake()
        elif self not in connection.server.unpolled:
            connection.server.unpolled.add(self)

    def _wake(self) -> None:
        assert self._waiter is not None
        if self._transport is None or self._transport.is_closing():
            self.connection.close("transport close")  # the poll was aborted: what it would take would be lost
        elif not self._waiter.done():
            self._waiter.set_result(None)

    def release(self, last: Message) -> None:
        """Answer the poll that waits, if any, with this packet alone."""
        if self._waiter is not None:
            self.packets, self.size = [last], 0
            if not self._waiter.done():
                self._waiter.set_result(None)

    def take(self, most: int | None = None) -> list[Message]:
        """All that waits, or so many packets of it."""
        server = self.connection.server
        packets = self.packets[:most]
        del self.packets[:most]
        self.size -= sum([len(packet.plain) for packet in packets])
        server.unpolled.discard(self)
        if self.packets:
            server.unpolled.add(self)
        if self.connection.polling is self and self.size <= server.limits.high_water:
            self.connection.relieved()
        return packets

    def answered(self, transport: asyncio.BaseTransport | None, size: int) -> None:
        """An answer of this size goes out: see to it that the client reads it, if the kernel may not take it whole."""
        if transport is not None and size > _LARGE_ANSWER:
            self.connection.server.answers.add(Answer(self, transport))

    async def poll(self, transport: asyncio.BaseTransport | None) -> str | None:
        """The body that answers a polling GET; None if it must not be there, and has ended the connection."""
        connection = self.connection
        self.polls += 1
        if self._waiter is not None:
            connection.close("transport error")
            return None
        if connection.upgrade_probed:
            return NOOP.text  # what waits goes to the websocket
        if not self.packets:
            self._waiter, self._transport = asyncio.get_running_loop().create_future(), transport
            try:
                await self._waiter
            except asyncio.CancelledError:
                connection.close("transport close")
                raise
            finally:
                self._waiter = self._transport = None
        packets = self.take(_ANSWER_PACKETS)
        return SEPARATOR.join([packet.text for packet in packets]) if packets else NOOP.text

    @staticmethod
    def parse(body: bytes) -> list[str | bytes]:
        """The packets of a polling POST. Raises ProtocolError if one is malformed: then none of them counts."""
        try:
            parts = body.decode().split(SEPARATOR)
        except UnicodeDecodeError as error:
            raise ProtocolError("not UTF-8") from error
        packets: list[str | bytes] = []
        for part in parts:
            if part[:1] == "b":
                try:
                    packets.append(base64.b64decode(part[1:], validate=True))
                except (binascii.Error, ValueError) as error:
                    raise ProtocolError("bad base64") from error
            elif part[:1] == "4" or part in ("1", "3"):
                packets.append(part)
            else:
                raise ProtocolError("bad Engine.IO packet")
        return packets
