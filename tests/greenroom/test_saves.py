"""A world kept, branched and loaded: while it runs, over real sockets, and in a folder that nobody serves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from engine_bridge.client import AsyncClient
from engine_bridge.errors import RequestFailed
from engine_bridge.saves import MakeBranch, TakeSnapshot
from foundation.errors import LimitError
from greenroom import saves, worlds
from greenroom.cli import app
from plugins.manager import load_builtin_and_installed
from world.inputs import Input
from world.replay import replay
from world.store import Reader, Store, describe, record_of
from world.store.snapshots import find


@pytest.fixture(scope="module")
def server(served: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One server for all; what each test did to it replays at the end."""
    data = tmp_path_factory.mktemp("saves") / "world"
    with served(data, "--no-models") as running:
        yield running
        assert running.stop() == 0
        assert "Traceback" not in running.log, running.log
    result = replay(data, load_builtin_and_installed().ruleset())
    assert result.first_difference is None, result.reason
    assert describe(data, verify=True)["damage"] == []


def command(*words: Any) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout + result.stderr


def ask(server: Any, *words: Any) -> dict[str, Any]:
    code, told = command(*words, "--http", server.http, "--json")
    assert code == 0, told
    found: dict[str, Any] = json.loads(told)
    return found


async def new_epoch(client: AsyncClient, epoch: int) -> None:
    async with asyncio.timeout(20):
        while client.world.epoch != epoch:
            await asyncio.sleep(0.02)


async def say(client: AsyncClient, to: int, line: str) -> str:
    speech = client.say(to, line)
    async for _ in speech:
        pass
    return (await speech.done()).text


def lines_with(folder: Path, player: str, npc: int) -> list[str]:
    with Reader.open(folder) as reader:
        return [turn["turn"]["line"] for _, turn in reader.turns(npc, player, 100)]


def test_a_load_is_told_to_clients_who_stay_and_what_came_after_the_snapshot_is_forgotten(
    server: Any,
) -> None:
    async def scene() -> int:
        async with AsyncClient(server.url) as client:
            body = (await client.join("Ann")).entity
            marta = (await client.approach("Marta Kell")).id
            await say(client, marta, "I hid the key under the mill.")
            before = client.world.epoch
            taken = await asyncio.to_thread(ask, server, "snapshot", "hidden")
            told = await client.ping()
            # all that was acknowledged before the snapshot is in it
            assert taken["tick"] <= told.tick
            where = client.world.entities[body]
            kept = (where.x, where.y)
            await client.move(x=where.x + 2500, y=where.y)
            await say(client, marta, "The key is in the well now.")
            loaded = await asyncio.to_thread(ask, server, "load", "hidden")
            assert loaded["tick"] == taken["tick"] < loaded["left"]
            assert loaded["epoch"] > before
            await new_epoch(client, loaded["epoch"])
            again = client.world.entities[body]
            assert abs(again.x - kept[0]) + abs(again.y - kept[1]) < 512
            # the same session and body go on
            assert (await client.move(x=again.x, y=again.y)).tick > loaded["tick"]
            await say(client, marta, "Where is the key?")
            return marta

    marta = asyncio.run(scene())
    ask(server, "snapshot", "after")
    assert lines_with(find(server.data, "after"), "Ann", marta) == [
        "I hid the key under the mill.",
        "Where is the key?",
    ]
    with Reader.open(find(server.data, "after")) as reader:
        notes = [
            given.body["text"]
            for record in reader.records(reader.checkpoints()[0])
            for given in map(Input.unpack, record.inputs)
            if given.kind == "note"
        ]
    assert any(note.startswith("loaded the snapshot hidden of tick") for note in notes)


def test_who_was_not_in_the_snapshot_has_no_body_and_bodies_of_nobody_leave(server: Any) -> None:
    async def scene() -> None:
        async with AsyncClient(server.url) as early:
            left = (await early.join("Early")).entity
            await asyncio.to_thread(ask, server, "snapshot", "early")
            await early.leave()
        async with AsyncClient(server.url) as late:
            body = (await late.join("Late")).entity
            await late.watch(all=True)
            loaded = await asyncio.to_thread(ask, server, "load", "early")
            await new_epoch(late, loaded["epoch"])
            assert body not in late.world.entities
            with pytest.raises(RequestFailed) as refused:
                await late.move(x=0, y=0)
            assert refused.value.code == "not_joined"
            async with asyncio.timeout(10):
                while left in late.world.entities:
                    await asyncio.sleep(0.05)
            again = (await late.join("Late")).entity
            spot = late.world.entities[again]
            await late.move(x=spot.x, y=spot.y)

    asyncio.run(scene())


