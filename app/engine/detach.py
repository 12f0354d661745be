"""Taking a connection away from aiohttp after its upgrade request: the one file that touches what it does not document.

`web.WebSocketResponse` keeps aiohttp's protocol object, the request and two tasks for as long as the websocket lives,
12 kB each. Here our protocol object takes their place on the transport, and aiohttp is told that the connection has
ended, so that it frees its own. Nothing with an underscore is touched, but these are relied upon (aiohttp 3.14; pinned
by tests/engine/test_detach.py):

- `request.protocol` is the transport's protocol; its `transport` may be taken away, then `connection_lost(None)` frees
  everything and closes nothing;
- `set_parser` hands over what came behind the request's head;
- a response whose `prepare` and `write_eof` do nothing leaves the transport alone;
- where the runner has `handler_cancellation`, the handler is cancelled by this: it must not await afterwards.
"""

import asyncio
from typing import Any

from aiohttp import web


class Detached(web.Response):
    """The answer of a handler whose connection is not aiohttp's any more: nothing is written."""

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class _Tail:
    """Stands in for a parser, to be given what the client sent behind its upgrade request."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        pass


def detach(request: web.Request, transport: asyncio.Transport, protocol: asyncio.Protocol) -> bytes:
    """Put `protocol` in the place of aiohttp's on the transport; returns what the client has sent beyond the request.

    `connection_made` is not called. The handler must return a `Detached` without awaiting anything further.
    """
    http: Any = request.protocol
    tail = _Tail()
    http.set_parser(tail)
    transport.set_protocol(protocol)
    http.transport = None
    http.connection_lost(None)
    if not transport.is_reading():
        transport.resume_reading()
    return tail.data
