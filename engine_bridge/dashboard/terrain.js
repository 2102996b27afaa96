// Paints the ground once into an offscreen canvas: grown borders, trees, furrows, ripples, stones.

export const TILE_PIXELS = 8;

const INK = {
  deep_water: [47, 86, 122], water: [73, 124, 163], sand: [216, 200, 152], grass: [143, 170, 104],
  field: [190, 172, 98], forest: [92, 130, 80], hill: [164, 160, 112], rock: [136, 132, 126],
  road: [196, 174, 138], floor: [176, 142, 102], wall: [98, 82, 70], bridge: [158, 126, 86],
  ruin: [146, 136, 122], dam: [116, 102, 88], mud: [124, 104, 78],
};
const UNKNOWN = [120, 120, 120];
const STRAIGHT = new Set(["wall", "floor", "bridge", "dam"]);
const ROWS_A_SLICE = 8;
const MARGIN = 2;

/** The painted map. `canvas` can be drawn at any time; it fills in while slices are painted. */
export class Terrain {
  constructor(width, height, kinds) {
    this.width = width;
    this.height = height;
    this.kinds = kinds.map((kind) => kind.toLowerCase());
    this.ink = this.kinds.map((kind) => INK[kind] ?? UNKNOWN);
    this.straight = this.kinds.map((kind) => STRAIGHT.has(kind));
    this.tiles = new Uint8Array(width * height);
    this.canvas = document.createElement("canvas");
    this.canvas.width = width * TILE_PIXELS;
    this.canvas.height = height * TILE_PIXELS;
    this.pen = this.canvas.getContext("2d");
    this.due = [];
  }

  /** Replaces the whole map. */
  set(tiles) {
    if (tiles.length !== this.tiles.length) throw new Error("the map has another size");
    if (tiles.every((kind, index) => kind === this.tiles[index]) && this.painted) return;
    this.tiles = new Uint8Array(tiles);
    this.painted = true;
    this.due = [];
    for (let y = 0; y < this.height; y += ROWS_A_SLICE) {
      this.due.push([0, y, this.width, Math.min(ROWS_A_SLICE, this.height - y)]);
    }
  }

  /** Takes a change of a rectangle. */
  change({ x, y, w, h, data }) {
    if (x < 0 || y < 0 || x + w > this.width || y + h > this.height || data.length !== w * h) {
      throw new Error("a change of tiles that does not fit the map");
    }
    for (let row = 0; row < h; row++) {
      this.tiles.set(data.subarray(row * w, (row + 1) * w), (y + row) * this.width + x);
    }
    const left = Math.max(0, x - MARGIN);
    const top = Math.max(0, y - MARGIN);
    const right = Math.min(this.width, x + w + MARGIN);
    const bottom = Math.min(this.height, y + h + MARGIN);
    this.due.push([left, top, right - left, bottom - top]);
  }

  kindAt(x, y) {
    const inside = x >= 0 && y >= 0 && x < this.width && y < this.height;
    return inside ? this.kinds[this.tiles[Math.floor(y) * this.width + Math.floor(x)]] : undefined;
  }

  /** Paints what is due, for a few milliseconds; true while something is left. */
  paint(budgetMs = 8) {
    const began = performance.now();
    while (this.due.length > 0 && performance.now() - began < budgetMs) {
      this.paintArea(...this.due.shift());
    }
    return this.due.length > 0;
  }

