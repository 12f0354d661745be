"""What anybody sees over HTTP."""

from __future__ import annotations

import asyncio
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
import jwt

from app import __version__
from app.auth import AUDIENCE
from app.doctor.findings import FAILURE, OK, WARNING, Check, Context, Finding
from app.hosts import is_loopback

DAYS_BEFORE_EXPIRY: Final = 21
CLOCK_SECONDS: Final = 5.0
BODY_BYTES: Final = 900 * 1024
"""A body that the server takes by its size (docs/contract.md: 1 MiB)."""
_HEADERS: Final = ("Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy")


async def alive(it: Context) -> Finding:
    async with it.http.get(it.url / "healthz", allow_redirects=False) as answer:
        text = await answer.text()
        if answer.status == 200 and '"ok"' in text:
            return Finding("http", OK, "The server answers.")
        if answer.status in (301, 302, 307, 308):
            place = answer.headers.get("Location", "")
            return Finding("http", FAILURE, f"The address leads elsewhere: {place}.", "Give that one to doctor.")
        if answer.status in (502, 503, 504):
            words = f"A proxy answers {answer.status}: it does not reach the server."
            return Finding("http", FAILURE, words, "Check that the server runs and the proxy's upstream address.")
    return Finding("http", FAILURE, f"/healthz answers {answer.status}: this is not Roomcast.", "Check the address.")


async def ready(it: Context) -> Finding:
    async with it.http.get(it.url / "readyz") as answer:
        state: Any = await answer.json(content_type=None)
    if answer.status == 200:
        return Finding("ready", OK, "The server is ready, and its database answers.")
    if not isinstance(state, dict) or "database" not in state:
        return Finding("ready", FAILURE, f"/readyz answers {answer.status}.", "Let the proxy pass it on.")
    if state["database"] != "ok":
        return Finding(
            "ready", FAILURE, "The server's database does not answer.", "See database_unavailable in its log."
        )
    return Finding("ready", FAILURE, f"The server is not ready: {state}.", "See its log.")


