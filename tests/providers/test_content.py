"""Every kind of content becomes text: what a person would have seen, and never nothing."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from app.domain.incoming import IncomingUpdate
from app.domain.models import MAX_PREVIEW_BYTES
from app.providers.baileys.stub_types import NAMES, NO_CONTENT, REVOKES, TEXTS
from app.providers.baileys.stubs import read_stub
from tests.providers.test_baileys import GROUP, MINA, RUI, changes, entry, one, parsed, reason, upsert


def flow(name: str, **parameters: Any) -> dict[str, Any]:
    return {"name": name, "buttonParamsJson": json.dumps(parameters)}


PIX = {
    "currency": "BRL",
    "total_amount": {"value": 1250, "offset": 100},
    "order": {"items": [{"name": "Lamp", "amount": {"value": 1250, "offset": 100}, "quantity": 1}]},
    "payment_settings": [
        {
            "type": "pix_static_code",
            "pix_static_code": {"merchant_name": "Shop", "key": "a@b.example", "key_type": "EMAIL"},
        }
    ],
}

PIX_KEY = {
    "currency": "BRL",
    "total_amount": {"value": 0, "offset": 100},
    "order": {"status": "pending", "items": [{"name": "", "amount": {"value": 0, "offset": 100}, "quantity": 0}]},
    "payment_settings": [
        {"type": "pix_static_code", "pix_static_code": {"merchant_name": "Shop", "key": "11999", "key_type": "PHONE"}}
    ],
}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            {
                "orderMessage": {
                    "orderTitle": "Order 5",
                    "message": "soon please",
                    "itemCount": 2,
                    "totalAmount1000": {"low": 25500, "high": 0},
                    "totalCurrencyCode": "EUR",
                }
            },
            "Order 5\nsoon please\n2 items\nTotal: EUR 25.50",
        ),
        ({"orderMessage": {"itemCount": 1}}, "1 item"),
        ({"orderMessage": {}}, "Order"),
        (
            {"productMessage": {"product": {"title": "Lamp", "currencyCode": "EUR", "priceAmount1000": "12500"}}},
            "Lamp\nEUR 12.50",
        ),
        (
            {
                "listMessage": {
                    "title": "Menu",
                    "sections": [{"rows": [{"title": "Soup", "description": "hot"}, {"rowId": "r2"}]}],
                }
            },
            "Menu\n• Soup – hot\n• r2",
        ),
        ({"listResponseMessage": {"singleSelectReply": {"selectedRowId": "r2"}}}, "r2"),
        ({"buttonsResponseMessage": {"selectedButtonId": "b1"}}, "b1"),
        ({"templateButtonReplyMessage": {"selectedId": "t1"}}, "t1"),
        (
            {
                "interactiveMessage": {
                    "body": {"text": "Pick"},
                    "nativeFlowMessage": {
                        "buttons": [
                            flow("quick_reply", display_text="Yes", id="y"),
                            flow("cta_url", display_text="Shop", url="https://shop.example"),
                            flow("cta_copy", display_text="Code", copy_code="SAVE5"),
                            flow("single_select", title="More", sections=[{"rows": [{"title": "A"}, {"id": "b"}]}]),
                            {"name": "send_location"},
                        ]
                    },
                }
            },
            "Pick\n• Yes\n• Shop – https://shop.example\n• Code – SAVE5\n• More – A – b\n• send_location",
        ),
        (
            {"interactiveMessage": {"nativeFlowMessage": {"buttons": [flow("payment_info", **PIX)]}}},
            "• Lamp – BRL 12.50 – × 1 – BRL 12.50 – PIX – Shop – a@b.example",
        ),
        (
            {
                "interactiveMessage": {
                    "body": {"text": "Ours"},
                    "carouselMessage": {
                        "cards": [
                            {"header": {"title": "One"}, "body": {"text": "first"}},
                            {
                                "body": {"text": "second"},
                                "nativeFlowMessage": {"buttons": [flow("quick_reply", display_text="Buy")]},
                            },
                        ]
                    },
                }
            },
            "Ours\n— One\nfirst\n— second\n• Buy",
        ),
        (
            {"interactiveResponseMessage": {"nativeFlowResponseMessage": {"name": "q", "paramsJson": '{"id": "yes"}'}}},
            "yes",
        ),
        (
            {
                "interactiveResponseMessage": {
                    "body": {"text": "Sent"},
                    "nativeFlowResponseMessage": {"paramsJson": '{"size": "M", "tags": ["a", "b"], "flow_token": "x"}'},
                }
            },
            "Sent\nsize: M\ntags: a, b",
        ),
        (
            {
                "richResponseMessage": {
                    "submessages": [
                        {"messageText": "Here:"},
                        {"tableMetadata": {"title": "Sizes", "rows": [{"items": ["S", "1"]}]}},
                        {"codeMetadata": {"codeBlocks": [{"codeContent": "x = 1"}]}},
                    ]
                }
            },
            "Here:\nSizes\nS – 1\nx = 1",
        ),
        ({"questionResponseMessage": {"key": {}, "text": "An answer"}}, "An answer"),
        ({"statusQuestionAnswerMessage": {"text": "Mine"}}, "Mine"),
        ({"questionMessage": {"message": {"extendedTextMessage": {"text": "Why?"}}}}, "Why?"),
        (
            {
                "eventMessage": {
                    "name": "Party",
                    "isCanceled": True,
                    "startTime": "1770000000",
                    "endTime": 1770003600,
                    "location": {"name": "Hall", "degreesLatitude": 1, "degreesLongitude": 2},
                    "joinLink": "https://call.example/1",
                }
            },
            "Party\nThe event was cancelled\nStart: 2026-02-02 02:40 UTC\nEnd: 2026-02-02 03:40 UTC\nHall\n"
            "1.000000, 2.000000\nhttps://call.example/1",
        ),
        (
            {
                "pollResultSnapshotMessage": {
                    "name": "Lunch?",
                    "pollVotes": [{"optionName": "Yes", "optionVoteCount": 3}],
                }
            },
            "Poll results\nLunch?\n• Yes: 3",
        ),
        (
            {"stickerPackMessage": {"name": "Cats", "publisher": "Ada", "stickers": [{}, {}]}},
            "Sticker pack: Cats – Ada\n2 stickers",
        ),
        ({"newsletterAdminInviteMessage": {"newsletterName": "News"}}, "Invitation to manage the channel News"),
        ({"groupInviteMessage": {}}, "Invitation"),
        (
            {
                "requestPaymentMessage": {
                    "amount": {"value": 500, "offset": 100, "currencyCode": "INR"},
                    "noteMessage": {"extendedTextMessage": {"text": "rent"}},
                }
            },
            "Request for payment\nINR 5.00\nrent",
        ),
        ({"declinePaymentRequestMessage": {"key": {}}}, "The request for payment was declined"),
        ({"paymentInviteMessage": {"serviceType": 1}}, "Invitation to set up payments"),
        ({"invoiceMessage": {"note": "No. 5"}}, "Invoice\nNo. 5"),
        ({"callLogMesssage": {"callOutcome": "REJECTED", "durationSecs": "65"}}, "Voice call – rejected – 1:05"),
        (
            {"scheduledCallCreationMessage": {"title": "Sync", "scheduledTimestampMs": 1770000000000}},
            "Sync\nAt: 2026-02-02 02:40 UTC",
        ),
        ({"placeholderMessage": {"type": 0}}, "This message can only be shown on the phone"),
        ({"viewOnceMessageV2": {"message": {"imageMessage": {"caption": "c"}}}}, "c\nView once: open it on the phone"),
        (
            {
                "extendedTextMessage": {
                    "text": "How much?",
                    "contextInfo": {
                        "externalAdReply": {"title": "Lamps", "sourceUrl": "https://ad.example", "sourceType": "ad"}
                    },
                }
            },
            "How much?\nFrom the ad: Lamps\nhttps://ad.example",
        ),
        ({"contactMessage": {"vcard": "FN:Bo\\, the\\; long\r\n one\nTEL:+1 555\\n"}}, "Bo, the; longone\n+1 555"),
        (
            {"contactMessage": {"vcard": "FN;ENCODING=QUOTED-PRINTABLE:Jos=C3=A9 da=\r\n=20Silva\r\nTEL;CELL:+55 11"}},
            "José da Silva\n+55 11",
        ),
        ({"conversation": " \u200b "}, " \u200b "),
        ({"extendedTextMessage": {"text": "\n"}}, "\n"),
        (
            {
                "buttonsMessage": {
                    "contentText": "Pick",
                    "footerText": "today",
                    "buttons": [{"buttonId": "b1", "buttonText": {"displayText": "Yes"}}, {"buttonId": "b2"}],
                }
            },
            "Pick\ntoday\n• Yes\n• b2",
        ),
        (
            {
                "templateMessage": {
                    "hydratedTemplate": {
                        "hydratedContentText": "Hello",
                        "hydratedButtons": [
                            {"quickReplyButton": {"displayText": "Yes", "id": "1"}},
                            {"quickReplyButton": {"id": "only-id"}},
                            {"callButton": {"displayText": "Call", "phoneNumber": "+1 555"}},
                        ],
                    }
                }
            },
            "Hello\n• Yes\n• only-id\n• Call – +1 555",
        ),
        (
            {
                "productMessage": {
                    "product": {
                        "title": "Lamp",
                        "currencyCode": "EUR",
                        "priceAmount1000": 12500,
                        "salePriceAmount1000": 9900,
                        "productImage": {"url": "https://media.example/p.jpg"},
                    }
                }
            },
            "Lamp\nEUR 9.90 (instead of EUR 12.50)",
        ),
        (
            {
                "listMessage": {
                    "title": "Ours",
                    "productListInfo": {"productSections": [{"title": "Lamps", "products": [{"productId": "p1"}]}]},
                }
            },
            "Ours\nLamps\n• p1",
        ),
        (
            {"interactiveMessage": {"nativeFlowMessage": {"buttons": [flow("payment_info", **PIX_KEY)]}}},
            "• PIX – Shop – 11999",
        ),
        (
            {
                "interactiveResponseMessage": {
                    "nativeFlowResponseMessage": {"paramsJson": '{"agree": true, "news": false, "n": 3, "note": ""}'}
                }
            },
            "agree: yes\nnews: no\nn: 3",
        ),
        (
            {
                "botForwardedMessage": {
                    "message": {
                        "richResponseMessage": {
                            "submessages": [
                                {"messageText": "Look:"},
                                {"contentItemsMetadata": {"itemsMetadata": [{"reelItem": {"title": "A film"}}]}},
                            ]
                        }
                    }
                }
            },
            "Look:\nA film",
        ),
        ({"questionReplyMessage": {"message": {"extendedTextMessage": {"text": "Because"}}}}, "Because"),
        ({"statusQuotedMessage": {"type": 1, "text": "Nice"}}, "Nice"),
        (
            {
                "imageMessage": {
                    "caption": "This one",
                    "contextInfo": {"externalAdReply": {"title": "Lamps", "sourceType": "ad"}},
                }
            },
            "This one\nFrom the ad: Lamps",
        ),
        (
            {
                "pollCreationMessageV4": {
                    "message": {"pollCreationMessageV3": {"name": "Lunch?", "options": [{"optionName": "Yes"}]}}
                }
            },
            "Lunch?\n• Yes",
        ),
        ({"newsletterFollowerInviteMessageV2": {"newsletterName": "News"}}, "Invitation to the channel News"),
        ({"sendPaymentMessage": {"noteMessage": {"conversation": "thanks"}}}, "Payment\nthanks"),
        ({"cancelPaymentRequestMessage": {"key": {}}}, "The request for payment was cancelled"),
        ({"callLogMesssage": {"isVideo": True, "callOutcome": 1}}, "Missed video call"),
        ({"scheduledCallEditMessage": {"editType": 1}}, "The scheduled call was cancelled"),
        ({"viewOnceMessage": {"message": {}}}, "View once: open it on the phone"),
        ({"liveLocationMessage": {"degreesLatitude": 1, "degreesLongitude": 2}}, "1.000000, 2.000000"),
        (
            {"documentWithCaptionMessage": {"message": {"documentMessage": {"fileName": "a.pdf", "caption": "Bill"}}}},
            "Bill",
        ),
        ({"commentMessage": {"message": {"conversation": "Yes!"}, "targetMessageKey": {"id": "T"}}}, "Yes!"),
        (
            {"hologramMessage": {"title": "New", "inner": {"caption": "next year", "paramsJson": '{"label": "Go"}'}}},
            "New\nnext year\nGo",
        ),
    ],
)
def test_words(message: object, text: str) -> None:
    """Goods, forms, answers, events, calls, payments, what only the phone shows, and what is new next year."""
    assert one(message).text == text


def test_an_answer_that_is_nested_deeply() -> None:
    """A form's answer of any depth is read as far as a person could follow."""
    deep = '{"a": ' * 900 + '{"name": "x"}' + "}" * 900
    answer = {
        "interactiveResponseMessage": {"body": {"text": "Sent"}, "nativeFlowResponseMessage": {"paramsJson": deep}}
    }
    assert one(answer).text == "Sent"


