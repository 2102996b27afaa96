"""What many know is told once: world, species and group come before the persona, in every prompt alike."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from actors.company import Company
from actors.messages import Propose
from actors.settings import CompanySettings
from models.errors import ModelError
from models.prompts import MAX_LAYER, MAX_LAYERS, SHIPPED, Panel, Persona
from models.request import Backend, Handle, Listener, Message, ModelRequest
from plugins.manager import load_builtin_and_installed
from world.compiled import MAX_COMMON, CommonKnowledge, PersonaCard
from world.inputs import Input
from world.ruleset import Ruleset
from world.world import World

from .conftest import Heard, scene, tile

WORLD = (
    "The marsh has no king and no coin. It is the third winter after the flood, and everyone counts "
    "in dried fish. People speak slowly, swear by the water, and never say the heron's name."
)
REEDS = (
    "The reed people live on rafts. They say we, never I, and all of them know that the south dyke leaks. "
    "They owe the hill people nine nets."
)
HILLS = (
    "The hill people live on the old road. They are proud and brief, and all of them know the bell signs. "
    "They are owed nine nets."
)
PACK = "All of this pack know the ford by the three willows."
PANEL = Panel(time="noon", mood="calm", place="the raft")
FOLK = {"Wen": "reedfolk", "Sedge": "reedfolk", "Bryn": "hillfolk", "Tor": "hillfolk"}


class Watched:
    """Passes requests of some purposes on to another backend, if there is one, and keeps them all."""

    name = "watched"

    def __init__(self, behind: Backend | None = None, *purposes: str) -> None:
        self.asked: list[ModelRequest] = []
        self._behind = behind
        self._purposes = purposes

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        self.asked.append(request)
        if self._behind is not None and request.purpose in self._purposes:
            return self._behind.submit(request, listener)
        listener.on_error(request.id, ModelError("nobody thinks here"))
        handle: Any = self
        return handle

    def of(self, purpose: str) -> list[ModelRequest]:
        return [request for request in self.asked if request.purpose == purpose]

    def cancel(self) -> None:
        return None

    def status(self) -> dict[str, object]:
        return {}

    def close(self) -> None:
        return None


@pytest.fixture(scope="module")
def folk() -> Ruleset:
    """The built-in rules, where wolves know something, and two kinds of people of a mod's."""
    rules = load_builtin_and_installed().ruleset()
    person, wolf = rules.species["villager"], rules.species["wolf"]
    kinds = {
        **rules.species,
        "wolf": dataclasses.replace(wolf, common_knowledge="All wolves know the smell of iron."),
        "reedfolk": dataclasses.replace(person, name="reedfolk", common_knowledge=REEDS),
        "hillfolk": dataclasses.replace(person, name="hillfolk", common_knowledge=HILLS),
    }
    return Ruleset.build(kinds.values(), rules.actions.values(), rules.considerations)


