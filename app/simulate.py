"""A bot for demos and load tests, which posts conversations in many chats to a running server.

The messages depend only on the seed. The simulator draws and serves the pictures itself, as long as it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiohttp import web

PARALLEL: Final = 64
"""Maximum number of concurrent requests, so that a slow server is not flooded."""
TIMEOUT_SECONDS: Final = 15
GIVE_UP_ERRORS: Final = 5
GIVE_UP_SECONDS: Final = 10.0
"""Stop after this many consecutive errors: at once if no request has succeeded yet, otherwise when they have lasted for
this long."""

_PEOPLE: Final = (
    ("85291234567", "Alice Wong"),
    ("447700900123", "Olivia Hughes"),
    ("5511999998888", "Ana Souza"),
    ("4915112345678", "Jonas Becker"),
    ("8613800138000", "李伟"),
    ("886912345678", "陳怡君"),
    ("819012345678", "佐藤健"),
    ("821012345678", "김민준"),
    ("972501234567", "נועה לוי"),
    ("971501234567", "أحمد علي"),
    ("33612345678", "Camille Laurent"),
    ("393331234567", "Giulia Rossi"),
    ("919812345678", "Priya Sharma"),
    ("66812345678", "สมชาย ใจดี"),
)
_GROUPS: Final = ("Wholesale buyers", "Family 👨‍👩‍👧", "二手交換區", "Weekend football")
_LINES: Final = (
    "Is the blue one still there?",
    "Two of them please 🙏",
    "When will it arrive? I have been waiting since Monday and the tracking page says nothing at all.",
    "Thank you!",
    "ok",
    "Can I pick it up at the shop tomorrow after six?",
    "https://example.com/track/ZX-3391 says it left the warehouse",
    "Obrigada, chegou hoje! 💚",
    "Haben Sie das auch in Größe 42?",
    "你好，請問還有現貨嗎？",
    "谢谢，已经收到了。",
    "明日までに届きますか？",
    "네, 감사합니다 😊",
    "האם אפשר להחזיר את זה?",
    "هل يمكنني الدفع عند الاستلام؟",
    "Merci beaucoup, à bientôt !",
    "🎉🎉🎉",
    "I would like to change my order:\n- one in red, size M\n- one in green, size L\nIs that still possible?",
    "ขอบคุณครับ",
)
_REPLIES: Final = (
    "Yes, it is. Shall I keep it for you?",
    "It will be with you on Thursday.",
    "Of course!",
    "I have sent you the invoice.",
    "没问题，马上为您处理。",
)


@dataclass
class Figures:
    """The results of the sent messages."""

    sent: int = 0
    stored: int = 0
    duplicates: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """By kind: the error in the answer, or why there was no answer."""
    seconds: float = 0
    gave_up: bool = False
    latencies: list[float] = field(default_factory=list)

    def line(self) -> str:
        ordered = sorted(self.latencies) or [0.0]
        median, late = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
        rate = self.stored / self.seconds if self.seconds else 0
        return (
            f"sent {self.sent}, stored {self.stored}, duplicates {self.duplicates}, errors {self.errors.total()}, "
            f"{rate:.1f}/s, answered in {median * 1000:.1f} ms (median), {late * 1000:.1f} ms (99th percentile)"
        )

    def kinds(self) -> Iterator[str]:
        """One line per kind of error, the most frequent first."""
        return (f"{count} × {kind}" for kind, count in self.errors.most_common())


class _Streak:
    """Counts errors since the last success."""

    def __init__(self) -> None:
        self._ever, self._errors, self._since = False, 0, 0.0

    def note(self, *, good: bool) -> None:
        self._ever, self._errors = self._ever or good, 0 if good else self._errors + 1
        if self._errors <= 1:
            self._since = time.monotonic()

    @property
    def hopeless(self) -> bool:
        lasted = time.monotonic() - self._since >= GIVE_UP_SECONDS
        return self._errors >= GIVE_UP_ERRORS and (lasted or not self._ever)


def conversations(seed: int, chats: int, pictures: str) -> Iterator[dict[str, Any]]:
    """An endless sequence of messages for the webhook, with occasional repeats."""
    chance = random.Random(seed)  # noqa: S311
    number = itertools.count(1)
    people = [
        (f"{phone if i < len(_PEOPLE) else int(phone) + i}@s.whatsapp.net", name if i < len(_PEOPLE) else f"{name} {i}")
        for i, (phone, name) in enumerate(itertools.islice(itertools.cycle(_PEOPLE), max(1, chats)))
    ]
    groups = [(f"1203630{seed % 100_000:05d}{i:06d}@g.us", name) for i, name in enumerate(_GROUPS)]
    weights = [1 / (i + 1) for i in range(len(people))]  # a few people write a lot, most write little
    said: dict[str, list[str]] = {}
    last: dict[str, Any] | None = None
    while True:
        if last is not None and chance.random() < 0.01:
            yield last
            continue
        person = chance.choices(people, weights)[0]
        group = chance.choice(groups) if chance.random() < 0.2 else None
        chat_id = group[0] if group else person[0]
        message: dict[str, Any] = {"messageId": f"SIM{seed:X}-{next(number):X}", "chatId": chat_id}
        if group:
            message["chatName"] = group[1]
        if not group and chance.random() < 0.3:
            message |= {"fromMe": True, "text": chance.choice(_REPLIES)}
            message["status"] = chance.choice(("sent", "delivered", "read"))
        else:
            message["sender"] = {"id": person[0], "name": person[1]}
            message |= _content(chance, pictures)
        earlier = said.setdefault(chat_id, [])
        if earlier and chance.random() < 0.1:
            message["replyTo"] = {"messageId": chance.choice(earlier)}
        earlier.append(message["messageId"])
        del earlier[:-20]
        last = message
        yield message


def _content(chance: random.Random, pictures: str) -> dict[str, Any]:
    what = chance.random()
    if what < 0.8:
        return {"text": chance.choice(_LINES)}
    if what < 0.92:
        width, height = chance.choice(((640, 480), (480, 640), (800, 450)))
        url = f"{pictures}/{chance.randrange(10_000)}-{width}x{height}.svg"
        media = {"url": url, "mimeType": "image/svg+xml", "width": width, "height": height}
        return {"type": "image", "media": media} | ({"text": "this one"} if chance.random() < 0.5 else {})
    if what < 0.95:
        media = {"url": f"{pictures}/offer.pdf", "mimeType": "application/pdf", "fileName": "offer.pdf", "size": 84_213}
        return {"type": "document", "media": media}
    if what < 0.97:
        return {"type": "location", "text": "Star Ferry Pier, Central\n22.2870, 114.1583"}
    if what < 0.99:
        return {"type": "contact", "text": "Jonas Becker\n+49 1511 2345678"}
    return {"type": "system", "text": "The security code has changed."}


async def simulate(
    url: str,
    token: str,
    session_id: str,
    *,
    rate: float,
    seconds: float,
    chats: int,
    seed: int,
    progress: Callable[[int], None],
) -> Figures:
    """Post `rate` messages per second for `seconds`; stop early if every request fails. `progress(1)` is called for
    each answer."""
    figures, streak = Figures(), _Streak()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    connector = aiohttp.TCPConnector(limit=PARALLEL)
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        _picture_server() as pictures,
        aiohttp.ClientSession(timeout=timeout, connector=connector, headers=headers) as http,
    ):
        room = asyncio.Semaphore(PARALLEL)
        began = time.monotonic()

        async def post(message: dict[str, Any]) -> None:
            sent = time.monotonic()
            try:
                async with http.post(f"{url}/webhook/{session_id}", json=message) as answer:
                    body = await answer.json(content_type=None)
                    result = body["data"]["results"][0] if answer.status == 200 else None
                    error = f"{answer.status} {body.get('code', '')}: {body.get('detail', '')}"
            except (TimeoutError, aiohttp.ServerTimeoutError):
                result, error = None, f"no answer within {TIMEOUT_SECONDS} s"
            except (aiohttp.ClientError, ValueError, KeyError, TypeError, AttributeError) as reason:
                result, error = None, " ".join(f"{type(reason).__name__}: {reason}".split())
            finally:
                room.release()
            streak.note(good=result is not None)
            figures.latencies.append(time.monotonic() - sent)
            if result is None:
                figures.errors[error] += 1
            elif result["duplicate"]:
                figures.duplicates += 1
            else:
                figures.stored += 1
            progress(1)

        async with asyncio.TaskGroup() as group:
            for message in itertools.islice(conversations(seed, chats, pictures), max(1, round(rate * seconds))):
                due = began + figures.sent / rate
                await asyncio.sleep(max(0, due - time.monotonic()))
                await room.acquire()
                figures.gave_up = streak.hopeless
                if figures.gave_up:
                    break
                figures.sent += 1
                group.create_task(post(message))
        figures.seconds = time.monotonic() - began
    return figures


@contextlib.asynccontextmanager
async def _picture_server() -> AsyncIterator[str]:
    """Serve drawn pictures on loopback. Yields the address."""
    app = web.Application()
    app.router.add_get(r"/{seed:\d+}-{width:\d+}x{height:\d+}.svg", _draw)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _draw(request: web.Request) -> web.Response:
    chance = random.Random(int(request.match_info["seed"]))  # noqa: S311
    width, height = (min(4000, int(request.match_info[name])) for name in ("width", "height"))
    hue = chance.randrange(360)
    circles = "".join(
        f'<circle cx="{chance.randrange(width)}" cy="{chance.randrange(height)}" r="{chance.randrange(20, 200)}" '
        f'fill="hsl({hue + chance.randrange(60)} 60% {chance.randrange(40, 80)}%)" opacity=".7"/>'
        for _ in range(12)
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<rect width="100%" height="100%" fill="hsl({hue} 50% 85%)"/>{circles}</svg>'
    )
    return web.Response(text=svg, content_type="image/svg+xml", headers={"Cache-Control": "max-age=3600"})
