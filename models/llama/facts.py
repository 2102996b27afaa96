"""What a GGUF's header tells about the memory that running the model takes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from models.errors import ModelFileError
from models.llama.gguf_file import GgufInfo, check_kind
from models.llama.gguf_parts import headers

MAX_LAYERS = 512
"""llama.cpp's own limit (LLAMA_MAX_LAYERS)."""
_LAYER = re.compile(r"^blk\.(\d+)\.")
_RECURRENT = ("mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7")
_FLASHLESS = ("grok",)
# llama.h's enum llama_ftype.
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
    30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 38: "MXFP4",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as memory sees it; all sizes in bytes.

    Of each layer: `layer_bytes` its weights, `kv_values` how many values it keeps per token (keys and
    values: kv_heads · (key_length + value_length); 0 in a purely recurrent model), `state_bytes` (the
    same for every layer) what it keeps per sequence whatever the length. `input_bytes` is the token
    embedding, which stays in RAM; `output_bytes` the output layer and whatever belongs to no layer.
    `largest_tensor` leaves the token embedding out. `widths` are the embedding's, the feed-forward
    part's and the query's: what a token takes while it is computed. `head_lengths` are (key, value).
    """

    name: str
    architecture: str
    quantisation: str
    file_bytes: int
    parameters: int
    vocabulary: int
    context_length: int
    heads: int
    head_lengths: tuple[int, int]
    widths: tuple[int, int, int]
    layer_bytes: tuple[int, ...]
    kv_values: tuple[int, ...]
    state_bytes: int
    input_bytes: int
    output_bytes: int
    largest_tensor: int

    @property
    def layers(self) -> int:
        """How many repeating layers there are."""
        return len(self.layer_bytes)

    @property
    def recurrent(self) -> bool:
        """Whether nothing is kept per token: then the context costs nothing, each sequence does."""
        return not any(self.kv_values)

    @property
    def quantisable(self) -> bool:
        """Whether the KV memory can be q8_0: blocks of 32 must divide a head, with flash attention."""
        whole = all(length > 0 and length % 32 == 0 for length in self.head_lengths)
        return whole and not self.recurrent and self.architecture not in _FLASHLESS

    @property
    def flash(self) -> bool:
        """Whether flash attention may be counted on: heads of a shape that every backend knows."""
        key, value = self.head_lengths
        usual = key == value and key in (64, 80, 96, 112, 128, 256)
        return usual and self.architecture not in _FLASHLESS

    @property
    def bits(self) -> float:
        """Bits of the file per parameter."""
        return self.file_bytes * 8 / max(1, self.parameters)


def read(path: Path) -> ModelFacts:
    """The facts of a GGUF that speaks, all parts of it where it is split.

    Raises ModelFileError when a part is missing, damaged, or claims what no model has, and when it
    is no model that speaks.
    """
    infos = headers(path)
    check_kind(infos[0], speaks=True)
    return _facts(path, infos)


def _facts(path: Path, infos: list[GgufInfo]) -> ModelFacts:
    head = infos[0]
    tensors = {name: size for info in infos for name, size in info.tensor_bytes.items()}
    told = _Told(head)
    by_layer: Counter[int] = Counter()
    outside: Counter[str] = Counter()
    for name, size in tensors.items():
        match = _LAYER.match(name)
        if match:
            by_layer[int(match[1])] += size
        else:
            outside[name] += size
    layers = max(told.one("block_count"), max(by_layer, default=-1) + 1, 1)
    if layers > MAX_LAYERS:
        raise ModelFileError(
            f"{path}: claims {layers} layers, more than {MAX_LAYERS}",
            "download or export the file again and compare its size and checksum",
        )
    width = told.one("embedding_length")
    heads = told.most("attention.head_count")
    usual = width // heads if heads else 0
    lengths = (
        max(told.one("attention.key_length", usual), told.one("attention.key_length_swa")),
        max(told.one("attention.value_length", usual), told.one("attention.value_length_swa")),
    )
    if head.architecture in _RECURRENT:
        kv_heads = [0] * layers
    else:
        kv_heads = told.each("attention.head_count_kv", layers, told.most("attention.head_count"))
    embedding = outside.pop("token_embd.weight", 0)
    rest = sum(outside.values())
    # Tied embeddings: the output is then a second copy of the input.
    output = rest if "output.weight" in outside else rest + embedding
    inner = [size for name, size in tensors.items() if name != "token_embd.weight"]
    experts = told.most("expert_used_count") * told.most("expert_feed_forward_length")
    return ModelFacts(
        name=head.name,
        architecture=head.architecture,
        quantisation=_FILE_TYPES.get(head.numbers.get("general.file_type", -1), "unknown"),
        file_bytes=sum(info.size for info in infos),
        parameters=sum(info.parameters for info in infos),
        vocabulary=max(head.tokens, told.one("vocab_size")),
        context_length=head.context_length,
        heads=heads,
        head_lengths=lengths,
        widths=(width, max(told.most("feed_forward_length"), experts), heads * lengths[0]),
        layer_bytes=tuple(by_layer[layer] for layer in range(layers)),
        kv_values=tuple(count * sum(lengths) for count in kv_heads),
        state_bytes=_state_bytes(told, width),
        input_bytes=embedding,
        output_bytes=output,
        largest_tensor=max([*inner, embedding if output > rest else 0], default=0),
    )


def _state_bytes(told: _Told, width: int) -> int:
    """Bytes a recurrent layer keeps per sequence, in 32 bits: llama.cpp's n_embd_r + n_embd_s.

    Counted for every layer of a hybrid, though only some are recurrent.
    """
    if head := told.one("wkv.head_size"):
        return 4 * (width * max(2, told.one("token_shift_count")) + width * head)
    inner, state = told.one("ssm.inner_size"), told.one("ssm.state_size")
    taps = max(0, told.one("ssm.conv_kernel") - 1)
    values = taps * (inner + 2 * told.one("ssm.group_count") * state) + state * inner
    values += width * max(0, told.one("shortconv.l_cache") - 1)
    if head := told.one("kda.head_dim"):
        values += told.most("attention.head_count") * head * (head + 3 * max(3, taps))
    return 4 * values


class _Told:
    """The architecture's own keys of a header; nothing negative, 0 for what is absent."""

    def __init__(self, info: GgufInfo) -> None:
        self._info = info

    def one(self, key: str, otherwise: int = 0) -> int:
        """A number."""
        return max(0, self._info.numbers.get(f"{self._info.architecture}.{key}", otherwise))

    def most(self, key: str) -> int:
        """A number, or the largest of a list with one for each layer."""
        values = self._info.lists.get(f"{self._info.architecture}.{key}")
        return max([0, *values]) if values else self.one(key)

    def each(self, key: str, layers: int, otherwise: int) -> list[int]:
        """A number for each layer; a list that is too short goes on with its largest."""
        values = self._info.lists.get(f"{self._info.architecture}.{key}")
        if not values:
            return [self.one(key, otherwise)] * layers
        known = [max(0, value) for value in values[:layers]]
        return known + [max(known)] * (layers - len(known))
