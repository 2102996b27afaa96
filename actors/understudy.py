"""A part of a run's world lived ahead of it, minds, groups and all: it asks what the run will ask.

It does what the director and the leaders of groups do (prompter.py, monster_group.py), by the same rules, for those
of its part. It lives no tick in which an answer is due that has not come, unless it is a bold one: that
goes on as if nobody did anything by such answers, and asks nobody of whom it can't know what to ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from actors.attention import Question
from actors.called import groups_told, minds_called, wants_plan
from actors.choices import Choice
from actors.deciding import Asking, chosen
from actors.fighters import GroupView
from actors.ledger import Ledger
from actors.monster_group import GroupMind
from actors.planning import Asked, Planner
from models.ahead import AskingAhead, Kept
from world.entities import Ints
from world.inputs import Input
from world.world import StepResult, World

__all__ = ["Stage", "Understudy"]


@dataclass(frozen=True, slots=True)
class Stage:
    """What understudies look to: the run itself, who is asked how, and the calls kept for it.

    `asking(entity)` says how one is asked, None for who can't be.
    """

    ledger: Ledger
    asking: Callable[[int], Asking | None]
    planner: Planner
    groups: dict[int, GroupMind]
    backend: AskingAhead


@dataclass(slots=True)
class _Pending:
    """Something asked and not yet heeded: by the run itself (`question`), or here.

    Of one for a decision, or of a group (whose number `entity` is then) for a plan.
    """

    entity: int
    due: int
    plan: bool = False
    question: Question | None = None
    kept: Kept | None = None
    choices: tuple[Choice, ...] = ()
    view: GroupView | None = None
    asked: list[tuple[Asked, Kept | None]] = field(default_factory=list)
    unknown: bool = False
    """It isn't known what is asked: an answer that is missing may decide it."""

    @property
    def come(self) -> bool:
        """Whether all of the answer is there."""
        if self.question is not None:
            return self.question.answered
        if self.plan:
            calls = [kept for _, kept in self.asked]
        else:
            # Who has nothing to choose from is asked nothing, and that is soon answered.
            calls = [self.kept] if self.choices else []
        return not self.unknown and all(kept and kept.reply is not None for kept in calls)


