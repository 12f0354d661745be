"""The command line: `python -m app --help` lists the commands."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import random
import re
import sys
import time
from dataclasses import asdict
from typing import Any, BinaryIO, Literal

import click
import uvloop

from app import __version__, devdb, logs, serving, settings
from app.application import connected, database_name, open_store
from app.auth import DAY, SCOPES, Tokens
from app.devdb import DevDatabaseError
from app.doctor import examine, exit_status
from app.domain.events import now
from app.domain.models import Chat
from app.domain.revocations import Revocation
from app.errors import Unavailable
from app.providers import PROVIDERS
from app.replay import Figures, ReplayError, explain, replay
from app.serving import WELCOME_SESSION
from app.session_settings import Sessions, SessionsFileError
from app.settings import Settings, SettingsError
from app.simulate import simulate
from app.split import split
from app.startup import known_secrets
from app.storage import schema
from app.storage.causes import SetupError
from app.storage.mongo import connect

SWITCH_SECONDS = 0.0005
INTERRUPTED = 130
"""What a shell answers for a command that Ctrl-C has ended."""


class _Quiet(click.Group):
    """Ends at Ctrl-C without a word, and with one line for whatever a setting or the database is to blame for."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except (SettingsError, SessionsFileError, DevDatabaseError, SetupError, Unavailable) as error:
            words = error.detail if isinstance(error, Unavailable) else str(error)
            name = "SESSIONS_FILE: " if isinstance(error, SessionsFileError) else ""
            for line in words.splitlines():
                click.echo(f"roomcast: {name}{line}", err=True)
            sys.exit(2)


@click.group(cls=_Quiet, context_settings={"help_option_names": ["-h", "--help"]})
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
    uvloop.run(serving.serve(effective))
    # At exit the interpreter waits for threads, and a driver's thread may wait for a database that does not answer.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@main.command()
@click.option("--sub", default="agent", show_default=True, help="Who the token is for.")
@click.option("--name", help="The person's name.")
@click.option(
    "--session", "sessions", multiple=True, help="A session it gives access to; may be repeated.  [default: all]"
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="A scope it has; may be repeated.  [default: all]",
)
@click.option(
    "--days", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="Days until it expires."
)
def token(sub: str, name: str | None, sessions: tuple[str, ...], scopes: tuple[str, ...], days: float) -> None:
    """Create a token and print it."""
    effective = _load()
    if days > effective.token_max_days:
        raise SettingsError(f"TOKEN_MAX_DAYS: a token may be good for {effective.token_max_days:g} days.")
    tokens = Tokens(known_secrets(effective))
    click.echo(
        tokens.mint(sub, name=name, sessions=sessions or ["*"], scopes=scopes or SCOPES, lifetime=days * DAY),
    )


@main.command()
@click.option("--check", is_flag=True, help="Also do what the server does at start, without serving.")
def config(check: bool) -> None:
    """Print the effective settings, without secrets.

    With --check: whether the address, DATA_DIR, the secret and the database can be used. Nothing is written to a
    database. Exit status 2 and one line for what cannot be used.
    """
    effective = _load()
    for name, value in effective.render().items():
        click.echo(f"{name}={value}")
    if check:
        logs.configure("warning", effective.log_format)
        click.echo(f"roomcast: the settings are valid; database: {asyncio.run(serving.check(effective))}", err=True)


@main.command()
@click.argument("url")
@click.option("--token", "given", help="A token to try. Created with the secret of the settings unless given.")
@click.option("--json", "as_json", is_flag=True, help="Print each result as a line of JSON.")
def doctor(url: str, given: str | None, as_json: bool) -> None:
    """Check the deployment at URL as a client would, and its database if the settings name it.

    Exit status: 0 if all checks are ok, 1 with warnings, 2 with failures.
    """
    if not re.match(r"https?://[^/]", url):
        raise click.UsageError(f"{url!r} is not an address such as https://chat.example.com.")
    sys.exit(asyncio.run(_doctor(_load(), url, given, as_json)))


async def _doctor(effective: Settings, url: str, given: str | None, as_json: bool) -> int:
    tokens = None
    with contextlib.suppress(SettingsError):
        tokens = Tokens(known_secrets(effective))
    uri = effective.mongodb_uri or devdb.uri_of_running(effective.data_dir)
    store = connect(uri, effective.mongodb_database, effective.mongodb_timeout) if uri else None
    findings = []
    async for finding in examine(url, given, tokens, store):
        findings.append(finding)
        click.echo(json.dumps(asdict(finding)) if as_json else finding.line())
    if store is not None:
        store.close()
    return exit_status(findings)


