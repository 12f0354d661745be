"""The private mongod, with real processes: it is found, becomes primary, and ends with its server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from app.devdb import DevDatabaseError, database, find_mongod, mongod, run, uri_of_running
from app.devdb.ports import free_port, is_free

Client = AsyncMongoClient[dict[str, Any]]

# A server that is nothing but its database. It says what it has, then waits; SIGTERM stops it as it does the real one.
SERVER = """
import asyncio, json, os, signal, sys
from pathlib import Path
import uvloop
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure
from app.devdb import database, replica_set

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with database.run(Path(sys.argv[1]), None) as uri:
        async with AsyncMongoClient(uri) as client:
            pid = (await client.admin.command("serverStatus"))["pid"]
            await client.test.kept.insert_one({"by": os.getpid()})
            for n in range(500 if sys.argv[2] == "many" else 0):
                await client.test.kept.insert_one({"n": n})
        print(json.dumps({"pid": pid, "uri": uri}), flush=True)
        await stop.wait()

class Crash:
    # In place of the driver: it is made as soon as the new mongod accepts connections.
    def __init__(self, *args, **kwargs):
        print(json.dumps({"port": args[1]}), flush=True)
        os.abort()

if sys.argv[2] == "crash":
    replica_set.Client = Crash
uvloop.run(main()) if sys.argv[2] == "uvloop" else asyncio.run(main())
"""


def start_server(data_dir: Path, how: str = "uvloop") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SERVER, str(data_dir), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def first_line(server: subprocess.Popen[str]) -> dict[str, Any]:
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line:
        raise AssertionError(server.communicate()[1])
    said: dict[str, Any] = json.loads(line)
    return said


def is_running(pid: int) -> bool:
    """Whether the process does anything still: one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Poll for something without a notification."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@asynccontextmanager
async def connected(uri: str) -> AsyncIterator[Client]:
    async with Client(uri, serverSelectionTimeoutMS=10_000) as client:
        yield client


async def enter_and_leave(data_dir: Path) -> None:
    async with run(data_dir, None):
        pass


async def pid_of(client: Client) -> int:
    return int((await client.admin.command("serverStatus"))["pid"])


def port_of(uri: str) -> int:
    return int(uri.split("@")[1].split("/")[0].split(":")[1])


