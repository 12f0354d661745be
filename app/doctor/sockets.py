"""What a Socket.IO client meets on its way."""

from __future__ import annotations

import json
from typing import Any, Final

import aiohttp

from app.doctor.findings import FAILURE, OK, WARNING, Check, Context, Finding

ROUNDS: Final = 6
"""Requests of one polling client: with two servers and no stickiness one of them almost surely goes wrong."""
FOREIGN: Final = "https://doctor.invalid"


async def websocket(it: Context) -> Finding:
    try:
        async with it.http.ws_connect(it.engine("websocket")) as socket:
            opened = await socket.receive(timeout=10)
            if opened.type is not aiohttp.WSMsgType.TEXT or not opened.data.startswith("0{"):
                words = "A WebSocket opens, but nothing comes through it."
                return Finding("websocket", FAILURE, words, "The proxy must pass on data both ways, unbuffered.")
    except TimeoutError:
        words = "A WebSocket opens, but nothing comes through it."
        return Finding("websocket", FAILURE, words, "The proxy must pass on data both ways, unbuffered.")
    except aiohttp.WSServerHandshakeError as error:
        advice = "The proxy must pass on Connection and Upgrade over HTTP/1.1; see config/."
        return Finding("websocket", FAILURE, f"The handshake is answered {error.status}.", advice)
    return Finding("websocket", OK, "WebSocket works.")


async def origin(it: Context) -> Finding:
    own, foreign = str(it.url.origin()), FOREIGN
    if not await _lets_in(it, own):
        words = f"Pages of {own} may not connect."
        return Finding("origin", FAILURE, words, "Set PUBLIC_URL to it, and let the proxy pass on Host with its port.")
    if await _lets_in(it, foreign):
        return Finding(
            "origin", WARNING, "Pages of any origin may connect.", "Check what checks Origin: not the server."
        )
    return Finding("origin", OK, "The server's own pages may connect, others may not.")


async def _lets_in(it: Context, origin: str) -> bool:
    async with it.http.get(it.engine("polling"), headers={"Origin": origin}) as answer:
        return answer.status == 200


async def polling(it: Context) -> Finding:
    """New connections each time, as a proxy spreads connections over servers."""
    async with it.http.get(it.engine("polling"), headers={"Connection": "close"}) as answer:
        text = await answer.text()
        packed = "Content-Encoding" in answer.headers
    if answer.status != 200 or not text.startswith("0{"):
        return Finding(
            "polling", FAILURE, f"Polling is answered {answer.status}.", "Let the proxy pass on /socket.io/."
        )
    url = it.engine("polling", sid=json.loads(text[1:])["sid"])
    for _ in range(ROUNDS):
        # A namespace that does not exist: it is answered, and the connection stays.
        async with it.http.post(url, data="40/doctor,", headers={"Connection": "close"}) as posted:
            words = await posted.text()
        if posted.status != 200:
            if "session_elsewhere" in words or "Session ID unknown" in words:
                words = "A polling client does not come back to the same server."
                return Finding("polling", FAILURE, words, "Set up sticky sessions in the proxy; see config/.")
            return Finding("polling", FAILURE, f"A poll was answered {posted.status}.", "See the proxy's log.")
        async with it.http.get(url, headers={"Connection": "close"}) as answer:
            await answer.read()
            packed = packed or "Content-Encoding" in answer.headers
    if packed:
        words = "A proxy compresses polling, which delays it and helps to guess secrets."
        return Finding("polling", WARNING, words, "Switch compression off for /socket.io/.")
    return Finding("polling", OK, "Polling works and comes back to the same server.")


async def upgrade(it: Context) -> Finding:
    async with it.http.get(it.engine("polling")) as answer:
        text = await answer.text()
    if answer.status != 200:
        return Finding("upgrade", FAILURE, f"Polling is answered {answer.status}.", "See polling.")
    sid = json.loads(text[1:])["sid"]
    try:
        async with it.http.ws_connect(it.engine("websocket", sid=sid)) as socket:
            await socket.send_str("2probe")
            probed = await socket.receive(timeout=10)
    except (aiohttp.WSServerHandshakeError, TimeoutError) as error:
        words = f"A polling client cannot change to WebSocket ({getattr(error, 'status', 'no answer')})."
        return Finding("upgrade", FAILURE, words, "See websocket and polling.")
    if probed.data != "3probe":
        return Finding("upgrade", FAILURE, "The probe of an upgrade was not answered.", "See websocket and polling.")
    return Finding("upgrade", OK, "Polling clients can change to WebSocket.")


async def sign_in(it: Context) -> Finding:
    if it.token is None:
        return Finding("sign-in", WARNING, "Not checked: there is no token.", "Give --token.")
    try:
        async with it.http.ws_connect(it.engine("websocket")) as socket:
            await connect(socket, it.token)
    except Refused as error:
        return Finding("sign-in", FAILURE, f"Socket.IO refuses the token: {error}.", "See token.")
    except (aiohttp.WSServerHandshakeError, TimeoutError):
        return Finding("sign-in", FAILURE, "Socket.IO does not answer.", "See websocket.")
    return Finding("sign-in", OK, "Socket.IO takes the token.")


class Refused(Exception):
    """The server does not let the client in."""


async def connect(socket: aiohttp.ClientWebSocketResponse, token: str) -> None:
    """Sign in. Raises Refused, TimeoutError."""
    await socket.receive(timeout=10)
    await socket.send_str("40" + json.dumps({"token": token}))
    answer = await socket.receive(timeout=10)
    if answer.type is not aiohttp.WSMsgType.TEXT or not answer.data.startswith("40"):
        words = answer.data if answer.type is aiohttp.WSMsgType.TEXT else "the connection was closed"
        raise Refused(words.removeprefix("44"))


async def event(socket: aiohttp.ClientWebSocketResponse, name: str) -> Any:
    """Wait for an event, or for an answer where the name is a number. Raises TimeoutError."""
    while True:
        message = await socket.receive(timeout=10)
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise TimeoutError("the connection was closed")
        if message.data == "2":
            await socket.send_str("3")
        elif message.data.startswith(f"43{name}["):
            return json.loads(message.data[len(name) + 2 :])[0]
        elif message.data.startswith("42[") and (found := json.loads(message.data[2:]))[0] == name:
            return found[1]


CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("websocket", websocket),
    ("origin", origin),
    ("polling", polling),
    ("upgrade", upgrade),
    ("sign-in", sign_in),
)
