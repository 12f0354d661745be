"""SESSIONS_FILE: what it may say, and that all its faults are told at once, without a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.providers import SourceSettings
from app.session_settings import SendSettings, Sessions, SessionsFileError, load

WHOLE = """
[shop]
name = "Shop, main line"
source.webhook_secret = ["env:NEW", "old-secret"]
source.verify_token = "env:VERIFY"
source.phone_number_id = "106"
source.mark_read = false
send.via = "evolution"
send.url = "http://evolution:8080"
send.key = "env:KEY"
send.instance = "shop"
send.typing = true

["two:words"]
source.webhook_secret = "one"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sessions.toml"
    path.write_text(text)
    return path


def test_everything_that_it_may_say(tmp_path: Path) -> None:
    """Secrets come from the environment or from the file, one or several; what is left out has its default."""
    sessions = load(written(tmp_path, WHOLE), {"NEW": "new-secret", "VERIFY": "v", "KEY": "k"})
    shop = sessions["shop"]
    assert shop.name == "Shop, main line"
    assert shop.source == SourceSettings(("new-secret", "old-secret"), "v", "106", mark_read=False)
    assert shop.send == SendSettings(
        "evolution", "http://evolution:8080", "k", "shop", read_receipts=False, typing=True
    )
    assert sessions["two:words"].source == SourceSettings(("one",))
    assert sessions["two:words"].send == SendSettings()
    assert "secret" not in repr(sessions), "nobody logs one by mistake"


def test_all_faults_at_once(tmp_path: Path) -> None:
    """One run tells everything that is wrong, and where, and no secret."""
    text = """
    top = 1
    [shop]
    colour = "red"
    name = 5
    source.webhook_secret = ""
    source.verify_token = "env:NOT_SET"
    source.mark_read = "yes"
    source.phone_number_id = "106"
    send.via = "pigeon"
    send.url = "ftp://example.com"
    ["bad id"]
    source.phone_number_id = "106"
    [other]
    send.via = "evolution"
    send.key = "hidden-secret"
    """
    with pytest.raises(SessionsFileError) as caught:
        load(written(tmp_path, text), {})
    told = str(caught.value)
    for part in (
        "top: Must be a table.",
        "shop.colour: Unknown setting.",
        "shop.name: Must be a non-empty string",
        "shop.source.webhook_secret: Must be",
        "shop.source.verify_token: The environment variable NOT_SET is not set.",
        "shop.source.mark_read: Must be true or false.",
        "shop.send.via: Must be one of: bot",
        "shop.send.url: Must be an http or https URL.",
        "[bad id]: A sessionId",
        "bad id.source.phone_number_id: shop has the same number.",
        "other.send.url: Required with",
        "other.send.instance: Required with",
    ):
        assert part in told
    assert "hidden-secret" not in told


@pytest.mark.parametrize("text", ["[shop", "[shop]\nname = \xff"])
def test_what_is_no_file(tmp_path: Path, text: str) -> None:
    """A file that is missing, or is not TOML, is told by its name."""
    path = tmp_path / "sessions.toml"
    with pytest.raises(SessionsFileError, match=r"sessions\.toml: No such file"):
        load(path)
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SessionsFileError, match="The file is not valid TOML"):
        load(path)


def test_a_fault_changes_nothing(tmp_path: Path) -> None:
    """What was read before stays in force until the file is right again."""
    path = written(tmp_path, '[shop]\nname = "one"')
    sessions = Sessions(path)
    path.write_text('[shop]\nname = "two"\ncolour = "red"')
    with pytest.raises(SessionsFileError):
        sessions.reload()
    assert sessions.of("shop").name == "one"
    path.write_text('[shop]\nname = "two"')
    sessions.reload()
    assert sessions.of("shop").name == "two"
    assert sessions.of("another").name is None


def test_numbers(tmp_path: Path) -> None:
    """Which session a number's part of a body goes to; None for one that the sender may not write to."""
    text = '[a]\nsource.phone_number_id = "1"\n[b]\nsource.phone_number_id = "2"\n[c]\nname = "c"'
    sessions = Sessions(written(tmp_path, text))
    assert sessions.numbers(lambda session_id, source: session_id == "a") == {"1": "a", "2": None}
