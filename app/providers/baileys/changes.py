"""Changes of messages: `messages.update`, `message-receipt.update`, `messages.reaction`, `messages.delete`.

- A revoke's `update.key` is the revoke's own key; the deleted message is `key`.
- Edits have times in whole seconds, and reactions in the sender's milliseconds, here and in `messages.upsert`, so that
  both reports of a change are equal.
- `messages.delete` is "deleted for me": the other person still has the message, and so does the inbox. It is counted.
"""

from __future__ import annotations

from typing import Final

from app.domain.incoming import ReactionChange, Receipt
from app.domain.models import MAX_NAME, MessageError, ReceiptStatus
from app.providers.addresses import GROUP, as_address, best_of, participant_alternatives
from app.providers.baileys.content import read_edited
from app.providers.baileys.messages import Place, addressed, keyed, read_message
from app.providers.baileys.statuses import as_status
from app.providers.baileys.stubs import is_revoke
from app.providers.collector import Collector
from app.providers.values import as_dict, as_flag, as_id, as_known_time, as_list, as_text, as_time
from app.providers.words import Node

_ERRORS: Final = {
    "401": "The account is not allowed to send this message.",
    "403": "The message was not allowed.",
    "404": "The address does not exist.",
    "408": "The message was not delivered in time.",
    "421": "The group's members have changed.",
    "429": "Too many messages were sent.",
    "463": "WhatsApp does not let this account write to new contacts at the moment.",
    "475": "The message was refused as spam.",
    "479": "The message was refused as not valid.",
    "500": "WhatsApp could not process the message.",
}
"""The known meanings of WhatsApp's codes for messages that were not accepted."""

_RECEIPTS: Final[tuple[tuple[str, ReceiptStatus], ...]] = (
    ("playedTimestamp", "played"),
    ("readTimestamp", "read"),
    ("receiptTimestamp", "delivered"),
)


def read_update(out: Collector, entry: Node) -> None:
    """An item of `messages.update`."""
    found = keyed(out, entry, "update")
    if found is None:
        return
    key, address, message_id = found
    update = as_dict(entry.get("update"))
    place = Place(out, key, entry, address)
    at = as_known_time(update.get("messageTimestamp"))
    message = as_dict(update.get("message"))
    edited = as_dict(as_dict(message.get("editedMessage")).get("message"))
    changed = False
    if is_revoke(update.get("messageStubType")):
        out.update(message_id, place.chat_id, deleted=True)
        return
    if edited:
        changed = _edit(out, message_id, place, edited, update)
    elif message:
        read_message(out, {**entry, **update, "key": key})
        changed = True
    status = as_status(update.get("status"))
    if status is not None and as_flag(key.get("fromMe")) is False:
        if status in ("read", "played"):
            out.read(place.chat_id)
        else:
            out.skip("not_ours")
        return
    if status is not None:
        error = error_of(update.get("messageStubParameters")) if status == "failed" else None
        out.status(message_id, place.chat_id, at, status=status, error=error)
    elif not changed:
        out.skip("no_change")


def _edit(out: Collector, message_id: str, place: Place, edited: Node, update: Node) -> bool:
    protocol = as_dict(edited.get("protocolMessage"))
    if protocol:  # The edit's envelope, which names its target.
        message_id = as_id(as_dict(protocol.get("key")).get("id")) or message_id
        edited = as_dict(protocol.get("editedMessage"))
    content = read_edited(edited, out.names)
    if content is None:
        return False
    at = as_time(update.get("messageTimestamp"), out.now)
    out.update(message_id, place.chat_id, at, text=content.text or "", mentions=content.mentions)
    return True


def error_of(parameters: object) -> MessageError:
    codes = as_list(parameters)
    code = as_text(codes[0], 64) if codes else None
    return MessageError(code or "unknown", _ERRORS.get(code or "", "The message was not accepted."))


def read_receipt(out: Collector, entry: Node) -> None:
    """An item of `message-receipt.update`."""
    if (found := keyed(out, entry, "receipt")) is None:
        return
    key, address, message_id = found
    receipt = as_dict(entry.get("receipt"))
    person = as_address(receipt.get("userJid"))
    own = best_of(key.get("participant"), *participant_alternatives(key))
    status = next((status for name, status in _RECEIPTS if as_known_time(receipt.get(name))), None)
    at = next((at for name, _ in _RECEIPTS if (at := as_known_time(receipt.get(name)))), None)
    if person is None or status is None:
        out.skip("no_change")
    elif as_flag(key.get("fromMe")) is False or person == own:
        out.skip("not_ours")
    elif address.endswith(GROUP):
        out.update(message_id, address, at, receipt=Receipt(person, status))
    else:
        out.status(message_id, address, at, status=status)


def read_reaction(out: Collector, entry: Node) -> None:
    """An item of `messages.reaction`: the target's key, and the reaction with its own."""
    target, reaction = as_dict(entry.get("key")), as_dict(entry.get("reaction"))
    own = as_dict(reaction.get("key"))
    message_id = as_id(target.get("id"))
    if not reaction or message_id is None:
        out.skip("no_message" if not reaction else "no_id")
        return
    if not own.get("remoteJid"):
        # Without the reaction's own key it can only be from the other person of the chat.
        own = {**own, "remoteJid": target.get("remoteJid"), "id": message_id}
    found = addressed(out, {**own, "id": own.get("id") or message_id})
    if found is None:
        return
    place = Place(out, own, {}, found[0])
    at = as_known_time(reaction.get("senderTimestampMs"))
    change = ReactionChange(place.sender, place.from_me, as_text(reaction.get("text"), MAX_NAME))
    out.update(message_id, place.chat_id, at, reaction=change)


def read_delete(out: Collector, data: object) -> None:
    """`messages.delete`."""
    keys = as_list(as_dict(data).get("keys"))
    out.skip("deleted_for_me", max(1, len(keys)))
