"""Reads request bodies within limits, before anything is decompressed or parsed.

- Bytes are counted before they are read: all bodies share MEMORY_BYTES, of which one session may use half.
- Large bodies are read and parsed one at a time; sessions take turns.
- While others wait, a body must arrive with at least SLOWEST bytes per second, so that a slow sender does not delay
  them.
- Bodies stay as they were sent, so that signatures can be verified before anything is parsed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

from aiohttp import web

from app import json_input
from app.errors import AppError, Unavailable
from app.parsing.encodings import encoding_of, unpack
from app.turns import Turns

MEMORY_BYTES: Final = 16 * 1024 * 1024
SMALL_BYTES: Final = 16 * 1024
"""Bodies up to this size are not counted if they have already arrived: they are processed at once."""
LARGE_BYTES: Final = 256 * 1024
MAX_WAITING: Final = 128
"""Bodies of one session that may wait to be read; a part of each has already arrived."""
SLOWEST: Final = 64 * 1024
CHARSETS: Final = ("utf-8", "utf8", "us-ascii", "ascii")


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes as sent, and their content coding: `gzip`, `deflate`, or empty.

    Close it when it is no longer needed (`async with`): until then it counts towards MEMORY_BYTES.
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
        """`timeout`: seconds for a body to arrive, and for waiting to be read."""
        busy = Unavailable("Too many request bodies are waiting. Try again.")
        self._timeout = timeout
        self._memory = Turns(MEMORY_BYTES, each=MEMORY_BYTES // 2, waiting=MAX_WAITING, error=busy)
        self._large = Turns(1, waiting=MAX_WAITING, error=busy)

    async def read(self, request: web.Request, session_id: str, limit: int) -> Body:
        """Read a body with a JSON content type.

        Raises AppError: 415, 413 over `limit` bytes as sent, 400 if it is incomplete, and Unavailable.
        """
        encoding = check_head(request)
        declared = request.content_length
        if (declared or 0) > limit:
            raise _too_large(limit)
        data: bytes | bytearray = b""
        if complete := request.content.is_eof():  # it arrived with the headers, as small ones do
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
                reserved = declared or LARGE_BYTES  # chunked: no more than this before its turn
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

    async def read_json(self, request: web.Request, session_id: str, limit: int, max_values: int) -> Any:
        """The value of a JSON body with at most `limit` bytes, compressed or not, and at most `max_values` values.

        Raises AppError as `read` does, and: `malformed`, `too_large`.
        """
        async with await self.read(request, session_id, limit) as body:
            return json_input.loads(unpack(body.data, body.encoding, limit), max_values)

    async def _rest(
        self, request: web.Request, data: bytearray, size: int, enough: int, wanted: Callable[[], bool]
    ) -> bytearray:
        """The first `size` bytes of `data` and the rest of the body, until its end or until more than `enough` bytes.
        If `data` has the length of the body, it does not grow, and is not copied repeatedly."""
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
    """For `Expect: 100-continue` (RFC 9110, 10.1.1): tell the client to continue when its body is read, not before."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed()


def check_head(request: web.Request) -> str:
    """The body's content coding. Raises AppError `unsupported_media_type` if it is not JSON in UTF-8."""
    if request.content_type != "application/json":
        raise AppError("unsupported_media_type", "Send the body as Content-Type: application/json.")
    charset = (request.charset or "utf-8").lower()
    if charset not in CHARSETS:
        shown = "".join(char for char in charset[:50] if char.isprintable())
        raise AppError("unsupported_media_type", f"The charset {shown!r} is not supported; send UTF-8.")
    return encoding_of(",".join(request.headers.getall("Content-Encoding", ())))


def _too_large(limit: int) -> AppError:
    return AppError("too_large", f"The request body may have at most {limit} bytes.")
