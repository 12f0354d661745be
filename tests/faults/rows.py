"""The faults, one row of the table each. A row has the fault, and what is promised despite it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.faults import answering
from tests.faults.fleet import Report, fleet
from tests.faults.ledger import Try
from tests.faults.mongods import Mongod, Single, Three, peers_of
from tests.faults.world import FULL, HEAL_SECONDS, SHORT, Round, Scale, Server, World, mark_stream, soon
from tests.proxy import Wire

PINGS = {
    "PING_INTERVAL": "2",
    "PING_TIMEOUT": "2",
    "MAX_CONNECTIONS_PER_ADDRESS": "100000",
    "MAX_CONNECTIONS_PER_SUB": "100000",
}
"""Short heartbeats, so that rounds do not wait for them; one row has the defaults."""


ELECTION_MS = 5_000
"""electionTimeoutMillis of the three. With MongoDB's default of 10 s a primary that is cut off for just as long steps
down when it is back, and the set is without one for 22 s."""


@dataclass(frozen=True, slots=True)
class Given:
    """An existing database, for rows that do not harm it."""

    uri: str

    async def stop(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    words: str
    promise: str
    """Besides I1–I6."""
    rounds: int
    run: Callable[[Round], Awaitable[None]]
    environ: dict[str, str] = field(default_factory=dict)
    short_environ: dict[str, str] = field(default_factory=dict)
    mongod: tuple[str, ...] = ()
    """Options of the mongod."""
    three: bool = False
    behind: tuple[int, ...] = ()
    """Servers that reach the database through a proxy."""
    harmless: bool = False
    """To the database."""
    scale: Scale = FULL
    short: Scale = SHORT


ROWS: dict[str, Row] = {}


def row(name: str, words: str, promise: str, rounds: int, **more: Any) -> Callable[..., Any]:
    def declare(run: Callable[[Round], Awaitable[None]]) -> Callable[[Round], Awaitable[None]]:
        ROWS[name] = Row(name, words, promise, rounds, run, **more)
        return run

    return declare


@contextlib.asynccontextmanager
async def stage(
    row: Row, *, short: bool, uri: str | None = None, database: str = "roomcast"
) -> AsyncIterator[Callable[[int], Awaitable[Round]]]:
    """Start everything a row needs. Yields a function that plays a round. `uri`: a database for harmless rows."""
    async with contextlib.AsyncExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="roomcast-faults-")))
        connector = aiohttp.TCPConnector(limit=0)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        db: Any
        if uri is not None and row.harmless:
            db = Given(uri)
        elif row.three:
            db = Three(place, election_ms=1_000 if short else ELECTION_MS)
        else:
            db = Single(place, *row.mongod)
        stack.push_async_callback(db.stop)
        if not isinstance(db, Given):
            await db.start()
        environ = PINGS | row.environ | (row.short_environ if short else {})
        world = World(http, db, environ | {"DATA_DIR": str(place)})
        world.name = database
        stack.push_async_callback(world.close)
        for number in row.behind:
            await world.put_behind(number)
        await world.start_servers()
        made = await stack.enter_async_context(fleet())

        async def play(seed: int) -> Round:
            round_ = Round(world, made, row.short if short else row.scale, seed)
            began = time.monotonic()
            try:
                await row.run(round_)
            except BaseException as error:
                error.add_note(f"seed {seed}; figures {round_.figures}; {dict(round_.counts)}")
                raise
            finally:
                await round_.close()
                await made.close_clients()
            round_.figures["duration (s)"] = time.monotonic() - began
            return round_

        yield play


# The servers


async def _posted_to(r: Round, server: Server) -> None:
    """Wait until requests to the server are in flight. This holds until the next await."""
    r.figure("requests in flight", await r.ledger.posting(server.url))


@row("killed", "Server killed during ingest, senders repeat", "", 20, harmless=True)
async def killed(r: Round) -> None:
    await r.add_clients()
    async with r.load():
        await r.ledger.reached(r.part_of(0.2, 0.6))
        server = r.random.choice(r.world.servers)
        await _posted_to(r, server)
        await server.kill()
        await server.start()
        r.healed()
    await r.verify()


@row(
    "commit-push",
    "Server killed between commit and push",
    f"clients have the messages within {HEAL_SECONDS:g} s of its return",
    20,
    harmless=True,
    behind=(0,),
)
async def between_commit_and_push(r: Round) -> None:
    await r.add_clients()
    server, proxy = r.world.servers[0], r.world.behind[0]
    async with r.load():
        await r.ledger.reached(r.part_of(0.2, 0.6))
        committing: set[Wire] = set()
        committed = asyncio.Event()

        def up(wire: Wire, data: bytes) -> None:
            if b"commitTransaction" in data:
                proxy.down.clear()  # from here on the server receives nothing more from the database
                committing.add(wire)

        def down(wire: Wire, data: bytes) -> None:
            if wire in committing and b"errmsg" not in data:
                committed.set()

        proxy.on_up, proxy.on_down = up, down
        async with asyncio.timeout(30):
            await committed.wait()
        await server.kill()
        proxy.on_up, proxy.on_down = mark_stream, None
        proxy.drop(reset=True)
        proxy.thaw()
        await server.start()
        r.healed()
    # It was committed, nobody was told, and the repeat was answered as a duplicate.
    hidden = sum(bool(entry.seqs) and not entry.new for entry in r.ledger.entries.values())
    r.figure("committed and not pushed", hidden)
    r.must(hidden, "no message was committed and unanswered: the kill came at another moment")
    await r.verify()


@row(
    "sigterm",
    "SIGTERM under load, a new process takes over",
    "exit within 10 s",
    10,
    harmless=True,
)
async def taken_over(r: Round) -> None:
    await r.add_clients()
    server = r.random.choice(r.world.servers)
    old, new = server.process, await server.launch()
    assert old is not None
    async with r.load():
        await r.ledger.reached(r.part_of(0.2, 0.6))
        await _posted_to(r, server)
        began = time.monotonic()
        old.process.send_signal(signal.SIGTERM)
        code = await old.wait()
        r.figure("exit after (s)", time.monotonic() - began)
        await server.hand_over(new)  # senders and proxies know it from here on
        r.must(time.monotonic() - began < 10, f"it took {time.monotonic() - began:.1f} s to stop")
        r.must(code == 0, f"it ended with status {code}")
        r.healed()
    await r.verify()


@row("duplicates", "Duplicates ×5, shuffled, from two processes", "", 10, harmless=True)
async def duplicates(r: Round) -> None:
    await r.add_clients()
    bodies = []
    for session, chat in r.chats:
        messages = [r.message(chat, n, r.random) for n in range(r.scale.messages)]
        while messages:
            size = r.random.choice((1, 2, 5, 10, 20))
            bodies.append((session, messages[:size]))
            messages = messages[size:]
    work = bodies * 5
    r.random.shuffle(work)

    async def post() -> None:
        while work:
            session, body = work.pop()
            number = len(work) % 2
            while not await r.ledger.post(number, r.world.servers[number].url, session, body):
                await asyncio.sleep(0.1)

    await asyncio.gather(*(post() for _ in range(32)))
    for key, entry in r.ledger.entries.items():
        r.must(entry.new == 1 or entry.unknown, f"{key} was {entry.new} times new")
    await r.verify()


@row(
    "clock",
    "The servers' clocks set one hour forward, then back, then right; tokens valid for a day",
    "nobody is dropped, order is unaffected",
    3,
    harmless=True,
    environ={"PING_INTERVAL": "3", "PING_TIMEOUT": "10"},  # often, and with time for a machine that is busy
)
async def clock(r: Round) -> None:
    file = Path(r.world.environ["DATA_DIR"]) / "clock"
    file.write_text("0")
    more = {"PYTHONPATH": str(Path(__file__).parent / "clock"), "CLOCK_FILE": str(file)}
    if not r.world.own_environ:  # in the first round: from here on the clocks of both are ours
        r.world.own_environ = {0: more, 1: more}
        await asyncio.gather(*(server.kill() for server in r.world.servers))
        await r.world.start_servers()
    await r.add_clients()
    async with r.load():
        for part, offset in ((0.15, 3600), (0.4, -3600), (0.6, 0)):
            await r.ledger.reached(int(r.total * part))
            file.write_text(str(offset))
        await r.ledger.reached(int(r.total * 0.7))
        r.healed()
    async with r.world.driver() as driver:
        messages = driver[r.world.name].messages
        times = [m["receivedAt"].timestamp() async for m in messages.find({"sessionId": {"$in": r.sessions}})]
    now = time.time()
    r.must(max(times) > now + 3000 and min(times) < now - 3000, "the clocks did not move")
    for number, report in (await r.fleet.report()).items():
        dropped = "reconnecting" in report.states if report.kind == "page" else report.connects != 1
        r.must(not dropped, f"client {number} ({report.kind}) was dropped")
    await r.verify()


# The database


def _away(r: Round, tries: list[Try]) -> None:
    """While the database is away: 503 with Retry-After, and never 200."""
    r.must(tries, "nothing was posted while the database was away")
    statuses = {one.status for one in tries}
    r.must(statuses <= {503}, f"while the database was away there were answers {statuses}")
    r.must(all(one.retry_after for one in tries), "a 503 without Retry-After")
    r.counts["answers 503 while the database was away"] += len(tries)


UNAVAILABLE_SECONDS = 10.0
"""Time limit for every page to show that the database is away, without a request."""


async def _pages_say_so(r: Round) -> None:
    """Each page's client module reports `unavailable`, as its state and for lists, and requests fail."""

    async def says_so(page: int) -> None:
        session, chat = r.fleet.parts[page][0]
        chat = chat or next(chat for one, chat in r.chats if one == session)
        asked = r.fleet.ask("lists", page, session), r.fleet.ask("mark", page, session, chat, 1)
        lists, mark = await asyncio.gather(*asked)
        r.must(lists == "unavailable", f"page {page} was told {lists} of its lists when the database was away")
        # A write is tried for longer than the page waits; and a heartbeat of 2 s may be missed on a busy machine.
        told = mark in ("unavailable", "timeout", "disconnected")
        r.must(told, f"page {page} was told {mark} of a mark when the database was away")

    async def show_it() -> None:
        def all_show_it() -> bool:
            return all(r.fleet.states.get(page) == "unavailable" for page in r.pages())

        try:
            await r.fleet.until(all_show_it, UNAVAILABLE_SECONDS, "waited for the pages to show it")
        except AssertionError as error:
            states = {page: r.fleet.states.get(page) for page in r.pages()}
            r.violations.append(f"{error} when the database was away: {states}")

    await asyncio.gather(show_it(), *(says_so(page) for page in r.pages()))


