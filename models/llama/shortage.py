"""Recognises a lack of memory in what llama.cpp, its GPU libraries, Python and the kernel say."""

from __future__ import annotations

import re
from pathlib import Path

from models.llama.cgroups import text_of

# ggml.c, ggml-alloc.c, ggml-backend.cpp and llama-context.cpp for all backends ("failed to allocate",
# "unable to allocate", "insufficient memory"); ggml-cuda.cu, ggml-vulkan, ggml-sycl, ggml-metal each
# in their own words; numpy's error ends in MemoryError too.
_LACK = re.compile(
    r"out.?of.?((device|host).?)?memory|insufficient memory|(failed|unable) to allocate"
    r"|(can't|cannot) allocate|memory allocation of size|cudaMalloc|alloc_buffer|MemoryError"
    r"|initialize the context: std::bad_alloc",
    re.IGNORECASE,
)
# Memory that would only have been faster: ggml goes on without it.
_HARMLESS = "pinned memory"
# From a file that never worked this may be a damaged header, which asks for anything.
_ASKED = "bad_alloc"


def kernel_kills(root: Path = Path("/")) -> int | None:
    """How many processes the kernel has killed for want of memory so far; None where it doesn't tell.

    `oom_kill` of Linux's /proc/vmstat (mm/oom_kill.c), which counts before a process ends of it.
    """
    for line in text_of(root / "proc/vmstat").splitlines():
        name, _, count = line.partition(" ")
        if name == "oom_kill" and count.isdigit():
            return int(count)
    return None


def tells_of_shortage(text: str, *, worked: bool = False) -> bool:
    """Whether a line of a log or of stderr says that memory could not be had.

    `worked`: the model file has been used before, so that it can't be what asked for too much.
    """
    if _HARMLESS in text:
        return False
    return _LACK.search(text) is not None or (worked and _ASKED in text)