def test_mentions_are_names() -> None:
    """A number that somebody mentions is shown as the name, where the body tells it; others stay."""
    context = {"mentionedJid": [RUI, MINA, 5], "groupMentions": [{"groupJid": GROUP, "groupSubject": "Club"}]}
    text = f"@351911111111 and @4915112345678 in @{GROUP}"
    mention = entry({"extendedTextMessage": {"text": text, "contextInfo": context}})
    named = entry({"conversation": "hi"}, key={"id": "X2", "remoteJid": RUI}, pushName="Rui")
    message = parsed(upsert(mention, named)).messages[0]
    assert (message.text, message.mentions) == ("@Rui and @4915112345678 in @Club", (MINA,))


def test_a_number_within_a_number_is_no_mention() -> None:
    """`@3519` is not the beginning of `@35191`; a name with an @ in it is not taken for another mention."""
    people = ("351911@s.whatsapp.net", "35191111@s.whatsapp.net", "undefined@s.whatsapp.net")
    text = {"text": "@35191111 and @351911", "contextInfo": {"mentionedJid": [*people, people[0]]}}
    named = entry({"conversation": "hi"}, key={"id": "X2", "remoteJid": people[1]}, pushName="@351911")
    message = parsed(upsert(entry({"extendedTextMessage": text}), named)).messages[0]
    assert (message.text, message.mentions) == ("@@351911 and @351911", (people[0],))


