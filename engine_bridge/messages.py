"""Every message of the protocol as a pydantic model of its body, and the registry by type."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, ValidationError

from engine_bridge.errors import ProtocolError
from foundation.strict import StrictModel
from models.request import CacheUse
from world import actions
from world.content import ContentRequest, ContentResponse

MAX_ID: Final = 2**48 - 1
MAX_REQUEST: Final = 2**53 - 1
MAX_SEQ: Final = 2**53 - 1
MAX_TEXT: Final = 400


def _one_line(text: str) -> str:
    """Refuse control characters, which could forge lines in logs, prompts and terminals."""
    if not text.strip():
        raise ValueError("must hold something visible")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise ValueError("control characters and lone surrogates are not text")
    return text


EntityId = Annotated[int, Field(ge=1, le=MAX_ID, description="an entity's id")]
RequestId = Annotated[int, Field(ge=1, le=MAX_REQUEST)]
Seq = Annotated[int, Field(ge=0, le=MAX_SEQ)]
Tick = Annotated[int, Field(ge=0)]
Key = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    AfterValidator(_one_line),
    Field(description="idempotency key: repeated, the request happens once and answers the same"),
]
Backend = Annotated[str, StringConstraints(pattern=r"^([a-z][a-z0-9_-]{0,31})?$")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_one_line)]


# ---------------------------------------------------------------- client → server


class Hello(StrictModel):
    """Opens the conversation. Must come first, within 5 s of the handshake."""

    client: Word = Field(description="the game's name")
    sdk: Word = Field(description="name and version of the client library")
    features: list[Word] = Field(default=[], max_length=32)
    token: str | None = Field(default=None, max_length=256, description="where the server asks one")


class Resume(StrictModel):
    """Takes up a session after its socket was lost. Only right after `welcome`."""

    token: str = Field(min_length=1, max_length=128, description="`resume_token` of the session")
    last_seq: Seq = Field(description="the last reliable message that arrived, 0 for none")


class Join(StrictModel):
    """Makes a body for the player."""

    name: Annotated[
        str, StringConstraints(min_length=1, max_length=32), AfterValidator(_one_line)
    ] = Field(description="what others call the player")
    key: Key


class Leave(StrictModel):
    """Takes the player's body out of the world."""

    key: Key


class Watch(StrictModel):
    """Asks for the world's state: around the own body, or, for spectators, all of it."""

    radius: int | None = Field(default=None, ge=1, le=1024, description="tiles around the body")
    all: bool = Field(default=False, description="everything; for spectators and dashboards")


class Say(StrictModel):
    """Speaks to someone; the answer streams as `speech` and ends with `done` or an error.

    `backend` and `cache` say who may answer this line; most leave both out.
    """

    to: EntityId
    text: actions.Text
    key: Key
    backend: Backend = Field(default="", description="the model to ask first; empty: the usual one")
    cache: CacheUse = Field(
        default="use",
        description="`use` a kept answer and keep a new one; `refresh`: only keep; `off`: neither",
    )


class Move(actions.Move):
    """Sets where the body walks to, in units of 1/256 tile. Its speed and walls hold."""

    key: Key


class Attack(actions.Attack):
    """Strikes a living target within reach."""

    key: Key


class Use(actions.Use):
    """Uses a thing within reach: a lever, a well, a shrine."""

    key: Key


class Act(StrictModel):
    """Proposes any action of the vocabulary in `welcome.world.actions`."""

    action: Word
    body: dict[str, Any] = Field(default={}, description="the action's own fields")
    key: Key


class Cancel(StrictModel):
    """Withdraws a `say` or `content` under way, by its request id on this connection."""

    id: RequestId


class Inspect(StrictModel):
    """Asks for the public panel of one entity."""

    entity: EntityId


class Ack(StrictModel):
    """Acknowledges reliable messages up to `seq`. Has no id and no reply."""

    seq: Seq


class Ping(StrictModel):
    """Asks for the time, and shows that the client lives."""


# ---------------------------------------------------------------- server → client: replies


class SpeciesFacts(StrictModel):
    """One kind of being, in the order that the column `species` indexes."""

    name: str
    symbol: str
    colour: str
    speaks: bool = False


class WorldFacts(StrictModel):
    """What holds for the whole epoch."""

    scene: str
    width: int = Field(description="tiles")
    height: int = Field(description="tiles")
    tile: int = Field(description="units a tile")
    hz: float = Field(description="ticks a second")
    day_ticks: int
    species: list[SpeciesFacts]
    factions: list[str] = Field(description="what the column `faction` indexes")
    activities: list[str] = Field(description="what the column `action` indexes")
    actions: list[str] = Field(description="what `act` can propose")
    tiles: list[str] = Field(description="names of tile kinds by their value")


class LimitFacts(StrictModel):
    """The bounds this server keeps."""

    max_frame: int = Field(description="bytes, client to server")
    max_depth: int
    rate: float = Field(description="frames a second")
    in_flight: int = Field(description="requests under way at once")
    text: int = Field(description="characters of a line")
    max_radius: int = Field(description="tiles")
    resume_s: float = Field(description="how long a session outlives its socket")


