"""`python -m benchmarks.llm`: the bench with its options, telling on stderr what it is at."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from benchmarks.llm import run
from benchmarks.llm.find import MODELS


def main() -> None:
    """Print the report as one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.llm")
    parser.add_argument("--only", action="append", choices=MODELS, default=[])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=0, help="0: all physical cores")
    parser.add_argument("--gpu-layers", type=int, default=-1)
    parser.add_argument("--chart", type=Path, help="draw the curve there, e.g. docs/img/llm.png")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    report = run(
        scale=given.scale,
        only=given.only or ["house"],
        chart=given.chart,
        threads=given.threads,
        gpu_layers=given.gpu_layers,
    )
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
