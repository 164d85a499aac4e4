// The engine of explanations: from a row to its rule, counterfactuals, importances, and how far to trust them.
// The same definition as explanation/lore/ in Python, on the same random numbers.
import { Background, Freedom } from "./background.js";
import { argmax, floatText, percentText, roundTo, argsort } from "./numbers.js";
import { Pool, labelsOf, neighborhoodOf } from "./neighborhood.js";
import { ClassRule, Wording } from "./rule.js";
import { RuleSearch } from "./search.js";
import { Surrogate } from "./surrogate.js";
import { changed, movesOf } from "./moves.js";
import { Row, searchFlips } from "./flips.js";

const EFFORTS = {
  fast: { neighbors: 4000, heldOut: 400, pooled: 3000, checks: 4, checked: 400, rounds: 4 },
  thorough: { neighbors: 9000, heldOut: 1000, pooled: 5000, checks: 8, checked: 1000, rounds: 8 },
};
const TARGET = 0.985;
const ACCEPTED = 0.975;
const NEAR = 6; // rows of another class to start counterfactuals from: neighbours, and as many real rows
const MOST_BYTES = 10_000;
const MOST_IMPORTANCES = 40;
const MOST_HELD = 20;
const NO_FEATURE = "The model gave the same class to every row it was asked about: no feature matters.";
const ONLY_AGAINST =
  "Every counterfactual has a change that leads away from its class on average (against): the model makes an " +
  "exception here. Do not give such a change as advice.";

export class Explainer {
  // `model` gives shares of the classes for coded rows of the schema.
  constructor(schema, arrays, isSynthetic, model) {
    this.background = new Background(schema, arrays, isSynthetic);
    this.model = model;
    this.searches = new Map();
  }

  get pool() {
    this.made ??= new Pool(this.background, this.model);
    return this.made;
  }

  explain(x, options) {
    return toJson(this.explained(x, options), this.background);
  }

  explained(x, options) {
    const { background, pool, model } = this;
    const effort = EFFORTS[options.effort];
    const own = Array.from(x, (value, j) => pool.bins.of(j, value));
    const row = new Row(x, own, options, new Freedom(options, background), pool, model);
    const hood = neighborhoodOf(x, own, pool, effort.neighbors, row.generator("neighborhood"));
    const asked = options.max_counterfactuals > 0;
    const moves = asked ? movesOf(x, background, row.freedom, row.generator("moves")) : [];
    const pX = model(x, 1);
    const pHood = model(hood.X, hood.n);
    const pMoves = row.predict(moves.map((move) => changed(x, [move])));
    const label = argmax(pX);
    const labels = labelsOf(pHood, pool.nClasses);
    const seen = [labels, labelsOf(pMoves, pool.nClasses), pool.realLabels, pool.labels];
    const base = { x, prediction: label, probability: pX[label], seed: options.seed };
    if (seen.every((some) => some.every((one) => one === label))) return constant(base);

    if (!this.searches.has(label)) this.searches.set(label, new RuleSearch(pool, label));
    const rules = this.searches.get(label);
    const near = { codes: hood.codes, hit: Uint8Array.from(labels, (one) => Number(one === label)) };
    const { rule, precision, nChecked } = checkedRule(row, rules, near, effort);
    let found = { flips: [], nCombinations: 0 };
    if (asked) {
      const real = { X: background.matrix, codes: pool.realCodes, labels: pool.realLabels };
      const starts = [...row.near(label, { ...hood, labels }, NEAR), ...row.near(label, real, NEAR)];
      found = searchFlips(row, pX, moves, pMoves, starts, effort.rounds);
    }
    const { surrogate, fidelity, classFidelity } = imitated(rules, hood, pHood, own, effort);
    const { m, matrix, nRows } = background;
    const covered = Array.from({ length: nRows }, (_, i) => rule.covers(matrix, i * m)).filter(Boolean).length;
    return {
      ...base, rule, precision, fidelity, classFidelity,
      coverage: covered / nRows,
      counterfactuals: found.flips.map((flip) => counterfactual(flip, surrogate, rules)),
      importances: importancesOf(hood, pHood, label, pool).map((one, j) => one * Number(background.read[j])),
      size: 1 + hood.n + moves.length + nChecked,
      held: asked ? row.freedom.held : [],
      notes: notesOf(row, rule, precision, found, asked),
    };
  }
}

