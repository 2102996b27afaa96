"""Writes what the protocol is from the models themselves: the reference page, AsyncAPI, vectors.

``python -m engine_bridge.describe docs/ tests/vectors/`` writes them; with ``--check`` it writes
nothing and fails if a file is stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from engine_bridge.examples import vectors
from engine_bridge.reference.asyncapi import asyncapi
from engine_bridge.reference.page import protocol_markdown


def main(arguments: list[str] | None = None) -> int:
    """Write or check the files; 0 when all is as it should be."""
    parser = argparse.ArgumentParser(prog="python -m engine_bridge.describe")
    parser.add_argument("docs", type=Path, help="folder of protocol.md and asyncapi.json")
    parser.add_argument("vectors", type=Path, help="folder of the golden vectors")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if stale")
    options = parser.parse_args(arguments)
    wanted = {options.docs / name: text.encode() for name, text in documents().items()}
    wanted |= {options.vectors / name: data for name, data in vectors().items()}
    stale = [path for path, data in wanted.items() if not _same(path, data)]
    known = set(wanted)
    left_over = [path for path in _files(options.vectors) if path not in known]
    if options.check:
        for path in (*stale, *left_over):
            print(f"{path} is stale", file=sys.stderr)
        if stale or left_over:
            print(
                f"write anew: python -m engine_bridge.describe {options.docs} {options.vectors}",
                file=sys.stderr,
            )
        return 1 if stale or left_over else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wanted[path])
    for path in left_over:
        path.unlink()
    print(f"{len(stale)} files written, {len(left_over)} removed, {len(wanted)} in all")
    return 0


def documents() -> dict[str, str]:
    """The two pages by file name."""
    return {
        "protocol.md": protocol_markdown(),
        "asyncapi.json": json.dumps(asyncapi(), indent=1, ensure_ascii=False) + "\n",
    }


def _same(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix in (".bin", ".json"))


if __name__ == "__main__":
    sys.exit(main())
