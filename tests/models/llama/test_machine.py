"""Measuring a machine, on made-up /sys and /proc trees and on this very one."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.llama import machine, spawn
from models.llama.cgroups import cpu_quota
from models.llama.cgroups import memory as group_memory
from models.llama.cores import Cores, count, default_threads, physical_cores
from models.llama.cores import name as cpu_name
from models.llama.machine import Gpu, measure, memory, probe_gpus

GIB = 1 << 30
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads sysfs")


def write(root: Path, files: dict[str, object]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def cpu(n: int, siblings: str, **more: object) -> dict[str, object]:
    folder = f"sys/devices/system/cpu/cpu{n}"
    return {
        f"{folder}/topology/thread_siblings_list": siblings,
        **{f"{folder}/{name.replace('__', '/')}": value for name, value in more.items()},
    }


@linux
def test_hyper_threads_of_a_core_count_once(tmp_path: Path) -> None:
    for n in range(8):
        write(tmp_path, cpu(n, f"{n % 4},{n % 4 + 4}"))
    assert count(tmp_path, range(8)) == Cores(4, 4)
    assert count(tmp_path, [0, 4, 1]) == Cores(2, 2)


@linux
def test_an_intel_hybrid_thinks_on_its_performance_cores(tmp_path: Path) -> None:
    for n in range(4):
        write(tmp_path, cpu(n, f"{n // 2 * 2}-{n // 2 * 2 + 1}"))
    for n in range(4, 12):
        write(tmp_path, cpu(n, str(n)))
    write(tmp_path, {"sys/devices/cpu_core/cpus": "0-3", "sys/devices/cpu_atom/cpus": "4-11"})
    assert count(tmp_path, range(12)) == Cores(10, 2)
    assert count(tmp_path, range(4, 12)) == Cores(8, 8), "it may run on efficiency cores alone"


@linux
@pytest.mark.parametrize(
    ("source", "big", "little"),
    [("cpu_capacity", 1024, 446), ("cpufreq__cpuinfo_max_freq", 5_100_000, 3_300_000)],
)
def test_small_cores_are_told_by_capacity_or_clock(
    tmp_path: Path, source: str, big: int, little: int
) -> None:
    for n in range(8):
        write(tmp_path, cpu(n, str(n), **{source: big if n >= 4 else little}))
    assert count(tmp_path, range(8)) == Cores(8, 4)


@linux
def test_a_core_that_boosts_a_little_higher_makes_the_others_no_small_ones(tmp_path: Path) -> None:
    for n in range(4):
        write(tmp_path, cpu(n, str(n), cpufreq__cpuinfo_max_freq=5_200_000 + 300_000 * (n == 2)))
    assert count(tmp_path, range(4)) == Cores(4, 4)


@linux
def test_cores_nothing_is_known_of_all_count(tmp_path: Path) -> None:
    assert count(tmp_path, range(3)) == Cores(3, 3)


@pytest.mark.parametrize(
    ("cores", "threads"),
    [
        (Cores(1, 1), 1),
        (Cores(8, 8), 7),
        (Cores(10, 2), 1),
        (Cores(8, 8, 3.5), 2),
        (Cores(8, 8, 0.5), 1),
        (Cores(4, 4, 64.0), 3),
    ],
)
def test_the_game_keeps_a_core_and_a_quota_is_heeded(cores: Cores, threads: int) -> None:
    assert cores.threads == threads


def test_a_cpu_is_told_by_its_name_or_at_least_its_kind(tmp_path: Path) -> None:
    assert cpu_name(tmp_path)
    write(tmp_path, {"proc/cpuinfo": "processor\t: 0\nmodel name\t: A  fast\tCPU @ 3 GHz\n"})
    assert cpu_name(tmp_path) == "A fast CPU @ 3 GHz"


def test_a_version_2_group_and_those_above_it_limit_cpu_and_memory(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/games/greenroom"
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/games/greenroom",
            f"{group}/cpu.max": "max 100000",
            f"{group}/memory.max": 4 * GIB,
            f"{group}/memory.current": 3 * GIB,
            f"{group}/memory.stat": f"anon 5\ninactive_file {GIB}\nactive_file 7",
            "sys/fs/cgroup/games/cpu.max": "250000 100000",
            "sys/fs/cgroup/games/memory.max": "max",
            "sys/fs/cgroup/games/memory.high": 8 * GIB,
            "sys/fs/cgroup/games/memory.current": 7 * GIB,
        },
    )
    assert cpu_quota(tmp_path) == 2.5
    assert group_memory(tmp_path) == (4 * GIB, 1 * GIB)


def test_a_version_1_group_limits_too_and_its_huge_number_is_no_limit(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/box\n3:cpu,cpuacct:/box\n0::/",
            "sys/fs/cgroup/memory/box/memory.limit_in_bytes": 2 * GIB,
            "sys/fs/cgroup/memory/box/memory.usage_in_bytes": GIB // 2,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712,
            "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": 150000,
            "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": 100000,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": -1,
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": 100000,
        },
    )
    assert cpu_quota(tmp_path) == 1.5
    assert group_memory(tmp_path) == (2 * GIB, 2 * GIB - GIB // 2)


def test_without_groups_there_are_no_limits(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None and group_memory(tmp_path) is None


@linux
def test_a_group_limits_the_memory_that_the_kernel_tells(tmp_path: Path) -> None:
    write(
        tmp_path, {"proc/meminfo": f"MemTotal: {16 << 20} kB\nMemAvailable: {12 << 20} kB\nOdd: x"}
    )
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: {16 << 20} kB\nMemAvailable: {12 << 20} kB")
    assert memory(tmp_path) == (16 * GIB, 12 * GIB)
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/memory.max": 2 * GIB,
            "sys/fs/cgroup/memory.current": GIB,
        },
    )
    assert memory(tmp_path) == (2 * GIB, GIB)


def test_this_machine_is_measured_within_what_it_has() -> None:
    found = measure()
    assert 1 <= found.cores.performance <= found.cores.physical <= (os.cpu_count() or 1)
    assert (physical_cores(), default_threads()) == (found.cores.physical, found.cores.threads)
    assert 0 < found.ram_available <= found.ram_total
    assert bool(found.gpus) is not bool(found.no_gpu)
    assert found.pack()["threads"] == found.cores.threads


def test_a_gpu_without_memory_of_its_own_has_the_machine_s() -> None:
    found = measure(probe=lambda: ((Gpu("iGPU", "", 0, 0),), ""))
    assert found.gpus == (Gpu("iGPU", "", found.ram_total, found.ram_available, shared=True),)


@pytest.mark.engine
def test_the_probe_tells_devices_or_why_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_built_for_cpu", lambda: False)
    gpus, why = probe_gpus()
    assert bool(gpus) is not bool(why)
    assert all(0 <= gpu.free <= gpu.total for gpu in gpus)
    assert "asking for it" not in why and "no sense" not in why


@pytest.mark.engine
def test_ggml_s_own_device_list_is_read_with_the_cpu_standing_in_for_a_gpu() -> None:
    code = (
        "import json, llama_cpp; from models.llama import probe; probe._GPU = probe._CPU;"
        "llama_cpp.llama_supports_gpu_offload = lambda: True; print(json.dumps(probe._look()))"
    )
    run = [sys.executable, "-P", "-c", code]
    told = subprocess.run(run, env=spawn.environment(), check=True, capture_output=True)
    (found,) = json.loads(told.stdout.splitlines()[-1])["gpus"]
    device = Gpu(**found)
    assert device.name == "CPU" and not device.shared
    assert device.total == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < device.free <= device.total


@pytest.mark.engine
def test_measuring_does_not_bring_llama_cpp_into_this_process() -> None:
    code = "import sys; from models.llama import fit, machine; machine.measure(); sys.exit('llama_cpp' in sys.modules)"
    subprocess.run([sys.executable, "-P", "-c", code], env=spawn.environment(), check=True)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("raise RuntimeError('no CUDA driver')", "exit code 1 (RuntimeError: no CUDA driver)"),
        ("import time; time.sleep(60)", "more than 0.5 s"),
        ("print('hello')", "makes no sense"),
    ],
)
def test_a_probe_that_fails_is_no_gpu_and_says_why(
    monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    monkeypatch.setattr(machine, "_built_for_cpu", lambda: False)
    monkeypatch.setattr(spawn, "command", lambda module: [sys.executable, "-c", code])
    gpus, why = probe_gpus(timeout_s=0.5 if "sleep" in code else 30.0)
    assert gpus == () and words in why


@pytest.mark.parametrize(
    ("names", "nobody_need_ask"),
    [
        (["libggml-base.so.0", "libggml-cpu.so", "libggml.so", "libllama.so"], True),
        (["ggml-base.dll", "ggml-cpu.dll", "ggml-vulkan.dll"], False),
        (["libggml-base.so", "libggml-cpu-haswell.so", "libggml-cuda.so"], False),
        (["libggml.so", "libllama.so"], False),
        ([], False),
    ],
)
def test_only_a_build_for_the_cpu_alone_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], nobody_need_ask: bool
) -> None:
    write(tmp_path, {f"llama_cpp/lib/{name}": "" for name in names} | {"llama_cpp/__init__.py": ""})
    spec = importlib.util.spec_from_file_location("llama_cpp", tmp_path / "llama_cpp/__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    assert machine._built_for_cpu() is nobody_need_ask
