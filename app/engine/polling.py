"""The polling transport of a connection: packets wait here until a poll takes them.

A client is stalled when it does not act, not when it was not handed something: it is given the time that its last
answer takes on a slow link, and that of an upgrade. One that does not read an answer is dropped with it.
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
from .transport import reset, taken, unsent

SEPARATOR = "\x1e"
_LARGE_ANSWER = 16_384
_ANSWER_PACKETS = 16
"""Packets that answer one poll. python-engineio's client drops the whole of an answer that has more."""
_ANSWER_BYTES = 65_536
"""An answer to a poll ends with the packet that makes it so large: a client answers no ping while it reads it."""
_SLOW_LINK = 4_000
"""Bytes a second that a client's link has at least."""
_PROBE_POLL = 0.1
"""Seconds that a poll waits during an upgrade: the client ends its polling with an answer."""


class Owner(Protocol):
    """The connection that polls."""

    closed: bool
    backlog: Backlog

    @property
    def upgrading(self) -> object | None:
        """A websocket that may take over."""

    @property
    def upgrade_probed(self) -> bool:
        """Whether the client has probed it, so that it is about to."""

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
        else:
            self._wake_or_wait()

    def hold_first(self, message: Message) -> None:
        """Likewise, before everything else: how long it takes is not to depend on how much waits."""
        self.packets.insert(0, message)
        self.size += len(message.plain)
        self._wake_or_wait()

    def _wake_or_wait(self) -> None:
        if self._waiter is None:
            if self not in self._all.unpolled:
                self._all.unpolled.add(self)
        elif self._transport is None or self._transport.is_closing():
            self.owner.close(TRANSPORT_CLOSE)  # the poll was aborted: what it would take would be lost
        else:
            self.wake()

    def wake(self) -> None:
        """Answer the poll that waits, if any."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def busy(self) -> bool:
        """Whether the client may still be reading its last answer."""
        return asyncio.get_running_loop().time() < self._busy_until

    def check_polled(self) -> None:
        """Packets have waited for a while, and no poll has come."""
        if self.busy or self.owner.upgrading is not None:
            self._all.unpolled.add(self)
        else:
            self.owner.close(SLOW_READER)

    def end(self, last: Message | None) -> None:
        """Answer the poll that waits, if any, with this packet alone; without one, with what is on its way to it, or
        with an error. Only the first call counts."""
        if not self._ended:
            self._ended, self._last = True, last
            if last is not None:
                self.packets, self.size = [], 0
            self._all.unpolled.discard(self)
            self.wake()

    def take_all(self) -> list[Message]:
        """Everything that waits."""
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
        """How many packets answer a poll."""
        size = 0
        for count, packet in enumerate(self.packets, 1):
            size += len(packet.plain)
            if count == _ANSWER_PACKETS or size >= _ANSWER_BYTES:
                return count
        return len(self.packets)

    async def poll(self, transport: asyncio.BaseTransport | None) -> str | None:
        """The body that answers a polling GET; None if the connection has ended. Not while another poll waits."""
        self._all.asked(transport)
        if not self.packets:
            await self._packets(transport)
        if self._ended and not self.packets:
            return self._last.text if self._last is not None else None
        packets = self._take(self._answer_packets())
        if self.size <= self._all.limits.high_water and not self._ended:
            self.owner.backlog.relieved()
        text = SEPARATOR.join([packet.text for packet in packets]) if packets else NOOP.text
        self._busy_until = asyncio.get_running_loop().time() + len(text) / _SLOW_LINK
        if transport is not None:
            self._all.answered(self, transport, len(text))
        return text

    async def _packets(self, transport: asyncio.BaseTransport | None) -> None:
        """Wait for packets, or for the end; during an upgrade not for long."""
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
        """The packets of a polling POST. Raises ProtocolError if one is malformed: then none of them counts."""
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
