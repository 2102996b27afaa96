"""The opponents behind HTTP: llama.cpp's `llama-server`, and llama-cpp-python's batched example server.

Both are asked over the loopback with the same token ids. Throughput is asked without streaming,
which costs them least; times to the first token need it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.llm import find, http
from benchmarks.llm.child import Child, free_port
from benchmarks.llm.sides import READY_S, Absent, Answer, SideError, Sizes
from benchmarks.llm.workload import REPLY_TOKENS, Prompt

_POLL_S = 0.1


@dataclass(slots=True)
class LlamaServer:
    """`llama-server`: the program in LLAMA_SERVER_BIN, else the one inside xllamacpp's wheel.

    Continuous batching, `slots` parallel slots that choose themselves by prefix, the prompt cache in
    host memory on (8 GiB, its default). Each slot has a KV stream of its own, its default for a given
    number of slots: on a CPU that is two to four times as fast as unified KV, measured here. Slots keep
    their KV while idle, since the context holds all of them. Its sampler chain is cut down to the
    greedy choice.
    """

    path: Path
    sizes: Sizes
    slots: int = 32
    name: str = "llama-server"
    settings: dict[str, Any] = field(default_factory=dict)
    _child: Child | None = None
    _address: str = ""
    _read: int = 0

    async def start(self) -> None:
        program = os.environ.get("LLAMA_SERVER_BIN")
        await (self._start_program(program) if program else self._start_wheel())

    async def _start_wheel(self) -> None:
        sizes = self.sizes
        params = {
            "model.path": str(self.path),
            "n_ctx": sizes.cells,
            "n_parallel": self.slots,
            "kv_unified": not sizes.streams,
            "cont_batching": True,
            "cache_prompt": True,
            "cache_idle_slots": False,
            "fit_params": False,
            "n_batch": max(2048, sizes.batch),
            "n_ubatch": sizes.batch,
            "n_gpu_layers": sizes.gpu_layers,
            "cpuparams.n_threads": sizes.threads,
            "cpuparams_batch.n_threads": sizes.threads,
            "verbosity": 1,
        }
        if not sizes.flash:
            params["flash_attn_type"] = 0
        script = Path(__file__).with_name("xllamacpp_child.py")
        self._child = Child(
            [find.python_with("xllamacpp"), "-P", str(script), json.dumps(params)], self.name
        )
        await self._child.start()
        try:
            ready = await asyncio.wait_for(self._child.hear(), READY_S)
        except TimeoutError as error:
            raise SideError(f"{self.name} was not ready in {READY_S:g} s") from error
        self._address = ready["address"].rstrip("/")
        self.settings = {
            "from": f"xllamacpp {ready['version']}",
            "build": ready["build"],
            **{key: value for key, value in params.items() if key != "model.path"},
        }

    async def _start_program(self, program: str) -> None:
        if not Path(program).is_file():
            raise Absent(f"LLAMA_SERVER_BIN names {program}, which is no file", "correct the path")
        sizes, port = self.sizes, free_port()
        unified = "--no-kv-unified" if sizes.streams else "--kv-unified"
        flags = [
            *("-c", sizes.cells, "-np", self.slots, unified, "--no-cache-idle-slots"),
            *("-b", max(2048, sizes.batch), "-ub", sizes.batch, "-ngl", sizes.gpu_layers),
            *(() if sizes.flash else ("-fa", "off")),
            *("-t", sizes.threads, "-tb", sizes.threads, "--fit", "off", "--no-webui"),
        ]
        told = [str(flag) for flag in flags]
        self._address = f"http://127.0.0.1:{port}"
        self._child = Child(
            [program, "-m", str(self.path), "--host", "127.0.0.1", "--port", str(port), *told],
            self.name,
        )
        await self._child.start(own_output=False)
        await _wait_healthy(self._child, f"{self._address}/health")
        with _telling(self.name):
            version = json.loads(await http.get(f"{self._address}/props")).get("build_info", "")
        # It doesn't tell what it was compiled for, as the wheel does.
        self.settings = {"from": f"LLAMA_SERVER_BIN, {version}", "flags": " ".join(told)}

    async def ask(self, prompt: Prompt, *, urgent: bool = False, stream: bool = False) -> Answer:
        body = {
            "prompt": prompt.tokens,
            "n_predict": REPLY_TOKENS,
            "samplers": ["top_k"],
            "top_k": 1,
            "cache_prompt": True,
            "return_tokens": True,
            "stream": stream,
            "response_fields": ["content", "tokens", "timings"],
        }
        begun = perf_counter()
        url = f"{self._address}/completion"
        with _telling(self.name):
            if not stream:
                found = await http.post(url, body)
                total = perf_counter() - begun
                self._read += found["timings"]["prompt_n"]
                tokens = tuple(found["tokens"])
                return Answer(found["content"], total, total, len(tokens), tokens)
            first = 0.0
            text: list[str] = []
            written: list[int] = []
            async for event in http.events(url, body):
                if "error" in event:
                    raise SideError(f"{self.name}: {event['error']}")
                if event.get("tokens"):
                    first = first or perf_counter() - begun
                    text.append(event["content"])
                    written += event["tokens"]
                if "timings" in event:
                    self._read += event["timings"]["prompt_n"]
        total = perf_counter() - begun
        return Answer("".join(text), first or total, total, len(written), tuple(written))

    async def read(self) -> int | None:
        return self._read

    async def close(self) -> None:
        if self._child is not None:
            await self._child.close()


@dataclass(slots=True)
class ExampleServer:
    """`examples/server/server.py` of llama-cpp-python, at the installed version's own source.

    It batches continuously, with a radix tree over unified KV. `store_logits` is off, so that it
    samples inside llama.cpp, its faster way.
    """

    path: Path
    sizes: Sizes
    name: str = "llama-cpp-python example server"
    settings: dict[str, Any] = field(default_factory=dict)
    _child: Child | None = None
    _address: str = ""
    _folder: tempfile.TemporaryDirectory[str] | None = None

    async def start(self) -> None:
        script = await asyncio.to_thread(find.example_server)
        python = find.python_with("openai")
        sizes, port = self.sizes, free_port()
        model = {
            "n_ctx": sizes.cells,
            "n_seq_max": min(256, 4 * sizes.at_once),
            "n_batch": sizes.batch,
            "n_ubatch": sizes.batch,
            "threads": sizes.threads,
            "threads_batch": sizes.threads,
            "n_gpu_layers": sizes.gpu_layers,
            "kv_unified": True,
            "store_logits": False,
        }
        self._folder = tempfile.TemporaryDirectory(prefix="greenroom-bench-")
        config = Path(self._folder.name) / "config.json"
        server = {"host": "127.0.0.1", "port": port}
        config.write_text(
            json.dumps({"server": server, "model": {"path": str(self.path), **model}})
        )
        self._address = f"http://127.0.0.1:{port}"
        self._child = Child([python, "-P", str(script), "-C", str(config)], self.name)
        await self._child.start(own_output=False)
        await _wait_healthy(self._child, f"{self._address}/healthz")
        self.settings = {"from": f"llama-cpp-python {find.llama_cpp_version()}", **model}

    async def ask(self, prompt: Prompt, *, urgent: bool = False, stream: bool = False) -> Answer:
        body = {
            "prompt": prompt.tokens,
            "max_tokens": REPLY_TOKENS,
            "temperature": 0.0,
            "stream": stream,
        }
        begun = perf_counter()
        url = f"{self._address}/v1/completions"
        with _telling(self.name):
            if not stream:
                found = await http.post(url, body)
                total = perf_counter() - begun
                written = int(found["usage"]["completion_tokens"])
                return Answer(found["choices"][0]["text"], total, total, written)
            first = 0.0
            text: list[str] = []
            async for event in http.events(url, body):
                piece = event["choices"][0]["text"] if event.get("choices") else ""
                if piece:
                    first = first or perf_counter() - begun
                    text.append(piece)
        total = perf_counter() - begun
        return Answer("".join(text), first or total, total, REPLY_TOKENS)

    async def read(self) -> int | None:
        with _telling(self.name):
            page = await http.get(f"{self._address}/metrics")
        found = re.search(r"^llamacpp:prompt_tokens_total(?:\{[^}]*\})? ([\d.e+]+)$", page, re.M)
        return int(float(found.group(1))) if found else None

    async def close(self) -> None:
        if self._child is not None:
            await self._child.close()
        if self._folder is not None:
            self._folder.cleanup()


@contextlib.contextmanager
def _telling(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, http.HttpError, LookupError, ValueError) as error:
        raise SideError(f"{name}: {error!r}") from error


async def _wait_healthy(child: Child, url: str) -> None:
    until = perf_counter() + READY_S
    while perf_counter() < until:
        if child.ended:
            raise child.failure()
        with contextlib.suppress(OSError, http.HttpError):
            await http.get(url)
            return
        await asyncio.sleep(_POLL_S)
    raise SideError(f"{url} did not answer in {READY_S:g} s")
