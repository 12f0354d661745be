"""The keys of the indexes that queries name as hints. `app.storage.schema` creates the indexes.

The queries need hints because with some hundred values in `$in` the planner may choose another index.
"""

from __future__ import annotations

from typing import Final

from pymongo import ASCENDING

Index = list[tuple[str, int]]

LOG: Final[Index] = [("sessionId", ASCENDING), ("seq", ASCENDING)]
BY_ID: Final[Index] = [("sessionId", ASCENDING), ("messageId", ASCENDING), ("chatId", ASCENDING)]
BY_SEQ: Final[Index] = [("sessionId", ASCENDING), ("chatId", ASCENDING), ("seq", ASCENDING)]
BY_LATE_SEQ: Final[Index] = [("sessionId", ASCENDING), ("chatId", ASCENDING), ("lateSeq", ASCENDING)]
BY_HIDDEN: Final[Index] = [("sessionId", ASCENDING), ("hidden", ASCENDING)]
BY_PROVIDER_ID: Final[Index] = [("sessionId", ASCENDING), ("providerId", ASCENDING)]
BY_CHAT: Final[Index] = [("sessionId", ASCENDING), ("chatId", ASCENDING)]
BY_ALSO: Final[Index] = [("also", ASCENDING), ("sessionId", ASCENDING)]
BY_LID: Final[Index] = [("sessionId", ASCENDING), ("lid", ASCENDING)]
BY_ADDRESS: Final[Index] = [("sessionId", ASCENDING), ("address", ASCENDING)]
BY_MESSAGE: Final[Index] = [("sessionId", ASCENDING), ("messageId", ASCENDING)]
DUE: Final[Index] = [("sessionId", ASCENDING), ("nextAt", ASCENDING)]
OPEN_OF_CHAT: Final[Index] = [("sessionId", ASCENDING), ("chatId", ASCENDING), ("order", ASCENDING)]
