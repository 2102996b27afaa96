"""Runs a world's journal again: every tick stepped from the oldest checkpoint, every hash compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from foundation.errors import GreenroomError, UsageError
from world.errors import ReplayError
from world.inputs import Input
from world.ruleset import Ruleset
from world.store import (
    CheckpointDamaged,
    CheckpointInfo,
    JournalDamage,
    Reader,
    TickRecord,
    WorldMeta,
    record_of,
)
from world.store.records import StepLike
from world.world import World

PROGRESS_TICKS = 256
"""How often `on_progress` is called."""

_MOST_NAMED = 3


class Stepped(StepLike, Protocol):
    """A step's result, with what the rules refused."""

    @property
    def rejections(self) -> Sequence[Any]: ...


class Steppable(Protocol):
    """What replay needs of a world."""

    @property
    def tick(self) -> int: ...
    def step(self, inputs: Sequence[Input]) -> Stepped: ...
    def hash(self) -> int: ...
    def full_hash(self) -> int: ...


Load = Callable[[dict[str, Any], Ruleset], Steppable]


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a replay found. It agrees when `first_difference` is None.

    `first_tick` and `last_tick` are the first and last tick stepped, `ticks` how many of them agreed,
    `final_hash` the state's hash after `last_tick`. `first_difference` is the first tick that is
    missing, altered or comes out otherwise, and `reason` says how; both are told together.
    """

    first_tick: int
    last_tick: int
    ticks: int
    final_hash: int
    first_difference: int | None
    reason: str
    warnings: tuple[str, ...] = ()


def replay(
    store_path: str | Path | Reader,
    ruleset: Ruleset,
    *,
    until: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    start: Callable[[WorldMeta], Steppable] | None = None,
    load: Load | None = None,
) -> ReplayResult:
    """Step the journal of the world in `store_path` again, from its oldest whole checkpoint.

    Up to and with tick `until`, or to the end. `on_progress(tick, last)` is called every 256 ticks.
    `start(meta)` makes the world of the first tick, for a folder without a checkpoint; `load` makes
    one from a checkpoint's state (default: `World.from_state`). `store_path` may be a `Store.reader`.

    Raises `StorageError` when the folder can't be read, `ReplayError` when there is nothing to start
    from, `UsageError` when `until` lies before the oldest checkpoint.
    """
    if isinstance(store_path, Reader):
        return _replay(store_path, ruleset, until, on_progress, start, load or load_world)
    with Reader.open(store_path) as reader:
        return _replay(reader, ruleset, until, on_progress, start, load or load_world)


def load_world(state: dict[str, Any], ruleset: Ruleset) -> Steppable:
    """The world a checkpoint's state describes."""
    return World.from_state(state, ruleset)


def catch_up(world: Steppable, records: Iterable[TickRecord]) -> int:
    """Step recovered `records` on `world`, comparing every hash; returns the world's tick.

    Raises `ReplayError` naming the tick that comes out otherwise, `JournalDamage` a damaged one.
    """
    for record in records:
        if reason := _step(world, record):
            raise ReplayError(
                f"tick {record.tick} comes out otherwise than it did: {reason}",
                "start with the rules and mods the world was made with, or load an older checkpoint",
            )
    return world.tick


