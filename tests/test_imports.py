"""The layers of the design: imports point down only, and third parties stay where they belong."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = Path(__file__).parent.parent / "app"

LAYERS = (
    ("app.cli", "app.__main__"),
    ("app.posting",),
    ("app.serving",),
    ("app.application", "app.doctor", "app.replay", "app.simulate", "app.split"),
    ("app.database",),
    ("app.beside", "app.customers"),
    ("app.http", "app.sockets"),
    (
        *("app.services", "app.parsing", "app.providers"),
        *("app.schemas", "app.fields", "app.posted", "app.auth", "app.json_input", "app.metrics"),
        *(
            "app.hosts",
            "app.logs",
            "app.settings",
            "app.session_settings",
            "app.startup",
            "app.turns",
            "app.quota",
            "app.rates",
        ),
    ),
    ("app.storage", "app.devdb", "app.bus"),
    ("app.domain", "app.errors"),
)
"""Highest first. A module imports of its own layer and of those below, and `app` itself, which is the version."""


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(APP.rglob("*.py")):
        parts = path.relative_to(APP.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(name: str, path: Path) -> set[str]:
    """Every module that is imported, in full, those for type checking and within functions too."""
    known = dict(modules())
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, *([base] if base else [])])
            inner = {f"{base}.{alias.name}" for alias in node.names}
            found |= (inner & known.keys()) or {base}
    return found


IMPORTS = {name: imports(name, path) for name, path in modules()}
EVERYTHING = pytest.mark.parametrize("name", IMPORTS)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def third_parties(name: str) -> set[str]:
    roots = {one.partition(".")[0] for one in IMPORTS[name]}
    return roots - sys.stdlib_module_names - {"app", ""}


def layer(name: str) -> int | None:
    return next((n for n, packages in enumerate(LAYERS) if any(within(name, p) for p in packages)), None)


def test_the_reader_reads() -> None:
    """The test sees the imports that are known to be there."""
    assert "motor.motor_asyncio" in IMPORTS["app.storage.mongo"]
    assert "app.domain.events" in IMPORTS["app.storage.documents"]
    assert "app.engine.frames" in IMPORTS["app.engine.websocket"]
    assert "app.schemas" in IMPORTS["app.sockets.namespace"]


def test_the_picture_of_the_layers_is_true() -> None:
    """The architecture's picture shows these layers, with every module and package of the application in its place."""
    text = (APP.parent / "docs" / "architecture.md").read_text().partition("## The layers")[2]
    picture = text.split("```")[1].strip("\n").splitlines()
    assert re.findall(r"^\w+", "\n".join(picture), re.MULTILINE) == ["program", "edges", "rules", "storage", "domain"]
    drawn = [name for line in picture for name in re.findall(r"\w+", line[11:].partition("►")[0])]
    assert drawn == [name.removeprefix("app.") for packages in LAYERS for name in packages]
    there = {path.stem for path in APP.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there == {*drawn, "engine", "__init__"}


@EVERYTHING
def test_modules_are_short(name: str) -> None:
    """A module is one noun, and has at most 300 lines."""
    path = dict(modules())[name]
    assert len(path.read_text().splitlines()) <= 300, f"{path} is too long: which noun in it could stand by itself?"


@EVERYTHING
def test_engine_stands_alone(name: str) -> None:
    """The engine imports nothing of the application."""
    if within(name, "app.engine"):
        assert all(within(one, "app.engine") for one in IMPORTS[name] if within(one, "app"))


def test_no_circle_in_the_engine() -> None:
    """Within the engine imports form layers: no module needs, by whatever way, one that needs it."""
    left = {name: {one for one in IMPORTS[name] if within(one, "app.engine")} for name in IMPORTS}
    left = {name: below for name, below in left.items() if within(name, "app.engine")}
    assert len(left) > 20
    while left:
        lowest = {name for name, below in left.items() if not below & left.keys()}
        assert lowest, f"these import each other in a circle: {sorted(left)}"
        left = {name: below for name, below in left.items() if name not in lowest}


@EVERYTHING
def test_domain_is_pure(name: str) -> None:
    """The domain imports the standard library and itself."""
    if within(name, "app.domain"):
        assert third_parties(name) == set()
        assert all(within(one, "app.domain") for one in IMPORTS[name] if within(one, "app"))
        assert not IMPORTS[name] & {"asyncio", "socket", "os", "pathlib", "io"}


@EVERYTHING
def test_services_know_no_framework(name: str) -> None:
    """Services import neither aiohttp nor socketio nor motor."""
    if within(name, "app.services"):
        assert not third_parties(name) & {"aiohttp", "socketio", "engineio", "motor", "pymongo", "bson"}


@EVERYTHING
def test_providers_are_pure(name: str) -> None:
    """Providers are pure functions: they import the standard library, the domain and themselves."""
    if within(name, "app.providers"):
        assert third_parties(name) == set()
        assert all(
            within(one, "app.domain") or within(one, "app.providers") for one in IMPORTS[name] if within(one, "app")
        )


@EVERYTHING
def test_one_module_knows_motor(name: str) -> None:
    """motor is imported in storage/mongo.py alone, and its driver in storage and devdb alone."""
    if name != "app.storage.mongo":
        assert "motor" not in third_parties(name)
    if not within(name, "app.storage") and not within(name, "app.devdb"):
        assert not third_parties(name) & {"pymongo", "bson"}


@EVERYTHING
def test_http_and_sockets_do_not_mix(name: str) -> None:
    """HTTP knows no sockets, and sockets know no HTTP."""
    if within(name, "app.http"):
        assert not third_parties(name) & {"socketio", "engineio"}
        assert not any(within(one, "app.sockets") or within(one, "app.engine") for one in IMPORTS[name])
    if within(name, "app.sockets"):
        assert "aiohttp" not in third_parties(name)
        assert not any(within(one, "app.http") for one in IMPORTS[name])


@EVERYTHING
def test_imports_point_down(name: str) -> None:
    """A module imports nothing of a layer above its own."""
    if name == "app" or within(name, "app.engine"):
        return
    own = layer(name)
    assert own is not None, f"{name} is in no layer: say in LAYERS where it belongs"
    for one in IMPORTS[name]:
        if within(one, "app") and one != "app":
            below = layer(one)
            if below is None:
                assert within(one, "app.engine")
                assert name == "app.application", "the engine is put in its place by the application alone"
            else:
                assert below >= own, f"{name} imports {one}, which is above it"
