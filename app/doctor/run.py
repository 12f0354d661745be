"""Runs the checks one after the other. Each has a time limit; an exception is a failure of its check alone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
from yarl import URL

from app.auth import Tokens
from app.doctor import inside, outside, sockets
from app.doctor.findings import FAILURE, Check, Context, Finding, cause
from app.errors import Unavailable
from app.storage.mongo import Store

CHECK_SECONDS: Final = 40
REQUEST_SECONDS: Final = 15
_LOGS: Final = "See the logs of the server and the proxy."


async def examine(url: str, token: str | None, tokens: Tokens | None, store: Store | None) -> AsyncIterator[Finding]:
    """A finding for each check; only the first one where the address does not lead to a server."""
    address = URL(url.rstrip("/"))
    if token is None and tokens is not None:
        token = tokens.mint("doctor", sessions=["*"], scopes=["read", "ingest"], lifetime=300)
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    # An invalid certificate is the finding of one check. The others still run, but no token is sent.
    async with aiohttp.ClientSession(timeout=timeout) as http:
        trusted = (await _one("tls", outside.tls, Context(address, http, None, None, None))).status != FAILURE
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context() if trusted else False)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
        it = Context(address, http, token if trusted else None, tokens if trusted else None, store)
        first = await _one("http", outside.alive, it)
        yield first
        if first.status == FAILURE:
            return
        for name, check in (*outside.CHECKS, *sockets.CHECKS, *inside.CHECKS):
            yield await _one(name, check, it)


async def _one(name: str, check: Check, it: Context) -> Finding:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check(it)
    except TimeoutError:
        return Finding(name, FAILURE, "There was no answer in time.", _LOGS)
    except Unavailable as error:
        return Finding(name, FAILURE, error.detail, "See the database's log.")
    except Exception as error:  # whatever a broken deployment answers is reported, and the other checks are run
        return Finding(name, FAILURE, f"The check failed: {type(error).__name__}: {cause(error)}.", _LOGS)
