"""Actors: messages a second beside Pykka's thread an actor; how many live at once, their size, their end."""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import psutil
import pykka

from actors.dispatch import Dispatcher, GreenActor
from greenroom.app import SWITCH_INTERVAL_S

MESSAGES = 100_000
ROUNDS = 7
CROWD = 100_000
PLAIN_S = 0.005
"""Python's own switch interval, in seconds."""


class _Gate:
    """Opens when so many have passed."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._lock = threading.Lock()
        self.open = threading.Event()

    def one(self) -> None:
        with self._lock:
            self._left -= 1
            if not self._left:
                self.open.set()


class _Counts:
    """Counts what it is told and passes the gate when it has had its share."""

    def __init__(self, share: int, gate: _Gate) -> None:
        super().__init__()
        self._left = share
        self._gate = gate

    def on_receive(self, message: object) -> None:
        self._left -= 1
        if not self._left:
            self._gate.one()


class _Green(_Counts, GreenActor):
    pass


class _Threaded(_Counts, pykka.ThreadingActor):
    use_daemon_thread = True


def _tells(start: Callable[[int, _Gate], pykka.ActorRef[Any]], actors: int, messages: int) -> float:
    share = messages // actors
    gate = _Gate(actors)
    refs = [start(share, gate) for _ in range(actors)]
    gc.collect()
    began = time.perf_counter()
    for _ in range(share):
        for ref in refs:
            ref.tell(None)
    if not gate.open.wait(300):
        raise RuntimeError(f"{actors} actors did not handle {messages} messages")
    took = time.perf_counter() - began
    for ref in reversed(refs):
        ref.stop(timeout=60)
    return share * actors / took


class _Answers(GreenActor):
    """One of a crowd: answers a number with its own."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def on_receive(self, message: Any) -> int:
        _, collector = message
        collector.tell(self.number)
        return self.number


class _Collects(GreenActor):
    """Takes the crowd's answers, each of which must come once."""

    def __init__(self, count: int, done: threading.Event) -> None:
        super().__init__()
        self.heard = bytearray(count)
        self._left = count
        self._done = done

    def on_receive(self, message: int) -> None:
        self.heard[message] += 1
        self._left -= 1
        if not self._left:
            self._done.set()


def _crowd(count: int) -> dict[str, float]:
    """Start `count` actors in this process, have each told and answer once, and stop them all.

    Returns bytes an actor (resident memory grown, with the references held in a list) before and
    after the answers, and seconds: `starting`, `answering`, `stopping` all at once.
    """
    process = psutil.Process()
    with Dispatcher(workers=1) as dispatcher:
        done = threading.Event()
        # A warm process: what the first actors and the first asked message bring is no actor's own.
        for ref in [dispatcher.start(_Answers, n) for n in range(1_000)]:
            ref.stop(timeout=60)
        collector = dispatcher.start(_Collects, count, done)
        gc.collect()
        before = process.memory_info().rss
        began = time.perf_counter()
        refs = [dispatcher.start(_Answers, n) for n in range(count)]
        started = time.perf_counter()
        while dispatcher.metrics()["_Answers"].alive < count:
            time.sleep(0.01)
        gc.collect()
        born = process.memory_info().rss
        asked = time.perf_counter()
        for ref in refs:
            ref.tell(("who", collector))
        if not done.wait(300):
            raise RuntimeError(f"not all of {count} actors answered")
        answered = time.perf_counter()
        heard = collector.proxy().heard.get(timeout=60)
        if set(heard) != {1}:
            raise RuntimeError("an actor answered twice")
        gc.collect()
        lived = process.memory_info().rss
        del ref, collector
        stopping = time.perf_counter()
        left = dispatcher.stop_all(timeout=600)
        stopped = time.perf_counter()
        if left or pykka.ActorRegistry.get_all():
            raise RuntimeError(f"{left} actors did not stop")
        alive = sum(ref.is_alive() for ref in refs)
        if alive:
            raise RuntimeError(f"{alive} actors say that they live")
    return {
        "born": (born - before) / count,
        "lived": (lived - before) / count,
        "starting": started - began,
        "answering": answered - asked,
        "stopping": stopped - stopping,
    }


def _apart(count: int) -> dict[str, float]:
    """`_crowd` in a process of its own, whose memory nothing has touched before."""
    _say(f"actors: a crowd of {count:,}")
    code = f"import json; from benchmarks.actors import _crowd; print(json.dumps(_crowd({count})))"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, timeout=1800
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


