// Parameters of a request: one control for each that the service documents, and for each feature how it may move.
import { element, part } from "/page/dom.js";
import { TEXTS } from "/page/texts.js";

const MOVES = { mutable: "mutable_features", immutable: "immutable_features", up: "increase_only", down: "decrease_only" };
export const options = new Map();
export const moves = new Map(); // names of features, and how each may move if not as usual
let parameters;
let predictOptions; // names of those that need no explanation

function addOption([name, { enum: choices, type, default: preset, description, minimum, maximum }]) {
  const id = `option-${name}`;
  const control = element(choices ? "select" : "input", { id, autocomplete: "off" });
  for (const choice of choices ?? []) control.append(element("option", { value: choice, text: choice }));
  if (choices) control.value = preset;
  const isNumber = type === "integer" || type === "number";
  if (isNumber) Object.assign(control, { type: "number", min: minimum, max: maximum, defaultValue: preset ?? "" });
  if (type === "number") control.step = "any";
  const quiet = element("span", { id: `${id}-hint`, class: "quiet", text: description });
  const fault = element("span", { id: `${id}-fault`, class: "fault" });
  control.setAttribute("aria-describedby", `${quiet.id} ${fault.id}`);
  const box = element("div", { class: "field" });
  box.append(element("label", { for: id, text: name.replaceAll("_", " ") }), control, quiet, fault);
  part("options").append(box);
  const value = () => (isNumber && control.value !== "" ? Number(control.value) : control.value);
  options.set(name, { box, input: control, fault, preset: preset ?? "", value });
}

// Made when they are wanted: there may be hundreds.
function showMoves(words) {
  if (part("moves-list").childElementCount) return;
  const taken = (kind) => new Set(parameters[MOVES[kind]]?.items?.enum ?? []);
  const known = Object.fromEntries(Object.keys(MOVES).map((kind) => [kind, taken(kind)]));
  [...known.immutable].forEach((name, place) => {
    const id = `move-${place}`;
    const select = element("select", { id });
    for (const kind of ["usual", ...Object.keys(MOVES).filter((one) => known[one].has(name))]) {
      select.append(new Option(TEXTS.moves[kind], kind, false, kind === (moves.get(name) ?? "usual")));
    }
    select.addEventListener("change", () => (select.value === "usual" ? moves.delete(name) : moves.set(name, select.value)));
    const box = element("div", { class: "move" });
    box.append(element("label", { for: id, text: words.name(name) }), select);
    part("moves-list").append(box);
  });
}

export function addOptions({ explainRows, predictRows }, words) {
  parameters = explainRows.properties.parameters.properties;
  predictOptions = new Set(Object.keys(predictRows.properties.parameters.properties));
  Object.entries(parameters).filter(([, { type }]) => type !== "array").forEach(addOption);
  part("moves").hidden = !parameters[MOVES.immutable]?.items;
  part("moves").addEventListener("toggle", () => showMoves(words));
}

// What differs from the presets; the model server knows those itself.
export function chosenOptions(route) {
  const taken = [...options].filter(([name]) => route === "explain" || predictOptions.has(name));
  const given = taken.map(([name, { value, preset }]) => [name, value(), preset]);
  const chosen = Object.fromEntries(given.filter(([, value, preset]) => String(value) !== String(preset) && value !== ""));
  if (route !== "explain") return chosen;
  for (const [name, kind] of moves) chosen[MOVES[kind]] = [...(chosen[MOVES[kind]] ?? []), name];
  return chosen;
}
