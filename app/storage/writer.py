"""Writes a session: one transaction per batch of commands.

The transaction reserves the next numbers with one `$inc` on the session's document, which locks the document until the
commit: another writer of the session aborts and retries. So numbers become visible in order and without gaps. Commits
are acknowledged by a majority and in the journal.

A writer caches the session's state and the chats it wrote last, instead of reading them, and assumes that every
message is new. Every change of a session increments the `version` in its document, even without an event. The `$inc`
fails if another writer has changed the version, and the unique index fails if a message is not new. In both cases
nothing is written, and the transaction runs again with fresh reads.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final, NamedTuple, ParamSpec, Protocol, TypeVar

from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern

from app.domain import ledger
from app.domain.aliases import Aliases, People
from app.domain.deliveries import Delivery
from app.domain.events import now
from app.domain.incoming import PARKED_FOR, Parked
from app.domain.known import Command, Known, Outcome, Touched
from app.domain.models import Chat
from app.errors import Unavailable
from app.storage import writing
from app.storage.documents import MAJORITY, Document
from app.storage.reading import Reader

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Run(Protocol):
    """Calls a function in one of the store's threads, with a time limit in seconds and the store's errors."""

    def __call__(
        self,
        seconds: float,
        function: Callable[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Awaitable[Result]: ...


REMEMBERED_CHATS: Final = 100
"""Maximum number of cached chats, those written last."""


class Conflict(Exception):
    """Another writer is writing to the session, or the database has a new primary. Retry."""


class _Memory(NamedTuple):
    """The session after the last commit. `version` None: the session has no version yet."""

    seq: int
    version: int | None
    exists: bool
    has_aliases: bool
    has_contacts: bool
    has_deliveries: bool
    parked_until: datetime | None
    """Until then there may be parked updates."""
    chats: dict[str, Chat]


class Writer:
    """Writes one session. It keeps one ClientSession, so that its next transaction ends one that was left open.

    A transaction is about six sequential database calls. They are made together in one of the store's threads: motor
    would hand each of them to a thread and back, which costs more than the calls themselves.
    """

    def __init__(
        self,
        run: Run,
        database: Database[Document],
        session_id: str,
        client_session: ClientSession,
        *,
        keep_deleted: bool,
    ) -> None:
        self._run, self._database = run, database
        self._session_id, self._client_session = session_id, client_session
        self._keep_deleted = keep_deleted
        self._memory: _Memory | None = None

    async def apply(self, commands: Sequence[Command], seconds: float = math.inf) -> Outcome:
        """Try once to apply the commands in one transaction.

        The time limit is `seconds`, or the store's if that is shorter. Raises Conflict (nothing was written; retry) and
        Unavailable (it may or may not have been written).
        """
        return await self._run(seconds, self._attempt, commands)

    async def end(self) -> None:
        with contextlib.suppress(Unavailable, PyMongoError):
            await self._run(math.inf, self._client_session.end_session)

    def _attempt(self, commands: Sequence[Command]) -> Outcome:
        memory, self._memory = self._memory, None  # after any error, the next attempt reads everything
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
                outcome = ledger.apply(self._session_id, known, commands, now(), keep_deleted=self._keep_deleted)
                after = self._after(session, outcome)
                if outcome.writes:
                    self._write_session(session, after, _due(outcome))
                    writing.write(self._database, self._client_session, self._session_id, outcome)
                elif memory and self._read_session().version != session.version:
                    raise Conflict  # the state that gave nothing to write was out of date
                committing = True
            self._memory = after
            return outcome
        except PyMongoError as error:
            if error.has_error_label("UnknownTransactionCommitResult"):
                raise Unavailable("The database did not confirm whether this was stored. Send it again.") from error
            if _is_transient(error) and not error.timeout and not (committing and isinstance(error, AutoReconnect)):
                raise Conflict from error
            raise

    def _read_session(self) -> _Memory:
        document = self._database["sessions"].find_one({"_id": self._session_id}, session=self._client_session) or {}
        get = document.get
        return _Memory(
            seq=get("seq", 0),
            version=get("version"),
            exists=bool(document),
            has_aliases=get("hasAliases", False),
            has_contacts=get("hasContacts", False),
            has_deliveries=get("hasDeliveries", False),
            parked_until=get("parkedUntil"),
            chats={},
        )

    @staticmethod
    def _after(session: _Memory, outcome: Outcome) -> _Memory:
        """The session's state after the outcome."""
        older = {
            chat_id: chat
            for chat_id, chat in session.chats.items()
            if chat_id not in outcome.chats and chat_id not in outcome.removed_chats
        }
        parked_until = session.parked_until
        for parked in outcome.parked.values():
            until = parked.received_at + PARKED_FOR
            parked_until = until if parked_until is None else max(until, parked_until)
        return _Memory(
            seq=outcome.seq,
            version=(session.version or 0) + 1 if outcome.writes else session.version,
            exists=session.exists or outcome.writes,
            has_aliases=session.has_aliases or bool(outcome.new_aliases or outcome.refused_aliases),
            has_contacts=session.has_contacts or bool(outcome.contact_names),
            has_deliveries=session.has_deliveries or bool(outcome.deliveries),
            parked_until=parked_until,
            chats=dict(list((older | outcome.chats).items())[-REMEMBERED_CHATS:]),
        )

    def _write_session(self, before: _Memory, after: _Memory, due: datetime | None) -> None:
        """Reserve the numbers. `due`: when the first delivery that has not been started is due.

        Raises Conflict if the session has changed since it was read.
        """
        sessions, in_session = self._database["sessions"], self._client_session
        flags = _flags(after)
        if not before.exists:
            new = {"_id": self._session_id, "seq": after.seq, "version": after.version, "dueAt": due, **flags}
            sessions.insert_one(new, session=in_session)  # a duplicate key is a conflict
            return
        change: Document = {"$inc": {"seq": after.seq - before.seq, "version": 1}}
        if _flags(before) != flags:
            change["$set"] = flags
        if due is not None:
            change.setdefault("$set", {})["dueAt"] = due  # the change stream on sessions reports it
        as_read = {"_id": self._session_id, "seq": before.seq, "version": before.version}
        if sessions.update_one(as_read, change, session=in_session).matched_count == 0:
            raise Conflict

    def _known(self, session: _Memory, commands: Sequence[Command], *, presume_new: bool) -> Known:
        """Read the stored state of everything the commands touch, except messages assumed to be new."""
        read = Reader(self._database, self._client_session, self._session_id)
        aliases = Aliases(*read.aliases(_people_of(commands))) if session.has_aliases else Aliases()
        # Within the batch, a stored message's chat may be merged into another, and that one into a third.
        people = People((*aliases, *(alias for command in commands for alias in command.aliases)))
        touched = Touched()
        for command in commands:
            command.touch(people, touched)
        if not session.exists:
            return Known(0, aliases, {}, {}, (), (), {}, read)
        keys = touched.messages if presume_new else touched.messages | touched.new_messages
        deliveries: list[Delivery] = []
        named: set[str] = set()
        if session.has_deliveries:
            deliveries, named = read.deliveries(touched.deliveries), touched.named
            keys |= {(one.chat_id, one.message_id) for one in deliveries if one.attempt}  # copies may join these
        messages = read.messages(keys, touched.ids, named)
        chat_ids = touched.chats | {chat_id for chat_id, _ in messages}
        chats = {chat_id: session.chats[chat_id] for chat_id in chat_ids & session.chats.keys()}
        if unknown := chat_ids - chats.keys():
            chats |= read.chats(unknown)
        if any(chat.also for chat in chats.values()):
            # Their messages may still be stored under other chatIds.
            all_keys = touched.messages | touched.new_messages
            moving = {(old, one) for name, one in all_keys if (chat := chats.get(name)) for old in (name, *chat.also)}
            messages |= read.messages(moving)
        parked: list[Parked] = []
        if session.parked_until is not None and session.parked_until > now():
            parked = read.parked({message_id for _, message_id in touched.new_messages | touched.messages})
        if session.has_aliases and (who := {one for each in parked for one in each.update.people()}):
            aliases.add(*read.aliases(who))
        missing = touched.chats - chats.keys()
        names = read.contact_names(missing) if missing and session.has_contacts else {}
        return Known(session.seq, aliases, chats, messages, parked, deliveries, names, read)


def _flags(session: _Memory) -> Document:
    return {
        "hasAliases": session.has_aliases,
        "hasContacts": session.has_contacts,
        "hasDeliveries": session.has_deliveries,
        "parkedUntil": session.parked_until,
    }


def _due(outcome: Outcome) -> datetime | None:
    """When the first delivery that has not been started is due."""
    due = [one.next_at for one in outcome.deliveries.values() if one.state == "waiting" and one.next_at is not None]
    return min(due, default=None)


def _people_of(commands: Sequence[Command]) -> set[str]:
    """All addresses in the commands."""
    names: set[str] = set()
    for command in commands:
        names.update(command.addresses())
        for alias in command.aliases:
            names.update((alias.lid, alias.address))
    return names


def _is_transient(error: PyMongoError) -> bool:
    if error.has_error_label("TransientTransactionError") or isinstance(error, DuplicateKeyError | AutoReconnect):
        return True  # a duplicate key: another server created the same document between our read and our write
    if isinstance(error, BulkWriteError):
        faults = error.details.get("writeErrors", [])
        return any(fault.get("code") in (11000, 112) for fault in faults)
    return False
