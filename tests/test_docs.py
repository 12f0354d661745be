"""The documents match the code."""

from __future__ import annotations

import re
from typing import Any

from app.providers.reasons import REASONS
from app.settings import SETTINGS, Setting
from tests.support import ROOT

README = (ROOT / "README.md").read_text()


def row(setting: Setting) -> str:
    """The setting's line in the README's table."""
    default: Any = setting.default
    if default is None or default == ():
        shown = ""
    elif isinstance(default, bool):
        shown = f"`{str(default).lower()}`"
    else:
        shown = f"`{default}`"
    return f"| `{setting.name}` | {shown} | {setting.words} |"


def test_readme_lists_every_setting() -> None:
    """The README's table of settings is the one in the code."""
    table = README.partition("## Settings")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert rows == [row(setting) for setting in SETTINGS]


def test_readme_keeps_its_order() -> None:
    """The README's sections are in the expected order."""
    assert re.findall(r"^## (.*)$", README, re.MULTILINE) == [
        "Two commands",
        "What is printed",
        "Connect",
        "Events",
        "Settings",
        "Production",
        "Troubleshooting",
        "Development",
    ]


def test_links_lead_somewhere() -> None:
    """Every linked file exists."""
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_reason_is_explained() -> None:
    """Every reason for skipping parts of a provider's payload is documented."""
    table = (ROOT / "docs" / "providers.md").read_text()
    assert [f"| `{reason}` | {words} |" for reason, words in REASONS.items()] == [
        line for line in table.partition("| reason |")[2].splitlines() if line.startswith("| `")
    ]
