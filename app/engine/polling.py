"""The polling transport of a connection, which keeps packets until a poll takes them.

A client is stalled if it does not act: it gets the time that its last answer takes on a slow link, and the time of an
upgrade. A client that does not read an answer is dropped.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol, cast

from .backlog import Backlog
from .deadlines import Deadlines
from .limits import Limits
from .messages import NOOP, Message
from .packets import ProtocolError, from_base64
from .reasons import SLOW_READER, TRANSPORT_CLOSE, Reason
from .stats import Stats
from .transport import SLOW_LINK, Pace, reset, unsent

SEPARATOR = "\x1e"
_LARGE_ANSWER = 16_384
_ANSWER_PACKETS = 16
"""Maximum number of packets in an answer. python-engineio's client discards answers with more."""
_ANSWER_BYTES = 65_536
"""An answer ends with the packet that reaches this size, because a client answers no ping while it reads."""
_PROBE_POLL = 0.1
"""Seconds that a poll waits during an upgrade, because the client stops polling only after an answer."""


class Owner(Protocol):
    """The connection that polls."""

    closed: bool
    backlog: Backlog

    @property
    def upgrading(self) -> object | None:
        """The WebSocket of an upgrade that has started."""

    @property
    def upgrade_probed(self) -> bool:
        """Whether the client has probed it, so that the upgrade is about to complete."""

    def close(self, reason: Reason) -> None:
        """End the connection."""


class Polls:
    """Limits and deadlines shared by the polling connections of a server."""

    def __init__(self, limits: Limits, stats: Stats) -> None:
        self.limits, self.stats = limits, stats
        self.unpolled = Deadlines[Polling](limits.stall_timeout, lambda polling, _: polling.check_polled(), stats)
        self._answers = Deadlines[Answer](limits.stall_timeout, lambda answer, _: self._check(answer), stats)
        self._latest: dict[asyncio.BaseTransport, Answer] = {}

    def __len__(self) -> int:
        """Number of items with a deadline."""
        return len(self.unpolled) + len(self._answers)

    def answered(self, polling: "Polling", transport: asyncio.BaseTransport, size: int) -> None:
        """An answer of this size is being sent. If the kernel may not take it whole, watch that the client reads it."""
        if size > _LARGE_ANSWER:
            answer = Answer(polling, cast(asyncio.WriteTransport, transport), self.limits.stall_timeout)
            self._latest[transport] = answer
            self._answers.add(answer)

    def asked(self, transport: asyncio.BaseTransport | None) -> None:
        """A request has arrived on this HTTP connection, so its client has read the previous answer."""
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
        elif answer.pace.stalled(transport):
            del self._latest[transport]
            reset(transport)
            answer.polling.owner.close(SLOW_READER)
        else:
            self._answers.add(answer)


class Answer:
    """A large answer to a poll that is being sent by the HTTP server."""

    __slots__ = ("pace", "polling", "transport")

    def __init__(self, polling: "Polling", transport: asyncio.WriteTransport, stall_timeout: float) -> None:
        self.polling, self.transport = polling, transport
        self.pace = Pace(transport, stall_timeout)


