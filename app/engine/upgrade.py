"""The opening handshake of a WebSocket (RFC 6455, 4.2): checks of the request, and the headers of the answer."""

import base64
import binascii
import hashlib

from aiohttp import web

from . import deflate
from .refusals import BAD_REQUEST, NO_UPGRADE, WEBSOCKET_VERSION, Refused

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_key(request: web.Request) -> str:
    """The answer to the WebSocket key. Raises Refused if the request is invalid."""
    headers = request.headers
    connection = {token.strip().lower() for token in ",".join(headers.getall("Connection", ())).split(",")}
    upgrades = "upgrade" in connection and headers.get("Upgrade", "").strip().lower() == "websocket"
    if request.method != "GET":
        raise Refused(BAD_REQUEST)
    if not upgrades or request.version < (1, 1):
        raise Refused(NO_UPGRADE)
    version, key = headers.get("Sec-WebSocket-Version"), headers.get("Sec-WebSocket-Key", "").strip()
    if version != "13":
        raise Refused(BAD_REQUEST if version is None else WEBSOCKET_VERSION)
    try:
        whole = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        whole = False
    if not whole:
        raise Refused(BAD_REQUEST)
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def answer(request: web.Request, accept: str, *, compress: bool) -> tuple[bytes, bool]:
    """The headers of the answer, and whether compression was negotiated."""
    offers = request.headers.getall("Sec-WebSocket-Extensions", ()) if compress else ()
    extensions = deflate.negotiate(",".join(offers)) if offers else None
    head = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n"
    )
    if extensions is not None:
        head += f"Sec-WebSocket-Extensions: {extensions}\r\n"
    return (head + "\r\n").encode(), extensions is not None
