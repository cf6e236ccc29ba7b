// The other nodes.

import { choosePeer, chosenPeer } from "./cells.js";
import { byId, list, make, setAttribute, setText } from "./dom.js";
import { ago, bytes, count, duration } from "./format.js";

const STATES = {
  alive: "alive",
  suspect: "suspect",
  down: "down",
  named: "named",
  quarantined: "quarantined",
  "duplicate-id": "same id as this node",
  unreached: "never reached",
  left: "left",
};

/** Peers that can answer now. */
const isThere = (peer) => ["alive", "suspect", "named"].includes(peer.state);

function create(peer) {
  const radio = make("input", { type: "radio", name: "peer", value: peer.address });
  radio.addEventListener("change", () => choosePeer(peer.address));
  return make(
    "li",
    {},
    make(
      "label",
      { class: "peer" },
      radio,
      make("span", { class: "address" }),
      make("span", { class: "state" }),
      make("span", { class: "step" }),
      make("span", { class: "facts" }),
      make("span", { class: "remark" }),
    ),
  );
}

/** Whether the two sets are the same, and what that rests on. */
function step(peer) {
  if (peer.in_step === true) return ["good", "in step"];
  if (peer.in_step === false) {
    const parts = [];
    if (peer.lag_entries > 0) parts.push(`${count(peer.lag_entries)} behind`);
    if (peer.ahead_entries > 0) parts.push(`${count(peer.ahead_entries)} ahead`);
    if (peer.lag_seconds > 0) parts.push(`oldest ${duration(peer.lag_seconds)}`);
    return ["differs", ["differs", ...parts].join(", ")];
  }
  return ["plain", "root unknown"];
}

function session(last, now) {
  if (!last) return "no session yet";
  const moved = [];
  if (last.fetched) moved.push(`${count(last.fetched)} fetched`);
  if (last.pushed) moved.push(`${count(last.pushed)} pushed`);
  if (moved.length === 0) moved.push("nothing to move");
  const by = last.layer ? ` by ${last.layer}` : "";
  const size = bytes(Number(last.bytes_sent) + Number(last.bytes_received));
  const outcome = last.outcome === "complete" ? "" : `${last.outcome}; `;
  return (
    `Last session ${ago(last.time, now)}${by}: ${outcome}${moved.join(", ")}, ${size} in ` +
    `${duration(last.millis / 1000)}`
  );
}

function update(row, peer, now) {
  const [radio, address, state, stepNode, facts, remark] = row.firstElementChild.children;
  radio.checked = chosenPeer() === peer.address;
  setText(address, peer.address);
  setText(state, STATES[peer.state] ?? peer.state);
  state.dataset.kind = peer.state;
  const [kind, text] = step(peer);
  setText(stepNode, text);
  stepNode.dataset.kind = kind;
  const parts = [];
  if (peer.count !== null) parts.push(`${count(peer.count)} assertions`);
  parts.push(`equal ${ago(peer.last_repaired, now)}`);
  parts.push(session(peer.last_session, now));
  if (peer.failures > 0) {
    const next = peer.retry_at ? `, next try in ${duration(Math.max(0, peer.retry_at - now))}` : "";
    parts.push(`${count(peer.failures)} failed in a row${next}`);
  }
  setText(facts, parts.join(" · "));
  setText(remark, peer.remark ?? "");
  setAttribute(remark, "hidden", peer.remark ? null : "");
}

export function showPeers(peers, now) {
  setAttribute(byId("peers-empty"), "hidden", peers.length > 0 ? "" : null);
  setText(byId("peers-count"), peers.length > 0 ? count(peers.length) : "");
  const gone = chosenPeer() !== null && !peers.some((peer) => peer.address === chosenPeer());
  if (gone) choosePeer(null);
  if (chosenPeer() === null && peers.length > 0) {
    // One that is there can be asked, and of those one that differs is of more interest.
    const there = peers.filter(isThere);
    const differing = there.find((peer) => peer.in_step === false);
    choosePeer((differing ?? there[0] ?? peers[0]).address);
  }
  list(byId("peers"), peers, (peer) => peer.address, create, (row, peer) => update(row, peer, now));
  return peers.find((peer) => peer.address === chosenPeer()) ?? null;
}
