"""The reads of a writer within its transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING
from pymongo.client_session import ClientSession
from pymongo.database import Database

from app.domain.deliveries import Delivery
from app.domain.incoming import Parked
from app.domain.models import CANCELLED, Alias, Chat, Key, Message
from app.storage.deliveries import OPEN_OF_CHAT, load_delivery
from app.storage.documents import Document, load_chat, load_message, load_parked

_ALL: Final = 10_000
"""Documents in one reply: more than a batch touches, so that one reply is enough."""

_BY_ID: Final = [("sessionId", ASCENDING), ("messageId", ASCENDING), ("chatId", ASCENDING)]
_BY_SEQ: Final = [("sessionId", ASCENDING), ("chatId", ASCENDING), ("seq", ASCENDING)]
_BY_PROVIDER_ID: Final = [("sessionId", ASCENDING), ("providerId", ASCENDING)]
_CANCELLED: Final = {"deletedAt": {"$ne": None}, "error.code": CANCELLED}
# Hints, because with some hundred values in `$in` the planner may choose another index.


class Reader:
    """Reads one session in one transaction. It is the ledger's `Source`."""

    def __init__(self, database: Database[Document], client_session: ClientSession, session_id: str) -> None:
        self._database, self._client_session, self._session_id = database, client_session, session_id

    def aliases(self, names: Collection[str]) -> tuple[list[Alias], list[Alias]]:
        """Aliases of the people with these addresses, and split pairs."""
        if not names:
            return [], []
        found = self._aliases("lid", names) + self._aliases("address", names)
        # These people may have other hidden addresses, under which something is stored.
        others = {document["address"] for document in found} - set(names)
        if others:
            found += self._aliases("address", others)
        known = [Alias(d["lid"], d["address"]) for d in found if d["address"] is not None]
        return known, [Alias(d["lid"], address) for d in found for address in d.get("refused", ())]

    def _aliases(self, by: str, values: Collection[str]) -> list[Document]:
        hint = [("sessionId", ASCENDING), (by, ASCENDING)]
        return list(self._find("aliases", {by: {"$in": list(values)}}, hint=hint))

    def chats(self, chat_ids: Collection[str]) -> dict[str, Chat]:
        """These chats, and the chats that one of them was merged into."""
        wanted = {"$in": list(chat_ids)}
        found = {d["chatId"]: load_chat(d) for d in self._find("chats", {"chatId": wanted})}
        if len(found) < len(chat_ids):
            hint = [("also", ASCENDING), ("sessionId", ASCENDING)]
            found |= {d["chatId"]: load_chat(d) for d in self._find("chats", {"also": wanted}, hint=hint)}
        return found

    def messages(self, keys: Iterable[Key], ids: Iterable[str] = (), named: Collection[str] = ()) -> dict[Key, Message]:
        """Messages with these keys, messages with these ids in any chat, and messages whose provider's id is in
        `named`."""
        keys, ids = set(keys), set(ids)
        by_name = self._find("messages", {"providerId": {"$in": list(named)}}, hint=_BY_PROVIDER_ID) if named else ()
        sent = {message.key: message for message in map(load_message, by_name)}
        wanted = ids | {message_id for _, message_id in keys}
        if not wanted:
            return sent
        found = self._find("messages", {"messageId": {"$in": list(wanted)}}, hint=_BY_ID)
        messages = {(d["chatId"], d["messageId"]): d for d in found}
        return sent | {key: load_message(d) for key, d in messages.items() if key in keys or key[1] in ids}

    def deliveries(self, chat_ids: Collection[str]) -> list[Delivery]:
        """The open deliveries of these chats."""
        if not chat_ids:
            return []
        found = self._find("deliveries", {"chatId": {"$in": list(chat_ids)}, "open": True}, hint=OPEN_OF_CHAT)
        return [load_delivery(d) for d in found]

    def parked(self, message_ids: Collection[str]) -> list[Parked]:
        if not message_ids:
            return []
        return [load_parked(d) for d in self._find("parked", {"messageId": {"$in": list(message_ids)}})]

    def contact_names(self, chat_ids: Iterable[str]) -> dict[str, str]:
        """Names of people and groups that have no chat yet."""
        return {d["chatId"]: d["name"] for d in self._find("contacts", {"chatId": {"$in": list(chat_ids)}})}

    # for the ledger

    def unread(self, chat_ids: Sequence[str], above: int) -> Mapping[str, int]:
        query = {"chatId": {"$in": list(chat_ids)}, "fromMe": False}
        fields = {"messageId": 1, "seq": 1, "lateSeq": 1, "type": 1, "fromMe": 1, "deletedAt": 1}
        found = list(self._find("messages", {**query, "seq": {"$gt": above}}, fields, hint=_BY_SEQ))
        hint = [("sessionId", ASCENDING), ("chatId", ASCENDING), ("lateSeq", ASCENDING)]
        found += self._find("messages", {**query, "seq": {"$lte": above}, "lateSeq": {"$gt": above}}, fields, hint=hint)
        if len(chat_ids) > 1 and found:
            # If a message is in both chats, the one with the lower seq will be kept, and may be read.
            wanted = {"chatId": {"$in": list(chat_ids)}, "messageId": {"$in": [d["messageId"] for d in found]}}
            kept: dict[str, Document] = {}
            for document in self._find("messages", wanted, fields, hint=_BY_ID):
                other = kept.setdefault(document["messageId"], document)
                if document["seq"] < other["seq"]:
                    kept[document["messageId"]] = document
            found = list(kept.values())
        counted = [d for d in found if not d["fromMe"] and d["type"] != "system" and d.get("deletedAt") is None]
        numbers = {d["messageId"]: d.get("lateSeq", d["seq"]) for d in counted}
        return {message_id: number for message_id, number in numbers.items() if number > above}

    def under(self, address: str, limit: int) -> Sequence[Message]:
        hint = [("sessionId", ASCENDING), ("hidden", ASCENDING)]
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
        found = self._find("messages", query, hint=_BY_SEQ).sort("seq", DESCENDING).limit(1)
        return next((load_message(d) for d in found), None)

    def parked_in(self, chat_ids: Sequence[str]) -> Sequence[Parked]:
        return [load_parked(d) for d in self._find("parked", {"chatId": {"$in": list(chat_ids)}})]

    def oldest(self, chat_id: str, limit: int) -> Sequence[Message]:
        found = self._find("messages", {"chatId": chat_id}, hint=_BY_SEQ)
        return [load_message(d) for d in found.sort("seq", ASCENDING).limit(limit)]

    def came_as(self, chat_id: str, lid: str, limit: int) -> Sequence[Message]:
        found = self._find("messages", {"chatId": chat_id, "cameAs": lid}, hint=_BY_SEQ)
        return [load_message(d) for d in found.sort("seq", ASCENDING).limit(limit)]

    def last(self, chat_ids: Sequence[str], *, but: str = "", but_came_as: str = "") -> Message | None:
        query = {
            "chatId": {"$in": list(chat_ids)},
            "messageId": {"$ne": but},
            "cameAs": {"$ne": but_came_as},
            "$nor": [{"type": "unknown", "text": None, "media": None, "deletedAt": {"$ne": None}}, _CANCELLED],
        }
        found = self._find("messages", query, hint=_BY_SEQ).sort("seq", DESCENDING).limit(1)
        return next((load_message(d) for d in found), None)

    def _find(self, collection: str, query: Document, fields: Document | None = None, **options: Any) -> Any:
        query = {"sessionId": self._session_id, **query}
        return self._database[collection].find(query, fields, session=self._client_session, batch_size=_ALL, **options)