def test_a_branch_is_a_world_of_its_own_and_its_parent_goes_on(server: Any, tmp_path: Path) -> None:
    ask(server, "snapshot", "fork")
    whole = ask(server, "branch", tmp_path / "now")
    old = ask(server, "branch", tmp_path / "then", "--snapshot", "fork")
    assert whole["parent"] == old["parent"]
    assert len({whole["id"], old["id"], whole["parent"]}) == 3
    assert whole["tick"] >= old["tick"]
    rules = load_builtin_and_installed().ruleset()
    for made in (whole, old):
        folder = Path(made["folder"])
        assert describe(folder, verify=True)["damage"] == []
        assert replay(folder, rules).last_tick == made["tick"]
        opened = worlds.open_world(folder)
        opened.store.close()
        assert opened.world.tick == made["tick"]
        assert not (folder / "snapshots").exists()
    code, told = command("branch", tmp_path / "now", "--http", server.http)
    assert code == 2
    assert "there is something at" in told
    code, told = command("branch", server.data / "inside", "--http", server.http)
    assert code == 2
    assert "in the world's own folder" in told


def test_ticks_are_not_missed_while_snapshots_and_branches_are_made(
    server: Any, tmp_path: Path
) -> None:
    async def scene() -> tuple[int, float]:
        async with AsyncClient(server.url) as client:
            first, begun = (await client.ping()).tick, time.monotonic()
            for n in range(5):
                await asyncio.to_thread(ask, server, "snapshot", "again", "--replace")
                await asyncio.to_thread(ask, server, "branch", tmp_path / f"b{n}")
            return (await client.ping()).tick - first, time.monotonic() - begun

    lived, seconds = asyncio.run(scene())
    assert lived >= 15 * seconds - 5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("load", "never-taken"), "there is no snapshot 'never-taken'"),
        (("snapshot", "never-taken", "--remove"), "there is no snapshot 'never-taken'"),
        (("snapshot", "Über"), "can't be a snapshot's name"),
        (("snapshot", "--remove"), "which snapshot?"),
        (("branch", "/nowhere/at/all", "--snapshot", "never-taken"), "there is no snapshot"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_mend(
    server: Any, words: tuple[str, ...], says: str
) -> None:
    code, told = command(*words, "--http", server.http)
    assert code == 2
    assert says in told


def test_a_name_that_is_taken_is_refused_and_what_is_listed_can_be_removed(server: Any) -> None:
    first = ask(server, "snapshot", "mine")
    code, told = command("snapshot", "mine", "--http", server.http)
    assert code == 2
    assert "already" in told
    second = ask(server, "snapshot", "mine", "--replace")
    assert second["tick"] > first["tick"]
    listed = ask(server, "snapshot", "--list")
    assert second in listed["snapshots"]
    assert first not in listed["snapshots"]
    left = ask(server, "snapshot", "mine", "--remove")
    assert "mine" not in [row["name"] for row in left["snapshots"]]
    assert not list((server.data / "snapshots").glob("*mine*"))


def test_a_served_folder_is_not_touched_from_beside(server: Any) -> None:
    code, told = command("snapshot", "beside", "--data", server.data)
    assert code != 0
    assert "is held by another Greenroom" in told


@pytest.fixture
def lived(tmp_path: Path) -> Path:
    """A folder with a world of 40 ticks that nobody serves."""
    opened = worlds.open_world(tmp_path / "w", seed=3)
    live(opened, 40)
    opened.store.close()
    return tmp_path / "w"


def live(opened: worlds.OpenWorld, ticks: int, first: Sequence[Input] = ()) -> None:
    for n in range(ticks):
        result = opened.world.step(first if n == 0 else [])
        assert not result.rejections
        opened.store.append(record_of(result, opened.world.epoch), timeout=10)


def test_a_folder_that_nobody_serves_is_kept_and_loaded(lived: Path) -> None:
    assert command("snapshot", "forty", "--data", lived)[0] == 0
    opened = worlds.open_world(lived)
    live(opened, 10)
    opened.store.close()
    code, told = command("load", "forty", "--data", lived, "--json")
    assert code == 0, told
    assert json.loads(told) == {"name": "forty", "tick": 40, "epoch": 3, "left": 50}
    again = worlds.open_world(lived)
    assert (again.world.tick, again.world.epoch) == (40, 4)
    live(again, 10)
    again.store.close()
    assert replay(lived, again.ruleset).ticks == 50


def test_one_snapshot_more_than_there_may_be_is_refused(
    lived: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENROOM_WORLD__SNAPSHOTS", "2")
    for name in ("a", "b"):
        assert command("snapshot", name, "--data", lived)[0] == 0
    code, told = command("snapshot", "c", "--data", lived)
    assert code == 1
    assert "2 snapshots are kept" in told
    assert command("snapshot", "b", "--data", lived, "--replace")[0] == 0


def test_a_snapshot_lived_by_other_rules_is_not_loaded(lived: Path) -> None:
    opened = worlds.open_world(lived)
    opened.store.update_meta(ruleset_digest="other", mod_versions={"owls": "2.0"})
    opened.store.close()
    assert command("snapshot", "owls", "--data", lived)[0] == 0
    code, told = command("load", "owls", "--data", lived)
    assert code == 2
    assert "other rules (owls 2.0)" in told


def test_diff_names_where_a_branch_went_another_way(lived: Path, tmp_path: Path) -> None:
    assert command("branch", tmp_path / "other", "--data", lived)[0] == 0
    code, told = command("diff", lived, tmp_path / "other", "--json")
    assert code == 0, told
    assert json.loads(told)["same"] is True
    opened = worlds.open_world(lived)
    entity = next(e for e, name in opened.world.names.items() if name == "Marta Kell")
    columns = opened.world.columns
    row = columns.row_of(entity)
    spot = {"x": int(columns.x[row]) + 700, "y": int(columns.y[row])}
    live(opened, 5)
    opened.store.close()
    opened = worlds.open_world(tmp_path / "other")
    live(opened, 3, [Input("move", entity, f"npc:{entity}", 1, spot)])
    opened.store.close()
    code, told = command("diff", lived, tmp_path / "other", "--json")
    assert code == 1
    found = json.loads(told[: told.rindex("}") + 1])
    assert found["difference"]["tick"] == 41
    assert found["difference"]["entity"] == entity
    code, told = command("diff", lived, tmp_path / "other")
    assert code == 1
    for words in ("tick 41", f"'npc:{entity}'", "is a branch of", "goal_x"):
        assert words in told


def test_a_tick_past_the_end_is_no_tick_to_replay_to(lived: Path) -> None:
    code, told = command("replay", lived, "--until", 41)
    assert code == 2
    assert "the last in the journal is 40" in told
    assert command("replay", lived, "--until", 17)[0] == 0


def test_a_run_is_not_compared_with_itself(lived: Path) -> None:
    code, told = command("diff", lived, lived)
    assert code == 2
    assert "same folder" in told


def test_a_folder_that_no_system_can_name_is_none_to_branch_into() -> None:
    with pytest.raises(ValidationError):
        MakeBranch(folder="worlds/\0dry")


def test_a_world_that_comes_to_no_halt_goes_on_however_busy_it_is(
    lived: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Busy:
        """Takes a hold and never comes to it; takes the release at the fourth try."""

        tries = 0

        def hold(self, on_held: Callable[[], None]) -> bool:
            return True

        def release(self) -> bool:
            self.tries += 1
            return self.tries == 4

        def load(self, *_what: Any) -> None:
            raise AssertionError("it was not held")

    monkeypatch.setattr(saves, "HOLD_S", 0.2)
    ruleset = load_builtin_and_installed().ruleset()
    with Store.open(lived) as store:
        busy = Busy()
        kept = saves.Saves(store, ruleset, busy)
        kept.take(TakeSnapshot(name="before"))
        with pytest.raises(LimitError, match="too busy"):
            kept.load("before")
        assert busy.tries == 4
        assert store.epoch == kept.list().snapshots[0].epoch
