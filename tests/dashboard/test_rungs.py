"""The Engine tab's figures of the local engines: the page's own module, fed what a router's status tells."""

from __future__ import annotations

import json
from typing import Any

import pytest

from models.latency import Latencies
from models.request import ModelRequest, Priority, Reply
from models.timings import Timings

pytestmark = pytest.mark.chromium

BUSY = {
    "asked": 12_000,
    "batch_fill": 1.396,
    "waiting": 2,
    "active": 5,
    "prefix_hit_rate": 0.934,
    "cached_tokens": 1_234_567,
    "adapters": 2,
    "adapter_switches": 9,
}
IDLE = dict.fromkeys(BUSY, 0)


def rung(engine: dict[str, Any], *answers: tuple[Priority, float, float, int]) -> dict[str, Any]:
    """A rung's status and its timings; answers are (class, first token s, each further s, tokens)."""
    latencies, timings = Latencies(), Timings()
    for priority, first, further, tokens in answers:
        request = ModelRequest([], "speech", priority=priority)
        reply = Reply(
            request.id,
            "",
            "",
            completion_tokens=tokens,
            first_token_s=first,
            total_s=first + further * (tokens - 1),
        )
        latencies.note(priority, reply)
        timings.note(request, reply)
    status = {"name": "tiny 1 (llama.cpp)", "engine": engine, "latency": latencies.status()}
    return {"status": status, "timings": timings.status()}


def at_engine_tab(server: Any, tab: Any, width: int) -> Any:
    page = tab(width=width, height=844)
    page.open(server.pages)
    page.click("#tab-engine")
    # From here on the page leaves the engines' figures alone: this server has no models.
    page.until("document.querySelector('#engine-facts').textContent.includes('reflexes')")
    return page


@pytest.fixture
def page(server: Any, tab: Any) -> Any:
    """A tab as narrow as a phone, at the Engine tab of a server without models."""
    return at_engine_tab(server, tab, 390)


def show(page: Any, **rungs: dict[str, Any]) -> None:
    ladder = {
        "kind": "router",
        "rungs": {label: each["status"] for label, each in rungs.items()},
        "timings": {label: each["timings"] for label, each in rungs.items()},
    }
    page.run(
        "(async () => { const { Rungs } = await import('/rungs.js');"
        f"new Rungs(document.querySelector('#rungs')).show({json.dumps(ladder)}); }})()"
    )


def cells(page: Any) -> list[list[str]]:
    """The rows of all tables of times, their first cell split off its count of answers."""
    found: list[list[str]] = page.run(
        "[...document.querySelectorAll('#rungs tbody tr')].map((row) =>"
        " [...row.cells].map((cell) => cell.innerText.replace('\\n', ': ')))"
    )
    return found


def test_a_server_without_models_shows_no_engine(page: Any) -> None:
    assert page.text("#rungs") == ""


def test_each_class_that_had_an_answer_has_its_row_in_units_that_fit(page: Any) -> None:
    show(
        page,
        local=rung(
            BUSY,
            (Priority.OFFSTAGE, 12.34, 1.25, 40),
            (Priority.SPEECH, 0.0312, 0.0059, 20),
            (Priority.SPEECH, 0.0312, 0.0059, 20),
            (Priority.BATTLE, 0.99996, 0.0, 1),
            (Priority.NEAR, 1.5, 0.00997, 3),
        ),
    )

    assert cells(page) == [
        ["Player speech: 2 answers", "31 ms", "31 ms", "5.9 ms", "5.9 ms"],
        ["Battle: 1 answer", "1.0 s", "1.0 s", "–", "–"],
        ["Near: 1 answer", "1.5 s", "1.5 s", "10 ms", "10 ms"],
        ["Off stage: 1 answer", "12 s", "12 s", "1.3 s", "1.3 s"],
    ]
    told = page.text("#rungs")
    assert "1.4 sequences a step" in told
    assert "2 waiting, 5 at work" in told
    assert "93% from memory · 1,234,567 tokens saved" in told
    assert "2 · 9 cohort switches" in told
    assert page.complaints == []


def test_an_engine_that_nobody_has_asked_is_quiet_and_has_no_cohorts_to_switch(page: Any) -> None:
    show(page, local=rung(IDLE))

    assert page.run("document.querySelector('#rungs dl').innerText").split() == [
        "adapters", "none", "·", "0", "cohort", "switches",
    ]  # fmt: skip
    assert "It has answered nothing yet." in page.text("#rungs")
    assert page.run("document.querySelector('#rungs table')") is None
    assert "p95" not in page.text("#rungs")


def test_several_engines_stand_under_their_own_names_and_one_needs_none(page: Any) -> None:
    answer = (Priority.SPEECH, 0.05, 0.01, 9)

    show(page, local=rung(BUSY, answer), big=rung(BUSY, answer), cold=rung(IDLE))
    heads = "[...document.querySelectorAll('#rungs h3')].map((head) => head.textContent)"
    assert page.run(heads) == [f"{name} tiny 1 (llama.cpp)" for name in ("local", "big", "cold")]
    assert len(cells(page)) == 2
    assert page.text("#rungs").count("within p95") == 1

    show(page, local=rung(BUSY, answer))
    assert page.run(heads) == []


def test_a_rung_that_tells_no_latency_has_no_block(page: Any) -> None:
    cloud = {"status": {"name": "cloud", "kind": "anthropic"}, "timings": Timings().status()}

    show(page, cloud=cloud)

    assert page.text("#rungs") == ""


@pytest.mark.parametrize("width", [360, 400, 1280])
def test_the_widest_figures_fit_without_scrolling_sideways(
    width: int, server: Any, tab: Any
) -> None:
    page = at_engine_tab(server, tab, width)

    show(page, local=rung(BUSY, *((priority, 0.888, 0.888, 40) for priority in Priority)))

    assert len(cells(page)) == len(Priority)
    inner, outer = page.run(
        "(() => { const box = document.querySelector('#rungs .scroll');"
        "return [box.scrollWidth, box.clientWidth]; })()"
    )
    assert inner <= outer
    assert page.run("document.documentElement.scrollWidth") <= width
