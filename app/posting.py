"""The commands that post to a running server: `simulate` and `replay`."""

from __future__ import annotations

import asyncio
import functools
import os
import random
import sys
from collections.abc import Awaitable
from typing import BinaryIO

import click

from app.auth import DAY, Tokens
from app.customers import customers
from app.domain.events import now
from app.providers import PROVIDERS
from app.replay import Figures, ReplayError, explain, replay
from app.serving import WELCOME_SESSION
from app.session_settings import Sessions
from app.simulate import Figures as Posted
from app.simulate import simulate
from app.startup import known_secrets, load_settings


@click.command("simulate")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="The server's URL.")
@click.option("--session", "session_id", default=WELCOME_SESSION, show_default=True, help="The session to post to.")
@click.option(
    "--token",
    "given",
    help="A token with the scopes ingest and deliver. By default one is created with this server's secret.",
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
    """Post simulated conversations to a running server.

    The simulated customers also answer messages: they read, type and reply. Some messages cannot be delivered; those
    with the word "fail" never can. This needs the scope deliver.
    """
    bearer = given or Tokens(known_secrets(load_settings())).mint(
        "simulation", sessions=[session_id], scopes=["ingest", "deliver"], lifetime=seconds + DAY
    )
    seed = random.randrange(2**24) if seed is None else seed  # noqa: S311
    click.echo(f"seed {seed}", err=True)
    with click.progressbar(length=max(1, round(rate * seconds)), label="messages", file=sys.stderr) as bar:
        work = simulate(
            url.rstrip("/"), bearer, session_id, rate=rate, seconds=seconds, chats=chats, seed=seed, progress=bar.update
        )
        figures = asyncio.run(_with_customers(work, url.rstrip("/"), bearer, session_id, seed))
    click.echo(figures.line())
    for kind in figures.kinds():
        click.echo(f"  {kind}", err=True)
    if figures.gave_up:
        click.echo("roomcast: stopped, because every request fails.", err=True)
    if figures.errors:
        sys.exit(1)


async def _with_customers(work: Awaitable[Posted], url: str, token: str, session_id: str, seed: int) -> Posted:
    async with customers(url, token, session_id, seed=seed):
        return await work


@click.command("replay")
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
    """Post provider payloads from FILE to a running server.

    FILE has one JSON document per line. If the provider signs, the session's webhook secret from SESSIONS_FILE is
    used. It is safe to repeat a file.
    """
    figures = Figures()
    if dry_run:
        for words in explain(file, session_id, source, now(), figures):
            click.echo(words)
    else:
        effective = load_settings()
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