class Welcome(StrictModel):
    """Answers `hello`: who serves, which world, which bounds."""

    session: str
    resume_token: str
    heartbeat_s: float
    limits: LimitFacts
    server: str
    world: WorldFacts
    epoch: int


class Resumed(StrictModel):
    """Answers `resume`; the missed reliable messages follow, then a snapshot if state was watched."""

    session: str
    epoch: int
    replayed: int = Field(description="reliable messages that follow")
    lost: bool = Field(description="whether some were dropped from the ring; state is whole anyway")
    entity: int = Field(description="the session's body, 0 for none")


class Joined(StrictModel):
    """Answers `join`; the body is stored and stands in the world."""

    entity: EntityId
    x: int
    y: int


class Left(StrictModel):
    """Answers `leave`."""


class Watching(StrictModel):
    """Answers `watch`; a snapshot follows."""

    radius: int = Field(description="tiles; 0 when all is watched")
    all: bool


class Speech(StrictModel):
    """One piece of an answer as it is spoken; join them in the order of `n`."""

    n: int = Field(ge=0)
    text: str


class Done(StrictModel):
    """The whole answer, checked; it replaces what was streamed."""

    text: str
    source: str = Field(description='who spoke: "reflex", or a model\'s name and version')
    tick: Tick
    first_token_ms: int = Field(ge=0, description="from the request to the first piece")
    total_ms: int = Field(ge=0)


class Committed(StrictModel):
    """The action happened at `tick` and is stored."""

    tick: Tick
    detail: dict[str, Any]


class Cancelled(StrictModel):
    """Answers `cancel`; the withdrawn request itself ends with the error `cancelled`."""


class EntityPanel(StrictModel):
    """What anyone can see of an entity: its situation, and for people their public side.

    Beside the fields listed it holds those of the situation (time, place, mood, near, hp …).
    """

    model_config = ConfigDict(extra="allow")

    entity: EntityId
    name: str
    species: str


class Progress(StrictModel):
    """A node of the content pipeline changed state."""

    node: str
    state: str
    done: int = Field(ge=0)
    total: int = Field(ge=0)


class Pong(StrictModel):
    """Answers `ping`."""

    tick: Tick
    time_ms: int = Field(description="milliseconds since 1970 on the server's clock")


class ErrorBody(StrictModel):
    """Why a request failed."""

    code: str
    message: str
    retryable: bool
    retry_after_ms: int = Field(ge=0, description="0: no advice")
    hint: str


# ---------------------------------------------------------------- server → client: push


class EventBody(StrictModel):
    """Something happened within sight, or to everyone."""

    tick: Tick
    kind: str
    entity: int = Field(description="who, 0 for the world")
    target: int = Field(description="to whom, 0 for nobody")
    data: dict[str, Any]


class TilesBody(StrictModel):
    """A rectangle of the map changed; `data` is w*h tile values, row by row."""

    x: int
    y: int
    w: int
    h: int
    data: bytes


class PackedColumns(StrictModel):
    """Rows of entities as packed little-endian columns, ascending by id."""

    n: int = Field(ge=0, description="rows in each column")
    id: bytes = Field(description="uint64")
    species: bytes = Field(description="uint16, indexes world.species")
    faction: bytes = Field(description="uint16, indexes world.factions")
    x: bytes = Field(description="int32, units")
    y: bytes = Field(description="int32, units")
    hp: bytes = Field(description="int32")
    max_hp: bytes = Field(description="int32")
    action: bytes = Field(description="uint16, indexes world.activities")
    mood: bytes = Field(description="int16, -1000 to 1000")
    target: bytes = Field(description="uint64, an entity's id, 0 for none")
    flags: bytes = Field(description="uint8, bits: 1 player, 2 dead, 4 speaks, 8 downed")
    names: dict[str, str] = Field(description="names by id written in decimal")


class Snapshot(PackedColumns):
    """The whole watched state; forget what was known before."""

    tick: Tick
    epoch: int
    time: str = Field(description="time of day")
    tiles: bytes = Field(description="width*height tile values, row by row")


class ColumnChange(StrictModel):
    """New values of one column: the ids `i` (uint64) and their values `v` (the column's type)."""

    i: bytes
    v: bytes


class Delta(StrictModel):
    """What changed since the state sent before: apply leave, enter, change, names in this order."""

    tick: Tick
    leave: bytes | None = Field(default=None, description="uint64 ids gone out of sight")
    enter: PackedColumns | None = None
    change: dict[str, ColumnChange] | None = None
    names: dict[str, str] | None = Field(default=None, description="new names of those in sight")
    time: str | None = Field(default=None, description="the time of day, when it changed")


class HeartbeatBody(StrictModel):
    """The server lives. Sent each `heartbeat_s`."""

    tick: Tick


class Goodbye(StrictModel):
    """The last message before the server closes the connection."""

    code: int = Field(description="the close code that follows")
    reason: str


# ---------------------------------------------------------------- the registry


