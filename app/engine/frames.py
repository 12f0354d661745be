"""WebSocket frames (RFC 6455) and permessage-deflate (RFC 7692), without a compressor per connection.

Outgoing frames are made once for all recipients. One compressor serves the process: it is flushed in full after each
message, so that no message refers to one before it, and the answer to every offer is that neither side keeps a
context. Each incoming message gets a decompressor of its own, which stops at the limit.
"""

import codecs
import struct
import zlib

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

NORMAL, GOING_AWAY, PROTOCOL_ERROR, BAD_DATA, POLICY, TOO_LARGE, RESTART = 1000, 1001, 1002, 1007, 1008, 1009, 1012

_FIN, _RSV1, _RSV23, _MASKED = 0x80, 0x40, 0x30, 0x80
_TAIL = b"\x00\x00\xff\xff"
_WINDOW_BITS = 12  # 4 KiB: an event repeats within itself; a larger window costs more to clear than it saves


class WebSocketError(Exception):
    """The peer broke the WebSocket protocol or a limit; `code` is the close code (RFC 6455, 7.4.1) to answer with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def frame(payload: bytes, opcode: int = TEXT, rsv1: int = 0) -> bytes:
    """One whole message as one unmasked frame."""
    n = len(payload)
    if n < 126:
        return bytes((_FIN | rsv1 | opcode, n)) + payload
    if n < 65_536:
        return struct.pack("!BBH", _FIN | rsv1 | opcode, 126, n) + payload
    return struct.pack("!BBQ", _FIN | rsv1 | opcode, 127, n) + payload


_compressor = zlib.compressobj(1, zlib.DEFLATED, -_WINDOW_BITS, 5)


def deflated_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One whole message, compressed independently of all others (RFC 7692, 7.2.1)."""
    data = _compressor.compress(payload) + _compressor.flush(zlib.Z_FULL_FLUSH)
    return frame(data[: -len(_TAIL)], opcode, _RSV1)


def close_frame(code: int) -> bytes:
    return frame(struct.pack("!H", code), CLOSE)


def inflate(data: bytes, limit: int) -> bytes:
    """The message (RFC 7692, 7.2.2). Raises WebSocketError 1007 if it is none, 1009 if it is over the limit."""
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        message = decompressor.decompress(data + _TAIL, limit + 1)
    except zlib.error as error:
        raise WebSocketError(BAD_DATA, "bad deflate data") from error
    if len(message) > limit:
        raise WebSocketError(TOO_LARGE, "message too large")
    return message


