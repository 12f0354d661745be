"""Engine.IO packets on their way out, framed once for everybody."""

import base64

from . import frames
from .deflate import deflated_frame

DEFLATE_THRESHOLD = 128
"""Payloads shorter than this are never compressed: it gains nothing."""


class Message:
    """One Engine.IO packet, framed once for everybody, deflated and put in text for polling when first needed.

    `payload` is what goes into the frame: for text with the packet's type in front (`4…`), for binary the bare bytes.
    It is kept within the frame alone: messages may be kept for long, and many of them.
    """

    __slots__ = ("_deflated", "_size", "_text", "ephemeral", "opcode", "plain")

    def __init__(self, payload: bytes, opcode: int = frames.TEXT, ephemeral: bool = False) -> None:
        self.opcode, self.ephemeral = opcode, ephemeral
        self.plain = frames.frame(payload, opcode)
        self._size = len(payload)
        self._deflated: bytes | None = None
        self._text: str | None = None

    @property
    def payload(self) -> bytes:
        return self.plain[len(self.plain) - self._size :]

    @property
    def deflated(self) -> bytes:
        if self._deflated is None:
            if self._size < DEFLATE_THRESHOLD:
                self._deflated = self.plain
            else:
                self._deflated = deflated_frame(self.payload, self.opcode)
        return self._deflated

    @property
    def text(self) -> str:
        """As in a polling payload (Engine.IO 4: binary is base64 behind a `b`)."""
        if self._text is None:
            if self.opcode == frames.TEXT:
                self._text = self.payload.decode()
            else:
                self._text = "b" + base64.b64encode(self.payload).decode()
        return self._text


PING, PONG_PROBE, NOOP, CLOSE = Message(b"2"), Message(b"3probe"), Message(b"6"), Message(b"1")
