"""Compares two versions of the prompts on one lived world: the same moments, asked with each, greedily."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from actors.casting import mind_of
from actors.choices import Choice
from actors.deciding import Asking, chosen
from foundation.errors import UsageError
from greenroom import worlds
from models.errors import ModelError, ModelUnavailable, PromptError
from models.prompts import SHIPPED, TEMPLATES, Decision, PromptBook
from models.request import Backend, Reply
from plugins.manager import MAX_PROMPT
from world import replay
from world.compiled import CompiledScene
from world.errors import ReplayError
from world.frame import Situation
from world.inputs import Input
from world.maths import Purpose, keyed
from world.replay import Stepped
from world.ruleset import Ruleset
from world.store.reader import Reader
from world.world import World

MAX_MOMENTS: Final = 1000
LIMIT_S: Final = 120.0
"""What an answer may take: a slow model is to be compared, not cut off."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One mind at one tick of a run, and what it may choose from."""

    asking: Asking
    situation: Situation
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a mind chose. `valid` if it named one of its choices; if not, `fault` says why."""

    valid: bool
    act: str = ""
    target: str = ""
    reason: str = ""
    fault: str = ""
    prompt_tokens: int = 0
    seconds: float = 0.0

    def same(self, other: Answer) -> bool:
        """Whether both chose, and chose the same act with the same target."""
        return self.valid and other.valid and (self.act, self.target) == (other.act, other.target)


@dataclass(frozen=True, slots=True)
class Compared:
    """One moment asked twice."""

    tick: int
    entity: int
    who: str
    prompts_differ: bool
    a: Answer
    b: Answer


def templates(folder: Path) -> dict[str, str]:
    """The templates in a folder, by name: files named as the shipped ones, `decide_turn.j2` and so on.

    Raises UsageError for a folder without any, PromptError naming the file that has no known name,
    is too long, can't be read or fails.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "name the folder that the templates lie in")
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.j2")):
        if path.stem not in TEMPLATES:
            raise PromptError(
                f"{path}: there is no prompt named {path.stem!r}",
                f"rename it or take it out; the prompts are {', '.join(TEMPLATES)}",
            )
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise PromptError(f"{path}: {error}", "save it as UTF-8") from error
        if len(text) > MAX_PROMPT:
            raise PromptError(f"{path} has {len(text)} characters", f"{MAX_PROMPT} at most")
        try:
            PromptBook({path.stem: text})
        except PromptError as error:
            raise PromptError(f"{path}: {error.message}", error.hint) from error
        found[path.stem] = text
    if not found:
        raise UsageError(
            f"{folder} holds no templates", f"name them {', '.join(f'{n}.j2' for n in TEMPLATES)}"
        )
    return found


