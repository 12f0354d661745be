"""Many clients that reconnect, in a separate process: WebSocket clients that subscribe with a position.

Prints one line of JSON: how long it took until all were live, and any errors. Arguments: one JSON object with `port`,
`secret`, `clients`, `sessions` (their names), `back` (minimum and maximum number of missed events), `fill` (events of
each session to post first; 0: they exist already), `head` (the number of existing events), `rate` (messages per second
meanwhile) and `more_seconds` (how long posting continues after all are live).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

sys.path.insert(0, str(Path(__file__).parents[2]))

from app.auth import Tokens
from tests.bench.load import PONG, client_frame, frames

UPGRADE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
BEHIND_SECONDS = 0.25
"""A client is live if it has everything that was stored this long ago."""
PATIENCE = 120.0
UNDER_WAY = 200
RATE_SESSIONS = 100
"""Only these sessions may have messages from before."""


class Client(asyncio.Protocol):
    """A client: its next number, and whether any event came twice, late or never."""

    def __init__(self, token: str, session: str, position: dict[str, Any]) -> None:
        self.session = session
        self._token, self._position = token, position
        self.next = position["seq"] + 1
        self.wrong = 0
        self.recovered = False
        self.lost = False
        self._buffer = bytearray()
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._transport.write(UPGRADE.encode())

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not self._buffer.startswith(b"HTTP/1.1 101"):
                self._transport.abort()
                return
            del self._buffer[: end + 4]
            self._upgraded = True
        for _, payload, _ in frames(self._buffer):
            self._take(payload)

    def _take(self, payload: bytes) -> None:
        if payload.startswith(b'42["new_message"'):
            start = payload.index(b'"seq":') + 6
            seq = int(payload[start : payload.index(b",", start)])
            self.wrong += seq != self.next
            self.next = seq + 1
        elif payload.startswith(b"43"):
            self.recovered = b'"recovered":true' in payload
        elif payload == b"2":
            self._transport.write(PONG)
        elif payload.startswith(b"0"):
            self._transport.write(client_frame("40" + json.dumps({"token": self._token})))
        elif payload.startswith(b"40"):
            wanted = {"sessionId": self.session, "position": self._position}
            self._transport.write(client_frame("420" + json.dumps(["subscribe", wanted])))


class Crowd:
    def __init__(self, plan: dict[str, Any], http: aiohttp.ClientSession, token: str) -> None:
        self._plan, self._http, self._token = plan, http, token
        self._sessions: Sequence[str] = plan["sessions"]
        self._heads = dict.fromkeys(self._sessions, plan["fill"] or plan["head"])
        self._stored: list[tuple[float, str, int]] = []
        self._posting = True
        self._url = f"http://127.0.0.1:{plan['port']}"

    async def fill(self) -> None:
        """Post what the clients have missed, and more."""
        free = asyncio.Semaphore(16)

        async def one(session: str) -> None:
            async with free:
                for first in range(0, self._plan["fill"], 500):
                    await self._post(session, min(500, self._plan["fill"] - first))

        await asyncio.gather(*(one(session) for session in self._sessions))

    async def come_back(self) -> dict[str, Any]:
        position = await self._position(self._sessions[0])
        for session in self._sessions[:RATE_SESSIONS]:
            self._heads[session] = (await self._position(session))["seq"]
        least, most = self._plan["back"]
        clients: list[Client] = []
        heads = dict(self._heads)
        free = asyncio.Semaphore(UNDER_WAY)

        async def connect(number: int) -> None:
            session = self._sessions[number % len(self._sessions)]
            seq = heads[session] - least - number * 37 % (most - least + 1)
            client = Client(self._token, session, {"epoch": position["epoch"], "seq": seq})
            async with free:
                await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", self._plan["port"])
            clients.append(client)

        begun, used = time.monotonic(), time.process_time()
        posting = asyncio.create_task(self._post_on())
        await asyncio.gather(*(connect(number) for number in range(self._plan["clients"])))
        while not self._live(clients) and time.monotonic() - begun < PATIENCE:
            await asyncio.sleep(0.05)
        seconds, busy = time.monotonic() - begun, time.process_time() - used
        live = self._live(clients)
        await asyncio.sleep(self._plan["more_seconds"])
        self._posting = False
        await posting
        while not self._whole(clients) and time.monotonic() - begun < PATIENCE:
            await asyncio.sleep(0.05)
        return {
            "seconds": seconds,
            "busy": busy / seconds,
            "live": live,
            "whole": self._whole(clients),
            "wrong": sum(client.wrong for client in clients),
            "lost": sum(client.lost for client in clients),
            "refused": sum(not client.recovered for client in clients),
        }

    def _live(self, clients: list[Client]) -> bool:
        limit = time.monotonic() - BEHIND_SECONDS
        wanted = dict(self._heads)
        for at, session, seq in self._stored:
            if at > limit:
                wanted[session] = min(wanted[session], seq - 1)
        return all(client.recovered and client.next > wanted[client.session] for client in clients)

    def _whole(self, clients: list[Client]) -> bool:
        """Whether each client has every event of its session exactly once."""
        return all(client.next == self._heads[client.session] + 1 for client in clients)

    async def _post_on(self) -> None:
        begun = time.monotonic()
        for number in itertools.takewhile(lambda _: self._posting, itertools.count()):
            session = self._sessions[number % len(self._sessions)]
            await self._post(session, 1)
            self._heads[session] += 1
            self._stored = [*self._stored[-100:], (time.monotonic(), session, self._heads[session])]
            await asyncio.sleep(max(0.0, begun + (number + 1) / self._plan["rate"] - time.monotonic()))

    async def _post(self, session: str, count: int) -> None:
        messages = [{"chatId": f"{n % 40}@s.whatsapp.net", "text": "x" * 80} for n in range(count)]
        async with self._http.post(f"{self._url}/webhook/{session}", json={"messages": messages}) as answer:
            answer.raise_for_status()

    async def _position(self, session: str) -> dict[str, Any]:
        async with self._http.get(f"{self._url}/api/v1/sessions/{session}/chats?limit=1") as answer:
            found: dict[str, Any] = (await answer.json())["position"]
            return found


async def main() -> None:
    plan = json.loads(sys.argv[1])
    token = Tokens(plan["secret"]).mint("crowd", sessions=["*"], scopes=["read", "ingest"], lifetime=3600)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        crowd = Crowd(plan, http, token)
        await crowd.fill()
        print(json.dumps(await crowd.come_back()))


if __name__ == "__main__":
    uvloop.run(main())
