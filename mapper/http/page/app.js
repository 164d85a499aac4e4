// The form: built from the model schema, sent as one record.
import { element, showAnswer, showProblem } from "/page/answer.js";

const form = document.getElementById("form");
const fields = document.getElementById("fields");
const result = document.getElementById("result");
const readers = new Map();
let schema;

function typical(feature) {
  if (feature.type === "string") return feature.most_frequent;
  if (feature.type === "boolean") return feature.median >= 0.5 ? "true" : "false";
  if (feature.type === "long") return String(Math.round(feature.median));
  const short = Number(feature.median.toPrecision(6));
  return String(feature.minimum <= short && short <= feature.maximum ? short : feature.median);
}

function hint(feature) {
  const missing = feature.nullable ? ", may be empty" : "";
  if (feature.type === "string") return `${feature.categories.length} categories${missing}`;
  if (feature.type === "boolean") return `yes or no${missing}`;
  const number = (value) => Number(value.toPrecision(5)).toString();
  return `${number(feature.minimum)} to ${number(feature.maximum)}${missing}`;
}

function control(feature, id) {
  if (feature.type === "boolean") {
    const choices = feature.nullable ? ["", "true", "false"] : ["true", "false"];
    const select = element("select", { id });
    for (const choice of choices) {
      const text = { "": "(empty)", true: "yes", false: "no" }[choice];
      const option = element("option", { value: choice, text });
      option.defaultSelected = choice === typical(feature);
      select.append(option);
    }
    return [select];
  }
  const input = element("input", { id, autocomplete: "off" });
  input.defaultValue = typical(feature);
  if (feature.type === "string") {
    const list = element("datalist", { id: `${id}-list` });
    for (const category of feature.categories.slice(0, 500)) list.append(element("option", { value: category }));
    input.setAttribute("list", list.id);
    return [input, list];
  }
  input.inputMode = feature.type === "long" ? "numeric" : "decimal";
  return [input];
}

function read(feature, text) {
  if (feature.type === "string") return text === "" ? null : text;
  const trimmed = text.trim();
  if (trimmed === "") return null;
  if (feature.type === "boolean") return trimmed === "true";
  const number = Number(trimmed);
  return Number.isFinite(number) ? number : text; // the service says what is wrong with it
}

function addField(feature, position) {
  const id = `feature-${position}`;
  const [input, ...more] = control(feature, id);
  const quiet = element("span", { id: `${id}-hint`, class: "quiet", text: hint(feature) });
  const fault = element("span", { id: `${id}-fault`, class: "fault" });
  input.setAttribute("aria-describedby", `${quiet.id} ${fault.id}`);
  const box = element("div", { class: "field" });
  box.append(element("label", { for: id, text: feature.name }), input, ...more, quiet, fault);
  box.dataset.name = feature.name.toLowerCase();
  fields.append(box);
  readers.set(feature.name, { box, input, fault, read: () => read(feature, input.value) });
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
  for (const { input, fault } of readers.values()) {
    input.removeAttribute("aria-invalid");
    fault.textContent = "";
  }
  for (const { field, message } of faults) {
    const reader = readers.get(field);
    if (!reader) continue;
    reader.input.setAttribute("aria-invalid", "true");
    reader.fault.textContent = message;
    reader.box.hidden = false;
  }
}

// Where the answer stands below a long form, it is brought into view.
function bringIntoView() {
  const { top, bottom } = result.getBoundingClientRect();
  if (top > window.innerHeight - 80 || bottom < 0) document.getElementById("answer").scrollIntoView();
}

async function ask(route) {
  if (result.hasAttribute("aria-busy")) return;
  const data = Object.fromEntries([...readers].map(([name, reader]) => [name, reader.read()]));
  const body = { data };
  if (route === "explain") body.parameters = { effort: document.getElementById("effort").value };
  result.setAttribute("aria-busy", "true");
  result.replaceChildren(element("p", { class: "quiet", text: route === "explain" ? "Explaining …" : "Predicting …" }));
  markFaults([]);
  try {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const started = performance.now();
    const response = await fetch(`/v1/${route}`, options);
    const answer = await response.json();
    const duration = performance.now() - started;
    if (response.ok) {
      showAnswer(result, answer, schema, duration);
    } else {
      showProblem(result, answer);
      markFaults(answer.errors ?? []);
    }
  } catch (error) {
    showProblem(result, { title: "No answer", detail: `The mapper cannot be reached: ${error.message}` });
  } finally {
    result.removeAttribute("aria-busy");
    const faulty = fields.querySelector("[aria-invalid]");
    if (faulty) faulty.focus();
    else bringIntoView();
  }
}

async function start() {
  const response = await fetch("/v1/schema");
  schema = await response.json();
  document.title = `Try ${schema.model_name}`;
  document.getElementById("title").textContent = `${schema.model_name}: ${schema.target.name}`;
  schema.features.forEach(addField);
  document.querySelector(".filter").hidden = schema.features.length < 12;
  filter();
  document.getElementById("filter").addEventListener("input", filter);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask(event.submitter?.value ?? "predict");
  });
  form.addEventListener("reset", () => markFaults([]));
  // A link can ask at once: /#predict, /#explain.
  const route = location.hash.slice(1);
  if (route === "predict" || route === "explain") ask(route);
}

start().catch((error) => showProblem(result, { title: "No schema", detail: `The mapper cannot be reached: ${error.message}` }));
