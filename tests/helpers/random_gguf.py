"""Makes small llama-architecture GGUFs with random weights: right for protocol tests, never for quality."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import gguf
import numpy as np
from numpy.typing import NDArray

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGED_WORDS = [
    "the", "and", "you", "are", "wolf", "king", "say", "Say", "What", "Brew", "inn", "on", "of",
    '{"', '":', '",', "action", "target", "reason",
]  # fmt: skip


def byte_letters() -> list[str]:
    """GPT-2's printable stand-in for each of the 256 bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters: list[str] = []
    extra = 0
    for byte in range(256):
        if byte in kept:
            letters.append(chr(byte))
        else:
            letters.append(chr(256 + extra))
            extra += 1
    return letters


def write_random_gguf(
    path: Path,
    *,
    seed: int = 0,
    vocab: Literal["bpe", "spm"] = "bpe",
    architecture: str = "llama",
    width: int = 64,
    layers: int = 2,
    heads: int = 4,
    hidden: int = 128,
    context: int = 2048,
    template: str | None = CHATML,
    sharpness: float = 6.0,
    end_bias: float = 0.0,
    sliding: int = 0,
    says: tuple[str, ...] = (),
) -> Path:
    """Write a GGUF of a few hundred kilobytes; the same arguments give the same bytes.

    `sharpness` scales the output rows, so that greedy choices are far from ties. The models rarely
    end by themselves unless `end_bias` raises the row of the end token. With `sliding` it is an OLMo 2,
    three of four layers of which look back no further than that. `says` are pairs of tokens ("ab" as
    "a", "b"), the second of which always follows the first; those missing from a BPE vocabulary are added.
    """
    architecture = "olmo2" if sliding else architecture
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("random")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    if sliding:
        writer.add_sliding_window(sliding)
    tokens = _add_bpe(writer, says) if vocab == "bpe" else _add_spm(writer)
    count = len(tokens)
    writer.add_vocab_size(count)
    if template is not None:
        writer.add_chat_template(template)

    def add(name: str, *shape: int, scale: float | None = None) -> NDArray[np.float32]:
        spread = scale if scale is not None else shape[-1] ** -0.5
        tensor = (rng.standard_normal(shape) * spread).astype(np.float32)
        writer.add_tensor(name, tensor)
        return tensor

    embedded = add("token_embd.weight", count, width, scale=1.0)
    for layer in range(layers):
        prefix = f"blk.{layer}"
        norms = ("attn_q_norm", "attn_k_norm", "post_attention_norm", "post_ffw_norm")
        for norm in norms if sliding else ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{prefix}.{norm}.weight", np.ones(width, dtype=np.float32))
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            # Where the last token alone is to decide, the layers add nothing to it.
            silent = 0.0 if says and part == "attn_output" else None
            add(f"{prefix}.{part}.weight", width, width, scale=silent)
        add(f"{prefix}.ffn_gate.weight", hidden, width)
        add(f"{prefix}.ffn_up.weight", hidden, width)
        add(f"{prefix}.ffn_down.weight", width, hidden, scale=0.0 if says else None)
    writer.add_tensor("output_norm.weight", np.ones(width, dtype=np.float32))
    output = (rng.standard_normal((count, width)) * sharpness * width**-0.5).astype(np.float32)
    if end_bias:
        output[2] *= end_bias
    for before, after in zip(says[::2], says[1::2], strict=True):
        output[tokens.index(after)] += 4 * embedded[tokens.index(before)]
    writer.add_tensor("output.weight", output)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_bpe(writer: gguf.GGUFWriter, more: tuple[str, ...] = ()) -> list[str]:
    letters = byte_letters()
    tokens = list(SPECIALS) + letters
    merges: list[str] = []
    for word in MERGED_WORDS:
        for lead in ("", "Ġ"):
            made = (lead or word[0]) if lead else word[0]
            rest = word if lead else word[1:]
            for letter in rest:
                merge = f"{made} {letter}"
                made += letter
                if merge not in merges:
                    merges.append(merge)
                if made not in tokens:
                    tokens.append(made)
    types = [gguf.TokenType.CONTROL] * len(SPECIALS)
    types += [gguf.TokenType.NORMAL] * (len(tokens) - len(SPECIALS))
    added = [token for token in dict.fromkeys(more) if token not in tokens]
    tokens += added
    types += [gguf.TokenType.USER_DEFINED] * len(added)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_merges(merges)
    writer.add_token_types(types)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    return tokens