class Polling:
    """The state of a connection while it polls."""

    __slots__ = (
        "_all",
        "_busy_until",
        "_ended",
        "_last",
        "_transport",
        "_waiter",
        "owner",
        "packets",
        "posting",
        "size",
    )

    def __init__(self, owner: Owner, shared: Polls) -> None:
        self.owner, self._all = owner, shared
        self.packets: list[Message] = []
        self.size = 0
        self.posting = False  # a POST is being read
        self._ended = False
        self._last: Message | None = None  # for the poll that waits at the end
        self._busy_until = 0.0  # with the last answer, on a slow link
        self._waiter: asyncio.Future[None] | None = None  # of the poll that waits
        self._transport: asyncio.BaseTransport | None = None

    @property
    def polled(self) -> bool:
        """Whether a poll is waiting."""
        return self._waiter is not None

    def hold(self, messages: Sequence[Message]) -> None:
        """Keep packets for the next poll, or answer the waiting one."""
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
        else:
            self._wake_or_wait()

    def hold_first(self, message: Message) -> None:
        """The same, before all other packets, so that its delay does not depend on how much is waiting."""
        self.packets.insert(0, message)
        self.size += len(message.plain)
        self._wake_or_wait()

    def _wake_or_wait(self) -> None:
        if self._waiter is None:
            if self not in self._all.unpolled:
                self._all.unpolled.add(self)
        elif self._transport is None or self._transport.is_closing():
            self.owner.close(TRANSPORT_CLOSE)  # the poll was aborted: packets for it would be lost
        else:
            self.wake()

    def wake(self) -> None:
        """Answer the waiting poll, if any."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def busy(self) -> bool:
        """Whether the client may still be reading its last answer."""
        return asyncio.get_running_loop().time() < self._busy_until

    def check_polled(self) -> None:
        """Packets have been waiting for a while without a poll."""
        if self.busy or self.owner.upgrading is not None:
            self._all.unpolled.add(self)
        else:
            self.owner.close(SLOW_READER)

    def end(self, last: Message | None) -> None:
        """End polling. The waiting poll, if any, is answered with this packet; without a packet, with what was waiting
        for it or with an error. Only the first call counts."""
        if not self._ended:
            self._ended, self._last = True, last
            if last is not None:
                self.packets, self.size = [], 0
            self._all.unpolled.discard(self)
            self.wake()

    def take_all(self) -> list[Message]:
        """Take all waiting packets."""
        return self._take(len(self.packets))

    def _take(self, count: int) -> list[Message]:
        packets = self.packets[:count]
        del self.packets[:count]
        self.size -= sum([len(packet.plain) for packet in packets])
        self._all.unpolled.discard(self)
        if self.packets and not self._ended:
            self._all.unpolled.add(self)
        return packets

    def _answer_packets(self) -> int:
        """The number of packets for the next answer."""
        size = 0
        for count, packet in enumerate(self.packets, 1):
            size += len(packet.plain)
            if count == _ANSWER_PACKETS or size >= _ANSWER_BYTES:
                return count
        return len(self.packets)

    async def poll(self, transport: asyncio.BaseTransport | None) -> str | None:
        """The answer to a polling GET, or None if the connection has ended. Must not be called while another poll is
        waiting."""
        self._all.asked(transport)
        if not self.packets:
            await self._packets(transport)
        if self._ended and not self.packets:
            return self._last.text if self._last is not None else None
        packets = self._take(self._answer_packets())
        if self.size <= self._all.limits.high_water and not self._ended:
            self.owner.backlog.relieved()
        text = SEPARATOR.join([packet.text for packet in packets]) if packets else NOOP.text
        self._busy_until = asyncio.get_running_loop().time() + len(text) / SLOW_LINK
        if transport is not None:
            self._all.answered(self, transport, len(text))
        return text

    async def _packets(self, transport: asyncio.BaseTransport | None) -> None:
        """Wait for packets or the end of the connection; only briefly during an upgrade."""
        loop = asyncio.get_running_loop()
        self._waiter, self._transport = loop.create_future(), transport
        timer = loop.call_later(_PROBE_POLL, self.wake) if self.owner.upgrade_probed else None
        try:
            await self._waiter
        except asyncio.CancelledError:
            self.owner.close(TRANSPORT_CLOSE)
            raise
        finally:
            self._waiter = self._transport = None
            if timer is not None:
                timer.cancel()

    @staticmethod
    def parse(body: bytes) -> list[str | bytes]:
        """Parse the packets of a polling POST. If one is malformed, raises ProtocolError, and none of them is
        handled."""
        try:
            parts = body.decode().split(SEPARATOR)
        except UnicodeDecodeError as error:
            raise ProtocolError("not UTF-8") from error
        packets: list[str | bytes] = []
        for part in parts:
            if part[:1] == "b":
                packets.append(from_base64(part[1:]))
            elif part[:1] == "4" or part in ("1", "3"):
                packets.append(part)
            else:
                raise ProtocolError("bad Engine.IO packet")
        return packets
