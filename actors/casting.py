"""Who gets a mind: actors for those who can speak and for groups with tactics, at the start and later."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import pykka
from pydantic import ValidationError

from actors.choices import Choice, reply_to
from actors.conversation import Conversations
from actors.coordinator import CoordinatorMind
from actors.deciding import Asking
from actors.dispatch import Dispatcher
from actors.ledger import Ledger
from actors.lines import persona_of, reflex_line
from actors.messages import Abandon
from actors.monster_group import GroupActor, GroupMind
from actors.npc import Mind, MindCounts, NpcActor
from actors.settings import CompanySettings
from actors.supervision import ChildSpec, Supervisor, supervise
from actors.telling import told
from models.grammar import longest_tokens
from models.prompts import Persona, PromptBook
from models.request import Backend
from world.compiled import CommonKnowledge, PersonaCard
from world.ruleset import Species
from world.world import World

__all__ = ["Casting", "first_speaker", "mind_of", "warm"]

logger = logging.getLogger(__name__)


class Casting:
    """Starts minds under their supervisors and knows everyone's card.

    `personas` are the scene's cards by key; who has none gets a plain one from its species. `common`
    is the scene's, told before each card with what the species all know.
    """

    def __init__(
        self,
        ledger: Ledger,
        personas: Mapping[str, PersonaCard],
        backend: Backend | None,
        conversations: Conversations,
        settings: CompanySettings,
        prompts: PromptBook,
        common: CommonKnowledge,
    ) -> None:
        self._ledger = ledger
        self._prompts = prompts
        self.common = common
        self._personas = dict(personas)
        self._backend = backend
        self._conversations = conversations
        self._settings = settings
        self.mind_counts = MindCounts()
        self.coordinator_mind = CoordinatorMind()
        self.group_minds: dict[int, GroupMind] = {}
        self._npcs: dict[int, Mind] = {}
        self._askings: dict[int, Asking | None] = {}
        self._dispatcher: Dispatcher
        self._director: pykka.ActorRef[Any]
        self._minds: pykka.ActorRef[Supervisor]
        self._groups: pykka.ActorRef[Supervisor]

    def begin(
        self,
        dispatcher: Dispatcher,
        director: pykka.ActorRef[Any],
        minds: pykka.ActorRef[Supervisor],
        groups: pykka.ActorRef[Supervisor],
    ) -> None:
        """Start everyone the world holds now, under the two supervisors."""
        self._dispatcher, self._director = dispatcher, director
        self._minds, self._groups = minds, groups
        ledger, world = self._ledger, self._ledger.world
        columns = world.columns
        for entity in sorted(int(e) for e in columns.id[columns.live_rows()]):
            ref = self.recruit(entity)
            if ref is not None:
                ledger.minds[entity] = ref
        for group, info in sorted(world.groups.items()):
            species = world.ruleset.species.get(info.species)
            if species is None or not species.tactics:
                continue
            mind = self.group_minds[group] = GroupMind(group)
            spec = ChildSpec(f"group:{group}", self._group_of(mind))
            ref = supervise(self._groups, spec, self._dispatcher)
            ledger.groups[group] = ref
            self.coordinator_mind.groups[group] = ref
            self.coordinator_mind.layers[group] = _layers(self.common, species, group)

    def recast(self, before: World) -> None:
        """Make the minds those of the ledger's world, which took the place of `before`.

        Who is the same being in both keeps its mind and lets go of what it was asked; others get a new
        one or none. Memories in hand are dropped: the store has those of the world that was loaded.
        """
        ledger, world = self._ledger, self._ledger.world
        self._conversations.clear()
        for mind in self.group_minds.values():
            mind.forget()
        were, are = _beings(before), _beings(world)
        for entity, ref in list(ledger.minds.items()):
            if entity in are and were.get(entity) == are[entity]:
                told(ref, Abandon())
                continue
            del ledger.minds[entity]
            self.dismiss(entity)
            if ref.is_alive():
                ref.stop(block=False)
        for entity in are:
            if entity not in ledger.minds:
                fresh = self.recruit(entity)
                if fresh is not None:
                    ledger.minds[entity] = fresh

    def _group_of(self, mind: GroupMind) -> Callable[[], GroupActor]:
        return lambda: GroupActor(mind, self._director, self._settings)

    def recruit(self, entity: int) -> pykka.ActorRef[Any] | None:
        """Start the mind of an entity that can speak and is no player."""
        world = self._ledger.world
        mind = mind_of(world, entity, self._personas, self.common)
        if mind is None:
            return None
        columns = world.columns
        if mind.persona is not None and columns.group[columns.row_of(entity)] > 0:
            self.coordinator_mind.personas[entity] = mind.persona
        self._npcs[entity] = mind
        self._askings.pop(entity, None)
        actions = tuple(world.ruleset.actions)
        spec = ChildSpec(
            f"npc:{entity}",
            lambda: NpcActor(
                mind,
                self._director,
                self._conversations,
                self._backend,
                self._settings,
                self.mind_counts,
                actions,
                self._ledger.headless,
                self._prompts,
            ),
        )
        return supervise(self._minds, spec, self._dispatcher)

    def dismiss(self, entity: int) -> None:
        """Let go of what is known of one who has left the world."""
        self._npcs.pop(entity, None)
        self._askings.pop(entity, None)
        self.coordinator_mind.personas.pop(entity, None)

    def asking(self, entity: int) -> Asking | None:
        """How the mind of an entity is asked for decisions; None for who has none or can't be asked."""
        mind = self._npcs.get(entity)
        if mind is None:
            return None
        if entity not in self._askings:
            actions = tuple(self._ledger.world.ruleset.actions)
            limit_s = self._settings.patience_s
            self._askings[entity] = mind.asking(self._prompts, actions, limit_s)
        return self._askings[entity]

    def card(self, world: World, entity: int, species: Species) -> PersonaCard:
        """The entity's card from the scene, or a plain one."""
        return _card(world, entity, species, self._personas)

    def reflex(self, world: World, entity: int, text: str) -> str:
        """A line for an entity whose mind can't give one."""
        situation = world.situation(entity)
        row = world.columns.row_of(entity)
        if situation is None or row < 0:
            return "..."
        species = world.ruleset.species_list[int(world.columns.species[row])]
        return reflex_line(self.card(world, entity, species), species, situation, text, None)


