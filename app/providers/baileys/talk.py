"""Polls, events, calls, invitations, questions, sticker packs, and messages that only the phone shows."""

from __future__ import annotations

from typing import Final

from app.domain.models import MAX_NAME
from app.providers.baileys.kinds import Content, Reader
from app.providers.baileys.media import coordinates
from app.providers.values import as_count, as_dict, as_flag, as_list
from app.providers.words import MAX_ITEMS, Node, counted, first, items, lines, row, time_line

ONLY_ON_THE_PHONE: Final = "This message can only be shown on the phone"

_MISSED: Final = ("MISSED", "SILENCED_BY_DND", "SILENCED_UNKNOWN_CALLER", 1, 6, 7)
_OUTCOMES: Final[dict[object, str]] = {
    "FAILED": "failed",
    2: "failed",
    "REJECTED": "rejected",
    3: "rejected",
    "ACCEPTED_ELSEWHERE": "answered on another device",
    4: "answered on another device",
}


def _poll(node: Node) -> Content | None:
    text = lines(node.get("name"), *items(node.get("options"), lambda option: option.get("optionName")))
    return Content("text", text) if text else None


def _poll_result(node: Node) -> Content | None:
    votes = [
        f"• {name}: {as_count(vote.get('optionVoteCount')) or 0}"
        for vote in map(as_dict, as_list(node.get("pollVotes"))[:MAX_ITEMS])
        if (name := first(vote, "optionName", longest=MAX_NAME))
    ]
    return Content("text", lines("Poll results", node.get("name"), *votes))


def _event(node: Node) -> Content | None:
    place = as_dict(node.get("location"))
    cancelled = as_flag(node.get("isCanceled", node.get("isCancelled")))
    text = lines(
        node.get("name"),
        "The event was cancelled" if cancelled else None,
        node.get("description"),
        time_line("Start", node.get("startTime")),
        time_line("End", node.get("endTime")),
        place.get("name"),
        place.get("address"),
        coordinates(place),
        node.get("joinLink"),
    )
    return Content("text", text) if text else None


def _event_answer(node: Node) -> Content:
    words = {1: "Going", "GOING": "Going", 2: "Not going", "NOT_GOING": "Not going"}
    answer = node.get("response")
    known = words.get(answer) if isinstance(answer, str | int) else None
    return Content("text", known or "Responded to an event")


def _group_invitation(node: Node) -> Content | None:
    group = first(node, "groupName", longest=MAX_NAME)
    words = f"Invitation to the group {group}" if group else "Invitation"
    return Content("text", lines(words, node.get("caption"), time_line("Until", node.get("inviteExpiration"))))


def _channel_invitation(words: str) -> Reader:
    def reader(node: Node) -> Content:
        name = first(node, "newsletterName", longest=MAX_NAME)
        return Content("text", lines(f"{words} {name}" if name else words, node.get("caption")))

    return reader


def _call_log(node: Node) -> Content:
    outcome = node.get("callOutcome")
    kind = "video call" if as_flag(node.get("isVideo")) else "voice call"
    if outcome in _MISSED and not isinstance(outcome, bool):
        return Content("system", f"Missed {kind}")
    result = _OUTCOMES.get(outcome) if isinstance(outcome, str | int) else None
    seconds = as_count(node.get("durationSecs"))
    lasted = f"{seconds // 60}:{seconds % 60:02}" if seconds else None
    return Content("system", row(kind.capitalize(), result, lasted))


def _scheduled_call(node: Node) -> Content:
    kind = "video call" if node.get("callType") in (2, "VIDEO") else "call"
    when = time_line("At", node.get("scheduledTimestampMs"))
    return Content("system", lines(node.get("title") or f"Scheduled {kind}", when))


def _scheduled_call_edit(node: Node) -> Content:
    return Content("system", "The scheduled call was cancelled")


def _call(node: Node) -> Content:
    return Content("system", "Call")


def _sticker_pack(node: Node) -> Content:
    name = row(node.get("name"), node.get("publisher"))
    count = counted(len(as_list(node.get("stickers"))), "sticker", "stickers")
    words = f"Sticker pack: {name}" if name else "Sticker pack"
    return Content("text", lines(words, node.get("caption"), node.get("packDescription"), count))


def _answer(*names: str) -> Reader:
    def reader(node: Node) -> Content | None:
        text = first(node, *names)
        return Content("text", text) if text else None

    return reader


def _masked(node: Node) -> Content:
    return Content("text", ONLY_ON_THE_PHONE)


READERS: Final[dict[str, Reader]] = {
    **dict.fromkeys(("pollCreationMessage", *(f"pollCreationMessageV{version}" for version in (2, 3, 5, 6))), _poll),
    "pollResultSnapshotMessage": _poll_result,
    "pollResultSnapshotMessageV3": _poll_result,
    "eventMessage": _event,
    "eventResponseMessage": _event_answer,
    "groupInviteMessage": _group_invitation,
    "newsletterAdminInviteMessage": _channel_invitation("Invitation to manage the channel"),
    "newsletterFollowerInviteMessage": _channel_invitation("Invitation to the channel"),
    "newsletterFollowerInviteMessageV2": _channel_invitation("Invitation to the channel"),
    "callLogMesssage": _call_log,  # spelled so in the protocol
    "callLogMessage": _call_log,
    "call": _call,
    "bcallMessage": _call,
    "scheduledCallCreationMessage": _scheduled_call,
    "scheduledCallEditMessage": _scheduled_call_edit,
    "stickerPackMessage": _sticker_pack,
    "questionResponseMessage": _answer("text"),
    "statusQuestionAnswerMessage": _answer("text"),
    "statusQuotedMessage": _answer("text"),
    "placeholderMessage": _masked,
}
