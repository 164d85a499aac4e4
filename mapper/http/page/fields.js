// The form's fields: one control for each feature, with a slider over the range of the training rows.
import { element, part } from "/page/dom.js";
import { TEXTS } from "/page/texts.js";
import { shortened } from "/page/words.js";

export const FEW = 8; // features that are shown first, where there are many
const FOLDED_FROM = 12;
export const readers = new Map();
let words; // what the data dictionary calls columns and values
let typical; // a record of typical values
let isFolded = false;
let important = new Set(); // names that the last explanation spoke of

// The fields of an application's own class, from the JSON Schema of its records.
export function featuresOf({ properties, required = [] }) {
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
  const missing = feature.nullable ? TEXTS.range.canBeEmpty : "";
  if (feature.type === "boolean") {
    const [yes, no] = [true, false].map((choice) => words.word(feature.name, choice));
    return `${TEXTS.range.either(yes, no)}${missing}`;
  }
  if (feature.type === "string") {
    const count = feature.categories.length;
    if (!count) return `${TEXTS.range.anyText}${missing}`;
    const isLearned = (feature.values ?? "learned") === "learned";
    return `${isLearned ? TEXTS.range.categories(count) : TEXTS.range.choices(count)}${missing}`;
  }
  if (feature.type === "text") return `${TEXTS.range.anyText}${missing}`;
  if (isDate(feature)) return `${TEXTS.range.between(feature.minimum, feature.maximum)}${missing}`;
  if (feature.values === "open") return `${TEXTS.range.anyNumber}${missing}`;
  const number = (value) => (value === undefined ? TEXTS.range.any : Number(value.toPrecision(5)).toString());
  return `${TEXTS.range.between(number(feature.minimum), number(feature.maximum))}${missing}`;
}

function control(feature, id) {
  if (feature.type === "boolean") {
    const choices = feature.nullable ? ["", "true", "false"] : ["true", "false"];
    const select = element("select", { id });
    for (const choice of choices) {
      const text = choice === "" ? TEXTS.empty : words.word(feature.name, choice === "true");
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
  if (feature.values === "open" || !(feature.maximum > feature.minimum)) return [input];
  return [input, slider(feature, input)];
}

// For the pointer; keys change the number itself, so that nothing is said twice.
function slider(feature, input) {
  const { minimum, maximum, type, name } = feature;
  const step = type === "long" ? 1 : Number(((maximum - minimum) / 200).toPrecision(1));
  const range = element("input", { type: "range", min: minimum, max: maximum, step: type === "long" ? 1 : "any", tabindex: "-1", "aria-hidden": "true" });
  range.title = TEXTS.sliderOf(name);
  const follow = () => {
    const given = Number(input.value || NaN);
    range.value = given;
    range.classList.toggle("beyond", !(given >= minimum && given <= maximum));
  };
  const set = (given) => {
    input.value = type === "long" ? Math.round(given) : Number(given.toPrecision(5));
    input.dispatchEvent(new Event("input", { bubbles: true }));
  };
  range.addEventListener("input", (event) => {
    event.stopPropagation();
    set(Number(range.value));
  });
  input.addEventListener("input", follow);
  input.addEventListener("keydown", (event) => {
    const way = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!way || input.value === "" || Number.isNaN(Number(input.value))) return;
    event.preventDefault();
    set(Number(input.value) + way * (step || 1));
  });
  input.defaultValue = typical[name] ?? "";
  follow();
  return range;
}

// Whether the form can tell that the service takes the text; it alone knows for sure.
function isPlausible(feature, text) {
  if (text === "") return feature.nullable;
  const isBeyond = feature.values === "closed" && (Number(text) < feature.minimum || Number(text) > feature.maximum);
  if (feature.type === "long" && !isBeyond) return /^\s*[-+]?\d+\s*$/.test(text);
  if (feature.type === "double" && !isBeyond) return text.trim() !== "" && Number.isFinite(Number(text));
  if (isDate(feature)) return /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?Z?)?$/.test(text);
  return feature.values !== "closed" || feature.type === "boolean" || feature.categories?.includes(text);
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
  part("fields").append(box);
  const set = (given) => {
    input.value = given ?? "";
    input.dispatchEvent(new Event("input")); // the slider follows; it does not bubble, so that nothing is asked
  };
  readers.set(feature.name, {
    box, input, fault, set, feature, typical: typical[feature.name],
    read: () => read(feature, input.value), readText: (text) => read(feature, text.trim()),
    isPlausible: () => isPlausible(feature, input.value), isChanged: () => input.value !== String(typical[feature.name] ?? ""),
  });
}

// Text goes as it was typed, and the mapper reads it; a class of its own gets numbers and truth values.
function read(feature, text) {
  if (text === "") return null;
  if (feature.own && feature.type === "boolean") return text === "true";
  if (feature.own && feature.type !== "string" && Number.isFinite(Number(text))) return Number(text);
  return text;
}


export function addFields(features, told, record) {
  words = told;
  typical = record;
  features.forEach(addField);
  isFolded = features.length > FOLDED_FROM;
  part("more").hidden = !isFolded;
  part("more").addEventListener("click", () => {
    isFolded = !isFolded;
    filter();
  });
  part("filter").addEventListener("input", filter);
  document.querySelector(".filter").hidden = features.length < FOLDED_FROM;
  filter();
}

// The search finds folded features as well.
export function filter() {
  const wanted = part("filter").value.trim().toLowerCase();
  let shown = 0;
  [...part("fields").children].forEach((box, place) => {
    const isFound = box.dataset.name.includes(wanted);
    const isFirst = place < FEW || box.querySelector("[aria-invalid]") !== null;
    box.hidden = !isFound || (isFolded && !wanted && !isFirst);
    shown += box.hidden ? 0 : 1;
  });
  part("filter-count").textContent = TEXTS.features(shown, readers.size);
  const button = part("more");
  button.textContent = isFolded ? TEXTS.showAll(readers.size) : TEXTS.showFewer;
  button.setAttribute("aria-expanded", String(!isFolded));
}

// What the rule and the changes speak of comes first, the most important at the top. As many are shown as before, so
// that nothing below moves from under a pointer.
export function putFirst(explanation) {
  if (readers.size <= FOLDED_FROM) return;
  const share = (name) => explanation.feature_importances[name] ?? 0;
  const changed = explanation.counterfactuals.flatMap(({ changes }) => changes.map(({ feature }) => feature));
  const named = new Set([...explanation.rule.premises.map(({ feature }) => feature), ...changed]);
  important = new Set([...named].filter((name) => readers.has(name)).sort((a, b) => share(b) - share(a)).slice(0, FEW));
  const held = document.activeElement;
  const rest = [...readers.keys()].filter((name) => !important.has(name)).sort((a, b) => share(b) - share(a));
  part("fields").append(...[...important, ...rest].map((name) => readers.get(name).box));
  for (const name of readers.keys()) readers.get(name).box.classList.toggle("important", important.has(name));
  if (part("fields").contains(held)) held.focus();
  filter();
}
