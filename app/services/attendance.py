"""Who is there: takes what clients, providers, other servers and new messages tell, and passes it to typing, viewers,
presence and accounts.

Rights are checked as everywhere, and each connection has a rate of its own. Nothing waits for the database; chats may
be called by hidden addresses, whose names are looked up first (`app.services.names`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from app.bus import Told
from app.domain.aliases import is_hidden
from app.domain.incoming import ConnectionSignal, Signal, TypingAction, TypingSignal
from app.domain.models import Message, kind_of
from app.errors import AppError
from app.metrics import Metrics
from app.rates import Rates
from app.services import accounts
from app.services.accounts import Accounts
from app.services.bots import Bots
from app.services.connection import Connection
from app.services.leases import SetKey
from app.services.memory import Entry
from app.services.names import Names
from app.services.presence import PRESENCE, Presence
from app.services.sender import Sender
from app.services.sets import PART_SECONDS, Sets
from app.services.telling import TO_BOTS, Telling
from app.services.typing import PROVIDER, TYPING, Typing
from app.services.viewers import VIEWERS, Viewers

FIELDS: Final = {TYPING: "who", PRESENCE: "contacts", VIEWERS: "agents"}
"""For each kind of set that clients get, the field of its event that has the people."""
SERVING: Final = "serving"
"""The set of servers with a bot of the session. Clients see it as `available` of `session`."""
ASKING: Final = "asking"
"""The kind of the values on the bus by which a server asks the others for their parts of a session's sets."""
MAX_LEASES: Final = 50_000
RATE: Final = 10.0
BURST: Final = 20.0
"""`typing` and `view` events of one connection per second, and at once."""
TICK_SECONDS: Final = 5.0

Payload = dict[str, Any]

_FORBIDDEN: Final = "The token does not allow this session, or it does not exist."


