"""The client module as others have it: packed, installed, and used in Node, in a worker and in TypeScript."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Desk, Loop, Server, eventually, running
from tests.support import PATIENCE, ROOT, message, mint

ALICE = "85291234567@s.whatsapp.net"
TSC = ROOT / "web" / "node_modules" / ".bin" / "tsc"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, loop: Loop, elsewhere: str) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server"), loop, ALLOWED_ORIGINS=elsewhere) as server:
        yield server


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, client_package: Path) -> Path:
    """Somebody's project that has installed the packed module, as `npm install` does it."""
    project = tmp_path_factory.mktemp("project")
    packed = subprocess.run(
        ["npm", "pack", "--silent", str(client_package)], cwd=project, check=True, capture_output=True, text=True
    )
    (project / "package.json").write_text('{"type": "module", "private": true}', encoding="utf-8")
    install = ["npm", "install", "--silent", "--prefer-offline", "--no-audit", "--no-fund", packed.stdout.strip()]
    subprocess.run(install, cwd=project, check=True, capture_output=True)
    return project


@pytest.mark.parametrize("resolution", ["bundler", "nodenext"])
def test_it_has_types(project: Path, resolution: str) -> None:
    """Under both ways of resolving modules TypeScript finds the types, and says what is wrong."""
    module = {"bundler": "esnext", "nodenext": "nodenext"}[resolution]
    options: dict[str, Any] = {"strict": True, "noEmit": True, "target": "es2022", "skipLibCheck": False}
    options |= {"module": module, "moduleResolution": resolution}
    if resolution == "bundler":
        options |= {"lib": ["es2023", "dom"], "types": []}
    else:
        options |= {"lib": ["es2023"], "types": ["node"], "typeRoots": [str(ROOT / "web" / "node_modules" / "@types")]}
    (project / f"{resolution}.ts").write_text(
        'import { RoomcastApi, RoomcastClient, type ClientState, type Message } from "roomcast-client";\n'
        'import { RoomcastClient as Standalone } from "roomcast-client/standalone";\n'
        'const client: RoomcastClient = new Standalone({ url: "http://127.0.0.1:1", token: "" });\n'
        'const api = new RoomcastApi({ url: "", token: () => client.token });\n'
        'export const name: ClientState["name"] = client.state.name;\n'
        'export const texts = async (): Promise<Message["text"][]> =>\n'
        '  (await api.messages("shop", "a")).data.map(({ text }) => text);\n'
        "// @ts-expect-error: there is no such event\n"
        'client.on("no_such_event", () => undefined);\n',
        encoding="utf-8",
    )
    config = project / f"tsconfig.{resolution}.json"
    config.write_text(json.dumps({"compilerOptions": options, "files": [f"{resolution}.ts"]}), encoding="utf-8")
    done = subprocess.run([str(TSC), "-p", str(config)], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


FOLLOW = """
import { RoomcastApi, RoomcastClient } from "roomcast-client";
const [url, token] = process.argv.slice(2);
const client = new RoomcastClient({ url, token, backoff: { delayMs: 50, delayMaxMs: 200, jitter: 0 } });
const api = new RoomcastApi({ url, token: () => client.token });
client.on("state", ({ name }) => console.log(name));
client.on("event", (event) => {
  console.log(event.message.text);
  if (event.message.text === "the end") client.close();
});
client.connect();
const { data, position } = await api.chats("node");
await client.subscribe("node", undefined, position);
console.log(`following ${data.length} chat`);
"""


class Node:
    """A program of the project, run by Node. Its lines are read as they come."""

    def __init__(self, project: Path, source: str, *arguments: str, **environ: str) -> None:
        (project / "program.js").write_text(source, encoding="utf-8")
        self._process = subprocess.Popen(
            ["node", "program.js", *arguments],
            cwd=project,
            env=os.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line.strip())

    def said(self, words: str) -> list[str]:
        """Waits until a line has these words; gives the lines before it."""
        before: list[str] = []
        while words not in (line := self._lines.get(timeout=PATIENCE)):
            before.append(line)
        return before

    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> int:
        return self._process.wait(PATIENCE)

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()


def test_it_runs_in_node(project: Path, server: Server) -> None:
    """It follows, comes back after a cut with what it missed, and lets the process end once it is closed."""
    server.curl("node", "before")
    with Node(project, FOLLOW, server.url, mint("node")) as node:
        node.said("following 1 chat")
        server.curl("node", "live")
        assert "before" not in node.said("live")
        server.proxy.refusing = True
        server.loop.call(server.proxy.drop)
        node.said("reconnecting")
        server.post("node", {"messages": [message(f"missed {n}", ALICE) for n in range(3)]})
        server.proxy.refusing = False
        assert [line for line in node.said("missed 2") if "missed" in line] == ["missed 0", "missed 1"]
        server.curl("node", "the end")
        node.said("closed")
        assert node.wait() == 0


SNIPPETS = re.findall(r"^```js\n(.*?)^```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=["module", "recovery"])
def test_what_the_documents_show(project: Path, server: Server, snippet: str) -> None:
    """Each program of docs/clients.md outlives a restart of the server, and has what it missed meanwhile."""
    source = snippet.replace("http://127.0.0.1:8080", server.url)
    assert source != snippet
    server.curl("shop", "before")
    with Node(project, source, TOKEN=mint("shop")) as node:
        node.said("Alice")
        server.curl("shop", "live")
        node.said("live")
        server.proxy.refusing = True
        server.stop()
        server.start()
        server.curl("shop", "missed")
        server.proxy.refusing = False
        node.said("missed")
        server.curl("shop", "after")
        node.said("after")
        assert node.running()


def test_what_is_missing_is_said_at_once(project: Path) -> None:
    """The file for browsers, where there is no WebSocket, does not wait for ever for one."""
    (project / "wrong.js").write_text(
        "delete globalThis.WebSocket;\n"
        'const { RoomcastClient } = await import("roomcast-client/standalone");\n'
        'try { new RoomcastClient({ url: "http://127.0.0.1:1", token: "" }); }\n'
        "catch (error) { console.log(error.code, error.message); }\n",
        encoding="utf-8",
    )
    done = subprocess.run(["node", "wrong.js"], cwd=project, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("unsupported WebSocket and XMLHttpRequest missing")
    assert "install the package roomcast-client" in done.stdout


def test_it_runs_in_a_worker(desk: Desk, server: Server, elsewhere: str) -> None:
    """Without a window and a document it follows as well."""
    server.curl("worker", "before")
    page = desk.context().new_page()
    page.goto(f"{elsewhere}/examples/plain/")
    page.evaluate(
        """([module, url, token]) => {
            const source = `
                import { RoomcastClient } from "${module}";
                const client = new RoomcastClient({ url: "${url}", token: "${token}" });
                client.on("event", (event) => postMessage(event.message.text));
                client.connect();
                client.subscribe("worker").then(() => postMessage("subscribed"));
            `;
            window.said = [];
            const file = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
            new Worker(file, { type: "module" }).onmessage = ({ data }) => window.said.push(data);
        }""",
        [f"{elsewhere}/web/dist-client/roomcast.js", server.url, mint("worker")],
    )
    eventually(lambda: page.evaluate("said") == ["subscribed"], "the worker to follow")
    server.curl("worker", "live")
    eventually(lambda: page.evaluate("said") == ["subscribed", "live"], "the message")
