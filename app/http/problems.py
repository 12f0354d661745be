"""HTTP errors as RFC 9457 problems, including those of the framework."""

from __future__ import annotations

import math
import random
from typing import Final

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from app import logs
from app.errors import KINDS, RETRY_AFTER_SECONDS, AppError, RateLimited
from app.logs import Limited
from app.metrics import Metrics
from app.parsing.encodings import ENCODINGS
from app.quota import Quota

log = structlog.get_logger(__name__)


REQUEST_ID: Final = "X-Request-Id"

HEADERS: Final = {"Server": "roomcast", "X-Content-Type-Options": "nosniff"}
"""Headers of every answer: no versions, and no content sniffing."""

REFUSALS_IN_A_TURN: Final = 16
"""Refused requests that are answered in one turn of the event loop: others do not wait for thousands of them."""

_CODES: Final = {
    400: "malformed",
    401: "unauthorized",
    403: "not_found",
    404: "not_found",
    405: "method_not_allowed",
    408: "malformed",
    409: "conflict",
    413: "too_large",
    417: "malformed",
    415: "unsupported_media_type",
    422: "invalid",
    429: "rate_limited",
    503: "unavailable",
}


def problem(error: AppError) -> web.Response:
    """The answer to a failed request."""
    code = "not_found" if error.code == "forbidden" else error.code
    kind = KINDS[code]
    body = {
        "type": f"urn:roomcast:problem:{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": error.detail if code == error.code else KINDS["not_found"].title + ".",
        "code": code,
        "errors": [fault.render() for fault in error.faults],
    }
    if error.details is not None:
        body["details"] = error.details
    headers = {"Cache-Control": "no-store", **HEADERS}
    if kind.status in (429, 503):
        seconds = error.seconds if isinstance(error, RateLimited) else RETRY_AFTER_SECONDS
        headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    if kind.status == 415:
        headers["Accept-Encoding"] = ", ".join(ENCODINGS)  # RFC 9110, 15.5.16
    if kind.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="roomcast"'
    return web.Response(
        status=kind.status, body=orjson.dumps(body), content_type="application/problem+json", headers=headers
    )


def middleware(metrics: Metrics) -> Middleware:
    """Gives each request an id, turns errors into problems, and counts and logs them (a limited number of each
    code)."""
    refused, quota = Limited(log.info, "code"), Quota(REFUSALS_IN_A_TURN)

    @web.middleware
    async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id = f"{random.getrandbits(64):016x}"
        logs.request_id.set(request_id)  # each connection has its own task, so this is not shared
        try:
            response = await handler(request)
        except AppError as error:
            await quota.take()
            response = _refused(request, metrics, refused, error)
        except web.HTTPException as error:
            await quota.take()
            response = _framework(request, metrics, refused, error)
        except ConnectionResetError:
            raise
        except Exception:
            log.exception("request_failed", method=request.method, path=request.path)
            response = _refused(
                request, metrics, refused, AppError("internal", f"See the log for request {request_id}.")
            )
        if not response.prepared:
            response.headers[REQUEST_ID] = request_id
            metrics.requests.labels(str(response.status)).inc()
        return response

    return problems


def _refused(request: web.Request, metrics: Metrics, log: Limited, error: AppError) -> web.Response:
    response = problem(error)
    metrics.refused.labels(error.code).inc()
    log("refused", error.code, method=request.method, path=request.path, status=response.status)
    return response


def _framework(request: web.Request, metrics: Metrics, log: Limited, error: web.HTTPException) -> web.StreamResponse:
    if error.status < 400:
        return error
    code = _CODES.get(error.status, "malformed" if error.status < 500 else "internal")
    words = "There is nothing at this address." if code == "not_found" else f"{error.reason}."
    response = _refused(request, metrics, log, AppError(code, words))
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
