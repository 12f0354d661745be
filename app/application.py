"""Assembles the application from its parts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from aiohttp import web

from app import engine
from app.auth import DAY, Tokens
from app.bus.choice import bus_for, check_bus
from app.database import open_store
from app.domain.known import Outcome
from app.http import listener, origins, problems
from app.http.access import Access
from app.http.addresses import Addresses
from app.http.answers import Answers
from app.http.api import Api
from app.http.bodies import Bodies
from app.http.drain import Draining
from app.http.health import Health
from app.http.outgoing import Outgoing
from app.http.page import Page, config_of
from app.http.quick_replies import QuickReplies
from app.http.webhook import Webhook
from app.metrics import Metrics
from app.parsing import Parser
from app.services.accounts import Accounts
from app.services.attendance import FIELDS, MAX_LEASES, Attendance
from app.services.background import Background
from app.services.bots import Bots
from app.services.catchup import CatchUp
from app.services.connections import Connections
from app.services.deliveries import Deliveries
from app.services.desk import Desk
from app.services.edges import Edges
from app.services.follower import Follower
from app.services.ingest import Ingest
from app.services.memory import Memory
from app.services.merges import Merges
from app.services.names import Names
from app.services.publications import Publications
from app.services.recovery import Recovery
from app.services.revoker import Revoker
from app.services.sets import Sets
from app.services.subscriptions import Subscriptions
from app.services.telling import Telling
from app.session_settings import Sessions
from app.settings import Settings
from app.sockets.namespace import InboxNamespace
from app.startup import auth_secrets, fit_open_files
from app.storage.mongo import Store

SOCKET_PATH: Final = "/socket.io/"
REQUESTS_SECONDS: Final = 2
"""How long pending requests may continue after everything else has stopped."""

STORE: Final = web.AppKey("store", Store)
ENGINE: Final = web.AppKey("engine", engine.Server)
METRICS: Final = web.AppKey("metrics", Metrics)
CONNECTIONS: Final = web.AppKey("connections", Connections)
EDGES: Final = web.AppKey("edges", Edges)
FOLLOWER: Final = web.AppKey("follower", Follower)
PUBLICATIONS: Final = web.AppKey("publications", Publications)
RECOVERY: Final = web.AppKey("recovery", Recovery)
INGEST: Final = web.AppKey("ingest", Ingest)
SESSIONS: Final = web.AppKey("sessions", Sessions)
DRAINING: Final = web.AppKey("draining", Draining)


class InboxServer(engine.Server):
    """The engine, which also sends a private id (`pid`) to clients that may be recovered."""

    clients: Connections

    def connect_data(self, sid: str, namespace: str) -> dict[str, Any]:
        return self.clients.connect_data(sid)


@contextlib.asynccontextmanager
async def create_app(settings: Settings) -> AsyncIterator[web.Application]:
    """The application with its database, which is closed at the end.

    Raises SettingsError, DevDatabaseError, SetupError, Unavailable. Their messages say what to do.
    """
    settings = fit_open_files(settings)
    tokens = Tokens(auth_secrets(settings), longest=settings.token_max_days * DAY)
    async with open_store(settings) as store:
        await check_bus(store, settings.redis_url)
        yield assemble(settings, tokens, store)


def assemble(settings: Settings, tokens: Tokens, store: Store) -> web.Application:
    """The application over a store that is ready. Raises SessionsFileError."""
    metrics, draining = Metrics(), Draining()
    sessions = Sessions(settings.sessions_file)
    pages = origins.Origins(
        settings.allowed_origins,
        settings.public_url,
        settings.host,
        lambda reason: metrics.refused.labels(reason).inc(),
    )
    addresses = Addresses(settings.trusted_proxies)
    access = Access(tokens, addresses, settings.request_rate, settings.unauthorized_rate)
    sio = InboxServer(
        limits=engine.Limits(
            max_packet=settings.max_packet_bytes,
            max_depth=settings.max_packet_depth,
            max_attachments=settings.max_attachments,
            event_rate=settings.event_rate,
            event_burst=settings.event_burst,
            max_waiting_events=settings.max_waiting_events,
            connect_timeout=settings.connect_timeout,
            max_connections=settings.max_connections,
            max_per_address=settings.max_connections_per_address,
            max_unauthenticated_per_address=settings.max_unauthenticated_per_address,
            max_buffered=settings.max_buffered_bytes,
            stall_timeout=settings.stall_timeout,
            body_timeout=settings.body_timeout,
            shutdown_timeout=settings.shutdown_timeout,
        ),
        ping_interval=settings.ping_interval,
        ping_timeout=settings.ping_timeout,
        deflate=settings.compression,
        origin_allowed=pages.allows,
        client_address=addresses.of,
    )
    memory = Memory(settings.recent_max_bytes)
    publications = Publications(
        sio, metrics, batch_events=settings.batch_max_events, batch_seconds=settings.batch_max_ms / 1000
    )
    edges = Edges(store, publications, memory, max_missed=settings.recovery_max_events)
    recovery = Recovery(
        edges,
        publications,
        seconds=settings.recovery_seconds,
        # A client may have been dead since the ping before the one that it did not answer.
        remember_seconds=settings.recovery_seconds + settings.ping_interval + 2 * settings.ping_timeout,
    )
    catch_up = CatchUp(store, sio, memory, metrics, batch_events=settings.batch_max_events)
    subscriptions = Subscriptions(store, edges, publications, catch_up, sio, metrics)
    connections = Connections(
        edges, subscriptions, recovery, sio, metrics, max_per_sub=settings.max_connections_per_sub
    )
    revoker = Revoker(store, tokens, connections)
    bus = bus_for(store, settings.redis_url)
    edges.on_watch.append(bus.follow)
    edges.on_unwatch = bus.stop_following
    follower = Follower(store, bus, edges, sio, metrics)
    background = Background(metrics)
    ingest = Ingest(
        store,
        edges,
        metrics,
        max_commands=settings.queue_max_commands,
        max_bytes=settings.queue_max_bytes,
        deadline=settings.write_deadline,
    )
    bots = Bots(sio, lambda sid, session_id: connections.may(sid, "deliver", session_id))
    bots.on_serving.append(lambda session_id, serving: (bus.follow if serving else bus.stop_following)(session_id))
    outgoing = Outgoing(sessions)
    deliveries = Deliveries(store, ingest, sessions, bots, outgoing, metrics)
    telling = Telling(store, sessions, bots, outgoing, bus.tell)
    desk = Desk(ingest, deliveries, bots, telling)
    sets = Sets(sio, bus.tell, FIELDS, limit=MAX_LEASES, on_evicted=metrics.leases_evicted.inc)
    metrics.leases.set_function(lambda: len(sets))
    accounts = Accounts(
        store,
        sessions,
        sio,
        bus.tell,
        watched=lambda: [edge.session_id for edge in edges],
        has_bot=lambda session_id: attendance.has_bot(session_id),
    )
    attendance = Attendance(sets, accounts, Names(store.name_of), bots, telling, sio, metrics, bus.tell)
    follower.on_told, follower.on_unheard, follower.on_due = attendance.told, attendance.unheard, deliveries.look
    subscriptions.on_subscribed, subscriptions.on_merged = attendance.subscribed, attendance.merged

    edges.on_watch.append(attendance.watched)

    def committed(session_id: str, outcome: Outcome) -> None:
        deliveries.committed(outcome)
        attendance.came(outcome.new_messages.values())

    ingest.on_commit += [bus.ring, committed]
    parser = Parser()
    sio.on_congested = connections.congested
    sio.clients = connections
    sio.register_namespace(InboxNamespace(tokens, connections, subscriptions, desk, attendance, metrics))
    metrics.watch_engine(sio.stats)
    if settings.admin_ui_password:
        sio.instrument(
            auth={"username": "admin", "password": settings.admin_ui_password}, mode="production", read_only=True
        )

    app = web.Application(
        middlewares=[
            listener.middleware,
            draining.middleware(SOCKET_PATH),
            origins.middleware(pages, SOCKET_PATH),
            problems.middleware(metrics),
        ],
    )
    app[STORE], app[ENGINE], app[METRICS] = store, sio, metrics
    app[CONNECTIONS], app[EDGES], app[FOLLOWER], app[INGEST] = connections, edges, follower, ingest
    app[PUBLICATIONS], app[RECOVERY], app[DRAINING] = publications, recovery, draining
    app[SESSIONS] = sessions

    async def services(app: web.Application) -> AsyncIterator[None]:
        await revoker.learn()
        background.start("follower", follower.run)
        background.start("bus", bus.send)
        background.start("revoker", revoker.run)
        background.start("housekeeping", connections.keep_house)
        background.start("positions", subscriptions.tell_positions)
        background.start("deliveries", deliveries.run)
        background.start("sets", sets.run)
        background.start("accounts", accounts.run)
        background.start("presence", attendance.run)
        background.start("merges", Merges(store, ingest).run)
        yield
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(draining.left(keep=0.5) if draining() else None):
                await background.close()
                await bus.close()
                await telling.close()
                await attendance.close()
                await outgoing.close()
                await connections.close()
                edges.close()
                publications.batches.close()

    async def drain(app: web.Application) -> None:
        """Finish accepted work, then disconnect the clients, which reconnect by themselves."""
        draining.begin()
        await parser.close()
        await deliveries.close(draining.left(keep=6))
        await ingest.close(draining.left(keep=5))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(draining.left(keep=1 + REQUESTS_SECONDS)):
                await sio.shutdown()

    app.cleanup_ctx.append(services)
    sio.attach(app, SOCKET_PATH.strip("/"))
    app.on_shutdown.insert(0, drain)
    app.on_response_prepare.append(listener.set_headers)
    bodies = Bodies(settings.body_timeout)
    Webhook(access, sessions, bodies, parser, ingest, metrics, attendance.signalled).add_routes(app.router)
    Answers(access, bodies, desk).add_routes(app.router)
    QuickReplies(access, bodies, store).add_routes(app.router)
    Api(access, store, accounts).add_routes(app.router)
    public = settings.metrics_public
    Health(store, metrics, addresses, draining=draining, failing=background.failing, metrics_public=public).add_routes(
        app.router
    )
    Page(config_of(settings, SOCKET_PATH), settings.media_origins).add_routes(app.router)
    return app
