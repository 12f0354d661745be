"""Explains why the database cannot be used: the driver's error on one line, with the setting concerned.

The driver's errors may name hosts, users and files, but never contain a password: it parses the URI first.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Final

from pymongo.errors import ConfigurationError, InvalidName, OperationFailure, PyMongoError

from app.errors import Unavailable

_CONFIGURED: Final = re.compile(r" \(configured timeouts: [^)]*\)|, Timeout: [0-9.]+s, Topology Description:.*", re.S)
_COMMAND: Final = re.compile(r"(to execute command) \{\s*(\w+).*", re.S)
_FULL_ERROR: Final = re.compile(r", full error: \{.*", re.S)
_NO_MEMBER: Final = re.compile(r"No .*available for replica set")

_AUTHENTICATION_FAILED: Final = 18
_UNAUTHORIZED: Final = 13
_ATLAS_ERROR: Final = 8000

_FOR_GOOD: Final = ("SSL handshake failed: ", "CERTIFICATE_VERIFY_FAILED")


class SetupError(Exception):
    """The database cannot be used with these settings. The message names the setting and says what to do."""


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turn driver errors in the block into SetupError if waiting does not help, and otherwise into Unavailable."""
    try:
        yield
    except Unavailable as error:
        cause = error.__cause__ or error
        if is_permanent(cause):
            raise SetupError(f"MONGODB_URI: {explain(cause)}") from error
        raise Unavailable(f"MONGODB_URI: {explain(cause)}") from error
    except InvalidName as error:
        raise SetupError(f"MONGODB_DATABASE: {explain(error)}") from error
    except FileNotFoundError as error:  # the driver only opens the files of its TLS options
        raise SetupError(f"MONGODB_URI: tlsCAFile or tlsCertificateKeyFile: {explain(error)}") from error
    except (PyMongoError, OSError, ValueError, TypeError, UserWarning) as error:
        raise SetupError(f"MONGODB_URI: {explain(error)}") from error


def explain(error: BaseException) -> str:
    """The driver's message without its internal state, and what to do if that is known."""
    words = _FULL_ERROR.sub("", _CONFIGURED.sub("", _COMMAND.sub(r"\1 \2", str(error))))
    words = " ".join(words.split()) or type(error).__name__
    advice = _advice(error, words)
    return f"{words.rstrip('.')}. {advice}".rstrip()


def is_permanent(error: BaseException) -> bool:
    """Whether the error is permanent: in the URI, a certificate, the password or the user's rights.

    Refused connections, unknown host names and unknown sets may be temporary, because the database is just starting.
    """
    if isinstance(error, OperationFailure):
        return not error.timeout
    if isinstance(error, ConfigurationError | OSError | ValueError):
        return True
    return isinstance(error, PyMongoError) and any(words in str(error) for words in _FOR_GOOD)


def _advice(error: BaseException, words: str) -> str:
    if isinstance(error, OperationFailure) and error.code in (_AUTHENTICATION_FAILED, _ATLAS_ERROR):
        return "Check the user, the password and authSource."
    if isinstance(error, OperationFailure) and error.code == _UNAUTHORIZED:
        return "The user needs the role readWrite on the database."
    if _NO_MEMBER.search(words):
        return "Check that replicaSet is the name of the set."
    for part, advice in (
        (
            "CERTIFICATE_VERIFY_FAILED",
            "Set tlsCAFile to the certificate authority, and use the host name in the certificate.",
        ),
        ("SSL handshake failed", "Check that the database uses TLS on this port."),
        ("Connection refused", "Check the host and the port, and that the database is running."),
        ("Name or service not known", "Check the name of the host."),
        ("nodename nor servname", "Check the name of the host."),
        ("No address associated", "Check the name of the host."),
        ("DNS query name does not exist", "mongodb+srv:// needs a name with SRV records. Otherwise use mongodb://."),
        ("connection closed", "The database closed the connection. It may require TLS (tls=true)."),
        ("Connection reset", "The database closed the connection. It may require TLS (tls=true)."),
        ("timed out", "Check the host, the port and the firewall."),
    ):
        if part in words:
            return advice
    return ""
