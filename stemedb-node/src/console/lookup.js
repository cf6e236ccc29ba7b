// Looking up an assertion, proving it, and checking the proof in this browser.

import { hash } from "./blake3.js";
import { ask, byId, setAttribute, setText } from "./dom.js";
import { bytes, count, moment } from "./format.js";
import { check, fromHex, toHex } from "./proof.js";

function say(node, kind, text) {
  node.dataset.kind = kind;
  setText(node, text);
  setAttribute(node, "hidden", text ? null : "");
}

/** What the body's hash says about its id. */
function bodyNote({ id, len, shown, text, hex }) {
  if (shown < len) return `The first ${bytes(shown)} of ${bytes(len)} are shown.`;
  const body =
    text === null
      ? Uint8Array.from(hex.match(/../g) || [], (pair) => parseInt(pair, 16))
      : new TextEncoder().encode(text);
  return toHex(hash(body)) === id
    ? "This browser hashed the body: the hash is the id."
    : "The id is not the plain hash of the body, as in a store with a secret.";
}

function show(found) {
  setAttribute(byId("found"), "hidden", null);
  setText(byId("found-id"), found.id);
  setText(byId("found-index"), count(found.index));
  setText(byId("found-time"), moment(found.time));
  setText(byId("found-len"), `${count(found.len)} bytes`);
  setText(byId("found-body"), found.text ?? found.hex.replace(/(.{2})/g, "$1 "));
  setText(byId("found-note"), bodyNote(found));
}

/** Number of the last look-up: what a former one finds comes too late. */
let latest = 0;

async function prove(id, number) {
  const proof = await ask(`/api/proof/${encodeURIComponent(id)}`);
  if (number !== latest) return;
  byId("proof").value = proof.file;
  byId("proof-root").value = "";
  setText(
    byId("proof-made"),
    "Made by this node, with the root that it had then. Compare that root with one that you have " +
      "from elsewhere.",
  );
  verify();
}

/** Clears the proof of the last look-up: it is not of what is asked for now. */
function clearProof() {
  byId("proof").value = "";
  setText(byId("proof-made"), "");
  verify();
}

async function lookUp(text) {
  const asked = text.trim().toLowerCase();
  const state = byId("lookup-state");
  latest += 1;
  const number = latest;
  clearProof();
  if (!/^[0-9a-f]{8,64}$/.test(asked)) {
    say(state, "bad", "An id is 64 hex digits; its first 8 or more are enough.");
    return;
  }
  say(state, "plain", "Looking it up…");
  setAttribute(byId("found"), "hidden", "");
  try {
    const found = await ask(`/api/assertion/${asked}`);
    if (number !== latest) return;
    say(state, "good", "Held by this node.");
    show(found);
    await prove(found.id, number);
  } catch (error) {
    if (number !== latest) return;
    if (error.status === 404 && asked.length === 64) {
      say(state, "plain", "Not held by this node.");
      await prove(asked, number).catch((failure) => {
        if (number === latest) say(state, "bad", `${failure.message}.`);
      });
    } else {
      say(state, "bad", `${error.message}.`);
    }
  }
}

function verify() {
  const state = byId("proof-state");
  const text = byId("proof").value;
  if (!text.trim()) {
    say(state, "plain", "Paste a proof file, or look up an id.");
    return;
  }
  const trusted = byId("proof-root").value.trim().toLowerCase();
  try {
    const { id, root, count: size, present } = check(text, trusted);
    const whose = trusted ? "the root that you gave" : "the root that the proof names";
    say(
      state,
      "good",
      `Verified in this browser: ${id.slice(0, 12)}… is ${present ? "" : "not "}in the set of ` +
        `${count(size)} with ${whose}, ${root.slice(0, 12)}…`,
    );
  } catch (error) {
    say(state, "bad", `Proves nothing: ${error.message}.`);
  }
}

/** What the address asks for: `#id=…` to look something up, `#proof=…` to check a proof. */
function followFragment() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const id = fragment.get("id");
  if (id !== null) {
    byId("lookup-id").value = id;
    byId("lookup").scrollIntoView({ block: "nearest" });
    lookUp(id);
  }
  const proof = fragment.get("proof");
  if (proof !== null) {
    latest += 1;
    byId("proof").value = proof;
    byId("proof-root").value = fragment.get("root") ?? "";
    setText(byId("proof-made"), "From the address of this page.");
    verify();
  }
}

export function startLookup() {
  byId("lookup-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const id = byId("lookup-id").value.trim().toLowerCase();
    // The address of the page tells what is looked at, so that it can be passed on.
    if (fromHex(id) && location.hash !== `#id=${id}`) location.hash = `id=${id}`;
    else lookUp(id);
  });
  byId("proof-form").addEventListener("submit", (event) => {
    event.preventDefault();
    verify();
  });
  window.addEventListener("hashchange", followFragment);
  followFragment();
}
