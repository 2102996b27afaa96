"""The world's loops once more in plain numpy, as well as that can be done: what the compiled ones are measured beside."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from world import maths
from world.entities import Columns
from world.hashing import _SALTS
from world.kernels.sight import SAMPLES
from world.maths import TILE, Ints, Purpose, Words, clip, mix_array
from world.ruleset import Ruleset, Tables
from world.tiles import COST, WALKABLE, Tile
from world.view import FAR, NOBODY

Bools = NDArray[np.bool_]
Map = NDArray[np.uint8]

_M1: Final = np.uint64(0xBF58476D1CE4E5B9)
_M2: Final = np.uint64(0x94D049BB133111EB)
_S29, _S32 = np.uint64(29), np.uint64(32)
_SAMPLED: Final = np.arange(1, SAMPLES + 1)


def stride(c: Columns, rows: Ints, tiles: Map) -> Bools:
    """One tick's walk in place, whether each crossed into another cell: `kernels.stride`."""
    x, y = c.x[rows], c.y[rows]
    dx, dy = c.way_x[rows] - x, c.way_y[rows] - y
    distance = maths.isqrt(dx * dx + dy * dy)
    ground = tiles[y // TILE, x // TILE]
    step = c.speed[rows] * c.pace[rows] // (50 * COST[ground])
    step = np.minimum(clip(step, 1, TILE - 1), distance)
    whole = np.maximum(distance, 1)
    half = whole >> 1
    arrives = step == distance
    nx = np.where(arrives, c.way_x[rows], x + (dx * step + half) // whole)
    ny = np.where(arrives, c.way_y[rows], y + (dy * step + half) // whole)
    blocked = WALKABLE[ground] & ~WALKABLE[tiles[ny // TILE, nx // TILE]]
    at = blocked.nonzero()[0]
    if at.size:
        free_x = WALKABLE[tiles[y[at] // TILE, nx[at] // TILE]] & (nx[at] != x[at])
        free_y = WALKABLE[tiles[ny[at] // TILE, x[at] // TILE]] & (ny[at] != y[at]) & ~free_x
        nx[at] = np.where(free_x, nx[at], x[at])
        ny[at] = np.where(free_y, ny[at], y[at])
        c.stuck[rows[at]] += 1
        held = at[~free_x & ~free_y]
        c.way_x[rows[held]] = x[held]
        c.way_y[rows[held]] = y[held]
    c.x[rows], c.y[rows] = nx, ny
    crossed: Bools = (nx // TILE != x // TILE) | (ny // TILE != y // TILE)
    c.stuck[rows[crossed]] = 0
    return crossed


def words(c: Columns, rows: Ints, columns: NDArray[np.intp], half: np.uint64) -> Words:
    """A word for each row over some columns: `kernels.mixing`."""
    some: Words = c.data[columns[:, None], rows].view(np.uint64)
    some ^= _SALTS[columns][:, None]
    some *= _M1
    some ^= some >> _S29
    some *= _M2
    some ^= some >> _S32
    total: Words = some.sum(axis=0, dtype=np.uint64)
    total ^= mix_array(c.id[rows].view(np.uint64) ^ half)
    return mix_array(total)


def squares(
    c: Columns, listed: Ints, side: int, wide: int, tall: int
) -> tuple[Ints, NDArray[np.int64]]:
    """The listed rows in the order of their squares, and where each square begins among them: what `kernels.cells` keeps."""
    across = clip(c.x[listed] // side, 0, wide - 1)
    square = clip(c.y[listed] // side, 0, tall - 1) * wide + across
    first = np.zeros(wide * tall + 1, dtype=np.int64)
    np.cumsum(np.bincount(square, minlength=wide * tall), out=first[1:])
    return listed[np.argsort(square, kind="stable")], first


def see(
    c: Columns,
    rows: Ints,
    order: Ints,
    first: Ints,
    tables: Tables,
    tiles: Map,
    close: int,
    side: int,
    wide: int,
    tall: int,
) -> tuple[Ints, Ints, Ints, Ints]:
    """The nearest of each kind int64[3, n] and how far, how many threats and mates int64[n]: `kernels.see`."""
    x, y, kind, own = c.x[rows], c.y[rows], c.species[rows], c.group[rows]
    far = c.perception[rows]
    most = np.where(own > 0, np.maximum(far, close), far)
    left, right = (clip((x + k * most) // side, 0, wide - 1) for k in (-1, 1))
    top, bottom = (clip((y + k * most) // side, 0, tall - 1) for k in (-1, 1))
    who, other, away = _pairs(c, rows, order, first, left, right, top, bottom, wide, most)
    mate = (own[who] > 0) & (c.group[other] == own[who]) & (away <= close * close)
    mates = np.bincount(who[mate], minlength=rows.size)
    near = away <= far[who] * far[who]
    who, other, away = who[near], other[near], away[near]
    nearest = np.full((3, rows.size), NOBODY, dtype=np.int64)
    distance = np.full((3, rows.size), FAR, dtype=np.int64)
    threats = np.zeros(rows.size, dtype=np.int64)
    indoors = tiles[c.y[other] // TILE, c.x[other] // TILE] == Tile.FLOOR
    hidden = tables.shuns_floors[kind[who]] & indoors
    for k in range(3):
        minded = tables.relations[k][kind[who], c.species[other]]
        if k == 0:
            threats = np.bincount(who[minded], minlength=rows.size)
        else:
            minded &= ~hidden
        mine, seen, d2 = who[minded], other[minded], away[minded]
        best = np.lexsort((c.id[seen], d2, mine))
        mine, lead = np.unique(mine[best], return_index=True)
        nearest[k, mine] = seen[best[lead]]
        distance[k, mine] = d2[best[lead]]
    return nearest, distance, threats, mates


def _pairs(
    c: Columns,
    rows: Ints,
    order: Ints,
    first: Ints,
    left: Ints,
    right: Ints,
    top: Ints,
    bottom: Ints,
    wide: int,
    most: Ints,
) -> tuple[Ints, Ints, Ints]:
    """All pairs (who, a row within its `most`, the squared distance); squares beside each other lie together in the order."""
    found = []
    for down in range(int((bottom - top).max()) + 1):
        some = (top + down <= bottom).nonzero()[0]
        begin = first[(top[some] + down) * wide + left[some]]
        many = first[(top[some] + down) * wide + right[some] + 1] - begin
        who = np.repeat(some, many)
        ramp = np.arange(who.size) - np.repeat(np.cumsum(many) - many, many)
        other = order[np.repeat(begin, many) + ramp]
        dx, dy = c.x[other] - c.x[rows[who]], c.y[other] - c.y[rows[who]]
        away = dx * dx + dy * dy
        near = (away <= most[who] * most[who]) & (other != rows[who])
        found.append((who[near], other[near], away[near]))
    who, other, away = (np.concatenate(part) for part in zip(*found, strict=True))
    return who, other, away


def spots(
    c: Columns,
    rows: Ints,
    x: Ints,
    y: Ints,
    era: Ints,
    seed: int,
    spread: int,
    near: int,
    tiles: Map,
    longest: int,
) -> tuple[Ints, Ints]:
    """The spot about each point that its body makes for: `kernels.spots`."""
    draw = maths.keyed_array(seed, c.id[rows], era, Purpose.WORKPLACE)
    ox = maths.below(draw, 2 * spread + 1) - spread
    oy = maths.below(mix_array(draw), 2 * spread + 1) - spread
    height, width = tiles.shape
    nx = clip(x + ox, 0, width * TILE - 1)
    ny = clip(y + oy, 0, height * TILE - 1)
    dx, dy = x - c.x[rows], y - c.y[rows]
    fits = (dx * dx + dy * dy < near * near) & clear(tiles, x, y, nx, ny, longest)
    return np.where(fits, nx, x), np.where(fits, ny, y)


def best(
    scores: Ints,
    rows: Ints,
    c: Columns,
    in_danger: Bools,
    tick: int,
    loyalty: int,
    steady: int,
    long: int,
) -> Ints:
    """The consideration that is worth most to each, -1 for none: `kernels.choices.best`."""
    weighed = clip(scores.T, 0, 1000)
    fresh = in_danger & (tick - c.since[rows] < long)
    for code, more in (
        (c.intent[rows], np.where(fresh, steady, loyalty)),
        (c.left[rows], np.where(fresh, -steady, 0)),
    ):
        at = (code >= 0).nonzero()[0]
        kept = weighed[at, code[at]]
        weighed[at, code[at]] = np.where(kept > 0, np.maximum(kept + more[at], 1), kept)
    found: Ints = np.argmax(weighed, axis=1).astype(np.int64)
    found[weighed[np.arange(rows.size), found] <= 0] = -1
    return found


def take_up(
    c: Columns,
    rows: Ints,
    goal_x: Ints,
    goal_y: Ints,
    target: Ints,
    speed: Ints,
    choice: int,
    code: int,
    interval: int,
    chases: bool,
    tick: int,
    max_x: int,
    max_y: int,
) -> None:
    """Writes what each has chosen: `kernels.choices.take_up`."""
    gx, gy = clip(goal_x, 0, max_x), clip(goal_y, 0, max_y)
    speed, meant = clip(speed, 0, 400), clip(target, 0, 2**48 - 1)
    there = (c.x[rows] == gx) & (c.y[rows] == gy)
    same = (c.goal_x[rows] == gx) & (c.goal_y[rows] == gy)
    if chases:
        same |= (c.target[rows] == meant) & (meant > 0) & (c.action[rows] == code)
    turns = rows[c.intent[rows] != choice]
    c.left[turns] = c.intent[turns]
    c.since[turns] = tick
    c.action[rows], c.intent[rows], c.target[rows] = code, choice, meant
    c.action_until[rows] = 0
    c.next_decision[rows] = tick + interval + c.phase[rows] % 8
    off = rows[~same]
    c.goal_x[off], c.goal_y[off] = gx[~same], gy[~same]
    c.way_x[off], c.way_y[off] = c.x[off], c.y[off]
    c.stuck[off] = 0
    c.pace[rows] = np.where(same & chases, c.pace[rows], np.where(there, 0, speed))


def drift(
    c: Columns,
    rows: Ints,
    tick: Ints,
    at_it: Bools,
    rules: Ruleset,
    calm: int,
    sated: int,
    rested: int,
) -> tuple[Bools, Bools]:
    """Changes needs once, and tells who is sated and who rested since: `kernels.drift`."""
    tables = rules.tables
    species, action = c.species[rows], c.action[rows]
    thinks = c.player[rows] == 0
    hunger, fatigue = c.hunger[rows], c.fatigue[rows]
    safe = (c.threat[rows] == 0) & (tick - c.hurt_at[rows] > calm)
    hungry = hunger + (tables.hunger[species] + tables.act_hunger[action] * at_it) * thinks
    tired = fatigue + (tables.fatigue[species] + tables.act_fatigue[action] * at_it) * thinks
    fear = c.fear[rows] + tables.act_fear[action] * at_it - 30 * safe
    max_hp, hp = c.max_hp[rows], c.hp[rows]
    resting = (action == rules.activity_code["rest"]) & at_it
    healing = np.maximum(1, max_hp // 40) * np.where(resting, 3, 1) * safe
    hp = np.where(c.downed_until[rows] >= 0, hp, np.minimum(max_hp, hp + healing))
    hungry, tired, fear = (clip(need, 0, 1000) for need in (hungry, tired, fear))
    content = 500 - hungry // 2 - tired // 3 - fear // 2 - 400 * (max_hp - hp) // max_hp
    mood = c.mood[rows] + (content - c.mood[rows]) // 8 + tables.act_mood[action] * at_it
    c.hunger[rows], c.fatigue[rows], c.fear[rows] = hungry, tired, fear
    c.hp[rows], c.mood[rows] = hp, clip(mood, -1000, 1000)
    fed = (action == rules.activity_code["eat"]) & (hunger >= sated) & (hungry < sated)
    slept = resting & (fatigue >= rested) & (tired < rested)
    return fed, slept


def clear(tiles: Map, x: Ints, y: Ints, to_x: Ints, to_y: Ints, longest: int) -> Bools:
    """Whether each line crosses no blocked ground and is short enough: `kernels.sight`."""
    dx, dy = to_x - x, to_y - y
    out = dx * dx + dy * dy <= longest * longest
    near = out.nonzero()[0]
    px = x[near, None] + dx[near, None] * _SAMPLED // SAMPLES
    py = y[near, None] + dy[near, None] * _SAMPLED // SAMPLES
    out[near] = WALKABLE[tiles[py // TILE, px // TILE]].all(axis=1)
    return out
