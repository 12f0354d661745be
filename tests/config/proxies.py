"""nginx and HAProxy with the files of config/ as they stand: only ports, paths and the servers' ports are put in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support import PATIENCE, ROOT

NAME = "chat.example.com"
KINDS = ("nginx", "haproxy")


def missing(kind: str) -> str | None:
    """Why the proxy cannot be run here; None where it can."""
    programs = [name for name in (kind, "openssl") if find(name) is None]
    return f"{' and '.join(programs)} not installed, see scripts/need-proxies" if programs else None


def find(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


@dataclass
class Certificate:
    """Self-signed, for NAME and for 127.0.0.1."""

    certificate: Path
    key: Path
    both: Path

    @classmethod
    def make(cls, place: Path) -> Certificate:
        made = cls(place / "certificate.pem", place / "certificate.key", place / "both.pem")
        openssl = find("openssl")
        assert openssl is not None
        subprocess.run(
            [
                *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME},IP:127.0.0.1"),
                *("-out", str(made.certificate), "-keyout", str(made.key)),
            ],
            check=True,
            capture_output=True,
        )
        made.both.write_bytes(made.certificate.read_bytes() + made.key.read_bytes())
        return made

    def context(self) -> ssl.SSLContext:
        """For clients that trust it."""
        return ssl.create_default_context(cafile=self.certificate)


@dataclass
class Front:
    """A reverse proxy that runs."""

    kind: str
    port: int
    plain_port: int
    certificate: Certificate

    @property
    def url(self) -> str:
        """Its address on a port of its own."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def public(self) -> str:
        """Its name on the default port, where clients map that name and port to `port`."""
        return f"https://{NAME}"


def put(text: str, *changes: tuple[str, str]) -> str:
    """The text with each of these replaced. What is not there is a mistake."""
    for old, new in changes:
        assert old in text, f"the file does not say {old!r} any more"
        text = text.replace(old, new)
    return text


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in sockets]


@contextlib.asynccontextmanager
async def front(
    kind: str,
    place: Path,
    servers: Sequence[int],
    certificate: Certificate,
    edit: Callable[[str], str] = lambda text: text,
) -> AsyncIterator[Front]:
    """The proxy in front of the two servers of these ports, once it answers. `edit` changes its file further."""
    port, plain_port = free_ports(2)
    run = _nginx if kind == "nginx" else _haproxy
    command = run(place, servers, certificate, port, plain_port, edit)
    log = (place / f"{kind}.log").open("wb")
    process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:
        await _answers(port, process, place / f"{kind}.log")
        yield Front(kind, port, plain_port, certificate)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        log.close()


async def _answers(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            except OSError:
                said = await asyncio.to_thread(log.read_text)
                assert process.returncode is None, said
                await asyncio.sleep(0.02)


def _nginx(
    place: Path,
    servers: Sequence[int],
    certificate: Certificate,
    port: int,
    plain_port: int,
    edit: Callable[[str], str],
) -> list[str]:
    program = find("nginx")
    assert program is not None
    text = put(
        (ROOT / "config" / "nginx.conf").read_text(),
        ("listen 443 ", f"listen 127.0.0.1:{port} "),
        ("listen 80;", f"listen 127.0.0.1:{plain_port};"),
        ("/etc/ssl/chat.example.com.pem", str(certificate.certificate)),
        ("/etc/ssl/chat.example.com.key", str(certificate.key)),
        *(
            (f"server 127.0.0.1:{there} ", f"server 127.0.0.1:{here} ")
            for there, here in zip((8080, 8081), servers, strict=True)
        ),
    )
    (place / "roomcast.conf").write_text(edit(text))
    for folder in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
        (place / folder).mkdir(exist_ok=True)
    main = place / "nginx.conf"
    # The worker keeps the user of the tests, who alone may read their files.
    user = "user root;\n" if os.geteuid() == 0 else ""
    main.write_text(
        f"{user}daemon off;\nworker_processes 1;\npid {place}/nginx.pid;\nerror_log stderr warn;\n"
        "events { worker_connections 4096; }\n"
        f"http {{\n  access_log off;\n  client_body_temp_path {place}/body;\n  proxy_temp_path {place}/proxy;\n"
        f"  fastcgi_temp_path {place}/fastcgi;\n  uwsgi_temp_path {place}/uwsgi;\n  scgi_temp_path {place}/scgi;\n"
        f"  include {place}/roomcast.conf;\n}}\n"
    )
    return [program, "-e", "stderr", "-p", str(place), "-c", str(main)]


def _haproxy(
    place: Path,
    servers: Sequence[int],
    certificate: Certificate,
    port: int,
    plain_port: int,
    edit: Callable[[str], str],
) -> list[str]:
    program = find("haproxy")
    assert program is not None
    text = put(
        (ROOT / "config" / "haproxy.cfg").read_text(),
        ("bind :443 ", f"bind 127.0.0.1:{port} "),
        ("bind :80\n", f"bind 127.0.0.1:{plain_port}\n"),
        ("/etc/haproxy/chat.example.com.pem", str(certificate.both)),
        ("maxconn 20000", "maxconn 2000"),  # twice as many open files may be more than these tests are allowed
        ("log /dev/log local0", "log stderr format raw local0 warning"),
        *((f" 127.0.0.1:{there}\n", f" 127.0.0.1:{here}\n") for there, here in zip((8080, 8081), servers, strict=True)),
    )
    if os.geteuid() != 0:
        text = re.sub(r"^ +(chroot|user|group) .*\n", "", text, flags=re.MULTILINE)
    file = place / "haproxy.cfg"
    file.write_text(edit(text))
    return [program, "-f", str(file), "-db"]
