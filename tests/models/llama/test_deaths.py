"""A child that dies of memory is followed by a smaller one: the rule, and real processes that die."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asking import ask, request
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ModelDoesNotFit, ModelFileError, ModelUnavailable
from models.llama import facts
from models.llama.channel import End
from models.llama.cores import Cores
from models.llama.deaths import Patience, Record, Served, judge, shortage
from models.llama.fit import fit, shrinking
from models.llama.machine import Machine
from models.llama.settings import EngineSettings
from models.llama.sizing import Wishes

Factory = Callable[..., Path]
Hosts = Callable[..., Any]

GIB = 1 << 30
ROOMY = Machine(Cores(4, 4), 64 * GIB, 64 * GIB, (), "none")
SIZES = EngineSettings(threads=1, n_ctx=2048, n_seq=16, n_parallel=16)

CRASH = End("it was ended by SIGSEGV", code=-11)
KILL = End("it was ended by SIGKILL", code=-9)
OUR_KILL = replace(KILL, killed=True)
REFUSAL = End("llama.cpp can't make a context", refused=True)
ABORT = End("it was ended by SIGABRT", "CUDA error: out of memory", code=-6)


def halve(now: EngineSettings) -> EngineSettings:
    """Four sizes: 2048, 1024, 512, 256 tokens."""
    if now.n_ctx <= 256:
        raise ModelDoesNotFit("no smaller size is left", "give a smaller model")
    return replace(now, n_ctx=now.n_ctx // 2)


def served(shrink: Any = halve, **patience: Any) -> Served:
    return Served(Path("a.gguf"), "the local engine", Patience(**patience), shrink)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (CRASH, "none"),
        (KILL, "suspected"),
        (replace(KILL, spared=True), "none"),
        (replace(ABORT, spared=True), "certain"),
        (OUR_KILL, "none"),
        (replace(ABORT, killed=True), "none"),
        (REFUSAL, "certain"),
        (ABORT, "certain"),
        (End("it ended with exit code 4", "MemoryError", code=4), "certain"),
        (End("it ended with exit code 4", "RuntimeError: llama_decode failed", code=4), "none"),
    ],
)
def test_which_deaths_are_of_memory(end: End, expected: str) -> None:
    assert shortage(end, worked=True) == expected


def test_a_kill_that_was_not_the_kernels_makes_smaller_only_when_it_comes_again() -> None:
    spared = replace(KILL, spared=True)
    verdict = judge(spared, Record(SIZES, worked=True), served(), loading=False)
    assert verdict.record == Record(SIZES, worked=True, deaths=1, restarts=1)
    # Nobody was answered in between: perhaps a daemon that watches over memory.
    again = judge(spared, verdict.record, served(), loading=False)
    assert (again.record.settings.n_ctx, again.record.shrunk) == (1024, 1)
    answered = judge(spared, replace(verdict.record, deaths=0), served(), loading=False)
    assert (answered.record.settings, answered.record.shrunk) == (SIZES, 0)
    # One that never came up may have been too large from the beginning.
    first = judge(spared, Record(SIZES), served(), loading=True)
    assert first.record.shrunk == 1


@given(st.lists(st.sampled_from([CRASH, KILL, OUR_KILL, REFUSAL, ABORT]), max_size=24))
def test_any_row_of_deaths_ends_or_goes_on_within_its_bounds(ends: list[End]) -> None:
    record, how = Record(SIZES, worked=True), served(max_restarts=3, backoff_s=1.0)
    for end in ends:
        before = record
        verdict = judge(end, before, how, loading=True)
        record = verdict.record
        assert verdict.error.message and verdict.error.hint
        assert record.shrunk <= 3 and record.deaths <= 4
        shrank = record.settings != before.settings
        assert shrank == (record.shrunk > before.shrunk)
        assert not shrank or shortage(end, worked=True) != "none"
        # Only what made it smaller is not counted.
        assert record.deaths == before.deaths + (not shrank) or verdict.pause_s is None
        if verdict.pause_s is None:
            assert not shrank and record.restarts == before.restarts
            assert record.deaths == 4 or record.settings.n_ctx == 256
            break
        assert 1.0 <= verdict.pause_s <= 8.0
        assert record.restarts == before.restarts + 1


def test_without_a_way_to_a_smaller_size_a_death_of_memory_is_like_any_other() -> None:
    for end in (KILL, REFUSAL, ABORT):
        verdict = judge(end, Record(SIZES, worked=True), served(None), loading=False)
        assert isinstance(verdict.error, ModelUnavailable)
        assert verdict.record == Record(SIZES, worked=True, deaths=1, restarts=1)


def test_a_crash_at_the_first_load_stays_the_files_fault() -> None:
    bad_alloc = End("it was ended by SIGABRT", "what(): std::bad_alloc", code=-6)
    for end in (CRASH, bad_alloc):
        verdict = judge(end, Record(SIZES), served(), loading=True)
        assert isinstance(verdict.error, ModelFileError)
        assert (verdict.pause_s, verdict.record) == (None, Record(SIZES))


@pytest.mark.parametrize("loading", [True, False])
def test_an_instruction_that_the_cpu_has_not_is_the_builds_fault_and_not_tried_again(
    loading: bool,
) -> None:
    record = Record(SIZES, worked=not loading)
    end = End("it was ended by SIGILL", code=-signal.SIGILL)
    verdict = judge(end, record, served(), loading=loading)
    assert isinstance(verdict.error, ModelUnavailable)
    assert "compiled for another CPU" in verdict.error.message
    assert "--no-binary llama-cpp-python" in verdict.error.hint
    assert (verdict.pause_s, verdict.record) == (None, record)


def test_a_kill_at_the_smallest_size_is_borne_and_a_refusal_is_not() -> None:
    smallest = Record(replace(SIZES, n_ctx=256), worked=True)
    killed = judge(KILL, smallest, served(max_restarts=1), loading=False)
    assert isinstance(killed.error, ModelUnavailable) and killed.pause_s is not None
    again = judge(KILL, killed.record, served(max_restarts=1), loading=False)
    refused = judge(REFUSAL, smallest, served(), loading=False)
    for verdict in (again, refused):
        assert isinstance(verdict.error, ModelDoesNotFit) and verdict.pause_s is None
        assert "no smaller size is left" in verdict.error.message
        assert verdict.error.hint == "give a smaller model"


# With real processes.

needs_engine = pytest.mark.engine
needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps RLIMIT_AS")


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def never(now: EngineSettings) -> EngineSettings:
    raise AssertionError("nobody should ask for a smaller size")


@pytest.fixture
def limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children that are started get 1 GiB of address space and no more."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import resource\nresource.setrlimit(resource.RLIMIT_AS, ({GIB}, {GIB}))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    # OpenBLAS would reserve memory for each core.
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture
def mute_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that doesn't tell whom it killed, so that any SIGKILL may have been its own."""
    monkeypatch.setattr("models.llama.channel.kernel_kills", lambda: None)


