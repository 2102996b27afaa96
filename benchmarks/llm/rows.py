"""What the phases of one model mean: outcomes in, rows with their bounds into the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmarks.llm.plan import OPPONENTS
from benchmarks.llm.results import row

if TYPE_CHECKING:
    from benchmarks.llm.drive import Speech
    from benchmarks.llm.greedy import Comparison
    from benchmarks.llm.plan import Outcome, Plan, Report

OURS = "greenroom"
LOOP, SERVER, EXAMPLE = OPPONENTS.values()
FLOOR = "computed floor"
AGAINST_LOOP = 5.0
AGAINST_SERVER = {8: 1.2, 32: 1.5}
AGAINST_EXAMPLE = 1.0
OVER_FLOOR = 1.15
BUSY_OVER_IDLE = 2.0
OVERHEAD_FREE, OVERHEAD_STRUCTURED = 0.05, 0.10
CROWD = 128


def shared(
    report: Report, plan: Plan, at_once: int, found: Mapping[str, Outcome], least: int
) -> None:
    """Requests a second and prompt tokens decoded, 64 NPCs over 8 personas."""
    metric = f"{plan.name}: requests a second, shared personas, {at_once} at once"
    example = AGAINST_EXAMPLE if at_once > 1 else None
    _rates(report, metric, found, {SERVER: AGAINST_SERVER.get(at_once), EXAMPLE: example})
    _reads(report, f"{plan.name}: prompt tokens decoded, shared, {at_once} at once", found, least)
    if at_once == max(AGAINST_SERVER):
        _overhead(report, plan, "free", found[OURS], OVERHEAD_FREE)


def distinct(
    report: Report,
    plan: Plan,
    found: Mapping[str, Outcome],
    least: int,
    same: Comparison | None,
) -> None:
    """The same for NPCs with a persona each, and the greedy replies beside the plain loop's."""
    metric = f"{plan.name}: requests a second, distinct personas"
    _rates(report, metric, found, {LOOP: AGAINST_LOOP, SERVER: None, EXAMPLE: None})
    _reads(report, f"{plan.name}: prompt tokens decoded, distinct", found, least)
    if same is not None:
        metric = f"{plan.name}: greedy replies equal to the plain loop's"
        report.results.append(row(metric, "share", same.share, note=same.note))


def poisson(
    report: Report,
    plan: Plan,
    personas: str,
    rate: float,
    found: Mapping[str, Outcome],
    peers: Sequence[str],
) -> None:
    """What is met when requests come by chance, `rate` a second: waiting, whole answers, and how many are served.

    A side that serves fewer than come has a queue that grows to the end.
    """
    ours = found[OURS].run
    where = f"{personas} personas, Poisson {rate:.3g}/s"
    for peer in peers:
        theirs = found[peer].run if peer in found else None
        for percent in (50, 95):
            metric = f"{plan.name}: p{percent} to the first token, {where}"
            value = theirs.first_ms(percent) if theirs else None
            _against(report, metric, "ms", ours.first_ms(percent), peer, value)
        for percent in (50, 95):
            metric = f"{plan.name}: p{percent} to the whole answer, {where}"
            value = theirs.whole_ms(percent) if theirs else None
            _against(report, metric, "ms", ours.whole_ms(percent), peer, value)
        metric = f"{plan.name}: requests a second served, {where}"
        note = f"{len(ours.answers)} requests; the seconds are counted to the last answer's end"
        value = theirs.rate if theirs else None
        _against(report, metric, "1/s", ours.rate, peer, value, note=note)


def structured(report: Report, plan: Plan, outcome: Outcome) -> None:
    """Replies that satisfied their schema at once, and the engine's share of the time."""
    answers = outcome.run.answers
    wrong = [answer.text for answer in answers if not answer.valid]
    report.results.append(
        row(
            f"{plan.name}: valid structured replies at the first attempt",
            "share",
            1.0 - len(wrong) / len(answers),
            at_least=1.0,
            note=f"the first that was not: {wrong[0][:200]}" if wrong else "",
        )
    )
    _overhead(report, plan, "structured", outcome, OVERHEAD_STRUCTURED)


