"""The reference page tells of all that the protocol has."""

from __future__ import annotations

from engine_bridge.errors import CLOSE_MEANINGS, ERROR_MEANINGS, CloseCode
from engine_bridge.interest import WIRE
from engine_bridge.messages import CLIENT, SERVER
from engine_bridge.reference.page import protocol_markdown


def test_the_page_tells_of_every_message_field_error_and_close_code() -> None:
    page = protocol_markdown()
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
