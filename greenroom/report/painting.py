"""A map painted from its tiles: land, water, woods, fields and roofs as a picture for people to look at.

Pictures are no state: floats and library filters are fine here. The same tiles give the same picture.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from world.tiles import Tile

Floats = NDArray[np.float32] | NDArray[np.float64]
Mask = NDArray[np.bool_]
Picture = NDArray[np.uint8]

PAPER: Final = "#f7f2e7"
INK: Final = "#3a332b"

_BUILT: Final = (
    Tile.ROAD,
    Tile.FLOOR,
    Tile.WALL,
    Tile.BRIDGE,
    Tile.RUIN,
    Tile.DAM,
)

_GROUND: Final[dict[Tile, str]] = {
    Tile.DEEP_WATER: "#6d9db0",
    Tile.WATER: "#84b1bf",
    Tile.SAND: "#e3d6b1",
    Tile.GRASS: "#c3cc9b",
    Tile.FIELD: "#dcc98d",
    Tile.FOREST: "#a9b981",
    Tile.HILL: "#c4b88f",
    Tile.ROCK: "#aca399",
    Tile.MUD: "#b3a07f",
}

_RISE: Final[dict[Tile, float]] = {
    Tile.DEEP_WATER: 0.0,
    Tile.WATER: 0.0,
    Tile.SAND: 0.06,
    Tile.GRASS: 0.18,
    Tile.FIELD: 0.16,
    Tile.FOREST: 0.26,
    Tile.HILL: 0.62,
    Tile.ROCK: 1.0,
    Tile.MUD: 0.10,
}
"""How high each ground seems, for the light that falls on it."""


def rgb(colour: str) -> Floats:
    """Return "#rrggbb" as three floats 0..1."""
    return np.array([int(colour[i : i + 2], 16) / 255.0 for i in (1, 3, 5)])


def paint(tiles: NDArray[np.uint8], scale: int = 8) -> Picture:
    """Return the painted map: uint8 of shape (height * scale, width * scale, 3). `scale` is 2 to 16."""
    if tiles.ndim != 2 or not tiles.size:
        raise ValueError("a map has two dimensions and at least one tile")
    scale = min(max(scale, 2), 16)
    painter = _Painter(tiles, scale)
    painter.land()
    painter.fields()
    painter.water()
    painter.light()
    painter.woods()
    painter.roads()
    painter.walls()
    painter.roofs()
    painter.grain()
    return np.round(np.clip(painter.canvas, 0.0, 1.0) * 255.0).astype(np.uint8)


def _noise(shape: tuple[int, int], cell: float, seed: int) -> Floats:
    """Return smooth noise in -1..1 with features `cell` pixels wide."""
    rows, columns = int(shape[0] / cell) + 3, int(shape[1] / cell) + 3
    coarse = np.random.default_rng(seed).uniform(-1.0, 1.0, (rows, columns)).astype(np.float32)
    zoomed = ndimage.zoom(coarse, cell, order=2, mode="nearest", grid_mode=True)
    return np.asarray(np.clip(zoomed[: shape[0], : shape[1]], -1.0, 1.0), dtype=np.float32)


class _Painter:
    """Paints in layers; every mask and canvas is in pixels, `scale` to a tile."""

    def __init__(self, tiles: NDArray[np.uint8], scale: int) -> None:
        self.tiles, self.scale = tiles, scale
        self.shape = (tiles.shape[0] * scale, tiles.shape[1] * scale)
        self.canvas: NDArray[np.float32] = np.zeros((*self.shape, 3), dtype=np.float32)
        self.ground = self._ground_below()
        self.soft = self._warped(self.ground)

    def _ground_below(self) -> NDArray[np.uint8]:
        """Return the natural ground under what is built: the nearest dry one, or water under bridges."""
        tiles = self.tiles
        spanned = np.isin(tiles, (Tile.BRIDGE, Tile.DAM))
        built = np.isin(tiles, _BUILT)
        wet = np.isin(tiles, (Tile.WATER, Tile.DEEP_WATER))
        ground = tiles.copy()
        for under, hidden in ((built & ~spanned, built | wet), (spanned, ~wet)):
            if hidden.all():
                ground[under] = Tile.GRASS
            elif under.any():
                near = ndimage.distance_transform_edt(
                    hidden, return_distances=False, return_indices=True
                )
                ground[under] = tiles[tuple(near)][under]
        return ground

    def _warped(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Enlarge with wavering borders, so that natural grounds don't meet in steps."""
        scale, (height, width) = self.scale, self.shape
        reach = 0.62 * scale
        rows = np.arange(height)[:, None] + reach * _noise(self.shape, 2.2 * scale, 1)
        columns = np.arange(width)[None, :] + reach * _noise(self.shape, 2.2 * scale, 2)
        y = np.clip((rows / scale).astype(int), 0, tiles.shape[0] - 1)
        x = np.clip((columns / scale).astype(int), 0, tiles.shape[1] - 1)
        warped = tiles[y, x]
        # A median over a tile's width rounds the corners that remain.
        return np.asarray(
            ndimage.median_filter(warped, size=max(3, min(5, scale - 1))), dtype=np.uint8
        )

    def _crisp(self, mask: Mask) -> Mask:
        return np.repeat(np.repeat(mask, self.scale, axis=0), self.scale, axis=1)

    def _rounded(self, mask: Mask, blur: float, level: float) -> Mask:
        """Enlarge a tile mask and round its outline."""
        soft = ndimage.gaussian_filter(self._crisp(mask).astype(np.float32), blur * self.scale)
        return np.asarray(soft > level, dtype=np.bool_)

    def _lay(self, mask: Mask | Floats, colour: Floats, strength: float = 1.0) -> None:
        """Blend a colour in where the mask is, softened at its edge."""
        found = ndimage.find_objects((mask > 0).astype(np.uint8))
        if not found or found[0] is None:
            return
        # Only the box around the mask is touched: a bridge need not cost a whole map.
        box = tuple(slice(max(0, part.start - 3), part.stop + 3) for part in found[0])
        alpha = ndimage.gaussian_filter(mask[box].astype(np.float32), 0.6)[..., None]
        alpha *= np.float32(strength)
        self.canvas[box] += (colour.astype(np.float32) - self.canvas[box]) * alpha

    def land(self) -> None:
        table = np.zeros((256, 3), dtype=np.float32)
        for tile, colour in _GROUND.items():
            table[tile] = rgb(colour)
        self.canvas = table[self.soft]
        for channel in range(3):
            self.canvas[..., channel] = ndimage.gaussian_filter(self.canvas[..., channel], 0.9)
        mottle = 0.5 * _noise(self.shape, 26.0, 3) + 0.5 * _noise(self.shape, 7.0, 4)
        self.canvas *= 1.0 + 0.028 * mottle[..., None]

    def fields(self) -> None:
        """Tint each parcel and draw its furrows, along its longer side."""
        field = self.soft == Tile.FIELD
        if not field.any():
            return
        parcels, count = ndimage.label(field)
        boxes = ndimage.find_objects(parcels)
        rng = np.random.default_rng(5)
        tints = rng.uniform(-1.0, 1.0, count + 1)
        hues = rng.uniform(-1.0, 1.0, count + 1)
        along = np.zeros(count + 1, dtype=bool)
        for number, box in enumerate(boxes, 1):
            if box is not None:
                high, wide = (part.stop - part.start for part in box)
                along[number] = high > wide if abs(high - wide) > self.scale else bool(number % 2)
        y, x = np.indices(self.shape)
        position = np.where(along[parcels], x, y)
        furrow = np.sin(position * (2.0 * np.pi / (0.55 * self.scale)))
        shade = 1.0 + 0.030 * furrow + 0.045 * tints[parcels]
        self.canvas[field] *= shade[field][:, None]
        self.canvas[field] *= np.array([1.0, 1.0, 1.0]) + hues[parcels][field][:, None] * [
            -0.035,
            0.02,
            -0.04,
        ]

    def water(self) -> None:
        """Deepen water away from its banks, and draw the bank."""
        wet = (self.soft == Tile.WATER) | (self.soft == Tile.DEEP_WATER)
        if not wet.any():
            return
        depth = np.clip(ndimage.distance_transform_edt(wet) / (3.2 * self.scale), 0.0, 1.0)[
            ..., None
        ]
        shallow, deep = rgb("#9cc3ca"), rgb("#5f90a6")
        smooth = depth * depth * (3.0 - 2.0 * depth)
        alpha = ndimage.gaussian_filter(wet.astype(np.float32), 0.8)[..., None]
        self.canvas = (
            self.canvas * (1.0 - alpha) + (shallow * (1.0 - smooth) + deep * smooth) * alpha
        )
        ripple = _noise(self.shape, 0.9 * self.scale, 6)
        self.canvas[wet & (ripple > 0.62)] *= 1.035
        bank = ndimage.binary_dilation(wet, iterations=max(1, self.scale // 6)) & ~wet
        self._lay(bank, rgb("#6c8588"), 0.55)

    def light(self) -> None:
        """Let light fall from the north-west over heights guessed from the grounds."""
        table = np.zeros(256)
        for tile, rise in _RISE.items():
            table[tile] = rise
        heights = ndimage.gaussian_filter(table[self.ground], 1.4)
        rough = np.clip(heights - 0.3, 0.0, 1.0)
        tall = ndimage.zoom(heights, self.scale, order=3, mode="nearest", grid_mode=True)
        rugged = ndimage.zoom(rough, self.scale, order=1, mode="nearest", grid_mode=True)
        crags = _noise(self.shape, 3.2 * self.scale, 7) + 0.6 * _noise(
            self.shape, 1.3 * self.scale, 8
        )
        tall = tall + 0.16 * rugged * crags
        down, right = np.gradient(tall)
        slope = ndimage.gaussian_filter((down + right) * self.scale, 0.8)
        shade = 1.0 - np.clip(slope * -1.05, -0.20, 0.24)
        warm = np.clip(tall, 0.0, 1.0)[..., None] * np.array([0.02, 0.0, -0.03])
        dry = ~((self.soft == Tile.WATER) | (self.soft == Tile.DEEP_WATER))
        lit = self.canvas * (2.0 - shade[..., None]) + warm
        self.canvas = np.where(dry[..., None], lit, self.canvas)

    def woods(self) -> None:
        """Plant round crowns on a jittered grid, each with a lit and a dark side and a shadow."""
        scale = self.scale
        open_wood = np.repeat(np.repeat(self.tiles == Tile.FOREST, scale, 0), scale, 1)
        wood = (self.soft == Tile.FOREST) & open_wood
        if not wood.any():
            return
        rng = np.random.default_rng(9)
        step = 0.78 * scale
        rows, columns = int(self.shape[0] / step), int(self.shape[1] / step)
        y = (np.arange(rows)[:, None] + rng.uniform(0.1, 0.9, (rows, columns))) * step
        x = (np.arange(columns)[None, :] + rng.uniform(0.1, 0.9, (rows, columns))) * step
        size = rng.uniform(0.34, 0.56, (rows, columns)) * scale
        yi = np.clip(y.astype(int), 0, self.shape[0] - 1)
        xi = np.clip(x.astype(int), 0, self.shape[1] - 1)
        keep = wood[yi, xi] & (rng.uniform(0.0, 1.0, (rows, columns)) < 0.93)
        yi, xi, size = yi[keep], xi[keep], size[keep]
        tone = rng.uniform(-1.0, 1.0, len(yi))
        if not len(yi):
            return
        seeds = np.zeros(self.shape, dtype=np.int32)
        seeds[yi, xi] = np.arange(1, len(yi) + 1)
        away, nearest = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
        tree = seeds[tuple(nearest)]
        radius = np.concatenate([[0.0], size])[tree]
        crown = away <= radius
        shadow = np.roll(crown, (max(1, scale // 5), max(1, scale // 5)), axis=(0, 1)) & ~crown
        self._lay(shadow, rgb("#4d5a3c"), 0.34)
        py, px = np.indices(self.shape)
        lit = ((nearest[0] - py) + (nearest[1] - px)) / np.maximum(radius, 1.0)
        green = (
            rgb("#7f9a62")
            + 0.5
            * (rgb("#8fa86b") - rgb("#6d8a58"))
            * np.concatenate([[0.0], tone])[tree][..., None]
        )
        leaf = green * (1.0 + 0.13 * np.clip(lit, -1.2, 1.2))[..., None]
        alpha = ndimage.gaussian_filter(crown.astype(np.float32), 0.55)[..., None]
        self.canvas = self.canvas * (1.0 - alpha) + leaf * alpha

    def roads(self) -> None:
        """Draw roads with a soft verge, planks over water, and the dam."""
        road = self.tiles == Tile.ROAD
        bridge, dam = self.tiles == Tile.BRIDGE, self.tiles == Tile.DAM
        wide = self._rounded(road | bridge | (self.tiles == Tile.FLOOR), 0.42, 0.36)
        narrow = self._rounded(road | bridge | (self.tiles == Tile.FLOOR), 0.42, 0.46)
        own = self._crisp(road) | self._rounded(road, 0.42, 0.36)
        self._lay(wide & own, rgb("#a99a78"), 0.45)
        self._lay(narrow & own, rgb("#eadfc4"), 0.95)
        y, x = np.indices(self.shape)
        if bridge.any():
            planks = self._crisp(bridge)
            self._lay(ndimage.binary_dilation(planks, iterations=1) & ~planks, rgb("#5b4936"), 0.8)
            self._lay(planks, rgb("#c2a57b"))
            self._lay(planks & (x % max(3, self.scale // 2) == 0), rgb("#8a6f4c"), 0.55)
        if dam.any():
            stones = self._crisp(dam)
            self._lay(ndimage.binary_dilation(stones, iterations=1) & ~stones, rgb("#4a423a"), 0.85)
            self._lay(stones, rgb("#8e8377"))
            self._lay(
                stones & ((x + (y // (self.scale // 2 + 1)) * 3) % self.scale == 0),
                rgb("#5d544b"),
                0.6,
            )

    def walls(self) -> None:
        """Draw ruins, and walls that carry no roof: fences and broken curtain walls."""
        ruin = self._crisp(self.tiles == Tile.RUIN)
        if ruin.any():
            self._lay(ruin, rgb("#bdb4ac"), 0.8)
            speck = _noise(self.shape, 0.5 * self.scale, 10)
            self._lay(ruin & (speck > 0.45), rgb("#938a84"), 0.5)
        roofed = ndimage.binary_dilation(self.tiles == Tile.FLOOR, np.ones((3, 3)))
        bare = (self.tiles == Tile.WALL) & ~roofed
        stone = bare & ndimage.binary_dilation(self.tiles == Tile.RUIN, np.ones((5, 5)))
        fence = bare & ~stone
        if stone.any():
            wall = self._crisp(stone)
            shadow = np.roll(wall, (self.scale // 3, self.scale // 3), axis=(0, 1)) & ~wall
            self._lay(shadow, rgb("#3d3832"), 0.35)
            self._lay(wall, rgb("#766e6b"))
            edge = wall & ~ndimage.binary_erosion(wall, iterations=1)
            self._lay(edge, rgb("#4b4543"), 0.9)
        if fence.any():
            inner = ndimage.binary_erosion(
                self._crisp(fence), iterations=max(1, self.scale // 3 - 1)
            )
            self._lay(inner, rgb("#6f5a41"), 0.9)

    def roofs(self) -> None:
        """Roof every house over floor and walls: one side lit, one in shade, a ridge between."""
        floor = self.tiles == Tile.FLOOR
        if not floor.any():
            return
        house = floor | (
            (self.tiles == Tile.WALL) & ndimage.binary_dilation(floor, np.ones((3, 3)))
        )
        labels, _ = ndimage.label(house, np.ones((3, 3)))
        footprint = self._crisp(house)
        drop = max(2, self.scale // 2)
        shadow = np.roll(footprint, (drop, drop), axis=(0, 1))
        soft = ndimage.gaussian_filter(shadow.astype(np.float32), 0.22 * self.scale)
        self._lay(soft, rgb("#3d352b"), 0.38)
        near_ruin = ndimage.binary_dilation(self.tiles == Tile.RUIN, np.ones((3, 3)))
        rng = np.random.default_rng(11)
        for number, box in enumerate(ndimage.find_objects(labels), 1):
            own = labels[box] == number
            tone = float(rng.uniform(-1.0, 1.0))
            stone = bool((near_ruin[box] & own).any())
            base = (
                rgb("#a39a97") if stone else rgb("#b5775a") + tone * np.array([0.03, 0.035, 0.03])
            )
            self._roof(box, own, base)

    def _roof(self, box: tuple[slice, ...], own: Mask, base: Floats) -> None:
        scale = self.scale
        high, wide = own.shape
        rows = slice(box[0].start * scale, box[0].stop * scale)
        columns = slice(box[1].start * scale, box[1].stop * scale)
        mask = np.repeat(np.repeat(own, scale, 0), scale, 1)
        y, x = np.indices(mask.shape)
        across, span = (y, high * scale) if wide >= high else (x, wide * scale)
        side = np.where(across < span / 2, 1.10, 0.88)
        rows_of_tiles = 1.0 - 0.05 * ((across % max(3, scale // 2)) == 0)
        colour = base * (side * rows_of_tiles)[..., None]
        colour[np.abs(across - span / 2) < 1.0] = base * 1.28
        inside = ndimage.binary_erosion(mask, iterations=1, border_value=0)
        colour[mask & ~inside] = base * 0.52
        patch = self.canvas[rows, columns]
        patch[mask] = colour[mask]

    def grain(self) -> None:
        """Give the whole the tooth of paper."""
        rng = np.random.default_rng(12)
        fibre = ndimage.gaussian_filter(rng.normal(0.0, 1.0, self.shape), 0.7)
        self.canvas *= (1.0 + 0.012 * fibre)[..., None]
