"""A bot that delivers agents' messages: python examples/python_bot.py --url URL --session shop --token TOKEN

It prints each message that it delivers as a line of JSON: replace `send` with a call to your own messenger. Each line
of JSON on standard input, such as {"chatId": "ann", "text": "Hello"}, is posted as a message that has come in.

Both sides may be restarted at any time. With --keep FILE the bot remembers which messages it has delivered, so that it
delivers each of them once. The token needs the scopes `deliver` and `ingest`.

Needs: pip install "python-socketio[asyncio_client]" aiohttp
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import pathlib
import sys
import uuid
from typing import Any

import aiohttp
import socketio

PAUSE_SECONDS = 2


def send(chat_id: str, message: dict[str, Any]) -> str | None:
    """Send the message with the messenger. Return its id there, or None if the messenger uses our messageId."""
    print(json.dumps({"to": chat_id, "text": message["text"], "id": message["messageId"]}), flush=True)  # noqa: T201
    return None


class Refused(Exception):
    """Raise this in `send` for a message that will never be accepted, with a text for agents."""


class Bot:
    def __init__(self, url: str, session_id: str, token: str, keep: pathlib.Path | None) -> None:
        self.url, self.session_id, self.token, self.keep = url, session_id, token, keep
        kept = keep.read_text(encoding="utf-8").splitlines() if keep and keep.exists() else []
        self.delivered: dict[str, str | None] = dict(json.loads(line) for line in kept)
        # The client reconnects by itself, with growing delays, and sends the token each time.
        self.client = socketio.AsyncClient(reconnection_delay=0.5, reconnection_delay_max=5, randomization_factor=0.5)
        self.client.on("connect", self.serve)
        self.client.on("deliver", self.deliver)

    async def run(self) -> None:
        # With `retry`, an unreachable server is tried again. An error raised here is a refusal.
        await self.client.connect(self.url, auth={"token": self.token}, transports=["websocket"], retry=True)
        await asyncio.gather(self.client.wait(), self.post_lines())

    async def serve(self) -> None:
        """A new connection does not serve any session yet."""
        await self.client.emit("serve", {"sessionId": self.session_id}, callback=self.served)

    def served(self, answer: dict[str, Any]) -> None:
        if not answer["ok"]:
            print(f"cannot serve: {answer['error']['code']}", file=sys.stderr, flush=True)  # noqa: T201
            if answer["error"]["code"] != "forbidden":
                self.client.start_background_task(self.again)

    async def again(self) -> None:
        await asyncio.sleep(PAUSE_SECONDS)
        if self.client.connected:
            await self.serve()

    def deliver(self, order: dict[str, Any]) -> dict[str, Any]:
        """Deliver one message. What this returns acknowledges it."""
        delivery_id = order["deliveryId"]
        if delivery_id not in self.delivered:
            try:
                self.delivered[delivery_id] = send(order["chatId"], order["message"])
            except Refused as refused:
                return {"ok": False, "error": {"code": "rejected", "title": str(refused)}, "retry": False}
            except OSError as error:  # the messenger cannot be reached
                return {"ok": False, "error": {"code": "provider_unavailable", "title": str(error)}, "retry": True}
            if self.keep:
                with self.keep.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([delivery_id, self.delivered[delivery_id]]) + "\n")
        name = self.delivered[delivery_id]
        return {"ok": True} | ({"messageId": name} if name is not None else {})

    async def post_lines(self) -> None:
        """Post what comes on standard input, each line until it is stored."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"}) as http:
            while line := await reader.readline():
                # With an id, a message that is posted twice is stored once.
                body = {"messageId": uuid.uuid4().hex} | json.loads(line)
                await self.post(http, body)

    async def post(self, http: aiohttp.ClientSession, body: dict[str, Any]) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with http.post(f"{self.url}/webhook/{self.session_id}", json=body) as response:
                    if response.status in (400, 413, 422):
                        print(f"refused: {await response.text()}", file=sys.stderr, flush=True)  # noqa: T201
                    if response.status in (200, 400, 413, 422):
                        return
            await asyncio.sleep(PAUSE_SECONDS)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--session", default="shop")
    parser.add_argument("--token", required=True)
    parser.add_argument("--keep", type=pathlib.Path, help="a file to remember delivered messages in")
    options = parser.parse_args()
    try:
        await Bot(options.url, options.session, options.token, options.keep).run()
    except socketio.exceptions.ConnectionError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
