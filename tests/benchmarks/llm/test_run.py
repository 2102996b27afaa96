"""Our side, measured for real on a tiny scale; the opponents as far as they can be had."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp")

from benchmarks.llm import drive, find, run, workload
from benchmarks.llm.loop import PlainLoop
from benchmarks.llm.measure import Deed
from benchmarks.llm.sides import Absent, Ours, Sizes
from benchmarks.llm.vocabulary import Tokens
from greenroom.commands.bench import holds
from models import grammar

SIZES = Sizes(threads=1, kept=8, each=768, at_once=7)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return find.model("house", tmp_path_factory.mktemp("models"))


@pytest.mark.engine
def test_our_side_reads_little_more_than_the_floor_and_always_writes_32_tokens(
    model: Path,
) -> None:
    tokens = Tokens(model)
    asked = workload.prompts(tokens.prompt, npcs=4, personas=2, count=4, seed=1)

    async def measured() -> tuple[drive.Run, int | None, list[bool], drive.Speech]:
        side = Ours(model, SIZES)
        await side.start()
        try:
            result = await drive.bursts(side, asked, 4)
            read = await side.read()
            most = grammar.longest_tokens(Deed)
            shaped = await drive.structured(side, asked[:2], 2, Deed, most)
            speech = await drive.speech(side, asked, asked[:2], busy=2, pause_s=0.0, limit_s=5.0)
            return result, read, [answer.valid for answer in shaped.answers], speech
        finally:
            await side.close()

    result, read, valid, speech = asyncio.run(measured())
    assert [answer.written for answer in result.answers] == [workload.REPLY_TOKENS] * 4
    assert all(0 < answer.first_s <= answer.total_s for answer in result.answers)
    assert read is not None and workload.floor(asked) <= read <= 1.15 * workload.floor(asked)
    assert valid == [True, True]
    assert (len(speech.first_s), speech.wanted) == (1, 1)


@pytest.mark.engine
def test_the_plain_loop_answers_with_the_tokens_that_text_is_compared_by(
    model: Path,
) -> None:
    tokens = Tokens(model)
    asked = workload.prompts(tokens.prompt, npcs=2, personas=1, count=2, seed=1)

    async def measured() -> tuple[drive.Run, tuple[list[float], float, float]]:
        loop = PlainLoop(model, SIZES)
        await loop.start()
        try:
            result = await drive.bursts(loop, asked, 2)
            best = result.answers[0].tokens[0]
            return result, await loop.logits(asked[0].tokens, [best, best + 1])
        finally:
            await loop.close()

    result, (values, spread, shift) = asyncio.run(measured())
    assert [len(answer.tokens) for answer in result.answers] == [workload.REPLY_TOKENS] * 2
    assert all(0 < answer.first_s < answer.total_s for answer in result.answers)
    assert tokens.text(result.answers[0].tokens)
    assert values[0] > values[1] and 0 < shift < spread


@pytest.mark.engine
def test_a_players_line_goes_before_the_requests_that_wait_for_the_plain_loop_already(
    model: Path,
) -> None:
    asked = workload.prompts(Tokens(model).prompt, npcs=4, personas=1, count=5, seed=1)

    async def measured() -> list[str]:
        loop, ended = PlainLoop(model, SIZES), list[str]()
        await loop.start()

        async def ask(at: int, *, urgent: bool = False) -> None:
            await loop.ask(asked[at], urgent=urgent)
            ended.append("line" if urgent else f"npc {at}")

        try:
            tasks = [asyncio.create_task(ask(at)) for at in range(4)]
            await asyncio.sleep(0.001)
            await asyncio.gather(*tasks, ask(4, urgent=True))
            return ended
        finally:
            await loop.close()

    assert asyncio.run(measured()) == ["npc 0", "line", "npc 1", "npc 2", "npc 3"]


@pytest.mark.engine
def test_what_nobody_waits_for_any_more_does_not_become_anothers_answer(model: Path) -> None:
    asked = workload.prompts(Tokens(model).prompt, npcs=3, personas=3, count=3, seed=1)

    async def measured() -> tuple[tuple[int, ...], tuple[int, ...]]:
        loop = PlainLoop(model, SIZES)
        await loop.start()
        try:
            alone = (await loop.ask(asked[2])).tokens
            left = [asyncio.create_task(loop.ask(prompt)) for prompt in asked[:2]]
            await asyncio.sleep(0.005)
            for task in left:
                task.cancel()
            return alone, (await loop.ask(asked[2])).tokens
        finally:
            await loop.close()

    alone, after = asyncio.run(measured())
    assert alone == after


@pytest.mark.engine
def test_a_whole_run_says_what_it_measured_and_what_it_could_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find.python_with.cache_clear()
    find.example_server.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LLAMA_SERVER_BIN", "nowhere/llama-server")
    monkeypatch.setenv("LLAMA_EXAMPLE_SERVER", "nowhere/server.py")
    report = run(only=["house"], scale=0.01, threads=1, chart=tmp_path / "img" / "curve.png")
    assert {"bench", "machine", "models", "opponents", "missing", "notes", "curve", "results"} < {
        *report
    }
    assert set(report["opponents"]) == {"greenroom", "llama_cpp.Llama"}
    gone = {one["what"]: one["reason"] for one in report["missing"]}
    assert "LLAMA_SERVER_BIN" in gone["llama-server"]
    assert "LLAMA_EXAMPLE_SERVER" in gone["llama-cpp-python example server"]
    by = {(one["metric"], one.get("peer")): one for one in report["results"]}
    assert by["house: requests a second, distinct personas", "llama_cpp.Llama"]["ratio"] > 0
    served = [metric for metric, peer in by if "served, distinct personas, Poisson" in metric]
    assert len(served) == 2, "against the loop, and alone where the servers would stand"
    alone = by["house: requests a second, shared personas, 8 at once", None]
    assert "not compared" in alone["note"] and holds(alone) is None
    read = by["house: prompt tokens decoded, distinct, greenroom", "computed floor"]
    assert 1.0 <= read["ratio"] <= read["at_most"]
    assert by["house: valid structured replies at the first attempt", None]["value"] == 1.0
    for kind in ("free", "structured"):
        for clock in ("", ", by the asker's clock"):
            assert by[f"house: engine overhead, {kind} replies{clock}", None]["value"] < 1.0
    assert by["house: greedy replies equal to the plain loop's", None]["note"]
    assert [(row["side"], row["busy"]) for row in report["curve"]["house"]] == [
        *(("greenroom", 1), ("greenroom", 4)),
        *(("llama_cpp.Llama", 1), ("llama_cpp.Llama", 4)),
    ]
    assert all(0 < row["n"] <= row["wanted"] for row in report["curve"]["house"])
    waits = by["house: p95 to a player's first token, 4 NPCs busy", "llama_cpp.Llama"]
    assert waits["ratio"] > 0
    assert (tmp_path / "img" / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.engine
def test_only_the_phases_and_the_opponents_that_were_named_are_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    report = run(
        scale=0.01, threads=1, phase=["speech"], against=["loop"], lines=3, step_seconds=20.0
    )
    assert set(report["opponents"]) == {"greenroom", "llama_cpp.Llama"}
    assert all("first token" in row["metric"] for row in report["results"])
    assert {row["wanted"] for row in report["curve"]["house"]} == {3}
    left = {one["what"]: one["hint"] for one in report["missing"]}
    assert left == dict.fromkeys(
        ("llama-cpp-python example server, house", "llama-server, house"),
        "name it with --against",
    )


def test_an_opponent_that_is_not_there_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find.python_with.cache_clear()
    find.example_server.cache_clear()
    monkeypatch.setenv("LLAMA_EXAMPLE_SERVER", "nowhere/server.py")
    with pytest.raises(Absent, match=r"no_such_package.*greenroom\[bench\]"):
        find.python_with("no_such_package")
    with pytest.raises(Absent, match="no file"):
        find.example_server()