class Understudy:
    """The part of `entities` (int64 ids), from where the run is now; `number` is told to who keeps the calls."""

    def __init__(self, stage: Stage, entities: Ints, number: int) -> None:
        ledger = stage.ledger
        self._stage, self.entities = stage, entities
        self.number = self.of = number
        self.world: World = ledger.world.fork(entities)
        self.began = self.world.tick
        self.bold = False
        ids = set(entities.tolist())
        self.minds = ids & ledger.minds.keys()
        columns = self.world.columns
        self._groups = set(columns.group[: columns.high].tolist()) & stage.groups.keys()
        self._attention = ledger.attention.copy(self.minds)
        self._alarms = ledger.alarms.copy(self._groups)
        self._leaders = {group: stage.groups[group].copy() for group in self._groups}
        self._pending: list[_Pending] = []
        for question in ledger.questions.open():
            plan = question.kind == "plan"
            if question.entity in (self._groups if plan else self.minds):
                self._pending.append(_Pending(question.entity, question.due, plan, question))
        self._next = [i for i in ledger.desk.proposals().get(0, []) if self._ours(i)]
        self._unsure: set[int] = set()
        self._unled: set[int] = set()
        self._lacked: list[_Pending] = []
        self._lived: dict[int, int] = {}
        self._n = 0

    def go_on_boldly(self, number: int) -> Understudy:
        """A bold one that goes on from here."""
        other = Understudy.__new__(Understudy)
        other.__dict__.update(self.__dict__)
        other.number, other.bold = number, True
        other.world, other.began = self.world.fork(), self.world.tick
        other._attention = self._attention.copy()
        other._alarms = self._alarms.copy()
        other._leaders = {group: leader.copy() for group, leader in self._leaders.items()}
        other._pending, other._next = list(self._pending), list(self._next)
        other._unsure, other._unled = set(), set()
        other._lacked, other._lived = [], {}
        return other

    # -- how it stands --------------------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Whether an answer that is due in the next tick has not come."""
        tick = self.world.tick + 1
        return any(pending.due <= tick and not pending.come for pending in self._pending)

    @property
    def unsure(self) -> frozenset[int]:
        """Of whom it isn't known what they do."""
        return frozenset(self._unsure)

    @property
    def clueless(self) -> bool:
        """Whether of nobody it is known what they do, so that there is nobody to ask."""
        return self.minds <= self._unsure

    @property
    def outdone(self) -> bool:
        """Whether an answer has come that was lacking."""
        return any(pending.come for pending in self._lacked)

    def astray(self, truth: World) -> bool:
        """Whether the run went another way, or is past this."""
        lived = self._lived
        while lived and (tick := next(iter(lived))) < truth.tick:
            del lived[tick]
        return lived.pop(truth.tick, None) != truth.hash_of(self.entities)

    # -- a tick ---------------------------------------------------------------------------------------

    def step(self) -> None:
        """Live a tick, and ask whom it makes think."""
        tick = self.world.tick + 1
        inputs, self._next = self._next + self._answers(tick), []
        result = self.world.step(inputs)
        if not self.bold:
            self._lived[tick] = self.world.hash_of(self.entities)
        self._ask_minds(result)
        info = self._stage.ledger.group_info
        for group, view in groups_told(self._alarms, result, self.world, self._groups, info):
            self._tell(group, view)

    def _answers(self, tick: int) -> list[Input]:
        found: list[Input] = []
        for pending in [p for p in self._pending if p.due <= tick]:
            self._pending.remove(pending)
            if not pending.come:
                (self._unled if pending.plan else self._unsure).add(pending.entity)
                if not pending.unknown:
                    self._lacked.append(pending)
            elif pending.question is not None:
                due = self._stage.ledger.desk.proposals().get(pending.due, [])
                by = f"{'plan' if pending.plan else 'npc'}:{pending.entity}"
                found += [i for i in due if i.proposer == by]
                if pending.plan:
                    plans = self._stage.groups[pending.entity].plans
                    self._leaders[pending.entity].plans = plans.copy()
            elif pending.view is not None:
                heard = [
                    (asked, kept.reply.parsed, kept.reply.source)
                    for asked, kept in pending.asked
                    if kept is not None and kept.reply is not None
                ]
                plan, _, _ = self._stage.planner.plan(pending.view, heard)
                self._n += 1
                found += self._leaders[pending.entity].follow(plan, self._n)
            elif pending.kept is not None and pending.kept.reply is not None:
                choice = chosen(pending.kept.reply, pending.choices)
                if choice is not None:
                    self._n += 1
                    by = f"npc:{pending.entity}"
                    found.append(Input(choice.kind, pending.entity, by, self._n, dict(choice.body)))
        return found

    def _ask_minds(self, result: StepResult) -> None:
        world, settings = self.world, self._stage.ledger.settings
        self._attention.notice(result.events, self.minds)
        busy = {pending.entity for pending in self._pending if not pending.plan}
        for entity, _, situation in minds_called(self._attention, world, settings, busy):
            asking = self._stage.asking(entity)
            pending = _Pending(entity, world.tick + settings.think_ticks)
            self._pending.append(pending)
            if asking is None:
                continue
            pending.choices = asking.choices(situation)
            # Whoever is told of one whose answer is missing may well be told otherwise.
            pending.unknown = entity in self._unsure or any(
                near.id in self._unsure for near in situation.near
            )
            if pending.choices and not pending.unknown:
                request = asking.request(situation, pending.choices, world.epoch)
                pending.kept = self._stage.backend.ask(request, world.tick, self.number)

    def _tell(self, group: int, view: GroupView) -> None:
        stage, world, settings = self._stage, self.world, self._stage.ledger.settings
        order = self._leaders[group].decide(view, settings.group_ticks)
        if order is not None:
            self._next.append(order)
        planning = any(p.plan and p.entity == group for p in self._pending)
        if not wants_plan(self._alarms, view, planning):
            return
        pending = _Pending(group, world.tick + settings.plan_ticks, True, view=view)
        self._pending.append(pending)
        fighters = (*view.members, *view.foes)
        # A plan that is missing would have moved them all: what they fight by the next one isn't known either.
        if group in self._unled or not self._unsure.isdisjoint(one.id for one in fighters):
            pending.unknown = True
            return
        for asked in stage.planner.asks(view, settings.patience_s):
            kept = stage.backend.ask(asked.request, world.tick, self.number)
            pending.asked.append((asked, kept))

    def _ours(self, proposal: Input) -> bool:
        kind, _, number = proposal.proposer.partition(":")
        if proposal.entity:
            return self.world.columns.row_of(proposal.entity) >= 0
        return kind in ("group", "plan") and int(number) in self._groups
