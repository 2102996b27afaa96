"""Whether a LoRA adapter's file fits a model's, told from the headers of both, without llama.cpp.

The checks are those of llama.cpp's llama_adapter_lora_init (src/llama-adapter.cpp), in its order, so
that what passes here is loaded there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.errors import ModelFileError
from models.llama.gguf_file import GgufInfo, inspect
from models.llama.gguf_parts import headers

_A, _B, _NORM = ".lora_a", ".lora_b", "_norm.weight"
_EMBEDDING = "token_embd.weight"
_TRAIN = "train or convert an adapter for this very model, as GGUF"
_CONVERT = "convert the adapter with llama.cpp's convert_lora_to_gguf.py"
_EXPORT = "export or copy the adapter again, and compare its size and checksum"

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BaseModel:
    """What an adapter must fit: architecture, and the shape of each tensor (ggml's order)."""

    name: str
    architecture: str
    shapes: Mapping[str, Shape]


def base(path: Path) -> BaseModel:
    """A model as adapters see it, all parts of it. Raises ModelFileError when it can't be read."""
    infos = headers(path)
    shapes = {name: shape for info in infos for name, shape in info.tensor_shapes.items()}
    return BaseModel(path.name, infos[0].architecture, shapes)


def check(path: Path, model: BaseModel) -> int:
    """How many of the model's tensors an adapter changes.

    Raises ModelFileError, which names the file, what is wrong with it and the mend, where llama.cpp
    would refuse it.
    """
    try:
        info = inspect(path)
    except ModelFileError as error:
        raise ModelFileError(error.message, _EXPORT) from error
    for key, wanted in (("general.type", "adapter"), ("adapter.type", "lora")):
        if info.texts.get(key, "") != wanted:
            raise ModelFileError(
                f"{path}: is no LoRA adapter: its {key} is {info.texts.get(key, '')!r}, not {wanted!r}",
                _CONVERT,
            )
    if info.architecture != model.architecture:
        raise ModelFileError(
            f"{path}: is for the architecture {info.architecture}, and {model.name} is of "
            f"{model.architecture}",
            _TRAIN,
        )
    pairs = _pairs(path, info)
    for name, (a, b) in sorted(pairs.items()):
        fault = _unlike(name, a, b, model)
        if fault:
            raise ModelFileError(f"{path}: {fault}", _TRAIN)
    return len(pairs)


def _pairs(path: Path, info: GgufInfo) -> dict[str, tuple[Shape, Shape]]:
    halves: dict[str, dict[str, Shape]] = {}
    for name, shape in info.tensor_shapes.items():
        if name.endswith((_A, _B)):
            stem = name[: -len(_A)]
            halves.setdefault(stem, {})[name[-len(_A) :]] = shape
        elif not name.endswith(_NORM):
            raise ModelFileError(
                f"{path}: the tensor {name!r} is no part of a LoRA adapter", _CONVERT
            )
    for stem, found in sorted(halves.items()):
        if len(found) < 2:
            raise ModelFileError(
                f"{path}: {stem!r} has only {next(iter(found))} of its two", _CONVERT
            )
    return {stem: (_square(found[_A]), _square(found[_B])) for stem, found in halves.items()}


def _unlike(name: str, a: Shape, b: Shape, model: BaseModel) -> str:
    """Why a pair does not fit the tensor it is for; "" where it does."""
    if name not in model.shapes:
        return f"{model.name} has no tensor {name!r}"
    width, height, *_ = _square(model.shapes[name])
    # An embedding is looked up, not multiplied: its halves change places.
    embeds = name.endswith(_EMBEDDING)
    fits = (b[1], a[1]) if embeds else (a[0], b[1])
    if fits != (width, height):
        return (
            f"{name!r} is for {fits[0]} by {fits[1]} values, and {model.name} has "
            f"{width} by {height}"
        )
    if not embeds and a[1] != b[0]:
        return f"the halves of {name!r} have the ranks {a[1]} and {b[0]}"
    return ""


def _square(shape: Shape) -> Shape:
    """At least two dimensions; ggml takes 1 for those that are not there."""
    return shape + (1,) * (2 - len(shape))
