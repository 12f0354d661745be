"""Servers behind a real nginx or HAProxy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.config.deployment import Deploy, Deployment
from tests.config.proxies import KINDS, NAME, Certificate, Front, free_ports, front, missing
from tests.support import serve


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    why = missing(request.param)
    if why:
        pytest.skip(why)
    return str(request.param)


@pytest.fixture
async def deploy(
    kind: str, certificate: Certificate, tmp_path: Path, http: aiohttp.ClientSession, mongodb_uri: str, database: str
) -> AsyncIterator[Deploy]:
    """Starts the proxy of this kind and its servers; `count` says how many there are behind its two addresses."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(count: int = 2, edit: Callable[[str], str] = lambda text: text, **environ: str) -> Deployment:
            port, plain_port, *ports = free_ports(2 + count)
            environ = {
                "MONGODB_URI": mongodb_uri,
                "MONGODB_DATABASE": database,
                "TRUSTED_PROXIES": "127.0.0.1",
                "PUBLIC_URL": f"https://127.0.0.1:{port},https://{NAME}",
            } | environ
            starting = (stack.enter_async_context(serve(http, port=port, **environ)) for port in ports)
            servers = list(await asyncio.gather(*starting))
            one = Front(kind, port, plain_port, certificate)
            await stack.enter_async_context(front(one, tmp_path, (ports * 2)[:2], edit))
            return Deployment(one, ports, environ, servers, stack, http)

        yield start
