"""The command line: `python -m app serve | token | config | replay | split | simulate`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import signal
import socket
import sys
from collections.abc import Iterator
from typing import BinaryIO

import click
import structlog
import uvloop
from aiohttp import web

from app import __version__, logs, settings
from app.application import DRAINING, REQUESTS_SECONDS, SESSIONS, auth_secret, create_app, open_store
from app.auth import SCOPES, Tokens
from app.devdb import DevDatabaseError
from app.domain.events import now
from app.domain.models import Chat
from app.errors import Unavailable
from app.http import listener
from app.http.addresses import Addresses
from app.providers import PROVIDERS
from app.replay import Figures, ReplayError, explain, replay
from app.session_settings import Sessions, SessionsFileError
from app.settings import Settings, SettingsError
from app.simulate import simulate
from app.split import split
from app.storage.schema import SetupError

log = structlog.get_logger(__name__)

DAY = 86_400
WELCOME_SESSION = "shop"
SWITCH_SECONDS = 0.0005
SEND_BUFFER_BYTES = 256 * 1024
"""What the kernel takes for a client that does not read."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="roomcast")
def main() -> None:
    """Pushes chat messages to the people who answer them."""


@main.command()
def serve() -> None:
    """Run the server until SIGTERM or SIGINT."""
    effective = _load()
    logs.configure(effective.log_level, effective.log_format)
    # The database's driver works in threads, and each of its answers would wait for 5 ms behind a busy loop.
    sys.setswitchinterval(SWITCH_SECONDS)
    with _errors_told():
        uvloop.run(_serve(effective))
    # At exit the interpreter waits for threads, and a driver's thread may wait for a database that does not answer.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@main.command()
@click.option("--sub", default="agent", show_default=True, help="Whose token it is.")
@click.option("--name", help="The person's name.")
@click.option("--session", "sessions", multiple=True, help="A session it allows; again for more. All unless given.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="What it allows. All unless given.")
@click.option(
    "--days", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="How long it is good."
)
def token(sub: str, name: str | None, sessions: tuple[str, ...], scopes: tuple[str, ...], days: float) -> None:
    """Mint a token and print it, alone."""
    tokens = Tokens(auth_secret(_load()))
    click.echo(
        tokens.mint(sub, name=name, sessions=sessions or ["*"], scopes=scopes or SCOPES, lifetime=days * DAY),
    )


@main.command()
def config() -> None:
    """Print the effective settings, secrets hidden."""
    for name, value in _load().render().items():
        click.echo(f"{name}={value}")


@main.command("split")
@click.option("--session", "session_id", required=True, help="The session.")
@click.option("--chat", "chat_id", required=True, help="The chat in which two people's messages are now.")
@click.option("--from", "old", required=True, help="The hidden address (…@lid) whose messages do not belong there.")
def split_command(session_id: str, chat_id: str, old: str) -> None:
    """Undo a merge of two chats that was wrong.

    What came under the hidden address gets a chat of its own again, and the two addresses are not taken for one
    person's any more. Open pages show it once they have loaded the chats anew.
    """
    with _errors_told():
        chat = asyncio.run(_split(_load(), session_id, chat_id, old))
    if chat is None:
        click.echo(f"roomcast: nothing in {chat_id} came under {old}. They will not be merged from now on.", err=True)
        sys.exit(1)
    click.echo(f"{chat.chat_id} is a chat of its own again, with {chat.unread_count} unread messages.")


async def _split(effective: Settings, session_id: str, chat_id: str, old: str) -> Chat | None:
    async with open_store(effective) as store:
        return await split(store, session_id, chat_id, old)


@main.command("simulate")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="The server.")
@click.option("--session", "session_id", default=WELCOME_SESSION, show_default=True, help="The session to talk in.")
@click.option("--token", "given", help="A token with the scope ingest. Minted with this server's secret unless given.")
@click.option("--rate", type=click.FloatRange(0.01, 10_000), default=2.0, show_default=True, help="Messages a second.")
@click.option("--seconds", type=click.FloatRange(0.1), default=60.0, show_default=True, help="For how long.")
@click.option("--chats", type=click.IntRange(1, 100_000), default=14, show_default=True, help="People who talk.")
@click.option("--seed", type=int, help="The same seed says the same. By chance unless given.")
def simulate_command(
    url: str, session_id: str, given: str | None, rate: float, seconds: float, chats: int, seed: int | None
) -> None:
    """Post lively conversations to a running server, for a demo or for load."""
    bearer = given or Tokens(auth_secret(_load())).mint(
        "simulation", sessions=[session_id], scopes=["ingest"], lifetime=seconds + DAY
    )
    seed = random.randrange(2**24) if seed is None else seed  # noqa: S311
    click.echo(f"seed {seed}", err=True)
    with click.progressbar(length=max(1, round(rate * seconds)), label="messages", file=sys.stderr) as bar:
        work = simulate(
            url.rstrip("/"), bearer, session_id, rate=rate, seconds=seconds, chats=chats, seed=seed, progress=bar.update
        )
        figures = asyncio.run(work)
    click.echo(figures.line())
    if figures.errors:
        sys.exit(1)


