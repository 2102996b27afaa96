"""A hundred thousand requests, withdrawn at random and with the engine killed under them: nothing leaks.

Every listener hears one end, an answer or a typed error, and nothing after it. At rest no sequence
and no cell of the KV memory is held by anybody: one request that needs all cells is answered.
Files, threads and processes are as many as before, and memory does not grow.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from asking import ask
from soaking import ENDS, MIB, Deed, Held, Ledger, Mix, growth

from models import house
from models.llama.host import LlamaHost
from models.llama.settings import EngineSettings
from models.request import Handle, ModelRequest, Priority

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads /proc"),
]

UNIFIED = EngineSettings(
    threads=1, n_ctx=1024, n_seq=24, n_parallel=12, n_batch=256, queue=48, hold_ms=5.0, spill_mib=6
)
"""So small that prompts push each other out of the memory and bursts overflow the queue."""
STREAMS = replace(UNIFIED, n_ctx=24 * 1024, streams=True)
"""Here it is the sequences that are fewer than the prompts."""
in_both_memories = pytest.mark.parametrize("sizes", [UNIFIED, STREAMS], ids=["unified", "streams"])
TOLD_S = 0.75
"""The engine tells its figures twice a second."""
TAIL = 16
GROWTH_MIB = 2.0
"""What 10,000 requests may add to the memory of a process, by a straight line through its sizes.

