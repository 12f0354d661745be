"""Content codings (RFC 9110, 8.4.1), decompressed within a limit and never beyond it."""

from __future__ import annotations

import zlib
from typing import Final

from app.errors import AppError

ENCODINGS: Final = ("gzip", "deflate")
_GZIP: Final = 16 + zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS


def encoding_of(header: str) -> str:
    """The coding in a Content-Encoding header: `gzip`, `deflate`, or empty for none.

    Raises AppError `unsupported_media_type` for other codings, and for more than one.
    """
    name = header.strip().lower()
    if name in ("", "identity"):
        return ""
    if name == "x-gzip":
        name = "gzip"
    if name not in ENCODINGS:
        shown = "".join(char for char in header.strip()[:50] if char.isprintable())
        detail = f"The Content-Encoding {shown!r} is not supported; send gzip, deflate or none."
        raise AppError("unsupported_media_type", detail)
    return name


def unpack(body: bytes | bytearray, encoding: str, limit: int) -> bytes | bytearray:
    """Decompress the body. Raises AppError: `too_large` over `limit` bytes, `malformed`."""
    if not encoding:
        return body
    if encoding == "gzip":
        form = _GZIP
    else:  # RFC 9110 means the zlib format, but some clients send a bare deflate stream
        form = zlib.MAX_WBITS if len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0 else _RAW
    parts: list[bytes] = []
    size = 0
    rest: bytes | bytearray = body
    while rest or not parts:
        unpacker = zlib.decompressobj(form)
        try:
            part = unpacker.decompress(rest, limit + 1 - size)
        except zlib.error:
            raise AppError("malformed", f"The body is not {encoding}.") from None
        size += len(part)
        if size > limit:
            raise AppError("too_large", f"Decompressed, the body has more than {limit} bytes.")
        if not unpacker.eof:
            raise AppError("malformed", f"The {encoding} body is incomplete.")
        parts.append(part)
        rest = unpacker.unused_data if encoding == "gzip" else b""  # gzip may have several members (RFC 1952, 2.2)
    return parts[0] if len(parts) == 1 else b"".join(parts)
