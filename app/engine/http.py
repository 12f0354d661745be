"""The HTTP side of Engine.IO 4: handshakes, polls, and the websocket's opening (RFC 6455, 4.2).

Errors are JSON, `{"code", "message"}`, with the codes of the protocol: 0 transport unknown, 1 session id unknown,
2 bad handshake method, 3 bad request, 4 forbidden, 5 unsupported protocol version.
"""

import asyncio
import base64
import binascii
import hashlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from . import frames
from .connection import Connection, Handshake
from .detach import Detached, detach
from .packets import ProtocolError
from .polling import Polling
from .websocket import WebSocket

if TYPE_CHECKING:
    from .server import EngineServer

log = logging.getLogger(__name__)

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def same_origin(request: web.Request, origin: str) -> bool:
    """Whether the origin's host and port are those that the request was sent to, whatever its scheme.

    The scheme is not compared, as a proxy in front may speak TLS. The host is the Host header's: where a name may be
    made to point here by others (DNS rebinding), give a list of origins instead.
    """
    try:
        parts = urlsplit(origin)
        default = _DEFAULT_PORTS.get(parts.scheme)
        host = urlsplit(f"//{request.host}")
        if default is None or not parts.hostname or parts.path or parts.query or parts.fragment:
            return False
        return parts.hostname == host.hostname and (parts.port or default) == (host.port or default)
    except ValueError:
        return False


async def handle(server: "EngineServer", request: web.Request) -> web.StreamResponse:
    """Answer one request to the engine's path."""
    headers: dict[str, str] = {}
    origin = request.headers.get("Origin")
    if origin is not None:
        if not server.origin_allowed(request, origin):
            server.stats.refuse("origin")
            return _error(4, "Origin not allowed", 403)
        headers = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
    if request.method == "OPTIONS":
        headers |= {"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Allow-Headers": "content-type"}
        return web.Response(status=204, headers=headers | {"Access-Control-Max-Age": "600"})
    query = request.query
    transport, sid = query.get("transport"), query.get("sid")
    if server.stopping:
        return _unavailable(server, "stopping", headers)
    if transport not in ("polling", "websocket"):
        return _error(0, "Transport unknown", headers=headers)
    if query.get("EIO") != "4":
        return _error(5, "Unsupported protocol version", headers=headers)
    if sid is None:
        return await _handshake(server, request, transport, headers)
    connection = server.sockets.get(sid)
    if connection is None or server.pongs.overdue(connection):
        return _error(1, "Session ID unknown", headers=headers)
    if transport == "websocket":
        return _upgrade(server, request, connection)
    polling = connection.polling
    if polling is None:
        return _error(3, "Bad request", headers=headers)  # it has been upgraded
    if request.method == "GET":
        text = await polling.poll(request.transport)
        if text is None:
            return _error(3, "Bad request", headers=headers)
        polling.answered(request.transport, len(text))
        return _text(text, headers)
    if request.method == "POST":
        return await _post(server, request, connection, polling, headers)
    return _error(3, "Bad request", headers=headers)


async def _handshake(
    server: "EngineServer", request: web.Request, transport: str, headers: dict[str, str]
) -> web.StreamResponse:
    if request.method != "GET":
        return _error(2, "Bad handshake method", headers=headers)
    accept = None
    if transport == "websocket":
        accept = _accept_key(request)
        if accept is None:
            return _not_a_websocket(request)
    if server.full:
        return _unavailable(server, "connections", headers)
    address = server.client_address(request)
    if not server.may_enter(address):
        server.stats.refuse("unauthenticated_per_address")
        return _error(4, "Too many connections that are not signed in", 429, headers | {"Retry-After": "5"})
    tcp = request.transport
    if tcp is None:
        return Detached(status=499)  # it went while it was looked at
    request_headers = request.headers
    connection = server.open(
        Handshake(address, request_headers.get("Origin"), request_headers.get("User-Agent"), request.path), transport
    )
    await server.handlers["connect"](connection.sid, connection.handshake)
    if accept is None:
        connection.polling = Polling(connection)
        return _text(server.open_packet(connection.sid, upgrades=True), headers)
    if tcp.is_closing():
        connection.close("transport close")
        return Detached(status=499)
    websocket, tail = _attach(server, request, tcp, connection, accept)
    tcp.write(frames.frame(server.open_packet(connection.sid, upgrades=False).encode()))
    connection.open_websocket(websocket)
    if tail:
        websocket.data_received(tail)
    return Detached(status=101)


