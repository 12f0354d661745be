"""Secrets that are made once and kept in a file, and files that only their owner can read."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

_BYTES: Final = 48


def kept_secret(path: Path) -> str:
    """The secret in this file, made when there is none: base64, as mongod wants its key.

    It is written beside and then linked, so that a file of this name is complete, and the first of several makers wins.
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
    """An `opener` of files that only the owner can read."""
    return os.open(path, flags, 0o600)