async def _database_away(r: Round, away: Callable[[], None], back: Callable[[], Awaitable[None]], hold: float) -> None:
    ledger = r.ledger
    await r.add_clients()
    async with r.load():
        await ledger.reached(r.part_of(0.2, 0.5))
        away()
        gone = time.monotonic()
        await asyncio.gather(_pages_say_so(r), asyncio.sleep(hold))
        seen = len(ledger.tries)
        await soon(lambda: _any(one.began > gone and one.status == 503 for one in ledger.tries[:]), 20, "a 503")
        seen = max(seen, len(ledger.tries))
        _away(r, [one for one in ledger.tries[:seen] if one.began > gone])
        returned = time.monotonic()
        await back()
        r.healed()
        again = await ledger.answered_after(returned, 20)
        r.figure("storing again after (s)", again - r.healed_at)

    def of_clients(reports: dict[int, Report]) -> None:
        for page in r.pages():
            last = reports[page].states[-1]
            r.must(last in ("connected", "catching_up"), f"page {page} shows {last} when the database is back")

    await r.verify(of_clients)


async def _any(of: Any) -> bool:
    return any(of)


_AWAY = "503 with Retry-After meanwhile, never 200; the page's client is told; resumes by itself"
_IMPATIENT = {"MONGODB_TIMEOUT": "1", "WRITE_DEADLINE": "2"}


