"""The plain loop's process: `llama_cpp.Llama`, one request after another. Lines of JSON in and out.

`{"start": path, …}` loads; `{"ids": [...], "count": n}` writes n tokens greedily; `{"logits": ids,
"of": [...]}` tells what the model thinks of some tokens after others, and how far flash attention
alone would move that.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import llama_cpp
import numpy as np
from numpy.typing import NDArray


def _load(start: dict[str, Any], **more: Any) -> Any:
    return llama_cpp.Llama(
        start["start"],
        n_ctx=start["cells"],
        n_batch=start["batch"],
        n_threads=start["threads"],
        n_threads_batch=start["threads"],
        n_gpu_layers=start["gpu_layers"],
        verbose=False,
        **more,
    )


def _write(model: Any, ids: Sequence[int], count: int) -> dict[str, Any]:
    """Greedy tokens; what `Llama.generate` reuses of the request before is its own affair."""
    begun = time.perf_counter()
    first = 0.0
    tokens: list[int] = []
    for token in model.generate(ids, temp=0.0):
        if not tokens:
            first = time.perf_counter() - begun
        tokens.append(int(token))
        if len(tokens) == count:
            break
    return {"tokens": tokens, "first_s": first, "total_s": time.perf_counter() - begun}


def _logits(model: Any, ids: Sequence[int]) -> NDArray[np.float32]:
    model.reset()
    model.eval(ids)
    row = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(model.ctx, -1), (model.n_vocab(),))
    return row.copy()


def _weigh(model: Any, flash: Any, ids: Sequence[int], of: Sequence[int]) -> dict[str, Any]:
    row = _logits(model, ids)
    shift = np.abs(_logits(flash, ids) - row).max()
    return {
        "values": [float(row[token]) for token in of],
        "spread": float(row.std()),
        "shift": float(shift),
    }


def _answers(source: TextIO) -> Iterator[dict[str, Any]]:
    model: Any = None
    flash: Any = None
    start: dict[str, Any] = {}
    for line in source:
        asked = json.loads(line)
        if "start" in asked:
            start = asked
            model = _load(start)
            info = llama_cpp.llama_print_system_info()
            yield {"ready": True, "build": info.decode(), "version": llama_cpp.__version__}
        elif "ids" in asked:
            yield _write(model, asked["ids"], asked["count"])
        else:
            flash = flash or _load(start, flash_attn=True)
            yield _weigh(model, flash, asked["logits"], asked["of"])


def main() -> None:
    """Answer until the other end is gone."""
    # llama.cpp prints to stdout at times; the answers get a pipe of their own.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        for answer in _answers(sys.stdin):
            print(json.dumps(answer), file=answers, flush=True)
    except (ValueError, RuntimeError) as error:
        print(json.dumps({"error": str(error)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
