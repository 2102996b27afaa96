"""A short-lived process that asks ggml for its devices: `python -m models.llama.probe`.

It prints one JSON object as the last line of stdout: `{"gpus": [{name, description, total, free,
shared}…], "why": "…"}`, where `why` says why there is none. A faulty driver may end it by a signal;
whoever started it takes that for "no GPU". The devices are chosen as llama.cpp chooses them when it
loads a model (src/llama.cpp): each GPU once, and integrated ones only where there is no other.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any

_CPU, _GPU, _INTEGRATED = 0, 1, 2
_UNIFIED = ("Metal", "MTL")


class _Caps(ctypes.Structure):
    # Larger than llama.cpp's own, whose flags grow in number from release to release.
    _fields_ = (("flags", ctypes.c_bool * 64),)


class _Props(ctypes.Structure):
    """ggml_backend_dev_props of ggml/include/ggml-backend.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("memory_free", ctypes.c_size_t),
        ("memory_total", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("device_id", ctypes.c_char_p),
        ("caps", _Caps),
    )


def main() -> int:
    """Print what there is; the exit code is 0 also when there is nothing."""
    # What a driver prints must not end up in the answer.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answer.write(json.dumps(_look()) + "\n")
    answer.flush()
    return 0


def _look() -> dict[str, Any]:
    try:
        import llama_cpp
        from llama_cpp import _ctypes_extensions, _ggml
    except (ImportError, OSError, RuntimeError) as error:
        return {"gpus": [], "why": f"llama-cpp-python can't be loaded: {error}"}
    if not llama_cpp.llama_supports_gpu_offload():
        return {"gpus": [], "why": "llama.cpp finds none, or was built for the CPU alone"}
    llama_cpp.llama_backend_init()
    registry = _ggml.libggml
    base = _ctypes_extensions.load_shared_library("ggml-base", _ggml.libggml_base_path)
    registry.ggml_backend_dev_count.restype = ctypes.c_size_t
    registry.ggml_backend_dev_get.restype = ctypes.c_void_p
    registry.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    base.ggml_backend_dev_get_props.restype = None
    base.ggml_backend_dev_get_props.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Props)]
    cards: list[dict[str, Any]] = []
    integrated: list[dict[str, Any]] = []
    seen: set[bytes] = set()
    for index in range(registry.ggml_backend_dev_count()):
        props = _Props()
        base.ggml_backend_dev_get_props(registry.ggml_backend_dev_get(index), ctypes.byref(props))
        if props.type not in (_GPU, _INTEGRATED):
            continue
        if props.device_id:
            if props.device_id in seen:
                continue
            seen.add(props.device_id)
        name = (props.name or b"GPU").decode("utf-8", "replace")
        found = {
            "name": name,
            "description": (props.description or b"").decode("utf-8", "replace"),
            "total": int(props.memory_total),
            "free": int(props.memory_free),
            # Metal calls the GPU of a machine with one memory for all a GPU of its own.
            "shared": props.type == _INTEGRATED or name.startswith(_UNIFIED),
        }
        (integrated if props.type == _INTEGRATED else cards).append(found)
    gpus = cards or integrated
    return {"gpus": gpus, "why": "" if gpus else "llama.cpp finds none that it can use"}


if __name__ == "__main__":
    sys.exit(main())
