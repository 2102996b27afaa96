"""The rows of a report: {metric, unit, value, peer, peer_value, ratio, at_least or at_most, note}."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]


def row(
    metric: str,
    unit: str,
    value: float,
    *,
    peer: str = "",
    peer_value: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    note: str = "",
) -> Row:
    """One figure. With a peer the bound is on value / peer_value, else on the value.

    A named peer without a value is `unmeasured`: then no ratio and no bound are given, and the note
    should say why.
    """
    found: Row = {"metric": metric, "unit": unit, "value": rounded(value)}
    measured = peer_value is not None and peer_value > 0
    if measured:
        assert peer_value is not None
        found |= {
            "peer": peer,
            "peer_value": rounded(peer_value),
            "ratio": round(value / peer_value, 3),
        }
    elif peer:
        found["unmeasured"] = peer
    if measured or not peer:
        found |= {
            key: bound
            for key, bound in (("at_least", at_least), ("at_most", at_most))
            if bound is not None
        }
    if note:
        found["note"] = note
    return found


def rounded(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")


def lacking(ours: str, theirs: str) -> list[str]:
    """Instruction sets that llama.cpp's system info names for us and not for an opponent."""
    return sorted(_features(ours) - _features(theirs)) if theirs else []


def _features(info: str) -> set[str]:
    parts = (part.split(":")[-1] for part in info.split("|"))
    pairs = (part.split("=") for part in parts if "=" in part)
    return {name.strip() for name, value in pairs if value.strip() == "1"}
