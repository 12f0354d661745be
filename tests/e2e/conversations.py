"""A day of a small pottery's messages, for pictures of the page."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OPEN = "Alice Wong"
GROUP = "Market stall, Saturday"
KINDS = "Camille Laurent"
RIGHT_TO_LEFT = "נועה לוי"
CHINESE = "陳怡君"
READ = (OPEN, GROUP, "Jonas Becker", KINDS, "佐藤 健", "Ana Souza")
"""Chats that have been read; the others have something new."""

_IDS = {
    OPEN: "85291234567",
    KINDS: "33612345678",
    RIGHT_TO_LEFT: "972501234567",
    CHINESE: "886912345678",
    "Jonas Becker": "4915112345678",
    "佐藤 健": "819012345678",
    "Ana Souza": "5511999998888",
    "Priya Sharma": "919812345678",
    "أحمد علي": "971501234567",
    "Tom Okafor": "447700900123",
    "김민준": "821012345678",
    "李伟": "8613800138000",
}
_GROUP_ID = "120363041234567890@g.us"


def _drawing(ground: str, *shapes: str) -> str:
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 480" width="640" height="480">'
        f'<rect width="640" height="480" fill="{ground}"/>{"".join(shapes)}</svg>'
    )


def _mug(x: int, y: int, glaze: str, clay: str = "#c9a27e") -> str:
    """A mug, glazed down to a line above its foot."""
    return (
        f'<g transform="translate({x} {y})"><ellipse cx="70" cy="178" rx="92" ry="14" fill="#00000022"/>'
        f'<path d="M118 48c52-8 62 78 0 84" fill="none" stroke="{glaze}" stroke-width="17"/>'
        f'<path d="M8 20h124l-8 140c-1 12-108 12-109 0z" fill="{clay}"/>'
        f'<path d="M8 20h124l-6 104c-22 14-36-4-56 6-20 9-38-6-56 2z" fill="{glaze}"/>'
        f'<ellipse cx="70" cy="20" rx="62" ry="13" fill="#fff8"/><ellipse cx="70" cy="21" rx="53" ry="9" fill="#0004"/>'
        "</g>"
    )


_TABLE = '<rect y="330" width="640" height="150" fill="#e3d3bf"/><rect y="330" width="640" height="3" fill="#cdb99f"/>'
DRAWINGS = {
    "blue.svg": _drawing("#eef0ec", _TABLE, _mug(110, 190, "#33658a"), _mug(330, 190, "#86a8b8")),
    "chip.svg": _drawing(
        "#f0ebe3", _TABLE, _mug(230, 190, "#8a9a5b"), '<path d="M286 200l14 22 16-18z" fill="#f0ebe3"/>'
    ),
    "stall.svg": _drawing(
        "#dfe9ee",
        '<rect y="360" width="640" height="120" fill="#b9c3a5"/><path d="M80 150h480l40 70H40z" fill="#c8553d"/>',
        '<path d="M200 150h80l-7 70h-86zM360 150h80l13 70h-86z" fill="#f6efe6"/>',
        '<rect x="70" y="220" width="10" height="200" fill="#7a5c43"/>',
        '<rect x="560" y="220" width="10" height="200" fill="#7a5c43"/>',
        '<rect x="60" y="340" width="520" height="70" fill="#d9c3a5"/>',
        *(
            f'<g transform="translate({90 + 92 * i} 262) scale(.45)">{_mug(0, 0, glaze)}</g>'
            for i, glaze in enumerate(("#33658a", "#8a9a5b", "#c8553d", "#86a8b8", "#e0a458"))
        ),
    ),
    "heart.svg": (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 200" width="200" height="200">'
        '<path d="M100 172C20 116 22 44 68 40c20-2 30 16 32 24 2-8 12-26 32-24 46 4 48 76-32 132z" fill="#e76f51"/>'
        '<circle cx="80" cy="92" r="7" fill="#3a1d14"/><circle cx="120" cy="92" r="7" fill="#3a1d14"/>'
        '<path d="M84 114q16 16 32 0" fill="none" stroke="#3a1d14" stroke-width="5" stroke-linecap="round"/></svg>'
    ),
}


@contextmanager
def pictures() -> Iterator[str]:
    """Serves the drawings that the conversations show; gives their address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            *slow, name = self.path.strip("/").split("/")
            if slow:
                time.sleep(1)
            body = DRAWINGS.get(name, "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "image/svg+xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with served(Handler) as address:
        yield address


@contextmanager
def served(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """A web site on a port of its own; gives its address."""
    site = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=site.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{site.server_port}"
    finally:
        site.shutdown()
        site.server_close()


def _id(name: str) -> str:
    return f"{_IDS[name]}@s.whatsapp.net"


class _Day:
    """Messages in the order in which they came, the times told in minutes ago."""

    def __init__(self, now: datetime.datetime) -> None:
        self.now = now
        self.all: list[dict[str, Any]] = []

    def add(self, minutes: float, name: str, text: str | None, **more: Any) -> str:
        """`mine` is the status of one of ours; `by` who says it in the group."""
        mine, by = more.pop("mine", None), more.pop("by", None)
        chat = _GROUP_ID if name == GROUP else _id(name)
        who = by or name
        sender = {"id": "shop"} if mine else {"id": _IDS.get(who, who) + "@s.whatsapp.net", "name": who}
        quoted = more.pop("to", None)
        message = {
            "messageId": f"m{len(self.all) + 1}",
            "chatId": chat,
            "chatName": name,
            "sender": sender,
            "fromMe": bool(mine),
            "timestamp": (self.now - datetime.timedelta(minutes=minutes)).isoformat(),
            **({"text": text} if text else {}),
            **({"status": mine} if mine else {}),
            **more,
        }
        if quoted:
            original = next(one for one in self.all if one["messageId"] == quoted)
            message["replyTo"] = {
                "messageId": quoted,
                "senderId": original["sender"]["id"],
                "text": original.get("text"),
            }
        self.all.append(message)
        return str(message["messageId"])


def _media(url: str, **facts: Any) -> dict[str, Any]:
    return {"url": url, **facts}


def messages(pictures: str, now: datetime.datetime) -> list[dict[str, Any]]:
    day = _Day(now)
    add = day.add
    picture = {"width": 640, "height": 480, "mimeType": "image/svg+xml"}
    add(9000, "李伟", "谢谢，杯子已经收到了，包装得很好。")
    add(7400, "김민준", "네, 감사합니다 😊")
    add(4300, "Ana Souza", "Obrigada, chegou hoje! 💚")
    add(4290, "Ana Souza", "Que bom! Boas festas 🎄", mine="read")
    add(2900, "Tom Okafor", "Could you make eight of the speckled bowls by the 12th? They are for the café's new menu.")
    add(2700, "佐藤 健", "ありがとうございます。届くのを楽しみにしています。")
    add(2690, "佐藤 健", "こちらこそ。木曜日に発送します。", mine="read")
    add(1500, OPEN, "Hello! I saw your mugs at the harbour market and keep thinking of the blue one.")
    add(1494, OPEN, "Hello Alice, how nice! Do you mean the deep blue or the pale one?", mine="read")
    add(1480, "أحمد علي", "مرحباً، هل يمكنني الدفع عند الاستلام؟")
    add(420, RIGHT_TO_LEFT, "שלום! האם אפשר להחליף את הקערה הקטנה בגדולה?")
    add(410, RIGHT_TO_LEFT, "Of course. I will put the large one aside for you.", mine="read")
    add(404, RIGHT_TO_LEFT, "תודה רבה! אגיע ב-Dizengoff 45 מחר 🙏")
    add(300, KINDS, "Bonjour, la tasse est arrivée avec un éclat sur le bord :(")
    chip = add(299, KINDS, None, type="image", media=_media(f"{pictures}/chip.svg", **picture))
    add(290, KINDS, "Oh non, je suis désolée ! Je vous en envoie une autre aujourd’hui.", mine="read", to=chip)
    add(
        289,
        KINDS,
        None,
        mine="read",
        media=_media(f"{pictures}/label.pdf", fileName="return-label.pdf", mimeType="application/pdf", size=84_213),
    )
    add(282, KINDS, "Le Petit Atelier\n12 rue des Tanneurs, Lyon\n45.767900, 4.834200", type="location")
    add(281, KINDS, "Hugo Mercier\n+33 6 98 76 54 32", type="contact")
    add(280, KINDS, None, type="audio", media=_media(f"{pictures}/voice.ogg", durationSeconds=14.2, size=31_400))
    add(278, KINDS, None, type="sticker", media=_media(f"{pictures}/heart.svg", width=200, height=200))
    add(240, "Jonas Becker", "Haben Sie die Schale auch in 28 cm?")
    add(236, "Jonas Becker", "Ja, in Grün und in Sand. Ich lege Ihnen eine zurück.", mine="delivered")
    stall = add(170, GROUP, "The stall is ours again, same corner as last time.", by="Priya Sharma")
    add(168, GROUP, None, by="Priya Sharma", type="image", media=_media(f"{pictures}/stall.svg", **picture))
    add(160, GROUP, "Lovely! I can bring the folding table and the lights.", by="Tom Okafor", to=stall)
    add(150, GROUP, "I fire the last batch tonight: 24 mugs, 10 bowls.", mine="read")
    add(147, GROUP, "我可以下午來幫忙包裝。", by=CHINESE)
    add(140, GROUP, "Plan and prices are here: https://docs.example/market-2026\nSee you at seven.", by="Priya Sharma")
    add(64, CHINESE, "你好，請問深藍色的馬克杯還有現貨嗎？")
    add(62, CHINESE, "我想要兩個，送朋友的 🎁")
    add(38, OPEN, "The deep one! Is it still there?")
    blue = add(
        31,
        OPEN,
        "They came out of the kiln this morning. Deep blue on the left, pale on the right.",
        mine="read",
        type="image",
        media=_media(f"{pictures}/blue.svg", **picture),
    )
    add(23, OPEN, "Oh, the left one. It is even better than I remembered.", to=blue)
    add(22, OPEN, "Two of them, please. And could you wrap one as a present?")
    add(17, OPEN, "With pleasure. They will be ready on Thursday after ten.", mine="read")
    add(6, OPEN, "Perfect, I will come by at noon. Thank you, Mei!")
    for message in day.all:
        if message.get("replyTo", {}).keys() == {"messageId"}:
            message["replyTo"] |= {"senderId": None, "text": None}
    return day.all


def updates(all_messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What people thought of some of them."""
    reactions = [
        ("The stall is ours again", "🎉", None),
        ("The stall is ours again", "🎉", "Tom Okafor"),
        ("我可以下午來幫忙包裝", "❤️", "Priya Sharma"),
        ("They came out of the kiln", "😍", OPEN),
    ]
    found = []
    for words, emoji, who in reactions:
        message = next(one for one in all_messages if words in (one.get("text") or ""))
        sender = {"id": _id(who), "name": who} if who else {"id": "shop"}
        reaction = {"sender": sender, "fromMe": who is None, "emoji": emoji}
        found.append({"messageId": message["messageId"], "chatId": message["chatId"], "reaction": reaction})
    return found


def news(now: datetime.datetime) -> list[dict[str, Any]]:
    """What comes while the page is looked at."""
    return [
        {
            "messageId": "news-1",
            "chatId": _id("Priya Sharma"),
            "chatName": "Priya Sharma",
            "sender": {"id": _id("Priya Sharma"), "name": "Priya Sharma"},
            "text": "The parcel left the studio, here is the number: KL-20418",
            "timestamp": (now - datetime.timedelta(seconds=70)).isoformat(),
        }
    ]
