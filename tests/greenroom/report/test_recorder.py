"""A run's record is bounded, adds up, and is the same however it was thinned."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from greenroom.report import RunRecorder, write_report
from greenroom.report import recorder as module
from greenroom.report.recorder import MOST_SAMPLES, TRAIL_POINTS, _StepTimes
from greenroom.report.run import EventRow
from greenroom.report.telling import clock, told
from greenroom.scenes import find
from plugins.manager import build_ruleset
from world.events import Event
from world.scene import compile_scene, load
from world.world import World

TICKS = 700


@pytest.fixture(scope="module")
def world() -> World:
    rules = build_ruleset()
    return World(compile_scene(load(find("valley")), rules.species), rules, 7)


@pytest.fixture(scope="module")
def recorder(world: World) -> RunRecorder:
    recorder = RunRecorder(world)
    for tick in range(TICKS):
        result = world.step()
        recorder.sample(world.frame(), 0.5 + 0.001 * (tick % 100), result.events)
    return recorder


def test_every_tick_is_counted_once(recorder: RunRecorder, world: World) -> None:
    run = recorder.data()
    assert run.last_tick - run.first_tick == TICKS == int(run.series.ticks.sum())
    assert run.series.tick[-1] == world.tick
    assert (np.diff(run.series.tick) > 0).all()


def test_the_population_is_the_worlds(recorder: RunRecorder, world: World) -> None:
    run = recorder.data()
    names = [look.name for look in run.species]
    frame = world.frame()
    living = frame.species[(frame.flags & 2) == 0]
    assert run.series.population[-1].sum() == len(living)
    assert run.series.population[-1][names.index("wolf")] == (living == names.index("wolf")).sum()


def test_levels_are_within_the_worlds_bounds(recorder: RunRecorder) -> None:
    levels = recorder.data().series.levels
    assert (levels["mood_low"] <= levels["mood"]).all()
    assert (levels["mood"] <= levels["mood_high"]).all()
    for need in ("hunger", "fatigue", "fear"):
        assert ((levels[need] >= 0) & (levels[need] <= 1000)).all()
    assert levels["hunger"].any()


def test_the_rare_are_followed_and_all_leave_footsteps(recorder: RunRecorder, world: World) -> None:
    run = recorder.data()
    species = {run.species[trail.species].name for trail in run.trails}
    assert {"wolf", "vampire"} <= species and "sheep" not in species
    assert all(len(trail.points) <= TRAIL_POINTS for trail in run.trails)
    assert run.footfall.shape == world.tiles.shape and run.footfall.sum() > 100


def test_a_long_run_takes_no_more_room_and_its_sums_stay(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_SAMPLES", 40)
    recorder = RunRecorder(world)
    frame = world.frame()
    for tick in range(1_000):
        recorder.sample(frame, 1.0, [Event(tick, "ate", 1)] * (tick % 3))
    assert recorder.samples <= 40 < MOST_SAMPLES
    series = recorder.data().series
    assert int(series.ticks.sum()) == 1_000
    assert int(series.events["ate"].sum()) == sum(tick % 3 for tick in range(1_000))
    assert set(series.ticks[:-1].tolist()) == {32}


def test_kinds_of_events_are_bounded(world: World) -> None:
    recorder = RunRecorder(world)
    events = [Event(1, f"kind_{n}", 1) for n in range(500)]
    recorder.sample(world.frame(), 1.0, events)
    totals = recorder.data().event_totals
    assert len(totals) <= module.MOST_KINDS + 1
    assert sum(totals.values()) == 500


def test_step_times_are_told_to_within_five_percent() -> None:
    times = _StepTimes()
    for n in range(1, 1_001):
        times.add(n / 100)
    summary = times.summary()
    assert summary["p50"] == pytest.approx(5.0, rel=0.06)
    assert summary["p99"] == pytest.approx(9.9, rel=0.06)
    assert summary["max"] == 10.0
    assert summary["mean"] == pytest.approx(5.005)


def test_nothing_recorded_is_nothing_to_report(world: World) -> None:
    with pytest.raises(ValueError, match="nothing was recorded"):
        RunRecorder(world).data()


def test_moments_are_told_by_name(world: World) -> None:
    recorder = RunRecorder(world)
    frame = world.frame()
    wolf = next(i for i, name in world.names.items() if name == "Torn Ear")
    deer = int(frame.id[frame.species == world.ruleset.species_names.index("deer")][0])
    died = Event(5, "died", deer, wolf, {"by": wolf})
    recorder.sample(frame, 1.0, [died, Event(5, "ate", wolf)])
    moments = recorder.data().moments
    assert moments == (EventRow(5, "died", "a deer", "Torn Ear"),)
    assert told(moments[0]) == "Torn Ear killed a deer"


@pytest.mark.parametrize(
    ("moment", "clause"),
    [
        (EventRow(1, "died", "Sable", ""), "Sable died"),
        (EventRow(1, "downed", "Orla", "Sable"), "Sable felled Orla"),
        (EventRow(1, "recovered", "Orla", ""), "Orla recovered"),
        (EventRow(1, "dam_broken", "Piet", "the dam lever"), "Piet broke the dam"),
        (EventRow(1, "order", "", "Orla"), "a group was sent at Orla"),
    ],
)
def test_moments_are_told_in_words(moment: EventRow, clause: str) -> None:
    assert told(moment) == clause


def test_the_first_tick_is_six_in_the_morning_of_the_first_day() -> None:
    assert clock(0, 24_000) == "day 1, 06:00"
    assert clock(18_000, 24_000) == "day 2, 00:00"


# The files


@pytest.fixture(scope="module")
def written(recorder: RunRecorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    out = tmp_path_factory.mktemp("run") / "deep" / "down"
    recorder.write(out)
    yield out


@pytest.mark.parametrize(
    ("name", "size"), [("map.png", (1904, 1540)), ("charts.png", (1950, 1352))]
)
def test_pictures_have_their_size_and_many_colours(
    written: Path, name: str, size: tuple[int, int]
) -> None:
    with Image.open(written / name) as picture:
        assert picture.size == size
        pixels = np.asarray(picture.convert("RGB"))
    colours = np.unique((pixels // 16).astype(int) @ [256, 16, 1])
    assert len(colours) > 40
    assert pixels.std() > 10


def test_the_map_shows_water_wood_and_roofs(written: Path) -> None:
    with Image.open(written / "map.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    assert ((blue > red + 35) & (blue > 120)).mean() > 0.01, "the river"
    assert ((green > red + 15) & (green > blue + 25)).mean() > 0.05, "the woods"
    assert ((red > green + 45) & (red > blue + 55)).mean() > 0.003, "the roofs"


def test_the_json_agrees_with_the_record(recorder: RunRecorder, written: Path) -> None:
    content = json.loads((written / "report.json").read_text())
    run = recorder.data()
    assert content["ticks"] == TICKS and content["seed"] == run.seed
    assert content["state_hash"] == run.state_hash
    assert content["events"] == dict(run.event_totals)
    assert content["population"]["wolf"]["first"] == 7
    assert len(content["series"]["tick"]) == len(run.series.tick)
    assert len(content["final"]) == len(run.final_names)
    isaura = next(one for one in content["final"] if one["name"] == "Lady Isaura")
    assert isaura["species"] == "vampire" and 0 <= isaura["x"] < 192


def test_the_page_carries_its_pictures_and_asks_nothing_of_a_network(written: Path) -> None:
    text = (written / "report.html").read_text()
    assert text.count("data:image/png;base64,") == 2
    assert "http://" not in text and "https://" not in text and "<script" not in text
    assert not list(written.glob("*.part"))


def test_a_run_without_events_or_people_can_be_drawn(recorder: RunRecorder, tmp_path: Path) -> None:
    run = recorder.data()
    empty = np.zeros(0, dtype=np.int64)
    bare = dataclasses.replace(
        run,
        series=dataclasses.replace(
            run.series,
            tick=run.series.tick[:1],
            ticks=run.series.ticks[:1],
            population=run.series.population[:1] * 0,
            levels={name: values[:1] for name, values in run.series.levels.items()},
            events={},
            step_mean=run.series.step_mean[:1],
            step_max=run.series.step_max[:1],
        ),
        event_totals={},
        moments=(),
        final_species=empty,
        final_x=empty,
        final_y=empty,
        final_dead=empty.astype(bool),
        final_names=(),
        footfall=run.footfall * 0,
        trails=(),
        tiles=run.tiles[:20, :30],
        places=(),
    )
    content = write_report(bare, tmp_path)
    assert content["events"] == {} and (tmp_path / "map.png").stat().st_size > 10_000
