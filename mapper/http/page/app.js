// The form: built from the model schema, sent as one record.
import { element, showAnswer, showProblem } from "/page/answer.js";
import { shortened, wording } from "/page/words.js";

// Where this model's routes are: the page may be one of several, as /models/<name>/.
const base = location.pathname.replace(/\/$/, "");
const form = document.getElementById("form");
const fields = document.getElementById("fields");
const result = document.getElementById("result");
const readers = new Map();
const options = new Map();
const TOKEN = "token";
let refused; // what is asked again as soon as there is a token
let schema;
let predictOptions; // names of those that need no explanation
let typical; // a record of typical values
let words; // what the data dictionary calls columns and values

// The fields of an application's own class, from the JSON Schema of its records.
function featuresOf({ properties, required = [] }) {
  const types = { number: "double", integer: "long", boolean: "boolean" };
  return Object.entries(properties).map(([name, { type, enum: choices, description, minimum, maximum }]) => ({
    name, minimum, maximum, text: description, own: true, categories: choices ?? [],
    values: choices || minimum !== undefined ? "closed" : "open",
    type: types[[type].flat()[0]] ?? "string", nullable: !required.includes(name),
  }));
}

function hint(feature) {
  const { description = "" } = words.entryOf(feature.name);
  // The choices of a truth value show their meanings themselves.
  const meanings = feature.type === "boolean" ? "" : words.meanings(feature.name);
  return [feature.text, shortened(description), meanings, range(feature)].filter(Boolean).join("; ");
}

function isDate(feature) {
  return feature.type === "date" || feature.type === "datetime";
}

function range(feature) {
  const missing = feature.nullable ? ", can be empty" : "";
  if (feature.type === "boolean") {
    const [yes, no] = [true, false].map((choice) => words.word(feature.name, choice));
    return `${yes} or ${no}${missing}`;
  }
  if (feature.type === "string") {
    const count = feature.categories.length;
    if (!count) return `any text${missing}`;
    return `${count} ${(feature.values ?? "learned") === "learned" ? "categories" : "choices"}${missing}`;
  }
  if (feature.type === "text") return `any text${missing}`;
  if (isDate(feature)) return `${feature.minimum} to ${feature.maximum}${missing}`;
  if (feature.values === "open") return `any number${missing}`;
  const number = (value) => (value === undefined ? "any" : Number(value.toPrecision(5)).toString());
  return `${number(feature.minimum)} to ${number(feature.maximum)}${missing}`;
}

function control(feature, id) {
  if (feature.type === "boolean") {
    const choices = feature.nullable ? ["", "true", "false"] : ["true", "false"];
    const select = element("select", { id });
    for (const choice of choices) {
      const text = choice === "" ? "(empty)" : words.word(feature.name, choice === "true");
      const option = element("option", { value: choice, text });
      option.defaultSelected = choice === String(typical[feature.name]);
      select.append(option);
    }
    return [select];
  }
  const input = element("input", { id, autocomplete: "off" });
  input.defaultValue = typical[feature.name] ?? "";
  const isNumber = feature.type === "double" || feature.type === "long";
  const choices = isNumber ? Object.keys(words.entryOf(feature.name).decode ?? {}) : feature.categories;
  if (feature.type === "string" || (isNumber && choices.length)) {
    const list = element("datalist", { id: `${id}-list` });
    for (const value of choices.slice(0, 500)) {
      const label = words.meaning(feature.name, value);
      list.append(element("option", label === undefined ? { value } : { value, label }));
    }
    input.setAttribute("list", list.id);
    if (isNumber) input.inputMode = feature.type === "long" ? "numeric" : "decimal";
    return [input, list];
  }
  if (feature.type === "date") input.type = "date";
  if (isDate(feature) || feature.type === "text") return [input];
  input.inputMode = feature.type === "long" ? "numeric" : "decimal";
  return [input];
}

