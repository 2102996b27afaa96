"""LoRA adapters on real llama.cpp: cohorts, KV that never crosses, and adapters that are no good."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asking import ask, request
from serving import ask_frame, served, texts

from models.errors import ModelError, RequestRefused
from models.llama.adapters import Adapters
from models.llama.settings import EngineSettings

pytestmark = pytest.mark.engine

Factory = Callable[..., Path]
Hosts = Callable[..., Any]

EXACT = EngineSettings(threads=1, n_ctx=2048, n_seq=16, n_parallel=16, exact=True, hold_ms=5.0)
STREAMS = EngineSettings(
    threads=1, n_ctx=8192, n_seq=16, n_parallel=15, exact=True, hold_ms=5.0, streams=True
)
in_both_memories = pytest.mark.parametrize("sizes", [EXACT, STREAMS], ids=["unified", "streams"])
"""Random weights make near ties, which the rounding of a shared batch could turn over."""

PERSONA = "You are Maud of Alderford. You know that the mill is haunted. " * 4


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from random_adapter import write_random_adapter

    folder = tmp_path_factory.mktemp("adapters")
    return {
        name: write_random_adapter(folder / f"{name}.gguf", seed=seed)
        for seed, name in enumerate(["wolf", "elf", "cook"])
    }


def say(host: Any, line: str, adapter: str) -> Any:
    return ask(host, request(line, system=PERSONA, adapter=adapter, max_tokens=24))


def loaded(host: Any) -> dict[str, str]:
    """What became of a host's adapters, once all are decided."""
    for _ in range(400):
        states: dict[str, str] = host.status()["adapters"]
        if "loading" not in states.values():
            return states
        time.sleep(0.05)
    raise AssertionError(f"still loading: {states}")


@in_both_memories
def test_what_was_read_under_one_adapter_is_never_used_under_another(
    gguf_factory: Factory, host_factory: Hosts, adapters: dict[str, Path], sizes: EngineSettings
) -> None:
    alone: dict[str, str] = {}
    for name in ("", *adapters):
        host = host_factory(gguf_factory(), settings=sizes)
        if name:
            host.add_adapter(name, adapters[name])
        alone[name] = say(host, "What do you fear?", name).reply.text
        host.close()
    assert len(set(alone.values())) == 4
    host = host_factory(gguf_factory(), settings=sizes)
    for name, path in adapters.items():
        host.add_adapter(name, path)
    one_by_one = {name: say(host, "What do you fear?", name).reply for name in alone}
    assert {name: reply.text for name, reply in one_by_one.items()} == alone
    assert {reply.cached_tokens for reply in one_by_one.values()} == {0}
    again = {name: say(host, "What do you fear?", name).reply for name in alone}
    assert {name: reply.text for name, reply in again.items()} == alone
    assert all(reply.cached_tokens == reply.prompt_tokens - 1 for reply in again.values())


@in_both_memories
def test_many_under_several_adapters_say_what_each_says_alone(
    gguf_factory: Factory, host_factory: Hosts, adapters: dict[str, Path], sizes: EngineSettings
) -> None:
    host = host_factory(gguf_factory(), settings=sizes)
    for name, path in adapters.items():
        host.add_adapter(name, path)
    asked = [(f"Question {n}?", name) for n in range(4) for name in ("", *adapters)]
    together = [say(host, line, name) for line, name in asked]
    texts = [recorder.reply.text for recorder in together]
    sources = [recorder.reply.source for recorder in together]
    assert [say(host, line, name).reply.text for line, name in asked] == texts
    assert sources[:4] == [
        "random (llama.cpp)", *(f"random + {name} (llama.cpp)" for name in adapters)
    ]  # fmt: skip


