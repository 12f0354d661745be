"""Finds and calls the user's handlers."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import socketio


class WrongArguments(Exception):
    """The handler does not accept the number of arguments that the client has sent."""


def find(
    server: socketio.AsyncServer, event: str, namespace: str, args: tuple[Any, ...]
) -> tuple[Callable[..., Any] | None, tuple[Any, ...]]:
    """The handler and its arguments: the namespace's handler or catch-all, or those of the namespace `*`."""
    for key, prefix in ((namespace, ()), ("*", (namespace,))):
        handlers = server.handlers.get(key)
        if handlers:
            if event in handlers and event != "*":
                return handlers[event], (*prefix, *args)
            if event not in server.reserved_events and "*" in handlers:
                return handlers["*"], (event, *prefix, *args)
    for key, prefix in ((namespace, ()), ("*", (namespace,))):
        instance = server.namespace_handlers.get(key)
        if instance is not None:
            if type(instance).trigger_event is not socketio.AsyncNamespace.trigger_event:
                return instance.trigger_event, (event, *prefix, *args)
            return getattr(instance, "on_" + event, None), (*prefix, *args)
    return None, args


async def run(handler: Callable[..., Any], args: tuple[Any, ...], *, optional: bool) -> Any:
    """Call the handler, and await it if it is a coroutine function. `optional`: it may omit the last argument.

    Raises WrongArguments, and whatever the handler raises.
    """
    try:
        result = handler(*args)
    except TypeError:
        if optional and not _takes(handler, args) and _takes(handler, args[:-1]):
            result = handler(*args[:-1])  # without auth, or the reason, as python-socketio allows
        elif not _takes(handler, args):
            raise WrongArguments from None
        else:
            raise
    if not inspect.isawaitable(result):
        return result
    try:
        return await result
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # Something the handler awaited was cancelled: the handler has failed, but the client continues.
        raise RuntimeError("handler_cancelled") from None


def _takes(handler: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether a function can be called with this number of arguments."""
    try:
        inspect.signature(handler).bind(*args)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True
