"""The REST API for reading: sessions, chats, messages, authorization and CORS."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web

from tests.support import TOKENS, Answer, Client, Site, message, mint

RunApp = Callable[[web.Application], Awaitable[Site]]
SESSIONS = "/api/v1/sessions"


def chats_path(session: str = "shop") -> str:
    return f"{SESSIONS}/{session}/chats"


def messages_path(chat: str = "a", session: str = "shop") -> str:
    return f"{SESSIONS}/{session}/chats/{chat}/messages"


async def test_sessions(site: Site) -> None:
    """The sessions named in the token, stored or not, and for `*` all that are stored; others are not told."""
    await site.post("one", message())
    await site.post("two", {"messages": [message("1"), message("2")]})

    async def sessions(*names: str) -> dict[str, int]:
        answer = await site.get(SESSIONS, token=mint(*names))
        assert set(answer.body) == {"ok", "data"}
        return {one["sessionId"]: one["position"]["seq"] for one in answer.body["data"]}

    assert await sessions("*") == {"one": 1, "two": 2}
    assert await sessions("two", "empty") == {"empty": 0, "two": 2}
    assert await sessions("empty", "*") == {"empty": 0, "one": 1, "two": 2}
    assert await sessions("three") == {"three": 0}
    answer = await site.get(SESSIONS, token=TOKENS.mint("ann", sessions=[], scopes=["read"], lifetime=60))
    assert answer.body["data"] == []


async def test_nothing_stored_is_empty(site: Site) -> None:
    """An allowed session or chat of which nothing is stored is empty, not missing."""
    chats = await site.get(chats_path())
    assert chats.status == 200
    epoch = chats.body["position"]["epoch"]
    assert epoch
    assert chats.body == {"ok": True, "data": [], "position": {"epoch": epoch, "seq": 0}, "nextCursor": None}
    empty = {"ok": True, "data": [], "position": {"epoch": epoch, "seq": 0}, "hasMore": False}
    for query in ("", "?before=5", "?after=0"):
        answer = await site.get(messages_path() + query)
        assert (answer.status, answer.body) == (200, empty)
    await site.post("shop", message(chat="b"))
    assert (await site.get(messages_path())).body["data"] == []


async def test_chats_in_order(site: Site) -> None:
    """Chats come with the highest lastSeq first; what was marked or completed does not move."""
    for chat in ("a", "b", "c", "a"):
        await site.post("shop", message(chat=chat))
    assert [(chat["chatId"], chat["lastSeq"]) for chat in await site.chats("shop")] == [("a", 4), ("c", 3), ("b", 2)]


async def test_paging_chats(site: Site) -> None:
    """Page by page every chat comes once, in order, and the last page has no cursor."""
    await site.post("shop", {"messages": [message(chat=f"chat {n}") for n in range(23)]})
    for limit in (1, 5, 22, 23, 200):
        seen: list[int] = []
        cursor = ""
        while True:
            answer = await site.get(f"{chats_path()}?limit={limit}{cursor}")
            seen += [chat["lastSeq"] for chat in answer.body["data"]]
            assert 1 <= len(answer.body["data"]) <= limit
            if answer.body["nextCursor"] is None:
                break
            cursor = f"&cursor={answer.body['nextCursor']}"
        assert seen == list(range(23, 0, -1))


async def test_paging_chats_while_messages_arrive(site: Site, connect_client: Any) -> None:
    """No chat comes twice; list and events together are the present state, chats that moved up meanwhile included."""
    seed = random.randrange(1_000_000)
    print("seed", seed)
    chance = random.Random(seed)
    await site.post("shop", {"messages": [message(chat=f"chat {n}") for n in range(120)]})
    stop = asyncio.Event()

    async def keep_posting() -> None:
        while not stop.is_set():
            several = [message(chat=f"chat {chance.randrange(140)}") for _ in range(3)]
            assert (await site.post("shop", {"messages": several})).status == 200

    poster = asyncio.create_task(keep_posting())
    listed: list[dict[str, Any]] = []
    position, cursor = None, ""
    while True:
        answer = await site.get(f"{chats_path()}?limit=7{cursor}")
        position = position or answer.body["position"]
        listed += answer.body["data"]
        if answer.body["nextCursor"] is None:
            break
        cursor = f"&cursor={answer.body['nextCursor']}"
    stop.set()
    await poster
    names = [chat["chatId"] for chat in listed]
    assert len(names) == len(set(names))
    assert [chat["lastSeq"] for chat in listed] == sorted((chat["lastSeq"] for chat in listed), reverse=True)
    client: Client = await connect_client()
    await client.subscribe("shop", position=position)
    last = await site.seq("shop")
    await client.wait_for(lambda me: me.seqs()[-1:] == [last])
    state = {chat["chatId"]: chat for chat in listed}
    for event in client.durable():
        chat = event["chat"]
        if chat["updatedSeq"] >= state.get(chat["chatId"], chat)["updatedSeq"]:
            state[chat["chatId"]] = chat
    assert state == {chat["chatId"]: chat for chat in await site.chats("shop")}


async def test_position_is_no_later_than_the_data(site: Site) -> None:
    """What is listed is at least as new as the position says: everything up to it is in there."""
    stop = asyncio.Event()

    async def keep_posting() -> None:
        while not stop.is_set():
            await site.post("shop", message(chat="a"))

    posters = [asyncio.create_task(keep_posting()) for _ in range(4)]
    for _ in range(40):
        chats, messages = await asyncio.gather(site.get(chats_path()), site.get(messages_path()))
        if chats.body["data"]:
            assert chats.body["data"][0]["lastSeq"] >= chats.body["position"]["seq"]
        if messages.body["data"]:
            assert messages.body["data"][-1]["seq"] >= messages.body["position"]["seq"]
            seqs = [m["seq"] for m in messages.body["data"]]
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    stop.set()
    await asyncio.gather(*posters)


async def test_messages_in_pages(site: Site) -> None:
    """Messages come in ascending seq: the newest, those before or after a number, and whether there are more."""
    several = [message(str(n), "a" if n % 2 else "b") for n in range(1, 21)]
    await site.post("shop", {"messages": several})
    odd = list(range(1, 21, 2))

    async def page(query: str = "") -> tuple[list[int], bool]:
        answer = await site.get(messages_path() + query)
        assert answer.status == 200, answer
        assert answer.body["position"]["seq"] == 20
        return [one["seq"] for one in answer.body["data"]], answer.body["hasMore"]

    assert await page() == (odd, False)
    assert await page("?limit=3") == ([15, 17, 19], True)
    assert await page("?limit=10") == (odd, False)
    assert await page("?before=15&limit=3") == ([9, 11, 13], True)
    assert await page("?before=7&limit=3") == ([1, 3, 5], False)
    assert await page("?before=6&limit=2") == ([3, 5], True)
    assert await page("?before=1") == ([], False)
    assert await page("?before=0") == ([], False)
    assert await page("?before=99&limit=1") == ([19], True)
    assert await page("?after=0&limit=3") == ([1, 3, 5], True)
    assert await page("?after=5&limit=3") == ([7, 9, 11], True)
    assert await page("?after=13&limit=3") == ([15, 17, 19], False)
    assert await page("?after=19") == ([], False)
    assert await page("?after=9007199254740991") == ([], False)


async def test_limits(site: Site) -> None:
    """50 unless asked otherwise, 200 at most."""
    await site.post("shop", {"messages": [message(str(n), "a") for n in range(210)]})
    await site.post("shop", {"messages": [message(str(n), f"chat {n}") for n in range(210)]})
    for path in (messages_path(), chats_path()):
        assert len((await site.get(path)).body["data"]) == 50
        assert len((await site.get(f"{path}?limit=1")).body["data"]) == 1
        assert len((await site.get(f"{path}?limit=200")).body["data"]) == 200


BAD_PARAMETERS = (
    ("limit=0", "limit"),
    ("limit=201", "limit"),
    ("limit=-1", "limit"),
    ("limit=x", "limit"),
    ("limit=", "limit"),
    ("limit=1.0", "limit"),
    ("limit=%D9%A1", "limit"),
    ("limit=1&limit=2", "limit"),
    ("limit[$gt]=1", "limit%5B$gt%5D"),
    ("offset=1", "offset"),
    ("token=x", "token"),
)


async def test_bad_parameters(site: Site) -> None:
    """An invalid, repeated or unknown parameter is refused and named."""
    for query, pointer in BAD_PARAMETERS:
        for path in (messages_path(), chats_path()):
            answer = await site.get(f"{path}?{query}")
            assert (answer.status, answer.body["code"]) == (422, "invalid"), (query, answer)
            assert answer.body["errors"][0]["pointer"] == f"#/{pointer}"


async def test_bad_numbers_and_cursors(site: Site) -> None:
    """Invalid values of before, after and cursor are refused."""
    for query in ("before=x", "after=-1", "before=1&after=1", "after=9007199254740992", "before=" + "9" * 30):
        answer = await site.get(f"{messages_path()}?{query}")
        assert (answer.status, answer.body["code"]) == (422, "invalid"), answer
    for cursor in ("", "x", "5", "Yw", "YzEyeA", "Yy0x", "%00", "%F0%9F", "Y" * 1000, "Y9mh", "e30"):
        answer = await site.get(f"{chats_path()}?cursor={cursor}")
        assert (answer.status, answer.body["code"]) == (422, "invalid"), (cursor, answer)


async def test_odd_chat_ids(site: Site) -> None:
    """A chat is found whatever its id is, and another id does not find it."""
    names = ["a/b", "a%2Fb", "ü 家族 👪", "?x=1", "a#b", "a;b", "$ne", "a+b", " ", "...", "__proto__", "a\\b"]
    for chat in names:
        await site.post("shop", message(chat, chat))
    for chat in names:
        quoted = "".join(f"%{byte:02X}" for byte in chat.encode())
        async with site.http.get(
            aiohttp.client.URL(site.url + messages_path(quoted), encoded=True),
            headers={"Authorization": f"Bearer {mint()}"},
        ) as answer:
            body = await answer.json()
        assert [one["text"] for one in body["data"]] == [chat], body
    for bad in ("%00", "a%0Ab", "x" * 257):
        answer = await site.request("GET", messages_path(bad), token=mint())
        assert answer.status == 422


async def test_forbidden_looks_like_missing(site: Site) -> None:
    """Without a token 401; without the right 404, in the same words whether there is something or not."""
    await site.post("shop", message(chat="a"))
    for path in (SESSIONS, chats_path(), messages_path(), chats_path("missing")):
        for token in ("", "nonsense", mint(lifetime=-1)):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            answer = await site.request("GET", path, headers=headers)
            assert (answer.status, answer.body["code"]) == (401, "unauthorized")
        assert (await site.request("GET", f"{path}?token={mint()}")).status == 401
    answers: list[Answer] = []
    for path in (chats_path(), messages_path(), chats_path("missing"), messages_path("missing", "missing")):
        for token in (mint("other"), mint("shop", "missing", scopes=("write", "ingest"))):
            answers.append(await site.get(path, token=token))
    answers.append(await site.get(SESSIONS, token=mint("shop", scopes=("write", "ingest"))))
    for answer in answers:
        assert (answer.status, answer.body) == (404, answers[0].body)


async def test_answers_are_not_kept(site: Site) -> None:
    """Lists and errors are not cached."""
    for path in (SESSIONS, chats_path(), messages_path(), "/nowhere"):
        assert (await site.get(path)).headers["Cache-Control"] == "no-store"
