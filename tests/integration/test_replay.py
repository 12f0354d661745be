"""`python -m app replay`: a file of payloads, dry and into a running server."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import aiohttp

from tests.support import SECRET, Site, command, serve, until

MINA = "4915112345678@s.whatsapp.net"


def said(number: int, text: str) -> dict[str, Any]:
    key = {"remoteJid": MINA, "fromMe": False, "id": f"R{number}"}
    message = {
        "key": key,
        "messageTimestamp": 1770000000 + number,
        "pushName": "Mina",
        "message": {"conversation": text},
    }
    return {"event": "messages.upsert", "data": {"type": "append", "messages": [message]}}


def written(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "payloads.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


async def run(*arguments: str, **environ: str) -> tuple[int, str, str]:
    return await command("replay", *arguments, **{"AUTH_SECRET": SECRET, **environ})


async def test_dry_run_says_what_would_come(tmp_path: Path) -> None:
    """Each line's messages and changes, and what is left out with the reason, in words; nothing acts on a terminal."""
    reaction = {
        "key": {"remoteJid": MINA, "id": "R1"},
        "reaction": {"text": "👍", "key": {"remoteJid": MINA, "id": "x"}},
    }
    path = written(
        tmp_path,
        said(1, "hello \x1b[31m"),
        "",
        "no JSON",
        {"event": "messages.reaction", "data": [reaction]},
        {"event": "something.new", "data": 1},
    )
    code, out, err = await run(str(path), "--session", "shop", "--source", "baileys", "--dry-run")
    assert code == 1, "a line that is not JSON is a fault"
    assert out.splitlines() == [
        f"line 1: message R1 in {MINA} from Mina: text “hello  [31m”",
        "line 3: not JSON",
        f"line 4: update of R1 in {MINA}: {MINA} reacted 👍",
        "line 5: skipped: event 1 (an unsupported kind of event)",
    ]
    assert "lines 4" in err


async def test_a_file_is_stored_once(site: Site, tmp_path: Path) -> None:
    """All of it, in the order of the file; the same file again stores nothing."""
    path = written(
        tmp_path, *(said(number, f"number {number}") for number in range(450)), [said(450, "a"), said(451, "b")]
    )
    arguments = (str(path), "--session", "old", "--source", "baileys", "--url", site.url)
    code, out, _ = await run(*arguments)
    assert (code, out.splitlines()[0]) == (0, "lines 451, messages stored 452, already known 0")
    newest = await site.messages("old", MINA)
    assert [one["messageId"] for one in newest][-3:] == ["R449", "R450", "R451"]
    assert await site.seq("old") == 452
    code, out, _ = await run(*arguments)
    assert (code, out.splitlines()[0]) == (0, "lines 451, messages stored 0, already known 452")
    assert await site.seq("old") == 452


async def test_a_refused_file_says_why(site: Site, tmp_path: Path) -> None:
    """A token that does not allow it ends the replay, with the lines that were refused."""
    path = written(tmp_path, said(1, "hi"))
    code, _, err = await run(
        str(path), "--session", "old", "--source", "baileys", "--url", site.url, "--token", "no token"
    )
    assert code == 1
    assert "lines 1 to 1 were refused: 401" in err
    assert await site.chats("old") == []


async def test_a_provider_that_signs(http: aiohttp.ClientSession, mongodb_uri: str, tmp_path: Path) -> None:
    """The session's secret signs for it. SIGHUP makes the server read SESSIONS_FILE again; a fault changes nothing."""
    settings = tmp_path / "sessions.toml"
    settings.write_text('[shop]\nsource.webhook_secret = "one"')
    told = {"event": "message", "payload": {"id": "false_4915112345678@c.us_A1", "body": "hi", "fromMe": False}}
    path = written(tmp_path, told)
    async with serve(http, MONGODB_URI=mongodb_uri, MONGODB_DATABASE="replay", SESSIONS_FILE=str(settings)) as server:

        async def replayed() -> str:
            arguments = (str(path), "--session", "shop", "--source", "waha", "--url", server.site.url)
            _, out, err = await run(*arguments, SESSIONS_FILE=str(settings))
            return out + err

        async def reread(text: str, event: str) -> None:
            settings.write_text(text)
            server.process.send_signal(signal.SIGHUP)
            await until(lambda: any(f'"event": "{event}"' in line for line in server.log))

        assert "messages stored 1, already known 0" in await replayed()
        settings.write_text('[shop]\nsource.webhook_secret = "two"')
        assert "401" in await replayed()
        await reread('[shop]\ncolour = "two"', "sessions_file_not_accepted")
        settings.write_text('[shop]\nsource.webhook_secret = "one"')
        assert "messages stored 0, already known 1" in await replayed()
        await reread('[shop]\nsource.webhook_secret = "two"', "sessions_file_read")
        assert "messages stored 0, already known 1" in await replayed()
