"""A served world, end to end over real sockets: speech, acts, restarts, broken models."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from engine_bridge.client import AsyncClient
from models import house
from plugins.manager import load_builtin_and_installed
from world.inputs import Input
from world.replay import replay
from world.store.reader import Reader

LINE = "Good evening. What news of the wolves?"


def engine(http: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{http}/api/status", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)["models"]["rungs"]["local"]
    return found


def wait_engine(http: str, *states: str) -> dict[str, Any]:
    until = time.monotonic() + 90
    while (found := engine(http))["state"] not in states:
        assert time.monotonic() < until, found
        time.sleep(0.2)
    return found


async def speak(url: str, lines: tuple[str, ...] = (LINE,)) -> list[tuple[str, Any]]:
    """Say the lines to the innkeeper; the streamed text and the finished answer of each."""
    answers = []
    async with AsyncClient(url) as client:
        await client.join("Ann")
        marta = (await client.approach("Marta Kell")).id
        for line in lines:
            speech = client.say(marta, line)
            streamed = "".join([piece async for piece in speech])
            answers.append((streamed, await speech.done()))
        await client.leave()
    return answers


def test_with_no_model_an_answer_still_comes_and_says_that_it_is_a_reflex(
    served: Any, tmp_path: Path
) -> None:
    with served(tmp_path / "world", "--no-models") as server:
        [(_, done)] = asyncio.run(speak(server.url))
        assert done.source == "reflex"
        assert done.text
        assert server.stop() == 0


@pytest.mark.engine
def test_the_house_model_answers_and_what_was_lived_replays_hash_for_hash(
    served: Any, tmp_path: Path
) -> None:
    data = tmp_path / "world"
    with served(data) as server:
        wait_engine(server.http, "ready")
        answers = asyncio.run(speak(server.url, (LINE, "How much is a bed?", "Farewell.")))
        assert server.stop() == 0
        assert "Traceback" not in server.log
    by_model = [done for _, done in answers if house.NAME in done.source]
    assert by_model, [done for _, done in answers]
    for streamed, done in answers:
        assert done.text
        assert streamed == "" or done.source == "reflex" or done.text.startswith(streamed[:8])
    result = replay(data, load_builtin_and_installed().ruleset())
    assert result.first_difference is None, result.reason
    with Reader.open(data) as reader:
        records = list(reader.records(reader.checkpoints()[0], None))
    said = [
        given.body["text"]
        for record in records
        for given in map(Input.unpack, record.inputs)
        if given.kind == "say"
    ]
    assert LINE in said
    assert answers[0][1].text in said


@pytest.mark.engine
def test_an_engine_killed_while_it_speaks_comes_back_and_the_game_goes_on(
    served: Any, tmp_path: Path
) -> None:
    with served(tmp_path / "world") as server:
        first = wait_engine(server.http, "ready")

        async def scene() -> tuple[Any, int, int]:
            async with AsyncClient(server.url) as client:
                await client.join("Ann")
                marta = (await client.approach("Marta Kell")).id
                before = (await client.ping()).tick
                speech = client.say(marta, "Tell me everything about the old flood, please.")
                async for _ in speech:
                    os.kill(first["pid"], signal.SIGKILL)
                    break
                done = await speech.done()
                await asyncio.sleep(1.0)
                after = (await client.ping()).tick
                return done, before, after

        done, before, after = asyncio.run(scene())
        assert done.text
        assert after > before
        again = wait_engine(server.http, "ready")
        assert again["pid"] != first["pid"]
        answers = asyncio.run(
            speak(server.url, ("Hello again.", "What do you know of the wolves?"))
        )
        assert any(house.NAME in done.source for _, done in answers)
        assert server.stop() == 0


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["missing", "truncated", "not a GGUF"])
def test_a_model_file_that_is_no_use_is_named_and_reflexes_answer(
    served: Any, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "broken.gguf"
    if kind == "truncated":
        file.write_bytes(house.path().read_bytes()[:200_000])
    elif kind == "not a GGUF":
        file.write_bytes(b"PK\x03\x04 this is something else" * 100)
    with served(tmp_path / "world", "--model", str(file)) as server:
        found = wait_engine(server.http, "failed")
        assert "broken.gguf" in found["error"]
        [(_, done)] = asyncio.run(speak(server.url))
        assert done.source == "reflex"
        assert "broken.gguf" in server.log
        assert server.stop() == 0


def test_the_readmes_ten_lines_talk(served: Any, tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert block is not None
    with served(tmp_path / "world", "--no-models") as server:
        code = block[1].replace("ws://127.0.0.1:8765", server.url)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith((".", "!", "?"))


def test_a_world_in_use_is_not_opened_twice(served: Any, tmp_path: Path) -> None:
    data = tmp_path / "world"
    with served(data, "--no-models"), pytest.raises(AssertionError, match="storage_busy"):
        served(data, "--no-models")


def test_the_world_is_taken_up_where_it_was_left(served: Any, tmp_path: Path) -> None:
    data = tmp_path / "world"
    with served(data, "--no-models") as server:
        time.sleep(1.0)
        assert server.stop() == 0
    with Reader.open(data) as reader:
        head = reader.head()
    assert head is not None
    with served(data, "--no-models") as server:
        assert server.first_tick == head[0]
