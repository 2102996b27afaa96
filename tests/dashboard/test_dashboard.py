"""The dashboard in a real browser: the living map, the panels, a talk, a server that goes and comes back."""

from __future__ import annotations

import re
import signal
from typing import Any

import pytest

from models import house

pytestmark = pytest.mark.chromium

ALIVE = "Number(document.querySelector('#count').textContent)"
LIVE = "document.querySelector('#line').dataset.state === 'live'"


def opened(tab: Any, server: Any, **how: Any) -> Any:
    page = tab(**how)
    page.open(server.pages)
    page.until(f"{LIVE} && {ALIVE} > 0")
    return page


def colours(page: Any, selector: str) -> int:
    """How many different colours a canvas shows, of a sample of its pixels."""
    return int(
        page.run(
            f"""(() => {{
              const canvas = document.querySelector('{selector}');
              const {{ data }} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
              const seen = new Set();
              for (let at = 0; at < data.length; at += 4 * 97) {{
                seen.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
              }}
              return seen.size;
            }})()"""
        )
    )


def choose(page: Any, name: str) -> None:
    page.run("document.querySelector('#find').focus()")
    page.type(name)
    page.press("Enter", 13, "\r")
    page.until(f"document.querySelector('#chosen-name').textContent === '{name}'")


def test_the_page_loads_shows_the_valley_and_complains_of_nothing(server: Any, tab: Any) -> None:
    page = opened(tab, server)

    page.until("document.querySelector('#scene').textContent === 'valley'")
    page.until("document.querySelectorAll('#people-list li').length >= 12")
    page.until("document.querySelectorAll('#population li').length >= 4")
    page.until("document.querySelector('#tick-note').textContent.includes('missed')")
    assert page.run(ALIVE) > 20
    assert page.text("#time") in ("dawn", "morning", "noon", "afternoon", "evening", "night")
    assert page.complaints == []


def test_the_map_is_painted_and_the_world_goes_on(server: Any, tab: Any) -> None:
    page = opened(tab, server)

    page.until("document.querySelector('#tick').textContent !== '0'")
    before = page.text("#tick")
    page.until(f"document.querySelector('#tick').textContent !== {before!r}")
    page.until("document.querySelector('#map').width > 300")
    # Ground of a dozen kinds, shaded: a blank or flat canvas has a handful of colours.
    assert colours(page, "#map") > 200
    assert colours(page, "#tick-chart") > 2


def test_a_visitor_says_something_and_reads_the_reply(server: Any, tab: Any) -> None:
    page = opened(tab, server)
    choose(page, "Marta Kell")
    page.until("!document.querySelector('#talk').hidden")
    page.until("document.querySelector('#chosen-kind').textContent.includes('innkeeper')")

    page.run("document.querySelector('#talk-text').focus()")
    page.type("Good evening! Is there a bed for the night?")
    page.press("Enter", 13, "\r")

    page.until("document.querySelector('#talk-lines small') !== null", 90.0)
    said, answer = page.run(
        "[...document.querySelectorAll('#talk-lines li')].map((line) => line.firstChild.textContent)"
    )
    assert said == "Good evening! Is there a bed for the night?"
    assert answer
    assert "first word after" in page.text("#talk-lines small")
    page.click("#tab-voices")
    page.until("document.querySelector('#voices-list').textContent.includes('a bed for the night')")
    assert page.complaints == []

    page.click("#go")
    page.click("#tab-people")
    page.run("document.querySelector('#find').value = 'Visitor'")
    page.until("!document.querySelector('#people-list').textContent.includes('Visitor')")


def test_a_guarded_server_asks_for_its_token_and_then_talks(guarded: Any, tab: Any) -> None:
    page = tab()
    page.open(guarded.pages)
    page.until("!document.querySelector('#key').hidden")

    page.type("the stage door is shut")
    page.press("Enter", 13, "\r")
    page.until("!document.querySelector('#key').hidden && document.activeElement.id === 'token'")
    page.run("document.querySelector('#token').value = ''")
    page.type("the stage door is open")
    page.press("Enter", 13, "\r")

    page.until(f"{LIVE} && {ALIVE} > 0")
    choose(page, "Marta Kell")
    page.until("!document.querySelector('#talk').hidden")
    page.run("document.querySelector('#talk-text').focus()")
    page.type("Who mends the roof?")
    page.press("Enter", 13, "\r")
    page.until("document.querySelector('#talk-lines small') !== null", 90.0)
    assert "scripted (no model)" in page.text("#talk-lines small")
    page.click("#tab-engine")
    page.until("document.querySelector('#engine-facts').textContent.includes('scripted')")