def moments(
    folder: Path,
    ruleset: Ruleset,
    wanted: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Moment]:
    """Step the journal in `folder` again and stop at `wanted` ticks, evenly spread, for one mind at each.

    Who it is, is drawn by the world's seed and the tick from those on their feet with a persona and
    at least two choices; a tick with nobody such is left out. `on_progress` as in `world.replay`.
    Raises ReplayError naming the first tick that comes out otherwise than it was lived, UsageError
    where nobody can be asked or `wanted` is out of 1..1000.
    """
    if not 1 <= wanted <= MAX_MOMENTS:
        raise UsageError(f"{wanted} moments", f"from 1 to {MAX_MOMENTS}")
    with Reader.open(folder) as reader:
        meta = reader.meta()
        scene = worlds.compiled(meta.scene, ruleset, meta.seed, meta.npcs)
        last = reader.end()[0]
        found: list[Moment] = []

        def watched(world: World) -> _Watched:
            span = last - world.tick
            at = {world.tick + span * (2 * n + 1) // (2 * wanted) for n in range(wanted)}
            return _Watched(world, scene, frozenset(at), found)

        result = replay.replay(
            reader,
            ruleset,
            on_progress=on_progress,
            start=lambda meta: watched(worlds.starter(ruleset)(meta)),
            load=lambda state, rules: watched(World.from_state(state, rules)),
        )
    if result.first_difference is not None:
        raise ReplayError(
            f"tick {result.first_difference} comes out otherwise than it was lived: {result.reason}",
            "compare with the rules and plugins that the run was made with",
        )
    if not found:
        raise UsageError(
            f"in {folder} nobody can be asked at any of {wanted} ticks",
            "name a longer run, or one with minds in it",
        )
    return found


class _Watched:
    """A world that is stepped again, looked at before the step that follows a wanted tick.

    By then that tick's hash has been compared.
    """

    def __init__(
        self, world: World, scene: CompiledScene, at: frozenset[int], found: list[Moment]
    ) -> None:
        self._world, self._scene, self._at, self._found = world, scene, at, found

    @property
    def tick(self) -> int:
        return self._world.tick

    def step(self, inputs: Sequence[Input]) -> Stepped:
        if self._world.tick in self._at:
            moment = _drawn(self._world, self._scene)
            if moment is not None:
                self._found.append(moment)
        return self._world.step(inputs)

    def hash(self) -> int:
        return self._world.hash()

    def full_hash(self) -> int:
        return self._world.full_hash()


def _drawn(world: World, scene: CompiledScene) -> Moment | None:
    """One mind that can be asked, each as likely as the others; None if none can."""
    columns = world.columns
    ids = columns.id[columns.live_rows()].tolist()
    # Only read here: a draw is a function of its key, and takes nothing from the world's own.
    draws = sorted((keyed(world.seed, each, world.tick, Purpose.PLUGIN), each) for each in ids)
    for _, entity in draws:
        mind = mind_of(world, entity, scene.personas, scene.common)
        asking = mind and mind.asking(SHIPPED, tuple(world.ruleset.actions), LIMIT_S)
        situation = world.situation(entity) if asking else None
        if not asking or situation is None or situation.downed or not situation.alive:
            continue
        choices = asking.choices(situation)
        if len(choices) > 1:
            return Moment(asking, situation, choices)
    return None


def compare(
    asked: Sequence[Moment],
    a: Mapping[str, str],
    b: Mapping[str, str],
    backend: Backend,
    on_progress: Callable[[int], None] | None = None,
) -> list[Compared]:
    """Ask `backend` for a decision at each moment, with the templates `a` and with `b`, at temperature 0.

    One request at a time; every other moment begins with `b`, so that neither always finds the
    other's reading done. Raises PromptError for a template that fails on these moments,
    ModelUnavailable when the engine is gone.
    """
    books = PromptBook(a), PromptBook(b)
    found = []
    for n, moment in enumerate(asked):
        requests = [
            replace(
                replace(moment.asking, prompts=book).request(moment.situation, moment.choices, 0),
                temperature=0.0,
            )
            for book in books
        ]
        for book, version in zip(books, "AB", strict=True):
            if book.failed:
                raise PromptError(
                    f"version {version}: {', '.join(book.failed)} fails at tick {moment.situation.tick}",
                    "mend the template: a served world would use the shipped one in its place",
                )
        answers: dict[int, Answer] = {}
        for which in (0, 1) if n % 2 == 0 else (1, 0):
            ear = _Ear()
            backend.submit(requests[which], ear)
            answers[which] = ear.answer(moment.choices)
        found.append(
            Compared(
                moment.situation.tick,
                moment.asking.entity,
                moment.asking.persona.name,
                requests[0].messages != requests[1].messages,
                answers[0],
                answers[1],
            )
        )
        if on_progress is not None:
            on_progress(n + 1)
    return found


@dataclass(slots=True)
class _Ear:
    """Waits for one reply."""

    ended: threading.Event = field(default_factory=threading.Event)
    reply: Reply | None = None
    error: ModelError | None = None

    def on_text(self, request_id: int, text: str) -> None:
        return None

    def on_done(self, reply: Reply) -> None:
        self.reply = reply
        self.ended.set()

    def on_error(self, request_id: int, error: ModelError) -> None:
        self.error = error
        self.ended.set()

    def answer(self, choices: Sequence[Choice]) -> Answer:
        # A backend tells of a deadline by itself; the margin is for one that has hung.
        if not self.ended.wait(LIMIT_S + 30.0):
            raise ModelUnavailable("the model does not answer", "try again, or another model")
        if isinstance(self.error, ModelUnavailable):
            raise self.error
        if self.reply is None:
            return Answer(False, fault=str(self.error))
        tokens, seconds = self.reply.prompt_tokens, self.reply.total_s
        said = self.reply.parsed
        if not isinstance(said, Decision) or chosen(self.reply, choices) is None:
            return Answer(False, fault="none of its choices", prompt_tokens=tokens, seconds=seconds)
        return Answer(
            True, said.action, said.target, said.reason, prompt_tokens=tokens, seconds=seconds
        )


def summary(compared: Sequence[Compared]) -> dict[str, Any]:
    """What `greenroom prompts --json` tells: both versions' figures, then every moment."""

    def told(answers: Sequence[Answer]) -> dict[str, Any]:
        heard = [answer for answer in answers if answer.prompt_tokens]
        count = max(1, len(heard))
        acts = Counter(answer.act for answer in answers if answer.valid)
        return {
            "moments": len(answers),
            "valid": sum(answer.valid for answer in answers),
            "mean_prompt_tokens": round(sum(each.prompt_tokens for each in heard) / count, 1),
            "mean_s": round(sum(each.seconds for each in heard) / count, 4),
            "acts": dict(sorted(acts.items(), key=lambda one: (-one[1], one[0]))),
        }

    same = sum(each.a.same(each.b) for each in compared)
    return {
        "moments": len(compared),
        "prompts_differ": sum(each.prompts_differ for each in compared),
        "same": same,
        "same_share": round(same / len(compared), 4) if compared else None,
        "a": told([each.a for each in compared]),
        "b": told([each.b for each in compared]),
        "answers": [{**asdict(each), "same": each.a.same(each.b)} for each in compared],
    }
