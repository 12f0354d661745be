"""Checks on the operator's machine: the database, the limits of the process, and a message from webhook to socket."""

from __future__ import annotations

import json
import resource
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp

from app.doctor.findings import FAILURE, OK, WARNING, Check, Context, Finding
from app.doctor.outside import compared
from app.doctor.sockets import Refused, connect, event
from app.storage import inspection
from app.storage.mongo import TRANSACTION_LIFETIME_SECONDS, Store

OPEN_FILES: Final = 10_256
SLOW_SECONDS: Final = 1.0


def _unknown(check: str) -> Finding:
    words = "Not checked: the settings here name no database."
    return Finding(check, WARNING, words, "Run doctor with the server's settings.")


def of_database(name: str) -> Callable[[Callable[[Store], Awaitable[Finding]]], Check]:
    """A check that needs nothing but the database; where that is not known, it says so."""

    def declare(check: Callable[[Store], Awaitable[Finding]]) -> Check:
        async def run(it: Context) -> Finding:
            return _unknown(name) if it.store is None else await check(it.store)

        return run

    return declare


async def passage(it: Context) -> Finding:
    """A message from the webhook to a socket, in a session of its own, which is removed from the database again."""
    if it.store is None:
        return _unknown("passage")
    session = f"doctor-{secrets.token_hex(8)}"
    token = it.token
    if it.tokens is not None:
        token = it.tokens.mint("doctor", sessions=[session], scopes=["read", "write", "ingest"], lifetime=120)
    if token is None:
        return Finding("passage", WARNING, "Not checked: there is no token.", "Give --token.")
    store = it.store
    try:
        return await _pass(it, session, token)
    except (Refused, aiohttp.ClientError) as error:
        return Finding("passage", FAILURE, f"The test client was refused: {error}.", "See websocket and token.")
    except TimeoutError:
        words = "A message was posted, but its subscriber did not receive it."
        return Finding("passage", FAILURE, words, "See change-stream and buffering.")
    finally:
        await store.administer(lambda database: inspection.remove_session(database, session))


async def _pass(it: Context, session: str, token: str) -> Finding:
    async with it.http.ws_connect(it.engine("websocket")) as socket:
        await connect(socket, token)
        await socket.send_str("420" + json.dumps(["subscribe", {"sessionId": session}]))
        answer = await event(socket, "0")
        if not answer["ok"]:
            return Finding(
                "passage", WARNING, f"The subscription is refused: {answer['error']['message']}", "See token."
            )
        began = time.monotonic()
        given = {"Authorization": f"Bearer {token}"}
        body = {"messageId": "doctor", "chatId": "doctor", "text": "doctor"}
        async with it.http.post(it.url / "webhook" / session, json=body, headers=given) as posted:
            words = await posted.text()
        if posted.status != 200:
            return Finding("passage", FAILURE, f"The webhook answers {posted.status}: {words[:200]}.", "See the log.")
        await event(socket, "new_message")
        seconds = time.monotonic() - began
    assert it.store is not None
    if await it.store.seq(session) == 0:
        words = "The server uses another database than the settings here name."
        return Finding("passage", FAILURE, words, "Run doctor with the server's settings.")
    words = f"From the webhook to a socket: {seconds * 1000:.0f} ms."
    if seconds > SLOW_SECONDS:
        return Finding("passage", WARNING, words, "See the database's load, and buffering.")
    return Finding("passage", OK, words)


async def open_files(it: Context) -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        words = f"This user may open {hard} files: fewer than 10,000 connections."
        return Finding("open-files", WARNING, words, "Raise the hard limit (LimitNOFILE, ulimits).")
    return Finding("open-files", OK, "The limit of open files is high enough here.")


@of_database("database-clock")
async def database_clock(store: Store) -> Finding:
    apart = await store.administer(inspection.clock_apart)
    return compared("database-clock", "The database's clock", apart, "Synchronize both (NTP).")


@of_database("database-rights")
async def rights(store: Store) -> Finding:
    missing = await store.administer(inspection.missing_rights)
    if missing is None:
        return Finding("database-rights", WARNING, "The database needs no password.", "Turn on its authorization.")
    if missing:
        words = f"The database's user may not {', '.join(missing)}."
        return Finding("database-rights", FAILURE, words, "Give it the roles readWrite and dbAdmin on the database.")
    return Finding("database-rights", OK, "The database's user has all rights that are needed.")


@of_database("change-stream")
async def change_stream(store: Store) -> Finding:
    if await store.administer(inspection.change_stream_opens):
        return Finding("change-stream", OK, "The change stream can be opened.")
    words = "The change stream cannot be opened: servers learn of each other's messages a second late."
    return Finding(
        "change-stream", FAILURE, words, "The database's user needs the right changeStream (in the role readWrite)."
    )


@of_database("transaction-lifetime")
async def transactions(store: Store) -> Finding:
    lifetime = await store.transaction_lifetime()
    if lifetime is None:
        words = "The database's user may not read the transaction lifetime."
        advice = "Check transactionLifetimeLimitSeconds as its administrator."
        return Finding("transaction-lifetime", WARNING, words, advice)
    if lifetime > TRANSACTION_LIFETIME_SECONDS:
        words = f"A killed server may block a session for {lifetime} s."
        advice = f"Start mongod with --setParameter transactionLifetimeLimitSeconds={TRANSACTION_LIFETIME_SECONDS}."
        return Finding("transaction-lifetime", WARNING, words, advice)
    return Finding("transaction-lifetime", OK, f"The transaction lifetime is {lifetime} s.")


@of_database("past-hour")
async def traffic(store: Store) -> Finding:
    count = await store.administer(inspection.events_of_the_past_hour)
    if count == 0:
        return Finding("past-hour", WARNING, "Nothing was stored in the past hour.", "Check the bots and providers.")
    return Finding("past-hour", OK, f"{count} events were stored in the past hour.")


CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("open-files", open_files),
    ("database-clock", database_clock),
    ("database-rights", rights),
    ("change-stream", change_stream),
    ("transaction-lifetime", transactions),
    ("past-hour", traffic),
    ("passage", passage),
)
