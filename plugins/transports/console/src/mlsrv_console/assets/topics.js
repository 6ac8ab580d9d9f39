// Topics: what the server reads from Kafka, where it does, and how far.
import { call } from "./api.js";

export class Topics {
  constructor(element, list, problem) {
    this.element = element;
    this.list = list;
    this.problem = problem;
    this.isThere = false; // until the server says so
  }

  async look() {
    if (!this.isThere) return;
    let found;
    try {
      found = await call("/kafka", { raw: true });
    } catch {
      return; // the server is away, which the caller tells
    }
    this.element.hidden = found.status !== 200;
    if (found.status === 200) this.draw(found.body);
  }

  draw({ connected, problem, topics }) {
    this.problem.hidden = connected;
    this.problem.textContent = problem || "";
    this.list.replaceChildren(...topics.map(line));
  }
}

function line({ name, partitions }) {
  const sum = (field) => partitions.reduce((total, one) => total + (one[field] || 0), 0);
  const oldest = Math.max(...partitions.map((one) => one.oldest_seconds));
  const title = document.createElement("span");
  title.className = "name";
  title.textContent = name;
  const facts = document.createElement("span");
  facts.className = "quiet";
  const busy = sum("in_flight");
  facts.textContent = [
    `${partitions.length} partition${partitions.length === 1 ? "" : "s"}`,
    `${sum("lag")} behind`,
    `${busy} in work${busy ? `, the oldest for ${oldest.toFixed(1)} s` : ""}`,
  ].join(" · ");
  const item = document.createElement("li");
  item.append(title, facts);
  return item;
}
