"""JSON as it comes in: fast where it is ordinary, and clear about what is not JSON (RFC 8259) and what is merely odd.

orjson refuses lone surrogates, which are well-formed; what it refuses is read again by the standard module, so that the
schemas can say where the odd value is. Integers beyond 64 bits become floats. NaN and Infinity are no JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson

from app.errors import AppError

MAX_DEPTH = 64
"""Nested lists and objects. Nothing we take is deeper than this."""


def loads(body: bytes) -> Any:
    """The value. Raises AppError `malformed`, also for what is nested deeper than MAX_DEPTH."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _loads_odd(body, "strict", _refuse)
    if _too_deep(value):
        raise AppError("malformed", f"The JSON is nested deeper than {MAX_DEPTH} levels.")
    return value


def loads_provider(body: bytes) -> Any:
    """The value of a provider's body, whatever is in it: bytes that are no UTF-8 become U+FFFD, NaN becomes None.

    Raises AppError `malformed` for what is no JSON at all.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _loads_odd(body, "replace", _nothing)


def _loads_odd(body: bytes, errors: str, constant: Callable[[str], Any]) -> Any:
    try:
        return json.loads(body.decode("utf-8", errors), parse_constant=constant)
    except UnicodeDecodeError:
        raise AppError("malformed", "The body is not UTF-8.") from None
    except RecursionError:
        raise AppError("malformed", "The JSON is nested too deep.") from None
    except ValueError as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise AppError("malformed", f"The body is not JSON{where}.") from None


def _nothing(constant: str) -> None:
    return None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _too_deep(value: Any) -> bool:
    """Level by level, without recursion."""
    level = [value] if isinstance(value, dict | list) else []
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return True
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return False
