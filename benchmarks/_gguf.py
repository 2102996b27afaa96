"""Makes the GGUFs that are measured: random weights of any size, and copies of a model that never end a reply.

Random weights are right for speed and for grammars; never for quality. The quantised blocks are
written from random bytes, so that a gigabyte takes seconds. The same arguments give the same bytes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_Q8_0 = gguf.GGMLQuantizationType.Q8_0
_BLOCK = 32
_BLOCK_BYTES = 34
# The spread of a whole number drawn evenly from -128 to 127.
_UNIFORM_STD = 73.9
_EMBEDDING_STD = 0.02
_ONSETS = "b c d f g h j k l m n p r s t v w y bl br ch cl dr fl gr sh sl st th tr"
_RHYMES = "a e i o u ai ar el en er ie in on or ou ow an et id um"

Block = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shape:
    """A llama-architecture network; every number is in the units of the GGUF's own keys."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    vocabulary: int
    tied: bool
    context: int = 4096

    @property
    def parameters(self) -> int:
        """Weights in all matrices; the norms' are left out."""
        kv = self.width * self.kv_heads // self.heads
        layer = 2 * self.width * (self.width + kv) + 3 * self.width * self.hidden
        return self.layers * layer + self.vocabulary * self.width * (1 if self.tied else 2)


