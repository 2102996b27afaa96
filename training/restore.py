"""A shipped model back in PyTorch: the network and the tokenizer that a GGUF of ours holds."""

from __future__ import annotations

import gguf
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from training.export import tensor_name
from training.network import House, Shape
from training.tokenizer import SPECIAL


def tokenizer_of(reader: gguf.GGUFReader) -> Tokenizer:
    """The byte-level BPE that `export` wrote into a GGUF."""
    words: list[str] = reader.fields["tokenizer.ggml.tokens"].contents()
    merges: list[str] = reader.fields["tokenizer.ggml.merges"].contents()
    pairs = [tuple(merge.split(" ")) for merge in merges]
    tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in SPECIAL])
    return tokenizer


def network_of(reader: gguf.GGUFReader) -> House:
    """The network that `export` wrote into a GGUF, its Q8_0 matrices as float32."""

    def number(key: str) -> int:
        return int(reader.fields[f"llama.{key}"].contents())

    model = House(
        Shape(
            vocabulary=number("vocab_size"),
            width=number("embedding_length"),
            layers=number("block_count"),
            heads=number("attention.head_count"),
            kv_heads=number("attention.head_count_kv"),
            hidden=number("feed_forward_length"),
            context=number("context_length"),
        )
    )
    stored = {tensor.name: tensor for tensor in reader.tensors}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            tensor = stored[tensor_name(name)]
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            parameter.copy_(torch.from_numpy(values.copy()).view_as(parameter))
    return model
