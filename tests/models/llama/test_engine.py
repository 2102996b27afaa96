"""What the engine does to stay quick and within bounds, on real llama.cpp."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import Recorder, ask, request
from serving import ask_frame, served, texts

from models.llama.settings import EngineSettings
from models.request import Message, ModelRequest, Priority

pytestmark = pytest.mark.engine

Factory = Callable[..., Path]
Hosts = Callable[..., Any]

EXACT = EngineSettings(threads=1, n_ctx=2048, n_seq=16, n_parallel=16, exact=True)
"""Random weights make near ties, which the rounding of a shared batch could turn over."""

THINKS = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)


in_both_memories = pytest.mark.parametrize("streams", [False, True], ids=["unified", "streams"])


def engine(host: Any, name: str) -> Any:
    """One of the engine's own figures, fresh."""
    time.sleep(1.1)
    return host.status()["engine"][name]


@in_both_memories
def test_a_sequence_that_an_aborted_step_leaves_at_another_place_is_read_anew(
    gguf_factory: Factory, monkeypatch: pytest.MonkeyPatch, streams: bool
) -> None:
    contexts = pytest.importorskip("models.llama.context")
    library = pytest.importorskip("models.llama.library")
    sizes = EngineSettings(
        threads=1, n_ctx=2048, n_seq=8, n_parallel=4, exact=True, step_ms=1e4, streams=streams
    )
    model = library.Model(gguf_factory(), sizes, library.LogTail())
    asked = [ask_frame(n, f"{n} is the number of wolves you fear.") for n in range(3)]
    expected, _ = served(model, sizes, asked)
    decode, cut = contexts.Context.decode, contexts.Context.cut
    decoded = 0
    spoilt: list[int] = []

    def aborts(context: Any, parts: Any) -> Any:
        nonlocal decoded
        decoded += 1
        logits = decode(context, parts)
        if decoded in (1, 9):
            spoilt.append(parts[-1][0])
            raise contexts.Aborted
        return logits

    def spoils(context: Any, sequence: int, length: int) -> None:
        if spoilt == [sequence]:
            spoilt.clear()
            length += 1
        cut(context, sequence, length)

    monkeypatch.setattr(contexts.Context, "decode", aborts)
    monkeypatch.setattr(contexts.Context, "cut", spoils)
    events, status = served(model, sizes, asked)
    model.close()
    assert texts(events) == texts(expected)
    assert (status["aborted"], status["misplaced"]) == (2, 2)


@in_both_memories
def test_a_players_line_ends_the_step_of_less_urgent_requests_and_nothing_is_lost(
    gguf_factory: Factory, host_factory: Hosts, streams: bool
) -> None:
    slow = EngineSettings(
        threads=1, n_ctx=16_384, n_seq=16, n_parallel=15, exact=True, step_ms=400.0, streams=streams
    )
    file = gguf_factory(width=256, layers=6, heads=4, hidden=512)
    crowd = [
        request(
            f"{n} " + "tell me of the wolf " * 40,
            priority=Priority.OFFSTAGE,
            max_tokens=24,
            deadline_s=300.0,
        )
        for n in range(6)
    ]
    alone = host_factory(file, settings=slow)
    expected = [ask(alone, question).reply.text for question in crowd]
    alone.close()
    host = host_factory(file, settings=slow)
    waiting = [ask(host, question) for question in crowd]
    line: Recorder | None = None
    for n in range(60):
        line = ask(host, request(f"Good day, {n}!", max_tokens=2))
        line.wait()
        if all(recorder.ended.is_set() for recorder in waiting):
            break
        time.sleep(0.05)
    assert [recorder.reply.text for recorder in waiting] == expected
    assert engine(host, "aborted") > 0
    assert engine(host, "misplaced") == 0


