"""The bus over Redis or Valkey (one server of version 6.2 or newer, or Sentinel; not a cluster).

- Each session has a channel, whose name contains the epoch. A server subscribes to the channels of the sessions that it
  follows, so a commit costs nothing elsewhere. Due deliveries have one channel for all sessions.
- A commit is published after it, with its events if they are small. A message has a version and an HMAC by the
  servers' common secret; any other message only causes a query for the session's number.
- When a subscription is confirmed, the session's number is queried, because earlier commits were not received.
- The number of messages that wait to be published is limited. Beyond the limit the oldest are dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import orjson
import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

from app.bus import Commit, Committed, Report, Told, Unheard
from app.bus.waiting import Waiting
from app.domain.events import Event
from app.domain.known import Outcome
from app.errors import Unavailable

log = structlog.get_logger(__name__)

VERSION: Final = b"1"
MAC_BYTES: Final = 32
SMALL_BYTES: Final = 16 * 1024
"""Events that are larger together are not sent, but read from the log."""
TIMEOUT_SECONDS: Final = 2.0
READ_SECONDS: Final = 0.05
"""How long a change of the subscriptions waits at most."""
BEAT_SECONDS: Final = 1.0
SILENT_SECONDS: Final = 3.0
"""Redis answers a ping every second. If it is silent for longer, the connection is dead."""
_OLDEST: Final = (6, 2)
_DUE: Final = "due"


class RedisBus:
    through_database: Final = False

    def __init__(self, client: Redis, epoch: str, secret: str) -> None:
        self._client, self._secret = client, secret.encode()
        self._prefix = f"roomcast:{epoch}:"
        self._followed: Counter[str] = Counter()
        """How many in this server follow each session."""
        self._changed: set[str] = set()
        """Sessions whose subscription is to be changed."""
        self._waiting: Waiting[tuple[str, bytes]] = Waiting()
        self._server: Final = secrets.token_urlsafe(6)
        self._unheard: set[str] = set()

    async def check(self) -> None:
        """Raises Unavailable, with the reason, if Redis cannot be used."""
        try:
            info = await self._client.info("server")
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"REDIS_URL: {_words(error)}") from error
        version = str(info["redis_version"])
        if tuple(map(int, version.split(".")[:2])) < _OLDEST:
            raise Unavailable(f"REDIS_URL: version {version} is too old; 6.2 or newer is needed.")
        if info.get("redis_mode") == "cluster":
            raise Unavailable("REDIS_URL: a Redis Cluster is not supported. Use one server, or Sentinel.")

    async def close(self) -> None:
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            await self._client.aclose()

    # sending

    def ring(self, session_id: str, outcome: Outcome) -> None:
        if outcome.events:
            told = orjson.dumps({"seq": outcome.seq, "events": [_dump(event) for event in outcome.events]})
            if len(told) > SMALL_BYTES:
                told = orjson.dumps({"seq": outcome.seq})
            self._put(self._session(session_id), told)
        if outcome.due is not None:
            self._put(self._prefix + _DUE, orjson.dumps({"sessionId": session_id, "dueAt": outcome.due}))

    def tell(self, told: Told) -> None:
        value = {"kind": told.kind, "value": told.value, "server": self._server}
        self._put(self._session(told.session_id), orjson.dumps(value))

    def _put(self, channel: str, payload: bytes) -> None:
        self._waiting.put((channel, VERSION + self._mac(channel, payload) + payload))

    async def send(self) -> None:
        while True:
            messages = await self._waiting.take()
            try:
                try:
                    await self._publish(messages)
                except (RedisError, OSError):  # perhaps only of a connection that Redis has closed
                    await self._publish(messages)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("bus_values_dropped", count=len(messages), error=_words(error))

    async def _publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS), self._client.pipeline(transaction=False) as pipeline:
            for channel, message in messages:
                pipeline.publish(channel, message)
            await pipeline.execute()

    # listening

    def follow(self, session_id: str) -> None:
        self._followed[session_id] += 1
        self._changed.add(session_id)

    def stop_following(self, session_id: str) -> None:
        self._followed[session_id] -= 1
        if not self._followed[session_id]:
            del self._followed[session_id]
            self._changed.add(session_id)

    async def listen(self) -> AsyncIterator[Report | None]:
        loop = asyncio.get_running_loop()
        try:
            async with self._client.pubsub() as pubsub:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await pubsub.subscribe(self._prefix + _DUE)
                self._changed = set(self._followed)
                heard = beat = loop.time()
                yield None
                while True:
                    if self._changed:
                        await self._subscribe(pubsub)
                    message = await pubsub.get_message(timeout=READ_SECONDS)
                    now = loop.time()
                    if message is not None:
                        heard = now
                        if (one := self._read(message)) is not None:
                            yield one
                    elif self._unheard:
                        unheard, self._unheard = self._unheard, set()
                        yield Unheard(unheard)
                    elif now - heard > SILENT_SECONDS:
                        raise TimeoutError
                    if now - beat >= BEAT_SECONDS:
                        beat = now
                        async with asyncio.timeout(TIMEOUT_SECONDS):
                            await pubsub.ping()
                        yield None
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"Redis: {_words(error)}") from error

    async def _subscribe(self, pubsub: PubSub) -> None:
        changed, self._changed = self._changed, set()
        wanted = [self._session(one) for one in changed & self._followed.keys()]
        unwanted = [self._session(one) for one in changed - self._followed.keys()]
        async with asyncio.timeout(TIMEOUT_SECONDS):
            if wanted:
                await pubsub.subscribe(*wanted)
            if unwanted:
                await pubsub.unsubscribe(*unwanted)

    def _read(self, message: dict[str, Any]) -> Commit | Committed | Told | None:
        channel = message["channel"].decode() if message["channel"] else ""
        name = channel.removeprefix(self._prefix)
        if message["type"] == "subscribe" and name != _DUE:
            self._unheard.add(name.removeprefix("session:"))
        if message["type"] != "message":
            return None
        raw: bytes = message["data"]
        payload = raw[1 + MAC_BYTES :]
        if raw[:1] != VERSION or not hmac.compare_digest(raw[1 : 1 + MAC_BYTES], self._mac(channel, payload)):
            if name != _DUE:
                self._unheard.add(name.removeprefix("session:"))
            return None
        told = orjson.loads(payload)
        if name == _DUE:
            return Commit(told["sessionId"], 0, datetime.fromisoformat(told["dueAt"]))
        session_id = name.removeprefix("session:")
        if "kind" in told:
            return Told(session_id, told["kind"], told["value"]) if told["server"] != self._server else None
        if "events" in told:
            return Committed(session_id, [_load(session_id, one) for one in told["events"]])
        return Commit(session_id, told["seq"])

    def _session(self, session_id: str) -> str:
        return f"{self._prefix}session:{session_id}"

    def _mac(self, channel: str, payload: bytes) -> bytes:
        return hmac.digest(self._secret, channel.encode() + b"\0" + payload, "sha256")


def connect(url: str, epoch: str, secret: str) -> RedisBus:
    """The bus of `REDIS_URL`, without connecting to it."""
    options: dict[str, Any] = {"socket_connect_timeout": TIMEOUT_SECONDS, "socket_keepalive": True}
    parts = urlsplit(url)
    if parts.scheme in ("redis", "rediss"):
        return RedisBus(Redis.from_url(url, **options), epoch, secret)
    # redis+sentinel://[user:password@]host:port,host:port/service[/database]
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    places = [(host, int(port or 26379)) for host, _, port in (one.partition(":") for one in hosts.split(","))]
    sentinel = Sentinel(places, **options)  # type: ignore[no-untyped-call]
    client = sentinel.master_for(
        service, db=int(database or 0), username=unquote(user) or None, password=unquote(password) or None, **options
    )
    return RedisBus(client, epoch, secret)


def _dump(event: Event) -> dict[str, Any]:
    return {"chatId": event.chat_id, "seq": event.seq, "event": event.event, "data": event.data, "at": event.at}


def _load(session_id: str, value: dict[str, Any]) -> Event:
    at = datetime.fromisoformat(value["at"])
    return Event(session_id, value["chatId"], value["seq"], value["event"], value["data"], at)


def _words(error: Exception) -> str:
    """The driver's message, which may contain the address but not the password."""
    return str(error) or type(error).__name__
