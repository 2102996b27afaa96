"""Reads a GGUF's header without llama.cpp: what is in the file, or exactly what is wrong with it.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3). Nothing
here trusts a length or a count before comparing it with what the file still holds.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.errors import ModelFileError

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_FLOATS = (6, 12)
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_MAX_PAIRS = 1 << 16
_MAX_TENSORS = 1 << 18
_MAX_KEY = 1 << 12
_SAMPLE = 1 << 18
_MAX_LIST = 1 << 12
_KINDS = {
    "adapter": "a LoRA adapter",
    "mmproj": "a model's eyes or ears",
    "imatrix": "an importance matrix",
}
_DOWNLOAD = "download or export the file again and compare its size and checksum"

# ggml type → (values in a block, bytes in a block); types not listed are left to llama.cpp.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 40), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GgufInfo:
    """What the header says. `name` falls back to the file's stem.

    `numbers` holds every scalar (fractions cut off), `lists` the short lists of whole numbers, and
    `tokens` counts the vocabulary. `texts` holds the strings of `general.` and `adapter.`.
    `tensor_bytes` tells what each tensor takes in the file, `tensor_shapes` its dimensions as ggml
    orders them (the innermost first), and `parameters` how many values all of them hold.
    """

    path: str
    size: int
    version: int
    architecture: str
    name: str
    model_version: str
    tensors: int
    context_length: int
    tokens: int
    parameters: int
    numbers: Mapping[str, int]
    lists: Mapping[str, tuple[int, ...]]
    texts: Mapping[str, str]
    tensor_bytes: Mapping[str, int]
    tensor_shapes: Mapping[str, tuple[int, ...]]


class _Reader:
    """Bounds-checked little-endian reads from a mapped file."""

    def __init__(self, path: Path, data: mmap.mmap | bytes) -> None:
        self.path = path
        self.data = data
        self.at = 0

    def fail(self, reason: str, hint: str = _DOWNLOAD) -> ModelFileError:
        return ModelFileError(f"{self.path}: {reason}", hint)

    def take(self, size: int, what: str) -> bytes:
        if size > len(self.data) - self.at:
            raise self.fail(
                f"ends inside {what}: {size} bytes wanted at offset {self.at}, "
                f"the file holds {len(self.data)}"
            )
        part = self.data[self.at : self.at + size]
        self.at += size
        return part

    def number(self, code: str, what: str) -> int:
        value = struct.unpack("<" + code, self.take(struct.calcsize("<" + code), what))[0]
        return int(value) if not isinstance(value, float) or math.isfinite(value) else 0

    def text(self, limit: int, what: str) -> str:
        length = self.number("Q", f"the length of {what}")
        if length > limit:
            raise self.fail(f"{what} claims {length} bytes, more than {limit}")
        return self.take(length, what).decode("utf-8", "replace")

    def skip_value(self, kind: int, what: str, depth: int = 0) -> None:
        if kind in _SCALARS:
            self.take(struct.calcsize(_SCALARS[kind]), what)
        elif kind == _STRING:
            self.take(self.number("Q", f"the length of {what}"), what)
        elif kind == _ARRAY and depth == 0:
            inner = self.number("I", what)
            count = self.number("Q", what)
            if inner in _SCALARS:
                self.take(count * struct.calcsize(_SCALARS[inner]), what)
            elif inner == _STRING:
                if count * 8 > len(self.data) - self.at:
                    raise self.fail(f"{what} claims {count} strings, more than the file can hold")
                for _ in range(count):
                    self.take(self.number("Q", f"the length of {what}"), what)
            else:
                raise self.fail(f"{what} is an array of the unknown type {inner}")
        else:
            raise self.fail(f"{what} has the unknown type {kind}")

    def peek_list(self) -> tuple[int, int]:
        """The element type and the length of the array that comes next."""
        before = self.at
        inner, count = self.number("I", "an array's type"), self.number("Q", "an array's length")
        self.at = before
        return inner, count

    def whole_numbers(self, inner: int, count: int, what: str) -> tuple[int, ...]:
        """An array of integers or truth values, at most `_MAX_LIST` long."""
        self.at += struct.calcsize("<IQ")
        code = _SCALARS[inner]
        data = self.take(count * struct.calcsize("<" + code), what)
        return tuple(int(value) for value in struct.unpack(f"<{count}{code}", data))


def inspect(path: Path, *, begins: bool = True) -> GgufInfo:
    """Check a GGUF's header against the file's size and say what it holds.

    Without `begins` it must be a later part of a model that is split (see gguf_parts.py), which says little
    but which tensors it holds.

    Raises ModelFileError naming the file, the fault and how to mend it.
    """
    if not path.exists():
        raise ModelFileError(f"{path}: no such file", "check the path, or leave --model out")
    if not path.is_file():
        raise ModelFileError(f"{path}: not a file", "name the .gguf file itself")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size < 24:
                head = file.read(4)
                reason = "is empty" if size == 0 else f"is cut off after {size} bytes"
                if head != _MAGIC and size >= 4:
                    reason = "is no GGUF"
                raise ModelFileError(f"{path}: {reason}", _DOWNLOAD)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _inspect(path, size, data, begins)
    except OSError as error:
        raise ModelFileError(
            f"{path}: can't be read: {error.strerror or error}", "check the file's permissions"
        ) from error


def check_kind(info: GgufInfo, *, speaks: bool) -> None:
    """Tell a model from other sound GGUFs, and with `speaks` one that writes from one that only reads.

    Raises ModelFileError naming the file, what it is, and what to name instead.
    """
    kind = info.texts.get("general.type") or "model"
    kind = "mmproj" if info.architecture == "clip" else kind
    if kind != "model":
        raise ModelFileError(
            f"{info.path}: is no model but {_KINDS.get(kind, f'of the type {kind!r}')}",
            "name the model that it belongs to",
        )
    pooled = info.numbers.get(f"{info.architecture}.pooling_type", 0) > 0
    both_ways = info.numbers.get(f"{info.architecture}.attention.causal", 1) == 0
    if speaks and (pooled or both_ways):
        raise ModelFileError(
            f"{info.path}: reads whole texts, as embedding models do, and writes none",
            "name a chat or text model; for vectors this one goes into models.embedding_model",
        )


def fingerprint(path: Path) -> str:
    """Eight hexadecimal digits that tell one model file from another, without reading it all.

    BLAKE2b over its size and its first and last 256 KiB, which hold the metadata and the ends of the
    weights. Raises OSError when it can't be read.
    """
    digest = hashlib.blake2b(digest_size=4)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        digest.update(size.to_bytes(8, "little"))
        for start in (0, max(0, size - _SAMPLE)):
            file.seek(start)
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def _inspect(path: Path, size: int, data: mmap.mmap, begins: bool) -> GgufInfo:
    reader = _Reader(path, data)
    magic = reader.take(4, "the magic")
    if magic != _MAGIC:
        raise reader.fail(
            f"is no GGUF: it begins with {magic!r}",
            "convert the model to GGUF with llama.cpp's convert_hf_to_gguf.py",
        )
    version = reader.number("I", "the version")
    if version not in _VERSIONS:
        swapped = version.to_bytes(4, "little") in (v.to_bytes(4, "big") for v in _VERSIONS)
        raise reader.fail(
            "is big-endian" if swapped else f"has GGUF version {version}; 2 and 3 are known",
            "convert the model again with a current llama.cpp",
        )
    tensors = reader.number("Q", "the tensor count")
    pairs = reader.number("Q", "the metadata count")
    if tensors > _MAX_TENSORS:
        raise reader.fail(f"claims {tensors} tensors")
    if not 0 < pairs <= _MAX_PAIRS:
        raise reader.fail(f"claims {pairs} metadata entries")
    texts: dict[str, str] = {}
    numbers: dict[str, int] = {}
    lists: dict[str, tuple[int, ...]] = {}
    tokens = 0
    for _ in range(pairs):
        key = reader.text(_MAX_KEY, "a metadata key")
        kind = reader.number("I", f"the type of {key!r}")
        if kind == _STRING and key.startswith(("general.", "adapter.")):
            texts[key] = reader.text(1 << 20, repr(key))
        elif kind in _SCALARS:
            numbers[key] = reader.number(_SCALARS[kind], repr(key))
        elif kind == _ARRAY:
            inner, count = reader.peek_list()
            if key == "tokenizer.ggml.tokens":
                tokens = count
            if inner in _SCALARS and inner not in _FLOATS and count <= _MAX_LIST:
                lists[key] = reader.whole_numbers(inner, count, repr(key))
            else:
                reader.skip_value(kind, repr(key))
        else:
            reader.skip_value(kind, repr(key))
    part, of = numbers.get("split.no", 0), numbers.get("split.count", 1)
    # The first part of a model that is split may hold the metadata alone.
    if tensors == 0 and of < 2:
        raise reader.fail("claims 0 tensors")
    if begins and part > 0:
        raise reader.fail(
            f"is part {part + 1} of a model that was split into {of}",
            "name its first part, and keep all of them in one folder",
        )
    if not begins and part == 0:
        raise reader.fail("is no later part of a model that was split")
    ends: list[tuple[int, str]] = []
    offsets: dict[str, int] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    parameters = 0
    for _ in range(tensors):
        name = reader.text(_MAX_KEY, "a tensor's name")
        rank = reader.number("I", f"the rank of {name!r}")
        if rank > 4:
            raise reader.fail(f"tensor {name!r} claims {rank} dimensions")
        dims = tuple(reader.number("Q", f"the shape of {name!r}") for _ in range(rank))
        kind = reader.number("I", f"the type of {name!r}")
        offset = reader.number("Q", f"the offset of {name!r}")
        offsets[name], shapes[name] = offset, dims
        parameters += math.prod(dims)
        block = _BLOCKS.get(kind)
        if block is not None:
            ends.append((offset + math.prod(dims) // block[0] * block[1], name))
    alignment = numbers.get("general.alignment", 32)
    if alignment <= 0 or alignment & (alignment - 1):
        raise reader.fail(f"general.alignment is {alignment}, which is no power of two")
    start = -(-reader.at // alignment) * alignment
    for end, name in ends:
        if start + end > size:
            raise reader.fail(
                f"is cut off: tensor {name!r} ends at byte {start + end}, the file at {size}"
            )
    architecture = texts.get("general.architecture", "")
    if not architecture and begins:
        raise reader.fail(
            "says no architecture", "convert the model again with a current llama.cpp"
        )
    return GgufInfo(
        path=str(path),
        size=size,
        version=version,
        architecture=architecture,
        name=texts.get("general.name") or path.stem,
        model_version=texts.get("general.version", ""),
        tensors=tensors,
        context_length=numbers.get(f"{architecture}.context_length", 0),
        tokens=tokens,
        parameters=parameters,
        numbers=numbers,
        lists=lists,
        texts=texts,
        tensor_bytes=_between(offsets, size - start),
        tensor_shapes=shapes,
    )


def _between(offsets: Mapping[str, int], end: int) -> dict[str, int]:
    """Bytes from each tensor's offset to the next one's: right for any type, padding included."""
    ordered = sorted(offsets, key=lambda name: offsets[name])
    edges = [*(min(offsets[name], end) for name in ordered), end]
    return {name: edges[n + 1] - edges[n] for n, name in enumerate(ordered)}
