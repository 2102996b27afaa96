"""From requests to the stage and back: what each message of a client does.

Runs on the bridge's thread alone. The stage answers on threads of its own; `hop` brings its
answers here.
"""

from __future__ import annotations

import difflib
import hmac
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from engine_bridge import messages as m
from engine_bridge.errors import RETRYABLE, CloseCode, ProtocolError
from engine_bridge.feed import Feed
from engine_bridge.interest import DEAD, UNITS_A_TILE, Interest
from engine_bridge.protocol import error_message
from engine_bridge.sessions import Asker, Peer, Session, Sessions, Work
from engine_bridge.settings import BridgeSettings
from engine_bridge.stage import Outcome, Stage
from foundation.strict import StrictModel
from models.errors import ModelError
from models.request import Preference
from world.content import ContentRequest
from world.inputs import Input

log = logging.getLogger("greenroom.bridge")

RETRY_MS: Final = {"retry": 250, "busy": 500, "cooling_down": 250, "too_late": 0}
MAX_SPOKEN: Final = 16_384
"""Characters of one answer that are kept for who asks again."""

Hop = Callable[..., None]
"""hop(function, *args): call it soon on the bridge's thread; from any thread."""


Admit = Callable[[str, str], None]
"""admit(backend, purpose): raises BackendRefused unless a request may name it; never blocks."""


