"""Simulated customers for demos, who answer agents' messages.

A customer gets the message, reads it, types, and usually replies. Some messages cannot be delivered; those with the
word "fail" never can. Together the customers are a bot: a connection that serves the session, and the webhook.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import socketio

REPLIES: Final = (
    "Great, thank you!",
    "Perfect 👍",
    "And how much is it with delivery?",
    "Could you send me a picture?",
    "Then I take two.",
    "Hmm, let me think about it.",
    "Obrigada! 💚",
    "好的，谢谢！",
    "Merci beaucoup !",
)
_REFUSALS: Final = (
    ("not_on_whatsapp", "This number is not on WhatsApp."),
    ("blocked", "WhatsApp does not let this account write to this person."),
)
FAILS_ONE_IN: Final = 15
REPLIES_THREE_IN: Final = 4
MAX_AT_ONCE: Final = 100
"""Maximum number of customers answering at a time; further messages are delivered without an answer."""
TYPING_SECONDS: Final = 3.0
"""Interval of typing signals."""


@contextlib.asynccontextmanager
async def customers(url: str, token: str, session_id: str, *, seed: int, pace: float = 1.0) -> AsyncIterator[None]:
    """Run the customers of the session until the end of the block. `pace`: the length of their seconds.

    Without the scope deliver, or if Socket.IO cannot connect, there are none.
    """
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        crowd = _Customers(http, url, session_id, random.Random(seed), pace)  # noqa: S311
        client = socketio.AsyncClient(reconnection_delay=0.5, reconnection_delay_max=5, handle_sigint=False)

        async def serve() -> None:
            await client.emit("serve", {"sessionId": session_id})

        client.on("connect", serve)
        client.on("deliver", crowd.deliver)
        with contextlib.suppress(socketio.exceptions.ConnectionError):
            await client.connect(url, auth={"token": token}, transports=["websocket"])
        try:
            yield
        finally:
            await crowd.close()
            await client.shutdown()


class _Customers:
    def __init__(
        self, http: aiohttp.ClientSession, url: str, session_id: str, chance: random.Random, pace: float
    ) -> None:
        self._http, self._address, self._chance, self._pace = http, f"{url}/webhook/{session_id}", chance, pace
        self._tasks: set[asyncio.Task[None]] = set()

    async def deliver(self, order: dict[str, Any]) -> dict[str, Any]:
        message = order["message"]
        await self._wait(0.2, 0.8)
        if "fail" in (message["text"] or "").lower() or self._chance.randrange(FAILS_ONE_IN) == 0:
            code, title = self._chance.choice(_REFUSALS)
            return {"ok": False, "error": {"code": code, "title": title}, "retry": False}
        if len(self._tasks) < MAX_AT_ONCE:
            task = asyncio.create_task(self._answer(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return {"ok": True}

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, message: dict[str, Any]) -> None:
        chat_id, message_id = message["chatId"], message["messageId"]
        person = {"id": chat_id}
        if chat_id.endswith("@g.us"):
            person = {"id": "5511999998888@s.whatsapp.net", "name": "Ana Souza"}
        for status in ("delivered", "read"):
            await self._wait(0.3, 2)
            await self._post({"updates": [{"messageId": message_id, "chatId": chat_id, "status": status}]})
        if self._chance.randrange(REPLIES_THREE_IN) == 0:
            return
        await self._wait(0.5, 2)
        typing = {"type": "typing", "chatId": chat_id, "sender": person}
        for _ in range(self._chance.randint(1, 2)):
            await self._post({"signals": [typing | {"action": "typing"}]})
            await self._wait(TYPING_SECONDS / 2, TYPING_SECONDS)
        reply: dict[str, Any] = {"chatId": chat_id, "sender": person, "text": self._chance.choice(REPLIES)}
        reply |= {"messageId": f"{message_id}-REPLY"}
        if self._chance.random() < 0.2:
            reply["replyTo"] = {"messageId": message_id, "text": message["text"]}
        await self._post(reply)

    async def _wait(self, least: float, most: float) -> None:
        await asyncio.sleep(self._chance.uniform(least, most) * self._pace)

    async def _post(self, body: dict[str, Any]) -> None:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self._http.post(self._address, json=body):
                pass
