"""Startup problems: one line that names the setting, no traceback, exit status 2."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient

from app.storage import schema
from app.storage.mongo import Store
from tests.support import ROOT, SECRET, Client, Process, message

SERVE_OR_CHECK = pytest.mark.parametrize("command", [("serve",), ("config", "--check")], ids=" ".join)


async def run(*arguments: str, **environ: str) -> tuple[int, str]:
    """`python -m app …`: its exit status and its standard error, of which no line may be a traceback's."""
    plain = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    plain |= {"PORT": "0", "HOST": "127.0.0.1", "LOG_LEVEL": "error"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", *arguments),
        cwd=ROOT,
        env=plain | environ,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(90):
            _, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    assert b"Traceback" not in err
    return process.returncode, err.decode()


async def refused(command: tuple[str, ...], setting: str, *words: str, **environ: str) -> None:
    """Check that the command ends with status 2 and one line, with the setting and this text."""
    code, err = await run(*command, **environ)
    (line,) = err.splitlines()
    assert code == 2
    assert line.startswith(f"roomcast: {setting}: "), line
    for word in words:
        assert word in line
    assert "Topology" not in line
    assert "pa55word" not in line


@SERVE_OR_CHECK
@pytest.mark.parametrize(
    ("setting", "value", "word"),
    [
        ("HOST", "no-such-host.invalid", "does not resolve"),
        ("HOST", "203.0.113.7", "cannot listen"),
        ("HOST", "127.0.0.1:80", "without a port"),
        ("HOST", "not a name", "host name"),
        ("MONGODB_DATABASE", "a.b", "name"),
        ("MONGODB_DATABASE", "admin", "name"),
    ],
)
async def test_names(command: tuple[str, ...], setting: str, value: str, word: str, tmp_path: Path) -> None:
    """Invalid and unresolvable names are refused before anything is created."""
    await refused(command, setting, word, **({"DATA_DIR": str(tmp_path / "data")} | {setting: value}))
    assert not (tmp_path / "data").exists()


@SERVE_OR_CHECK
async def test_port_in_use(command: tuple[str, ...], tmp_path: Path) -> None:
    """A port in use is refused, and nothing is created."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        await refused(command, "PORT", port, PORT=port, DATA_DIR=str(tmp_path / "data"))
    assert not (tmp_path / "data").exists()


@SERVE_OR_CHECK
async def test_directory_that_is_a_file(command: tuple[str, ...], tmp_path: Path) -> None:
    """DATA_DIR may be neither a file nor below one."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        await refused(command, "DATA_DIR", str(tmp_path / "file"), "not a directory", DATA_DIR=str(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
async def test_directory_of_another(tmp_path: Path) -> None:
    """DATA_DIR may not be another user's."""
    os.chown(tmp_path, 65534, 65534)
    await refused(("serve",), "DATA_DIR", "another user", DATA_DIR=str(tmp_path))


# The database. Where waiting may help, `config --check` does not wait.


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("mongodb://127.0.0.1:1/", ("127.0.0.1:1", "Connection refused", "port")),
        ("mongodb://user:pa55word@no-such-host.invalid/", ("no-such-host.invalid", "name")),
        ("mongodb+srv://no-such-host.invalid/", ("_mongodb._tcp.no-such-host.invalid", "SRV")),
        ("mongodb://127.0.0.1/?tls=true&tlsCAFile=/nowhere/ca.pem", ("tlsCAFile", "/nowhere/ca.pem")),
        ("mongodb://127.0.0.1/?replicaSte=rs0", ("Unknown option", "replicaste")),
    ],
    ids=["port", "host", "srv", "tlsCAFile", "option"],
)
async def test_database_that_is_not_there(uri: str, words: tuple[str, ...], tmp_path: Path) -> None:
    """The error has the driver's message, without its state and without the password."""
    given = {"MONGODB_URI": uri, "AUTH_SECRET": SECRET, "MONGODB_TIMEOUT": "0.5", "DATA_DIR": str(tmp_path)}
    await refused(("config", "--check"), "MONGODB_URI", *words, **given)


