"""Content pipelines: independent nodes of a dag at once on the blocking pool, progress as it comes.

A request for content becomes such a dag: land, rooms and each monster by themselves, then the
foundation they make, then what stands on it.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pydantic import ValidationError

from actors.actor import GreenActor, Level, receives
from actors.blocking import Failed, Finished
from actors.dag import Dag, Node, Run
from actors.errors import PoolFull
from actors.mailbox import MailboxSpec
from actors.timers import Timer
from foundation.errors import GreenroomError
from world.content import ContentRequest, ContentResponse, Degraded, Foundation
from world.generate import bestiary, foundation

__all__ = ["ContentListener", "Pipeline", "PipelineCounts", "RunContent", "RunDag", "content_nodes"]

logger = logging.getLogger(__name__)

MAX_RUNS: Final = 8
"""Requests worked on at once; further ones are refused."""
RUN_S: Final = 600.0
"""Seconds after which a run that has not ended is given up."""
MAX_AT_ONCE: Final = 4
"""Nodes of one request on the pool at once, so that one request can't take all of it."""


class ContentListener(Protocol):
    """Hears a request's progress, on any thread; exactly one of the last two is called, last."""

    def on_progress(self, node: str, state: str, done: int, total: int) -> None: ...

    def on_done(self, response: Mapping[str, Any]) -> None: ...

    def on_rejected(self, code: str, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class RunContent:
    """Make what a request asks for. `cancelled()` true: stop, tell nobody."""

    request: ContentRequest
    listener: ContentListener
    cancelled: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class RunDag:
    """Run any dag; `on_over` gets the finished run."""

    dag: Dag
    on_over: Callable[[Run], None]
    on_progress: Callable[[str, str, int, int], None] = lambda node, state, done, total: None
    cancelled: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class _Again:
    run: int


@dataclass(frozen=True, slots=True)
class _Overdue:
    run: int


_numbers = itertools.count(1)
# Not begun anew at a restart: what comes late for a run of before must not count for another.


@dataclass(slots=True)
class PipelineCounts:
    """What the pipeline has done."""

    runs: int = 0
    nodes: int = 0
    failed_nodes: int = 0
    refused: int = 0
    cancelled: int = 0


@dataclass(slots=True)
class _Work:
    order: RunDag
    run: Run
    limit: Timer
    ready: deque[Node] = field(default_factory=deque)
    running: int = 0


def content_nodes(request: ContentRequest) -> list[Node]:
    """The dag of a content request: layer 1 in parallel, then layer 2 by the procedural hand.

    Layers 3 and 4 need minds and models of their own and are left out of the response.
    """
    monsters = [f"monster {index}" for index in range(bestiary.how_many(request.size))]

    def monster(index: int) -> Callable[[Mapping[str, Any]], Any]:
        return lambda _made: foundation.monster_base(request, index)

    def join(made: Mapping[str, Any]) -> Foundation:
        return Foundation(
            seed=request.seed,
            terrain=made["terrain"],
            rooms=made["rooms"],
            monsters=tuple(made[name] for name in monsters),
        )

    return [
        Node("terrain", lambda _made: foundation.terrain_base(request)),
        Node("rooms", lambda _made: foundation.room_bases(request)),
        *(Node(name, monster(index)) for index, name in enumerate(monsters)),
        Node("foundation", join, needs=("terrain", "rooms", *monsters)),
        Node(
            "customisation",
            lambda made: foundation.plain_customization(made["foundation"]),
            needs=("foundation",),
        ),
    ]


class Pipeline(GreenActor):
    """Runs dags. Its state is the runs under way; restarted, it lets go of those and says so."""

    level = Level.BACKGROUND
    mailbox = MailboxSpec(limit=4096)

    def __init__(self, counts: PipelineCounts) -> None:
        super().__init__()
        self._counts = counts
        self._works: dict[int, _Work] = {}

    def on_failure(self, *_error: Any) -> None:
        for work in self._works.values():
            self._call(work.order.on_over, work.run)

    def on_skipped(self, message: object) -> None:
        if isinstance(message, RunContent):
            self._call(message.listener.on_rejected, "internal", "the work was given up")

    def on_stop(self) -> None:
        self.on_failure()

    @receives(RunContent)
    def content(self, message: RunContent) -> None:
        """Make what a request asks for and tell its listener."""
        listener, request = message.listener, message.request

        def over(run: Run) -> None:
            if message.cancelled():
                return
            base = run.values.get("foundation")
            customized = run.values.get("customisation")
            if base is None or customized is None:
                reasons = "; ".join(f"{name}: {why}" for name, why in run.faults.items())
                listener.on_rejected("internal", (reasons or "the work was given up")[:400])
                return
            try:
                response = ContentResponse(
                    request=request,
                    foundation=base,
                    customized=customized,
                    degraded=_degraded(request, run),
                )
            except ValidationError as error:
                listener.on_rejected("internal", f"the layers don't fit: {error}"[:400])
                return
            listener.on_done(response.model_dump())

        if len(self._works) >= MAX_RUNS:
            self._counts.refused += 1
            self._call(listener.on_rejected, "busy", "enough content is being made; ask again soon")
            return
        dag = Dag(content_nodes(request))
        self._begin(RunDag(dag, over, listener.on_progress, message.cancelled))

    @receives(RunDag)
    def dag(self, message: RunDag) -> None:
        """Run a dag."""
        self._begin(message)

    def _begin(self, order: RunDag) -> None:
        number = next(_numbers)
        limit = self._dispatcher.tell_after(RUN_S, self.actor_ref, _Overdue(number))
        self._works[number] = _Work(order, Run(order.dag), limit)
        self._counts.runs += 1
        self._advance(number)

    def _advance(self, number: int) -> None:
        work = self._works.get(number)
        if work is None:
            return
        if work.order.cancelled():
            self._counts.cancelled += 1
            work.ready.clear()
            if not work.running:
                self._forget(number)
            return
        work.ready.extend(work.run.ready())
        while work.ready and work.running < MAX_AT_ONCE:
            node = work.ready[0]
            inputs = work.run.inputs(node)
            try:
                self._dispatcher.run_blocking(
                    _Bound(node, inputs), self.actor_ref, (number, node.name)
                )
            except PoolFull:
                if not work.running:
                    self._dispatcher.tell_after(0.05, self.actor_ref, _Again(number))
                break
            work.ready.popleft()
            work.running += 1
            self._progress(work, [node.name], "started")
        if work.run.over:
            self._forget(number)
            self._call(work.order.on_over, work.run)

    def _forget(self, number: int) -> None:
        self._works.pop(number).limit.cancel()

    @receives(_Overdue)
    def overdue(self, message: _Overdue) -> None:
        """A run that a lost answer has kept from its end is given up."""
        work = self._works.pop(message.run, None)
        if work is not None:
            self._call(work.order.on_over, work.run)

    @receives(_Again)
    def again(self, message: _Again) -> None:
        """The pool was full; see whether it still is."""
        self._advance(message.run)

    @receives(Finished)
    def finished(self, message: Finished) -> None:
        """A node has made its value."""
        number, name = message.tag
        work = self._works.get(number)
        if work is None:
            return
        work.running -= 1
        work.run.done(name, message.value)
        self._counts.nodes += 1
        self._progress(work, [name], "done")
        self._advance(number)

    @receives(Failed)
    def failed(self, message: Failed) -> None:
        """A node has failed: its branch degrades, the others go on."""
        number, name = message.tag
        work = self._works.get(number)
        if work is None:
            return
        work.running -= 1
        error = message.error
        text = error.message if isinstance(error, GreenroomError) else repr(error)
        self._counts.failed_nodes += 1
        self._progress(work, work.run.failed(name, text[:400]), "failed")
        self._advance(number)

    def _progress(self, work: _Work, names: Iterable[str], state: str) -> None:
        done, total = work.run.settled, len(work.run.states)
        for name in names:
            self._call(work.order.on_progress, name, state, done, total)

    def _call(self, listener: Callable[..., None], *values: object) -> None:
        try:
            listener(*values)
        except Exception:
            logger.warning("a listener of the pipeline failed", exc_info=True)


@dataclass(frozen=True, slots=True)
class _Bound:
    node: Node
    inputs: Mapping[str, Any]

    def __call__(self) -> Any:
        return self.node.work(self.inputs)


def _degraded(request: ContentRequest, run: Run) -> tuple[Degraded, ...]:
    found = [Degraded(node=name, reason=why[:1000]) for name, why in run.faults.items()]
    if request.activate_npcs:
        found.append(Degraded(node="interaction", reason="no layer for dialogue is at work here"))
    if request.requires_coordination:
        found.append(Degraded(node="coordination", reason="no layer for plans is at work here"))
    return tuple(found)
