"""The ladder changed while it runs, with real engines: what holds, and what is refused and changes nothing."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import Recorder

from engine_bridge.ladder import MOST_RUNGS, AddRung, Ladder
from foundation.errors import GreenroomError, LimitError, UsageError
from greenroom import minds
from greenroom.settings import ModelSettings
from greenroom.switchboard import Switchboard
from models import house
from models.errors import (
    BackendRefused,
    Cancelled,
    ModelDoesNotFit,
    ModelFileError,
    ModelUnavailable,
)
from models.llama.cores import Cores
from models.llama.host import LlamaHost
from models.llama.machine import Machine
from models.request import WINDOW, Message, ModelRequest
from models.router import Router, Rung
from models.scripted import ScriptedBackend

pytestmark = pytest.mark.engine

SMALL = {"threads": 1, "context": 1024, "sequences": 2}


def ask(router: Router, max_tokens: int = 8, **fields: Any) -> Recorder:
    answer = Recorder()
    line: Message = {"role": "user", "content": "Good evening. What news of the wolves?"}
    fields.setdefault("deadline_s", 60.0)
    router.submit(ModelRequest([line], "speech", max_tokens=max_tokens, **fields), answer)
    return answer


def source(router: Router, **fields: Any) -> str:
    answer = ask(router, **fields)
    answer.wait()
    return answer.replies[0].source if answer.replies else str(answer.errors[0])


def load(file: Path, sizes: Any) -> LlamaHost:
    return minds.local_engine(ModelSettings(file=file, **{**SMALL, **sizes}))


Boards = Callable[..., tuple[Switchboard, Router]]


@pytest.fixture
def boards() -> Iterator[Boards]:
    """Makes a ladder of one scripted rung, `local`, and its switchboard; closes both."""
    made: list[tuple[Switchboard, Router]] = []

    def make(**how: Any) -> tuple[Switchboard, Router]:
        rungs = [Rung("local", ScriptedBackend(lambda _: "scripted", name="scripted"))]
        router = Router(rungs)
        board = Switchboard(router, {}, how.pop("load", load), minds.PURPOSES, **how)
        made.append((board, router))
        return made[-1]

    yield make
    for board, router in made:
        board.close()
        router.close()


def big(**fields: Any) -> AddRung:
    return AddRung(label="big", file=str(house.path()), **fields)


def test_a_gguf_comes_answers_and_goes(boards: Boards) -> None:
    board, router = boards()
    board.add(big())
    ladder = board.ladder()
    assert (ladder.order, ladder.answering) == (["local", "big"], {"": "local"})
    assert [(rung.label, rung.state, rung.file) for rung in ladder.rungs][1] == (
        "big", "ready", str(house.path())
    )  # fmt: skip
    board.order("", ["big", "local"])
    assert house.NAME in source(router)
    board.order("decide", ["local"])
    assert board.ladder().answering == {"": "big", "decide": "local"}
    board.enable("big", False)
    assert source(router) == "scripted"
    board.enable("big", True)
    board.reset("decide")
    board.remove("big")
    assert source(router) == "scripted"
    assert [rung.label for rung in board.ladder().rungs] == ["local"]
    board.add(big(first=True))
    assert board.ladder().order == ["big", "local"]


def test_a_rung_that_is_added_has_a_window_of_its_own(tmp_path: Path) -> None:
    settings = ModelSettings(threads=1, local_only=True)
    gathered = minds.gather(settings)
    assert gathered is not None
    board = minds.switchboard(gathered, settings)
    # A file that is not known to be the house model.
    other = tmp_path / "other.gguf"
    other.write_bytes(house.path().read_bytes())
    try:
        gathered.wait_ready(60.0)
        for label, more in (("short", {"window": 256}), ("plain", {})):
            board.add(AddRung(label=label, file=str(other), threads=1, sequences=2, **more))
        board.add(AddRung(label="house", file=str(house.path()), threads=1, sequences=2))
        assert {rung.label: rung.window for rung in board.ladder().rungs} == {
            "local": house.WINDOW, "short": 256, "plain": WINDOW, "house": house.WINDOW
        }  # fmt: skip
        turns: list[Message] = [{"role": "system", "content": "You are Marta."}]
        for n in range(10):
            turns.append({"role": "user", "content": f"What is the price of {n} beds tonight?"})
            turns.append({"role": "assistant", "content": f"{n} beds cost three coppers each."})
        turns.append({"role": "user", "content": "And breakfast?"})
        dropped = {}
        for label in ("local", "short"):
            answer = Recorder()
            asked = ModelRequest(turns, "speech", max_tokens=8, window=0, backend=label)
            gathered.router.submit(asked, answer)
            dropped[label] = answer.reply.dropped
        assert dropped["local"] == () and dropped["short"]
    finally:
        board.close()
        gathered.close()


def test_a_rung_that_goes_ends_what_it_has_begun(boards: Boards) -> None:
    board, router = boards()
    board.add(big(first=True))
    under_way = ask(router, 40, temperature=0.0)
    assert under_way.spoke.wait(60)
    board.remove("big")
    assert source(router) == "scripted"
    assert house.NAME in under_way.reply.source


def test_what_a_going_rung_had_not_begun_is_answered_or_told(boards: Boards) -> None:
    board, router = boards(drain_s=0.0)
    board.add(big(first=True))
    answers = [ask(router, 40) for _ in range(12)]
    board.remove("big")
    for answer in answers:
        answer.wait()
        assert answer.replies or isinstance(answer.error, (Cancelled, ModelUnavailable))
    assert any(reply.source == "scripted" for answer in answers for reply in answer.replies)


@pytest.mark.parametrize("kind", ["missing", "truncated", "not a GGUF", "too large"])
def test_a_file_that_is_no_use_is_named_and_changes_nothing(
    boards: Boards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    board, router = boards()
    file = tmp_path / "broken.gguf"
    expected: type[GreenroomError] = ModelFileError
    if kind == "truncated":
        file.write_bytes(house.path().read_bytes()[:200_000])
    elif kind == "not a GGUF":
        file.write_bytes(b"PK\x03\x04 this is something else" * 100)
    elif kind == "too large":
        file, expected = house.path(), ModelDoesNotFit
        small = Machine(Cores(4, 4), 1 << 30, 1 << 20, (), "the build is the CPU's")
        monkeypatch.setattr(minds, "measure", lambda: small)
    before = board.ladder()
    with pytest.raises(expected) as caught:
        board.add(AddRung(label="big", file=str(file)))
    assert caught.value.hint
    assert kind == "too large" or "broken.gguf" in caught.value.message
    assert board.ladder() == before
    assert source(router) == "scripted"


def refused(board: Switchboard, act: Callable[[], None]) -> Ladder:
    before = board.ladder()
    with pytest.raises(UsageError) as caught:
        act()
    assert caught.value.hint
    assert board.ladder() == before
    return before


def test_changes_that_would_make_no_ladder_are_refused(boards: Boards) -> None:
    board, _ = boards()
    for act in (
        lambda: board.order("", ["local", "ghost"]),
        lambda: board.order("", ["local", "local"]),
        lambda: board.order("speach", ["local"]),
        lambda: board.reset("speech"),
        lambda: board.enable("ghost", False),
        lambda: board.remove("ghost"),
        lambda: board.remove("local"),
        lambda: board.add(AddRung(label="local", file=str(house.path()))),
    ):
        refused(board, act)


def test_a_request_may_name_what_is_there_on_and_asked_for_its_purpose(boards: Boards) -> None:
    board, router = boards()
    router.add(Rung("big", ScriptedBackend(lambda _: "big", name="big")))
    router.add(Rung("plans", ScriptedBackend(lambda _: "p", name="p"), frozenset({"plan"})))
    board.admit("local", "speech")
    board.admit("big", "speech")
    board.enable("big", False)
    for label, why in (("big", "switched off"), ("plans", "not asked"), ("cloud", "unknown")):
        with pytest.raises(BackendRefused, match=f"'{label}'.*{why}") as caught:
            board.admit(label, "speech")
        assert caught.value.message.endswith(" there are: local")


def test_the_cloud_is_asked_for_plans_alone_whatever_the_order(
    boards: Boards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-key-that-opens-nothing")
    settings = ModelSettings(threads=1, context=1024, sequences=2)
    gathered = minds.gather(settings)
    assert gathered is not None
    board = minds.switchboard(gathered, settings)
    try:
        refused(board, lambda: board.order("", ["cloud", "local"]))
        refused(board, lambda: board.order("speech", ["cloud"]))
        refused(board, lambda: board.remove("cloud"))
        with pytest.raises(BackendRefused, match="not asked for speech"):
            board.admit("cloud", "speech")
        board.admit("cloud", "plan")
        board.order("plan", ["local", "cloud"])
        assert board.ladder().routes == {"plan": ["local", "cloud"]}
    finally:
        board.close()
        gathered.router.close()


def test_one_model_loads_at_a_time_and_closing_ends_it(boards: Boards) -> None:
    entered, let_go = threading.Event(), threading.Event()
    made: list[LlamaHost] = []

    def slowly(file: Path, sizes: Any) -> LlamaHost:
        entered.set()
        assert let_go.wait(60)
        made.append(load(file, sizes))
        return made[-1]

    board, _ = boards(load=slowly)
    caught: list[GreenroomError] = []

    def add() -> None:
        try:
            board.add(big())
        except GreenroomError as error:
            caught.append(error)

    adding = threading.Thread(target=add, daemon=True)
    adding.start()
    assert entered.wait(60)
    assert board.ladder().loading == "big"
    with pytest.raises(LimitError, match="another model"):
        board.add(AddRung(label="other", file=str(house.path())))
    board.close()
    let_go.set()
    adding.join(60)
    assert isinstance(caught[0], ModelUnavailable)
    assert made[0].state == "closed"
    assert [rung.label for rung in board.ladder().rungs] == ["local"]
    with pytest.raises(ModelUnavailable, match="closing"):
        board.enable("local", False)


def test_there_are_so_many_rungs_and_no_more(boards: Boards) -> None:
    board, router = boards()
    for n in range(MOST_RUNGS - 1):
        router.add(Rung(f"rung{n}", ScriptedBackend()))
    with pytest.raises(LimitError, match="rungs already"):
        board.add(big())


def test_minds_ask_for_no_purpose_that_the_switchboard_does_not_know() -> None:
    actors = Path(minds.__file__).parents[1] / "actors"
    asked = {
        purpose
        for module in actors.rglob("*.py")
        for purpose in re.findall(r'purpose="(\w+)"', module.read_text(encoding="utf-8"))
    }
    assert asked == set(minds.PURPOSES)


def test_a_removed_engine_is_gone_from_memory(boards: Boards) -> None:
    hosts: list[LlamaHost] = []

    def remembered(file: Path, sizes: Any) -> LlamaHost:
        hosts.append(load(file, sizes))
        return hosts[-1]

    board, _ = boards(load=remembered)
    board.add(big())
    pid = hosts[0].pid
    board.remove("big")
    for _ in range(600):
        if not Path(f"/proc/{pid}").exists() and not board.ladder().leaving:
            return
        time.sleep(0.05)
    pytest.fail("the engine's process is still there")
