"""What the bridge needs from the company of actors: the one door between sockets and the world."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from actors.inspection import Sort
from models.request import NO_PREFERENCE, Preference

if TYPE_CHECKING:
    from world.frame import Frame
    from world.inputs import Input

Cancel = Callable[[], None]
"""Withdraws what was asked; idempotent, never blocks, safe on any thread."""


class Outcome(Protocol):
    """What became of a proposal.

    `accepted` outcomes are delivered only once storage has synced their `tick`; refusals at once.
    `code` is a rejection code ("out_of_range", "retry" when storage lags …), "" when accepted.
    `entity` is the body concerned (for `join`: the new body). `detail` holds plain values;
    for `join` at least `x` and `y` in units of 1/256 tile.
    """

    @property
    def tick(self) -> int: ...

    @property
    def accepted(self) -> bool: ...

    @property
    def code(self) -> str: ...

    @property
    def reason(self) -> str: ...

    @property
    def entity(self) -> int: ...

    @property
    def detail(self) -> Mapping[str, Any]: ...


class SpeechListener(Protocol):
    """Hears an answer being spoken, on any thread; exactly one of the last two is called, once, last."""

    def on_text(self, text: str) -> None:
        """The next piece of the answer."""

    def on_done(self, text: str, source: str, reply: object | None) -> None:
        """The whole answer and who made it ("reflex" or a model's name and version).

        `reply` is the model's reply when a model answered.
        """

    def on_rejected(self, code: str, reason: str) -> None:
        """The line was refused (nobody there, out of range, dead …): nothing was said."""


class ContentListener(Protocol):
    """Hears a content request's progress, on any thread; exactly one of the last two is called."""

    def on_progress(self, node: str, state: str, done: int, total: int) -> None:
        """One node of the pipeline changed state ("started", "done", "failed")."""

    def on_done(self, response: Mapping[str, Any]) -> None:
        """The finished `ContentResponse` as plain values."""

    def on_rejected(self, code: str, reason: str) -> None: ...


class Stage(Protocol):
    """The company of actors as the bridge sees it. No method but `give_way` blocks, none raises for a refusal.

    Callbacks may fire on any thread, also before the call returns.
    """

    def about(self) -> Mapping[str, Any]:
        """Facts that hold for this epoch, as plain values.

        Keys: `scene` str, `width` and `height` int (tiles), `tile` int (units a tile: 256),
        `hz` number, `day_ticks` int, `epoch` int, `server` str (name and version),
        `species` [{name, symbol, colour, speaks}], `factions` [names] and `activities` [names] in
        the orders that the columns species, faction and action index, `actions` [names] of the
        vocabulary that a client may propose, `tiles` [names] by value.
        """

    def subscribe(self, on_frame: Callable[[Frame], None]) -> Cancel:
        """Call `on_frame` after each step with that tick's frame; the callee hands over and returns."""

    def give_way(self) -> None:
        """Wait while a step is under way, a tick's time at the most: called before each slice of work."""

    def full_frame(self, on_frame: Callable[[Frame], None]) -> None:
        """Give one frame, taken between two steps, that holds all names and all tiles."""

    def join(self, name: str, on_outcome: Callable[[Outcome], None]) -> None:
        """Make a player's body at a start of the scene."""

    def leave(self, entity: int, on_outcome: Callable[[Outcome], None] | None = None) -> None:
        """Take a player's body out of the world."""

    def propose(self, proposal: Input, on_outcome: Callable[[Outcome], None]) -> None:
        """Hand a typed proposal to the director. `proposal.kind` is an action of the vocabulary."""

    def say(
        self,
        speaker: int,
        to: int,
        text: str,
        listener: SpeechListener,
        preference: Preference = NO_PREFERENCE,
    ) -> Cancel:
        """A player's body `speaker` says `text` (≤ 400 characters) to `to` and hears the answer.

        `preference` tells which backend to ask first and what a cache may do; where the one can't
        answer, another does, as ever.
        """

    def situation(self, entity: int, on_result: Callable[[Mapping[str, Any] | None], None]) -> None:
        """The public panel of one entity as plain values; None when there is no such entity."""

    def content(self, request: Mapping[str, Any], listener: ContentListener) -> Cancel:
        """Run the content pipeline for a checked `ContentRequest` given as plain values."""

    def status(self) -> Mapping[str, Any]:
        """Plain values for operators; numbers in it become metrics. At least `ready` bool, `tick` int."""

    def inspect(self, sort: Sort, limit: int) -> Mapping[str, Any]:
        """`actors`: a row of plain values for each of the first `limit` actors by `sort`, with its name, kind,
        state, mailbox and what it did; `kinds`: the same for each kind; `alive`: how many there are."""
