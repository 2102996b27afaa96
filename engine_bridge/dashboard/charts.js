// Small charts: a line over the last minutes, and how many of each kind there are.

const KEPT = 240;

/** A line that moves on with each value; NaN leaves a gap. */
export class Sparkline {
  constructor(canvas, { colours = ["--series"], least = 1 } = {}) {
    this.canvas = canvas;
    this.colours = colours;
    this.least = least;
    this.rows = [];
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Takes one value a line. */
  push(...values) {
    this.rows.push(values);
    if (this.rows.length > KEPT) this.rows.shift();
    this.draw();
  }

  draw() {
    const box = this.canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(box.width * ratio));
    this.canvas.height = Math.max(1, Math.round(box.height * ratio));
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(this.canvas);
    const most = Math.max(this.least, ...this.rows.flat().filter(Number.isFinite)) * 1.12;
    const place = (value, index) => [
      box.width - (this.rows.length - 1 - index) * (box.width / (KEPT - 1)) - 2,
      box.height - 3 - (value / most) * (box.height - 8),
    ];
    pen.strokeStyle = style.getPropertyValue("--line");
    pen.beginPath();
    pen.moveTo(0, box.height - 2.5);
    pen.lineTo(box.width, box.height - 2.5);
    pen.stroke();
    // The last colour lies below, so that the first, which matters most, stays on top.
    for (let series = this.colours.length - 1; series >= 0; series--) {
      this.drawSeries(pen, style.getPropertyValue(this.colours[series]), series, place, box.height);
    }
  }

  drawSeries(pen, colour, series, place, height) {
    pen.strokeStyle = colour;
    pen.fillStyle = colour;
    pen.lineWidth = 1.6;
    pen.lineJoin = "round";
    pen.beginPath();
    let begun = null;
    let last = null;
    this.rows.forEach((row, index) => {
      if (!Number.isFinite(row[series])) return;
      last = place(row[series], index);
      if (begun) pen.lineTo(...last);
      else {
        begun = last;
        pen.moveTo(...last);
      }
    });
    if (!begun) return;
    pen.stroke();
    pen.lineTo(last[0], height - 3);
    pen.lineTo(begun[0], height - 3);
    pen.globalAlpha = 0.12;
    pen.fill();
    pen.globalAlpha = 1;
    pen.beginPath();
    pen.arc(last[0], last[1], 2.4, 0, Math.PI * 2);
    pen.fill();
  }
}

/** Bars of how many of each species live, the most first. */
export class Population {
  constructor(list) {
    this.list = list;
    this.rows = new Map();
  }

  /** `counts`: [{name, colour, count}], in any order. */
  show(counts) {
    const sorted = counts.filter(({ count }) => count > 0).sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1));
    const most = Math.max(1, ...sorted.map(({ count }) => count));
    const seen = new Set();
    for (const { name, colour, count } of sorted) {
      seen.add(name);
      const row = this.rows.get(name) ?? this.make(name);
      row.bar.style.background = colour;
      row.bar.style.width = `${(100 * count) / most}%`;
      row.number.textContent = count;
      if (this.list.children[seen.size - 1] !== row.item) this.list.insertBefore(row.item, this.list.children[seen.size - 1]);
    }
    for (const [name, row] of this.rows) {
      if (seen.has(name)) continue;
      row.item.remove();
      this.rows.delete(name);
    }
  }

  make(name) {
    const item = document.createElement("li");
    const label = item.appendChild(document.createElement("span"));
    label.textContent = name.replaceAll("_", " ");
    const rail = item.appendChild(document.createElement("span"));
    rail.className = "rail";
    const bar = rail.appendChild(document.createElement("i"));
    const number = item.appendChild(document.createElement("span"));
    number.className = "number";
    const row = { item, bar, number };
    this.rows.set(name, row);
    return row;
  }
}
