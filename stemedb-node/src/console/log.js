// The end of the log, as it grows.

import { ask, byId, list, make, setAttribute, setText } from "./dom.js";
import { bytes, clock, count, moment, short } from "./format.js";

const ROWS_MAX = 40;
const AGAIN_AFTER = 5000;

/** Entries by index, the newest first. */
let entries = [];
let paused = false;
let begun = false;

function take(part) {
  if (paused) return;
  const known = new Set(entries.map((entry) => entry.index));
  const fresh = part.entries.filter((entry) => !known.has(entry.index));
  entries = fresh.reverse().concat(entries).sort((a, b) => b.index - a.index).slice(0, ROWS_MAX);
  render();
  if (part.damaged) state("an entry can’t be read");
}

function state(text) {
  setText(byId("log-state"), text);
}

function render() {
  list(byId("log"), entries, (entry) => entry.index, create, update);
  setAttribute(byId("log-empty"), "hidden", entries.length > 0 ? "" : null);
}

function create(entry) {
  const open = make("a", { class: "hex", href: `#id=${entry.id}`, title: entry.id });
  const row = make(
    "li",
    { class: begun ? "entry new" : "entry" },
    make("span", { class: "index" }),
    make("time", { datetime: moment(entry.time), title: moment(entry.time) }),
    open,
    make("span", { class: "size" }),
    make("span", { class: "preview" }),
  );
  return row;
}

function update(row, entry) {
  const [index, time, id, size, preview] = row.children;
  setText(index, count(entry.index));
  setText(time, clock(entry.time));
  setText(id, short(entry.id));
  setText(size, entry.hole ? "lost" : bytes(entry.len));
  setText(preview, entry.preview ?? (entry.hole ? "the body is lost to damage" : "not text"));
  preview.classList.toggle("none", entry.preview === null);
}

async function poll() {
  try {
    take(await ask(`/api/log?limit=${ROWS_MAX}`));
    return true;
  } catch (error) {
    state(error.message);
    return false;
  }
}

async function follow() {
  const first = await ask(`/api/log?limit=${ROWS_MAX}`).catch(() => null);
  if (first === null) {
    state("the node does not answer");
    setTimeout(follow, AGAIN_AFTER);
    return;
  }
  take(first);
  begun = true;
  const events = new EventSource(`/api/log/live?from=${first.size}`);
  events.addEventListener("open", () => state(paused ? "paused" : "live"));
  events.addEventListener("message", (event) => take(JSON.parse(event.data)));
  events.addEventListener("error", async () => {
    events.close();
    // Too many follow it already, or the node is away: it is looked at now and then.
    if (await poll()) state("every few seconds");
    setTimeout(follow, AGAIN_AFTER);
  });
}

export function startLog() {
  const button = byId("log-pause");
  button.addEventListener("click", () => {
    paused = !paused;
    setAttribute(button, "aria-pressed", paused);
    state(paused ? "paused" : "live");
    if (!paused) poll();
  });
  follow();
}