@contextmanager
def _switching(interval_s: float) -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval_s)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(*, scale: float = 1.0) -> dict[str, Any]:
    """Tell 100 and 1,000 actors in turn, from one thread; then let 100,000 live at once.

    Tells: both sides take turns within each of seven rounds; the values are medians, the ratio is
    the median of the rounds' ratios. Each side's best round, and the least and the greatest ratio,
    are told too, since what a thousand threads make of one lock moves threefold. Both are measured
    at Python's own switch interval, and at the one that a process which runs a world sets.

    The crowd: each actor is told and answers once. Its memory is what the process's resident size
    has grown by, an actor: the actor object with one attribute, its mailbox, its reference (held),
    URN, registry entry and dispatcher entry. The time to stop is measured for a tenth of the crowd
    and for all of it; it grows in proportion when ten times as many take ten times as long.

    Returns {bench, machine, results: [{metric, unit, value, best, peer, peer_value, peer_best,
    ratio, ratios, at_least | at_most}]}; `scale` shortens or lengthens the telling, and shortens the
    crowd when below 1.
    """
    messages = max(10_000, int(MESSAGES * scale))
    crowd = max(2_000, int(CROWD * min(1.0, scale)))
    results: list[dict[str, Any]] = []
    with Dispatcher(workers=1) as dispatcher:

        def green(share: int, gate: _Gate) -> pykka.ActorRef[Any]:
            return dispatcher.start(_Green, share, gate)

        def threaded(share: int, gate: _Gate) -> pykka.ActorRef[Any]:
            return _Threaded.start(share, gate)

        for interval, actors, at_least in (
            (PLAIN_S, 100, 4.0),
            (PLAIN_S, 1_000, 50.0),
            (SWITCH_INTERVAL_S, 100, 4.0),
            (SWITCH_INTERVAL_S, 1_000, 50.0),
        ):
            how = f"{actors:,} actors, threads switched every {interval * 1e3:g} ms"
            _say(f"actors: tells to {how}, {ROUNDS} rounds a side")
            rounds = []
            with _switching(interval):
                for _ in range(ROUNDS):
                    # Ours needs more messages for a run that is as long.
                    ours = _tells(green, actors, messages * 4)
                    rounds.append((ours, _tells(threaded, actors, messages)))
            mine, theirs = zip(*rounds, strict=True)
            ratios = sorted(ours / peer for ours, peer in rounds)
            results.append(
                {
                    "metric": f"messages told to {how}",
                    "unit": "1/s",
                    "value": round(statistics.median(mine)),
                    "best": round(max(mine)),
                    "peer": "pykka.ThreadingActor",
                    "peer_value": round(statistics.median(theirs)),
                    "peer_best": round(max(theirs)),
                    "ratio": round(statistics.median(ratios), 2),
                    "ratios": [round(ratios[0], 2), round(ratios[-1], 2)],
                    "at_least": at_least,
                }
            )
    few, many = _apart(crowd // 10), _apart(crowd)
    results += [
        {
            "metric": "actors alive at once, each told and answering once",
            "unit": "actors",
            "value": crowd,
        }
        | ({"at_least": CROWD} if crowd >= CROWD else {}),
        _figure("resident memory an actor, before its first message", "B", many["born"]),
        _figure("resident memory an actor, after its answer", "B", many["lived"], at_most=4096),
        _figure(f"starting {crowd:,} actors", "s", many["starting"]),
        _figure(f"telling {crowd:,} actors and hearing each", "s", many["answering"]),
        _figure(f"stopping {crowd // 10:,} actors", "s", few["stopping"]),
        _figure(f"stopping {crowd:,} actors", "s", many["stopping"]),
        # 10 is in proportion, 100 in its square; between lie caches and the collector of garbage.
        _figure(
            "stopping ten times as many takes so many times as long",
            "×",
            many["stopping"] / few["stopping"],
            at_most=20,
        ),
    ]
    return {
        "bench": "actors",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores,"
        f" Python {platform.python_version()}, Pykka {version('pykka')}",
        "results": results,
    }


def _figure(metric: str, unit: str, value: float, **bound: float) -> dict[str, Any]:
    return {
        "metric": metric,
        "unit": unit,
        "value": round(value, 2 if value < 100 else None),
    } | bound


def main() -> None:
    """Print the measurement, as a table or with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    found = run(scale=arguments.scale)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for one in found["results"]:
        beside = (
            f", {one['ratio']} times {one['peer_value']}/s"
            f" ({' to '.join(map(str, one['ratios']))}; the peer's best {one['peer_best']}/s)"
            if "peer" in one
            else ""
        )
        print(f"{one['metric']}: {one['value']} {one['unit']}{beside}")


if __name__ == "__main__":
    main()
