"""How the needs of many beings change in their turn: hunger, fatigue, fear, hp and mood."""

from __future__ import annotations

from numba import njit

from world.kernels.kinds import Bools, Cells, Masks

CHANGED, SATED, RESTED = 1, 2, 4
"""What is told of each: whether anything changed, and whether it is sated or rested since."""


# numpy's division, which has an answer where nobody has any hp.
@njit(cache=True, error_model="numpy")
def drift(
    rows: Cells,
    tick: Cells,
    at_it: Bools,
    species: Cells,
    action: Cells,
    player: Cells,
    threat: Cells,
    hurt_at: Cells,
    downed_until: Cells,
    max_hp: Cells,
    hunger: Cells,
    fatigue: Cells,
    fear: Cells,
    hp: Cells,
    mood: Cells,
    hungers: Cells,
    tires: Cells,
    act_hunger: Cells,
    act_fatigue: Cells,
    act_fear: Cells,
    act_mood: Cells,
    rest: int,
    eat: int,
    calm: int,
    sated: int,
    rested: int,
    bounds: Cells,
    told: Masks,
) -> None:
    """Change the needs of each of `rows` once, and write CHANGED, SATED and RESTED into `told`, joined.

    `tick` and `at_it` (whether it stands and is at what it does) go by `rows`; up to `mood` follow columns, up to `act_mood` the
    tables by species and by activity. `rest` and `eat` are activities; who is in no danger and was not hurt for `calm` ticks
    heals. `sated` and `rested` are the hunger and the fatigue below which it is told. `bounds` is
    int64[4, 2]: the lowest and highest hunger, fatigue, fear and mood.
    """
    for i in range(rows.size):
        row = rows[i]
        kind, does, at = species[row], action[row], at_it[i]
        was_hungry, was_tired, was_afraid = hunger[row], fatigue[row], fear[row]
        was_whole, was_glad, whole = hp[row], mood[row], max_hp[row]
        safe = threat[row] == 0 and tick[i] - hurt_at[row] > calm
        resting = does == rest and at
        hungry, tired, afraid, glad = was_hungry, was_tired, was_afraid, was_glad
        if player[row] == 0:
            hungry += hungers[kind]
            tired += tires[kind]
        if at:
            afraid += act_fear[does]
            if player[row] == 0:
                hungry += act_hunger[does]
                tired += act_fatigue[does]
        if safe:
            afraid -= 30
        hungry = min(max(hungry, bounds[0, 0]), bounds[0, 1])
        tired = min(max(tired, bounds[1, 0]), bounds[1, 1])
        afraid = min(max(afraid, bounds[2, 0]), bounds[2, 1])
        now = was_whole
        if downed_until[row] < 0:
            if safe:
                now += max(1, whole // 40) * (3 if resting else 1)
            now = min(whole, now)
        content = 500 - hungry // 2 - tired // 3 - afraid // 2 - 400 * (whole - now) // whole
        glad += (content - was_glad) // 8
        if at:
            glad += act_mood[does]
        glad = min(max(glad, bounds[3, 0]), bounds[3, 1])
        tell = 0
        if does == eat and was_hungry >= sated and hungry < sated:
            tell |= SATED
        if resting and was_tired >= rested and tired < rested:
            tell |= RESTED
        if (
            hungry != was_hungry
            or tired != was_tired
            or afraid != was_afraid
            or now != was_whole
            or glad != was_glad
        ):
            tell |= CHANGED
            hunger[row], fatigue[row], fear[row] = hungry, tired, afraid
            hp[row], mood[row] = now, glad
        told[i] = tell
