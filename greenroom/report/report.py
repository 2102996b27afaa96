"""A run's record written as files: `report.json`, `map.png`, `charts.png`, `report.html`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from greenroom.report.atlas import draw_map
from greenroom.report.charts import draw_charts
from greenroom.report.page import page, picture, table, write_whole
from greenroom.report.run import RunData
from greenroom.report.telling import clock, told
from world.maths import TILE


def write_report(run: RunData, out: Path) -> dict[str, Any]:
    """Write the four files into a folder, made if need be; return what `report.json` holds.

    Raises OSError where the folder can't be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    content = summary(run)
    draw_map(run, out / "map.png")
    draw_charts(run, out / "charts.png")
    write_whole(out / "report.json", json.dumps(content, indent=1) + "\n")
    write_whole(out / "report.html", _html(run, content, out))
    return content


def summary(run: RunData) -> dict[str, Any]:
    """Return the run as plain values: facts, totals, series, moments and final positions in tiles."""
    series = run.series
    living = {
        look.name: series.population[:, number]
        for number, look in enumerate(run.species)
        if look.alive and series.population[:, number].any()
    }
    return {
        "scene": run.scene,
        "seed": run.seed,
        "first_tick": run.first_tick,
        "last_tick": run.last_tick,
        "ticks": run.last_tick - run.first_tick,
        "day_ticks": run.day_ticks,
        "end": clock(run.last_tick, run.day_ticks),
        "state_hash": run.state_hash,
        "step_ms": {name: round(value, 4) for name, value in run.step_ms.items()},
        "population": {
            name: {
                "first": int(line[0]),
                "last": int(line[-1]),
                "least": int(line.min()),
                "most": int(line.max()),
            }
            for name, line in living.items()
        },
        "events": dict(run.event_totals),
        "moments": [
            {"tick": row.tick, "kind": row.kind, "who": row.who, "whom": row.whom}
            for row in run.moments
        ],
        "series": {
            "tick": series.tick.tolist(),
            "ticks": series.ticks.tolist(),
            "population": {name: line.tolist() for name, line in living.items()},
            "levels": {
                name: np.round(values, 1).tolist() for name, values in series.levels.items()
            },
            "events": {name: values.tolist() for name, values in series.events.items()},
            "step_mean_ms": np.round(series.step_mean, 4).tolist(),
            "step_max_ms": np.round(series.step_max, 4).tolist(),
        },
        "final": [
            {
                "name": name,
                "species": run.species[int(kind)].name,
                "x": round(int(x) / TILE, 2),
                "y": round(int(y) / TILE, 2),
                "dead": bool(dead),
            }
            for name, kind, x, y, dead in zip(
                run.final_names,
                run.final_species,
                run.final_x,
                run.final_y,
                run.final_dead,
                strict=True,
            )
        ],
    }


def _html(run: RunData, content: dict[str, Any], out: Path) -> str:
    steps = content["step_ms"]
    tiles = {
        "ticks": f"{content['ticks']:,}",
        "game days": f"{content['ticks'] / run.day_ticks:.1f}",
        "beings at the end": f"{sum(line['last'] for line in content['population'].values()):,}",
        "events": f"{sum(content['events'].values()):,}",
        "median tick": f"{steps['p50']:.2f} ms",
        "99th percentile": f"{steps['p99']:.2f} ms",
    }
    population = [
        (name.replace("_", " "), line["first"], line["last"], line["least"], line["most"])
        for name, line in content["population"].items()
    ]
    events = [(kind.replace("_", " "), count) for kind, count in content["events"].items()]
    moments = [(clock(row.tick, run.day_ticks), told(row)) for row in run.moments[-60:]]
    parts = [
        (
            "Where everyone is",
            picture(out / "map.png", "map of the world at the end of the run"),
        ),
        (
            "How it went",
            picture(out / "charts.png", "population, moods, events and tick times"),
        ),
        ("Population", table(("species", "first", "last", "least", "most"), population)),
        ("Events", table(("kind", "number"), events)),
    ]
    if moments:
        parts.append(("The latest moments", table(("when", "what"), moments)))
    title = run.scene.replace("_", " ").capitalize()
    note = f"Seed {run.seed}, to {content['end']}. State {run.state_hash}."
    return page(title, note, tiles, parts)