class Client(Peer, Protocol):
    """A peer as the gateway knows it: it has a session once hello was answered."""

    session: Session | None

    def welcome(self) -> None:
        """Hello was answered: the connection is ready."""


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
        self._stage = stage
        self._sessions = sessions
        self._feed = feed
        self._settings = settings
        self._clock = clock
        self._wall_ms = wall_ms
        self._hop = hop
        self._admit = admit
        self._facts: m.WorldFacts | None = None
        self._server = ""
        self._epoch = -1
        self._actions: frozenset[str] = frozenset()
        self._staying: set[int] = set()
        self._handlers: Mapping[str, Callable[[Client, Session, int, Any], None]] = {
            "resume": self._resume,
            "join": self._join,
            "leave": self._leave,
            "watch": self._watch,
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
                self._hello(client, request.id, request.body)
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
        """What welcome tells of the world, checked; read anew when the epoch changes."""
        if self._facts is None or self._epoch != self._feed.epoch:
            about = dict(self._stage.about())
            self._epoch = about.pop("epoch")
            self._server = about.pop("server")
            self._facts = m.WorldFacts.model_validate(about)
            self._actions = frozenset(self._facts.actions)
        return self._facts

    def lost(self, client: Client) -> None:
        """A socket ended: its session waits for a resume; what only this socket awaited is dropped."""
        session = client.session
        if session is None:
            return
        client.session = None
        self._sessions.detach(session, client, self._clock())
        for work in tuple(session.running):
            work.askers = [asker for asker in work.askers if asker.peer is not client]
            # With a key the client can ask again; without one, nobody will ever hear the answer.
            if not work.askers and work.key is None:
                self._withdraw(session, work)

    def expire(self) -> None:
        """What time brings: sessions that waited too long end, and requests without an answer."""
        now = self._clock()
        for session in self._sessions.sweep(now):
            self._end(session)
        for session in self._sessions:
            for work in tuple(session.running):
                if now - work.heard >= self._settings.answer_s:
                    self._give_up(session, work)
        for entity in tuple(self._staying):
            self._take_out(entity)

    def end_all(self) -> None:
        """End every session: the server goes down."""
        for session in self._sessions:
            self._sessions.drop(session)
            self._end(session)

    def _end(self, session: Session) -> None:
        for work in tuple(session.running):
            self._withdraw(session, work)
        if session.entity:
            self._take_out(session.entity)
            session.entity = 0

    def _take_out(self, entity: int) -> None:
        """Take a body out of the world that no session has any more; if refused now, later."""
        self._staying.discard(entity)

        def left(outcome: Outcome) -> None:
            if not outcome.accepted and outcome.code in RETRYABLE:
                self._staying.add(entity)

        self._stage.leave(entity, self._here(left))

    # ------------------------------------------------------------ opening

    def _hello(self, client: Client, re: int, body: m.Hello) -> None:
        wanted = self._settings.token
        if wanted is not None and not hmac.compare_digest(
            wanted.encode(), (body.token or "").encode()
        ):
            client.send(
                error_message(
                    re,
                    "unauthorised",
                    "the token is missing or wrong",
                    "put the server's token into hello; on the command line, --token",
                )
            )
            client.close(CloseCode.AUTH, "the token is missing or wrong")
            return
        facts = self.facts()
        try:
            session = self._sessions.open(client)
        except ProtocolError as error:
            client.send(error_message(re, error.code, error.message, error.hint, 1000))
            client.close(CloseCode.FULL, error.message)
            return
        client.session = session
        settings = self._settings
        welcome = m.Welcome(
            session=session.id,
            resume_token=session.token,
            heartbeat_s=settings.heartbeat_s,
            limits=m.LimitFacts(
                max_frame=settings.max_frame,
                max_depth=settings.max_depth,
                rate=settings.rate,
                in_flight=settings.in_flight,
                text=m.MAX_TEXT,
                max_radius=settings.max_radius,
                resume_s=settings.resume_s,
            ),
            server=self._server,
            world=facts,
            epoch=self._epoch,
        )
        client.send(m.reply("welcome", re, welcome))
        client.welcome()

    def _resume(self, client: Client, mine: Session, re: int, body: m.Resume) -> None:
        if mine.entity or mine.running or mine.ring.last:
            raise ProtocolError("resume_failed", "resume comes right after welcome")
        session, missed, lost = self._sessions.resume(body.token, body.last_seq, client)
        self._sessions.drop(mine)
        client.session = session
        resumed = m.Resumed(
            session=session.id,
            epoch=self._feed.epoch,
            replayed=len(missed),
            lost=lost,
            entity=session.entity,
        )
        client.send(m.reply("resumed", re, resumed))
        for message in missed:
            client.send(dict(message))
        client.nudge()

    # ------------------------------------------------------------ body and sight

    def _join(self, client: Client, session: Session, re: int, body: m.Join) -> None:
        work = self._begin(client, session, re, "join", body)
        if work is None:
            return
        joining = any(other.t == "join" for other in session.running if other is not work)
        if joining or self._has_body(session):
            self._fail(session, work, "busy", "this session has a body; leave first")
            return
        if self._sessions.bodies >= self._settings.max_clients:
            most = self._settings.max_clients
            self._fail(session, work, "busy", f"this server has room for {most} players")
            return
        session.name = body.name

        def joined(outcome: Outcome) -> None:
            if not outcome.accepted:
                self._refused(session, work, outcome)
                return
            if session.over:
                self._take_out(outcome.entity)
                self._fail(session, work, "cancelled", "the session has ended")
                return
            if session.entity and session.entity != outcome.entity:
                # A join that was given up came through after all, before this one.
                self._take_out(session.entity)
            session.entity = outcome.entity
            if session.interest is not None and not session.interest.all:
                session.watch(self._around(session, session.interest.radius))
            detail = outcome.detail
            self._finish(
                session,
                work,
                "joined",
                m.Joined(entity=outcome.entity, x=int(detail["x"]), y=int(detail["y"])),
            )

        self._stage.join(body.name, self._here(joined))

    def _leave(self, client: Client, session: Session, re: int, body: m.Leave) -> None:
        work = self._begin(client, session, re, "leave", body)
        if work is None:
            return
        if not session.entity:
            self._fail(session, work, "not_joined", "this session has no body")
            return

        def left(outcome: Outcome) -> None:
            if outcome.accepted or outcome.code == "no_such_entity":
                session.entity = 0
                self._finish(session, work, "left", m.Left())
            else:
                self._refused(session, work, outcome)

        self._stage.leave(session.entity, self._here(left))

    def _watch(self, client: Client, session: Session, re: int, body: m.Watch) -> None:
        if body.all:
            if not self._settings.spectators:
                raise ProtocolError("unauthorised", "this server allows no spectators")
            session.watch(Interest(body=0, radius=0, all=True, most=self._settings.max_visible))
            radius = 0
        else:
            self._body_of(session)
            radius = min(body.radius or self._settings.radius, self._settings.max_radius)
            session.watch(self._around(session, radius * UNITS_A_TILE))
        if self._feed.view is not None:
            session.look(self._feed.view)
        client.send(m.reply("watching", re, m.Watching(radius=radius, all=body.all)))
        client.nudge()

    def _around(self, session: Session, radius: int) -> Interest:
        return Interest(session.entity, radius, all=False, most=self._settings.max_visible)

    def _has_body(self, session: Session) -> bool:
        """Whether the session's body still lives; a dead one is taken away to make room."""
        view = self._feed.view
        row = None if view is None else view.row(session.entity)
        if view is not None and row is not None and int(view.columns["flags"][row]) & DEAD:
            self._take_out(session.entity)
            session.entity = 0
        return bool(session.entity)

    def _body_of(self, session: Session) -> int:
        if not session.entity:
            raise ProtocolError("not_joined", "this session has no body", "join first")
        return session.entity

    # ------------------------------------------------------------ actions

    def _action(self, t: str, client: Client, session: Session, re: int, body: StrictModel) -> None:
        self._propose(client, session, re, t, body, body.model_dump(exclude={"key"}))

    def _act(self, client: Client, session: Session, re: int, body: m.Act) -> None:
        # The vocabulary is checked here: system inputs such as `spawn` are no client's to propose.
        self.facts()
        if body.action not in self._actions:
            near = difflib.get_close_matches(body.action, self._actions, 1, 0.5)
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
        work = self._begin(client, session, re, action, request)
        if work is None:
            return
        if not session.entity:
            self._fail(session, work, "not_joined", "this session has no body")
            return

        def settled(outcome: Outcome) -> None:
            if outcome.accepted:
                committed = m.Committed(tick=outcome.tick, detail=dict(outcome.detail))
                self._finish(session, work, "committed", committed)
            else:
                self._refused(session, work, outcome)

        proposer = f"client:{session.id}"
        proposal = Input(action, session.entity, proposer, session.next_proposal(), dict(fields))
        self._stage.propose(proposal, self._here(settled))

    # ------------------------------------------------------------ speech and long work

    def _say(self, client: Client, session: Session, re: int, body: m.Say) -> None:
        work = self._begin(client, session, re, "say", body)
        if work is None:
            return
        if not session.entity:
            self._fail(session, work, "not_joined", "this session has no body")
            return
        if body.backend:
            try:
                self._admit(body.backend, "speech")
            except ModelError as error:
                self._fail(session, work, error.code, error.message)
                return
        speech = _Speech(self, session, work)
        preference = Preference(body.backend, body.cache)
        work.cancel = self._stage.say(session.entity, body.to, body.text, speech, preference)

    def spoken(self, session: Session, work: Work, text: str) -> None:
        """A piece of an answer came."""
        if work.final is not None or not text or len(work.text) + len(text) > MAX_SPOKEN:
            return
        work.heard = self._clock()
        if work.first_at is None:
            work.first_at = work.heard
        work.text += text
        for asker in work.askers:
            self._piece(asker, text)

    def answered(self, session: Session, work: Work, text: str, source: str) -> None:
        """An answer is whole. One that was not streamed comes as a single piece all the same."""
        if not work.text:
            self.spoken(session, work, text)
        now = self._clock()
        first = work.first_at if work.first_at is not None else now
        done = m.Done(
            text=text,
            source=source,
            tick=self._feed.tick,
            first_token_ms=max(0, round((first - work.started) * 1000)),
            total_ms=max(0, round((now - work.started) * 1000)),
        )
        self._finish(session, work, "done", done)

    def refused(self, session: Session, work: Work, code: str, reason: str) -> None:
        """A line or a content request was turned down."""
        self._fail(session, work, code, reason)

    def _piece(self, asker: Asker, text: str) -> None:
        asker.peer.send(m.reply("speech", asker.re, m.Speech(n=asker.pieces, text=text)))
        asker.pieces += 1

    def _content(self, client: Client, session: Session, re: int, body: ContentRequest) -> None:
        work = self._new_work(client, session, re, "content")
        work.cancel = self._stage.content(body.model_dump(), _Content(self, session, work))

    def progressed(self, work: Work, node: str, state: str, done: int, total: int) -> None:
        """A node of the content pipeline changed state."""
        work.heard = self._clock()
        if work.final is None:
            progress = m.Progress(node=node, state=state, done=done, total=total)
            for asker in work.askers:
                asker.peer.send(m.reply("progress", asker.re, progress))

    def made(self, session: Session, work: Work, response: Mapping[str, Any]) -> None:
        """Content is finished."""
        self._settle(session, work, "content", dict(response))

    def _cancel(self, client: Client, session: Session, re: int, body: m.Cancel) -> None:
        for work in tuple(session.running):
            if any(asker.peer is client and asker.re == body.id for asker in work.askers):
                if work.t not in ("say", "content"):
                    raise ProtocolError("bad_message", f"a {work.t} can't be withdrawn")
                self._withdraw(session, work)
        client.send(m.reply("cancelled", re, m.Cancelled()))

    def _withdraw(self, session: Session, work: Work) -> None:
        if work.t in ("say", "content"):
            cancel = work.cancel
            self._fail(session, work, "cancelled", "the request was withdrawn")
            if cancel is not None:
                cancel()

    # ------------------------------------------------------------ small ones

    def _inspect(self, client: Client, session: Session, re: int, body: m.Inspect) -> None:
        if not self._settings.spectators and (
            session.seen is None or session.seen.row(body.entity) is None
        ):
            raise ProtocolError("unknown_entity", f"{body.entity} is not in sight")
        work = self._new_work(client, session, re, "inspect")

        def told(panel: Mapping[str, Any] | None) -> None:
            if panel is None:
                self._fail(session, work, "unknown_entity", f"there is no entity {body.entity}")
            else:
                self._settle(session, work, "entity", {**panel, "entity": body.entity})

        self._stage.situation(body.entity, self._here(told))

    def _ack(self, client: Client, session: Session, re: int, body: m.Ack) -> None:
        session.ring.ack(body.seq)

    def _ping(self, client: Client, session: Session, re: int, body: m.Ping) -> None:
        client.send(m.reply("pong", re, m.Pong(tick=self._feed.tick, time_ms=self._wall_ms())))

    # ------------------------------------------------------------ work and its end

    def _begin(self, client: Client, session: Session, re: int, t: str, body: Any) -> Work | None:
        """New work for a keyed request; None when its key was known and the asker was attached."""
        key: str = body.key
        known = session.repeated(key, t, body)
        if known is None:
            work = self._new_work(client, session, re, t, key)
            session.keys.store(key, (t, body), work)
            return work
        asker = Asker(client, re)
        if known.final is not None:
            client.send({"t": known.final[0], "re": re, "d": known.final[1]})
            return None
        known.heard = self._clock()
        session.running.add(known)
        known.askers.append(asker)
        if known.text:
            self._piece(asker, known.text)
        return None

    def _new_work(
        self, client: Client, session: Session, re: int, t: str, key: str | None = None
    ) -> Work:
        if len(session.running) >= self._settings.in_flight:
            raise ProtocolError(
                "busy", f"{self._settings.in_flight} requests are under way", "wait for answers"
            )
        for work in session.running:
            if any(asker.peer is client and asker.re == re for asker in work.askers):
                raise ProtocolError("bad_message", f"request {re} is still under way")
        now = self._clock()
        work = Work(t, now, now, key, [Asker(client, re)])
        session.running.add(work)
        return work

    def _finish(self, session: Session, work: Work, t: str, model: StrictModel) -> None:
        self._settle(session, work, t, m.body(model))

    def _refused(self, session: Session, work: Work, outcome: Outcome) -> None:
        self._fail(session, work, outcome.code, outcome.reason)

    def _fail(self, session: Session, work: Work, code: str, reason: str) -> None:
        d = error_message(0, code, reason, "", RETRY_MS.get(code, 0))["d"]
        # After `no_answer` the key stays: whether it happened is not known, and twice would be worse.
        again = code in ("not_joined", "backend_refused") or (
            code in RETRYABLE and code != "no_answer"
        )
        if work.key is not None and work.final is None and again:
            session.keys.forget(work.key)
        self._settle(session, work, "error", d)

    def _give_up(self, session: Session, work: Work) -> None:
        """Tell that no answer came. Under its key an answer that comes later is kept for who asks."""
        reason = f"no answer within {self._settings.answer_s:g} s"
        if work.key is None or work.t == "say":
            cancel = work.cancel
            self._fail(session, work, "no_answer", reason)
            if cancel is not None:
                cancel()
            return
        session.running.discard(work)
        for asker in work.askers:
            asker.peer.send(error_message(asker.re, "no_answer", reason))
        work.askers = []

    def _settle(self, session: Session, work: Work, t: str, d: dict[str, Any]) -> None:
        if work.final is not None:
            return
        work.final = (t, d)
        work.text = ""
        session.running.discard(work)
        for asker in work.askers:
            asker.peer.send({"t": t, "re": asker.re, "d": d})
        work.askers = []
        work.cancel = None

    def _here(self, function: Callable[[Any], None]) -> Callable[[Any], None]:
        """The function, to be called from any thread, run on the bridge's."""
        return lambda value: self._hop(function, value)

    def hop(self, function: Callable[..., None], *args: object) -> None:
        """Call a function soon on the bridge's thread."""
        self._hop(function, *args)


class _Speech:
    """Brings an answer's pieces from the actor's thread to the bridge's."""

    def __init__(self, gateway: Gateway, session: Session, work: Work) -> None:
        self._gateway = gateway
        self._session = session
        self._work = work

    def on_text(self, text: str) -> None:
        self._gateway.hop(self._gateway.spoken, self._session, self._work, text)

    def on_done(self, text: str, source: str, reply: object | None) -> None:
        self._gateway.hop(self._gateway.answered, self._session, self._work, text, source)

    def on_rejected(self, code: str, reason: str) -> None:
        self._gateway.hop(self._gateway.refused, self._session, self._work, code, reason)


class _Content:
    """Brings a pipeline's progress from its thread to the bridge's."""

    def __init__(self, gateway: Gateway, session: Session, work: Work) -> None:
        self._gateway = gateway
        self._session = session
        self._work = work

    def on_progress(self, node: str, state: str, done: int, total: int) -> None:
        self._gateway.hop(self._gateway.progressed, self._work, node, state, done, total)

    def on_done(self, response: Mapping[str, Any]) -> None:
        self._gateway.hop(self._gateway.made, self._session, self._work, response)

    def on_rejected(self, code: str, reason: str) -> None:
        self._gateway.hop(self._gateway.refused, self._session, self._work, code, reason)
