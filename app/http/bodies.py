"""Reading the bodies of requests within bounds, before anything is unpacked or parsed.

- Bytes are counted before they are read: all bodies share MEMORY_BYTES, of which one session has half at most.
- A large body is read and parsed alone; of several, one of each session in turn.
- While others wait, a body must bring SLOWEST bytes a second, so that a slow sender does not keep them waiting.
- Bodies stay as they were sent: who verifies a signature does it before anything is parsed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from aiohttp import web

from app.errors import AppError, Unavailable
from app.parsing.encodings import encoding_of
from app.turns import Turns

MEMORY_BYTES: Final = 16 * 1024 * 1024
SMALL_BYTES: Final = 16 * 1024
"""Not counted where they are here already: they become something else at once."""
LARGE_BYTES: Final = 256 * 1024
MAX_WAITING: Final = 128
"""Bodies of one session that may wait to be read; of each, a part has come already."""
SLOWEST: Final = 64 * 1024
CHARSETS: Final = ("utf-8", "utf8", "us-ascii", "ascii")


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes as they were sent, and their content coding: `gzip`, `deflate`, or empty.

    To be closed when it is no longer needed (`async with`): until then it counts against the memory of all bodies.
    """

    data: bytes | bytearray
    encoding: str
    _held: contextlib.AsyncExitStack | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._held is not None:
            await self._held.aclose()


class Bodies:
    def __init__(self, timeout: float) -> None:
        """`timeout`: seconds that a body may take to come, and that it may wait to be read."""
        busy = Unavailable("Too many request bodies are waiting. Try again.")
        self._timeout = timeout
        self._memory = Turns(MEMORY_BYTES, each=MEMORY_BYTES // 2, waiting=MAX_WAITING, error=busy)
        self._large = Turns(1, waiting=MAX_WAITING, error=busy)

    async def read(self, request: web.Request, session_id: str, limit: int) -> Body:
        """A body that says it is JSON.

        Raises AppError: 415, 413 over `limit` bytes as sent, 400 when it does not come whole, and Unavailable.
        """
        encoding = check_head(request)
        declared = request.content_length
        if (declared or 0) > limit:
            raise _too_large(limit)
        data: bytes | bytearray = b""
        if complete := request.content.is_eof():  # it came with the head, as small ones do
            data = request.content.read_nowait()
            if len(data) <= min(limit, SMALL_BYTES):
                return Body(data, encoding)
        async with contextlib.AsyncExitStack() as held:
            if complete:
                await held.enter_async_context(self._memory.take(session_id, len(data), seconds=self._timeout))
            elif (declared or 0) > LARGE_BYTES:
                await held.enter_async_context(self._large.take(session_id, seconds=self._timeout))
                data = await self._rest(request, bytearray(declared or 0), 0, limit, lambda: self._large.wanted)
            else:
                reserved = declared or LARGE_BYTES  # chunked: not more than this before its turn
                await held.enter_async_context(self._memory.take(session_id, reserved, seconds=self._timeout))
                data = await self._rest(
                    request, bytearray(declared or 0), 0, min(limit, LARGE_BYTES), lambda: self._memory.wanted
                )
                if len(data) > LARGE_BYTES:
                    await held.enter_async_context(self._large.take(session_id, seconds=self._timeout))
                    data = await self._rest(request, data, len(data), limit, lambda: self._large.wanted)
            if len(data) > limit:
                raise _too_large(limit)
            return Body(data, encoding, held.pop_all())

    async def _rest(
        self, request: web.Request, data: bytearray, size: int, enough: int, wanted: Callable[[], bool]
    ) -> bytearray:
        """The first `size` bytes of `data` and what comes after them: to the end of the body, or to more than `enough`
        bytes. Where `data` is as long as the body will be it does not grow, and so is not copied again and again."""
        if request.headers.get("Expect") and not size:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # nothing of the answer itself
        clock, since = time.monotonic(), size
        try:
            async with asyncio.timeout(self._timeout):
                while size <= enough:
                    try:
                        async with asyncio.timeout(1):
                            chunk = await request.content.readany()
                    except TimeoutError:
                        chunk = None
                    if chunk == b"":
                        break
                    if chunk:
                        data[size : size + len(chunk)] = chunk
                        size += len(chunk)
                    if (seconds := time.monotonic() - clock) >= 1:
                        if wanted() and size - since < SLOWEST * seconds:
                            raise Unavailable(
                                "The request body arrived too slowly while others were waiting. Try again."
                            )
                        clock, since = time.monotonic(), size
        except (TimeoutError, web.RequestPayloadError) as error:
            raise AppError("malformed", "The request body is incomplete.") from error
        del data[size:]
        return data


async def expect_later(request: web.Request) -> None:
    """For `Expect: 100-continue` (RFC 9110, 10.1.1): the client goes on when its body is read, not before."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed()


def check_head(request: web.Request) -> str:
    """The body's content coding. Raises AppError `unsupported_media_type` for what is not JSON in UTF-8."""
    if request.content_type != "application/json":
        raise AppError("unsupported_media_type", "Send the body as Content-Type: application/json.")
    charset = (request.charset or "utf-8").lower()
    if charset not in CHARSETS:
        shown = "".join(char for char in charset[:50] if char.isprintable())
        raise AppError("unsupported_media_type", f"The charset {shown!r} is not supported; send UTF-8.")
    return encoding_of(",".join(request.headers.getall("Content-Encoding", ())))


def _too_large(limit: int) -> AppError:
    return AppError("too_large", f"The request body may have at most {limit} bytes.")
