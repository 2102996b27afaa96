"""What beings do of themselves: days and nights, fear, hunts, tactics, and minds that override."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from world.considerations import CORE
from world.inputs import Input
from world.maths import TILE, Purpose, below
from world.reflexes import STEADY, STEADY_TICKS
from world.ruleset import ATTACK, FLEE, IDLE, REST, Aim, Consideration, Ruleset
from world.tiles import Tile
from world.world import World

EVENING, NIGHT, MORNING = 12_000, 16_500, 2_600


def doing(world, entity):
    c = world.columns
    return world.ruleset.activity_names[int(c.action[c.row_of(entity)])]


def cell(world, entity):
    c = world.columns
    row = c.row_of(entity)
    return int(c.x[row]) // TILE, int(c.y[row]) // TILE


def live(world, ticks):
    return [e for _ in range(ticks) for e in world.step().events]


def starting_at(make_world, tick, *spawns):
    """A world whose clock has been set forward before anyone decided anything."""
    state = make_world(*spawns).get_state()
    state["tick"] = tick
    decide = state["rows"]["columns"]["next_decision"]
    decide[decide < 2**60] += tick
    return World.from_state(state, make_world(*spawns).ruleset)


def test_villagers_work_by_day_and_sleep_at_home_by_night(make_world, who):
    world = make_world()
    ada = who(world, "Ada")
    live(world, MORNING)
    assert doing(world, ada) == "work"
    assert abs(cell(world, ada)[0] - 14) <= 3
    assert abs(cell(world, ada)[1] - 40) <= 3
    live(world, NIGHT - MORNING)
    assert doing(world, ada) == "rest"
    assert world.tiles[cell(world, ada)[1], cell(world, ada)[0]] == Tile.FLOOR


def test_the_hungry_eat_and_are_sated(make_world, who):
    world = make_world()
    events = live(world, 14_000)
    eaters = {e.entity for e in events if e.kind == "ate" and not e.target}
    assert {who(world, n) for n in ("Ada", "Ben", "Cat")} <= eaters
    c = world.columns
    assert all(c.hunger[c.row_of(who(world, n))] < 700 for n in ("Ada", "Ben", "Cat"))


def test_wolves_lie_in_their_den_by_day_and_leave_it_at_night(make_world, at, who):
    world = make_world(*(at("wolf", 56, 54 + i, home="den", group=1) for i in range(3)))
    live(world, 600)
    wolves = world.columns.id[world.columns.live_rows()].tolist()
    assert {doing(world, w) for w in wolves} == {"rest"}
    night = starting_at(
        make_world, 15_000, *(at("wolf", 56, 54 + i, home="den", group=1) for i in range(3))
    )
    live(night, 600)
    assert all(np.hypot(cell(night, w)[0] - 56, cell(night, w)[1] - 54) > 6 for w in wolves)
    spread = max(abs(cell(night, a)[0] - cell(night, b)[0]) for a in wolves for b in wolves)
    assert spread < 16


def test_vampires_shun_the_sun_and_prowl_in_the_dark(make_world, at, who):
    world = make_world()
    vlad = who(world, "Vlad")
    live(world, 400)
    assert doing(world, vlad) == "rest"
    assert cell(world, vlad) == (60, 4)
    night = starting_at(make_world, NIGHT, at("vampire", 60, 4, name="Vlad"))
    live(night, 300)
    assert doing(night, vlad := who(night, "Vlad")) == "hunt"
    assert cell(night, vlad) != (60, 4)


def test_a_villager_flees_from_a_wolf_and_says_who_threatens(make_world, at, who):
    world = starting_at(
        make_world,
        NIGHT,
        at("villager", 16, 40, name="Ada", home="cottage"),
        at("wolf", 22, 40, name="Ash"),
    )
    ada, ash = who(world, "Ada"), who(world, "Ash")
    events = live(world, 60)
    threats = [e for e in events if e.kind == "threat" and e.entity == ada]
    assert threats[0].target == ash
    assert threats[0].data["species"] == "wolf"
    assert threats[0].data["distance"] <= 6
    assert any(e.kind == "fled" and e.entity == ada for e in events)
    assert doing(world, ada) == "flee"


def test_who_is_indoors_stays_there_while_wolves_are_about(make_world, at, who):
    world = starting_at(
        make_world, MORNING, at("villager", 10, 10, name="Ada", home="cottage", work="field"),
        at("wolf", 10, 16, name="Ash"),
    )  # fmt: skip
    ada = who(world, "Ada")
    for _ in range(8):
        live(world, 10)
        x, y = cell(world, ada)
        assert world.tiles[y, x] == Tile.FLOOR
    c = world.columns
    assert c.hp[c.row_of(ada)] == c.max_hp[c.row_of(ada)]


def test_prey_bolts_and_is_hunted_down_shared_and_replaced(make_world, at, who):
    pack = [at("wolf", 52 + i, 30, name=f"W{i}", group=1) for i in range(3)]
    world = starting_at(make_world, EVENING + 1500, *pack, at("sheep", 56, 34, name="Fleece"))
    sheep = who(world, "Fleece")
    hunger = world.get_state()
    hunger["rows"]["columns"]["hunger"][:] = 600
    world = World.from_state(hunger, world.ruleset)
    events = live(world, 1500)
    assert any(e.kind == "died" and e.entity == sheep for e in events)
    fed = {e.entity for e in events if e.kind == "ate" and e.target == sheep}
    assert len(fed) >= 2
    later = live(world, 12_000)
    born = [e for e in later if e.kind == "spawned" and e.data["species"] == "sheep"]
    assert born
    assert born[0].data["born"] is True
    assert any(e.kind == "despawned" and e.entity == sheep for e in events + later)


def test_the_watch_goes_for_wolves_near_home_but_not_to_the_worlds_end(make_world, at, who):
    near = starting_at(
        make_world, NIGHT, at("guard", 20, 22, name="Dag"), at("wolf", 28, 22, name="Ash")
    )
    attacked = [e for e in live(near, 300) if e.kind == "attacked"]
    assert who(near, "Dag") in {e.entity for e in attacked}
    far = starting_at(
        make_world, NIGHT, at("wolf", 60, 54, name="Ash"), at("guard", 20, 22, name="Dag")
    )
    assert not [e for e in live(far, 300) if e.kind == "attacked"]


def test_one_struck_down_is_carried_home_and_recovers(make_world, at, who):
    world = make_world(
        at("villager", 40, 50, name="Ada", home="cottage"),
        at("guard", 40, 51, name="Dag"),
        at("well", 1, 1),
    )
    ada, dag = who(world, "Ada"), who(world, "Dag")
    downed = []
    for n in range(1200):
        result = world.step([Input("attack", dag, "director", n, {"target": ada})])
        downed += [e for e in result.events if e.kind == "downed"]
        if downed:
            break
    c = world.columns
    assert c.hp[c.row_of(ada)] == 0
    assert doing(world, ada) == "downed"
    events = live(world, downed[0].data["until"] - world.tick + 4)
    assert any(e.kind == "recovered" and e.entity == ada for e in events)
    assert abs(cell(world, ada)[0] - 10) <= 3
    c = world.columns
    assert c.hp[c.row_of(ada)] >= c.max_hp[c.row_of(ada)] // 2


def test_a_minds_choice_holds_until_its_time_is_up(make_world, who):
    world = make_world()
    ada = who(world, "Ada")
    live(world, MORNING)
    world.step([Input("rest", ada, f"npc:{ada}", 0, {})])
    for _ in range(50):
        live(world, 20)
        assert doing(world, ada) == "rest"
    live(world, 700)
    assert doing(world, ada) != "rest"


def test_danger_breaks_a_minds_choice(make_world, at, who):
    world = starting_at(
        make_world,
        NIGHT,
        at("villager", 16, 40, name="Ada", home="cottage"),
        at("wolf", 21, 40, name="Ash"),
    )
    ada = who(world, "Ada")
    world.step([Input("work", ada, f"npc:{ada}", 0, {})])
    live(world, 60)
    assert doing(world, ada) == "flee"


@pytest.fixture
def pack(make_world, at):
    """Five hungry wolves north of a lone, rooted guard in open country at night."""
    spawns = [at("wolf", 16 + 2 * i, 34, name=f"W{i}", group=1, home="den") for i in range(5)]
    state = starting_at(make_world, NIGHT, at("guard", 20, 52, name="Dag"), *spawns).get_state()
    state["rows"]["columns"]["hunger"][:] = 700
    state["rows"]["columns"]["speed"][0] = 0
    return World.from_state(state, make_world().ruleset)


def ordered(world, tactic, focus=0):
    world.step(
        [
            Input(
                "order",
                0,
                "coordinator",
                0,
                {"group": 1, "tactic": tactic, "focus": focus, "ticks": 2000},
            )
        ]
    )


def wolves_around(world, victim):
    c = world.columns
    rows = c.live_rows()
    rows = rows[(c.group[rows] == 1) & (c.died[rows] < 0)]
    v = c.row_of(victim)
    return np.arctan2(c.y[rows] - c.y[v], c.x[rows] - c.x[v]), np.hypot(
        c.x[rows] - c.x[v], c.y[rows] - c.y[v]
    ) / TILE


def test_a_surrounding_pack_comes_from_all_sides(pack, who):
    dag = who(pack, "Dag")
    ordered(pack, "surround", dag)
    narrowest = 360.0
    for _ in range(600):
        pack.step()
        angles, distances = wolves_around(pack, dag)
        close = np.sort(np.degrees(angles[distances < 7]) % 360)
        if close.size >= 4:
            narrowest = min(narrowest, float(np.diff(np.r_[close, close[0] + 360]).max()))
    assert narrowest < 150


def test_a_flanking_pack_has_wolves_before_and_beside_its_victim(pack, who):
    dag = who(pack, "Dag")
    ordered(pack, "flank", dag)
    sides = set()
    for _ in range(600):
        pack.step()
        angles, distances = wolves_around(pack, dag)
        sides |= set((np.round(np.degrees(angles[distances < 7]) / 90) % 4).tolist())
    assert {0.0, 2.0, 3.0} <= sides


def test_a_focused_pack_runs_straight_at_its_victim(pack, who):
    dag = who(pack, "Dag")
    ordered(pack, "focus", dag)
    sides = set()
    for _ in range(150):
        pack.step()
        angles, distances = wolves_around(pack, dag)
        sides |= set((np.round(np.degrees(angles[distances < 7]) / 90) % 4).tolist())
    assert sides == {3.0}


def test_a_pack_surrounds_also_whom_it_can_only_come_at_from_one_side(make_world, at, who):
    wolves = [at("wolf", 58 + i, 6, name=f"W{i}", group=1, home="den") for i in range(3)]
    state = starting_at(make_world, NIGHT, at("guard", 63, 0, name="Dag"), *wolves).get_state()
    state["rows"]["columns"]["hunger"][:] = 700
    state["rows"]["columns"]["speed"][0] = 0
    world = World.from_state(state, make_world().ruleset)
    dag = who(world, "Dag")
    ordered(world, "surround", dag)
    assert any(e.kind == "attacked" and e.target == dag for e in live(world, 400))


def test_who_takes_a_place_around_a_victim_does_not_go_back_and_forth(pack, who):
    dag = who(pack, "Dag")
    ordered(pack, "surround", dag)
    c = pack.columns
    wolves = np.flatnonzero(c.group[: c.high] == 1).tolist()
    goals = {row: [] for row in wolves}
    while c.downed_until[c.row_of(dag)] < 0 and pack.tick < NIGHT + 1500:
        pack.step()
        for row in wolves:
            goal = int(c.goal_x[row]), int(c.goal_y[row])
            if goals[row][-1:] != [goal]:
                goals[row].append(goal)
    assert c.downed_until[c.row_of(dag)] > 0
    assert all(a != b for went in goals.values() for a, b in zip(went, went[2:], strict=False))


def test_a_focus_behind_a_door_is_not_waited_for(make_world, at, who):
    wolf = at("wolf", 10, 18, name="Ash", group=1, home="den")
    state = starting_at(
        make_world, NIGHT, at("villager", 10, 10, name="Ada", home="cottage"), wolf
    ).get_state()
    state["rows"]["columns"]["hunger"][:] = 1000
    state["rows"]["columns"]["speed"][0] = 0
    world = World.from_state(state, make_world().ruleset)
    ash = who(world, "Ash")
    ordered(world, "flank", who(world, "Ada"))
    acts = set()
    for _ in range(200):
        world.step()
        acts.add(doing(world, ash))
    assert "attack" not in acts


@pytest.mark.parametrize("behind", [(24, 31), (24, 32), (24, 33)])
def test_one_who_flees_home_between_two_threats_does_not_turn_again_and_again(
    make_world, at, behind
):
    wolves = [at("wolf", 22, 24, name="Ash"), at("wolf", *behind, name="Elm")]
    ada = at("villager", 18, 28, name="Ada", home="cottage")
    state = starting_at(make_world, NIGHT, ada, *wolves).get_state()
    state["rows"]["columns"]["speed"][1:] = 0
    world = World.from_state(state, make_world().ruleset)
    c = world.columns
    homeward = []
    while world.tick < NIGHT + 600:
        world.step()
        if c.threat[0] > 0:
            homeward.append((c.goal_x[0], c.goal_y[0]) == (c.home_x[0], c.home_y[0]))
    assert len(homeward) > 60
    assert sum(a != b for a, b in pairwise(homeward)) <= 1


def test_a_retreating_pack_goes_home(pack, who):
    ordered(pack, "retreat")
    live(pack, 400)
    _, distances = wolves_around(pack, who(pack, "Dag"))
    assert distances.min() > 18


def test_wolves_on_hold_do_not_leave_their_spot(make_world, at):
    wolves = [at("wolf", 56 + i, 54, group=1) for i in range(3)]
    world = starting_at(make_world, NIGHT, at("sheep", 52, 48), *wolves)
    ordered(world, "hold")
    c = world.columns
    rows = (c.group[: c.high] == 1).nonzero()[0]
    before = c.x[rows].copy(), c.y[rows].copy()
    live(world, 300)
    c = world.columns
    assert np.abs(c.x[rows] - before[0]).max() < TILE
    assert np.abs(c.y[rows] - before[1]).max() < TILE


def test_an_order_lapses_and_the_packs_own_ways_return(pack, who):
    pack.step([Input("order", 0, "coordinator", 0, {"group": 1, "tactic": "hold", "ticks": 100})])
    _, held = wolves_around(pack, who(pack, "Dag"))
    live(pack, 100)
    _, still = wolves_around(pack, who(pack, "Dag"))
    assert np.abs(still - held).max() < 1
    live(pack, 400)
    _, free = wolves_around(pack, who(pack, "Dag"))
    assert np.abs(free - held).max() > 4


def changes_of_mind(world, entity, ticks):
    """How often it takes up another reason to act within so many ticks."""
    c = world.columns
    row = c.row_of(entity)
    minds = [int(c.intent[row])]
    for _ in range(ticks):
        world.step()
        minds.append(int(world.columns.intent[row]))
    return sum(a != b for a, b in pairwise(minds))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("away", [7, 11, 15])
def test_a_hunter_does_not_go_in_and_out_of_his_door_before_a_pack(make_world, at, who, seed, away):
    pack = [at("wolf", 9 + i, 13 + away, group=1) for i in range(3)]
    world = make_world(
        *pack, at("hunter", 10, 10, name="Horst", home="cottage", work="field"), seed=seed
    )
    state = world.get_state()
    # The pack stands, so nothing changes but where he is himself, and whom he sees from there.
    state["rows"]["columns"]["speed"][:3] = 0
    world = World.from_state(state, world.ruleset)
    assert changes_of_mind(world, who(world, "Horst"), 1_000) <= 2 + 1_000 // STEADY_TICKS


def torn(rules, *reasons):
    """Rules by which a deer knows nothing but these reasons."""
    species = [
        dataclasses.replace(s, considerations=tuple(r.name for r in reasons))
        if s.name == "deer"
        else s
        for s in rules.species_list
    ]
    return Ruleset.build(species, rules.actions.values(), (*CORE, *reasons))


def in_sight_of_a_wolf(make_world, at, rules, seed=1):
    """Twelve deer that can't move, before a wolf that can't either."""
    herd = [at("deer", 48 + n, 20) for n in range(12)]
    made = make_world(*herd, at("wolf", 54, 25), seed=seed)
    state = made.get_state()
    state["rows"]["columns"]["speed"][:] = 0
    return World.from_state(state, rules)


@pytest.mark.parametrize("seed", range(5))
def test_no_mods_reasons_make_one_in_danger_change_its_mind_at_every_turn(
    rules, make_world, at, seed
):
    def about(low, purpose):
        def score(view, rows):
            return low + below(view.roll(rows, purpose), STEADY - 40)

        return score

    def gone_once_chosen(view, rows):
        # A shelter that is no reason any more as soon as one is there.
        chosen = view.c.intent[rows] == names.index("dread")
        return np.where(chosen, 0, about(560, Purpose.FLIGHT)(view, rows))

    dare = Consideration("dare", ATTACK, about(500, Purpose.ROAM), here)
    dread = Consideration("dread", FLEE, gone_once_chosen, here)
    cower = Consideration("cower", REST, about(480, Purpose.BIRTH), here)
    wavering = torn(rules, dare, dread, cower)
    names = [c.name for c in wavering.considerations]
    world = in_sight_of_a_wolf(make_world, at, wavering, seed)
    taken = []
    for _ in range(1_000):
        world.step()
        taken.append(world.columns.intent[:12].copy())
    assert not world.faults
    changes = (np.diff(np.array(taken[STEADY_TICKS:]), axis=0) != 0).sum(axis=0)
    assert changes.max() <= 3 * (1_000 // STEADY_TICKS)


def test_a_clearly_better_reason_is_taken_up_at_once_even_in_danger(rules, make_world, at):
    def soon(view, rows):
        return np.full(rows.size, 790 if view.tick >= 100 else 300)

    dare = Consideration("dare", ATTACK, lambda view, rows: np.full(rows.size, 600), here)
    dread = Consideration("dread", FLEE, soon, here)
    world = in_sight_of_a_wolf(make_world, at, torn(rules, dare, dread))
    live(world, 96)
    assert {doing(world, int(e)) for e in world.columns.id[:12]} == {"attack"}
    live(world, 24)
    assert {doing(world, int(e)) for e in world.columns.id[:12]} == {"flee"}


def test_what_was_given_up_is_known_by_name_when_the_rules_change(rules, make_world, at):
    dare = Consideration("dare", ATTACK, lambda view, rows: np.full(rows.size, 500), here)
    dread = Consideration("dread", FLEE, lambda view, rows: np.full(rows.size, 700), here)
    world = in_sight_of_a_wolf(make_world, at, torn(rules, dare, dread))
    state = world.get_state()
    codes = {c.name: k for k, c in enumerate(world.ruleset.considerations)}
    state["rows"]["columns"]["left"][:2] = codes["dare"], codes["dread"]
    without = World.from_state(state, torn(rules, dread))
    reasons = [c.name for c in without.ruleset.considerations]
    assert without.columns.left[:3].tolist() == [-1, reasons.index("dread"), -1]


def with_consideration(rules: Ruleset, reason: Consideration) -> Ruleset:
    species = [
        dataclasses.replace(s, considerations=(*s.considerations, reason.name))
        if s.name == "deer"
        else s
        for s in rules.species_list
    ]
    return Ruleset.build(species, rules.actions.values(), (*CORE, reason))


def here(view, rows):
    return Aim(view.c.x[rows].copy(), view.c.y[rows].copy(), np.zeros(rows.size, dtype=np.int64))


@pytest.mark.parametrize(
    ("score", "aim"),
    [
        (lambda view, rows: 1 / 0, here),
        (lambda view, rows: np.zeros(3, dtype=np.int64), here),
        (lambda view, rows: np.full(rows.size, 0.5), here),
        (lambda view, rows: "much", here),
        (lambda view, rows: np.full(rows.size, 10**18), lambda view, rows: None),
        (
            lambda view, rows: np.full(rows.size, 10**18),
            lambda view, rows: Aim(rows * 10.0, rows, rows),
        ),
    ],
)
def test_a_faulty_consideration_is_named_and_the_tick_goes_on(rules, make_world, at, score, aim):
    broken = with_consideration(rules, Consideration("broken", IDLE, score, aim))
    state = make_world(at("deer", 50, 20), at("deer", 51, 20)).get_state()
    world = World.from_state(state, broken)
    for _ in range(200):
        result = world.step()
        assert result.hash == world.full_hash()
    assert list(world.faults) == ["broken"]


def test_a_consideration_cannot_write_to_the_world(rules, make_world, at):
    def vandal(view, rows):
        view.c.hp[rows] = 0
        return np.ones(rows.size, dtype=np.int64)

    broken = with_consideration(rules, Consideration("vandal", IDLE, vandal, here))
    world = World.from_state(make_world(at("deer", 50, 20)).get_state(), broken)
    live(world, 100)
    assert (world.columns.hp[world.columns.live_rows()] > 0).all()
    assert "read-only" in world.faults["vandal"]


def test_aims_off_the_map_end_at_its_edge(rules, make_world, at):
    def beyond(view, rows):
        far = np.full(rows.size, 2**40, dtype=np.int64)
        return Aim(far, -far, far)

    away = Consideration("beyond", IDLE, lambda view, rows: np.full(rows.size, 999), beyond)
    world = World.from_state(
        make_world(at("deer", 50, 20)).get_state(), with_consideration(rules, away)
    )
    live(world, 400)
    c = world.columns
    row = c.live_rows()[0]
    assert 0 <= c.x[row] < 64 * TILE
    assert 0 <= c.y[row] < 64 * TILE


def test_a_hamlet_outlives_its_day(make_world):
    world = make_world(seed=3)
    codes = world.ruleset.species_code
    for _ in range(24_000):
        world.step()
    c = world.columns
    rows = c.live_rows()
    alive = c.species[rows[c.died[rows] < 0]]
    assert (alive == codes["villager"]).sum() == 3
    assert (alive == codes["wolf"]).sum() >= 1
    assert (alive == codes["deer"]).sum() >= 1
    assert world.hash() == world.full_hash()
    assert not world.faults
