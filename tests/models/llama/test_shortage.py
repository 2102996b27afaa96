"""Which words tell of a lack of memory; the sentences are llama.cpp's own, and Python's."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.llama.shortage import kernel_kills, tells_of_shortage

LACK = """\
ggml_aligned_malloc: insufficient memory (attempted to allocate 1025.01 MB)
ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 1074802720
ggml_backend_cuda_buffer_type_alloc_buffer: allocating 8.00 MiB on device 0: cudaMalloc failed: out of memory
ggml_gallocr_reserve_n_impl: failed to allocate CUDA0 buffer of size 1074802720
CUDA error: out of memory
ggml_vulkan: Device memory allocation of size 1048898304 failed.
ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory
llama_model_load: error loading model: unable to allocate CUDA0 buffer
llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache
llama_init_from_model: failed to initialize the context: std::bad_alloc
malloc_device: can't allocate 4096 Bytes of memory on device
MemoryError
numpy._core._exceptions._ArrayMemoryError: Unable to allocate 1.00 TiB for an array
no process can be started: [Errno 12] Cannot allocate memory"""

OTHERWISE = """\
llama_model_load: error loading model: tensor 'token_embd.weight' data is not within the file bounds
CUDA error: an illegal memory access was encountered
decode: failed to find a memory slot for batch of size 32
llama_init_from_model: failed to initialize the context: quantized V cache was requested
WARNING: failed to allocate 128.00 MB of pinned memory: out of memory
model.gguf: loading took 41 MiB, more than 12 for a file of its size
RuntimeError: llama_decode failed with code -3"""


@pytest.mark.parametrize("line", LACK.splitlines())
def test_a_lack_of_memory_is_recognised(line: str) -> None:
    assert tells_of_shortage(line)


@pytest.mark.parametrize("line", OTHERWISE.splitlines())
def test_other_troubles_are_not_taken_for_it(line: str) -> None:
    assert not tells_of_shortage(line, worked=True)


@pytest.mark.parametrize(
    "line",
    [
        "gguf_init: encountered bad_alloc error while reading key 7",
        "terminate called after throwing an instance of 'std::bad_alloc'",
    ],
)
def test_a_file_that_never_worked_may_have_asked_for_too_much(line: str) -> None:
    assert not tells_of_shortage(line)
    assert tells_of_shortage(line, worked=True)


def test_the_kernels_own_count_of_kills_is_read_where_it_tells_one(tmp_path: Path) -> None:
    assert kernel_kills(tmp_path) is None
    (tmp_path / "proc").mkdir()
    vmstat = tmp_path / "proc" / "vmstat"
    vmstat.write_text("nr_free_pages 3\noom_kill 7\noom_kill_other 9\n", encoding="ascii")
    assert kernel_kills(tmp_path) == 7
    vmstat.write_text("nr_free_pages 3\n", encoding="ascii")
    assert kernel_kills(tmp_path) is None
