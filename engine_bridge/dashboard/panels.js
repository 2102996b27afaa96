// The lists beside the map: people to find, voices, events; and the tabs that hold them.

const KEPT_VOICES = 150;
const KEPT_EVENTS = 200;
const $ = (id) => document.getElementById(id);

/** Tabs that can be walked with the arrow keys. */
export class Tabs {
  constructor(list) {
    this.tabs = [...list.querySelectorAll("[role=tab]")];
    for (const tab of this.tabs) tab.addEventListener("click", () => this.open(tab));
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const now = this.tabs.indexOf(document.activeElement);
      const next = this.tabs[(now + step + this.tabs.length) % this.tabs.length];
      this.open(next);
      next.focus();
    });
  }

  open(chosen) {
    for (const tab of this.tabs) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", isChosen);
      tab.tabIndex = isChosen ? 0 : -1;
      $(tab.getAttribute("aria-controls")).hidden = !isChosen;
    }
  }
}

/** Everyone who can be talked to, by name. */
export class People {
  constructor(world, choose) {
    this.world = world;
    this.choose = choose;
    this.rows = new Map();
    this.list = $("people-list");
    $("find").addEventListener("input", () => this.show(this.people ?? [], this.chosen));
    $("find").addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.list.querySelector("button")?.click();
    });
  }

  show(people, chosen) {
    this.people = people;
    this.chosen = chosen;
    const wanted = $("find").value.trim().toLowerCase();
    const named = people.map((entity) => ({ entity, name: this.world.name(entity.id) }));
    const found = named
      .filter(({ name, entity }) => `${name} ${this.world.kind(entity).name}`.toLowerCase().includes(wanted))
      .sort((a, b) => !a.entity.name - !b.entity.name || a.name.localeCompare(b.name) || a.entity.id - b.entity.id);
    const seen = new Set();
    found.forEach(({ entity, name }, index) => {
      seen.add(entity.id);
      const row = this.rows.get(entity.id) ?? this.make(entity);
      if (row.name.textContent !== name) row.name.textContent = name;
      const doing = this.world.doing(entity);
      if (row.doing.textContent !== doing) row.doing.textContent = doing;
      row.button.setAttribute("aria-current", entity.id === chosen);
      if (this.list.children[index] !== row.item) this.list.insertBefore(row.item, this.list.children[index] ?? null);
    });
    for (const [id, row] of this.rows) {
      if (seen.has(id)) continue;
      row.item.remove();
      this.rows.delete(id);
    }
    $("people-none").hidden = found.length > 0;
  }

  make(entity) {
    const item = document.createElement("li");
    const button = item.appendChild(document.createElement("button"));
    button.type = "button";
    button.addEventListener("click", () => this.choose(entity.id));
    const dot = button.appendChild(document.createElement("span"));
    dot.className = "dot";
    dot.style.background = this.world.kind(entity).colour;
    const name = button.appendChild(document.createElement("span"));
    const doing = button.appendChild(document.createElement("span"));
    doing.className = "quiet small";
    const row = { item, button, name, doing };
    this.rows.set(entity.id, row);
    return row;
  }
}

/** What is said aloud, the newest first. */
export class Voices {
  constructor(world, choose) {
    this.world = world;
    this.choose = choose;
    this.log = new Log("voices", KEPT_VOICES);
  }

  add({ tick, entity, target, data }) {
    const who = person(this.world, entity, this.choose);
    const whom = target ? [" to ", person(this.world, target, this.choose)] : [];
    const words = document.createElement("div");
    words.className = "words";
    words.textContent = data.text;
    this.log.add(tick, this.world, [who, ...whom, words]);
  }
}

const EVENT_WORDS = {
  spawned: ({ data }) => (data.born ? ["was born"] : ["came into the world"]),
  despawned: () => ["left the world"],
  died: ({ data, who }) => (data.by ? ["was killed by ", who(data.by)] : ["died"]),
  downed: ({ data, who }) => (data.by ? ["was struck down by ", who(data.by)] : ["was struck down"]),
  recovered: () => ["is on their feet again"],
  attacked: ({ target, data, who }) => ["struck ", who(target), ` for ${data.damage}`],
  used: ({ target, who }) => ["used ", who(target)],
  moved_in: ({ data }) => [`came to ${String(data.place).replaceAll("_", " ")}`],
  order: ({ entity, data }) => [`${entity ? "got" : "A group got"} the order: ${data.tactic}`],
  threat: ({ data }) => [`saw a ${String(data.species).replaceAll("_", " ")} coming`],
  dam_broken: () => ["broke the dam!"],
  fled: ({ target, who }) => (target ? ["fled from ", who(target)] : ["fled"]),
};
// These happen all day long; they would drown what matters.
const SMALL = new Set(["ate", "slept", "calm", "moved_in", "tiles"]);

/** What happens, the newest first. */
export class EventLog {
  constructor(world, choose) {
    this.world = world;
    this.choose = choose;
    this.log = new Log("events", KEPT_EVENTS);
  }

  add(event) {
    if (SMALL.has(event.kind)) return;
    const who = (id) => person(this.world, id, this.choose);
    if (event.kind === "time_of_day") {
      this.log.add(event.tick, this.world, [`It is ${event.data.name}.`]);
      return;
    }
    const words = EVENT_WORDS[event.kind]?.({ ...event, who }) ?? [event.kind.replaceAll("_", " ")];
    this.log.add(event.tick, this.world, event.entity ? [this.subject(event, who), " ", ...words] : words);
  }

  /** Who comes into the world is told of before they are in sight, with their name. */
  subject({ kind, entity, data }, who) {
    if (kind !== "spawned" || this.world.entity(entity)) return who(entity);
    const name = document.createElement("b");
    name.textContent = data.name || `a new ${String(data.species).replaceAll("_", " ")}`;
    return name;
  }
}

/** A bounded list of lines with the hour of the day. */
class Log {
  constructor(name, kept) {
    this.list = $(`${name}-list`);
    this.none = $(`${name}-none`);
    this.kept = kept;
  }

  add(tick, world, parts) {
    this.none.hidden = true;
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.textContent = clock(tick, world.facts?.day_ticks ?? 24000);
    item.append(time, ...parts);
    // Who reads further down is not pushed along.
    const panel = this.list.parentElement;
    const before = this.list.scrollHeight;
    this.list.prepend(item);
    if (panel.scrollTop > 4) panel.scrollTop += this.list.scrollHeight - before;
    while (this.list.children.length > this.kept) this.list.lastChild.remove();
  }
}

/** A name that leads to who bears it. */
export function person(world, id, choose) {
  const name = document.createElement("b");
  name.textContent = world.name(id);
  if (!world.entity(id)) return name;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain link person";
  button.append(name);
  button.addEventListener("click", () => choose(id));
  return button;
}

/** The hour a tick falls into; a day begins at six in the morning. */
export function clock(tick, dayTicks) {
  const minutes = Math.floor((((tick % dayTicks) / dayTicks) * 24 + 6) * 60) % 1440;
  return `${String(Math.floor(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
}
