// Form: fields for the inputs that a model declares, and the request that they make.
import { describe, exampleOf, isList, numeric, shapeOf, tensorOf, ways } from "./tensors.js";
import { pasting, undeclared } from "./tables.js";

export function makeFields(inputs, into) {
  if (!inputs.length) {
    const only = undeclared();
    into.replaceChildren(only.element);
    return only;
  }
  const fields = inputs.map(fieldOf);
  const columns = fields.filter((field) => isList(field.tensor));
  into.replaceChildren(...(columns.length > 1 ? [pasting(columns)] : []), ...fields.map((field) => field.element));
  return {
    // Throws an Error that names the field.
    async request() {
      const tensors = [];
      for (const field of fields) {
        const tensor = await field.read();
        if (tensor) tensors.push(tensor);
      }
      return { inputs: tensors };
    },
    // Puts an example into each field that can be typed into.
    fill() {
      for (const field of fields) if (field.example) field.write(field.example);
    },
  };
}

function fieldOf(tensor, index) {
  const parameters = tensor.parameters || {};
  const id = `field-${index}`;
  const element = document.createElement("div");
  element.className = "field";
  const label = document.createElement("label");
  label.htmlFor = id;
  label.textContent = tensor.name + (parameters.optional ? " (optional)" : "");
  const hint = document.createElement("span");
  hint.className = "quiet";
  hint.id = `${id}-hint`;
  element.append(label, hint);
  const make = kindOf(tensor, parameters);
  const { controls, help, read, example } = make(tensor, parameters, id);
  hint.textContent = `${describe(tensor)} · ${help}`;
  if (example && controls[0] instanceof HTMLTextAreaElement) controls[0].placeholder = `for example\n${example}`;
  controls[0].id = id;
  controls.forEach((control) => control.setAttribute("aria-describedby", hint.id));
  element.append(...controls);
  return {
    element,
    tensor,
    example,
    write(text) {
      controls[0].value = text;
    },
    async read() {
      try {
        const found = await read();
        if (found === null && parameters.optional) return null;
        if (found === null) throw new Error("a value is needed");
        return { name: tensor.name, datatype: tensor.datatype, ...found };
      } catch (error) {
        controls[0].focus();
        throw new Error(`${tensor.name}: ${error.message}`);
      }
    },
  };
}

function kindOf(tensor, parameters) {
  const single = tensor.shape.every((length) => length === 1);
  if (parameters.choices) return choice;
  if (tensor.datatype === "BOOL" && single) return flag;
  if (tensor.datatype === "BYTES") return parameters.content_type === "base64" ? file : texts;
  if (isImage(tensor)) return picture;
  return single ? number : table;
}

function isImage(tensor) {
  const { shape } = tensor;
  return tensor.datatype === "UINT8" && shape.length >= 3 && [1, 3, 4].some((n) => shape.at(-1) === n || shape.at(-3) === n);
}

function select(options, optional) {
  const control = document.createElement("select");
  for (const text of optional ? ["", ...options] : options) control.add(new Option(text === "" ? "(not sent)" : text, text));
  return control;
}

function choice(tensor, parameters) {
  const control = select(parameters.choices.map(String), parameters.optional);
  const value = () => parameters.choices.find((one) => String(one) === control.value);
  return { controls: [control], help: "one of these", example: String(parameters.choices[0]), read: () => (control.value === "" ? null : { shape: [1], data: [value()] }) };
}

function flag(tensor, parameters) {
  const control = select(["false", "true"], parameters.optional);
  const read = () => (control.value === "" ? null : { shape: tensor.shape, data: [control.value === "true"] });
  return { controls: [control], help: "choose", example: "true", read };
}

function number(tensor) {
  const control = document.createElement("input");
  control.inputMode = "decimal";
  return {
    controls: [control],
    help: tensor.datatype.includes("INT") ? "such as 3" : "such as 0.5",
    example: exampleOf(tensor),
    read: () => (control.value.trim() === "" ? null : { shape: tensor.shape, data: [numeric(control.value, tensor)] }),
  };
}

function texts(tensor) {
  const control = document.createElement("textarea");
  const single = tensor.shape.every((length) => length === 1);
  return {
    controls: [control],
    help: single ? "sent as it is" : "one a line",
    example: exampleOf(tensor),
    read() {
      if (control.value === "") return null;
      const data = single ? [control.value] : control.value.replace(/\n$/, "").split("\n");
      return { shape: shapeOf(tensor, [data.length]), data };
    },
  };
}

function table(tensor) {
  const control = document.createElement("textarea");
  control.spellcheck = false;
  return {
    controls: [control],
    help: ways(tensor),
    example: exampleOf(tensor),
    read: () => (control.value.trim() === "" ? null : tensorOf(tensor, control.value)),
  };
}

function chooser(accept) {
  const control = document.createElement("input");
  control.type = "file";
  control.accept = accept;
  return control;
}

function file() {
  const control = chooser("");
  return {
    controls: [control],
    help: "a file, such as an image",
    async read() {
      if (!control.files.length) return null;
      const bytes = new Uint8Array(await control.files[0].arrayBuffer());
      let text = "";
      for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
      return { shape: [1], data: [btoa(text)], parameters: { content_type: "base64" } };
    },
  };
}

function picture(tensor) {
  const control = chooser("image/*");
  return {
    controls: [control],
    help: "an image",
    async read() {
      if (!control.files.length) return null;
      const bitmap = await createImageBitmap(control.files[0]);
      const first = ![1, 3, 4].includes(tensor.shape.at(-1));
      const [height, width] = first ? tensor.shape.slice(-2) : tensor.shape.slice(-3, -1);
      const canvas = document.createElement("canvas");
      canvas.width = width > 0 ? width : bitmap.width;
      canvas.height = height > 0 ? height : bitmap.height;
      const context = canvas.getContext("2d");
      context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
      const channels = first ? tensor.shape.at(-3) : tensor.shape.at(-1);
      const count = canvas.width * canvas.height;
      const value = (pixel, channel) =>
        channels === 1 ? Math.round((data[4 * pixel] + data[4 * pixel + 1] + data[4 * pixel + 2]) / 3) : data[4 * pixel + channel];
      const values = new Array(count * channels);
      for (let pixel = 0; pixel < count; pixel++)
        for (let channel = 0; channel < channels; channel++)
          values[first ? channel * count + pixel : pixel * channels + channel] = value(pixel, channel);
      const shape = first ? [channels, canvas.height, canvas.width] : [canvas.height, canvas.width, channels];
      return { shape: shapeOf(tensor, shape), data: values };
    },
  };
}
