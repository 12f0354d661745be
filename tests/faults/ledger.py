"""Records what was posted and the answers, and checks the database against them.

Every message is answered (200), refused (4xx) or unknown (503, another 5xx, a lost answer, a timeout). After a round:
I1 an answered message is in the database exactly once, with the number in every answer;
I2 an unknown message is there once or not at all, and a refused one is not there;
I3 the numbers of each session have no gaps, in the log and in the session.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp
from pymongo.read_concern import ReadConcern

from tests.faults.lists import Digest, digest
from tests.faults.mongods import Driver

POST_SECONDS = 15.0

Key = tuple[str, str, str]
"""Session, chat, messageId."""


@dataclass(slots=True)
class Entry:
    """One message: the numbers in its answers, and how often an answer said that it was stored just now (`new`), was
    inconclusive, or refused it."""

    text: str
    seqs: set[int] = field(default_factory=set)
    new: int = 0
    unknown: int = 0
    refused: int = 0


class Try(NamedTuple):
    """One request: its start and end, and its status, or 0 without an answer."""

    began: float
    ended: float
    status: int
    retry_after: str | None
    server: int
    session: str


@dataclass
class Truth:
    """The contents of the database, which clients must show in the end."""

    digests: dict[tuple[str, str], Digest]
    seqs: dict[str, int]
    violations: list[str]
    counts: Counter[str]


class Ledger:
    def __init__(self, http: aiohttp.ClientSession, token: str) -> None:
        self._http, self._token = http, token
        self.entries: dict[Key, Entry] = {}
        self.tries: list[Try] = []
        self.answered = 0
        self.under_way: Counter[str] = Counter()
        """Requests by the server's URL."""
        self._moved = asyncio.Event()

    async def post(self, server: int, url: str, session: str, messages: Sequence[dict[str, Any]]) -> bool:
        """Send one request. Returns whether it was answered with 200 or 4xx; if not, it may be repeated."""
        entries = []
        for message in messages:
            key = session, message["chatId"], message["messageId"]
            entries.append(self.entries.setdefault(key, Entry(message["text"])))
        began = time.monotonic()
        self.under_way[url] += 1
        self._moved.set()
        status, retry_after, body = 0, None, None
        try:
            async with self._http.post(
                f"{url}/webhook/{session}",
                json={"messages": list(messages)},
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=aiohttp.ClientTimeout(total=POST_SECONDS),
            ) as response:
                body = await response.json(content_type=None)
                status, retry_after = response.status, response.headers.get("Retry-After")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            pass  # there is no answer
        finally:
            self.under_way[url] -= 1
        self.tries.append(Try(began, time.monotonic(), status, retry_after, server, session))
        if status == 200:
            for entry, result in zip(entries, body["data"]["results"], strict=True):
                self.answered += not entry.seqs
                entry.seqs.add(result["seq"])
                entry.new += not result["duplicate"]
            self._moved.set()
        elif 400 <= status < 500 and status != 429:
            for entry in entries:
                entry.refused += 1
        else:
            for entry in entries:
                entry.unknown += 1
        return 200 <= status < 500 and status != 429

    async def reached(self, answered: int, seconds: float = 60) -> None:
        """Wait until this many messages have been answered."""
        async with asyncio.timeout(seconds):
            while self.answered < answered:
                self._moved.clear()
                await self._moved.wait()

    async def posting(self, url: str, seconds: float = 10) -> int:
        """Wait until requests to the server are in flight. Returns their number."""
        async with asyncio.timeout(seconds):
            while not self.under_way[url]:
                self._moved.clear()
                await self._moved.wait()
        return self.under_way[url]

    async def answered_after(self, moment: float, seconds: float, session: str | None = None) -> float:
        """Wait for a 200 to a request that started after this time, in this session or any. Returns its time."""
        async with asyncio.timeout(seconds):
            while True:
                for one in reversed(self.tries):
                    if one.began >= moment and one.status == 200 and session in (None, one.session):
                        return one.ended
                self._moved.clear()
                await self._moved.wait()

    async def truth(self, driver: Driver, database: str) -> Truth:
        """Read everything the database has of the sessions, and compare it with the ledger."""
        db = driver.get_database(database, read_concern=ReadConcern("majority"))
        violations: list[str] = []
        counts: Counter[str] = Counter()
        digests: dict[tuple[str, str], Digest] = {}
        seqs: dict[str, int] = {}
        found: Counter[Key] = Counter()
        for session in sorted({session for session, _, _ in self.entries}):
            document = await db.sessions.find_one({"_id": session})
            seqs[session] = document["seq"] if document else 0
            cursor = db.events.find({"sessionId": session}, {"seq": 1, "event": 1}).sort("seq", 1)
            numbers = [(event["seq"], event["event"]) async for event in cursor]
            if [seq for seq, _ in numbers] != list(range(1, seqs[session] + 1)):
                violations.append(f"I3 {session}: the log has {len(numbers)} numbers, the session {seqs[session]}")
            by_chat: dict[str, list[dict[str, Any]]] = {}
            async for message in db.messages.find({"sessionId": session}).sort("seq", 1):
                by_chat.setdefault(message["chatId"], []).append(message)
            total = sum(map(len, by_chat.values()))
            if total != sum(name == "new_message" for _, name in numbers):
                violations.append(f"I3 {session}: {total} messages, another number of new_message in the log")
            chats = {chat["chatId"]: chat async for chat in db.chats.find({"sessionId": session})}
            for chat_id, messages in by_chat.items():
                chat = chats.get(chat_id)
                if chat is None or chat["lastSeq"] != messages[-1]["seq"]:
                    violations.append(f"I3 {session} {chat_id}: the chat does not stand at its last message")
                elif chat["unreadCount"] != sum(
                    m["seq"] > chat["readSeq"] and not m.get("fromMe", False) for m in messages
                ):
                    violations.append(f"I3 {session} {chat_id}: a wrong count of unread messages")
                digests[session, chat_id] = digest(messages, chat)
                for message in messages:
                    key = session, chat_id, message["messageId"]
                    found[key] += 1
                    self._compare(key, message, violations)
        for key, entry in self.entries.items():
            if entry.seqs:
                counts["answered"] += 1
                if found[key] != 1:
                    violations.append(f"I1 {key} was answered and is there {found[key]} times")
                if len(entry.seqs) > 1 or entry.new > 1:
                    violations.append(f"I1 {key} was answered with {entry.seqs}, {entry.new} times as new")
            elif entry.unknown:
                counts["unknown, stored" if found[key] else "unknown, not stored"] += 1
                if found[key] > 1:
                    violations.append(f"I2 {key} is unknown and is there {found[key]} times")
            else:
                counts["refused"] += 1
                if found[key]:
                    violations.append(f"I2 {key} was refused and is there")
        counts["requests without an answer"] = sum(one.status == 0 for one in self.tries)
        counts["answers 503"] = sum(one.status == 503 for one in self.tries)
        return Truth(digests, seqs, violations, counts)

    def _compare(self, key: Key, message: dict[str, Any], violations: list[str]) -> None:
        entry = self.entries.get(key)
        if entry is None:
            violations.append(f"I2 {key} is there and was never posted")
        elif message["text"] != entry.text:
            violations.append(f"I1 {key} has another text")
        elif entry.seqs and message["seq"] not in entry.seqs:
            violations.append(f"I1 {key} has number {message['seq']}, answered was {entry.seqs}")
