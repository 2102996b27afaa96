"""The ladder over HTTP: who may change it, what is refused, and that the answer shows what then holds."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from bridge_fakes import Bridges, FakeStage

from engine_bridge.ladder import AddRung, Ladder, RungState
from foundation.errors import GreenroomError, LimitError, UsageError
from models.errors import BackendRefused

Answer = tuple[int, Any]


class FakeBoard:
    """A switchboard that does as it is told and remembers it."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.labels = ["local"]
        self.refuse: GreenroomError | None = None
        self.go_on = threading.Event()
        self.go_on.set()

    def ladder(self) -> Ladder:
        rungs = [
            RungState(
                label=label, model=label, kind="fake", state="ready", on=True, only=[],
                file="", window=0, under_way=0, error="",
            )
            for label in self.labels
        ]  # fmt: skip
        now = self.labels[0] if self.labels else ""
        return Ladder(
            rungs=rungs, order=self.labels, routes={}, answering={"": now}, loading="", leaving=0
        )

    def _do(self, *what: Any) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.done.append(what)

    def admit(self, label: str, purpose: str) -> None:
        if label not in self.labels:
            raise BackendRefused(f"no {label}; there are {', '.join(self.labels)}")

    def order(self, purpose: str, labels: list[str]) -> None:
        self._do("order", purpose, labels)

    def reset(self, purpose: str) -> None:
        self._do("reset", purpose)

    def enable(self, label: str, on: bool) -> None:
        self._do("enable", label, on)

    def add(self, wanted: AddRung) -> None:
        assert self.go_on.wait(20)
        self._do("add", wanted)
        self.labels.append(wanted.label)

    def remove(self, label: str) -> None:
        self._do("remove", label)
        self.labels.remove(label)


def call(url: str, method: str = "GET", body: Any = None, **headers: str) -> Answer:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Content-Type": "application/json", **headers} if data is not None else headers
    asked = urllib.request.Request(url, data=data, method=method, headers=given)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(asked, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture
def board() -> FakeBoard:
    return FakeBoard()


@pytest.fixture
def models(stage: FakeStage, bridges: Bridges, board: FakeBoard) -> Callable[..., str]:
    def start(**settings: Any) -> str:
        return f"{bridges(stage, board, http_port=0, **settings).http_address}/api/models"

    return start


def test_each_call_does_one_thing_and_answers_with_the_ladder_as_it_then_is(
    models: Callable[..., str], board: FakeBoard
) -> None:
    base = models()
    status, ladder = call(base)
    assert (status, ladder["order"], ladder["answering"]) == (200, ["local"], {"": "local"})
    order = {"order": ["local"], "purpose": "speech"}
    assert call(f"{base}/order", "PUT", order)[0] == 200
    assert call(f"{base}/order", "PUT", {"order": ["local"]})[0] == 200
    assert call(f"{base}/order/speech", "DELETE")[0] == 200
    assert call(f"{base}/rungs/local", "PUT", {"on": False})[0] == 200
    added = {"label": "big", "file": "/models/big.gguf", "first": True, "context": 2048}
    status, ladder = call(f"{base}/rungs", "POST", added)
    assert (status, [rung["label"] for rung in ladder["rungs"]]) == (201, ["local", "big"])
    status, ladder = call(f"{base}/rungs/big", "DELETE")
    assert (status, ladder["order"]) == (200, ["local"])
    wanted = AddRung(label="big", file="/models/big.gguf", first=True, context=2048)
    assert board.done == [
        ("order", "speech", ["local"]),
        ("order", "", ["local"]),
        ("reset", "speech"),
        ("enable", "local", False),
        ("add", wanted),
        ("remove", "big"),
    ]


@pytest.mark.parametrize(
    ("path", "method", "body", "status"),
    [
        ("/order", "PUT", {"order": []}, 400),
        ("/order", "PUT", {"order": ["Not A Label"]}, 400),
        ("/order", "PUT", {"order": ["a"] * 9}, 400),
        ("/order", "PUT", {"order": ["a"], "porpoise": "speech"}, 400),
        ("/order", "PUT", b"{", 400),
        ("/order", "PUT", b"\xff", 400),
        ("/rungs/local", "PUT", {"on": 1}, 400),
        ("/rungs/local", "PUT", {}, 400),
        ("/rungs", "POST", {"label": "big"}, 400),
        ("/rungs", "POST", {"label": "big", "file": ""}, 400),
        ("/rungs", "POST", {"label": "big", "file": "x", "kv_type": "q3"}, 400),
        ("/rungs", "POST", {"label": "big", "file": "x" * 70_000}, 413),
    ],
)
def test_a_call_that_is_no_such_call_is_refused_and_does_nothing(
    models: Callable[..., str], board: FakeBoard, path: str, method: str, body: Any, status: int
) -> None:
    found, told = call(models() + path, method, body)
    assert (found, set(told)) == (status, {"code", "message", "hint"})
    assert board.done == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(UsageError("no such rung", "list them"), 409), (LimitError("another is loading"), 503)],
)
def test_what_the_switchboard_refuses_is_told_with_its_code_and_mend(
    models: Callable[..., str], board: FakeBoard, error: GreenroomError, status: int
) -> None:
    board.refuse = error
    found, told = call(f"{models()}/rungs/local", "DELETE")
    assert found == status
    assert (told["code"], told["message"], told["hint"]) == (error.code, error.message, error.hint)


