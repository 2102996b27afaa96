"""Minds are asked for what is open to them right now, and a model without sense can name nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asking import Recorder, ask

from actors.choices import Choice, DecisionReply, match, options, reply_to
from actors.fighters import Fighter, GroupView
from actors.orders import focus_said, orders_to, seen_by
from actors.plans import OrdersReply
from models import grammar, house
from models.cloud.anthropic_call import call_of
from models.prompts import SHIPPED, Panel, Persona, parse_choice
from models.request import ModelRequest
from world.frame import Near, Situation
from world.world import World

ACTIONS = ("wait", "flee", "attack", "rest", "work", "eat")
MARTA = Persona(name="Marta Kell", trade="innkeeper", place="Alderford", temper="warm")
ALL = ("focus", "flank", "surround", "hold", "protect", "retreat")


def wolf(id: int, name: str = "wolf", distance: int = 800, **more: Any) -> Near:
    return Near(id, name, "wolf", distance, hostile=True, **more)


@pytest.fixture
def moment(world: World) -> Situation:
    """Marta's moment on the first tick, nobody hostile about."""
    entity = next(each for each, name in world.names.items() if name == "Marta Kell")
    seen = world.situation(entity)
    assert seen is not None
    return replace(seen, near=())


def pairs(model: type[DecisionReply]) -> set[tuple[str, str]]:
    """All that a reply may name, as its JSON Schema tells it."""
    schema = grammar.compile_schema(model).schema
    return {
        (action, target)
        for part in schema.get("anyOf", [schema])
        for action in part["properties"]["action"]["enum"]
        for target in part["properties"]["target"]["enum"]
    }


def test_a_reply_may_name_the_open_acts_with_their_own_targets(moment: Situation) -> None:
    seen = replace(moment, near=(wolf(7, "Snarl"), wolf(8), Near(9, "Ben", "villager", 300)))
    asked = reply_to(options(seen, ACTIONS, fights=True))
    assert pairs(asked) == {
        ("flee", "Snarl"), ("attack", "Snarl"), ("flee", "a wolf"), ("attack", "a wolf"),
        ("work", "none"), ("rest", "none"), ("wait", "none"), ("eat", "the Lantern"),
    }  # fmt: skip


def test_the_far_the_friendly_and_the_knocked_out_are_no_targets(moment: Situation) -> None:
    seen = replace(moment, near=(wolf(7, "Snarl", down=True), wolf(8, "Grey", distance=13 * 256)))
    named = {target for _, target in pairs(reply_to(options(seen, ACTIONS, fights=True)))}
    assert named == {"none", "the Lantern"}


def test_one_who_can_not_fight_is_not_offered_to(moment: Situation) -> None:
    seen = replace(moment, near=(wolf(7, "Snarl"),))
    assert ("attack", "Snarl") not in pairs(reply_to(options(seen, ACTIONS, fights=False)))


def test_the_world_tells_who_is_knocked_out(world: World) -> None:
    marta, orla = (
        next(each for each, name in world.names.items() if name == wanted)
        for wanted in ("Marta Kell", "Orla Finch")
    )
    state = world._state
    state.put(state.row(orla), downed_until=world.tick + 100)
    seen = world.situation(marta)
    assert seen is not None
    assert [near.name for near in seen.near if near.down] == ["Orla Finch"]


def test_each_pair_finds_its_own_choice_again_whatever_the_letters(moment: Situation) -> None:
    near = (wolf(7, "snarl"), wolf(8, "Snarl"), wolf(9, "None"), wolf(10, "Zoë"), wolf(11, 'B "x"'))
    choices = options(replace(moment, near=near), ACTIONS, fights=True)
    model = reply_to(choices)
    for choice in choices:
        action, target = parse_choice(choice.text)
        assert match(model(action=action, target=target, reason=""), choices) is choice


def field(foes: Sequence[str], tactics: tuple[str, ...] = ALL, members: int = 3) -> GroupView:
    def fighter(id: int, name: str) -> Fighter:
        return Fighter(id, name, "wolf", 40, 40, 8, 2, 0, 0)

    return GroupView(
        100, 1, 1, "the pack", "wolf", tactics, 1,
        tuple(fighter(n + 1, f"m{n + 1}") for n in range(members)),
        tuple(fighter(n + 101, name) for n, name in enumerate(foes)), "open",
    )  # fmt: skip


def orders(view: GroupView) -> set[tuple[str, str]]:
    model = orders_to(view, seen_by(view))
    assert model is not None
    schema = grammar.compile_schema(model).schema
    return {
        (tactic, focus)
        for part in schema.get("anyOf", [schema])
        for tactic in part["properties"]["tactic"]["enum"]
        for focus in part["properties"]["focus"]["enum"]
    }


def test_orders_go_for_a_foe_in_sight_guard_the_ward_or_name_none() -> None:
    assert orders(field(["Ann", "Bo"], ("focus", "hold", "protect"))) == {
        ("focus", "Ann"), ("focus", "Bo"), ("hold", "Ann"), ("hold", "Bo"), ("hold", "none"),
        ("protect", "Ann"), ("protect", "Bo"), ("protect", "none"), ("protect", "m1"),
    }  # fmt: skip
    assert orders(field([], ("focus", "hold"))) == {("focus", "none"), ("hold", "none")}
    assert {focus for _, focus in orders(field([f"foe {n}" for n in range(9)]))} == {
        "none", "m1", *(f"foe {n}" for n in range(6)),
    }  # fmt: skip


