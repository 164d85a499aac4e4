// The answer: probabilities as bars, the rule, counterfactuals; or the problem that came instead.
import { bands } from "/page/bands.js";
import { comparison } from "/page/compare.js";
import { element, NARROW, say } from "/page/dom.js";
import { TEXTS } from "/page/texts.js";
import { value, wording } from "/page/words.js";

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function bar(name, share, strong, threshold) {
  const row = element("div", { class: strong ? "share strong" : "share" });
  const track = element("span", { class: "track", "aria-hidden": "true" });
  const fill = element("span", { class: "fill" });
  fill.style.width = `${share > 0 ? Math.max(0.5, 100 * share) : 0}%`;
  track.append(fill);
  if (threshold !== undefined) {
    const mark = element("span", { class: "threshold" });
    mark.style.left = `${100 * threshold}%`;
    track.append(mark);
  }
  row.append(element("span", { class: "name", text: name, title: name }), track, element("span", { class: "number", text: percent(share) }));
  return row;
}

function bars(shares, strongName, limit, named = (name) => name, thresholds = new Map()) {
  const box = element("div", { class: "shares" });
  const sorted = Object.entries(shares).sort((a, b) => b[1] - a[1]);
  for (const [name, share] of sorted.slice(0, limit)) box.append(bar(named(name), share, name === strongName, thresholds.get(name)));
  const left = sorted.length - limit;
  if (left > 0) box.append(element("p", { class: "quiet", text: TEXTS.more(left) }));
  return box;
}

const READABLE = 5; // values that are named in a sentence

function among({ feature, in: values, not_in: others, count, of }, words) {
  const name = words.name(feature);
  const said = (given) => given.map((one) => words.word(feature, one));
  if (values && values.length <= READABLE) return TEXTS.premise.isOneOf(name, said(values));
  if (others?.length === 0) return TEXTS.premise.isKnown(name);
  if (others && others.length <= READABLE) return TEXTS.premise.isNone(name, said(others));
  return TEXTS.premise.isAmong(name, count ?? values.length, of);
}

function premise(one, words) {
  const { feature, above, at_most: atMost, or_missing: orMissing, contains, lacks } = one;
  const name = words.name(feature);
  let text = name;
  if (contains !== undefined) return TEXTS.premise.contains(name, contains);
  if (lacks !== undefined) return TEXTS.premise.lacks(name, lacks);
  if (one.in?.length === 0 && orMissing) return TEXTS.premise.isMissing(name);
  const meant = words.between(feature, above, atMost);
  if (one.in || one.of !== undefined) text = among(one, words);
  else if (above !== undefined && atMost !== undefined) text = `${value(above)} < ${name} ≤ ${value(atMost)}${meant}`;
  else if (above !== undefined) text = `${name} > ${value(above)}${meant}`;
  else if (atMost !== undefined) text = `${name} ≤ ${value(atMost)}${meant}`;
  return orMissing ? TEXTS.premise.orMissing(text) : text;
}

function measures(explanation) {
  const { precision, coverage } = explanation.rule;
  const { fidelity, class_fidelity: ofClass } = explanation;
  const named = { precision, coverage, fidelity, ofClass: ofClass === fidelity ? null : ofClass };
  const known = Object.entries(named).filter(([, share]) => share !== null && share !== undefined);
  return known.map(([name, share]) => `${TEXTS.measures[name]} ${percent(share)}`).join(" · ");
}

// With two classes, both are the same number, which is shown once.
function meaning({ rule, fidelity, class_fidelity: ofClass }, words) {
  const name = words.label(rule.consequence);
  if (fidelity === null || fidelity === undefined || ofClass === undefined) return "";
  return ofClass === fidelity ? TEXTS.fidelity(name) : TEXTS.classFidelity(name);
}

function counterfactual(found, words, place, apply) {
  const item = element("li");
  const changes = element("ul", { class: "changes" });
  for (const change of found.changes) {
    const line = element("li");
    line.append(
      element("strong", { text: words.name(change.feature) }),
      ` ${words.word(change.feature, change.from)} → `,
      element("strong", { text: words.word(change.feature, change.to) }),
      change.against ? ` ${TEXTS.exception(words.label(found.prediction))}` : "",
    );
    changes.append(line);
  }
  const end = element("div", { class: "bar" });
  end.append(element("p", { text: TEXTS.gives(words.label(found.prediction), percent(found.probability), found.valid) }));
  if (apply?.takes(found.changes)) {
    const button = element("button", { type: "button", class: "second", text: TEXTS.apply, "aria-label": TEXTS.applyName(place) });
    button.addEventListener("click", () => apply(found.changes));
    end.append(button);
  }
  item.append(changes, end);
  return item;
}

function terms() {
  const box = element("details", { class: "terms" });
  box.append(element("summary", { text: TEXTS.terms }), element("p", { text: TEXTS.precision }), element("p", { text: TEXTS.coverage }));
  return box;
}