def marsh(rules: Ruleset) -> tuple[World, dict[str, PersonaCard]]:
    """A world of the meadow's wolves and four people around whom players enter."""
    meadow = scene()
    cards = {
        name: PersonaCard(
            key=name.lower(),
            name=name,
            trade="fisher",
            place="the marsh",
            temper="calm",
            persona=f"{name} mends nets by the third post and hums, as nobody but {name} does.",
            knows=(f"{name} has hidden a boat.",),
        )
        for name in FOLK
    }
    people = [
        dataclasses.replace(
            meadow.spawns[0], species=kind, name=name, persona_key=name.lower(), x=x, y=y
        )
        for (name, kind), (x, y) in zip(
            FOLK.items(), (tile(20 + n % 2, 20 + n // 2) for n in range(4)), strict=True
        )
    ]
    wolves = [spawn for spawn in meadow.spawns if spawn.species == "wolf"]
    made = dataclasses.replace(
        meadow,
        spawns=(*people, *wolves),
        personas={card.key: card for card in cards.values()},
        common=CommonKnowledge(WORLD, {1: PACK}),
    )
    return World(made, rules, made.seed), dict(made.personas)


@pytest.fixture
def company(folk: Ruleset) -> Iterator[Callable[..., Company]]:
    made: list[Company] = []

    def start(backend: Backend) -> Company:
        world, personas = marsh(folk)
        c = Company(
            world,
            personas=personas,
            backend=backend,
            headless=True,
            settings=CompanySettings(speech_tokens=8, speak_ticks=2),
            common=CommonKnowledge(WORLD, {1: PACK}),
        )
        made.append(c)
        c.start()
        return c

    yield start
    for c in made:
        c.stop(1.0)


def entity(c: Company, name: str) -> int:
    return next(e for e, n in c.ledger.world.names.items() if n == name)


def enter(c: Company) -> int:
    came: list[Any] = []
    c.join("Ann", came.append)
    c.run_headless(1)
    return int(came[0].entity)


def system(request: ModelRequest) -> str:
    return request.messages[0]["content"]


def test_the_bounds_of_scenes_and_of_prompts_are_the_same() -> None:
    assert MAX_COMMON == MAX_LAYER
    full = ("x" * MAX_COMMON,) * MAX_LAYERS
    assert Persona(name="A", trade="a", place="b", temper="c", layers=full).layers == full


def test_speech_decisions_and_orders_all_begin_with_what_everyone_there_knows(
    company: Callable[..., Company],
) -> None:
    model = Watched()
    c = company(model)
    ann = enter(c)
    c.say(ann, entity(c, "Wen"), "Who leads you?", Heard())
    x, y = tile(54, 54)
    for n in range(2):
        body = {"species": "guard", "x": x - 1500, "y": y + n * 300, "name": f"Spear {n}"}
        c.director.tell(Propose(Input("spawn", 0, "test", n + 1, body)))
    x, y = tile(24, 20)
    body = {"species": "wolf", "x": x, "y": y, "name": "Snarl"}
    c.director.tell(Propose(Input("spawn", 0, "test", 9, body)))
    c.run_headless(200)
    (speech,) = model.of("speech")
    assert system(speech).startswith(f"{WORLD}\n\n{REEDS}\n\nYou are Wen, fisher of the marsh.")
    thoughts = {request.asker: system(request) for request in model.of("decide")}
    for name, kind in FOLK.items():
        told = {"reedfolk": REEDS, "hillfolk": HILLS}[kind]
        beginning = f"{WORLD}\n\n{told}\n\nYou are {name}, "
        asked = thoughts.get(f"npc:{entity(c, name)}", beginning)
        assert asked.startswith(beginning)
    assert thoughts, "somebody thought about the wolf"
    # Who has no card of the scene's has a species and a world all the same.
    guards = {told for told in thoughts.values() if "You are Spear" in told}
    assert all(told.startswith(f"{WORLD}\n\nYou are Spear ") for told in guards)
    orders = {system(request) for request in model.of("plan")}
    beginning = (
        f"{WORLD}\n\nAll wolves know the smell of iron.\n\n{PACK}\n\nYou lead the Greyback pack"
    )
    assert orders and all(order.startswith(beginning) for order in orders)
    assert PACK not in system(speech), "and nobody else knows what the pack knows"


# On a real engine


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens two prompts share."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def floor(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that must be read: each prompt but what it shares with one before."""
    return sum(
        len(prompt) - max((common(prompt, before) for before in prompts[:n]), default=0)
        for n, prompt in enumerate(prompts)
    )


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gguf")
    from random_gguf import write_random_gguf

    return write_random_gguf(tmp_path_factory.mktemp("gguf") / "random.gguf", context=4096)


@pytest.fixture(scope="module")
def tokens(gguf: Path) -> Iterator[Callable[[Sequence[Message]], list[int]]]:
    """The tokens of a prompt, by the model's own template."""
    library = pytest.importorskip("models.llama.library")
    from models.llama.settings import EngineSettings
    from models.llama.template import ChatTemplate

    model = library.Model(gguf, EngineSettings(threads=1), library.LogTail())
    template = ChatTemplate(model.template(), model.vocabulary)
    yield lambda messages: template.tokens([(m["role"], m["content"]) for m in messages])
    model.close()


@pytest.fixture(params=["unified", "streams"])
def host(request: pytest.FixtureRequest, gguf: Path) -> Iterator[Any]:
    pytest.importorskip("llama_cpp")
    from models.llama.host import LlamaHost
    from models.llama.settings import EngineSettings

    streams = request.param == "streams"
    sizes = EngineSettings(
        threads=1, n_ctx=9 * 4096, n_seq=8 + streams, n_parallel=8, streams=streams
    )
    made = LlamaHost(gguf, settings=sizes)
    made.wait_ready(60.0)
    yield made
    made.close()


def engine_read(host: Any, asked: int) -> int:
    """The prompt tokens that the engine decoded, once it has told of `asked` answers."""
    told: dict[str, Any] = {}
    for _ in range(100):
        told = host.status()["engine"]
        if told.get("done") == asked:
            return int(told["read_tokens"])
        threading.Event().wait(0.05)
    raise AssertionError(told)


@pytest.mark.engine
def test_an_engine_reads_the_world_once_each_faction_once_and_each_persona_once(
    company: Callable[..., Company],
    host: Any,
    tokens: Callable[[Sequence[Message]], list[int]],
) -> None:
    model = Watched(host, "speech")
    c = company(model)
    ann = enter(c)
    for name in FOLK:
        listener = Heard()
        c.say(ann, entity(c, name), "Where can I sleep?", listener)
        c.run_headless(c.settings.speak_ticks + 3)
        assert listener.over.is_set()
    prompts = [tokens(request.messages) for request in model.of("speech")]
    wen, sedge, bryn, tor = prompts
    world = common(wen, bryn)
    assert world == common(sedge, tor) > 120
    reeds, hills = common(wen, sedge) - world, common(bryn, tor) - world
    assert min(reeds, hills) > 60, "a faction's text is a layer of its own"
    computed = world + reeds + hills
    computed += sum(len(prompt) - world - reeds for prompt in (wen, sedge))
    computed += sum(len(prompt) - world - hills for prompt in (bryn, tor))
    assert computed == floor(prompts)
    assert engine_read(host, 4) == computed


@pytest.mark.engine
def test_those_who_are_asked_at_once_read_their_layers_once_too(
    company: Callable[..., Company],
    host: Any,
    tokens: Callable[[Sequence[Message]], list[int]],
) -> None:
    model = Watched(host, "speech")
    c = company(model)
    ann = enter(c)
    heard = [Heard() for _ in FOLK]
    for name, listener in zip(FOLK, heard, strict=True):
        c.say(ann, entity(c, name), "Where can I sleep?", listener)
    c.run_headless(c.settings.speak_ticks + 3)
    assert all(listener.over.is_set() for listener in heard)
    computed = floor([tokens(request.messages) for request in model.of("speech")])
    # The reader of a prefix may pause within it: of fewer than 16 tokens more nobody waits for it.
    assert computed <= engine_read(host, 4) <= computed + 3 * 15


def test_a_scene_and_species_that_say_nothing_leave_prompts_as_they_were() -> None:
    rules = load_builtin_and_installed().ruleset()
    assert not any(species.common_knowledge for species in rules.species_list), (
        "the house model was trained on prompts that begin with the persona"
    )
    one = Persona(name="Wen", trade="fisher", place="the marsh", temper="calm", layers=("", " "))
    bare = Persona(name="Wen", trade="fisher", place="the marsh", temper="calm")
    assert SHIPPED.decide(one, PANEL, ["rest"]) == SHIPPED.decide(bare, PANEL, ["rest"])