That is 210 bytes a request, less than any request leaves that is not forgotten.
"""
STATE_LEAST = 96 * 1024
"""A spilled state has at least 96 tokens, of over a KiB each."""


class Soak:
    """Asks one host, in phases of few requests at once and of many, and kills it between lives."""

    def __init__(
        self, host: LlamaHost, sizes: EngineSettings, adapters: Sequence[str], seed: int
    ) -> None:
        self.host = host
        self.sizes = sizes
        model: Any = host.status()["model"]
        self.limit = int(model["context_length"])
        each = sizes.n_ctx // (sizes.n_seq if sizes.streams else 1)
        assert self.limit == each, "one conversation must be able to fill what a sequence can have"
        self.mix = Mix(seed, self.limit, adapters)
        self.ledger = Ledger()
        self.rests: list[list[Held]] = []
        self.totals: Counter[str] = Counter()
        self.kills = 0
        self.lost = 0
        self.withdrawn = 0
        self._later: list[tuple[int, Handle]] = []
        self._words = self.limit // 2
        self._begun = time.monotonic()

    def live(self, requests: int, rest_every: int) -> None:
        """One life of the child, ended by nobody yet; a rest is taken after every so many requests."""
        self.rests.append([])
        chance = self.mix.chance
        for first in range(0, requests, rest_every):
            left = min(rest_every, requests - first)
            while left > 0:
                size = min(left, chance.randint(20, 200))
                self.ask(size, at_once=chance.choice((2, 8, 24, 24, 60, 400)))
                left -= size
            self.rest()

    def ask(self, count: int, at_once: int) -> None:
        """Submit so many, at most `at_once` of them under way together."""
        for _ in range(count):
            self.ledger.wait_below(at_once)
            self._submit(*self.mix.draw())

    def _submit(self, request: ModelRequest, deed: Deed) -> None:
        ear = self.ledger.listen(request, cancels=deed in ("at text", "twice"))
        handle = ear.handle = self.host.submit(request, ear)
        self.withdrawn += deed != "keep"
        if deed == "at once":
            handle.cancel()
        elif deed in ("later", "twice"):
            self._later.append((self.ledger.asked + self.mix.chance.randint(1, 30), handle))
        while self._later and self._later[0][0] <= self.ledger.asked:
            self._later.pop(0)[1].cancel()

    def rest(self) -> None:
        """Wait until all is quiet; then everything must be free, and can be had by one request."""
        for _, handle in self._later:
            handle.cancel()
        self._later.clear()
        self.ledger.wait_below(1)
        self._take_all_cells()
        status = self._engine_at_rest()
        held = int(status["cells"]) - int(status["free_cells"])
        assert self.limit - 1 <= held <= status["cells"], status
        assert 1 <= status["kept_prefixes"] <= self.sizes.n_seq, status
        assert status["spilled_bytes"] <= self.sizes.spill_mib * MIB, status
        assert self.ledger.faults == []
        assert self.host.pid is not None
        now = Held.now(self.host.pid, self.ledger.asked)
        assert now.spill_files <= self.sizes.spill_mib * MIB // STATE_LEAST, now
        self.rests[-1].append(now)

    def _engine_at_rest(self) -> dict[str, Any]:
        """Its figures once it says that it has nothing to do."""
        time.sleep(TOLD_S)
        end = time.monotonic() + 20.0
        while True:
            status: dict[str, Any] = self.host.status()
            engine = status["engine"]
            if engine["active"] == engine["waiting"] == status["under_way"] == 0:
                break
            assert time.monotonic() < end, f"it never came to rest: {status}"
            time.sleep(0.05)
        assert status["listener_faults"] == 0
        return dict(engine)

    def _take_all_cells(self) -> None:
        """One request that fills its whole window, which is all the memory a sequence can have."""
        for seed in range(20):
            request = ModelRequest(
                [{"role": "user", "content": " ".join(["a"] * self._words)}],
                "soak", max_tokens=TAIL, temperature=50.0, top_p=1.0, seed=seed,
                priority=Priority.NEAR, deadline_s=120.0,
            )  # fmt: skip
            reply = ask(self.host, request).reply
            if reply.prompt_tokens + reply.completion_tokens == self.limit:
                return
            self._words += self.limit - TAIL - reply.prompt_tokens
        raise AssertionError(f"no reply filled the window: {reply}")

    def kill(self) -> None:
        """End the child while it has forty requests, sometimes its successor too; ask while it is down."""
        chance = self.mix.chance
        self.ask(40, at_once=400)
        time.sleep(chance.uniform(0.0, 0.05))
        self._note_totals()
        self.lost += len(self.ledger)
        dead = self._strike()
        self.ask(5, at_once=400)
        self._until(lambda: self.host.pid not in (None, dead))
        if chance.random() < 0.3:
            self.ask(2, at_once=400)
            dead = self._strike()
            self._until(lambda: self.host.pid not in (None, dead))
        self.ask(3, at_once=400)
        self.host.wait_ready(60.0)
        # An adapter that a child dies over is left out from then on: none may be loading.
        self._until(lambda: "loading" not in str(self.host.status()["adapters"]))
        self.ledger.wait_below(1)

    def _strike(self) -> int:
        pid = self.host.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self.kills += 1
        return pid

    def _until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 60.0
        while not condition():
            assert time.monotonic() < end, f"it never came: {self.host.status()}"
            time.sleep(0.005)

    def _note_totals(self) -> None:
        engine: Any = self.host.status()["engine"]
        for key in ("aborted", "preempted", "spilled", "restored", "evicted_prefixes", "trimmed",
                    "adapter_switches", "adapter_missing", "steps", "cached_tokens"):  # fmt: skip
            self.totals[key] += engine[key]

    def check_end(self) -> None:
        """After the last life: all ended, all was the same at every rest, and the child can be closed."""
        self._note_totals()
        print(self.summary())
        counts = self.ledger.counts
        assert counts.total() == self.ledger.asked
        assert self.ledger.faults == []
        every = [held for life in self.rests for held in life]
        for column in ("child_fds", "child_threads", "parent_fds", "parent_threads", "children"):
            assert len({getattr(held, column) for held in every}) == 1, (column, every)
        states: Any = self.host.status()["adapters"]
        assert {state for name, state in states.items() if name != "ghost"} == {"loaded"}
        self.host.close()
        assert not psutil.Process().children()

    def summary(self) -> str:
        """What was asked and what came of it, for `pytest -s`."""
        seconds = time.monotonic() - self._begun
        first, last = self.rests[-1][0], self.rests[-1][-1]
        return "\n".join(
            (
                f"{self.ledger.asked} requests in {seconds:.0f} s"
                f" ({self.ledger.asked / seconds:.0f} a second, rests and restarts included)",
                f"ends: {dict(self.ledger.counts.most_common())}; withdrawn: {self.withdrawn}",
                f"kills: {self.kills}, with {self.lost} requests under way",
                f"engine: {dict(self.totals)}",
                *(
                    f"{name}: {getattr(first, column) / MIB:.1f} MiB after {first.asked} requests,"
                    f" {getattr(last, column) / MIB:.1f} after {last.asked}"
                    for name, column in (("engine", "child_rss"), ("host", "parent_rss"))
                ),
                f"at the last rest: {last}",
            )
        )


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pytest.importorskip("gguf")
    from random_adapter import write_random_adapter

    folder = tmp_path_factory.mktemp("adapters")
    return {
        name: write_random_adapter(folder / f"{name}.gguf", seed=seed, width=256, layers=5)
        for seed, name in enumerate(("wolf", "elf"))
    }


def begin(
    host_factory: Callable[..., Any], sizes: EngineSettings, adapters: dict[str, Path], seed: int
) -> Soak:
    host: LlamaHost = host_factory(house.path(), settings=sizes, backoff_s=0.05)
    for name, path in adapters.items():
        host.add_adapter(name, path)
        host.add_adapter("ghost", path.with_name("none.gguf"))
    return Soak(host, sizes, list(adapters), seed)


@in_both_memories
def test_three_hundred_requests_end_once_each_under_kills_and_leave_nothing_behind(
    host_factory: Callable[..., Any], adapters: dict[str, Path], sizes: EngineSettings
) -> None:
    soak = begin(host_factory, sizes, adapters, seed=4)
    soak.live(150, rest_every=150)
    soak.kill()
    soak.live(150, rest_every=150)
    soak.check_end()
    assert soak.lost > 0
    assert set(soak.ledger.counts) == ENDS


@pytest.mark.soak
@pytest.mark.timeout(3600)
@in_both_memories
def test_a_hundred_thousand_requests_and_twenty_kills_leak_nothing(
    host_factory: Callable[..., Any], adapters: dict[str, Path], sizes: EngineSettings
) -> None:
    soak = begin(host_factory, sizes, adapters, seed=20)
    for _ in range(20):
        soak.live(2_500, rest_every=2_500)
        soak.kill()
    soak.live(50_000, rest_every=1_000)
    soak.check_end()
    # The mix must have reached what it is meant to reach.
    assert min(soak.ledger.counts.values()) > 100, soak.ledger.counts
    assert all(soak.totals.values()), soak.totals
    # The first ten thousand of a life fill caches.
    settled = soak.rests[-1][10:]
    slopes = {column: growth(settled, column) for column in ("child_rss", "parent_rss")}
    print(f"growth in MiB per 10,000 requests: {slopes}")
    assert max(slopes.values()) < GROWTH_MIB, settled
