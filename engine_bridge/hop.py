"""The stage with its answers brought home: every callback is called on the bridge's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from engine_bridge.stage import Cancel, ContentListener, Outcome, SpeechListener, Stage

if TYPE_CHECKING:
    from models.request import Preference
    from world.inputs import Input

Hop = Callable[..., None]
"""hop(function, *args): call it soon on the bridge's thread; from any thread."""


class HoppingStage:
    """What requests ask of a `Stage`; see there for each method."""

    def __init__(self, stage: Stage, hop: Hop) -> None:
        self._stage = stage
        self._hop = hop

    def about(self) -> Mapping[str, Any]:
        return self._stage.about()

    def join(self, name: str, on_outcome: Callable[[Outcome], None]) -> None:
        self._stage.join(name, self._here(on_outcome))

    def leave(self, entity: int, on_outcome: Callable[[Outcome], None]) -> None:
        self._stage.leave(entity, self._here(on_outcome))

    def propose(self, proposal: Input, on_outcome: Callable[[Outcome], None]) -> None:
        self._stage.propose(proposal, self._here(on_outcome))

    def say(
        self, speaker: int, to: int, text: str, listener: SpeechListener, preference: Preference
    ) -> Cancel:
        return self._stage.say(speaker, to, text, _Speech(listener, self._hop), preference)

    def situation(self, entity: int, on_result: Callable[[Mapping[str, Any] | None], None]) -> None:
        self._stage.situation(entity, self._here(on_result))

    def content(self, request: Mapping[str, Any], listener: ContentListener) -> Cancel:
        return self._stage.content(request, _Content(listener, self._hop))

    def _here(self, function: Callable[[Any], None]) -> Callable[[Any], None]:
        return lambda value: self._hop(function, value)


class _Speech:
    """Brings an answer's pieces from the actor's thread to the bridge's."""

    def __init__(self, listener: SpeechListener, hop: Hop) -> None:
        self._listener = listener
        self._hop = hop

    def on_text(self, text: str) -> None:
        self._hop(self._listener.on_text, text)

    def on_done(self, text: str, source: str, reply: object | None) -> None:
        self._hop(self._listener.on_done, text, source, reply)

    def on_rejected(self, code: str, reason: str) -> None:
        self._hop(self._listener.on_rejected, code, reason)


class _Content:
    """Brings a pipeline's progress from its thread to the bridge's."""

    def __init__(self, listener: ContentListener, hop: Hop) -> None:
        self._listener = listener
        self._hop = hop

    def on_progress(self, node: str, state: str, done: int, total: int) -> None:
        self._hop(self._listener.on_progress, node, state, done, total)

    def on_done(self, response: Mapping[str, Any]) -> None:
        self._hop(self._listener.on_done, response)

    def on_rejected(self, code: str, reason: str) -> None:
        self._hop(self._listener.on_rejected, code, reason)
