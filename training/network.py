"""The house model itself: a small Llama in PyTorch, laid out as llama.cpp expects it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

STRETCHES = 4
"""Into how many stretches attention cuts its queries."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network; the defaults are those of the shipped model."""

    vocabulary: int = 4096
    width: int = 256
    layers: int = 5
    heads: int = 4
    kv_heads: int = 2
    hidden: int = 512
    context: int = 1024
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5

    @property
    def head(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads


class Norm(nn.Module):
    """Root-mean-square norm with a learned gain."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


def rotations(shape: Shape) -> tuple[Tensor, Tensor]:
    """Cosines and sines float32[context, head / 2] for neighbouring pairs, as Meta's Llama."""
    steps = torch.arange(0, shape.head, 2, dtype=torch.float32) / shape.head
    angles = torch.outer(torch.arange(shape.context).float(), shape.rope_base**-steps)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of x[batch, heads, time, head] by its position's angle."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


@torch.compiler.disable
def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention over [batch, heads, time, head], a stretch of queries at a time.

    On a CPU in bfloat16 this takes 60 % of the time of PyTorch's own causal attention, forward and
    back, since no stretch looks at keys that lie wholly behind it.
    """
    time = q.shape[2]
    stretch = -(-time // STRETCHES)
    late = torch.full((time, time), -3e4, dtype=q.dtype, device=q.device).triu(1)
    seen = []
    with torch.autocast(q.device.type, enabled=False):
        q = q * q.shape[3] ** -0.5
        for start in range(0, time, stretch):
            end = min(time, start + stretch)
            scores = q[:, :, start:end] @ k[:, :, :end].transpose(2, 3) + late[start:end, :end]
            seen.append(torch.softmax(scores, -1) @ v[:, :, :end])
    return torch.cat(seen, 2)


class Block(nn.Module):
    """Attention with grouped keys and a gated feed-forward layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kv = shape.kv_heads * shape.head
        self.attn_norm = Norm(shape.width, shape.norm_eps)
        self.q = nn.Linear(shape.width, shape.width, bias=False)
        self.k = nn.Linear(shape.width, kv, bias=False)
        self.v = nn.Linear(shape.width, kv, bias=False)
        self.o = nn.Linear(shape.width, shape.width, bias=False)
        self.ffn_norm = Norm(shape.width, shape.norm_eps)
        self.gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, time, width = x.shape
        shape = self.shape
        h = self.attn_norm(x)
        q = self.q(h).view(batch, time, shape.heads, shape.head).transpose(1, 2)
        k = self.k(h).view(batch, time, shape.kv_heads, shape.head).transpose(1, 2)
        v = self.v(h).view(batch, time, shape.kv_heads, shape.head).transpose(1, 2)
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        groups = shape.heads // shape.kv_heads
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        seen = attend(q, k, v)
        x = x + self.o(seen.transpose(1, 2).reshape(batch, time, width))
        h = self.ffn_norm(x)
        fed: Tensor = x + self.down(F.silu(self.gate(h)) * self.up(h))
        return fed


class House(nn.Module):
    """Tokens int64[batch, time] to hidden states; logits through the tied embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.width, shape.norm_eps)
        cos, sin = rotations(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                deep = name.endswith(("o.weight", "down.weight"))
                nn.init.normal_(weight, 0.0, 0.02 / (2 * shape.layers) ** 0.5 if deep else 0.02)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The last hidden states, normed, and those that the tutor looks at."""
        time = tokens.shape[1]
        x = self.embedding(tokens)
        cos, sin = self.cos[:time].to(x.dtype), self.sin[:time].to(x.dtype)  # type: ignore[index]
        half = x
        for index, block in enumerate(self.blocks):
            x = block(x, cos, sin)
            if index == len(self.blocks) - 3:
                half = x
        return self.norm(x), half

    def losses(self, hidden: Tensor, tokens: Tensor, wanted: Tensor) -> Tensor:
        """Cross-entropy float32[n] of the `n` targets, where `wanted` is bool[batch, time]."""
        logits = F.linear(hidden[:, :-1][wanted[:, 1:]], self.embedding.weight)
        return F.cross_entropy(logits.float(), tokens[:, 1:][wanted[:, 1:]], reduction="none")


class Tutor(nn.Module):
    """Asks the network, where an answer begins, what it is about to do; not part of the export.

    Which plan the answer follows, and which fact of the prompt it tells, are known to the grammar. To
    be asked for both outright, two layers before the end, teaches a small network to find the fact
    long before the words of its answers alone would.
    """

    def __init__(self, shape: Shape, plans: int, width: int = 64) -> None:
        super().__init__()
        self.plan = nn.Linear(shape.width, plans)
        self.asks = nn.Linear(shape.width, width, bias=False)
        self.offers = nn.Linear(shape.width, width, bias=False)
        self.nothing = nn.Parameter(torch.zeros(width))

    def forward(
        self, half: Tensor, plans: Tensor, told: Tensor, facts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Losses float32[n] of the plan and of the fact at the `n` places where `plans` is not 0.

        Shapes: half[batch, time, width]; plans, told and facts int64[batch, time], as in `Tokens`. A
        fact's score is the sum of the exponents of its tokens' scores: one fitting word is enough.
        """
        rows, places = torch.nonzero(plans, as_tuple=True)
        asked = half[rows, places]
        plan = F.cross_entropy(self.plan(asked).float(), plans[rows, places] - 1, reduction="none")
        asks = self.asks(asked) * self.nothing.shape[0] ** -0.5
        each = torch.einsum("nw,ntw->nt", asks, self.offers(half)[rows]).float()
        none, numbers = (asks @ self.nothing).float(), facts[rows]
        scores = [
            each.masked_fill(numbers != number, -1e4).logsumexp(1)
            for number in range(1, int(facts.max()) + 1)
        ]
        table = torch.stack([none, *scores], 1)
        return plan, F.cross_entropy(table, told[rows, places], reduction="none")
