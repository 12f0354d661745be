"""The load generator: a separate process, controlled with lines of JSON on its standard input.

It has one thread, epoll and plain sockets. If deliveries are only counted, the kernel discards the bytes instead of
copying them (MSG_TRUNC), so that one core can receive what several servers send. Every answer says how busy this
process was.

Arrival times come from the kernel's packet timestamps (SO_TIMESTAMPNS). Otherwise a thousand clients in one process
would be read one after the other, and the last one would wait for this process instead of the server.

Clients do what the stock JavaScript client does, in the same order and waiting for the same answers: WebSocket
upgrade, the Engine.IO open packet, CONNECT with the token, then subscribe.
"""

from __future__ import annotations

import base64
import collections
import heapq
import itertools
import json
import os
import random
import select
import socket
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

READ_BYTES = 256 * 1024
TRUNCATE_BYTES = 8 * 1024 * 1024
SPARE = bytearray(TRUNCATE_BYTES)
PATIENCE = 60.0
NAP_SECONDS = 0.002
"""Polling interval while deliveries are only counted, so that not every write wakes this process."""
SO_TIMESTAMPNS = 35
"""The socket module does not name it; as in <asm-generic/socket.h>."""
TIMESPEC = struct.Struct("qq")
MASK = bytes(4)
"""All zero, so that masking does not change the data; the server's cost is the same."""


class Failed(Exception):
    """The run cannot go on. The message says why."""


def client_frame(text: str) -> bytes:
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return bytes((0x81, 0x80 | size)) + MASK + payload
    return struct.pack("!BBH", 0x81, 0x80 | 126, size) + MASK + payload


PONG = client_frame("3")
NOT_COUNTED = (b'42["position"', b'42["session"')
"""The beginning of events that are sent beside the messages."""


def frames(buffer: bytearray) -> Iterator[tuple[int, bytes, int]]:
    """Remove whole frames from the beginning of `buffer`: first byte, payload, total length."""
    at, end = 0, len(buffer)
    try:
        while end - at >= 2:
            size, head = buffer[at + 1], 2
            if size == 126:
                if end - at < 4:
                    return
                size, head = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4
            elif size == 127:
                if end - at < 10:
                    return
                size, head = int.from_bytes(buffer[at + 2 : at + 10], "big"), 10
            if end - at < head + size:
                return
            start = at + head
            at = start + size
            yield buffer[start - head], bytes(buffer[start:at]), head + size
    finally:
        del buffer[:at]


