"""The director owns the world and steps it; everything that changes the world goes through it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from actors.actor import Level, receives
from actors.journal import Journal
from actors.ledger import Ledger
from actors.mailbox import MailboxSpec
from actors.messages import (
    Answer,
    Hold,
    Join,
    Leave,
    Load,
    Look,
    Note,
    Outcome,
    Propose,
    Release,
    Reset,
    Say,
    Step,
    Subscribe,
    Synced,
    Unsubscribe,
)
from actors.prompter import Prompter
from actors.telling import told
from models.prompts import tame
from world.frame import Frame
from world.inputs import Input
from world.world import StepResult

__all__ = ["Director"]

logger = logging.getLogger(__name__)

MAX_SUBSCRIBERS = 64


class Director(Prompter):
    """The one writer. Its step goes before everything else on the dispatcher."""

    level = Level.STEP
    mailbox = MailboxSpec(limit=20_000)

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._journal = Journal(ledger, self._told)

    def on_start(self) -> None:
        # An earlier instance may have failed on the very message that ends a wait.
        for question in self._ledger.questions.open():
            if question.timer is not None:
                question.timer.cancel()
            self._watch(question, self._limit(question.kind))

    def on_skipped(self, message: object) -> None:
        """Tell whoever waits for what came of the message that it came to nothing."""
        code, reason = "retry", "the director failed on it; try again"
        if isinstance(message, Say):
            message.stream.reject(code, reason)
        elif isinstance(message, Propose | Join | Leave | Load):
            self._refuse(message.on_outcome, code, reason)
        elif isinstance(message, Answer):
            self._refuse(message.on_commit, code, reason)
            self._refuse(message.on_outcome, code, reason)

    def on_stop(self) -> None:
        closing = Outcome(self._ledger.world.tick, False, "retry", "the world is closing")
        for on_outcome in self._ledger.desk.clear():
            self._told.one(on_outcome, closing)
        for question in self._ledger.questions.close_all():
            if question.stream is not None:
                question.stream.reject(closing.code, closing.reason)

    # -- the tick ----------------------------------------------------------------------------------

    @receives(Step)
    def step(self, message: Step) -> None:
        """Live one tick."""
        ledger = self._ledger
        began = time.monotonic()
        try:
            with ledger.right_of_way:
                self._step()
        finally:
            ledger.on_stepped()
        ended = time.monotonic()
        late = max(0.0, began - message.due) if message.due else 0.0
        ledger.pace.stepped(late, ended - began)
        ledger.between_steps()

    def _step(self) -> None:
        ledger = self._ledger
        if ledger.held:
            ledger.counts["held_ticks"] += 1
            return
        self._journal.hand_over()
        if self._journal.blocked:
            ledger.counts["stalled_ticks"] += 1
            return
        tick = ledger.world.tick + 1
        if ledger.headless:
            ledger.questions.close_answered(tick)
        result = self._live(ledger.desk.admit(tick))
        ledger.rewind.stepped(result.inputs, result.hash)
        commits, refusals = ledger.desk.settle(result)
        self._told.all(commits)
        self._journal.record(result)
        self._told.all(refusals)
        frame = ledger.world.frame()
        for key, on_frame in list(ledger.subscribers.items()):
            self._show(key, on_frame, frame)
        self._notice(result)
        for reset in ledger.watch.after(ledger.world, result):
            self._reset(reset)
        self._journal.keep(result.hash)

    def _reset(self, reset: Input) -> None:
        """Have one who is stuck begin anew: its body by the world, then its mind."""

        def committed(outcome: Outcome) -> None:
            mind = self._ledger.minds.get(reset.entity)
            if outcome.accepted and mind is not None:
                told(mind, Reset(str(reset.body["reason"])))

        self._take(reset, None, on_commit=committed)

    def _live(self, inputs: list[Input]) -> StepResult:
        ledger = self._ledger
        try:
            return ledger.world.step(inputs)
        except Exception:
            # The rules promise never to raise. Should they, the half-lived tick is undone and lived
            # again without what was proposed, which is then refused.
            logger.error("tick %d failed; living it again", ledger.world.tick, exc_info=True)
            ledger.counts["failed_ticks"] += 1
            ledger.world = ledger.rewind.world()
            text = f"tick {ledger.world.tick + 1} failed with {len(inputs)} inputs: all refused"
            try:
                return ledger.world.step([self._note(text)])
            except Exception:
                # Not the inputs' fault, then. No half-lived tick may leave a hole in the journal.
                ledger.world = ledger.rewind.world()
                raise

    def _show(self, key: int, on_frame: Callable[[Frame], None], frame: Frame) -> None:
        try:
            on_frame(frame)
        except Exception:
            self._ledger.subscribers.pop(key, None)
            self._ledger.counts["subscribers_dropped"] += 1
            logger.warning("a subscriber failed and gets no more frames", exc_info=True)

    @receives(Synced)
    def synced(self, message: Synced) -> None:
        """Storage has caught up: tell what it now covers."""
        self._ledger.synced_tick = max(self._ledger.synced_tick, message.tick)
        self._told.all(self._ledger.desk.release(message.tick))

    # -- proposals -----------------------------------------------------------------------------------

    @receives(Propose)
    def propose(self, message: Propose) -> None:
        """Keep a proposal for its tick, or ask for a later try; drop one of an abandoned epoch."""
        if message.epoch and message.epoch != self._ledger.world.epoch:
            self._ledger.counts["stale_proposals"] += 1
            self._refuse(message.on_outcome, "too_late", "another state was loaded")
            return
        self._take(message.input, message.on_outcome, due=message.due)

    @receives(Join)
    def join(self, message: Join) -> None:
        """Make a player's body at one of the scene's starts, each in its turn."""
        ledger = self._ledger
        starts = ledger.world.player_starts
        if not ledger.player_species or not starts:
            refusal = "this world has no place for players"
            self._refuse(message.on_outcome, "no_valid_target", refusal)
            return
        n = ledger.number("director:join")
        x, y = starts[n % len(starts)]
        body = {
            "species": ledger.player_species,
            "x": x,
            "y": y,
            "name": tame(message.name, 32),
            "player": True,
        }
        self._take(Input("spawn", 0, "director:join", n, body), message.on_outcome)

    @receives(Leave)
    def leave(self, message: Leave) -> None:
        """Take a player's body away."""
        ledger = self._ledger
        row = ledger.world.columns.row_of(message.entity)
        if row < 0 or not ledger.world.columns.player[row]:
            self._refuse(
                message.on_outcome,
                "no_such_entity",
                f"{message.entity} is no player's body",
                message.entity,
            )
            return
        n = ledger.number("director:leave")
        proposal = Input("despawn", message.entity, "director:leave", n)
        self._take(proposal, message.on_outcome)

    @receives(Note)
    def note(self, message: Note) -> None:
        """Journal a decision that a clock took."""
        self._ledger.desk.take(self._note(message.text))

    # -- another life ----------------------------------------------------------------------------------------

    @receives(Load)
    def load(self, message: Load) -> None:
        """Go on with another world, of a later epoch: what was asked in this one is abandoned."""
        ledger, world = self._ledger, message.world
        if world.epoch <= ledger.world.epoch:
            reason = f"epoch {world.epoch} is not after {ledger.world.epoch}"
            self._refuse(message.on_outcome, "stale_epoch", reason)
            return
        self._end_epoch(ledger.desk.clear())
        before, ledger.world = ledger.world, world
        ledger.held = False
        ledger.rewind.mark(world)
        ledger.backlog.clear()
        ledger.synced_tick = world.tick
        ledger.group_info = dict(world.groups)
        ledger.attention.clear()
        ledger.alarms.clear()
        ledger.watch.forget()
        ledger.recast(before)
        if message.note:
            ledger.desk.take(self._note(message.note))
        self._told.one(message.on_outcome, Outcome(world.tick, True))

    @receives(Hold)
    def hold(self, message: Hold) -> None:
        """Another state is about to be loaded: this one is stepped no more, and its epoch ends."""
        self._ledger.held = True
        self._end_epoch(self._ledger.desk.clear_proposals())
        message.on_held()

    @receives(Release)
    def release(self, message: Release) -> None:
        """Nothing was loaded after all."""
        self._ledger.held = False

    def _end_epoch(self, waiting: list[Callable[[Outcome], None]]) -> None:
        ledger = self._ledger
        abandoned = Outcome(ledger.world.tick, False, "too_late", "another state was loaded")
        for on_outcome in waiting:
            self._told.one(on_outcome, abandoned)
        for question in ledger.questions.close_all():
            if question.stream is not None:
                question.stream.reject(abandoned.code, abandoned.reason)

    # -- those who watch -----------------------------------------------------------------------------------

    @receives(Look)
    def look(self, message: Look) -> None:
        """Let someone read the world between two steps."""
        self._told.one(message.read, self._ledger.world)

    @receives(Subscribe)
    def subscribe(self, message: Subscribe) -> None:
        """Show the frames to one more."""
        if len(self._ledger.subscribers) >= MAX_SUBSCRIBERS:
            self._ledger.counts["subscribers_refused"] += 1
            return
        self._ledger.subscribers[message.key] = message.on_frame

    @receives(Unsubscribe)
    def unsubscribe(self, message: Unsubscribe) -> None:
        """Show the frames to one less."""
        self._ledger.subscribers.pop(message.key, None)
