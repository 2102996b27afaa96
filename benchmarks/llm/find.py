"""Finds what is measured: the models, made once into a cache folder, and the opponents' programs.

Opponents are looked for in the Python that GREENROOM_BENCH_PYTHON names, else in this one
(`pip install 'greenroom[bench]'`). The example server is LLAMA_EXAMPLE_SERVER, else it is taken out
of the installed version's source distribution, which pip downloads once.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.llm import workload
from benchmarks.llm.sides import Absent
from greenroom.folders import user_cache
from models import house

MODELS = ("house", "250m", "1b")
_SCRIPT = "examples/server/server.py"
_DOWNLOAD_S = 900.0
_IMPORT_S = 120.0
_SEED = 4


def cache_folder() -> Path:
    """Where what is made or downloaded once is kept, in the user's cache folder: made if it is not there."""
    folder = user_cache() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def model(name: str, folder: Path | None = None) -> Path:
    """The GGUF of one of `MODELS`, made now if it was not before. Raises Absent without `gguf`.

    `250m` is 16 layers of 1,024 with a vocabulary of 32,768; `1b` has the shape of Llama 3.2 1B,
    with 128,256. All write on until they are stopped (see `_gguf.write_endless`).
    """
    try:
        from benchmarks import _gguf
    except ImportError as error:
        raise Absent(f"the {name} model can't be made: {error}", "pip install gguf") from error
    folder = folder or cache_folder()
    if name == "house":
        source = house.path()
        digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
        path = folder / f"house-{digest}-endless.gguf"
        return path if path.exists() else _gguf.write_endless(source, path)
    shapes = {
        "250m": _gguf.Shape(1024, 16, 16, 4, 2816, 32_768, tied=False),
        "1b": _gguf.Shape(2048, 16, 32, 8, 8192, 128_256, tied=True),
    }
    path = folder / f"random-{name}-{_SEED}.gguf"
    if not path.exists():
        _gguf.write_random(path, f"random {name}", shapes[name], words=workload.words(), seed=_SEED)
    return path


def llama_cpp_version() -> str:
    """The installed llama-cpp-python's. Raises Absent when there is none."""
    try:
        return version("llama-cpp-python")
    except PackageNotFoundError as error:
        raise Absent(
            "llama-cpp-python is not installed", "pip install 'greenroom[local]'"
        ) from error


@cache
def python_with(module: str) -> str:
    """A Python that can import `module`. Raises Absent when none can."""
    python = os.environ.get("GREENROOM_BENCH_PYTHON", sys.executable)
    hint = "pip install 'greenroom[bench]', or name a Python that has it in GREENROOM_BENCH_PYTHON"
    try:
        tried = subprocess.run(
            [python, "-P", "-c", f"import {module}"],
            capture_output=True,
            text=True,
            timeout=_IMPORT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Absent(f"{python} can't be asked for {module}: {error}", hint) from error
    if tried.returncode:
        raise Absent(f"{module} can't be imported by {python}", hint)
    return python


@cache
def example_server() -> Path:
    """llama-cpp-python's example server as a file. Raises Absent when it can't be had."""
    named = os.environ.get("LLAMA_EXAMPLE_SERVER")
    if named:
        if not Path(named).is_file():
            raise Absent(
                f"LLAMA_EXAMPLE_SERVER names {named}, which is no file", "correct the path"
            )
        return Path(named)
    wanted = llama_cpp_version()
    kept = cache_folder() / f"llama-cpp-python-{wanted}-example-server.py"
    if not kept.exists():
        part = kept.with_suffix(".part")
        part.write_bytes(_out_of_the_source(wanted))
        part.replace(kept)
    return kept


def _out_of_the_source(wanted: str) -> bytes:
    hint = f"set LLAMA_EXAMPLE_SERVER to {_SCRIPT} of llama-cpp-python {wanted}"
    package = "llama-cpp-python"
    with tempfile.TemporaryDirectory(prefix="greenroom-bench-") as folder:
        try:
            subprocess.run(
                [
                    *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                    *("--no-binary", package, "--dest", folder, f"{package}=={wanted}"),
                ],
                capture_output=True,
                text=True,
                timeout=_DOWNLOAD_S,
                check=True,
            )
        except subprocess.SubprocessError as error:
            words = str(getattr(error, "stderr", "") or error).strip().splitlines()
            raise Absent(
                f"the source of {package} {wanted} can't be downloaded: {words[-1][:200]}", hint
            ) from error
        for archive in Path(folder).glob("*.tar.gz"):
            with tarfile.open(archive) as tar:
                for member in tar:
                    if member.name.partition("/")[2] == _SCRIPT:
                        file = tar.extractfile(member)
                        if file is not None:
                            return file.read()
    raise Absent(f"the source of {package} {wanted} has no {_SCRIPT}", hint)
