"""Time limits for database calls, and one error for all temporary failures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import pymongo
from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
)

from app.errors import Unavailable

_PASSING: Final = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        133,  # FailedToSatisfyReadPreference
        134,  # ReadConcernMajorityNotAvailableYet
        189,  # PrimarySteppedDown
        262,  # ExceededTimeLimit
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11602,  # InterruptedDueToReplStateChange
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
    }
)


@contextlib.asynccontextmanager
async def bounded(limit: float) -> AsyncIterator[None]:
    """Limit the time of database calls in the block. Raises Unavailable for temporary failures."""
    try:
        # The outer limit is for calls that are still waiting for one of motor's threads.
        async with asyncio.timeout(limit + 1):
            with pymongo.timeout(limit):
                yield
    except (ConnectionFailure, ExecutionTimeout, WaitQueueTimeoutError, TimeoutError) as error:
        raise Unavailable from error
    except PyMongoError as error:
        if error.timeout or (isinstance(error, OperationFailure) and error.code in _PASSING):
            raise Unavailable from error
        raise