def test_a_player_does_not_wait_for_memory_that_less_urgent_requests_hold(
    gguf_factory: Factory,
) -> None:
    library = pytest.importorskip("models.llama.library")
    engines = pytest.importorskip("models.llama.engine")
    sizes = EngineSettings(threads=1, n_ctx=1024, n_seq=8, n_parallel=8, exact=True)
    model = library.Model(gguf_factory(), sizes, library.LogTail())
    crowd = [ask_frame(n, f"{n} " + "of the mill " * 28, max_tokens=60) for n in range(3)]
    line = ask_frame(9, "I " + "say what " * 30, priority=Priority.SPEECH)
    expected, _ = served(model, sizes, [*crowd, line], one_by_one=True)
    heard: list[list[Any]] = []

    def hear(frame: Any) -> None:
        before = set(texts(heard))
        heard.extend(frame["events"])
        if len(before) < 3 == len(texts(heard)):
            # All three speak, and what they hold and may still say leaves no room for a fourth.
            loop.inbox.put(line)
        if sum(event[0] == "done" for event in heard) == 4:
            loop.inbox.put({"t": "close"})

    loop = engines.Engine(model, sizes, hear, library.LogTail())
    for frame in crowd:
        loop.inbox.put(frame)
    loop.run()
    model.close()
    assert next(event[1] for event in heard if event[0] == "done") == 9
    assert texts(heard) == texts(expected)
    assert loop.status()["preempted"] == 1