@pytest.mark.engine
def test_the_engine_tab_tells_who_answers_now_and_how_the_engine_does(
    thinking: Any, tab: Any
) -> None:
    page = opened(tab, thinking)
    choose(page, "Marta Kell")
    page.until("!document.querySelector('#talk').hidden")
    page.run("document.querySelector('#talk-text').focus()")
    page.type("Good evening!")
    page.press("Enter", 13, "\r")
    page.until("document.querySelector('#talk-lines small') !== null", 90.0)
    page.click("#let-go")

    page.click("#tab-engine")
    row = "[...document.querySelectorAll('#rungs tbody tr')].find((row) => /speech/.test(row.innerText))"
    page.until(f"{row} !== undefined")
    page.until("document.querySelector('#rungs').textContent.includes('saved')")
    of, *times = page.run(f"[...{row}.cells].map((cell) => cell.innerText)")
    assert of.split("\n") == ["Player speech", "1 answer"]
    assert [re.fullmatch(r"[\d.]+ m?s", each) is not None for each in times] == [True] * 4
    engine = page.text("#rungs")
    assert " a step" in engine and " waiting, " in engine and "none · 0 cohort switches" in engine
    told = page.text("#engine-facts")
    assert f"{house.NAME} {house.VERSION} (llama.cpp) answers now" in told
    assert "local (ready), second (ready)" in told
    assert "1 text by hashed-ngrams 1" in told

    thinking.router.enable("local", False)
    page.until("document.querySelector('#engine-facts').textContent.includes('local (off)')")
    assert "scripted (no model) answers now" in page.text("#engine-facts")
    thinking.router.enable("second", False)
    page.until("document.querySelector('#engine-facts').textContent.includes('reflexes do')")
    assert page.complaints == []


def test_the_keyboard_alone_finds_people_and_tabs(server: Any, tab: Any) -> None:
    page = opened(tab, server)
    page.until("document.querySelectorAll('#people-list li').length >= 12")

    page.run("document.querySelector('#map').focus()")
    page.press("n")
    first = page.until("document.querySelector('#chosen-name').textContent")
    page.press("n")
    page.until(f"document.querySelector('#chosen-name').textContent !== {first!r}")
    page.press("Escape", 27)
    page.until("document.querySelector('#chosen').hidden")

    page.run("document.querySelector('#tab-people').focus()")
    page.press("ArrowLeft", 37)
    page.until("!document.querySelector('#engine').hidden")
    page.until("document.querySelector('#actors').textContent.includes('Director')")
    assert page.run("document.activeElement.id") == "tab-engine"


def test_a_click_on_the_map_chooses_who_stands_there(server: Any, tab: Any) -> None:
    page = opened(tab, server)
    choose(page, "Orla Finch")
    page.until("document.querySelector('#chosen-facts').textContent.includes('temper')")
    page.click("#let-go")
    page.until("document.querySelector('#chosen').hidden")
    # The view went to her: she is in the middle, or has walked a few steps since.
    left, top, width, height = page.run(
        "(() => { const b = document.querySelector('#map').getBoundingClientRect();"
        "return [b.left, b.top, b.width, b.height]; })()"
    )

    for dy in range(-60, 61, 20):
        for dx in range(-60, 61, 20):
            page.click_at(left + width / 2 + dx, top + height / 2 + dy)
            if not page.run("document.querySelector('#chosen').hidden"):
                assert page.text("#chosen-name")
                return
    pytest.fail("nobody could be chosen by clicking")


@pytest.mark.parametrize(("width", "height"), [(390, 844), (820, 1180)])
def test_on_small_screens_nothing_is_cut_off_at_the_side(
    width: int, height: int, server: Any, tab: Any
) -> None:
    page = opened(tab, server, width=width, height=height)

    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run("document.querySelector('#map').getBoundingClientRect().height") > 300


def test_by_night_the_page_is_dark_and_by_day_it_is_light(server: Any, tab: Any) -> None:
    brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"

    assert opened(tab, server, dark=True).run(brightness) < 60
    assert opened(tab, server, dark=False).run(brightness) > 200


def test_when_the_server_goes_the_page_says_so_and_finds_it_again(serve: Any, tab: Any) -> None:
    server = serve()
    page = opened(tab, server)
    tick = "Number(document.querySelector('#tick').textContent.replaceAll(',', ''))"
    page.until(f"{tick} > 20")

    server.process.send_signal(signal.SIGTERM)
    server.process.wait(30)
    page.until("document.querySelector('#line').dataset.state === 'lost'")
    before = page.run(tick)
    serve(again=server)

    page.until(f"{LIVE} && {tick} > {before}", 60.0)
    assert page.run(ALIVE) > 20
