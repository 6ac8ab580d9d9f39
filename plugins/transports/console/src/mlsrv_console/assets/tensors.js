// Tensors: what they are in words, examples of them, and what was typed as shape and data.
const MOST = 64; // values of an example that is shown

// A list of any length, such as a column of a table.
export function isList(tensor) {
  const [first, ...rest] = tensor.shape;
  return first === -1 && rest.every((length) => length === 1);
}

export function describe(tensor) {
  const { datatype, shape } = tensor;
  const kind = datatype === "BYTES" ? "text" : datatype === "BOOL" ? "true or false" : `${datatype.includes("INT") ? "whole numbers" : "numbers"}, ${datatype}`;
  return `${kind}: ${extent(shape)}`;
}

function extent(shape) {
  const some = (length, noun) => (length === -1 ? `any number of ${noun}s` : `${length} ${noun}${length === 1 ? "" : "s"}`);
  if (shape.every((length) => length === 1)) return "one value";
  if (shape.length === 1) return some(shape[0], "value");
  if (shape.length === 2) return `${some(shape[0], "row")} of ${some(shape[1], "value")}`;
  return `an array of ${shape.map((length) => (length === -1 ? "any" : length)).join(" × ")}`;
}

// How values can be typed.
export function ways(tensor) {
  if (tensor.shape.length === 1) return "in one line or several, or as JSON";
  return tensor.shape.length === 2 ? "a row a line, cells between tabs, commas or spaces, or as JSON" : "as JSON";
}

// What could be typed for a tensor; empty if that would be long.
export function exampleOf(tensor) {
  const { datatype, shape } = tensor;
  const lengths = shape.map((length) => (length === -1 ? 2 : length));
  const count = lengths.reduce((a, b) => a * b, 1);
  if (count > MOST) return "";
  const value = (at) => (datatype === "BYTES" ? `text ${at + 1}` : datatype === "BOOL" ? at % 2 === 0 : datatype.includes("INT") ? at + 1 : at + 0.5);
  const values = Array.from({ length: count }, (_, at) => value(at));
  if (datatype === "BYTES") return values.join("\n");
  if (lengths.length > 2) return JSON.stringify(nested(values, lengths));
  const width = lengths.length === 2 ? lengths[1] : count;
  const rows = [];
  for (let at = 0; at < count; at += width) rows.push(values.slice(at, at + width).join("\t"));
  return rows.join("\n");
}

function nested(values, [length, ...rest]) {
  const size = values.length / length;
  return Array.from({ length }, (_, at) => {
    const part = values.slice(at * size, (at + 1) * size);
    return rest.length ? nested(part, rest) : part[0];
  });
}

// Returns shape and data of what was typed; throws an Error that says what is wrong.
export function tensorOf(tensor, text) {
  const given = text.trim();
  const typed = given.startsWith("[") ? parsed(given) : rowsOf(given);
  const shape = [];
  for (let level = typed; Array.isArray(level); level = level[0]) shape.push(level.length);
  const data = typed.flat(Infinity).map((cell) => (tensor.datatype === "BOOL" ? truth(cell) : numeric(cell, tensor)));
  if (shape.reduce((a, b) => a * b, 1) !== data.length) throw new Error("the rows differ in length");
  return { shape: shapeOf(tensor, shape), data };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`this is no JSON: ${error.message}`);
  }
}

export function rowsOf(text) {
  return text.split("\n").filter((line) => line.trim()).map((line) => line.trim().split(/\s*[\t,;]\s*|\s+/));
}

function truth(cell) {
  if (["true", "1"].includes(String(cell).toLowerCase())) return true;
  if (["false", "0"].includes(String(cell).toLowerCase())) return false;
  throw new Error(`${cell} is neither true nor false`);
}

export function numeric(cell, tensor) {
  const text = String(cell).trim();
  const value = Number(text);
  if (text === "" || (Number.isNaN(value) && text !== "NaN")) throw new Error(`${text || "an empty cell"} is no number`);
  if (tensor.datatype.includes("INT") && !Number.isInteger(value)) throw new Error(`${text} is no whole number`);
  return Number.isFinite(value) ? value : text;
}

// The shape of what was typed, with ones added or rows joined where the model declares another number of dimensions.
export function shapeOf(tensor, shape) {
  const declared = tensor.shape;
  if (declared.length === 1) return [shape.reduce((a, b) => a * b, 1)];
  const found = [...shape];
  while (found.length < declared.length) {
    if (declared.at(-1) === 1 && found.length === 1) found.push(1);
    else found.unshift(1);
  }
  return found;
}
