// Tables: pasted ones with a header line, whose columns are inputs.
import { numeric, tensorOf } from "./tensors.js";

const ANY = { name: "input", datatype: "FP64", shape: [-1, -1] };

// A field for models that declare nothing: numbers, a table with a header line, or a request as JSON.
export function undeclared() {
  const [element, control] = area("input", "The model does not say what it takes: rows of numbers are sent as one tensor; of a table whose first line has names, each column; a request in JSON, {\"inputs\": […]}, as it is.");
  return {
    element,
    async request() {
      const text = control.value.trim();
      try {
        if (text === "") throw new Error("a value is needed");
        if (text.startsWith("{")) return JSON.parse(text);
        if (text.startsWith("[") || !hasHeader(text)) return { inputs: [{ name: ANY.name, datatype: ANY.datatype, ...tensorOf(ANY, text) }] };
        return { inputs: [...columnsOf(text)].map(([name, cells]) => columnTensor(name, cells)) };
      } catch (error) {
        control.focus();
        throw new Error(`input: ${error.message}`);
      }
    },
    fill() {
      control.value = "age\tcity\n31\tOslo\n44\tRiga";
    },
  };
}

// A field that fills those of a table's columns, by the names in its first line.
export function pasting(fields) {
  const names = fields.map((field) => field.tensor.name);
  const [inside, control] = area("Table with a header line", `Fills the fields that its columns name: ${names.join(", ")}`);
  control.addEventListener("input", () => {
    const columns = columnsOf(control.value);
    for (const field of fields) if (columns.has(field.tensor.name)) field.write(columns.get(field.tensor.name).join("\n"));
  });
  const element = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = "Paste a table";
  element.append(summary, inside);
  return element;
}

function area(title, help) {
  const id = title.toLowerCase().replaceAll(" ", "-");
  const element = document.createElement("div");
  element.className = "field";
  const label = document.createElement("label");
  label.textContent = title;
  label.htmlFor = id;
  const hint = document.createElement("span");
  hint.className = "quiet";
  hint.id = `${id}-hint`;
  hint.textContent = help;
  const control = document.createElement("textarea");
  control.id = id;
  control.spellcheck = false;
  control.setAttribute("aria-describedby", hint.id);
  element.append(label, hint, control);
  return [element, control];
}

function hasHeader(text) {
  return cellsOf(text.split("\n", 1)[0]).some((cell) => Number.isNaN(Number(cell)) && cell !== "NaN");
}

// The cells of a line: between tabs if it has any, else commas or semicolons, else spaces.
function cellsOf(line) {
  const between = line.includes("\t") ? "\t" : /[,;]/.test(line) ? /[,;]/ : /\s+/;
  return line.trim().split(between).map((cell) => cell.trim());
}

function columnsOf(text) {
  const [names = [], ...rows] = text.split("\n").filter((line) => line.trim()).map(cellsOf);
  return new Map(names.map((name, at) => [name, rows.map((row) => row[at] ?? "")]));
}

function columnTensor(name, cells) {
  const numbers = cells.every((cell) => cell !== "" && (!Number.isNaN(Number(cell)) || cell === "NaN"));
  const datatype = !numbers ? "BYTES" : cells.every((cell) => /^[+-]?\d+$/.test(cell)) ? "INT64" : "FP64";
  return { name, datatype, shape: [cells.length], data: numbers ? cells.map((cell) => numeric(cell, { datatype })) : cells };
}
