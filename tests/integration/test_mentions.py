"""Mentions are shown by name, where the session knows one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import Client, Site, message

MINA, RUI, RUI_LID = "4915112345678@s.whatsapp.net", "351911111111@s.whatsapp.net", "88877766655@lid"
GROUP = "120363041234567890@g.us"


def said(message_id: str, content: dict[str, Any], **key: Any) -> dict[str, Any]:
    key = {"remoteJid": GROUP, "participant": MINA, "fromMe": False, "id": message_id, **key}
    return {"event": "messages.upsert", "data": {"messages": [{"key": key, "message": content}]}}


def mention(text: str, *who: str, quoted: str | None = None) -> dict[str, Any]:
    context: dict[str, Any] = {"mentionedJid": list(who)}
    if quoted:
        context |= {"stanzaId": "Q", "participant": MINA}
        context["quotedMessage"] = {"extendedTextMessage": {"text": quoted, "contextInfo": {"mentionedJid": list(who)}}}
    return {"extendedTextMessage": {"text": text, "contextInfo": context}}


@pytest.mark.parametrize("known_by", ["chat", "contact", "alias"])
async def test_mentions_of_whom_the_session_knows(site: Site, connect_client: Any, known_by: str) -> None:
    """By a chat's name, or by a contact that has no chat; under either address; in edits and quotes as in messages."""
    if known_by == "chat":
        await site.post("shop", message("hi", RUI, chatName="Rui"))
    else:
        await site.post("shop", {"contacts": [{"id": RUI, "name": "Rui", "aliases": [RUI_LID]}]})
    who = RUI_LID if known_by == "alias" else RUI
    number = who.partition("@")[0]
    before = await site.seq("shop")
    client: Client = await connect_client()
    await client.subscribe("shop")
    text = f"@{number} and @4915112345678?"
    await site.post("shop", said("M1", mention(text, who, MINA, quoted=f"ask @{number}")), source="baileys")
    edit = {"protocolMessage": {"type": 14, "key": {"id": "M1"}, "editedMessage": mention(f"@{number}!", who)}}
    await site.post("shop", said("E1", edit), source="baileys")
    await client.has(before + 1, before + 2)
    new, edited = (event["message"] for event in client.durable())
    assert (new["text"], new["replyTo"]["text"]) == ("@Rui and @4915112345678?", "ask @Rui")
    assert edited["text"] == "@Rui!"


async def test_an_edit_that_waits_has_names(site: Site) -> None:
    """It is shown by the names that were known when it came."""
    await site.post("shop", {"contacts": [{"id": RUI, "name": "Rui"}]})
    edit = {"protocolMessage": {"type": 14, "key": {"id": "M1"}, "editedMessage": mention("@351911111111!", RUI)}}
    await site.post("shop", said("E1", edit), source="baileys")
    await site.post("shop", said("M1", {"conversation": "?"}), source="baileys")
    assert (await site.messages("shop", GROUP))[0]["text"] == "@Rui!"
