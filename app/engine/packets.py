"""Socket.IO 5 packets: strict parsing, and encoding of everything the standard json module accepts.

A packet is `<type>[<attachments>-][<namespace>,][<id>][JSON]`; binary data follows in separate packets.
"""

import base64
import binascii
import json
import re
from typing import Any, NamedTuple

import orjson

from . import frames
from .limits import Limits
from .messages import Message

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = "0123456"

RESERVED = frozenset(("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"))
"""Event names reserved by the protocol. A packet with one is malformed."""

_LINE_ENDS = {10: None, 13: None}
_PACKET = re.compile(r"([0-6])(?:([0-9]{1,2})-)?(?:(/[^,]{0,255})(?:,|\Z))?([0-9]{1,15})?(.*)", re.S)


class ProtocolError(Exception):
    """The client has violated the protocol; its connection is closed."""


class Packet(NamedTuple):
    kind: str
    attachments: int
    namespace: str
    ident: int | None
    data: Any
    size: int
    """Its length in characters."""


# JSON


def dumps(data: Any) -> bytes:
    """Compact JSON. Raises TypeError or ValueError for values that the json module does not accept, or that are not
    JSON (NaN)."""
    try:
        return orjson.dumps(data)
    except TypeError:
        # Integers over 64 bits, keys that are not strings, lone surrogates, deep nesting.
        return json.dumps(data, separators=(",", ":"), allow_nan=False).encode()


def loads(text: str, max_depth: int) -> Any:
    """Parse JSON. Raises ProtocolError if it is invalid, or nested deeper than allowed."""
    deep = text.count("[") + text.count("{") > max_depth
    try:
        data = orjson.loads(text)
    except ValueError:
        try:
            # Lone surrogates, which JavaScript may send.
            data = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise ProtocolError("bad JSON") from None
    if deep and _deeper(data, max_depth):
        raise ProtocolError("JSON nested too deep")
    return data


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _deeper(data: Any, limit: int) -> bool:
    level = [data]
    for _ in range(limit):
        below: list[Any] = []
        for value in level:
            inside = value.values() if type(value) is dict else value
            below.extend([v for v in inside if type(v) is dict or type(v) is list])
        if not below:
            return False
        level = below
    return True


# writing


def encode(
    kind: str, namespace: str = "/", ident: int | None = None, data: Any = None, ephemeral: bool = False
) -> list[Message]:
    """The packet, followed by its attachments. `data` None: without JSON."""
    body = b""
    attachments: list[bytes] = []
    if data is not None:
        try:
            body = dumps(data)
        except TypeError:
            data = _take_out(data, attachments)
            if not attachments:
                raise
            kind = BINARY_EVENT if kind == EVENT else BINARY_ACK
            body = dumps(data)
    head = f"4{kind}"
    if attachments:
        head += f"{len(attachments)}-"
    if namespace != "/":
        head += namespace + ","
    if ident is not None:
        head += str(ident)
    messages = [Message(head.encode() + body, frames.TEXT, ephemeral)]
    messages.extend([Message(attachment, frames.BINARY, ephemeral) for attachment in attachments])
    return messages


def _take_out(data: Any, attachments: list[bytes]) -> Any:
    """The data with placeholders for binary values."""
    if isinstance(data, bytes | bytearray | memoryview):
        attachments.append(bytes(data))
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(data, list | tuple):
        return [_take_out(value, attachments) for value in data]
    if isinstance(data, dict):
        return {key: _take_out(value, attachments) for key, value in data.items()}
    return data


# reading


def from_base64(text: str) -> bytes:
    """Decode binary data sent as text. Raises ProtocolError. The Java client's data has line ends."""
    try:
        return base64.b64decode(text.translate(_LINE_ENDS), validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError("bad base64") from None


def decode(text: str, limits: Limits) -> Packet:
    """Parse a packet, without its attachments. Raises ProtocolError."""
    match = _PACKET.fullmatch(text)
    if match is None:
        raise ProtocolError("bad packet")
    kind, count, namespace, ident, rest = match.groups()
    data = loads(rest, limits.max_depth) if rest else None
    binary = kind in (BINARY_EVENT, BINARY_ACK)
    if binary != (count is not None) or (binary and int(count) > limits.max_attachments):
        raise ProtocolError("bad number of attachments")
    if kind == CONNECT:
        ok = ident is None and (data is None or type(data) is dict)
    elif kind == DISCONNECT:
        ok = ident is None and data is None
    elif kind in (EVENT, BINARY_EVENT):
        ok = type(data) is list and bool(data) and type(data[0]) is str and data[0] not in RESERVED
    elif kind in (ACK, BINARY_ACK):
        ok = type(data) is list and ident is not None
    else:
        ok = False
    if not ok:
        raise ProtocolError(f"bad packet of type {kind}")
    return Packet(kind, int(count or 0), namespace or "/", None if ident is None else int(ident), data, len(text))


class Partial:
    """A packet with missing attachments."""

    __slots__ = ("attachments", "packet", "size")

    def __init__(self, packet: Packet) -> None:
        self.packet = packet
        self.attachments: list[bytes] = []
        self.size = packet.size

    def add(self, data: bytes, limits: Limits) -> Packet | None:
        """Add the next attachment. Returns the whole packet if it was the last. Raises ProtocolError."""
        self.attachments.append(data)
        self.size += len(data)
        if self.size > limits.max_packet:
            raise ProtocolError("attachments too large")
        if len(self.attachments) < self.packet.attachments:
            return None
        return self.whole()

    def whole(self) -> Packet:
        return self.packet._replace(data=self._put_back(self.packet.data), size=self.size)

    def _put_back(self, data: Any) -> Any:
        if type(data) is list:
            return [self._put_back(value) for value in data]
        if type(data) is dict:
            if data.get("_placeholder") is True:
                number = data.get("num")
                if type(number) is not int or not 0 <= number < len(self.attachments):
                    raise ProtocolError("bad placeholder")
                return self.attachments[number]
            return {key: self._put_back(value) for key, value in data.items()}
        return data
