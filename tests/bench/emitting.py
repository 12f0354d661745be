"""Control of the bench's own servers, like `peers/control.mjs`."""

from __future__ import annotations

import asyncio
import inspect
import json
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Any

Event = dict[str, Any]


def say(what: object) -> None:
    print(json.dumps(what), flush=True)


def event_of(size: int, number: int) -> Event:
    """An event of the contract's shape that fills a Socket.IO packet of `size` bytes."""
    event: Event = {
        "sessionId": "shop",
        "chatId": "85291234567@s.whatsapp.net",
        "seq": 1_000_000_000 + number,
        "message": {"messageId": "3EB0C767D097B7C7C0", "fromMe": False, "type": "text", "text": ""},
    }
    length = len('42["new_message",]') + len(json.dumps(event, separators=(",", ":")))
    event["message"]["text"] = "x" * (size - length)
    return event


async def orders() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


class Emitter:
    """Sends a number of events per turn of the loop until it is stopped."""

    def __init__(
        self, emit: Callable[[int, Event], Awaitable[None] | None], ready: Callable[[], bool] = lambda: True
    ) -> None:
        self._emit, self._ready = emit, ready
        self._awaited = inspect.iscoroutinefunction(emit)
        self._task: asyncio.Task[None] | None = None
        self.sent = 0

    def start(self, burst: int, rooms: int, size: int) -> None:
        self.sent = 0
        self._task = asyncio.create_task(self._run(burst, rooms, size))

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, burst: int, rooms: int, size: int) -> None:
        number, emit = random.randrange, self._emit
        sample = event_of(size, 0)
        while True:
            if not self._ready():
                await asyncio.sleep(0.001)
                continue
            for _ in range(burst):
                event = {**sample, "seq": sample["seq"] + self.sent}
                self.sent += 1
                if self._awaited:
                    await emit(number(rooms), event)  # type: ignore[misc]
                else:
                    emit(number(rooms), event)
            await asyncio.sleep(0)


async def obey(
    emit: Callable[[int, Event], Awaitable[None] | None],
    ready: Callable[[], bool] = lambda: True,
    **others: Callable[..., object],
) -> None:
    """Execute commands until the input ends. `others` are the server's own commands, which return the answer."""
    emitter = Emitter(emit, ready)
    reader = await orders()
    while line := await reader.readline():
        order = json.loads(line)
        for name, arguments in order.items():
            if name == "emit":
                emitter.start(arguments["burst"], arguments["rooms"], arguments["bytes"])
            elif name == "stop":
                await emitter.stop()
                say({"sent": emitter.sent})
            else:
                say(others[name](**arguments))
