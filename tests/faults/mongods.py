"""Databases that can be killed, frozen and cut off: one mongod, or three of them. They end with this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from app.devdb import find_mongod
from app.devdb.mongod import LAUNCHER
from tests.proxy import Proxy, Wire

HOST = "127.0.0.1"
START_SECONDS = 40

Driver = AsyncMongoClient[dict[str, Any]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Mongod:
    """A mongod on one directory and port, which can be restarted any number of times. Start it from the main thread."""

    def __init__(self, place: Path, *options: str) -> None:
        place.mkdir(parents=True)
        self.place, self.port, self.options = place, free_port(), options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with open(self.place / "log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), str(find_mongod(None))),
                    *("--dbpath", str(self.place), "--bind_ip", HOST, "--port", str(self.port), "--nounixsocket"),
                    *("--replSet", "rs0", "--wiredTigerCacheSizeGB", "0.4", "--quiet"),
                    *("--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=32MB)"),
                    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
                    *("--setParameter", "transactionLifetimeLimitSeconds=5"),
                    *self.options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Freeze it. Waits until its threads have stopped, which takes a while on a busy machine."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @contextlib.asynccontextmanager
    async def driver(self) -> AsyncIterator[Driver]:
        """A connection to this mongod without proxies."""
        async with Driver(
            HOST, self.port, directConnection=True, serverSelectionTimeoutMS=2000, socketTimeoutMS=10_000, tz_aware=True
        ) as driver:
            yield driver

    async def until_primary(self) -> None:
        async with asyncio.timeout(START_SECONDS), self.driver() as driver:
            while True:
                with contextlib.suppress(PyMongoError):
                    if (await driver.admin.command("hello"))["isWritablePrimary"]:
                        return
                await asyncio.sleep(0.02)

    async def until_listening(self) -> None:
        async with asyncio.timeout(START_SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(HOST, self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.02)

    async def initiate(self, config: dict[str, Any]) -> None:
        async with asyncio.timeout(START_SECONDS), self.driver() as driver:
            while True:
                try:
                    await driver.admin.command("replSetInitiate", config)
                except OperationFailure:
                    raise
                except PyMongoError:
                    await asyncio.sleep(0.02)  # it does not listen yet
                else:
                    return


class Single:
    """A replica set of one."""

    def __init__(self, place: Path, *options: str) -> None:
        self.mongod = Mongod(place / "mongod", *options)
        self.uri = f"mongodb://{HOST}:{self.mongod.port}/?replicaSet=rs0"

    async def start(self) -> Single:
        self.mongod.start()
        members = [{"_id": 0, "host": f"{HOST}:{self.mongod.port}"}]
        await self.mongod.initiate({"_id": "rs0", "members": members})
        await self.mongod.until_primary()
        return self

    async def stop(self) -> None:
        self.mongod.kill()


class Three:
    """A replica set of three. Members and drivers alike reach a member only through its proxy."""

    def __init__(self, place: Path, *, election_ms: int) -> None:
        self.mongods = [Mongod(place / f"mongod{n}", "--oplogSize", "64") for n in range(3)]
        self.proxies: list[Proxy] = []
        self.election_ms = election_ms
        self._cut_off: int | None = None

    @property
    def uri(self) -> str:
        return f"mongodb://{','.join(self._hosts())}/?replicaSet=rs0"

    def _hosts(self) -> list[str]:
        return [f"{HOST}:{proxy.port}" for proxy in self.proxies]

    async def start(self) -> Three:
        for mongod in self.mongods:
            mongod.start()
            proxy = await Proxy(HOST, mongod.port).start()
            proxy.on_accept = self._accepted
            self.proxies.append(proxy)
        await asyncio.gather(*(mongod.until_listening() for mongod in self.mongods))
        members = [{"_id": n, "host": host} for n, host in enumerate(self._hosts())]
        settings = {"electionTimeoutMillis": self.election_ms}
        await self.mongods[0].initiate({"_id": "rs0", "members": members, "settings": settings})
        await self.all_up()
        return self

    async def stop(self) -> None:
        for mongod in self.mongods:
            mongod.kill()
        for proxy in self.proxies:
            await proxy.stop()

    async def primary(self) -> int:
        """The primary's index, as a majority sees it."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                for number, mongod in enumerate(self.mongods):
                    with contextlib.suppress(PyMongoError):
                        async with asyncio.timeout(3), mongod.driver() as driver:
                            if (await driver.admin.command("hello"))["isWritablePrimary"]:
                                return number
                await asyncio.sleep(0.05)

    async def all_up(self) -> None:
        """Wait until there is a primary and two that follow it closely."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                with contextlib.suppress(PyMongoError):
                    async with self.mongods[await self.primary()].driver() as driver:
                        members = (await driver.admin.command("replSetGetStatus"))["members"]
                    if sorted(member["stateStr"] for member in members) == ["PRIMARY", "SECONDARY", "SECONDARY"]:
                        return
                await asyncio.sleep(0.05)

    async def step_down(self, number: int) -> None:
        """Ask until it is accepted, which requires a secondary that has caught up."""
        async with asyncio.timeout(START_SECONDS), self.mongods[number].driver() as driver:
            while True:
                with contextlib.suppress(OperationFailure):
                    await driver.admin.command("replSetStepDown", 10, secondaryCatchUpPeriodSecs=5)
                    return
                await asyncio.sleep(0.05)

    def cut_off(self, number: int) -> None:
        """Cut this member off in both directions."""
        self._cut_off = number
        self.proxies[number].cut()
        own = ports_of(self.mongods[number].pid)
        for proxy in self.proxies:
            for wire in proxy.wires:
                if wire.client_port in own:
                    wire.cut()

    def heal(self) -> None:
        self._cut_off = None
        for proxy in self.proxies:
            proxy.thaw()
            for wire in list(proxy.wires):
                wire.thaw()

    def _accepted(self, wire: Wire) -> None:
        if self._cut_off is not None and wire.client_port in ports_of(self.mongods[self._cut_off].pid):
            wire.cut()


def ports_of(pid: int) -> set[int]:
    """The local TCP ports of a process's sockets."""
    return {int(row[1].rpartition(":")[2], 16) for row in _sockets(pid)}


def peers_of(pid: int) -> set[int]:
    """The ports at the other ends of a process's connections."""
    return {int(row[2].rpartition(":")[2], 16) for row in _sockets(pid)}


def _sockets(pid: int) -> list[list[str]]:
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            name = os.readlink(descriptor)
            if name.startswith("socket:["):
                inodes.add(name[8:-1])
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row for row in rows if row[9] in inodes]