  paintArea(left, top, w, h) {
    const size = TILE_PIXELS;
    const image = this.pen.createImageData(w * size, h * size);
    const pixels = image.data;
    let at = 0;
    for (let py = 0; py < h * size; py++) {
      const y = top + (py + 0.5) / size;
      for (let px = 0; px < w * size; px++) {
        const x = left + (px + 0.5) / size;
        const kind = this.bentKind(x, y);
        const shade = 1 + (noise(x * 0.35, y * 0.35) - 0.5) * 0.1 + (noise(x * 5, y * 5) - 0.5) * 0.07;
        const [red, green, blue] = this.ink[kind] ?? UNKNOWN;
        pixels[at] = red * shade;
        pixels[at + 1] = green * shade;
        pixels[at + 2] = blue * shade;
        pixels[at + 3] = 255;
        at += 4;
      }
    }
    this.pen.putImageData(image, left * size, top * size);
    this.pen.save();
    this.pen.beginPath();
    this.pen.rect(left * size, top * size, w * size, h * size);
    this.pen.clip();
    // One tile around the area reaches into it.
    for (let y = Math.max(0, top - 1); y < Math.min(this.height, top + h + 1); y++) {
      for (let x = Math.max(0, left - 1); x < Math.min(this.width, left + w + 1); x++) {
        this.decorate(x, y);
      }
    }
    this.pen.restore();
  }

  /** The tile whose colour a place has: borders wander a little, except those of buildings. */
  bentKind(x, y) {
    const here = this.tiles[Math.floor(y) * this.width + Math.floor(x)];
    if (this.straight[here]) return here;
    const dx = (noise(x * 1.3, y * 1.3) - 0.5) * 1.1 + (noise(x * 4, y * 4) - 0.5) * 0.5;
    const dy = (noise(x * 1.3 + 71, y * 1.3) - 0.5) * 1.1 + (noise(x * 4 + 37, y * 4) - 0.5) * 0.5;
    const bx = Math.min(this.width - 1, Math.max(0, Math.floor(x + dx)));
    const by = Math.min(this.height - 1, Math.max(0, Math.floor(y + dy)));
    const there = this.tiles[by * this.width + bx];
    return this.straight[there] ? here : there;
  }

  decorate(x, y) {
    const draw = DECORATIONS[this.kinds[this.tiles[y * this.width + x]]];
    if (draw) draw(this.pen, x * TILE_PIXELS, y * TILE_PIXELS, TILE_PIXELS, (n) => chance(x, y, n));
  }
}

const DECORATIONS = {
  forest(pen, x, y, size, random) {
    for (let tree = 0; tree < 2; tree++) {
      const radius = size * (0.26 + 0.2 * random(tree));
      const cx = x + size * random(tree + 10);
      const cy = y + size * random(tree + 20);
      disc(pen, cx + 1, cy + 1.5, radius, "rgb(40 60 40 / 0.35)");
      disc(pen, cx, cy, radius, random(tree + 30) < 0.5 ? "rgb(72 110 66)" : "rgb(82 122 70)");
      disc(pen, cx - radius * 0.3, cy - radius * 0.3, radius * 0.45, "rgb(122 158 98 / 0.55)");
    }
  },
  grass(pen, x, y, size, random) {
    if (random(1) > 0.16) return;
    pen.strokeStyle = "rgb(96 128 66 / 0.55)";
    pen.lineWidth = 0.8;
    const cx = x + size * random(2);
    const cy = y + size * random(3);
    line(pen, cx - 1.4, cy, cx - 2, cy - 2);
    line(pen, cx, cy, cx, cy - 2.6);
    line(pen, cx + 1.4, cy, cx + 2, cy - 2);
  },
  field(pen, x, y, size, random) {
    pen.strokeStyle = "rgb(140 120 58 / 0.4)";
    pen.lineWidth = 0.9;
    for (let row = 0; row < 3; row++) {
      const at = y + ((row + 0.5) * size) / 3 + (random(row) - 0.5) * 0.6;
      line(pen, x, at, x + size, at);
    }
  },
  water(pen, x, y, size, random) {
    if (random(1) > 0.22) return;
    pen.strokeStyle = "rgb(214 232 240 / 0.35)";
    pen.lineWidth = 0.9;
    const cx = x + size * random(2);
    const cy = y + size * random(3);
    pen.beginPath();
    pen.moveTo(cx - 3, cy);
    pen.quadraticCurveTo(cx - 1.5, cy - 1.5, cx, cy);
    pen.quadraticCurveTo(cx + 1.5, cy + 1.5, cx + 3, cy);
    pen.stroke();
  },
  hill(pen, x, y, size, random) {
    if (random(1) > 0.24) return;
    pen.strokeStyle = "rgb(110 104 66 / 0.5)";
    pen.lineWidth = 1;
    pen.beginPath();
    pen.arc(x + size * random(2), y + size * random(3), size * 0.45, Math.PI * 1.1, Math.PI * 1.9);
    pen.stroke();
  },
  rock: stones,
  ruin: stones,
  wall(pen, x, y, size) {
    pen.fillStyle = "rgb(255 255 255 / 0.12)";
    pen.fillRect(x, y, size, 1.5);
    pen.fillStyle = "rgb(0 0 0 / 0.2)";
    pen.fillRect(x, y + size - 1.5, size, 1.5);
  },
  floor: planks,
  bridge: planks,
};

