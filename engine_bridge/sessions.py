"""Sessions: what a client is to the server, which outlives its sockets for a while."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from engine_bridge.bounds import Keys, Ring
from engine_bridge.errors import CloseCode, ProtocolError
from engine_bridge.interest import Interest, View
from engine_bridge.settings import BridgeSettings
from engine_bridge.stage import Cancel

if TYPE_CHECKING:
    from foundation.strict import StrictModel


class Peer(Protocol):
    """The client's end of one connection. Sending to a peer that is gone does nothing."""

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message; the connection closes when too much waits."""

    def nudge(self) -> None:
        """Newer state can be sent."""

    def close(self, code: CloseCode, reason: str) -> None:
        """Say goodbye and close."""


class Client(Peer, Protocol):
    """A peer that asks: it has a session once hello was answered."""

    session: Session | None

    def welcome(self) -> None:
        """Hello was answered: the connection is ready."""


@dataclass(slots=True)
class Asker:
    """Who waits for an answer: a request on one connection. `pieces` counts the speech it got."""

    peer: Peer
    re: int
    pieces: int = 0


@dataclass(slots=True, eq=False)
class Work:
    """A request under way, or what became of it. Repeating its key adds an asker.

    `heard` is when something last came of it.
    """

    t: str
    started: float
    heard: float
    key: str | None = None
    askers: list[Asker] = field(default_factory=list)
    text: str = ""
    first_at: float | None = None
    final: tuple[str, dict[str, Any]] | None = None
    cancel: Cancel | None = None


@dataclass(slots=True, eq=False)
class Session:
    """One client. `peer` is None while no socket is attached.

    `seen` is what the client should see now, `base` what it was last sent on this connection.
    """

    id: str
    token: str
    ring: Ring
    keys: Keys[Work]
    peer: Peer | None = None
    name: str = ""
    entity: int = 0
    interest: Interest | None = None
    seen: View | None = None
    base: View | None = None
    told_tick: int = 0
    running: set[Work] = field(default_factory=set)
    proposals: int = 0
    detached_at: float | None = None
    over: bool = False

    @property
    def asked(self) -> bool:
        """Whether somebody waits for an answer: over HTTP that needs no attached peer."""
        return any(work.askers for work in self.running)

    def reliable(self, t: str, d: dict[str, Any], size: int) -> None:
        """Number a message, keep it for resume, and send it if a socket is attached."""
        message = self.ring.push(t, d, size)
        if self.peer is not None:
            self.peer.send(message)

    def look(self, world: View) -> None:
        """Take a newer state of the world."""
        if self.interest is None:
            self.seen = None
        else:
            self.seen = self.interest.select(world, self.seen)

    def watch(self, interest: Interest) -> None:
        """Change what is watched; a snapshot follows."""
        self.interest = interest
        self.seen = None
        self.base = None

    def repeated(self, key: str, t: str, body: StrictModel) -> Work | None:
        """The work that this key stands for, None when it is new. Raises `ProtocolError`."""
        return self.keys.find(key, (t, body))

    def next_proposal(self) -> int:
        """This session's counter of proposals."""
        self.proposals += 1
        return self.proposals


class Sessions:
    """All sessions, attached or waiting to be resumed. Times are seconds of a monotonic clock.

    `fresh` makes unguessable text; tests may hand in their own.
    """

    def __init__(
        self,
        settings: BridgeSettings,
        fresh: Callable[[], str] = lambda: secrets.token_urlsafe(24),
    ) -> None:
        self._settings = settings
        self._fresh = fresh
        self._by_token: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._by_token)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._by_token.values()))

    def open(self, peer: Peer) -> Session:
        """A new session. Raises `ProtocolError` busy when `max_clients` are there.

        Only those with a socket count: whoever comes back after a lost one says hello first. As many
        again may wait.
        """
        most = self._settings.max_clients
        if len(self) >= most:
            self._make_room()
        attached = sum(session.peer is not None for session in self)
        if attached >= most or len(self) >= 2 * most:
            raise ProtocolError(
                "busy",
                f"this server takes {self._settings.max_clients} clients",
                "try again later, or raise max_clients",
            )
        token = self._fresh()
        session = Session(
            id=f"s-{secrets.token_hex(6)}",
            token=token,
            ring=Ring(self._settings.ring, self._settings.ring_bytes),
            keys=Keys(self._settings.keys, lambda work: work.final is not None),
            peer=peer,
        )
        self._by_token[token] = session
        return session

    def resume(
        self, token: str, last_seq: int, peer: Peer
    ) -> tuple[Session, list[Mapping[str, Any]], bool]:
        """Attach `peer` to the session of `token`.

        Returns it with the reliable messages after `last_seq` and whether some were dropped.
        A peer that was still attached is closed (4008). Raises `ProtocolError` resume_failed.
        """
        session = self._by_token.get(token)
        if session is None or session.peer is peer:
            raise ProtocolError(
                "resume_failed", "the session is unknown or has expired", "join again"
            )
        if last_seq > session.ring.last:
            raise ProtocolError("resume_failed", f"message {last_seq} was never sent", "join again")
        if session.peer is not None:
            session.peer.close(CloseCode.REPLACED, "the session was resumed elsewhere")
        session.peer = peer
        session.detached_at = None
        session.base = None
        session.ring.ack(last_seq)
        missed, lost = session.ring.after(last_seq)
        return session, list(missed), lost

    def detach(self, session: Session, peer: Peer, now: float) -> None:
        """The socket is gone; the session waits to be resumed."""
        if session.peer is peer:
            session.peer = None
            session.base = None
            session.detached_at = now

    @property
    def bodies(self) -> int:
        """How many sessions, attached or waiting, have a body in the world."""
        return sum(bool(session.entity) for session in self)

    def find(self, token: str) -> Session | None:
        """The session of a token, attached or waiting."""
        return self._by_token.get(token)

    def touch(self, session: Session, now: float) -> None:
        """A waiting session was used: its window begins anew."""
        if session.detached_at is not None:
            session.detached_at = now

    def drop(self, session: Session) -> None:
        """End a session at once."""
        session.over = True
        self._by_token.pop(session.token, None)

    def sweep(self, now: float) -> list[Session]:
        """End the sessions that waited too long; the caller takes their bodies out of the world."""
        expired = [
            session
            for session in self
            if session.detached_at is not None
            and not session.asked
            and now - session.detached_at >= self._settings.resume_s
        ]
        for session in expired:
            self.drop(session)
        return expired

    def _make_room(self) -> bool:
        """Give up a waiting session that has no body: nothing is lost with it."""
        idle = [s for s in self if s.detached_at is not None and not s.entity and not s.asked]
        if idle:
            self.drop(min(idle, key=lambda session: session.detached_at or 0.0))
        return bool(idle)
