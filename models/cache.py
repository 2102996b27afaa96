"""The semantic cache: a question close enough to one already answered, in the same scope, gets that answer.

A scope is a text from the caller and holds everything that may change the answer: who asks whom,
what that mind knows, model, prompt version, reply schema, and the embedder's name. Answers never
cross scopes. Scopes are small, so a look-up is one exact product of float32[n, dims].
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import RequestRefused
from models.request import Reply

SOURCE_PREFIX = "cache: "
MAX_SCOPE_CHARS = 512
MAX_TEXT_CHARS = 16_384
MAX_DIMS = 8192
NEAR = 0.05
"""A miss by no more than this is counted as a near miss."""
_ROUNDING = 1e-5

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """When an answer is used again, and how many are kept.

    `similarity`: the least cosine. `ttl_s`: seconds an answer stays good. `entries` in all and
    `entries_a_scope`: past either, the answer not used for longest goes.
    """

    similarity: float = 0.95
    ttl_s: float = 3600.0
    entries: int = 10_000
    entries_a_scope: int = 256

    def __post_init__(self) -> None:
        if not 0.0 < self.similarity <= 1.0:
            raise ValueError(f"similarity is {self.similarity}; it must lie between 0 and 1")
        if self.ttl_s <= 0 or self.entries < 1 or self.entries_a_scope < 1:
            raise ValueError("ttl_s, entries and entries_a_scope must be positive")

    @property
    def least(self) -> float:
        """The least cosine as it comes out in float32, in which a vector's with itself may miss 1."""
        return min(self.similarity, 1.0 - _ROUNDING)


@dataclass(frozen=True, slots=True, eq=False)
class CacheEntry:
    """One answer as it is kept. `vector`: float32[dims], unit; `stored_at`: seconds since 1970."""

    id: int
    scope: str
    vector: Vector
    question: str
    text: str
    source: str
    stored_at: float


@dataclass(frozen=True, slots=True)
class CachedReply:
    """An answer found. `source` is "cache: " and who gave it first; `similarity` the cosine."""

    text: str
    source: str
    question: str
    stored_at: float
    similarity: float


class CacheKeeper(Protocol):
    """Keeps entries over a restart. What it can't keep it counts; the cache goes on without."""

    def load(self) -> Iterable[CacheEntry]:
        """What was put and not deleted, oldest first; called once, before anything else."""

    def put(self, entry: CacheEntry) -> None: ...

    def delete(self, ids: Iterable[int]) -> None: ...

    def status(self) -> dict[str, object]: ...

    def close(self) -> None: ...


class _Scope:
    """The answers of one scope: rows of an array; `places` gives the row, used least recently first."""

    def __init__(self, dims: int) -> None:
        self.vectors = np.zeros((4, dims), dtype=np.float32)
        self.ids: list[int] = []
        self.places: OrderedDict[int, int] = OrderedDict()

    @property
    def dims(self) -> int:
        return self.vectors.shape[1]

    def add(self, entry_id: int, vector: Vector) -> None:
        row = len(self.ids)
        if row == len(self.vectors):
            self.vectors = np.concatenate([self.vectors, np.zeros_like(self.vectors)])
        self.vectors[row] = vector
        self.ids.append(entry_id)
        self.places[entry_id] = row

    def remove(self, entry_id: int) -> None:
        row, last = self.places.pop(entry_id), self.ids.pop()
        if last != entry_id:
            self.vectors[row] = self.vectors[len(self.ids)]
            self.ids[row] = last
            self.places[last] = row

    def cosines(self, vector: Vector) -> Vector:
        scores: Vector = np.vecdot(self.vectors[: len(self.ids)], vector)
        return scores


