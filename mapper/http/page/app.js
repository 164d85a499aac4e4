// The page of one model: asks for what its form says, at once where a value changes.
import { askForToken, authorization, hasToken, offerAccess } from "/page/access.js";
import { explanationOf, showAnswer, showProblem } from "/page/answer.js";
import { offerMany } from "/page/batch.js";
import { askOther, offerOthers } from "/page/compare.js";
import { element, NARROW, part, tell } from "/page/dom.js";
import { addFields, featuresOf, filter, putFirst, readers } from "/page/fields.js";
import { addOptions, chosenOptions, moves, options } from "/page/options.js";
import { offerSamples } from "/page/samples.js";
import { offerCode, stateOf } from "/page/share.js";
import { TEXTS } from "/page/texts.js";
import { wording } from "/page/words.js";

// Where this model's routes are: the page may be one of several, as /models/<name>/.
const base = location.pathname.replace(/\/$/, "");
const PAUSE_MS = 150; // of typing or dragging, before the service is asked
const result = part("result");
let schema;
let last = "predict"; // what was asked for last
let isLive = true; // until a question goes wrong
let timer;
let running = new AbortController();
const undone = []; // values before each change that was applied

const body = (route, data) => ({ data, parameters: chosenOptions(route) });

function record() {
  const values = [...readers].map(([name, reader]) => [name, reader.read()]);
  return Object.fromEntries(values.filter(([, value]) => value !== null || !schema.record));
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
  if (top > window.innerHeight - 80 || bottom < 0) part("answer").scrollIntoView();
}

async function send(route, data, signal) {
  const headers = { "Content-Type": "application/json", ...authorization() };
  const started = performance.now();
  const response = await fetch(`${base}/v1/${route}`, { method: "POST", headers, body: JSON.stringify(body(route, data)), signal });
  const answer = await response.json();
  return { isOk: response.ok, status: response.status, answer, duration: performance.now() - started };
}

// A question ends those before it, so that no older answer comes after a newer one.
function begun() {
  clearTimeout(timer);
  running.abort();
  running = new AbortController();
  return running.signal;
}

// With the other model's answer, if one is compared; its problem does not keep the first from being shown.
async function sendBoth(route, data, signal) {
  const other = askOther(body("predict", data), signal).catch((error) => {
    if (signal.aborted) throw error;
    return { name: part("other").value, isOk: false, answer: { detail: TEXTS.unreachable(error.message) } };
  });
  const [given, beside] = await Promise.all([send(route, data, signal), other]);
  return { ...given, beside };
}

function show(asked, { answer, duration, beside }) {
  isLive = true;
  showAnswer(result, answer, schema, duration, { record: asked, apply, beside });
  const explanation = explanationOf(answer);
  if (explanation) putFirst(explanation);
}

async function ask(route) {
  if (result.hasAttribute("aria-busy")) return;
  const signal = begun();
  last = route;
  const asked = record();
  result.setAttribute("aria-busy", "true");
  result.replaceChildren(element("p", { class: "quiet", text: route === "explain" ? TEXTS.explaining : TEXTS.predicting }));
  markFaults([]);
  try {
    const given = await sendBoth(route, asked, signal);
    if (given.isOk) {
      show(asked, given);
    } else if (given.status === 401) {
      askForToken(hasToken() ? given.answer.detail : TEXTS.needsToken);
    } else {
      showProblem(result, given.answer);
      markFaults(given.answer.errors ?? []);
    }
  } catch (error) {
    showProblem(result, { title: TEXTS.noAnswer, detail: TEXTS.unreachable(error.message) });
  } finally {
    result.removeAttribute("aria-busy");
    const access = part("access");
    const faulty = access.hidden ? part("form").querySelector("[aria-invalid]") : part("token");
    if (faulty) faulty.focus();
    else bringIntoView();
    if (!access.hidden) access.scrollIntoView({ block: "nearest" });
  }
}

