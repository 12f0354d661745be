"""One private mongod for the whole run; for each test a database of its own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import queue
import shutil
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import hypothesis
import pytest
from aiohttp import web
from pymongo import AsyncMongoClient

from app import devdb
from app import settings as app_settings
from app.application import assemble
from app.auth import Tokens
from app.http import listener
from app.settings import Settings
from app.storage.mongo import Store, connect
from tests.support import SECRET, WARNINGS, Client, Process, Site, look_for_warnings, serve

_numbers = itertools.count(1)
_DONE: queue.SimpleQueue[str] = queue.SimpleQueue()
"""Databases of tests that have ended."""
MEMORY_BYTES = 4 * 2**30
"""Free memory that is needed to keep the databases in memory."""

# How long examples take to make says how busy the machine is, not what is right.
hypothesis.settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any-machine")


class _Listener(logging.Handler):
    """Collects asyncio's warnings."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        look_for_warnings(record.getMessage() + (f" ({error!r})" if error else ""))


@pytest.fixture(autouse=True)
def no_warnings_of_asyncio() -> Iterator[None]:
    """A test fails if an exception of a task was never retrieved, or a coroutine never awaited, here or in a server
    process."""
    logger, listener = logging.getLogger("asyncio"), _Listener()
    logger.addHandler(listener)
    yield
    gc.collect(1)  # they show when they are collected; what is older shows in a later test
    logger.removeHandler(listener)
    found = [*WARNINGS]
    WARNINGS.clear()
    assert found == []


@pytest.fixture(scope="session")
def mongodb_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A mongod that is primary. It ends with the thread that started it, which lives as long as the run."""
    started: list[str] = []
    ready, stop = threading.Event(), threading.Event()
    failure: list[BaseException] = []

    async def run(place: Path) -> None:
        async with devdb.run(place, None) as uri, AsyncMongoClient[Any](uri) as client:
            started.append(uri)
            ready.set()
            while not stop.is_set():
                # Each database is some fifty open files of mongod, and their number is limited.
                while not _DONE.empty():
                    await client.drop_database(_DONE.get())
                await asyncio.to_thread(stop.wait, 0.5)

    def main() -> None:
        try:
            with _memory(tmp_path_factory) as place:
                asyncio.run(run(place))
        except BaseException as error:
            failure.append(error)
            ready.set()

    thread = threading.Thread(target=main, name="mongod of the tests")
    thread.start()
    ready.wait()
    if failure:
        raise failure[0]
    yield started[0]
    stop.set()
    thread.join()


@contextlib.contextmanager
def _memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in memory if there is enough, because mongod syncs some fifty new files to disk for every test."""
    shared = Path("/dev/shm")
    if shared.is_dir() and shutil.disk_usage(shared).free > MEMORY_BYTES:
        with tempfile.TemporaryDirectory(prefix="roomcast-tests-", dir=shared) as place:
            yield Path(place)
    else:
        yield tmp_path_factory.mktemp("mongodb")


@pytest.fixture
def database() -> Iterator[str]:
    """The name of the test's own database, which is dropped soon after the test."""
    name = f"test_{next(_numbers)}"
    yield name
    _DONE.put(name)


@pytest.fixture
def database_timeout() -> float:
    return 5


@pytest.fixture
async def store(mongodb_uri: str, database: str, database_timeout: float) -> AsyncIterator[Store]:
    """A prepared store on a database of the test's own."""
    store = connect(mongodb_uri, database, database_timeout)
    await store.prepare(30)
    yield store
    store.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """The defaults."""
    for setting in app_settings.SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("AUTH_SECRET", SECRET)
    return app_settings.load()


Serve = Callable[..., Awaitable[Site]]


@pytest.fixture
async def run_app(http: aiohttp.ClientSession) -> AsyncIterator[Callable[[web.Application], Awaitable[Site]]]:
    """Run an application in this process, as `serve` runs it."""
    async with AsyncExitStack() as stack:

        async def run(app: web.Application) -> Site:
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=2)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            listening = socket.create_server(("127.0.0.1", 0))
            server = await listener.listen(runner, listening, 10)
            stack.callback(server.close)
            port = listening.getsockname()[1]
            return Site(f"http://127.0.0.1:{port}", http)

        yield run


@pytest.fixture
async def app(settings: Settings, store: Store) -> web.Application:
    return assemble(settings, Tokens(SECRET), store)


@pytest.fixture
async def site(app: web.Application, run_app: Callable[[web.Application], Awaitable[Site]]) -> Site:
    """The whole server in this process, on a database of the test's own."""
    return await run_app(app)


@pytest.fixture
async def connect_client(site: Site) -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """Makes Socket.IO clients of the site (or another), closed at the end."""
    clients: list[Client] = []

    async def connect(token: str | None = None, *, to: Site | None = None, transport: str = "websocket") -> Client:
        client = Client(to or site)
        clients.append(client)
        return await client.connect(token, transport=transport)

    yield connect
    await asyncio.gather(*(client.close() for client in clients))


@pytest.fixture
async def processes(
    http: aiohttp.ClientSession, mongodb_uri: str, database: str
) -> AsyncIterator[Callable[..., Awaitable[Process]]]:
    """Starts server processes on the test's database, killed at the end."""
    async with AsyncExitStack() as stack:

        async def start(**environ: str) -> Process:
            base = {"MONGODB_URI": mongodb_uri, "MONGODB_DATABASE": database}
            return await stack.enter_async_context(serve(http, **(base | environ)))

        yield start
