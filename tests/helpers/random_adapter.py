"""Makes LoRA adapters with random weights for the models of random_gguf.py: right for protocol tests only."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np


def write_random_adapter(
    path: Path,
    *,
    seed: int = 0,
    width: int = 64,
    layers: int = 2,
    rank: int = 4,
    architecture: str = "llama",
    strength: float = 4.0,
) -> Path:
    """Write an adapter of the attention's queries and outputs; the same arguments give the same bytes."""
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    for layer in range(layers):
        for part in ("attn_q", "attn_output"):
            name = f"blk.{layer}.{part}.weight"
            a = rng.standard_normal((rank, width)) * width**-0.5
            b = rng.standard_normal((width, rank)) * strength * rank**-0.5
            writer.add_tensor(f"{name}.lora_a", a.astype(np.float32))
            writer.add_tensor(f"{name}.lora_b", b.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
