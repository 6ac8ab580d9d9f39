// Drift: what the plugin mlsrv-drift finds in the requests to a model, where the server has it.
import { call, modelPath } from "./api.js";

const SHOWN = 8;

export class Drift {
  constructor(section, words, rows) {
    this.section = section;
    this.words = words;
    this.rows = rows;
    this.isOffered = false;
  }

  async draw(model) {
    if (!this.isOffered) return;
    const { status, body } = await call(`${modelPath(model.name, model.version)}/drift`, { raw: true });
    this.section.hidden = status !== 200 || !body?.watched;
    if (this.section.hidden) return;
    this.words.textContent = body.explanation;
    this.words.className = body.drift ? "bad" : "quiet";
    const found = Object.entries(body.parts).flatMap(([part, one]) => (one.latest?.features || []).map((feature) => [part, feature]));
    found.sort(([, a], [, b]) => a.corrected_p_value - b.corrected_p_value);
    this.rows.closest("table").hidden = !found.length;
    this.rows.replaceChildren(...found.slice(0, SHOWN).map(([part, feature]) => row(part, feature)));
  }
}

function row(part, feature) {
  const line = document.createElement("tr");
  const cells = [part, feature.name, feature.drift ? "yes" : "no", feature.corrected_p_value.toPrecision(2), feature.psi.toPrecision(2)];
  for (const text of cells) {
    const cell = document.createElement("td");
    cell.textContent = text;
    line.append(cell);
  }
  if (feature.drift) line.className = "bad";
  return line;
}
