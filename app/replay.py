"""Replays a file of provider payloads, one JSON document per line, or describes what each would become.

Payloads are posted to the server's webhook in bodies of moderate size, one after the other, so that other sessions are
not delayed. A body that the server cannot accept now is sent again, which is safe.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import aiohttp
import orjson

from app import json_input
from app.domain.incoming import ConnectionSignal, IncomingUpdate, Signal
from app.domain.models import IncomingMessage
from app.errors import AppError
from app.providers import PROVIDERS, Parsed
from app.providers.reasons import REASONS

BODY_LINES: Final = 200
BODY_BYTES: Final = 128 * 1024
LINE_BYTES: Final = 16 * 1024 * 1024
TIMEOUT_SECONDS: Final = 60
ATTEMPTS: Final = 30
PAUSE_SECONDS: Final = 2.0
TEXT_LENGTH: Final = 60
"""Maximum number of characters of a text in a dry run."""

Headers = Callable[[bytes], dict[str, str]]
"""Returns the headers that authenticate a body: a token or a signature."""


class ReplayError(Exception):
    """The message says what was refused, and in which lines."""


@dataclass(slots=True)
class Figures:
    lines: int = 0
    stored: int = 0
    duplicates: int = 0
    updates: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: list[int] = field(default_factory=list)
    """Numbers of the lines that are not JSON."""

    def report(self) -> Iterator[str]:
        yield f"lines {self.lines}, messages stored {self.stored}, already known {self.duplicates}"
        if self.updates:
            yield "updates: " + ", ".join(f"{state} {count}" for state, count in sorted(self.updates.items()))
        for reason, count in sorted(self.skipped.items()):
            yield f"skipped: {reason} {count} ({REASONS.get(reason, 'unknown reason')})"
        if self.unreadable:
            numbers = ", ".join(map(str, self.unreadable[:20])) + (" …" if len(self.unreadable) > 20 else "")
            yield f"not JSON: {len(self.unreadable)} (line {numbers})"


@dataclass(slots=True)
class _Body:
    first: int
    last: int
    payloads: list[Any]
    bytes_read: int


def payloads(lines: Iterable[bytes], figures: Figures) -> Iterator[tuple[int, int, Any]]:
    """Line number, size in bytes, and parsed JSON (None for blank lines and for lines that are not JSON, which are
    counted)."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            yield number, len(line), None
            continue
        figures.lines += 1
        try:
            if len(line) > LINE_BYTES:
                raise AppError("too_large", "The line is too long.")
            yield number, len(line), json_input.loads_provider(line)
        except AppError:
            figures.unreadable.append(number)
            yield number, len(line), None


def explain(lines: Iterable[bytes], session_id: str, source: str, now: datetime, figures: Figures) -> Iterator[str]:
    """Describe what each line would become, and what would be skipped and why. Sends nothing."""
    for number, _, payload in payloads(lines, figures):
        if payload is None:
            if figures.unreadable[-1:] == [number]:
                yield f"line {number}: not JSON"
            continue
        parsed = PROVIDERS[source].parse(payload, session_id, now)
        figures.skipped += parsed.skipped
        told = list(_describe(parsed))
        yield from (f"line {number}: {_printable(words)}" for words in told or ["nothing"])


def _describe(parsed: Parsed) -> Iterator[str]:
    for message in parsed.messages:
        yield _message(message)
    for update in parsed.updates:
        if not update.nothing_to_read:
            yield f"update of {update.message_id} in {update.chat_id or 'its chat'}: {_change(update)}"
    for contact in parsed.contacts:
        also = f", also {', '.join(contact.aliases)}" if contact.aliases else ""
        yield f"contact {contact.id}: {contact.name or 'without a name'}{also}"
    for alias in parsed.aliases:
        yield f"one person: {alias.lid} and {alias.address}"
    for read in parsed.reads:
        yield f"read on another device: {read.chat_id}"
    for signal in parsed.signals:
        yield _signal(signal)
    for reason, count in parsed.skipped.items():
        yield f"skipped: {reason} {count} ({REASONS.get(reason, 'unknown reason')})"


