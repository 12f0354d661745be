"""Outgoing Engine.IO packets, framed once for all recipients."""

import base64

from . import frames
from .deflate import deflated_frame

DEFLATE_THRESHOLD = 128
"""Shorter payloads are not compressed, because it gains nothing."""


class Message:
    """One Engine.IO packet, framed once for all recipients. The compressed form and the polling form are made when
    needed.

    `payload` is the frame's content: text with the packet's type in front (`4…`), or bare bytes for binary. Only the
    frame is kept, because many messages may be kept for a long time.
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
        """The polling form (Engine.IO 4: binary is base64 after a `b`)."""
        if self._text is None:
            if self.opcode == frames.TEXT:
                self._text = self.payload.decode()
            else:
                self._text = "b" + base64.b64encode(self.payload).decode()
        return self._text


PING, PONG_PROBE, NOOP, CLOSE = Message(b"2"), Message(b"3probe"), Message(b"6"), Message(b"1")
