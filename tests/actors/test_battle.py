"""Groups fight with tactics of their own, a plan overrides them for a while, and one always comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.attention import Attention
from actors.battlefield import MOST_VIEWS, Alarms, group_view
from actors.choices import DecisionReply
from actors.company import Company
from actors.coordinator import Coordinator, CoordinatorMind
from actors.dispatch import Dispatcher, GreenActor
from actors.fighters import Fighter, GroupView
from actors.messages import Answer, Battle, GroupPercept, Obey, Propose
from actors.monster_group import GroupActor, GroupMind
from actors.plans import BattleExecutionPlan, OrdersReply, focus_of, intents, tactic_by_rule
from actors.settings import CompanySettings
from models.errors import ModelError
from models.prompts import Persona
from models.request import ModelRequest
from models.scripted import ScriptedBackend
from world.events import Event
from world.inputs import Input

Make = Callable[..., Company]
ALL = ("focus", "flank", "surround", "hold", "protect", "retreat")


def fighter(id: int, hp: int = 40, attack: int = 8, x: int = 0, name: str = "") -> Fighter:
    return Fighter(id, name or f"f{id}", "wolf", hp, 40, attack, 2, x, 0)


def view(members: int = 4, foes: int = 1, **more: Any) -> GroupView:
    base = GroupView(
        tick=100, epoch=1, group=1, name="the pack", species="wolf", tactics=ALL, leader=1,
        members=tuple(fighter(n + 1) for n in range(members)),
        foes=tuple(fighter(n + 101, x=2000 + n) for n in range(foes)), ground="open",
    )  # fmt: skip
    return replace(base, **more)


@pytest.mark.parametrize(
    ("field", "tactic"),
    [
        (view(foes=0), "none"),
        (view(members=4, foes=1), "surround"),
        (view(members=4, foes=3), "flank"),
        (view(members=2, foes=1), "focus"),
        (view(members=4, foes=2, ground="bridge"), "hold"),
        (view(members=1, foes=4), "retreat"),
    ],
)
def test_the_field_decides_the_tactic(field: GroupView, tactic: str) -> None:
    assert tactic_by_rule(field)[0] == tactic


def test_a_badly_hurt_group_retreats_and_a_hurt_leader_is_protected() -> None:
    hurt = tuple(fighter(n + 1, hp=8 if n < 2 else 40) for n in range(4))
    assert tactic_by_rule(replace(view(), members=hurt))[0] == "retreat"
    leader = tuple(fighter(n + 1, hp=16 if n == 0 else 40) for n in range(5))
    assert tactic_by_rule(replace(view(), members=leader))[0] == "protect"


def test_one_strong_foe_among_weak_ones_is_focused_on() -> None:
    foes = (fighter(101, attack=1, hp=5), fighter(102, attack=12), fighter(103, attack=1, hp=5))
    assert tactic_by_rule(replace(view(members=6), foes=foes))[0] == "focus"


def test_a_group_uses_only_tactics_its_species_knows() -> None:
    assert tactic_by_rule(replace(view(), tactics=("hold", "focus")))[0] == "focus"
    assert tactic_by_rule(replace(view(), tactics=()))[0] == "none"


fighters = st.builds(
    fighter, st.integers(1, 500), st.integers(1, 40), st.integers(0, 20), st.integers(0, 9999)
)


@given(
    st.lists(fighters, min_size=1, max_size=8, unique_by=lambda f: f.id),
    st.lists(fighters, max_size=8, unique_by=lambda f: f.id),
    st.sampled_from(["open", "bridge", "forest"]),
    st.sets(st.sampled_from(ALL)),
)
def test_any_field_gives_a_known_tactic_a_real_focus_and_an_intent_each(
    members: list[Fighter], foes: list[Fighter], ground: str, tactics: set[str]
) -> None:
    field = replace(
        view(), members=tuple(members), foes=tuple(foes), ground=ground, tactics=tuple(tactics)
    )
    tactic, reason = tactic_by_rule(field)
    focus = focus_of(field)
    assert tactic == "none" or tactic in tactics
    assert reason
    assert focus in {foe.id for foe in foes} | ({0} if not foes else set())
    made = intents(field, tactic, focus)
    assert [intent.entity for intent in made] == [member.id for member in members]
    assert all(intent.target == 0 or foes for intent in made)


class Desk(GreenActor):
    """Stands in for the director and keeps what it is told."""

    def __init__(self, told: list[Any]) -> None:
        super().__init__()
        self.told = told

    def on_receive(self, message: Any) -> None:
        self.told.append(message)


def stand(told: list[Any]) -> tuple[Dispatcher, Any, GroupMind]:
    dispatcher = Dispatcher(workers=0)
    desk = dispatcher.start(Desk, told)
    mind = GroupMind(1)
    group = dispatcher.start(GroupActor, mind, desk, CompanySettings())
    return dispatcher, group, mind


def orders_of(told: list[Any]) -> list[str]:
    return [m.input.body["tactic"] for m in told if isinstance(m, Propose)]


def test_a_group_orders_its_tactic_once_and_again_before_it_runs_out() -> None:
    told: list[Any] = []
    dispatcher, group, _ = stand(told)
    with dispatcher:
        for tick in range(100, 200, 20):
            group.tell(GroupPercept(replace(view(), tick=tick)))
        group.tell(GroupPercept(replace(view(foes=3), tick=200)))
        dispatcher.pump()
    assert orders_of(told) == ["surround", "surround", "surround", "flank"]
    assert {m.input.proposer for m in told} == {"group:1"}


def test_a_group_obeys_a_plan_while_it_stands_then_goes_its_own_way() -> None:
    told: list[Any] = []
    dispatcher, group, mind = stand(told)
    plan = BattleExecutionPlan(
        group=1, epoch=1, start=120, end=220, tactic="hold", focus=101,
        intents=intents(replace(view(), members=(fighter(1), fighter(2, hp=5))), "hold", 101),
        source="a general",
    )  # fmt: skip
    with dispatcher:
        group.tell(Obey(7, plan))
        for tick in range(100, 260, 20):
            group.tell(GroupPercept(replace(view(), tick=tick)))
        dispatcher.pump()
    answers = [m for m in told if isinstance(m, Answer)]
    assert [(a.token, a.input.body["tactic"], a.input.body["ticks"]) for a in answers] == [
        (7, "hold", 100)
    ]
    flights = [m for m in told if isinstance(m, Propose) and m.input.kind == "flee"]
    assert [(m.input.entity, m.due) for m in flights] == [(2, 120)]
    own = [m for m in told if isinstance(m, Propose) and m.input.kind == "order"]
    assert len(own) == 2
    assert mind.in_force(160, 1) is plan
    assert mind.in_force(160, 2) is None


def coordinate(
    backend: Any, field: GroupView, personas: dict[int, Persona] | None = None
) -> tuple[list[Any], CoordinatorMind]:
    """Let a coordinator plan a field; gives what group and director were told."""
    told: list[Any] = []
    mind = CoordinatorMind(personas=personas or {})
    clock = [0.0]
    with Dispatcher(workers=0, clock=lambda: clock[0]) as dispatcher:
        desk = dispatcher.start(Desk, told)
        mind.groups[1] = desk
        ref = dispatcher.start(Coordinator, mind, desk, backend, CompanySettings())
        ref.tell(Battle(5, field))
        dispatcher.pump()
        for _ in range(200):
            if told:
                break
            dispatcher.wait(0.01)
            dispatcher.pump()
        if not told:
            clock[0] = 1000.0
            dispatcher.pump()
    return told, mind


def test_without_a_model_the_plan_comes_from_rules_at_once() -> None:
    (told,), mind = coordinate(None, view())
    assert told.token == 5
    assert (told.plan.tactic, told.plan.source) == ("surround", "rules")
    assert len(told.plan.intents) == 4
    assert (mind.rule_plans, mind.model_plans) == (1, 0)


def test_a_models_orders_and_the_members_own_decisions_make_the_plan() -> None:
    def general(request: ModelRequest) -> Any:
        assert request.schema is not None
        if issubclass(request.schema, OrdersReply):
            return OrdersReply(tactic="flank", focus="f101", reason="from the side")
        return DecisionReply(action="flee", target="f101", reason="afraid")

    lady = Persona(name="Lady", trade="vampire", place="Varn", temper="cold")
    backend = ScriptedBackend(general)
    (told,), mind = coordinate(backend, view(), {2: lady})
    backend.close()
    plan = told.plan
    assert (plan.tactic, plan.focus, plan.source) == ("flank", 101, backend.name)
    assert plan.reason == "from the side"
    by_entity = {intent.entity: intent for intent in plan.intents}
    assert (by_entity[2].act, by_entity[2].source) == ("flee", backend.name)
    assert by_entity[3].source == "rules"
    assert (mind.model_plans, mind.model_intents) == (1, 1)


def test_orders_come_from_the_bare_model_and_each_members_intent_from_its_species() -> None:
    asked: list[ModelRequest] = []
    backend = ScriptedBackend(lambda request: asked.append(request) or ModelError("no"))
    lady = Persona(name="Lady", trade="vampire", place="Varn", temper="cold")
    coordinate(backend, view(), {2: lady})
    backend.close()
    assert {request.purpose: request.adapter for request in asked} == {"plan": "", "decide": "wolf"}


def test_an_order_that_aims_at_none_is_a_plan_without_a_focus() -> None:
    backend = ScriptedBackend(
        lambda request: OrdersReply(tactic="hold", focus="none", reason="let them come")
    )
    (told,), mind = coordinate(backend, view())
    backend.close()
    assert (told.plan.tactic, told.plan.focus, told.plan.source) == ("hold", 0, backend.name)
    assert mind.model_plans == 1


def test_a_group_without_tactics_is_planned_for_by_rule_without_asking() -> None:
    asked: list[ModelRequest] = []
    backend = ScriptedBackend(lambda request: asked.append(request) or ModelError("no"))
    (told,), _ = coordinate(backend, view(tactics=()))
    backend.close()
    assert (told.plan.tactic, asked) == ("none", [])


@pytest.mark.parametrize(
    "answer",
    [
        ModelError("no"),
        OrdersReply(tactic="charge", focus="none", reason="no such tactic"),
    ],
)
def test_a_model_that_fails_or_invents_a_tactic_leaves_the_plan_to_rules(answer: Any) -> None:
    backend = ScriptedBackend(lambda request: answer)
    (told,), mind = coordinate(backend, view())
    backend.close()
    assert (told.plan.tactic, told.plan.source) == ("surround", "rules")
    assert mind.rule_plans == 1


def test_a_model_that_never_answers_does_not_hold_the_plan_up() -> None:
    backend = ScriptedBackend(latency_s=3600.0)
    (told,), _ = coordinate(backend, view())
    backend.close()
    assert told.plan.source == "rules"


def attack_pack(c: Company) -> None:
    world = c.ledger.world
    wolf = next(e for e, n in world.names.items() if n == "Grey Ashka")
    row = world.columns.row_of(wolf)
    x, y = int(world.columns.x[row]) - 6 * 256, int(world.columns.y[row])
    for n in range(2):
        body = {"species": "guard", "x": x, "y": y + n * 300, "name": f"Spear {n}"}
        c.director.tell(Propose(Input("spawn", 0, "test", n + 1, body)))


def test_a_real_pack_that_meets_guards_gets_a_view_orders_and_a_plan(company: Make) -> None:
    c = company()
    orders: list[Event] = []
    c.subscribe(lambda frame: orders.extend(e for e in frame.events if e.kind == "order"))
    attack_pack(c)
    c.run_headless(200)
    mind = c.group_minds[1]
    assert mind.own_orders >= 1
    assert mind.obeyed >= 1
    assert c.coordinator_mind.rule_plans >= 1
    assert orders
    assert {e.data["tactic"] for e in orders} <= set(ALL)
    assert c.ledger.questions.busy("plan") <= 1


def test_a_groups_view_holds_its_members_and_the_foes_in_sight(company: Make) -> None:
    c = company()
    attack_pack(c)
    c.run_headless(1)
    seen = group_view(c.ledger.world, 1, c.ledger.group_info[1])
    assert seen is not None
    assert len(seen.members) == 5
    assert {foe.name for foe in seen.foes} == {"Spear 0", "Spear 1"}
    assert seen.ground == "open"
    leader = next(m for m in seen.members if m.id == seen.leader)
    assert leader.name == "Grey Ashka"
    assert group_view(c.ledger.world, 99, None) is None


def test_attention_goes_to_the_urgent_then_the_near_and_lets_the_stale_go() -> None:
    attention = Attention(limit=3)
    minds = {1, 2, 3, 4}
    attention.notice([Event(10, "time_of_day", 0, 0, {"name": "noon"})], minds)
    assert len(attention) == 3
    assert attention.dropped == 1
    attention.notice([Event(11, "attacked", 9, 3), Event(11, "calm", 3)], minds)
    away = {1: 50, 2: 5, 3: 900}
    picked = attention.pick(2, 12, lambda entities: [away[e] for e in entities])
    assert [(entity, event.kind) for entity, event in picked] == [
        (3, "attacked"),
        (2, "time_of_day"),
    ]
    assert attention.pick(5, 500, lambda entities: [0] * len(entities)) == []


def test_of_many_packs_on_alert_a_few_are_told_each_tick_and_none_is_left_out() -> None:
    alarms = Alarms(alarm_ticks=200, view_ticks=20, plan_ticks=100)
    packs = range(1, 2 * MOST_VIEWS + 4)
    alarms._until = dict.fromkeys(packs, 500)
    told = [alarms.due(tick) for tick in range(100, 120)]
    assert [len(due) for due in told[:4]] == [MOST_VIEWS, MOST_VIEWS, 3, 0]
    assert sorted(group for due in told for group in due) == list(packs)
    assert alarms.due(120) == told[0]


def test_to_a_new_part_of_the_day_minds_turn_one_by_one_and_all_of_them() -> None:
    def turned(seed: int) -> dict[int, int]:
        attention = Attention(limit=200, seed=seed, spread=100)
        attention.notice([Event(10, "time_of_day", 0, 0, {"name": "noon"})], set(range(1, 101)))
        attention.notice([Event(10, "threat", 7, 9)], {7})
        found = {}
        for tick in range(10, 120):
            for entity, _ in attention.pick(100, tick, lambda entities: [0] * len(entities)):
                found[entity] = tick
        return found

    at = turned(3)
    assert set(at) == set(range(1, 101))
    assert at[7] == 10
    assert max(list(at.values()).count(tick) for tick in at.values()) < 10
    assert turned(3) == at != turned(4)


def test_alarms_of_some_groups_alone_give_them_their_turns_whoever_else_is_on_alert() -> None:
    alarms = Alarms(alarm_ticks=200, view_ticks=20, plan_ticks=100)
    alarms._until = dict.fromkeys(range(1, MOST_VIEWS + 3), 200)
    last = MOST_VIEWS + 2
    assert last not in alarms.copy().due(10)
    some = alarms.copy({last})
    assert some.due(10) == [last]
    assert len(some) == 1
    assert len(alarms) == MOST_VIEWS + 2
