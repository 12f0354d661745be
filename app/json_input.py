"""Reading JSON from outside: fast for ordinary input, with clear errors for invalid input (RFC 8259).

The number of values is limited before they are built, because a value of two bytes takes more than fifty bytes in
memory. orjson refuses lone surrogates, which are valid JSON. Such bodies are read again by the standard module, so
that the schemas can say where the value is. Integers beyond 64 bits become floats. NaN and Infinity are not JSON. A
byte order mark is ignored (as RFC 8259, 8.1 allows).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

import orjson

from app.errors import AppError

MAX_DEPTH: Final = 64
"""Maximum nesting of lists and objects. No valid body is deeper."""
MAX_NODES: Final = 2_000_000
"""Default limit for the number of values."""

_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_BOM: Final = b"\xef\xbb\xbf"


def most_nodes(body: bytes | bytearray) -> int:
    """An upper bound of the number of values in the body. Builds nothing."""
    return 1 + body.count(b",") + body.count(b"[") + body.count(b"{")


def loads(body: bytes | bytearray, max_nodes: int = MAX_NODES) -> Any:
    """Parse the body. Raises AppError: `malformed`, also for nesting deeper than MAX_DEPTH; `too_large`."""
    body = body.removeprefix(_BOM)
    _check_nodes(body, max_nodes)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _loads_odd(body, "strict", _refuse)
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _too_deep(value):
        raise AppError("malformed", f"The JSON is nested deeper than {MAX_DEPTH} levels.")
    return value


def loads_provider(body: bytes | bytearray, max_nodes: int = MAX_NODES) -> Any:
    """Parse a provider's body leniently: bytes that are not UTF-8 become U+FFFD, NaN becomes None.

    Raises AppError: `malformed` if it is not JSON at all, `too_large`.
    """
    body = body.removeprefix(_BOM)
    _check_nodes(body, max_nodes)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _loads_odd(body, "replace", _nothing)


def _check_nodes(body: bytes | bytearray, most: int) -> None:
    """Every value except the first follows a comma or an opening bracket; strings may contain these as well."""
    if len(body) <= most or most_nodes(body) <= most:
        return
    excess = most_nodes(body) - most
    for number, string in enumerate(_STRING.finditer(body)):
        excess -= most_nodes(string[0]) - 1
        if number > 2 * most:  # a value is one string at most, and a key is another one
            break
    else:
        if excess <= 0:
            return
    raise AppError("too_large", f"The JSON has more than {most} values.")


def _loads_odd(body: bytes | bytearray, errors: str, constant: Callable[[str], Any]) -> Any:
    try:
        return json.loads(body.decode("utf-8", errors), parse_constant=constant)
    except UnicodeDecodeError:
        raise AppError("malformed", "The body is not UTF-8.") from None
    except RecursionError:
        raise AppError("malformed", "The JSON is nested too deeply.") from None
    except ValueError as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise AppError("malformed", f"The body is not JSON{where}.") from None


def _nothing(constant: str) -> None:
    return None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _too_deep(value: Any) -> bool:
    """Checked level by level, without recursion."""
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