async def test_wrong_password_set_and_rights(mongodb_uri: str, tmp_path: Path) -> None:
    """A database that refuses the password, has another set's name or gives no rights ends the start at once."""
    parts = urlsplit(mongodb_uri)
    place = f"{parts.hostname}:{parts.port}"
    given = {"AUTH_SECRET": SECRET, "DATA_DIR": str(tmp_path), "MONGODB_TIMEOUT": "2"}
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        client.admin.command("createUser", "stranger", pwd="pa55word", roles=[])
    try:
        await refused(
            ("serve",),
            "MONGODB_URI",
            "Authentication failed",
            "password",
            MONGODB_URI=f"mongodb://roomcast:pa55word@{place}/?authSource=admin&replicaSet=rs0",
            **given,
        )
        await refused(
            ("serve",),
            "MONGODB_URI",
            "not authorized",
            "readWrite",
            MONGODB_URI=f"mongodb://stranger:pa55word@{place}/?authSource=admin&replicaSet=rs0",
            **given,
        )
    finally:
        with MongoClient[dict[str, Any]](mongodb_uri) as client:
            client.admin.command("dropUser", "stranger")
    wrong = mongodb_uri.replace("replicaSet=rs0", "replicaSet=other")
    await refused(("config", "--check"), "MONGODB_URI", "other", "replicaSet", MONGODB_URI=wrong, **given)


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[int]:
    """A TLS server with a self-signed certificate."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    taken, _ = listening.accept()
                except OSError:
                    return
                taken.settimeout(5)
                with contextlib.suppress(OSError), context.wrap_socket(taken, server_side=True):
                    pass

        thread = threading.Thread(target=accept)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


async def test_certificate_that_nobody_knows(tls_port: int, tmp_path: Path) -> None:
    """A certificate of an unknown authority ends the start at once, and the line says where to name the authority."""
    uri = f"mongodb://localhost:{tls_port}/?tls=true"
    given = {"AUTH_SECRET": SECRET, "MONGODB_TIMEOUT": "2", "DATA_DIR": str(tmp_path)}
    await refused(("serve",), "MONGODB_URI", "certificate verify failed", "tlsCAFile", MONGODB_URI=uri, **given)


async def test_tls_on_one_side_alone(tls_port: int, mongodb_uri: str, tmp_path: Path) -> None:
    """TLS to a database without TLS, and no TLS to one that requires it, give different errors."""
    given = {"AUTH_SECRET": SECRET, "MONGODB_TIMEOUT": "2", "DATA_DIR": str(tmp_path)}
    words = ("SSL handshake failed", "uses TLS on this port")
    await refused(("serve",), "MONGODB_URI", *words, MONGODB_URI=mongodb_uri + "&tls=true", **given)
    plain = f"mongodb://127.0.0.1:{tls_port}/"
    await refused(("config", "--check"), "MONGODB_URI", "tls=true", MONGODB_URI=plain, **given)


async def test_check_of_what_can_be_used(mongodb_uri: str, tmp_path: Path) -> None:
    """`config --check` ends with status 0, tells the database without its password, and writes nothing."""
    given = {"AUTH_SECRET": SECRET, "DATA_DIR": str(tmp_path / "data"), "MONGODB_DATABASE": "check_only"}
    code, err = await run("config", "--check", MONGODB_URI=mongodb_uri, **given)
    assert code == 0, err
    assert "check_only" in err
    assert str(urlsplit(mongodb_uri).password) not in err
    assert not (tmp_path / "data").exists()
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        assert "check_only" not in client.list_database_names()


async def test_full_disk_is_named(tmp_path: Path) -> None:
    """If a private mongod exits because the disk is full, the error says so."""
    mongod = tmp_path / "mongod"
    mongod.write_text(
        "#!/bin/sh\n"
        """echo '{"s":"E","msg":"WiredTiger error","attr":{"message":"pwrite: No space left on device"}}'\n"""
        """echo '{"s":"F","msg":"Fatal assertion","attr":{"msgid":28595}}'\nexit 14\n"""
    )
    mongod.chmod(0o700)
    code, err = await run("serve", DATA_DIR=str(tmp_path / "data"), MONGOD_BINARY=str(mongod))
    assert code == 2
    assert "DATA_DIR" in err
    assert "full" in err


async def test_connections_that_do_not_fit(tmp_path: Path) -> None:
    """MAX_CONNECTIONS is lowered to what the hard limit of open files allows, and that is logged."""
    given = {"AUTH_SECRET": SECRET, "MONGODB_URI": "mongodb://127.0.0.1:1/", "MONGODB_TIMEOUT": "0.5"}
    command = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (400, 1000)); "
    command += "from app.cli import main; main(['config', '--check'])"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", command),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PORT": "0", "HOST": "127.0.0.1", "LOG_FORMAT": "json"} | given,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert '"event": "max_connections_lowered"' in err.decode()
    assert '"asked": 10000, "connections": 744, "open_files": 1000' in err.decode()


# Ctrl-C


INTERRUPTED: dict[str, str] = {
    "serve": "",
    "config --check": "",
    "new-epoch": "",
    "revoke --sub ann": "",
    "split --session shop --chat a --from b": "",
    "simulate": "--url",
    "replay FILE --session shop --source baileys": "--url",
    "doctor": "URL",
}
"""A command -> how it is given what it waits for; without that it waits for the database."""


@pytest.mark.parametrize("command", INTERRUPTED)
async def test_interrupt_is_quiet(command: str, tmp_path: Path) -> None:
    """Ctrl-C while a command waits ends it at once, without a traceback; `serve` ends well."""
    (tmp_path / "lines").write_text('{"event": "messages.upsert", "data": {}}\n')
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        arguments = [str(tmp_path / "lines") if word == "FILE" else word for word in command.split()]
        if how := INTERRUPTED[command]:
            arguments += [*(["--url"] if how == "--url" else []), f"http://{place}"]
        given = {"MONGODB_URI": f"mongodb://{place}/", "AUTH_SECRET": SECRET, "LOG_LEVEL": "error"}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app", *arguments),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PORT": "0", "HOST": "127.0.0.1"} | given,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        connection, _ = await asyncio.to_thread(silent.accept)
        with connection:  # it is under way
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(20):
                _, err = await process.communicate()
    assert process.returncode == (0 if command == "serve" else 130)
    for word in (b"Traceback", b"KeyboardInterrupt", b"Abort", b"Error"):
        assert word not in err


async def test_interrupt_before_it_has_begun() -> None:
    """Ctrl-C while the program is still being loaded is as quiet."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "importtime", "-m", "app", "config"),  # says when it loads what
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(20):
        while b"asyncio.events" not in await process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        said = (await process.stderr.read()).decode()
        await process.wait()
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "KeyboardInterrupt" not in said


