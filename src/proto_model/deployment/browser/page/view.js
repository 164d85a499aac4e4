// The answer on the page: probabilities as bars, the rule, counterfactuals. What comes from a table or a dictionary is
// put in as text only.
import { READABLE, Wording } from "./rule.js";
import { TEXTS } from "./texts.js";

const MOST_BARS = 12;
const MOST_IMPORTANT = 8;

export function element(tag, { text, ...attributes } = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  made.append(...inside);
  return made;
}

export const percent = (share) => `${(100 * share).toFixed(1)} %`;

const shortNumber = (value) => (typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value));

// Values as the page shows them, with the meanings of the data dictionary.
export class Words extends Wording {
  value(column, value) {
    if (value === null) return TEXTS.empty;
    const meaning = this.words(column).get(String(value));
    if (meaning !== undefined) return meaning;
    return typeof value === "boolean" ? (value ? TEXTS.yes : TEXTS.no) : shortNumber(value);
  }

  // A class with what it means.
  label(label) {
    const meaning = this.words(this.target).get(String(label));
    return meaning === undefined || meaning === String(label) ? String(label) : `${label} (${meaning})`;
  }
}

function bars(pairs, strong, limit) {
  const box = element("div", { class: "shares" });
  const sorted = pairs.toSorted(([, a], [, b]) => b - a);
  for (const [name, share] of sorted.slice(0, limit)) {
    const fill = element("span", { class: "fill" });
    fill.style.width = `${share > 0 ? Math.max(0.5, 100 * share) : 0}%`;
    box.append(
      element("div", { class: name === strong ? "share strong" : "share" },
        element("span", { class: "name", text: name }),
        element("span", { class: "track", "aria-hidden": "true" }, fill),
        element("span", { class: "number", text: percent(share) })),
    );
  }
  if (sorted.length > limit) box.append(element("p", { class: "quiet", text: TEXTS.more(sorted.length - limit) }));
  return box;
}

function among({ feature, in: values, not_in: others, count, of }, words) {
  const said = (given, between) => given.map((one) => words.value(feature, one)).join(between);
  const name = words.name(feature);
  if (values && values.length <= READABLE) return `${name} is ${said(values, " or ")}`;
  if (others && others.length <= READABLE) return `${name} is ${others.length ? `not ${said(others, " nor ")}` : "known"}`;
  return `${name} is one of ${count} of ${of} values`;
}

function premiseText(one, words) {
  const { feature, above, at_most: atMost, or_missing: orMissing, contains, lacks } = one;
  const name = words.name(feature);
  if (contains !== undefined) return `${name} contains “${contains}”`;
  if (lacks !== undefined) return `${name} does not contain “${lacks}”`;
  if (one.in?.length === 0 && orMissing) return `${name} is missing`;
  const isDate = typeof above === "string" || typeof atMost === "string";
  const meant = isDate ? "" : words.between(feature, above ?? -Infinity, atMost ?? Infinity);
  let text = `${name} is known`;
  if (one.in || one.of !== undefined) text = among(one, words);
  else if (above !== undefined && atMost !== undefined) text = `${shortNumber(above)} < ${name} ≤ ${shortNumber(atMost)}${meant}`;
  else if (above !== undefined) text = `${name} > ${shortNumber(above)}${meant}`;
  else if (atMost !== undefined) text = `${name} ≤ ${shortNumber(atMost)}${meant}`;
  return orMissing ? `${text}, or missing` : text;
}

function flipItem(flip, words) {
  const lines = flip.changes.map(({ feature, from, to, against }) =>
    element("li", {},
      element("strong", { text: words.name(feature) }),
      ` ${words.value(feature, from)} → `,
      element("strong", { text: words.value(feature, to) }),
      against ? TEXTS.exception(words.label(flip.prediction)) : ""),
  );
  const gives = element("p", { text: TEXTS.instead(words.label(flip.prediction), percent(flip.probability)) });
  return element("li", {}, element("ul", { class: "changes" }, ...lines), gives);
}

function explanationParts(explanation, words) {
  const { rule, counterfactuals, notes, held_fixed: held } = explanation;
  const parts = [element("h3", { text: TEXTS.why })];
  if (rule.premises.length) {
    const premises = rule.premises.map((one) => element("li", { text: premiseText(one, words) }));
    parts.push(
      element("div", { class: "card" },
        element("p", { text: TEXTS.where }),
        element("ul", { class: "premises" }, ...premises),
        element("p", { text: TEXTS.are(words.label(rule.consequence)) }),
        element("p", { class: "quiet", text: TEXTS.measures(rule, explanation, percent) })),
    );
  } else parts.push(element("p", { text: rule.text }));
  parts.push(element("h3", { text: TEXTS.change }));
  if (counterfactuals.length) parts.push(element("ol", { class: "card" }, ...counterfactuals.map((one) => flipItem(one, words))));
  else if (!notes.some((note) => /^No (allowed change|counterfactual)/.test(note))) {
    parts.push(element("p", { text: TEXTS.none(words.label(explanation.prediction)) }));
  }
  parts.push(...notes.map((note) => element("p", { class: "note", text: note })));
  if (held.length) parts.push(element("p", { class: "quiet", text: TEXTS.held(held.join(", ")) }));
  const important = explanation.feature_importances.filter(([, share]) => share > 0);
  if (important.length) {
    const named = important.map(([name, share]) => [words.name(name), share]);
    parts.push(element("h3", { text: TEXTS.mattered }), bars(named, null, MOST_IMPORTANT));
  }
  return parts;
}

export function answerParts(answer, schema, words, milliseconds) {
  const label = words.label(answer.prediction);
  const parts = [
    element("p", { class: "verdict" }, `${words.name(schema.target.name)}: `, element("strong", { text: label }), ` ${percent(answer.probability)}`),
  ];
  if (answer.prediction_set) {
    const set = answer.prediction_set.map((one) => words.label(one)).join(", ");
    parts.push(element("p", { class: "note", text: answer.prediction_set.length === 1 ? TEXTS.setSure(set) : TEXTS.setOpen(set) }));
  }
  parts.push(bars(answer.shares.map(([one, share]) => [words.label(one), share]), label, MOST_BARS));
  if (answer.explanation) parts.push(...explanationParts(answer.explanation, words));
  parts.push(element("p", { class: "quiet", text: TEXTS.milliseconds(milliseconds) }));
  return parts;
}

export function problemBox(title, detail) {
  return element("div", { class: "problem" }, element("h3", { text: title }), element("p", { text: detail }));
}
