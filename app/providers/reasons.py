"""Why a part of a provider's payload was left out: each reason that `skipped` may hold, in words for an operator."""

from __future__ import annotations

from typing import Final

REASONS: Final[dict[str, str]] = {
    "event": "an event of a kind that is not handled",
    "no_event": "it has none of the shapes in which this provider's events come",
    "no_message": "something else stands in the place of a message or update",
    "no_id": "it has no message id or no address",
    "bad_id": "its id or address cannot be stored: too long, or with control characters",
    "bad_address": "an address could not be a person's (undefined@, 0@, letters, too few or too many digits)",
    "status": "a message of the status broadcast, which is in no chat",
    "newsletter": "a message of a channel, which is in no chat",
    "revoke": "a deletion that does not say of what",
    "edit": "an edit that does not say of what, or without text",
    "encrypted_edit": "an edit that is still encrypted; the provider tells it again when it is not",
    "protocol": "something that no person sees, such as a key, a vote or a pin",
    "deleted_for_me": "a deletion on our side alone; the message is kept",
    "not_ours": "the delivery of somebody else's message, or our own receipt",
    "no_change": "an update that says nothing that is stored",
    "other_number": "it is about a phone number that belongs to no session, or to one that the sender may not write to",
    "errors": "an error of the account, not of a message",
}
