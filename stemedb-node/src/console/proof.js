// Proof files: reading them, and checking them in the browser. The same steps, and the same
// strictness, as the program itself has.

import { keyedHash } from "./blake3.js";

const MAGIC = "stemedb.dev/set-proof@v1";
const SIBLINGS_MAX = 256;

const LEAF_KEY = fromHex("0b171c92a5fa507a045252c5abc1292751b4f242d0aaeed80b2ac7bf51ec4b19");
const NODE_KEY = fromHex("15812be7c41ac2894dce446b87f38842fb40f76172fb54f24ae73f1ae0772352");
const ROOT_KEY = fromHex("cebd4694bb4efc9e680bc3f1e2bf18586c4e781bf42d4e90a5dcd0b73e5f47d3");

const EMPTY = new Uint8Array(32);

/** 32 bytes of 64 lowercase hex digits; null of anything else. */
export function fromHex(text) {
  if (!/^[0-9a-f]{64}$/.test(text)) return null;
  return Uint8Array.from({ length: 32 }, (_, at) => parseInt(text.slice(2 * at, 2 * at + 2), 16));
}

export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function fromBase64(line) {
  if (!/^[A-Za-z0-9+/]{43}=$/.test(line)) return null;
  const bytes = Uint8Array.from(atob(line), (character) => character.charCodeAt(0));
  // Only one way to write it counts.
  return btoa(String.fromCharCode(...bytes)) === line ? bytes : null;
}

/** Reads a proof file; throws what is wrong with it. */
export function parse(text) {
  const lines = text.split("\n");
  if (lines.pop() !== "") throw new Error("the last line does not end in a newline");
  let number = 0;
  const next = (what, read) => {
    const line = lines.shift();
    number += 1;
    const found = line === undefined ? null : read(line);
    if (found === null) throw new Error(`line ${number} is not ${what}`);
    return found;
  };
  const after = (line, word) => (line.startsWith(word) ? line.slice(word.length) : "");
  next(`“${MAGIC}”`, (line) => (line === MAGIC ? line : null));
  const id = next("“id” and 64 hex digits", (line) => fromHex(after(line, "id ")));
  const root = next("“root” and 64 hex digits", (line) => fromHex(after(line, "root ")));
  const count = next("“count” and a number", (line) => {
    const digits = after(line, "count ");
    if (!/^(0|[1-9][0-9]{0,19})$/.test(digits)) return null;
    const value = BigInt(digits);
    return value < 2n ** 64n ? value : null;
  });
  const siblings = [];
  let terminal;
  while (terminal === undefined) {
    next("a sibling or the terminal", (line) => {
      if (line === "terminal empty") {
        terminal = null;
        return true;
      }
      if (line.startsWith("terminal ")) {
        const bytes = fromHex(after(line, "terminal "));
        if (bytes) terminal = bytes;
        return bytes;
      }
      const sibling = fromBase64(line);
      if (sibling) siblings.push(sibling);
      return sibling;
    });
    if (siblings.length > SIBLINGS_MAX) throw new Error("it has more siblings than an id has bits");
  }
  if (lines.length > 0) throw new Error("something follows the terminal");
  return { id, root, count, siblings, terminal };
}

const bit = (id, depth) => (id[depth >> 3] >> (7 - (depth & 7))) & 1;

function sharedBits(one, other) {
  let depth = 0;
  while (depth < 256 && bit(one, depth) === bit(other, depth)) depth += 1;
  return depth;
}

function join(one, other) {
  const both = new Uint8Array(64);
  both.set(one);
  both.set(other, 32);
  return both;
}

/** The root that a proof leads to; throws if it leads nowhere. */
export function rootOf({ id, count, siblings, terminal }) {
  let hash = EMPTY;
  if (terminal) {
    if (sharedBits(terminal, id) < siblings.length) {
      throw new Error("it ends at an id that belongs elsewhere");
    }
    hash = keyedHash(LEAF_KEY, terminal);
  }
  for (let depth = siblings.length - 1; depth >= 0; depth -= 1) {
    const sibling = siblings[depth];
    const halves = bit(id, depth) ? join(sibling, hash) : join(hash, sibling);
    hash = keyedHash(NODE_KEY, halves);
  }
  const input = new Uint8Array(40);
  new DataView(input.buffer).setBigUint64(0, count);
  input.set(hash, 8);
  return keyedHash(ROOT_KEY, input);
}

/**
 * Checks the text of a proof file against a root of 64 hex digits, or, without one, against the
 * root that the file names. What it proves, or throws why it proves nothing.
 */
export function check(text, trusted) {
  const proof = parse(text);
  const root = trusted ? fromHex(trusted) : proof.root;
  if (!root) throw new Error("the root to check against is not 64 lowercase hex digits");
  if (toHex(rootOf(proof)) !== toHex(root)) {
    throw new Error("it leads to another root than the one to check against");
  }
  const present = proof.terminal !== null && toHex(proof.terminal) === toHex(proof.id);
  return { id: toHex(proof.id), root: toHex(root), count: proof.count, present };
}
