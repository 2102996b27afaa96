"""The semantic cache: similar enough, fresh enough, in the same scope; bounded; kept over a restart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.cache import CacheSettings, SemanticCache
from models.cache_file import LEAST_DEAD, FileKeeper
from models.errors import RequestRefused
from models.hashed import embed
from models.request import Reply

ROOT = Path(__file__).parents[2]
SCOPE = "ada asks ben|epoch 1"


def toward(cosine: float, dims: int = 8) -> np.ndarray:
    """A unit vector at this cosine to the first axis."""
    made = np.zeros(dims, dtype=np.float32)
    made[0], made[1] = cosine, np.sqrt(1.0 - cosine * cosine)
    return made


def axis(n: int, dims: int = 8) -> np.ndarray:
    made = np.zeros(dims, dtype=np.float32)
    made[n] = 1.0
    return made


def reply(text: str = "By the mill.", **more: object) -> Reply:
    return Reply(request_id=1, text=text, source="house-1", **more)  # type: ignore[arg-type]


def counted(cache: SemanticCache, name: str) -> int:
    return int(cache.status()[name])  # type: ignore[call-overload]


@pytest.mark.parametrize(("cosine", "hit"), [(1.0, True), (0.951, True), (0.949, False)])
def test_only_a_question_similar_enough_is_answered(cosine: float, hit: bool) -> None:
    cache = SemanticCache()
    assert cache.store(SCOPE, axis(0), "Where is the smith?", reply(), 0.0)
    found = cache.find(SCOPE, toward(cosine), 1.0)
    assert (found is not None) == hit
    if found:
        assert (found.text, found.source) == ("By the mill.", "cache: house-1")
        assert found.similarity == pytest.approx(cosine, abs=1e-5)
        assert found.question == "Where is the smith?"


def test_the_same_question_is_answered_where_only_the_same_may_be() -> None:
    cache = SemanticCache(CacheSettings(similarity=1.0))
    # In float32 the cosines of some of them with themselves lie just below 1.
    vectors = embed([f"Where is the smith of the {n}th mill?" for n in range(50)])
    assert min(float(np.dot(vector, vector)) for vector in vectors) < 1.0
    for n, vector in enumerate(vectors):
        assert cache.store(f"{SCOPE} {n}", vector, "q", reply(f"{n}"), 0.0)
        found = cache.find(f"{SCOPE} {n}", vector, 1.0)
        assert found is not None and found.text == f"{n}"
    assert cache.find(f"{SCOPE} 0", vectors[1], 1.0) is None


def test_answers_never_cross_scopes() -> None:
    cache = SemanticCache()
    cache.store("ada asks ben|knows: a", axis(0), "q", reply(), 0.0)
    assert cache.find("ada asks ben|knows: b", axis(0), 0.0) is None
    assert cache.find("ada asks ben", axis(0), 0.0) is None
    assert cache.find("ada asks ben|knows: a", axis(0), 0.0) is not None


def test_an_answer_goes_when_its_time_is_over() -> None:
    cache = SemanticCache()
    cache.store(SCOPE, axis(0), "q", reply(), 100.0)
    assert cache.find(SCOPE, axis(0), 3700.0) is not None
    assert cache.find(SCOPE, axis(0), 3701.0) is None
    assert (counted(cache, "expired"), len(cache)) == (1, 0)


def test_a_clock_set_far_back_expires_too() -> None:
    cache = SemanticCache()
    cache.store(SCOPE, axis(0), "q", reply(), 100_000.0)
    assert cache.find(SCOPE, axis(0), 1.0) is None


def test_the_most_similar_of_several_is_given() -> None:
    cache = SemanticCache(CacheSettings(similarity=0.5))
    cache.store(SCOPE, axis(0), "q0", reply("zero"), 0.0)
    cache.store(SCOPE, toward(0.1), "q1", reply("one"), 0.0)
    found = cache.find(SCOPE, toward(0.6), 0.0)
    assert found is not None
    assert found.text == "one"


def test_a_newer_answer_takes_the_place_of_the_older() -> None:
    cache = SemanticCache()
    cache.store(SCOPE, axis(0), "q", reply("old"), 0.0)
    cache.store(SCOPE, toward(0.99), "q?", reply("new"), 1.0)
    assert len(cache) == 1
    found = cache.find(SCOPE, axis(0), 2.0)
    assert found is not None
    assert found.text == "new"


def test_past_a_scope_s_bound_what_was_used_least_recently_goes() -> None:
    cache = SemanticCache(CacheSettings(entries_a_scope=3))
    for n in range(3):
        cache.store(SCOPE, axis(n), f"q{n}", reply(), 0.0)
    cache.find(SCOPE, axis(0), 0.0)
    cache.store("another", axis(7), "q", reply(), 0.0)
    cache.store(SCOPE, axis(3), "q3", reply(), 0.0)
    held = [cache.find(SCOPE, axis(n), 0.0) is not None for n in range(4)]
    assert held == [True, False, True, True]
    assert counted(cache, "evicted") == 1


def test_past_the_bound_of_all_what_was_used_least_recently_goes() -> None:
    cache = SemanticCache(CacheSettings(entries=2))
    cache.store("a", axis(0), "q", reply(), 0.0)
    cache.store("b", axis(0), "q", reply(), 0.0)
    cache.find("a", axis(0), 0.0)
    cache.store("c", axis(0), "q", reply(), 0.0)
    assert [cache.find(scope, axis(0), 0.0) is not None for scope in "abc"] == [True, False, True]


@pytest.mark.parametrize(
    "unfit",
    [
        reply(finish="length"),
        reply(""),
        reply("x" * 20_000),
        Reply(request_id=1, text="By the mill.", source="cache: house-1"),
    ],
)
def test_an_answer_that_is_not_whole_or_not_fresh_is_not_kept(unfit: Reply) -> None:
    cache = SemanticCache()
    assert not cache.store(SCOPE, axis(0), "q", unfit, 0.0)
    assert (len(cache), counted(cache, "unfit")) == (0, 1)


def test_forgetting_takes_every_scope_that_begins_so() -> None:
    cache = SemanticCache()
    for scope in ("epoch 1|ada", "epoch 1|ben", "epoch 12", "epoch 2|ada"):
        cache.store(scope, axis(0), "q", reply(), 0.0)
    assert cache.forget("epoch 1|") == 2
    assert len(cache) == 2
    assert cache.forget("") == 2
    assert len(cache) == 0


def test_hits_misses_and_near_misses_are_counted() -> None:
    cache = SemanticCache()
    cache.find(SCOPE, axis(0), 0.0)
    cache.store(SCOPE, axis(0), "q", reply(), 0.0)
    cache.find(SCOPE, axis(0), 0.0)
    cache.find(SCOPE, toward(0.92), 0.0)
    cache.find(SCOPE, toward(0.5), 0.0)
    counts = [counted(cache, name) for name in ("hits", "misses", "near_misses")]
    assert counts == [1, 3, 1]
    assert cache.status()["best_miss"] == pytest.approx(0.92, abs=1e-5)


@pytest.mark.parametrize(
    "vector", [np.ones(8), np.zeros(8), np.full(8, np.nan), np.ones((1, 8)), np.zeros(0)]
)
def test_a_vector_that_is_no_direction_is_refused(vector: np.ndarray) -> None:
    with pytest.raises(RequestRefused):
        SemanticCache().find(SCOPE, vector, 0.0)


def test_another_embedder_s_vectors_in_the_same_scope_are_refused() -> None:
    cache = SemanticCache()
    cache.store(SCOPE, axis(0, 8), "q", reply(), 0.0)
    with pytest.raises(RequestRefused, match="embedder"):
        cache.find(SCOPE, axis(0, 16), 0.0)


@pytest.mark.parametrize("scope", ["", "x" * 513])
def test_a_scope_is_named_and_bounded(scope: str) -> None:
    with pytest.raises(RequestRefused, match="scope"):
        SemanticCache().store(scope, axis(0), "q", reply(), 0.0)


def test_answers_survive_a_restart(tmp_path: Path) -> None:
    cache = SemanticCache(keeper=FileKeeper(tmp_path / "cache"))
    cache.store(SCOPE, axis(0), "Where?", reply("By the mill."), 10)
    cache.store(SCOPE, axis(1), "Who?", reply("Ada."), 20)
    cache.store("gone|", axis(2), "What?", reply("A hat."), 20)
    cache.forget("gone|")
    cache.close()
    again = SemanticCache(keeper=FileKeeper(tmp_path / "cache"))
    assert len(again) == 2
    found = again.find(SCOPE, axis(0), 30.0)
    assert found is not None
    assert (found.text, found.question, found.stored_at) == ("By the mill.", "Where?", 10.0)
    assert again.find(SCOPE, axis(1), 3621.0) is None, "the time they were stored is kept"
    again.store(SCOPE, axis(3), "When?", reply("At noon."), 30)
    again.close()
    third = SemanticCache(CacheSettings(entries=1), FileKeeper(tmp_path / "cache"))
    assert third.find(SCOPE, axis(3), 30.0) is not None, "smaller bounds keep the newest"
    assert len(third) == 1
    third.close()


def test_a_torn_or_foreign_file_costs_only_what_it_held(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    cache = SemanticCache(keeper=FileKeeper(path))
    for n in range(3):
        cache.store(SCOPE, axis(n), "q", reply(), 0.0)
    cache.close()
    path.write_bytes(path.read_bytes()[:-3])
    again = SemanticCache(keeper=FileKeeper(path))
    assert len(again) == 2
    again.store(SCOPE, axis(5), "q", reply(), 0.0)
    again.close()
    third = SemanticCache(keeper=FileKeeper(path))
    assert len(third) == 3
    third.close()
    path.write_bytes(b"someone's letters")
    empty = SemanticCache(keeper=FileKeeper(path))
    assert len(empty) == 0
    empty.close()
    assert path.with_name("cache.damaged").read_bytes() == b"someone's letters"


def test_the_file_is_written_anew_when_most_of_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    cache = SemanticCache(keeper=FileKeeper(path))
    cache.store("kept", axis(1), "q", reply("kept"), 0.0)
    for n in range(LEAST_DEAD + 5):
        cache.store(SCOPE, axis(0), f"q{n}", reply(str(n)), 0.0)
    assert path.stat().st_size < 5000
    cache.store(SCOPE, axis(3), "q", reply("after"), 0.0)
    cache.close()
    again = SemanticCache(keeper=FileKeeper(path))
    for place, scope, text in (
        (1, "kept", "kept"),
        (0, SCOPE, str(LEAST_DEAD + 4)),
        (3, SCOPE, "after"),
    ):
        found = again.find(scope, axis(place), 0.0)
        assert found is not None
        assert found.text == text
    again.close()


def test_text_that_is_not_utf_8_is_kept_as_far_as_it_goes(tmp_path: Path) -> None:
    cache = SemanticCache(keeper=FileKeeper(tmp_path / "cache"))
    assert cache.store(SCOPE, axis(0), "\ud800?", reply(), 0.0)
    cache.close()
    assert len(SemanticCache(keeper=FileKeeper(tmp_path / "cache"))) == 1


WRITER = """
import sys
import numpy as np
from models.cache import SemanticCache
from models.cache_file import FileKeeper
from models.request import Reply