def test_an_adapter_nobody_registered_is_answered_by_the_bare_model(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    host = host_factory(gguf_factory(), settings=EXACT)
    bare = say(host, "What do you fear?", "").reply
    other = say(host, "What do you fear?", "ghost").reply
    assert (other.text, other.source) == (bare.text, bare.source)


def test_an_adapter_that_is_no_good_is_named_and_left_out(
    gguf_factory: Factory, host_factory: Hosts, adapters: dict[str, Path], tmp_path: Path
) -> None:
    from random_adapter import write_random_adapter

    broken = tmp_path / "broken.gguf"
    broken.write_bytes(adapters["wolf"].read_bytes()[:200])
    wrong = write_random_adapter(tmp_path / "wrong.gguf", width=32)
    foreign = write_random_adapter(tmp_path / "foreign.gguf", architecture="qwen2")
    host = host_factory(gguf_factory(), settings=EXACT)
    bad = {"broken": broken, "wrong": wrong, "foreign": foreign, "none": tmp_path / "none.gguf",
           "model": gguf_factory()}  # fmt: skip
    for name, path in {**bad, "wolf": adapters["wolf"]}.items():
        host.add_adapter(name, path)
    states = loaded(host)
    assert states["wolf"] == "loaded"
    for name, path in bad.items():
        assert path.name in states[name]
    assert say(host, "What do you fear?", "wolf").reply.source == "random + wolf (llama.cpp)"
    assert say(host, "What do you fear?", "wrong").reply.source == "random (llama.cpp)"


def told(host: Any, done: int) -> dict[str, Any]:
    """The engine's figures, once it has told of so many answers."""
    for _ in range(800):
        engine: dict[str, Any] = host.status()["engine"]
        if host.state == "ready" and engine.get("done") == done:
            return engine
        time.sleep(0.05)
    raise AssertionError(host.status())


def test_only_a_species_whose_adapter_was_left_out_misses_it_also_after_a_death(
    gguf_factory: Factory, host_factory: Hosts, adapters: dict[str, Path], tmp_path: Path
) -> None:
    host = host_factory(gguf_factory(), settings=EXACT)
    host.add_adapter("wolf", adapters["wolf"])
    host.add_adapter("elf", tmp_path / "none.gguf")
    assert loaded(host)["wolf"] == "loaded"
    asked = ("", "villager", "wolf", "elf", "villager")
    for species in asked:
        assert say(host, "What do you fear?", species).reply.text
    assert told(host, len(asked))["adapter_missing"] == 1
    os.kill(host.pid, signal.SIGKILL)
    assert told(host, 0)["adapter_missing"] == 0
    for species in asked:
        assert say(host, "What do you fear?", species).reply.text
    assert told(host, len(asked))["adapter_missing"] == 1


def test_names_that_share_a_file_share_what_was_read(
    gguf_factory: Factory, host_factory: Hosts, adapters: dict[str, Path]
) -> None:
    host = host_factory(gguf_factory(), settings=EXACT)
    host.add_adapter("guard", adapters["wolf"])
    host.add_adapter("hunter", adapters["wolf"])
    first = say(host, "What do you fear?", "guard").reply
    second = say(host, "What do you fear?", "hunter").reply
    assert second.text == first.text
    assert second.cached_tokens == second.prompt_tokens - 1


def test_a_new_adapter_of_the_same_name_takes_the_old_ones_place(
    gguf_factory: Factory, host_factory: Hosts, adapters: dict[str, Path]
) -> None:
    host = host_factory(gguf_factory(), settings=EXACT)
    host.add_adapter("wolf", adapters["wolf"])
    old = say(host, "What do you fear?", "wolf").reply
    host.add_adapter("wolf", adapters["elf"])
    new = say(host, "What do you fear?", "wolf").reply
    assert new.text != old.text
    assert new.cached_tokens == 0


def test_one_that_is_no_good_takes_its_names_earlier_one_away_too(
    gguf_factory: Factory, host_factory: Hosts, adapters: dict[str, Path], tmp_path: Path
) -> None:
    host = host_factory(gguf_factory(), settings=EXACT)
    host.add_adapter("wolf", adapters["wolf"])
    assert say(host, "Who is there?", "wolf").reply.source == "random + wolf (llama.cpp)"
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(adapters["wolf"].read_bytes()[:-100])
    host.add_adapter("wolf", broken)
    assert str(broken) in loaded(host)["wolf"]
    named, bare = say(host, "Who is there?", "wolf").reply, say(host, "Who is there?", "").reply
    assert (named.source, named.text) == (bare.source, bare.text)


def test_adapters_are_loaded_again_after_a_restart(
    gguf_factory: Factory, host_factory: Hosts, adapters: dict[str, Path]
) -> None:
    host = host_factory(gguf_factory(), settings=EXACT)
    host.add_adapter("wolf", adapters["wolf"])
    before = say(host, "What do you fear?", "wolf").reply.text
    os.kill(host.pid, signal.SIGKILL)
    after = ""
    for _ in range(200):
        try:
            after = say(host, "What do you fear?", "wolf").reply.text
            break
        except (AssertionError, ModelError):
            time.sleep(0.05)
    assert after == before
    assert loaded(host) == {"wolf": "loaded"}


@in_both_memories
def test_one_adapters_requests_leave_memory_for_anothers(
    gguf_factory: Factory, adapters: dict[str, Path], sizes: EngineSettings
) -> None:
    library = pytest.importorskip("models.llama.library")
    sizes = replace(sizes, n_ctx=1024, n_seq=5, n_parallel=4)
    model = library.Model(gguf_factory(), sizes, library.LogTail())
    frames = [
        {"t": "adapter", "name": name, "path": str(adapters[name]), "scale": 1.0}
        for name in ("wolf", "elf")
    ]
    # In unified memory a wolf takes a quarter, in streams each takes one of four.
    line = "x" * (40 if sizes.streams else 150)
    wolves = [ask_frame(n, f"{n}{line}", adapter="wolf", max_tokens=50 + n) for n in range(8)]
    events, _ = served(model, sizes, [*frames, *wolves, ask_frame(8, "Elf?", adapter="elf")])
    model.close()
    assert len(texts(events)) == 9
    first_said = events.index(next(each for each in events if each[:2] == ["text", 8]))
    assert first_said < min(n for n, each in enumerate(events) if each[0] == "done")


def test_an_adapter_that_was_replaced_is_freed_when_there_are_too_many(
    gguf_factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from random_adapter import write_random_adapter

    library = pytest.importorskip("models.llama.library")
    loras = pytest.importorskip("models.llama.loras")
    monkeypatch.setattr(loras.Loras.__init__, "__defaults__", (2,))
    model = library.Model(gguf_factory(), EXACT, library.LogTail())
    paths = [write_random_adapter(tmp_path / f"{n}.gguf", seed=n) for n in range(4)]

    def frames(*versions: int) -> list[dict[str, Any]]:
        return [
            frame
            for number, version in enumerate(versions)
            for frame in (
                {"t": "adapter", "name": "wolf", "path": str(paths[version]), "scale": 1.0},
                ask_frame(number, "What do you fear?", adapter="wolf"),
            )
        ]

    alone = [texts(served(model, EXACT, frames(n))[0])[0] for n in range(4)]
    swapped = (0, 1, 2, 3, 0, 0, 2)
    events, status = served(model, EXACT, frames(*swapped), one_by_one=True)
    assert list(texts(events).values()) == [alone[n] for n in swapped]
    assert (status["adapters"], status["adapters_freed"]) == (2, 4)
    assert set(status["adapter_cells"]) == {"wolf", "freed"}

    kept = loras.Loras(model, library.LogTail(), 2)
    kept.load("wolf", paths[0], 1.0, [])
    old = kept.key("wolf")
    kept.load("wolf", paths[1], 1.0, [])
    with pytest.raises(RequestRefused, match="still wanted"):
        kept.load("wolf", paths[2], 1.0, [old])
    kept.load("wolf", paths[2], 1.0, [])
    assert kept.use(old) is None and len(kept) == 2
    model.close()


def test_an_adapter_is_blamed_for_the_second_death_while_it_is_loaded() -> None:
    kept = Adapters()
    kept.add("wolf", Path("wolf.gguf"), 1.0)
    kept.blame()
    assert [frame["name"] for frame in kept.again()] == ["wolf"]
    kept.blame()
    assert "died while loading" in kept.states()["wolf"]
    assert kept.again() == []


def test_a_death_is_forgiven_an_adapter_that_was_loaded_since() -> None:
    kept = Adapters()
    kept.add("wolf", Path("wolf.gguf"), 1.0)
    for _ in range(3):
        kept.blame()
        kept.again()
        kept.heard("wolf", "")
        kept.again()
    assert kept.states() == {"wolf": "loading"}
