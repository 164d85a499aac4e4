// Search for counterfactuals: near rows of another class, with few changes, each seen by the model.
import { argmax, argsort, differ, pairwise, spaced } from "./numbers.js";
import { changed, combinedRows, marginOf, partsOfNear, stacked, valueTowards, valuesBetween } from "./moves.js";

const SPARE = 1; // flips that are improved beside those that are asked for
const PRICE = 0.3; // of one more changed feature, in units of distance
const MOST_BACK = 20; // changed features that are taken back, one by one
const AGAINST = 1e6; // price of a change that goes the wrong way: taken only where there is no other
const TRADES = 16;
const SPREADS = [1, 0.6, 0.4, 0.25]; // of the trades, round by round
const MOST_COMBINATIONS = 50_000;
const CLIMBING = 8; // rows that each step of the climb goes on from
const MOST_CLIMBED = 6; // steps

// The row to explain, and what the searches ask about it.
export class Row {
  constructor(x, own, options, freedom, pool, model) {
    Object.assign(this, { x, own, options, freedom, pool, model, background: pool.background });
    this.nClasses = pool.nClasses;
    this.known = new Map();
  }

  generator(purpose) {
    return this.background.generator(this.options.seed, this.x, purpose);
  }

  predict(rows) {
    return this.model(stacked(rows, this.x.length), rows.length);
  }

  fallsTo(label) {
    if (!this.known.has(label)) this.known.set(label, this.pool.falls(this.own, label));
    return this.known.get(label);
  }

  // Whether one value alone leads away, on average, from the class that is wanted with it.
  isAgainst(j, value, wanted) {
    return this.fallsTo(wanted)[this.pool.bins.of(j, value)];
  }

  // The nearest of some rows that are of another class than `label`. Values that may not change, or go the wrong
  // way for the row's class, are put back.
  near(label, { X, codes, labels }, n) {
    const { x, background, freedom, pool } = this;
    const m = x.length;
    const rows = [];
    const costs = [];
    labels.forEach((wanted, i) => {
      if (wanted === label) return;
      const falls = this.fallsTo(wanted);
      let nOther = 0;
      const row = Float64Array.from(x, (own, j) => {
        const [value, bin] = [X[i * m + j], codes[i * m + j]];
        nOther += Number(value !== own);
        const mayGo = freedom.mayChange(j) && bin !== pool.bins.last[j] && !falls[bin];
        return mayGo && (!freedom.isDirected || freedom.allows(j, own, value)) ? value : own;
      });
      rows.push(row);
      costs.push(background.distance(x, row, 0) + 0.1 * nOther);
    });
    return argsort(costs).slice(0, n).map((i) => rows[i]);
  }
}

// All flips seen so far that may matter, the cheapest one per set of changed features.
class Found {
  constructor(row, label, n) {
    Object.assign(this, { row, label, n, best: new Map(), nearest: [] });
  }

  add(rows, probabilities) {
    const { row, label } = this;
    const { x, nClasses, background } = row;
    const limit = this.limit();
    const flips = [];
    rows.forEach((values, i) => {
      const wanted = argmax(probabilities, i * nClasses, nClasses);
      if (wanted === label) return;
      const distance = background.distance(x, values, 0);
      if (!(distance + PRICE < limit)) return;
      const features = [...values.keys()].filter((j) => differ(values[j], x[j]));
      const against = features.filter((j) => row.isAgainst(j, values[j], wanted));
      const cost = distance + PRICE * features.length + AGAINST * against.length;
      flips.push({ values, wanted, at: i, features, against, distance, cost });
    });
    for (const k of argsort(flips.map(({ cost }) => cost))) {
      const flip = flips[k];
      const key = flip.features.join();
      if (!flip.features.length || !(flip.cost < (this.best.get(key)?.cost ?? Infinity))) continue;
      const own = probabilities.slice(flip.at * nClasses, (flip.at + 1) * nClasses);
      this.best.set(key, { ...flip, probabilities: own });
    }
    this.nearest = [];
    const sorted = [...this.best.values()].sort((a, b) => a.cost - b.cost || byBits(a.features, b.features));
    for (const flip of sorted) {
      // One that changes all that a cheaper one changes says nothing new.
      if (this.nearest.some(({ features }) => features.every((j) => flip.features.includes(j)))) continue;
      this.nearest.push(flip);
      if (this.nearest.length === this.n) break;
    }
  }

