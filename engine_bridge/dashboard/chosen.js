// The panel of the one chosen: who they are, how they fare, who is near, and a talk with them.

import { isDead, isPlayer, speaks } from "./entities.js";
import { facts } from "./words.js";

const ASK_MS = 1500;
const KEPT_LINES = 60;
const KEPT_TALKS = 40;
const $ = (id) => document.getElementById(id);

export class Chosen {
  constructor(world, on) {
    this.world = world;
    this.on = on;
    this.id = 0;
    this.talks = new Map();
    this.busy = false;
    $("let-go").addEventListener("click", () => on.choose(0));
    $("chosen-mark").addEventListener("click", () => this.entity && on.show(this.entity));
    $("talk-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.say($("talk-text").value.trim());
    });
    $("go").addEventListener("click", () => this.leave());
    setInterval(() => this.ask(), ASK_MS);
  }

  connect(connection, visitor) {
    this.connection = connection;
    this.visitor = visitor;
  }

  /** A new session has no body. */
  forgetBody() {
    this.visitor?.forget();
    $("go").hidden = true;
  }

  get entity() {
    return this.world.entity(this.id);
  }

  open(id) {
    this.id = this.world.entity(id) ? id : 0;
    this.panel = null;
    $("chosen").hidden = !this.id;
    if (!this.id) return;
    $("talk-lines").replaceChildren(...(this.talks.get(id) ?? []));
    $("talk-lines").scrollTop = $("talk-lines").scrollHeight;
    this.refresh();
    this.ask();
  }

  /** Shows what the ticks tell; what they don't is asked for now and then. */
  refresh() {
    const { entity } = this;
    if (!this.id || !entity) {
      if (this.id && this.world.mirror) this.on.choose(0);
      return;
    }
    const kind = this.world.kind(entity);
    const mark = $("chosen-mark");
    mark.textContent = kind.symbol;
    mark.style.background = kind.colour;
    mark.style.color = luminous(kind.colour) ? "#22211f" : "#faf7ee";
    $("chosen-name").textContent = this.world.name(this.id);
    $("chosen-kind").textContent = this.kindLine(entity, kind);
    $("chosen-now").textContent = this.nowLine(entity);
    this.showHealth(entity);
    $("talk").hidden = !speaks(entity);
  }

  kindLine(entity, kind) {
    const words = kind.name.replaceAll("_", " ");
    const trade = this.panel?.persona?.trade;
    if (isPlayer(entity)) return "a player";
    return [trade && trade !== kind.name ? trade : words, this.panel?.group].filter(Boolean).join(" · ");
  }

  nowLine(entity) {
    if (isDead(entity)) return "Dead.";
    if (this.world.isThing(entity)) return "A thing that can be used.";
    const doing = this.world.doing(entity);
    const target = entity.target && this.world.entity(entity.target) ? ` (${this.world.name(entity.target)})` : "";
    const place = this.panel?.place ? `, ${atPlace(this.panel.place)}` : "";
    const mood = this.panel?.mood ? `. Feels ${this.panel.mood}` : "";
    const text = `${doing}${target}${place}${mood}.`;
    return text.charAt(0).toUpperCase() + text.slice(1);
  }

  showHealth(entity) {
    const needs = $("chosen-needs");
    needs.hidden = this.world.isThing(entity);
    if (needs.hidden) return;
    const share = Math.max(0, Math.min(1, entity.hp / Math.max(1, entity.max_hp)));
    if (!this.meter) {
      const box = document.createElement("div");
      this.meterText = box.appendChild(document.createElement("span"));
      this.meter = box.appendChild(document.createElement("div"));
      this.meter.className = "meter";
      this.meter.append(document.createElement("i"));
      needs.append(box);
    }
    this.meterText.textContent = `health ${entity.hp} of ${entity.max_hp}`;
    this.meter.classList.toggle("bad", share < 0.34);
    this.meter.firstChild.style.width = `${100 * share}%`;
  }

  async ask() {
    const { id } = this;
    if (!id || document.hidden || !this.connection?.ready) return;
    let panel;
    try {
      panel = await this.connection.request("inspect", { entity: id });
    } catch {
      return; // gone, or the line is cut: the ticks will tell
    }
    if (id !== this.id) return;
    this.panel = panel;
    this.refresh();
    facts($("chosen-facts"), {
      temper: panel.persona?.temper,
      trouble: (panel.trouble ?? []).join("; "),
    });
    this.showNear(panel.near ?? []);
  }

  showNear(near) {
    const line = $("chosen-near");
    const known = near.filter(({ id }) => this.world.entity(id)).slice(0, 6);
    line.hidden = known.length === 0;
    const parts = known.flatMap(({ id }, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = this.world.name(id);
      button.addEventListener("click", () => this.on.choose(id));
      // A comma stays on the line of the name before it.
      const piece = document.createElement("span");
      piece.append(button, index < known.length - 1 ? "," : "");
      return [piece, " "];
    });
    // The same people in the same order: leave the buttons, someone may be about to press one.
    const text = `Near: ${known.map(({ id }) => this.world.name(id)).join(", ")}`;
    if (line.textContent.trim() !== text) line.replaceChildren("Near: ", ...parts);
  }

  // --- talking ---

  async say(text) {
    const { id } = this;
    if (!text || this.busy || !this.connection?.ready) return;
    const name = $("visitor").value.trim() || "Visitor";
    this.setBusy(true);
    $("talk-text").value = "";
    this.add(id, text, "mine");
    const answer = this.add(id, "", "growing aside");
    let words = "";
    try {
      const done = await this.visitor.say(name, id, text, {
        status: (told) => this.put(answer, told, "growing aside"),
        piece: (piece) => {
          words += piece;
          this.put(answer, words, "growing");
        },
      });
      this.put(answer, done.text || "(no answer)", "");
      const note = document.createElement("small");
      note.textContent = `${done.source} · first word after ${done.first_token_ms} ms, all after ${done.total_ms} ms`;
      answer.append(note);
    } catch (error) {
      this.put(answer, [error.message, error.hint].filter(Boolean).join(": "), "aside");
    }
    this.scroll();
    $("go").hidden = !this.visitor.me;
    this.setBusy(false);
    if (id === this.id) $("talk-text").focus();
  }

  async leave() {
    $("go").hidden = true;
    try {
      await this.visitor.leave();
    } catch (error) {
      console.warn("greenroom:", error);
    }
  }

  setBusy(busy) {
    this.busy = busy;
    $("talk-form").querySelector("button").disabled = busy;
  }

  add(id, text, kind) {
    const line = document.createElement("li");
    line.className = kind;
    line.textContent = text;
    const lines = this.talks.get(id) ?? [];
    lines.push(line);
    if (lines.length > KEPT_LINES) lines.shift().remove();
    this.talks.set(id, lines);
    if (this.talks.size > KEPT_TALKS) this.talks.delete(this.talks.keys().next().value);
    if (id === this.id) $("talk-lines").append(line);
    this.scroll();
    return line;
  }

  put(line, text, kind) {
    line.className = kind;
    line.textContent = text;
    this.scroll();
  }

  scroll() {
    $("talk-lines").scrollTop = $("talk-lines").scrollHeight;
  }
}

function atPlace(place) {
  return /^(at|in|on|near|by|under|beside|somewhere|the open)\b/.test(place) ? place : `at ${place}`;
}

function luminous(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return 0.3 * red + 0.59 * green + 0.11 * blue > 130;
}
