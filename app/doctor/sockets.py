"""What a Socket.IO client needs."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Final

import aiohttp

from app.doctor.findings import FAILURE, OK, WARNING, Check, Context, Finding

ROUNDS: Final = 6
"""Requests of one polling client: with two servers and no stickiness, one of them almost certainly fails."""
FOREIGN: Final = "https://doctor.invalid"
PROMPT_SECONDS: Final = 1.0
NUDGE: Final = "40/doctor,"
"""Asks for a namespace that does not exist: the server answers, and the connection stays open."""


async def websocket(it: Context) -> Finding:
    try:
        async with it.http.ws_connect(it.engine("websocket")) as socket:
            opened = await socket.receive(timeout=10)
            if opened.type is not aiohttp.WSMsgType.TEXT or not opened.data.startswith("0{"):
                raise TimeoutError
            await socket.send_str(NUDGE)
            await answered(socket)
    except TimeoutError:
        words = "A WebSocket opens, but no data passes through it."
        return Finding("websocket", FAILURE, words, "The proxy must pass on data in both directions.")
    except aiohttp.WSServerHandshakeError as error:
        advice = "The proxy must pass on the headers Connection and Upgrade over HTTP/1.1; see config/."
        return Finding("websocket", FAILURE, f"The handshake is answered {error.status}.", advice)
    return Finding("websocket", OK, "WebSocket works.")


async def answered(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Wait for the answer to NUDGE. Raises TimeoutError."""
    while True:
        message = await socket.receive(timeout=10)
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise TimeoutError("the connection was closed")
        if message.data.startswith("44/doctor,"):
            return


async def origin(it: Context) -> Finding:
    own, foreign = str(it.url.origin()), FOREIGN
    if not await _lets_in(it, own):
        words = f"Pages of {own} may not connect."
        advice = "Set PUBLIC_URL to this address, or let the proxy pass on Host with its port."
        return Finding("origin", FAILURE, words, advice)
    if await _lets_in(it, foreign):
        words = "Pages of any origin may connect."
        return Finding("origin", WARNING, words, "The proxy must pass on the header Origin, which the server checks.")
    return Finding("origin", OK, "The server's own pages may connect; foreign pages may not.")


async def _lets_in(it: Context, origin: str) -> bool:
    async with it.http.get(it.engine("polling"), headers={"Origin": origin}) as answer:
        return answer.status == 200


async def polling(it: Context) -> Finding:
    """With a new TCP connection for each request, as proxies distribute connections to servers."""
    async with it.http.get(it.engine("polling"), headers={"Connection": "close"}) as answer:
        text = await answer.text()
        packed = "Content-Encoding" in answer.headers
    if answer.status != 200 or not text.startswith("0{"):
        words = f"Polling is answered {answer.status}."
        return Finding("polling", FAILURE, words, "The proxy must pass on /socket.io/.")
    url = it.engine("polling", sid=json.loads(text[1:])["sid"])
    for _ in range(ROUNDS):
        async with it.http.post(url, data=NUDGE, headers={"Connection": "close"}) as posted:
            words = await posted.text()
        if posted.status != 200:
            if "session_elsewhere" in words or "Session ID unknown" in words:
                words = "The requests of a polling client do not reach the same server."
                return Finding("polling", FAILURE, words, "Set up sticky sessions in the proxy; see config/.")
            words = f"A request of a polling client was answered {posted.status}."
            return Finding("polling", FAILURE, words, "See the proxy's log.")
        async with it.http.get(url, headers={"Connection": "close"}) as answer:
            await answer.read()
            packed = packed or "Content-Encoding" in answer.headers
    if packed:
        words = "A proxy compresses the answers to polls, which delays them and helps to guess secrets."
        return Finding("polling", WARNING, words, "Turn off compression for /socket.io/ in the proxy.")
    return Finding("polling", OK, "Polling works, and its requests reach the same server.")


async def buffering(it: Context) -> Finding:
    """How long the answer to a waiting poll, and a frame of a WebSocket, are on their way."""
    slow = [name for name, seconds in (("polls", await _poll(it)), ("WebSockets", await _frame(it))) if seconds]
    if slow:
        words = f"What the server sends through {' and '.join(slow)} arrives more than {PROMPT_SECONDS:.0f} s late."
        return Finding("buffering", WARNING, words, "Turn off buffering for /socket.io/ (nginx: proxy_buffering off).")
    return Finding("buffering", OK, "What the server sends arrives at once.")


async def _poll(it: Context) -> float:
    """Seconds of delay. 0 if it is prompt, or if polling fails, which is another check's finding."""
    async with it.http.get(it.engine("polling")) as answer:
        text = await answer.text()
    if answer.status != 200 or not text.startswith("0{"):
        return 0
    url = it.engine("polling", sid=json.loads(text[1:])["sid"])

    async def wait() -> float:
        async with it.http.get(url) as answer:
            await answer.read()
        return time.monotonic()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0.1)  # so that the poll is waiting at the server
    began = time.monotonic()
    async with it.http.post(url, data=NUDGE) as posted:
        await posted.read()
    if posted.status != 200:
        waiting.cancel()
        return 0
    return _late(await waiting - began)


async def _frame(it: Context) -> float:
    try:
        async with it.http.ws_connect(it.engine("websocket")) as socket:
            began = time.monotonic()
            await socket.send_str(NUDGE)
            await answered(socket)
            return _late(time.monotonic() - began)
    except (aiohttp.ClientError, TimeoutError):
        return 0


def _late(seconds: float) -> float:
    return seconds if seconds > PROMPT_SECONDS else 0


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
        words = f"A polling client cannot upgrade to WebSocket ({getattr(error, 'status', 'no answer')})."
        return Finding("upgrade", FAILURE, words, "See websocket and polling.")
    if probed.data != "3probe":
        return Finding("upgrade", FAILURE, "The probe of an upgrade was not answered.", "See websocket and polling.")
    return Finding("upgrade", OK, "Polling clients can upgrade to WebSocket.")


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
    return Finding("sign-in", OK, "Socket.IO accepts the token.")


class Refused(Exception):
    """The server refuses the client."""


async def connect(socket: aiohttp.ClientWebSocketResponse, token: str) -> None:
    """Sign in. Raises Refused, TimeoutError."""
    await socket.receive(timeout=10)
    await socket.send_str("40" + json.dumps({"token": token}))
    answer = await socket.receive(timeout=10)
    if answer.type is not aiohttp.WSMsgType.TEXT or not answer.data.startswith("40"):
        words = answer.data if answer.type is aiohttp.WSMsgType.TEXT else "the connection was closed"
        raise Refused(words.removeprefix("44"))


async def event(socket: aiohttp.ClientWebSocketResponse, name: str) -> Any:
    """Wait for an event, or for the answer with that id if the name is a number. Raises TimeoutError."""
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
    ("buffering", buffering),
    ("sign-in", sign_in),
)
