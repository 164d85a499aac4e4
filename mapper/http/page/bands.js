// The rule as a band on the range of each feature, with the row's own value and those of the changes.
import { element } from "/page/dom.js";
import { TEXTS } from "/page/texts.js";

const MOST = 12;
const ROOM = 0.065; // of the track, on each side of a number's middle, on a narrow screen
const MORE_ROOM = 0.05; // for each further number of a label
const isRange = ({ minimum, maximum }) => minimum !== undefined && maximum !== undefined;

function position(feature, given) {
  if (given === null || given === undefined || given === "") return null;
  if (feature.type === "boolean") return String(given) === "true" ? 0.75 : 0.25;
  if (!isRange(feature)) {
    const place = (feature.categories ?? []).indexOf(String(given));
    return place < 0 ? null : (place + 0.5) / feature.categories.length;
  }
  const number = (one) => (typeof one === "string" && Number.isNaN(Number(one)) ? Date.parse(one) : Number(one));
  const [low, high, at] = [feature.minimum, feature.maximum, given].map(number);
  if (!(high > low) || Number.isNaN(at)) return null;
  return Math.min(Math.max((at - low) / (high - low), 0), 1);
}

// A truth value comes from the form as text; in words it is as the form shows it.
function typed({ type }, given) {
  return type === "boolean" && given !== null && given !== "" ? String(given) === "true" : given ?? null;
}

// Parts of the track, from 0 to 1, that satisfy a premise.
function parts(feature, premise) {
  const { above, at_most: atMost, in: among, not_in: others } = premise;
  if (among === undefined && others === undefined) {
    return [[above === undefined ? 0 : position(feature, above) ?? 0, atMost === undefined ? 1 : position(feature, atMost) ?? 1]];
  }
  const known = feature.type === "boolean" ? [false, true] : feature.categories ?? [];
  const isIn = (one) => (among ? among.map(String).includes(String(one)) : !others.map(String).includes(String(one)));
  return known.map((one, i) => [i / known.length, (i + 1) / known.length, one]).filter(([, , one]) => isIn(one));
}

// Numbers of changes whose values are so near that they would cover each other share one label.
export function labels(marks) {
  const found = [];
  const room = ({ numbers }) => ROOM + MORE_ROOM * (numbers.length - 1);
  for (const { number, at } of [...marks].sort((a, b) => a.at - b.at)) {
    let label = { low: at, high: at, numbers: [number] };
    while (found.length) {
      const before = found[found.length - 1];
      const middle = ({ low, high }) => (low + high) / 2;
      if (middle(label) - middle(before) >= room(before) + room(label)) break;
      label = { low: before.low, high: label.high, numbers: [...before.numbers, ...label.numbers] };
      found.pop();
    }
    found.push(label);
  }
  return found.map((label) => {
    const [least, middle] = [room(label) - ROOM, (label.low + label.high) / 2];
    return { text: label.numbers.sort((a, b) => a - b).join(", "), at: Math.min(Math.max(middle, least), 1 - least) };
  });
}

function placed(kind, at, text) {
  const mark = element("span", { class: kind, text });
  mark.style.left = `${100 * at}%`;
  return mark;
}

function track(feature, premise, given, changes, words) {
  const line = element("div", { class: "band-line" });
  line.append(element("span", { class: "band-name", text: words.name(feature.name) }));
  const box = element("span", { class: "band-track" });
  for (const [low, high] of premise ? parts(feature, premise) : []) {
    const part = element("span", { class: "band" });
    part.style.left = `${100 * low}%`;
    part.style.width = `${Math.max(100 * (high - low), 0.6)}%`;
    box.append(part);
  }
  const marks = changes.map(([number, to]) => ({ number, at: position(feature, to) })).filter(({ at }) => at !== null);
  box.append(...marks.map(({ at }) => placed("band-tick", at)));
  box.append(...labels(marks).map(({ text, at }) => placed("band-change", at, text)));
  const at = position(feature, given);
  if (at !== null) box.append(placed("band-dot", at));
  const ends = element("span", { class: "band-ends quiet" });
  const [low, high] = isRange(feature) && feature.type !== "boolean" ? [feature.minimum, feature.maximum] : ["", ""];
  ends.append(element("span", { text: low === "" ? "" : words.word(feature.name, low) }), element("strong", { text: words.word(feature.name, typed(feature, given)) }));
  ends.append(element("span", { text: high === "" ? "" : words.word(feature.name, high) }));
  line.append(box, ends);
  return line;
}

// Its sentences stand beside it, so that it is hidden from whoever hears the page.
export function bands(explanation, schema, record, words) {
  const known = new Map(schema.features.filter(({ type }) => type !== "text").map((feature) => [feature.name, feature]));
  const premises = new Map(explanation.rule.premises.map((premise) => [premise.feature, premise]));
  const changes = new Map();
  explanation.counterfactuals.forEach(({ changes: found }, i) => {
    for (const { feature, to } of found) changes.set(feature, [...(changes.get(feature) ?? []), [i + 1, to]]);
  });
  const important = explanation.feature_importances;
  const names = [...new Set([...premises.keys(), ...changes.keys()])].filter((name) => known.has(name));
  names.sort((a, b) => (important[b] ?? 0) - (important[a] ?? 0));
  if (!names.length) return [];
  const box = element("div", { class: "bands", "aria-hidden": "true" });
  for (const name of names.slice(0, MOST)) {
    box.append(track(known.get(name), premises.get(name), record[name], changes.get(name) ?? [], words));
  }
  box.append(element("p", { class: "quiet", text: TEXTS.bandNote }));
  return [box];
}
