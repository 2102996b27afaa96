"""Write the model's card: `python -m training.card --model F --facts F --scores F` → CARD.md, card.json."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from models import house
from training.corpus.grammar import count
from training.corpus.people import table
from training.corpus.sample import VERSION

_SCORES = ("lines", "model", "model_at_0.6", "nearest_template", "by_topic", "agrees", "surprise")
_TRAINED = ("steps", "tokens", "seed", "device", "notes")


def card(model: Path, facts: dict[str, Any], scores: dict[str, Any]) -> dict[str, Any]:
    """All that the card tells, as plain values."""
    patterns = [p for row in table("lines").values() for p in row["lines"]]
    return {
        "name": house.NAME,
        "version": house.VERSION,
        "licence": "MIT",
        "file": {
            "name": model.name,
            "bytes": model.stat().st_size,
            "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        },
        "network": {
            "architecture": "llama",
            "parameters": facts["parameters"],
            "quantisation": "Q8_0",
            "context": 1024,
        },
        "training": {key: facts[key] for key in _TRAINED},
        "corpus": {
            "version": VERSION,
            "line_patterns": len(patterns),
            "phrasings": sum(count(p) for p in patterns),
        },
        "scores": {key: scores[key] for key in _SCORES},
        "replies": scores["replies"][:20],
    }


def page(told: dict[str, Any]) -> str:
    """The card as a page to read."""
    scores, training, surprise = told["scores"], told["training"], told["scores"]["surprise"]
    topics = "\n".join(
        f"| {topic} | {each['lines']} | {each['passed']} % |"
        for topic, each in scores["by_topic"].items()
    )
    rows = "\n".join(
        f"| {label} | {s['passed']} % | {s['whole']} % | {s['in_character']} % "
        f"| {s['answers']} % | {s['fresh']} % |"
        for label, s in (
            ("the house model, greedy", scores["model"]),
            ("the house model at temperature 0.6", scores["model_at_0.6"]),
            ("nearest template of the corpus", scores["nearest_template"]),
        )
    )
    replies = "\n".join(
        f"{n}. **{row['to']}**, “{row['line']}”  \n   {row['reply']}{'' if row['passed'] else ' *(failed)*'}"
        for n, row in enumerate(told["replies"], 1)
    )
    return f"""# greenroom-house, version {told["version"]}

A very small language model of village talk. It ships with Greenroom so that the first command
runs real inference without a download: for the demo, the tests and the benchmarks. It is not a
clever model and knows nothing of the world; for real wit, bring a GGUF of your own.

| | |
|---|---|
| file | `{told["file"]["name"]}`, {told["file"]["bytes"] / 1e6:.1f} MB, Q8_0 |
| network | Llama, {told["network"]["parameters"] / 1e6:.1f} million parameters, context {told["network"]["context"]} |
| trained | {training["steps"]} steps, {training["tokens"] / 1e6:.1f} million tokens, on {training["device"]}, seed {training["seed"]} |
| corpus | version {told["corpus"]["version"]}, written by the grammar in `training/corpus/`: {told["corpus"]["line_patterns"]} line patterns, {told["corpus"]["phrasings"]:,} phrasings before names and typing slips |
| perplexity | {surprise["perplexity"]:.2f} a token, {surprise["bits_per_character"]:.3f} bits a character, on {surprise["answers"]} answers to held-out phrasings by people drawn for the examination alone |
| acts, orders | {scores["agrees"]["acts"]} % and {scores["agrees"]["orders"]} % of {scores["lines"]} each are its teacher's, both fields, chosen as minds are asked to (`training/corpus/acts.py`) |
| licence | MIT |

{training["notes"]}

## How good it is

`greenroom models check` runs this examination on any GGUF.

{scores["lines"]} lines in `training/exam/heldout_lines.toml`, none of which the grammar can write, each with
what its answer must hold. A reply passes when it is made of whole sentences, stays in character,
answers the line and does not repeat itself. The peer beside it finds the corpus line nearest to the
player's (character n-grams, TF-IDF, cosine) among thousands drawn for the same person and gives the
corpus's own reply, written from that person's facts with their tags at hand. The model has the prompt alone.

| | passed | whole | in character | answers | fresh |
|---|---|---|---|---|---|
{rows}

Lines that ask for no particular word are judged by the kind of corpus reply that is nearest to
the answer, which is a machine's judgement and sometimes wrong in either direction.

| greedy, by what is asked and of whom | lines | passed |
|---|---|---|
{topics}

Strangers were written for the examination: nothing of them is in the corpus. The valley's people are, since the
model is to know them; the lines put to them are not.

## The first twenty replies, unpicked

{replies}

## What it can't do

It answers in English, one to three short sentences, from the persona's facts and the moment. It
doesn't reason, count or remember beyond the turns in its prompt, and a question far from what its
corpus asks gets a vague or a wrong answer. Decisions and orders follow plain rules of its
teacher, the reflexes' common sense in words. `training/README.md` says how to train it again.
"""


def main() -> None:
    """Write both files beside the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=house.path())
    parser.add_argument("--facts", type=Path, required=True, help="facts.json of the trainer")
    parser.add_argument(
        "--scores",
        type=Path,
        required=True,
        help="what greenroom models check --peer --json printed",
    )
    args = parser.parse_args()
    facts = json.loads(args.facts.read_text(encoding="utf-8"))
    scores = json.loads(args.scores.read_text(encoding="utf-8"))
    told = card(args.model, facts, scores)
    folder = args.model.parent
    (folder / "card.json").write_text(
        json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (folder / "CARD.md").write_text(page(told), encoding="utf-8")


if __name__ == "__main__":
    main()
