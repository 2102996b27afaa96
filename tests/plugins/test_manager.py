"""Plugins: found through entry points, asked once, and switched off by name when they fail."""

from __future__ import annotations

import types
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from models.prompts import Panel, Persona
from plugins.api import (
    ActionSpec,
    AdapterFile,
    Consideration,
    Outcome,
    Species,
    StrictModel,
    hookimpl,
)
from plugins.builtin import vampires, villagers, wildlife, wolves
from plugins.manager import PluginManager, build_ruleset, load_builtin_and_installed
from world.considerations import CORE


def plugin(**hooks):
    """A plugin whose hooks give (or raise) what is given."""
    module = types.ModuleType("some_mod")

    def answering(name, answer):
        def hook():
            if isinstance(answer, Exception):
                raise answer
            return answer

        hook.__name__ = name
        return hookimpl(hook)

    for name, answer in hooks.items():
        setattr(module, name, answering(name, answer))
    return module


class Sing(StrictModel):
    """Sing a song."""


GOAT = Species("goat", "livestock", considerations=("graze", "bolt", "idle"))
SING = ActionSpec("sing", Sing, "Sing.", lambda view, row, body: Outcome(()))
CLIMB = Consideration("climb", CORE[0].activity, CORE[0].score, CORE[0].aim)


def test_the_built_ins_come_in_by_the_public_door():
    manager = load_builtin_and_installed()
    assert {"vampires", "villagers", "wildlife", "wolves"} <= set(manager.names)
    assert manager.errors == []
    rules = build_ruleset()
    assert {"wolf", "vampire", "villager", "guard", "hunter", "traveller", "deer", "sheep", "hare",
            "well", "hearth", "shrine", "dam_lever"} <= set(rules.species_names)  # fmt: skip


def test_what_a_plugin_gives_is_in_the_ruleset():
    manager = PluginManager()
    mod = plugin(
        greenroom_species=[GOAT], greenroom_actions=[SING], greenroom_considerations=(CLIMB,),
        greenroom_prompts={"npc_system": "You are a goat."},
    )  # fmt: skip
    assert manager.register(mod, "goats", "1.2")
    rules = manager.ruleset()
    assert rules.species_names == ("goat",)
    assert "sing" in rules.actions
    assert "climb" in {c.name for c in rules.considerations}
    assert manager.prompts == {"npc_system": "You are a goat."}
    goat = Persona(name="Nan", trade="goat", place="the cliff", temper="stubborn")
    told = manager.prompt_book().decide(
        goat, Panel(time="noon", mood="calm", place="here"), ["eat"]
    )
    assert told[0]["content"] == "You are a goat."
    assert manager.versions == {"goats": "1.2"}
    assert "goats=1.2" in rules.version


