"""Runs the protocol's and the clients' own test suites against servers on `app/engine`.

`make conformance SOCKETIO=path` calls it; the path is a checkout of https://github.com/socketio/socket.io. Tests are
taken from there, the clients under test are the published packages of the same versions or newer. All of it is put
together in artifacts/conformance; nothing of it belongs to this repository.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "artifacts" / "conformance"
HERE = Path(__file__).parent
PATIENCE = 300

PACKAGES = {
    "private": True,
    "dependencies": {
        "@sinonjs/fake-timers": "^11.2.2",
        "base64-arraybuffer": "^1.0.2",
        "blob": "^0.1.0",
        "chai": "^4.3.6",
        "chai-string": "^1.5.0",
        "engine.io-client": "^6.6.6",
        "expect.js": "^0.3.1",
        "has-cors": "^1.1.0",
        "mocha": "^10.6.0",
        "node-fetch": "^3.2.0",
        "socket.io-client": "^4.8.3",
        "text-blob-builder": "^0.0.1",
        "tsx": "~4.20.6",
        "ws": "^8.21.0",
    },
}
"""What the suites' own package.json ask for."""

NO_RECOVERY = "The engine does not implement recovery; the services do, see tests/integration/test_state_recovery.py."
ANSWERED = "An event without a handler is answered `unknown_event` instead of not at all."


@dataclass(frozen=True)
class Suite:
    name: str
    server: str
    """The script in this folder, and its argument."""
    source: str
    """In the checkout."""
    package: str | None
    """The published client that it tests; it is put beside it."""
    mocha: tuple[str, ...]
    refused: dict[str, str] = field(default_factory=dict)
    """Tests that fail on purpose, and why."""


SUITES = (
    Suite("protocol-engine", "server.py engine", "docs/engine.io-protocol/v4-test-suite", None, ("test-suite.js",)),
    Suite("protocol-socket", "server.py socket", "docs/socket.io-protocol/v5-test-suite", None, ("test-suite.js",)),
    Suite("client-engine", "clients.py engine", "packages/engine.io-client", "engine.io-client", ("test/index.js",)),
    Suite(
        "client-socket",
        "clients.py socket",
        "packages/socket.io-client",
        "socket.io-client",
        ("--import=tsx", "test/index.ts"),
        {
            "socket timeout should timeout when the server does not acknowledge the event": ANSWERED,
            "socket timeout should timeout when the server does not acknowledge the event (promise)": ANSWERED,
            "socket timeout should use the default timeout value": ANSWERED,
            "retry should fail when the server does not acknowledge the packet": ANSWERED,
            "connection state recovery should have an accessible socket id equal to the server-side socket id "
            "(default namespace)": NO_RECOVERY,
        },
    ),
)


async def install() -> None:
    PLACE.mkdir(parents=True, exist_ok=True)
    (PLACE / "package.json").write_text(json.dumps(PACKAGES))
    npm = await asyncio.create_subprocess_exec("npm", "install", "--silent", "--no-fund", "--no-audit", cwd=PLACE)
    if await npm.wait():
        sys.exit("npm could not install the dependencies of the suites")


def bring(suite: Suite, checkout: Path) -> Path:
    """The folder of a suite, new each time."""
    if suite.package is None:
        folder = PLACE / suite.name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(checkout / suite.source, folder, ignore=shutil.ignore_patterns("node_modules"))
        return folder
    folder = PLACE / "node_modules" / suite.package
    for part in ("test", "support"):
        shutil.rmtree(folder / part, ignore_errors=True)
        shutil.copytree(checkout / suite.source / part, folder / part)
    return folder


async def run(suite: Suite, checkout: Path) -> bool:
    """Run one suite and say what came of it; whether only that failed which is to."""
    folder = bring(suite, checkout)
    script, which = suite.server.split()
    pipe = asyncio.subprocess.PIPE
    server = await asyncio.create_subprocess_exec(sys.executable, str(HERE / script), which, stdout=pipe)
    try:
        assert server.stdout is not None
        if not await server.stdout.readline():
            sys.exit(f"the server of {suite.name} did not start. Is its port in use?")
        report = PLACE / f"{suite.name}.json"
        report.unlink(missing_ok=True)
        options = ("--exit", "--no-bail", "--reporter", "json", "--reporter-option", f"output={report}")
        mocha = PLACE / "node_modules" / "mocha" / "bin" / "mocha.js"
        node = await asyncio.create_subprocess_exec(
            "node", str(mocha), *suite.mocha, *options, cwd=folder, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(PATIENCE):
                await node.wait()
        except TimeoutError:
            node.kill()
            await node.wait()
    finally:
        if server.returncode is None:
            server.terminate()
        await server.wait()
    if not report.exists():
        print(f"{suite.name}: no report; see the output above")
        return False
    return judge(suite, json.loads(report.read_text()))


def judge(suite: Suite, report: dict[str, Any]) -> bool:
    failed = {" ".join(one["fullTitle"].split()): one["err"].get("message", "") for one in report["failures"]}
    passed = {" ".join(one["fullTitle"].split()) for one in report["passes"]}
    good = bool(passed)
    print(f"{suite.name}: {len(passed)} pass, {len(failed)} fail, {report['stats']['pending']} skipped by the suite")
    for title, message in failed.items():
        if title in suite.refused:
            print(f"  expected: {title}: {suite.refused[title]}")
        else:
            good = False
            print(f"  FAILED: {title}: {message}")
    for title in suite.refused.keys() & passed:
        good = False
        print(f"  passes, but is expected to fail: {title}")
    return good


async def main(checkout: Path, names: list[str]) -> int:
    await install()
    results = []
    for suite in SUITES:
        if not names or suite.name in names:
            good = await run(suite, checkout)
            if not good:  # the clients' suites have tests that need a quick machine, and then fail in dozens
                print(f"{suite.name}: running it again")
                good = await run(suite, checkout)
            results.append(good)
    return 0 if all(results) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("suites", nargs="*", choices=[[], *(suite.name for suite in SUITES)])
    options = parser.parse_args()
    if not (options.checkout / "packages" / "socket.io-client" / "test").is_dir():
        sys.exit(f"{options.checkout} is not a checkout of https://github.com/socketio/socket.io. Set SOCKETIO to one")
    sys.exit(asyncio.run(main(options.checkout.resolve(), options.suites)))
