// The figures below the map and the engine's page: pace, models, actors, who lives here.

import { Population, Sparkline } from "./charts.js";
import { Rungs } from "./rungs.js";
import { fetchStatus } from "./status.js";
import { duration, facts, plural } from "./words.js";

const EVERY_MS = 1000;
const $ = (id) => document.getElementById(id);

export class Figures {
  constructor(world) {
    this.world = world;
    this.pace = new Sparkline($("tick-chart"), { colours: ["--series", "--series-2"], least: 2 });
    this.queue = new Sparkline($("queue-chart"), { colours: ["--series-2"], least: 4 });
    this.population = new Population($("population"));
    this.rungs = new Rungs($("rungs"));
  }

  start() {
    if (this.timer) return;
    this.timer = setInterval(() => this.ask(), EVERY_MS);
    this.ask();
  }

  /** Who lives, by species. */
  count(living) {
    const counts = new Map();
    for (const entity of living) {
      const { name, colour } = this.world.kind(entity);
      const entry = counts.get(name) ?? { name, colour, count: 0 };
      entry.count += 1;
      counts.set(name, entry);
    }
    this.population.show([...counts.values()]);
    $("alive-now").textContent = living.length.toLocaleString();
  }

  async ask() {
    if (document.hidden || this.asking) return;
    this.asking = true;
    const { status } = await fetchStatus();
    this.asking = false;
    if (status) this.show(status);
  }

  show(status) {
    const { pace = {} } = status;
    this.pace.push(pace.took_p50_ms ?? NaN, pace.took_p99_ms ?? NaN);
    $("tick-now").textContent = duration(pace.took_p50_ms);
    $("tick-note").textContent = pace.steps === undefined ? ""
      : `99 of 100 within ${duration(pace.took_p99_ms)} · ${plural(pace.missed, "tick")} missed`;
    const open = status.questions_open ?? NaN;
    this.queue.push(open);
    $("queue-now").textContent = Number.isFinite(open) ? open : "";
    $("queue-note").textContent = modelNote(status);
    this.showEngine(status);
  }

  showEngine(status) {
    facts($("engine-facts"), {
      ...ladderFacts(status),
      embeddings: embeddingNote(ladderOf(status.models).cache?.embedder),
      actors: status.actors?.toLocaleString(),
      clients: status.bridge?.connections,
      stored: status.synced_tick === undefined ? undefined : `up to tick ${status.synced_tick.toLocaleString()}`,
      failures: status.incidents,
      storage: status.storage_fault || undefined,
    });
    this.rungs.show(ladderOf(status.models));
    const rows = Object.values(status.kinds ?? {})
      .filter((kind) => kind.alive > 0 || kind.failures > 0)
      .sort((a, b) => b.alive - a.alive || (a.kind < b.kind ? -1 : 1))
      .map((kind) => row(words(kind.kind), kind.alive, kind.queued, kind.handled, kind.restarts));
    $("actors").replaceChildren(...rows);
  }
}

/** The ladder of models in a status, whatever stands in front of it. */
function ladderOf(models = {}) {
  return models.kind === "router" || !models.backend ? models : ladderOf(models.backend);
}

/** Who answers now, and which rungs there are. */
function ladderFacts(status) {
  const { answering = {}, rungs = {}, off = [] } = ladderOf(status.models);
  const rung = rungs[answering[""]];
  const name = status.model || "none: reflexes and rules alone";
  return {
    model: rung ? `${rung.name} answers now` : Object.keys(rungs).length ? "nobody can answer now: reflexes do" : name,
    rungs: Object.keys(rungs).length > 1
      ? Object.entries(rungs).map(([key, { state }]) => `${key} (${off.includes(key) ? "off" : state ?? "ready"})`).join(", ")
      : undefined,
  };
}

/** What turns questions into vectors, where a cache of answers asks it. */
function embeddingNote({ name, state, tally, engine, restarts } = {}) {
  if (!tally) return undefined;
  const failed = Object.values(tally.failed).reduce((sum, count) => sum + count, 0);
  return [
    `${plural(tally.texts, "text")} by ${name}${state === "ready" ? "" : ` (${state})`}`,
    engine?.batches ? `${engine.texts_a_batch} a batch` : "",
    failed ? `${failed.toLocaleString()} failed` : "",
    restarts ? plural(restarts, "restart") : "",
  ].filter(Boolean).join(" · ");
}

function modelNote(status) {
  const did = status.minds_did;
  if (!did) return status.model ?? "";
  const lines = `${plural(did.model_lines, "line")} by ${status.model ? "the model" : "models"}, ${did.reflex_lines} by reflex`;
  return status.model ? lines : `no model · ${plural(did.reflex_lines, "line")} by reflex`;
}

function row(name, ...numbers) {
  const line = document.createElement("tr");
  const head = line.appendChild(document.createElement("td"));
  head.textContent = name;
  for (const number of numbers) {
    const cell = line.appendChild(document.createElement("td"));
    cell.className = "number";
    cell.textContent = number.toLocaleString();
  }
  return line;
}

/** "TerrainBuilder" → "Terrain builder". */
function words(name) {
  const spaced = name.replace(/Actor$/, "").replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return spaced === "npc" ? "NPC" : spaced.charAt(0).toUpperCase() + spaced.slice(1);
}
