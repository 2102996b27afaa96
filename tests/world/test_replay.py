"""A journal stepped again gives every hash again, or the first tick that doesn't and why."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foundation.errors import UsageError
from world.actions import VOCABULARY
from world.compiled import CompiledScene, Place, Spawn
from world.errors import ReplayError
from world.events import Event
from world.inputs import Input, Rejection
from world.replay import ReplayResult, catch_up, replay
from world.ruleset import Ruleset, Species
from world.store import JournalDamage, Reader, Store, StoreOptions, TickRecord, WorldMeta, record_of
from world.store.layout import number_key, pack_head
from world.store.records import link_of, split
from world.tiles import Tile
from world.world import World

MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Outcome:
    tick: int
    events: tuple[Event, ...]
    rejections: tuple[Rejection, ...]
    hash: int
    inputs: tuple[Input, ...]


class Abacus:
    """A world of ten beads that drift by rule and are pushed by inputs; all its state is integers."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.tick: int = state["tick"] if state else 0
        self.beads = np.array(state["beads"]) if state else np.zeros(10, dtype=np.int64)

    def step(self, inputs: Sequence[Input]) -> Outcome:
        self.tick += 1
        self.beads = (self.beads * 3 + np.arange(10) + self.tick) % 1_000_003
        events, refused, taken = [], [], []
        for one in sorted(inputs, key=lambda i: (i.entity, i.proposer, i.n)):
            if one.kind == "note":
                taken.append(one)
                continue
            if one.entity >= 10:
                refused.append(Rejection(one, "no_such_entity", f"no bead {one.entity}"))
                continue
            self.beads[one.entity] += one.body["by"]
            events.append(Event(self.tick, "moved_in", one.entity, 0, {"by": one.body["by"]}))
            taken.append(one)
        return Outcome(self.tick, tuple(events), tuple(refused), self.hash(), tuple(taken))

    def hash(self) -> int:
        value = self.tick
        for bead in self.beads.tolist():
            value = (value * 0x9E3779B97F4A7C15 + bead + 1) & MASK
        return value

    def full_hash(self) -> int:
        return self.hash()

    def get_state(self) -> dict[str, Any]:
        return {"tick": self.tick, "beads": self.beads}


def load_abacus(state: dict[str, Any], ruleset: Ruleset) -> Abacus:
    return Abacus(state)


@pytest.fixture(scope="module")
def rules() -> Ruleset:
    return Ruleset.build(
        [
            Species("villager", "people", speaks=True),
            Species("well", "things", speed=0, alive=False),
        ],
        VOCABULARY,
        [],
        version="1",
    )


@pytest.fixture
def again(rules: Ruleset) -> Callable[..., ReplayResult]:
    def run(path: Path, **more: Any) -> ReplayResult:
        return replay(path, rules, load=load_abacus, **more)

    return run


def push(entity: int, n: int, by: int) -> Input:
    return Input("push", entity, "player:ann", n, {"by": by})


def live(
    path: Path,
    ticks: int,
    *,
    checkpoint_every: int = 0,
    keep: int = 4,
    seed: int = 1,
    digest: str = "",
) -> Abacus:
    """An abacus lived for `ticks` from where the folder left it, everything stored."""
    chance = random.Random(seed)
    meta = WorldMeta(scene="abacus", seed=seed, ruleset_digest=digest)
    options = StoreOptions(keep_checkpoints=keep)
    with Store.open(path, create=meta, options=options) as store:
        recovery = store.recover()
        world = Abacus(recovery.state)
        catch_up(world, recovery.records)
        if store.last_tick < 0:
            store.checkpoint(world.get_state(), state_hash=world.hash())
        for _ in range(ticks):
            inputs = [
                push(chance.randrange(10), n, chance.randrange(-99, 99))
                for n in range(chance.randrange(4))
            ]
            inputs.append(Input("note", 0, "director", world.tick, {"text": "late"}))
            store.append(record_of(world.step(inputs), store.epoch), timeout=30)
            if checkpoint_every and world.tick % checkpoint_every == 0:
                store.checkpoint(world.get_state())
                store.flush()
    return world


def tamper(path: Path, change: Callable[[Any, lmdb.Transaction[bytes], Any], None]) -> None:
    """Change the journal behind the store's back: `change(journal, txn, meta)`."""
    with lmdb.Environment(
        str(path / "world.mdb"), subdir=False, max_dbs=8, map_size=1 << 26
    ) as env:
        journal, meta = env.open_db(b"journal"), env.open_db(b"meta")
        with env.begin(write=True) as txn:
            change(journal, txn, meta)