@row("db-killed", "Database killed and restarted", _AWAY, 10, short_environ=_IMPATIENT)
async def database_killed(r: Round) -> None:
    mongod: Mongod = r.world.database.mongod  # type: ignore[union-attr]

    async def back() -> None:
        mongod.start()
        await mongod.until_primary()

    await _database_away(r, mongod.kill, back, 0 if r.scale.short else 3)


@row("db-frozen", "Database frozen (SIGSTOP) for 8 s", _AWAY, 10, short_environ=_IMPATIENT)
async def database_frozen(r: Round) -> None:
    mongod: Mongod = r.world.database.mongod  # type: ignore[union-attr]

    async def back() -> None:
        mongod.thaw()

    await _database_away(r, mongod.freeze, back, 1 if r.scale.short else 8)


async def _three(
    r: Round,
    harm: Callable[[Three, int], Awaitable[None]],
    heal: Callable[[Three, int], None],
    healing: Sequence[asyncio.Task[None]] = (),
) -> None:
    three = r.world.database
    assert isinstance(three, Three)
    await three.all_up()
    await r.add_clients()
    async with r.load():
        await r.ledger.reached(r.part_of(0.2, 0.5))
        primary = await three.primary()
        began = time.monotonic()
        await harm(three, primary)
        harmed = time.monotonic()
        # A session has its lock, its numbers and its writer: that one goes on says nothing of the others.
        again = max(await asyncio.gather(*(r.ledger.answered_after(harmed, 30, session) for session in r.sessions)))
        r.figure("storing again after (s)", again - began)
        r.must(again - began < 15, f"in some session nothing was stored for {again - began:.1f} s")
        heal(three, primary)
        await asyncio.gather(*healing)
        r.healed()
    await three.all_up()
    await r.verify()


