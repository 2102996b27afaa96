"""Train the house model on the CPU: `python -m training.train --data DIR --out DIR`."""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo
from numpy.typing import NDArray
from torch import Tensor

from training.corpus.talk import PLANS
from training.network import House, Shape, Tutor
from training.tokenizer import PROMPT_WEIGHT, Tokens

BATCH_TOKENS = 8192
POOL = 2048
WARM_UP = 20
PEAK = 3e-3
OPENING, OPENING_WEIGHT = 4, 2.0
"""An answer's first tokens, which choose what kind of answer it is, and their weight."""
TUTOR_WEIGHT = 0.25
"""Weight of the tutor's two questions beside the words of the answers."""
READ_SHARE = 0.1
"""Share of the read-only tokens that a step draws for its loss; their weight makes up for it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of like length, padded with 0: each array [rows, longest]. See `Tokens`."""

    ids: Tensor
    answers: Tensor
    facts: Tensor
    plans: Tensor
    told: Tensor

    @classmethod
    def of(cls, tokens: Tokens, rows: Sequence[int], device: str = "cpu") -> Batch:
        """The samples of those numbers, on a device by PyTorch's name of it."""
        spans = [slice(tokens.offsets[i], tokens.offsets[i + 1]) for i in rows]
        longest = max(span.stop - span.start for span in spans)

        def padded(values: NDArray[Any], kind: type) -> Tensor:
            page = np.zeros((len(spans), longest), kind)
            for row, span in enumerate(spans):
                page[row, : span.stop - span.start] = values[span]
            return torch.from_numpy(page).to(device)

        return cls(
            padded(tokens.ids, np.int64), padded(tokens.answers, np.bool_),
            padded(tokens.facts, np.int64), padded(tokens.plans, np.int64),
            padded(tokens.told, np.int64),
        )  # fmt: skip


def batches(tokens: Tokens, seed: int, device: str = "cpu") -> Iterator[Batch]:
    """Endless batches of about BATCH_TOKENS, samples of like length together."""
    rng = np.random.default_rng(seed)
    lengths = np.diff(tokens.offsets)
    while True:
        order = rng.permutation(len(lengths))
        for start in range(0, len(order), POOL):
            pool = order[start : start + POOL]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            groups: list[list[int]] = [[]]
            for index in pool:
                if (len(groups[-1]) + 1) * lengths[index] > BATCH_TOKENS:
                    groups.append([])
                groups[-1].append(int(index))
            for at in rng.permutation(len(groups)):
                if groups[at]:
                    yield Batch.of(tokens, groups[at], device)


def rate(step: int, steps: int, begun: int = 0) -> float:
    """The learning rate's share of its peak: a linear fall to 1 %, warmed up from step `begun`."""
    return max(0.01, min((step - begun + 1) / WARM_UP, 1.0) * (1 - step / steps))


def optimisers(model: House, tutor: Tutor) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the blocks' matrices, AdamW for the rest."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embedding" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embedding" in n]
    others += list(tutor.parameters())
    return [
        torch.optim.Muon(
            matrices, lr=PEAK, momentum=0.95, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, lr=PEAK, betas=(0.9, 0.95), weight_decay=0.0),
    ]


@dataclass(frozen=True, slots=True)
class Losses:
    """What a batch cost: the sum that is trained on, and means over answers, plans and facts."""

    total: Tensor
    answers: float
    plans: float
    facts: float