LONG = 1 << 20
"""Tokens of context for which the random model needs 1.6 GiB."""


@needs_engine
def test_a_child_that_somebody_killed_comes_back_as_large_however_often(
    gguf_factory: Factory, host_factory: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.llama.channel.kernel_kills", lambda: 3)
    host = host_factory(gguf_factory(), settings=SIZES, shrink=halve, backoff_s=0.01)
    for _ in range(2):
        assert ask(host, request(max_tokens=2)).reply.completion_tokens == 2
        pid = host.pid
        os.kill(pid, signal.SIGKILL)
        until(lambda dead=pid: host.pid != dead)
        host.wait_ready(30.0)
    assert (host.status()["n_ctx"], host.status()["shrunk"]) == (SIZES.n_ctx, 0)


@needs_engine
@pytest.mark.usefixtures("mute_kernel")
def test_a_killed_child_comes_back_smaller_and_answers(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    plan = fit(facts.read(gguf_factory()), ROOMY, Wishes(threads=1, streams=False))
    assert plan.settings.n_ctx == 8192
    host = host_factory(
        gguf_factory(), settings=plan.settings, shrink=shrinking(plan), backoff_s=0.01
    )
    expected = ask(host, request("Again?", max_tokens=8)).reply.text
    for count, n_ctx in enumerate((4096, 2048), start=1):
        speaking = ask(host, request(f"{count}", max_tokens=1900))
        assert speaking.spoke.wait(20)
        os.kill(host.pid, signal.SIGKILL)
        error = speaking.error
        assert isinstance(error, ModelUnavailable) and error.retryable
        assert "SIGKILL" in error.message
        assert f"n_ctx {n_ctx} instead of {2 * n_ctx}" in error.hint
        host.wait_ready(30.0)
        assert ask(host, request("Again?", max_tokens=8)).reply.text == expected
        until(lambda cells=n_ctx: host.status()["engine"].get("cells") == cells)
        status = host.status()
        assert (status["n_ctx"], status["restarts"], status["shrunk"]) == (n_ctx, count, count)
        kept = {"n_seq": 64, "n_parallel": 16, "gpu_layers": 0, "kv_type": "f16", "threads": 1}
        assert {name: status[name] for name in kept} == kept


@needs_engine
@pytest.mark.usefixtures("mute_kernel")
def test_deaths_that_made_it_smaller_do_not_count(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    host = host_factory(
        gguf_factory(), settings=SIZES, shrink=halve, backoff_s=0.01, max_restarts=0
    )
    for _ in range(3):
        pid = host.pid
        os.kill(pid, signal.SIGKILL)
        until(lambda dead=pid: host.pid != dead)
        host.wait_ready(30.0)
    os.kill(host.pid, signal.SIGKILL)
    until(lambda: host.state == "failed")
    error = ask(host, request()).error
    assert isinstance(error, ModelDoesNotFit)
    assert "SIGKILL" in error.message and error.hint == "give a smaller model"
    assert (host.status()["n_ctx"], host.status()["shrunk"]) == (256, 3)


@needs_engine
def test_a_child_killed_while_it_loads_for_the_first_time_is_tried_smaller(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    host = host_factory(gguf_factory(), settings=SIZES, shrink=halve, backoff_s=0.01, ready=False)
    until(lambda: host.pid is not None)
    os.kill(host.pid, signal.SIGKILL)
    host.wait_ready(30.0)
    assert (host.status()["n_ctx"], host.status()["shrunk"]) == (1024, 1)


@needs_engine
@needs_limits
@pytest.mark.usefixtures("limited")
def test_a_context_that_memory_refuses_is_tried_smaller_until_it_answers(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    plan = fit(facts.read(gguf_factory()), ROOMY, Wishes(threads=1, sequences=2, streams=False))
    host = host_factory(
        gguf_factory(),
        settings=replace(plan.settings, n_ctx=LONG),
        shrink=shrinking(plan),
        backoff_s=0.01,
    )
    assert ask(host, request(max_tokens=4)).reply.completion_tokens == 4
    status = host.status()
    assert 1 <= status["shrunk"] == status["restarts"] <= 3
    assert (status["n_ctx"], status["n_parallel"]) == (LONG >> status["shrunk"], 2)
    assert status["error"] == ""


@needs_engine
@needs_limits
@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("planned", [True, False], ids=["with a plan", "without"])
def test_a_context_that_was_asked_for_and_is_refused_ends_in_a_named_error(
    gguf_factory: Factory, host_factory: Hosts, planned: bool
) -> None:
    wishes = Wishes(threads=1, context=LONG, sequences=1, kv_type="f16")
    plan = fit(facts.read(gguf_factory()), ROOMY, wishes)
    settings = replace(plan.settings, n_seq=1, n_batch=512)
    host = host_factory(
        gguf_factory(),
        settings=settings,
        shrink=shrinking(plan) if planned else None,
        ready=False,
    )
    with pytest.raises(ModelDoesNotFit) as caught:
        host.wait_ready(40.0)
    error = caught.value
    assert f"can't make a context of {LONG} tokens" in error.message
    assert "insufficient memory" in error.message
    if planned:
        assert error.named == ("context", "kv_type", "sequences")
        assert f"context {LONG}" in error.message
        assert "leave out context and kv_type and sequences, give " in error.hint
    assert host.state == "failed"
    assert ask(host, request()).error is error
    assert (host.status()["restarts"], host.status()["n_ctx"]) == (0, LONG)


@needs_engine
@needs_limits
def test_a_child_that_runs_out_of_memory_while_it_serves_comes_back_smaller(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    host = host_factory(gguf_factory(), settings=SIZES, shrink=halve, backoff_s=0.01)
    assert ask(host, request(max_tokens=2)).reply
    with Path(f"/proc/{host.pid}/statm").open() as sizes:
        now = int(sizes.read().split()[0]) * resource.getpagesize()
    resource.prlimit(host.pid, resource.RLIMIT_AS, (now, now))
    hearers = [ask(host, request("x" * 900_000)) for _ in range(8)]
    error = hearers[-1].error
    assert isinstance(error, ModelUnavailable)
    assert "Memory" in error.message or "alloc" in error.message
    host.wait_ready(30.0)
    assert ask(host, request(max_tokens=2)).reply.completion_tokens == 2
    assert (host.status()["n_ctx"], host.status()["shrunk"]) == (1024, 1)


@needs_engine
def test_a_child_that_hangs_and_is_killed_by_the_host_stays_as_large(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    host = host_factory(gguf_factory(), settings=SIZES, shrink=never, hang_s=2.0, backoff_s=0.01)
    before = host.pid
    os.kill(before, signal.SIGSTOP)
    until(lambda: host.pid not in (None, before))
    host.wait_ready(30.0)
    assert ask(host, request(max_tokens=2)).reply.completion_tokens == 2
    status = host.status()
    assert (status["n_ctx"], status["restarts"], status["shrunk"]) == (2048, 1, 0)


@needs_engine
@pytest.mark.parametrize("signal_number", [signal.SIGSEGV, signal.SIGTERM])
def test_a_crash_that_is_not_of_memory_stays_as_large(
    gguf_factory: Factory, host_factory: Hosts, signal_number: int
) -> None:
    host = host_factory(gguf_factory(), settings=SIZES, shrink=never, backoff_s=0.01)
    before = host.pid
    os.kill(before, signal_number)
    until(lambda: host.pid not in (None, before))
    host.wait_ready(30.0)
    assert (host.status()["n_ctx"], host.status()["shrunk"]) == (2048, 0)


@needs_engine
@pytest.mark.parametrize("end", [b"", b"\xff\xff\xc0\x7f" * 1000], ids=["cut", "no numbers"])
def test_a_damaged_file_is_not_tried_smaller(
    gguf_factory: Factory, host_factory: Hosts, tmp_path: Path, end: bytes
) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(gguf_factory().read_bytes()[:-4000] + end)
    host = host_factory(path, settings=SIZES, shrink=never, ready=False)
    with pytest.raises(ModelFileError, match=r"damaged\.gguf"):
        host.wait_ready(40.0)
    assert isinstance(ask(host, request()).error, ModelFileError)
    assert (host.state, host.status()["restarts"]) == ("failed", 0)


@needs_engine
@pytest.mark.usefixtures("mute_kernel")
def test_adapters_are_loaded_again_at_the_smaller_size(
    gguf_factory: Factory, host_factory: Hosts, tmp_path: Path
) -> None:
    from random_adapter import write_random_adapter

    host = host_factory(gguf_factory(), settings=SIZES, shrink=halve, backoff_s=0.01)
    bare = ask(host, request(max_tokens=16)).reply.text
    host.add_adapter("wolf", write_random_adapter(tmp_path / "wolf.gguf", seed=0))
    # Killed before it has answered for the adapter, or after: the adapter is not to blame.
    os.kill(host.pid, signal.SIGKILL)
    until(lambda: host.state != "ready")
    host.wait_ready(30.0)
    reply = ask(host, request(adapter="wolf", max_tokens=16)).reply
    assert "wolf" in reply.source and reply.text != bare
    assert host.status()["adapters"] == {"wolf": "loaded"}
    assert host.status()["shrunk"] == 1
