"""Writes what the protocol is from the models themselves: the reference page, AsyncAPI, vectors.

``python -m engine_bridge.describe docs/ tests/vectors/`` writes them; with ``--check`` it writes
nothing and fails if a file is stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from engine_bridge.broadcast import CARRIED_APART, FOR_ALL
from engine_bridge.codec import JsonCodec
from engine_bridge.errors import CLOSE_MEANINGS, ERROR_MEANINGS, RETRYABLE
from engine_bridge.examples import example, vectors
from engine_bridge.interest import WIRE
from engine_bridge.messages import CLIENT, SERVER, Kind, PackedColumns
from engine_bridge.settings import BridgeSettings
from foundation.strict import StrictModel
from world.actions import SYSTEM, VOCABULARY
from world.events import EVENT_DATA, KINDS

VERSION: Final = "1.0.0"
_LONGEST_EXAMPLE: Final = 900


def main(arguments: list[str] | None = None) -> int:
    """Write or check the files; 0 when all is as it should be."""
    parser = argparse.ArgumentParser(prog="python -m engine_bridge.describe")
    parser.add_argument("docs", type=Path, help="folder of protocol.md and asyncapi.json")
    parser.add_argument("vectors", type=Path, help="folder of the golden vectors")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if stale")
    options = parser.parse_args(arguments)
    wanted = {options.docs / name: text.encode() for name, text in documents().items()}
    wanted |= {options.vectors / name: data for name, data in vectors().items()}
    stale = [path for path, data in wanted.items() if not _same(path, data)]
    known = set(wanted)
    left_over = [path for path in _files(options.vectors) if path not in known]
    if options.check:
        for path in (*stale, *left_over):
            print(f"{path} is stale", file=sys.stderr)
        if stale or left_over:
            print(
                f"write anew: python -m engine_bridge.describe {options.docs} {options.vectors}",
                file=sys.stderr,
            )
        return 1 if stale or left_over else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wanted[path])
    for path in left_over:
        path.unlink()
    print(f"{len(stale)} files written, {len(left_over)} removed, {len(wanted)} in all")
    return 0


def documents() -> dict[str, str]:
    """The two pages by file name."""
    return {
        "protocol.md": protocol_markdown(),
        "asyncapi.json": json.dumps(asyncapi(), indent=1, ensure_ascii=False) + "\n",
    }


def _same(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix in (".bin", ".json"))


# ---------------------------------------------------------------- the reference page


def protocol_markdown() -> str:
    """`docs/protocol.md`: how to talk to a Greenroom server, message by message."""
    return "\n".join(_page()).rstrip() + "\n"


def _page() -> Iterator[str]:
    defaults = BridgeSettings()
    yield from _INTRODUCTION.format(
        max_frame=defaults.max_frame,
        max_depth=defaults.max_depth,
        hello_s=defaults.hello_s,
        heartbeat_s=defaults.heartbeat_s,
        resume_s=defaults.resume_s,
        ring=defaults.ring,
        ring_kib=defaults.ring_bytes // 1024,
        keys=defaults.keys,
        rate=defaults.rate,
        burst=defaults.burst,
        in_flight=defaults.in_flight,
        max_radius=defaults.max_radius,
        max_visible=defaults.max_visible,
        row_bytes=sum(kind.itemsize for kind in WIRE.values()),
        kinds=", ".join(f"`{kind}`" for kind in KINDS if kind not in CARRIED_APART),
        for_all=" and ".join(f"`{kind}`" for kind in sorted(FOR_ALL)),
    ).splitlines()
    yield from ("", "## Columns", "")
    yield from _columns()
    yield from ("", "## From client to server", "")
    for kind in CLIENT.values():
        yield from _message(kind)
    yield from ("## From server to client: replies", "")
    for kind in SERVER.values():
        if kind.direction == "reply":
            yield from _message(kind)
    yield from ("## From server to client: push", "")
    for kind in SERVER.values():
        if kind.direction == "push":
            yield from _message(kind)
    yield from ("## Actions", "")
    yield from _actions()
    yield from ("", "## Events", "", "| kind | data |", "|---|---|")
    for event, data in EVENT_DATA.items():
        if event not in CARRIED_APART:
            yield f"| `{event}` | {data} |"
    yield from ("", "## Errors", "")
    yield from ("| code | meaning | retry |", "|---|---|---|")
    for code, meaning in ERROR_MEANINGS.items():
        yield f"| `{code}` | {meaning} | {'yes' if code in RETRYABLE else ''} |"
    yield from ("", "## Close codes", "", "| code | name | meaning |", "|---|---|---|")
    for close, meaning in CLOSE_MEANINGS.items():
        yield f"| {int(close)} | {close.name.lower()} | {meaning} |"
    yield from _ENDING.splitlines()


def _actions() -> Iterator[str]:
    yield (
        "What `act` may name, and the fields of its `body`; `?` marks those that may be left out. Plugins may add "
        "to them: `greenroom plugins list --json` tells theirs."
    )
    yield from ("", "| action | body | does |", "|---|---|---|")
    for action in VOCABULARY:
        if action.name in SYSTEM:
            continue
        schema = action.model.model_json_schema()
        fields = ", ".join(
            f"`{name}`{'' if name in schema.get('required', ()) else '?'} {_field_type(field)}"
            for name, field in schema["properties"].items()
        )
        wait = f" Once in {action.cooldown} ticks." if action.cooldown else ""
        yield f"| `{action.name}` | {fields} | {action.summary}{wait} |"


def _field_type(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    kinds = [each.get("type", "") for each in field.get("anyOf", [field])]
    return " or ".join(kind for kind in kinds if kind)


def _columns() -> Iterator[str]:
    yield from ("| column | type | |", "|---|---|---|")
    fields = PackedColumns.model_fields
    for name, kind in WIRE.items():
        sign = "uint" if kind.kind == "u" else "int"
        note = (fields[name].description or "").partition(", ")[2]
        yield f"| `{name}` | {sign}{kind.itemsize * 8} | {note} |"


def _message(kind: Kind) -> Iterator[str]:
    yield from (f"### `{kind.t}`", "", _first_paragraph(kind.body), "")
    if kind.replies:
        answers = " … ".join(f"`{t}`" for t in kind.replies)
        yield from (f"Answered by {answers}, or `error`.", "")
    if kind.reliable:
        yield from ("Reliable: numbered with `seq`, replayed after a resume.", "")
    rows = list(_fields(kind.body))
    if rows:
        yield from ("| field | type | |", "|---|---|---|", *rows, "")
    shown = None if (kind.t, kind.direction) == ("content", "reply") else example(kind.t)
    if shown is not None:
        text = JsonCodec().encode(shown)
        if len(text) > _LONGEST_EXAMPLE:
            text = text[:_LONGEST_EXAMPLE] + " …"
        yield from ("```json", text, "```", "")


def _first_paragraph(model: type[StrictModel]) -> str:
    paragraphs = (model.__doc__ or "").split("\n\n")
    return " ".join(paragraphs[0].split())


def _fields(model: type[StrictModel]) -> Iterator[str]:
    schema = model.model_json_schema()
    named = schema.get("$defs", {})
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        optional = "" if name in required else ", optional"
        note = field.get("description", "")
        if "$ref" in field and not note:
            note = " ".join(_resolve(field, named).get("description", "").split("\n\n")[0].split())
        yield f"| `{name}` | {_kind(field, named)}{optional} | {note} |"


def _resolve(field: Mapping[str, Any], named: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in field:
        return field
    found: Mapping[str, Any] = named[field["$ref"].rsplit("/", 1)[1]]
    return found


def _kind(field: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    """A field's type in a few words."""
    if "anyOf" in field:
        return " or ".join(
            _kind(part, named) for part in field["anyOf"] if part.get("type") != "null"
        )
    if "enum" in field:
        return " or ".join(f'`"{value}"`' for value in field["enum"])
    if "$ref" in field:
        inner = _resolve(field, named)
        return _kind(inner, named) if "enum" in inner else _map_of(inner, named)
    match field.get("type"):
        case "string":
            if field.get("format") in ("binary", "base64url", "base64"):
                return "bin"
            return "str" + _span(field, "minLength", "maxLength")
        case "integer":
            return "int" + _span(field, "minimum", "maximum")
        case "number":
            return "number"
        case "boolean":
            return "bool"
        case "array":
            if "prefixItems" in field:
                return "[" + ", ".join(_kind(part, named) for part in field["prefixItems"]) + "]"
            return f"list of {_kind(field.get('items', {}), named)}"
        case _:
            values = field.get("additionalProperties")
            if isinstance(values, Mapping):
                return f"map of str to {_kind(values, named)}"
            return "map"


