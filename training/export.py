"""Write a checkpoint as a Q8_0 GGUF: `python -m training.export --checkpoint F --tokenizer F --out F`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray

from models.house import NAME, VERSION
from training.network import House, Shape
from training.tokenizer import CHAT_TEMPLATE, SPECIAL

_NAMES = {
    "attn_norm": "attn_norm",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "ffn_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


def restore(checkpoint: Path) -> tuple[House, dict[str, Any]]:
    """The network of a checkpoint and what else it holds."""
    kept: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    model = House(Shape(**kept["shape"]))
    model.load_state_dict(kept["model"])
    model.eval()
    return model, kept


def tensor_name(name: str) -> str:
    """The GGUF name of a parameter of `House`."""
    if name == "embedding.weight":
        return "token_embd.weight"
    if name == "norm.weight":
        return "output_norm.weight"
    _, layer, part, _ = name.split(".")
    return f"blk.{layer}.{_NAMES[part]}.weight"


def export(model: House, tokenizer: Path, out: Path) -> None:
    """Write the network and its tokenizer as one file; matrices as Q8_0, norms as float32."""
    shape = model.shape
    writer = gguf.GGUFWriter(str(out), "llama")
    writer.add_name(NAME)
    writer.add_version(str(VERSION))
    writer.add_license("MIT")
    writer.add_description(
        "A tiny model of village talk for Greenroom's demo, tests and benchmarks."
    )
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    _add_tokenizer(writer, tokenizer)
    for name, parameter in model.named_parameters():
        values: NDArray[np.float32] = parameter.detach().float().numpy()
        if values.ndim == 2:
            packed = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(tensor_name(name), packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(tensor_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Path) -> None:
    described = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]
    by_id = sorted(described["vocab"], key=described["vocab"].__getitem__)
    kinds = [
        gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in by_id
    ]
    merges = [m if isinstance(m, str) else " ".join(m) for m in described["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(by_id)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    end_of_text, _, end_of_turn = (described["vocab"][mark] for mark in SPECIAL)
    writer.add_bos_token_id(end_of_text)
    writer.add_eos_token_id(end_of_turn)
    writer.add_eot_token_id(end_of_turn)
    writer.add_pad_token_id(end_of_text)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def main() -> None:
    """Export one checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    model, _ = restore(args.checkpoint)
    export(model, args.tokenizer, args.out)
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