def test_an_order_finds_the_foe_that_it_names_whatever_the_letters() -> None:
    view = field(["bo", "Bo", "BO"])
    seen = seen_by(view)
    asked = orders_to(view, seen)
    assert asked is not None
    for foe in view.foes:
        said = asked.model_validate({"tactic": "focus", "focus": foe.name, "reason": ""})
        assert focus_said(view, seen, said, 0) == foe.id


def test_a_group_without_tactics_has_nothing_to_be_ordered() -> None:
    view = field(["Ann"], ())
    assert orders_to(view, seen_by(view)) is None


@pytest.mark.parametrize(
    ("tactic", "focus", "meant"),
    [
        ("focus", "Bo", 102),
        ("focus", "bo", 102),
        ("hold", "none", 0),
        ("protect", "m1", 101),
        ("focus", "the moon", 101),
        ("hold", "Ann", 101),
    ],
)
def test_a_focus_said_is_a_foe_or_none_and_a_ward_leaves_the_rules_theirs(
    tactic: str, focus: str, meant: int
) -> None:
    view = field(["Ann", "Bo", "Ann"])
    said = OrdersReply(tactic=tactic, focus=focus, reason="")
    assert focus_said(view, seen_by(view), said, 101) == meant


def test_a_cloud_is_asked_with_the_same_enums_in_one_object() -> None:
    choices = [Choice(f"flee from wolf {n}", "flee") for n in range(3)] + [Choice("wait", "wait")]
    model = reply_to(choices)
    messages = SHIPPED.decide(MARTA, Panel(time="", mood="", place=""), [c.text for c in choices])
    request = ModelRequest(
        messages, "decide", schema=model, max_tokens=grammar.longest_tokens(model)
    )
    sent = call_of(request, "m", "disabled", messages, 99)["output_config"]["format"]["schema"]
    assert sent["type"] == "object"
    assert sent["additionalProperties"] is False
    assert list(sent["properties"]) == ["action", "target", "reason"]
    assert sorted(sent["properties"]["action"]["enum"]) == ["flee", "wait"]
    assert sorted(sent["properties"]["target"]["enum"]) == [
        "none",
        *(f"wolf {n}" for n in range(3)),
    ]


def _random(folder: Path) -> Path:
    gguf = pytest.importorskip("benchmarks._gguf")
    shape = gguf.Shape(64, 2, 4, 2, 128, 1200, tied=True)
    made: Path = gguf.write_random(folder / "random.gguf", "random", shape, words="wolf", seed=1)
    return made


@pytest.fixture(params=["random weights", "house model"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    pytest.importorskip("llama_cpp")
    from models.llama.host import LlamaHost

    if request.param == "house model" and not house.path().exists():
        pytest.skip("the house model's file is not here")
    path = house.path() if request.param == "house model" else _random(tmp_path)
    host = LlamaHost(path, threads=1, n_ctx=4096, n_seq=16)
    host.wait_ready(60.0)
    yield host
    host.close()


@pytest.mark.engine
def test_a_real_engine_names_nobody_who_is_not_there(engine: Any, moment: Situation) -> None:
    asked: list[tuple[Recorder, Any]] = []

    def put(messages: Any, schema: Any, n: int, offered: Any) -> None:
        question = ModelRequest(
            messages,
            "decide",
            schema=schema,
            max_tokens=grammar.longest_tokens(schema),
            temperature=(0.0, 0.3, 2.0)[n % 3],
            seed=n,
            deadline_s=120.0,
        )
        asked.append((ask(engine, question), offered))

    for n in range(18):
        near = tuple(wolf(m, f"Grey {n}{m}") for m in range(n % 4))
        choices = options(replace(moment, near=near), ACTIONS, fights=n % 2 == 0)
        panel = Panel(time="night", mood="wary", place="the Lantern", near=("Ben",))
        texts = [choice.text for choice in choices]
        put(SHIPPED.decide(MARTA, panel, texts), reply_to(choices), n, choices)
        view = field([f"Spear {n}{m}" for m in range(n % 4)], members=1 + n % 3)
        seen = seen_by(view)
        messages = SHIPPED.orders(view.name, view.species, 3, view.tactics, seen)
        put(messages, orders_to(view, seen), n, view)
    for answer, offered in asked:
        answer.wait(120.0)
        parsed: Any = answer.reply.parsed
        if isinstance(offered, GroupView):
            assert (parsed.tactic, parsed.focus) in orders(offered)
        else:
            named = (parsed.action, parsed.target)
            assert named in {parse_choice(choice.text) for choice in offered}
            assert match(parsed, offered) is not None


@pytest.mark.engine
@pytest.mark.parametrize("engine", ["house model"], indirect=True)
def test_the_house_model_gives_its_reasons_in_whole_sentences(
    engine: Any, moment: Situation
) -> None:
    choices = options(moment, ACTIONS, fights=False)
    schema = reply_to(choices)
    panel = Panel(time="morning", mood="calm", place="the Lantern")
    question = ModelRequest(
        SHIPPED.decide(MARTA, panel, [choice.text for choice in choices]),
        "decide",
        schema=schema,
        max_tokens=grammar.longest_tokens(schema),
        temperature=0.0,
        deadline_s=120.0,
    )
    answer = ask(engine, question)
    answer.wait(120.0)
    said: Any = answer.reply.parsed
    assert said.reason[:1].isupper()
    assert said.reason.endswith(".")