class Loop:
    """epoll and timers. `run` runs everything until a condition holds."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.readers: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.nap = 0.0

    def add(self, sock: socket.socket, reader: Callable[[], None]) -> None:
        self.readers[sock.fileno()] = reader
        self.epoll.register(sock.fileno(), select.EPOLLIN)

    def remove(self, sock: socket.socket) -> None:
        if self.readers.pop(sock.fileno(), None):
            self.epoll.unregister(sock.fileno())

    def clear(self) -> None:
        """End all senders and timers."""
        for reader in list(self.readers.values()):
            owner = getattr(reader, "__self__", None)
            if isinstance(owner, Sender):
                owner.close()
        self._timers.clear()
        self.nap = 0.0

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (when, next(self._numbers), do))

    def run(self, until: Callable[[], bool], patience: float = PATIENCE, what: str = "") -> None:
        deadline = time.perf_counter() + patience
        readers, poll, timers = self.readers, self.epoll.poll, self._timers
        while not until():
            now = time.perf_counter()
            while timers and timers[0][0] <= now:
                heapq.heappop(timers)[2]()
            if now > deadline:
                raise Failed(f"waited {patience:g} s for {what or 'what did not come'}")
            if self.nap:
                time.sleep(self.nap)
            wait = min(0.05, max(0.0, timers[0][0] - now)) if timers else 0.05
            for number, _ in poll(wait, 16_384):
                reader = readers.get(number)
                if reader is not None:
                    reader()

    def sleep(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        self.at(end, lambda: None)
        self.run(lambda: time.perf_counter() >= end, seconds + PATIENCE)


@dataclass
class Group:
    """Clients that were opened together."""

    name: str
    clients: list[Client] = field(default_factory=list)
    opened: int = 0
    ready: int = 0
    lost: int = 0
    taken: int = 0
    """Bytes."""
    on_event: Callable[[Client, bytes], None] | None = None


class Mark:
    """What a group had received at one time. Its first client, the witness, reads its frames and knows their number."""

    def __init__(self, group: Group) -> None:
        self._group = group
        witness = group.clients[0]
        self._before = (group.taken, witness.bytes, witness.events)

    def until_now(self) -> dict[str, Any]:
        """Deliveries since then: all bytes, divided by the size of what the witness got."""
        group = self._group
        witness = group.clients[0]
        now = (group.taken, witness.bytes, witness.events)
        taken, size, events = (after - before for after, before in zip(now, self._before, strict=True))
        return {
            "deliveries": taken * events / size if size else 0.0,
            "bytes": taken,
            "bytes_per_event": size / events if events else 0.0,
            "lost": group.lost,
        }


class Client:
    """One websocket."""

    __slots__ = (
        "_asked",
        "_buffer",
        "_inflate",
        "_then",
        "arrived",
        "bytes",
        "events",
        "frame",
        "group",
        "index",
        "loop",
        "plan",
        "sock",
        "state",
    )

    def __init__(self, loop: Loop, group: Group, plan: Plan, then: Callable[[], None]) -> None:
        self.loop, self.group, self.plan, self._then = loop, group, plan, then
        self._buffer = bytearray()
        self._inflate: Any = zlib.decompressobj(-15) if plan.deflate else None
        self.bytes = self.events = self.frame = self._asked = 0
        self.arrived = 0.0
        """The arrival time of the last read packet, by the system clock, if requested."""
        self.index = group.opened
        group.opened += 1
        self.state = "upgrading"
        self.sock = socket.socket()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect(("127.0.0.1", plan.port))
        self.sock.setblocking(False)
        loop.add(self.sock, self._read_handshake)
        self.sock.send(plan.request)

    def set_reader(self, reader: Callable[[], None]) -> None:
        self.loop.readers[self.sock.fileno()] = reader

    def tell_time(self, wanted: bool) -> None:
        """From now on note when packets arrive, or no more."""
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, int(wanted))

    def _receive(self) -> bytes:
        try:
            data, notes, _, _ = self.sock.recvmsg(READ_BYTES, 64)
            for level, kind, value in notes:
                if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                    seconds, nanoseconds = TIMESPEC.unpack(value)
                    self.arrived = seconds + nanoseconds / 1e9
        except BlockingIOError:
            return b""
        except ConnectionError:
            data = b""
        if not data:
            self.group.lost += 1
            self.loop.remove(self.sock)
            if self.state != "ready":
                raise Failed(f"{self.group.name}: the server closed a connection while it was {self.state}")
        return data

    def _read_handshake(self) -> None:
        self._buffer += self._receive()
        if self.state == "upgrading":
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).decode()
            if " 101 " not in head.split("\r\n", 1)[0]:
                raise Failed(f"{self.group.name}: not upgraded: {head.splitlines()[0]}")
            if ("permessage-deflate" in head.lower()) != self.plan.deflate and self.plan.deflate:
                raise Failed(f"{self.group.name}: deflate was offered and not taken")
            del self._buffer[: end + 4]
            if self.plan.bare:
                self._is_ready()
                return
            self.state = "opening"
        for first, payload, _ in frames(self._buffer):
            if first & 0x40:
                payload = self._inflate.decompress(payload + b"\0\0\xff\xff")
            self._packet(payload)

    def _packet(self, payload: bytes) -> None:
        if payload == b"2":
            self.sock.send(PONG)
        elif self.state == "opening" and payload[:1] == b"0":
            self.state = "connecting"
            self.sock.send(client_frame("40" + self.plan.auth(self.index)))
        elif self.state == "connecting" and payload[:3] == b"40{":
            self.state = "subscribing"
            self._subscribe()
        elif self.state == "subscribing" and payload[:2] == b"43":
            if b'"ok":true' not in payload:
                raise Failed(f"{self.group.name}: {payload.decode()}")
            self._asked += 1
            self._subscribe()
        elif payload[:2] != b"42":
            raise Failed(f"{self.group.name}: while {self.state}: {payload.decode()}")

    def _subscribe(self) -> None:
        if self._asked < len(self.plan.subscribe):
            self.ask(self._asked, "subscribe", self.plan.subscribe[self._asked])
        else:
            self._is_ready()

    def ask(self, ident: int, event: str, payload: dict[str, Any]) -> None:
        self.sock.send(client_frame(f"42{ident}" + json.dumps([event, payload], separators=(",", ":"))))

    def _is_ready(self) -> None:
        self.state = "ready"
        self._inflate = None
        self.group.ready += 1
        self.set_reader(self.read_frames)
        self._then()

    def read_frames(self) -> None:
        """Count events and answer heartbeats."""
        self._buffer += self._receive()
        group = self.group
        for first, payload, size in frames(self._buffer):
            if size > 3:
                self.bytes += size
                group.taken += size
                if payload.startswith(NOT_COUNTED):
                    continue
                self.events += 1
                self.frame = size
                if group.on_event is not None:
                    group.on_event(self, payload)
            elif payload == b"2":
                self.sock.send(PONG)
            elif first & 0x0F == 9:
                self.sock.send(b"\x8a\x80" + MASK)

    def truncate(self) -> None:
        """Count bytes that the kernel discards."""
        try:
            size = self.sock.recv_into(SPARE, TRUNCATE_BYTES, socket.MSG_TRUNC)
        except BlockingIOError:
            return
        except ConnectionError:
            size = 0
        if size > 3:
            self.bytes += size
            self.group.taken += size
        elif size:  # a heartbeat
            self.sock.send(PONG)
        else:
            self.group.lost += 1
            self.loop.remove(self.sock)

    def reset(self) -> None:
        """Close with a reset, so that no port is left in TIME_WAIT."""
        self.loop.remove(self.sock)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


@dataclass
class Plan:
    """What clients do when they connect."""

    port: int
    bare: bool = False
    """A plain websocket: no Engine.IO, no Socket.IO."""
    deflate: bool = False
    secret: str | None = None
    sessions: tuple[str, ...] = ()
    rooms: int = 0
    agents: int = 200
    """Different tokens."""
    subscribe: list[dict[str, Any]] = field(default_factory=list)
    request: bytes = b""
    tokens: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        path = "/" if self.bare else "/socket.io/?EIO=4&transport=websocket"
        offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" if self.deflate else ""
        key = base64.b64encode(os.urandom(16)).decode()
        self.request = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{offer}\r\n"
        ).encode()
        if self.secret:
            self.tokens = [mint(self.secret, f"agent{number}", self.sessions) for number in range(self.agents)]

    def auth(self, number: int) -> str:
        if self.tokens:
            return json.dumps({"token": self.tokens[number % len(self.tokens)]})
        return json.dumps({"room": f"r{number % self.rooms}"}) if self.rooms else ""


def mint(secret: str, sub: str, sessions: tuple[str, ...], scopes: tuple[str, ...] = ("read", "write")) -> str:
    from app.auth import Tokens

    return Tokens(secret).mint(sub, sessions=sessions, scopes=scopes, lifetime=3600)


class Sender:
    """One HTTP/1.1 connection that is kept open, with one request at a time; made anew if the server has closed it."""

    def __init__(self, loop: Loop, port: int) -> None:
        self._loop, self._port = loop, port
        self._buffer = bytearray()
        self._then: Callable[[bytes], None] | None = None
        self.sent = self.received = 0
        self.open = False
        self._connect()

    def _connect(self) -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect(("127.0.0.1", self._port))
        self.open = True
        self._loop.add(self.sock, self._read)

    def send(self, request: bytes, then: Callable[[bytes], None]) -> None:
        if not self.open:
            self._connect()
        self._then = then
        self.sent += len(request)
        self.sock.sendall(request)

    def _read(self) -> None:
        data = self.sock.recv(READ_BYTES)
        if not data:
            if self._then:
                raise Failed("the server closed an HTTP connection instead of answering")
            self.close()
            return
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end])
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), None
        )
        if length is None:
            raise Failed(f"an answer without a length: {head[:200]!r}")
        if len(self._buffer) < end + 4 + length:
            return
        self.received += end + 4 + length
        status = int(head[9:12])
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        del self._buffer[: end + 4 + length]
        if status != 200:
            raise Failed(f"HTTP {status}: {body[:300]!r}")
        then, self._then = self._then, None
        if then:
            then(body)

    def close(self) -> None:
        if not self.open:
            return
        self.open = False
        self._loop.remove(self.sock)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


EDITED = 20
"""Number of messages that are edited repeatedly."""
EDITED_FROM = 1_770_000_000_000


CHATS = 20
CHATS_EACH = 4
"""Chats of a session, where there are many sessions."""
FILL_SECONDS = 300.0
REPEATABLE = 500
"""The last requests, of which one may be repeated."""


class Posts:
    """Makes webhook requests, each with new messages."""

    def __init__(
        self,
        port: int,
        secret: str,
        session: str,
        text_bytes: int,
        *,
        updates: bool = False,
        sessions: int = 1,
        repeats: float = 0.0,
    ) -> None:
        """`updates`: edits of the same EDITED messages again and again, instead of messages. `sessions`: to one of so
        many sessions each, at random. `repeats`: the share of requests that repeat an earlier one."""
        names = [session] if sessions == 1 else [f"{session}-{number}" for number in range(sessions)]
        token = mint(secret, "bot", (session,) if sessions == 1 else ("*",), ("ingest",))
        self._heads = [
            f"POST /webhook/{name} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
            for name in names
        ]
        self._chats = CHATS if sessions == 1 else CHATS_EACH
        self._chance, self._repeats = random.Random(1), repeats
        self._sent: collections.deque[bytes] = collections.deque(maxlen=REPEATABLE)
        self._numbers = itertools.count()
        self._run = os.urandom(5).hex()
        self._text = "x" * text_bytes
        self._updates = updates
        self._edited = [self.message() for _ in range(EDITED)]

    def fill(self) -> Iterator[bytes]:
        """A request for each session, with a message of each of its chats."""
        for head in self._heads:
            yield self.pack({"messages": [self.message(chat) for chat in range(self._chats)]}, head)

    def first(self) -> bytes:
        """The messages that are edited."""
        return self.pack({"messages": self._edited})

    def update(self) -> dict[str, Any]:
        number = next(self._numbers)
        message = self._edited[number % EDITED]
        changed = {"text": f"{number:09d} {self._text}", "timestamp": EDITED_FROM + number}
        return {"messageId": message["messageId"], "chatId": message["chatId"], **changed}

    def message(self, chat_number: int | None = None) -> dict[str, Any]:
        number = next(self._numbers)
        chat = f"8529{number % self._chats if chat_number is None else chat_number:07d}@s.whatsapp.net"
        text = f"{number:09d} {self._text}"
        return {
            "messageId": f"{self._run}{number:012d}",
            "chatId": chat,
            "sender": {"id": chat, "name": "Alice"},
            "text": text,
        }

    def request(self, messages: int = 1) -> bytes:
        if self._updates:
            return self.pack({"updates": [self.update() for _ in range(messages)]})
        if self._repeats and len(self._sent) == REPEATABLE and self._chance.random() < self._repeats:
            return self._chance.choice(self._sent)
        head = self._heads[0] if len(self._heads) == 1 else self._chance.choice(self._heads)
        request = self.pack(
            self.message() if messages == 1 else {"messages": [self.message() for _ in range(messages)]}, head
        )
        if self._repeats:
            self._sent.append(request)
        return request

    def pack(self, body: dict[str, Any], head: str | None = None) -> bytes:
        raw = json.dumps(body, separators=(",", ":"))
        return f"{head or self._heads[0]}{len(raw)}\r\n\r\n{raw}".encode()


class Load:
    """The commands of the bench: the public methods."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.groups: dict[str, Group] = {}

    def open(self, group: str, count: int, at_once: int = 40, add: bool = False, **plan: Any) -> dict[str, Any]:
        """Connect and subscribe a number of clients, with a number of concurrent attempts."""
        made = self.groups.setdefault(group, Group(group)) if add else Group(group)
        self.groups[group] = made
        count += len(made.clients)
        planned = Plan(**plan)
        started = len(made.clients)

        def start() -> None:
            nonlocal started
            if started < count:
                started += 1
                made.clients.append(Client(self.loop, made, planned, start))

        begun = time.perf_counter()
        for _ in range(min(at_once, count - started)):
            start()
        self.loop.run(lambda: made.ready == count, what=f"{count} connections of {group}")
        return {"seconds": time.perf_counter() - begun}

    def close(self, group: str) -> dict[str, Any]:
        for client in self.groups.pop(group).clients:
            client.reset()
        return {}

    def reset(self) -> dict[str, Any]:
        """Discard everything after a failed command."""
        for name in list(self.groups):
            self.close(name)
        self.loop.clear()
        return {}

    def count_only(self, group: str) -> dict[str, Any]:
        """From now on only count bytes, except for the first client, which still reads its frames as the witness."""
        for client in self.groups[group].clients[1:]:
            client.set_reader(client.truncate)
        return {}

    def window(self, group: str, seconds: float) -> dict[str, Any]:
        """Events that arrive within a time, as bytes by the size of one."""
        chosen = self.groups[group]
        self.loop.nap = NAP_SECONDS
        try:
            begun, before = time.perf_counter(), Mark(chosen)
            self.loop.sleep(seconds)
            took = time.perf_counter() - begun
            return {"seconds": took, **before.until_now()}
        finally:
            self.loop.nap = 0.0

    def totals(self, group: str, settle: float = 0.3) -> dict[str, Any]:
        """What each client received since the last call, when nothing more arrives."""
        chosen = self.groups[group]
        while True:
            before = chosen.taken
            self.loop.sleep(settle)
            if chosen.taken == before:
                break
        sizes = [client.bytes for client in chosen.clients]
        answer = {
            "least": min(sizes),
            "most": max(sizes),
            "all": sum(sizes),
            "witness": chosen.clients[0].events,
            "frame": chosen.clients[0].frame,
            "lost": chosen.lost,
        }
        for client in chosen.clients:
            client.bytes = client.events = 0
        return answer

    def idle(self, seconds: float) -> dict[str, Any]:
        """Answer heartbeats and nothing else."""
        self.loop.sleep(seconds)
        return {"lost": sum(group.lost for group in self.groups.values())}

    def ask(self, group: str, first: str, second: str, times: int) -> dict[str, Any]:
        """Every client of the group sends the first and then the second request, repeatedly, one at a time."""
        chosen = self.groups[group]
        left = len(chosen.clients)
        asked = dict.fromkeys(chosen.clients, 0)
        begun = time.perf_counter()

        def next_of(client: Client) -> None:
            nonlocal left
            number = asked[client]
            if number == 2 * times:
                left -= 1
                return
            asked[client] = number + 1
            payload = client.plan.subscribe[-1]
            client.ask(100 + number, second if number % 2 else first, payload)

        def answered(client: Client, payload: bytes) -> None:
            if payload[:2] == b"43":
                if b'"ok":true' not in payload:
                    raise Failed(payload.decode())
                next_of(client)

        chosen.on_event = answered
        for client in chosen.clients:
            next_of(client)
        self.loop.run(lambda: left == 0, what="answers")
        chosen.on_event = None
        return {"seconds": time.perf_counter() - begun, "pairs": times * len(chosen.clients)}

    def flood(
        self,
        port: int,
        secret: str,
        session: str,
        senders: int,
        seconds: float,
        messages: int = 1,
        text_bytes: int = 100,
        warm_up: float = 0.5,
        group: str | None = None,
        nap: bool = False,
        updates: bool = False,
        sessions: int = 1,
        repeats: float = 0.0,
        fill: bool = False,
    ) -> dict[str, Any]:
        """Senders post, each as soon as it is answered; what is answered within the time is counted. `fill`: only what
        fills the sessions, however long it takes."""
        posts = Posts(port, secret, session, text_bytes, updates=updates, sessions=sessions, repeats=repeats)
        if fill:
            return self._fill(posts, port, senders)
        lines = [Sender(self.loop, port) for _ in range(senders)]
        answered = 0
        if updates:
            stored: list[bytes] = []
            lines[0].send(posts.first(), stored.append)
            self.loop.run(lambda: bool(stored), what="the messages that are edited")
        running = True
        under_way = senders
        ready = [posts.request(messages) for _ in range(8)] if messages > 1 else []

        def again(sender: Sender) -> None:
            nonlocal answered, under_way
            if running:
                request = ready.pop() if ready else posts.request(messages)
                sender.send(request, lambda _body: done(sender))
                if messages > 1:  # the next body is made while the server is at work
                    ready.append(posts.request(messages))
            else:
                under_way -= 1

        def done(sender: Sender) -> None:
            nonlocal answered
            answered += 1
            again(sender)

        for sender in lines:
            again(sender)
        self.loop.nap = NAP_SECONDS if nap else 0.0
        try:
            self.loop.sleep(warm_up)
            mark = Mark(self.groups[group]) if group else None
            begun, before, cpu = time.perf_counter(), answered, time.process_time()
            self.loop.sleep(seconds)
            took = time.perf_counter() - begun
            count = answered - before
            arrived = mark.until_now() if mark else {}
            busy = (time.process_time() - cpu) / took
        finally:
            self.loop.nap = 0.0
        running = False
        self.loop.run(lambda: under_way == 0, what="the last answers")
        for sender in lines:
            sender.close()
        return {
            "seconds": took,
            "requests": count,
            "all": answered,
            "busy_in_window": busy,
            **arrived,
        }

    def _fill(self, posts: Posts, port: int, senders: int) -> dict[str, Any]:
        requests, under_way = posts.fill(), senders
        lines = [Sender(self.loop, port) for _ in range(senders)]

        def again(sender: Sender) -> None:
            nonlocal under_way
            if (request := next(requests, None)) is None:
                under_way -= 1
            else:
                sender.send(request, lambda _body: again(sender))

        for sender in lines:
            again(sender)
        self.loop.run(lambda: under_way == 0, FILL_SECONDS, "the sessions to be filled")
        for sender in lines:
            sender.close()
        return {}

    def post(self, port: int, secret: str, session: str, count: int, text_bytes: int = 100) -> dict[str, Any]:
        """One sender posts so many single messages, one after the other."""
        posts = Posts(port, secret, session, text_bytes)
        sender = Sender(self.loop, port)
        answered = 0

        def done(_body: bytes = b"") -> None:
            nonlocal answered
            answered += 1
            if answered < count:
                sender.send(posts.request(), done)

        begun = time.perf_counter()
        sender.send(posts.request(), done)
        self.loop.run(lambda: answered >= count, what="answers")
        sender.close()
        return {"seconds": time.perf_counter() - begun}

    def latency(
        self, group: str, port: int, secret: str, session: str, rate: float, seconds: float, warm_up: float = 1.0
    ) -> dict[str, Any]:
        """Post at a rate, and measure when the last client of the group has each message."""
        posts = Posts(port, secret, session, 100)
        chosen = self.groups[group]
        size = len(chosen.clients)
        count = int(rate * seconds)
        sent, left, delays = [0.0] * count, [size] * count, [0.0] * count
        base = {client: client.events for client in chosen.clients}
        whole = 0

        def arrived(client: Client, _payload: bytes) -> None:
            nonlocal whole
            number = client.events - base[client] - 1
            left[number] -= 1
            delays[number] = max(delays[number], client.arrived - sent[number])
            if left[number] == 0:
                whole += 1

        chosen.on_event = arrived
        for client in chosen.clients:
            client.tell_time(True)
        # As many senders as it takes, so that nothing waits for the answer to what was sent before.
        spare = [Sender(self.loop, port) for _ in range(16)]
        begun = time.perf_counter() + 0.1
        late = 0.0
        answered = 0

        def done(sender: Sender) -> None:
            nonlocal answered
            answered += 1
            spare.append(sender)

        def send(number: int) -> None:
            nonlocal late
            request = posts.request()
            sender = spare.pop() if spare else Sender(self.loop, port)
            late = max(late, time.perf_counter() - begun - number / rate)
            sent[number] = time.time()
            sender.send(request, lambda _body: done(sender))

        for number in range(count):
            self.loop.at(begun + number / rate, lambda number=number: send(number))  # type: ignore[misc]
        self.loop.run(lambda: whole == count, seconds + PATIENCE, "the last message")
        self.loop.run(lambda: answered == count, what="the last answer")
        chosen.on_event = None
        for client in chosen.clients:
            client.tell_time(False)
        for sender in spare:
            sender.close()
        return {"delays": delays[int(warm_up * rate) :], "sent_late_by": late, "lost": chosen.lost}

    def trickle(
        self,
        port: int,
        secret: str,
        session: str,
        every: float,
        seconds: float,
        group: str | None = None,
        pollers: int = 0,
        period: float = 5.0,
    ) -> dict[str, Any]:
        """Occasional messages, which the clients of a group get pushed, or pollers see at their next poll."""
        posts = Posts(port, secret, session, 100)
        head = (
            f" HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n"
            f"Authorization: Bearer {mint(secret, 'agent', (session,))}\r\n\r\n"
        )
        sender = Sender(self.loop, port)
        lines = [Sender(self.loop, port) for _ in range(pollers)]
        sent: dict[str, float] = {}
        delays: list[float] = []
        requests = empty = empty_bytes = 0
        begun = time.perf_counter() + 0.1
        end = begun + seconds
        chat = ""

        def post() -> None:
            message = posts.message()
            message["chatId"] = message["sender"]["id"] = chat
            sent[message["messageId"]] = time.perf_counter()
            sender.send(posts.pack(message), lambda _body: None)

        def poll(line: Sender, after: int) -> None:
            nonlocal requests
            if time.perf_counter() >= end:
                return
            requests += 1
            asked = time.perf_counter()
            before = line.sent + line.received

            def answered(body: bytes) -> None:
                nonlocal empty, empty_bytes
                now = time.perf_counter()
                last = after
                messages = json.loads(body)["data"]
                if not messages:
                    empty += 1
                    empty_bytes += line.sent + line.received - before
                for message in messages:
                    if message["messageId"] in sent:
                        delays.append(now - sent[message["messageId"]])
                    last = message["seq"]
                self.loop.at(asked + period, lambda: poll(line, last))

            line.send(
                f"GET /api/v1/sessions/{session}/chats/{chat}/messages?after={after}".encode() + head.encode(), answered
            )

        def pushed(_client: Client, payload: bytes) -> None:
            if payload[:2] == b"42":
                event, data = json.loads(payload[2:])
                if event == "new_message" and data["message"]["messageId"] in sent:
                    delays.append(time.perf_counter() - sent[data["message"]["messageId"]])

        chat = posts.message()["chatId"]
        chosen = self.groups[group] if group else Group("")
        chosen.on_event = pushed
        taken = chosen.taken
        for number in range(int(seconds / every)):
            self.loop.at(begun + (number + random.random()) * every, post)
        for number, line in enumerate(lines):
            self.loop.at(begun + period * number / pollers, lambda line=line: poll(line, 0))  # type: ignore[misc]
        self.loop.run(lambda: time.perf_counter() >= end, seconds + PATIENCE)
        self.loop.sleep(0.5)
        chosen.on_event = None
        answer = {
            "delays": delays,
            "messages": len(sent),
            "requests": requests,
            "bytes": sum(line.sent + line.received for line in lines) + chosen.taken - taken,
            "bytes_of_empty": empty_bytes / empty if empty else 0.0,
        }
        for line in [sender, *lines]:
            line.close()
        return answer


def main() -> None:
    load = Load()
    orders: collections.deque[bytes] = collections.deque()
    rest = bytearray()

    def read() -> None:
        data = os.read(0, READ_BYTES)
        if not data:
            sys.exit(0)
        rest.extend(data)
        *whole, last = rest.split(b"\n")
        orders.extend(bytes(line) for line in whole)
        rest[:] = last

    load.loop.readers[0] = read
    load.loop.epoll.register(0, select.EPOLLIN)
    while True:
        load.loop.run(lambda: bool(orders), 1e9)
        order = json.loads(orders.popleft())
        begun, cpu = time.perf_counter(), time.process_time()
        try:
            answer = getattr(load, order.pop("do"))(**order)
            answer["busy"] = (time.process_time() - cpu) / (time.perf_counter() - begun)
        except (Failed, OSError) as error:
            load.reset()
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
