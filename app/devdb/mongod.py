"""One mongod on one data directory: starts it, makes it primary, restarts and stops it.

Who may use the directory, where the binary comes from, and the reasons for this design are in `app.devdb.database`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog
from pymongo.errors import PyMongoError

from app.devdb.locks import try_lock
from app.devdb.ports import HOST, free_port, is_free, remembered
from app.devdb.replica_set import SET_NAME, Client, ReplicaSet
from app.devdb.secret import for_owner, kept_secret

STOP_SECONDS: Final = 1.5
"""How long mongod may take to stop before it is killed."""
LEFT_OVER_SECONDS: Final = 5.0
"""How long the mongod of a killed server may take to exit."""
LOG_LIMIT: Final = 10 * 1024 * 1024
"""If the log is larger, it is rotated at start; one old log is kept."""
POLL_SECONDS: Final = 0.01
PORT_LOOKS: Final = 30
"""How often the remembered port may be found in use before another port is used."""
LONGEST_PAUSE: Final = 5.0

_ADDRESS_IN_USE: Final = 48  # mongod's exit status
_DISK_FULL: Final = "No space left on device"

# Runs between fork and mongod, in a separate process: code in a forked child (`preexec_fn`) may deadlock if other
# threads were running, and uvloop starts processes in its own way. If the server died before prctl took effect, no
# signal would come; in that case the parent process has already changed.
LAUNCHER: Final = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL: kept over exec
if os.getppid() != int(sys.argv[1]):
    sys.exit("the server is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""

log = structlog.get_logger(__name__)


class DevDatabaseError(Exception):
    """The private MongoDB cannot be started. The message says what is wrong and what to do."""


class _PortTakenError(DevDatabaseError):
    pass


class Mongod:
    """One mongod process after another, on the same data and, once known, the same port."""

    def __init__(self, binary: Path, data_dir: Path, start_timeout: float) -> None:
        self._binary = binary
        self._data = data_dir / "mongodb"
        self._log = data_dir / "mongod.log"
        self._port_file = data_dir / "mongod.port"
        self._key_file = data_dir / "mongod.key"
        self._set = ReplicaSet(0, "")
        self._start_timeout = start_timeout
        self._process: asyncio.subprocess.Process | None = None
        self._log_start = 0

    async def start(self) -> None:
        """Start mongod and make it primary, on the remembered port if it is free, or else on another, which is then
        remembered."""
        try:
            self._data.mkdir(mode=0o700, exist_ok=True)
            self._data.chmod(0o700)
            self._set = ReplicaSet(0, kept_secret(self._key_file))
            if self._log.exists() and self._log.stat().st_size > LOG_LIMIT:
                self._log.replace(self._log.with_name("mongod.log.1"))
        except OSError as error:
            raise DevDatabaseError(f"DATA_DIR: {error}. The directory must belong to the server's user.") from error
        await self._left_over_gone()
        old = port = remembered(self._port_file)
        # A process that is being killed releases its lock a moment before its port.
        for _ in range(PORT_LOOKS):
            if not old or is_free(old):
                break
            await asyncio.sleep(POLL_SECONDS)
        for attempts_left in (2, 1, 0):
            self._set.port = port if port and is_free(port) else free_port()
            try:
                if self._set.port != old:
                    await self._move()
                await self._launch()
            except _PortTakenError:  # taken between our check and mongod's
                if not attempts_left:
                    raise
                port = 0
            else:
                break

    @property
    def uri(self) -> str:
        return self._set.uri

    async def keep_running(self) -> None:
        """Restart mongod on the same port whenever it exits, until cancelled."""
        pause = 0.0
        while True:
            assert self._process is not None
            began = time.monotonic()
            code = await self._process.wait()
            if time.monotonic() - began > 60:
                pause = 0.0
            log.error("mongod_ended", status=code, last_words=self._last_words())
            while True:
                await asyncio.sleep(pause)
                pause = min(max(0.1, pause * 2), LONGEST_PAUSE)
                began = time.monotonic()
                try:
                    await self._launch()
                except DevDatabaseError as error:
                    log.error("mongod_not_started", reason=str(error), again_in=pause)
                else:
                    log.info("mongod_is_up_again", port=self._set.port, seconds=round(time.monotonic() - began, 3))
                    break

    async def stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        try:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            log.warning("mongod_killed", seconds=STOP_SECONDS)
            await self._kill()
        except BaseException:  # cancelled again: there is no time left
            await self._kill()
            raise

    async def _move(self) -> None:
        """Write the new address into the set's configuration, and remember it.

        A member that does not find itself in its configuration connects to the old address to check whether that is
        itself. If another program has that port and does not answer, the member does nothing else for 30 s. So the
        configuration is changed before, by running mongod without a set for a moment.
        """
        if (self._data / "WiredTiger").exists():
            async with self._starting(as_set=False), self._set.client() as client:
                await self._until(lambda: self._is_ours(client))
                await self._set.move(client)
            await self.stop()
        # Only a hint: if a crash left an older value, `ReplicaSet.is_primary` corrects it.
        with open(self._port_file, "w", encoding="ascii", opener=for_owner) as file:  # noqa: ASYNC230
            file.write(f"{self._set.port}\n")

    async def _launch(self) -> None:
        """Start one mongod and make it primary on `self._set.port`. If that fails, no mongod is left running."""
        async with self._starting(as_set=True), self._set.client() as client:
            await self._until(lambda: self._is_ours(client))
            await self._until(lambda: self._set.is_primary(client))

    @asynccontextmanager
    async def _starting(self, *, as_set: bool) -> AsyncIterator[None]:
        """A mongod that accepts connections. The block has the remaining time; if it fails, mongod is stopped."""
        try:
            async with asyncio.timeout(self._start_timeout):
                await self._left_over_gone()
                await self._spawn(as_set)
                await self._until(self._accepts)
                yield
        except TimeoutError as error:
            await self._kill()
            raise DevDatabaseError(
                f"MongoDB did not start within {self._start_timeout:g} s: {self._last_words()} (more in {self._log})"
            ) from error
        except (OSError, PyMongoError) as error:
            await self._kill()
            raise DevDatabaseError(f"{self._binary} could not be started in {self._data}: {error}") from error
        except BaseException:
            await self._kill()
            raise

    async def _left_over_gone(self) -> None:
        """Wait until the mongod of a killed server, which holds its own lock, has exited."""
        try:
            file = open(self._data / "mongod.lock", "r+", encoding="ascii", errors="replace")  # noqa: SIM115, ASYNC230
        except FileNotFoundError:
            return
        with file:
            deadline = time.monotonic() + LEFT_OVER_SECONDS
            while not try_lock(file):
                if time.monotonic() >= deadline:
                    raise DevDatabaseError(
                        f"a mongod (process {file.read(20).strip()}) still uses {self._data}: stop it and start again"
                    )
                await asyncio.sleep(POLL_SECONDS)

    async def _spawn(self, as_set: bool) -> None:
        arguments = [
            *("--dbpath", str(self._data), "--bind_ip", HOST, "--port", str(self._set.port), "--nounixsocket"),
            *(("--replSet", SET_NAME, "--oplogSize", "256") if as_set else ()),
            # Without the key, nobody can connect as a member or, before there is a user, from this machine.
            *("--keyFile", str(self._key_file), "--setParameter", "enableLocalhostAuthBypass=false"),
            *("--wiredTigerCacheSizeGB", "0.5", "--quiet"),
            # 32 MB of journal instead of 300 MB for an empty database.
            *("--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=32MB)"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            # A killed server's open transaction blocks its session's document no longer than this.
            *("--setParameter", "transactionLifetimeLimitSeconds=5"),
        ]
        # The log is its standard output, so that messages of the dynamic linker before main() are included.
        with open(self._log, "ab", opener=for_owner) as output:  # noqa: ASYNC230
            self._log_start = output.tell()
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), str(self._binary), *arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    async def _accepts(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(HOST, self._set.port)
        except OSError:
            return False
        writer.close()
        return True

    async def _is_ours(self, client: Client) -> bool:
        """Whether this is our mongod, and not another that took the port first, which must not be touched."""
        try:
            status = await client.admin.command("serverStatus", repl=0, metrics=0, locks=0, wiredTiger=0)
        except PyMongoError:
            return False
        return self._process is not None and bool(status["pid"] == self._process.pid)

    async def _until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Poll until the condition holds, within `_launch`'s time limit. Raises if mongod has exited."""
        task = asyncio.current_task()
        assert task is not None
        cancels = task.cancelling()
        while True:
            done = await condition()
            if task.cancelling() > cancels:  # The driver sometimes swallows a cancellation.
                raise asyncio.CancelledError
            if done:
                return
            assert self._process is not None
            if self._process.returncode is not None:
                kind = _PortTakenError if self._process.returncode == _ADDRESS_IN_USE else DevDatabaseError
                raise kind(
                    f"{self._binary} ended at start (status {self._process.returncode}): "
                    f"{self._last_words()} (more in {self._log})"
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            try:
                await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
            except TimeoutError:
                log.error("mongod_is_not_gone", pid=self._process.pid)  # the disk keeps it

    def _last_words(self) -> str:
        """The reason of a failure from the log: the last error, or else the last line."""
        words = "no output"
        try:
            with open(self._log, "rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(self._log_start, end - 65_536))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return words
        if any(_DISK_FULL in line for line in lines):
            return f"the disk of DATA_DIR is full ({self._data})"
        for line in reversed(lines):
            try:
                entry = json.loads(line)
            except ValueError:
                return line[:500]  # not from mongod's log: of the linker, the launcher, or a bad option
            if isinstance(entry, dict) and entry.get("s") in ("E", "F"):
                return f"{entry.get('msg')} {json.dumps(entry.get('attr', {}))}"[:500]
            if words == "no output" and isinstance(entry, dict):
                words = str(entry.get("msg"))
        return words
