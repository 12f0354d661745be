"""The undocumented parts of python-socketio that the engine relies on. If one fails, check the new version."""

import asyncio
import inspect
from typing import Any

import engineio
import pytest
import socketio
from socketio.async_admin import InstrumentedAsyncServer

from app.engine import Engine, Server
from app.engine.rooms import Rooms


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_engineio_server_class", ["self"]),
        ("_handle_eio_connect", ["self", "eio_sid", "environ"]),
        ("_handle_eio_message", ["self", "eio_sid", "data"]),
        ("_handle_eio_disconnect", ["self", "eio_sid", "reason"]),
        ("_trigger_event", ["self", "event", "namespace", "args"]),
        ("emit", ["self", "event", "data", "to", "room", "skip_sid", "namespace", "callback", "ignore_queue"]),
        ("disconnect", ["self", "sid", "namespace", "ignore_queue"]),
        ("get_session", ["self", "sid", "namespace"]),
        ("save_session", ["self", "sid", "session", "namespace"]),
        ("transport", ["self", "sid", "namespace"]),
        ("get_environ", ["self", "sid", "namespace"]),
    ],
)
def test_what_the_server_overrides_is_there(name: str, expected: list[str]) -> None:
    """The overridden methods exist in the parent with the same arguments."""
    assert parameters(getattr(socketio.AsyncServer, name)) == expected
    assert len(parameters(getattr(Server, name))) == len(expected)


def test_the_parents_methods_are_those_known() -> None:
    """A new method of the parent may need overriding."""
    known = {
        "attach", "call", "close_room", "disconnect", "emit", "enter_room", "event", "get_environ", "get_session",
        "handle_request", "instrument", "is_asyncio_based", "leave_room", "on", "reason", "register_namespace",
        "reserved_events", "rooms", "save_session", "send", "session", "shutdown", "sleep", "start_background_task",
        "transport",
    }  # fmt: skip
    assert {name for name in dir(socketio.AsyncServer) if not name.startswith("_")} == known


def test_every_method_of_the_manager_that_touches_rooms_is_ours() -> None:
    """All the parent's methods that use its dictionaries are overridden."""
    harmless = {
        "initialize", "set_server", "can_disconnect", "disconnect", "enter_room", "leave_room", "close_room",
        # Called by the server's `_handle_connect` and `_handle_disconnect`, which are never called themselves.
        "pre_connect", "connect", "is_pre_connected", "pre_disconnect", "trigger_callback", "is_sid_room",
    }  # fmt: skip
    public = {name for name in dir(socketio.AsyncManager) if not name.startswith("_")}
    assert {name for name in public if getattr(Rooms, name) is getattr(socketio.AsyncManager, name)} == harmless


def test_the_engine_is_constructed_and_wired_as_known() -> None:
    """Keywords go through, three callbacks are registered."""
    server = Server(ping_interval=7, logger=False)
    assert isinstance(server.eio, Engine)
    assert server.eio.connections.heartbeat.interval == 7
    assert set(server.eio.handlers) == {"connect", "message", "disconnect"}
    assert server.manager.server is server
    assert server.async_mode == "aiohttp"
    assert server.reason.SERVER_DISCONNECT == engineio.Server.reason.SERVER_DISCONNECT == "server disconnect"


def test_a_namespace_class_routes_events_as_known() -> None:
    """`trigger_event` is what a subclass may override; the engine looks for `on_…` itself otherwise."""
    assert parameters(socketio.AsyncNamespace.trigger_event) == ["self", "event", "args"]


async def test_the_admin_ui_wraps_what_is_known() -> None:
    """The names that it takes from the engine are there."""
    source = inspect.getsource(InstrumentedAsyncServer)
    for name in ("sio.eio._ok", "eio._get_socket", "sio.eio.sockets", "manager.basic_enter_room", "manager.emit"):
        assert name in source
    server = Server()
    admin = server.instrument(auth=False)
    admin.uninstrument()
    assert await asyncio.sleep(0, True)