def _replay(
    reader: Reader,
    ruleset: Ruleset,
    until: int | None,
    on_progress: Callable[[int, int], None] | None,
    start: Callable[[WorldMeta], Steppable] | None,
    load: Load,
) -> ReplayResult:
    world, info, warnings = _oldest(reader, ruleset, start, load)
    if until is not None and until < world.tick:
        raise UsageError(
            f"tick {until} is no longer in the journal",
            f"the oldest to replay from is {world.tick}",
        )
    head = reader.head()
    last = world.tick if head is None else head[0]
    last = last if until is None else min(last, until)
    first, agreed = world.tick + 1, 0

    def result(difference: int | None, reason: str) -> ReplayResult:
        return ReplayResult(
            first, world.tick, agreed, world.hash(), difference, reason, tuple(warnings)
        )

    if info is not None and info.hash is not None and world.full_hash() != info.hash:
        return result(info.tick, _hashes("the checkpoint", info.hash, world.full_hash()))
    other_rules = info is not None and info.ruleset_digest not in ("", ruleset.digest())
    try:
        for record in reader.records(info, until):
            if info is None and agreed == 0 and record.tick != world.tick + 1:
                raise JournalDamage(world.tick + 1, "missing from the journal")
            if reason := _step(world, record):
                also = "; the rules are not those it was made with" if other_rules else ""
                return result(record.tick, reason + also)
            agreed += 1
            if on_progress is not None and (agreed % PROGRESS_TICKS == 0 or record.tick == last):
                on_progress(record.tick, last)
    except JournalDamage as damage:
        return result(damage.tick, damage.reason)
    if world.full_hash() != world.hash():
        return result(
            world.tick, _hashes("all state, hashed anew,", world.hash(), world.full_hash())
        )
    return result(None, "")


def _oldest(
    reader: Reader,
    ruleset: Ruleset,
    start: Callable[[WorldMeta], Steppable] | None,
    load: Load,
) -> tuple[Steppable, CheckpointInfo | None, list[str]]:
    warnings: list[str] = []
    for info in reader.checkpoints():
        try:
            state = reader.load(info)
        except CheckpointDamaged as error:
            warnings.append(f"the checkpoint of tick {info.tick} was passed over: {error.message}")
            continue
        return load(state, ruleset), info, warnings
    if start is None:
        raise ReplayError(
            "; ".join([f"{reader.path} has no checkpoint to replay from", *warnings]),
            "a checkpoint is written when a world is made and when it is closed",
        )
    return start(reader.meta()), None, warnings


def _step(world: Steppable, record: TickRecord) -> str:
    """Step one record; how it came out otherwise, empty when it agrees."""
    try:
        result = world.step([Input.unpack(one) for one in record.inputs])
    except (GreenroomError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        return f"it can't be stepped: {error!r}"
    if result.tick != record.tick:
        return f"the world's tick is {result.tick}"
    if result.hash == record.hash and not result.rejections:
        return ""
    told = (
        _hashes("the state", record.hash, result.hash)
        if result.hash != record.hash
        else "an input that was applied is refused"
    )
    return "; ".join([told, *_differences(record, result)])


def _hashes(what: str, told: int, found: int) -> str:
    return f"{what} has the hash {found:016x}, journalled was {told:016x}"


def _differences(record: TickRecord, result: Stepped) -> list[str]:
    """What can be told of a difference from inputs, events and refusals."""
    # packed and unpacked once, so that both have gone through the journal
    again = TickRecord.unpack(record_of(result, record.epoch).pack())
    found: list[str] = []
    for what, told, made in (
        ("input", record.inputs, again.inputs),
        ("event", record.events, again.events),
    ):
        at = next((i for i, (a, b) in enumerate(zip(told, made, strict=False)) if a != b), None)
        if at is None and len(told) != len(made):
            at = min(len(told), len(made))
        if at is not None:
            a = _named(what, told[at]) if at < len(told) else "none"
            b = _named(what, made[at]) if at < len(made) else "none"
            found.append(f"{what} {at} was {a}, is {b}")
    return found + [
        f"refused: {_named('input', refusal.input.pack())}, {refusal.reason}"
        for refusal in result.rejections[:_MOST_NAMED]
    ]


def _named(what: str, packed: Any) -> str:
    """An input or event in few words."""
    match what, packed:
        case "input", [str(kind), int(entity), str(proposer), int(n), *_]:
            return f"{kind!r} of entity {entity} by {proposer!r} (its number {n})"
        case "event", [int(), str(kind), int(entity), int(target), data]:
            return f"{kind!r} of entity {entity} on {target} {str(data)[:120]}"
        case _:
            return str(packed)[:120]