def mind_of(
    world: World, entity: int, personas: Mapping[str, PersonaCard], common: CommonKnowledge
) -> Mind | None:
    """The mind of an entity that can speak and is no player; None for all others.

    It has no card where the persona is not one that prompts can tell of.
    """
    columns = world.columns
    row = columns.row_of(entity)
    if row < 0 or columns.player[row] or columns.died[row] >= 0:
        return None
    species = world.ruleset.species_list[int(columns.species[row])]
    if not species.speaks or not species.alive:
        return None
    card = _card(world, entity, species, personas)
    persona = _persona(card, _layers(common, species, int(columns.group[row])))
    return Mind(entity, species, card if persona is not None else None, persona)


def _layers(common: CommonKnowledge, species: Species, group: int) -> tuple[str, ...]:
    """What is told before who someone is, the widest first, so that most of a prompt is shared."""
    told = (common.world, species.common_knowledge, common.groups.get(group, ""))
    return tuple(layer for layer in told if layer)


def _card(
    world: World, entity: int, species: Species, personas: Mapping[str, PersonaCard]
) -> PersonaCard:
    card = personas.get(world.personas.get(entity, ""))
    if card is not None:
        return card
    return PersonaCard(
        key="",
        name=world.view().name(entity),
        trade=species.name,
        place=world.scene or "these parts",
        temper=species.voice or "plain",
        persona="",
    )


def _beings(world: World) -> dict[int, tuple[object, ...]]:
    """Who everyone is, by id in order: two lives of a world may give one id to different beings."""
    columns, names, personas = world.columns, world.names, world.personas
    found: dict[int, tuple[object, ...]] = {}
    for row in columns.live_rows().tolist():
        entity = int(columns.id[row])
        found[entity] = (
            names.get(entity, ""),
            personas.get(entity, ""),
            int(columns.species[row]),
            int(columns.group[row]),
        )
    return dict(sorted(found.items()))


def warm(prompts: PromptBook) -> None:
    """Make grammars and templates ready, so that no first handler pays for them."""
    prompts.warm()
    # What minds are asked differs from moment to moment; what making it imports and compiles doesn't.
    longest_tokens(reply_to((Choice("wait", "wait"), Choice("flee from a wolf", "flee"))))


def _persona(card: PersonaCard, layers: tuple[str, ...]) -> Persona | None:
    try:
        return persona_of(card, layers)
    except ValidationError as error:
        logger.warning("%s speaks by reflex only: %s", card.name, error)
        return None


def first_speaker(species: Mapping[str, Species]) -> str:
    """The first species that can speak, "" if none can."""
    return next((name for name, s in species.items() if s.speaks and s.alive), "")