// What if: the prediction follows the form, while its values can be right. Faults wait for the button.
async function follow() {
  if (!isLive || result.hasAttribute("aria-busy") || ![...readers.values()].every((one) => one.isPlausible())) return;
  const signal = begun();
  const asked = record();
  try {
    const given = await sendBoth("predict", asked, signal);
    if (signal.aborted) return;
    isLive = given.isOk;
    if (!given.isOk) return;
    markFaults([]);
    show(asked, given);
  } catch {
    if (!signal.aborted) isLive = false;
  }
}

function changed() {
  clearTimeout(timer);
  if (!result.hasAttribute("aria-busy")) running.abort();
  timer = setTimeout(follow, PAUSE_MS);
}

function apply(changes) {
  undone.push(changes.map(({ feature }) => [feature, readers.get(feature).input.value]));
  for (const { feature, to } of changes) readers.get(feature).set(to);
  part("undo").hidden = false;
  ask("explain");
}
apply.takes = (changes) => changes.every(({ feature }) => readers.has(feature));

function undo() {
  for (const [name, given] of undone.pop()) readers.get(name).set(given);
  part("undo").hidden = !undone.length;
  ask("explain");
}

function state() {
  const changedOnes = [...readers].filter(([, reader]) => reader.isChanged());
  const row = Object.fromEntries(changedOnes.map(([name, { input }]) => [name, input.value]));
  return { ask: last, row, ...(moves.size ? { moves: Object.fromEntries(moves) } : {}) };
}

function restore() {
  const hash = location.hash;
  const given = hash.startsWith("#row=") ? stateOf(hash) : { ask: hash.slice(1) };
  for (const [name, text] of Object.entries(given.row ?? {})) readers.get(name)?.set(text);
  for (const [name, kind] of Object.entries(given.moves ?? {})) if (kind in TEXTS.moves) moves.set(name, kind);
  if (given.ask === "predict" || given.ask === "explain") ask(given.ask);
}

function explainRow(row) {
  for (const [name, reader] of readers) reader.set(name in row ? row[name] : reader.feature.nullable ? null : reader.input.defaultValue);
  part("row").scrollIntoView();
  ask("explain");
}

function name(words) {
  document.title = TEXTS.tryModel(schema.model_name);
  const target = schema.target ? `: ${schema.target.name}` : "";
  const about = schema.target && words.entryOf(schema.target.name).description;
  if (about) part("about").textContent = about;
  part("title").textContent = `${schema.model_name}${target}`;
}

function listen() {
  part("form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask(event.submitter?.value ?? "predict");
  });
  part("form").addEventListener("reset", () => {
    markFaults([]);
    undone.length = 0;
    part("undo").hidden = true;
    // After the values themselves.
    setTimeout(() => [...readers.values()].forEach(({ input }) => input.dispatchEvent(new Event("input"))));
  });
  part("fields").addEventListener("input", changed);
  part("undo").addEventListener("click", undo);
}

async function start() {
  const compare = () => ask(last);
  const [responses] = await Promise.all([
    Promise.all(["/v1/schema", "/openapi.json"].map((path) => fetch(base + path))), offerOthers(base, compare),
  ]);
  const [found, openapi] = await Promise.all(responses.map((response) => response.json()));
  schema = { ...found, features: found.features ?? featuresOf(found.record) };
  const words = wording(schema);
  const parts = openapi.components.schemas;
  name(words);
  addFields(schema.features, words, parts.Record.examples[0]);
  addOptions(parts, words);
  offerSamples(schema, () => {
    isLive = true; // the values before may have been wrong, these are not
    changed();
  });
  listen();
  offerAccess(() => {
    offerOthers(base, compare);
    ask(last);
  });
  const url = (route) => `${location.origin}${base}/v1/${route}`;
  offerCode(() => [url(last), body(last, record()), hasToken()], state);
  const reads = new Map([...readers].map(([feature, reader]) => [feature, reader.readText]));
  part("many-rows").open = !NARROW.matches;
  offerMany(reads, (rows) => send("predict", rows), explainRow);
  for (const link of document.querySelectorAll("nav a")) link.href = base + link.getAttribute("href");
  filter();
  restore();
}

tell(TEXTS);
start()
  .catch((error) => showProblem(result, { title: TEXTS.noSchema, detail: TEXTS.unreachable(error.message) }))
  .finally(() => delete document.body.dataset.loading);
