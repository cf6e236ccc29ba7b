// The console of a node: asks it how it is, and shows that.

import { noteStatus, startCells } from "./cells.js";
import { drawGrowth } from "./chart.js";
import { ask, byId, list, make, setAttribute, setText } from "./dom.js";
import { ago, bytes, count, duration, moment } from "./format.js";
import { startLog } from "./log.js";
import { startLookup } from "./lookup.js";
import { showPeers } from "./peers.js";

const STATUS_EVERY = 2000;
const GROWTH_EVERY = 5000;

const PAUSES = {
  asked: "paused, as somebody asked",
  latency: "paused, clients wait too long",
  window: "paused, outside its hours",
  disk: "paused, the disk is nearly full",
};

/** Calls something now and then, but not while nobody looks. */
function every(time, work) {
  const turn = async () => {
    if (!document.hidden) await work().catch(() => {});
    setTimeout(turn, time);
  };
  turn();
}

function showReady(status) {
  const problems = status.not_ready;
  const ready = problems.length === 0;
  const pill = byId("ready");
  // Clients are served, and what others hold does not come.
  const behind = status.sync.paused !== null && status.peers.some((peer) => peer.in_step === false);
  pill.dataset.kind = ready ? (behind ? "plain" : "good") : "bad";
  setText(pill, ready ? (behind ? "Ready, not in step: sync is paused" : "Ready") : "Not ready");
  setAttribute(byId("problems"), "hidden", ready ? "" : null);
  const create = () => make("li", {}, make("b"), make("span"));
  list(byId("problems"), problems, (problem) => problem.code + problem.text, create, (row, problem) => {
    setText(row.children[0], problem.code);
    setText(row.children[1], problem.text);
  });
}

function showHead(status) {
  const { head, disk } = status;
  // Without a head the trees can't be read: why is among the problems.
  setText(byId("count"), head ? count(head.count) : "not known");
  setText(byId("log-size"), head ? count(head.log_size) : "not known");
  setText(byId("set-root"), head ? head.set_root : "not known");
  setText(byId("log-root"), head ? head.log_root : "not known");
  const holes = head ? head.log_size - head.count : 0;
  setText(byId("holes"), holes > 0 ? `${count(holes)} lost to damage` : "entries");
  byId("holes").dataset.kind = holes > 0 ? "bad" : "plain";
  // Numbers of bytes come as decimal strings.
  const [free, total, reserve] = [disk.free, disk.total, disk.reserve].map(Number);
  setText(byId("disk"), bytes(free));
  setText(byId("disk-note"), `free of ${bytes(total)}, ${bytes(reserve)} kept in reserve`);
  const meter = byId("disk-meter");
  meter.max = total || 1;
  meter.value = total - free;
  meter.high = Math.max(0, total - reserve);
}

function showNode(status) {
  setText(byId("address"), status.address);
  document.title = `${status.address} – stemedb`;
  setText(byId("node-id"), status.node);
  setText(byId("store-id"), status.store);
  setText(byId("version"), status.version);
  setText(byId("epoch"), count(status.epoch));
  setText(byId("uptime"), duration(status.uptime_seconds));
}

function showSync({ paused, running, append_p99_seconds: p99 }) {
  const sessions = running === 1 ? "1 session runs" : `${count(running)} sessions run`;
  const idle = running > 0 ? sessions : "idle";
  setText(byId("sync-state"), paused ? (PAUSES[paused] ?? `paused: ${paused}`) : idle);
  byId("sync-state").dataset.kind = paused ? "bad" : "plain";
  setText(byId("p99"), p99 === null ? "no appends lately" : duration(p99));
}

function showUpkeep({ scrub, archive, head, time }) {
  setText(
    byId("scrub"),
    scrub === null
      ? "off"
      : `${count(scrub.position)} of ${head ? count(head.log_size) : "?"} entries; last whole pass ` +
          `${ago(scrub.last_pass, time)}; ${count(scrub.damaged)} damaged, ` +
          `${count(scrub.healed)} healed`,
  );
  byId("scrub").dataset.kind = scrub !== null && scrub.damaged > scrub.healed ? "bad" : "plain";
  setText(
    byId("archive"),
    archive === null
      ? "none"
      : (archive.error ?? `${count(archive.log_size)} entries at ${archive.url}, sent ` +
          ago(archive.last_sent, time)),
  );
  byId("archive").dataset.kind = archive !== null && archive.error !== null ? "bad" : "plain";
}

function showSlices(slices, now) {
  const create = () => make("tr", {}, make("th", { scope: "row" }), ...Array.from({ length: 5 }, () => make("td")));
  list(byId("slices"), slices, (slice) => slice.prefix, create, (row, slice) => {
    const texts = [
      slice.prefix,
      ago(slice.last_repaired, now),
      count(slice.sessions),
      count(slice.mismatches),
      bytes(Number(slice.bytes_compared)),
      bytes(Number(slice.bytes_transferred)),
    ];
    texts.forEach((text, at) => setText(row.children[at], text));
  });
}

async function refreshStatus() {
  const away = byId("away");
  try {
    const status = await ask("/status.json");
    setAttribute(away, "hidden", "");
    showNode(status);
    showReady(status);
    showHead(status);
    showSync(status.sync);
    showUpkeep(status);
    showSlices(status.slices, status.time);
    noteStatus(status.head?.set_root, showPeers(status.peers, status.time));
    setAttribute(byId("uptime"), "title", `as of ${moment(status.time)}`);
  } catch (error) {
    setAttribute(away, "hidden", null);
    setText(away, `The node does not answer: ${error.message}. What is shown may be old.`);
    const pill = byId("ready");
    pill.dataset.kind = "plain";
    setText(pill, "No answer");
  }
}

function startCopying() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(byId(button.dataset.copy).textContent);
        setText(button, "Copied");
      } catch {
        setText(button, "Can’t copy");
      }
      setTimeout(() => setText(button, "Copy"), 1500);
    });
  }
}

startCells();
startCopying();
startLog();
startLookup();
every(STATUS_EVERY, refreshStatus);
every(GROWTH_EVERY, async () => drawGrowth(await ask("/api/growth")));
