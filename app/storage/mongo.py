"""The store: MongoDB, read through motor, which is imported here and nowhere else.

Reads use read concern majority. Changes of a session are written by a `Writer` (`app.storage.writer`), in a thread,
with a separate client. Every call ends within the store's timeout, and raises Unavailable if the database cannot serve
it now.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import warnings
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import pymongo
from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo import ASCENDING, MongoClient, WriteConcern
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from app.domain.aliases import is_hidden
from app.domain.events import Event
from app.domain.models import Alias, Position, kind_of
from app.domain.revocations import Revocation
from app.errors import Unavailable
from app.storage import abandoned, causes, indexes, migration, revocations, schema
from app.storage.abandoned import APP_NAME
from app.storage.bounds import bounded
from app.storage.documents import MAJORITY, Document, load_event
from app.storage.group import GroupWriter
from app.storage.lists import Lists

TRANSACTION_LIFETIME_SECONDS: Final = 5
"""An abandoned transaction blocks its session for at most this long, if mongod is configured as recommended."""

PARALLEL_WRITES: Final = 8
"""Maximum number of concurrent transactions, each of another session."""
CLOSE_SECONDS: Final = 0.5

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")


class Store:
    """Reads, and creates writers. Made by `connect`."""

    def __init__(
        self,
        client: AsyncIOMotorClient[Document],
        threaded: MongoClient[Document],
        database: str,
        timeout: float,
        *,
        keep_deleted: bool,
        rings: bool,
    ) -> None:
        """`client` is for reads; `threaded`, a separate client, for code that runs in threads: writers and the
        schema."""
        self._client, self._threaded, self._timeout = client, threaded, timeout
        self._keep_deleted, self._rings = keep_deleted, rings
        options: CodecOptions[Document] = CodecOptions(tz_aware=True)
        guarantees: dict[str, Any] = {
            "codec_options": options,
            "read_concern": ReadConcern("majority"),
            "write_concern": MAJORITY,
            "read_preference": ReadPreference.PRIMARY,
        }
        self._database = threaded.get_database(database, **guarantees)
        db = client.get_database(database, **guarantees)
        self.sessions: AsyncIOMotorCollection[Document] = db["sessions"]
        self.events: AsyncIOMotorCollection[Document] = db["events"]
        self.messages: AsyncIOMotorCollection[Document] = db["messages"]
        self.chats: AsyncIOMotorCollection[Document] = db["chats"]
        self.aliases: AsyncIOMotorCollection[Document] = db["aliases"]
        self.bus: AsyncIOMotorCollection[Document] = db.get_collection("bus", write_concern=WriteConcern(1))
        self.lists = Lists(db, self.bounded)
        self._threads = ThreadPoolExecutor(PARALLEL_WRITES, thread_name_prefix="writer")
        self.epoch = ""
        self.secret = ""
        """Common to all servers of the database."""
        self.to_unite: Sequence[tuple[str, Alias]] = ()
        """(sessionId, alias) of people who still have a chat under their hidden address after a migration."""

    async def prepare(self, retention_days: int) -> None:
        """Create missing collections, indexes and the epoch, and upgrade data of an earlier version.

        Raises SetupError for permanent problems and Unavailable for temporary ones, with the driver's message.
        """
        version = await self.administer(lambda database: schema.prepare(database, retention_days))
        if version < schema.SCHEMA_VERSION:
            loop = asyncio.get_running_loop()
            # Without a time limit in all: it consists of small steps with limits of their own.
            try:
                self.to_unite = await loop.run_in_executor(self._threads, migration.migrate, self._database)
            except PyMongoError as error:
                raise Unavailable(f"The migration was interrupted ({type(error).__name__}).") from error
        self.epoch = await self._run(math.inf, schema.epoch, self._database)
        self.secret = await self._run(math.inf, schema.secret, self._database)

    async def administer(self, function: Callable[[Database[Document]], Result]) -> Result:
        """Call a function of `schema` or `inspection`. Raises as `prepare` does."""
        with causes.told():
            return await self._run(math.inf, function, self._database)

    async def transaction_lifetime(self) -> int | None:
        """mongod's transactionLifetimeLimitSeconds, or None without permission to read it."""
        try:
            async with self.bounded():
                answer = await self._client.admin.command("getParameter", 1, transactionLifetimeLimitSeconds=1)
        except Unavailable:
            raise
        except PyMongoError:
            return None
        return int(answer["transactionLifetimeLimitSeconds"])

    async def ping(self, timeout: float = 2) -> None:
        """Whether a primary answers. Raises Unavailable."""
        async with self.bounded(timeout):
            await self._client.admin.command("ping", read_preference=ReadPreference.PRIMARY)

    def close(self) -> None:
        """Close the connections. Ending the sessions in the database may take CLOSE_SECONDS."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with pymongo.timeout(CLOSE_SECONDS):
            self._threaded.close()
            self._client.close()

    # reading

    async def seq(self, session_id: str) -> int:
        """The session's last number, or 0 if nothing is stored."""
        async with self.bounded():
            document = await self.sessions.find_one({"_id": session_id}, {"seq": 1})
        return document["seq"] if document else 0

    async def seqs(
        self, session_ids: Collection[str] | None = None, *, after: str = "", limit: int = 0
    ) -> dict[str, int]:
        """The last numbers of these sessions, or of all stored ones, with ids above `after`, and up to `limit` if it
        is not
        0. Sessions without data are omitted."""
        query: Document = {"_id": {"$gt": after}} if session_ids is None else {"_id": {"$in": list(session_ids)}}
        async with self.bounded():
            found = self.sessions.find(query, {"seq": 1}).sort("_id", ASCENDING).limit(limit)
            return {d["_id"]: d["seq"] async for d in found}

    def position(self, seq: int) -> Position:
        return Position(self.epoch, seq)

    async def name_of(self, session_id: str, chat_id: str) -> str:
        """The address that names the chat, which may differ if this one is hidden."""
        if not is_hidden(chat_id):
            return chat_id
        async with self.bounded():
            told = await self.aliases.find_one({"sessionId": session_id, "lid": chat_id})
        return told["address"] if told and told["address"] else chat_id

    async def names_of(self, session_id: str, chat_id: str) -> list[str]:
        """The address that names the person's chat, followed by the person's other addresses. Just the chatId if no
        others are known."""
        if kind_of(chat_id) != "person":
            return [chat_id]
        name = await self.name_of(session_id, chat_id)
        async with self.bounded():
            found = self.aliases.find({"sessionId": session_id, "address": name}).sort("lid", ASCENDING)
            return list(dict.fromkeys([name, chat_id, *[document["lid"] async for document in found]]))

    async def merging(self, limit: int = 100) -> dict[tuple[str, str, str], int | None]:
        """(sessionId, old chatId, chatId) of unfinished merges, with the lowest seq of the messages still to move, or
        None if only the last step is missing."""
        left: dict[tuple[str, str, str], int | None] = {}
        async with self.bounded():
            found = self.chats.find({"also": {"$exists": True}}, {"sessionId": 1, "chatId": 1, "also": 1}).limit(limit)
            async for chat in found:
                for old in chat["also"]:
                    place = {"sessionId": chat["sessionId"], "chatId": old}
                    first = await self.messages.find_one(place, {"seq": 1}, sort=[("seq", ASCENDING)])
                    left[chat["sessionId"], old, chat["chatId"]] = first["seq"] if first else None
        return left

    async def read_events(
        self, session_id: str, after: int, upto: int, limit: int, chat_ids: Collection[str] | None = None
    ) -> list[Event]:
        """Events in ascending seq, after `after` and up to `upto`, at most `limit`, of all chats or some."""
        query: Document = {"sessionId": session_id, "seq": {"$gt": after, "$lte": upto}}
        if chat_ids is not None:
            query["chatId"] = {"$in": list(chat_ids)}
        async with self.bounded():
            cursor = self.events.find(query, batch_size=limit).sort("seq", ASCENDING).limit(limit)
            return [load_event(document) async for document in cursor]

    async def kept_after(self, session_id: str, upto: int, most: int) -> int:
        """The number after which every event up to `upto` is still kept, checking at most the last `most` events."""
        query = {"sessionId": session_id, "seq": {"$gt": upto - most, "$lte": upto}}
        async with self.bounded():
            first = await self.events.find_one(query, {"seq": 1}, sort=[("seq", ASCENDING)])
            if first is None:
                return upto
            kept = await self.events.count_documents(query, hint=indexes.LOG)
        return first["seq"] - 1 if kept == upto - first["seq"] + 1 else upto

    # revocations of tokens

    async def revocations(self, number: int) -> tuple[int, list[Revocation]]:
        """The last number of a revocation, and the revocations after `number`."""
        return await self._run(math.inf, revocations.newer, self._database, number)

    async def revoke(self, revocation: Revocation) -> None:
        await self._run(math.inf, revocations.add, self._database, revocation)

    # writing

    async def ask(
        self,
        function: Callable[Concatenate[Database[Document], Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Call a function of `app.storage` in a thread. Raises Unavailable."""
        return await self._run(math.inf, function, self._database, *args, **kwargs)

    def writer(self) -> GroupWriter:
        return GroupWriter(
            self._run,
            self._threaded.start_session,
            self._database,
            keep_deleted=self._keep_deleted,
            rings=self._rings,
        )

    async def _run(
        self,
        seconds: float,
        function: Callable[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Call a function that uses the database in a thread, with a time limit (by default the store's)."""
        limit = min(self._timeout, seconds)

        def call() -> Result:
            with pymongo.timeout(limit):
                return function(*args, **kwargs)

        async with self.bounded(limit):
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def end_abandoned(self) -> int:
        """End Roomcast's transactions that have been inactive for a second. Returns their number."""
        return await self._run(math.inf, abandoned.end, self._threaded)

    def bounded(self, timeout: float | None = None) -> contextlib.AbstractAsyncContextManager[None]:
        """The time limit of a call, by default the store's."""
        return bounded(timeout or self._timeout)


def connect(uri: str, database: str, timeout: float, *, keep_deleted: bool = False, rings: bool = True) -> Store:
    """A store for `uri`, without connecting yet. Raises SetupError for an invalid URI.

    `keep_deleted`: keep the content of deleted messages in the database. `rings`: report commits to the bus over the
    database.
    """
    options: dict[str, Any] = {
        "appname": APP_NAME,
        "serverSelectionTimeoutMS": int(timeout * 1000),
        "connectTimeoutMS": 3000,
        "socketTimeoutMS": int(timeout * 2000),
        "maxPoolSize": 32,
        "tz_aware": True,
    }
    with causes.told(), warnings.catch_warnings():
        warnings.simplefilter("error")  # the driver ignores unknown options
        clients = AsyncIOMotorClient(uri, **options), MongoClient[Document](uri, **options)
        return Store(*clients, database, timeout, keep_deleted=keep_deleted, rings=rings)
