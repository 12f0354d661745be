"""Turns a provider's refusal into a code and a text that agents understand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from app.domain.deliveries import NOT_CONNECTED, UNKNOWN_OUTCOME, Report
from app.domain.models import MessageError
from app.providers.outgoing import Answer

NOT_ON_WHATSAPP: Final = MessageError("not_on_whatsapp", "This number is not on WhatsApp.")
WINDOW_CLOSED: Final = MessageError(
    "window_closed", "The customer's last message is more than 24 hours old. Only a template can be sent now."
)
BLOCKED: Final = MessageError("blocked", "WhatsApp does not let this account write to this person.")
TOO_LARGE: Final = MessageError("too_large", "The message or its file is too large for the provider.")
LOGGED_OUT: Final = MessageError("logged_out", "The account is logged out at the provider. It has to be linked again.")
BAD_KEY: Final = MessageError("provider_key", "The provider does not accept the key of this session.")
AWAY: Final = MessageError("provider_unavailable", "The provider could not be reached.")
SLOW_DOWN: Final = MessageError("provider_busy", "The provider asks to send more slowly.")
BAD_FILE: Final = MessageError("bad_file", "The provider could not use the file.")
NO_MEDIA: Final = MessageError("not_possible", "This cannot be sent by this provider.")

BOT_SILENT: Final = MessageError("bot_silent", "The bot that sends the messages does not answer.")

_ALL = (NOT_ON_WHATSAPP, WINDOW_CLOSED, BLOCKED, TOO_LARGE, LOGGED_OUT, BAD_KEY, AWAY, SLOW_DOWN, BAD_FILE, NO_MEDIA)
CODES: Final = frozenset(one.code for one in (*_ALL, BOT_SILENT, UNKNOWN_OUTCOME, NOT_CONNECTED)) | {"rejected"}
"""Roomcast's own codes. Bots and programs may use others."""

MAX_WORDS: Final = 200
"""Maximum number of characters of a provider's text that is shown to agents."""
MAX_READ: Final = 2_000
_PASSING: Final = frozenset({408, 409, 425, 429})
_BY_WORDS: Final[tuple[tuple[re.Pattern[str], MessageError], ...]] = tuple(
    (re.compile(pattern, re.I), error)
    for pattern, error in (
        (r"exists: false|not (?:on|registered (?:on|in|with)) whatsapp|no account|not a whatsapp", NOT_ON_WHATSAPP),
        (r"24.hour|re-?engagement", WINDOW_CLOSED),
        (r"\bblocked\b|not.allowed.to.(?:send|message)", BLOCKED),
        (r"too (?:large|big|long)|(?:size|length) limit|exceeds? .*(?:size|limit)", TOO_LARGE),
        (r"logged.?out|scan_qr|not logged in|qr ?code", LOGGED_OUT),
    )
)


def refused(answer: Answer) -> Report:
    """The meaning of an unsuccessful answer, by its text and status."""
    words = words_of(answer.body)
    status = answer.status
    known = next((error for pattern, error in _BY_WORDS if pattern.search(words)), None)
    if known is None and status == 413:
        known = TOO_LARGE
    if known is not None:
        return Report("failed", error=known)
    if status == 504:
        return Report("unknown", error=UNKNOWN_OUTCOME)  # from a proxy that got no answer
    if status in _PASSING or status >= 500:
        error = SLOW_DOWN if status == 429 else AWAY
        return Report("retry", error=error, retry_seconds=answer.retry_after)
    if status in (401, 403):
        return Report("failed", error=BAD_KEY)
    return Report("failed", error=rejected(words or f"HTTP status {status}"))


def rejected(words: str) -> MessageError:
    return MessageError("rejected", f"The provider refused it: {words[:MAX_WORDS]}")


def words_of(body: Any, depth: int = 4) -> str:
    """The texts of a refusal, on one line."""
    if isinstance(body, bool):
        return str(body).lower()
    if isinstance(body, str | int | float):
        return " ".join(str(body).split())
    if not depth:
        return ""
    if isinstance(body, Mapping):
        return ", ".join(f"{key}: {words_of(value, depth - 1)}" for key, value in list(body.items())[:20])[:MAX_READ]
    return " ".join(words_of(one, depth - 1) for one in body[:20])[:MAX_READ] if isinstance(body, list) else ""
