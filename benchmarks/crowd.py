"""Flocking by the written rules of a published comparison, beside Mesa in the same run, bird for bird the same flight.

The rules are Flocking's of JuliaDynamics/ABMFrameworksComparison (commit 553c394): the sizes small and large, 100
steps, building and flying timed together. Two things are settled alike for both sides: headings are of length 1 from the beginning, as
the rules say, and differences go the short way around the torus, as the rules' text says and its snippet doesn't.
The frameworks of that comparison other than Mesa are not measured here: how they stand to Mesa is cited.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from benchmarks._flock import LARGE, SMALL, STEPS, Flock, Rules, alignment, farthest
from benchmarks._machine import machine

ROUNDS: Final = 10
"""Flights on each of Mesa's spaces at scale 1, of which the median counts. The comparison takes 100, which would be half an hour."""
EACH: Final = 10
"""Flights of ours in each round, so that ours are 100."""
SEEDS: Final = (1, 2, 3)
"""Of the flights that are compared bird by bird."""
FARTHEST: Final = {1: 1e-12, 10: 1e-11, 100: 1e-9}
"""By step, how far apart a bird may be in two flights that differ by rounding alone. A unit is what a bird flies in a step."""
CITED: Final = {
    "small": {"Agents.jl 6.2.10": 159.29, "Ark.jl 0.4.0": 159.29 / 0.73},
    "large": {"Agents.jl 6.2.10": 59.5, "Ark.jl 0.4.0": 59.5 / 0.36},
}
"""How many times faster than Mesa 3.2.0 the comparison's page says they are: cited, not measured."""


def run(*, scale: float = 1.0) -> dict[str, Any]:
    """Fly both sizes, by turns with Mesa, and compare flights bird by bird.

    Mesa's model runs as its users run it, in random orders of its own (`shuffle_do`), on both of its continuous
    spaces, of which the faster is the peer. For the flights that are compared its birds get the orders of ours, one `step` after another.
    The compiler's time is not counted but told. `scale` changes how many flights there are. Returns {bench, machine, results, notes};
    without Mesa {…, missing}, and only our times.
    """
    try:
        from benchmarks._flock_mesa import Birds
    except ImportError as error:
        hint = "pip install -e '.[bench]'"
        missing = [{"what": "Mesa", "reason": str(error), "hint": hint}]
        return _report([_alone(name, rules) for name, rules in _SIZES.items()], missing=missing)
    rounds = max(3, round(ROUNDS * scale))
    results = [_row("the kernel made ready to run, once", "ms", _ready())]
    for name, rules in _SIZES.items():
        results += _raced(name, rules, rounds, Birds)
        results += compared(name, rules, rules, SEEDS[: max(1, round(len(SEEDS) * scale))], Birds)
    notes = [
        f"cited from the comparison's page, measured on another machine with Mesa 3.2.0, flocking-{name}: "
        + ", ".join(f"{who} {times:.0f} times as fast as Mesa" for who, times in cited.items())
        for name, cited in CITED.items()
    ]
    return _report(results, notes=notes)


_SIZES: Final = {"small": SMALL, "large": LARGE}


def compared(
    name: str, ours: Rules, theirs: Rules, seeds: Sequence[int], birds: Any
) -> list[dict[str, Any]]:
    """Rows on how far birds of ours are from the same birds of Mesa's that fly by `theirs`: from the same start, in the same orders."""
    found = dict.fromkeys(FARTHEST, 0.0)
    for seed in seeds:
        flock = Flock.born(ours, seed)
        model = birds(theirs, seed, born=(flock.x, flock.y, flock.vx, flock.vy))
        for step in range(max(FARTHEST)):
            order = flock.order_of(step)
            flock.fly(1)
            model.act(order)
            if step + 1 in found:
                apart = farthest((flock.x, flock.y), model.arrays()[:2], ours.side)
                found[step + 1] = max(found[step + 1], apart)
    return [
        _row(f"{name}: the bird farthest from itself in Mesa, step {step}", "units", apart)
        | {"at_most": FARTHEST[step]}
        for step, apart in found.items()
    ]


def _raced(name: str, rules: Rules, rounds: int, birds: Any) -> list[dict[str, Any]]:
    """Rows on the time of a flight, ours by turns with Mesa's, and on what came of the flights."""
    ours: list[float] = []
    theirs: dict[bool, list[float]] = {False: [], True: []}
    in_line, in_line_there = [], []
    for n in range(rounds):
        for k in range(EACH):
            taken, flock = _timed(partial(Flock.born, rules), n * EACH + k)
            ours.append(taken)
            in_line.append(alignment(flock.vx, flock.vy))
        for plain, times in theirs.items():
            taken, model = _timed(partial(birds, rules, plain=plain), 2 * n + plain)
            times.append(taken)
            in_line_there.append(alignment(*model.arrays()[2:]))
    value = statistics.median(ours)
    medians = {plain: statistics.median(times) for plain, times in theirs.items()}
    best = min(medians, key=lambda plain: medians[plain])
    spaces = {False: "mesa.experimental.continuous_space", True: "mesa.space"}
    error = statistics.variance(in_line) / len(in_line)
    error += statistics.variance(in_line_there) / len(in_line_there)
    away = abs(statistics.mean(in_line) - statistics.mean(in_line_there)) / error**0.5
    return [
        _row(f"{name}: {rules.birds} birds built and flown {STEPS} steps", "ms", value)
        | {
            "peer": f"Mesa {_version()}, {spaces[best]}",
            "peer_value": round(medians[best], 2),
            "ratio": round(medians[best] / value, 1),
            "at_least": 100,
        },
        _row(f"{name}: the same on Mesa's {spaces[not best]}", "ms", medians[not best]),
        _row(f"{name}: mean alignment of ours at the end", "share", statistics.mean(in_line)),
        _row(f"{name}: Mesa's alignment is off ours by", "standard errors", away) | {"at_most": 4},
    ]


def _timed(make: Callable[[int], Any], seed: int) -> tuple[float, Any]:
    """Milliseconds to build and to fly, and what flew."""
    began = time.perf_counter()
    flock = make(seed)
    flock.fly(STEPS)
    return (time.perf_counter() - began) * 1e3, flock


def _alone(name: str, rules: Rules) -> dict[str, Any]:
    _ready()
    times = [_timed(partial(Flock.born, rules), seed)[0] for seed in range(ROUNDS)]
    what = f"{name}: {rules.birds} birds built and flown {STEPS} steps"
    return _row(what, "ms", statistics.median(times))


def _ready() -> float:
    """Milliseconds of the first flight in this process: compiling, or loading what was compiled before."""
    return _timed(partial(Flock.born, SMALL), 0)[0]


def _version() -> str:
    import mesa

    return str(mesa.__version__)


def _row(metric: str, unit: str, value: float) -> dict[str, Any]:
    return {"metric": metric, "unit": unit, "value": float(f"{value:.4g}")}


def _report(results: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"bench": "crowd", "machine": machine(), "results": results, **more}
