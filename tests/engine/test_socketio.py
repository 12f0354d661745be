"""Socket.IO 5: connecting, calling handlers, and answering every acknowledgement request."""

import asyncio
import functools
from typing import Any

import pytest
import socketio

from app.engine import EVERYONE, Handshake, Limits, Server
from tests.support import PATIENCE

from .client import Socket
from .conftest import QUICK, Serve, Site, until


def error(code: str) -> dict[str, Any]:
    messages = {
        "unknown_event": "Unknown event.",
        "invalid": "Wrong number of arguments.",
        "internal": "Something went wrong on the server.",
        "rate_limited": "Too many events.",
    }
    return {"ok": False, "error": {"code": code, "message": messages[code]}}


# connecting


async def connect(site: Site, packet: str = "40", **headers: str) -> tuple[Socket, str]:
    socket = await site.raw(**headers)
    await socket.packet()
    await socket.text(packet)
    return socket, await socket.packet()


async def test_the_connect_handler_is_given_the_handshake_and_auth(site: Site) -> None:
    """A small object that cannot be changed, and what the client sent."""
    seen: list[Any] = []
    site.server.on("connect", lambda *args: seen.append(args))
    await connect(site, '40{"token":"x"}', User_Agent="test/1", Origin=site.url)
    await connect(site)
    (sid, handshake, auth), (_, _, nothing) = seen
    assert handshake == Handshake("127.0.0.1", site.url, "test/1", "/socket.io/")
    assert site.server.get_environ(sid) is handshake
    assert auth == {"token": "x"}
    assert nothing is None
    with pytest.raises(AttributeError):
        handshake.address = "1.2.3.4"


@pytest.mark.parametrize(
    ("raised", "answer"),
    [
        (socketio.exceptions.ConnectionRefusedError("unauthorized", {"code": "unauthorized"}),
         '44{"message":"unauthorized","data":{"code":"unauthorized"}}'),
        (ConnectionRefusedError("no"), '44{"message":"no"}'),
        (socketio.exceptions.ConnectionRefusedError(), '44{"message":"Connection rejected by server"}'),
        (RuntimeError("secret"), '44{"message":"internal"}'),
        (TypeError("secret"), '44{"message":"internal"}'),
        (socketio.exceptions.ConnectionRefusedError("x", {1, 2}), '44{"message":"x"}'),
        (asyncio.CancelledError(), '44{"message":"internal"}'),
    ],
)  # fmt: skip
async def test_a_connect_handler_that_raises_refuses(site: Site, raised: BaseException, answer: str) -> None:
    """Message and data arrive; nothing else is told; the client may try again, and is in no room meanwhile."""

    async def refuse(sid: str, handshake: Any, auth: Any) -> None:
        site.server.join(sid, "all")
        site.server.push(sid, "held")
        raise raised

    handler = site.server.handlers["/"]["connect"]
    site.server.on("connect", refuse)
    socket, packet = await connect(site)
    assert packet == answer
    site.server.publish("secret", rooms=["all"])
    site.server.on("connect", handler)
    await socket.text("40")
    assert (await socket.packet()).startswith("40{")
    assert site.told.empty()


async def test_a_connect_handler_that_returns_false_refuses(site: Site) -> None:
    """As in python-socketio."""
    site.server.on("connect", lambda sid, handshake: False)
    assert (await connect(site))[1] == '44{"message":"Connection rejected by server"}'


async def test_nothing_reaches_a_connection_before_it_is_let_in(site: Site) -> None:
    """Rooms entered and events sent to it in the connect handler take effect with the answer, in order."""
    go_on = asyncio.Event()

    async def slow(sid: str, handshake: Any, auth: Any) -> None:
        site.sids.append(sid)
        site.server.join(sid, "all")
        site.server.push(sid, "held", 1)
        await site.server.emit("held", 2, to=sid)
        await go_on.wait()

    site.server.on("connect", slow)
    socket = await site.raw()
    await socket.packet()
    await socket.text("40", '42["echo"]')
    await until(lambda: bool(site.sids))
    site.server.publish("secret", rooms=["all"])
    await site.server.emit("secret", to="all")
    await site.server.emit("secret", to=EVERYONE)
    assert site.told.empty()
    go_on.set()
    assert (await socket.packet()).startswith("40{")
    assert await socket.event() == ["held", 1]
    assert await socket.event() == ["held", 2]
    site.server.publish("open", rooms=["all"])
    assert await socket.event() == ["open"]
    assert await site.told.get() == ("echo",)


