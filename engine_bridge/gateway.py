"""From requests to the stage and back: what each message of a client does.

Runs on the bridge's thread alone. The stage answers on threads of its own; `hop` brings its
answers here.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from engine_bridge import messages as m
from engine_bridge.bodies import Bodies
from engine_bridge.errors import RETRY_MS, ProtocolError
from engine_bridge.feed import Feed
from engine_bridge.hop import Hop, HoppingStage
from engine_bridge.in_flight import InFlight
from engine_bridge.opening import Opening
from engine_bridge.protocol import error_message
from engine_bridge.sessions import Client, Session, Sessions
from engine_bridge.settings import BridgeSettings
from engine_bridge.stage import Outcome, Stage
from engine_bridge.streams import MadeContent, SpokenAnswer
from foundation.strict import StrictModel
from models.errors import ModelError
from models.request import Preference
from world.content import ContentRequest
from world.inputs import Input

log = logging.getLogger("greenroom.bridge")

Admit = Callable[[str, str], None]
"""admit(backend, purpose): raises BackendRefused unless a request may name it; never blocks."""


class Gateway:
    """Carries out requests. `clock` reads monotonic seconds, `wall_ms` milliseconds since 1970."""

    def __init__(
        self,
        stage: Stage,
        sessions: Sessions,
        feed: Feed,
        settings: BridgeSettings,
        *,
        clock: Callable[[], float],
        wall_ms: Callable[[], int],
        hop: Hop,
        admit: Admit,
    ) -> None:
        self._stage = HoppingStage(stage, hop)
        self._sessions = sessions
        self._feed = feed
        self._settings = settings
        self._clock = clock
        self._wall_ms = wall_ms
        self._admit = admit
        self._in_flight = InFlight(settings, clock)
        self._opening = Opening(self._stage, sessions, feed, settings)
        self._bodies = Bodies(self._stage, sessions, self._in_flight, feed, settings)
        self._handlers: Mapping[str, Callable[[Client, Session, int, Any], None]] = {
            "resume": self._opening.resume,
            "join": self._bodies.join,
            "leave": self._bodies.leave,
            "watch": self._bodies.watch,
            "say": self._say,
            "move": partial(self._action, "move"),
            "attack": partial(self._action, "attack"),
            "use": partial(self._action, "use"),
            "act": self._act,
            "cancel": self._cancel,
            "inspect": self._inspect,
            "content": self._content,
            "ack": self._ack,
            "ping": self._ping,
        }

    def handle(self, client: Client, request: m.Request) -> None:
        """Carry out one request; every fault becomes an error reply."""
        re = request.id or None
        try:
            if request.t == "hello":
                assert isinstance(request.body, m.Hello)
                self._opening.hello(client, request.id, request.body)
                return
            if client.session is None:
                raise ProtocolError("not_ready", f"{request.t} before welcome", "send hello first")
            self._handlers[request.t](client, client.session, request.id, request.body)
        except ProtocolError as error:
            client.send(
                error_message(
                    re, error.code, error.message, error.hint, RETRY_MS.get(error.code, 0)
                )
            )
        except Exception:
            log.exception("%s failed", request.t)
            client.send(
                error_message(re, "internal", f"{request.t} failed", "see the server's log")
            )

    def facts(self) -> m.WorldFacts:
        """What welcome tells of the world."""
        return self._opening.facts()

    # ------------------------------------------------------------ what else befalls a session

    def lost(self, client: Client) -> None:
        """A socket ended: its session waits for a resume; what only this socket awaited is dropped."""
        session = client.session
        if session is None:
            return
        client.session = None
        self._sessions.detach(session, client, self._clock())
        self._in_flight.lost(session, client)

    def loaded(self, players: Mapping[int, str]) -> None:
        """Another state was loaded, with these players' bodies in it: ids and names."""
        self._bodies.loaded(players)

    def expire(self) -> None:
        """What time brings: sessions that waited too long end, and requests without an answer."""
        for session in self._sessions.sweep(self._clock()):
            self._end(session)
        for session in self._sessions:
            self._in_flight.expire(session)
        self._bodies.retry()

    def end_all(self) -> None:
        """End every session: the server goes down."""
        for session in self._sessions:
            self._sessions.drop(session)
            self._end(session)

    def _end(self, session: Session) -> None:
        self._in_flight.withdraw_all(session)
        self._bodies.abandon(session)

    # ------------------------------------------------------------ actions

    def _action(self, t: str, client: Client, session: Session, re: int, body: StrictModel) -> None:
        self._propose(client, session, re, t, body, body.model_dump(exclude={"key"}))

    def _act(self, client: Client, session: Session, re: int, body: m.Act) -> None:
        # The vocabulary is checked here: system inputs such as `spawn` are no client's to propose.
        actions = self.facts().actions
        if body.action not in actions:
            near = difflib.get_close_matches(body.action, actions, 1, 0.5)
            raise ProtocolError(
                "unknown_action",
                f"no action is called {body.action!r}",
                f"did you mean {near[0]!r}?" if near else "welcome lists the actions",
            )
        self._propose(client, session, re, body.action, body, body.body)

    def _propose(
        self,
        client: Client,
        session: Session,
        re: int,
        action: str,
        request: StrictModel,
        fields: Mapping[str, Any],
    ) -> None:
        work = self._in_flight.begin_with_body(client, session, re, action, request)
        if work is None:
            return

        def settled(outcome: Outcome) -> None:
            if outcome.accepted:
                committed = m.Committed(tick=outcome.tick, detail=dict(outcome.detail))
                self._in_flight.finish(session, work, "committed", committed)
            else:
                self._in_flight.refuse(session, work, outcome)

        proposer = f"client:{session.id}"
        proposal = Input(action, session.entity, proposer, session.next_proposal(), dict(fields))
        self._stage.propose(proposal, settled)

    # ------------------------------------------------------------ speech and long work

    def _say(self, client: Client, session: Session, re: int, body: m.Say) -> None:
        work = self._in_flight.begin_with_body(client, session, re, "say", body)
        if work is None:
            return
        if body.backend:
            try:
                self._admit(body.backend, "speech")
            except ModelError as error:
                self._in_flight.fail(session, work, error.code, error.message)
                return
        answer = SpokenAnswer(self._in_flight, session, work, self._feed, self._clock)
        preference = Preference(body.backend, body.cache)
        work.cancel = self._stage.say(session.entity, body.to, body.text, answer, preference)

    def _content(self, client: Client, session: Session, re: int, body: ContentRequest) -> None:
        work = self._in_flight.open(client, session, re, "content")
        content = MadeContent(self._in_flight, session, work)
        work.cancel = self._stage.content(body.model_dump(), content)

    def _cancel(self, client: Client, session: Session, re: int, body: m.Cancel) -> None:
        self._in_flight.cancel(client, session, body.id)
        client.send(m.reply("cancelled", re, m.Cancelled()))

    # ------------------------------------------------------------ small ones

    def _inspect(self, client: Client, session: Session, re: int, body: m.Inspect) -> None:
        if not self._settings.spectators and (
            session.seen is None or session.seen.row(body.entity) is None
        ):
            raise ProtocolError("unknown_entity", f"{body.entity} is not in sight")
        work = self._in_flight.open(client, session, re, "inspect")

        def told(panel: Mapping[str, Any] | None) -> None:
            if panel is None:
                self._in_flight.fail(
                    session, work, "unknown_entity", f"there is no entity {body.entity}"
                )
            else:
                self._in_flight.settle(session, work, "entity", {**panel, "entity": body.entity})

        self._stage.situation(body.entity, told)

    def _ack(self, client: Client, session: Session, re: int, body: m.Ack) -> None:
        session.ring.ack(body.seq)

    def _ping(self, client: Client, session: Session, re: int, body: m.Ping) -> None:
        client.send(m.reply("pong", re, m.Pong(tick=self._feed.tick, time_ms=self._wall_ms())))