function addField(feature, position) {
  const id = `feature-${position}`;
  const [input, ...more] = control(feature, id);
  const quiet = element("span", { id: `${id}-hint`, class: "quiet", text: hint(feature) });
  const fault = element("span", { id: `${id}-fault`, class: "fault" });
  input.setAttribute("aria-describedby", `${quiet.id} ${fault.id}`);
  const box = element("div", { class: "field" });
  const { description = "" } = words.entryOf(feature.name);
  if (description !== shortened(description)) quiet.title = description;
  box.append(element("label", { for: id, text: words.name(feature.name) }), input, ...more, quiet, fault);
  box.dataset.name = `${feature.name} ${description}`.toLowerCase();
  fields.append(box);
  readers.set(feature.name, { box, input, fault, read: () => read(feature, input.value) });
}

// Text goes as it was typed, and the mapper reads it; a class of its own gets numbers and truth values.
function read(feature, text) {
  if (text === "") return null;
  if (feature.own && feature.type === "boolean") return text === "true";
  if (feature.own && feature.type !== "string" && Number.isFinite(Number(text))) return Number(text);
  return text;
}

// One control for each parameter of rows that the service documents; all of them ask for more than a prediction.
function addOption([name, { enum: choices, type, items, default: preset, description, minimum, maximum }]) {
  const id = `option-${name}`;
  const isList = type === "array";
  const control = element(choices || isList ? "select" : "input", { id, autocomplete: "off" });
  if (isList) control.multiple = true;
  for (const choice of choices ?? items?.enum ?? []) control.append(element("option", { value: choice, text: choice }));
  if (choices) control.value = preset;
  const isNumber = type === "integer" || type === "number";
  if (isNumber) Object.assign(control, { type: "number", min: minimum, max: maximum, defaultValue: preset ?? "" });
  if (type === "number") control.step = "any";
  const quiet = element("span", { id: `${id}-hint`, class: "quiet", text: description });
  const fault = element("span", { id: `${id}-fault`, class: "fault" });
  control.setAttribute("aria-describedby", `${quiet.id} ${fault.id}`);
  const box = element("div", { class: "field" });
  box.append(element("label", { for: id, text: name.replaceAll("_", " ") }), control, quiet, fault);
  document.getElementById("options").append(box);
  const value = () => {
    if (isList) return [...control.selectedOptions].map((option) => option.value);
    return isNumber && control.value !== "" ? Number(control.value) : control.value;
  };
  options.set(name, { box, input: control, fault, preset: preset ?? "", value });
}

// What differs from the presets; the model server knows those itself.
function chosenOptions(route) {
  const taken = [...options].filter(([name]) => route === "explain" || predictOptions.has(name));
  const given = taken.map(([name, { value, preset }]) => [name, value(), preset]);
  return Object.fromEntries(given.filter(([, value, preset]) => String(value) !== String(preset) && value !== ""));
}

function filter() {
  const wanted = document.getElementById("filter").value.trim().toLowerCase();
  let shown = 0;
  for (const { box } of readers.values()) {
    box.hidden = !box.dataset.name.includes(wanted);
    shown += box.hidden ? 0 : 1;
  }
  document.getElementById("filter-count").textContent = `${shown} of ${readers.size} features`;
}

function markFaults(faults) {
  for (const { input, fault } of [...readers.values(), ...options.values()]) {
    input.removeAttribute("aria-invalid");
    fault.textContent = "";
  }
  for (const { field, message } of faults) {
    const reader = readers.get(field) ?? options.get(field?.replace(/^parameters\./, ""));
    if (!reader) continue;
    reader.input.setAttribute("aria-invalid", "true");
    reader.fault.textContent = message;
    reader.box.hidden = false;
    reader.box.closest("details")?.setAttribute("open", "");
  }
}

// Below a long form, the answer is scrolled into view.
function bringIntoView() {
  const { top, bottom } = result.getBoundingClientRect();
  if (top > window.innerHeight - 80 || bottom < 0) document.getElementById("answer").scrollIntoView();
}

function useToken(token) {
  if (token) sessionStorage.setItem(TOKEN, token);
  else sessionStorage.removeItem(TOKEN);
  document.getElementById("known").hidden = !token;
}