async def test_an_unknown_namespace_is_refused(site: Site) -> None:
    """In the words of the protocol; the connection may go on."""
    socket, packet = await connect(site, "40/random")
    assert packet == '44/random,{"message":"Invalid namespace"}'
    await socket.text("40")
    assert (await socket.packet()).startswith("40{")


async def test_connecting_twice_is_a_fault(site: Site) -> None:
    """The connection ends, and `disconnect` runs once."""
    socket = await site.socket()
    await socket.text("40")
    await socket.closed()
    assert await site.told.get() == ("disconnect", site.sids[0], "parse error")
    assert site.told.empty()


async def test_the_connect_answer_can_hold_more(serve: Serve) -> None:
    """`connect_data` adds fields, for recovery to come."""

    class WithPid(Server):
        def connect_data(self, sid: str, namespace: str) -> dict[str, Any]:
            return {"pid": f"{namespace}{len(sid)}"}

    assert ',"pid":"/20"}' in (await connect(await serve(WithPid())))[1]


async def test_an_emit_to_nobody_in_particular_is_an_error(site: Site) -> None:
    """It needs `to=EVERYONE`, and then goes only to accepted clients, except those to skip."""
    socket = await site.socket()
    await site.raw()
    other = await site.socket()
    with pytest.raises(ValueError, match="EVERYONE"):
        await site.server.emit("secret")
    with pytest.raises(ValueError, match="EVERYONE"):
        await site.server.send("secret")
    await site.server.emit("open", 1, to=EVERYONE)
    await site.server.emit("open", 2, to=EVERYONE, skip_sid=site.sids[1])
    await site.server.emit("open", 3, to=["all", "none"])
    assert [await socket.event() for _ in range(3)] == [["open", 1], ["open", 2], ["open", 3]]
    assert [await other.event() for _ in range(2)] == [["open", 1], ["open", 3]]


# events


async def test_every_question_is_answered(site: Site) -> None:
    """Unknown event, wrong arguments, exception, an answer that is not JSON: each has its code, without details."""

    async def fail(sid: str) -> None:
        raise RuntimeError("secret")

    async def type_error(sid: str) -> None:
        raise TypeError("secret")

    async def cancelled(sid: str) -> None:
        raise asyncio.CancelledError

    def two(sid: str, a: Any, b: Any = None) -> Any:
        return [a, b]

    for handler in (fail, type_error, cancelled, two):
        site.server.on(handler.__name__, handler)
    site.server.on("unwritable", lambda sid: object())
    site.server.on("nothing", lambda sid: None)
    site.server.on("many", lambda sid: (1, b"2"))
    site.server.on("partial", functools.partial(two, b=5))
    socket = await site.socket()
    assert await socket.ask("nope") == [error("unknown_event")]
    assert await socket.ask("nope", 1, 2) == [error("unknown_event")]
    for event in ("fail", "type_error", "cancelled", "unwritable"):
        assert await socket.ask(event) == [error("internal")]
    assert await socket.ask("two") == [error("invalid")]
    assert await socket.ask("two", 1, 2, 3) == [error("invalid")]
    assert await socket.ask("two", 1) == [[1, None]]
    assert await socket.ask("partial", 1) == [[1, 5]]
    assert await socket.ask("nothing") == []
    await socket.text('420["many"]')
    assert await socket.packet() == '461-0[1,{"_placeholder":true,"num":0}]'
    assert await socket.packet() == b"2"
    await socket.text('42["nope"]', '42["fail"]', '421["nothing"]')
    assert await socket.packet() == "431[]", "who does not ask gets no answer"


@pytest.mark.parametrize("name", ["connect", "disconnect", "connect_error", "disconnecting", "newListener"])
async def test_reserved_names_run_no_handler(site: Site, name: str) -> None:
    """They are malformed packets."""
    socket = await site.socket()
    ran: list[Any] = []
    site.server.on(name, lambda *args: ran.append(args))
    await socket.text(f'42["{name}",1]')
    await socket.closed()
    await until(lambda: not site.server.eio.sockets)
    await until(lambda: not site.server.manager.clients)
    assert len(ran) == (name == "disconnect")
    if ran:
        assert ran == [(site.sids[0], "parse error")]