def relink(journal: Any, txn: lmdb.Transaction[bytes], meta: Any, start: int, last: int) -> None:
    """Make every link right again from tick `start` on, as one who forges a journal would."""
    link = split(txn.get(number_key(start - 1), b"\0" * 8, db=journal))[0]
    for tick in range(start, last + 1):
        payload = split(txn.get(number_key(tick), b"", db=journal))[1]
        link = link_of(link, payload)
        txn.put(number_key(tick), link + payload, db=journal)
    txn.put(b"head", pack_head(last, link), db=meta)


def test_a_journal_replays_to_the_hash_it_was_lived_to(
    tmp_path: Path, again: Callable[..., ReplayResult]
) -> None:
    world = live(tmp_path, 700)
    seen: list[tuple[int, int]] = []
    result = again(tmp_path, on_progress=lambda tick, last: seen.append((tick, last)))
    assert result == ReplayResult(1, 700, 700, world.hash(), None, "")
    assert seen == [(256, 700), (512, 700), (700, 700)]


def test_replay_goes_as_far_as_told(tmp_path: Path, again: Callable[..., ReplayResult]) -> None:
    short = live(tmp_path / "short", 40, seed=3)
    live(tmp_path / "long", 100, seed=3)
    result = again(tmp_path / "long", until=40)
    assert (result.last_tick, result.ticks, result.final_hash) == (40, 40, short.hash())
    assert again(tmp_path / "long", until=5000).last_tick == 100
    nothing = again(tmp_path / "long", until=0)
    assert (nothing.ticks, nothing.last_tick, nothing.first_difference) == (0, 0, None)


def test_after_trimming_replay_starts_at_the_oldest_checkpoint_kept(
    tmp_path: Path, again: Callable[..., ReplayResult]
) -> None:
    world = live(tmp_path, 205, checkpoint_every=20, keep=3)
    result = again(tmp_path)
    assert result == ReplayResult(161, 205, 45, world.hash(), None, "")
    with pytest.raises(UsageError, match=r"tick 100 is no longer in the journal.*160"):
        again(tmp_path, until=100)


def test_a_world_lived_in_many_sittings_replays_as_one(
    tmp_path: Path, again: Callable[..., ReplayResult]
) -> None:
    for _ in range(4):
        world = live(tmp_path, 30, checkpoint_every=50, keep=9)
    assert again(tmp_path) == ReplayResult(1, 120, 120, world.hash(), None, "")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(st.integers(1, 60))
