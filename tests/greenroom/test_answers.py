"""The cache of answers as a server composes it: in front of the ladder, in the world's folder."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import ask as put

from engine_bridge.client import AsyncClient
from foundation.errors import UsageError
from greenroom import headless, minds
from greenroom.answers import FILE
from greenroom.app import App
from greenroom.minds import Minds, gather
from greenroom.settings import ModelSettings, Settings
from models import house
from models.request import Message, ModelRequest, Reply

LINE = "Good evening! What news of the wolves?"


def settings(folder: Path, **changed: Any) -> ModelSettings:
    """Small sizes; `folder` holds no embedding model, so that words are hashed."""
    values = {"cache": "live", "threads": 1, "context": 2048, "sequences": 4, "folder": folder}
    return ModelSettings(**{**values, "local_only": True, **changed})  # type: ignore[arg-type]


def ask(gathered: Minds, line: str = LINE, scope: str = "npc:1|x", **fields: Any) -> Reply:
    messages: list[Message] = [
        {"role": "system", "content": "You are Marta Kell, innkeeper of Alderford."},
        {"role": "user", "content": f'(evening; mood: calm; at: the inn)\n\nAnn says: "{line}"'},
    ]
    fields = {"max_tokens": 96, "temperature": 0.0, "deadline_s": 60.0, **fields}
    question = ModelRequest(messages, "speech", cache_scope=scope, cache_question=line, **fields)
    answer = put(gathered.backend, question)
    reply = answer.reply
    assert "".join(answer.pieces) == reply.text
    return reply


@pytest.fixture
def gathered() -> Iterator[Callable[..., Minds]]:
    """Gathers minds with a ready engine; all are closed."""
    made: list[Minds] = []

    def make(wanted: ModelSettings, cache_in: Path | None) -> Minds:
        found = gather(wanted, cache_in=cache_in)
        assert found is not None
        made.append(found)
        found.wait_ready(60.0)
        return found

    yield make
    for each in made:
        each.close()


def cache_of(found: Minds) -> dict[str, Any]:
    told = found.backend.status()["cache"]
    assert isinstance(told, dict)
    return told


@pytest.mark.engine
def test_a_cached_answer_survives_a_restart_in_the_worlds_folder(
    gathered: Callable[..., Minds], tmp_path: Path
) -> None:
    wanted = settings(tmp_path)
    first = gathered(wanted, tmp_path / "world")
    fresh = ask(first)
    assert fresh.source.startswith(house.NAME)
    assert ask(first, "good evening, what news of the wolves").source == f"cache: {fresh.source}"
    told = cache_of(first)
    assert (told["misses"], told["hits"], told["entries"]) == (1, 1, 1)
    assert ask(first, scope="").source == fresh.source
    assert ask(first, scope="npc:2|x").source == fresh.source
    first.close()
    assert (tmp_path / "world" / FILE).stat().st_size > 0
    again = gathered(wanted, tmp_path / "world")
    found = ask(again)
    assert (found.text, found.source) == (fresh.text, f"cache: {fresh.source}")
    again.close()
    # Another file under the same name, as when it was trained further.
    other = tmp_path / "other.gguf"
    other.write_bytes(house.path().read_bytes() + b"\0" * 64)
    changed = gathered(settings(tmp_path, file=other), tmp_path / "world")
    assert ask(changed).source == fresh.source
    assert cache_of(changed)["hits"] == 0


@pytest.mark.engine
def test_without_a_folder_there_is_no_cache_and_a_scope_means_nothing(
    gathered: Callable[..., Minds], tmp_path: Path
) -> None:
    found = gathered(settings(tmp_path), None)
    assert found.backend is found.router
    assert [ask(found).source.startswith(house.NAME) for _ in range(2)] == [True, True]
    assert "cache" not in found.backend.status()


@pytest.mark.engine
def test_a_file_that_cannot_be_opened_costs_only_the_memory(
    gathered: Callable[..., Minds], tmp_path: Path
) -> None:
    (tmp_path / FILE).mkdir()
    found = gathered(settings(tmp_path), tmp_path)
    ask(found)
    assert ask(found).source.startswith("cache: ")
    assert cache_of(found)["keeper"] == {"kind": "none"}


def test_an_embedder_that_was_never_added_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minds, "local_engine", lambda _: pytest.fail("the engine was started"))
    with pytest.raises(UsageError):
        gather(settings(tmp_path, embedding_model="minilm"), cache_in=tmp_path)


@pytest.mark.parametrize(
    ("cache", "live", "run"), [("off", False, False), ("live", True, False), ("always", True, True)]
)
def test_the_setting_says_where_the_cache_is_composed(
    cache: str, live: bool, run: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed: list[Path | None] = []

    class Enough(Exception):
        pass

    def gather(*_: object, cache_in: Path | None = None) -> None:
        composed.append(cache_in)
        raise Enough

    monkeypatch.setattr(minds, "gather", gather)
    models = settings(tmp_path, cache=cache)
    wanted = Settings(world={"data": tmp_path / "world"}, models=models)  # type: ignore[arg-type]
    with pytest.raises(Enough):
        App(wanted).start()
    request = headless.RunRequest("valley", 2, 7, None, models, tmp_path / "run")
    with pytest.raises(Enough):
        headless.simulate(request, lambda tick: None)
    assert [folder is not None for folder in composed] == [live, run]
    assert composed[0] in (None, tmp_path / "world")


def test_nothing_is_cached_unless_asked_for() -> None:
    assert Settings().models.cache == "off"


@pytest.mark.engine
def test_a_served_world_answers_openings_from_the_cache_and_tells_of_it(
    served: Any, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[models]\ncache = "live"\nembedding_model = "hashed"\nthreads = 1\n')
    data = tmp_path / "world"
    with served(data, "--config", str(file)) as server:
        told = wait_ready(server.http)
        assert (told["cache"]["misses"], told["cache"]["similarity"]) == (0, 0.95)

        async def visit(name: str) -> str:
            async with AsyncClient(server.url) as client:
                await client.join(name)
                marta = (await client.approach("Marta Kell")).id
                speech = client.say(marta, LINE)
                streamed = "".join([piece async for piece in speech])
                done = await speech.done()
                await client.leave()
            assert streamed == "" or done.source == "reflex" or done.text.startswith(streamed[:8])
            return str(done.source)

        sources = [asyncio.run(visit(f"Quib{n}")) for n in range(4)]
        # Whether a later one hits hangs on who walks by; that all were looked up does not.
        told = status(server.http)
        assert told["cache"]["hits"] + told["cache"]["misses"] == 4
        assert told["cache"]["hits"] == sum(each.startswith("cache: ") for each in sources)
        assert told["rungs"]["local"]["state"] == "ready"
        kept = told["cache"]["entries"]
        with urllib.request.urlopen(f"{server.http}/metrics", timeout=10) as answer:
            assert b"greenroom_answer_cache_hits_total " in answer.read()
        assert server.stop() == 0
        assert "Traceback" not in server.log
    with served(data, "--config", str(file)) as server:
        assert status(server.http)["cache"]["entries"] == kept > 0


def status(http: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{http}/api/status", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)["models"]
    return found


def wait_ready(http: str) -> dict[str, Any]:
    until = time.monotonic() + 90
    while (found := status(http))["rungs"]["local"]["state"] != "ready":
        assert time.monotonic() < until, found
        time.sleep(0.2)
    return found
