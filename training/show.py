"""Print samples of the corpus to read: `python -m training.show --seed 3 --samples 10`."""

from __future__ import annotations

import argparse
import itertools

from training.corpus.sample import samples


def main() -> None:
    """Print the first samples of a seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=int, default=10)
    args = parser.parse_args()
    for sample in itertools.islice(samples(args.seed), args.samples):
        print(f"--- {sample.kind}")
        for message in sample.messages:
            print(f"[{message['role']}] {message['content']}")


if __name__ == "__main__":
    main()
