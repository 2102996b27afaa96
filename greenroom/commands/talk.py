"""`greenroom talk`: a conversation in the terminal, streamed."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer
from rich.markup import escape

from engine_bridge.async_client import SPEAKING_DISTANCE
from engine_bridge.client import AsyncClient
from engine_bridge.errors import RequestFailed
from engine_bridge.mirror import Entity
from greenroom import console


async def _listener(client: AsyncClient, wanted: str | None) -> Entity:
    """Who is meant: by name, or whoever can speak and is nearest."""
    if wanted is not None:
        return client.find(wanted)
    own = client.world.entities[client.entity]
    speakers = [
        entity
        for entity in client.world.entities.values()
        if entity.speaks and entity.name and not entity.dead and not entity.player
    ]
    if not speakers:
        raise RequestFailed("unknown_entity", "nobody here can speak", "try another scene")
    return min(speakers, key=lambda entity: _square(own, entity))


def _square(a: Entity, b: Entity) -> int:
    return (a.x - b.x) ** 2 + (a.y - b.y) ** 2


async def _exchange(client: AsyncClient, listener: int, text: str) -> None:
    own, other = client.world.entities[client.entity], client.world.entities[listener]
    if _square(own, other) > SPEAKING_DISTANCE**2:
        console.people.print(f"[dim]You walk over to {escape(other.name)} …[/]")
    name = (await client.approach(listener)).name
    speech = client.say(listener, text)
    streamed = ""
    sys.stdout.write(f"{name}: ")
    async for piece in speech:
        streamed += piece
        sys.stdout.write(piece)
        sys.stdout.flush()
    done = await speech.done()
    if done.text != streamed.strip():
        # What was checked replaces what was streamed.
        sys.stdout.write(f"\n{name}: {done.text}" if streamed else done.text)
    sys.stdout.write("\n")
    sys.stdout.flush()
    console.people.print(
        f"[dim]  {escape(done.source)}, first words after {done.first_token_ms} ms[/]"
    )


async def _talk(url: str, token: str | None, npc: str | None, name: str, lines: list[str]) -> None:
    async with AsyncClient(url, game="greenroom talk", token=token) as client:
        await client.join(name)
        await client.watch(all=True)
        listener = (await _listener(client, npc)).id
        for line in lines:
            console.people.print(f"[bold]{escape(name)}:[/] {escape(line)}")
            await _exchange(client, listener, line)
        if not lines:
            who = client.world.entities[listener].name
            console.people.print(
                f"You are talking to [bold]{escape(who)}[/]. An empty line ends it."
            )
            while line := (await asyncio.to_thread(_ask_line, name)).strip():
                try:
                    await _exchange(client, listener, line)
                except RequestFailed as error:
                    console.people.print(f"[yellow]{escape(str(error))}[/]")
        await client.leave()


def _ask_line(name: str) -> str:
    try:
        return input(f"{name}: ")
    except EOFError:
        return ""


@console.command
def talk(
    npc: Annotated[
        str | None, typer.Argument(help="whom to talk to; the nearest if not named")
    ] = None,
    url: Annotated[str, typer.Option(help="the game socket")] = "ws://127.0.0.1:8765",
    name: Annotated[str, typer.Option(help="what you are called")] = "Traveller",
    say: Annotated[
        list[str] | None, typer.Option(help="say this and leave; may be repeated")
    ] = None,
    token: console.Token = None,
) -> None:
    """Talk to somebody in a running world."""
    try:
        asyncio.run(_talk(url, token, npc, name, say or []))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
