"""Secrets that are created once and kept in a file, and files that only their owner can read."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

_BYTES: Final = 48


def kept_secret(path: Path) -> str:
    """The secret in this file, created if there is none. It is base64, like mongod's keys.

    The file is written under another name and then linked, so that it is always complete, and the first of several
    processes wins.
    """
    if not path.exists():
        beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with open(beside, "x", encoding="ascii", opener=for_owner) as file:
            file.write(base64.b64encode(secrets.token_bytes(_BYTES)).decode())
            file.flush()
            os.fsync(file.fileno())
        try:
            with contextlib.suppress(FileExistsError):
                os.link(beside, path)
        finally:
            beside.unlink()
    return path.read_text(encoding="ascii", errors="replace").strip()


def for_owner(path: str, flags: int) -> int:
    """An `opener` for files that only the owner can read."""
    return os.open(path, flags, 0o600)
