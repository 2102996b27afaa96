"""An answer on its way to whoever spoke, and the last turns that NPCs remember of each speaker."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from pydantic import ValidationError

from actors.importance import importance
from foundation.errors import GreenroomError
from models.context import overflow
from models.prompts import MAX_HISTORY, Panel, Turn

__all__ = ["MAX_TURNS", "Conversations", "SpeechListener", "SpeechStream", "TurnStore"]

logger = logging.getLogger(__name__)

MAX_TURNS: Final = MAX_HISTORY
"""Turns remembered of one NPC with one speaker: more than a window of 16,384 tokens takes, so that it is
the window that bounds what a model sees of them."""
MAX_PAIRS: Final = 4096
"""Pairs of NPC and speaker in memory; the least recent go."""
MAX_KEPT: Final = 32_768
"""Turns in memory of all pairs together, 2 to 4 KiB each; the least recent pairs go."""


class SpeechListener(Protocol):
    """Hears an answer being spoken, on any thread; one of the last two is called, once, last."""

    def on_text(self, text: str) -> None: ...

    def on_done(self, text: str, source: str, reply: object | None) -> None: ...

    def on_rejected(self, code: str, reason: str) -> None: ...


class SpeechStream:
    """One answer: pieces of text, then exactly one end, whoever tries to end it first.

    Safe on any thread. A listener that raises is heard no more and changes nothing for others.
    """

    def __init__(self, listener: SpeechListener) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self._over = False
        self._cancelled = False
        self._ready: tuple[str, str, object | None] | None = None
        self._then: list[Callable[[], None]] = []
        self._on_cancel: Callable[[], None] | None = None
        self.text = ""

    @property
    def over(self) -> bool:
        """Whether it has ended or been cancelled."""
        return self._over

    @property
    def cancelled(self) -> bool:
        """Whether the listener no longer wants it."""
        return self._cancelled

    def piece(self, text: str) -> None:
        """The next piece of the answer; dropped when it is over."""
        with self._lock:
            if self._over or not text:
                return
            self.text += text
        self._call("on_text", text)

    def ready(self, text: str, source: str, reply: object | None = None) -> None:
        """The whole answer, to be told by `finish`."""
        self._ready = (text, source, reply)

    def finish(self) -> bool:
        """Tell the answer that is ready, or what was heard so far; False if it had ended before."""
        text, source, reply = self._ready or (self.text, "reflex", None)
        return self.done(text, source, reply)

    def done(self, text: str, source: str, reply: object | None = None) -> bool:
        """Tell the whole answer; False if it had ended before."""
        if not self._end():
            return False
        self._call("on_done", text, source, reply)
        return True

    def reject(self, code: str, reason: str) -> bool:
        """The line was refused; False if it had ended before."""
        if not self._end():
            return False
        self._call("on_rejected", code, reason)
        return True

    def cancel(self) -> None:
        """The listener no longer wants it: nothing more is told, and whoever works on it stops."""
        if not self._end(cancelled=True):
            return
        if self._on_cancel is not None:
            self._on_cancel()

    def when_cancelled(self, act: Callable[[], None]) -> None:
        """Have `act` called, on the cancelling thread, once it is cancelled."""
        with self._lock:
            self._on_cancel = act
            late = self._cancelled
        if late:
            act()

    def when_over(self, act: Callable[[], None]) -> None:
        """Have `act` called, on the ending thread, once it is over, however it ends."""
        with self._lock:
            late = self._over
            if not late:
                self._then.append(act)
        if late:
            act()

    def _end(self, cancelled: bool = False) -> bool:
        with self._lock:
            if self._over:
                return False
            self._over = True
            self._cancelled = cancelled
            then, self._then = self._then, []
        for act in then:
            act()
        return True

    def _call(self, method: str, *values: object) -> None:
        try:
            getattr(self._listener, method)(*values)
        except Exception:
            self._over = True
            logger.warning("a speech listener failed in %s", method, exc_info=True)


class TurnStore(Protocol):
    """Where turns are kept for good."""

    def put_turn(self, npc_id: int, player: str, turn: Mapping[str, Any]) -> int: ...

    def turns(self, npc_id: int, player: str, limit: int = 8) -> list[dict[str, Any]]: ...


class Conversations:
    """The turns of each pair of NPC and speaker, in memory and, given a store, for good.

    A store that fails costs an NPC its memory of older days, never its answer. `failures` counts that,
    `let_go` the turns that were forgotten because one pair had too many.
    """

    def __init__(self, store: TurnStore | None = None) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._pairs: OrderedDict[tuple[int, str], list[tuple[Panel, Turn]]] = OrderedDict()
        self._kept = 0
        self.failures = 0
        self.let_go = 0

    def status(self) -> dict[str, int]:
        """Pairs and turns in memory, turns let go of, and failures of the store."""
        with self._lock:
            return {
                "pairs": len(self._pairs),
                "turns": self._kept,
                "let_go": self.let_go,
                "failures": self.failures,
            }

    def recall(self, npc: int, player: str) -> list[tuple[Panel, Turn]]:
        """The turns there are, oldest first, at most MAX_TURNS."""
        with self._lock:
            known = self._pairs.get((npc, player))
            if known is not None:
                self._pairs.move_to_end((npc, player))
                return list(known)
        turns = self._load(npc, player)
        with self._lock:
            self._keep((npc, player), turns)
        return list(turns)

    def remember(
        self,
        npc: int,
        player: str,
        panel: Panel,
        turn: Turn,
        tick: int,
        source: str,
        own: str = "",
    ) -> None:
        """Keep an exchange; `own` is the NPC's name.

        One over MAX_TURNS, and a quarter is let go of at once, the least important and oldest of them:
        to drop one a turn would change the beginning of the prompt every time, and it would be read
        again every time.
        """
        turns = [*self.recall(npc, player), (panel, turn)]
        gone = overflow(
            ["user"] * len(turns),
            [1] * len(turns),
            MAX_TURNS,
            [importance(each, then, own) for then, each in turns] if len(turns) > MAX_TURNS else (),
        )
        left_out = frozenset(gone)
        with self._lock:
            self.let_go += len(gone)
            self._keep((npc, player), [each for at, each in enumerate(turns) if at not in left_out])
        if self._store is None:
            return
        kept = {
            "tick": tick,
            "source": source,
            "turn": turn.model_dump(),
            "panel": panel.model_dump(mode="json"),
        }
        try:
            self._store.put_turn(npc, player, kept)
        except GreenroomError as error:
            self.failures += 1
            logger.warning("a turn of %s with %s was not stored: %s", npc, player, error)

    def trim(self, npc: int, player: str, gone: Sequence[tuple[Panel, Turn]]) -> None:
        """Let go of turns, as `recall` gave them, that no longer fit what a model reads at once.

        The store keeps them. To let go of several at once and then of none for a while is what keeps
        the beginning of a conversation as it was, so that it need not be read again every turn.
        """
        left_out = {id(turn) for _, turn in gone}
        with self._lock:
            turns = self._pairs.get((npc, player))
            if turns is not None:
                kept = [each for each in turns if id(each[1]) not in left_out]
                self._kept -= len(turns) - len(kept)
                self._pairs[npc, player] = kept

    def clear(self) -> None:
        """Let go of all that is in memory, as when another state was loaded: the store knows that one's."""
        with self._lock:
            self._pairs.clear()
            self._kept = 0

    def start_over(self, npc: int) -> None:
        """Have an NPC begin anew with everyone it has in memory; the store keeps what was said."""
        with self._lock:
            for pair in [pair for pair in self._pairs if pair[0] == npc]:
                self._kept -= len(self._pairs[pair])
                self._pairs[pair] = []

    def forget(self, npc: int) -> None:
        """Let go of what is in memory about an NPC, as when its epoch is abandoned."""
        with self._lock:
            for pair in [pair for pair in self._pairs if pair[0] == npc]:
                self._kept -= len(self._pairs.pop(pair))

    def _keep(self, pair: tuple[int, str], turns: list[tuple[Panel, Turn]]) -> None:
        self._kept += len(turns) - len(self._pairs.get(pair, ()))
        self._pairs[pair] = turns
        self._pairs.move_to_end(pair)
        while len(self._pairs) > MAX_PAIRS or self._kept > MAX_KEPT:
            _, oldest = self._pairs.popitem(last=False)
            self._kept -= len(oldest)

    def _load(self, npc: int, player: str) -> list[tuple[Panel, Turn]]:
        turns: list[tuple[Panel, Turn]] = []
        if self._store is None:
            return turns
        try:
            for kept in self._store.turns(npc, player, MAX_TURNS):
                panel = {**kept["panel"], "near": tuple(kept["panel"]["near"])}
                panel["trouble"] = tuple(panel["trouble"])
                turns.append((Panel.model_validate(panel), Turn.model_validate(kept["turn"])))
        except (GreenroomError, ValidationError, KeyError, TypeError) as error:
            self.failures += 1
            logger.warning("the turns of %s with %s can't be read: %s", npc, player, error)
        return turns
