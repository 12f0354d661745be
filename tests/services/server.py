"""The push side of one server over a fake log and a fake sender."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson

from app.auth import Principal
from app.domain.models import Position
from app.metrics import Metrics
from app.services.catchup import CatchUp
from app.services.connections import Connections
from app.services.edges import Edges
from app.services.memory import Memory
from app.services.publications import Publications
from app.services.recovery import Recovery
from app.services.subscriptions import Subscriptions
from tests.services.fakes import EPOCH, FakeLog, FakeSender
from tests.support import until


class Server:
    """The push side of one server, without sockets and without a database."""

    def __init__(self, *, memory: int = 2**26, max_missed: int = 10_000, max_per_sub: int = 10_000) -> None:
        self.log, self.sender, self.metrics = FakeLog(), FakeSender(), Metrics()
        self.memory = Memory(memory)
        publications = Publications(self.sender, self.metrics, batch_events=100, batch_seconds=0.01)
        self.edges = Edges(self.log, publications, self.memory, max_missed=max_missed)
        self.recovery = Recovery(self.edges, publications, seconds=60, remember_seconds=120)
        catch_up = CatchUp(self.log, self.sender, self.memory, self.metrics, batch_events=100)
        self.subscriptions = Subscriptions(self.log, self.edges, publications, catch_up, self.sender, self.metrics)
        self.connections = Connections(
            self.edges, self.subscriptions, self.recovery, self.sender, self.metrics, max_per_sub=max_per_sub
        )

    async def connect(self, sid: str, sessions: tuple[str, ...] = ("*",), **options: Any) -> None:
        principal = Principal("ann", time.time() + 3600, None, frozenset(sessions), frozenset({"read"}))
        await self.connections.connect(sid, principal, **options)

    async def come_back(self, sid: str, seq: int, session_id: str = "shop", **options: Any) -> dict[str, Any]:
        """Connect, and subscribe with a position."""
        if sid not in self.connections.sids:
            await self.connect(sid)
        chat_id = options.pop("chat_id", None)
        connection = self.connections.get(sid)
        return await self.subscriptions.subscribe(connection, session_id, chat_id, Position(EPOCH, seq), **options)

    def commit(self, count: int = 1, session_id: str = "shop", **options: Any) -> None:
        """Store a number of events on this server."""
        self.edges.publish(session_id, self.log.add(count, session_id, **options))

    def seqs(self, sid: str, session_id: str = "shop") -> list[int]:
        """The numbers sent to the connection, including those in lists."""
        found = []
        for name, data, *_ in self.sender.got[sid]:
            for one in [entry["data"] for entry in data] if name == "events" else [data]:
                value = opened(one)
                if "seq" in value and value["sessionId"] == session_id:
                    found.append(value["seq"])
        return found

    @property
    def catching_up(self) -> float:
        return self.metrics.registry.get_sample_value("roomcast_streams", {"state": "catching_up"}) or 0.0

    async def all_live(self) -> None:
        await asyncio.sleep(0)  # those who have just subscribed begin in the next turn
        await until(lambda: self.catching_up == 0)

    async def all_sent(self, session_id: str = "shop") -> None:
        """Wait until committed events are sent: on a busy machine they are collected for some milliseconds."""
        edge = self.edges.get(session_id)
        assert edge is not None, "somebody watches it"
        head = await self.log.seq(session_id)
        await until(lambda: edge.seq == head)

    async def close(self) -> None:
        await self.connections.close()
        self.edges.close()


def opened(data: Any) -> dict[str, Any]:
    """The decoded payload."""
    value: dict[str, Any] = orjson.loads(orjson.dumps(data))
    return value