class Attendance:
    def __init__(
        self,
        sets: Sets,
        accounts: Accounts,
        names: Names,
        bots: Bots,
        telling: Telling,
        sender: Sender,
        metrics: Metrics,
        tell: Callable[[Told], None],
    ) -> None:
        """`tell` sends to the other servers."""
        self._sets, self._accounts, self._names, self._bots = sets, accounts, names, bots
        self._telling, self._sender, self._metrics = telling, sender, metrics
        self._typing, self._viewers = Typing(sets), Viewers(sets)
        self._presence = Presence(sets, telling.ask_presence)
        self._rates = Rates(RATE, BURST, f"A connection may send {RATE:.0f} of these events per second.")
        self._tasks: set[asyncio.Task[None]] = set()
        self._tell = tell
        self._grown_up = asyncio.get_running_loop().time() + PART_SECONDS
        sets.on_changed = self._changed
        bots.on_serving.append(self._serving)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._names.close()
        await self._accounts.close()

    # clients

    def typing(self, connection: Connection, session_id: str, chat_id: str, action: TypingAction) -> None:
        """An agent is typing. Raises AppError `forbidden`, `rate_limited`."""
        self._check(connection, "send", session_id)

        def type_there(name: str) -> None:
            if not connection.gone and connection.principal.may("send", session_id):
                self._typing.agent(connection.sid, connection.principal, session_id, name, action)
                self._tell_typing(SetKey(TYPING, session_id, name))

        self._names.call(session_id, chat_id, type_there)

    def view(self, connection: Connection, session_id: str, chat_id: str | None) -> None:
        """The connection shows this chat, or none. Raises AppError `forbidden`, `rate_limited`."""
        self._check(connection, "read", session_id)

        def view_it(name: str) -> None:
            if not connection.gone and connection.principal.may("read", session_id):
                self._viewers.view(connection.sid, connection.principal, session_id, name)
                self._presence.look(session_id, name)

        if chat_id is None:
            self._viewers.view(connection.sid, connection.principal, session_id, None)
        else:
            self._names.call(session_id, chat_id, view_it)

    def subscribed(self, connection: Connection, session_id: str, chat_id: str | None) -> None:
        """Send what is there to a new subscriber, after the answer to its `subscribe`."""
        asyncio.get_running_loop().call_soon(self._present, connection, session_id, chat_id)

    def renewed(self, connection: Connection) -> None:
        """The connection has a new token, which may allow less, or last longer."""
        sid, principal = connection.sid, connection.principal
        for session_id in self._typing.sessions(sid):
            if not principal.may("send", session_id):
                self._typing.end(sid, session_id)
        viewed = self._viewers.viewed(sid)
        if viewed is not None and principal.may("read", viewed.session_id):
            self._viewers.view(sid, principal, viewed.session_id, viewed.chat_id)
        else:
            self._viewers.end(sid)

    def gone(self, sid: str) -> None:
        """The connection has ended."""
        self._typing.end(sid)
        self._viewers.end(sid)

    def _check(self, connection: Connection, scope: str, session_id: str) -> None:
        self._rates.take(connection.sid)
        if not connection.principal.may(scope, session_id):
            raise AppError("forbidden", _FORBIDDEN)

    def _present(self, connection: Connection, session_id: str, chat_id: str | None) -> None:
        if connection.gone or session_id not in connection.streams:
            return

        def send(name: str | None) -> None:
            if not connection.gone and session_id in connection.streams:
                for event, payload in self._sets.present(session_id, name):
                    self._sender.push(connection.sid, event, payload, ephemeral=True)

        if chat_id is None:
            send(None)
        else:
            self._names.call(session_id, chat_id, send)
        task = asyncio.create_task(self._accounts.present(session_id, connection.sid))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # providers, messages, merges

    def signalled(self, session_id: str, signals: Sequence[Signal]) -> None:
        """Signals of a provider. Never blocks or raises."""
        self._metrics.signalled(signals)
        for signal in signals:
            if isinstance(signal, ConnectionSignal):
                self._accounts.reported(session_id, signal)
                self._account_is(session_id, signal.state)
            else:
                self._names.call(session_id, signal.chat_id, self._signalled(session_id, signal))

    def _signalled(self, session_id: str, signal: Signal) -> Callable[[str], None]:
        def take(name: str) -> None:
            assert not isinstance(signal, ConnectionSignal)
            itself = signal.sender.id == signal.chat_id or (kind_of(name) == "person" and is_hidden(signal.sender.id))
            sender = replace(signal.sender, id=name) if itself else signal.sender
            told = replace(signal, chat_id=name, sender=sender)
            if isinstance(told, TypingSignal):
                self._typing.contact(session_id, told)
            else:
                self._presence.contact(session_id, told)

        return take

    def came(self, messages: Collection[Message]) -> None:
        """Messages were stored by this server."""
        for message in messages:
            self._typing.message_came(message)

    def merged(self, session_id: str, entry: Entry) -> None:
        """A chat was merged into another: who is there is there in the other one."""
        chat_id, old = entry.chat_ids
        self._names.merged(session_id, old, chat_id)
        for kind in FIELDS:
            self._sets.move(SetKey(kind, session_id, old), SetKey(kind, session_id, chat_id))

    def _account_is(self, session_id: str, state: str) -> None:
        if state in ("disconnected", "logged_out"):  # nothing more is reported of contacts; typing ends soon by itself
            self._sets.drop_holder(session_id, PRESENCE, PROVIDER)

    # other servers

    def unheard(self, session_ids: Iterable[str]) -> None:
        """What other servers told of these sessions was not heard: ask them to tell it again."""
        for session_id in session_ids:
            self._tell(Told(session_id, ASKING, {}))

    def watched(self, session_id: str) -> None:
        """The session has its first subscriber here. A young server has not heard everything yet."""
        if asyncio.get_running_loop().time() < self._grown_up:
            self.unheard([session_id])

    def told(self, told: Told) -> None:
        """What another server tells. Never raises."""
        if told.kind in FIELDS or told.kind == SERVING:
            self._sets.hear(told)
        elif told.kind == ASKING:
            self._sets.tell_again(told.session_id)
            self._accounts.tell_again(told.session_id)
            self._presence.ask_again(told.session_id)
        elif told.kind == accounts.CONNECTION:
            account = self._accounts.hear(told)
            if account is not None:
                self._account_is(told.session_id, account.state)
        elif told.kind == TO_BOTS:
            self._telling.hear(told)

    # what follows

    async def run(self) -> None:
        """Ask for the presence of contacts whose chats are looked at, forever."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._presence.look_again()

    def has_bot(self, session_id: str) -> bool:
        """Whether a bot serves the session, on any server."""
        return bool(self._sets.people(SetKey(SERVING, session_id, "")))

    def _serving(self, session_id: str, serving: bool) -> None:
        key = SetKey(SERVING, session_id, "")
        if serving:
            self._sets.say(key, self._sets.server, "", {})
        else:
            self._sets.leave(key, self._sets.server, "")

    def _changed(self, key: SetKey) -> None:
        if key.kind == SERVING:
            self._accounts.changed(key.session_id)
            self._presence.ask_again(key.session_id)
        elif key.kind == TYPING:
            self._tell_typing(key)

    def _tell_typing(self, key: SetKey) -> None:
        """Tell the provider what the agents do. Each server does so for its own."""
        actions = [one["action"] for one in self._sets.people(key).values() if one["kind"] == "agent"]
        if not actions or self._typing.has_agents(key):
            self._telling.typing(key.session_id, key.chat_id, actions[-1] if actions else "stopped")