def unmask(mask: bytes, data: bytes) -> bytes:
    """XOR with the repeated mask, as one large integer: a hundred times faster than byte by byte in Python."""
    n = len(data)
    key = (mask * (n // 4 + 1))[:n]
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(n, "little")


def negotiate(offers: str) -> str | None:
    """The answer to a Sec-WebSocket-Extensions header, None if no offer in it can be accepted (RFC 7692, 7.1)."""
    for offer in offers.split(","):
        name, *params = [part.strip() for part in offer.split(";")]
        if name == "permessage-deflate":
            answer = _accept(params)
            if answer is not None:
                return answer
    return None


def _accept(params: list[str]) -> str | None:
    answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    seen = set()
    for param in params:
        key, equals, value = (part.strip() for part in param.partition("="))
        if key in seen:
            return None
        seen.add(key)
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = value[1:-1]
        if key in ("server_no_context_takeover", "client_no_context_takeover"):
            if equals:
                return None
        elif key == "client_max_window_bits":
            if equals and value not in ("8", "9", "10", "11", "12", "13", "14", "15"):
                return None
        elif key == "server_max_window_bits":
            if value not in ("12", "13", "14", "15"):  # ours is 12; a smaller one would need a compressor of its own
                return None
            answer += f"; server_max_window_bits={value}"
        else:
            return None
    return answer


def check_close(payload: bytes) -> int:
    """The code to answer a close frame with; raises WebSocketError if its body is not allowed (RFC 6455, 7.4)."""
    if not payload:
        return NORMAL
    if len(payload) == 1:
        raise WebSocketError(PROTOCOL_ERROR, "close frame of one byte")
    code = int.from_bytes(payload[:2], "big")
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise WebSocketError(PROTOCOL_ERROR, "close code not allowed")
    try:
        payload[2:].decode()
    except UnicodeDecodeError as error:
        raise WebSocketError(BAD_DATA, "close reason is not UTF-8") from error
    return code


class FrameParser:
    """Incoming frames of one client, however they are split.

    Calls `on_message` with each whole message, a str or bytes, and `on_control` with each control frame; either may
    set `ended`, after which nothing is parsed any more: what has come and what comes is thrown away. Calls `on_extra`
    before each control frame and each fragment is looked at. Raises WebSocketError, after which it must not be fed
    again. Between frames it holds nothing.
    """

    __slots__ = ("_buffer", "_decoder", "_message", "_need", "_opcode", "_rsv1", "deflate", "ended", "max_message")

    def __init__(self, max_message: int, deflate: bool) -> None:
        self.max_message = max_message
        self.deflate = deflate  # whether permessage-deflate was negotiated
        self.ended = False
        self._buffer: bytearray | None = None  # only while a frame is incomplete
        self._need = 0
        self._message: bytearray | None = None  # only while a message is fragmented
        self._decoder: codecs.IncrementalDecoder | None = None
        self._opcode = 0
        self._rsv1 = False

    def on_message(self, data: str | bytes) -> None:
        raise NotImplementedError

    def on_control(self, opcode: int, payload: bytes) -> None:
        raise NotImplementedError

    def on_extra(self, opcode: int) -> None:
        """A frame that brings no whole message; raise WebSocketError where there are too many."""

    def feed(self, data: bytes) -> None:
        if self.ended:
            return
        if self._buffer is not None:
            self._buffer += data
            if len(self._buffer) < self._need:
                return
            data, self._buffer = bytes(self._buffer), None
        pos, end = 0, len(data)
        while True:
            left = end - pos
            if left < 2:
                need = 2
                break
            b0, b1 = data[pos], data[pos + 1]
            # Checked before the rest has come: a fault is told at once, and no length of a bad frame is believed.
            if b0 != 0x81 or b1 < _MASKED or self._message is not None:
                self._check_header(b0, b1)
            n = b1 & 0x7F
            head = 6 if n < 126 else 8 if n == 126 else 14
            if left < head:
                need = head
                break
            if n == 126:
                n = data[pos + 2] << 8 | data[pos + 3]
            elif n == 127:
                n = int.from_bytes(data[pos + 2 : pos + 10], "big")
            if n > self.max_message - (len(self._message) if self._message is not None and not b0 & 8 else 0):
                raise WebSocketError(TOO_LARGE, "message too large")
            need = head + n
            if left < need:
                break
            at = pos + head
            pos += need
            opcode = b0 & 0x0F
            if opcode >= CLOSE:
                self.on_extra(opcode)
                self.on_control(opcode, unmask(data[at - 4 : at], data[at:pos]))
            elif b0 & _FIN and opcode:
                self._deliver(opcode, bool(b0 & _RSV1), unmask(data[at - 4 : at], data[at:pos]))
            else:
                self.on_extra(opcode)
                self._fragment(b0, unmask(data[at - 4 : at], data[at:pos]))
            if self.ended:
                return
        if left:
            self._buffer, self._need = bytearray(data[pos:] if pos else data), need

    def _check_header(self, b0: int, b1: int) -> None:
        opcode = b0 & 0x0F
        if b0 & _RSV23 or (b0 & _RSV1 and not (self.deflate and opcode in (TEXT, BINARY))):
            raise WebSocketError(PROTOCOL_ERROR, "reserved bits")
        if not b1 & _MASKED:
            raise WebSocketError(PROTOCOL_ERROR, "unmasked frame")
        if opcode in (CLOSE, PING, PONG):
            if not b0 & _FIN or b1 & 0x7F > 125:
                raise WebSocketError(PROTOCOL_ERROR, "fragmented or long control frame")
        elif opcode > BINARY:
            raise WebSocketError(PROTOCOL_ERROR, "unknown opcode")
        elif (opcode == CONTINUATION) != (self._message is not None):
            raise WebSocketError(PROTOCOL_ERROR, "continuation out of place")

    def _fragment(self, b0: int, payload: bytes) -> None:
        """A part of a message. Text is checked part by part, so that bad UTF-8 is told with the part it is in."""
        if b0 & 0x0F:
            self._opcode, self._rsv1, self._message = b0 & 0x0F, bool(b0 & _RSV1), bytearray()
            if self._opcode == TEXT and not self._rsv1:
                self._decoder = codecs.getincrementaldecoder("utf-8")()
        final = bool(b0 & _FIN)
        if self._decoder is not None:
            try:
                self._decoder.decode(payload, final)
            except UnicodeDecodeError as error:
                raise WebSocketError(BAD_DATA, "not UTF-8") from error
        assert self._message is not None
        self._message += payload
        if final:
            message, self._message, self._decoder = bytes(self._message), None, None
            self._deliver(self._opcode, self._rsv1, message)

    def _deliver(self, opcode: int, rsv1: bool, payload: bytes) -> None:
        if rsv1:
            payload = inflate(payload, self.max_message)
        if opcode == TEXT:
            try:
                text = payload.decode()
            except UnicodeDecodeError as error:
                raise WebSocketError(BAD_DATA, "not UTF-8") from error
            self.on_message(text)
        else:
            self.on_message(payload)
