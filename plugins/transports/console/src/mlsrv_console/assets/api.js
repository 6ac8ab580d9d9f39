// API: calls of the server that this page comes from. The page is at …/v2/console.
export const root = location.pathname.replace(/\/console\/?$/, "");

export function key() {
  return sessionStorage.getItem("key") || "";
}

export function modelPath(model, version) {
  return `/models/${encodeURIComponent(model)}` + (version ? `/versions/${encodeURIComponent(version)}` : "");
}

// Returns {status, body, text, milliseconds}; throws with the server's sentence unless `raw`.
export async function call(path, { body, raw = false } = {}) {
  const headers = key() ? { authorization: `Bearer ${key()}` } : {};
  const options = { headers, cache: "no-store", credentials: "same-origin" };
  if (body !== undefined) {
    options.method = "POST";
    options.body = typeof body === "string" ? body : JSON.stringify(body);
    headers["content-type"] = "application/json";
  }
  const began = performance.now();
  const response = await fetch(root + path, options);
  const text = await response.text();
  const found = { status: response.status, text, body: parsed(text), milliseconds: performance.now() - began };
  if (!response.ok && !raw) {
    throw new Error(found.body?.error || `The server answered with status ${response.status}.`);
  }
  return found;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
