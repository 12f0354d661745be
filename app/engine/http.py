"""The HTTP side of Engine.IO 4: handshakes, polls, posts, and WebSocket upgrades."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from aiohttp import web

from . import frames, refusals, upgrade
from .connection import Connection, Handshake
from .connections import Connections
from .detach import Detached, detach
from .limits import Limits
from .messages import CLOSE
from .packets import ProtocolError
from .polling import Polling
from .reasons import TRANSPORT_CLOSE, TRANSPORT_ERROR
from .refusals import Refusals, Refused
from .stats import Stats
from .websocket import WebSocket

_UPGRADES = '["websocket"]'
_FIELD_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,1000}")
_OKHTTP = "okhttp/"
"""User agent of the clients for Java and Kotlin. They ignore a close frame until the ping timeout, but reconnect at
once when the connection ends."""
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def same_origin(request: web.Request, origin: str) -> bool:
    """Whether the origin's host and port are those of the request, with any scheme.

    The scheme is not compared, because a proxy in front may use TLS. The host is that of the Host header: if others
    can make a name resolve to this server (DNS rebinding), use a list of origins instead.
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


class Requests:
    """Answers the requests to the engine's path.

    `connected(connection)` is called for each new connection, before the client is answered.
    """

    def __init__(
        self,
        connections: Connections,
        limits: Limits,
        stats: Stats,
        *,
        ping_interval: float,
        ping_timeout: float,
        origin_allowed: Callable[[web.Request, str], bool],
        client_address: Callable[[web.Request], str],
        connected: Callable[[Connection], Awaitable[None]],
    ) -> None:
        self._connections, self._limits = connections, limits
        self._refusals = Refusals(stats)
        self._origin_allowed, self._client_address, self._connected = origin_allowed, client_address, connected
        self._opening = (
            f',"pingInterval":{round(ping_interval * 1000)},"pingTimeout":{round(ping_timeout * 1000)}'
            f',"maxPayload":{limits.max_packet}}}'
        )
        self.stopping = False
        """Whether requests are refused because of the shutdown."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers: dict[str, str] = {}  # of every answer
        try:
            return await self._serve(request, headers)
        except Refused as error:
            return self._refusals.answer(error.refusal, self._client_address(request), headers)

    async def _serve(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None:
            if not self._origin_allowed(request, origin):
                raise Refused(refusals.ORIGIN)
            headers |= {
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Allow-Credentials": "true",  # load balancers may use cookies for sticky sessions
                "Vary": "Origin, Access-Control-Request-Headers",
            }
        if request.method == "OPTIONS":
            asked = request.headers.get("Access-Control-Request-Headers", "")
            headers |= {
                "Access-Control-Allow-Methods": "GET, POST",
                "Access-Control-Allow-Headers": asked if _FIELD_NAMES.fullmatch(asked) else "content-type",
            }
            return web.Response(status=204, headers=headers | {"Access-Control-Max-Age": "600"})
        query = request.query
        transport, sid = query.get("transport"), query.get("sid")
        if self.stopping:
            raise Refused(refusals.STOPPING)
        if transport not in ("polling", "websocket"):
            raise Refused(refusals.TRANSPORT_UNKNOWN)
        if query.get("EIO") != "4":
            raise Refused(refusals.VERSION)
        if sid is None:
            return await self._handshake(request, transport, headers)
        connection = self._connections.by_sid.get(sid)
        if connection is None or self._connections.is_lost(connection):
            raise Refused(refusals.SESSION_ELSEWHERE if self._connections.is_foreign(sid) else refusals.SESSION_UNKNOWN)
        if transport == "websocket":
            return self._upgrade(request, connection)
        polling = connection.polling
        if polling is None:
            raise Refused(refusals.BAD_REQUEST)  # it has been upgraded
        if request.method == "GET":
            if polling.polled:
                polling.end(CLOSE)
                connection.close(TRANSPORT_ERROR)  # with two at the same time, the order of reading is undefined
                raise Refused(refusals.BAD_REQUEST)
            text = await polling.poll(request.transport)
            if text is None:
                # Not a close packet, after which python-engineio's clients never reconnect.
                raise Refused(refusals.SESSION_UNKNOWN)
            return _text(text, headers)
        if request.method == "POST":
            return await self._post(request, connection, polling, headers)
        raise Refused(refusals.BAD_REQUEST)

    async def _handshake(self, request: web.Request, transport: str, headers: Mapping[str, str]) -> web.StreamResponse:
        if request.method != "GET":
            raise Refused(refusals.BAD_METHOD)
        accept = upgrade.accept_key(request) if transport == "websocket" else None
        address = self._client_address(request)
        refusal = self._connections.admission.refusal(address)
        if refusal is not None:
            raise Refused(refusal)
        tcp = request.transport
        if tcp is None:
            return Detached(status=499)  # it ended meanwhile
        origin, agent = request.headers.get("Origin"), request.headers.get("User-Agent")
        connection = self._connections.open(Handshake(address, origin, agent, request.path), transport)
        await self._connected(connection)
        if accept is None:
            connection.polling = Polling(connection, self._connections.polls)
            return _text(self._open_packet(connection, _UPGRADES), headers)
        if tcp.is_closing():
            connection.close(TRANSPORT_CLOSE)
            return Detached(status=499)
        websocket, tail = self._attach(request, tcp, connection, accept)
        tcp.write(frames.frame(self._open_packet(connection, "[]").encode()))
        connection.open_websocket(websocket)
        if tail:
            websocket.data_received(tail)
        return Detached(status=101)

    def _open_packet(self, connection: Connection, upgrades: str) -> str:
        return f'0{{"sid":"{connection.sid}","upgrades":{upgrades}{self._opening}'

    def _upgrade(self, request: web.Request, connection: Connection) -> web.StreamResponse:
        accept = upgrade.accept_key(request)
        tcp = request.transport
        if tcp is None or tcp.is_closing():
            return Detached(status=499)
        taken = connection.websocket is not None or connection.upgrading is not None
        websocket, tail = self._attach(request, tcp, connection, accept)
        if taken:
            # Refusing with a status would be an uncaught error in the JavaScript client.
            websocket.close(frames.PROTOCOL_ERROR)
        else:
            self._connections.begin_upgrade(connection, websocket)
        if tail:
            websocket.data_received(tail)
        return Detached(status=101)

    def _attach(
        self, request: web.Request, tcp: asyncio.Transport, connection: Connection, accept: str
    ) -> tuple[WebSocket, bytes]:
        """Answer 101 and take over the transport."""
        websockets = self._connections.websockets
        head, compressed = upgrade.answer(request, accept, compress=websockets.deflate)
        silent = request.headers.get("User-Agent", "").startswith(_OKHTTP)
        websocket = WebSocket(connection, tcp, compressed, websockets, silent=silent)
        tail = detach(request, tcp, websocket)
        websocket.begin()
        tcp.write(head)
        return websocket, tail

    async def _post(
        self, request: web.Request, connection: Connection, polling: Polling, headers: Mapping[str, str]
    ) -> web.Response:
        limit = self._limits.max_packet
        if polling.posting:
            connection.close(TRANSPORT_ERROR)  # with two at the same time, the order of sending is undefined
            raise Refused(refusals.BAD_REQUEST)
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise Refused(refusals.ENCODED)
        if (request.content_length or 0) > limit:
            connection.close(TRANSPORT_ERROR)
            raise Refused(refusals.TOO_LARGE)
        polling.posting = True
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_timeout):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > limit:
                        connection.close(TRANSPORT_ERROR)
                        raise Refused(refusals.TOO_LARGE)
            packets = polling.parse(bytes(body))
        except (TimeoutError, web.RequestPayloadError, ConnectionError, asyncio.CancelledError) as error:
            connection.close(TRANSPORT_ERROR)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise Refused(refusals.TIMEOUT) from error
        except ProtocolError as error:
            connection.malformed(str(error))
            raise Refused(refusals.BAD_REQUEST) from error
        finally:
            polling.posting = False
        for packet in packets:
            if connection.closed:
                break  # packets after a close do not count
            connection.receive(packet)
        return web.Response(text="ok", headers=headers)


def _text(body: str, headers: Mapping[str, str]) -> web.Response:
    return web.Response(text=body, headers={"Cache-Control": "no-store", **headers})