THREE = {
    "promise": "recovered within 15 s; nothing answered 200 is rolled back",
    "rounds": 10,
    "three": True,
    # So many that each session is still posted to when a primary has stepped down.
    "short": Scale(8, 4, 120, short=True),
}


@row("three-killed", "Three mongods: the primary killed and restarted", **THREE)
async def primary_killed(r: Round) -> None:
    async def harm(three: Three, primary: int) -> None:
        three.mongods[primary].kill()

    await _three(r, harm, lambda three, primary: three.mongods[primary].start())


@row("three-stepped-down", "Three mongods: the primary stepped down", **THREE)
async def primary_stepped_down(r: Round) -> None:
    await _three(r, lambda three, primary: three.step_down(primary), lambda three, primary: None)


@row("three-cut-off", "Three mongods: the primary cut off from members and servers for 10 s", **THREE)
async def primary_cut_off(r: Round) -> None:
    async def harm(three: Three, primary: int) -> None:
        three.cut_off(primary)
        seconds = 3 if r.scale.short else 10
        healing.append(asyncio.create_task(_after(seconds, three.heal)))

    healing: list[asyncio.Task[None]] = []
    await _three(r, harm, lambda three, primary: None, healing)


async def _after(seconds: float, what: Callable[[], None]) -> None:
    await asyncio.sleep(seconds)
    what()


# The clients' networks


def _limit(r: Round) -> float:
    """Time limit for the server to drop a dead client."""
    interval = float(r.world.environ.get("PING_INTERVAL", 25))
    timeout = float(r.world.environ.get("PING_TIMEOUT", 20))
    return interval + timeout + 5


RECOVERY_SECONDS = 120.0
"""The servers' default. A stock client that was away for less is recovered, unless its server has died."""


def _came_back(r: Round, report: Report, words: str) -> None:
    r.must(report.connects >= 2, f"{words} was never disconnected")


def _recovered(r: Round, report: Report, words: str) -> None:
    """A stock client whose server lived on is brought back by Socket.IO's own recovery, each time."""
    if report.kind == "stock":
        again = report.connects - 1
        r.must(report.recoveries == again, f"{words} came back {again} times, recovered {report.recoveries} times")


async def _dropped(r: Round, server: Server, wires: list[Wire]) -> None:
    """The server has closed all of these within its limit."""
    ports = {wire.server_port for wire in wires if wire.marked}
    r.must(ports, f"nobody was connected to server {server.number} who could have been dropped")
    pid = server.pid
    began = time.monotonic()

    async def gone() -> bool:
        return not ports & peers_of(pid)

    try:
        await soon(gone, _limit(r), "the server to drop the dead")
        r.figure("dead client dropped after (s)", time.monotonic() - began)
    except AssertionError as error:
        r.violations.append(f"{error}: {len(ports & peers_of(pid))} of {len(ports)} are left")