def _message(message: IncomingMessage) -> str:
    sender = "us" if message.from_me else message.sender.name or message.sender.id
    media = f", media {message.media.url[:TEXT_LENGTH]}" if message.media else ""
    answer = f", answers {message.reply_to.message_id}" if message.reply_to else ""
    where = f"message {message.message_id} in {message.chat_id} from {sender}"
    return f"{where}: {message.type}{_quoted(message.text)}{media}{answer}"


def _change(update: IncomingUpdate) -> str:
    parts = []
    if update.status:
        parts.append(f"status {update.status}")
    if update.error:
        parts.append(f"error {update.error.code} ({update.error.title})")
    if update.text is not None:
        parts.append(f"edited{_quoted(update.text) or ' to nothing'}")
    if update.deleted:
        parts.append("deleted")
    if update.reaction:
        who = "we" if update.reaction.from_me else update.reaction.sender.id
        parts.append(f"{who} reacted {update.reaction.emoji}" if update.reaction.emoji else f"{who} removed a reaction")
    if update.receipt:
        parts.append(f"{update.receipt.status} by {update.receipt.by}")
    return ", ".join(parts)


def _quoted(text: str | None) -> str:
    if not text:
        return ""
    shown = text if len(text) <= TEXT_LENGTH else text[:TEXT_LENGTH] + "…"
    return " “" + shown.replace("\n", " / ") + "”"


def _printable(words: str) -> str:
    """Remove characters that control a terminal."""
    return words if words.isprintable() else "".join(one if one.isprintable() else " " for one in words)


def _signal(signal: Signal) -> str:
    if isinstance(signal, ConnectionSignal):
        return f"connection: {signal.state}" + (f" ({signal.detail})" if signal.detail else "")
    words = getattr(signal, "action", None) or getattr(signal, "state", "")
    return f"signal: {signal.sender.id} {words} in {signal.chat_id}"


async def replay(
    lines: Iterable[bytes],
    url: str,
    session_id: str,
    source: str,
    headers: Headers,
    figures: Figures,
    progress: Callable[[int], None],
) -> None:
    """Post all lines. `progress` is called with the number of file bytes in each body. Raises ReplayError."""
    address = f"{url}/webhook/{session_id}/{source}"
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        for body in _bodies(lines, figures):
            if body.payloads:
                raw = orjson.dumps(body.payloads)
                data = await _post(http, address, raw, headers(raw), f"lines {body.first} to {body.last}")
                _count(figures, data)
            progress(body.bytes_read)


def _bodies(lines: Iterable[bytes], figures: Figures) -> Iterator[_Body]:
    """Several lines as one body: every provider's webhook accepts lists."""
    body = _Body(1, 0, [], 0)
    size = 0
    for number, length, payload in payloads(lines, figures):
        if body.payloads and (len(body.payloads) >= BODY_LINES or size + length > BODY_BYTES):
            yield body
            body, size = _Body(number, number, [], 0), 0
        body.last, body.bytes_read = number, body.bytes_read + length
        if payload is not None:
            size += length
            body.payloads += payload if isinstance(payload, list) else [payload]
    yield body


async def _post(http: aiohttp.ClientSession, address: str, raw: bytes, headers: dict[str, str], where: str) -> Any:
    problem = ""
    for _ in range(ATTEMPTS):
        try:
            async with http.post(address, data=raw, headers={"Content-Type": "application/json", **headers}) as answer:
                body = await answer.json(content_type=None)
                if answer.status == 200:
                    return body["data"]
                problem = f"{answer.status} {body.get('detail', '')}" if isinstance(body, dict) else str(answer.status)
                if answer.status < 500 and answer.status != 429:
                    raise ReplayError(f"{where} were refused: {problem}")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            problem = f"{type(error).__name__} {error}".strip()
        await asyncio.sleep(PAUSE_SECONDS)
    raise ReplayError(f"{where} could not be stored: {problem}")


def _count(figures: Figures, data: Any) -> None:
    for one in data["results"]:
        if one["duplicate"]:
            figures.duplicates += 1
        else:
            figures.stored += 1
    figures.updates.update(one["state"] for one in data.get("updates", ()))
    figures.skipped.update(data.get("skipped", {}))