// Explanation where the model gives every row it was shown the same class.
const constant = (base) => ({
  ...base, rule: new ClassRule([], base.prediction), precision: 1, coverage: 1, fidelity: null, classFidelity: null,
  counterfactuals: [], importances: new Float64Array(base.x.length), size: 0, held: [], notes: [NO_FEATURE],
});

function notesOf({ freedom }, rule, precision, { flips, nCombinations }, asked) {
  const notes = [];
  if (precision < 0.9) notes.push(`The rule is weak: only ${percentText(precision, 0)} of random rows inside it get this class.`);
  if (!rule.premises.length) notes.push("The rule has no conditions: nearly every row gets this class.");
  if (asked && !flips.length) notes.push(noneFound(freedom.held.length > 0, nCombinations));
  if (flips.some(({ against }) => against.length)) notes.push(ONLY_AGAINST);
  return notes;
}

function noneFound(isHeld, nCombinations) {
  const others = isHeld ? " of the other features" : "";
  const count = nCombinations.toLocaleString("en-US");
  let why = `No counterfactual was found among the allowed changes${others} to values like those of training.`;
  if (nCombinations > 1) why = `No allowed change${others} gives another class: all ${count} combinations of their values, numbers in steps, were tried.`;
  if (nCombinations === 1) why = "No counterfactual is possible: no feature that the model reads may change.";
  return why + (isHeld ? " Sensitive features stay as they are (held_fixed); mutable_features names those that may change." : "");
}

// Rule, its precision on rows that the model has scored for that alone, and how many these were.
function checkedRule(row, rules, near, effort) {
  const { background, pool, own, model, nClasses } = row;
  const rng = row.generator("rule");
  let best = null;
  let extra = null;
  for (let check = 0; check < effort.checks; check++) {
    // Rows of failed checks join the search. They count little beside the pool, so aim higher after two.
    const target = check < 2 ? TARGET : 0.99;
    const rule = rules.rule(rules.find(own, target, extra, near), own);
    if (best !== null && rule.equals(best.rule)) break;
    const inside = background.drawInside(rule, effort.checked, rng);
    const labels = labelsOf(model(inside, effort.checked), nClasses);
    const hit = Uint8Array.from(labels, (one) => Number(one === rules.label));
    const codes = pool.bins.codes(inside);
    extra = extra === null ? { codes, hit } : { codes: joinedArrays(codes, extra.codes), hit: joinedArrays(hit, extra.hit) };
    const precision = hit.reduce((sum, one) => sum + one, 0) / hit.length;
    if (best === null || precision > best.precision) best = { rule, precision };
    if (precision >= ACCEPTED) break;
  }
  return { ...best, nChecked: extra.hit.length };
}

function joinedArrays(first, second) {
  const made = new first.constructor(first.length + second.length);
  made.set(first);
  made.set(second, first.length);
  return made;
}

function flat(parts, Kind) {
  const made = new Kind(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    made.set(part, at);
    at += part.length;
  }
  return made;
}

// Surrogate, its fidelity on neighbours that it was not trained on, and the same for x's class alone.
function imitated(rules, hood, pHood, own, { heldOut, pooled }) {
  const { pool, background } = rules;
  const { m } = background;
  const { nClasses } = pool;
  const positions = hood.codes.map((bin) => rules.position[bin]);
  const { rows, weights } = rules.similar(own, pooled);
  const chosen = (values, width) => rows.map((i) => values.subarray(i * width, (i + 1) * width));
  const surrogate = new Surrogate(
    joinedArrays(positions.subarray(heldOut * m), flat(chosen(rules.made.positions, m), Int32Array)),
    joinedArrays(pHood.subarray(heldOut * nClasses), flat(chosen(pool.probabilities, nClasses), Float64Array)),
    joinedArrays(new Float64Array(hood.n - heldOut).fill(1), weights),
    nClasses, pool.bins, background.read,
  );
  const told = Array.from({ length: heldOut }, (_, i) => surrogate.way(positions, i * m).label);
  const answers = labelsOf(pHood.subarray(0, heldOut * nClasses), nClasses);
  const isMine = (some) => Array.from(some, (one) => Number(one === rules.label));
  return { surrogate, fidelity: agreement(answers, told), classFidelity: agreement(isMine(answers), isMine(told)) };
}