async def test_handlers_are_found_as_in_python_socketio(serve: Serve) -> None:
    """Catch-alls for events and namespaces, and namespace classes; a client cannot name the catch-all."""
    server = Server(namespaces="*")
    site = await serve(server)
    server.on("*", lambda event, sid, *args: ["all", event, *args])
    server.on("known", lambda namespace, sid, *args: ["known", namespace, *args], namespace="*")
    server.on("*", lambda event, namespace, sid, *args: ["any", event, namespace, *args], namespace="*")

    class Chat(socketio.AsyncNamespace):
        async def on_say(self, sid: str, text: str) -> Any:
            return ["said", text]

        def on_connect(self, sid: str, handshake: Any) -> None:
            pass

    server.register_namespace(Chat("/chat"))
    socket = await site.socket()
    assert await socket.ask("x", 1) == [["all", "x", 1]]
    assert await socket.ask("*", 1) == [["all", "*", 1]]
    await socket.text("40/other,", '42/other,1["known",5]', '42/other,2["y"]')
    assert (await socket.packet()).startswith("40/other,")
    assert await socket.packet() == '43/other,1[["known","/other",5]]'
    assert await socket.packet() == '43/other,2[["any","y","/other"]]'


async def test_namespace_classes_answer_like_functions(site: Site) -> None:
    """Unknown events and wrong arguments too; session and rooms are there until `disconnect` has run."""
    last: asyncio.Queue[Any] = asyncio.Queue()

    class Chat(socketio.AsyncNamespace):
        async def on_connect(self, sid: str, handshake: Any, auth: Any) -> None:
            await self.save_session(sid, {"name": auth["name"]})
            await self.enter_room(sid, ("room", 1))

        async def on_say(self, sid: str, text: str) -> Any:
            await self.emit("said", text, to=("room", 1))
            return {"ok": True}

        async def on_disconnect(self, sid: str, reason: str) -> None:
            last.put_nowait(((await self.get_session(sid))["name"], self.rooms(sid)[1:], reason))

    site.server.register_namespace(Chat("/chat"))
    socket, packet = await connect(site, '40/chat,{"name":"Ann"}')
    assert packet.startswith("40/chat,")
    await socket.text('42/chat,1["say","hi"]', '42/chat,2["say"]', '42/chat,3["nope"]')
    assert await socket.packet() == '42/chat,["said","hi"]'
    assert await socket.packet() == '43/chat,1[{"ok":true}]'
    assert '"invalid"' in await socket.packet()
    assert '"unknown_event"' in await socket.packet()
    socket.kill()
    name, rooms, reason = await last.get()
    assert (name, rooms) == ("Ann", [("room", 1)])
    assert reason in ("transport close", "transport error")
    await until(lambda: not site.server.manager.clients and not site.server.manager.rooms)


async def test_one_clients_events_are_handled_in_order_and_alone(site: Site) -> None:
    """The next begins when the one before has ended, whatever they wait for; other clients do not wait."""
    running, log = 0, []
    gate = asyncio.Event()

    async def slow(sid: str, number: int) -> int:
        nonlocal running
        running += 1
        assert running == 1
        if number == 0:
            await gate.wait()
        else:
            await asyncio.sleep(0)
        running -= 1
        log.append(number)
        return number

    site.server.on("slow", slow)
    socket, other = await site.socket(), await site.socket()
    await socket.text(*[f'42{i}["slow",{i}]' for i in range(10)])
    assert await other.ask("echo", "free") == ["free"]
    assert log == []
    gate.set()
    assert [await socket.packet() for _ in range(10)] == [f"43{i}[{i}]" for i in range(10)]
    assert log == list(range(10))


async def test_a_handler_may_ask_its_own_client(site: Site) -> None:
    """Acknowledgements do not wait behind the handler that waits for them."""
    site.server.on("ask_me", lambda sid: site.server.call("question", 5, to=sid))
    socket = await site.socket()
    await socket.text('429["ask_me"]', '42["echo",1]')
    assert await socket.packet() == '421["question",5]'
    await socket.text("431[10]")
    assert await socket.packet() == "439[10]"
    await socket.text("431[11]", "43999[]", '421["echo",2]')
    assert await socket.packet() == "431[2]", "an acknowledgement that nobody waits for is ignored"
    await site.server.emit("question", to=site.sids[0], callback=lambda *_: None)
    client = site.server.manager.client(site.sids[0], "/")
    assert client.callbacks
    socket.kill()
    await until(lambda: not site.server.manager.clients)
    assert client.callbacks is None, "what was to be called back is forgotten with the client"


async def test_outstanding_acknowledgements_are_bounded(serve: Serve) -> None:
    """The oldest is forgotten."""
    site = await serve(limits=Limits(max_callbacks=3))
    await site.socket()
    for _ in range(10):
        await site.server.emit("question", to=site.sids[0], callback=lambda *_: None)
    assert list(site.server.manager.client(site.sids[0], "/").callbacks) == [8, 9, 10]