  // Cost from which a flip cannot be among the nearest.
  limit() {
    return this.nearest.length === this.n ? this.nearest.at(-1).cost : Infinity;
  }

  // The same for each feature, for flips that change it and others.
  limits() {
    const limits = Array(this.row.x.length).fill(this.limit());
    for (const { features, cost } of this.nearest) if (features.length === 1) limits[features[0]] = cost;
    return limits;
  }
}

// The order of sets of features as the bits of numbers, the first feature's being the highest.
function byBits(a, b) {
  for (let k = 0; k < Math.min(a.length, b.length); k++) if (a[k] !== b[k]) return b[k] - a[k];
  return a.length - b.length;
}

const byFeatures = (a, b) => {
  const at = a.findIndex((j, k) => j !== b[k]);
  return at < 0 ? a.length - b.length : a[at] - (b[at] ?? -Infinity);
};

// Tries to bring one changed row nearer to the row that is explained: it takes changes back, wholly or in part,
// several at once, or a part of one for a smaller part of another.
class Improvement {
  constructor(row, flip) {
    Object.assign(this, { row, features: flip.features, flip: flip.values, base: flip.values });
    Object.assign(this, { failed: new Map(), steps: [], good: [], round: 0 });
  }

  // The same, with a nearer flip to go on from.
  at(flip) {
    const { x } = this.row;
    const bounds = [...this.failed].filter(([j, value]) => Math.abs(value - x[j]) < Math.abs(flip[j] - x[j]));
    this.failed = new Map(bounds); // feature -> value nearest to the flip's that did not flip
    this.flip = flip;
    return this;
  }

  rows(rng) {
    const together = this.good.slice(1).map((_, k) => changed(this.base, this.good.slice(0, k + 2)));
    this.steps = [...this.singleSteps()]; // parts of the way to the base before
    this.base = this.flip;
    const single = this.steps.map((step) => changed(this.base, [step]));
    this.nTogether = together.length;
    const rows = [...together, ...single, ...this.trades(rng)];
    this.nRows = rows.length;
    this.round++;
    return rows;
  }

  // Feature and value of each step back: all the way, then a part of it.
  *singleSteps() {
    const { x, background } = this.row;
    for (const j of this.features.slice(0, MOST_BACK)) {
      if (this.features.length > 1) yield { j, value: x[j] };
      const limit = this.failed.get(j) ?? x[j];
      if (!background.numeric[j] || Number.isNaN(limit)) continue;
      for (const value of valuesBetween(background, j, limit, this.base[j])) yield { j, value };
    }
  }

  // Rows a little nearer, with the distance shared out differently among the changed numbers.
  trades(rng) {
    const { x, background } = this.row;
    const { scale } = background;
    const some = this.features.slice(0, MOST_BACK).filter((j) => background.numeric[j] && !Number.isNaN(x[j]));
    if (some.length < 2) return [];
    const away = some.map((j) => Math.abs(this.flip[j] - x[j]) / scale[j]);
    const spread = SPREADS[Math.min(this.round, SPREADS.length - 1)];
    const all = pairwise(away);
    const totals = spaced(1 - spread / 2, 0.99, TRADES).map((share) => share * all);
    return Array.from(totals, (total) => {
      const shares = away.map((part) => part * Math.exp(spread * rng.standardNormal()));
      const factor = total / pairwise(shares);
      const row = Float64Array.from(this.flip);
      some.forEach((j, k) => {
        const isUp = this.flip[j] > x[j];
        const target = x[j] + (isUp ? 1 : -1) * (shares[k] * factor) * scale[j];
        row[j] = valueTowards(background, j, x[j], target, isUp);
      });
      return row;
    });
  }

  // Remember which single steps kept the class flipped.
  learn(flipped) {
    const best = new Map();
    this.steps.forEach(({ j, value }, k) => {
      if (!flipped[this.nTogether + k]) this.failed.set(j, value);
      else if (!best.has(j)) best.set(j, value); // the full step back comes first
    });
    this.good = Array.from(best, ([j, value]) => ({ j, value }));
  }
}

