"""Write the corpus down: `python -m training.build --out DIR` makes tokenizer and token files."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

from models import house
from training.corpus.sample import samples
from training.tokenizer import Tokens, encode, load, train_tokenizer

LONGEST = house.WINDOW
CHUNK = 2000


def write(tokenizer_path: Path, out: Path, seed: int, count: int, *, validation: bool) -> Tokens:
    """Encode the first `count` samples of a seed into `out`."""
    tokenizer = load(tokenizer_path)
    stream = samples(seed, validation=validation)
    parts = []
    for start in range(0, count, CHUNK):
        batch = list(itertools.islice(stream, min(CHUNK, count - start)))
        parts.append(encode(batch, tokenizer, LONGEST))
    tokens = Tokens.joined(parts)
    tokens.save(out)
    return tokens


def main() -> None:
    """Build the tokenizer (unless it is there), the training and the validation tokens."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=int, default=60_000)
    parser.add_argument("--validation", type=int, default=400)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    vocabulary = args.out / "tokenizer.json"
    if not vocabulary.exists():
        train_tokenizer(args.seed, 16_000).save(str(vocabulary))
    for name, count, validation in (
        ("valid", args.validation, True),
        ("train", args.samples, False),
    ):
        tokens = write(
            vocabulary, args.out / f"{name}.npz", args.seed, count, validation=validation
        )
        lengths = np.diff(tokens.offsets)
        print(
            f"{name}: {len(lengths)} samples, {len(tokens.ids)} tokens, "
            f"{int(tokens.answers.sum())} in answers, longest {lengths.max()}"
        )


if __name__ == "__main__":
    main()