def write_random(path: Path, name: str, shape: Shape, *, words: str = "", seed: int = 0) -> Path:
    """Write a Q8_0 GGUF with a byte-level BPE vocabulary in which `words` have tokens of their own.

    Tokens that are no plain ASCII text are never chosen: their output rows are zero, and the best
    of thousands of random rows is not. The file appears under its name only when it is whole.
    """
    tokens, merges = vocabulary(shape.vocabulary, words, seed)
    rng = np.random.default_rng(seed)
    kv = shape.width * shape.kv_heads // shape.heads
    silent = [at for at, token in enumerate(tokens) if not _is_plain(token)]
    part = path.with_suffix(".part")
    writer = gguf.GGUFWriter(part, "llama")
    writer.add_name(name)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_merges(merges)
    types = [gguf.TokenType.CONTROL] * len(SPECIALS)
    writer.add_token_types(types + [gguf.TokenType.NORMAL] * (len(tokens) - len(SPECIALS)))
    writer.add_eos_token_id(SPECIALS.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)
    matrices = list(_matrices(shape, kv))
    for tensor, rows, columns, _ in matrices:
        if rows:
            size = (rows, columns // _BLOCK * _BLOCK_BYTES)
            writer.add_tensor_info(tensor, size, np.dtype(np.uint8), size[0] * size[1], _Q8_0)
        else:
            writer.add_tensor_info(tensor, (columns,), np.dtype(np.float32), 4 * columns)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor, rows, columns, spread in matrices:
        if not rows:
            writer.write_tensor_data(np.ones(columns, dtype=np.float32))
            continue
        blocks = _random_blocks(rng, rows, columns, spread)
        if tensor == ("token_embd.weight" if shape.tied else "output.weight"):
            blocks[silent] = 0
        writer.write_tensor_data(blocks)
    writer.close()
    part.replace(path)
    return path


def write_endless(source: Path, path: Path) -> Path:
    """Copy a GGUF so that greedy replies never end by themselves and all sides write as much.

    The output rows of the control tokens and of the tokens that end a reply are zero in the copy:
    their logit is 0, below the best of a trained model's. Nothing else changes; where the model
    ties its output to its embeddings, the copy gets a matrix for the output.
    """
    reader = gguf.GGUFReader(source)
    part = path.with_suffix(".part")
    writer = gguf.GGUFWriter(part, _text(reader, gguf.Keys.General.ARCHITECTURE))
    for field in reader.fields.values():
        if field.name == gguf.Keys.General.ARCHITECTURE or field.name.startswith("GGUF."):
            continue
        outer = field.types[0]
        inner = field.types[-1] if outer == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), outer, sub_type=inner)
    tensors = {tensor.name: (tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    rows, kind = tensors.get("output.weight") or tensors["token_embd.weight"]
    rows = np.array(rows)
    # A row of zero bytes is a row of zeros in every block format whose scale comes with the block.
    rows[_ends(reader)] = 0
    tensors["output.weight"] = (rows, kind)
    for name, (data, kind) in tensors.items():
        writer.add_tensor_info(name, data.shape, data.dtype, data.nbytes, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for data, _ in tensors.values():
        writer.write_tensor_data(data)
    writer.close()
    part.replace(path)
    return path


def vocabulary(size: int, words: str, seed: int) -> tuple[list[str], list[str]]:
    """(tokens, merges) of a byte-level BPE of exactly `size` tokens: the words', then made-up ones.

    Raises ValueError when `size` does not even hold the bytes.
    """
    letters = byte_letters()
    tokens = [*SPECIALS, *letters]
    if size < len(tokens):
        raise ValueError(f"{size} tokens can't hold the {len(tokens)} that every vocabulary needs")
    known = set(tokens)
    merges: list[str] = []
    for word in _endless_words(words, seed):
        made = word[0]
        for letter in word[1:]:
            if len(tokens) == size:
                return tokens, merges
            if made + letter not in known:
                merges.append(f"{made} {letter}")
                known.add(made + letter)
                tokens.append(made + letter)
            made += letter
    return tokens, merges


def byte_letters() -> list[str]:
    """GPT-2's printable stand-in for each of the 256 bytes."""
    kept = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in kept else chr(next(spare)) for byte in range(256)]


def _endless_words(words: str, seed: int) -> Iterator[str]:
    lead = byte_letters()[ord(" ")]
    for word in dict.fromkeys(words.split()):
        yield lead + word
        yield word
    rng = random.Random(seed)
    onsets, rhymes = _ONSETS.split(), _RHYMES.split()
    while True:
        syllables = rng.randint(1, 4)
        word = "".join(rng.choice(onsets) + rng.choice(rhymes) for _ in range(syllables))
        yield lead + word
        if rng.random() < 0.3:
            yield word.capitalize()


def _is_plain(token: str) -> bool:
    return token not in SPECIALS and any(letter.isalpha() and letter < "{" for letter in token)


def _matrices(shape: Shape, kv: int) -> Iterator[tuple[str, int, int, float]]:
    """(name, rows, columns, spread) in the file's order; no rows: a vector of ones."""
    width, hidden = shape.width, shape.hidden
    inner = width**-0.5
    yield "token_embd.weight", shape.vocabulary, width, _EMBEDDING_STD
    for layer in range(shape.layers):
        at = f"blk.{layer}"
        yield f"{at}.attn_norm.weight", 0, width, 1.0
        yield f"{at}.attn_q.weight", width, width, inner
        yield f"{at}.attn_k.weight", kv, width, inner
        yield f"{at}.attn_v.weight", kv, width, inner
        yield f"{at}.attn_output.weight", width, width, inner
        yield f"{at}.ffn_norm.weight", 0, width, 1.0
        yield f"{at}.ffn_gate.weight", hidden, width, inner
        yield f"{at}.ffn_up.weight", hidden, width, inner
        yield f"{at}.ffn_down.weight", width, hidden, hidden**-0.5
    yield "output_norm.weight", 0, width, 1.0
    if not shape.tied:
        yield "output.weight", shape.vocabulary, width, inner


def _random_blocks(rng: np.random.Generator, rows: int, columns: int, spread: float) -> Block:
    """uint8 [rows, columns / 32 × 34]: Q8_0, a float16 scale and 32 signed bytes a block."""
    count = rows * columns // _BLOCK
    blocks = np.frombuffer(rng.bytes(count * _BLOCK_BYTES), dtype=np.uint8).copy()
    scale = np.array([spread / _UNIFORM_STD], dtype=np.float16).view(np.uint8)
    blocks = blocks.reshape(count, _BLOCK_BYTES)
    blocks[:, :2] = scale
    return blocks.reshape(rows, columns // _BLOCK * _BLOCK_BYTES)


def _ends(reader: gguf.GGUFReader) -> list[int]:
    special = (gguf.TokenType.CONTROL, gguf.TokenType.UNKNOWN)
    ends = {
        int(_value(reader, key))
        for key in (gguf.Keys.Tokenizer.EOS_ID, gguf.Keys.Tokenizer.EOT_ID)
        if reader.get_field(key) is not None
    }
    types = _value(reader, gguf.Keys.Tokenizer.TOKEN_TYPE)
    return sorted(ends | {at for at, kind in enumerate(types) if kind in special})


def _value(reader: gguf.GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    if field is None:
        raise ValueError(f"the GGUF has no {key}")
    return field.contents()


def _text(reader: gguf.GGUFReader, key: str) -> str:
    return str(_value(reader, key))