class SemanticCache:
    """Answers by likeness of the question. Any thread may call; time is handed in, in seconds.

    How recently an answer was used is forgotten over a restart: then the oldest goes first.
    """

    def __init__(
        self, settings: CacheSettings | None = None, keeper: CacheKeeper | None = None
    ) -> None:
        self.settings = settings or CacheSettings()
        self._keeper = keeper
        self._lock = threading.Lock()
        self._entries: OrderedDict[int, CacheEntry] = OrderedDict()
        self._scopes: dict[str, _Scope] = {}
        self._counts: Counter[str] = Counter()
        self._best_miss = 0.0
        highest = 0
        for entry in keeper.load() if keeper else ():
            self._add(entry)
            highest = max(highest, entry.id)
        self._next_id = itertools.count(highest + 1)
        self._drop_past_bounds()

    def find(self, scope: str, vector: Vector, now: float) -> CachedReply | None:
        """The answer to the most similar question of the scope, if similar and fresh enough.

        `vector`: float32[dims], unit length. Raises `RequestRefused` for one that is not, or whose
        dimensions are not those of the scope.
        """
        vector = _checked(vector)
        with self._lock:
            self._drop_expired(scope, now)
            rows = self._scope(scope, vector)
            self._counts["looked_up"] += 1
            if rows is None or not rows.ids:
                self._counts["misses"] += 1
                return None
            cosines = rows.cosines(vector)
            row = int(np.argmax(cosines))
            best = float(cosines[row])
            if best < self.settings.least:
                self._counts["misses"] += 1
                self._best_miss = max(self._best_miss, best)
                if best >= self.settings.similarity - NEAR:
                    self._counts["near_misses"] += 1
                return None
            entry = self._entries[rows.ids[row]]
            self._entries.move_to_end(entry.id)
            rows.places.move_to_end(entry.id)
            self._counts["hits"] += 1
        return CachedReply(
            entry.text, SOURCE_PREFIX + entry.source, entry.question, entry.stored_at, best
        )

    def store(self, scope: str, vector: Vector, question: str, reply: Reply, now: float) -> bool:
        """Keep an answer; whether it was. It takes the place of those to questions that it answers.

        Not kept: an answer cut off at its token limit, an empty one, one that came from the cache,
        and texts past 16,384 characters. Raises `RequestRefused` as `find` does, and for a scope
        that is empty or longer than 512 characters.
        """
        vector = _checked(vector)
        if not 0 < len(scope) <= MAX_SCOPE_CHARS:
            raise RequestRefused(
                f"the cache scope has {len(scope)} characters",
                f"use 1 to {MAX_SCOPE_CHARS}; hash what is longer",
            )
        fit = (
            reply.finish == "stop"
            and bool(reply.text)
            and not reply.source.startswith(SOURCE_PREFIX)
            and max(len(reply.text), len(question)) <= MAX_TEXT_CHARS
        )
        with self._lock:
            if not fit:
                self._counts["unfit"] += 1
                return False
            rows = self._scope(scope, vector)
            if rows is not None:
                same = np.flatnonzero(rows.cosines(vector) >= self.settings.least)
                self._drop([rows.ids[row] for row in same.tolist()], "replaced")
            entry = CacheEntry(
                next(self._next_id),
                scope,
                vector.copy(),
                question,
                reply.text,
                reply.source,
                float(now),
            )
            self._add(entry)
            self._counts["stored"] += 1
            if self._keeper:
                self._keeper.put(entry)
            rows = self._scopes[scope]
            if len(rows.ids) > self.settings.entries_a_scope:
                self._drop([next(iter(rows.places))], "evicted")
            if len(self._entries) > self.settings.entries:
                self._drop([next(iter(self._entries))], "evicted")
        return True

    def forget(self, scope_prefix: str) -> int:
        """Drop every answer of the scopes that begin so ("": all of them); how many those were."""
        with self._lock:
            gone = [
                entry_id
                for scope, rows in self._scopes.items()
                if scope.startswith(scope_prefix)
                for entry_id in rows.ids
            ]
            self._drop(gone, "forgotten")
        return len(gone)

    def __len__(self) -> int:
        return len(self._entries)

    def status(self) -> dict[str, object]:
        """Counters, bounds, and the highest cosine of a question that missed."""
        with self._lock:
            return {
                "entries": len(self._entries),
                "entries_limit": self.settings.entries,
                "scopes": len(self._scopes),
                "similarity": self.settings.similarity,
                "ttl_s": self.settings.ttl_s,
                **{name: self._counts[name] for name in _COUNTED},
                "hit_rate": round(self._counts["hits"] / max(1, self._counts["looked_up"]), 4),
                "best_miss": self._best_miss,
                "keeper": self._keeper.status() if self._keeper else {"kind": "none"},
            }

    def close(self) -> None:
        """Let go of the keeper; what is stored from here on is not kept over a restart."""
        with self._lock:
            keeper, self._keeper = self._keeper, None
        if keeper:
            keeper.close()

    def _scope(self, scope: str, vector: Vector) -> _Scope | None:
        rows = self._scopes.get(scope)
        if rows is not None and rows.dims != len(vector):
            raise RequestRefused(
                f"the cache scope {scope[:60]!r} has vectors of {rows.dims} dimensions,"
                f" not {len(vector)}",
                "put the embedder's name into the scope",
            )
        return rows

    def _add(self, entry: CacheEntry) -> None:
        rows = self._scopes.get(entry.scope)
        if rows is None:
            rows = self._scopes[entry.scope] = _Scope(len(entry.vector))
        elif rows.dims != len(entry.vector):
            self._counts["unfit"] += 1
            return
        rows.add(entry.id, entry.vector)
        # the row holds the vector from here on
        self._entries[entry.id] = replace(entry, vector=np.empty(0, dtype=np.float32))

    def _drop_expired(self, scope: str, now: float) -> None:
        rows = self._scopes.get(scope)
        if rows is not None:
            # an answer from the future, too: the clock was set back
            late = [
                entry_id
                for entry_id in rows.ids
                if abs(now - self._entries[entry_id].stored_at) > self.settings.ttl_s
            ]
            self._drop(late, "expired")

    def _drop_past_bounds(self) -> None:
        for rows in tuple(self._scopes.values()):
            past = len(rows.ids) - self.settings.entries_a_scope
            self._drop(list(itertools.islice(rows.places, max(0, past))), "evicted")
        past = len(self._entries) - self.settings.entries
        self._drop(list(itertools.islice(self._entries, max(0, past))), "evicted")

    def _drop(self, ids: list[int], why: str) -> None:
        for entry_id in ids:
            entry = self._entries.pop(entry_id)
            rows = self._scopes[entry.scope]
            rows.remove(entry_id)
            if not rows.ids:
                del self._scopes[entry.scope]
        self._counts[why] += len(ids)
        if ids and self._keeper:
            self._keeper.delete(ids)


_COUNTED = (
    "hits",
    "misses",
    "near_misses",
    "stored",
    "unfit",
    "replaced",
    "expired",
    "evicted",
    "forgotten",
)


def _checked(vector: Vector) -> Vector:
    array = np.asarray(vector, dtype=np.float32)
    if array.ndim != 1 or not 1 <= len(array) <= MAX_DIMS:
        raise RequestRefused(
            f"the question's vector has the shape {list(array.shape)}", "give float32[dims]"
        )
    length = math.sqrt(float(np.dot(array, array)))
    # also false for NaN
    if not abs(length - 1.0) <= 1e-3:
        raise RequestRefused(
            f"the question's vector has the length {length}", "give it unit length"
        )
    return array
