"""Writing a session: one transaction for a batch of commands.

The transaction takes the next numbers by one `$inc` on the session's document and so holds that document until the
commit; whoever else writes to the session aborts and tries again. So numbers become visible in order and without a
hole. Commits are acknowledged by a majority and in the journal.

A writer remembers where a session stands and the chats that it wrote last instead of reading them, and presumes that
every message is new. Every change of a session moves the `version` in its document, those without an event too. That
nobody has moved it meanwhile is a condition of the `$inc`, and the unique index tells that a message is not new. In
both cases nothing is written, and the transaction is run again with everything read.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple, ParamSpec, Protocol, TypeVar

from pymongo import ASCENDING, InsertOne, ReplaceOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern

from app.domain import ledger
from app.domain.events import now
from app.domain.ledger import Aliases, Known, Outcome
from app.domain.models import Alias, Chat, Command, Key, Message, StoreMessages
from app.errors import Unavailable
from app.storage.documents import MAJORITY, Document, dump_chat, dump_event, dump_message, load_chat, load_message

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Run(Protocol):
    """Calls a function in one of the store's threads, for so many seconds at most, with the store's errors."""

    def __call__(
        self,
        seconds: float,
        function: Callable[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Awaitable[Result]: ...


_ALL = 10_000
"""Documents that an answer may bring at once: more than a batch touches, so that there is one answer."""

REMEMBERED_CHATS: Final = 100
"""Chats that a writer remembers at most, the last that it wrote."""


class Conflict(Exception):
    """Somebody else is writing to the session, or the database has changed its primary. Try again."""


class _Memory(NamedTuple):
    """The session as the last commit left it. `version` None: nothing has moved it yet."""

    seq: int
    version: int | None
    exists: bool
    has_aliases: bool
    chats: dict[str, Chat]


class Writer:
    """Writes one session. It keeps one ClientSession, so that its next transaction ends one that it left behind.

    A transaction is half a dozen calls to the database, one after the other. They are made in one go in one of the
    store's threads: motor would hand each of them to a thread and back, which costs more than the calls themselves.
    """

    def __init__(self, run: Run, database: Database[Document], session_id: str, client_session: ClientSession) -> None:
        self._run, self._database = run, database
        self._session_id, self._client_session = session_id, client_session
        self._memory: _Memory | None = None

    async def apply(self, commands: Sequence[Command], seconds: float = math.inf) -> Outcome:
        """One attempt to apply the commands in one transaction: all of it or nothing.

        It is given up after so many seconds, or at the store's time-out if that is sooner. Raises Conflict (nothing
        was written; try again), Unavailable (it may or may not have been written).
        """
        return await self._run(seconds, self._attempt, commands)

    async def end(self) -> None:
        with contextlib.suppress(Unavailable, PyMongoError):
            await self._run(math.inf, self._client_session.end_session)

    def _attempt(self, commands: Sequence[Command]) -> Outcome:
        memory, self._memory = self._memory, None  # after whatever goes wrong, the next attempt reads
        if memory:
            with contextlib.suppress(Conflict):
                return self._transact(commands, memory)
        return self._transact(commands, None)

    def _transact(self, commands: Sequence[Command], memory: _Memory | None) -> Outcome:
        committing = False
        try:
            with self._client_session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=MAJORITY):
                session = memory or self._read_session()
                known = self._known(session, commands, presume_new=memory is not None)
                outcome = ledger.apply(self._session_id, known, commands, now())
                version, exists = session.version, session.exists
                if outcome.events or outcome.new_aliases:
                    self._write(session, outcome)
                    version, exists = (version or 0) + 1, True
                elif memory and self._read_session().version != version:
                    raise Conflict  # that there is nothing to write was said of an old state
                committing = True
            older = {chat_id: chat for chat_id, chat in session.chats.items() if chat_id not in outcome.chats}
            chats = dict(list((older | outcome.chats).items())[-REMEMBERED_CHATS:])
            has_aliases = session.has_aliases or bool(outcome.new_aliases)
            self._memory = _Memory(outcome.seq, version, exists, has_aliases, chats)
            return outcome
        except PyMongoError as error:
            if error.has_error_label("UnknownTransactionCommitResult"):
                raise Unavailable("The database did not say whether it stored this. Repeat it.") from error
            if _is_transient(error) and not error.timeout and not (committing and isinstance(error, AutoReconnect)):
                raise Conflict from error
            raise

    def _read_session(self) -> _Memory:
        document = self._database["sessions"].find_one({"_id": self._session_id}, session=self._client_session)
        if document is None:
            return _Memory(0, None, exists=False, has_aliases=False, chats={})
        return _Memory(document["seq"], document.get("version"), True, document.get("hasAliases", False), {})

    def _known(self, session: _Memory, commands: Sequence[Command], *, presume_new: bool) -> Known:
        """What is stored of all that the commands touch; without the messages, where each has but one name and so
        the unique index tells a repeat."""
        aliases = Aliases(self._aliases(commands) if session.has_aliases else ())
        # Names as the ledger will find them: what a command tells of people is learned before it and kept after it.
        learned = Aliases(aliases)
        keys: set[Key] = set()
        marks: dict[str, int] = {}
        renamed = False
        for command in commands:
            if isinstance(command, StoreMessages):
                for alias in command.aliases:
                    learned.learn(alias)
                for message in command.messages:
                    names = learned.all_names(message.chat_id)
                    renamed = renamed or len(names) > 1
                    keys.update((name, message.message_id) for name in names)
            else:
                marks[command.chat_id] = min(command.seq, marks.get(command.chat_id, command.seq))
        if session.seq == 0:
            return Known(0, aliases, {}, {}, {})
        chat_ids = {chat_id for chat_id, _ in keys} | marks.keys()
        chats = {chat_id: session.chats[chat_id] for chat_id in chat_ids & session.chats.keys()}
        if unknown := chat_ids - chats.keys():
            chats |= self._chats(unknown)
        messages = {} if presume_new and not renamed else self._messages(keys)
        unread: dict[str, list[int]] = {}
        for chat_id, mark in marks.items():
            chat = chats.get(chat_id)
            if chat and chat.last_seq > (above := max(mark, chat.read_seq)):
                unread[chat_id] = self._unread(chat_id, above)
        return Known(session.seq, aliases, chats, messages, unread)

    def _aliases(self, commands: Sequence[Command]) -> list[Alias]:
        names: set[str] = set()
        for command in commands:
            if isinstance(command, StoreMessages):
                for message in command.messages:
                    names.update((message.chat_id, message.sender.id))
                    if message.reply_to and message.reply_to.sender_id:
                        names.add(message.reply_to.sender_id)
                for alias in command.aliases:
                    names.update((alias.lid, alias.address))
        if not names:
            return []
        here = {"sessionId": self._session_id}
        wanted = list(names)
        found = self._find_aliases({**here, "lid": {"$in": wanted}}, "lid")
        found += self._find_aliases({**here, "address": {"$in": wanted}}, "address")
        # A person whose address was not named may have other hidden addresses, under which something was stored.
        others = {alias.address for alias in found} - names
        if others:
            found += self._find_aliases({**here, "address": {"$in": list(others)}}, "address")
        return found

    def _find_aliases(self, query: Document, by: str) -> list[Alias]:
        # The hint: the planner may choose the wrong index for some hundred values.
        hint = [("sessionId", ASCENDING), (by, ASCENDING)]
        cursor = self._database["aliases"].find(query, session=self._client_session, batch_size=_ALL, hint=hint)
        return [Alias(document["lid"], document["address"]) for document in cursor]

    def _chats(self, chat_ids: Collection[str]) -> dict[str, Chat]:
        query = {"sessionId": self._session_id, "chatId": {"$in": list(chat_ids)}}
        cursor = self._database["chats"].find(query, session=self._client_session, batch_size=_ALL)
        return {document["chatId"]: load_chat(document) for document in cursor}

    def _messages(self, keys: Iterable[Key]) -> dict[Key, Message]:
        by_chat: dict[str, list[str]] = {}
        for chat_id, message_id in keys:
            by_chat.setdefault(chat_id, []).append(message_id)
        if not by_chat:
            return {}
        wanted = [{"chatId": chat_id, "messageId": {"$in": ids}} for chat_id, ids in by_chat.items()]
        query = {"sessionId": self._session_id, "$or": wanted}
        cursor = self._database["messages"].find(query, session=self._client_session, batch_size=_ALL)
        return {(d["chatId"], d["messageId"]): load_message(d) for d in cursor}

    def _unread(self, chat_id: str, mark: int) -> list[int]:
        query = {"sessionId": self._session_id, "chatId": chat_id, "seq": {"$gt": mark}, "fromMe": False}
        cursor = self._database["messages"].find(query, {"seq": 1}, session=self._client_session, batch_size=_ALL)
        return [document["seq"] for document in cursor]

    def _write(self, session: _Memory, outcome: Outcome) -> None:
        """Raises Conflict where the session is no more as it was read."""
        database, in_session, session_id = self._database, self._client_session, self._session_id
        if session.exists:
            change: Document = {"$inc": {"seq": len(outcome.events), "version": 1}}
            if outcome.new_aliases:
                change["$set"] = {"hasAliases": True}
            as_read = {"_id": session_id, "seq": session.seq, "version": session.version}
            if database["sessions"].update_one(as_read, change, session=in_session).matched_count == 0:
                raise Conflict
        else:
            new = {"_id": session_id, "seq": len(outcome.events), "version": 1, "hasAliases": bool(outcome.new_aliases)}
            database["sessions"].insert_one(new, session=in_session)  # a duplicate key is a conflict
        if outcome.new_aliases:
            told = {alias.lid: alias.address for alias in outcome.new_aliases}
            database["aliases"].bulk_write(
                [
                    UpdateOne({"sessionId": session_id, "lid": lid}, {"$set": {"address": address}}, upsert=True)
                    for lid, address in told.items()
                ],
                session=in_session,
            )
        if not outcome.events:
            return
        database["events"].insert_many([dump_event(event) for event in outcome.events], session=in_session)
        writes: list[Any] = [InsertOne(dump_message(m)) for m in outcome.new_messages.values()]
        writes += [
            ReplaceOne({"sessionId": session_id, "chatId": m.chat_id, "messageId": m.message_id}, dump_message(m))
            for m in outcome.changed_messages.values()
        ]
        if writes:
            database["messages"].bulk_write(writes, session=in_session)
        database["chats"].bulk_write(
            [
                ReplaceOne({"sessionId": session_id, "chatId": chat.chat_id}, dump_chat(chat), upsert=True)
                for chat in outcome.chats.values()
            ],
            session=in_session,
        )


def _is_transient(error: PyMongoError) -> bool:
    if error.has_error_label("TransientTransactionError") or isinstance(error, DuplicateKeyError | AutoReconnect):
        return True  # a duplicate key: another server made the same document between our look and our write
    if isinstance(error, BulkWriteError):
        faults = error.details.get("writeErrors", [])
        return any(fault.get("code") in (11000, 112) for fault in faults)
    return False
