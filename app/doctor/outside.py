"""What anybody sees over HTTP."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
import jwt

from app import __version__
from app.auth import AUDIENCE
from app.doctor.findings import FAILURE, OK, WARNING, Check, Context, Finding, cause
from app.hosts import is_loopback

DAYS_BEFORE_EXPIRY: Final = 21
CLOCK_SECONDS: Final = 5.0
BODY_BYTES: Final = 16 * 2**20
"""The largest body that the server accepts, which is a provider's (docs/contract.md, "Posting")."""
_BODY: Final = b'{"event": "messages.update", "data": []}'
_BODY_SECONDS: Final = 35
"""Longer than the server waits for a body (BODY_TIMEOUT)."""
_HEADERS: Final = ("Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy")
_REDIRECTS: Final = (301, 302, 303, 307, 308)


async def alive(it: Context) -> Finding:
    try:
        async with it.http.get(it.url / "healthz", allow_redirects=False) as answer:
            text = await answer.text(errors="replace")
    except aiohttp.ClientConnectorDNSError:
        return Finding("http", FAILURE, f"The name {it.url.host} does not resolve.", "Check the name, and DNS.")
    except aiohttp.ClientConnectorSSLError:
        words = f"{it.url.origin()} does not speak TLS."
        return Finding("http", FAILURE, words, "Check the port and the proxy's TLS settings.")
    except (aiohttp.ClientConnectionError, TimeoutError) as error:
        words = f"Nothing answers at {it.url.origin()} ({cause(error)})."
        return Finding("http", FAILURE, words, "Check the address, the firewall, and that the server runs.")
    if answer.status == 200 and '"ok"' in text:
        return Finding("http", OK, "The server answers.")
    if answer.status in _REDIRECTS:
        place = answer.headers.get("Location", "")
        return Finding("http", FAILURE, f"The address redirects to {place}.", "Run doctor with that address.")
    if answer.status in (502, 503, 504):
        words = f"A proxy answers {answer.status}: it does not reach the server."
        return Finding("http", FAILURE, words, "Check that the server runs, and the proxy's upstream address.")
    return Finding("http", FAILURE, f"/healthz answers {answer.status}: this is not Roomcast.", "Check the address.")


async def ready(it: Context) -> Finding:
    async with it.http.get(it.url / "readyz") as answer:
        text = await answer.text(errors="replace")
    if answer.status == 200:
        return Finding("ready", OK, "The server is ready, and its database answers.")
    try:
        state: Any = json.loads(text)
    except ValueError:
        state = None
    if not isinstance(state, dict) or "database" not in state:
        return Finding("ready", FAILURE, f"/readyz answers {answer.status}.", "The proxy must pass on /readyz.")
    if state["database"] != "ok":
        words = "The server's database does not answer."
        return Finding("ready", FAILURE, words, "See database_unavailable in the server's log.")
    return Finding("ready", FAILURE, f"The server is not ready: {text}.", "See the server's log.")


