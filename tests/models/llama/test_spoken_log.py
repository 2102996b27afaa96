"""What llama.cpp logs as an error is among the last words of the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.engine

CODE = """
import sys
import llama_cpp.llama_cpp as lib
from models.llama.spoken_log import SpokenLog
log = SpokenLog(aloud=sys.argv[1] == "aloud")
lib.llama_backend_init()
if sys.argv[2] == "missing":
    lib.llama_model_load_from_file(b"/nowhere.gguf", lib.llama_model_default_params())
else:
    import ctypes
    # The package holds copies of one library; the one in use is meant.
    maps = open("/proc/self/maps").read().splitlines()
    base = ctypes.CDLL(next(line.split()[-1] for line in maps if "libggml-base" in line))
    base.ggml_aligned_malloc.restype = ctypes.c_void_p
    assert not base.ggml_aligned_malloc(ctypes.c_size_t(1 << 60))
print(log.shortage)
"""


def run(how: str, what: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE, how, what], capture_output=True, text=True, check=True
    )
    return done.stdout.strip(), done.stderr


def test_errors_are_said_aloud_and_are_no_shortage_by_themselves() -> None:
    shortage, said = run("aloud", "missing")
    assert "nowhere.gguf" in said
    assert shortage == ""
    assert "nowhere.gguf" not in run("quiet", "missing")[1]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_first_error_that_tells_of_a_lack_of_memory_is_kept() -> None:
    shortage, said = run("aloud", "too much")
    assert "insufficient memory" in shortage
    assert shortage in said
