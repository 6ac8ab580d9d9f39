// Console: the list of models, and what can be done with the chosen one.
import { call, key, modelPath, root } from "./api.js";
import { Activity } from "./activity.js";
import { drawBatching } from "./batching.js";
import { Drift } from "./drift.js";
import { Explanation } from "./explanation.js";
import { makeFields } from "./form.js";
import { drawWorkers } from "./workers.js";
import { Topics } from "./topics.js";

const SECONDS = 2;
const at = (id) => document.getElementById(id);
const activity = new Activity(at("activity"));
const drift = new Drift(at("drift"), at("drift-words"), at("drift-rows"));
const explanation = new Explanation(at("explanation"), at("explanation-words"), at("explanation-rows"));
const topics = new Topics(at("kafka"), at("topics"), at("kafka-problem"));
let models = [];
let chosen = null;
let shown = "";
let form = null;
let gauges = [];

const keyOf = (model) => `${model.name}\n${model.version || ""}`;
// Statistics have a version where a model has none.
const countedAs = (model) => `${model.name}\n${model.version || "1"}`;

async function look() {
  try {
    const [index, ready, stats, measured] = await Promise.all([
      call("/repository/index", { body: {} }),
      call("/health/ready", { raw: true }),
      call("/models/stats", { raw: true }),
      call("/console/gauges", { raw: true }),
    ]);
    models = index.body;
    for (const one of stats.body?.model_stats || []) activity.read(countedAs(one), one, performance.now());
    at("state").textContent = ready.status === 200 ? "ready" : "not ready";
    at("state").className = ready.status === 200 ? "good" : "bad";
    gauges = measured.body?.gauges || [];
    drawWorkers(at("workers"), gauges);
    tell("");
  } catch (error) {
    at("state").textContent = "";
    tell(error instanceof TypeError ? "The server cannot be reached." : error.message);
    return;
  }
  drawList();
  await topics.look();
  if (chosen) await drawModel();
}

function tell(sentence) {
  if (at("problem").textContent !== sentence) at("problem").textContent = sentence;
  at("problem").hidden = !sentence;
}

function drawList() {
  at("no-models").hidden = models.length > 0;
  const rows = models.map((model) => {
    const state = `${model.version ? `version ${model.version} · ` : ""}${model.state || "UNKNOWN"}`;
    return [keyOf(model), model.name, state, model.state === "READY" ? "good" : "bad"];
  });
  const list = at("models");
  if (list.dataset.rows === JSON.stringify(rows) + chosen) return;
  const focused = document.activeElement?.dataset?.key;
  list.dataset.rows = JSON.stringify(rows) + chosen;
  list.replaceChildren(
    ...rows.map(([id, name, state, colour]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.key = id;
      button.setAttribute("aria-current", String(id === chosen));
      const title = document.createElement("span");
      title.className = "name";
      title.textContent = name;
      const small = document.createElement("span");
      small.className = `quiet ${colour}`;
      small.textContent = state;
      button.append(title, small);
      button.addEventListener("click", () => choose(id));
      const item = document.createElement("li");
      item.append(button);
      return item;
    }),
  );
  if (focused !== undefined) [...list.querySelectorAll("button")].find((one) => one.dataset.key === focused)?.focus();
}

async function choose(id) {
  chosen = id;
  shown = "";
  location.hash = encodeURIComponent(id);
  at("answer").hidden = true;
  drawList();
  await drawModel();
  if (innerWidth < 768) at("detail").scrollIntoView();
}

async function drawModel() {
  const model = models.find((one) => keyOf(one) === chosen);
  at("detail").hidden = !model;
  if (!model) return;
  const isReady = model.state === "READY";
  at("model-title").textContent = model.name + (model.version ? ` (version ${model.version})` : "");
  at("model-reason").textContent = model.reason || "";
  at("model-reason").hidden = !model.reason;
  at("form").hidden = !isReady;
  activity.draw(countedAs(model));
  drawBatching(at("batching"), isReady ? await batcherOf(model) : null);
  if (isReady) await drift.draw(model);
  else at("drift").hidden = true;
  if (shown === `${chosen} ${model.state}`) return;
  shown = `${chosen} ${model.state}`;
  drawActions(model, isReady);
  at("model-facts").textContent = "";
  if (!isReady) return;
  try {
    const { body } = await call(modelPath(model.name, model.version));
    const outputs = (body.outputs || []).map((one) => `${one.name} ${one.datatype} [${one.shape.join(", ")}]`);
    const facts = [body.platform, outputs.length ? `outputs: ${outputs.join(", ")}` : "", body.inputs?.length ? "" : "declares no inputs"];
    at("model-facts").textContent = facts.filter(Boolean).join(" · ");
    form = makeFields(body.inputs || [], at("fields"));
  } catch (error) {
    tell(error.message);
  }
}

