// The live map: terrain, everyone on it moving smoothly, names, blows and words; pan, zoom, choose.

import { isDead, isPlayer } from "./entities.js";
import { Hands } from "./hands.js";
import { TILE_PIXELS } from "./terrain.js";

const LEAST_ZOOM = 2;
const MOST_ZOOM = 48;
const SMOOTHING = 10;
const JUMP = 4;
const WORDS_MS = 5200;
const BLOW_MS = 400;
const MAX_BUBBLES = 12;
const NAMES_FROM_ZOOM = 11;
const THINGS_FROM_ZOOM = 20;
const RIM_TILES = 7;
const MOST_RIM = 60;
const REACH_PIXELS = 16;
const WRAP_AFTER = 34;
const MAX_LINES = 4;

/** Light by time of day: multiplied over the map. */
const LIGHT = {
  dawn: [255, 226, 206], morning: [255, 250, 238], noon: [255, 255, 255],
  afternoon: [255, 247, 228], evening: [255, 208, 172], night: [112, 128, 184],
};

/**
 * Draws into `canvas`. `on.choose(id)` is called when someone is clicked (0: the ground), `on.hover(entity, x, y)`
 * when the pointer rests on someone or leaves.
 */
export class MapView {
  constructor(canvas, on) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.on = on;
    this.mirror = null;
    this.terrain = null;
    this.species = [];
    this.factions = [];
    this.chosen = 0;
    this.hovered = 0;
    this.zoom = 5;
    this.centre = { x: 96, y: 96 };
    this.fitted = true;
    this.glide = null;
    this.words = new Map();
    this.blows = new Map();
    this.light = [...LIGHT.noon];
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    new Hands(this);
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
    requestAnimationFrame((now) => this.frame(now));
  }

  /** Shows another world. */
  enter(world, mirror, terrain) {
    const fresh = !this.terrain || this.terrain.width !== world.width;
    this.mirror = mirror;
    this.terrain = terrain;
    this.species = world.species;
    this.factions = world.factions;
    if (fresh) this.fit();
  }

  /** Shows the whole map. */
  fit() {
    if (!this.terrain) return;
    const { width, height } = this.terrain;
    this.centre = { x: width / 2, y: height / 2 };
    this.zoom = this.bounded(Math.min(this.width / width, this.height / height));
    this.glide = null;
    this.fitted = true;
  }

  /** Moves the view to someone, closer if it is far. */
  show(entity) {
    this.fitted = false;
    const zoom = Math.max(this.zoom, 14);
    if (this.calm.matches) {
      this.centre = { x: entity.x, y: entity.y };
      this.zoom = this.bounded(zoom);
    } else this.glide = { id: entity.id, zoom: this.bounded(zoom), until: performance.now() + 900 };
  }

  /** Lets words appear over someone. */
  say(id, text) {
    this.words.delete(id);
    this.words.set(id, { lines: wrapped(text), until: performance.now() + WORDS_MS + 35 * text.length });
    if (this.words.size > MAX_BUBBLES) this.words.delete(this.words.keys().next().value);
  }

  /** Lets someone flash who was struck. */
  blow(id) {
    this.blows.set(id, performance.now() + BLOW_MS);
  }

  bounded(zoom) {
    return Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, zoom));
  }

  resize() {
    const box = this.canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    this.width = Math.max(1, box.width);
    this.height = Math.max(1, box.height);
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.ratio = ratio;
    if (this.fitted) this.fit();
  }

  // --- drawing ---

  frame(now) {
    requestAnimationFrame((next) => this.frame(next));
    const seconds = Math.min(0.25, (now - (this.last ?? now)) / 1000);
    this.last = now;
    if (!this.mirror || !this.terrain) return;
    this.terrain.paint();
    this.move(seconds, now);
    this.draw(now);
  }

  move(seconds, now) {
    const share = this.calm.matches ? 1 : 1 - Math.exp(-SMOOTHING * seconds);
    for (const entity of this.mirror.byId.values()) {
      const { shown } = entity;
      const dx = entity.x - shown.x;
      const dy = entity.y - shown.y;
      // Who moved further than anyone walks was put there: no sliding.
      const step = Math.abs(dx) + Math.abs(dy) > JUMP ? 1 : share;
      shown.x += dx * step;
      shown.y += dy * step;
    }
    if (this.glide) {
      const to = this.mirror.byId.get(this.glide.id);
      if (!to || now > this.glide.until) this.glide = null;
      else {
        const slide = 1 - Math.exp(-7 * seconds);
        this.centre.x += (to.shown.x - this.centre.x) * slide;
        this.centre.y += (to.shown.y - this.centre.y) * slide;
        this.zoom += (this.glide.zoom - this.zoom) * slide;
      }
    }
    const goal = LIGHT[this.mirror.time] ?? LIGHT.noon;
    this.light = this.light.map((part, index) => part + (goal[index] - part) * Math.min(1, seconds / 2));
  }

  draw(now) {
    const { pen } = this;
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.fillStyle = getComputedStyle(this.canvas).backgroundColor;
    pen.fillRect(0, 0, this.width, this.height);
    const origin = this.toScreen(0, 0);
    const scale = this.zoom / TILE_PIXELS;
    pen.imageSmoothingEnabled = true;
    pen.imageSmoothingQuality = "high";
    const { canvas } = this.terrain;
    pen.drawImage(canvas, origin.x, origin.y, canvas.width * scale, canvas.height * scale);
    this.drawLight(origin, canvas.width * scale, canvas.height * scale);
    this.drawRim(origin, canvas.width * scale, canvas.height * scale);
    const seen = [...this.mirror.byId.values()].filter((entity) => this.inView(entity));
    seen.sort((a, b) => rank(a) - rank(b) || a.shown.y - b.shown.y || a.id - b.id);
    for (const entity of seen) this.drawStrife(entity);
    for (const entity of seen) this.drawEntity(entity, now);
    this.drawNames(seen);
    this.drawTalk(now);
  }

  drawTalk(now) {
    const taken = [];
    for (const [id, words] of this.words) {
      const speaker = this.mirror.byId.get(id);
      if (!speaker || now > words.until) this.words.delete(id);
      else if (this.inView(speaker)) this.drawWords(speaker, words, now, taken);
    }
  }

  drawLight(origin, width, height) {
    const { pen } = this;
    if (this.light.every((part) => part > 253)) return;
    pen.globalCompositeOperation = "multiply";
    pen.fillStyle = `rgb(${this.light.map(Math.round).join(" ")})`;
    pen.fillRect(origin.x, origin.y, width, height);
    pen.globalCompositeOperation = "source-over";
    const dark = 1 - this.light[0] / 255;
    if (dark < 0.2) return;
    // Hearths and the like glow at night.
    pen.globalCompositeOperation = "screen";
    for (const entity of this.mirror.byId.values()) {
      if (!/hearth|fire|lamp|shrine/.test(this.kind(entity).name) || !this.inView(entity)) continue;
      const at = this.toScreen(entity.shown.x, entity.shown.y);
      const glow = pen.createRadialGradient(at.x, at.y, 0, at.x, at.y, this.zoom * 5);
      glow.addColorStop(0, `rgb(255 190 110 / ${0.5 * dark})`);
      glow.addColorStop(1, "rgb(255 190 110 / 0)");
      pen.fillStyle = glow;
      pen.fillRect(at.x - this.zoom * 5, at.y - this.zoom * 5, this.zoom * 10, this.zoom * 10);
    }
    pen.globalCompositeOperation = "source-over";
  }

  /** The map ends softly, like a painting. */
  drawRim(left, width, height) {
    const { pen } = this;
    const paper = getComputedStyle(this.canvas).backgroundColor;
    const clear = `rgb(${paper.match(/\d+/g).slice(0, 3).join(" ")} / 0)`;
    const rim = Math.min(MOST_RIM, this.zoom * RIM_TILES);
    const right = left.x + width;
    const bottom = left.y + height;
    const sides = [
      [left.x, left.y, rim, 0], [right, left.y, -rim, 0],
      [left.x, left.y, 0, rim], [left.x, bottom, 0, -rim],
    ];
    for (const [x, y, dx, dy] of sides) {
      const fade = pen.createLinearGradient(x, y, x + dx, y + dy);
      fade.addColorStop(0, paper);
      fade.addColorStop(1, clear);
      pen.fillStyle = fade;
      if (dx) pen.fillRect(Math.min(x, x + dx) - (dx > 0 ? 2 : 0), y, rim + 2, height);
      else pen.fillRect(x, Math.min(y, y + dy) - (dy > 0 ? 2 : 0), width, rim + 2);
    }
  }

  radius(entity) {
    const size = Math.max(3, Math.min(15, this.zoom * 0.5));
    return this.isNear(entity) ? size * 1.2 : size;
  }

  drawStrife(entity) {
    if (!entity.target || isDead(entity)) return;
    const foe = this.mirror.byId.get(entity.target);
    if (!foe || !this.blows.has(foe.id)) return;
    const from = this.toScreen(entity.shown.x, entity.shown.y);
    const to = this.toScreen(foe.shown.x, foe.shown.y);
    this.pen.strokeStyle = "rgb(190 60 50 / 0.55)";
    this.pen.lineWidth = 1.5;
    this.pen.beginPath();
    this.pen.moveTo(from.x, from.y);
    this.pen.lineTo(to.x, to.y);
    this.pen.stroke();
  }

  drawEntity(entity, now) {
    const { pen } = this;
    const { x, y } = this.toScreen(entity.shown.x, entity.shown.y);
    const radius = this.radius(entity);
    const kind = this.kind(entity);
    pen.globalAlpha = isDead(entity) ? 0.45 : 1;
    pen.fillStyle = "rgb(0 0 0 / 0.28)";
    circle(pen, x, y + radius * 0.22, radius);
    pen.fill();
    pen.fillStyle = kind.colour;
    circle(pen, x, y, radius);
    pen.fill();
    pen.strokeStyle = isPlayer(entity) ? "#ffffff" : "rgb(20 20 20 / 0.45)";
    pen.lineWidth = isPlayer(entity) ? 2 : 1;
    pen.stroke();
    const struck = (this.blows.get(entity.id) ?? 0) - now;
    if (struck > 0) {
      pen.fillStyle = `rgb(210 50 40 / ${(0.8 * struck) / BLOW_MS})`;
      circle(pen, x, y, radius + 2);
      pen.fill();
    } else this.blows.delete(entity.id);
    if (entity.id === this.chosen) {
      pen.strokeStyle = "#ffd65c";
      pen.lineWidth = 2.5;
      circle(pen, x, y, radius + 4);
      pen.stroke();
    }
    if (radius >= 6) {
      pen.fillStyle = isLight(kind.colour) ? "#22211f" : "#faf7ee";
      pen.font = `600 ${Math.round(radius * 1.25)}px ui-rounded, system-ui, sans-serif`;
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      pen.fillText(kind.symbol, x, y + 0.5);
    }
    if (entity.hp > 0 && entity.hp < entity.max_hp && radius >= 4) {
      const width = radius * 2.2;
      const top = y - radius - 6;
      pen.fillStyle = "rgb(0 0 0 / 0.45)";
      pen.fillRect(x - width / 2, top, width, 3);
      pen.fillStyle = entity.hp * 3 < entity.max_hp ? "#d0553f" : "#7fb069";
      pen.fillRect(x - width / 2, top, (width * entity.hp) / entity.max_hp, 3);
    }
    pen.globalAlpha = 1;
  }

  /** Names where there is room: the chosen first, then people, then things. */
  drawNames(seen) {
    const taken = [];
    const order = (entity) => (this.isNear(entity) ? 0 : 1) + (this.isThing(entity) ? 2 : 0);
    for (const entity of [...seen].sort((a, b) => order(a) - order(b))) {
      const from = this.isThing(entity) ? THINGS_FROM_ZOOM : NAMES_FROM_ZOOM;
      if (!entity.name || (!this.isNear(entity) && this.zoom < from)) continue;
      this.drawName(entity, taken);
    }
  }

  drawName(entity, taken) {
    const { pen } = this;
    const { x, y } = this.toScreen(entity.shown.x, entity.shown.y);
    const top = y + this.radius(entity) + 4;
    pen.font = `${this.isNear(entity) ? 600 : 500} 12px system-ui, sans-serif`;
    const half = pen.measureText(entity.name).width / 2 + 2;
    const overlaps = (box) => Math.abs(box.x - x) < box.half + half && Math.abs(box.top - top) < 14;
    if (taken.some(overlaps)) return;
    taken.push({ x, top, half });
    pen.textAlign = "center";
    pen.textBaseline = "top";
    pen.lineJoin = "round";
    pen.lineWidth = 3.5;
    pen.strokeStyle = "rgb(20 22 20 / 0.6)";
    pen.strokeText(entity.name, x, top);
    pen.fillStyle = "#fdfaf2";
    pen.fillText(entity.name, x, top);
  }

  isNear(entity) {
    return entity.id === this.chosen || entity.id === this.hovered;
  }

  isThing(entity) {
    return this.factions[entity.faction] === "things";
  }

  drawWords(entity, words, now, taken) {
    const { pen } = this;
    const at = this.toScreen(entity.shown.x, entity.shown.y);
    pen.font = "13px system-ui, sans-serif";
    const width = Math.max(...words.lines.map((text) => pen.measureText(text).width)) + 18;
    const height = words.lines.length * 17 + 12;
    const left = Math.min(this.width - width - 4, Math.max(4, at.x - width / 2));
    let top = at.y - this.radius(entity) - height - 10;
    // Who stands close together speaks one above the other.
    const below = (box) => left < box.right && box.left < left + width && top < box.bottom && box.top < top + height;
    for (let box = taken.find(below); box; box = taken.find(below)) top = box.top - height - 6;
    taken.push({ left, top, right: left + width, bottom: top + height });
    pen.globalAlpha = Math.min(1, (words.until - now) / 500);
    pen.fillStyle = "#fdf9ee";
    pen.strokeStyle = "rgb(60 50 40 / 0.35)";
    pen.lineWidth = 1;
    pen.beginPath();
    pen.roundRect(left, top, width, height, 9);
    pen.moveTo(at.x - 5, top + height - 0.5);
    pen.lineTo(at.x, top + height + 6);
    pen.lineTo(at.x + 5, top + height - 0.5);
    pen.fill();
    pen.stroke();
    pen.fillStyle = "#fdf9ee";
    pen.fillRect(at.x - 4.5, top + height - 2, 9, 2);
    pen.fillStyle = "#2c2823";
    pen.textAlign = "left";
    pen.textBaseline = "top";
    words.lines.forEach((text, index) => pen.fillText(text, left + 9, top + 8 + index * 17));
    pen.globalAlpha = 1;
  }

  kind(entity) {
    return this.species[entity.species] ?? { name: "someone", symbol: "?", colour: "#888888" };
  }

  // --- places ---

  toScreen(x, y) {
    return {
      x: (x - this.centre.x) * this.zoom + this.width / 2,
      y: (y - this.centre.y) * this.zoom + this.height / 2,
    };
  }

  toMap(x, y) {
    return {
      x: (x - this.width / 2) / this.zoom + this.centre.x,
      y: (y - this.height / 2) / this.zoom + this.centre.y,
    };
  }

  inView(entity) {
    const { x, y } = this.toScreen(entity.shown.x, entity.shown.y);
    return x > -40 && y > -40 && x < this.width + 40 && y < this.height + 60;
  }

  /** Who is drawn at a place of the canvas: of those within reach, the nearest. */
  at(x, y) {
    let best = null;
    let least = REACH_PIXELS;
    for (const entity of this.mirror?.byId.values() ?? []) {
      const place = this.toScreen(entity.shown.x, entity.shown.y);
      const distance = Math.hypot(place.x - x, place.y - y) + (isDead(entity) ? 6 : 0);
      if (distance < least) {
        least = distance;
        best = entity;
      }
    }
    return best;
  }

  /** Comes closer or goes farther, while the place under (x, y) stays where it is. */
  zoomAt(x, y, factor) {
    const held = this.toMap(x, y);
    this.zoom = this.bounded(this.zoom * factor);
    const now = this.toMap(x, y);
    this.centre.x += held.x - now.x;
    this.centre.y += held.y - now.y;
    this.glide = null;
    this.keepInside();
  }

  keepInside() {
    this.fitted = false;
    if (!this.terrain) return;
    this.centre.x = Math.min(this.terrain.width, Math.max(0, this.centre.x));
    this.centre.y = Math.min(this.terrain.height, Math.max(0, this.centre.y));
  }

  /** Shows the view moved by so many pixels. */
  pan(dx, dy) {
    this.centre.x -= dx / this.zoom;
    this.centre.y -= dy / this.zoom;
    this.glide = null;
    this.keepInside();
  }

  hover(entity, x = 0, y = 0) {
    this.hovered = entity?.id ?? 0;
    this.canvas.style.cursor = entity ? "pointer" : "grab";
    this.on.hover(entity, x, y);
  }
}

function circle(pen, x, y, radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, Math.PI * 2);
}

/** The dead lie lowest, players stand on top. */
function rank(entity) {
  if (isDead(entity)) return 0;
  return isPlayer(entity) ? 2 : 1;
}

function isLight(colour) {
  const match = /^#(..)(..)(..)$/.exec(colour);
  if (!match) return true;
  const [red, green, blue] = match.slice(1).map((part) => parseInt(part, 16));
  return 0.3 * red + 0.59 * green + 0.11 * blue > 130;
}

function wrapped(text) {
  const lines = [""];
  for (const word of text.split(/\s+/)) {
    const last = lines.length - 1;
    if (lines[last].length + word.length + 1 <= WRAP_AFTER) lines[last] += (lines[last] ? " " : "") + word;
    else lines.push(word);
  }
  const kept = lines.filter(Boolean);
  return kept.length <= MAX_LINES ? kept : [...kept.slice(0, MAX_LINES - 1), `${kept[MAX_LINES - 1]} …`];
}