@pytest.mark.parametrize("what", ["serve", "demo"])
async def test_interrupt_of_what_make_runs(what: str, tmp_path: Path) -> None:
    """Ctrl-C goes to all that a terminal runs: `make run` and `make demo` end with status 0, without a traceback, and
    nothing goes on."""
    command = [str(ROOT / "scripts" / "demo")] if what == "demo" else [sys.executable, "-m", "app", "serve"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": str(port), "DATA_DIR": str(tmp_path / "data")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # a process group of its own, as a shell gives it
    )
    assert process.stdout is not None
    said = b""
    try:
        async with asyncio.timeout(60):
            # The bot says its seed when it begins.
            while b"Ctrl-C" not in said or (what == "demo" and b"seed " not in said):
                said += (line := await process.stdout.readline())
                assert line, said.decode()
            os.killpg(process.pid, signal.SIGINT)
            said += await process.stdout.read()
            await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0
    assert b"Traceback" not in said
    assert b"KeyboardInterrupt" not in said
    with socket.create_server(("127.0.0.1", port)):
        pass


# simulate, demo


async def test_simulate_stops_where_nothing_succeeds() -> None:
    """Errors are reported by kind, and if every request fails, nothing more is sent."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    arguments = ("--url", f"http://127.0.0.1:{port}", "--rate", "20", "--seconds", "600")
    code, err = await run("simulate", *arguments, AUTH_SECRET=SECRET)
    assert code == 1
    assert "ClientConnectorError" in err
    assert "every request fails" in err


async def test_demo_on_a_taken_port() -> None:
    """`make demo` does not talk to a server that is not its own."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = await asyncio.create_subprocess_exec(
            str(ROOT / "scripts" / "demo"),
            env={"PATH": os.environ["PATH"], "PORT": port},
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await process.communicate()
    assert process.returncode == 2
    assert port in err.decode()


# After a restore; a wheel


async def test_new_epoch(mongodb_uri: str, database: str, store: Store) -> None:
    """`new-epoch` gives the numbering another name and changes nothing else."""
    before = store.epoch
    names = await store.administer(lambda db: sorted(db.list_collection_names()))
    code, err = await run("new-epoch", MONGODB_URI=mongodb_uri, MONGODB_DATABASE=database, AUTH_SECRET=SECRET)
    assert (code, err) == (0, "")
    after = await store.administer(schema.epoch)
    assert after != before
    assert await store.administer(lambda db: sorted(db.list_collection_names())) == names


async def test_new_epoch_beside_running_servers(
    processes: Callable[..., Awaitable[Process]], mongodb_uri: str, database: str
) -> None:
    """`new-epoch` says how many servers have to be restarted; after that a position from before is of no use."""
    servers = [await processes(), await processes()]
    client = await Client(servers[0].site).connect()
    await servers[0].site.post("shop", message())
    before = (await client.subscribe("shop"))["position"]
    given = {"MONGODB_URI": mongodb_uri, "MONGODB_DATABASE": database, "AUTH_SECRET": SECRET}
    code, err = await run("new-epoch", **given)
    assert (code, err.count("\n")) == (0, 1)
    assert "restart" in err
    assert "2 found" in err
    await client.close()
    for server in servers:
        await server.stop()
    client = await Client((await processes()).site).connect()
    assert (await client.subscribe("shop", position=before))["recovered"] is False
    await client.fence()
    assert client.seqs() == []
    await client.close()
    code, err = await run("new-epoch", **given)
    assert "1 found" in err


def test_wheel_without_the_page(tmp_path: Path) -> None:
    """A wheel is not built where the page is missing, and the error says how to build that."""
    command = "import sys; sys.path.insert(0, sys.argv[1]); import build_backend; build_backend.build_wheel('.')"
    done = subprocess.run(
        [sys.executable, "-c", command, str(ROOT / "scripts")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "make page" in done.stderr
    assert list(tmp_path.iterdir()) == []
