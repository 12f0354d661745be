"""The other files of config/: what they say is accepted by what reads them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo import AsyncMongoClient

from app.metrics import Metrics
from app.providers.refusals import CODES
from tests.support import ROOT, Client, Process, message

CONFIG = ROOT / "config"


async def test_the_database_user_of_compose_has_all_rights_that_are_needed(
    mongodb_uri: str, database: str, processes: Callable[..., Awaitable[Process]], connect_client: Any
) -> None:
    """Two servers with the user that config/mongo-user.js makes store, follow each other and warn of nothing."""
    made = re.search(r"roles: (\[.*?\])", (CONFIG / "mongo-user.js").read_text())
    assert made is not None
    async with AsyncMongoClient[dict[str, Any]](mongodb_uri) as client:
        await client[database].command("createUser", "roomcast", pwd="a-password", roles=json.loads(made[1]))
    parts = urlsplit(mongodb_uri)
    uri = f"mongodb://roomcast:a-password@{parts.netloc.rpartition('@')[2]}/?{parts.query}"
    uri = re.sub(r"authSource=\w+", f"authSource={database}", uri)
    if "authSource" not in uri:
        uri += f"&authSource={database}"
    one, two = await processes(MONGODB_URI=uri), await processes(MONGODB_URI=uri)
    follower: Client = await connect_client(to=two.site)
    await follower.subscribe("shop")
    assert (await one.site.post("shop", message(messageId="m1"))).status == 200
    await follower.has(1)
    assert [await process.stop() for process in (one, two)] == [0, 0]
    warnings = [line for process in (one, two) for line in process.log if json.loads(line)["level"] != "info"]
    assert warnings == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_unit() -> None:
    """systemd finds nothing to complain of, and calls the service well confined (at most 2.0 of 10)."""
    unit = str(CONFIG / "roomcast@.service")
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    said = [line for line in verified.stderr.splitlines() if "roomcast" in line]
    assert said == []
    confined = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit]
    judged = subprocess.run(confined, capture_output=True, text=True, check=False)
    if "unrecognized option" in judged.stderr:
        pytest.skip("this systemd cannot judge a unit that is not installed")
    assert judged.returncode == 0, judged.stdout[-200:] + judged.stderr


def test_compose_confines_both_containers() -> None:
    """Both services are read-only, without privileges, and limited; no port is open to others than this machine."""
    services = (CONFIG / "compose.yaml").read_text().partition("\nnetworks:")[0].split("\n  roomcast:\n")
    assert len(services) == 2
    for service in services:
        for line in ("read_only: true", "no-new-privileges:true", "cap_drop: [ALL]", "mem_limit: ", "pids_limit: "):
            assert line in service
    assert re.findall(r"ports: .*", services[1]) == ['ports: ["127.0.0.1:8080:8080"]']
    assert "ports:" not in services[0]


def test_alerts_are_about_figures_that_exist() -> None:
    """Each figure in the alerting rules is one that the server has, with the labels that the rules use."""
    rules = (CONFIG / "alerts.yml").read_text()
    named = set(re.findall(r"roomcast_\w+", rules))
    metrics = Metrics()
    metrics.deliveries_failed.labels("rejected").inc()
    there = set(re.findall(r"^(roomcast_\w+)", metrics.render().decode(), re.MULTILINE))
    assert named
    assert named <= there
    reasons = set("|".join(re.findall(r'reason!?[~=]+"([^"]+)"', rules)).split("|"))
    assert reasons <= CODES
    assert rules.count("- alert: ") == rules.count("expr: ") == rules.count("severity: ")


def test_the_image_can_be_built(tmp_path: Path) -> None:
    """What the Dockerfile copies is all that the wheel is made of."""
    _, _, last = (CONFIG / "Dockerfile").read_text().rpartition("\nFROM ")
    before, _, _ = last.partition("\nRUN pip install")
    for line in re.findall(r"^COPY (?!--from)(.*)$", before, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "static")
                shutil.copytree(ROOT / source, tmp_path / target, ignore=ignored)
            else:
                (tmp_path / target).mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, tmp_path / target)
    page = tmp_path / "app" / "static" / "index.html"  # made by the first stage
    page.parent.mkdir()
    page.write_text("<!doctype html>")
    # The build itself without its isolation, for which setuptools would be downloaded.
    build = "import sys, tomllib; made = tomllib.load(open('pyproject.toml', 'rb'))['build-system']; "
    build += "sys.path[:0] = made['backend-path']; __import__(made['build-backend']); import setuptools; "
    build += "sys.argv = ['setup', '--quiet', 'build', '--build-lib', 'built']; setuptools.setup()"
    done = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("app/cli.py", "app/static/index.html", "app/engine/server.py"):
        assert (tmp_path / "built" / name).is_file()
