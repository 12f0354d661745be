"""The short form of each row: one round with a small fleet. All rounds: `python -m tests.faults`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Play = Callable[[str], Awaitable[Any]]


async def test_server_killed_in_the_middle_of_ingest(play: Play) -> None:
    """A server that is killed while it stores loses nothing that it answered, and doubles nothing that is repeated."""
    await play("killed")


async def test_server_killed_between_commit_and_push(play: Play) -> None:
    """Messages committed by a server that was killed before pushing them still reach every client."""
    await play("commit-push")


async def test_new_process_takes_over(play: Play) -> None:
    """A server under load stops within 10 s of SIGTERM, and its clients and senders go on with the next."""
    await play("sigterm")


async def test_duplicates_from_two_processes(play: Play) -> None:
    """A message posted five times, in any order, to two servers at once is stored and pushed once."""
    await play("duplicates")


async def test_clock_is_set(play: Play) -> None:
    """A clock that jumps an hour forward and back drops nobody and changes no order."""
    await play("clock")


async def test_database_killed_and_back(play: Play) -> None:
    """While the database is gone, senders get 503 with Retry-After, never 200; afterwards everything resumes by
    itself."""
    await play("db-killed")


async def test_database_frozen(play: Play) -> None:
    """While the database hangs, senders get 503 with Retry-After, never 200; afterwards everything resumes by
    itself."""
    await play("db-frozen")


async def test_primary_killed(play: Play) -> None:
    """When the primary of three is killed the next takes over, and nothing that was answered is rolled back."""
    await play("three-killed")


async def test_primary_stepped_down(play: Play) -> None:
    """When the primary of three steps down the next takes over, and nothing that was answered is rolled back."""
    await play("three-stepped-down")


async def test_primary_cut_off(play: Play) -> None:
    """A primary of three that is cut off, and comes back, rolls back nothing that was answered."""
    await play("three-cut-off")


async def test_clients_networks_fail(play: Play) -> None:
    """Clients whose network is cut, half-open, reset or one-way recover correctly; dead ones are dropped in time."""
    await play("network")


async def test_slow_readers(play: Play) -> None:
    """A slow reader gets all, late; one that reads nothing is closed; the others do not notice."""
    await play("slow-reader")


async def test_many_dropped_at_once(play: Play) -> None:
    """Clients that are all dropped at once are back and correct within 10 s, with a bounded number of reads."""
    await play("herd")


async def test_change_stream_broken(play: Play) -> None:
    """What another process stored is pushed within 5 s though the change stream's connection breaks."""
    await play("stream-broken")


async def test_change_stream_resumed(play: Play) -> None:
    """What another process stored is pushed within 5 s though the change stream's cursor is killed."""
    await play("stream-resumed")


async def test_change_stream_lost(play: Play) -> None:
    """What another process stored is pushed within 5 s though the oplog has lost what the stream would resume from."""
    await play("stream-lost")


async def test_bot_killed_while_it_delivers(play: Play) -> None:
    """What agents send goes out once and in order though the bot is killed, and a provider misbehaves."""
    await play("send-bot-killed")


async def test_agents_cut_off(play: Play) -> None:
    """What agents send and repeat, since they were cut off before the answer, is one message, and delivered once."""
    await play("send-cut")
