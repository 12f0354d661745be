"""The password of the private MongoDB, and files that only their owner can read."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path
from typing import Final

_BYTES: Final = 48


def kept_secret(path: Path) -> str:
    """The secret in this file, made when there is none: base64, as mongod wants its key. One caller at a time.

    It is written beside and renamed, so that a file which is there is complete.
    """
    if not path.exists():
        beside = path.with_name(path.name + ".new")
        beside.unlink(missing_ok=True)
        with open(beside, "w", encoding="ascii", opener=for_owner) as file:
            file.write(base64.b64encode(secrets.token_bytes(_BYTES)).decode())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    path.chmod(0o600)
    return path.read_text(encoding="ascii").strip()


def for_owner(path: str, flags: int) -> int:
    """An `opener` of files that only the owner can read."""
    return os.open(path, flags, 0o600)
