"""HMACs of the raw body, in hexadecimal, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence


def hexadecimal(raw: bytes, secret: str, algorithm: str) -> str:
    return hmac.new(secret.encode(), raw, getattr(hashlib, algorithm)).hexdigest()


def matches(raw: bytes, signature: str, secrets: Sequence[str], algorithm: str) -> bool:
    """Whether one of the secrets gives this signature. Empty secrets are ignored."""
    given = signature.strip().lower().encode()
    right = [hmac.compare_digest(hexadecimal(raw, secret, algorithm).encode(), given) for secret in secrets if secret]
    return any(right)


def header(headers: Mapping[str, str], name: str) -> str:
    """A header's value, with case-insensitive name. Empty if it is missing."""
    return next((value for key, value in headers.items() if key.lower() == name.lower()), "")
