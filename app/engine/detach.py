"""Detaches a connection from aiohttp after its upgrade request. Only this module uses undocumented behaviour of
aiohttp.

`web.WebSocketResponse` keeps aiohttp's protocol object, the request and two tasks as long as the WebSocket lives: 12
kB each. Here our protocol object replaces aiohttp's on the transport, and aiohttp is told that the connection has
ended, so that it frees its objects. No private attributes are used, but this behaviour is relied on (aiohttp 3.14;
checked by tests/engine/test_detach.py):

- `request.protocol` is the transport's protocol; its `transport` may be taken away, then `connection_lost(None)` frees
  everything and closes nothing;
- `set_parser` passes on the data after the request's headers;
- a response whose `prepare` and `write_eof` do nothing leaves the transport alone;
- where the runner has `handler_cancellation`, the handler is cancelled by this: it must not await afterwards.
"""

import asyncio
from typing import Any

from aiohttp import web


class Detached(web.Response):
    """The response of a handler whose connection was detached: nothing is written."""

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class _Tail:
    """Acts as a parser to receive the data that the client sent after its upgrade request."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        pass


def detach(request: web.Request, transport: asyncio.Transport, protocol: asyncio.Protocol) -> bytes:
    """Replace aiohttp's protocol on the transport. Returns what the client has sent after the request.

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
