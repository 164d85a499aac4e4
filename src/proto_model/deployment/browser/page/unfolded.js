// Texts, for an engine that knows numbers, truth values and categories: a column for each term. Counterfactuals leave
// texts as they are.
import { roundTo } from "./numbers.js";
import { Explainer } from "./explain.js";

const containsName = (name, term) => `${name} contains ${JSON.stringify(term)}`;
const givenName = (name) => `${name} is given`;

// Names of a feature's columns in the schema without texts.
const columnsOf = ({ name, terms, nullable }) =>
  terms === undefined ? [name] : [...terms.map((term) => containsName(name, term)), ...(nullable ? [givenName(name)] : [])];

export class TextExplainer {
  constructor(schema, plain, arrays, isSynthetic, model) {
    this.schema = schema;
    this.width = plain.features.length;
    this.explainer = new Explainer(plain, arrays, isSynthetic, (Z, n) => model(this.fold(Z, n), n));
  }

  explain(x, options) {
    const found = this.explainer.explain(this.unfold(x), this.options(options));
    return this.inWords(found);
  }

  // A coded row of the schema without texts.
  unfold(x) {
    return Float64Array.from(
      this.schema.features.flatMap(({ terms, nullable }, place) => {
        const value = x[place];
        if (terms === undefined) return [value];
        const mask = Number.isNaN(value) ? 0 : value;
        const bits = terms.map((_, bit) => Math.floor(mask / 2 ** bit) % 2);
        return nullable ? [...bits, Number(!Number.isNaN(value))] : bits;
      }),
    );
  }

  // Coded rows of the schema itself; a text that is not given has no terms.
  fold(Z, n) {
    const { features } = this.schema;
    const X = new Float64Array(n * features.length);
    for (let i = 0; i < n; i++) {
      let at = i * this.width;
      features.forEach(({ terms, nullable }, place) => {
        const to = i * features.length + place;
        if (terms === undefined) X[to] = Z[at++];
        else {
          for (let bit = 0; bit < terms.length; bit++) X[to] += (Z[at + bit] || 0) * 2 ** bit;
          at += terms.length;
          if (nullable && Z[at++] !== 1) X[to] = NaN;
        }
      });
    }
    return X;
  }

  options(options) {
    const texts = this.schema.features.filter(({ terms }) => terms !== undefined);
    const isText = (name) => texts.some((feature) => feature.name === name);
    const fixedNames = texts.flatMap(columnsOf);
    return {
      ...options,
      immutable_features: [...options.immutable_features.filter((name) => !isText(name)), ...fixedNames],
      mutable_features: options.mutable_features.filter((name) => !isText(name)),
    };
  }

  // An explanation that speaks of texts, not of their terms' columns.
  inWords(explanation) {
    const texts = this.schema.features.filter(({ terms }) => terms?.length);
    const words = new Map(texts.flatMap((feature) => columnsOf(feature).map((column) => [column, wordsOf(feature, column)])));
    const importances = new Map();
    for (const [name, weight] of explanation.feature_importances) {
      const own = words.get(name)?.name ?? name;
      importances.set(own, roundTo((importances.get(own) ?? 0) + weight, 4));
    }
    const { rule } = explanation;
    const retold = (one) => one && { ...one, premises: premisesOf(one.premises, words) };
    const found = {
      ...explanation,
      rule: { ...retold(rule), text: textOf(rule.text, words) },
      counterfactuals: explanation.counterfactuals.map((one) => ({ ...one, rule: retold(one.rule) })),
      feature_importances: [...importances].sort(([, a], [, b]) => b - a),
    };
    const note = "Counterfactuals leave texts as they are.";
    return found.counterfactuals.length ? { ...found, notes: [...found.notes, note] } : found;
  }
}

// What a premise on a column of a term says, where it is true and where it is false.
function wordsOf({ name, terms }, column) {
  if (column === givenName(name)) {
    return {
      name, column, yes: { feature: name }, no: { feature: name, in: [], or_missing: true },
      yesText: `${name} is known`, noText: `${name} is missing`,
    };
  }
  const term = terms.find((one) => containsName(name, one) === column);
  return {
    name, column, yes: { feature: name, contains: term }, no: { feature: name, lacks: term },
    yesText: column, noText: `${name} does not contain ${JSON.stringify(term)}`,
  };
}

function premisesOf(premises, words) {
  const found = premises.flatMap((premise) => {
    const said = words.get(premise.feature);
    if (said === undefined) return [premise];
    return premise.in?.length === 1 ? [premise.in[0] ? said.yes : said.no] : [];
  });
  // A text that contains a word is known.
  const containing = new Set(found.filter((premise) => "contains" in premise).map(({ feature }) => feature));
  return found.filter((premise) => Object.keys(premise).length > 1 || !containing.has(premise.feature));
}

function textOf(given, words) {
  let text = given;
  for (const { column, name, yes, yesText, noText } of words.values()) {
    if (!("contains" in yes) && text.includes(`${name} contains "`)) {
      text = text.replaceAll(`${column} is true AND `, "").replaceAll(` AND ${column} is true`, "");
    }
    text = text.replaceAll(`${column} is true`, () => yesText).replaceAll(`${column} is false`, () => noText);
  }
  return text;
}