cache = SemanticCache(keeper=FileKeeper(sys.argv[1]))
n = 0
while True:
    n += 1
    vector = np.random.default_rng(n).standard_normal(8).astype(np.float32)
    vector /= np.linalg.norm(vector)
    cache.store("scope", vector, str(n), Reply(request_id=n, text="x" * (n % 700 + 1), source="s"), n)
    print(n, flush=True)
"""


def test_what_was_stored_survives_being_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "cache")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as child:
        assert child.stdout is not None
        for _ in range(100):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        heard = 100 + sum(line.endswith("\n") for line in child.stdout)
    cache = SemanticCache(keeper=FileKeeper(tmp_path / "cache"))
    vector = np.random.default_rng(heard).standard_normal(8).astype(np.float32)
    found = cache.find("scope", vector / np.linalg.norm(vector), float(heard))
    assert found is not None
    assert (found.question, len(found.text)) == (str(heard), heard % 700 + 1)
    cache.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.sampled_from("abc"), st.integers(0, 5)),
        st.tuples(st.just("find"), st.sampled_from("abc"), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.just(""), st.integers(1, 40)),
        st.tuples(st.just("forget"), st.sampled_from("abc"), st.just(0)),
        st.tuples(st.just("restart"), st.just(""), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_it_is_what_a_plain_dict_would_be(steps: list[tuple[str, str, int]]) -> None:
    limits = CacheSettings(ttl_s=60.0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cache"
        cache = SemanticCache(limits, FileKeeper(path))
        model: dict[tuple[str, int], tuple[str, float]] = {}
        now = 1000.0
        for n, (what, scope, at) in enumerate(steps):
            if what == "store":
                cache.store(scope, axis(at), "q", reply(str(n)), now)
                model[scope, at] = (str(n), now)
            elif what == "wait":
                now += at
            elif what == "forget":
                cache.forget(scope)
                model = {key: kept for key, kept in model.items() if key[0] != scope}
            elif what == "restart":
                cache.close()
                cache = SemanticCache(limits, FileKeeper(path))
            else:
                found = cache.find(scope, axis(at), now)
                text, stored_at = model.get((scope, at), ("", -1e9))
                assert (found.text if found else "") == (text if now - stored_at <= 60 else "")
        cache.close()
