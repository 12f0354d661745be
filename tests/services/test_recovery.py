"""What an offset says about a stream's position, and for how long."""

from __future__ import annotations

import pytest

from app.metrics import Metrics
from app.services.edge import Edge
from app.services.memory import Memory
from app.services.publications import Publications
from app.services.recovery import Offset, cursor, make_offset, make_pid, read_offset
from app.services.stream import Beginning
from tests.services.fakes import FakeLog, FakeSender


async def edge_at(*numbers: int) -> Edge:
    """A session that stood at 10 when this process had made 100 publications; then one event at each of these."""
    sender, log = FakeSender(), FakeLog()
    log.add(10)
    publications = Publications(sender, Metrics(), batch_events=100, batch_seconds=1)
    publications.number = 100
    edge = Edge("shop", log, publications, Memory(2**20), lambda session_id: None)
    await edge.begin()
    for number in numbers:
        publications.number = number - 1
        edge.take(log.add(1))
    return edge


async def test_how_far_a_session_was_at_a_publication() -> None:
    """Between its events a session stands at the last one; before this process watched it nothing is known."""
    edge = await edge_at(103, 104, 110)
    assert [edge.seq_at(number) for number in (99, 100, 102, 103, 104, 109, 110, 500)] == [
        *(None, 10, 10, 11, 12, 12, 13, 13),
    ]


async def test_what_is_forgotten_is_what_was_the_sessions_own() -> None:
    """However many publications other sessions had meanwhile, a quiet one is known exactly."""
    edge = await edge_at(103, 104, 110)
    edge.forget(102)
    assert edge.seq_at(100) == 10
    edge.forget(108)
    assert [edge.seq_at(number) for number in (103, 104, 105, 110)] == [None, 12, 12, 13]
    edge.forget(5000)
    assert [edge.seq_at(number) for number in (109, 110, 4000)] == [None, 13, 13]


@pytest.mark.parametrize("name", ["process", "pid"])
def test_offsets_are_read_by_whom_they_are_for(name: str) -> None:
    """Offsets of this process, or of this pid, are read; others are invalid."""
    pid = make_pid()
    offset = "here.42" if name == "process" else make_offset(pid, 3, {"shop": 7, "a.b:c@d": 1})
    said = Offset(number=42) if name == "process" else Offset(generation=3, cursors={"shop": 7, "a.b:c@d": 1})
    assert read_offset(offset, "here", pid) == said
    assert read_offset(offset, "elsewhere", make_pid()) is None


@pytest.mark.parametrize(
    "offset",
    [None, 42, "", "here", "here.", "here.x", "here.1.2", "pid.1", "pid.x.e30=", "pid.1.%%%", "pid.1.bnVsbA==",
     "pid.1.eyJhIjogMS41fQ==", "pid.1.eyJhIjogdHJ1ZX0=", ["here", 1], {"here": 1}, "here.1.e30=.x"],
)  # fmt: skip
def test_what_is_no_offset_says_nothing(offset: object) -> None:
    """Whatever a client sends in its place is no error, and no offset."""
    assert read_offset(offset, "here", "pid") is None


async def test_where_the_stream_was() -> None:
    """A publication leads to the session's number then; what was said before the stream began, to its beginning."""
    edge, began = await edge_at(103, 104, 110), Beginning(12, 105, 2)
    assert cursor(edge, began, None) == 12
    assert [cursor(edge, began, Offset(number=number)) for number in (1, 103, 105, 109, 110)] == [12, 12, 12, 12, 13]
    assert cursor(edge, began, Offset(generation=1, cursors={"shop": 11})) == 12
    assert cursor(edge, began, Offset(generation=2, cursors={"shop": 13})) == 13
    assert cursor(edge, began, Offset(generation=2, cursors={"other": 99})) == 12


async def test_what_is_not_known_is_not_guessed() -> None:
    """After forgetting, an older publication leads nowhere, unless the stream is known to have gone on from later."""
    edge = await edge_at(103, 104, 110)
    edge.forget(108)
    assert cursor(edge, Beginning(10, 100, 1), Offset(number=103)) is None
    assert cursor(edge, Beginning(12, 108, 1), Offset(number=103)) == 12


async def test_given_back_again_and_again() -> None:
    """A stream that was given back is where it was then, or where a later publication was, however often that is."""
    edge = await edge_at(103, 104, 110)
    given_back = Beginning(12, 100, 1, restored=112)
    edge.forget(108)
    assert cursor(edge, given_back, Offset(number=103)) == 12
    assert cursor(edge, given_back, Offset(number=109)) == 12
    assert cursor(edge, given_back, Offset(number=110)) == 13
    assert cursor(edge, given_back, Offset(generation=1, cursors={"shop": 13})) == 13
    assert cursor(edge, given_back, Offset(generation=1, cursors={"shop": 11})) == 12
