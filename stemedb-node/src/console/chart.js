// Lines over the last hour, with scales.

import { byId, setAttribute, setText } from "./dom.js";
import { bytes, count, duration, rate } from "./format.js";

const WIDTH = 600;
const HEIGHT = 96;

/** The least of 1, 2, 5, 10, 20, … that is not below a value. */
function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * (1 - 1e-9));
}

/**
 * Draws values between two ends of a scale; `null` leaves a gap. The scale's numbers stand beside
 * the line, the time that it spans below.
 */
function draw(name, values, { least, most, time, format }) {
  const span = most - least || 1;
  const last = Math.max(values.length - 1, 1);
  let begun = false;
  const steps = values.map((value, at) => {
    if (value === null) {
      begun = false;
      return "";
    }
    const x = ((WIDTH * at) / last).toFixed(1);
    const y = (HEIGHT - (HEIGHT * (value - least)) / span).toFixed(1);
    // A value alone is a short line.
    const step = begun ? `L${x},${y}` : `M${x},${y}h0.1`;
    begun = true;
    return step;
  });
  setAttribute(byId(`${name}-line`), "d", steps.join(""));
  setText(byId(`${name}-most`), format(most));
  setText(byId(`${name}-least`), format(least));
  setText(byId(`${name}-from`), time > 0 ? `${duration(time)} ago` : "");
}

export function drawGrowth({
  every_seconds: every,
  counts,
  log_bytes: logBytes,
  append_p99_seconds: latencies,
}) {
  if (counts.length === 0) return;
  const time = (counts.length - 1) * every;
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  // One sample is a level line.
  const level = counts.length > 1 ? counts : [counts[0], counts[0]];
  draw("growth", level, { least, most: Math.max(most, least + 1), time, format: count });
  const grown = counts[counts.length - 1] - counts[0];
  const size = Number(logBytes[logBytes.length - 1]) - Number(logBytes[0]);
  const note =
    counts.length < 2
      ? "Growth is shown from here on."
      : `${count(grown)} more, ${bytes(size)} of log, in the last ${duration(time)}`;
  setText(byId("growth-note"), note);
  setAttribute(byId("growth"), "aria-label", `Assertions over the last ${duration(time)}: ${note}`);

  const rates = counts.slice(1).map((value, at) => Math.max(0, value - counts[at]) / every);
  const rateMax = roundUp(Math.max(0, ...rates));
  draw("rates", rates, { least: 0, most: rateMax, time, format: rate });
  const rateNow = rates.length > 0 ? rate(rates[rates.length - 1]) : "–";
  setText(byId("rates-now"), rateNow);
  setAttribute(byId("rates"), "aria-label", `New assertions: ${rateNow} now, ${rate(rateMax)} on top`);

  const known = latencies.filter((latency) => latency !== null);
  const latencyMax = roundUp(Math.max(0.001, ...known));
  draw("latencies", latencies, { least: 0, most: latencyMax, time, format: duration });
  const latest = latencies[latencies.length - 1] ?? null;
  const latencyNow = latest === null ? "no appends lately" : duration(latest);
  setText(byId("latencies-now"), latencyNow);
  setAttribute(byId("latencies"), "aria-label", `Append latency: ${latencyNow}`);
}
