// What each local engine on the ladder tells: its batches and memory, and how long its answers take.

import { duration, facts, plural } from "./words.js";

const CLASSES = {
  speech: "Player speech", battle: "Battle", near: "Near", build: "Building", offstage: "Off stage",
};
const TIMES = ["first_token_p50_ms", "first_token_p95_ms", "token_p50_ms", "token_p95_ms"];

/** One block an engine, filled anew when something in it has changed. */
export class Rungs {
  constructor(parent) {
    this.parent = parent;
    this.shown = "";
  }

  /** `ladder`: the router's status, {} without one. */
  show({ rungs = {}, timings = {} }) {
    const engines = Object.entries(rungs).filter(([, { latency }]) => latency);
    const told = JSON.stringify([engines, timings]);
    if (told === this.shown) return;
    this.shown = told;
    const several = engines.length > 1;
    const blocks = engines.map(([label, rung]) => block(several ? label : "", rung, timings[label]?.first_token_s ?? {}));
    const note = engines.some(([, { latency }]) => Object.keys(latency).length)
      ? [quietly("Of the newest answers of each class, half are within p50 and 95 of 100 within p95.")]
      : [];
    this.parent.replaceChildren(...blocks, ...note);
  }
}

function block(label, rung, answers) {
  const section = make("section", { className: "rung" });
  if (label) {
    const head = section.appendChild(make("h3", { textContent: label }));
    head.append(" ", make("span", { className: "quiet small", textContent: rung.name }));
  }
  const list = section.appendChild(make("dl", { className: "facts" }));
  facts(list, engineFacts(rung));
  const { latency } = rung;
  section.append(Object.keys(latency).length ? times(latency, answers) : quietly("It has answered nothing yet."));
  return section;
}

function engineFacts({ engine = {}, adapters = {}, restarts }) {
  const refused = Object.entries(adapters).filter(([, state]) => state !== "loaded" && state !== "loading");
  const asked = engine.asked > 0;
  return {
    batch: asked ? `${plural(Math.round(10 * engine.batch_fill) / 10, "sequence")} a step` : undefined,
    queue: asked ? `${engine.waiting.toLocaleString()} waiting, ${engine.active.toLocaleString()} at work` : undefined,
    prompts: asked
      ? `${Math.round(100 * engine.prefix_hit_rate)}% from memory · ${plural(engine.cached_tokens, "token")} saved`
      : undefined,
    adapters: engine.adapters === undefined ? undefined
      : `${engine.adapters || "none"} · ${plural(engine.adapter_switches, "cohort switch", "cohort switches")}`,
    "refused adapters": refused.map(([species, why]) => `${species}: ${why}`).join(" · "),
    restarts: restarts || undefined,
  };
}

function quietly(textContent) {
  return make("p", { className: "quiet small", textContent });
}

/** The table of a rung's times by class, the most urgent first. */
function times(latency, answers) {
  const scroll = make("div", { className: "scroll" });
  const table = scroll.appendChild(make("table", { className: "times" }));
  table.append(make("caption", { className: "hidden", textContent: "How long answers take, by class" }));
  const head = table.appendChild(make("thead"));
  const groups = head.insertRow();
  groups.append(
    make("th", { scope: "col", rowSpan: 2, textContent: "class" }),
    make("th", { scope: "colgroup", colSpan: 2, className: "number", textContent: "first token" }),
    make("th", { scope: "colgroup", colSpan: 2, className: "number", textContent: "each further" }),
  );
  head.insertRow().append(
    ...["p50", "p95", "p50", "p95"].map((text) => make("th", { scope: "col", className: "number", textContent: text })),
  );
  const body = table.createTBody();
  for (const [name, told] of Object.entries(latency)) {
    const row = body.insertRow();
    const of = row.appendChild(make("th", { scope: "row", textContent: CLASSES[name] ?? name }));
    const count = answers[name]?.counts.reduce((sum, each) => sum + each, 0);
    if (count) of.append(make("small", { textContent: plural(count, "answer") }));
    row.append(...TIMES.map((key) => make("td", { className: "number", textContent: duration(told[key]) || "–" })));
  }
  return scroll;
}

function make(tag, given = {}) {
  return Object.assign(document.createElement(tag), given);
}