function stones(pen, x, y, size, random) {
  for (let stone = 0; stone < 2; stone++) {
    if (random(stone) > 0.6) continue;
    const cx = x + size * random(stone + 5);
    const cy = y + size * random(stone + 9);
    disc(pen, cx + 0.6, cy + 0.8, size * 0.17, "rgb(50 48 46 / 0.35)");
    disc(pen, cx, cy, size * 0.17, "rgb(172 168 160 / 0.8)");
  }
}

function planks(pen, x, y, size) {
  pen.strokeStyle = "rgb(90 66 40 / 0.28)";
  pen.lineWidth = 0.7;
  for (let row = 0; row < 2; row++) {
    line(pen, x, y + ((row + 0.5) * size) / 2, x + size, y + ((row + 0.5) * size) / 2);
  }
}

function disc(pen, x, y, radius, colour) {
  pen.fillStyle = colour;
  pen.beginPath();
  pen.arc(x, y, radius, 0, Math.PI * 2);
  pen.fill();
}

function line(pen, x1, y1, x2, y2) {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}

/** A number from 0 to 1 that is always the same for a place and purpose. */
function chance(x, y, n) {
  let bits = Math.imul(x + 1, 374761393) ^ Math.imul(y + 1, 668265263) ^ Math.imul(n + 1, 2246822519);
  bits = Math.imul(bits ^ (bits >>> 13), 1274126177);
  return ((bits ^ (bits >>> 16)) >>> 0) / 4294967296;
}

const NOISE_CELLS = 32;
const NOISE_STEPS = 8;
const NOISE_MASK = NOISE_CELLS * NOISE_STEPS - 1;
const NOISE = noiseTable();

/** Value noise from 0 to 1, looked up: painting asks for it millions of times. */
function noise(x, y) {
  const column = (x * NOISE_STEPS) & NOISE_MASK;
  const row = (y * NOISE_STEPS) & NOISE_MASK;
  return NOISE[row * (NOISE_MASK + 1) + column];
}

/** Smooth between random values at whole places; the right edge meets the left, the last row the first. */
function noiseTable() {
  const side = NOISE_CELLS * NOISE_STEPS;
  const table = new Float32Array(side * side);
  const value = (x, y) => chance(x % NOISE_CELLS, y % NOISE_CELLS, 0);
  for (let y = 0; y < side; y++) {
    const wy = Math.floor(y / NOISE_STEPS);
    const fy = smooth(y / NOISE_STEPS - wy);
    for (let x = 0; x < side; x++) {
      const wx = Math.floor(x / NOISE_STEPS);
      const fx = smooth(x / NOISE_STEPS - wx);
      const above = value(wx, wy) * (1 - fx) + value(wx + 1, wy) * fx;
      const below = value(wx, wy + 1) * (1 - fx) + value(wx + 1, wy + 1) * fx;
      table[y * side + x] = above * (1 - fy) + below * fy;
    }
  }
  return table;
}

function smooth(t) {
  return t * t * (3 - 2 * t);
}
