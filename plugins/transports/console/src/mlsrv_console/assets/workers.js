// Workers: a table of the pools of worker processes, from the gauges of the server.
const COLUMNS = [
  ["alive", (pool) => pool["mlsrv_workers alive"] ?? "–"],
  ["queue", (pool) => pool.mlsrv_worker_queue ?? "–"],
  ["memory", ({ mlsrv_worker_memory_bytes: bytes }) => (bytes === undefined ? "–" : `${(bytes / 2 ** 20).toFixed(0)} MiB`)],
  ["trouble", troubleOf],
];
const TROUBLES = [
  ["stuck", "mlsrv_workers stuck"],
  ["missing", "mlsrv_workers missing"],
  ["overdue", "mlsrv_worker_overdue_requests"],
];

function troubleOf(pool) {
  const found = TROUBLES.filter(([, name]) => pool[name] > 0).map(([word, name]) => `${pool[name]} ${word}`);
  return found.join(", ") || "none";
}

// Takes the gauges, none where the client may not see them or no model has a worker.
export function drawWorkers(section, gauges) {
  const pools = new Map();
  for (const { name, labels, value } of gauges) {
    if (labels.pool === undefined) continue;
    const pool = pools.get(labels.pool) || {};
    pool[labels.state === undefined ? name : `${name} ${labels.state}`] = value;
    pools.set(labels.pool, pool);
  }
  section.hidden = pools.size === 0;
  const heads = ["pool", ...COLUMNS.map(([title]) => title)].map((title) => cell("th", title));
  heads.forEach((head) => (head.scope = "col"));
  const rows = [...pools].map(([name, pool]) => {
    const head = cell("th", name);
    head.scope = "row";
    const cells = COLUMNS.map(([, read]) => cell("td", read(pool)));
    if (troubleOf(pool) !== "none") cells.at(-1).className = "bad";
    return line([head, ...cells]);
  });
  section.querySelector("thead").replaceChildren(line(heads));
  section.querySelector("tbody").replaceChildren(...rows);
}

export function cell(kind, text) {
  const element = document.createElement(kind);
  element.textContent = text;
  return element;
}

export function line(cells) {
  const element = document.createElement("tr");
  element.append(...cells);
  return element;
}
