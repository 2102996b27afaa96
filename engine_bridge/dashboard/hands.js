// Hands on the map: wheel, pointers, pinching, keys.

import { speaks } from "./entities.js";

const CLICK_SLACK = 5;
const ARROWS = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };

/** Moves a `MapView` about and chooses on it. */
export class Hands {
  constructor(map) {
    this.map = map;
    this.pointers = new Map();
    const { canvas } = map;
    canvas.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.onDown(event));
    canvas.addEventListener("pointermove", (event) => this.onMove(event));
    canvas.addEventListener("pointerup", (event) => this.onUp(event));
    canvas.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => map.hover(null));
    canvas.addEventListener("keydown", (event) => this.onKey(event));
  }

  onWheel(event) {
    event.preventDefault();
    this.map.zoomAt(event.offsetX, event.offsetY, Math.exp(-event.deltaY * 0.0016));
  }

  onDown(event) {
    this.map.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    if (this.pointers.size === 1) this.pressed = { x: event.offsetX, y: event.offsetY };
  }

  onMove(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.map.hover(this.map.at(event.offsetX, event.offsetY), event.offsetX, event.offsetY);
      return;
    }
    const now = { x: event.offsetX, y: event.offsetY };
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    if (other) {
      const spread = Math.hypot(now.x - other.x, now.y - other.y);
      const was = Math.hypot(before.x - other.x, before.y - other.y);
      this.map.zoomAt((now.x + other.x) / 2, (now.y + other.y) / 2, spread / Math.max(1, was));
      this.pressed = null;
      return;
    }
    if (this.pressed && Math.hypot(now.x - this.pressed.x, now.y - this.pressed.y) < CLICK_SLACK) return;
    this.pressed = null;
    this.map.pan(now.x - before.x, now.y - before.y);
  }

  onUp(event) {
    this.pointers.delete(event.pointerId);
    if (!this.pressed) return;
    this.pressed = null;
    this.map.on.choose(this.map.at(event.offsetX, event.offsetY)?.id ?? 0);
  }

  onKey(event) {
    if (event.key in ARROWS) this.map.pan(...ARROWS[event.key]);
    else if (event.key === "+" || event.key === "=") this.map.zoomAt(this.map.width / 2, this.map.height / 2, 1.25);
    else if (event.key === "-") this.map.zoomAt(this.map.width / 2, this.map.height / 2, 0.8);
    else if (event.key === "0") this.map.fit();
    else if (event.key === "n" || event.key === "p") this.chooseNext(event.key === "n" ? 1 : -1);
    else if (event.key === "Escape") this.map.on.choose(0);
    else return;
    event.preventDefault();
  }

  /** Goes round those who can be talked to, from west to east. */
  chooseNext(step) {
    const all = [...(this.map.mirror?.byId.values() ?? [])].filter(speaks).sort((a, b) => a.x - b.x || a.id - b.id);
    if (all.length === 0) return;
    const now = all.findIndex((entity) => entity.id === this.map.chosen);
    const next = all[(now + step + all.length) % all.length];
    this.map.on.choose(next.id);
    this.map.show(next);
  }
}