def test_a_conversation_that_outgrows_its_window_loses_its_oldest_exchanges(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    host = host_factory(gguf_factory(), settings=EXACT)
    talk: list[Message] = [{"role": "system", "content": "You are a baker."}]
    for n in range(8):
        talk += [
            {"role": "user", "content": f"Question {n}? " + "wolf " * 8},
            {"role": "assistant", "content": f"Answer {n}."},
        ]
    talk.append({"role": "user", "content": "And now?"})
    whole = ask(host, ModelRequest(talk, "speech", max_tokens=8, temperature=0.0)).reply
    assert whole.dropped == ()
    window = whole.prompt_tokens
    cut = ask(
        host, ModelRequest(talk, "speech", max_tokens=8, temperature=0.0, window=window)
    ).reply
    assert cut.dropped == tuple(range(1, 1 + len(cut.dropped)))
    assert 2 <= len(cut.dropped) < 12
    assert cut.prompt_tokens <= 0.8 * window
    kept = [message for place, message in enumerate(talk) if place not in cut.dropped]
    shorter = ask(
        host, ModelRequest(kept, "speech", max_tokens=8, temperature=0.0, window=window)
    ).reply
    assert (shorter.text, shorter.dropped) == (cut.text, ())
    weights = [9 if 3 <= place <= 4 else 0 for place in range(len(talk))]
    other = ModelRequest(
        talk, "speech", max_tokens=8, temperature=0.0, window=window, importance=weights
    )
    assert not {3, 4} & set(ask(host, other).reply.dropped)


def test_log_probabilities_are_told_on_request(gguf_factory: Factory, host_factory: Hosts) -> None:
    host = host_factory(gguf_factory(), settings=EXACT)
    reply = ask(host, request(max_tokens=6, logprobs=3)).reply
    assert len(reply.logprobs) == reply.completion_tokens
    for each in reply.logprobs:
        assert each.logprob == pytest.approx(each.top[0][1])
        assert each.token == each.top[0][0]
        assert len(each.top) == 3
        assert sum(math.exp(score) for _, score in each.top) <= 1.0 + 1e-6
        assert [score for _, score in each.top] == sorted(
            (score for _, score in each.top), reverse=True
        )
    assert ask(host, request(max_tokens=6)).reply.logprobs == ()


def test_log_probabilities_of_replies_that_end_together_are_told_one_by_one(
    gguf_factory: Factory,
) -> None:
    library = pytest.importorskip("models.llama.library")
    engines = pytest.importorskip("models.llama.engine")
    model = library.Model(gguf_factory(), EXACT, library.LogTail())
    told: list[int] = []

    def hear(frame: Any) -> None:
        told.append(sum(event[0] == "done" for event in frame["events"]))
        if sum(told) == 3:
            loop.inbox.put({"t": "close"})

    loop = engines.Engine(model, EXACT, hear, library.LogTail())
    for n in range(3):
        loop.inbox.put(ask_frame(n, "Say it.", logprobs=20))
    loop.run()
    model.close()
    assert (sum(told), max(told)) == (3, 1)


def test_a_thinking_models_reasoning_is_bounded_and_never_spoken(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    thinker = host_factory(gguf_factory(template=THINKS), settings=EXACT)
    thought = ask(thinker, request(max_tokens=10, think=20))
    plain = ask(thinker, request(max_tokens=10, think=0)).reply
    assert (plain.completion_tokens, plain.reasoning_tokens) == (10, 0)
    # The thought, and what the engine closed it by, which is some tokens in a vocabulary of bytes.
    hidden = thought.reply.reasoning_tokens
    assert thought.reply.completion_tokens - hidden == 10 and hidden > 20
    assert thought.reply.completion_tokens > 30
    assert thought.reply.text == "".join(thought.pieces)
    assert "think>" not in thought.reply.text


@pytest.mark.parametrize("mark", ["think", "thinking"])
@pytest.mark.parametrize("closes", [True, False])
def test_a_model_that_opens_its_thoughts_itself_never_speaks_them(
    gguf_factory: Factory, host_factory: Hosts, mark: str, closes: bool
) -> None:
    says = [":", f"<{mark}>", f"<{mark}>", "a", "a", "b", "b", "c", "c", "d"]
    says += ["d", f"</{mark}>", f"</{mark}>", "Q"] if closes else ["d", "b"]
    # The engine closes a thought with an empty line, written as bytes are in such vocabularies.
    says += ["Ċ", "Y", "Q", "x", "Y", "x", "x", "<|im_end|>"]
    file = gguf_factory(template=THINKS.replace("\n<think>\n", ":"), says=tuple(says))
    host = host_factory(file, settings=EXACT)

    def told(**fields: Any) -> Any:
        recorder = ask(host, request(**fields))
        assert recorder.reply.text == "".join(recorder.pieces)
        return recorder.reply

    assert told(max_tokens=10, think=0).text == "Yx"
    assert told(max_tokens=10, think=3).text == "Yx"
    long = told(max_tokens=10, think=99)
    assert long.text == ("Qx" if closes else "Yx")
    assert (long.completion_tokens > 99) is not closes
    # No room for a thought beside the longest reply.
    full = EXACT.n_ctx - told(max_tokens=10, think=0).prompt_tokens
    assert told(max_tokens=full, think=99).text == "Yx"


@in_both_memories
def test_a_persona_that_lost_its_memory_is_read_back_from_disk(
    gguf_factory: Factory, host_factory: Hosts, streams: bool
) -> None:
    tight = EngineSettings(
        threads=1,
        n_ctx=2048 if streams else 1024,
        n_seq=4,
        n_parallel=2,
        exact=True,
        streams=streams,
    )
    host = host_factory(gguf_factory(), settings=tight)
    persona = "You are Maud, baker of Alderford. You know that the mill is haunted. " * 6
    first = ask(host, request("Where is the inn?", system=persona, max_tokens=12)).reply
    ask(host, request("Who are you?", system=persona, max_tokens=12)).wait()
    for n in range(30):
        stranger = f"{n} is who you are. " + "You know the road to the sea and back. " * 16
        for line in ("Good day!", "Who are you?"):
            ask(host, request(line, system=stranger, max_tokens=12)).wait()
    assert engine(host, "spilled") > 0
    again = ask(host, request("Where is the inn?", system=persona, max_tokens=12)).reply
    assert again.text == first.text
    assert again.cached_tokens > 200
    assert engine(host, "restored") == 1


def test_streams_and_unified_memory_answer_alike(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    said: list[list[str]] = []
    for streams in (False, True):
        sizes = EngineSettings(
            threads=1, n_ctx=2560, n_seq=10, n_parallel=6, exact=True, streams=streams
        )
        host = host_factory(gguf_factory(), settings=sizes)
        talks = [
            request(f"Question {n}?", system=f"You are number {n % 3}.", max_tokens=4 + n)
            for n in range(24)
        ]
        said.append([recorder.reply.text for recorder in [ask(host, talk) for talk in talks]])
        assert (engine(host, "stream_copies") > 0) is streams
        host.close()
    assert said[0] == said[1]


@in_both_memories
def test_no_prompt_waits_for_a_beginning_that_is_too_short_to_be_shared(
    gguf_factory: Factory, streams: bool
) -> None:
    library = pytest.importorskip("models.llama.library")
    # Steps may take ten seconds, so that their number follows from the prompts alone.
    sizes = EngineSettings(
        threads=1, n_ctx=4096, n_seq=10, n_parallel=8, step_ms=1e4, streams=streams
    )
    model = library.Model(gguf_factory(), sizes, library.LogTail())

    def steps(lines: list[str]) -> int:
        frames = [ask_frame(n, line, max_tokens=1) for n, line in enumerate(lines)]
        return int(served(model, sizes, frames)[1]["steps"])

    # Beside the template's first tokens 40 in common, and none: one by one they would take a step each.
    alike = steps([f"{'z' * 40}{'abcdef'[n] * 30}" for n in range(6)])
    apart = steps(["abcdef"[n] * 70 for n in range(6)])
    model.close()
    assert apart < 6 and alike < 6
