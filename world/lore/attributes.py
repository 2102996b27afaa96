"""What a vector is stored under: its key, its attributes, and the filters a search may set on them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foundation.errors import LimitError
from world.errors import VectorError

Key = int | str
"""A signed 64-bit integer, or 1 to 256 bytes of text."""

Vectors = NDArray[np.float32]

MAX_TEXT_BYTES = 256
MAX_LABELS = 1 << 20
MAX_NORM = 1e18
"""Longer vectors would overflow a float32 dot product on the way to unit length."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What a search can filter by: where the text came from, who holds it, when it was (a tick)."""

    source: str = ""
    holder: str = ""
    time: int = 0


@dataclass(frozen=True, slots=True)
class Where:
    """Filters, all of which must hold; None leaves an attribute free. Times are inclusive."""

    sources: Collection[str] | None = None
    holders: Collection[str] | None = None
    since: int | None = None
    until: int | None = None

    def __post_init__(self) -> None:
        for name, given in (("sources", self.sources), ("holders", self.holders)):
            if isinstance(given, str):
                raise VectorError(f"{name} is the text {given!r}", f"give a set: {{{given!r}}}")

    def admits(self, meta: Meta) -> bool:
        """Whether one vector's attributes pass."""
        return (
            (self.sources is None or meta.source in self.sources)
            and (self.holders is None or meta.holder in self.holders)
            and (self.since is None or meta.time >= self.since)
            and (self.until is None or meta.time <= self.until)
        )


class Columns(NamedTuple):
    """The attributes of n vectors, texts as codes."""

    source: NDArray[np.int32]
    holder: NDArray[np.int32]
    time: NDArray[np.int64]

    @classmethod
    def empty(cls, rows: int) -> Columns:
        return cls(np.zeros(rows, np.int32), np.zeros(rows, np.int32), np.zeros(rows, np.int64))

    def take(self, rows: Any) -> Columns:
        """Those of some rows (an index array or a slice)."""
        return Columns(self.source[rows], self.holder[rows], self.time[rows])


class Labels:
    """Texts as small integers, so that a filter compares a column of numbers.

    Holds at most 2**20 different texts and raises `LimitError` past that; those no longer in use
    are let go when the store is opened again.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts: list[str] = list(texts)
        self._codes = {text: code for code, text in enumerate(self.texts)}

    def __len__(self) -> int:
        return len(self.texts)

    def code(self, text: str) -> int:
        """The code of a text, given to it now if it is new."""
        code = self._codes.get(text)
        if code is None:
            if len(self.texts) >= MAX_LABELS:
                raise LimitError(
                    f"the vectors have {MAX_LABELS:,} different sources and holders already",
                    "name sources and holders by kind, and keep what is unique in the key",
                )
            code = self._codes[text] = len(self.texts)
            self.texts.append(text)
        return code

    def mask(self, where: Where, columns: Columns) -> NDArray[np.bool_]:
        """bool[n]: which rows pass."""
        allowed = np.ones(len(columns.time), dtype=np.bool_)
        for given, column in ((where.sources, columns.source), (where.holders, columns.holder)):
            if given is not None:
                codes = [code for text in given if (code := self._codes.get(text)) is not None]
                if len(codes) == 1:
                    allowed &= column == codes[0]
                else:
                    chosen = np.zeros(len(self.texts) + 1, dtype=np.bool_)
                    chosen[codes] = True
                    allowed &= chosen[column]
        if where.since is not None:
            allowed &= columns.time >= where.since
        if where.until is not None:
            allowed &= columns.time <= where.until
        return allowed


def checked_key(key: object) -> Key:
    """The key. Raises `VectorError` for one that can't be stored."""
    if isinstance(key, str):
        if 1 <= _text_bytes("the key", key) <= MAX_TEXT_BYTES:
            return key
        raise VectorError(
            f"the key {key[:40]!r} has {len(key)} characters",
            f"keys are 1 to {MAX_TEXT_BYTES} bytes of UTF-8",
        )
    if isinstance(key, int) and not isinstance(key, bool) and -(1 << 63) <= key < 1 << 63:
        return int(key)
    raise VectorError(f"{key!r} is no key", "use a text or a whole number of 64 bits")


def checked_meta(meta: Meta) -> Meta:
    """The attributes. Raises `VectorError` for ones that can't be stored."""
    for name, text in (("source", meta.source), ("holder", meta.holder)):
        if not isinstance(text, str) or _text_bytes(name, text) > MAX_TEXT_BYTES:
            raise VectorError(
                f"the {name} {str(text)[:40]!r} can't be stored",
                f"use a text of at most {MAX_TEXT_BYTES} bytes of UTF-8",
            )
    if not isinstance(meta.time, int) or not -(1 << 63) <= meta.time < 1 << 63:
        raise VectorError(f"the time {meta.time!r} can't be stored", "use a tick: a whole number")
    return meta


def _text_bytes(name: str, text: str) -> int:
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise VectorError(f"{name} is not UTF-8: {error}", "drop the lone surrogates") from error


def unit(vector: object, dims: int) -> Vectors:
    """`vector` as float32[dims] (or float32[q, dims]) of unit length, rows each.

    Raises `VectorError` for another shape or length, NaN, infinity, and vectors without a direction.
    """
    try:
        array = np.asarray(vector, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise VectorError(f"this is no vector: {error}", f"give float32[{dims}]") from error
    if array.ndim not in (1, 2) or array.shape[-1] != dims:
        raise VectorError(
            f"the vector has the shape {list(array.shape)} and the store has {dims} dimensions",
            "embed with the model the store was made with, or make a new store and embed again",
        )
    norms = np.sqrt(np.einsum("...d,...d->...", array, array, dtype=np.float64))
    if not np.all(np.isfinite(norms)) or np.any(norms > MAX_NORM):
        raise VectorError(
            "the vector holds NaN, infinity or numbers past 1e18",
            "check the embedder: a text that overflows its context is one cause",
        )
    if np.any(norms < 1e-12):
        raise VectorError(
            "the vector is zero and points nowhere", "don't embed empty texts; leave them out"
        )
    return np.ascontiguousarray(array / norms[..., None], dtype=np.float32)