@pytest.mark.parametrize("form", ["buffer", "text", "numbers", "keys", "list"])
def test_thumbnails(form: str) -> None:
    """In each form that bytes come in; what is no picture, or is too large, is left out."""
    picture = b"\xff\xd8\xff\xe0" + bytes(range(256))

    def shown(data: bytes) -> str | None:
        coded = base64.b64encode(data).decode()
        value: object = {
            "buffer": {"type": "Buffer", "data": coded},
            "text": coded,
            "numbers": {"type": "Buffer", "data": list(data)},
            "keys": {str(place): byte for place, byte in enumerate(data)},
            "list": list(data),
        }[form]
        media = one({"imageMessage": {"url": "https://media.example/a", "jpegThumbnail": value}}).media
        assert media is not None
        return media.preview

    assert shown(picture) == f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    assert shown(picture.ljust(MAX_PREVIEW_BYTES, b"\0")) is not None
    assert shown(picture.ljust(MAX_PREVIEW_BYTES + 1, b"\0")) is None
    assert shown(b"<svg onload=alert(1)>") is None
    assert shown(b"") is None


def test_what_could_not_be_decrypted_is_shown_as_such() -> None:
    """Even where another part of it could; and what only the phone opens says so."""
    parts = {"senderKeyDistributionMessage": {"groupId": GROUP}}
    assert one(parts, messageStubType=2).type == "unknown"
    assert one(parts, messageStubType="CIPHERTEXT").has_content is False
    view_once = one(None, key={"isViewOnce": True}, messageStubType=2)
    assert (view_once.type, view_once.text) == ("text", "View once: open it on the phone")


