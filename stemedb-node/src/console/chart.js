// How the store grew: a line over the last hour.

import { byId, setAttribute, setText } from "./dom.js";
import { bytes, count, duration } from "./format.js";

const WIDTH = 600;
const HEIGHT = 96;

export function drawGrowth({ every_seconds: every, counts, log_bytes: logBytes }) {
  if (counts.length === 0) return;
  // One sample is a level line.
  const values = counts.length > 1 ? counts : [counts[0], counts[0]];
  const least = Math.min(...values);
  const most = Math.max(...values);
  const span = Math.max(most - least, 1);
  const last = values.length - 1;
  const points = values.map((value, at) => {
    const x = (WIDTH * at) / last;
    const y = HEIGHT - 6 - ((HEIGHT - 12) * (value - least)) / span;
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  setAttribute(byId("growth-line"), "points", points.join(" "));
  setAttribute(byId("growth-area"), "points", `0,${HEIGHT} ${points.join(" ")} ${WIDTH},${HEIGHT}`);
  const time = duration((counts.length - 1) * every);
  const grown = counts[counts.length - 1] - counts[0];
  const size = logBytes[logBytes.length - 1] - logBytes[0];
  const note =
    counts.length < 2
      ? "Growth is shown from here on."
      : `${count(grown)} more, ${bytes(size)} of log, in the last ${time}`;
  setText(byId("growth-note"), note);
  setAttribute(byId("growth"), "aria-label", `Assertions over the last ${time}: ${note}`);
}
