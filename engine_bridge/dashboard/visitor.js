// The spectator's body: joins when there is something to say, walks up to people, talks, leaves.

import { RequestError } from "./connection.js";
import { isDead } from "./entities.js";

const TALKING_DISTANCE = 5;
const STEP_MS = 500;
const STUCK_STEPS = 10;
const IN_SIGHT_MS = 5000;

export class Visitor {
  constructor(connection, world) {
    this.connection = connection;
    this.world = world;
    this.me = 0;
    this.name = "";
  }

  /** Says `text` to `id`. `on.status(words)` tells what goes on, `on.piece(words)` brings the answer. */
  async say(name, id, text, on) {
    await this.enter(name, on);
    await this.approach(id, on);
    on.status("");
    return this.connection.request("say", { to: id, text, key: this.connection.key() }, on.piece);
  }

  /** Takes the body out of the world. */
  async leave() {
    const { me } = this;
    this.me = 0;
    if (me) await this.connection.request("leave", { key: this.connection.key() });
  }

  /** The server knows nothing of the body any more. */
  forget() {
    this.me = 0;
  }

  async enter(name, on) {
    const body = this.world.entity(this.me);
    if (body && !isDead(body) && this.name === name) return;
    if (body && !isDead(body)) await this.leave();
    on.status("stepping into the world …");
    const joined = await this.connection.request("join", { name, key: this.connection.key() });
    this.me = joined.entity;
    this.name = name;
    const last = performance.now() + IN_SIGHT_MS;
    while (!this.world.entity(this.me)) {
      if (performance.now() > last) throw new RequestError({ code: "lost", message: "your body is not in sight" });
      await pause(50);
    }
  }

  async approach(id, on) {
    let nearest = Infinity;
    let stuck = 0;
    for (;;) {
      const to = this.world.entity(id);
      const body = this.world.entity(this.me);
      if (!to) throw new RequestError({ code: "gone", message: "they are gone" });
      if (!body || isDead(body)) throw new RequestError({ code: "dead", message: "you were struck down on the way" });
      const distance = Math.hypot(to.x - body.x, to.y - body.y);
      if (distance <= TALKING_DISTANCE) return;
      if (distance < nearest - 0.2) {
        nearest = distance;
        stuck = 0;
      } else if (++stuck > STUCK_STEPS) {
        throw new RequestError({ code: "blocked", message: "there is no way to them from here" });
      }
      on.status(`walking over, ${Math.round(distance)} steps to go …`);
      const units = this.world.facts.tile;
      const place = { x: Math.round(to.x * units), y: Math.round(to.y * units) };
      await this.connection.request("move", { ...place, key: this.connection.key() });
      await pause(STEP_MS);
    }
  }
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
