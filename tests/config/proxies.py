"""nginx and HAProxy with the files of config/, in which only ports and paths are replaced."""

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

import aiohttp
import aiohttp.abc

from tests.support import PATIENCE, ROOT

NAME = "chat.example.com"
KINDS = ("nginx", "haproxy")


def missing(kind: str) -> str | None:
    """Why the proxy cannot run here, or None if it can."""
    programs = [name for name in (kind, "openssl") if find(name) is None]
    return f"{' and '.join(programs)} not installed, see scripts/need-servers" if programs else None


def find(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


@dataclass
class Certificate:
    """Self-signed, for NAME and for 127.0.0.1."""

    certificate: Path
    key: Path
    both: Path

    @classmethod
    def make(cls, place: Path, days: int = 90) -> Certificate:
        made = cls(place / "certificate.pem", place / "certificate.key", place / "both.pem")
        openssl = find("openssl")
        assert openssl is not None
        subprocess.run(
            [
                *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-days", str(days), "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME},IP:127.0.0.1"),
                *("-out", str(made.certificate), "-keyout", str(made.key)),
            ],
            check=True,
            capture_output=True,
        )
        made.both.write_bytes(made.certificate.read_bytes() + made.key.read_bytes())
        return made


class _Resolver(aiohttp.abc.AbstractResolver):
    """Says that NAME, whatever its port, is at a port of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        assert host == NAME
        found = aiohttp.abc.ResolveResult(
            hostname=host, host="127.0.0.1", port=self._port, family=socket.AF_INET, proto=0, flags=0
        )
        return [found]

    async def close(self) -> None:
        pass


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

    def http(self, address: str = "127.0.0.1") -> aiohttp.ClientSession:
        """A client at an address of this machine, which trusts the certificate and knows where NAME is."""
        context = ssl.create_default_context(cafile=self.certificate.certificate)
        connector = aiohttp.TCPConnector(
            ssl=context, local_addr=(address, 0), limit=0, resolver=_Resolver(self.port), use_dns_cache=False
        )
        return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30))


def put(text: str, *changes: tuple[str, str]) -> str:
    """Replace each of these in the text. A missing one is an error."""
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
    front: Front, place: Path, servers: Sequence[int], edit: Callable[[str], str] = lambda text: text
) -> AsyncIterator[None]:
    """The proxy runs in front of the two servers of these ports. `edit` changes its file further."""
    command = (_nginx if front.kind == "nginx" else _haproxy)(front, place, servers, edit)
    log = place / f"{front.kind}.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(*command, stdout=out, stderr=out)
        try:
            await _answers(front.port, process, log)
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


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


def _configured(name: str, file: str, *changes: tuple[str, str]) -> tuple[str, str]:
    """The program, and its configuration with these changes."""
    program = find(name)
    assert program is not None
    return program, put((ROOT / "config" / file).read_text(), *changes)


def _nginx(front: Front, place: Path, servers: Sequence[int], edit: Callable[[str], str]) -> list[str]:
    program, text = _configured(
        *("nginx", "nginx.conf"),
        ("listen 443 ", f"listen 127.0.0.1:{front.port} "),
        ("listen 80;", f"listen 127.0.0.1:{front.plain_port};"),
        ("/etc/ssl/chat.example.com.pem", str(front.certificate.certificate)),
        ("/etc/ssl/chat.example.com.key", str(front.certificate.key)),
        ("server 127.0.0.1:8080 ", f"server 127.0.0.1:{servers[0]} "),
        ("server 127.0.0.1:8081 ", f"server 127.0.0.1:{servers[1]} "),
    )
    (place / "roomcast.conf").write_text(edit(text))
    folders = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"  {folder}_temp_path {place}/{folder};\n" for folder in folders)
    # The worker keeps the user of the tests, who alone may read their files.
    user = "user root;\n" if os.geteuid() == 0 else ""
    main = place / "nginx.conf"
    main.write_text(
        f"{user}daemon off;\nworker_processes 1;\npid {place}/nginx.pid;\nerror_log stderr warn;\n"
        "events { worker_connections 4096; }\n"
        f"http {{\n  access_log off;\n{paths}  include {place}/roomcast.conf;\n}}\n"
    )
    return [program, "-e", "stderr", "-p", str(place), "-c", str(main)]


def _haproxy(front: Front, place: Path, servers: Sequence[int], edit: Callable[[str], str]) -> list[str]:
    program, text = _configured(
        *("haproxy", "haproxy.cfg"),
        ("bind :443 ", f"bind 127.0.0.1:{front.port} "),
        ("bind :80\n", f"bind 127.0.0.1:{front.plain_port}\n"),
        ("/etc/haproxy/chat.example.com.pem", str(front.certificate.both)),
        ("maxconn 20000", "maxconn 2000"),  # twice as many open files may be more than these tests are allowed
        ("log /dev/log local0", "log stderr format raw local0 warning"),
        (" 127.0.0.1:8080\n", f" 127.0.0.1:{servers[0]}\n"),
        (" 127.0.0.1:8081\n", f" 127.0.0.1:{servers[1]}\n"),
    )
    if os.geteuid() != 0:
        text = re.sub(r"^ +(chroot|user|group) .*\n", "", text, flags=re.MULTILINE)
    file = place / "haproxy.cfg"
    file.write_text(edit(text))
    return [program, "-f", str(file), "-db"]