async def test_attachments_come_with_their_packet(site: Site) -> None:
    """Binary in, binary out; a packet without placeholders, or without attachments, is whole as well."""
    socket = await site.socket()
    await socket.text('451-1["echo",{"_placeholder":true,"num":0}]')
    socket.send(b"\x82\x83\0\0\0\0abc")
    assert await socket.packet() == '461-1[{"_placeholder":true,"num":0}]'
    assert await socket.packet() == b"abc"
    await socket.text('450-2["echo",1]')
    assert await socket.packet() == "432[1]"


@pytest.mark.parametrize("then", ['42["echo"]', "41", '451-["echo"]', "40"])
async def test_a_text_is_no_attachment(site: Site, then: str) -> None:
    """It ends the connection, and runs no handler."""
    socket = await site.socket()
    await socket.text('451-["echo",{"_placeholder":true,"num":0}]', then)
    assert (await socket.closed()).code == 1002
    assert await site.told.get() == ("disconnect", site.sids[0], "parse error")
    assert site.told.empty()


async def test_deep_json_never_reaches_a_handler(site: Site) -> None:
    """900 levels are a malformed packet."""
    socket = await site.socket()
    await socket.text('42["echo",' + "[" * 900 + "]" * 900 + "]")
    assert (await socket.closed()).code == 1002
    assert (await site.told.get())[0] == "disconnect"


# too much


async def test_too_many_events_are_refused_and_then_the_connection_ends(site: Site) -> None:
    """A burst of 40 is handled, the next 40 are told so, and with one more it is over."""
    socket = await site.socket()
    await socket.text(*[f'42{i}["echo"]' for i in range(79)])  # CONNECT was one as well
    answers = [await socket.packet() for _ in range(79)]
    handled = [a for a in answers if "rate_limited" not in a]
    assert 32 <= len(handled) <= 41
    assert len(handled) + sum("rate_limited" in a for a in answers) == 79, "each has its answer"
    await socket.text(*['42["echo"]'] * 10)
    assert (await socket.closed()).code == 1008
    while (told := await site.told.get())[0] == "echo":
        pass
    assert told == ("disconnect", site.sids[0], "rate limited")
    assert site.server.stats.rate_limited >= 38


async def test_a_steady_client_is_never_refused(serve: Serve) -> None:
    """Below the rate for as long as it likes."""
    site = await serve(limits=Limits(event_rate=200, event_burst=5))
    socket = await site.socket()
    for i in range(40):
        assert await socket.ask("echo", i) == [i]
        await asyncio.sleep(0.006)


async def test_few_events_wait_for_a_slow_handler(site: Site) -> None:
    """32 and no more: the rest is refused at once, and the client can still be asked things."""
    gate, running = asyncio.Event(), asyncio.Event()

    async def slow(sid: str) -> None:
        running.set()
        await gate.wait()

    site.server.on("slow", slow)
    socket = await site.socket()
    await socket.text('42["slow"]')
    await running.wait()
    await socket.text(*[f'42{i}["echo"]' for i in range(34)])
    assert "rate_limited" in await socket.packet()
    assert "rate_limited" in await socket.packet()
    gate.set()
    assert [await socket.packet() for _ in range(32)] == [f"43{i}[]" for i in range(32)]


async def test_few_bytes_wait_for_a_slow_handler(serve: Serve) -> None:
    """Likewise by size."""
    site = await serve(limits=Limits(max_waiting_event_bytes=10_000))
    gate = asyncio.Event()
    site.server.on("slow", lambda sid: gate.wait())
    socket = await site.socket()
    await socket.text('42["slow"]', '421["echo","' + "x" * 9_000 + '"]', '422["echo","' + "x" * 9_000 + '"]')
    assert (await socket.packet()).startswith('432[{"ok":false')
    gate.set()
    assert (await socket.packet()).startswith('431["xxx')


async def test_packets_that_cannot_be_answered_do_not_pile_up(serve: Serve) -> None:
    """A client whose handler hangs and that goes on sending DISCONNECTs is closed."""
    site = await serve(limits=Limits(event_rate=10_000, event_burst=1_000, max_waiting_events=5))
    site.server.on("hang", lambda sid: asyncio.sleep(0.2))
    socket = await site.socket()
    await socket.text('42["hang"]', *["41"] * 20)
    assert (await socket.closed()).code == 1008


# leaving


