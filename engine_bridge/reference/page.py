"""The reference page of the protocol, `docs/protocol.md`: prose, and tables from the messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from engine_bridge.broadcast import CARRIED_APART, FOR_ALL
from engine_bridge.codec import JsonCodec
from engine_bridge.errors import CLOSE_MEANINGS, ERROR_MEANINGS, RETRYABLE
from engine_bridge.examples import example
from engine_bridge.interest import WIRE
from engine_bridge.messages import CLIENT, SERVER, Kind, PackedColumns
from engine_bridge.reference.words import fields, first_paragraph, signature
from engine_bridge.settings import BridgeSettings
from world.actions import SYSTEM, VOCABULARY
from world.events import EVENT_DATA, KINDS

_LONGEST_EXAMPLE: Final = 900


def protocol_markdown() -> str:
    """How to talk to a Greenroom server, message by message, as Markdown.

    The prose is `protocol.md.j2` beside this module; its figures are the settings' defaults.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        finalize=_figure,
        keep_trailing_newline=True,
        autoescape=False,
    )
    limits = BridgeSettings()
    return environment.get_template("protocol.md.j2").render(
        limits=limits,
        ring_kib=limits.ring_bytes // 1024,
        row_bytes=sum(kind.itemsize for kind in WIRE.values()),
        kinds=", ".join(f"`{kind}`" for kind in KINDS if kind not in CARRIED_APART),
        for_all=" and ".join(f"`{kind}`" for kind in sorted(FOR_ALL)),
        columns=_block(_columns()),
        requests=_messages(CLIENT.values()),
        replies=_messages(kind for kind in SERVER.values() if kind.direction == "reply"),
        pushes=_messages(kind for kind in SERVER.values() if kind.direction == "push"),
        actions=_block(_actions()),
        events=_block(_events()),
        errors=_block(_errors()),
        closes=_block(_closes()),
    )


def _figure(value: object) -> object:
    """Numbers as the page shows them: thousands apart, no zeros after the point."""
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else value


def _block(lines: Iterable[str]) -> str:
    return "\n".join(lines)


def _messages(kinds: Iterable[Kind]) -> str:
    return _block(line for kind in kinds for line in _message(kind)).rstrip()


def _message(kind: Kind) -> Iterator[str]:
    yield from (f"### `{kind.t}`", "", first_paragraph(kind.body), "")
    if kind.replies:
        answers = " … ".join(f"`{t}`" for t in kind.replies)
        yield from (f"Answered by {answers}, or `error`.", "")
    if kind.reliable:
        yield from ("Reliable: numbered with `seq`, replayed after a resume.", "")
    rows = [
        f"| `{field.name}` | {field.type}{', optional' if field.optional else ''} | {field.note} |"
        for field in fields(kind.body)
    ]
    if rows:
        yield from ("| field | type | |", "|---|---|---|", *rows, "")
    shown = None if (kind.t, kind.direction) == ("content", "reply") else example(kind.t)
    if shown is not None:
        text = JsonCodec().encode(shown)
        if len(text) > _LONGEST_EXAMPLE:
            text = text[:_LONGEST_EXAMPLE] + " …"
        yield from ("```json", text, "```", "")


def _columns() -> Iterator[str]:
    yield from ("| column | type | |", "|---|---|---|")
    fields = PackedColumns.model_fields
    for name, kind in WIRE.items():
        sign = "uint" if kind.kind == "u" else "int"
        note = (fields[name].description or "").partition(", ")[2]
        yield f"| `{name}` | {sign}{kind.itemsize * 8} | {note} |"


def _actions() -> Iterator[str]:
    yield from ("| action | body | does |", "|---|---|---|")
    for action in VOCABULARY:
        if action.name not in SYSTEM:
            wait = f" Once in {action.cooldown} ticks." if action.cooldown else ""
            yield f"| `{action.name}` | {signature(action.model)} | {action.summary}{wait} |"


def _events() -> Iterator[str]:
    yield from ("| kind | data |", "|---|---|")
    for event, data in EVENT_DATA.items():
        if event not in CARRIED_APART:
            yield f"| `{event}` | {data} |"


def _errors() -> Iterator[str]:
    yield from ("| code | meaning | retry |", "|---|---|---|")
    for code, meaning in ERROR_MEANINGS.items():
        yield f"| `{code}` | {meaning} | {'yes' if code in RETRYABLE else ''} |"


def _closes() -> Iterator[str]:
    yield from ("| code | name | meaning |", "|---|---|---|")
    for close, meaning in CLOSE_MEANINGS.items():
        yield f"| {int(close)} | {close.name.lower()} | {meaning} |"
