"""What is asked becomes a job: tokens within the window, a grammar, a bound on everything."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from models.context import overflow
from models.errors import RequestRefused
from models.llama.job import Ask, Job
from models.llama.library import Model
from models.llama.template import ChatTemplate
from models.llama.thinking import MARKS, Reasoning
from models.text import TextStream

_LEAST_REPLY = 16


class Intake:
    """Checks and prepares requests for one model; `limit` tokens fit a conversation and its reply."""

    def __init__(self, model: Model, limit: int) -> None:
        self._vocabulary = model.vocabulary
        self.template = ChatTemplate(model.template(), model.vocabulary)
        self._limit = limit
        self._guides = _guides(model)
        self._arrivals = 0
        self.thought_ends = {
            mark: self._vocabulary.tokenise(f"{close.decode()}\n\n", control=True)
            for mark, close in MARKS.items()
        }
        unspeakable = self._vocabulary.unspeakable.tolist()
        self._can_think = all(map(set(unspeakable).isdisjoint, self.thought_ends.values()))

    def job(self, ask: Ask, adapter: str) -> Job:
        """A job for an ask, to be decoded under `adapter`. Raises ModelError when it can't be answered."""
        tokens, dropped = self._prompt(ask)
        thought, tokens = self._thought(ask, tokens)
        bound = min(self._limit, max(ask.window, 1))
        room = bound - len(tokens)
        wanted = ask.max_tokens if ask.grammar else min(ask.max_tokens, _LEAST_REPLY)
        if not tokens or room < wanted:
            raise RequestRefused(
                f"the prompt has {len(tokens)} tokens, which leaves {max(room, 0)} of "
                f"{bound} for a reply that needs {wanted}",
                "send fewer or shorter messages, or give the engine a longer context or window",
            )
        guide = None
        if ask.grammar is not None:
            if self._guides is None:
                raise RequestRefused(
                    "structured replies need llguidance", "pip install 'greenroom[local]'"
                )
            guide = self._guides.begin(ask.grammar)
        self._arrivals += 1
        return Job(
            id=ask.id,
            arrival=self._arrivals,
            priority=ask.priority,
            wanted=ask.wanted,
            deadline=time.monotonic() + ask.seconds_left,
            tokens=tokens,
            prompt=np.array(tokens, dtype=np.int32),
            max_tokens=min(ask.max_tokens, room),
            temperature=ask.temperature,
            top_p=ask.top_p,
            seed=ask.seed,
            # A grammar ends the reply by itself; a stop inside one of its strings would spoil it.
            text=TextStream(() if guide else (*ask.stop, *self.template.stops), trim=guide is None),
            guide=guide,
            thought=thought,
            adapter=adapter,
            species=ask.adapter,
            asker=ask.asker,
            dropped=dropped,
            logprobs=[] if ask.logprobs else None,
            alternatives=ask.logprobs,
        )

    def _prompt(self, ask: Ask) -> tuple[list[int], tuple[int, ...]]:
        """The tokens of an ask, and which messages were left out so that they fit."""
        tokens = self.template.tokens(ask.messages)
        room = min(self._limit, ask.window) - ask.max_tokens
        if len(tokens) <= room:
            return tokens, ()
        counts = [
            len(self._vocabulary.tokenise(content, control=False)) for _, content in ask.messages
        ]
        roles = [role for role, _ in ask.messages]
        frame = max(0, len(tokens) - sum(counts))
        gone = overflow(roles, counts, room - frame, ask.importance)
        if not gone:
            return tokens, ()
        kept = [pair for place, pair in enumerate(ask.messages) if place not in set(gone)]
        return self.template.tokens(kept), gone

    def _thought(self, ask: Ask, tokens: list[int]) -> tuple[Reasoning | None, list[int]]:
        """What watches the reply's hidden reasoning; a prompt that begins some where none may be ends it."""
        mark = self.template.opens_thought
        room = self._limit - len(tokens) - ask.max_tokens
        most = min(ask.think, room) if self._can_think and ask.grammar is None else 0
        if most > 0:
            return Reasoning(most, mark=mark), tokens
        if mark:
            tokens = [*tokens, *self.thought_ends[mark]]
        # A model that opens its thoughts by itself does so whether it may think or not.
        return None if ask.grammar else Reasoning(0), tokens


def _guides(model: Model) -> Any:
    try:
        from models.llama.guide import Guides
    except ImportError:
        return None
    return Guides(model.vocabulary)
