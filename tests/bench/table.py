"""The lines of the table: what each measures, in which unit, and what is enough. A measurement fills in the braces."""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.bench.lines import REFERENCE, Bench, Line, Target

MESSAGES: Final = "its messages"
ONE_SESSION: Final = "itself with one session"


class Kind(NamedTuple):
    title: str
    unit: str
    target: Target | None
    note: str = ""


def _ours(words: str, *, at_most: float) -> Target:
    """The figure itself, whatever the peers'."""
    return Target(words, at_most=at_most, peer=None)


KINDS: Final = {
    "memory": Kind(
        "memory per idle connection, signed in and subscribed, {count:,} of them, deflate {offered}",
        *("kB", _ours("6 kB", at_most=6.0)),
    ),
    "connections": Kind(
        "new connections/s, signed in and subscribed, {count:,} of them, 40 under way at a time",
        *("connections/s", Target("1 × Node socket.io", at_least=1)),
    ),
    "heartbeats": Kind(
        "CPU of {count:,} idle connections with heartbeats, {seconds:g} s",
        *("s", Target("0.2 × Node socket.io", at_most=0.2), "Both send a heartbeat every {interval:g} s."),
    ),
    "moves": Kind(
        "leave + join with {many:,} other rooms against {few}, unsubscribe and subscribe over the wire",
        *("times the cost", _ours("1.2 × at most", at_most=1.2)),
    ),
    "moves_engine": Kind(
        "leave + join with {many:,} other rooms against {few}, the engine alone",
        *("times the cost", _ours("1.2 × at most", at_most=1.2)),
    ),
    "deflate_bytes": Kind(
        "deflate: bytes of a 770-byte event",
        *("times the bytes", _ours("0.5 × uncompressed", at_most=0.5)),
    ),
    "deflate_cpu": Kind(
        "deflate: CPU of an event to {clients:,} recipients, from the webhook on",
        *("times the CPU", _ours("1.2 × uncompressed", at_most=1.2)),
    ),
    "burst": Kind(
        "{clients:,} sockets in one room, {size}-byte events, {words}",
        *("deliveries/s", None),
    ),
    "rooms": Kind(
        "{clients:,} sockets in {rooms:,} rooms, {size}-byte events to random rooms",
        *("deliveries/s", Target("4 × Node socket.io", at_least=4)),
        "{burst:,} events per turn of the loop, {each} per room on average. "
        "The result depends on this number; other numbers follow.",
    ),
    "crowd": Kind(
        "{clients:,} clients reconnect, {least} to {most} events behind, {rate} messages/s meanwhile: all live",
        *("s", _ours("15 s", at_most=15)),
        "After a restart, with an empty memory. Node accepts them without recovering or posting anything.",
    ),
    "crowd_reads": Kind("reads of the log for these {clients:,} clients", "reads", _ours("20", at_most=20)),
    "crowd_sessions": Kind(
        "reads of the log per session, {clients:,} clients of {count:,} sessions reconnect",
        *("reads", _ours("3", at_most=3)),
    ),
    "webhook_burst": Kind(
        "webhook, {messages} messages per body, to {clients:,} subscribers",
        *("deliveries/s", Target("10 × Node socket.io emitting", at_least=10)),
        "Node stores nothing: it emits events of the same size, 500 per turn of the loop.",
    ),
    "latency": Kind(
        "webhook to the last of {clients:,} subscribers, {rate:g} messages/s, 99th percentile",
        *("ms", Target("0.5 × the Node reference", at_most=0.5, peer=REFERENCE)),
    ),
    "ingest": Kind(
        "webhook requests/s to committed and pushed, {senders} senders",
        *("requests/s", Target("3.5 × the Node reference", at_least=3.5, peer=REFERENCE)),
        "One message per request, one session, {clients} subscribers; both wait for majority and journal.",
    ),
    "sessions": Kind(
        "webhook requests/s to {count:,} sessions, {senders} senders",
        *("requests/s", None),
        "One message per request, to a random session; 2 % of the requests repeat an earlier one. "
        "All sessions have messages before. Both wait for majority and journal.",
    ),
    "answers": Kind(
        "send_message to the bot that delivers it, {agents} agents, {rate:g} messages/s, 99th percentile",
        *("ms", None),
        "Roomcast stores the message, its event, its chat and the delivery in one transaction. "
        "The reference inserts one document and emits.",
    ),
    "deliveries": Kind(
        "send_message to delivered by a bot and reported, {chats} chats at once",
        *("messages/s", Target("1,000", at_least=1_000, peer=None)),
        "Agents and the bot are Python clients on the load generator's core.",
    ),
    "updates": Kind(
        "webhook updates/s to committed and pushed, {senders} senders",
        *("updates/s", Target("0.7 × its messages/s", at_least=0.7, peer=MESSAGES)),
        "One edit per request, of 20 messages in turn, beside one new message per request; one session.",
    ),
    "polling": Kind(
        "push compared with polling every {period:g} s, {clients:,} clients, a message every {every:g} s",
        *("s of server CPU per hour", None),
        "Measured for {seconds:g} s with all {clients:,} clients, and multiplied by {factor:g} for an hour. "
        "A polling client keeps its connection open and requests the messages of one chat after the last one it has. "
        "The bytes of a push client when nothing happens are calculated from heartbeats and positions.",
    ),
}


def line(bench: Bench, kind: str, name: str | None = None, target: Target | None = None, **values: object) -> Line:
    """A new line of the bench: of this kind, by another name or with another target where they are given."""
    what = KINDS[kind]
    title, note = what.title.format(**values), what.note.format(**values)
    return bench.add(Line(name or kind, title, what.unit, target or what.target, note=note))
