// Where this node and a peer differ: the set cut into cells by how ids begin.

import { ask, byId, setAttribute, setText } from "./dom.js";
import { count } from "./format.js";

/** How often a peer that differs is asked where. */
const COMPARE_EVERY = 5000;

const canvas = byId("cells");
const note = byId("cell-note");

/** What is shown. */
const shown = { depth: 8, hashes: [], differing: new Set(), onlyHere: new Set(), onlyThere: new Set() };
/** The chosen peer's address, if one is chosen. */
let peer = null;
/** Whether the peer's root is this node's, as the status says. */
let inStep = null;
let root = null;
let failure = null;
/** The cell under the pointer or the keyboard's. */
let current = null;

const counts = new Map();

const side = () => 2 ** (shown.depth / 2);
const prefix = (cell) => cell.toString(16).padStart(shown.depth / 4, "0");

export function choosePeer(address) {
  if (peer === address) return;
  peer = address;
  inStep = null;
  failure = null;
  forget();
  refresh();
}

export const chosenPeer = () => peer;

function forget() {
  shown.differing = new Set();
  shown.onlyHere = new Set();
  shown.onlyThere = new Set();
}

/** What the status says: the picture is asked for again if a root has changed. */
export function noteStatus(setRoot, chosen) {
  const step = chosen ? chosen.in_step : null;
  const changed = setRoot !== root || step !== inStep;
  inStep = step;
  // Asking costs the peer something.
  if (changed || (step === false && performance.now() - loaded > COMPARE_EVERY)) {
    root = setRoot;
    refresh();
  }
}

let running = false;
let again = false;
/** When the picture was last asked for. */
let loaded = 0;

async function refresh() {
  if (running) {
    again = true;
    return;
  }
  running = true;
  loaded = performance.now();
  try {
    await load();
  } finally {
    running = false;
  }
  if (again) {
    again = false;
    refresh();
  }
}

async function load() {
  const depth = shown.depth;
  try {
    const mine = await ask(`/api/cells?depth=${depth}`);
    // Another picture has been asked for meanwhile, and comes next.
    if (depth !== shown.depth) return;
    shown.hashes = mine.hashes;
    counts.clear();
    failure = null;
    if (peer === null || inStep === true) {
      forget();
    } else {
      const address = peer;
      const path = `/api/compare?depth=${depth}&peer=${encodeURIComponent(address)}`;
      const found = await ask(path);
      if (address === peer && depth === shown.depth) {
        shown.differing = new Set(found.differing);
        shown.onlyHere = new Set(found.only_here);
        shown.onlyThere = new Set(found.only_there);
      }
    }
  } catch (error) {
    failure = error.message;
    forget();
  }
  draw();
  summarize();
}

function summarize() {
  const cells = 2 ** shown.depth;
  let text;
  if (failure !== null) text = `The cells are not known: ${failure}.`;
  else if (peer === null) text = "Choose a peer to see where it differs from this node.";
  else if (inStep === true) text = `Same root as ${peer}: no cell differs.`;
  else if (shown.differing.size === 0) text = `No cell differs from ${peer} now.`;
  else {
    text = `${count(shown.differing.size)} of ${count(cells)} cells differ from ${peer}.`;
  }
  setText(byId("cells-summary"), text);
  setAttribute(canvas, "aria-label", `Cells by id prefix, arrow keys move. ${text}`);
}

/** A tone of a cell by its hash, so that each store has a picture of its own. */
function tone(hash, tones) {
  return tones[parseInt(hash.slice(0, 2), 16) % tones.length];
}

