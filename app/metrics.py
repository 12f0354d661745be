"""Prometheus metrics: one object with one registry, made by the application and passed on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from app.domain.incoming import Signal
from app.domain.known import Outcome
from app.domain.models import MessageResult, UpdateResult


class EngineStats(Protocol):
    """The engine's counters, read when metrics are rendered. The engine does not depend on a metrics library."""

    connections: int
    websockets: int
    unauthenticated: int
    congested: int
    opened: dict[str, int]
    refused: dict[str, int]
    closed: dict[str, int]
    events_sent: int
    bytes_sent: int
    packets_received: int
    ephemeral_dropped: int
    rate_limited: int
    malformed: int
    handler_errors: int
    failures: int


class _EngineCollector(Collector):
    def __init__(self, stats: EngineStats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        stats = self._stats
        connections = GaugeMetricFamily("roomcast_connections", "Client connections", labels=["transport"])
        connections.add_metric(["websocket"], stats.websockets)
        connections.add_metric(["polling"], stats.connections - stats.websockets)
        yield connections
        for name, words in (
            ("unauthenticated", "Unauthenticated client connections"),
            ("congested", "Connections with unsent bytes"),
        ):
            yield GaugeMetricFamily(f"roomcast_connections_{name}", words, getattr(stats, name))
        for name, words in (
            ("events_sent", "Events sent, counted per recipient"),
            ("bytes_sent", "Bytes of sent events and answers"),
            ("packets_received", "Socket.IO packets from clients"),
            ("ephemeral_dropped", "Ephemeral events dropped for slow connections"),
            ("rate_limited", "Client events refused by the rate limit"),
            ("malformed", "Connections closed because of invalid data"),
            ("handler_errors", "Exceptions in handlers"),
            ("failures", "Exceptions in timers and tasks that continued"),
        ):
            yield CounterMetricFamily(f"roomcast_engine_{name}", words, getattr(stats, name))
        for name, label, words in (
            ("opened", "transport", "Connections accepted"),
            ("refused", "reason", "Handshakes and connections refused"),
            ("closed", "reason", "Connections closed"),
        ):
            family = CounterMetricFamily(f"roomcast_engine_{name}", words, labels=[label])
            for value, count in getattr(stats, name).items():
                family.add_metric([value], count)
            yield family


def _tasks() -> int:
    """Tasks of the event loop that renders the metrics."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # rendered outside of an event loop
        return 0


_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, namespace="roomcast", registry=self.registry)
        gauge = partial(Gauge, namespace="roomcast", registry=self.registry)
        histogram = partial(Histogram, namespace="roomcast", registry=self.registry)
        streams = gauge("streams", "Live streams, and connections that are catching up", ["state"])
        self.live_streams = streams.labels("live")
        self.catching_up = streams.labels("catching_up")
        self.recoveries = counter("recoveries", "Socket.IO recoveries, by result", ["outcome"])
        self.messages_stored = counter("messages_stored", "Messages stored")
        self.events_stored = counter("events_stored", "Durable events stored, by name", ["event"])
        self.duplicates = counter("duplicates", "Messages that were already stored")
        self.updates = counter("updates", "Updates of messages, by result", ["state"])
        self.signals = counter("signals", "Signals received, by type", ["type"])
        self.leases = gauge("leases", "People in sets: typing, online, viewing, of all servers")
        self.leases_evicted = counter("leases_evicted", "People dropped from sets because there were too many")
        self.events_published = counter("events_published", "Durable events sent to the rooms of this process")
        self.events_caught_up = counter("events_caught_up", "Durable events sent to connections that were catching up")
        self.log_reads = counter("log_reads", "Reads of the log to catch up")
        self.background_failures = counter(
            "background_failures", "Background tasks that ended unexpectedly and were restarted", ["task"]
        )
        self.skipped = counter("source_skipped", "Skipped parts of provider payloads", ["source", "kind"])
        self.deliveries_due = gauge("deliveries_due", "Due deliveries that have not been started")
        self.deliveries_under_way = gauge("deliveries_under_way", "Messages that this server is delivering")
        self.delivered = counter("delivered", "Delivered messages")
        self.deliveries_failed = counter("deliveries_failed", "Messages that could not be delivered", ["reason"])
        self.delivery_seconds = histogram(
            "delivery_seconds", "Time from storing a message to its delivery", buckets=(*_SECONDS, 30, 60, 300, 600)
        )
        self.queue_depth = gauge("queue_depth", "Commands waiting to be written")
        self.commit_seconds = histogram("commit_seconds", "Time of a transaction", buckets=_SECONDS)
        self.bus_connected = gauge("bus_connected", "1 while the bus between servers is connected")
        self.bus_missed = counter("bus_missed", "Commits that the bus did not report and a query found")
        self.conflicts = counter("conflicts", "Transaction retries")
        self.receipt_to_push = histogram(
            "receipt_to_push_seconds", "Time from receiving a message to pushing it in this process", buckets=_SECONDS
        )
        self.refused = counter("refused", "Refused requests and events, by code", ["reason"])
        self.requests = counter("http_requests", "HTTP requests, by status", ["status"])
        gauge("tasks", "Tasks of the event loop").set_function(_tasks)

    def stored(self, outcome: Outcome) -> None:
        """Count the results of a commit."""
        self.messages_stored.inc(len(outcome.new_messages))
        for event in outcome.events:
            self.events_stored.labels(event.event).inc()
        for result in outcome.results:
            if isinstance(result, list):
                self.duplicates.inc(sum(isinstance(one, MessageResult) and one.duplicate for one in result))
                for one in result:
                    if isinstance(one, UpdateResult):
                        self.updates.labels(one.state).inc()

    def signalled(self, signals: Sequence[Signal]) -> None:
        """Count signals."""
        for signal in signals:
            self.signals.labels(type(signal).__name__.removesuffix("Signal").lower()).inc()

    def taken(self, after: timedelta) -> None:
        """Count a message of ours that the provider has taken."""
        self.delivered.inc()
        self.delivery_seconds.observe(max(0.0, after.total_seconds()))

    def watch_engine(self, stats: EngineStats) -> None:
        """Include the engine's counters."""
        self.registry.register(_EngineCollector(stats))

    def render(self) -> bytes:
        return generate_latest(self.registry)
