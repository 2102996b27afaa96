"""The page's own codec and mirror, run in a real browser against the golden vectors."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.chromium

VECTORS = Path(__file__).parents[1] / "vectors"
INDEX = json.loads((VECTORS / "index.json").read_text())

TOOLS = """
const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
const unhex = (text) => new Uint8Array((text.match(/../g) ?? []).map((pair) => parseInt(pair, 16)));
const { decode, encode } = await import('/msgpack.js');
const { Mirror } = await import('/entities.js');
const plain = (value) => {
  if (value instanceof Uint8Array) return { $bin: btoa(String.fromCharCode(...value)) };
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
};
"""


@pytest.fixture
def page(server: Any, tab: Any) -> Any:
    """A tab on the server's own pages, so that its modules can be imported."""
    page = tab()
    page.open(f"{server.pages}/icon.svg")
    return page


def run(page: Any, script: str, **given: Any) -> Any:
    values = "".join(f"const {name} = {json.dumps(value)};" for name, value in given.items())
    return page.run(f"(async () => {{ {TOOLS} {values} {script} }})()")


def frame_of(name: str) -> bytes:
    return (VECTORS / f"{name}.bin").read_bytes()


def test_every_message_is_read_as_its_json_says_and_requests_are_written_byte_for_byte(
    page: Any,
) -> None:
    names = [vector["name"] for vector in INDEX["messages"]]

    found = run(
        page,
        "return frames.map((frame) => { const value = decode(unhex(frame));"
        " return [JSON.stringify(plain(value)), hex(encode(value))]; });",
        frames=[frame_of(name).hex() for name in names],
    )

    for name, (value, again) in zip(names, found, strict=True):
        assert json.loads(value) == json.loads((VECTORS / f"{name}.json").read_text()), name
        # Only a server sends whole floats, which JavaScript can't tell from integers.
        assert name.startswith("server_") or again == frame_of(name).hex(), name


def test_what_the_vectors_refuse_is_refused(page: Any) -> None:
    # What is sound msgpack but no request of a client is for the server to refuse.
    broken = [
        one
        for one in INDEX["refused"]
        if one["name"] not in ("not a map", "NUL in text")
        and (one["close"] == 4000 or one["code"] == "too_deep")
    ]

    found = run(
        page,
        "return frames.map((frame) => {"
        " try { decode(unhex(frame)); return ''; } catch (error) { return error.message; } });",
        frames=[one["frame"] for one in broken],
    )

    assert len(broken) > 10
    for vector, reason in zip(broken, found, strict=True):
        assert reason, f"{vector['name']} was taken"


def test_numbers_of_every_size_come_back_and_those_that_do_not_fit_are_refused(page: Any) -> None:
    sizes = [
        sign * (2**bits + off)
        for bits in (0, 5, 7, 8, 15, 16, 31, 32, 52)
        for off in (-1, 0, 1)
        for sign in (1, -1)
    ]
    floats = [0.5, -0.25, 1e300, 2.0**53, 5e-324]

    found = run(page, "return numbers.map((n) => decode(encode(n)));", numbers=sizes + floats)
    refused = run(
        page,
        "return [() => encode(NaN), () => encode(Infinity), () => decode(unhex('cf0020000000000000'))]"
        ".map((act) => { try { act(); return ''; } catch (error) { return error.message; } });",
    )

    assert found == sizes + floats
    assert all(refused)


def test_a_key_that_means_something_to_javascript_is_a_key_like_any_other(page: Any) -> None:
    found = run(
        page,
        "const value = decode(unhex(frame)); return [Object.keys(value), {}.polluted ?? null];",
        frame=base64.b16encode(
            b"\x82\xa9__proto__\x81\xa8polluted\xc3\xabconstructor\x01"
        ).decode(),
    )

    assert found == [["__proto__", "constructor"], None]


def test_the_mirror_knows_what_the_vectors_say_after_each_state(page: Any) -> None:
    state = INDEX["state"]
    steps = [step for step in state["after"] if step["apply"] != "server_tiles"]

    found = run(
        page,
        """
        const mirror = new Mirror(1);
        return frames.map((frame) => {
          const { t, d } = decode(unhex(frame));
          mirror[t](d);
          const entities = {};
          const names = {};
          for (const { id, name, shown, ...columns } of mirror.byId.values()) {
            entities[id] = columns;
            if (name) names[id] = name;
          }
          return { tick: mirror.tick, time: mirror.time, entities, names };
        });
        """,
        frames=[frame_of(step["apply"]).hex() for step in steps],
    )

    for step, told in zip(steps, found, strict=True):
        assert told == {key: step[key] for key in ("tick", "time", "entities", "names")}
