"""The rows of the report: rounding, ratios, and no bound without a figure to hold it to."""

from __future__ import annotations

import pytest

from benchmarks.llm import rows
from benchmarks.llm.drive import Run, Speech, percentile_ms
from benchmarks.llm.greedy import first_difference
from benchmarks.llm.plan import Outcome, Plan, Report
from benchmarks.llm.results import lacking, row
from benchmarks.llm.sides import Answer
from greenroom.commands.bench import holds


def outcome(rate: float, read: int | None = None, **figures: float) -> Outcome:
    answers = [Answer("", 0.1 * at, 1.0, 32) for at in range(1, 11)]
    return Outcome(Run(answers, 10 / rate), read, figures)


def test_a_row_with_a_peer_has_its_ratio_and_its_bound() -> None:
    found = row("requests", "1/s", 12.3456, peer="other", peer_value=10.0, at_least=1.2)
    assert found == {
        "metric": "requests",
        "unit": "1/s",
        "value": 12.35,
        "peer": "other",
        "peer_value": 10.0,
        "ratio": 1.235,
        "at_least": 1.2,
    }
    assert holds(found) is True


def test_a_peer_that_was_not_measured_leaves_neither_ratio_nor_bound() -> None:
    found = row("requests", "1/s", 12.0, peer="other", at_least=1.2, note="it was not there")
    assert "ratio" not in found and "peer" not in found
    assert found["unmeasured"] == "other"
    assert holds(found) is None
    assert found["note"] == "it was not there"


def test_a_bound_without_a_peer_is_on_the_value() -> None:
    assert holds(row("valid", "share", 0.99, at_least=1.0)) is False
    assert holds(row("overhead", "share", 0.04, at_most=0.05)) is True


def test_the_bounds_are_those_that_were_promised() -> None:
    report, plan = Report(), Plan("250m", 1.0, 2)
    ours = outcome(10.0, 1100, busy_s=0.98, decode_s=0.96)
    peers = {rows.SERVER: outcome(5.0, 2000), rows.EXAMPLE: outcome(8.0)}
    for at_once in (1, 8, 32):
        rows.shared(report, plan, at_once, {rows.OURS: ours, **peers}, 1000)
    rows.distinct(report, plan, {rows.OURS: ours, rows.LOOP: outcome(1.0)}, 1000, None)
    rows.structured(report, plan, ours)
    by = {(one["metric"].partition(": ")[2], one.get("peer")): one for one in report.results}
    rate = "requests a second, shared personas, {} at once"
    assert "at_least" not in by[rate.format(1), rows.SERVER]
    assert by[rate.format(8), rows.SERVER]["at_least"] == 1.2
    assert by[rate.format(32), rows.SERVER]["at_least"] == 1.5
    assert by[rate.format(32), rows.EXAMPLE]["at_least"] == 1.0
    assert by["requests a second, distinct personas", rows.LOOP]["at_least"] == 5.0
    read = by["prompt tokens decoded, shared, 32 at once, greenroom", rows.FLOOR]
    assert (read["ratio"], read["at_most"]) == (1.1, 1.15)
    theirs = by["prompt tokens decoded, shared, 32 at once, llama-server", rows.FLOOR]
    assert (theirs["ratio"], holds(theirs)) == (2.0, None)
    free = by["engine overhead, free replies", None]
    assert (free["value"], free["at_most"]) == (0.02041, 0.05)
    asked = by["engine overhead, free replies, by the asker's clock", None]
    assert (asked["value"], asked["at_most"]) == (0.04, 0.05)
    assert by["engine overhead, structured replies", None]["at_most"] == 0.1
    assert by["valid structured replies at the first attempt", None]["at_least"] == 1.0
    assert report.missing == []


def test_overhead_is_promised_for_the_250m_model_and_only_told_of_the_others() -> None:
    report = Report()
    rows.structured(report, Plan("house", 1.0, 2), outcome(10.0, busy_s=0.9, decode_s=0.5))
    told = [one for one in report.results if "overhead" in one["metric"]]
    assert [one["value"] for one in told] == [0.4444, 0.5]
    assert all(holds(one) is None and "--only 250m" in one["note"] for one in told)


def test_what_the_engine_does_not_tell_is_listed_as_missing() -> None:
    report = Report()
    rows.structured(report, Plan("250m", 1.0, 2), outcome(10.0, busy_s=3.0))
    assert [one["what"] for one in report.missing] == ["250m: engine overhead, structured replies"]


def test_a_player_among_many_is_held_to_twice_the_wait_with_an_idle_engine() -> None:
    report = Report()
    ours = [Speech(0, [0.010] * 5, 5), Speech(1, [0.011] * 5, 5), Speech(128, [0.015] * 5, 5)]
    theirs = [Speech(0, [0.01], 5), Speech(1, [0.02], 5), Speech(128, [0.9], 5)]
    rows.speech(report, Plan("house", 1.0, 2), {rows.OURS: ours, rows.SERVER: theirs})
    bounded = [one for one in report.results if "at_most" in one]
    assert [(one["ratio"], one["at_most"]) for one in bounded] == [(1.5, 2.0)]
    assert [(one["side"], one["busy"]) for one in report.curve["house"]] == [
        (rows.OURS, 1),
        (rows.OURS, 128),
        (rows.SERVER, 1),
        (rows.SERVER, 128),
    ]


def test_arrivals_by_chance_are_told_as_waits_whole_answers_and_requests_served() -> None:
    report, plan = Report(), Plan("house", 1.0, 2)
    found = {rows.OURS: outcome(4.0), rows.LOOP: outcome(2.0)}
    rows.poisson(report, plan, "distinct", 5.0, found, (rows.LOOP, rows.SERVER))
    told = {one["metric"]: one for one in report.results if one.get("peer") == rows.LOOP}
    where = "distinct personas, Poisson 5/s"
    assert {metric: (one["value"], one["ratio"]) for metric, one in told.items()} == {
        f"house: p50 to the first token, {where}": (550.0, 1.0),
        f"house: p95 to the first token, {where}": (955.0, 1.0),
        f"house: p50 to the whole answer, {where}": (1000.0, 1.0),
        f"house: p95 to the whole answer, {where}": (1000.0, 1.0),
        f"house: requests a second served, {where}": (4.0, 2.0),
    }
    others = [one for one in report.results if one.get("peer") != rows.LOOP]
    assert len(others) == 5
    assert all("not compared with llama-server" in one["note"] for one in others)


def test_percentiles_are_in_milliseconds() -> None:
    assert percentile_ms([0.1, 0.2, 0.3], 50) == pytest.approx(200.0)
    assert percentile_ms([], 95) == 0.0


def test_an_opponent_compiled_for_less_is_noticed() -> None:
    ours = "CPU : SSE3 = 1 | AVX2 = 1 | AVX512 = 1 | AMX_INT8 = 0 | "
    assert lacking(ours, "CPU : SSE3 = 1 | AVX2 = 1 | AVX512 = 0 | ") == ["AVX512"]
    assert lacking(ours, ours) == []
    assert lacking(ours, "") == []


def test_the_first_differing_token_and_its_rivals_are_found() -> None:
    pieces = [b" the", b" wolf", b" wol", b"ves", b" is", b"\n"]
    assert first_difference(pieces, "the wolves", [0, 1, 4]) == (1, [2])
    assert first_difference(pieces, "the wolf", [0, 1]) is None
    # White space before the first word is trimmed from what an engine tells.
    assert first_difference(pieces, "the wolf is", [5, 0, 4]) == (2, [1, 2])
