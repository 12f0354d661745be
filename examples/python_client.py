"""A client that follows a session: python examples/python_client.py --url URL --session shop --token TOKEN

It prints each event as a line of JSON, once and in order, across reconnects. With --keep FILE it stores its
position in a file, and continues from there when it is started again. With --who it also prints who is typing,
online or looking at a chat, whenever that changes.

Needs: pip install "python-socketio[asyncio_client]" aiohttp
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any

import aiohttp
import socketio

DURABLE = ("new_message", "message_updated", "chat_updated", "chat_merged")
SETS = {"typing": "who", "presence": "contacts", "viewers": "agents"}
"""The sets of people, and the field of each that has them."""


class Sets:
    """The latest set of each kind and chat. A set that is not repeated in time expires."""

    def __init__(self, on_change: Callable[[str, dict[str, Any]], None]) -> None:
        """`on_change` is called with each set that differs from the one before it, and with an empty one when it has
        expired."""
        self.on_change = on_change
        self.sets: dict[tuple[str, str], tuple[dict[str, Any], asyncio.TimerHandle]] = {}

    def take(self, kind: str, data: dict[str, Any]) -> None:
        key, field = (kind, data["chatId"]), SETS[kind]
        before, timer = self.sets.pop(key, ({field: []}, None))
        if timer is not None:
            timer.cancel()
        if data[field]:
            end = data | {field: [], "expiresInMs": 0}
            later = asyncio.get_running_loop().call_later(data["expiresInMs"] / 1000, self.take, kind, end)
            self.sets[key] = data, later
        if data[field] != before[field]:
            self.on_change(kind, data)


class Follower:
    """Follows one session, and keeps the position of the last event."""

    def __init__(
        self, url: str, session_id: str, token: str, on_event: Callable[[dict[str, Any]], None], *, who: bool = False
    ) -> None:
        self.url, self.session_id, self.token, self.on_event = url, session_id, token, on_event
        self.position: dict[str, Any] | None = None
        # The client reconnects by itself, with growing delays, and sends the token each time.
        self.client = socketio.AsyncClient(reconnection_delay=0.5, reconnection_delay_max=5, randomization_factor=0.5)
        self.client.on("connect", self.connected)
        self.client.on("connect_error", self.refused)
        self.client.on("position", self.moved)
        for name in DURABLE:
            self.client.on(name, self._handler(name))
        if who:
            self.sets = Sets(lambda name, data: self.on_event({"event": name, "data": data}))
            for name in SETS:
                self.client.on(name, functools.partial(self.sets.take, name))
        self.fault: str | None = None
        self.ended = asyncio.Event()

    async def run(self) -> None:
        try:
            # With `retry`, an unreachable server is tried again. An error raised here is a refusal.
            await self.client.connect(self.url, auth={"token": self.token}, transports=["websocket"], retry=True)
            await self.ended.wait()
            await self.client.disconnect()
        except socketio.exceptions.ConnectionError as error:
            self.fault = self.fault or str(error)
        raise SystemExit(self.fault)

    async def connected(self) -> None:
        """A new connection starts without subscriptions: subscribe again, with our position."""
        if self.position is None:
            self.position = await self.load()
        if self.position is None:
            return
        payload = {"sessionId": self.session_id, "position": self.position}
        # A callback runs in order with the events, so before those that follow the answer.
        await self.client.emit("subscribe", payload, callback=self.subscribed)

    def subscribed(self, answer: dict[str, Any]) -> None:
        if answer["ok"]:
            if not answer["data"]["recovered"]:
                # Nothing is replayed: events continue from this position, and the lists have to be loaded again.
                self.position = answer["data"]["position"]
                self.client.start_background_task(self.load)
        elif answer["error"]["code"] in ("forbidden", "invalid"):
            self.end(f"not allowed: {answer['error']['code']}")
        else:  # unavailable, rate_limited: try again later
            self.client.start_background_task(self.again)

    async def again(self) -> None:
        await asyncio.sleep(2)
        if self.client.connected:
            await self.connected()

    def refused(self, data: Any) -> None:
        """The server refused the connection. (If it cannot be reached, the client tries again.)"""
        if isinstance(data, dict) and data.get("data", {}).get("code") == "unauthorized":
            self.end("the token is not valid")

    def end(self, fault: str) -> None:
        self.fault = fault
        self.ended.set()

    async def load(self) -> dict[str, Any] | None:
        """Read the list of chats, with retries. Returns the position at which it was read, or None if not allowed."""
        while True:
            try:
                return await self.read_chats()
            except aiohttp.ClientResponseError as error:
                if error.status < 500 and error.status != 429:
                    self.end(f"not allowed: {error.status}")
                    return None
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(2)

    async def read_chats(self) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        cursor: str | None = None
        position: dict[str, Any] = {}
        async with aiohttp.ClientSession(self.url, headers=headers) as http:
            while not position or cursor:
                query = {"limit": "200"} | ({"cursor": cursor} if cursor else {})
                async with http.get(f"/api/v1/sessions/{self.session_id}/chats", params=query) as response:
                    response.raise_for_status()
                    page = await response.json()
                for chat in page["data"]:
                    self.on_event({"event": "chat", "data": chat})
                # The first page's position: changes made while the other pages are read come as events.
                position = position or page["position"]
                cursor = page["nextCursor"]
        return position

    def _handler(self, name: str) -> Callable[[dict[str, Any]], None]:
        def handle(data: dict[str, Any]) -> None:
            if self.take(data["seq"]):
                self.on_event({"event": name, "data": data})

        return handle

    def take(self, seq: int) -> bool:
        """Move the position to `seq`. Returns False if it was there already."""
        if self.position is None or seq <= self.position["seq"]:
            return False
        self.position = {**self.position, "seq": seq}
        return True

    def moved(self, data: dict[str, Any]) -> None:
        if self.position is not None and data["position"]["epoch"] == self.position["epoch"]:
            self.take(data["position"]["seq"])


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--session", default="shop")
    parser.add_argument("--token", required=True)
    parser.add_argument("--keep", type=pathlib.Path, help="a file to store the position in")
    parser.add_argument("--who", action="store_true", help="also print who is typing, online or looking at a chat")
    options = parser.parse_args()

    def show(event: dict[str, Any]) -> None:
        print(json.dumps(event, ensure_ascii=False), flush=True)  # noqa: T201
        if options.keep and follower.position:
            # Replace the file atomically. If we are stopped before this, the last event is shown again.
            fresh = options.keep.with_suffix(".new")
            fresh.write_text(json.dumps(follower.position), encoding="utf-8")
            fresh.replace(options.keep)

    follower = Follower(options.url, options.session, options.token, show, who=options.who)
    if options.keep and options.keep.exists():
        follower.position = json.loads(options.keep.read_text(encoding="utf-8"))
    await follower.run()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):  # Ctrl-C
        asyncio.run(main())