def _map_of(schema: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    parts = schema.get("properties", {})
    if len(parts) > 8:
        return "map"
    return "{" + ", ".join(f"{name}: {_kind(part, named)}" for name, part in parts.items()) + "}"


def _span(field: Mapping[str, Any], least: str, most: str) -> str:
    low, high = field.get(least), field.get(most)
    if high is None and "exclusiveMaximum" in field:
        high = field["exclusiveMaximum"] - 1
    if high is None:
        return f" ≥ {low}" if low is not None and low > 0 else ""
    return f" {low or 0}…{_power(high)}"


def _power(number: int) -> str:
    for bits in (31, 48, 53, 63):
        if number == 2**bits - 1:
            return f"2^{bits}-1"
    return str(number)


_INTRODUCTION: Final = """\
# The protocol

<!-- Made by `python -m engine_bridge.describe docs/ tests/vectors/`. Edit the models instead. -->

How a game engine, a browser or a script talks to a Greenroom server. Clients for Godot and Python
ship with the project; to write another, this page and the golden vectors in `tests/vectors/` are
all you need. `docs/asyncapi.json` says the same for tools.

## In short

One WebSocket. Offer the subprotocol `greenroom.v1.msgpack`, or `greenroom.v1.json` to read along.
Compression is off. Each message is one frame: one map.

```text
client                                         server
  hello {{client, sdk}}            ── id 1 ─▶
                                 ◀─ re 1 ──  welcome {{session, resume_token, world, limits …}}
  join {{name, key}}               ── id 2 ─▶
                                 ◀─ re 2 ──  joined {{entity, x, y}}
  watch {{radius}}                 ── id 3 ─▶
                                 ◀─ re 3 ──  watching, then snapshot, then a delta each tick
  say {{to, text, key}}            ── id 4 ─▶
                                 ◀─ re 4 ──  speech {{n, text}} … done {{text, source}}
                                 ◀─ seq 1 ─  event {{kind, entity, target, data}}
  ack {{seq: 1}}                   ────────▶
```

| key | where | meaning |
|---|---|---|
| `t` | every message | its type |
| `d` | every message | its body, a map; may be left out of a request where all fields are optional |
| `id` | requests | chosen by the client, 1 to 2^53-1, counting up on each connection |
| `re` | replies | the request that is answered; missing in an `error` whose request can't be told |
| `seq` | reliable push | counts up from 1 over the whole session |

The last reply to a request is the one that ends it: `speech` and `progress` are followed by more.
An answer that isn't streamed comes as one `speech` before its `done`.
Servers may add fields to their messages within version 1: clients pass over what they don't know.
Requests with unknown fields are refused.

## Frames

At most {max_frame:,} bytes from client to server and {max_depth} levels deep, the frame's own map
counting as one. Frames from the server can be larger: a snapshot holds the map's tiles (one byte
each) and {row_bytes} bytes and a name for each entity in sight.

Keys are strings, none twice in one map. Integers fit into signed 64 bits. Numbers are finite. Text
is UTF-8 without NUL. There are no extension types. JSON writes bytes as `{{"$bin": "<base64>"}}`;
a map whose only key is `$bin` always means bytes.

A frame that breaks these rules is answered with an `error` and closes the connection with 4000, or
4006 when it is too large (beyond four times the limit with WebSocket's own 1009). A frame that is
too deep, of an unknown type or has wrong fields is answered with an `error`, and the connection
goes on.

## Sessions

`hello` comes first, within {hello_s:g} s of the handshake. What follows may be sent at once,
without waiting for `welcome`.

A session outlives its socket by {resume_s:g} s (`limits.resume_s`). Connect again, say `hello`,
then `resume` with the old session's token and the `seq` of the last reliable message that arrived.
The missed ones follow `resumed`, in order, each once; then a `snapshot` if state was watched. The
server keeps the last {ring:,} reliable messages ({ring_kib:,} KiB) that were not acknowledged:
`lost` in `resumed` says that older ones were dropped, and the snapshot mends the state. After
`resume_failed` the new session stands, without a body. A session that is resumed while its first
socket still lives closes that one with 4008.

Requests that change the world carry a `key` of the client's choice. Sent again with the same key
(after a cut, say) the request happens once, and the answer is the same; the server remembers the
last {keys} keys of a session. A `say` that is still being answered is told from its beginning: a
`speech` with `n` 0 and all text so far, then what follows. An answer with a retryable error frees
its key, but `no_answer` keeps it: what came of the request is found under it later. A key can't
be used for another request.

`committed`, `joined` and `left` are sent once the change is safely stored: it survives the
server's sudden end.

## State

After `watch` the server sends a `snapshot` and then a `delta` for each tick in which something in
sight changed (and a bare one now and then). A delta builds on the state message before it on the
same connection. A slow client is not sent every tick: the newest state goes out when the socket
can take it, so never reckon with a delta per tick; `tick` says what it shows.

With `radius`, sight is a circle around the session's body, at most {max_radius} tiles and the
nearest {max_visible:,} entities; who is in sight stays for two more tiles beyond the edge. With
`all`, everything is in sight: for spectators and dashboards. A watch with `radius` needs `joined` first;
if the body does not yet stand in the world then, it waits for it. Whose body has died may `join` again, and
gets a new one.

Packed columns hold the rows of `n` entities, ascending by id, little-endian, without gaps, inline
in the body beside `n` and `names`. `names` maps ids written in decimal to names. In a `delta`,
`change` maps a column's name to `i`, the ids whose value changed, and `v`, their new values.
Apply `leave`, `enter`, `change` and `names` in this order. Positions are in units: 256 make a tile.

Events and `tiles` are reliable and sent before the state of the same tick; they may name entities
that are not in sight yet, or no longer. A session hears events whose `entity` or `target` is in its
sight or its own body, and voices that its body hears; who watches hears {for_all} and
events of the world itself (`entity` 0) wherever they are. The core's kinds are {kinds};
mods may add others.

## Life signs and limits

The server sends a `heartbeat` and a WebSocket ping every {heartbeat_s:g} s (`heartbeat_s`). Any
frame or pong is a sign of life; a client that gives none for three heartbeats is closed with 4005.
A client that hears nothing for as long should connect again and resume.

Frames may come at {rate:g} a second with bursts of {burst:g} (`limits.rate`); 4 KiB count as one
more frame, a faulty frame as five. Beyond that requests are answered `rate_limited` with the time to
wait, and a client that goes on regardless is closed with 4003. At most {in_flight} requests may be under way.
A client that reads so slowly that its reliable messages pile up is closed with 4004.

Browsers may connect from the server's own host; other web origins must be listed in the server's
settings. Engines and scripts, which send no `Origin`, may always. A server that asks for a token
closes with 4009 without it.
"""

_ENDING: Final = """
Beside these the WebSocket's own codes appear: 1000 when the client closes, 1009 for a frame beyond
four times the limit.

## Over HTTP

The pages listen on a port of their own. Tools that don't speak WebSocket can ask there:
`POST /api/request` takes one request as `application/json`, `{"t": "join", "d": {"name": "Ann",
"key": "k1"}}`, and answers `{"session": …, "t": "joined", "d": …}`. Send `session` with the next
request to act as the same player; between requests it lives as long as one whose socket was lost.
Asked for `text/event-stream`, the answer is one event a reply, so speech streams. All requests but
`hello`, `resume`, `watch`, `cancel` and `ack` can be asked so.

A `say` may choose who answers it, over HTTP as on the socket: `backend` names a rung of the ladder
(`/api/models` lists them) that is asked before the others, `cache` says what the
[cache of answers](cache.md) may do for this line: `use` a kept answer, `refresh` it, or stay `off`. A name
that may not be asked for speech is refused with `backend_refused` before anything is said: one that is
unknown, switched off, or bound to other purposes as the cloud's is. Where the one that was named can't
answer, the next does, as ever; `source` in `done` tells who it was. Whose answers the cache may use is
never the caller's to say: it follows from who is asked, what they know and what is around them.

| path | |
|---|---|
| `/` | the dashboard |
| `/health/live`, `/health/ready` | 200 when the process answers; when the world runs, else 503 |
| `/metrics` | for Prometheus |
| `/api/status`, `/api/actors`, `/api/world`, `/api/entities/ID` | the server, its actors, its world, one entity |
| `/api/request` | one request of this protocol |
| `/api/models` | the ladder of models: rungs, orders, who answers now; below it the calls that change it |
| `/api/openapi.json` | the same for tools |

Where the server asks for a token, `/api/` and `/metrics` want `Authorization: Bearer TOKEN`.

Which model answers is changed while the server runs; each call answers with the ladder as it then
is, or with `{"code", "message", "hint"}`, and then nothing was changed. The command `greenroom
models use` makes the same calls; [operating](operating.md) tells what each does.

| call | body | |
|---|---|---|
| `PUT /api/models/order` | `{"order": ["big", "local"], "purpose": "speech"}` | which rungs a purpose tries; without `purpose` all that have no order of their own |
| `DELETE /api/models/order/PURPOSE` | | the purpose follows the order of all others again |
| `PUT /api/models/rungs/LABEL` | `{"on": false}` | a rung is asked no more, or again |
| `POST /api/models/rungs` | `{"label": "big", "file": "/models/big.gguf", "first": true}` | a GGUF of the server's machine becomes a rung; answers 201 once it is loaded |
| `DELETE /api/models/rungs/LABEL` | | the rung ends what it has begun and is gone |

## Golden vectors

`tests/vectors/index.json` lists one frame of every message in both encodings (`NAME.bin`,
`NAME.json`): decode both and compare, encode again and compare. `refused` lists frames that must
not be taken. `state` tells what a client holds after it has applied `server_snapshot`,
`server_delta` and `server_tiles` in this order.
"""


# ---------------------------------------------------------------- AsyncAPI


def asyncapi() -> dict[str, Any]:
    """The protocol as an AsyncAPI 3.0 document; payload schemas come from the models."""
    kinds = [("client", kind) for kind in CLIENT.values()]
    kinds += [("server", kind) for kind in SERVER.values()]
    bodies = sorted({kind.body for _, kind in kinds}, key=lambda model: model.__name__)
    references, schemas = models_json_schema(
        [(body, "validation") for body in bodies],
        ref_template="#/components/schemas/{model}",
    )
    messages = {
        f"{side}_{kind.t}": _async_message(side, kind, references[kind.body, "validation"])
        for side, kind in kinds
    }
    channel = "#/channels/socket"
    operations: dict[str, Any] = {}
    for kind in CLIENT.values():
        operations[kind.t] = {
            "action": "receive",
            "channel": {"$ref": channel},
            "summary": _first_paragraph(kind.body),
            "messages": [{"$ref": f"{channel}/messages/client_{kind.t}"}],
        }
        if kind.replies:
            operations[kind.t]["reply"] = {
                "channel": {"$ref": channel},
                "messages": [
                    {"$ref": f"{channel}/messages/server_{t}"} for t in (*kind.replies, "error")
                ],
            }
    for kind in SERVER.values():
        if kind.direction == "push":
            operations[f"push_{kind.t}"] = {
                "action": "send",
                "channel": {"$ref": channel},
                "summary": _first_paragraph(kind.body),
                "messages": [{"$ref": f"{channel}/messages/server_{kind.t}"}],
            }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Greenroom",
            "version": VERSION,
            "description": "One WebSocket between a game engine and a living world.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/msgpack",
        "servers": {
            "local": {
                "host": "127.0.0.1:8765",
                "protocol": "ws",
                "description": "subprotocol greenroom.v1.msgpack or greenroom.v1.json",
            }
        },
        "channels": {
            "socket": {
                "address": "/",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas["$defs"]},
    }


def _async_message(side: str, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {"t": {"const": kind.t}, "d": dict(body)}
    required = ["t"] if side == "client" else ["t", "d"]
    if side == "client" and not kind.anonymous:
        properties["id"] = {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}
        required.append("id")
    if kind.direction == "reply":
        properties["re"] = {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}
        if kind.t != "error":
            required.append("re")
    if kind.reliable:
        properties["seq"] = {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}
        required.append("seq")
    return {
        "name": kind.t,
        "summary": _first_paragraph(kind.body),
        "payload": {
            "type": "object",
            "properties": properties,
            "required": sorted(required),
            "additionalProperties": side == "server",
        },
    }


if __name__ == "__main__":
    sys.exit(main())
