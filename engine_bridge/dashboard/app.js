// Wires the page: finds the game socket, keeps the picture of the world, passes on what happens.

import { Connection } from "./connection.js";
import { Mirror, isDead, isPlayer, speaks } from "./entities.js";
import { Figures } from "./figures.js";
import { Chosen } from "./chosen.js";
import { MapView } from "./map.js";
import { EventLog, People, Tabs, Voices } from "./panels.js";
import { Terrain } from "./terrain.js";
import { Visitor } from "./visitor.js";
import { fetchStatus, keepToken } from "./status.js";

const $ = (id) => document.getElementById(id);
const LISTS_MS = 500;
const DOING = {
  idle: "at ease", move: "walking", attack: "fighting", use: "busy", talk: "talking", flee: "fleeing",
  rest: "resting", work: "working", eat: "eating", wander: "strolling", hunt: "hunting",
  patrol: "on patrol", gather: "gathering", downed: "struck down", follow: "following", graze: "grazing",
};

/** What the panels know of the world: who is who, in words. */
class World {
  constructor() {
    this.facts = null;
    this.mirror = null;
  }

  entity(id) {
    return this.mirror?.byId.get(id);
  }

  kind(entity) {
    return this.facts?.species[entity?.species] ?? { name: "someone", symbol: "?", colour: "#888888" };
  }

  isThing(entity) {
    return this.facts?.factions[entity.faction] === "things";
  }

  /** "Mara Finch", "a wolf", or "someone" when the id is no longer known. */
  name(id) {
    const entity = this.entity(id);
    if (!entity) return "someone";
    const kind = this.kind(entity).name.replaceAll("_", " ");
    return entity.name || `${/^[aeiou]/.test(kind) ? "an" : "a"} ${kind}`;
  }

  /** What someone does, in words: "working". */
  doing(entity) {
    if (isDead(entity)) return "dead";
    const activity = this.facts?.activities[entity.action] ?? "here";
    return DOING[activity] ?? activity.replaceAll("_", " ");
  }
}

const world = new World();
const map = new MapView($("map"), { choose, hover });
const chosen = new Chosen(world, { choose, show: (entity) => map.show(entity) });
const people = new People(world, (id) => {
  choose(id);
  if (world.entity(id)) map.show(world.entity(id));
});
const voices = new Voices(world, choose);
const events = new EventLog(world, choose);
const figures = new Figures(world);
let connection = null;
let wakeLists = 0;

new Tabs(document.querySelector("[role=tablist]"));
$("zoom-in").addEventListener("click", () => map.zoomAt(map.width / 2, map.height / 2, 1.4));
$("zoom-out").addEventListener("click", () => map.zoomAt(map.width / 2, map.height / 2, 1 / 1.4));
$("fit").addEventListener("click", () => map.fit());
$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken($("token").value);
  $("key").hidden = true;
  begin();
});

// A closed page leaves no body behind.
addEventListener("pagehide", () => chosen.leave());

begin();

async function begin() {
  const { status, refused } = await fetchStatus();
  if (refused) {
    $("key").hidden = false;
    $("token").focus();
    return;
  }
  if (!status) {
    showLine("lost", "the server is away; trying again …");
    setTimeout(begin, 2000);
    return;
  }
  figures.start();
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const url = `${scheme}://${location.hostname}:${status.bridge.port}`;
  connection = new Connection(url, sessionStorage.getItem("token") ?? "", {
    open: onOpen,
    close: onClose,
    push: onPush,
  });
  chosen.connect(connection, new Visitor(connection, world));
  connection.start();
}

async function onOpen(welcome, resumed) {
  showLine("live", "live");
  world.facts = welcome.world;
  $("scene").textContent = welcome.world.scene;
  document.title = `${welcome.world.scene} · Greenroom`;
  if (!resumed) {
    world.mirror = null;
    chosen.forgetBody();
  }
  try {
    await connection.request("watch", { all: true });
  } catch (error) {
    showLine("lost", `this server shows no spectators: ${error.message}`);
  }
}

function onClose(reason, retrying) {
  showLine(retrying ? "lost" : "off", retrying ? `${reason}; trying again …` : reason);
}

function onPush({ t, d }) {
  if (t === "snapshot") onSnapshot(d);
  else if (t === "delta") onDelta(d);
  else if (t === "event") onEvent(d);
  else if (t === "tiles") map.terrain?.change(d);
}

function onSnapshot(d) {
  const { facts } = world;
  world.mirror ??= new Mirror(facts.tile);
  world.mirror.snapshot(d);
  const terrain = map.terrain?.width === facts.width && map.terrain.height === facts.height
    ? map.terrain
    : new Terrain(facts.width, facts.height, facts.tiles);
  terrain.set(d.tiles);
  map.enter(facts, world.mirror, terrain);
  refreshSoon();
}

function onDelta(d) {
  if (!world.mirror) return;
  world.mirror.delta(d);
  refreshSoon();
}

function onEvent(event) {
  if (event.kind === "said") {
    voices.add(event);
    map.say(event.entity, event.data.text);
  } else {
    if (event.kind === "attacked") map.blow(event.target);
    events.add(event);
  }
}

// Ticks come twenty times a second; words and lists change twice.
function refreshSoon() {
  if (wakeLists) return;
  wakeLists = setTimeout(() => {
    wakeLists = 0;
    refresh();
  }, LISTS_MS);
}

function refresh() {
  const { mirror } = world;
  if (!mirror) return;
  $("tick").textContent = mirror.tick.toLocaleString();
  $("time").textContent = mirror.time;
  $("sky").dataset.time = mirror.time;
  const living = [...mirror.byId.values()].filter((entity) => !isDead(entity) && !world.isThing(entity));
  $("count").textContent = living.length.toLocaleString();
  figures.count(living);
  people.show([...mirror.byId.values()].filter((entity) => speaks(entity) || isPlayer(entity)), chosen.id);
  chosen.refresh();
}

function choose(id) {
  map.chosen = id;
  chosen.open(id);
  refreshSoon();
}

function hover(entity, x, y) {
  const tip = $("tip");
  tip.hidden = !entity;
  if (!entity) return;
  const name = document.createElement("b");
  name.textContent = world.name(entity.id);
  const doing = world.doing(entity);
  const kind = entity.name ? `${world.kind(entity).name.replaceAll("_", " ")}, ` : "";
  tip.replaceChildren(name, world.isThing(entity) ? "a thing to use" : `${kind}${doing}`);
  const left = Math.min(x + 14, map.width - 200);
  tip.style.left = `${Math.max(6, left)}px`;
  tip.style.top = `${Math.min(y + 14, map.height - 60)}px`;
}

function showLine(state, text) {
  const line = $("line");
  line.dataset.state = state;
  line.textContent = text;
}
