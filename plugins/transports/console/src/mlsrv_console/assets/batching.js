// Batching: what a batcher holds now, and why it ran its last batches.
import { cell, line } from "./workers.js";

const SHOWN = 8;

// Takes the state of a batcher, or null where a model has none.
export function drawBatching(section, state) {
  section.hidden = !state?.batching;
  if (section.hidden) return;
  const limits = `at most ${state.max_batch_size} rows, ${state.max_batch_time === "auto" ? "waits as long as it pays" : `waits up to ${state.max_batch_time} s`}`;
  section.querySelector("p").textContent =
    `${state.waiting_requests} requests wait, ${state.running} of ${state.slots} calls run · ${limits}`;
  const heads = ["why it ran", "requests", "rows", "waited", "took"].map((title) => cell("th", title));
  heads.forEach((head) => (head.scope = "col"));
  const latest = state.decisions.slice(-SHOWN).reverse();
  const rows = latest.map((one) =>
    line([one.why, one.requests, one.rows, milliseconds(one.waited_seconds), milliseconds(one.run_seconds)].map((text) => cell("td", text))),
  );
  section.querySelector("table").hidden = rows.length === 0;
  section.querySelector("thead").replaceChildren(line(heads));
  section.querySelector("tbody").replaceChildren(...rows);
}

function milliseconds(seconds) {
  return `${(1000 * seconds).toFixed(1)} ms`;
}
