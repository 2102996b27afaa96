"""The written files and the golden vectors are the models', and not stale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine_bridge import describe
from engine_bridge.codec import JsonCodec, MsgpackCodec
from engine_bridge.errors import ERROR_MEANINGS, ProtocolError
from engine_bridge.examples import REFUSED, example, vectors
from engine_bridge.interest import WIRE
from engine_bridge.messages import CLIENT, SERVER, parse_request
from engine_bridge.mirror import Mirror

ROOT = Path(__file__).parents[2]
FILES = vectors()
INDEX: dict[str, Any] = json.loads(FILES["index.json"])


def test_the_files_in_the_repository_are_what_the_models_say() -> None:
    assert describe.main([str(ROOT / "docs"), str(ROOT / "tests/vectors"), "--check"]) == 0


def test_check_fails_for_a_stale_a_missing_and_a_left_over_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs, kept = str(tmp_path / "docs"), tmp_path / "vectors"
    assert describe.main([docs, str(kept), "--check"]) == 1
    assert describe.main([docs, str(kept)]) == 0
    assert describe.main([docs, str(kept), "--check"]) == 0
    for spoil in (
        lambda: (kept / "client_say.bin").write_bytes(b"\x80"),
        lambda: (kept / "client_say.bin").unlink(),
        lambda: (kept / "old.bin").write_bytes(b""),
        lambda: (tmp_path / "docs" / "protocol.md").write_text("out of date"),
    ):
        spoil()
        assert describe.main([docs, str(kept), "--check"]) == 1
        assert "is stale" in capsys.readouterr().err
        assert describe.main([docs, str(kept)]) == 0
    assert not (kept / "old.bin").exists()


@pytest.mark.parametrize("vector", INDEX["messages"], ids=lambda vector: vector["name"])
def test_both_encodings_of_a_vector_are_the_same_valid_message(vector: dict[str, str]) -> None:
    binary = MsgpackCodec().decode(FILES[f"{vector['name']}.bin"])
    assert JsonCodec().decode(FILES[f"{vector['name']}.json"].decode()) == binary
    assert MsgpackCodec().encode(binary) == FILES[f"{vector['name']}.bin"]
    if vector["direction"] == "client":
        assert parse_request(binary).t == vector["t"]
    else:
        SERVER[vector["t"]].body.model_validate(binary["d"])


def test_every_message_has_a_vector_but_the_answer_that_fills_pages() -> None:
    named = {(vector["direction"], vector["t"]) for vector in INDEX["messages"]}
    assert named == {("client", t) for t in CLIENT} | {("server", t) for t in SERVER} - {
        ("server", "content")
    }


@pytest.mark.parametrize("refused", REFUSED, ids=lambda refused: refused.name)
def test_what_the_vectors_refuse_is_refused_with_that_code(refused: Any) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_request(MsgpackCodec().decode(refused.frame))
    assert (caught.value.code, caught.value.close) == (refused.code, refused.close)


def test_a_client_that_applies_the_states_holds_what_the_index_says() -> None:
    state = INDEX["state"]
    mirror = Mirror(state["width"], state["height"])
    for after in state["after"]:
        message = MsgpackCodec().decode(FILES[f"{after['apply']}.bin"])
        {"snapshot": mirror.snapshot, "delta": mirror.delta, "tiles": mirror.patch}[message["t"]](
            message["d"]
        )
        held = {
            str(e.id): {name: getattr(e, name) for name in WIRE if name != "id"}
            for e in mirror.entities.values()
        }
        assert held == after["entities"]
        assert {str(e.id): e.name for e in mirror.entities.values() if e.name} == after["names"]
        assert (mirror.tick, mirror.time) == (after["tick"], after["time"])
        assert mirror.tiles.hex() == after["tiles"]


def test_an_example_error_is_one_the_server_can_send() -> None:
    error = example("error")
    assert error is not None
    assert error["d"]["code"] in ERROR_MEANINGS