async def tls(it: Context) -> Finding:
    if it.url.scheme != "https":
        if is_loopback(it.url.host or ""):
            return Finding("tls", OK, "This machine alone; TLS is not needed.")
        return Finding("tls", WARNING, "Without TLS tokens and messages can be read on the way.", "Use https.")
    context = ssl.create_default_context()
    try:
        async with asyncio.timeout(10):
            _, writer = await asyncio.open_connection(it.url.host, it.url.port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        words = f"Clients refuse the certificate: {error.verify_message}."
        return Finding("tls", FAILURE, words, "Install a valid certificate with its whole chain, for this name.")
    certificate = writer.get_extra_info("peercert")
    writer.close()
    days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / 86_400
    if days < DAYS_BEFORE_EXPIRY:
        return Finding("tls", WARNING, f"The certificate expires in {days:.0f} days.", "Renew it.")
    return Finding("tls", OK, f"The certificate is valid for {days:.0f} days.")


async def redirect(it: Context) -> Finding:
    if it.url.scheme != "https" or it.url.port != 443:
        return Finding("redirect", OK, "Only https on its default port needs a redirect from http.")
    try:
        async with it.http.get(it.url.with_scheme("http").with_port(80), allow_redirects=False) as answer:
            place = answer.headers.get("Location", "")
    except (aiohttp.ClientError, TimeoutError):
        return Finding("redirect", WARNING, "Nothing answers on port 80.", "Redirect http to https.")
    if answer.status in (301, 302, 307, 308) and place.startswith("https://"):
        return Finding("redirect", OK, "http leads to https.")
    return Finding("redirect", FAILURE, f"http answers {answer.status}, not a redirect.", "Redirect http to https.")


async def headers(it: Context) -> Finding:
    async with it.http.get(it.url / "") as answer:
        missing = [name for name in _HEADERS if name not in answer.headers]
    if missing:
        words = f"The page lacks {', '.join(missing)}."
        return Finding("headers", FAILURE, words, "The proxy must pass on the server's headers.")
    if it.url.scheme == "https" and "Strict-Transport-Security" not in answer.headers:
        return Finding(
            "headers", WARNING, "Strict-Transport-Security is missing.", "Let the proxy add it; see config/."
        )
    return Finding("headers", OK, "The security headers are there.")


async def page(it: Context) -> Finding:
    async with it.http.get(it.url / "") as answer:
        text = await answer.text()
    if answer.status != 200 or "Roomcast" not in text:
        return Finding("page", FAILURE, f"/ is not the page (status {answer.status}).", "Check the proxy's paths.")
    if 'name="roomcast"' not in text:
        return Finding("page", FAILURE, "The page is not built.", "Run `make page`, or install a complete wheel.")
    if f"&quot;version&quot;:&quot;{__version__}&quot;" not in text:
        return Finding(
            "page", WARNING, f"The server's version is not {__version__}, which doctor is.", "Use one version."
        )
    return Finding("page", OK, f"The page is there, version {__version__}.")


async def metrics(it: Context) -> Finding:
    async with it.http.get(it.url / "metrics") as answer:
        pass
    if answer.status != 200:
        return Finding("metrics", OK, "/metrics is hidden.")
    if is_loopback(it.url.host or ""):
        return Finding("metrics", OK, "/metrics answers this machine.")
    return Finding("metrics", FAILURE, "/metrics answers everybody.", "Unset METRICS_PUBLIC, or hide it in the proxy.")


async def clock(it: Context) -> Finding:
    async with it.http.get(it.url / "healthz") as answer:
        date = answer.headers.get("Date")
    if date is None:
        return Finding("clock", WARNING, "Answers have no Date header.", "The proxy must pass it on.")
    apart = abs(parsedate_to_datetime(date).timestamp() - time.time())
    if apart > CLOCK_SECONDS:
        words = f"The server's clock and this one are {apart:.0f} s apart."
        return Finding("clock", WARNING, words, "Synchronize both (NTP): tokens begin and end by the clock.")
    return Finding("clock", OK, "The server's clock and this one agree.")


async def token(it: Context) -> Finding:
    if it.token is None:
        return Finding(
            "token", WARNING, "Not checked: there is no token.", "Give --token, or AUTH_SECRET as the server's."
        )
    async with it.http.get(it.url / "api/v1/sessions", headers=it.bearer()) as answer:
        await answer.read()
    if answer.status == 200:
        return Finding("token", OK, "The server takes the token.")
    if answer.status != 401:
        return Finding("token", WARNING, f"With the token, REST answers {answer.status}.", "Give one with scope read.")
    return Finding("token", FAILURE, f"The server refuses the token: {_why(it.token)}", "Mint a new one on the server.")


def _why(token: str) -> str:
    """As far as the token itself tells."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False, "verify_aud": False, "verify_exp": False})
    except jwt.PyJWTError:
        return "it is not a JSON Web Token, or is damaged."
    now = time.time()
    if not isinstance(claims.get("exp"), int | float):
        return "it has no time at which it ends (exp)."
    if claims["exp"] <= now:
        return f"it expired {now - claims['exp']:.0f} s ago."
    if isinstance(claims.get("nbf"), int | float) and claims["nbf"] > now:
        return "it is not good yet (nbf)."
    if claims.get("aud") != AUDIENCE:
        return f"its audience is not {AUDIENCE}."
    if not claims.get("scopes"):
        return "it has no scopes."
    return "it is signed with another AUTH_SECRET, or the proxy does not pass on Authorization, or it was revoked."


async def body(it: Context) -> Finding:
    """Refused for its content, not its size; nothing is stored."""
    if it.token is None:
        return Finding("body", WARNING, "Not checked: there is no token.", "Give --token.")
    given = {**it.bearer(), "Content-Type": "application/json"}
    async with it.http.post(
        it.url / "webhook" / "doctor", data=b'{"": "' + b"x" * BODY_BYTES + b'"}', headers=given
    ) as it_is:
        text = await it_is.text()
    if it_is.status == 413 and "too_large" not in text:
        words = "A proxy refuses bodies that the server takes."
        return Finding("body", FAILURE, words, "Let it pass 16 MiB (nginx: client_max_body_size 16m).")
    if it_is.status in (422, 404, 400):
        return Finding("body", OK, "Large bodies reach the server.")
    return Finding(
        "body", WARNING, f"A large body was answered {it_is.status}.", "See the server's and the proxy's log."
    )


CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("ready", ready),
    ("tls", tls),
    ("redirect", redirect),
    ("headers", headers),
    ("page", page),
    ("metrics", metrics),
    ("clock", clock),
    ("token", token),
    ("body", body),
)
