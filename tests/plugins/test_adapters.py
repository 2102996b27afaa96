"""The adapters that come with the built-in species are for the house model, and llama.cpp speaks under them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models import house
from models.llama.adapter_file import base, check
from plugins import builtin
from plugins.builtin import vampires, wolves

GIVEN = [*wolves.greenroom_adapters(), *vampires.greenroom_adapters()]


def test_wolves_and_vampires_have_adapters_for_this_version_of_the_house_model() -> None:
    assert f"{house.NAME} {house.VERSION}" == builtin.HOUSE
    assert {each.species: each.path.stem for each in GIVEN} == {
        "wolf": "wolf",
        "vampire": "vampire",
    }


@pytest.mark.parametrize("kind", ["wolf", "vampire"])
def test_an_adapter_fits_the_house_model_and_foretells_its_kind_better(kind: str) -> None:
    file = Path(builtin.__file__).parent / "adapters" / f"{kind}.gguf"
    facts = json.loads(file.with_suffix(".json").read_text())
    assert check(file, base(house.path())) == 35
    assert facts["held_out_perplexity_with"] < facts["held_out_perplexity_without"]