// What a batcher does, null for a model without one.
async function batcherOf(model) {
  if (!gauges.some(({ name, labels }) => name === "mlsrv_batch_queue" && labels.model_name === model.name)) return null;
  const { status, body } = await call(`${modelPath(model.name, model.version)}/batching`, { raw: true });
  return status === 200 ? body : null;
}

function drawActions(model, isReady) {
  const verbs = isReady ? [["Reload", "load"], ["Unload", "unload"]] : [["Load", "load"]];
  at("actions").replaceChildren(
    ...verbs.map(([label, verb]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.addEventListener("click", () => control(button, model, label, verb));
      return button;
    }),
  );
}

async function control(button, model, label, verb) {
  at("confirm-text").textContent = `${label} all versions of ${model.name}?`;
  at("confirm-yes").textContent = label;
  if ((await asked(at("confirm"))) !== "yes") return;
  button.disabled = true;
  try {
    await call(`/repository${modelPath(model.name)}/${verb}`, { body: {} });
    shown = "";
    await look();
  } catch (error) {
    tell(error.message);
  } finally {
    button.disabled = false;
  }
}

function asked(dialog) {
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}

async function send(event) {
  event.preventDefault();
  const model = models.find((one) => keyOf(one) === chosen);
  const button = at("form").querySelector("button.main");
  button.disabled = true;
  try {
    const body = JSON.stringify(await form.request());
    const path = `${modelPath(model.name, model.version)}/infer`;
    const answer = await call(path, { body, raw: true });
    at("answer").hidden = false;
    at("answer-facts").textContent = `status ${answer.status} · ${answer.milliseconds.toFixed(1)} ms, network included`;
    at("answer-body").textContent = answer.body ? pretty(answer.body) : answer.text;
    explanation.draw(answer.status === 200 ? answer.body : null);
    drawRecipes(location.origin + root + path, body);
    tell("");
  } catch (error) {
    tell(error instanceof TypeError ? "The server cannot be reached." : error.message);
  } finally {
    button.disabled = false;
  }
}

// JSON with one line for each list of numbers or texts.
function pretty(value) {
  return JSON.stringify(value, null, 2).replace(/\[\s+((?:[^[\]{}"]|"(?:[^"\\]|\\.)*")*?)\s+\]/g, (_, inside) => `[${inside.replace(/\s*\n\s*/g, " ")}]`);
}

function drawRecipes(url, body) {
  const quoted = body.replaceAll("'", "'\\''");
  const header = key() ? ` \\\n  -H "Authorization: Bearer $KEY"` : "";
  at("as-curl").textContent = `curl -s ${url}${header} \\\n  -d '${quoted}'`;
  const headers = key() ? `, headers={"Authorization": f"Bearer {key}"}` : "";
  at("as-python").textContent = `import json\n\nimport httpx\n\nrequest = json.loads(${JSON.stringify(body)})\nanswer = httpx.post("${url}", json=request${headers})\nprint(answer.json())`;
}

async function askKey() {
  at("key").value = "";
  if ((await asked(at("key-dialog"))) !== "yes") return;
  sessionStorage.setItem("key", at("key").value.trim());
  at("key").value = "";
  await begin();
}

async function begin() {
  try {
    const { body } = await call("");
    at("server").textContent = `${body.name} ${body.version || ""}`;
    document.title = `${body.name} · Console`;
    drift.isOffered = body.extensions.includes("drift");
    topics.isThere = (body.extensions || []).includes("kafka");
  } catch (error) {
    tell(error instanceof TypeError ? "The server cannot be reached." : error.message);
  }
  await look();
  if (!chosen && models.length) await choose(decodeURIComponent(location.hash.slice(1)) || keyOf(models[0]));
}

at("form").addEventListener("submit", send);
at("example").addEventListener("click", () => form.fill());
at("key-button").addEventListener("click", askKey);
await begin();
for (;;) {
  await new Promise((resolve) => setTimeout(resolve, 1000 * SECONDS));
  if (!document.hidden) await look();
}