def test_adapters_are_given_to_the_model_they_were_trained_for():
    manager = PluginManager()
    first = AdapterFile("goat", Path("a.gguf"), "tiny 1")
    second = AdapterFile("goat", Path("b.gguf"), "tiny 2")
    later = AdapterFile("goat", Path("c.gguf"), "tiny 1")
    assert manager.register(plugin(greenroom_adapters=[first, second]), "goats")
    assert manager.adapters("tiny 1") == {"goat": first}
    assert manager.register(plugin(greenroom_adapters=[later]), "kids")
    assert manager.adapters("tiny 1") == {"goat": later}
    assert manager.adapters("tiny 3") == {}


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"greenroom_species": ValueError("boom")}, "greenroom_species raised ValueError"),
        ({"greenroom_species": "goat"}, "gave a str"),
        ({"greenroom_species": 5}, "gave a int"),
        ({"greenroom_species": ["goat"]}, "gave a str where only Species fits"),
        ({"greenroom_species": [Species("wolf", "x")]}, "'wolf' is defined twice"),
        ({"greenroom_species": [Species("goat", "x", hp=-1)]}, "hp is -1"),
        (
            {"greenroom_species": [Species("goat", "x", common_knowledge="x" * 1201)]},
            "species 'goat': common_knowledge is 1201 characters long",
        ),
        (
            {"greenroom_actions": [ActionSpec("spawn", Sing, "", SING.handler)]},
            "'spawn' is the system's",
        ),
        (
            {"greenroom_actions": [ActionSpec("move", Sing, "", SING.handler)]},
            "'move' is defined twice",
        ),
        ({"greenroom_considerations": [CORE[0]]}, "is defined twice"),
        ({"greenroom_prompts": ["x"]}, "no mapping"),
        ({"greenroom_prompts": {"npc_system": 5}}, "no template text"),
        (
            {"greenroom_prompts": {"npc_sistem": "x"}},
            "the prompts are decide_turn, layers, npc_system",
        ),
        ({"greenroom_prompts": {"npc_system": "{{ whom }}"}}, "'whom' is undefined"),
        ({"greenroom_adapters": ["a.gguf"]}, "gave a str where only AdapterFile fits"),
        ({"greenroom_typo": []}, "greenroom_typo"),
    ],
)
def test_a_plugin_that_gives_nonsense_is_named_and_off_and_the_rest_load(bad, why):
    manager = PluginManager()
    assert manager.register(wolves, "wolves")
    assert not manager.register(plugin(**bad), "broken")
    assert manager.register(wildlife, "wildlife")
    assert manager.names == ("wildlife", "wolves")
    (error,) = manager.errors
    assert error.code == "plugin"
    assert error.plugin == "broken"
    assert why in str(error)
    assert {"wolf", "deer"} <= set(manager.ruleset().species_names)


def test_a_plugin_that_cannot_be_imported_is_named():
    manager = PluginManager()
    entry = EntryPoint(name="gone", value="no_such_module_anywhere", group="greenroom.plugins")
    assert not manager.load(entry)
    assert "gone" in str(manager.errors[0])


def test_a_species_that_heeds_what_nobody_gives_switches_its_plugin_off():
    manager = PluginManager()
    flier = plugin(greenroom_species=[Species("bat", "x", considerations=("fly",))])
    assert manager.register(flier, "bats")
    assert manager.register(wolves, "wolves")
    assert manager.ruleset().species_names == ("wolf",)
    assert manager.names == ("wolves",)
    assert "'fly'" in str(manager.errors[0])


def test_a_species_may_heed_what_another_plugin_gives_whatever_the_order():
    for order in (("a", "b"), ("b", "a")):
        manager = PluginManager()
        mods = {
            "a": plugin(greenroom_species=[Species("ibex", "x", considerations=("climb",))]),
            "b": plugin(greenroom_considerations=[CLIMB]),
        }
        for name in order:
            assert manager.register(mods[name], name)
        assert manager.ruleset().species_names == ("ibex",)
        assert not manager.errors


def test_the_same_plugins_give_the_same_rules_in_any_order_of_loading():
    mods = {"villagers": villagers, "wolves": wolves, "vampires": vampires, "wildlife": wildlife}
    digests = set()
    for order in (sorted(mods), sorted(mods, reverse=True)):
        manager = PluginManager()
        for name in order:
            assert manager.register(mods[name], name)
        digests.add(manager.ruleset().digest())
    assert len(digests) == 1


def test_a_name_is_taken_once():
    manager = PluginManager()
    assert manager.register(wolves, "wolves")
    assert not manager.register(wildlife, "wolves")
    assert "same name" in str(manager.errors[0])


def test_endless_answers_are_cut_off():
    manager = PluginManager()

    def forever():
        while True:
            yield GOAT

    assert not manager.register(plugin(greenroom_species=forever()), "endless")
    assert "more than" in str(manager.errors[0])


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 1e30, -17.0])
def test_an_adapter_at_a_scale_that_spoils_every_answer_turns_its_plugin_off_by_name(scale: float):
    class Loud:
        @hookimpl
        def greenroom_adapters(self):
            return [AdapterFile("goat", Path("a.gguf"), "tiny 1", scale)]

    manager = PluginManager()
    assert not manager.register(Loud(), "loud")
    assert "goat" in str(manager.errors[0])
    assert "16" in str(manager.errors[0])