async def tls(it: Context) -> Finding:
    if it.url.scheme != "https":
        if is_loopback(it.url.host or ""):
            return Finding("tls", OK, "The address is this machine; TLS is not needed.")
        return Finding("tls", WARNING, "Without TLS, others can read tokens and messages.", "Use https.")
    context = ssl.create_default_context()
    try:
        async with asyncio.timeout(10):
            _, writer = await asyncio.open_connection(it.url.host, it.url.port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        words = f"Clients refuse the certificate: {error.verify_message}."
        return Finding("tls", FAILURE, words, "Install a valid certificate for this name, with its whole chain.")
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
    if answer.status in _REDIRECTS and place.startswith("https://"):
        return Finding("redirect", OK, "http is redirected to https.")
    words = f"http is answered {answer.status}, without a redirect to https."
    return Finding("redirect", FAILURE, words, "Redirect http to https.")


async def headers(it: Context) -> Finding:
    async with it.http.get(it.url / "") as answer:
        missing = [name for name in _HEADERS if name not in answer.headers]
    if missing:
        words = f"The page is sent without {', '.join(missing)}."
        return Finding("headers", FAILURE, words, "The proxy must pass on the server's headers.")
    if it.url.scheme == "https" and "Strict-Transport-Security" not in answer.headers:
        words = "Strict-Transport-Security is missing."
        return Finding("headers", WARNING, words, "Let the proxy add it; see config/.")
    return Finding("headers", OK, "The security headers are there.")


async def page(it: Context) -> Finding:
    async with it.http.get(it.url / "") as answer:
        text = await answer.text(errors="replace")
    if answer.status != 200 or "Roomcast" not in text:
        words = f"/ is not the inbox page (status {answer.status})."
        return Finding("page", FAILURE, words, "Check which paths the proxy passes on.")
    if 'name="roomcast"' not in text:
        return Finding("page", FAILURE, "The page is not built.", "Run `make page`, or install a complete wheel.")
    if f"&quot;version&quot;:&quot;{__version__}&quot;" not in text:
        words = f"The server's version is not {__version__}, which is doctor's."
        return Finding("page", WARNING, words, "Use the same version for both.")
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
    apart = parsedate_to_datetime(date).timestamp() - time.time()
    advice = "Synchronize both (NTP): tokens begin and end by the clock."
    return compared("clock", "The server's clock", apart, advice)


def compared(check: str, clock: str, apart: float, advice: str) -> Finding:
    """A clock that is so many seconds apart from this machine's."""
    if abs(apart) > CLOCK_SECONDS:
        return Finding(check, WARNING, f"{clock} and this one are {abs(apart):.0f} s apart.", advice)
    return Finding(check, OK, f"{clock} and this one agree.")


async def token(it: Context) -> Finding:
    if it.token is None:
        words = "Not checked: there is no token."
        return Finding("token", WARNING, words, "Give --token, or the server's AUTH_SECRET.")
    async with it.http.get(it.url / "api/v1/sessions", headers=it.bearer()) as answer:
        await answer.read()
    if answer.status == 200:
        return Finding("token", OK, "The server accepts the token.")
    if answer.status != 401:
        words = f"With the token, REST answers {answer.status}."
        return Finding("token", WARNING, words, "Give a token with the scope read.")
    words = f"The server refuses the token: {_why(it.token)}"
    return Finding("token", FAILURE, words, "Create a new one on the server (`python -m app token`).")


def _claims(token: str) -> dict[str, Any] | None:
    """The token's claims, not verified. None if it is not a token."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token, options={"verify_signature": False, "verify_aud": False, "verify_exp": False, "verify_nbf": False}
        )
    except jwt.PyJWTError:
        return None
    return claims


def _why(token: str) -> str:
    """Why the token is refused, as far as its claims show."""
    claims = _claims(token)
    if claims is None:
        return "it is not a JSON Web Token, or is damaged."
    now = time.time()
    if not isinstance(claims.get("exp"), int | float):
        return "it has no time at which it expires (exp)."
    if claims["exp"] <= now:
        return f"it expired {now - claims['exp']:.0f} s ago."
    if isinstance(claims.get("nbf"), int | float) and claims["nbf"] > now:
        return "it is not valid yet (nbf)."
    if claims.get("aud") != AUDIENCE:
        return f"its audience is not {AUDIENCE}."
    if not claims.get("scopes"):
        return "it has no scopes."
    return (
        "it is signed with another AUTH_SECRET, it was revoked, it is valid for longer than TOKEN_MAX_DAYS, or the "
        "proxy does not pass on Authorization."
    )


async def body(it: Context) -> Finding:
    """Post a provider's body of the maximum size without any content, so that nothing is stored."""
    if it.token is None:
        return Finding("body", WARNING, "Not checked: there is no token.", "Give --token.")
    named = (_claims(it.token) or {}).get("sessions") or ["*"]
    session = "doctor" if named[0] == "*" else named[0]
    head = {**it.bearer(), "Content-Type": "application/json"}
    size = f"{BODY_BYTES >> 20} MiB"
    advice = "The proxy must pass on bodies of that size (nginx: client_max_body_size 16m)."
    try:
        async with it.http.post(
            it.url / "webhook" / session / "baileys",
            data=io.BytesIO(_BODY.ljust(BODY_BYTES)),
            headers=head,
            timeout=aiohttp.ClientTimeout(total=_BODY_SECONDS),
        ) as answer:
            await answer.read()
    except aiohttp.ClientConnectionError:
        words = f"The connection was closed while a body of {size} was sent."
        return Finding("body", FAILURE, words, advice)
    if answer.status == 200:
        return Finding("body", OK, f"A body of {size} reaches the server.")
    if answer.status == 413:
        return Finding("body", FAILURE, f"A body of {size} is refused.", advice)
    if answer.status in (401, 404):
        words = "Not checked: the token does not allow to post."
        return Finding("body", WARNING, words, "Give a token with the scope ingest.")
    words = f"A body of {size} is answered {answer.status}."
    return Finding("body", WARNING, words, "See the logs of the server and the proxy.")


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
