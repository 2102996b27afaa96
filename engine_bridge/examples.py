"""An example of every message, and the golden vectors that every client's codec is tested against."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from engine_bridge.codec import JsonCodec, MsgpackCodec
from engine_bridge.interest import DEAD, PLAYER, SPEAKS, WIRE, View, delta, snapshot
from engine_bridge.messages import CLIENT, SERVER
from engine_bridge.protocol import error_message

WIDTH: Final = 4
HEIGHT: Final = 3
_ANN: Final = 2**40 + 5
_MARTA: Final = 101
_WOLF: Final = 202
_KEY: Final = "9f2c-7"

Rows = Mapping[int, Mapping[str, int]]

_FIRST: Final[Rows] = {
    _MARTA: {"x": 2560, "y": 5120, "hp": 20, "max_hp": 20, "mood": 250, "flags": SPEAKS},
    _WOLF: {
        "species": 1, "faction": 1, "x": 4096, "y": 5376, "hp": 12, "max_hp": 14, "action": 2,
        "mood": -300, "target": _ANN,
    },
    _ANN: {"x": 2816, "y": 5120, "hp": 10, "max_hp": 10, "flags": PLAYER},
}  # fmt: skip
_SECOND: Final[Rows] = {
    _MARTA: {**_FIRST[_MARTA], "x": 2520, "mood": -40},
    _ANN: {**_FIRST[_ANN], "hp": 7},
    303: {"species": 1, "faction": 1, "x": -1, "y": 2147483647, "hp": 0, "max_hp": 14, "flags": DEAD},
}  # fmt: skip
_NAMES: Final = {_MARTA: "Marta Kell", _ANN: "Ann"}
_TILES: Final = bytes([3, 3, 1, 1, 3, 8, 8, 1, 3, 3, 3, 13])


def view(rows: Rows, tick: int, time: str) -> View:
    """A view of entities given by id; columns that aren't given are 0."""
    ids = sorted(rows)
    columns = {
        name: np.array([rows[i].get(name, 0) for i in ids], dtype=kind)
        for name, kind in WIRE.items()
        if name != "id"
    }
    return View(tick, 1, time, {"id": np.array(ids, dtype=WIRE["id"]), **columns})


_BEFORE: Final = view(_FIRST, 4801, "noon")
_AFTER: Final = view(_SECOND, 4803, "afternoon")
_LATER_NAMES: Final = {**_NAMES, _ANN: "Ann the Bold"}

_BODIES: Final[Mapping[str, dict[str, Any]]] = {
    "hello": {"client": "my-game", "sdk": "greenroom-godot 0.1.0", "features": ["resume"]},
    "resume": {"token": "Jq3xk8mP0aZs5uYt", "last_seq": 41},
    "join": {"name": "Ann", "key": _KEY},
    "leave": {"key": _KEY},
    "watch": {"radius": 32},
    "say": {"to": _MARTA, "text": "Is there a room for tonight?", "key": _KEY},
    "move": {"x": 2560, "y": 5120, "key": _KEY},
    "attack": {"target": _WOLF, "key": _KEY},
    "use": {"target": 77, "key": _KEY},
    "act": {"action": "flee", "body": {"from_": _WOLF}, "key": _KEY},
    "cancel": {"id": 6},
    "inspect": {"entity": _MARTA},
    "content": {"seed": 7, "monster_type": "wolf", "biome": "valley", "size": 32},
    "ack": {"seq": 42},
    "ping": {},
    "welcome": {
        "session": "s-4f0c2a91d3b7",
        "resume_token": "Jq3xk8mP0aZs5uYt",
        "heartbeat_s": 10.0,
        "limits": {
            "max_frame": 65536, "max_depth": 16, "rate": 100.0, "in_flight": 32, "text": 400,
            "max_radius": 96, "resume_s": 60.0,
        },
        "server": "greenroom 0.1.0",
        "world": {
            "scene": "valley", "width": WIDTH, "height": HEIGHT, "tile": 256, "hz": 20.0,
            "day_ticks": 24000,
            "species": [
                {"name": "villager", "symbol": "v", "colour": "#d8b48a", "speaks": True},
                {"name": "wolf", "symbol": "w", "colour": "#5d6168", "speaks": False},
            ],
            "factions": ["people", "wild"],
            "activities": ["idle", "move", "attack"],
            "actions": ["attack", "flee", "move", "use", "wait"],
            "tiles": ["deep_water", "water", "sand", "grass"],
        },
        "epoch": 1,
    },
    "resumed": {
        "session": "s-4f0c2a91d3b7", "epoch": 1, "replayed": 2, "lost": False, "entity": _ANN,
    },
    "joined": {"entity": _ANN, "x": 2816, "y": 5120},
    "left": {},
    "watching": {"radius": 32, "all": False},
    "speech": {"n": 0, "text": "A bed at the Lantern"},
    "done": {
        "text": "A bed at the Lantern costs three coppers.",
        "source": "greenroom-house 1 (llama.cpp)",
        "tick": 4803, "first_token_ms": 180, "total_ms": 910,
    },
    "committed": {"tick": 4803, "detail": {"target": _WOLF}},
    "cancelled": {},
    "entity": {
        "entity": _MARTA, "name": "Marta Kell", "species": "villager", "time": "noon",
        "place": "the Lantern", "mood": "content",
    },
    "progress": {"node": "terrain", "state": "done", "done": 1, "total": 3},
    "pong": {"tick": 4803, "time_ms": 1767225600000},
    "event": {
        "tick": 4803, "kind": "attacked", "entity": _WOLF, "target": _ANN,
        "data": {"damage": 3, "hp": 7},
    },
    "tiles": {"x": 3, "y": 1, "w": 1, "h": 2, "data": b"\x0e\x0e"},
    "snapshot": snapshot(_BEFORE, _NAMES, _TILES),
    "delta": delta(_BEFORE, _AFTER, _LATER_NAMES, {_ANN: 4802}),
    "heartbeat": {"tick": 4803},
    "goodbye": {"code": 4007, "reason": "the server is shutting down"},
}  # fmt: skip