@main.command("replay")
@click.argument("file", type=click.File("rb"))
@click.option("--session", "session_id", required=True, help="The session to store in.")
@click.option("--source", required=True, type=click.Choice(list(PROVIDERS)), help="Whose payloads they are.")
@click.option(
    "--dry-run", is_flag=True, help="Send nothing: print what would come of each line, or why it is left out."
)
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="The server.")
@click.option("--token", "given", help="A token with the scope ingest. Minted with this server's secret unless given.")
def replay_command(file: BinaryIO, session_id: str, source: str, dry_run: bool, url: str, given: str | None) -> None:
    """Read provider payloads from FILE, one JSON a line, and store them through a running server.

    A provider that signs is signed for with the session's webhook secret of SESSIONS_FILE. To repeat a file is safe.
    """
    figures = Figures()
    if dry_run:
        for words in explain(file, session_id, source, now(), figures):
            click.echo(words)
    else:
        effective = _load()
        provider, settings = PROVIDERS[source], Sessions(effective.sessions_file).of(session_id).source
        if provider.sign is not None and provider.signs(settings):
            headers = functools.partial(provider.sign, settings.webhook_secrets[0])
        else:
            tokens = given or Tokens(auth_secret(effective)).mint(
                "replay", sessions=[session_id], scopes=["ingest"], lifetime=DAY
            )
            headers = functools.partial(_bearer, tokens)
        length = os.fstat(file.fileno()).st_size if file.name != "<stdin>" else 0
        try:
            with click.progressbar(length=length, label="replay", file=sys.stderr) as bar:
                asyncio.run(replay(file, url.rstrip("/"), session_id, source, headers, figures, bar.update))
        except ReplayError as error:
            click.echo(f"roomcast: {error}", err=True)
            for words in figures.report():
                click.echo(words)
            sys.exit(1)
    for words in figures.report():
        click.echo(words, err=dry_run)
    if figures.unreadable:
        sys.exit(1)


def _bearer(token: str, raw: bytes) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@contextlib.contextmanager
def _errors_told() -> Iterator[None]:
    """End with status 1, and say why, where the database cannot be used or the port not be had."""
    try:
        yield
    except (DevDatabaseError, SetupError, Unavailable, OSError) as error:
        words = error.detail if isinstance(error, Unavailable) else str(error)
        click.echo(f"roomcast: {words}", err=True)
        sys.exit(1)


def _load() -> Settings:
    try:
        effective = settings.load()
        Sessions(effective.sessions_file)
        return effective
    except (SettingsError, SessionsFileError) as error:
        click.echo(f"roomcast: these settings cannot be accepted:\n{error}", err=True)
        sys.exit(2)


async def _serve(effective: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listening = _listen(effective.host, effective.port)
    async with create_app(effective) as app:
        # An aborted poll must show at once, so handlers end with their clients.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=REQUESTS_SECONDS)
        await runner.setup()
        loop.add_signal_handler(signal.SIGHUP, _reload, app[SESSIONS])
        try:
            limits = listener.Limits(
                effective.header_timeout,
                effective.stall_timeout,
                # A polling client has two at times, and a page loads its files beside.
                2 * effective.max_connections_per_address + 100,
                Addresses(effective.trusted_proxies).is_proxy,
            )
            server = await listener.listen(runner, listening, limits)
            port = listening.getsockname()[1]
            log.info("listening", host=effective.host, port=port)
            if effective.mongodb_uri is None:
                _welcome(effective, port)
            await stop.wait()
            log.info("stopping")
            await app[DRAINING].serve_open_connections(server)
        finally:
            await runner.cleanup()
    log.info("stopped")


def _reload(sessions: Sessions) -> None:
    """Read SESSIONS_FILE again. With a fault in it, what was read before stays in force."""
    try:
        sessions.reload()
    except SessionsFileError as error:
        log.error("sessions_file_not_accepted", faults=str(error).splitlines())
    else:
        log.info("sessions_file_read", sessions=len(sessions))


def _listen(host: str, port: int) -> socket.socket:
    """The listening socket, bound before anything else is started. Raises OSError with what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # HOST=:: is every address, IPv4 too
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        words = f"cannot listen on {host}:{port}: {error.strerror}. Set PORT to another port."
        raise OSError(words) from error
    return listening


def _welcome(effective: Settings, port: int) -> None:
    """What a person needs next, on standard output."""
    tokens = Tokens(auth_secret(effective))
    agent = tokens.mint("agent", sessions=["*", WELCOME_SESSION], scopes=["read", "write"], lifetime=DAY)
    bot = tokens.mint("bot", sessions=[WELCOME_SESSION], scopes=["ingest"], lifetime=DAY)
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
