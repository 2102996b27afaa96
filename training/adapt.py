"""Train a species' LoRA adapter: `python -m training.adapt --kind wolf --out models/house/adapters`.

The base is the shipped GGUF itself, as it was quantised, so that the adapter corrects what is really
run. The adapter's rank-`RANK` updates (Hu et al. 2021) sit on every matrix of every block; the
embedding stays. The corpus is the house model's, spoken by one kind of people only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from models import house
from training.build import LONGEST
from training.corpus.people import KINDS
from training.corpus.sample import samples
from training.export import tensor_name
from training.network import House
from training.restore import network_of, tokenizer_of
from training.tokenizer import Tokens, encode
from training.train import Batch, batches, perplexity

RANK = 8
ALPHA = 16.0
PEAK = 2e-3
STEPS = 300
SAMPLES, HELD_OUT = 4000, 200


class Low(nn.Module):
    """A frozen matrix with a trainable update of low rank, zero at first."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a = nn.Parameter(torch.empty(RANK, base.in_features))
        self.b = nn.Parameter(torch.zeros(base.out_features, RANK))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + (x @ self.a.T @ self.b.T) * (ALPHA / RANK)
        return out


def adapted(model: House) -> dict[str, Low]:
    """Put an update on every matrix of every block; returns them by their GGUF names."""
    model.requires_grad_(False)
    updates: dict[str, Low] = {}
    for number, block in enumerate(model.blocks):
        for part, layer in list(block.named_children()):
            if isinstance(layer, nn.Linear):
                updates[tensor_name(f"blocks.{number}.{part}.weight")] = low = Low(layer)
                setattr(block, part, low)
    return updates


def tokens_of(
    tokenizer: Tokenizer, kind: str, seed: int, count: int, *, validation: bool
) -> Tokens:
    """`count` conversations and decisions of one kind of people."""
    stream = samples(seed, validation=validation, kind=kind)
    return encode(list(itertools.islice(stream, count)), tokenizer, LONGEST)


def train(
    model: House, updates: Mapping[str, Low], tokens: Tokens, steps: int, seed: int, peak: float
) -> None:
    """Fit the updates to the answers in `tokens`, at a rate that rises to `peak` and falls to 0."""
    chosen = [p for low in updates.values() for p in (low.a, low.b)]
    tuned = torch.optim.AdamW(chosen, lr=peak, betas=(0.9, 0.95), weight_decay=0.0)
    stream = batches(tokens, seed)
    began = time.monotonic()
    for step in range(steps):
        for group in tuned.param_groups:
            group["lr"] = peak * min(1.0, (step + 1) / 20) * (1 - step / steps)
        batch: Batch = next(stream)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden, _ = model(batch.ids)
            loss = model.losses(hidden, batch.ids, batch.answers).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(chosen, 1.0)
        tuned.step()
        tuned.zero_grad(set_to_none=True)
        if (step + 1) % 20 == 0:
            pace = (time.monotonic() - began) / (step + 1)
            print(
                f"step {step + 1}/{steps} answers {float(loss.detach()):.3f} {pace:.2f} s each",
                flush=True,
            )


def export(updates: Mapping[str, Low], kind: str, out: Path) -> None:
    """Write the updates as a LoRA GGUF for llama.cpp, float16."""
    writer = gguf.GGUFWriter(str(out), "llama")
    writer.add_type("adapter")
    writer.add_name(f"{house.NAME} {kind}")
    writer.add_version(str(house.VERSION))
    writer.add_license("MIT")
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, house.NAME)
    writer.add_base_model_version(0, str(house.VERSION))
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", ALPHA)
    for name, low in updates.items():
        writer.add_tensor(f"{name}.lora_a", low.a.detach().numpy().astype(np.float16))
        writer.add_tensor(f"{name}.lora_b", low.b.detach().numpy().astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    """Train and export one adapter; writes its held-out perplexities beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--model", type=Path, default=house.path())
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--peak", type=float, default=PEAK, help="the highest learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    reader = gguf.GGUFReader(args.model)
    tokenizer, model = tokenizer_of(reader), network_of(reader)
    held_out = tokens_of(tokenizer, args.kind, args.seed, HELD_OUT, validation=True)
    before = perplexity(model, held_out)
    updates = adapted(model)
    model.compile(dynamic=True)
    read = tokens_of(tokenizer, args.kind, args.seed, SAMPLES, validation=False)
    train(model, updates, read, args.steps, args.seed, args.peak)
    after = perplexity(model, held_out)
    export(updates, args.kind, args.out / f"{args.kind}.gguf")
    facts = {"kind": args.kind, "rank": RANK, "steps": args.steps, "seed": args.seed, "peak": args.peak,
             "held_out_perplexity_without": before, "held_out_perplexity_with": after}  # fmt: skip
    (args.out / f"{args.kind}.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(f"{args.kind}: held-out perplexity {before:.3f} -> {after:.3f}")


if __name__ == "__main__":
    main()
