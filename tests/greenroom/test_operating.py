"""A served world, switched and scraped from outside: `greenroom models use`, and what /metrics tells."""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner, Result

from engine_bridge.client import AsyncClient
from engine_bridge.errors import RequestFailed
from greenroom.cli import app
from models import house

pytestmark = pytest.mark.engine

SMALL = ("--threads", "1", "--context", "2048", "--sequences", "4")
PAGE = Path(__file__).parents[2] / "docs" / "operating.md"


@pytest.fixture(scope="module")
def server(served: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One server for all: the valley and the house model, loaded."""
    with served(tmp_path_factory.mktemp("operating") / "world", "--local-only", *SMALL) as running:
        until = time.monotonic() + 120
        while ladder(running)["answering"][""] != "local":
            assert time.monotonic() < until, running.log
            time.sleep(0.2)
        yield running
        assert running.stop() == 0
        assert "Traceback" not in running.log


def use(server: Any, *words: str) -> Result:
    result: Result = CliRunner().invoke(app, ["models", "use", *words, "--http", server.http])
    return result


def ladder(server: Any, *words: str) -> dict[str, Any]:
    """What a command answers as JSON; `list` when none is named."""
    result = use(server, *(words or ("list",)), "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def say(url: str, lines: tuple[str, ...], **wanted: Any) -> list[str]:
    """Say the lines to the innkeeper; who made each answer."""

    async def scene() -> list[str]:
        async with AsyncClient(url) as client:
            await client.join("Ann")
            marta = (await client.approach("Marta Kell")).id
            sources = []
            for line in lines:
                speech = client.say(marta, line, **wanted)
                async for _ in speech:
                    pass
                sources.append((await speech.done()).source)
            await client.leave()
            return sources

    return asyncio.run(scene())


def scrape(server: Any) -> dict[str, Metric]:
    with urllib.request.urlopen(f"{server.http}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    found: dict[str, Metric] = {}
    for family in text_string_to_metric_families(text):
        assert family.name not in found, f"{family.name} is told twice"
        found[family.name] = family
    return found


def value(family: Metric, suffix: str = "", **labels: str) -> float:
    [found] = [
        sample.value
        for sample in family.samples
        if sample.name == family.name + suffix and sample.labels == labels
    ]
    return float(found)


def test_a_model_is_added_asked_first_switched_off_and_removed_by_commands(server: Any) -> None:
    added = ladder(server, "add", str(house.path()), "--as", "second", "--first", *SMALL)
    assert added["order"] == ["second", "local"]
    assert added["answering"][""] == "second"
    asked = scrape(server)["greenroom_model_requests"]
    before = {
        sample.labels["rung"]: sample.value
        for sample in asked.samples
        if sample.name.endswith("_total")
    }
    say(server.url, ("Good evening.", "How much is a bed?"))
    asked = scrape(server)["greenroom_model_requests"]
    assert value(asked, "_total", rung="second") >= before.get("second", 0.0) + 2
    assert ladder(server, "order", "local", "second")["answering"][""] == "local"
    assert ladder(server, "order", "second", "--for", "speech")["answering"]["speech"] == "second"
    off = ladder(server, "off", "second")
    assert off["answering"] == {"": "local", "speech": ""}
    assert say(server.url, ("Good evening.",)) == ["reflex"]
    shown = use(server, "list")
    assert "off (ready)" in shown.stderr and "speech: second" in shown.stderr
    assert "nobody can answer: reflexes do" in shown.stderr
    assert ladder(server, "on", "second")["answering"]["speech"] == "second"
    assert ladder(server, "reset", "speech")["routes"] == {}
    gone = ladder(server, "remove", "second")
    assert [rung["label"] for rung in gone["rungs"]] == ["local"]
    assert "rung added" in server.log and "rung removed" in server.log


def asked_of(server: Any, rung: str) -> float:
    family = scrape(server)["greenroom_model_requests"]
    return sum(
        each.value
        for each in family.samples
        if each.name.endswith("_total") and each.labels["rung"] == rung
    )


def test_a_line_that_names_a_rung_is_answered_by_it(server: Any) -> None:
    assert (
        ladder(server, "add", str(house.path()), "--as", "aside", "--window", "300", *SMALL)[
            "order"
        ][0]
        == "local"
    )
    try:
        assert {rung["label"]: rung["window"] for rung in ladder(server)["rungs"]} == {
            "local": house.WINDOW, "aside": 300
        }  # fmt: skip
        before = asked_of(server, "aside")
        [source] = say(server.url, ("Good evening.",), backend="aside", cache="off")
        assert house.NAME in source
        assert asked_of(server, "aside") == before + 1
        with pytest.raises(RequestFailed, match="local, aside") as caught:
            say(server.url, ("Good evening.",), backend="cloud")
        assert (caught.value.code, bool(caught.value.hint)) == ("backend_refused", True)
    finally:
        ladder(server, "remove", "aside")


def test_a_tool_over_http_hears_the_rung_it_named_stream(server: Any) -> None:
    async def scene(text: str) -> str:
        async with AsyncClient(server.url) as client:
            await client.join("Ann")
            marta = (await client.approach("Marta Kell")).id
            d = {"to": marta, "text": text, "key": "h", "backend": "local"}
            asked = urllib.request.Request(
                f"{server.http}/api/request",
                data=json.dumps(
                    {"t": "say", "d": d, "session": client.welcome.resume_token}
                ).encode(),
                headers={"Content-Type": "application/json", "Accept": "text/event-stream"},
            )
            told = await asyncio.to_thread(lambda: urllib.request.urlopen(asked, timeout=60).read())
            return str(told.decode())

    sources = []
    # An answer of the model that fails the checks on speech is replaced by a reflex.
    for text in ("Good evening.", "What does a bed cost?", "Have you heard of any wolves?"):
        events = [part.splitlines() for part in asyncio.run(scene(text)).strip().split("\n\n")]
        assert {lines[0] for lines in events[:-1]} == {"event: session", "event: speech"}
        assert events[-1][0] == "event: done"
        sources.append(json.loads(events[-1][1].removeprefix("data: "))["source"])
        if house.NAME in sources[-1]:
            return
    raise AssertionError(f"the rung named never answered: {sources}")


def test_what_can_not_be_done_is_told_with_its_mend_and_changes_nothing(
    server: Any, tmp_path: Path
) -> None:
    before = ladder(server)["rungs"][0]["label"], ladder(server)["order"]
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(house.path().read_bytes()[:9000])
    for words, code, told in (
        (("add", str(broken)), 1, "model_file"),
        (("add", str(tmp_path / "none.gguf")), 1, "no such file"),
        (("add", str(house.path()), "--as", "local"), 2, "there is a rung 'local' already"),
        (("add", str(house.path()), "--as", "Not A Label"), 1, "label"),
        (("order", "local", "ghost"), 2, "unknown rungs"),
        (("order", "local", "--for", "speach"), 2, "the purposes are"),
        (("reset", "speech"), 2, "no route"),
        (("off", "ghost"), 2, "no rung 'ghost'"),
        (("remove", "ghost"), 2, "no rung 'ghost'"),
    ):
        result = use(server, *words)
        assert result.exit_code == code, (words, result.output)
        assert told in re.sub(r"\s+", " ", result.stderr), (words, result.stderr)
        assert "→" in result.stderr or code == 1
    assert (ladder(server)["rungs"][0]["label"], ladder(server)["order"]) == before


def test_the_actors_of_a_running_world_are_told_busiest_first(server: Any) -> None:
    words = ["inspect", "actors", "--http", server.http, "--limit", "3", "--over", "0.5"]
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    seen = json.loads(result.stdout)
    rates = [row["rate"] for row in seen["actors"]]
    assert len(rates) == 3 < seen["alive"]
    assert rates == sorted(rates, reverse=True)
    director = next(kind for kind in seen["kinds"] if kind["kind"] == "Director")
    assert director["handled"] > 0
    assert director["rate"] > 0
    assert director["longest_handler"] != ""
    by_name = CliRunner().invoke(app, [*words, "--sort", "name"])
    assert by_name.exit_code == 0
    assert "the first 3 by name" in by_name.output
    assert "Director" in by_name.output
    assert CliRunner().invoke(app, [*words, "--sort", "beauty"]).exit_code == 2


def test_nobody_there_is_wrong_usage() -> None:
    result = CliRunner().invoke(app, ["models", "use", "list", "--http", "http://127.0.0.1:9"])
    assert result.exit_code == 2 and "greenroom demo" in result.stderr


def test_the_models_are_told_as_real_metrics_that_agree_with_the_status(server: Any) -> None:
    sources = say(server.url, ("Good evening.", "What news of the wolves?", "Farewell."))
    assert any(house.NAME in source for source in sources), sources
    # The engine tells its figures twice a second.
    time.sleep(1.0)
    found = scrape(server)
    first = found["greenroom_model_first_token_seconds"]
    assert first.type == "histogram" and "first token" in first.documentation
    labels = {"rung": "local", "priority": "speech"}
    count = value(first, "_count", **labels)
    assert count >= 1
    buckets = [
        (float(sample.labels["le"]), sample.value)
        for sample in first.samples
        if sample.name.endswith("_bucket") and sample.labels["priority"] == "speech"
    ]
    assert buckets == sorted(buckets) and buckets[-1] == (float("inf"), count)
    assert 0 < value(first, "_sum", **labels) < 60 * count
    assert value(found["greenroom_model_token_seconds"], "_count", **labels) >= 1
    by_purpose = found["greenroom_model_request_seconds"]
    assert value(by_purpose, "_count", rung="local", purpose="speech") == count
    up = found["greenroom_model_rung_up"]
    assert (up.type, value(up, rung="local")) == ("gauge", 1.0)
    answering = found["greenroom_model_rung_answering"]
    assert value(answering, rung="local", purpose="") == 1.0
    with urllib.request.urlopen(f"{server.http}/api/status", timeout=20) as answer:
        status = json.load(answer)["models"]["rungs"]["local"]
    engine: Mapping[str, Any] = status["engine"]

    def total(name: str) -> float:
        family = found[f"greenroom_engine_{name}"]
        assert family.type == "counter" and family.documentation
        return value(family, "_total", rung="local")

    assert 0 < total("steps") <= engine["steps"]
    assert 0 < total("prompt_tokens_saved") <= engine["cached_tokens"]
    assert total("prompt_tokens_saved") < total("prompt_tokens") <= engine["prompt_tokens"]
    for name in (
        "adapter_switches", "steps_aborted", "restarts", "prefix_evictions", "prefix_spills",
        "prompts_trimmed", "completion_tokens", "preemptions", "decode_seconds",
    ):  # fmt: skip
        assert total(name) >= 0
    for name in ("queue_depth", "batch_fill_sequences", "prefix_hit_ratio", "adapters_refused"):
        gauge = found[f"greenroom_engine_{name}"]
        assert gauge.type == "gauge" and value(gauge, rung="local") >= 0
    assert 0 < value(found["greenroom_engine_prefix_hit_ratio"], rung="local") < 1
    assert not [name for name in found if name.startswith("greenroom_models_")]


def test_the_page_tells_of_every_metric_of_the_models_and_of_no_other(server: Any) -> None:
    told = set(re.findall(r"`(greenroom_(?:model|engine)_\w+?)`", PAGE.read_text(encoding="utf-8")))
    scraped = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in scrape(server).values()
        if family.name.startswith(("greenroom_model_", "greenroom_engine_"))
    }
    assert told == scraped