async def _network(r: Round, cuts: dict[str, float], one_way: float, pace: float = 0) -> None:
    groups = (*cuts, "half-open", "reset", "up lost", "down lost", "split")
    await r.add_clients(groups)
    servers = r.world.servers

    def proxies(group: str) -> Any:
        return [(servers[n], proxy) for (n, name), proxy in r.world.proxies.items() if name == group]

    group_of = {
        number: group
        for group in groups
        for _, proxy in proxies(group)
        for number, url in r.fleet.urls.items()
        if url.endswith(f":{proxy.port}")
    }

    def healed(group: str) -> None:
        """Each group has its own time of repair; the last one is minutes after the first."""
        r.healed(number for number, own in group_of.items() if own == group)

    async def cut(group: str, seconds: float) -> None:
        watching = []
        for server, proxy in proxies(group):
            proxy.cut()
            if seconds > _limit(r) - 5:
                watching.append(asyncio.create_task(_dropped(r, server, list(proxy.wires))))
        await asyncio.sleep(seconds)
        for _, proxy in proxies(group):
            proxy.thaw()
        healed(group)
        await asyncio.gather(*watching)

    async def half_open() -> None:
        watching = []
        for server, proxy in proxies("half-open"):
            wires = list(proxy.wires)
            proxy.abandon()
            watching.append(_dropped(r, server, wires))
        healed("half-open")
        await asyncio.gather(*watching)

    async def reset() -> None:
        for _ in range(3):
            for _, proxy in proxies("reset"):
                proxy.drop(reset=True)
            await asyncio.sleep(r.random.uniform(0.05, 0.8))
        healed("reset")

    async def lost(group: str) -> None:
        for _, proxy in proxies(group):
            (proxy.up if group == "up lost" else proxy.down).clear()
        await asyncio.sleep(one_way)
        for _, proxy in proxies(group):
            proxy.thaw()
        healed(group)

    async def split() -> None:
        for _, proxy in proxies("split"):
            proxy.split = True
        await asyncio.sleep(1)
        for _, proxy in proxies("split"):
            proxy.split = False
        healed("split")

    async with r.load(pace=pace):
        await r.ledger.reached(r.part_of(0.1, 0.4))
        await asyncio.gather(
            *(cut(group, seconds) for group, seconds in cuts.items()),
            *(half_open(), reset(), lost("up lost"), lost("down lost"), split()),
        )

    # A short cut goes unnoticed, and bytes that come singly are bytes.
    unnoticed = {"split", *(group for group, seconds in cuts.items() if seconds < _limit(r) - 5)}
    too_long = {group for group, seconds in cuts.items() if seconds >= RECOVERY_SECONDS}

    def of_clients(reports: dict[int, Report]) -> None:
        for number, report in reports.items():
            group = group_of[number]
            words = f"client {number} ({report.kind}, {group})"
            if group not in unnoticed:
                _came_back(r, report, words)
            if group not in too_long:
                _recovered(r, report, words)
            elif report.kind == "stock":
                r.counts["stock clients away for 2 minutes and not recovered"] += (
                    report.connects - 1 - report.recoveries
                )

    await r.verify(of_clients)


DROPS = "the server drops a dead client within interval + timeout + 5 s"


@row(
    "network",
    "Clients' networks cut for 1, 5, 30 and 120 s; half-open; reset; one-way; byte by byte",
    DROPS,
    10,
    harmless=True,
    short_environ={"PING_INTERVAL": "1", "PING_TIMEOUT": "1"},
    short=Scale(16, 4, 40, short=True),
)
async def network(r: Round) -> None:
    if r.scale.short:
        await _network(r, {"cut 1 s": 1, "cut 3 s": 3}, 3)
    else:
        await _network(r, {"cut 1 s": 1, "cut 5 s": 5, "cut 30 s": 30, "cut 120 s": 120}, 10)


@row(
    "network-defaults",
    "The same with the default heartbeat of 25 + 20 s",
    DROPS,
    1,
    harmless=True,
    environ={"PING_INTERVAL": "25", "PING_TIMEOUT": "20"},
)
async def network_defaults(r: Round) -> None:
    # Slowly: python-socketio's clients share this process with all the proxies, and must not be what is slow.
    await _network(r, {"cut 60 s": 60, "cut 120 s": 120}, 60, pace=1.5)


async def _ticks(r: Round, seconds: float, rate: float, size: int, session: str, server: int = 0) -> None:
    """Post at a steady rate without waiting for answers. Each message has the time of sending."""
    url = r.world.servers[server].url
    posts: list[asyncio.Task[bool]] = []
    began = time.monotonic()
    for n in range(int(seconds * rate)):
        await asyncio.sleep(max(0, began + n / rate - time.monotonic()))
        number = len(r.ledger.entries)
        text = f"t={time.time() * 1000:.3f} {number} {'x' * size}"
        body = [{"chatId": f"chat-{n % 4}", "messageId": f"tick-{number}", "text": text}]
        posts.append(asyncio.create_task(r.ledger.post(server, url, session, body)))
    assert all(await asyncio.gather(*posts))


def _percentile(values: list[float], part: float) -> float:
    values = sorted(values)
    return values[min(len(values) - 1, math.ceil(len(values) * part) - 1)]