def check_private(place: Path) -> None:
    for path in (place, *place.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def listens_at(port: int) -> set[str]:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return {row[1] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}


# Finding it


def executable(path: Path, text: str = "#!/bin/sh\nexit 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_setting_then_path_then_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MONGOD_BINARY wins over PATH, PATH over the package."""
    chosen = executable(tmp_path / "chosen" / "my-mongod")
    on_path = executable(tmp_path / "bin" / "mongod")
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert find_mongod(str(chosen)) == chosen
    assert find_mongod("mongod") == on_path
    assert find_mongod(None) == on_path
    assert find_mongod("") == on_path
    monkeypatch.setenv("PATH", str(tmp_path))
    packaged = find_mongod(None)
    assert packaged.parts[-4:] == ("fiftyone", "db", "bin", "mongod")


def test_a_wrong_setting_is_not_passed_over(tmp_path: Path) -> None:
    """A MONGOD_BINARY that is not there, or not executable, is an error, though others could be found."""
    (tmp_path / "plain").write_text("")
    for wrong in (tmp_path / "nowhere", tmp_path / "plain", tmp_path):
        with pytest.raises(DevDatabaseError, match="MONGOD_BINARY"):
            find_mongod(str(wrong))


def test_nothing_found_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without any mongod the error names the package to install and the setting for a database elsewhere."""

    def missing(name: str) -> Path:
        raise ModuleNotFoundError(name)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(database.importlib.resources, "files", missing)
    with pytest.raises(DevDatabaseError, match=r"MONGODB_URI(.|\n)*pip install 'roomcast\[embedded\]'"):
        find_mongod(None)


# Running it


async def test_it_is_primary_private_and_keeps_its_data(tmp_path: Path) -> None:
    """A transaction works at once; only the owner can look; only loopback listens; a restart has the data and port."""
    data = tmp_path / "new" / "data"
    async with run(data, None) as uri:
        async with connected(uri) as client:
            async with client.start_session() as session, await session.start_transaction():
                await client.test.kept.insert_one({"n": 1}, session=session)
            limit = await client.admin.command("getParameter", transactionLifetimeLimitSeconds=1)
            assert limit["transactionLifetimeLimitSeconds"] == 5
            pid = await pid_of(client)
            assert os.getsid(pid) != os.getsid(0), "a Ctrl-C in the terminal would reach it"
        port = port_of(uri)
        assert listens_at(port) == {f"0100007F:{port:04X}"}
        check_private(data)
    assert not is_running(pid)
    os.truncate(data / "mongod.log", mongod.LOG_LIMIT + 1)
    async with run(data, None) as again, connected(again) as client:
        assert again == uri
        assert await client.test.kept.count_documents({}) == 1
    assert (data / "mongod.log.1").stat().st_size > mongod.LOG_LIMIT
    assert (data / "mongod.log").stat().st_size < mongod.LOG_LIMIT


async def test_it_lets_in_nobody_without_its_password(tmp_path: Path) -> None:
    """Other users of the machine, who cannot read DATA_DIR, cannot read, write or create a user."""
    async with run(tmp_path, None) as uri:
        async with connected(f"mongodb://127.0.0.1:{port_of(uri)}/?directConnection=true") as stranger:
            for refused in (
                stranger.test.kept.find_one(),
                stranger.test.kept.insert_one({"n": 1}),
                stranger.admin.command("createUser", "me", pwd="mine", roles=["root"]),
                stranger.admin.command("shutdown"),
            ):
                with pytest.raises(OperationFailure, match="requires authentication"):
                    await refused
        async with connected(uri.replace("roomcast:", "roomcast:x")) as stranger:
            with pytest.raises(OperationFailure, match="Authentication failed"):
                await stranger.test.kept.find_one()


def start_without_password(place: Path, port: int) -> subprocess.Popen[bytes]:
    (place / "mongodb").mkdir()
    place.chmod(0o755)
    for name in ("mongod.port", "mongod.log", "auth_secret"):
        (place / name).write_text(f"{port}\n")
    options = ["--dbpath", place / "mongodb", "--port", str(port), "--replSet", "rs0", "--bind_ip", "127.0.0.1"]
    return subprocess.Popen([find_mongod(None), *options], stdout=subprocess.DEVNULL)


async def test_data_of_before_there_was_a_password(tmp_path: Path) -> None:
    """Data from a version without a password is kept, and gets the password."""
    port = free_port()
    with start_without_password(tmp_path, port) as earlier:
        async with Client("127.0.0.1", port, directConnection=True) as client:
            alone = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
            await client.admin.command("replSetInitiate", {"_id": "rs0", "members": alone})
        async with connected(f"mongodb://127.0.0.1:{port}/?replicaSet=rs0") as client:
            await client.test.kept.insert_one({"n": 1})
        earlier.kill()
    for _ in range(2):
        async with run(tmp_path, None) as uri, connected(uri) as client:
            assert await client.test.kept.count_documents({}) == 1
            async with connected(f"mongodb://127.0.0.1:{port_of(uri)}/?directConnection=true") as stranger:
                with pytest.raises(OperationFailure, match="requires authentication"):
                    await stranger.test.kept.find_one()
    check_private(tmp_path)
    (tmp_path / "mongod.key").unlink()
    async with run(tmp_path, None) as uri, connected(uri) as client:
        assert await client.test.kept.count_documents({}) == 1, "a lost password is made anew"


async def test_one_server_per_directory_and_it_mends_itself(tmp_path: Path) -> None:
    """A second server is refused at once and disturbs nothing; a mongod that died is back under the same URI."""
    async with run(tmp_path, None) as uri, connected(uri) as client:
        await client.test.kept.insert_one({"n": 1})
        pid = await pid_of(client)

        with pytest.raises(DevDatabaseError, match=rf"another server \(process {os.getpid()}\)(.|\n)*DATA_DIR"):
            async with run(tmp_path, None):
                pass
        assert await pid_of(client) == pid

        os.kill(pid, signal.SIGKILL)
        until(lambda: not is_running(pid))
        async with asyncio.timeout(60):
            await client.test.kept.insert_one({"n": 2})
        assert await client.test.kept.count_documents({}) == 2
        reborn = await pid_of(client)
        assert reborn != pid
    assert not is_running(reborn)


def test_a_taken_port_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    """If a silent program has taken the remembered port, the set moves with all data, even after
    kill -9, and stays where it moved to."""
    server = start_server(tmp_path, "many")
    first_line(server)
    server.kill()
    server.communicate()

    async def count(uris: set[str]) -> int:
        async with run(tmp_path, None) as uri, connected(uri) as client:
            uris.add(uri)
            config = (await client.admin.command("replSetGetConfig"))["config"]
            assert [member["host"] for member in config["members"]] == [f"127.0.0.1:{port_of(uri)}"]
            async with client.start_session() as session, await session.start_transaction():
                await client.test.kept.insert_one({"after": "the move"}, session=session)
            return await client.test.kept.count_documents({})

    port = int((tmp_path / "mongod.port").read_text())
    until(lambda: is_free(port))
    uris: set[str] = set()
    with socket.create_server(("127.0.0.1", port)):
        assert asyncio.run(count(uris)) == 502
    assert asyncio.run(count(uris)) == 503
    assert len(uris) == 1
    assert port_of(uris.pop()) != port


async def test_a_mongod_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The error has mongod's message and the path of the log; nothing is left running, and the directory is free
    again."""
    broken = executable(tmp_path / "mongod", "#!/bin/sh\necho libmissing.so: no such file >&2\nexit 127\n")
    for _ in range(2):
        with pytest.raises(
            DevDatabaseError, match=r"status 127\): libmissing.so: no such file \(more in .*mongod.log\)"
        ):
            async with run(tmp_path / "data", str(broken)):
                pass


async def test_a_mongod_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """The start has a time limit, after which the process is gone."""
    mute = executable(tmp_path / "mongod", f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 100\n")
    with pytest.raises(DevDatabaseError, match=r"did not start within 0.3 s"):
        async with run(tmp_path / "data", str(mute), start_timeout=0.3):
            pass
    assert not is_running(int((tmp_path / "pid").read_text()))


async def test_one_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping has a time limit too."""
    monkeypatch.setattr(mongod, "STOP_SECONDS", 0.2)
    async with run(tmp_path, None) as uri:
        async with connected(uri) as client:
            pid = await pid_of(client)
        os.kill(pid, signal.SIGSTOP)
    assert not is_running(pid)


# Never left behind


def test_killed_server_leaves_nothing_and_the_next_starts(tmp_path: Path) -> None:
    """After kill -9 mongod is gone too, and a server that is started that moment is primary, at the same address."""
    killed = start_server(tmp_path)
    old = first_line(killed)
    killed.kill()
    following = start_server(tmp_path)
    try:
        new = first_line(following)
        assert not is_running(old["pid"])
        assert is_running(new["pid"])
        assert new["uri"] == old["uri"]
    finally:
        killed.communicate()
        following.send_signal(signal.SIGTERM)
        following.communicate(timeout=60)
    assert not is_running(new["pid"])


@pytest.mark.parametrize(
    ("how", "signals"),
    [("uvloop", [signal.SIGTERM]), ("asyncio", [signal.SIGINT]), ("asyncio", [signal.SIGTERM, signal.SIGKILL])],
)
def test_no_orphan_after_a_signal(tmp_path: Path, how: str, signals: list[signal.Signals]) -> None:
    """However the server is stopped, even while it is stopping, its mongod ends."""
    server = start_server(tmp_path, how)
    pid = first_line(server)["pid"]
    assert is_running(pid)
    for number in signals:
        server.send_signal(number)
    server.communicate(timeout=60)
    until(lambda: not is_running(pid))


def test_no_orphan_after_a_crash_at_start(tmp_path: Path) -> None:
    """A server that dies between starting mongod and having it leaves none."""
    server = start_server(tmp_path, "crash")
    port = first_line(server)["port"]
    server.communicate(timeout=60)
    assert server.returncode == -signal.SIGABRT
    until(lambda: is_free(port))
    pid = int((tmp_path / "mongodb" / "mongod.lock").read_text())
    until(lambda: not is_running(pid))


def test_a_mongod_whose_server_died_meanwhile_is_not_started(tmp_path: Path) -> None:
    """A server that dies before the launcher has tied itself to it leaves none either."""
    another = os.getpid() + 1
    started = tmp_path / "started"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", mongod.LAUNCHER, str(another), "/usr/bin/touch", str(started)],
        capture_output=True,
        check=False,
        timeout=10,
    )
    assert done.returncode != 0
    assert not started.exists()


def test_a_left_over_mongod_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mongod that somebody else runs on our data is neither killed nor raced with: the error names it."""
    monkeypatch.setattr(mongod, "LEFT_OVER_SECONDS", 0.1)
    (tmp_path / "mongodb").mkdir()
    other = subprocess.Popen(
        [find_mongod(None), "--dbpath", tmp_path / "mongodb", "--port", str(free_port())],
        stdout=subprocess.DEVNULL,
    )
    lock = tmp_path / "mongodb" / "mongod.lock"
    try:
        until(lambda: lock.exists() and lock.read_text().strip() == str(other.pid))
        with pytest.raises(DevDatabaseError, match=rf"process {other.pid}\)"):
            asyncio.run(enter_and_leave(tmp_path))
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_it_runs_under_uvloop_as_well(tmp_path: Path) -> None:
    """The loop that the server uses finds it, runs it and stops it."""

    async def main() -> int:
        async with run(tmp_path, None) as uri, connected(uri) as client:
            return await pid_of(client)

    assert not is_running(uvloop.run(main()))


async def test_commands_reach_the_database_of_a_running_server(tmp_path: Path) -> None:
    """The database of a running server is found, with its password; without a running server there is none."""
    assert uri_of_running(tmp_path) is None
    async with run(tmp_path, None) as uri:
        assert uri_of_running(tmp_path) == uri
        async with AsyncMongoClient[dict[str, Any]](uri_of_running(tmp_path)) as client:
            assert (await client.admin.command("ping"))["ok"] == 1
    assert uri_of_running(tmp_path) is None