// Share of the rows on which two classifiers agree, averaged over the classes that the first one gives.
function agreement(answers, others) {
  const classes = [...new Set(answers)].sort((a, b) => a - b);
  const shares = classes.map((label) => {
    const mine = [...answers.keys()].filter((i) => answers[i] === label);
    return mine.filter((i) => others[i] === label).length / mine.length;
  });
  return shares.reduce((sum, share) => sum + share, 0) / classes.length;
}

// How much the probability of the class falls, on average, when a feature's value is not x's: the slope of a linear
// fit on which values were kept. What could be chance is taken off.
function importancesOf(hood, pHood, label, { nClasses, background }) {
  const { m } = background;
  const { kept, n } = hood;
  const means = new Float64Array(m);
  for (let i = 0; i < kept.length; i++) means[i % m] += kept[i];
  for (let j = 0; j < m; j++) means[j] /= n;
  const own = Float64Array.from({ length: n }, (_, i) => pHood[i * nClasses + label]);
  const mean = own.reduce((sum, p) => sum + p, 0) / n;
  let rest = own.map((p) => p - mean);
  const squares = means.map((share) => Math.max(n * share * (1 - share), 1e-9));
  const slopes = new Float64Array(m);
  // The masks are independent, so that fitting all features at once and then the rest again soon converges.
  for (let pass = 0; pass < (n > 20 * m ? 3 : 1); pass++) {
    const step = new Float64Array(m);
    for (let i = 0; i < kept.length; i++) step[i % m] += (kept[i] - means[i % m]) * rest[Math.floor(i / m)];
    for (let j = 0; j < m; j++) {
      step[j] /= squares[j];
      slopes[j] += step[j];
    }
    rest = rest.map((left, i) => {
      let said = 0;
      for (let j = 0; j < m; j++) said += (kept[i * m + j] - means[j]) * step[j];
      return left - said;
    });
  }
  const middle = rest.reduce((sum, left) => sum + left, 0) / n;
  const spread = Math.sqrt(rest.reduce((sum, left) => sum + (left - middle) ** 2, 0) / n);
  const chance = (spread * 2) / Math.sqrt(n);
  return slopes.map((slope) => Math.max(Math.abs(slope) - chance, 0));
}

// A flip with the rule of the surrogate that leads to it where the surrogate agrees.
function counterfactual(flip, surrogate, rules) {
  const label = argmax(flip.probabilities);
  const own = Array.from(flip.values, (value, j) => rules.pool.bins.of(j, value));
  const way = surrogate.way(own.map((bin) => rules.position[bin]));
  const rule = way.label === label ? new ClassRule(rules.rule(rules.box(way.steps), own).premises, label) : null;
  return { ...flip, prediction: label, probability: flip.probabilities[label], rule };
}

// What is sent: at most so many bytes; what does not fit is left out, and a note says so.
function toJson(explanation, background) {
  let content = contentOf(explanation, background, new Wording(background.schema));
  if (Object.keys(background.schema.dictionary ?? {}).length && bytesOf(content, background) > MOST_BYTES) {
    content = contentOf(explanation, background, new Wording(background.schema, false));
    content.notes.push("Texts have no units and meanings of the data dictionary, to limit the size.");
  }
  const shorter = ["shorter", "none"].map((lists) => explanation.rule.premises.map((one) => one.toJson(background, lists)));
  return fitted(content, shorter, background);
}

function contentOf(explanation, background, wording) {
  const { rule, precision, coverage, fidelity, classFidelity } = explanation;
  const { shares, notes } = listedImportances(explanation.importances, background.names);
  const rounded = (share) => (share === null ? null : roundTo(share, 4));
  return {
    prediction: background.schema.classes[explanation.prediction],
    probability: roundTo(explanation.probability, 6),
    rule: {
      ...rule.toJson(background), text: rule.text(background, wording),
      precision: rounded(precision), coverage: rounded(coverage),
    },
    counterfactuals: explanation.counterfactuals.map((one) => flipJson(one, explanation.x, background, wording)),
    held_fixed: explanation.held.slice(0, MOST_HELD),
    feature_importances: shares,
    fidelity: rounded(fidelity),
    class_fidelity: rounded(classFidelity),
    neighborhood: { size: explanation.size, seed: explanation.seed },
    engine: "lore",
    notes: [...explanation.notes, ...notes],
  };
}