def example(t: str) -> dict[str, Any] | None:
    """A whole message of type `t`; None where an example would fill pages (a content response)."""
    if t == "error":
        return error_message(9, "out_of_range", "the wolf is 12 tiles away", "move closer")
    if t == "content":
        return {"t": t, "id": 14, "d": _BODIES[t]}
    if t in CLIENT:
        number = list(CLIENT).index(t) + 1
        return {"t": t, "d": _BODIES[t]} if t == "ack" else {"t": t, "id": number, "d": _BODIES[t]}
    kind = SERVER[t]
    if kind.reliable:
        return {"t": t, "seq": 42, "d": _BODIES[t]}
    if kind.direction == "reply":
        return {"t": t, "re": 6, "d": _BODIES[t]}
    return {"t": t, "d": _BODIES[t]}


@dataclass(frozen=True, slots=True)
class Refused:
    """A frame that every server refuses: with an error, and with a close code if it can't go on."""

    name: str
    frame: bytes
    code: str
    close: int | None


def _nested(levels: int) -> bytes:
    return b"\x81\xa1t" + b"\x91" * (levels - 1) + b"\x01"


REFUSED: Final = (
    Refused("empty", b"", "bad_message", 4000),
    Refused("reserved byte", b"\xc1", "bad_message", 4000),
    Refused("not a map", b"\x90", "bad_message", 4000),
    Refused("cut short", b"\x81\xa1t", "bad_message", 4000),
    Refused("something after the map", b"\x80\x00", "bad_message", 4000),
    Refused("a key twice", b"\x82\xa1t\x01\xa1t\x02", "bad_message", 4000),
    Refused("a key that is no text", b"\x81\x01\x02", "bad_message", 4000),
    Refused("an extension", b"\x81\xa1t\xd4\x01\x00", "bad_message", 4000),
    Refused("a timestamp", b"\x81\xa1t\xd6\xff\x00\x00\x00\x01", "bad_message", 4000),
    Refused("not UTF-8", b"\x81\xa1t\xa2\xff\xff", "bad_message", 4000),
    Refused("NUL in text", b"\x81\xa1t\xa1\x00", "bad_message", 4000),
    Refused("not a number", b"\x81\xa1t\xcb\x7f\xf8" + bytes(6), "bad_message", 4000),
    Refused("beyond signed 64 bits", b"\x81\xa1t\xcf\x80" + bytes(7), "bad_message", 4000),
    Refused("seventeen levels", _nested(17), "too_deep", None),
    Refused("no type", b"\x80", "bad_message", None),
    Refused("unknown type", b"\x82\xa1t\xa5dance\xa2id\x01", "unknown_type", None),
    Refused("hello without an id", b"\x82\xa1t\xa5hello\xa1d\x80", "bad_message", None),
)


def vectors() -> dict[str, bytes]:
    """Every file of the golden vectors by its name.

    `NAME.bin` is a message as a msgpack frame, `NAME.json` the same as a JSON frame. `index.json`
    lists them, the frames that must be refused, and what a client holds after the states.
    """
    msgpack, text = MsgpackCodec(), JsonCodec()
    files: dict[str, bytes] = {}
    listed = []
    for direction, kinds in (("client", CLIENT), ("server", SERVER)):
        for t in kinds:
            message = example(t) if (direction, t) != ("server", "content") else None
            if message is None:
                continue
            name = f"{direction}_{t}"
            files[f"{name}.bin"] = msgpack.encode(message)
            files[f"{name}.json"] = text.encode(message).encode()
            listed.append({"name": name, "direction": direction, "t": t})
    index = {
        "protocol": "greenroom.v1",
        "about": "NAME.bin is a frame of greenroom.v1.msgpack, NAME.json the same message as a "
        'frame of greenroom.v1.json; {"$bin": "..."} there stands for bytes.',
        "messages": listed,
        "refused": [
            {"name": r.name, "frame": r.frame.hex(), "code": r.code, "close": r.close}
            for r in REFUSED
        ],
        "state": {
            "width": WIDTH,
            "height": HEIGHT,
            "after": [
                _state("server_snapshot", _BEFORE, _NAMES, _TILES),
                _state("server_delta", _AFTER, _LATER_NAMES, _TILES),
                _state("server_tiles", _AFTER, _LATER_NAMES, _patched()),
            ],
        },
    }
    files["index.json"] = (json.dumps(index, indent=1, ensure_ascii=False) + "\n").encode()
    return files


def _patched() -> bytes:
    tiles = bytearray(_TILES)
    body = _BODIES["tiles"]
    for row in range(body["h"]):
        tiles[(body["y"] + row) * WIDTH + body["x"]] = body["data"][row]
    return bytes(tiles)


def _state(applied: str, state: View, names: Mapping[int, str], tiles: bytes) -> dict[str, Any]:
    """What a client holds once it has applied this message after those before it."""
    entities = {
        str(entity): {name: int(state.columns[name][row]) for name in WIRE if name != "id"}
        for row, entity in enumerate(state.ids.tolist())
    }
    known = {str(entity): name for entity, name in names.items() if str(entity) in entities}
    return {
        "apply": applied,
        "tick": state.tick,
        "time": state.time,
        "entities": entities,
        "names": known,
        "tiles": tiles.hex(),
    }
