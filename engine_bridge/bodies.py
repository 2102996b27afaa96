"""Players' bodies in the world: how a session gets one, what it sees, and how each body goes."""

from __future__ import annotations

from collections.abc import Mapping

from engine_bridge import messages as m
from engine_bridge.errors import RETRYABLE, ProtocolError
from engine_bridge.feed import Feed
from engine_bridge.hop import HoppingStage
from engine_bridge.in_flight import InFlight
from engine_bridge.interest import DEAD, UNITS_A_TILE, Interest
from engine_bridge.sessions import Client, Session, Sessions
from engine_bridge.settings import BridgeSettings
from engine_bridge.stage import Outcome


class Bodies:
    """Carries out join, leave and watch. No body stays in the world that no session has."""

    def __init__(
        self,
        stage: HoppingStage,
        sessions: Sessions,
        in_flight: InFlight,
        feed: Feed,
        settings: BridgeSettings,
    ) -> None:
        self._stage = stage
        self._sessions = sessions
        self._in_flight = in_flight
        self._feed = feed
        self._settings = settings
        self._staying: set[int] = set()

    def join(self, client: Client, session: Session, re: int, body: m.Join) -> None:
        """Make the session's body at a start of the scene."""
        work = self._in_flight.begin(client, session, re, "join", body)
        if work is None:
            return
        joining = any(other.t == "join" for other in session.running if other is not work)
        if joining or self._has_body(session):
            self._in_flight.fail(session, work, "busy", "this session has a body; leave first")
            return
        if self._sessions.bodies >= self._settings.max_clients:
            reason = f"this server has room for {self._settings.max_clients} players"
            self._in_flight.fail(session, work, "busy", reason)
            return
        session.name = body.name

        def joined(outcome: Outcome) -> None:
            if not outcome.accepted:
                self._in_flight.refuse(session, work, outcome)
                return
            if session.over:
                self._take_out(outcome.entity)
                self._in_flight.fail(session, work, "cancelled", "the session has ended")
                return
            if session.entity and session.entity != outcome.entity:
                # A join that was given up came through after all, before this one.
                self._take_out(session.entity)
            session.entity = outcome.entity
            if session.interest is not None and not session.interest.all:
                session.watch(self._around(session, session.interest.radius))
            x, y = int(outcome.detail["x"]), int(outcome.detail["y"])
            self._in_flight.finish(
                session, work, "joined", m.Joined(entity=outcome.entity, x=x, y=y)
            )

        self._stage.join(body.name, joined)

    def leave(self, client: Client, session: Session, re: int, body: m.Leave) -> None:
        """Take the session's body out of the world because the client asks for it."""
        work = self._in_flight.begin_with_body(client, session, re, "leave", body)
        if work is None:
            return

        def left(outcome: Outcome) -> None:
            if outcome.accepted or outcome.code == "no_such_entity":
                session.entity = 0
                self._in_flight.finish(session, work, "left", m.Left())
            else:
                self._in_flight.refuse(session, work, outcome)

        self._stage.leave(session.entity, left)

    def watch(self, client: Client, session: Session, re: int, body: m.Watch) -> None:
        """Choose what the session sees: a circle around its body, or everything."""
        if body.all:
            if not self._settings.spectators:
                raise ProtocolError("unauthorised", "this server allows no spectators")
            session.watch(Interest(body=0, radius=0, all=True, most=self._settings.max_visible))
            radius = 0
        else:
            if not session.entity:
                raise ProtocolError("not_joined", "this session has no body", "join first")
            radius = min(body.radius or self._settings.radius, self._settings.max_radius)
            session.watch(self._around(session, radius * UNITS_A_TILE))
        if self._feed.view is not None:
            session.look(self._feed.view)
        client.send(m.reply("watching", re, m.Watching(radius=radius, all=body.all)))
        client.nudge()

    def abandon(self, session: Session) -> None:
        """The session is over: its body leaves the world."""
        if session.entity:
            self._take_out(session.entity)
            session.entity = 0

    def loaded(self, players: Mapping[int, str]) -> None:
        """Another state was loaded, but none of its frames yet: whose body is in it keeps it.

        Bodies of nobody leave.
        """
        strays = set(players)
        for session in self._sessions:
            # Two lives of a world may give one id to different beings: the name tells.
            name = self._feed.names.get(session.entity)
            if name is not None and players.get(session.entity) == name:
                strays.discard(session.entity)
            else:
                session.entity = 0
        for entity in sorted(strays):
            self._take_out(entity)

    def retry(self) -> None:
        """Try again to take out the bodies that could not leave when they should have."""
        for entity in tuple(self._staying):
            self._take_out(entity)

    def _take_out(self, entity: int) -> None:
        """Take a body out of the world that no session has any more; if refused now, later."""
        self._staying.discard(entity)

        def left(outcome: Outcome) -> None:
            if not outcome.accepted and outcome.code in RETRYABLE:
                self._staying.add(entity)

        self._stage.leave(entity, left)

    def _around(self, session: Session, radius: int) -> Interest:
        return Interest(session.entity, radius, all=False, most=self._settings.max_visible)

    def _has_body(self, session: Session) -> bool:
        """Whether the session's body still lives; a dead one is taken away to make room."""
        view = self._feed.view
        row = None if view is None else view.row(session.entity)
        if view is not None and row is not None and int(view.columns["flags"][row]) & DEAD:
            self.abandon(session)
        return bool(session.entity)
