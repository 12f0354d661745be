"""The reads of a writer within its transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from pymongo import ASCENDING, DESCENDING
from pymongo.client_session import ClientSession
from pymongo.database import Database

from app.domain.deliveries import Delivery
from app.domain.incoming import Parked
from app.domain.models import CANCELLED, Alias, Chat, Key, Message
from app.storage.deliveries import load_delivery
from app.storage.documents import Document, load_chat, load_message, load_parked
from app.storage.indexes import (
    BY_ADDRESS,
    BY_ALSO,
    BY_CHAT,
    BY_HIDDEN,
    BY_ID,
    BY_LATE_SEQ,
    BY_LID,
    BY_MESSAGE,
    BY_PROVIDER_ID,
    BY_SEQ,
    OPEN_OF_CHAT,
    Index,
)

_ALL: Final = 10_000
"""Documents in one reply: more than a group touches, so that one reply is enough."""

_CANCELLED: Final = {"deletedAt": {"$ne": None}, "error.code": CANCELLED}


Named = Mapping[str, Collection[str]]
"""Keys to look up, by sessionId."""
NOTHING: Final[Named] = {}


Value = TypeVar("Value")


class GroupReader:
    """Reads several sessions in one transaction, with one query per collection."""

    def __init__(self, database: Database[Document], client_session: ClientSession) -> None:
        self._database, self._client_session = database, client_session

    def of(self, session_id: str) -> Reader:
        return Reader(self._database, self._client_session, session_id)

    def sessions(self, session_ids: Collection[str]) -> dict[str, Document]:
        """The documents of these sessions, as far as they exist."""
        if not session_ids:
            return {}
        query = {"_id": {"$in": list(session_ids)}}
        found = self._database["sessions"].find(query, session=self._client_session, batch_size=_ALL)
        return {document["_id"]: document for document in found}

    def aliases(self, names: Named) -> dict[str, tuple[list[Alias], list[Alias]]]:
        """Aliases of the people with these addresses, and split pairs. Has an entry for each session in `names`."""
        found = self._find("aliases", "lid", names, BY_LID) + self._find("aliases", "address", names, BY_ADDRESS)
        # These people may have other hidden addresses, under which something is stored.
        others: defaultdict[str, set[str]] = defaultdict(set)
        for document in found:
            if document["address"] not in names[document["sessionId"]]:
                others[document["sessionId"]].add(document["address"])
        found += self._find("aliases", "address", others, BY_ADDRESS)
        told: dict[str, tuple[list[Alias], list[Alias]]] = {session_id: ([], []) for session_id in names}
        for document in found:
            known, refused = told[document["sessionId"]]
            if document["address"] is not None:
                known.append(Alias(document["lid"], document["address"]))
            refused += [Alias(document["lid"], address) for address in document.get("refused", ())]
        return told

    def chats(self, chat_ids: Named) -> dict[str, dict[str, Chat]]:
        """These chats, and the chats that one of them was merged into. Has an entry for each session in `chat_ids`."""
        told: dict[str, dict[str, Chat]] = {session_id: {} for session_id in chat_ids}
        for document in self._find("chats", "chatId", chat_ids, BY_CHAT):
            told[document["sessionId"]][document["chatId"]] = load_chat(document)
        missing = {session_id: names - told[session_id].keys() for session_id, names in _sets(chat_ids).items()}
        hint = BY_ALSO
        for document in self._find("chats", "also", missing, hint):
            told[document["sessionId"]][document["chatId"]] = load_chat(document)
        return told

    def messages(
        self, keys: Mapping[str, Collection[Key]], ids: Named = NOTHING, named: Named = NOTHING
    ) -> dict[str, dict[Key, Message]]:
        """Messages with these keys, messages with these ids in any chat, and messages whose provider's id is in
        `named`. Has an entry for each session in one of them."""
        keys, ids = _sets(keys), _sets(ids)
        wanted: dict[str, set[str]] = {session_id: set(names) for session_id, names in ids.items()}
        for session_id, several in keys.items():
            wanted.setdefault(session_id, set()).update(message_id for _, message_id in several)
        told: dict[str, dict[Key, Message]] = {session_id: {} for session_id in (*wanted, *named)}
        for document in self._find("messages", "providerId", named, BY_PROVIDER_ID):
            told[document["sessionId"]][document["chatId"], document["messageId"]] = load_message(document)
        for document in self._find("messages", "messageId", wanted, BY_ID):
            session_id, key = document["sessionId"], (document["chatId"], document["messageId"])
            if key in keys.get(session_id, ()) or key[1] in ids.get(session_id, ()):
                told[session_id][key] = load_message(document)
        return told

    def deliveries(self, chat_ids: Named) -> dict[str, list[Delivery]]:
        """The open deliveries of these chats."""
        told: dict[str, list[Delivery]] = {session_id: [] for session_id in chat_ids}
        for document in self._find("deliveries", "chatId", chat_ids, OPEN_OF_CHAT, open=True):
            told[document["sessionId"]].append(load_delivery(document))
        return told

    def parked(self, message_ids: Named) -> dict[str, list[Parked]]:
        told: dict[str, list[Parked]] = {session_id: [] for session_id in message_ids}
        for document in self._find("parked", "messageId", message_ids, BY_MESSAGE):
            told[document["sessionId"]].append(load_parked(document))
        return told

    def contact_names(self, chat_ids: Named) -> dict[str, dict[str, str]]:
        """Names of people and groups that have no chat yet."""
        told: dict[str, dict[str, str]] = {session_id: {} for session_id in chat_ids}
        for document in self._find("contacts", "chatId", chat_ids, BY_CHAT):
            told[document["sessionId"]][document["chatId"]] = document["name"]
        return told

    def _find(self, collection: str, by: str, values: Named, hint: Index, **more: Any) -> list[Document]:
        """Documents of each session whose field `by` has one of these values, and whose other fields equal `more`."""
        each = [{"sessionId": name, by: {"$in": list(several)}, **more} for name, several in values.items() if several]
        if not each:
            return []
        query = each[0] if len(each) == 1 else {"$or": each}
        session = self._client_session
        return list(self._database[collection].find(query, session=session, batch_size=_ALL, hint=hint))


class Reader:
    """Reads one session in one transaction. It is the ledger's `Source`."""

    def __init__(self, database: Database[Document], client_session: ClientSession, session_id: str) -> None:
        self._database, self._client_session, self._session_id = database, client_session, session_id
        self._group = GroupReader(database, client_session)

    def chats(self, chat_ids: Collection[str]) -> Mapping[str, Chat]:
        return self._group.chats({self._session_id: chat_ids})[self._session_id]

    def messages(self, keys: Iterable[Key]) -> Mapping[Key, Message]:
        return self._group.messages({self._session_id: set(keys)})[self._session_id]

    def count(self, chat_ids: Sequence[str], above: int, upto: int, *, but: Collection[Key]) -> int:
        query: Document = {"sessionId": self._session_id, "chatId": {"$in": list(chat_ids)}}
        query |= {"fromMe": False, "type": {"$ne": "system"}, "deletedAt": None}
        if but:
            query["$nor"] = [{"chatId": chat_id, "messageId": message_id} for chat_id, message_id in but]
        between = {"$gt": above, "$lte": upto}
        messages, session = self._database["messages"], self._client_session
        on_time = {**query, "seq": between, "lateSeq": {"$exists": False}}
        late = {**query, "lateSeq": between}
        return messages.count_documents(on_time, session=session, hint=BY_SEQ) + messages.count_documents(
            late, session=session, hint=BY_LATE_SEQ
        )

    def concerned(self, addresses: Collection[str]) -> Collection[str]:
        here = {"sessionId": self._session_id}
        wanted = {"$in": list(addresses)}
        parked: list[Document] = [{"$match": {**here, "chatId": wanted}}, {"$group": {"_id": "$chatId"}}]
        hidden: list[Document] = [
            {"$match": {**here, "hidden": wanted}},
            {"$unwind": "$hidden"},
            {"$match": {"hidden": wanted}},
            {"$group": {"_id": "$hidden"}},
        ]
        session = self._client_session
        found = [*self._database["parked"].aggregate(parked, session=session)]
        found += self._database["messages"].aggregate(hidden, session=session, hint={"sessionId": 1, "hidden": 1})
        return {document["_id"] for document in found}

    def under(self, address: str, limit: int) -> Sequence[Message]:
        hint = BY_HIDDEN
        return [load_message(d) for d in self._find("messages", {"hidden": address}, hint=hint).limit(limit)]

    def answered(self, chat_ids: Sequence[str], above: int, *, but: str) -> Message | None:
        query = {
            "chatId": {"$in": list(chat_ids)},
            "seq": {"$gt": above},
            "fromMe": True,
            "type": {"$ne": "system"},
            "author.id": {"$ne": but},
            "$nor": [_CANCELLED],
        }
        found = self._find("messages", query, hint=BY_SEQ).sort("seq", DESCENDING).limit(1)
        return next((load_message(d) for d in found), None)

    def parked_in(self, chat_ids: Sequence[str]) -> Sequence[Parked]:
        return [load_parked(d) for d in self._find("parked", {"chatId": {"$in": list(chat_ids)}})]

    def oldest(self, chat_id: str, limit: int) -> Sequence[Message]:
        found = self._find("messages", {"chatId": chat_id}, hint=BY_SEQ)
        return [load_message(d) for d in found.sort("seq", ASCENDING).limit(limit)]

    def came_as(self, chat_id: str, lid: str, limit: int) -> Sequence[Message]:
        found = self._find("messages", {"chatId": chat_id, "cameAs": lid}, hint=BY_SEQ)
        return [load_message(d) for d in found.sort("seq", ASCENDING).limit(limit)]

    def last(self, chat_ids: Sequence[str], *, but: str = "", but_came_as: str = "") -> Message | None:
        query = {
            "chatId": {"$in": list(chat_ids)},
            "messageId": {"$ne": but},
            "cameAs": {"$ne": but_came_as},
            "$nor": [{"type": "unknown", "text": None, "media": None, "deletedAt": {"$ne": None}}, _CANCELLED],
        }
        found = self._find("messages", query, hint=BY_SEQ).sort("seq", DESCENDING).limit(1)
        return next((load_message(d) for d in found), None)

    def _find(self, collection: str, query: Document, fields: Document | None = None, **options: Any) -> Any:
        query = {"sessionId": self._session_id, **query}
        return self._database[collection].find(query, fields, session=self._client_session, batch_size=_ALL, **options)


def _sets(values: Mapping[str, Collection[Value]]) -> dict[str, set[Value]]:
    return {name: set(several) for name, several in values.items()}