// Flips of a row, nearest first, at most as many as its options ask for; and how many combinations were tried.
export function searchFlips(row, pX, moves, pMoves, near, nRounds) {
  const { x, background, nClasses, freedom } = row;
  const label = argmax(pX);
  const rng = row.generator("trades");
  const most = row.options.max_counterfactuals;
  const found = new Found(row, label, most + SPARE);
  const single = moves.map((move) => changed(x, [move]));
  found.add(single, pMoves);
  const needed = marginOf(pX, 0, nClasses, label);
  const gains = moves.map((_, i) => needed - marginOf(pMoves, i * nClasses, nClasses, label));
  const prices = moves.map(({ j, value }, i) => {
    const others = pMoves.slice(i * nClasses, (i + 1) * nClasses);
    others[label] = -1;
    return row.isAgainst(j, value, argmax(others)) ? PRICE + AGAINST : PRICE;
  });
  const start = [
    ...combinedRows(x, background, moves, gains, needed, prices, found.limits()),
    ...partsOfNear(x, freedom, moves, gains, near),
  ];
  if (start.length) found.add(start, row.predict(start));
  const isRight = found.nearest.some(({ against }) => !against.length);
  const nCombinations = isRight ? 0 : triedAll(row, found, moves);
  let improving = new Map();
  for (let round = 0; round < nRounds; round++) {
    const before = improving;
    improving = new Map();
    for (const flip of found.nearest) {
      const key = flip.features.join();
      improving.set(key, before.get(key)?.at(flip.values) ?? new Improvement(row, flip));
    }
    const steps = [...improving.values()];
    const rows = steps.flatMap((step) => step.rows(rng));
    if (!rows.length) break;
    const probabilities = row.predict(rows);
    found.add(rows, probabilities);
    let flipped = rows.map((_, i) => argmax(probabilities, i * nClasses, nClasses) !== label);
    for (const step of steps) {
      step.learn(flipped);
      flipped = flipped.slice(step.nRows);
    }
  }
  const right = found.nearest.filter(({ against }) => !against.length);
  const chosen = (right.length ? right : found.nearest).slice(0, most);
  chosen.sort((a, b) => a.distance - b.distance || byFeatures(a.features, b.features));
  return { flips: chosen, nCombinations };
}

// Try what the search left out; the number of combinations of values if all were tried, else 0.
function triedAll(row, found, moves) {
  const rows = everyCombination(row);
  if (rows !== null) {
    found.add(rows, row.predict(rows));
    return rows.length;
  }
  climb(row, found, moves);
  return 0;
}

// The row with one value per bin of each feature that may change, or null if these are too many.
function everyCombination(row) {
  const { x, freedom } = row;
  const options = [...x.keys()].filter((j) => freedom.mayChange(j)).map((j) => ({ j, values: valuesPerBin(row, j) }));
  if (options.reduce((product, { values }) => product * values.length, 1) > MOST_COMBINATIONS) return null;
  return options.reduce(
    (rows, { j, values }) => rows.flatMap((one) => values.map((value) => changed(one, [{ j, value }]))),
    [Float64Array.from(x)],
  );
}

// The row's own value of a feature, and of every other bin the allowed value nearest to it.
function valuesPerBin(row, j) {
  const { x, own, freedom, background, pool } = row;
  const known = background.known[j].filter((value) => freedom.allows(j, x[j], value));
  const perBin = new Map();
  for (const i of argsort(known.map((value) => Math.abs(value - x[j])))) {
    const bin = pool.bins.of(j, known[i]);
    if (bin !== own[j] && !perBin.has(bin)) perBin.set(bin, known[i]);
  }
  return [x[j], ...[...perBin].sort(([a], [b]) => a - b).map(([, value]) => value)];
}

// Rows with ever more changes, each step from those that came nearest to another class.
function climb(row, found, moves) {
  const { x, nClasses } = row;
  let best = [x];
  let reached = Infinity;
  for (let step = 0; step < MOST_CLIMBED; step++) {
    const rows = best.flatMap((one) => moves.map((move) => changed(one, [move])));
    if (!rows.length) break;
    const probabilities = row.predict(rows);
    found.add(rows, probabilities);
    const lacking = rows.map((_, i) => marginOf(probabilities, i * nClasses, nClasses, found.label));
    const least = lacking.reduce((low, one) => Math.min(low, one), Infinity);
    if (found.nearest.length || !(least < reached)) break;
    reached = least;
    best = distinctRows(argsort(lacking).slice(0, CLIMBING).map((i) => rows[i]));
  }
}

function distinctRows(rows) {
  const byValues = (a, b) => {
    const at = a.findIndex((value, j) => value !== b[j] && !Number.isNaN(value));
    return at < 0 ? 0 : a[at] - b[at];
  };
  const sorted = [...rows].sort(byValues);
  return sorted.filter((row, i) => i === 0 || row.some((value, j) => value !== sorted[i - 1][j]));
}
