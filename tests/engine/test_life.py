"""A short soak test: clients connect and disconnect, some badly. ENGINE_LIFE=100000 sets the number of connections."""

import asyncio
import gc
import os
import random
import resource

import aiohttp

from app.engine import Limits

from .client import Socket, close_body, frame
from .conftest import Serve, Site
from .test_fuzz import descriptors, finish

COUNT = int(os.environ.get("ENGINE_LIFE", "2000"))


async def live(site: Site, how: int, session: aiohttp.ClientSession, open_now: list[Socket]) -> None:
    """One connection's life."""
    if how < 2:
        url = f"{site.url}/socket.io/?EIO=4&transport=polling"
        async with session.get(url) as response:
            sid = (await response.text())[9:29]
        url += f"&sid={sid}"
        async with session.post(url, data="40") as response:
            assert response.status == 200
        async with session.get(url) as response:
            assert (await response.text()).startswith("40{")
        if how == 0:
            async with session.post(url, data="1") as response:
                assert response.status == 200
        else:
            socket = await Socket.open(site.port, f"EIO=4&transport=websocket&sid={sid}", {})
            open_now.append(socket)
            await socket.text("2probe")
            await socket.packet()
            await socket.text("5", '421["echo"]')
            while await socket.packet() != "431[]":
                pass
            socket.kill()
        return
    socket = await Socket.open(site.port, "EIO=4&transport=websocket", {})
    open_now.append(socket)
    if how == 2:
        socket.kill()
        return
    await socket.packet()
    await socket.text("40")
    await socket.packet()
    if how == 3:
        socket.kill()
    elif how == 4:
        await socket.text("4x")
        await socket.closed()
    elif how == 5:
        socket.send(frame(b"half of it", length=50))
        socket.kill()
    elif how == 6:
        socket.send(frame(close_body(1001), 8))
        await socket.closed()
    else:
        assert await socket.ask("echo", how) == [how]
        site.server.publish("event", "x" * 200, rooms=["all"])
        await socket.event()
        socket.writer.close()


async def wave(site: Site, count: int) -> None:
    todo = iter(range(count))

    async def worker() -> None:
        async with aiohttp.ClientSession() as session:
            for _ in todo:
                open_now: list[Socket] = []
                await live(site, random.randrange(10), session, open_now)
                for socket in open_now:
                    socket.kill()

    await asyncio.gather(*[worker() for _ in range(20)])


async def test_clients_come_and_go_and_nothing_is_left(serve: Serve) -> None:
    """Tasks, descriptors and memory are back where they were."""
    site = await serve(limits=Limits(close_timeout=0.2, max_unauthenticated_per_address=0))
    await wave(site, 300)  # so that caches are full
    gc.collect()
    await asyncio.sleep(0.3)
    tasks, files, objects = len(asyncio.all_tasks()), descriptors(), len(gc.get_objects())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await wave(site, COUNT)
    await finish(site)
    gc.collect()
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > tasks or descriptors() > files:
            await asyncio.sleep(0.01)
    gc.collect()
    assert len(gc.get_objects()) < objects + 2_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < memory + 30_000, "kilobytes"
