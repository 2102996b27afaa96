"""Train the house model on the CPU: `python -m training.train --data DIR --out DIR`."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.network import House, Shape
from training.tokenizer import PROMPT_WEIGHT, Tokens

BATCH_TOKENS = 8192
POOL = 2048
WARM_UP = 20
PEAK = 2e-3
OPENING, OPENING_WEIGHT = 4, 2.0
"""An answer's first tokens, which choose what kind of answer it is, and their weight."""
READ_SHARE = 0.1
"""Share of the read-only tokens that a step draws for its loss; their weight makes up for it."""


def batches(tokens: Tokens, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Endless batches of about BATCH_TOKENS, samples of like length together, padded with 0.

    Yields ids int64[rows, longest] and answers bool of that shape.
    """
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
                    yield _padded(tokens, groups[at])


def _padded(tokens: Tokens, rows: list[int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    spans = [(tokens.offsets[i], tokens.offsets[i + 1]) for i in rows]
    longest = max(int(b - a) for a, b in spans)
    ids = np.zeros((len(rows), longest), np.int64)
    answers = np.zeros((len(rows), longest), np.bool_)
    for row, (a, b) in enumerate(spans):
        ids[row, : b - a] = tokens.ids[a:b]
        answers[row, : b - a] = tokens.answers[a:b]
    return ids, answers


def rate(step: int, progress: float) -> float:
    """The learning rate's share of its peak: a warm-up by steps, a linear fall to 2 % by progress."""
    return max(0.02, min((step + 1) / WARM_UP, 1 - progress))


def optimisers(model: House) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the blocks' matrices, AdamW for the rest."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embedding" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embedding" in n]
    return [
        torch.optim.Muon(
            matrices, lr=PEAK, momentum=0.95, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, lr=PEAK, betas=(0.9, 0.95), weight_decay=0.0),
    ]


class Pace:
    """Tries one thread and two now and then, and keeps to what is faster on a shared machine."""

    EVERY, TRIAL = 80, 4

    def __init__(self, threads: int) -> None:
        self.options = (threads,) if threads else (1, 2)
        self.seen = dict.fromkeys(self.options, (0, 0.0))
        self.count = 0

    def before(self) -> None:
        """Set the threads of the step to come."""
        at = self.count % self.EVERY
        if at == 0:
            self.seen = dict.fromkeys(self.options, (0, 0.0))
        trial = at // self.TRIAL
        if trial < len(self.options):
            self.now = self.options[trial]
        else:
            self.now = max(self.options, key=lambda n: self.seen[n][0] / max(self.seen[n][1], 1e-9))
        torch.set_num_threads(self.now)

    def after(self, tokens: int, seconds: float) -> None:
        """Note what the step did."""
        had, took = self.seen[self.now]
        self.seen[self.now] = (had + tokens, took + seconds)
        self.count += 1


def loss_of(
    model: House, ids: NDArray[np.int64], answers: NDArray[np.bool_]
) -> tuple[Tensor, float]:
    """The weighted loss of a batch and the plain mean loss of its answers."""
    tokens = torch.from_numpy(ids)
    read = (torch.rand(tokens.shape) < READ_SHARE) & (tokens != 0)
    wanted = torch.from_numpy(answers) | read
    with torch.autocast("cpu", dtype=torch.bfloat16):
        each = model.losses(tokens, wanted)
    mine = torch.from_numpy(answers)[:, 1:][wanted[:, 1:]]
    weight = torch.where(mine, 1.0, PROMPT_WEIGHT / READ_SHARE)
    begun = answers.copy()
    begun[:, OPENING:] &= ~answers[:, :-OPENING]
    weight[torch.from_numpy(begun)[:, 1:][wanted[:, 1:]]] = OPENING_WEIGHT
    return (each * weight).sum() / weight.sum(), float(each.detach()[mine].mean())


@torch.no_grad()
def perplexity(model: House, tokens: Tokens) -> float:
    """Perplexity of the answers' tokens over all samples."""
    model.eval()
    total, count = 0.0, 0
    for start in range(0, len(tokens.offsets) - 1, 16):
        rows = list(range(start, min(start + 16, len(tokens.offsets) - 1)))
        ids, answers = _padded(tokens, rows)
        mine = torch.from_numpy(answers)
        each = model.losses(torch.from_numpy(ids), mine)
        total, count = total + float(each.sum()), count + each.numel()
    model.train()
    return math.exp(total / count)


def main() -> None:
    """Train, or go on from the last checkpoint with `--resume`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--minutes", type=float, help="end by the clock instead of --steps")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="0: what is faster")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--save-every", type=int, default=100)
    args = parser.parse_args()
    pace = Pace(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    model = House(Shape())
    tuned = optimisers(model)
    step, seen = 0, 0
    last = args.out / "last.pt"
    if args.resume:
        kept: dict[str, Any] = torch.load(last, weights_only=True)
        model.load_state_dict(kept["model"])
        for each, state in zip(tuned, kept["tuned"], strict=True):
            each.load_state_dict(state)
        step, seen = kept["step"], kept["tokens"]
    train, valid = Tokens.read(args.data / "train.npz"), Tokens.read(args.data / "valid.npz")
    stream = batches(train, args.seed + step)
    began, before, first = time.monotonic(), seen, step
    progress = 0.0
    print(
        f"{sum(p.numel() for p in model.parameters())} parameters, {len(train.ids)} tokens",
        flush=True,
    )
    while progress < 1:
        ids, answers = next(stream)
        pace.before()
        started = time.monotonic()
        for each in tuned:
            for group in each.param_groups:
                group["lr"] = PEAK * rate(step - first, progress)
        loss, mine = loss_of(model, ids, answers)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for each in tuned:
            each.step()
            each.zero_grad(set_to_none=True)
        step, seen = step + 1, seen + int((ids != 0).sum())
        pace.after(ids.size, time.monotonic() - started)
        if args.minutes:
            progress = (time.monotonic() - began) / (60 * args.minutes)
        else:
            progress = (step - first) / max(1, args.steps - first)
        if step % 20 == 0:
            speed = (seen - before) / (time.monotonic() - began)
            print(
                f"step {step} loss {loss.item():.3f} answers {mine:.3f} {speed:.0f} tokens/s, {pace.now} threads",
                flush=True,
            )
        if step % args.save_every == 0 or progress >= 1:
            torch.save(
                {"model": model.state_dict(), "tuned": [t.state_dict() for t in tuned],
                 "step": step, "tokens": seen, "shape": asdict(model.shape)}, last,
            )  # fmt: skip
        if step % 1000 == 0 or progress >= 1:
            held = perplexity(model, valid)
            print(f"step {step} held-out perplexity {held:.3f}", flush=True)
            facts = {"steps": step, "tokens": seen, "notes": "", "perplexity": held, "seed": args.seed,
                     "parameters": sum(p.numel() for p in model.parameters())}  # fmt: skip
            (args.out / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
