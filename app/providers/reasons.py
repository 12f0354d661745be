"""The reasons for skipping parts of a provider's payload, as in `skipped`, with descriptions for operators."""

from __future__ import annotations

from typing import Final

REASONS: Final[dict[str, str]] = {
    "event": "an unsupported kind of event",
    "no_event": "the payload is in none of the provider's event formats",
    "no_message": "there is no message or update where one is expected",
    "no_id": "no message id or no address",
    "bad_id": "an id or address that cannot be stored: too long, or with control characters",
    "bad_address": "an address that cannot be a person's (undefined@, 0@, letters, too few or too many digits)",
    "status": "a status broadcast, which is in no chat",
    "newsletter": "a channel message, which is in no chat",
    "revoke": "a deletion without the id of the message",
    "edit": "an edit without the id of the message, or without text",
    "encrypted_edit": "an encrypted edit; the provider sends it again if it can decrypt it",
    "encrypted_reaction": "an encrypted reaction, as in the groups of a community",
    "encrypted_comment": "an encrypted comment on a message",
    "protocol": "something that people do not see, such as a key, a vote or a pin",
    "deleted_for_me": "a deletion on our side only; the message is kept",
    "not_ours": "a delivery of somebody else's message, or our own receipt",
    "no_change": "an update without anything to store",
    "other_number": "about a phone number of no session, or of one that the sender may not write to",
    "errors": "an error of the account, not of a message",
}