@row(
    "slow-reader",
    "Slow readers",
    "a slow reader gets everything, late; one that reads nothing is closed; others' 99th percentile less than doubles",
    5,
    harmless=True,
    environ={"COMPRESSION": "false", "PING_INTERVAL": "25", "PING_TIMEOUT": "20"},
    short_environ={"STALL_TIMEOUT": "1"},
)
async def slow_reader(r: Round) -> None:
    # Twins: the same load, clients and machine at the same time, and the slow readers at one server alone.
    session, twin = r.sessions[:2]
    # So few that the machine is not busy with the row itself, which would hide what harm the slow readers do.
    rate, size = (40, 10_000) if r.scale.short else (25, 12_000)
    alone, together = (1.0, 3.0) if r.scale.short else (6.0, 12.0)
    # Past the proxy: its own pace is not what is measured.
    watchers = {
        server: [await r.add_client(kind, server, None, parts=[(one, None)]) for kind in ("stock", "position") * 4]
        for server, one in enumerate((session, twin))
    }
    slow_proxy, dead_proxy = await r.world.proxy(0, "slow"), await r.world.proxy(0, "dead")
    slow_proxy.window = dead_proxy.window = 64 * 1024
    slow = await r.add_client("stock", 0, "slow", parts=[(session, None)])
    dead = await r.add_client("position", 0, "dead", parts=[(session, None)])
    await r.fleet.ready()

    async def load(seconds: float) -> None:
        await asyncio.gather(_ticks(r, seconds, rate, size, session, 0), _ticks(r, seconds, rate, size, twin, 1))

    await load(1)  # to warm up
    starts = []
    for _ in range(1 if r.scale.short else 2):
        starts.append(await _count_latencies(r))
        await load(alone)
        starts.append(await _count_latencies(r))
        slow_proxy.bytes_per_second = rate * size * 0.7
        dead_proxy.down.clear()
        closed = asyncio.create_task(_closed(r, r.world.servers[0], list(dead_proxy.wires)))
        await load(together)
        behind = (await r.fleet.report())[slow].taken
        starts.append(await _count_latencies(r))
        await closed
        dead_proxy.thaw()
        stored = await _seq(r, session)
        r.must(behind < stored, "the slow reader was not slow")
        await soon(functools.partial(_taken, r, (slow, dead), stored), 120, "the slow reader to have all", every=0.25)
        slow_proxy.bytes_per_second = None
    r.healed()
    reports = await r.fleet.report()

    def p99(server: int, first: int) -> float:
        """The 99th percentile of a server's clients, over comparable windows."""
        return _percentile(
            [
                latency
                for number in watchers[server]
                for i in range(first, len(starts), 3)
                for _, latency in reports[number].latencies[starts[i][number] : starts[i + 1][number]]
            ],
            0.99,
        )

    beside, apart = p99(0, 1), p99(1, 1)
    r.figure("p99 of others beside slow readers (ms)", beside)
    r.figure("p99 at the other server meanwhile (ms)", apart)
    r.figure("p99 without slow readers (ms)", p99(0, 0))
    r.must(beside < 2 * apart, f"the 99th percentile was {beside:.1f} ms beside slow readers, {apart:.1f} ms apart")
    r.must(reports[slow].connects == 1, "the slow reader was disconnected")
    r.must(reports[dead].connects > 1, "the one that read nothing was not closed")
    await r.verify()


async def _count_latencies(r: Round) -> dict[int, int]:
    """How many events each client has taken in, once those that are past the proxies have all of them."""
    return {number: len(report.latencies) for number, report in (await r.fleet.report()).items()}


async def _seq(r: Round, session: str) -> int:
    async with r.world.driver() as driver:
        document = await driver[r.world.name].sessions.find_one({"_id": session})
    return int(document["seq"]) if document else 0


async def _taken(r: Round, clients: tuple[int, ...], count: int) -> bool:
    reports = await r.fleet.report()
    return all(reports[client].taken >= count for client in clients)


async def _closed(r: Round, server: Server, wires: list[Wire]) -> None:
    """The server closes one that reads nothing: its buffers fill, and nothing moves for one to four STALL_TIMEOUT."""
    ports = {wire.server_port for wire in wires if wire.marked}
    r.must(ports, "the one that reads nothing was not connected")

    async def gone() -> bool:
        return not ports & peers_of(server.pid)

    closed = await soon(gone, 60, "the one that reads nothing to be closed", every=0.25)
    r.figure("not reading, closed after (s)", closed)