function flipJson(flip, x, background, wording) {
  const changes = flip.features.map((j) => ({
    feature: background.names[j],
    from: background.jsonValue(j, x[j]),
    to: background.jsonValue(j, flip.values[j]),
    ...(flip.against.includes(j) ? { against: true } : {}),
  }));
  const label = background.schema.classes[flip.prediction];
  const parts = changes.map(
    ({ feature, from, to }) => `${wording.name(feature)} were ${wording.value(feature, to)} instead of ${wording.value(feature, from)}`,
  );
  return {
    changes,
    prediction: label,
    probability: roundTo(flip.probability, 6),
    valid: true,
    distance: roundTo(flip.distance, 6),
    rule: flip.rule === null ? null : flip.rule.toJson(background),
    text: `IF ${parts.join(" AND ")} THEN ${wording.label(label)}`,
  };
}

// Importances that sum to 1, largest first, and a note on those that are not listed. Pairs, because an object would
// put names such as "7" first.
function listedImportances(weights, names) {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const listed = argsort(weights.map((weight) => -weight)).slice(0, MOST_IMPORTANCES);
  if (!(total > 0)) return { shares: listed.sort((a, b) => a - b).map((j) => [names[j], 0]), notes: [] };
  const some = listed.reduce((sum, j) => sum + weights[j], 0);
  const rounded = listed.map((j) => roundTo(weights[j] / some, 4));
  rounded[0] = roundTo(1 - rounded.slice(1).reduce((sum, share) => sum + share, 0), 4);
  const notes = [];
  if (names.length > listed.length) {
    notes.push(
      `Only the ${listed.length} most important of ${names.length} features are listed, scaled to sum to 1; ` +
        `the others account for ${percentText(1 - some / total, 1)} together.`,
    );
  }
  return { shares: listed.map((j, place) => [names[j], rounded[place]]), notes };
}

function fitted(given, shorter, background) {
  const size = (content) => bytesOf(content, background);
  if (size(given) <= MOST_BYTES) return given;
  const kept = given.counterfactuals.map((one) => ({ ...one, rule: null }));
  const notes = [...given.notes, "The rules of the counterfactuals were left out to limit the size."];
  let content = { ...given, counterfactuals: kept, notes };
  for (const premises of shorter) {
    const isOther = JSON.stringify(premises) !== JSON.stringify(content.rule.premises);
    if (size(content) > MOST_BYTES && isOther) content = { ...content, rule: { ...content.rule, premises } };
  }
  if (content.rule.premises.some((premise) => "of" in premise && !("in" in premise))) {
    notes.push("Long lists of values were left out or turned round (not_in) to limit the size.");
  }
  const nFound = kept.length;
  while (kept.length && size(content) > MOST_BYTES) kept.pop();
  if (kept.length < nFound) notes.push(`The ${nFound - kept.length} farthest counterfactuals were left out to limit the size.`);
  return content;
}

// Bytes of the JSON as Python writes it, in which a float has a point.
function bytesOf(content, background) {
  const doubles = new Set(background.features.filter(({ type }) => type === "double").map(({ name }) => name));
  const always = new Set(["probability", "precision", "coverage", "distance", "fidelity", "class_fidelity"]);
  const text = JSON.stringify(content, function spelt(key, value) {
    if (key === "feature_importances") return Object.fromEntries(value.map(([name, share]) => [name, floatText(share)]));
    const isFloat = always.has(key) || ((key === "from" || key === "to") && doubles.has(this.feature));
    if (typeof value !== "number") return value;
    return isFloat || !Number.isInteger(value) ? `${floatText(value)}` : value;
  });
  // Numbers that were put as texts have two quotes too many.
  const quoted = text.match(/:"-?[0-9][0-9.e+-]*"(?=[,}])/g) ?? [];
  return new TextEncoder().encode(text).length - 2 * quoted.length;
}
