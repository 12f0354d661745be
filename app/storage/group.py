"""Writes sessions: one transaction per group of commands, which may be of many sessions.

The transaction reserves the next numbers of each session with a `$inc` on the session's document, which locks the
document until the commit: another writer of the session aborts and retries. So numbers become visible in order and
without gaps. Commits are acknowledged by a majority and in the journal.

The state of recently written sessions is cached, and messages that are not in the cache are assumed to be new. Every
change of a session increments the `version` in its document, even without an event. The `$inc` fails if another writer
has changed the version, and a unique index fails if a message is not new. MongoDB does not report which session failed.
In both cases nothing is written; the versions are compared, outdated entries are removed from the cache, and the
transaction runs once more and looks up all messages.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, ParamSpec, Protocol, TypeVar

from pymongo import InsertOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import AutoReconnect, BulkWriteError, PyMongoError
from pymongo.read_concern import ReadConcern

from app.domain import ledger
from app.domain.events import now
from app.domain.known import Outcome
from app.errors import Unavailable
from app.storage import remembered, writing
from app.storage.documents import MAJORITY, Document
from app.storage.knowing import Batches, Knowledge
from app.storage.reading import GroupReader
from app.storage.remembered import Remembered, Session

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
_DUPLICATE_KEY: Final = 11000
_WRITE_CONFLICT: Final = 112
_UNKNOWN: Final = "UnknownTransactionCommitResult"
_COMMIT_AGAIN_SECONDS: Final = 0.05


class Run(Protocol):
    """Calls a function in one of the store's threads, with a time limit in seconds and the store's errors."""

    def __call__(
        self,
        seconds: float,
        function: Callable[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Awaitable[Result]: ...


class Conflict(Exception):
    """Another writer is writing to one of the sessions, or the database has a new primary. Retry."""


class _Stale(Exception):
    """The cache or an assumption was wrong."""


class _Options(NamedTuple):
    keep_deleted: bool
    rings: bool


class GroupWriter:
    """Writes sessions. No session may be in two calls of `apply` at the same time.

    A transaction is about six sequential database calls. They are made together in one of the store's threads: motor
    would hand each of them to a thread and back, which costs more than the calls themselves.
    """

    def __init__(
        self,
        run: Run,
        start_session: Callable[[], ClientSession],
        database: Database[Document],
        *,
        keep_deleted: bool,
        rings: bool,
    ) -> None:
        """`rings`: whether transactions report to the bus `app.bus.change_stream`."""
        self._run, self._start_session, self._database = run, start_session, database
        self._options = _Options(keep_deleted, rings)
        self._remembered = Remembered()
        self._free: list[ClientSession] = []
        """The last used is taken first: its next transaction ends one that was left open."""

    async def apply(self, batches: Batches, seconds: float = math.inf) -> dict[str, Outcome]:
        """Try once to apply the commands of all sessions in one transaction.

        The time limit is `seconds`, or the store's if that is shorter. Raises Conflict (nothing was written; retry) and
        Unavailable (it may or may not have been written).
        """
        transaction = _Transaction(self._database, batches, self._remembered.take(batches), self._options)
        client_session = self._free.pop() if self._free else self._start_session()
        try:
            return await self._run(seconds, transaction.run, client_session)
        finally:
            if transaction.ended:  # otherwise it timed out, and its thread may still use them
                self._remembered.put(transaction.right)
                self._free.append(client_session)

    async def close(self) -> None:
        """End the ClientSessions in the database. Those that cannot be ended now expire by themselves."""
        free, self._free = self._free, []
        with contextlib.suppress(Unavailable, PyMongoError):
            await self._run(math.inf, _end, free)


class _Transaction:
    def __init__(
        self, database: Database[Document], batches: Batches, sessions: Mapping[str, Session], options: _Options
    ) -> None:
        self._database, self._batches, self._options = database, batches, options
        self.right = sessions
        """Cache entries of the sessions. They may be outdated, which their versions reveal."""
        self.ended = False

    def run(self, client_session: ClientSession) -> dict[str, Outcome]:
        try:
            with contextlib.suppress(_Stale):
                return self._attempt(client_session, ask=False)
            self._forget_stale(client_session)
            try:
                return self._attempt(client_session, ask=True)
            except _Stale as error:
                raise Conflict from error
        finally:
            self.ended = True

    def _forget_stale(self, client_session: ClientSession) -> None:
        stored = GroupReader(self._database, client_session).sessions(self.right)
        self.right = {name: session for name, session in self.right.items() if session.is_stored_as(stored.get(name))}

    def _attempt(self, client_session: ClientSession, *, ask: bool) -> dict[str, Outcome]:
        """`ask`: look up every message. Raises _Stale, Conflict, Unavailable."""
        try:
            # An exception in the block aborts the transaction.
            with client_session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=MAJORITY):
                reader = GroupReader(self._database, client_session)
                before = self._sessions(reader)
                knowledge = Knowledge(reader, before, self._batches, ask=ask)
                outcomes = {
                    name: ledger.apply(
                        name, knowledge.of(name), commands, now(), keep_deleted=self._options.keep_deleted
                    )
                    for name, commands in self._batches.items()
                }
                after = {
                    name: before[name].after(outcome, knowledge.aliases[name], knowledge.people[name])
                    for name, outcome in outcomes.items()
                }
                written = {name: outcome for name, outcome in outcomes.items() if outcome.writes}
                if written:
                    self._take_numbers(client_session, before, after, written)
                    writing.write(self._database, client_session, written)
                    if self._options.rings:
                        self._ring(client_session, written)
                self._check_others(reader, [name for name in outcomes if name not in written])
                _commit(client_session)
        except PyMongoError as error:
            meaning = _meaning_of(error)
            if meaning is error:
                raise
            raise meaning from error
        self.right = after
        return outcomes

    def _sessions(self, reader: GroupReader) -> dict[str, Session]:
        unknown = [name for name in self._batches if name not in self.right]
        read = {name: remembered.load(document) for name, document in reader.sessions(unknown).items()}
        return {name: self.right.get(name) or read.get(name) or Session() for name in self._batches}

    def _take_numbers(
        self,
        client_session: ClientSession,
        before: Mapping[str, Session],
        after: Mapping[str, Session],
        written: Iterable[str],
    ) -> None:
        """Reserve the numbers. Raises _Stale if a session has changed since it was read."""
        changes: list[InsertOne[Document] | UpdateOne] = []
        updates = 0
        for name in written:
            old, new = before[name], after[name]
            if not old.exists:
                changes.append(InsertOne({"_id": name, "seq": new.seq, "version": new.version, **new.flags}))
                continue
            change: Document = {"$inc": {"seq": new.seq - old.seq, "version": 1}}
            if old.flags != new.flags:
                change["$set"] = new.flags
            changes.append(UpdateOne({"_id": name, "seq": old.seq, "version": old.version}, change))
            updates += 1
        if self._database["sessions"].bulk_write(changes, session=client_session).matched_count != updates:
            raise _Stale

    def _ring(self, client_session: ClientSession, outcomes: Mapping[str, Outcome]) -> None:
        """Tell the other servers: see `app.bus.change_stream`."""
        commits: list[Document] = []
        for name, outcome in outcomes.items():
            due = outcome.due
            if outcome.events or due:
                commits.append({"sessionId": name, "seq": outcome.seq} | ({"dueAt": due} if due else {}))
        if commits:
            self._database["bus"].insert_one({"at": now(), "commits": commits}, session=client_session)

    def _check_others(self, reader: GroupReader, names: Sequence[str]) -> None:
        """Check the sessions that need no write: that may have followed from an outdated state. Raises _Stale."""
        recalled = [name for name in names if name in self.right]
        for name, document in reader.sessions(recalled).items():
            if not self.right[name].is_stored_as(document):
                raise _Stale


def _end(client_sessions: Sequence[ClientSession]) -> None:
    for one in client_sessions:
        one.end_session()


def _commit(client_session: ClientSession) -> None:
    """Commit, and commit again while the reply is lost, which is safe, until the time limit."""
    while True:
        try:
            return client_session.commit_transaction()
        except PyMongoError as error:
            if not error.has_error_label(_UNKNOWN) or error.timeout:
                raise
        time.sleep(_COMMIT_AGAIN_SECONDS)


def _meaning_of(error: PyMongoError) -> Exception:
    codes = {getattr(error, "code", None)}
    if isinstance(error, BulkWriteError):
        codes = {fault.get("code") for fault in error.details.get("writeErrors", ())}
    if error.has_error_label(_UNKNOWN):
        return Unavailable("The database did not confirm whether this was stored. Send it again.")
    if error.timeout:
        return error
    if _DUPLICATE_KEY in codes:
        return _Stale()
    if (
        error.has_error_label("TransientTransactionError")
        or isinstance(error, AutoReconnect)
        or _WRITE_CONFLICT in codes
    ):
        return Conflict()
    return error
