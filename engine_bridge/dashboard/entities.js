// The watched entities as the page knows them: snapshots and deltas applied, one object an entity.

export const FLAG = { player: 1, dead: 2, speaks: 4, downed: 8 };

const WIDTHS = {
  species: 2, faction: 2, x: 4, y: 4, hp: 4, max_hp: 4, action: 2, mood: 2, target: 8, flags: 1,
};

/** A state message that does not fit; the connection must begin anew. */
export class StateError extends Error {}

/**
 * What has been told of the world. `x` and `y` of an entity are in tiles; `shown` is where it is
 * drawn, which follows smoothly.
 */
export class Mirror {
  constructor(unitsPerTile) {
    this.unitsPerTile = unitsPerTile;
    this.byId = new Map();
    this.tick = 0;
    this.epoch = 0;
    this.time = "";
  }

  /** Replaces everything. */
  snapshot(d) {
    const before = d.epoch === this.epoch ? this.byId : new Map();
    this.byId = new Map();
    this.enter(d);
    for (const entity of this.byId.values()) {
      const old = before.get(entity.id);
      if (old) entity.shown = old.shown;
    }
    this.tick = d.tick;
    this.epoch = d.epoch;
    this.time = d.time;
  }

  /** Applies a change: leave, enter, change, names. */
  delta(d) {
    if (d.leave) for (const id of values("id", d.leave, 8)) this.byId.delete(id);
    if (d.enter) this.enter(d.enter);
    for (const [column, { i, v }] of Object.entries(d.change ?? {})) {
      if (!(column in WIDTHS)) continue; // a newer server's column is nothing to us
      const ids = values("id", i, 8);
      const now = values(column, v, WIDTHS[column]);
      if (now.length !== ids.length) throw new StateError(`a change of ${column} is lopsided`);
      ids.forEach((id, index) => {
        const entity = this.byId.get(id);
        if (!entity) throw new StateError(`a change of ${column} to someone out of sight`);
        this.set(entity, column, now[index]);
      });
    }
    for (const [id, name] of Object.entries(d.names ?? {})) {
      const entity = this.byId.get(Number(id));
      if (entity) entity.name = name;
    }
    this.tick = d.tick;
    if (d.time) this.time = d.time;
  }

  enter(packed) {
    const ids = values("id", packed.id, 8);
    if (ids.length !== packed.n) throw new StateError("the count and the ids disagree");
    const entered = ids.map((id) => ({ id, name: packed.names?.[id] ?? "" }));
    for (const [column, width] of Object.entries(WIDTHS)) {
      const column_values = values(column, packed[column], width);
      if (column_values.length !== packed.n) throw new StateError(`the column ${column} is lopsided`);
      entered.forEach((entity, row) => this.set(entity, column, column_values[row]));
    }
    for (const entity of entered) {
      entity.shown = { x: entity.x, y: entity.y };
      this.byId.set(entity.id, entity);
    }
  }

  set(entity, column, value) {
    entity[column] = column === "x" || column === "y" ? value / this.unitsPerTile : value;
  }
}

export const isDead = (entity) => (entity.flags & FLAG.dead) !== 0;
export const isPlayer = (entity) => (entity.flags & FLAG.player) !== 0;
export const speaks = (entity) =>
  (entity.flags & FLAG.speaks) !== 0 && (entity.flags & (FLAG.dead | FLAG.player)) === 0;

/** The numbers of a packed little-endian column. */
function values(column, bytes, width) {
  if (!(bytes instanceof Uint8Array) || bytes.length % width !== 0) {
    throw new StateError(`the column ${column} is not packed in ${width} bytes each`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = new Array(bytes.length / width);
  for (let row = 0; row < found.length; row++) {
    const at = row * width;
    if (width === 8) found[row] = Number(view.getBigUint64(at, true));
    else if (width === 4) found[row] = view.getInt32(at, true);
    else if (width === 1) found[row] = bytes[at];
    else found[row] = column === "mood" ? view.getInt16(at, true) : view.getUint16(at, true);
  }
  return found;
}