async def test_disconnect_is_told_and_nothing_is_sent_after_it(site: Site) -> None:
    """The client gets packet 1, not even a publish from its own `disconnect` handler; the reason is the server's."""
    reasons: asyncio.Queue[Any] = asyncio.Queue()

    async def disconnect(sid: str, reason: str) -> None:
        site.server.publish("late", rooms=["all"])
        site.server.push(sid, "late")
        site.server.join(sid, "all")
        reasons.put_nowait((reason, site.server.rooms(sid)))

    site.server.on("disconnect", disconnect)
    socket, other = await site.socket(), await site.socket()
    site.server.publish("before", rooms=["all"])
    await site.server.disconnect(site.sids[0])
    assert await reasons.get() == ("server disconnect", [site.sids[0], "all"])
    assert await socket.event() == ["before"]
    assert await socket.packet() == "41"
    await socket.text('421["echo"]', "40")
    assert (await socket.packet()).startswith("40{"), "nothing in between, and it may come back"
    assert [await other.event() for _ in range(2)] == [["before"], ["late"]]


async def test_a_disconnect_handler_that_fails_leaves_nothing_behind(site: Site) -> None:
    """It runs once, even if it raises a TypeError."""
    calls: list[str] = []

    def disconnect(sid: str, reason: str) -> None:
        calls.append(sid)
        raise TypeError("secret")

    site.server.on("disconnect", disconnect)
    (await site.socket()).kill()
    await until(lambda: not site.server.manager.clients)
    assert calls == site.sids
    assert site.server.manager.rooms == {}


async def test_events_that_came_before_the_end_are_handled(site: Site) -> None:
    """Events sent before a disconnect are handled; `disconnect` comes last."""
    socket = await site.socket()
    await socket.text('42["echo",1]', '42["echo",2]', "1")
    assert [await site.told.get() for _ in range(3)] == [
        ("echo", 1), ("echo", 2), ("disconnect", site.sids[0], "transport close")
    ]  # fmt: skip


async def test_close_is_after_what_was_sent_and_for_a_reason(site: Site) -> None:
    """The transport goes, unlike with `disconnect`; a polling client is told that there is no such session."""
    socket = await site.socket()
    site.server.push(site.sids[0], "last")
    site.server.close(site.sids[0], "expired")
    site.server.close(site.sids[0], "again")
    site.server.close("unknown", "again")
    assert await socket.event() == ["last"]
    assert (await socket.closed()).code == 1001
    assert await site.told.get() == ("disconnect", site.sids[0], "expired")
    async with await site.polling() as polling:
        poll = asyncio.create_task(polling.poll())
        await until(lambda: site.server.eio.sockets[polling.sid].polling.polled)
        site.server.close(site.sids[1], "expired")
        assert (await poll)[0] == 400
    assert site.server.stats.closed == {"expired": 2}


async def test_unknown_clients_are_no_error(site: Site) -> None:
    """Clients may disconnect at any time: `join`, `leave`, `push`, `waiting`, `drained`."""
    server = site.server
    server.join("gone", "all")
    server.leave("gone", "all")
    server.push("gone", "event")
    assert server.waiting("gone") == 0
    assert await server.drained("gone") is False
    assert server.manager.rooms == {}
    with pytest.raises(ValueError, match="not connected"):
        await server.enter_room("gone", "all")


@pytest.mark.parametrize(
    "option", ["client_manager", "json", "async_handlers", "cors_allowed_origins", "max_http_buffer_size"]
)
def test_options_that_are_not_there_are_told(option: str) -> None:
    """Rather than ignored."""
    with pytest.raises(TypeError, match=option):
        Server(**{option: None})


async def test_shutdown_closes_everything_so_that_clients_come_back(serve: Serve) -> None:
    """1012 for websockets, an error for polls, 503 for who comes now; done when the last handler is, and only once."""
    site = await serve(limits=QUICK)
    sockets = [await site.socket() for _ in range(20)]
    async with await site.polling() as polling:
        poll = asyncio.create_task(polling.poll())
        await until(lambda: site.server.eio.sockets[polling.sid].polling.polled)
        stopping = asyncio.create_task(site.server.shutdown())
        assert {(await socket.closed()).code for socket in sockets} == {1012}
        assert (await poll)[0] == 400
        await stopping
        assert site.told.qsize() == 21
        assert (await polling.poll())[0] == 503
        assert (await site.raw()).status == 503
    await site.server.shutdown()
    assert site.server.stats.closed == {"server shutdown": 21}


async def test_shutdown_waits_for_no_one_longer_than_it_may(serve: Serve) -> None:
    """A handler that hangs is cancelled, and a client that does not answer is dropped."""
    site = await serve(limits=Limits(shutdown_timeout=0.5, close_timeout=0.2))
    site.server.on("hang", lambda sid: asyncio.sleep(3600))
    socket = await site.socket()
    await socket.text('42["hang"]')
    async with asyncio.timeout(PATIENCE):
        await site.server.shutdown()
