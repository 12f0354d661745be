"""Servers on `app/engine` for the JavaScript clients' own test suites, in the place of their support servers.

`python tests/conformance/clients.py engine` is for packages/engine.io-client/test of socketio/socket.io (port 3000),
`python tests/conformance/clients.py socket` for packages/socket.io-client/test (port 3210). `make conformance` runs
both.
"""

import argparse
import asyncio
import datetime
import json
import pathlib
import sys

import uvloop
from aiohttp import web

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from socketio.exceptions import ConnectionRefusedError as Refused

from app.engine import Engine, Limits, Server
from tests.conformance.server import serve

PORTS = {"engine": 3000, "socket": 3210}
COOKIES = ("1=1; Max-Age=86400", "2=2; Path=/; HttpOnly; Secure; SameSite=Strict", "3=3; Max-Age=0")


def engine_app() -> web.Application:
    """Says hi and sends every message back; refuses requests that say `deny`, sets cookies, and tells headers."""
    posted: dict[str, dict[str, str]] = {}  # the headers of each session's last POST
    limits = Limits(max_packet=100, max_unauthenticated_per_address=0)
    engine = Engine(limits=limits, ping_interval=0.5, ping_timeout=20)

    async def connect(sid, _handshake):
        connection = engine.sockets[sid]
        engine.connections.admit(connection)
        connection.send_message("hi")

    def message(connection, data):
        if data == "give binary":
            data = bytes(range(5))
        elif data == "give utf8":
            data = "пойду спать всем спокойной ночи"
        elif data == "sendHeaders":
            data = json.dumps(posted.get(connection.sid))
        connection.send_message(data)

    async def disconnect(connection, _reason):
        posted.pop(connection.sid, None)

    engine.on("connect", connect)
    engine.on("message", message)
    engine.on("disconnect", disconnect)

    @web.middleware
    async def around(request, handler):
        if "deny" in request.query:
            return web.json_response({"code": 4, "message": "Forbidden"}, status=403)
        sid = request.query.get("sid")
        if sid is not None and request.method == "POST":
            posted[sid] = {name.lower(): value for name, value in request.headers.items()}
        response = await handler(request)
        if sid is None and not response.prepared:
            expires = datetime.datetime.now(datetime.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
            for cookie in (*COOKIES, f"4=4; Expires={expires}"):
                response.headers.add("Set-Cookie", cookie)
        return response

    app = web.Application(middlewares=[around])
    engine.attach(app, "engine.io")
    return app


def request_of(handshake) -> dict:
    """What is told of the request that the connection began with: it is handed over as the client's address."""
    return json.loads(handshake.address)


def socket_app() -> web.Application:
    """The namespaces and events of the support server."""
    server = Server(
        limits=Limits(event_rate=1_000, event_burst=1_000, max_unauthenticated_per_address=0, max_per_address=0),
        ping_interval=2,
        client_address=lambda request: json.dumps(
            {"url": request.path_qs, "query": dict(request.query), "headers": dict(request.headers)}
        ),
    )
    handshakes: dict[str, dict] = {}

    def came(sid, handshake, auth):
        handshakes[sid] = {**request_of(handshake), "auth": auth or {}, "xdomain": False, "secure": False}

    @server.event
    async def connect(sid, handshake, auth):
        if "fail" in request_of(handshake)["query"]:
            raise Refused("Auth failed (main namespace)")
        came(sid, handshake, auth)

    @server.on("disconnect", namespace="*")
    async def disconnect(_namespace, sid, _reason):
        handshakes.pop(sid, None)

    @server.on("connect", namespace="/abc")
    async def connect_abc(sid, handshake, auth):
        came(sid, handshake, auth)
        server.push(sid, "handshake", handshakes[sid], namespace="/abc")

    @server.on("connect", namespace="/no")
    async def connect_no(_sid, _handshake, _auth):
        raise Refused("Auth failed (custom namespace)")

    for name in ("/foo", "/timeout_socket", "/valid", "/asd"):
        server.on("connect", came, namespace=name)
    server.on("getId", lambda sid: sid)
    server.on("getId", lambda sid: sid, namespace="/foo")
    server.on("getHandshake", lambda sid: handshakes[sid])
    server.on("echo", lambda _sid, value: (value,))  # null is an argument, too
    server.on("getAckDate", lambda _sid, _value: now())

    def answers(event, *args):
        """The client says it, whatever it says with it, and is sent this."""
        return lambda sid, *_: server.push(sid, *args) if args else server.push(sid, event)

    for event, *args in (
        ("hi", "hi"),
        ("false", "false", False),
        ("doge", "doge", b"asdfasdf"),
        ("getbin", "takebin", b"asdfasdf"),
    ):
        server.on(event, answers(event, *args))
    server.on("getDate", lambda sid: server.push(sid, "takeDate", now()))
    server.on("getDateObj", lambda sid: server.push(sid, "takeDateObj", {"date": now()}))

    @server.event
    def getUtf8(sid):
        for text in ("てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"):
            server.push(sid, "takeUtf8", text)

    @server.event
    async def ack(sid):
        def acknowledged(a, b):
            if a == 5 and b["test"]:
                server.push(sid, "got it")

        await server.emit("ack", to=sid, callback=acknowledged)

    # Binary data, alone, in JSON, and in order: answered only where it is what the client has sent.
    seen: dict[str, list[str]] = {}

    def binary(event, answer=None, after=(), expected=None):
        def handler(sid, value):
            if expected is not None:
                good = value == expected
            elif isinstance(value, dict):
                good = value["hello"] == "lol" and isinstance(value["message"], bytes) and value["goodbye"] == "gotcha"
            else:
                good = isinstance(value, bytes)
            heard = seen.setdefault(sid, [])
            if good and all(one in heard for one in after):
                heard.append(event)
                if answer is not None:
                    server.push(sid, answer)

        server.on(event, handler)

    binary("buffa", "buffack")
    binary("jsonbuff", "jsonbuff-ack")
    binary("abuff1")
    binary("abuff2", "abuff2-ack", after=["abuff1"], expected="please arrive second")
    binary("blob", "back")
    binary("jsonblob", "jsonblob-ack")
    binary("blob1")
    binary("blob2", after=["blob1"], expected="second")
    binary("blob3", "blob3-ack", after=["blob1", "blob2"])

    @web.middleware
    async def around(request, handler):
        if "sid" not in request.query:
            await asyncio.sleep(0.01)  # so that a client's timeout can be over before
        return await handler(request)

    app = web.Application(middlewares=[around])
    server.attach(app, "socket.io")
    return app


def now() -> str:
    """As a Date of JavaScript's becomes JSON."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=PORTS)
    options = parser.parse_args()
    try:
        app = engine_app() if options.which == "engine" else socket_app()
        uvloop.run(serve(app, PORTS[options.which], f"{options.which} client suite"))
    except KeyboardInterrupt:
        pass
