"""Requests in flight: who waits for each, what came of it so far, and how it ends.

A request that changes the world has a key: repeated under it, it happens once, and whoever asked
again hears the answer too. What has an end is told once to each asker; what never comes is given up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from engine_bridge import messages as m
from engine_bridge.errors import RETRY_MS, RETRYABLE, ProtocolError
from engine_bridge.protocol import error_message
from engine_bridge.sessions import Asker, Peer, Session, Work
from engine_bridge.settings import BridgeSettings
from engine_bridge.stage import Outcome
from foundation.strict import StrictModel

MAX_SPOKEN: Final = 16_384
"""Characters of one answer that are kept for who asks again."""


class InFlight:
    """Begins work for requests and ends it. `clock` reads monotonic seconds."""

    def __init__(self, settings: BridgeSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock

    # ------------------------------------------------------------ a beginning

    def begin(self, peer: Peer, session: Session, re: int, t: str, body: Any) -> Work | None:
        """New work for a keyed request; None when its key was known and the asker was attached.

        Raises `ProtocolError`: as `open`, and when the key stands for another request.
        """
        key: str = body.key
        known = session.repeated(key, t, body)
        if known is None:
            work = self.open(peer, session, re, t, key)
            session.keys.store(key, (t, body), work)
            return work
        asker = Asker(peer, re)
        if known.final is not None:
            peer.send({"t": known.final[0], "re": re, "d": known.final[1]})
            return None
        known.heard = self._clock()
        session.running.add(known)
        known.askers.append(asker)
        if known.text:
            _tell_piece(asker, known.text)
        return None

    def begin_with_body(
        self, peer: Peer, session: Session, re: int, t: str, body: Any
    ) -> Work | None:
        """As `begin`, for what only a body in the world can do: without one the request fails."""
        work = self.begin(peer, session, re, t, body)
        if work is not None and not session.entity:
            self.fail(session, work, "not_joined", "this session has no body")
            return None
        return work

    def open(self, peer: Peer, session: Session, re: int, t: str, key: str | None = None) -> Work:
        """New work. Raises `ProtocolError` when too much is in flight, or `re` is already."""
        if len(session.running) >= self._settings.in_flight:
            raise ProtocolError(
                "busy", f"{self._settings.in_flight} requests are under way", "wait for answers"
            )
        if any(_asked(work, peer, re) for work in session.running):
            raise ProtocolError("bad_message", f"request {re} is still under way")
        now = self._clock()
        work = Work(t, now, now, key, [Asker(peer, re)])
        session.running.add(work)
        return work

    # ------------------------------------------------------------ what comes before the end

    def spoken(self, work: Work, text: str) -> None:
        """A piece of an answer came."""
        if work.final is not None or not text or len(work.text) + len(text) > MAX_SPOKEN:
            return
        work.heard = self._clock()
        if work.first_at is None:
            work.first_at = work.heard
        work.text += text
        for asker in work.askers:
            _tell_piece(asker, text)

    def progressed(self, work: Work, progress: m.Progress) -> None:
        """A node of the content pipeline changed state."""
        work.heard = self._clock()
        if work.final is None:
            for asker in work.askers:
                asker.peer.send(m.reply("progress", asker.re, progress))

    # ------------------------------------------------------------ an end

    def finish(self, session: Session, work: Work, t: str, model: StrictModel) -> None:
        """The request was carried out: `model` is its answer."""
        self.settle(session, work, t, m.body(model))

    def refuse(self, session: Session, work: Work, outcome: Outcome) -> None:
        """The rules turned the request down."""
        self.fail(session, work, outcome.code, outcome.reason)

    def fail(self, session: Session, work: Work, code: str, reason: str) -> None:
        """The request ends in an error. One that may succeed later frees its key."""
        d = error_message(0, code, reason, "", RETRY_MS.get(code, 0))["d"]
        # After `no_answer` the key stays: whether it happened is not known, and twice would be worse.
        again = code in ("not_joined", "backend_refused") or (
            code in RETRYABLE and code != "no_answer"
        )
        if work.key is not None and work.final is None and again:
            session.keys.forget(work.key)
        self.settle(session, work, "error", d)

    def settle(self, session: Session, work: Work, t: str, d: dict[str, Any]) -> None:
        """Tell the end to all who asked. Only the first end counts."""
        if work.final is not None:
            return
        work.final = (t, d)
        work.text = ""
        session.running.discard(work)
        for asker in work.askers:
            asker.peer.send({"t": t, "re": asker.re, "d": d})
        work.askers = []
        work.cancel = None

    # ------------------------------------------------------------ an end without an answer

    def cancel(self, peer: Peer, session: Session, re: int) -> None:
        """Withdraw what `peer` asked for as `re`; nothing if that is over or never was.

        Raises `ProtocolError` for a request that can't be withdrawn.
        """
        for work in tuple(session.running):
            if _asked(work, peer, re):
                if not _is_long(work):
                    raise ProtocolError("bad_message", f"a {work.t} can't be withdrawn")
                self._withdraw(session, work)

    def lost(self, session: Session, peer: Peer) -> None:
        """A socket ended: what only it awaited is withdrawn, unless a key lets it be asked for again."""
        for work in tuple(session.running):
            work.askers = [asker for asker in work.askers if asker.peer is not peer]
            # With a key the client can ask again; without one, nobody will ever hear the answer.
            if not work.askers and work.key is None:
                self._withdraw(session, work)

    def withdraw_all(self, session: Session) -> None:
        """The session is over: speech and content end; what the rules may still settle does."""
        for work in tuple(session.running):
            self._withdraw(session, work)

    def expire(self, session: Session) -> None:
        """Give up what was silent for `answer_s`."""
        now = self._clock()
        for work in tuple(session.running):
            if now - work.heard >= self._settings.answer_s:
                self._give_up(session, work)

    def _withdraw(self, session: Session, work: Work) -> None:
        if _is_long(work):
            cancel = work.cancel
            self.fail(session, work, "cancelled", "the request was withdrawn")
            if cancel is not None:
                cancel()

    def _give_up(self, session: Session, work: Work) -> None:
        """Tell that no answer came. Under its key an answer that comes later is kept for who asks."""
        reason = f"no answer within {self._settings.answer_s:g} s"
        if work.key is None or work.t == "say":
            cancel = work.cancel
            self.fail(session, work, "no_answer", reason)
            if cancel is not None:
                cancel()
            return
        session.running.discard(work)
        for asker in work.askers:
            asker.peer.send(error_message(asker.re, "no_answer", reason))
        work.askers = []


def _tell_piece(asker: Asker, text: str) -> None:
    asker.peer.send(m.reply("speech", asker.re, m.Speech(n=asker.pieces, text=text)))
    asker.pieces += 1


def _asked(work: Work, peer: Peer, re: int) -> bool:
    return any(asker.peer is peer and asker.re == re for asker in work.askers)


def _is_long(work: Work) -> bool:
    return work.t in ("say", "content")