function authorization() {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

// The service wants a token, or another one.
function askForToken(route, { detail }) {
  refused = route;
  useToken("");
  result.replaceChildren();
  document.getElementById("access").hidden = false;
  document.getElementById("token-fault").textContent = detail;
  document.getElementById("token").setAttribute("aria-invalid", "true");
}

function takeToken(event) {
  event.preventDefault();
  const input = document.getElementById("token");
  // A header takes visible characters of ASCII only, and so do tokens.
  if (!/^[!-~]+$/.test(input.value.trim())) {
    askForToken(refused, { detail: "Enter a token: letters, digits and ._~+/-." });
    input.focus();
    return;
  }
  useToken(input.value.trim());
  input.value = "";
  input.removeAttribute("aria-invalid");
  document.getElementById("access").hidden = true;
  ask(refused);
}

async function ask(route) {
  if (result.hasAttribute("aria-busy")) return;
  const values = [...readers].map(([name, reader]) => [name, reader.read()]);
  const data = Object.fromEntries(values.filter(([, value]) => value !== null || !schema.record));
  const body = { data };
  body.parameters = chosenOptions(route);
  result.setAttribute("aria-busy", "true");
  result.replaceChildren(element("p", { class: "quiet", text: route === "explain" ? "Explaining …" : "Predicting …" }));
  markFaults([]);
  try {
    const headers = { "Content-Type": "application/json", ...authorization() };
    const sent = { method: "POST", headers, body: JSON.stringify(body) };
    const started = performance.now();
    const response = await fetch(`${base}/v1/${route}`, sent);
    const answer = await response.json();
    const duration = performance.now() - started;
    if (response.ok) {
      showAnswer(result, answer, schema, duration);
    } else if (response.status === 401) {
      askForToken(route, headers.Authorization ? answer : { detail: "This service needs a token. Ask its operator for one." });
    } else {
      showProblem(result, answer);
      markFaults(answer.errors ?? []);
    }
  } catch (error) {
    showProblem(result, { title: "No answer", detail: `Cannot reach the mapper: ${error.message}` });
  } finally {
    result.removeAttribute("aria-busy");
    const access = document.getElementById("access");
    const faulty = access.hidden ? form.querySelector("[aria-invalid]") : document.getElementById("token");
    if (faulty) faulty.focus();
    else bringIntoView();
    if (!access.hidden) access.scrollIntoView({ block: "nearest" });
  }
}

async function start() {
  const responses = await Promise.all(["/v1/schema", "/openapi.json"].map((path) => fetch(base + path)));
  const [found, openapi] = await Promise.all(responses.map((response) => response.json()));
  schema = { ...found, features: found.features ?? featuresOf(found.record) };
  words = wording(schema);
  const { Record: { examples }, explainRows, predictRows } = openapi.components.schemas;
  [typical] = examples;
  const { parameters } = explainRows.properties;
  predictOptions = new Set(Object.keys(predictRows.properties.parameters.properties));
  document.title = `Try ${schema.model_name}`;
  const target = schema.target ? `: ${schema.target.name}` : "";
  const about = schema.target && words.entryOf(schema.target.name).description;
  if (about) document.getElementById("about").textContent = about;
  document.getElementById("title").textContent = `${schema.model_name}${target}`;
  schema.features.forEach(addField);
  Object.entries(parameters.properties).forEach(addOption);
  document.querySelector(".filter").hidden = schema.features.length < 12;
  filter();
  document.getElementById("filter").addEventListener("input", filter);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask(event.submitter?.value ?? "predict");
  });
  form.addEventListener("reset", () => markFaults([]));
  document.getElementById("access").addEventListener("submit", takeToken);
  document.getElementById("forget").addEventListener("click", () => useToken(""));
  useToken(sessionStorage.getItem(TOKEN));
  for (const link of document.querySelectorAll("nav a")) link.href = base + link.getAttribute("href");
  // A link can ask at once: /#predict, /#explain.
  const route = location.hash.slice(1);
  if (route === "predict" || route === "explain") ask(route);
}

start().catch((error) => showProblem(result, { title: "No schema", detail: `Cannot reach the mapper: ${error.message}` }));
