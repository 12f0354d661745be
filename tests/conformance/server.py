"""A server for the official protocol test suites, on port 3000.

`python tests/conformance/server.py engine` is for docs/engine.io-protocol/v4-test-suite of socketio/socket.io,
`python tests/conformance/server.py socket` for docs/socket.io-protocol/v5-test-suite. `make conformance` runs both.
"""

import argparse
import asyncio
import pathlib
import sys

import uvloop
from aiohttp import web

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from app.engine import Engine, Limits, Server

PING_INTERVAL, PING_TIMEOUT = 0.3, 0.2
LIMITS = Limits(max_packet=1_000_000, connect_timeout=1.5, max_unauthenticated_per_address=0)


def engine_server() -> Engine:
    """Sends every message back."""
    server = Engine(limits=LIMITS, ping_interval=PING_INTERVAL, ping_timeout=PING_TIMEOUT)

    async def connect(sid, _handshake):
        server.connections.admit(server.sockets[sid])

    async def disconnect(_connection, _reason):
        pass

    server.on("connect", connect)
    server.on("message", lambda connection, data: connection.send_message(data))
    server.on("disconnect", disconnect)
    return server


def socket_server() -> Server:
    """The namespaces `/` and `/custom`; sends back what it was given."""
    server = Server(limits=LIMITS, ping_interval=PING_INTERVAL, ping_timeout=PING_TIMEOUT)

    def handlers(namespace):
        async def connect(sid, _handshake, auth):
            server.push(sid, "auth", auth or {}, namespace=namespace)

        async def message(sid, *args):
            server.push(sid, "message-back", *args, namespace=namespace)

        async def message_with_ack(_sid, *args):
            return args

        server.on("connect", connect, namespace=namespace)
        server.on("message", message, namespace=namespace)
        server.on("message-with-ack", message_with_ack, namespace=namespace)

    handlers("/")
    handlers("/custom")
    return server


async def main(which: str, port: int) -> None:
    app = web.Application()
    if which == "engine":
        engine_server().attach(app, "engine.io")
    else:
        socket_server().attach(app, "socket.io")
    await serve(app, port, f"{which} suite")


async def serve(app: web.Application, port: int, whose: str) -> None:
    """Until it is cancelled."""
    # An aborted poll shows at once only with handler_cancellation.
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "localhost", port).start()
    print(f"{whose}'s server on port {port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=["engine", "socket"])
    parser.add_argument("--port", type=int, default=3000)
    options = parser.parse_args()
    try:
        uvloop.run(main(options.which, options.port))
    except KeyboardInterrupt:
        pass
