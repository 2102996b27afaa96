"""What goes wrong with a local engine stays in its process: damaged files, crashes, hangs."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from asking import Recorder, ask, request

from models import house
from models.errors import DeadlineExceeded, ModelFileError, ModelUnavailable
from models.llama import child, facts
from models.llama.host import LlamaHost
from models.llama.settings import EngineSettings

pytestmark = pytest.mark.engine

Factory = Callable[..., Path]
Hosts = Callable[..., Any]

HEADER_BYTES = 9_000
"""Metadata and tensor descriptions of the random GGUF lie before this offset."""


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def never(now: EngineSettings) -> EngineSettings:
    raise AssertionError("a damaged file does not get better at a smaller size")


def failure(host: Any) -> ModelFileError:
    with pytest.raises(ModelFileError) as caught:
        host.wait_ready(40.0)
    assert host.state == "failed"
    recorder = ask(host, request())
    assert recorder.error is caught.value
    assert caught.value.hint
    return caught.value


def test_killing_the_child_is_heard_and_mended(gguf_factory: Factory, host_factory: Hosts) -> None:
    host = host_factory(gguf_factory(), backoff_s=0.5)
    expected = ask(host, request("Again?", max_tokens=8)).reply.text
    speaking = [ask(host, request(f"{n}", max_tokens=1900)) for n in range(3)]
    for recorder in speaking:
        assert recorder.spoke.wait(20)
    os.kill(host.pid, signal.SIGKILL)
    for recorder in speaking:
        assert isinstance(recorder.error, ModelUnavailable)
        assert "SIGKILL" in recorder.error.message
        assert recorder.error.retryable
    while_down = ask(host, request())
    assert isinstance(while_down.error, ModelUnavailable)
    host.wait_ready(30.0)
    assert ask(host, request("Again?", max_tokens=8)).reply.text == expected
    assert host.status()["restarts"] == 1
    assert all(recorder.after_end == [] for recorder in speaking)


def test_dying_again_and_again_ends_in_failure_with_the_reason(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    host = host_factory(gguf_factory(), backoff_s=0.01, max_restarts=2)
    for _ in range(3):
        host.wait_ready(30.0)
        pid = host.pid
        os.kill(pid, signal.SIGKILL)
        until(lambda dead=pid: host.pid != dead)
    assert host.state == "failed"
    error = ask(host, request()).error
    assert isinstance(error, ModelUnavailable)
    assert "3 times in a row" in error.message


def test_a_file_that_worked_is_tried_again_when_it_cannot_be_loaded_for_a_while(
    gguf_factory: Factory, host_factory: Hosts, tmp_path: Path
) -> None:
    path = tmp_path / "moving.gguf"
    path.write_bytes(gguf_factory().read_bytes())
    host = host_factory(path, backoff_s=0.05, max_restarts=50)
    host.wait_ready(30.0)
    away = path.rename(tmp_path / "away.gguf")
    os.kill(host.pid, signal.SIGKILL)
    until(lambda: host.status()["restarts"] >= 2)
    away.rename(path)
    until(lambda: host.state == "ready")
    assert ask(host, request(max_tokens=4)).reply.text


def test_an_answered_request_forgives_earlier_deaths(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    host = host_factory(gguf_factory(), backoff_s=0.01, max_restarts=1)
    for _ in range(3):
        assert ask(host, request(max_tokens=2)).reply
        os.kill(host.pid, signal.SIGKILL)
        until(lambda: host.state != "ready")
        host.wait_ready(30.0)


def test_a_stopped_child_does_not_stop_the_game(gguf_factory: Factory, host_factory: Hosts) -> None:
    host = host_factory(gguf_factory(), hang_s=4.0, backoff_s=0.01)
    before = host.pid
    os.kill(before, signal.SIGSTOP)
    until(lambda: psutil.Process(before).status() == psutil.STATUS_STOPPED)
    late = Recorder()
    for _ in range(200):
        host.submit(
            request("x" * 2000, deadline_s=0.2), late if not late.ended.is_set() else Recorder()
        )
    # Far more was handed over than a pipe holds, and nothing waited for the child.
    assert psutil.Process(before).status() == psutil.STATUS_STOPPED
    assert isinstance(late.error, DeadlineExceeded | ModelUnavailable)
    until(lambda: host.pid not in (None, before))
    host.wait_ready(30.0)
    assert ask(host, request(max_tokens=2)).reply.completion_tokens == 2


def test_a_child_that_says_nothing_is_asked_no_more_until_it_speaks_again(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    host = host_factory(gguf_factory(), quiet_s=1.0)
    pid = host.pid
    os.kill(pid, signal.SIGSTOP)
    time.sleep(1.5)
    # At once, not at its deadline: whoever waits for an answer gets one from further down the ladder.
    patient, refused = ask(host, request(deadline_s=300.0)), ask(host, request(deadline_s=20.0))
    refused.wait(1.0)
    assert isinstance(refused.error, ModelUnavailable) and refused.error.retryable
    assert "has said nothing for" in refused.error.message
    os.kill(pid, signal.SIGCONT)
    assert patient.reply.text
    assert ask(host, request(max_tokens=2)).reply.completion_tokens == 2
    assert (host.pid, host.status()["restarts"]) == (pid, 0)


def test_a_host_that_was_stopped_itself_does_not_take_its_child_for_hung(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    host = host_factory(gguf_factory(), hang_s=1.2)
    before = host.pid

    def stopped() -> None:
        os.kill(before, signal.SIGSTOP)
        time.sleep(1.6)
        os.kill(before, signal.SIGCONT)

    # As when a terminal's Ctrl-Z stops both: the courier stands still as long as the child.
    host._errands.put(stopped)
    time.sleep(2.2)
    assert ask(host, request(max_tokens=2)).reply.completion_tokens == 2
    assert (host.pid, host.status()["restarts"]) == (before, 0)


def test_whatever_fails_while_the_child_is_heard_ends_in_a_restart_and_not_in_silence(
    gguf_factory: Factory, host_factory: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = host_factory(gguf_factory(), backoff_s=0.01)

    def fails(event: Any) -> None:
        raise RuntimeError("a fault of our own")

    with monkeypatch.context() as patch:
        patch.setattr(host, "_hear_event", fails)
        error = ask(host, request(max_tokens=2)).error
    assert isinstance(error, ModelUnavailable) and "a fault of our own" in error.message
    host.wait_ready(30.0)
    assert ask(host, request(max_tokens=2)).reply.completion_tokens == 2


def test_a_missing_file_is_named(tmp_path: Path, host_factory: Hosts) -> None:
    path = tmp_path / "none.gguf"
    error = failure(host_factory(path, ready=False))
    assert error.message == f"{path}: no such file"


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_a_file_whose_name_is_no_text_is_refused_and_not_waited_for(
    gguf_factory: Factory, tmp_path: Path, host_factory: Hosts
) -> None:
    path = tmp_path / os.fsdecode(b"\xff.gguf")
    path.write_bytes(gguf_factory().read_bytes())
    host = host_factory(path, ready=False)
    assert "no process can be started" in failure(host).message
    host.close()
    assert not host._courier.is_alive()


def test_a_truncated_file_is_named(
    tmp_path: Path, gguf_factory: Factory, host_factory: Hosts
) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(gguf_factory().read_bytes()[:-4000])
    error = failure(host_factory(path, ready=False))
    assert str(path) in error.message
    assert "is cut off" in error.message


def test_an_unsupported_architecture_is_named(gguf_factory: Factory, host_factory: Hosts) -> None:
    path = gguf_factory(architecture="abacus")
    error = failure(host_factory(path, ready=False))
    assert str(path) in error.message
    assert "unknown model architecture: 'abacus'" in error.message


def test_a_model_that_was_split_answers_as_the_whole_one(
    gguf_factory: Factory, tmp_path: Path, host_factory: Hosts
) -> None:
    from random_gguf import write_split

    expected = ask(host_factory(gguf_factory()), request(max_tokens=8)).reply.text
    first, second, *_ = write_split(gguf_factory(), tmp_path / "m.gguf", bare_first=True)
    assert ask(host_factory(first), request(max_tokens=8)).reply.text == expected
    second.unlink()
    assert f"{second}: no such file" in failure(host_factory(first, ready=False)).message


def test_a_gguf_that_is_no_model_or_cannot_speak_is_named_for_what_it_is(
    tmp_path: Path, host_factory: Hosts
) -> None:
    from random_adapter import write_random_adapter
    from random_gguf import write_random_bert

    adapter = write_random_adapter(tmp_path / "wolf.gguf")
    bert = write_random_bert(tmp_path / "bert.gguf", pooling="unsaid")
    for path, what in ((adapter, "is no model but a LoRA adapter"), (bert, "embedding models")):
        error = failure(host_factory(path, ready=False))
        assert str(path) in error.message and what in error.message
        with pytest.raises(ModelFileError, match=what):
            facts.read(path)


def test_whatever_is_raised_while_a_file_is_loaded_is_told_with_its_name(
    gguf_factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(self: object) -> None:
        raise ValueError("could not find a good sentinel token")

    monkeypatch.setattr("models.llama.engine.Engine.trial", odd)
    path = gguf_factory()
    with pytest.raises(ModelFileError, match="good sentinel") as caught:
        child.load(path, EngineSettings(n_ctx=256, threads=1), print, watched=False)
    assert str(path) in caught.value.message


def test_weights_that_are_no_numbers_are_found_before_anybody_asks(
    tmp_path: Path, gguf_factory: Factory, host_factory: Hosts
) -> None:
    data = bytearray(gguf_factory().read_bytes())
    data[-4000:] = b"\xff\xff\xc0\x7f" * 1000
    path = tmp_path / "nan.gguf"
    path.write_bytes(data)
    assert "no numbers" in failure(host_factory(path, ready=False)).message


def test_a_file_that_makes_loading_eat_memory_is_stopped(
    tmp_path: Path, gguf_factory: Factory, host_factory: Hosts
) -> None:
    # Empty strings take eight bytes in the file and a multiple of that in memory.
    key, strings = b"filler.s", 2_000_000
    filler = struct.pack("<Q", len(key)) + key + struct.pack("<IIQ", 9, 8, strings)
    filler += bytes(8 * strings)
    assert len(filler) % 32 == 0, "the data behind must stay aligned"
    data = gguf_factory().read_bytes()
    (pairs,) = struct.unpack("<Q", data[16:24])
    path = tmp_path / "greedy.gguf"
    path.write_bytes(data[:16] + struct.pack("<Q", pairs + 1) + filler + data[24:])
    error = failure(
        host_factory(
            path,
            ready=False,
            settings=EngineSettings(threads=1, memory_mib=8, n_ctx=512, n_seq=1, n_parallel=1),
            shrink=never,
        )
    )
    assert str(path) in error.message
    assert "loading took" in error.message


NUMBERS = (
    b"llama.context_length", b"llama.embedding_length", b"llama.block_count",
    b"llama.feed_forward_length", b"llama.attention.head_count", b"llama.attention.head_count_kv",
    b"llama.attention.layer_norm_rms_epsilon", b"llama.rope.dimension_count", b"llama.vocab_size",
    b"tokenizer.ggml.eos_token_id",
)  # fmt: skip
"""Metadata whose values llama.cpp believes."""


def mutant(whole: bytes, number: int) -> bytes:
    """A header damaged in a way that depends on nothing but the number.

    Even ones get false numbers in sound metadata, odd ones bytes changed anywhere.
    """
    chance = random.Random(number)
    data = bytearray(whole)
    if number % 2 == 0:
        for key in chance.sample(NUMBERS, chance.choice((1, 1, 2))):
            value_at = whole.index(key) + len(key) + 4
            value = chance.choice(
                (0, 1, 3, 7, 65, 4096, 2**31 - 1, 2**32 - 1, chance.getrandbits(32))
            )
            struct.pack_into("<I", data, value_at, value)
        return bytes(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        at = chance.randrange(4, HEADER_BYTES)
        kind = chance.randrange(4)
        if kind == 0:
            data[at] = chance.randrange(256)
        elif kind == 1:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            data[at : at + 4] = chance.choice(
                (b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\xff\xff\xff\xff")
            )
        else:
            data[at : at + 8] = chance.randbytes(8)
    return bytes(data)


def judge(path: Path) -> str:
    """Load a mutant as a user would; return "answered" or "refused", or fail the test."""
    host = LlamaHost(path, threads=1, n_ctx=512, n_seq=4, load_s=20.0, max_restarts=0)
    peak = 0
    try:
        begun = time.monotonic()
        recorder = Recorder()
        asked = False
        while not recorder.ended.is_set():
            assert time.monotonic() - begun < 30.0, f"{path.name} hangs"
            pid = host.pid
            if pid and host.state == "starting":
                with contextlib.suppress(psutil.Error):
                    peak = max(peak, psutil.Process(pid).memory_info().rss)
            if not asked and host.state != "starting":
                asked = True
                host.submit(request(max_tokens=6, deadline_s=20.0), recorder)
            time.sleep(0.005)
        assert peak < 2 << 30, f"{path.name} took {peak >> 20} MiB"
        if recorder.replies:
            return "answered"
        error = recorder.errors[0]
        if isinstance(error, ModelFileError):
            assert str(path) in error.message
        assert error.message
        return "refused"
    finally:
        host.close()


def judge_many(numbers: range, source: Path, folder: Path) -> None:
    whole = source.read_bytes()
    seen = {"answered": 0, "refused": 0}
    for number in numbers:
        path = folder / f"mutant{number}.gguf"
        path.write_bytes(mutant(whole, number))
        seen[judge(path)] += 1
        path.unlink()
    print(seen)
    assert seen["refused"] > 0


def test_damaged_headers_end_in_a_named_error_or_an_answer(
    gguf_factory: Factory, tmp_path: Path
) -> None:
    judge_many(range(24), gguf_factory(), tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("model", ["bpe", "spm", "house"])
def test_two_hundred_damaged_headers_end_in_a_named_error_or_an_answer(
    gguf_factory: Factory, tmp_path: Path, model: str
) -> None:
    file = house.path() if model == "house" else gguf_factory(vocab=model)
    judge_many(range(1000, 1200), file, tmp_path)


def test_the_child_imports_nothing_of_the_world() -> None:
    code = (
        "import sys, models.llama.child, models.llama.engine; "
        "print(sorted({name.split('.')[0] for name in sys.modules} & "
        "{'world', 'actors', 'plugins', 'engine_bridge', 'greenroom'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A working directory that holds a folder named like our package."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise SystemExit('the wrong models')\n")
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def test_a_folder_named_models_does_not_shadow_the_child(
    gguf_factory: Factory, host_factory: Hosts, elsewhere: Path
) -> None:
    assert ask(host_factory(gguf_factory()), request(max_tokens=2)).reply.completion_tokens == 2


def test_the_child_ends_when_its_parent_is_killed(gguf_factory: Factory) -> None:
    code = (
        "import sys, time; from models.llama.host import LlamaHost\n"
        f"h = LlamaHost({str(gguf_factory())!r}, threads=1, n_ctx=512, n_seq=4)\n"
        "h.wait_ready(); print(h.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_closing_leaves_no_process(gguf_factory: Factory, host_factory: Hosts) -> None:
    host = host_factory(gguf_factory())
    pid = host.pid
    host.close()
    assert not psutil.pid_exists(pid)