export function draw() {
  const box = canvas.getBoundingClientRect();
  if (box.width === 0) return;
  const scale = window.devicePixelRatio || 1;
  const size = Math.round(box.width * scale);
  if (canvas.width !== size) {
    canvas.width = size;
    canvas.height = size;
  }
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const tones = [color("--cell-1"), color("--cell-2"), color("--cell-3"), color("--cell-4")];
  const [lit, hollow, ink] = [color("--lit"), color("--hollow"), color("--ink")];
  const unknown = color("--unknown");
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, size, size);
  const across = side();
  const step = size / across;
  const gap = Math.max(1, Math.round(step * 0.1));
  for (let cell = 0; cell < across * across; cell += 1) {
    const x = Math.round((cell % across) * step);
    const y = Math.round(Math.floor(cell / across) * step);
    const width = Math.round(((cell % across) + 1) * step) - x - gap;
    const height = Math.round((Math.floor(cell / across) + 1) * step) - y - gap;
    const hash = shown.hashes[cell] || "00000000";
    const empty = hash === "00000000";
    // Where nothing is known of the peer no cell looks as if it were the same there.
    if (failure !== null) context.fillStyle = unknown;
    else if (shown.differing.has(cell)) context.fillStyle = lit;
    else context.fillStyle = empty ? hollow : tone(hash, tones);
    context.fillRect(x, y, width, height);
    if (shown.onlyThere.has(cell) && width > 6) {
      // Nothing of this cell is here.
      context.clearRect(x + gap + 1, y + gap + 1, width - 2 * gap - 2, height - 2 * gap - 2);
    }
    if (cell === current) {
      context.strokeStyle = ink;
      context.lineWidth = Math.max(2, scale * 1.5);
      context.strokeRect(x - 0.5, y - 0.5, width + 1, height + 1);
    }
  }
}

function describe() {
  if (current === null) {
    setText(note, "Point at a cell, or use the arrow keys, to see what it holds.");
    return;
  }
  const known = counts.get(current);
  const held = known === undefined ? "counting" : `${known} here`;
  let differs = "";
  if (shown.onlyThere.has(current)) differs = ", all of it only at the peer";
  else if (shown.onlyHere.has(current)) differs = ", all of it only here";
  else if (shown.differing.has(current)) differs = ", differs from the peer";
  setText(note, `Ids that begin with ${prefix(current)}: ${held}${differs}.`);
}

let counting = 0;

function select(cell) {
  if (cell === current) return;
  current = cell;
  draw();
  describe();
  if (cell === null || counts.has(cell)) return;
  counting += 1;
  const mine = counting;
  const depth = shown.depth;
  // A pointer that only passes over a cell asks nothing.
  setTimeout(async () => {
    if (mine !== counting) return;
    try {
      const found = await ask(`/api/cells/${cell}?depth=${depth}`);
      if (depth !== shown.depth) return;
      counts.set(cell, `${count(found.count)}${found.more ? " or more" : ""}`);
    } catch {
      counts.set(cell, "not known how many");
    }
    describe();
  }, 120);
}

function cellAt(event) {
  const box = canvas.getBoundingClientRect();
  const across = side();
  const at = (offset, length) => Math.floor((offset / length) * across);
  const x = at(event.clientX - box.left, box.width);
  const y = at(event.clientY - box.top, box.height);
  const inside = x >= 0 && y >= 0 && x < across && y < across;
  return inside ? y * across + x : null;
}

export function startCells() {
  canvas.addEventListener("pointermove", (event) => select(cellAt(event)));
  canvas.addEventListener("pointerdown", (event) => select(cellAt(event)));
  canvas.addEventListener("pointerleave", () => {
    if (document.activeElement !== canvas) select(null);
  });
  canvas.addEventListener("blur", () => select(null));
  canvas.addEventListener("keydown", (event) => {
    const across = side();
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = current === null ? 0 : current + step;
    if (next >= 0 && next < across * across) select(next);
  });
  for (const button of document.querySelectorAll("[data-depth]")) {
    button.addEventListener("click", () => {
      shown.depth = Number(button.dataset.depth);
      for (const other of document.querySelectorAll("[data-depth]")) {
        setAttribute(other, "aria-pressed", other === button);
      }
      current = null;
      shown.hashes = [];
      forget();
      describe();
      refresh();
    });
  }
  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  describe();
  summarize();
}