def _add_spm(writer: gguf.GGUFWriter) -> list[str]:
    tokens = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    types = [
        gguf.TokenType.UNKNOWN,
        gguf.TokenType.CONTROL,
        gguf.TokenType.CONTROL,
        gguf.TokenType.CONTROL,
        gguf.TokenType.USER_DEFINED,
    ]
    scores = [0.0] * len(tokens)
    for byte in range(256):
        tokens.append(f"<0x{byte:02X}>")
        types.append(gguf.TokenType.BYTE)
        scores.append(0.0)
    pieces = [chr(code) for code in range(33, 127)] + ["▁", "é", "ü"]
    pieces += [lead + word for word in MERGED_WORDS if word.isalpha() for lead in ("", "▁")]
    pieces += ["th", "yo", "ar", "wo", "ol", "ki", "ng", "▁th", "▁yo", "▁a", "▁wo"]
    for rank, piece in enumerate(dict.fromkeys(pieces)):
        tokens.append(piece)
        types.append(gguf.TokenType.NORMAL)
        scores.append(-1000.0 + 10.0 * len(piece) - rank * 0.001)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    return tokens


def write_random_bert(
    path: Path,
    *,
    seed: int = 0,
    pooling: Literal["mean", "cls", "last", "rank", "none", "unsaid"] = "mean",
    width: int = 64,
    layers: int = 2,
    heads: int = 4,
    hidden: int = 128,
    context: int = 64,
) -> Path:
    """Write a BERT-architecture GGUF with random weights and a vocabulary of letters and some words."""
    rng = np.random.default_rng(seed)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    types = [gguf.TokenType.CONTROL] * len(tokens)
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    for piece in (*letters, "the", "wolf", "wolves", "sheep", "mill"):
        tokens += ["▁" + piece, piece]
    types += [gguf.TokenType.NORMAL] * (len(tokens) - len(types))
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("random bert")
    writer.add_block_count(layers)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    if pooling != "unsaid":
        writer.add_pooling_type(gguf.PoolingType[pooling.upper()])
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)

    def matrix(name: str, *shape: int, scale: float = 1.0) -> None:
        values = rng.standard_normal(shape) * scale
        writer.add_tensor(f"{name}.weight", values.astype(np.float32))

    def bias(name: str, size: int) -> None:
        writer.add_tensor(f"{name}.bias", (rng.standard_normal(size) * 0.1).astype(np.float32))

    def norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(width, dtype=np.float32))
        bias(name, width)

    matrix("token_embd", len(tokens), width)
    matrix("position_embd", context, width, scale=0.3)
    matrix("token_types", 2, width, scale=0.1)
    norm("token_embd_norm")
    for layer in range(layers):
        block = f"blk.{layer}"
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"{block}.{part}", width, width, scale=2.0 * width**-0.5)
            bias(f"{block}.{part}", width)
        norm(f"{block}.attn_output_norm")
        matrix(f"{block}.ffn_up", hidden, width, scale=width**-0.5)
        bias(f"{block}.ffn_up", hidden)
        matrix(f"{block}.ffn_down", width, hidden, scale=hidden**-0.5)
        bias(f"{block}.ffn_down", width)
        norm(f"{block}.layer_output_norm")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_split(
    source: Path, stem: Path, *, tensors: int = 8, bare_first: bool = False
) -> list[Path]:
    """Split a GGUF into parts of so many tensors, as gguf-split does; with `bare_first` the first has none."""
    reader = gguf.GGUFReader(source)
    architecture = reader.get_field("general.architecture")
    assert architecture is not None
    writer = gguf.GGUFWriter(
        stem,
        architecture.contents(),
        split_max_tensors=tensors,
        small_first_shard=bare_first,
    )
    for field in reader.fields.values():
        if field.name != "general.architecture" and not field.name.startswith("GGUF."):
            outer = field.types[0]
            inner = field.types[-1] if outer == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), outer, sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(stem.parent.glob(f"{stem.stem}-*-of-*.gguf"))
