// Explanation: an answer of the plugin mlsrv-shap, as a table of features with a bar for each.
const SHOWN = 12;
const VALUES = "shap_values";

const rounded = (number) => Number(number.toPrecision(4)).toLocaleString("en");

export class Explanation {
  constructor(section, words, rows) {
    this.section = section;
    this.words = words;
    this.rows = rows;
  }

  // The first row of an answer; hides the section where the answer is no explanation.
  draw(body) {
    const values = body?.outputs?.find((one) => one.name === VALUES && one.shape.length >= 2);
    const expected = body?.outputs?.find((one) => one.name === "expected_value");
    this.section.hidden = !values || !expected;
    if (this.section.hidden) return;
    const [rows, features, outputs = 1] = values.shape;
    const base = expected.data.flat(Infinity);
    const flat = values.data.flat(Infinity).slice(0, features * outputs);
    const of = (output) => Array.from({ length: features }, (_, index) => flat[index * outputs + output]);
    const total = (output) => of(output).reduce((sum, value) => sum + value, base[output]);
    // Of several outputs, the one that the row has the highest value of.
    const chosen = Array.from({ length: outputs }, (_, output) => output).reduce((best, output) => (total(output) > total(best) ? output : best), 0);
    const { feature_names: names = [], labels = [], output_space: space = "value" } = body.parameters || {};
    const label = outputs > 1 ? ` of ${labels[chosen] ?? `output ${chosen}`}` : "";
    const first = rows > 1 ? " for the first row" : "";
    this.words.textContent = `The ${space}${label} is ${rounded(total(chosen))}${first}; it is ${rounded(base[chosen])} where no feature is known.`;
    const found = of(chosen).map((value, index) => [names[index] ?? `feature ${index}`, value]);
    found.sort(([, a], [, b]) => Math.abs(b) - Math.abs(a));
    const most = Math.abs(found[0]?.[1]) || 1;
    const left = found.slice(SHOWN);
    const shown = found.slice(0, SHOWN);
    if (left.length) shown.push([`${left.length} others`, left.reduce((sum, [, value]) => sum + value, 0)]);
    this.rows.replaceChildren(...shown.map(([name, value]) => line(name, value, most)));
  }
}

function line(name, value, most) {
  const row = document.createElement("tr");
  const title = document.createElement("td");
  title.textContent = name;
  const number = document.createElement("td");
  number.textContent = `${value > 0 ? "+" : ""}${rounded(value)}`;
  const place = document.createElement("td");
  const bar = document.createElement("span");
  bar.className = value < 0 ? "bar lower" : "bar";
  bar.style.inlineSize = `${Math.min((Math.abs(value) / most) * 100, 100)}px`;
  place.append(bar);
  row.append(title, number, place);
  return row;
}
