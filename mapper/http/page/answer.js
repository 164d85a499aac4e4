// The answer: probabilities as bars, the rule, counterfactuals; or the problem that came instead.
import { value, wording } from "/page/words.js";

export function element(tag, { text, ...attributes } = {}) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function bar(name, share, strong) {
  const row = element("div", { class: strong ? "share strong" : "share" });
  const track = element("span", { class: "track", "aria-hidden": "true" });
  const fill = element("span", { class: "fill" });
  fill.style.width = `${share > 0 ? Math.max(0.5, 100 * share) : 0}%`;
  track.append(fill);
  row.append(element("span", { class: "name", text: name, title: name }), track, element("span", { class: "number", text: percent(share) }));
  return row;
}

function bars(shares, strongName, limit, named = (name) => name) {
  const box = element("div", { class: "shares" });
  const sorted = Object.entries(shares).sort((a, b) => b[1] - a[1]);
  for (const [name, share] of sorted.slice(0, limit)) box.append(bar(named(name), share, name === strongName));
  const left = sorted.length - limit;
  if (left > 0) box.append(element("p", { class: "quiet", text: `and ${left} more` }));
  return box;
}

const READABLE = 5; // values that are named in a sentence

function among({ feature, in: values, not_in: others, count, of }, words) {
  const name = words.name(feature);
  const said = (given, between) => given.map((one) => words.word(feature, one)).join(between);
  if (values && values.length <= READABLE) return `${name} is ${said(values, " or ")}`;
  if (others && others.length <= READABLE) return `${name} is ${others.length ? `not ${said(others, " nor ")}` : "known"}`;
  return `${name} is one of ${count ?? values.length}${of === undefined ? "" : ` of ${of}`} values`;
}

function premise(one, words) {
  const { feature, above, at_most: atMost, or_missing: orMissing, contains, lacks } = one;
  const name = words.name(feature);
  let text = name;
  if (contains !== undefined) return `${name} contains “${contains}”`;
  if (lacks !== undefined) return `${name} does not contain “${lacks}”`;
  if (one.in?.length === 0 && orMissing) return `${name} is missing`;
  const meant = words.between(feature, above, atMost);
  if (one.in || one.of !== undefined) text = among(one, words);
  else if (above !== undefined && atMost !== undefined) text = `${value(above)} < ${name} ≤ ${value(atMost)}${meant}`;
  else if (above !== undefined) text = `${name} > ${value(above)}${meant}`;
  else if (atMost !== undefined) text = `${name} ≤ ${value(atMost)}${meant}`;
  return orMissing ? `${text}, or missing` : text;
}

function measures(explanation) {
  const { precision, coverage } = explanation.rule;
  const { fidelity, class_fidelity: ofClass } = explanation;
  const named = { precision, coverage, fidelity, "class fidelity": ofClass === fidelity ? null : ofClass };
  const known = Object.entries(named).filter(([, share]) => share !== null && share !== undefined);
  return known.map(([name, share]) => `${name} ${percent(share)}`).join(" · ");
}

// With two classes, both are the same number, which is shown once.
function meaning({ rule, fidelity, class_fidelity: ofClass }, words) {
  const name = words.label(rule.consequence);
  const tells = `how well a small tree that imitates the model nearby tells ${name} from everything else`;
  if (fidelity === null || fidelity === undefined || ofClass === undefined) return "";
  return ofClass === fidelity ? `Fidelity: ${tells}.` : `Class fidelity: ${tells}; fidelity: how well it tells all classes apart.`;
}

function counterfactual(found, words) {
  const item = element("li");
  const changes = element("ul", { class: "changes" });
  for (const change of found.changes) {
    const line = element("li");
    line.append(
      element("strong", { text: words.name(change.feature) }),
      ` ${words.word(change.feature, change.from)} → `,
      element("strong", { text: words.word(change.feature, change.to) }),
      change.against ? ` (an exception: on average, this leads away from ${words.label(found.prediction)})` : "",
    );
    changes.append(line);
  }
  const doubt = found.valid ? "" : ", not confirmed by the model";
  item.append(changes, element("p", { text: `gives ${words.label(found.prediction)} (${percent(found.probability)}${doubt})` }));
  return item;
}

