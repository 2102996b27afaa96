"""`greenroom generate`: terrain, rooms and a bestiary from a seed, as data and as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.markup import escape

from foundation.errors import UsageError
from greenroom import console
from greenroom.report.generated import write_generated
from world.content import ContentRequest


@console.command
def generate(
    out: Annotated[Path, typer.Option(help="the folder to write into")],
    seed: Annotated[int, typer.Option(min=0, help="all comes from it")] = 7,
    size: Annotated[int, typer.Option(help="the land's edge in tiles")] = 96,
    biome: Annotated[str, typer.Option(help="valley, forest …")] = "valley",
    monster: Annotated[str, typer.Option(help="the bestiary's kind")] = "wolf",
    rooms: Annotated[tuple[int, int], typer.Option(help="width and height of the building")] = (
        24,
        18,
    ),
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Write what a seed gives: the first layer of content, bit for bit the same each time."""
    try:
        request = ContentRequest.model_validate(
            {
                "seed": seed,
                "monster_type": monster,
                "biome": biome,
                "size": size,
                "dimensions": rooms,
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        flag = {"monster_type": "monster", "dimensions": "rooms"}.get(str(first["loc"][0]))
        raise UsageError(f"--{flag or first['loc'][0]}: {first['msg']}", "see --help") from error
    with console.people.status(f"growing seed {seed}"):
        facts: dict[str, Any] = write_generated(request, out)
    if json:
        console.machine(facts)
        return
    console.people.print(
        f"[bold]{facts['land_name']}[/]: {facts['rooms']} rooms, {facts['monsters']} of kind "
        f"{facts['monster_type']}, {len(facts['rivers'])} rivers"
    )
    for name in facts["files"]:
        console.people.print(f"  {escape(str(out / name))}", soft_wrap=True)
