"""What actors tell one another: immutable, with the epoch wherever an answer can come late."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from models.request import NO_PREFERENCE, Preference

if TYPE_CHECKING:
    from actors.conversation import SpeechStream
    from actors.fighters import GroupView
    from actors.plans import BattleExecutionPlan
    from models.errors import ModelError
    from models.request import Reply
    from world.events import Event
    from world.frame import Frame, Situation
    from world.inputs import Input
    from world.world import World

HZ: Final = 20
"""Ticks a second when live; also what a tick is worth to a headless run's timers."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a proposal.

    An accepted one is told after storage has synced its `tick`, a refusal at once. `code` is a
    rejection code of the world, "retry" when storage or the director is behind, "too_late" for an
    answer to an abandoned question, "" when accepted. `entity` is the body concerned.
    """

    tick: int
    accepted: bool
    code: str = ""
    reason: str = ""
    entity: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)


OnOutcome = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Step:
    """To the director: live one tick. `due` is when it should begin, on the metronome's clock."""

    due: float = 0.0


@dataclass(frozen=True, slots=True)
class Synced:
    """To the director: all up to `tick` is durable."""

    tick: int


@dataclass(frozen=True, slots=True)
class Propose:
    """To the director: admit an input, not before tick `due` (0: the next).

    Who proposes because of what it saw says in which `epoch` that was; of another one than the world's
    it is dropped. 0: whenever.
    """

    input: Input
    on_outcome: OnOutcome | None = None
    due: int = 0
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Join:
    """To the director: make a player's body."""

    name: str
    on_outcome: OnOutcome


@dataclass(frozen=True, slots=True)
class Leave:
    """To the director: take a player's body out of the world."""

    entity: int
    on_outcome: OnOutcome | None = None


@dataclass(frozen=True, slots=True)
class Say:
    """To the director: a player's body says something to somebody and waits for the answer."""

    speaker: int
    to: int
    text: str
    stream: SpeechStream
    preference: Preference = NO_PREFERENCE


@dataclass(frozen=True, slots=True)
class Look:
    """To the director: let `read` look at the world between two steps. It must be short."""

    read: Callable[[World], None]


@dataclass(frozen=True, slots=True)
class Subscribe:
    """To the director: call `on_frame` after each step, until `Unsubscribe` with the same key."""

    key: int
    on_frame: Callable[[Frame], None]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """To the director: no more frames for this key."""

    key: int


@dataclass(frozen=True, slots=True)
class Note:
    """To the director: journal a decision that a wall clock, not the world, took."""

    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """To the director, from a mind: what came of the question `token` (input None: nothing).

    `on_commit` hears of it in the tick that admits it, `on_outcome` once that is durable.
    """

    token: int
    epoch: int
    input: Input | None = None
    on_outcome: OnOutcome | None = None
    on_commit: OnOutcome | None = None


@dataclass(frozen=True, slots=True)
class Overdue:
    """To the director, from itself: the question `token` should have been answered by now.

    `stream` is that of a player who waits for the answer.
    """

    token: int
    stream: SpeechStream | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """To the director: go on with another world, of a later epoch; `note` is journalled there."""

    world: World
    on_outcome: OnOutcome | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """To the director: end all that is under way and step no more, until `Load` or `Release`.

    `on_held` is called when nothing of this epoch will reach storage any more.
    """

    on_held: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Release:
    """To the director: nothing was loaded; go on with the world as it stood."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """To a mind: the epoch is over; let go of what it was asked and was thinking of."""


@dataclass(frozen=True, slots=True)
class Percept:
    """To a mind: its situation has changed because of `event`; think about it and answer `token`."""

    token: int
    epoch: int
    event: Event
    situation: Situation


@dataclass(frozen=True, slots=True)
class Hear:
    """To a mind: `speaker` has said `text` to it; answer into `stream`, then answer `token`.

    `speaker_name` and `text` are a player's: data, never instructions. `model` says that a model may
    be asked; without it the mind answers by reflex, since enough answers are under way. `preference`
    is the speaker's, about that model.
    """

    token: int
    epoch: int
    speaker: int
    speaker_name: str
    text: str
    situation: Situation
    stream: SpeechStream
    model: bool = True
    preference: Preference = NO_PREFERENCE


@dataclass(frozen=True, slots=True)
class Reset:
    """To a mind: it was stuck, the world has dropped what it was about, and so should it."""

    reason: str


@dataclass(frozen=True, slots=True)
class ModelText:
    """To whoever asked a model: a piece of the reply."""

    request_id: int
    text: str


@dataclass(frozen=True, slots=True)
class ModelDone:
    """To whoever asked a model: the reply."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class ModelFailed:
    """To whoever asked a model: there will be no reply."""

    request_id: int
    error: ModelError


@dataclass(frozen=True, slots=True)
class TimeUp:
    """To whoever asked a model, from itself: the request has had its time."""

    request_id: int


@dataclass(frozen=True, slots=True)
class GroupPercept:
    """To a monster group: how things stand."""

    view: GroupView


@dataclass(frozen=True, slots=True)
class Battle:
    """To the coordinator: a group has foes in sight; a plan for it is wanted, to answer `token`."""

    token: int
    view: GroupView


@dataclass(frozen=True, slots=True)
class Obey:
    """To a monster group, from the coordinator: a plan to follow, and the question it answers."""

    token: int
    plan: BattleExecutionPlan


@dataclass(frozen=True, slots=True)
class DamBroken:
    """To the terrain builder: water runs from here. `tiles` is uint8[height, width], a copy."""

    tick: int
    epoch: int
    token: int
    cells: tuple[tuple[int, int], ...]
    tiles: Any
