"""`python -m app doctor` through a real nginx: with config/nginx.conf all is well, and each fault in it is found."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from app.application import assemble
from app.doctor import FAILURE, OK, WARNING, Finding, examine
from app.settings import Settings
from app.storage.mongo import Store
from tests.config.deployment import Deploy
from tests.config.proxies import NAME, Certificate, Front, free_ports, front, missing, put
from tests.support import TOKENS, Site, message

PUBLIC = f"https://{NAME}"
RunApp = Callable[[web.Application], Awaitable[Site]]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Callable[[Front], None]:
    """Lets this process find NAME at a proxy, as DNS would, and trust its certificate."""

    def know(front: Front) -> None:
        real, ports = socket.getaddrinfo, {443: front.port, 80: front.plain_port}

        def getaddrinfo(host: Any, port: Any, *args: Any, **more: Any) -> Any:
            there = ("127.0.0.1", ports[port]) if host == NAME else (host, port)
            return real(*there, *args, **more)

        monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
        monkeypatch.setenv("SSL_CERT_FILE", str(front.certificate.certificate))

    return know


async def findings(url: str, store: Store) -> dict[str, Finding]:
    return {finding.check: finding async for finding in examine(url, None, TOKENS, store)}


async def test_a_deployment_as_config_describes_it(
    deploy: Deploy, known: Callable[[Front], None], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind nginx and HAProxy, under its public name, over TLS: not one warning, except of what the tests' private
    mongod is."""
    for limit in ("app.doctor.sockets.PROMPT_SECONDS", "app.doctor.inside.SLOW_SECONDS"):
        monkeypatch.setattr(limit, 15)  # how fast this machine is does not matter here
    deployment = await deploy()
    known(deployment.front)
    await deployment.servers[0].site.post("shop", message())
    found = await findings(PUBLIC, store)
    lines = [finding.line() for finding in found.values() if finding.status != OK]
    assert [line for line in lines if not line.startswith(("warning open-files", "warning transaction"))] == []
    assert found["redirect"].meaning == "http is redirected to https."
    assert found["metrics"].meaning == "/metrics is hidden."


BROKEN: dict[str, tuple[tuple[tuple[str, str], ...], str, str, str]] = {
    "no-redirect": ((("return 301 https://$host$request_uri;", "return 200 hello;"),), "redirect", FAILURE, "200"),
    "nothing-on-80": ((("return 301 https://$host$request_uri;", "return 444;"),), "redirect", WARNING, "port 80"),
    "no-hsts": (
        (('add_header Strict-Transport-Security "max-age=31536000" always;', ""),),
        *("headers", WARNING, "Strict-Transport-Security"),
    ),
    "hidden-header": (
        (("proxy_buffering off;", "proxy_hide_header X-Content-Type-Options;"),),
        *("headers", FAILURE, "X-Content-Type-Options"),
    ),
    "small-bodies": ((("client_max_body_size 16m;", ""),), "body", FAILURE, "16 MiB"),
    "public-metrics": ((("return 404;", "proxy_pass http://roomcast;"),), "metrics", FAILURE, "everybody"),
    "compression": (
        (("proxy_buffering off;", "gzip on; gzip_proxied any; gzip_types *; gzip_min_length 1;"),),
        *("polling", WARNING, "compresses"),
    ),
    "no-upgrade-header": (
        (("proxy_set_header Upgrade $http_upgrade;", ""),),
        *("websocket", FAILURE, "handshake"),
    ),
    "http-1.0": ((("proxy_http_version 1.1;", "proxy_http_version 1.0;"),), "websocket", FAILURE, "handshake"),
    "upgrade-alone": (
        (("proxy_buffering off;", 'set $both "$http_upgrade$arg_sid"; if ($both ~ "^websocket.") { return 400; }'),),
        *("upgrade", FAILURE, "400"),
    ),
    "host-without-name": (
        (("proxy_set_header Host $http_host;", "proxy_set_header Host $proxy_host;"),),
        *("origin", FAILURE, "may not connect"),
    ),
    "no-authorization": (
        (("proxy_buffering off;", "proxy_set_header Authorization '';"),),
        *("token", FAILURE, "Authorization"),
    ),
    "not-sticky": ((("hash $remote_addr consistent;", "random;"),), "polling", FAILURE, "same server"),
    "server-gone": ((("proxy_pass http://roomcast;", "proxy_pass http://127.0.0.1:1;"),), "http", FAILURE, "502"),
}


@pytest.fixture
async def servers(settings: Settings, store: Store, run_app: RunApp) -> list[int]:
    """The ports of two servers, which show their metrics to all."""
    public = replace(settings, metrics_public=True, host="0.0.0.0")
    sites = [await run_app(assemble(public, TOKENS, store)) for _ in range(2)]
    return [int(site.url.rpartition(":")[2]) for site in sites]


@contextlib.asynccontextmanager
async def nginx(place: Path, servers: list[int], *changes: tuple[str, str], days: int = 90) -> AsyncIterator[Front]:
    one = Front("nginx", *free_ports(2), Certificate.make(place, days))
    async with front(one, place, servers, lambda text: put(text, *changes)):
        yield one


@pytest.mark.skipif(missing("nginx") is not None, reason=str(missing("nginx")))
@pytest.mark.parametrize("name", BROKEN)
async def test_faults_of_a_proxy(
    name: str, servers: list[int], known: Callable[[Front], None], store: Store, tmp_path: Path
) -> None:
    """Each fault in nginx's configuration is found by the name of the check, with what to do."""
    changes, check, status, words = BROKEN[name]
    async with nginx(tmp_path, servers, *changes) as one:
        known(one)
        found = (await findings(PUBLIC, store))[check]
    assert (found.status, words in found.meaning) == (status, True), found.line()
    assert found.advice


@pytest.mark.skipif(missing("nginx") is not None, reason=str(missing("nginx")))
async def test_certificate_that_expires_soon(
    servers: list[int], known: Callable[[Front], None], store: Store, tmp_path: Path
) -> None:
    """Two days before a certificate expires there is a warning, with the number of days."""
    async with nginx(tmp_path, servers, days=2) as one:
        known(one)
        found = (await findings(PUBLIC, store))["tls"]
    assert found.status == WARNING
    assert "expires in 2 days" in found.meaning