@main.command("new-epoch")
def new_epoch() -> None:
    """Make clients load their lists again after the database was restored.

    Run this while no server is running. Clients then do not use positions from before the restore.
    """
    effective = _load()
    asyncio.run(_new_epoch(effective))
    click.echo(f"{database_name(effective)} has a new epoch. You can start the servers now.")


async def _new_epoch(effective: Settings) -> None:
    async with connected(effective) as store:
        await store.administer(schema.new_epoch)


@main.command("revoke")
@click.option("--sub", help="Revoke all tokens issued to this person until now.")
@click.option("--jti", help="Revoke the token with this id (claim `jti`).")
def revoke_command(sub: str | None, jti: str | None) -> None:
    """Revoke tokens, on every server within seconds. Open connections are closed."""
    if sub is not None and jti is None:
        asyncio.run(_revoke(_load(), "sub", sub))
        click.echo(f"All tokens of {sub} are revoked.")
    elif jti is not None and sub is None:
        asyncio.run(_revoke(_load(), "jti", jti))
        click.echo(f"The token {jti} is revoked.")
    else:
        raise click.UsageError("Give either --sub or --jti.")


async def _revoke(effective: Settings, kind: Literal["sub", "jti"], value: str) -> None:
    now = time.time()
    async with open_store(effective, beside=True) as store:
        await store.revoke(Revocation(kind, value, before=now, until=now + effective.token_max_days * DAY))


@main.command("split")
@click.option("--session", "session_id", required=True, help="The session.")
@click.option("--chat", "chat_id", required=True, help="The chat with the messages of two people.")
@click.option("--from", "old", required=True, help="The hidden address (…@lid) whose messages to separate.")
def split_command(session_id: str, chat_id: str, old: str) -> None:
    """Undo a wrong merge of two chats.

    What came under the hidden address gets a chat of its own again, and the two addresses are not taken for one
    person's any more. Open pages show it once they have loaded the chats anew.
    """
    chat = asyncio.run(_split(_load(), session_id, chat_id, old))
    if chat is None:
        click.echo(f"roomcast: {chat_id} has no messages of {old}. The two will not be merged in future.", err=True)
        sys.exit(1)
    click.echo(f"{chat.chat_id} is a separate chat again, with {chat.unread_count} unread messages.")


async def _split(effective: Settings, session_id: str, chat_id: str, old: str) -> Chat | None:
    async with open_store(effective, beside=True) as store:
        return await split(store, session_id, chat_id, old)


@main.command("simulate")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="The server's URL.")
@click.option("--session", "session_id", default=WELCOME_SESSION, show_default=True, help="The session to post to.")
@click.option(
    "--token", "given", help="A token with the scope ingest. By default one is created with this server's secret."
)
@click.option(
    "--rate", type=click.FloatRange(0.01, 10_000), default=2.0, show_default=True, help="Messages per second."
)
@click.option("--seconds", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Duration in seconds.")
@click.option("--chats", type=click.IntRange(1, 100_000), default=14, show_default=True, help="Number of people.")
@click.option("--seed", type=int, help="The same seed gives the same messages.  [default: random]")
def simulate_command(
    url: str, session_id: str, given: str | None, rate: float, seconds: float, chats: int, seed: int | None
) -> None:
    """Post simulated conversations to a running server, for demos and load tests."""
    bearer = given or Tokens(known_secrets(_load())).mint(
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
    for kind in figures.kinds():
        click.echo(f"  {kind}", err=True)
    if figures.gave_up:
        click.echo("roomcast: stopped, because every request fails.", err=True)
    if figures.errors:
        sys.exit(1)


@main.command("replay")
@click.argument("file", type=click.File("rb"))
@click.option("--session", "session_id", required=True, help="The session to store into.")
@click.option(
    "--source", required=True, type=click.Choice(list(PROVIDERS)), help="The provider that the payloads come from."
)
@click.option("--dry-run", is_flag=True, help="Send nothing; print what each line would become, or why it is skipped.")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="The server's URL.")
@click.option(
    "--token", "given", help="A token with the scope ingest. By default one is created with this server's secret."
)
def replay_command(file: BinaryIO, session_id: str, source: str, dry_run: bool, url: str, given: str | None) -> None:
    """Post provider payloads from FILE, one JSON document per line, to a running server.

    If the provider signs, the session's webhook secret from SESSIONS_FILE is used. It is safe to repeat a file.
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
            tokens = given or Tokens(known_secrets(effective)).mint(
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


def _load() -> Settings:
    """Raises SettingsError, SessionsFileError."""
    effective = settings.load()
    Sessions(effective.sessions_file)
    return effective
