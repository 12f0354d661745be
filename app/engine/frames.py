"""WebSocket frames (RFC 6455): writing, and a strict parser for client frames."""

import codecs
import struct
from collections.abc import Callable

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

NORMAL, GOING_AWAY, PROTOCOL_ERROR, BAD_DATA, POLICY, TOO_LARGE, RESTART = 1000, 1001, 1002, 1007, 1008, 1009, 1012

RSV1 = 0x40
_FIN, _RSV23, _MASKED = 0x80, 0x30, 0x80


class WebSocketError(Exception):
    """The peer violated the WebSocket protocol or a limit. `code` is the close code to answer (RFC 6455, 7.4.1)."""

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


def close_frame(code: int) -> bytes:
    return frame(struct.pack("!H", code), CLOSE)


def unmask(mask: bytes, data: bytes) -> bytes:
    """XOR with the repeated mask as one large integer, a hundred times faster than byte by byte in Python."""
    n = len(data)
    key = (mask * (n // 4 + 1))[:n]
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(n, "little")


def check_close(payload: bytes) -> int:
    """The code to answer to a close frame. Raises WebSocketError if its body is invalid (RFC 6455, 7.4)."""
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
    """Parses the frames of one client, however they are split.

    `inflate(data, limit)` decompresses a message; None if compression was not negotiated.

    Calls `on_message` with each whole message (str or bytes), and `on_control` with each control frame. Either may set
    `ended`, after which nothing is parsed any more and all data is discarded. Calls `on_extra` before each control
    frame and each fragment. Raises WebSocketError, after which it must not be fed again. It buffers nothing between
    frames.
    """

    __slots__ = ("_buffer", "_decoder", "_message", "_need", "_opcode", "_rsv1", "ended", "inflate", "max_message")

    def __init__(self, max_message: int, inflate: Callable[[bytes, int], bytes] | None) -> None:
        self.max_message = max_message
        self.inflate = inflate
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
        """Called for a frame without a whole message. Should raise WebSocketError if there are too many."""

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
            # Checked before the rest arrives: errors are found at once, and the length of an invalid frame is never
            # used.
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
                self._deliver(opcode, bool(b0 & RSV1), unmask(data[at - 4 : at], data[at:pos]))
            else:
                self.on_extra(opcode)
                self._fragment(b0, unmask(data[at - 4 : at], data[at:pos]))
            if self.ended:
                return
        if left:
            self._buffer, self._need = bytearray(data[pos:] if pos else data), need

    def _check_header(self, b0: int, b1: int) -> None:
        opcode = b0 & 0x0F
        if b0 & _RSV23 or (b0 & RSV1 and (self.inflate is None or opcode not in (TEXT, BINARY))):
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
        """A fragment of a message. Text is checked fragment by fragment, so that invalid UTF-8 is found early."""
        if b0 & 0x0F:
            self._opcode, self._rsv1, self._message = b0 & 0x0F, bool(b0 & RSV1), bytearray()
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
        if rsv1 and self.inflate is not None:
            payload = self.inflate(payload, self.max_message)
        if opcode == TEXT:
            try:
                text = payload.decode()
            except UnicodeDecodeError as error:
                raise WebSocketError(BAD_DATA, "not UTF-8") from error
            self.on_message(text)
        else:
            self.on_message(payload)