def _upgrade(server: "EngineServer", request: web.Request, connection: Connection) -> web.StreamResponse:
    accept = _accept_key(request)
    if accept is None:
        return _not_a_websocket(request)
    tcp = request.transport
    if tcp is None or tcp.is_closing():
        return Detached(status=499)
    taken = connection.websocket is not None or connection.upgrading is not None
    websocket, tail = _attach(server, request, tcp, connection, accept)
    if taken:
        # Refusing with a status would be an uncaught error in the JavaScript client.
        websocket.close(frames.PROTOCOL_ERROR)
    else:
        connection.upgrading = websocket
        server.upgrades.add(websocket)
    if tail:
        websocket.data_received(tail)
    return Detached(status=101)


def _attach(
    server: "EngineServer", request: web.Request, tcp: asyncio.Transport, connection: Connection, accept: str
) -> tuple[WebSocket, bytes]:
    """Answer 101 and take the transport over."""
    offers = request.headers.getall("Sec-WebSocket-Extensions", ()) if server.deflate else ()
    extensions = frames.negotiate(",".join(offers)) if offers else None
    head = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n"
    )
    if extensions is not None:
        head += f"Sec-WebSocket-Extensions: {extensions}\r\n"
    websocket = WebSocket(connection, tcp, extensions is not None)
    tail = detach(request, tcp, websocket)
    websocket.begin(server.limits.send_buffer)
    tcp.write((head + "\r\n").encode())
    return websocket, tail


async def _post(
    server: "EngineServer", request: web.Request, connection: Connection, polling: Polling, headers: Mapping[str, str]
) -> web.Response:
    limit = server.limits.max_packet
    if polling.posting:
        connection.close("transport error")  # of two at the same time, nobody can tell which was sent first
        return _error(3, "Bad request", headers=headers)
    if (request.content_length or 0) > limit:
        connection.close("transport error")
        return _too_large(headers)
    polling.posting = True
    body = bytearray()
    try:
        async with asyncio.timeout(server.limits.body_timeout):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    connection.close("transport error")
                    return _too_large(headers)
        packets = polling.parse(bytes(body))
    except (TimeoutError, web.RequestPayloadError, ConnectionError, asyncio.CancelledError) as error:
        connection.close("transport error")
        if isinstance(error, asyncio.CancelledError):
            raise
        return _closing(_error(3, "Request timeout", 408, headers))
    except ProtocolError as error:
        connection.malformed(str(error))
        return _error(3, "Bad request", headers=headers)
    finally:
        polling.posting = False
    for packet in packets:
        connection.receive(packet)
    return web.Response(text="ok", headers=headers)


def _accept_key(request: web.Request) -> str | None:
    """The answer to the websocket key; None if this is no websocket request."""
    headers = request.headers
    key = headers.get("Sec-WebSocket-Key", "").strip()
    try:
        ok = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return None
    connection = {token.strip().lower() for token in ",".join(headers.getall("Connection", ())).split(",")}
    if (
        not ok
        or request.method != "GET"
        or request.version < (1, 1)
        or headers.get("Upgrade", "").strip().lower() != "websocket"
        or "upgrade" not in connection
        or headers.get("Sec-WebSocket-Version") != "13"
    ):
        return None
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def _not_a_websocket(request: web.Request) -> web.Response:
    version = request.headers.get("Sec-WebSocket-Version")
    if version is not None and version != "13":
        return _error(3, "Unsupported WebSocket version", 426, {"Sec-WebSocket-Version": "13"})
    return _error(3, "Bad request")


def _error(code: int, message: str, status: int = 400, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status, headers=headers)


def _closing(response: web.Response) -> web.Response:
    response.force_close()
    return response


def _too_large(headers: Mapping[str, str]) -> web.Response:
    return _closing(_error(3, "Payload too large", 413, headers))


def _unavailable(server: "EngineServer", reason: str, headers: Mapping[str, str]) -> web.Response:
    server.stats.refuse(reason)
    return _error(4, "Unavailable", 503, {**headers, "Retry-After": "5"})


def _text(body: str, headers: Mapping[str, str]) -> web.Response:
    return web.Response(text=body, headers={"Cache-Control": "no-store", **headers})
