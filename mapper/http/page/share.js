// A request as code, and the state of the form as a link. The fragment of a link is never sent to a server.
import { part, say } from "/page/dom.js";
import { TEXTS } from "/page/texts.js";

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

// Python's own words for JSON's three.
function python(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${python(one)}`).join(", ")}}`;
}

export const LANGUAGES = {
  curl: (url, body, secret) => {
    const token = secret ? ` -H "Authorization: Bearer $TOKEN"` : "";
    return `curl ${quoted(url)}${token} -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(body))}`;
  },
  Python: (url, body, secret) => [
    "import json", ...(secret ? ["import os"] : []), "from urllib.request import Request, urlopen", "",
    `body = ${python(body)}`,
    `headers = {"Content-Type": "application/json"${secret ? `, "Authorization": "Bearer " + os.environ["TOKEN"]` : ""}}`,
    `request = Request(${JSON.stringify(url)}, json.dumps(body).encode(), headers)`,
    "print(json.load(urlopen(request))[\"predictions\"])",
  ].join("\n"),
  JavaScript: (url, body, secret) => [
    `const response = await fetch(${JSON.stringify(url)}, {`,
    '  method: "POST",',
    `  headers: { "Content-Type": "application/json"${secret ? ", Authorization: `Bearer ${token}`" : ""} },`,
    `  body: JSON.stringify(${JSON.stringify(body)}),`,
    "});", "console.log((await response.json()).predictions);",
  ].join("\n"),
};

export function stateOf(text) {
  try {
    const state = JSON.parse(decodeURIComponent(text.replace(/^#row=/, "")));
    return state !== null && typeof state === "object" && !Array.isArray(state) ? state : {};
  } catch {
    return {};
  }
}

export const linkOf = (state) => `${location.origin}${location.pathname}#row=${encodeURIComponent(JSON.stringify(state))}`;

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    part("copied").textContent = TEXTS.copied;
    say(TEXTS.copied);
  } catch { // no permission, or not a secure context
    part("copied").textContent = TEXTS.notCopied;
    getSelection().selectAllChildren(part("code"));
  }
}

// `request` gives URL, body and whether a token is needed; `state` what a link is to carry.
export function offerCode(request, state) {
  const write = () => {
    const made = LANGUAGES[part("language").value];
    part("code").textContent = made ? made(...request()) : linkOf(state());
    part("copied").textContent = "";
  };
  for (const name of Object.keys(LANGUAGES)) part("language").append(new Option(name));
  part("language").append(new Option(TEXTS.link, ""));
  part("sharing").addEventListener("toggle", write);
  part("language").addEventListener("change", write);
  part("copy").addEventListener("click", () => {
    write();
    copy(part("code").textContent);
  });
}