@dataclass(frozen=True, slots=True)
class Kind:
    """One type of message. `replies` are the types that answer it, the last of them final."""

    t: str
    body: type[StrictModel]
    direction: Literal["client", "reply", "push"]
    replies: tuple[str, ...] = ()
    reliable: bool = False
    anonymous: bool = False


_CLIENT: tuple[Kind, ...] = (
    Kind("hello", Hello, "client", ("welcome",)),
    Kind("resume", Resume, "client", ("resumed",)),
    Kind("join", Join, "client", ("joined",)),
    Kind("leave", Leave, "client", ("left",)),
    Kind("watch", Watch, "client", ("watching",)),
    Kind("say", Say, "client", ("speech", "done")),
    Kind("move", Move, "client", ("committed",)),
    Kind("attack", Attack, "client", ("committed",)),
    Kind("use", Use, "client", ("committed",)),
    Kind("act", Act, "client", ("committed",)),
    Kind("cancel", Cancel, "client", ("cancelled",)),
    Kind("inspect", Inspect, "client", ("entity",)),
    Kind("content", ContentRequest, "client", ("progress", "content")),
    Kind("ack", Ack, "client", anonymous=True),
    Kind("ping", Ping, "client", ("pong",)),
)
_SERVER: tuple[Kind, ...] = (
    Kind("welcome", Welcome, "reply"),
    Kind("resumed", Resumed, "reply"),
    Kind("joined", Joined, "reply"),
    Kind("left", Left, "reply"),
    Kind("watching", Watching, "reply"),
    Kind("speech", Speech, "reply"),
    Kind("done", Done, "reply"),
    Kind("committed", Committed, "reply"),
    Kind("cancelled", Cancelled, "reply"),
    Kind("entity", EntityPanel, "reply"),
    Kind("progress", Progress, "reply"),
    Kind("content", ContentResponse, "reply"),
    Kind("pong", Pong, "reply"),
    Kind("error", ErrorBody, "reply"),
    Kind("event", EventBody, "push", reliable=True),
    Kind("tiles", TilesBody, "push", reliable=True),
    Kind("snapshot", Snapshot, "push"),
    Kind("delta", Delta, "push"),
    Kind("heartbeat", HeartbeatBody, "push"),
    Kind("goodbye", Goodbye, "push"),
)
CLIENT: Mapping[str, Kind] = {kind.t: kind for kind in _CLIENT}
SERVER: Mapping[str, Kind] = {kind.t: kind for kind in _SERVER}

_ENVELOPE = frozenset({"t", "id", "d"})


@dataclass(frozen=True, slots=True)
class Request:
    """A checked message from a client; `id` is 0 for those that have none (`ack`)."""

    t: str
    id: int
    body: StrictModel


def request_id(message: Mapping[str, Any]) -> int | None:
    """The request's id if it is a proper one, so that an error can refer to it."""
    value = message.get("id")
    return value if type(value) is int and 1 <= value <= MAX_REQUEST else None


def parse_request(message: Mapping[str, Any]) -> Request:
    """Check a decoded message from a client. Raises `ProtocolError` bad_message or unknown_type."""
    t = message.get("t")
    if not isinstance(t, str):
        raise ProtocolError("bad_message", "the message has no type `t`")
    kind = CLIENT.get(t)
    if kind is None:
        raise ProtocolError(
            "unknown_type", f"no message has the type {t[:40]!r}", f"one of {', '.join(CLIENT)}"
        )
    extra = set(message) - _ENVELOPE
    if extra:
        raise ProtocolError("bad_message", f"{t}: unknown field {min(extra)[:40]!r}")
    number = request_id(message)
    if kind.anonymous:
        if "id" in message:
            raise ProtocolError("bad_message", f"{t}: takes no id, it has no reply")
    elif number is None:
        raise ProtocolError("bad_message", f"{t}: `id` must be an integer from 1 to 2^53-1")
    try:
        body = _validate(kind.body, message.get("d", {}))
    except ValidationError as error:
        raise ProtocolError("bad_message", f"{t}: {first_fault(error)}") from error
    return Request(t, number or 0, body)


def _validate(model: type[StrictModel], d: object) -> StrictModel:
    if model is not ContentRequest:
        return model.model_validate(d)
    # Its tuples are lists on the wire, which strict validation takes from JSON only.
    try:
        text = json.dumps(d)
    except TypeError as error:
        raise ProtocolError("bad_message", "content: takes no binary values") from error
    return model.model_validate_json(text)


def first_fault(error: ValidationError) -> str:
    """The first thing wrong, in one line: where, and what."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part)[:40] for part in fault["loc"])
    return f"`{where}`: {fault['msg']}" if where else f"`d`: {fault['msg']}"


def body(model: StrictModel) -> dict[str, Any]:
    """A body as plain values, absent fields left out."""
    return model.model_dump(exclude_none=True)


def reply(t: str, re: int, model: StrictModel) -> dict[str, Any]:
    """A reply to request `re`."""
    return {"t": t, "re": re, "d": body(model)}


def push(t: str, model: StrictModel) -> dict[str, Any]:
    """A message nobody asked for, without a sequence number."""
    return {"t": t, "d": body(model)}