def test_the_pages_go_on_while_a_model_loads(models: Callable[..., str], board: FakeBoard) -> None:
    base = models()
    board.go_on.clear()
    answers: list[Answer] = []
    adding = {"label": "big", "file": "big.gguf"}
    waiting = threading.Thread(
        target=lambda: answers.append(call(f"{base}/rungs", "POST", adding)), daemon=True
    )
    waiting.start()
    assert call(base)[0] == 200
    assert answers == []
    board.go_on.set()
    waiting.join(20)
    assert answers[0][0] == 201


def test_strangers_forms_and_those_without_the_token_change_nothing(
    models: Callable[..., str], board: FakeBoard
) -> None:
    base = models(token="correct horse")
    change = {"on": False}
    key = {"Authorization": "Bearer correct horse"}
    assert call(base)[0] == 401
    assert call(f"{base}/rungs/local", "PUT", change)[0] == 401
    foreign = {**key, "Origin": "https://evil.example"}
    assert call(f"{base}/rungs/local", "PUT", change, **foreign)[0] == 403
    form = {**key, "Content-Type": "text/plain"}
    assert call(f"{base}/rungs/local", "PUT", change, **form)[0] == 400
    assert board.done == []
    assert call(f"{base}/rungs/local", "PUT", change, **key)[0] == 200


def test_without_models_the_ladder_is_empty_and_refuses(stage: FakeStage, bridges: Bridges) -> None:
    base = f"{bridges(stage, http_port=0).http_address}/api/models"
    status, ladder = call(base)
    assert (status, ladder["rungs"], ladder["answering"]) == (200, [], {"": ""})
    for path, method, body in (
        ("/order", "PUT", {"order": ["local"]}),
        ("/order/speech", "DELETE", None),
        ("/rungs/local", "PUT", {"on": True}),
        ("/rungs", "POST", {"label": "big", "file": "big.gguf"}),
        ("/rungs/local", "DELETE", None),
    ):
        status, told = call(base + path, method, body)
        assert (status, told["code"]) == (409, "usage")
        assert "--no-models" in told["hint"]


def test_tools_can_read_what_the_calls_take(models: Callable[..., str]) -> None:
    _, page = call(models().replace("models", "openapi.json"))
    taken = page["paths"]["/api/models/rungs"]["post"]["requestBody"]["content"]
    assert "first" in taken["application/json"]["schema"]["properties"]
