"""The hooks a plugin may answer. Each is asked once, at the start, and must give data, quickly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pluggy

from plugins.api import PROJECT, ActionSpec, AdapterFile, Consideration, Species

hookspec = pluggy.HookspecMarker(PROJECT)


@hookspec
def greenroom_species() -> Iterable[Species]:
    """Kinds of beings and things."""
    raise NotImplementedError


@hookspec
def greenroom_actions() -> Iterable[ActionSpec]:
    """Words of the vocabulary that clients may propose; minds choose among the built-in ones."""
    raise NotImplementedError


@hookspec
def greenroom_considerations() -> Iterable[Consideration]:
    """Reasons to act; a species heeds those it names."""
    raise NotImplementedError


@hookspec
def greenroom_prompts() -> Mapping[str, str]:
    """Prompt templates by name, in place of the built-in ones ("npc_system", "npc_turn" …)."""
    raise NotImplementedError


@hookspec
def greenroom_adapters() -> Iterable[AdapterFile]:
    """LoRA adapters under which a species' members speak and decide, each for one local model."""
    raise NotImplementedError