def loss_of(model: House, tutor: Tutor, batch: Batch) -> Losses:
    """The weighted loss of a batch."""
    read = (torch.rand(batch.ids.shape, device=batch.ids.device) < READ_SHARE) & (batch.ids != 0)
    wanted = batch.answers | read
    with torch.autocast(batch.ids.device.type, dtype=torch.bfloat16):
        hidden, half = model(batch.ids)
        each = model.losses(hidden, batch.ids, wanted)
        plan, fact = tutor(half, batch.plans, batch.told, batch.facts)
    mine = batch.answers[:, 1:][wanted[:, 1:]]
    weight = torch.where(mine, 1.0, PROMPT_WEIGHT / READ_SHARE)
    begun = batch.answers.clone()
    begun[:, OPENING:] &= ~batch.answers[:, :-OPENING]
    weight[begun[:, 1:][wanted[:, 1:]]] = OPENING_WEIGHT
    total = (each * weight).sum() / weight.sum()
    asked = [x.mean() if len(x) else x.new_zeros(()) for x in (plan, fact)]
    return Losses(
        total + TUTOR_WEIGHT * (asked[0] + asked[1]),
        float(each.detach()[mine].mean()),
        float(asked[0].detach()),
        float(asked[1].detach()),
    )


@torch.no_grad()
def perplexity(model: House, tokens: Tokens, device: str = "cpu") -> float:
    """Perplexity of the answers' tokens over all samples."""
    model.eval()
    total, count = 0.0, 0
    many = len(tokens.offsets) - 1
    for start in range(0, many, 16):
        batch = Batch.of(tokens, range(start, min(start + 16, many)), device)
        each = model.losses(model(batch.ids)[0], batch.ids, batch.answers)
        total, count = total + float(each.sum()), count + each.numel()
    model.train()
    return math.exp(total / count)


def main() -> None:
    """Train, or go on from the last checkpoint with `--resume`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000, help="the rate falls towards this one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--save-every", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    model = House(Shape()).to(args.device)
    tutor = Tutor(model.shape, len(PLANS)).to(args.device)
    tuned = optimisers(model, tutor)
    step, seen = 0, 0
    last = args.out / "last.pt"
    if args.resume:
        kept: dict[str, Any] = torch.load(last, weights_only=True, map_location=args.device)
        model.load_state_dict(kept["model"])
        tutor.load_state_dict(kept["tutor"])
        for each, state in zip(tuned, kept["tuned"], strict=True):
            each.load_state_dict(state)
        step, seen = kept["step"], kept["tokens"]
    train, valid = Tokens.read(args.data / "train.npz"), Tokens.read(args.data / "valid.npz")
    stream = batches(train, args.seed + step, args.device)
    began, begun, before = time.monotonic(), step, seen
    # Every block, with and without gradients, is a variant of one function.
    torch._dynamo.config.recompile_limit = 64
    model.compile(dynamic=True)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters, {len(train.ids)} tokens, the first step compiles", flush=True)
    while step < args.steps:
        batch = next(stream)
        for each in tuned:
            for group in each.param_groups:
                group["lr"] = PEAK * rate(step, args.steps, begun)
        losses = loss_of(model, tutor, batch)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *tutor.parameters()], 1.0)
        for each in tuned:
            each.step()
            each.zero_grad(set_to_none=True)
        step, seen = step + 1, seen + int((batch.ids != 0).sum())
        done = step == args.steps
        if step % 20 == 0:
            speed = (seen - before) / (time.monotonic() - began)
            print(
                f"step {step}/{args.steps} answers {losses.answers:.3f} plans {losses.plans:.3f} "
                f"facts {losses.facts:.3f} {speed:.0f} tokens/s",
                flush=True,
            )
        if step % args.save_every == 0 or done:
            page = {"model": model.state_dict(), "tutor": tutor.state_dict(), "step": step,
                    "tuned": [t.state_dict() for t in tuned], "tokens": seen,
                    "shape": asdict(model.shape)}  # fmt: skip
            torch.save(page, last.with_suffix(".part"))
            last.with_suffix(".part").replace(last)
        if step % 1000 == 0 or done:
            held = perplexity(model, valid, args.device)
            print(f"step {step} held-out perplexity {held:.3f}", flush=True)
            facts = {"steps": step, "tokens": seen, "notes": "", "perplexity": held,
                     "seed": args.seed, "parameters": parameters, "device": args.device}  # fmt: skip
            (args.out / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
