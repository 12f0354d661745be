"""All errors that clients can see, with code, HTTP status and title, in one table.

HTTP returns them as RFC 9457 problems (`app.http.problems`), Socket.IO in the acknowledgement
(`app.sockets.namespace`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Kind:
    status: int
    title: str


KINDS: Final[dict[str, Kind]] = {
    "malformed": Kind(400, "The request is malformed"),
    "unauthorized": Kind(401, "A valid token is required"),
    "forbidden": Kind(403, "Not allowed"),
    "not_found": Kind(404, "Not found"),
    "method_not_allowed": Kind(405, "The method is not allowed"),
    "conflict": Kind(409, "Something else came first"),
    "too_large": Kind(413, "The request is too large"),
    "unsupported_media_type": Kind(415, "The content type is not supported"),
    "invalid": Kind(422, "The content is not valid"),
    "rate_limited": Kind(429, "Too many requests"),
    "internal": Kind(500, "Internal server error"),
    "unavailable": Kind(503, "Temporarily unavailable"),
    # Socket.IO only
    "unknown_event": Kind(404, "Unknown event"),
    "too_many_connections": Kind(429, "Too many connections"),
    "too_many_subscriptions": Kind(429, "Too many subscriptions"),
}
"""code -> HTTP status and title. `forbidden` is only used over Socket.IO; over HTTP it is `not_found`."""

RETRY_AFTER_SECONDS: Final = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """One error in a request. `pointer` is a JSON pointer (RFC 6901) as a URI fragment."""

    pointer: str
    detail: str

    def render(self) -> dict[str, str]:
        return {"pointer": self.pointer, "detail": self.detail}


class AppError(Exception):
    """An error with a code of KINDS. `detail` says what is wrong and what to do; it contains no secrets."""

    def __init__(
        self, code: str, detail: str, faults: Sequence[Fault] = (), *, details: Mapping[str, Any] | None = None
    ) -> None:
        """`details`: what the caller needs to know of the state that stands against it."""
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.faults, self.details = code, detail, tuple(faults), details

    def render(self) -> dict[str, Any]:
        """The `error` of a Socket.IO acknowledgement."""
        error: dict[str, Any] = {"code": self.code, "message": self.detail}
        if self.details is not None:
            error["details"] = dict(self.details)
        elif self.faults:
            error["details"] = [fault.render() for fault in self.faults]
        return error


class Unavailable(AppError):
    """A temporary failure. It is safe to repeat the request if it has a messageId."""

    def __init__(self, detail: str = "The database does not answer. Try again.") -> None:
        super().__init__("unavailable", detail)


class RateLimited(AppError):
    """Too many requests. The next one is allowed after `seconds`."""

    def __init__(self, detail: str, seconds: float = RETRY_AFTER_SECONDS) -> None:
        super().__init__("rate_limited", detail)
        self.seconds = seconds