def test_a_dropped_record_is_named(
    tmp_path_factory: pytest.TempPathFactory, again: Callable[..., ReplayResult], tick: int
) -> None:
    path = tmp_path_factory.mktemp("dropped")
    live(path, 60)
    tamper(path, lambda journal, txn, meta: txn.delete(number_key(tick), db=journal))
    result = again(path)
    assert (result.first_difference, result.ticks) == (tick, tick - 1)
    assert "missing from the journal" in result.reason


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.integers(1, 40), st.data())
def test_a_flipped_bit_in_a_record_is_named(
    tmp_path_factory: pytest.TempPathFactory,
    again: Callable[..., ReplayResult],
    tick: int,
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("flipped")
    live(path, 40)

    def flip(journal: Any, txn: lmdb.Transaction[bytes], meta: Any) -> None:
        value = bytearray(txn.get(number_key(tick), b"", db=journal))
        bit = data.draw(st.integers(0, len(value) * 8 - 1))
        value[bit // 8] ^= 1 << (bit % 8)
        txn.put(number_key(tick), bytes(value), db=journal)

    tamper(path, flip)
    result = again(path)
    assert result.first_difference == tick
    assert "altered" in result.reason


def forge(path: Path, tick: int, last: int, **changed: Any) -> None:
    """Rewrite a record and make every link right, so that only stepping can tell."""

    def change(journal: Any, txn: lmdb.Transaction[bytes], meta: Any) -> None:
        was = TickRecord.unpack(split(txn.get(number_key(tick), b"", db=journal))[1])
        parts = {
            "epoch": was.epoch,
            "hash": was.hash,
            "inputs": was.inputs,
            "events": was.events,
        } | {key: value(was) for key, value in changed.items()}
        payload = TickRecord(tick=tick, **parts).pack()
        txn.put(number_key(tick), bytes(8) + payload, db=journal)
        relink(journal, txn, meta, tick, last)

    tamper(path, change)


def test_an_altered_input_is_named_with_the_event_that_differs(
    tmp_path: Path, again: Callable[..., ReplayResult]
) -> None:
    with Store.open(tmp_path, create=WorldMeta(scene="abacus", seed=1)) as store:
        world = Abacus()
        store.checkpoint(world.get_state())
        for tick in range(1, 21):
            store.append(record_of(world.step([push(3, tick, 7), push(8, tick, 1)]), 1))
    forge(tmp_path, 12, 20, inputs=lambda was: (was.inputs[0], [*was.inputs[1][:4], {"by": 2}]))
    result = again(tmp_path)
    assert (result.first_difference, result.ticks) == (12, 11)
    assert "the state has the hash" in result.reason
    assert "event 1 was 'moved_in' of entity 8 on 0 {'by': 1}" in result.reason
    assert "{'by': 2}" in result.reason


def test_a_dropped_input_is_named(tmp_path: Path, again: Callable[..., ReplayResult]) -> None:
    with Store.open(tmp_path, create=WorldMeta(scene="abacus", seed=1)) as store:
        world = Abacus()
        store.checkpoint(world.get_state())
        for tick in range(1, 21):
            store.append(record_of(world.step([push(3, tick, 7), push(8, tick, 1)]), 1))
    forge(tmp_path, 15, 20, inputs=lambda was: was.inputs[1:])
    result = again(tmp_path)
    assert result.first_difference == 15
    assert "event 0 was 'moved_in' of entity 3" in result.reason
    assert "event 0 was 'moved_in' of entity 3 on 0 {'by': 7}, is 'moved_in' of entity 8" in (
        result.reason
    )


def test_an_input_the_rules_refuse_now_is_named_with_their_reason(
    tmp_path: Path, again: Callable[..., ReplayResult]
) -> None:
    live(tmp_path, 20)  # nothing was pushed in tick 7: only the refusal tells
    forge(tmp_path, 7, 20, inputs=lambda was: (["push", 77, "player:bob", 5, {"by": 1}],))
    result = again(tmp_path)
    assert result.first_difference == 7
    assert "an input that was applied is refused" in result.reason
    assert "refused: 'push' of entity 77 by 'player:bob' (its number 5), no bead 77" in (
        result.reason
    )


def test_a_forged_hash_and_an_unreadable_input_are_named(
    tmp_path: Path, again: Callable[..., ReplayResult]
) -> None:
    live(tmp_path, 20)
    forge(tmp_path, 14, 20, inputs=lambda was: (["push"],))
    result = again(tmp_path)
    assert result.first_difference == 14
    assert "can't be stepped" in result.reason
    forge(tmp_path, 9, 20, hash=lambda was: was.hash ^ 1)
    assert again(tmp_path).first_difference == 9


def test_a_journal_cut_off_at_its_end_is_found(
    tmp_path: Path, again: Callable[..., ReplayResult]
) -> None:
    live(tmp_path, 20)

    def cut(journal: Any, txn: lmdb.Transaction[bytes], meta: Any) -> None:
        for tick in (18, 19, 20):
            txn.delete(number_key(tick), db=journal)

    tamper(tmp_path, cut)
    result = again(tmp_path)
    assert (result.first_difference, result.ticks) == (18, 17)


def test_a_forged_last_record_is_found(tmp_path: Path, again: Callable[..., ReplayResult]) -> None:
    live(tmp_path, 20)

    def swap(journal: Any, txn: lmdb.Transaction[bytes], meta: Any) -> None:
        before, _ = split(txn.get(number_key(19), b"", db=journal))
        _, payload = split(txn.get(number_key(20), b"", db=journal))
        was = TickRecord.unpack(payload)
        kept = [one for one in was.inputs if one[0] != "note"]
        changed = TickRecord(20, was.epoch, was.hash, tuple(kept), was.events).pack()
        txn.put(number_key(20), link_of(before, changed) + changed, db=journal)

    tamper(tmp_path, swap)
    result = again(tmp_path)
    assert result.first_difference == 20
    assert "written last" in result.reason


def test_a_damaged_checkpoint_makes_replay_start_at_the_next(
    tmp_path: Path, again: Callable[..., ReplayResult]
) -> None:
    world = live(tmp_path, 50, checkpoint_every=20)
    with Reader.open(tmp_path) as reader:
        oldest = tmp_path / "checkpoints" / reader.checkpoints()[0].name
    oldest.write_bytes(oldest.read_bytes()[:-1])
    result = again(tmp_path)
    assert (result.first_tick, result.ticks, result.first_difference) == (21, 30, None)
    assert result.final_hash == world.hash()
    assert "checkpoint of tick 0 was passed over" in result.warnings[0]


def test_a_checkpoint_that_is_not_the_journalled_state_is_found(
    tmp_path: Path, again: Callable[..., ReplayResult]
) -> None:
    with Store.open(tmp_path, create=WorldMeta(scene="abacus", seed=1)) as store:
        world = Abacus()
        for _ in range(5):
            store.append(record_of(world.step([]), 1))
        wrong = world.get_state() | {"beads": world.beads + 1}
        store.checkpoint(wrong)
    result = again(tmp_path)
    assert result.first_difference == 5
    assert "the checkpoint has the hash" in result.reason


def test_without_a_checkpoint_replay_needs_the_worlds_beginning(
    tmp_path: Path, again: Callable[..., ReplayResult]
) -> None:
    with Store.open(tmp_path, create=WorldMeta(scene="abacus", seed=1)) as store:
        world = Abacus()
        for _ in range(5):
            store.append(record_of(world.step([push(1, 1, 1)]), 1))
    with pytest.raises(ReplayError, match="no checkpoint"):
        again(tmp_path)
    result = again(tmp_path, start=lambda meta: Abacus())
    assert (result.ticks, result.final_hash) == (5, world.hash())
    tamper(tmp_path, lambda journal, txn, meta: txn.delete(number_key(1), db=journal))
    lost = again(tmp_path, start=lambda meta: Abacus())
    assert lost.first_difference is not None


def test_other_rules_are_named_when_the_replay_differs(
    tmp_path: Path, again: Callable[..., ReplayResult]
) -> None:
    live(tmp_path, 20, digest="another")
    assert again(tmp_path).first_difference is None
    forge(tmp_path, 9, 20, hash=lambda was: was.hash ^ 1)
    assert "the rules are not those" in again(tmp_path).reason


def test_a_running_worlds_journal_can_be_replayed_through_its_reader(
    tmp_path: Path, rules: Ruleset
) -> None:
    with Store.open(tmp_path, create=WorldMeta(scene="abacus", seed=1)) as store:
        world = Abacus()
        store.checkpoint(world.get_state())
        for _ in range(300):
            store.append(record_of(world.step([]), 1))
        store.flush()
        result = replay(store.reader, rules, load=load_abacus)
        assert (result.ticks, result.final_hash) == (300, world.hash())


def test_catching_up_names_the_tick_that_comes_out_otherwise(tmp_path: Path) -> None:
    live(tmp_path, 20)
    with Store.open(tmp_path) as store:
        world = Abacus(store.recover().state)
        assert catch_up(world, store.recover().records) == 20
    forge(tmp_path, 9, 20, hash=lambda was: was.hash ^ 1)
    with Store.open(tmp_path) as store, pytest.raises(ReplayError, match="tick 9 comes out"):
        catch_up(Abacus(), store.recover().records)
    tamper(tmp_path, lambda journal, txn, meta: txn.delete(number_key(5), db=journal))
    with Store.open(tmp_path) as store, pytest.raises(JournalDamage, match="tick 5: missing"):
        catch_up(Abacus(), store.recover().records)


# -- the real world ----------------------------------------------------------------------------


def hamlet(seed: int) -> CompiledScene:
    tiles = np.full((48, 48), int(Tile.GRASS), dtype=np.uint8)
    tiles[20:22, :] = int(Tile.ROAD)
    return CompiledScene(
        name="hamlet",
        size=(48, 48),
        tiles=tiles,
        places={"green": Place("green", "the green", 6000, 5300, 900, "market")},
        spawns=tuple(
            Spawn("villager", 2000 + 700 * n, 5000 + 90 * n, name=f"V{n}") for n in range(8)
        ),
        player_starts=((6000, 5300),),
        seed=seed,
    )


def test_a_real_world_replays_hash_for_hash_through_checkpoints_and_sittings(
    tmp_path: Path, rules: Ruleset
) -> None:
    meta = WorldMeta(scene="hamlet", seed=5, ruleset_digest=rules.digest())
    options = StoreOptions(keep_checkpoints=64)
    chance = random.Random(5)
    accepted = 0
    for _ in range(3):
        with Store.open(tmp_path, create=meta, options=options) as store:
            recovery = store.recover()
            if recovery.state is None:
                world = World(hamlet(5), rules, seed=5)
                store.checkpoint(world.get_state(), state_hash=world.hash())
            else:
                world = World.from_state(recovery.state, rules)
                catch_up(world, recovery.records)
            people = [int(i) for i in world.frame(full=True).id]
            for n in range(120):
                walker, talker = chance.choice(people), chance.choice(people)
                goal = {"x": chance.randrange(12000), "y": chance.randrange(12000)}
                inputs = [
                    Input("move", walker, f"npc:{walker}", n, goal),
                    Input("say", talker, f"npc:{talker}", n, {"to": 0, "text": "Hail!"}),
                ]
                if n % 40 == 0:
                    body = {"species": "villager", "x": 5000, "y": 5000, "home": (4000, 4000)}
                    inputs.append(Input("spawn", 0, "director", n, body))
                    inputs.append(
                        Input(
                            "tiles",
                            0,
                            "director",
                            n + 1,
                            {"x": 3, "y": 4, "w": 2, "h": 1, "data": bytes([int(Tile.MUD)] * 2)},
                        )
                    )
                result = world.step(inputs)
                accepted += len(result.accepted)
                store.append(record_of(result, store.epoch), timeout=30)
                if world.tick % 50 == 0:
                    store.checkpoint(world.get_state())
    assert accepted > 300
    result = replay(tmp_path, rules)
    assert result == ReplayResult(1, 360, 360, world.full_hash(), None, "")
