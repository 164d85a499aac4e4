// The form: a field per feature of the schema, and one per parameter.
import { element } from "./view.js";
import { generalText } from "./numbers.js";
import { TEXTS } from "./texts.js";

const MANY = 12; // features, from which on they can be filtered
const MOST_CHOICES = 500;

function field(id, label, control, hint) {
  const quiet = element("span", { id: `${id}-hint`, class: "quiet", text: hint });
  const fault = element("span", { id: `${id}-fault`, class: "fault" });
  control.id = id;
  control.setAttribute("aria-describedby", `${quiet.id} ${fault.id}`);
  const box = element("div", { class: "field" }, element("label", { for: id, text: label }), control, quiet, fault);
  return { box, control, fault };
}

const isDate = ({ type }) => type === "date" || type === "datetime";

function rangeText(feature, words) {
  const { type, categories, terms, minimum, maximum, name } = feature;
  let text = "";
  if (type === "boolean") text = [true, false].map((choice) => words.value(name, choice)).join(" or ");
  else if (categories) text = TEXTS.categories(categories.length);
  else if (terms) text = TEXTS.anyText + terms.slice(0, 8).join(", ") + (terms.length > 8 ? ", …" : "");
  else if (minimum !== undefined) text = isDate(feature) ? TEXTS.range(minimum, maximum) : TEXTS.range(generalText(minimum), generalText(maximum));
  return text + (feature.nullable ? TEXTS.canBeEmpty : "");
}

function controlOf(feature, words, id) {
  const { type, name, categories, median, most_frequent: common } = feature;
  if (type === "boolean") {
    const select = element("select");
    for (const choice of feature.nullable ? ["", "true", "false"] : ["true", "false"]) {
      const option = element("option", { value: choice, text: choice === "" ? TEXTS.empty : words.value(name, choice === "true") });
      option.defaultSelected = choice === String(median === 1);
      select.append(option);
    }
    return [select];
  }
  const input = element("input", { autocomplete: "off" });
  input.defaultValue = typicalText(type, median, common);
  const meanings = words.words(name);
  const choices = categories ?? [...meanings.keys()];
  if (type === "long" || type === "double") input.inputMode = type === "long" ? "numeric" : "decimal";
  if (type === "date") input.type = "date";
  if (!choices.length || isDate(feature)) return [input];
  const list = element("datalist", { id: `${id}-list` });
  for (const value of choices.slice(0, MOST_CHOICES)) {
    const label = meanings.get(value);
    list.append(element("option", label === undefined ? { value } : { value, label }));
  }
  input.setAttribute("list", list.id);
  return [input, list];
}

function typicalText(type, median, common) {
  if (median === undefined) return common ?? "";
  return type === "long" ? String(Math.floor(median)) : String(median);
}

// Fields of all features; `record()` is what stands in them, as texts.
export function featureForm(schema, words, place, filter) {
  const fields = schema.features.map((feature, position) => {
    const id = `feature-${position}`;
    const [control, ...more] = controlOf(feature, words, id);
    const { description = "" } = words.entry(feature.name);
    const hint = [description, rangeText(feature, words)].filter(Boolean).join("; ");
    const made = field(id, words.name(feature.name), control, hint);
    made.box.append(...more);
    made.words = `${feature.name} ${description}`.toLowerCase();
    place.append(made.box);
    return { ...made, name: feature.name };
  });
  filter.box.hidden = fields.length < MANY;
  filter.input.addEventListener("input", () => {
    const wanted = filter.input.value.trim().toLowerCase();
    for (const { box, words: own } of fields) box.hidden = !own.includes(wanted);
    filter.told(TEXTS.shown(fields.filter(({ box }) => !box.hidden).length, fields.length));
  });
  return {
    record: () => Object.fromEntries(fields.map(({ name, control }) => [name, control.value])),
    // Each fault stands below its field; the first of them gets the focus.
    show: (faults) => {
      const byName = new Map(faults.map(({ feature, message }) => [feature, message]));
      for (const { name, control, fault, box } of fields) {
        fault.textContent = byName.get(name) ?? "";
        if (byName.has(name)) control.setAttribute("aria-invalid", "true");
        else control.removeAttribute("aria-invalid");
        if (byName.has(name)) box.hidden = false;
      }
      fields.find(({ name }) => byName.has(name))?.control.focus();
    },
  };
}

// Fields of the parameters, from the same table as everywhere.
export function parameterForm(parameters, schema, place) {
  const fields = parameters.map((parameter) => {
    const control = parameterControl(parameter, schema);
    const made = field(`option-${parameter.name}`, parameter.name.replaceAll("_", " "), control, parameter.help);
    place.append(made.box);
    return { ...made, parameter };
  });
  const values = () => Object.fromEntries(fields.map(({ parameter, control }) => [parameter.name, valueOf(parameter, control)]));
  // What is wrong with what is chosen, as the server says it; the fields that are wrong are marked.
  const faults = () => {
    const given = values();
    const found = fields.flatMap(({ parameter, control, fault }) => {
      const text = numberFault(parameter, control.value) ?? "";
      fault.textContent = text;
      if (text) control.setAttribute("aria-invalid", "true");
      else control.removeAttribute("aria-invalid");
      return text ? [text] : [];
    });
    const both = (given.increase_only ?? []).filter((name) => given.decrease_only.includes(name));
    return found.length ? found : both.map(TEXTS.bothWays);
  };
  return { values, faults };
}

function parameterControl(parameter, schema) {
  if (parameter.is_list || parameter.choices.length) {
    const select = element("select");
    select.multiple = parameter.is_list;
    const ordered = ({ type }) => parameter.features !== "ordered" || !["string", "text"].includes(type);
    const names = parameter.is_list ? schema.features.filter(ordered).map(({ name }) => name) : parameter.choices;
    for (const value of names) select.append(element("option", { value, text: value }));
    return select;
  }
  const input = element("input", { autocomplete: "off", inputmode: parameter.name === "coverage" ? "decimal" : "numeric" });
  input.defaultValue = parameter.name === "coverage" ? "" : String(parameter.default);
  return input;
}

function valueOf(parameter, control) {
  if (parameter.is_list) return Array.from(control.selectedOptions, ({ value }) => value);
  if (parameter.choices.length) return control.value;
  return control.value.trim() === "" ? parameter.default : Number(control.value);
}

function numberFault({ name, is_list: isList, choices, expected, limits, default: preset }, text) {
  if (isList || choices.length || text.trim() === "") return null;
  const value = Number(text);
  const isKind = expected.startsWith("a whole number") ? Number.isSafeInteger(value) : Number.isFinite(value);
  const isWithin = limits === null || (value >= limits[0] && value <= limits[1]) || value === preset;
  return isKind && isWithin ? null : TEXTS.parameter(name, text.trim(), expected);
}
