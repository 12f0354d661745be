"""Runs the server, from binding the address (before anything else) to the end of the last request."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from typing import Final

import click
import structlog
from aiohttp import web

from app import __version__
from app.application import DRAINING, REQUESTS_SECONDS, SESSIONS, create_app
from app.auth import DAY, Tokens
from app.bus.choice import check_bus
from app.database import connected, database_name
from app.http import listener
from app.http.addresses import Addresses
from app.http.limits import Limits
from app.session_settings import Sessions, SessionsFileError
from app.settings import Settings
from app.startup import auth_secrets, check_data_dir, fit_open_files, known_secrets, listen, secret_file
from app.storage import schema

log = structlog.get_logger(__name__)

WELCOME_SESSION: Final = "shop"


async def serve(effective: Settings) -> None:
    """Serve until SIGTERM or SIGINT. During startup these signals cancel it.

    Raises SettingsError, DevDatabaseError, SetupError, Unavailable.
    """
    loop, stop, task = asyncio.get_running_loop(), asyncio.Event(), asyncio.current_task()
    assert task is not None
    started = False

    def end() -> None:
        if not started and not stop.is_set():
            task.cancel()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    check_data_dir(effective.data_dir)
    with listen(effective.host, effective.port) as listening:
        try:
            async with create_app(effective) as app:
                started = True
                if not stop.is_set():
                    await _serve(app, effective, listening, stop)
        except asyncio.CancelledError:
            if not stop.is_set():
                raise
    log.info("stopped")


async def _serve(app: web.Application, effective: Settings, listening: socket.socket, stop: asyncio.Event) -> None:
    # Handlers are cancelled when their client disconnects, so that an aborted poll is noticed at once.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=REQUESTS_SECONDS)
    await runner.setup()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, app[SESSIONS])
    try:
        limits = Limits(
            effective.header_timeout,
            effective.stall_timeout,
            # A polling client may have two connections, and a page also loads its files.
            2 * effective.max_connections_per_address + 100,
            Addresses(effective.trusted_proxies).is_proxy,
        )
        _set_aside_startup()
        server = await listener.listen(runner, listening, limits)
        port = listening.getsockname()[1]
        database = database_name(effective)
        log.info("listening", host=effective.host, port=port, version=__version__, database=database)
        if effective.mongodb_uri is None:
            _welcome(effective, port)
        await stop.wait()
        log.info("stopping")
        await app[DRAINING].serve_open_connections(server)
    finally:
        await runner.cleanup()


def _set_aside_startup() -> None:
    """Take what lives as long as the server out of garbage collection: to look through it again in each full collection
    stops everything for some 100 ms."""
    gc.collect()
    gc.freeze()


async def check(effective: Settings) -> str:
    """Do what the server does at start, without serving and without writing to the database. Returns the database's
    name.

    A private database is started and stopped again. Raises the errors that `serve` raises.
    """
    check_data_dir(effective.data_dir)
    listen(effective.host, effective.port).close()
    fit_open_files(effective)
    if effective.auth_secret or secret_file(effective).exists():
        known_secrets(effective)
    async with connected(effective) as store:
        await store.administer(schema.check)
        await check_bus(store, effective.redis_url)
    return database_name(effective)


def _reload(sessions: Sessions) -> None:
    """Read SESSIONS_FILE again. If it has errors, the earlier settings stay in effect."""
    try:
        sessions.reload()
    except SessionsFileError as error:
        log.error("sessions_file_not_accepted", faults=str(error).splitlines())
    else:
        log.info("sessions_file_read", sessions=len(sessions))


def _welcome(effective: Settings, port: int) -> None:
    """Print what a person needs next, on standard output."""
    tokens = Tokens(auth_secrets(effective))
    agent = tokens.mint("agent", sessions=["*", WELCOME_SESSION], scopes=["read", "write", "send"], lifetime=DAY)
    bot = tokens.mint("bot", sessions=[WELCOME_SESSION], scopes=["ingest", "deliver"], lifetime=DAY)
    host = "127.0.0.1" if effective.host in ("0.0.0.0", "127.0.0.1") else effective.host  # noqa: S104
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    person = '{"id": "85291234567@s.whatsapp.net", "name": "Alice"}'
    message = f'{{"chatId": "85291234567@s.whatsapp.net", "sender": {person}, "text": "Is the blue one still there?"}}'
    curl = (
        f"curl -X POST {address}/webhook/{WELCOME_SESSION} -H 'Authorization: Bearer {bot}' "
        f"-H 'Content-Type: application/json' -d '{message}'"
    )
    click.echo(f"""
Roomcast {__version__} is running. Open the page (the link signs you in for a day):

  {address}/#token={agent}

In another terminal, make a message appear:

  {curl}

Data and database: {effective.data_dir.absolute()} (a private MongoDB). Stop with Ctrl-C.
""")
    with contextlib.suppress(OSError):
        sys.stdout.flush()
