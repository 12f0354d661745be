"""The processes of a run: started on separate cores, measured, and stopped whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from app import devdb

ROOT: Final = Path(__file__).parents[2]
BENCH: Final = Path(__file__).parent
PEERS: Final = BENCH / "peers"
SECRET: Final = "the-secret-of-the-bench-is-long-enough"
PATIENCE: Final = 120.0
STOP_SECONDS: Final = 15.0

# Runs between fork and the program: the kernel kills it when we are gone, however that happens.
LAUNCHER: Final = """
import ctypes, os, resource, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL: kept over exec
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
if os.getppid() != int(sys.argv[1]):
    sys.exit("the bench is gone")
if sys.argv[2]:
    os.sched_setaffinity(0, {int(sys.argv[2])})
os.execvp(sys.argv[3], sys.argv[3:])
"""


class Broken(Exception):
    """A process failed. The message says which one and how."""


def cores() -> tuple[int | None, int | None]:
    """The core of the servers and that of the load generator, or None if there is only one."""
    mine = sorted(os.sched_getaffinity(0))
    return (mine[0], mine[1]) if len(mine) > 1 else (None, None)


SERVER_CORE, LOAD_CORE = cores()


class Process:
    """A process that answers lines of JSON."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name, self._process = name, process
        self.pid = process.pid
        self.port = 0
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._words: list[str] = []
        self._readers = [
            asyncio.create_task(self._read(stream)) for stream in (process.stdout, process.stderr) if stream
        ]

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            try:
                said = json.loads(line)
            except ValueError:
                said = None
            if isinstance(said, dict) and "event" not in said:
                self._said.put_nowait(said)
            elif isinstance(said, dict) and said.get("event") == "listening":
                self._said.put_nowait({"listening": said["port"]})
            else:
                self._words = [*self._words[-20:], line.decode(errors="replace").rstrip()]

    async def hear(self, patience: float = PATIENCE) -> dict[str, Any]:
        """The process's next message. Raises Broken if it ends or fails."""
        heard = asyncio.create_task(self._said.get())
        ended = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait([heard, ended], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if heard.done():
                answer = heard.result()
                if "failed" in answer:
                    raise Broken(f"{self.name}: {answer['failed']}")
                return answer
            words = "\n".join(self._words) or "no output"
            state = f"has ended ({self._process.returncode})" if ended.done() else f"is silent for {patience:g} s"
            raise Broken(f"{self.name} {state}: {words}")
        finally:
            heard.cancel()
            ended.cancel()

    def tell(self, **order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def ask(self, **order: Any) -> dict[str, Any]:
        self.tell(**order)
        return await self.hear()

    def cpu(self) -> float:
        """Seconds that its threads were on a core."""
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def rss(self) -> int:
        """Bytes."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
        raise Broken(f"{self.name}: no Rss")

    @property
    def words(self) -> list[str]:
        return self._words

    async def stop(self) -> None:
        """By SIGTERM, and by force when that takes too long."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
            except (TimeoutError, asyncio.CancelledError):
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)


async def _spawn(name: str, core: int | None, *command: str, environ: dict[str, str] | None = None) -> Process:
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "MONGOD_BINARY") if key in os.environ}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), "" if core is None else str(core), *command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**kept, **(environ or {})},
        limit=64 * 1024 * 1024,
        start_new_session=True,  # Ctrl-C is ours alone: we end them in order
    )
    return Process(name, process)


@asynccontextmanager
async def server(name: str, *command: str, **environ: str) -> AsyncIterator[Process]:
    """A server on the servers' core, listening."""
    process = await _spawn(name, SERVER_CORE, *command, environ=environ)
    try:
        process.port = (await process.hear())["listening"]
        yield process
    finally:
        await process.stop()


@asynccontextmanager
async def load_generator() -> AsyncIterator[Process]:
    process = await _spawn("load generator", LOAD_CORE, sys.executable, str(BENCH / "load.py"))
    try:
        yield process
    finally:
        await process.stop()


@asynccontextmanager
async def mongod() -> AsyncIterator[str]:
    """A private MongoDB, the application's own kind, on all cores; its URI."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        async with devdb.run(Path(place), os.environ.get("MONGOD_BINARY")) as uri:
            yield uri


def engine_server() -> Any:
    return server("Roomcast's engine", sys.executable, str(BENCH / "engine_server.py"))


def python_socketio() -> Any:
    return server("python-socketio", sys.executable, str(PEERS / "python_socketio.py"))


def node_socketio(**environ: str) -> Any:
    return server("Node socket.io", "node", str(PEERS / "node-socketio.mjs"), **environ)


def node_ws() -> Any:
    return server("Node ws", "node", str(PEERS / "node-ws.mjs"))


def find_bun() -> str | None:
    """The binary: the platform's package brings it, and the script of the package `bun` moves it there."""
    modules = PEERS / "node_modules"
    for binary in (*sorted(modules.glob("@oven/bun-*/bin/bun")), modules / "bun" / "bin" / "bun.exe"):
        if os.access(binary, os.X_OK):
            return str(binary)
    return None


def bun_socketio(binary: str) -> Any:
    return server("Bun socket.io", binary, str(PEERS / "bun-socketio.mjs"))


def node_ingest(uri: str, database: str) -> Any:
    return server(
        "Node with Express",
        "node",
        str(PEERS / "node-ingest.mjs"),
        SECRET=SECRET,
        MONGODB_URI=uri,
        MONGODB_DATABASE=database,
    )


@asynccontextmanager
async def application(uri: str, database: str, **environ: str) -> AsyncIterator[Process]:
    """`python -m app serve` with the default settings, except those in `environ`."""
    async with AsyncExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        settings = {
            "HOST": "127.0.0.1",
            "PORT": "0",
            "AUTH_SECRET": SECRET,
            "MAX_CONNECTIONS_PER_ADDRESS": "1000000",  # all come from here
            "MAX_CONNECTIONS_PER_SUB": "1000000",
            "MONGODB_URI": uri,
            "MONGODB_DATABASE": database,
            "DATA_DIR": place,
            "LOG_FORMAT": "json",
            "PING_INTERVAL": "300",
            **environ,
        }
        yield await stack.enter_async_context(
            server("Roomcast", sys.executable, "-m", "app", "serve", **settings),
        )


async def npm_ci() -> None:
    """Install the peers, exactly as locked, if they are missing."""
    if (PEERS / "node_modules" / ".package-lock.json").exists():
        return
    begun = time.monotonic()
    print("bench: npm ci in tests/bench/peers", file=sys.stderr)
    process = await asyncio.create_subprocess_exec(
        "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", cwd=PEERS, stdout=sys.stderr
    )
    if await process.wait():
        raise Broken("npm ci in tests/bench/peers has failed: see above")
    print(f"bench: done in {time.monotonic() - begun:.0f} s", file=sys.stderr)
