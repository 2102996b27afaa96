"""The reference page, the AsyncAPI document and the golden vectors are the models', and not stale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine_bridge import describe
from engine_bridge.codec import JsonCodec, MsgpackCodec
from engine_bridge.errors import CLOSE_MEANINGS, ERROR_MEANINGS, CloseCode, ProtocolError
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


def test_the_page_tells_of_every_message_field_error_and_close_code() -> None:
    page = describe.protocol_markdown()
    for kind in (*CLIENT.values(), *SERVER.values()):
        assert f"### `{kind.t}`" in page
        for field in kind.body.model_fields:
            assert f"`{field}`" in page, f"{kind.t}.{field}"
    for code in ERROR_MEANINGS:
        assert f"| `{code}` |" in page
    for code in CloseCode:
        assert f"| {int(code)} |" in page
    for column in WIRE:
        assert f"| `{column}` |" in page


def test_every_close_code_has_a_meaning() -> None:
    assert set(CLOSE_MEANINGS) == set(CloseCode)


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        here = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return here + [r for inner in value.values() for r in references(inner)]
    if isinstance(value, list):
        return [r for inner in value for r in references(inner)]
    return []


def test_the_asyncapi_document_is_whole() -> None:
    document = describe.asyncapi()
    assert document["asyncapi"] == "3.0.0"
    for reference in references(document):
        at: Any = document
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]
    assert {f"client_{t}" for t in CLIENT} <= set(document["components"]["messages"])
    assert {f"server_{t}" for t in SERVER} <= set(document["components"]["messages"])
    assert set(CLIENT) <= set(document["operations"])


def test_an_example_error_is_one_the_server_can_send() -> None:
    error = example("error")
    assert error is not None
    assert error["d"]["code"] in ERROR_MEANINGS
