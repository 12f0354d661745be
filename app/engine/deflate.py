"""permessage-deflate (RFC 7692) without a compressor per connection.

The process has one compressor. It is flushed completely after each message, so that no message refers to an earlier
one, and no context takeover is negotiated for both sides. Each incoming message gets its own decompressor, which stops
at the limit.
"""

import re
import zlib

from .frames import BAD_DATA, RSV1, TEXT, TOO_LARGE, WebSocketError, frame

_TAIL = b"\x00\x00\xff\xff"
_LAST_BLOCK = b"\x01\x00\x00\xff\xff"  # empty and final
_MAX_FINAL_BLOCKS = 64
_WINDOW_BYTES = 1 << zlib.MAX_WBITS
_WINDOW_BITS = 12  # 4 KiB: repetition is mostly within an event; a larger window costs more to clear than it saves

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_OFFERS = re.compile(rf'(?:[^,"]|{_QUOTED})+')
_PARAMETERS = re.compile(rf'(?:[^;"]|{_QUOTED})+')

_compressor = zlib.compressobj(1, zlib.DEFLATED, -_WINDOW_BITS, 5)


def deflated_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A frame with one whole message, compressed independently of all others (RFC 7692, 7.2.1)."""
    data = _compressor.compress(payload) + _compressor.flush(zlib.Z_FULL_FLUSH)
    return frame(data[: -len(_TAIL)], opcode, RSV1)


def inflate(data: bytes, limit: int) -> bytes:
    """Decompress a message (RFC 7692, 7.2.2). Raises WebSocketError 1007 if it is invalid or incomplete, 1009 if it is
    over the limit.

    Blocks may follow a final block, from the next byte on (7.2.1).
    """
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    rest, message = data, b""
    try:
        for _ in range(_MAX_FINAL_BLOCKS):
            message += decompressor.decompress(rest, limit + 1 - len(message))
            if len(message) > limit:
                raise WebSocketError(TOO_LARGE, "message too large")
            if not decompressor.eof:
                break
            rest = decompressor.unused_data
            if not rest:
                return message
            decompressor = zlib.decompressobj(-zlib.MAX_WBITS, message[-_WINDOW_BYTES:])
        else:
            raise WebSocketError(BAD_DATA, "too many final deflate blocks")
        # The tail ends the last block without being part of its data. Only then can another block be read.
        if decompressor.decompress(_TAIL, 1) or decompressor.decompress(_LAST_BLOCK, 1) or not decompressor.eof:
            raise WebSocketError(BAD_DATA, "incomplete deflate data")
    except zlib.error as error:
        raise WebSocketError(BAD_DATA, "bad deflate data") from error
    return message


def negotiate(offers: str) -> str | None:
    """The answer to a Sec-WebSocket-Extensions header, or None if no offer can be accepted (RFC 7692, 7.1)."""
    for offer in _OFFERS.findall(offers):
        name, *parameters = [part.strip() for part in _PARAMETERS.findall(offer)]
        if name == "permessage-deflate":
            answer = _accept(parameters)
            if answer is not None:
                return answer
    return None


def _accept(parameters: list[str]) -> str | None:
    answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    seen = set()
    for parameter in parameters:
        key, equals, value = (part.strip() for part in parameter.partition("="))
        if key in seen:
            return None
        seen.add(key)
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        if key in ("server_no_context_takeover", "client_no_context_takeover"):
            if equals:
                return None
        elif key == "client_max_window_bits":
            if equals and value not in ("8", "9", "10", "11", "12", "13", "14", "15"):
                return None
        elif key == "server_max_window_bits":
            if value not in ("12", "13", "14", "15"):  # ours is 12; a smaller one would need another compressor
                return None
            answer += f"; server_max_window_bits={value}"
        else:
            return None
    return answer
