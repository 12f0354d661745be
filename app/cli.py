"""The command line: `python -m app --help` lists the commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import time
from dataclasses import asdict
from typing import Any, Literal

import click
import uvloop

from app import __version__, devdb, logs, serving
from app.auth import DAY, SCOPES, Tokens
from app.beside import apply
from app.database import connected, database_name, open_store
from app.devdb import DevDatabaseError
from app.doctor import examine, exit_status
from app.domain.deliveries import KEPT_DAYS, Delivery
from app.domain.events import format_time
from app.domain.models import Chat, Message
from app.domain.revocations import Revocation
from app.domain.sending import RetryMessage
from app.errors import Unavailable
from app.posting import replay_command, simulate_command
from app.session_settings import SessionsFileError
from app.settings import Settings, SettingsError
from app.split import split
from app.startup import known_secrets, load_settings
from app.storage import inspection, schema
from app.storage.causes import SetupError
from app.storage.deliveries import of_session
from app.storage.mongo import connect

SWITCH_SECONDS = 0.0005
MAX_LISTED = 1_000
INTERRUPTED = 130
"""The usual exit status of a command that was ended with Ctrl-C."""


class _Quiet(click.Group):
    """Exits silently on Ctrl-C, and with one line per problem for errors of settings or the database."""

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
    """Roomcast pushes chat messages to the people who answer them."""


@main.command()
def serve() -> None:
    """Run the server until SIGTERM or SIGINT."""
    effective = load_settings()
    logs.configure(effective.log_level, effective.log_format)
    # The database driver uses threads. With the default of 5 ms, a busy event loop would delay each of its answers.
    sys.setswitchinterval(SWITCH_SECONDS)
    uvloop.run(serving.serve(effective))
    # A normal exit waits for threads, and a driver thread may be waiting for a database that does not answer.
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
    effective = load_settings()
    if days > effective.token_max_days:
        raise SettingsError(f"TOKEN_MAX_DAYS: a token may be valid for at most {effective.token_max_days:g} days.")
    tokens = Tokens(known_secrets(effective))
    click.echo(
        tokens.mint(sub, name=name, sessions=sessions or ["*"], scopes=scopes or SCOPES, lifetime=days * DAY),
    )


@main.command()
@click.option("--check", is_flag=True, help="Also do what the server does at start, without serving.")
def config(check: bool) -> None:
    """Print the effective settings, without secrets.

    With --check, also check that the address, DATA_DIR, the secret and the database can be used. Nothing is written to
    the database. Each problem is one line, and the exit status is 2.
    """
    effective = load_settings()
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
    """Check the deployment at URL.

    Checks it as a client would, and also its database if the settings name it.

    Exit status: 0 if all checks are ok, 1 with warnings, 2 with failures.
    """
    if not re.match(r"https?://[^/]", url):
        raise click.UsageError(f"{url!r} is not an address such as https://chat.example.com.")
    sys.exit(asyncio.run(_doctor(load_settings(), url, given, as_json)))


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
    """Invalidate clients' positions after a restore of the database.

    Run this while no server is running. Clients then load their lists again instead of using positions from before the
    restore. Running servers do not notice the change: restart them.
    """
    effective = load_settings()
    running = asyncio.run(_new_epoch(effective))
    click.echo(f"{database_name(effective)} has a new epoch.")
    if running:
        click.echo(f"roomcast: restart the servers that use it ({running} found): they have the old epoch.", err=True)


async def _new_epoch(effective: Settings) -> int:
    """How many servers are running."""
    async with connected(effective) as store:
        await store.administer(schema.new_epoch)
        return await store.administer(inspection.running_servers)


@main.command("revoke")
@click.option("--sub", help="Revoke all tokens issued to this person until now.")
@click.option("--jti", help="Revoke the token with this id (claim `jti`).")
def revoke_command(sub: str | None, jti: str | None) -> None:
    """Revoke tokens, on every server within seconds. Open connections are closed."""
    if sub is not None and jti is None:
        asyncio.run(_revoke(load_settings(), "sub", sub))
        click.echo(f"All tokens of {sub} are revoked.")
    elif jti is not None and sub is None:
        asyncio.run(_revoke(load_settings(), "jti", jti))
        click.echo(f"The token {jti} is revoked.")
    else:
        raise click.UsageError("Give either --sub or --jti.")


async def _revoke(effective: Settings, kind: Literal["sub", "jti"], value: str) -> None:
    now = time.time()
    async with open_store(effective, beside=True) as store:
        await store.revoke(Revocation(kind, value, before=now, until=now + effective.token_max_days * DAY))


@main.command("deliveries")
@click.option("--session", "session_id", required=True, help="The session.")
@click.option("--failed", is_flag=True, help=f"List deliveries that failed in the last {KEPT_DAYS} days.")
@click.option("--retry", is_flag=True, help="With --failed: deliver these messages again.")
def deliveries_command(session_id: str, failed: bool, retry: bool) -> None:
    """List undelivered messages, and retry failed ones.

    Lists messages that are waiting to be delivered, or that failed, newest first, at most 1,000. Servers may be
    running; they deliver retried messages. Messages with an unknown outcome may arrive twice.
    """
    if retry and not failed:
        raise click.UsageError("--retry needs --failed.")
    found, retried = asyncio.run(_deliveries(load_settings(), session_id, failed, retry))
    for one in found:
        when = f", next attempt {format_time(one.next_at)}" if one.next_at else ""
        reason = f": {one.error.code} ({one.error.title})" if one.error else ""
        click.echo(f"{one.message_id} to {one.chat_id}: {one.state}, attempts {one.attempt}{when}{reason}")
    click.echo(f"deliveries {len(found)}" + (f", to be delivered again {retried}" if retry else ""), err=True)


async def _deliveries(effective: Settings, session_id: str, failed: bool, retry: bool) -> tuple[list[Delivery], int]:
    async with open_store(effective, beside=True) as store:
        found = await store.ask(of_session, session_id, failed=failed, limit=MAX_LISTED)
        again = [RetryMessage(one.chat_id, one.message_id) for one in reversed(found)] if retry else []
        results = await apply(store, session_id, *again)
        return found, sum(isinstance(one, Message) for one in results)


@main.command("split")
@click.option("--session", "session_id", required=True, help="The session.")
@click.option("--chat", "chat_id", required=True, help="The chat with the messages of two people.")
@click.option("--from", "old", required=True, help="The hidden address (…@lid) whose messages to separate.")
def split_command(session_id: str, chat_id: str, old: str) -> None:
    """Undo a wrong merge of two chats.

    The messages of the hidden address get a separate chat again, and the two addresses are no longer treated as one
    person. Open pages show this after they load the chats again.
    """
    chat = asyncio.run(_split(load_settings(), session_id, chat_id, old))
    if chat is None:
        click.echo(f"roomcast: {chat_id} has no messages of {old}. The two will not be merged in future.", err=True)
        sys.exit(1)
    click.echo(f"{chat.chat_id} is a separate chat again, with {chat.unread_count} unread messages.")


async def _split(effective: Settings, session_id: str, chat_id: str, old: str) -> Chat | None:
    async with open_store(effective, beside=True) as store:
        return await split(store, session_id, chat_id, old)


main.add_command(simulate_command)
main.add_command(replay_command)