@row(
    "herd",
    "200 clients dropped at once",
    "all back and correct within 10 s; at most 4 database reads per recovered stream and one per 100 missed events "
    "(counted by the database's profiler)",
    5,
    harmless=True,
    environ={"PING_INTERVAL": "25", "PING_TIMEOUT": "20"},
    scale=Scale(200, 20, 50),
    short=Scale(60, 4, 30, short=True),
)
async def herd(r: Round) -> None:
    for n in range(r.scale.clients):
        # As socket.io-client comes: its own delays of 1 to 5 s. Without compression, since all of them are in one
        # process, which would spend most of the time in unpacking.
        options: dict[str, Any] = {"reconnectionDelay": 1000, "reconnectionDelayMax": 5000, "perMessageDeflate": False}
        await r.add_client(("stock", "position")[n % 2], n // 2 % 2, **options)
    await r.fleet.ready()
    streams = [session for parts in r.fleet.parts.values() for session in {session for session, _ in parts}]
    async with r.load():
        await r.ledger.reached(int(r.total * 0.4))
        async with r.world.driver() as driver:
            db = driver[r.world.name]
            await db.command("profile", 0)
            await db.drop_collection("system.profile")
            await db.create_collection("system.profile", capped=True, size=128 * 1024 * 1024)
            await db.command("profile", 2)
        before = {session: await _seq(r, session) for session in r.sessions}
        for proxy in r.world.proxies.values():
            proxy.drop(reset=True)
        dropped = time.monotonic()
    await r.queues_empty()
    async with r.world.driver() as driver:
        r.truth = await r.ledger.truth(driver, r.world.name)
        r.fleet.expect(r.truth.digests)
        try:
            await r.fleet.equal(dropped + HEAL_SECONDS - time.monotonic())
        except AssertionError as error:
            r.violations.append(f"{error}; {await r.later()}")
        r.figure("all correct after (s)", time.monotonic() - dropped)
        db = driver[r.world.name]
        await db.command("profile", 0)
        # What the servers read for clients: not in a writer's transaction, not the change stream, not the lists.
        found = await db["system.profile"].count_documents(
            {
                "appName": "roomcast",
                "ns": {"$in": [f"{r.world.name}.events", f"{r.world.name}.sessions"]},
                "op": {"$in": ["query", "getmore", "command"]},
                "command.autocommit": {"$exists": False},
                "command.pipeline.0.$changeStream": {"$exists": False},
                "originatingCommand.pipeline.0.$changeStream": {"$exists": False},
            }
        )
    bound = sum(4 + math.ceil((r.truth.seqs[session] - before[session]) / 100) for session in streams)
    r.figure("streams", len(streams))
    r.figure("reads", found)
    r.figure("reads per stream", found / len(streams))
    r.must(found <= bound, f"{found} reads for {len(streams)} streams")

    def of_clients(reports: dict[int, Report]) -> None:
        for number, report in reports.items():
            words = f"client {number} ({report.kind})"
            _came_back(r, report, words)
            _recovered(r, report, words)

    await r.verify(of_clients)


# The change stream


async def _pushed(r: Round, fault: Callable[[], Awaitable[None]]) -> None:
    """Server 0 receives the posts; clients of server 1 have them within 5 s, whatever happens to its change stream."""
    session = r.sessions[0]
    kinds = ("stock", "position", "page", "python")
    for n in range(4 if r.scale.short else r.scale.clients):
        await r.add_client(kinds[n % 4], 1, parts=[(session, None)])
    await r.fleet.ready()
    seconds = 3.0 if r.scale.short else 12.0
    posting = asyncio.create_task(_ticks(r, seconds, 40, 50, session))
    await r.ledger.reached(20)
    await fault()
    r.healed()
    await posting
    await r.queues_empty()
    async with r.world.driver() as driver:
        r.fleet.expect((await r.ledger.truth(driver, r.world.name)).digests)
    await r.fleet.equal(10)
    latencies = [one for report in (await r.fleet.report()).values() for _, one in report.latencies]
    r.figure("pushed after at most (s)", max(latencies) / 1000)
    r.must(max(latencies) < 5000, f"pushed after {max(latencies) / 1000:.1f} s")
    await r.verify()


def _stream_wires(r: Round) -> list[Wire]:
    return [wire for wire in r.world.behind[1].wires if wire.marked]


STREAM = {"promise": "still pushed within 5 s", "rounds": 5, "behind": (1,)}


@row("stream-broken", "Change stream broken: its connection reset, then silently dead", **STREAM, harmless=True)
async def stream_broken(r: Round) -> None:
    async def fault() -> None:
        wires = _stream_wires(r)
        r.must(wires, "there is no change stream")
        for wire in wires:
            wire.drop(reset=True)
        reached = len(r.ledger.entries)
        await r.ledger.reached(reached + 20)

        async def follows() -> bool:
            return any(wire not in wires for wire in _stream_wires(r))

        await soon(follows, 10, "the change stream to be back")
        for wire in _stream_wires(r):
            wire.cut()

    await _pushed(r, fault)


@row("stream-resumed", "Change stream resumed: its cursor killed", **STREAM, harmless=True)
async def stream_resumed(r: Round) -> None:
    async def fault() -> None:
        for _ in range(3):
            r.counts["cursors killed"] += await _kill_cursors(r)
            await asyncio.sleep(r.random.uniform(0.1, 0.5))
        r.must(r.counts["cursors killed"], "there was no cursor to kill")

    await _pushed(r, fault)


@row(
    "stream-lost",
    "Change stream lost: the entry it would resume from is no longer in the oplog",
    **STREAM,
    mongod=("--oplogSize", "1", "--syncdelay", "1"),
)
async def stream_lost(r: Round) -> None:
    assert r.world.servers[1].process is not None
    log = r.world.servers[1].process.log
    before = len(log)

    async def fault() -> None:
        async with r.world.driver() as driver:
            oplog = driver["local"]["oplog.rs"]
            (last,) = await oplog.find().sort("$natural", -1).limit(1).to_list()
            for wire in _stream_wires(r):
                wire.cut()
            await _kill_cursors(r)

            async def forgotten() -> bool:
                await driver["other"]["filler"].insert_many([{"x": "x" * 100_000} for _ in range(50)])
                (first,) = await oplog.find().sort("$natural", 1).limit(1).to_list()
                return bool(first["ts"] > last["ts"])

            await soon(forgotten, 30, "the oplog to forget")
            await driver["other"]["filler"].drop()
        for wire in _stream_wires(r):
            wire.thaw()

    await _pushed(r, fault)
    broken = [line for line in log[before:] if "bus_broken" in line]
    # For a cursor that is killed the driver makes good by itself, unless the database refuses to resume.
    assert any("OperationFailure" in line for line in broken), f"the history was not lost: {broken}"
    r.counts["streams restarted"] += len(broken)


async def _kill_cursors(r: Round) -> int:
    """Kill the cursors of the change streams. Returns their number."""
    async with r.world.driver() as driver:
        pipeline = [
            {"$currentOp": {"allUsers": True, "idleCursors": True}},
            {"$match": {"appName": "roomcast", "cursor.originatingCommand.aggregate": "bus"}},
        ]
        found = [one["cursor"]["cursorId"] async for one in await driver.admin.aggregate(pipeline)]
        if found:
            await driver[r.world.name].command({"killCursors": "bus", "cursors": found})
    return len(found)


# Messages of agents


_SENT = "S1–S5"


@row("send-killed", "Server killed while messages of 20 agents are delivered", _SENT, 10, harmless=True)
async def sending_server_killed(r: Round) -> None:
    await answering.play(r, answering.server_killed, bots=2, leases=True)


@row("send-db-killed", "Database killed while messages are delivered", _SENT, 10)
async def sending_database_killed(r: Round) -> None:
    await answering.play(r, answering.database_killed, leases=True)


@row("send-away", "Provider away for a minute", _SENT, 10, harmless=True)
async def sending_provider_away(r: Round) -> None:
    await answering.play(r, answering.provider_away)


@row("send-bot-killed", "The bot that delivers killed, and another one later", _SENT, 10, harmless=True)
async def sending_bot_killed(r: Round) -> None:
    await answering.play(r, answering.bot_killed)


@row("send-two-bots", "Two bots, of which one goes", _SENT, 10, harmless=True)
async def sending_two_bots(r: Round) -> None:
    await answering.play(r, answering.one_bot_killed, bots=2)


@row("send-cut", "Agents cut off right after they have sent", _SENT, 10, harmless=True)
async def sending_network_cut(r: Round) -> None:
    await answering.play(r, answering.network_cut)
