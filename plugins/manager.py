"""Finds plugins through entry points, asks their hooks, and puts what fits into one ruleset.

A plugin that fails to import, raises in a hook or gives what does not fit is named in a
PluginError and switched off as a whole; the rest load. The order is that of the plugins' names,
so that the same set of plugins gives the same ruleset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import pluggy

from models.errors import PromptError
from models.prompts import PromptBook
from plugins import hookspecs
from plugins.api import PROJECT, ActionSpec, AdapterFile, Consideration, Species
from plugins.errors import PluginError
from world.actions import SYSTEM, VOCABULARY
from world.considerations import CORE
from world.errors import RulesetError
from world.ruleset import Ruleset

GROUP: Final = "greenroom.plugins"
HOOKS: Final = (
    "greenroom_species",
    "greenroom_actions",
    "greenroom_considerations",
    "greenroom_prompts",
    "greenroom_adapters",
)
MAX_PLUGINS: Final = 256
MAX_ENTRIES: Final = 1024
MAX_PROMPT: Final = 65_536
_KINDS: Final[Mapping[str, type[Any]]] = {
    "greenroom_species": Species,
    "greenroom_actions": ActionSpec,
    "greenroom_considerations": Consideration,
    "greenroom_adapters": AdapterFile,
}


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one plugin gives."""

    name: str
    version: str
    species: tuple[Species, ...] = ()
    actions: tuple[ActionSpec, ...] = ()
    considerations: tuple[Consideration, ...] = ()
    prompts: Mapping[str, str] = field(default_factory=dict)
    adapters: tuple[AdapterFile, ...] = ()


class PluginManager:
    """The loaded plugins. `errors` tells of those that were switched off, in order of loading."""

    def __init__(self) -> None:
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._contributions: dict[str, Contribution] = {}
        self.errors: list[PluginError] = []

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the plugins in use, sorted."""
        return tuple(sorted(self._contributions))

    @property
    def contributions(self) -> tuple[Contribution, ...]:
        """What each plugin in use gives, by name."""
        return tuple(self._contributions[name] for name in self.names)

    @property
    def versions(self) -> dict[str, str]:
        """Plugin name -> version of the distribution it came from ("" if it has none)."""
        return {name: self._contributions[name].version for name in self.names}

    @property
    def prompts(self) -> dict[str, str]:
        """Template overrides by name; a later plugin's wins."""
        merged: dict[str, str] = {}
        for name in self.names:
            merged.update(self._contributions[name].prompts)
        return merged

    def prompt_book(self) -> PromptBook:
        """The prompts that minds are asked with: the shipped ones under the plugins' overrides."""
        return PromptBook(self.prompts)

    def adapters(self, model: str) -> dict[str, AdapterFile]:
        """The adapters for a model, given by name and version, by species; a later plugin's wins."""
        return {
            each.species: each
            for name in self.names
            for each in self._contributions[name].adapters
            if each.model == model
        }

    def load(self, entry: EntryPoint) -> bool:
        """Import the plugin an entry point names and register it; False if it was switched off."""
        try:
            module = entry.load()
        except (Exception, SystemExit) as error:
            return self._off(entry.name, f"can't be imported: {error!r}")
        version = entry.dist.version if entry.dist is not None else ""
        return self.register(module, entry.name, version)

    def register(self, plugin: object, name: str, version: str = "") -> bool:
        """Ask a plugin's hooks and keep what it gives; False if it was switched off.

        `plugin` is a module or object whose functions are marked with `hookimpl`.
        """
        if len(self._contributions) >= MAX_PLUGINS:
            return self._off(name, f"over the limit of {MAX_PLUGINS} plugins")
        if name in self._contributions:
            return self._off(name, "another plugin has the same name")
        try:
            self._pluggy.register(plugin, name)
            self._pluggy.check_pending()
            contribution = self._ask(plugin, name, version)
            kept = [*self._contributions.values(), contribution]
            _combine(sorted(kept, key=lambda c: c.name), whole=False)
        except PluginError as error:
            return self._off(name, error)
        except (pluggy.PluginValidationError, RulesetError, ValueError) as error:
            return self._off(name, str(error))
        self._contributions[name] = contribution
        return True

    def _ask(self, plugin: object, name: str, version: str) -> Contribution:
        given: dict[str, Any] = {}
        for hook in HOOKS:
            caller = self._pluggy.subset_hook_caller(
                hook, [p for p in self._pluggy.get_plugins() if p is not plugin]
            )
            try:
                answers = caller()
                found = answers[0] if answers else None
                if hook == "greenroom_prompts":
                    given[hook] = _prompts(name, found)
                else:
                    given[hook] = _entries(name, hook, found)
            except PluginError:
                raise
            except Exception as error:
                raise PluginError(name, f"{hook} raised {error!r}") from error
        return Contribution(
            name,
            version,
            given["greenroom_species"],
            given["greenroom_actions"],
            given["greenroom_considerations"],
            given["greenroom_prompts"],
            given["greenroom_adapters"],
        )

    def _off(self, name: str, why: PluginError | str) -> bool:
        error = why if isinstance(why, PluginError) else PluginError(name, why, "it is off")
        self.errors.append(error)
        registered = self._pluggy.get_plugin(name)
        if registered is not None and name not in self._contributions:
            self._pluggy.unregister(name=name)
        return False

    def ruleset(self) -> Ruleset:
        """Everything in use as one frozen ruleset.

        Plugins that do not fit together with the others (a species that heeds a consideration
        nobody gives) are switched off here. Raises RulesetError only if the core itself is broken.
        """
        while True:
            kept = [self._contributions[name] for name in self.names]
            try:
                return _combine(kept, whole=True)
            except RulesetError as error:
                guilty = self._guilty(kept)
                if guilty is None:
                    raise
                del self._contributions[guilty]
                self._pluggy.unregister(name=guilty)
                self.errors.append(PluginError(guilty, error.message, error.hint))

    def _guilty(self, kept: list[Contribution]) -> str | None:
        """The last plugin without which the others fit, or that does not fit by itself."""
        for c in reversed(kept):
            known = {k.name for o in kept for k in o.considerations} | {k.name for k in CORE}
            if any(set(s.considerations) - known for s in c.species):
                return c.name
        return kept[-1].name if kept else None