function explanationParts(explanation, words, schema, { record, apply }) {
  const prediction = words.label(explanation.prediction);
  const parts = [element("h3", { text: TEXTS.why })];
  const rule = element("div", { class: "card" });
  const premises = element("ul", { class: "premises" });
  for (const one of explanation.rule.premises) premises.append(element("li", { text: premise(one, words) }));
  rule.append(element("p", { text: TEXTS.rowsWhere }), premises);
  rule.append(element("p", { text: TEXTS.rowsAre(words.label(explanation.rule.consequence)) }));
  rule.append(element("p", { class: "quiet", text: measures(explanation) }));
  const told = meaning(explanation, words);
  if (told) rule.append(element("p", { class: "quiet", text: told }));
  rule.append(terms());
  parts.push(explanation.rule.premises.length ? rule : element("p", { text: explanation.rule.text }));
  parts.push(...(record ? bands(explanation, schema, record, words) : []));
  parts.push(element("h3", { text: TEXTS.whatWould }));
  if (explanation.counterfactuals.length) {
    const list = element("ol", { class: "card" });
    explanation.counterfactuals.forEach((found, i) => list.append(counterfactual(found, words, i + 1, apply)));
    parts.push(list);
  } else if (!explanation.notes.some((note) => /^No (allowed change|counterfactual)/.test(note))) {
    parts.push(element("p", { text: TEXTS.noChange(prediction) }));
  }
  for (const note of explanation.notes) parts.push(element("p", { class: "note", text: note }));
  if (explanation.held_fixed?.length) {
    parts.push(element("p", { class: "quiet", text: TEXTS.heldFixed(explanation.held_fixed.join(", ")) }));
  }
  const important = Object.fromEntries(Object.entries(explanation.feature_importances).filter(([, share]) => share > 0));
  if (Object.keys(important).length) parts.push(element("h3", { text: TEXTS.whatMattered }), bars(important, null, NARROW.matches ? 5 : 8, words.name));
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
  if (!classes.length) return TEXTS.emptySet;
  return classes.length === 1 ? TEXTS.onlyOne(classes[0]) : TEXTS.anyOf(classes);
}

// Shares above which each of two classes is predicted, by the texts that answers have for them.
function thresholdsOf({ threshold, classes }, shares) {
  const texts = Object.keys(shares);
  if (threshold === undefined || classes?.length !== 2 || texts.length !== 2) return new Map();
  const is = (text) => text === String(classes[1]) || (typeof classes[1] === "number" && Number(text) === classes[1]);
  const [first, second] = is(texts[1]) ? texts : [texts[1], texts[0]];
  return new Map([[second, threshold], [first, 1 - threshold]]);
}

function usualFields(item, schema, words) {
  const verdict = element("p", { class: "verdict" });
  const name = schema.target?.name ?? schema.model_name;
  verdict.append(`${name}: `, element("strong", { text: words.label(item.prediction) }), ` ${percent(item.probability)}`);
  const parts = [verdict];
  const set = item.prediction_set;
  if (set) parts.push(element("p", { class: "set", text: setText(set.map(words.label)) }));
  const shares = item.probabilities ?? { [item.prediction]: item.probability };
  const thresholds = thresholdsOf(schema, shares);
  parts.push(bars(shares, String(item.prediction), 12, words.label, thresholds));
  for (const [name, least] of [...thresholds].slice(0, 1)) {
    parts.push(element("p", { class: "quiet", text: TEXTS.threshold(words.label(name), percent(least)) }));
  }
  return parts;
}

// With `record`, what was asked, the rule is drawn; `apply` makes a change in the form.
export function showAnswer(place, answer, schema, duration, more = {}) {
  const item = answer.predictions?.[0] ?? answer;
  const words = wording(schema);
  const isOwn = schema.answer !== undefined || !isUsual(item);
  const parts = isOwn ? ownFields(item, schema) : usualFields(item, schema, words);
  const compared = more.beside ? comparison(item, more.beside, words) : null;
  if (compared) parts.push(compared.box);
  if (answer.warnings?.length) {
    const list = element("ul", { class: "warnings" });
    for (const warning of answer.warnings) list.append(element("li", { text: `${warning.field}: ${warning.message}` }));
    parts.push(list);
  }
  const explanation = Object.values(item).find(isExplanation);
  if (explanation) parts.push(...explanationParts(explanation, words, schema, more));
  const { name: answering = schema.model_name, version } = answer.model ?? {};
  parts.push(element("p", { class: "quiet", text: TEXTS.model(answering, version, duration.toFixed(0)) }));
  place.replaceChildren(...parts);
  const name = schema.target?.name ?? schema.model_name;
  say(isOwn ? TEXTS.saidOwn : TEXTS.said(name, words.label(item.prediction), percent(item.probability), compared?.said ?? ""));
}

export function explanationOf(answer) {
  return Object.values(answer.predictions?.[0] ?? answer).find(isExplanation);
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
  say(TEXTS.saidProblem(problem.title));
}