def speech(report: Report, plan: Plan, found: Mapping[str, Sequence[Speech]]) -> None:
    """The curve, and a player's wait among many busy NPCs beside the same engine idle."""
    curve = report.curve.setdefault(plan.name, [])
    for side, steps in found.items():
        for step in steps:
            if step.busy:
                curve.append(
                    {
                        "side": side,
                        "busy": step.busy,
                        "n": len(step.first_s),
                        "wanted": step.wanted,
                        "p50_ms": round(step.first_ms(50), 2),
                        "p95_ms": round(step.first_ms(95), 2),
                    }
                )
    idle, *busy = found[OURS]
    crowded = busy[-1]
    report.results.append(
        row(
            f"{plan.name}: p95 to a player's first token, {crowded.busy} NPCs busy",
            "ms",
            crowded.first_ms(95),
            peer="idle engine, same persona warm",
            peer_value=idle.first_ms(95),
            at_most=BUSY_OVER_IDLE,
            note=f"{len(crowded.first_s)} lines",
        )
    )
    for peer in (LOOP, SERVER, EXAMPLE):
        for at, step in enumerate(busy, start=1):
            theirs = found[peer][at] if len(found.get(peer, ())) > at else None
            spoken = len(theirs.first_s) if theirs else 0
            _against(
                report,
                f"{plan.name}: p95 to a player's first token, {step.busy} NPCs busy",
                "ms",
                step.first_ms(95),
                peer,
                theirs.first_ms(95) if theirs and spoken else None,
                note=f"{len(step.first_s)} lines against {spoken}",
            )


def _rates(
    report: Report,
    metric: str,
    found: Mapping[str, Outcome],
    bounds: Mapping[str, float | None],
) -> None:
    for peer, bound in bounds.items():
        theirs = found[peer].run.rate if peer in found else None
        _against(report, metric, "1/s", found[OURS].run.rate, peer, theirs, bound)


def _against(
    report: Report,
    metric: str,
    unit: str,
    value: float,
    peer: str,
    peer_value: float | None,
    at_least: float | None = None,
    note: str = "",
) -> None:
    if not peer_value:
        note = f"not compared with {peer}: see what is missing"
    report.results.append(
        row(metric, unit, value, peer=peer, peer_value=peer_value, at_least=at_least, note=note)
    )


def _reads(report: Report, metric: str, found: Mapping[str, Outcome], least: int) -> None:
    for side, outcome in found.items():
        if outcome.read is not None:
            report.results.append(
                row(
                    f"{metric}, {side}",
                    "tokens",
                    outcome.read,
                    peer=FLOOR,
                    peer_value=least,
                    at_most=OVER_FLOOR if side == OURS else None,
                )
            )


def _overhead(report: Report, plan: Plan, kind: str, outcome: Outcome, at_most: float) -> None:
    """Time outside llama_decode, by two clocks; bounded on the 250M model, since a step of the house model is too short.

    The engine's own: of its thread's busy time. The asker's: of the whole time from the first asking
    to the last answer, so with everything that no clock of the engine's could leave out: taking
    requests in, templates, grammars, telling, pipes, and the bench's own work.
    """
    metric = f"{plan.name}: engine overhead, {kind} replies"
    busy, decode = outcome.figures.get("busy_s", 0.0), outcome.figures.get("decode_s")
    if decode is None or busy <= 0:
        report.miss(metric, "the engine's status has no decode_s beside its busy_s")
        return
    bound: float | None = at_most
    note = ""
    if plan.name != "250m":
        bound = None
        note = f"at most {at_most:g} is promised for the 250m model (--only 250m)"
    for clock, seconds in (("", busy), (", by the asker's clock", outcome.run.seconds)):
        share = 1.0 - decode / seconds
        report.results.append(row(metric + clock, "share", share, at_most=bound, note=note))