function explanationParts(explanation, words) {
  const prediction = words.label(explanation.prediction);
  const parts = [element("h3", { text: "Why" })];
  const rule = element("div", { class: "card" });
  const premises = element("ul", { class: "premises" });
  for (const one of explanation.rule.premises) premises.append(element("li", { text: premise(one, words) }));
  rule.append(element("p", { text: "Rows like this one, where" }), premises);
  rule.append(element("p", { text: `are ${words.label(explanation.rule.consequence)}.` }));
  rule.append(element("p", { class: "quiet", text: measures(explanation) }));
  const told = meaning(explanation, words);
  if (told) rule.append(element("p", { class: "quiet", text: told }));
  parts.push(explanation.rule.premises.length ? rule : element("p", { text: explanation.rule.text }));
  parts.push(element("h3", { text: "What would change the prediction" }));
  if (explanation.counterfactuals.length) {
    const list = element("ol", { class: "card" });
    explanation.counterfactuals.forEach((found) => list.append(counterfactual(found, words)));
    parts.push(list);
  } else if (!explanation.notes.some((note) => /^No (allowed change|counterfactual)/.test(note))) {
    parts.push(element("p", { text: `No change was found that gives anything but ${prediction}.` }));
  }
  for (const note of explanation.notes) parts.push(element("p", { class: "note", text: note }));
  if (explanation.held_fixed?.length) {
    parts.push(element("p", { class: "quiet", text: `Held fixed, as sensitive: ${explanation.held_fixed.join(", ")}.` }));
  }
  const important = Object.fromEntries(Object.entries(explanation.feature_importances).filter(([, share]) => share > 0));
  if (Object.keys(important).length) parts.push(element("h3", { text: "What mattered" }), bars(important, null, 8, words.name));
  return parts;
}

const isObject = (found) => found !== null && typeof found === "object" && !Array.isArray(found);
const isUsual = (item) => item.prediction !== undefined && typeof item.probability === "number";
const isExplanation = (found) => isObject(found) && found.rule && found.counterfactuals;
const isShares = (found) => isObject(found) && Object.values(found).every((share) => share >= 0 && share <= 1);

function shown(found) {
  if (Array.isArray(found)) return found.map(shown).join(", ");
  if (isObject(found)) return Object.entries(found).map(([name, part]) => `${name}: ${shown(part)}`).join(", ");
  return value(found ?? null);
}

// The fields of an application's own answers, each by the form of its value.
function ownFields(item, schema) {
  const parts = [];
  const unit = (name) => [schema.answer?.properties?.[name]?.["x-unit"]].map((known) => (known ? ` ${known}` : ""))[0];
  const list = element("dl", { class: "own" });
  for (const [name, found] of Object.entries(item)) {
    if (isExplanation(found)) continue;
    if (isShares(found)) parts.push(element("h3", { text: name }), bars(found, null, 12));
    else list.append(element("dt", { text: name }), element("dd", { text: `${shown(found)}${unit(name)}` }));
  }
  return list.childElementCount ? [list, ...parts] : parts;
}

function setText(classes) {
  if (!classes.length) return "Prediction set: empty. No class fits this row at the coverage asked for.";
  const sure = classes.length === 1 ? "at the coverage asked for, no other class fits" : "it may be any of them";
  return `Prediction set: ${classes.join(", ")} (${sure})`;
}

function usualFields(item, schema, words) {
  const verdict = element("p", { class: "verdict" });
  const name = schema.target?.name ?? schema.model_name;
  verdict.append(`${name}: `, element("strong", { text: words.label(item.prediction) }), ` ${percent(item.probability)}`);
  const parts = [verdict];
  const set = item.prediction_set;
  if (set) parts.push(element("p", { class: "set", text: setText(set.map(words.label)) }));
  return [...parts, bars(item.probabilities ?? { [item.prediction]: item.probability }, String(item.prediction), 12, words.label)];
}

export function showAnswer(place, answer, schema, duration) {
  const item = answer.predictions?.[0] ?? answer;
  const words = wording(schema);
  const isOwn = schema.answer !== undefined || !isUsual(item);
  const parts = isOwn ? ownFields(item, schema) : usualFields(item, schema, words);
  if (answer.warnings?.length) {
    const list = element("ul", { class: "warnings" });
    for (const warning of answer.warnings) list.append(element("li", { text: `${warning.field}: ${warning.message}` }));
    parts.push(list);
  }
  const explanation = Object.values(item).find(isExplanation);
  if (explanation) parts.push(...explanationParts(explanation, words));
  const version = answer.model?.version ? `, version ${answer.model.version}` : "";
  parts.push(element("p", { class: "quiet", text: `${answer.model?.name ?? schema.model_name}${version}, ${duration.toFixed(0)} ms` }));
  place.replaceChildren(...parts);
}

export function showProblem(place, problem) {
  const box = element("div", { class: "problem" });
  box.append(element("h3", { text: problem.title }), element("p", { text: problem.detail ?? "" }));
  if (problem.errors?.length) {
    const list = element("ul");
    for (const { field, message } of problem.errors) list.append(element("li", { text: field ? `${field}: ${message}` : message }));
    box.append(list);
  }
  place.replaceChildren(box);
}
