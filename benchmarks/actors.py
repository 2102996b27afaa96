"""Messages a second to many actors: the shared dispatcher beside Pykka's thread an actor, in one run."""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pykka

from actors.dispatch import Dispatcher, GreenActor

MESSAGES = 100_000
ROUNDS = 3


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


def run(*, scale: float = 1.0) -> dict[str, Any]:
    """Tell 100 and 1,000 actors in turn, from one thread; the median of three rounds each.

    Both sides take turns within each round. Returns {bench, machine, results: [{metric, unit, value,
    peer, peer_value, ratio, at_least}]}; `scale` shortens or lengthens the run.
    """
    messages = max(10_000, int(MESSAGES * scale))
    results = []
    with Dispatcher(workers=1) as dispatcher:

        def green(share: int, gate: _Gate) -> pykka.ActorRef[Any]:
            return dispatcher.start(_Green, share, gate)

        def threaded(share: int, gate: _Gate) -> pykka.ActorRef[Any]:
            return _Threaded.start(share, gate)

        for actors, at_least in ((100, 1.0), (1_000, 10.0)):
            ours, peers = [], []
            for _ in range(ROUNDS):
                ours.append(_tells(green, actors, messages))
                peers.append(_tells(threaded, actors, messages))
            value, peer = sorted(ours)[ROUNDS // 2], sorted(peers)[ROUNDS // 2]
            results.append(
                {
                    "metric": f"messages told to {actors:,} actors",
                    "unit": "1/s",
                    "value": round(value),
                    "peer": "pykka.ThreadingActor",
                    "peer_value": round(peer),
                    "ratio": round(value / peer, 2),
                    "at_least": at_least,
                }
            )
    return {
        "bench": "actors",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores,"
        f" Python {platform.python_version()}, Pykka {version('pykka')}",
        "results": results,
    }


def main() -> None:
    """Print the measurement, as a table or with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = run()
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for one in found["results"]:
        print(f"{one['metric']}: {one['value']}/s, {one['ratio']} times {one['peer_value']}/s")


if __name__ == "__main__":
    main()
