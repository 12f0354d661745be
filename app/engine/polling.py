"""The polling transport of a connection: packets wait here until a poll takes them.

Stalled is who does not act. A client that does not poll is given the time that its last answer takes on a slow link,
and that of an upgrade; one that does not read an answer is dropped with it.
"""

import asyncio
import base64
import binascii
from collections.abc import Sequence
from typing import Protocol, cast

from .backlog import Backlog
from .deadlines import Deadlines
from .limits import Limits
from .messages import NOOP, Message
from .packets import ProtocolError
from .reasons import SLOW_READER, TRANSPORT_CLOSE, TRANSPORT_ERROR, Reason
from .stats import Stats
from .transport import reset, taken, unsent

SEPARATOR = "\x1e"
_LARGE_ANSWER = 16_384
_ANSWER_PACKETS = 16
"""Packets that answer one poll. python-engineio's client drops the whole of an answer that has more."""


class Owner(Protocol):
    """The connection that polls."""

    closed: bool
    backlog: Backlog

    @property
    def upgrade_probed(self) -> bool:
        """Whether a websocket is about to take over."""

    def close(self, reason: Reason) -> None:
        """End the connection."""


class Polls:
    """What the polling connections of a server share: limits and deadlines."""

    def __init__(self, limits: Limits, stats: Stats) -> None:
        self.limits, self.stats = limits, stats
        self.unpolled = Deadlines[Polling](limits.stall_timeout, lambda polling, _: polling.check_polled(), stats)
        self._answers = Deadlines[Answer](limits.stall_timeout, lambda answer, _: self._check(answer), stats)
        self._latest: dict[asyncio.BaseTransport, Answer] = {}

    def __len__(self) -> int:
        """What is being watched."""
        return len(self.unpolled) + len(self._answers)

    def answered(self, polling: "Polling", transport: asyncio.BaseTransport, size: int) -> None:
        """An answer of this size goes out: see to it that the client reads it, if the kernel may not take it whole."""
        if size > _LARGE_ANSWER:
            answer = self._latest[transport] = Answer(polling, cast(asyncio.WriteTransport, transport))
            self._answers.add(answer)

    def asked(self, transport: asyncio.BaseTransport | None) -> None:
        """A request has come over this connection: its client has read the answer before."""
        if transport is not None:
            self._latest.pop(transport, None)

    def stop(self) -> None:
        self.unpolled.clear()
        self._answers.clear()
        self._latest.clear()

    def _check(self, answer: "Answer") -> None:
        transport = answer.transport
        if self._latest.get(transport) is not answer:
            return
        if transport.is_closing() or not unsent(transport):
            del self._latest[transport]
        elif answer.progressed():
            self._answers.add(answer)
        else:
            del self._latest[transport]
            reset(transport)
            answer.polling.owner.close(SLOW_READER)


class Answer:
    """A large answer to a poll, on its way through the HTTP server."""

    __slots__ = ("_taken", "polling", "transport")

    def __init__(self, polling: "Polling", transport: asyncio.WriteTransport) -> None:
        self.polling, self.transport = polling, transport
        self._taken = taken(transport).size

    def progressed(self) -> bool:
        """Whether the client has taken anything since this was last asked."""
        before, self._taken = self._taken, taken(self.transport).size
        return self._taken > before


class Polling:
    """What a connection needs only while it polls."""

    __slots__ = ("_all", "_ended", "_transport", "_waiter", "owner", "packets", "posting", "size")

    def __init__(self, owner: Owner, shared: Polls) -> None:
        self.owner, self._all = owner, shared
        self.packets: list[Message] = []
        self.size = 0
        self.posting = False  # a POST is being read
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None  # of the poll that waits
        self._transport: asyncio.BaseTransport | None = None

    @property
    def polled(self) -> bool:
        """Whether a poll waits."""
        return self._waiter is not None

    def hold(self, messages: Sequence[Message]) -> None:
        """Keep packets for the next poll, or wake the one that waits."""
        owner = self.owner
        before = self.size
        for message in messages:
            if message.ephemeral and owner.backlog.waits:
                self._all.stats.ephemeral_dropped += 1
                continue
            self.packets.append(message)
            self.size += len(message.plain)
        owner.backlog.waits = self.size > self._all.limits.high_water
        if not owner.backlog.grew(before, self.size):
            owner.close(SLOW_READER)
        elif self._waiter is not None:
            self._wake()
        elif self not in self._all.unpolled:
            self._all.unpolled.add(self)

    def check_polled(self) -> None:
        """Packets have waited for a while, and no poll has come."""
        self.owner.close(SLOW_READER)

    def _wake(self) -> None:
        assert self._waiter is not None
        if self._transport is None or self._transport.is_closing():
            self.owner.close(TRANSPORT_CLOSE)  # the poll was aborted: what it would take would be lost
        elif not self._waiter.done():
            self._waiter.set_result(None)

    def end(self, last: Message) -> None:
        """Answer the poll that waits, if any, with this packet alone. Only the first call counts."""
        if self._ended:
            return
        self._ended = True
        self._all.unpolled.discard(self)
        if self._waiter is not None:
            self.packets, self.size = [last], 0
            if not self._waiter.done():
                self._waiter.set_result(None)

    def take(self, most: int | None = None) -> list[Message]:
        """All that waits, or so many packets of it."""
        packets = self.packets[:most]
        del self.packets[:most]
        self.size -= sum([len(packet.plain) for packet in packets])
        self._all.unpolled.discard(self)
        if self.packets:
            self._all.unpolled.add(self)
        return packets

    def answered(self, transport: asyncio.BaseTransport | None, size: int) -> None:
        """An answer of this size goes out over this transport."""
        if transport is not None:
            self._all.answered(self, transport, size)

    async def poll(self, transport: asyncio.BaseTransport | None) -> str | None:
        """The body that answers a polling GET; None if it must not be there, and has ended the connection."""
        owner = self.owner
        self._all.asked(transport)
        if self._waiter is not None:
            owner.close(TRANSPORT_ERROR)
            return None
        if owner.upgrade_probed:
            return NOOP.text  # what waits goes to the websocket
        if not self.packets:
            self._waiter, self._transport = asyncio.get_running_loop().create_future(), transport
            try:
                await self._waiter
            except asyncio.CancelledError:
                owner.close(TRANSPORT_CLOSE)
                raise
            finally:
                self._waiter = self._transport = None
        packets = self.take(_ANSWER_PACKETS)
        if not self._ended and self.size <= self._all.limits.high_water:
            owner.backlog.relieved()
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