def _entries(plugin: str, hook: str, found: object) -> tuple[Any, ...]:
    if found is None:
        return ()
    if isinstance(found, (str, bytes, Mapping)) or not isinstance(found, Iterable):
        raise PluginError(plugin, f"{hook} gave a {type(found).__name__}, not a list")
    entries: list[Any] = []
    for entry in found:
        if len(entries) >= MAX_ENTRIES:
            raise PluginError(plugin, f"{hook} gave more than {MAX_ENTRIES} entries")
        if not isinstance(entry, _KINDS[hook]):
            kind = _KINDS[hook].__name__
            found_kind = type(entry).__name__
            raise PluginError(plugin, f"{hook} gave a {found_kind} where only {kind} fits")
        if isinstance(entry, ActionSpec) and entry.name in SYSTEM:
            raise PluginError(plugin, f"the action name {entry.name!r} is the system's")
        entries.append(entry)
    return tuple(entries)


def _prompts(plugin: str, found: object) -> dict[str, str]:
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise PluginError(plugin, "greenroom_prompts gave no mapping")
    for name, text in found.items():
        if not isinstance(name, str) or not isinstance(text, str) or len(text) > MAX_PROMPT:
            raise PluginError(plugin, f"greenroom_prompts: {name!r} is no template text")
    try:
        PromptBook(found)
    except PromptError as error:
        raise PluginError(plugin, f"greenroom_prompts: {error.message}", error.hint) from error
    return dict(found)


def _combine(kept: list[Contribution], whole: bool) -> Ruleset:
    """One ruleset; unless `whole`, considerations that may still come are not missed."""
    considerations = [*CORE, *(k for c in kept for k in c.considerations)]
    species = [s for c in kept for s in c.species]
    if not whole:
        known = {k.name for k in considerations}
        awaited = {n for s in species for n in s.considerations} - known
        considerations += [
            Consideration(n, CORE[0].activity, CORE[0].score, CORE[0].aim)
            for n in sorted(awaited, key=repr)
        ]
    return Ruleset.build(
        species,
        [*VOCABULARY, *(a for c in kept for a in c.actions)],
        considerations,
        " ".join(f"{c.name}={c.version}" for c in kept),
    )


def load_builtin_and_installed() -> PluginManager:
    """A manager with every plugin installed under the entry-point group `greenroom.plugins`."""
    manager = PluginManager()
    for entry in sorted(entry_points(group=GROUP), key=lambda e: (e.name, e.value)):
        manager.load(entry)
    return manager


def build_ruleset() -> Ruleset:
    """The ruleset of everything installed."""
    return load_builtin_and_installed().ruleset()