def test_a_placeholder_that_was_nothing_to_read_goes() -> None:
    """An edit, a vote or a key that came as an undecrypted message takes its placeholder away."""
    for message in (
        {"pollUpdateMessage": {}},
        {"senderKeyDistributionMessage": {}},
        {"protocolMessage": {"type": 14, "key": {"id": "T"}, "editedMessage": {"conversation": "new"}}},
    ):
        result = parsed(upsert(entry(message)))
        assert [one.message_id for one in result.updates if one.nothing_to_read] == ["X1"]
        assert not result.messages
    assert reason({"secretEncryptedMessage": {"targetMessageKey": {"id": "T"}}}) == "encrypted_edit"
    assert reason({"encReactionMessage": {"targetMessageKey": {"id": "T"}}}) == "encrypted_reaction"
    assert reason({"encCommentMessage": {"targetMessageKey": {"id": "T"}}}) == "encrypted_comment"


def test_both_forms_of_a_change_are_one() -> None:
    """An edit and a revoke say the same as messages of their own and as updates."""
    target = {"remoteJid": MINA, "fromMe": False, "id": "T"}
    edit = {
        "protocolMessage": {
            "type": 14,
            "key": target,
            "editedMessage": {"conversation": "new"},
            "timestampMs": 1770000005900,
        }
    }
    told = {
        "key": target,
        "update": {"message": {"editedMessage": {"message": {"conversation": "new"}}}, "messageTimestamp": 1770000005},
    }
    as_message, as_update = parsed(upsert(entry(edit))), parsed({"event": "messages.update", "data": [told]})
    assert changes(as_message) == changes(as_update)
    encrypted = {"secretEncryptedMessage": {"targetMessageKey": target, "secretEncType": 2, "encPayload": "AA=="}}
    together = parsed([upsert(entry(encrypted)), {"event": "messages.update", "data": [told]}])
    assert changes(together) == changes(as_update), "encrypted, and then again decrypted"
    assert changes(as_update)[0].text == "new"
    revoke = {"protocolMessage": {"type": 0, "key": target}}
    own = {"remoteJid": MINA, "fromMe": False, "id": "ITS OWN"}
    gone = {"key": target, "update": {"message": None, "messageStubType": 1, "key": own}}
    as_message, as_update = parsed(upsert(entry(revoke))), parsed({"event": "messages.update", "data": [gone]})
    assert changes(as_message) == changes(as_update) == [IncomingUpdate("T", MINA, deleted=True)]


def test_every_stub_type_says_something() -> None:
    """Each type of the table becomes words, but for those whose content may still come, and deletions."""
    assert len(NAMES) > 130
    for name, number in NAMES.items():
        if number not in (*NO_CONTENT, *REVOKES):
            assert number in TEXTS, name
            content = read_stub(name, [MINA])
            assert content is not None
            assert "{" not in (getattr(content, "text", None) or "{"), name
