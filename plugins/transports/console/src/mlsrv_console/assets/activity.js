// Activity: rates and durations between two readings of a model's statistics, with a line of the last minutes.
const KEPT = 60;
const FIGURES = [
  ["Requests", "/s", (d) => d.count / d.seconds],
  ["Failures", "/s", (d) => d.failures / d.seconds],
  ["Time", " ms", (d) => (d.count ? d.spent / d.count / 1e6 : null)],
  ["In queue", " ms", (d) => (d.queued ? d.waited / d.queued / 1e6 : null)],
  ["Requests in a call", "", (d) => (d.executions ? d.count / d.executions : null)],
];

export class Activity {
  constructor(element) {
    this.element = element;
    this.lines = new Map();
  }

  // Takes the statistics of one version of a model, at a time in milliseconds.
  read(key, statistics, now) {
    const stats = statistics.inference_stats;
    const reading = {
      now,
      count: stats.success.count,
      failures: stats.fail.count,
      spent: stats.success.ns,
      queued: stats.queue.count,
      waited: stats.queue.ns,
      executions: statistics.execution_count,
    };
    const line = this.lines.get(key) || { before: null, points: FIGURES.map(() => []) };
    if (line.before && reading.count >= line.before.count) {
      const delta = { seconds: (now - line.before.now) / 1000 };
      for (const name of Object.keys(reading)) if (name !== "now") delta[name] = reading[name] - line.before[name];
      FIGURES.forEach(([, , figure], index) => {
        line.points[index].push(figure(delta));
        line.points[index].splice(0, line.points[index].length - KEPT);
      });
    }
    line.before = reading;
    this.lines.set(key, line);
  }

  draw(key) {
    const line = this.lines.get(key);
    this.element.replaceChildren(...FIGURES.map(([name, unit], index) => card(name, unit, line ? line.points[index] : [])));
  }
}

function card(name, unit, points) {
  const element = document.createElement("div");
  element.className = "card";
  const label = document.createElement("span");
  label.className = "quiet";
  label.textContent = name;
  const value = document.createElement("b");
  const last = points.at(-1);
  value.textContent = last == null ? "–" : `${last >= 100 ? last.toFixed(0) : Number(last.toFixed(2))}${unit}`;
  element.append(label, value, sparkline(points));
  return element;
}

function sparkline(points) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 0 ${KEPT} 20`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(space, "polyline");
  const highest = Math.max(...points.filter((point) => point != null), 1e-9);
  const start = KEPT - points.length;
  line.setAttribute("points", points.map((point, x) => `${start + x},${19 - (18 * (point || 0)) / highest}`).join(" "));
  svg.append(line);
  return svg;
}
