// The rows that the engine learns from: in bins, scored once (the pool), and drawn around one row.
import { below, argmax, rint, pairwise } from "./numbers.js";
import { Generator } from "./random.js";

const MOST_COARSE = 16;
const MOST_POOL = 12_000;
const MOST_VALUES = 2_000_000;
export const MARGINAL = 2; // every so many rows of the pool have their values as often as the background has
const PASSES = 3;

// Rows by the bins of their values: one small whole number per value, in one numbering for all features.
export class Bins {
  constructor(background) {
    const { numeric, cuts, nCodes, m } = background;
    const counts = numeric.map((isNumber, j) => (isNumber ? cuts[j].length + 2 : nCodes[j] + 1));
    this.background = background;
    this.first = [];
    this.last = [];
    const feature = [];
    const coarse = [];
    this.coarseFeature = [];
    this.coarseLast = [];
    for (let j = 0; j < m; j++) {
      this.first.push(feature.length);
      const known = counts[j] - 1; // without the bin for missing values
      let before = -1;
      for (let local = 0; local < counts[j]; local++) {
        const group = known > MOST_COARSE ? Math.floor((local * MOST_COARSE) / Math.max(known, 1)) : local;
        if (group !== before) {
          this.coarseFeature.push(j);
          this.coarseLast.push(0);
        }
        before = group;
        this.coarseLast[this.coarseLast.length - 1] = feature.length;
        coarse.push(this.coarseLast.length - 1);
        feature.push(j);
      }
      this.last.push(feature.length - 1);
    }
    this.feature = Int32Array.from(feature);
    this.coarse = Int32Array.from(coarse);
    this.n = feature.length;
  }

  // Bin of one value.
  of(j, value) {
    if (Number.isNaN(value)) return this.last[j];
    return this.first[j] + (this.background.numeric[j] ? below(this.background.cuts[j], value) : Math.trunc(value));
  }

  // Bins of a coded matrix.
  codes(X) {
    const { m } = this.background;
    const made = new Int32Array(X.length);
    for (let i = 0; i < X.length; i++) made[i] = this.of(i % m, X[i]);
    return made;
  }
}

// Place of the largest of each row's numbers.
export function labelsOf(probabilities, nClasses) {
  const n = probabilities.length / nClasses;
  return Int32Array.from({ length: n }, (_, i) => argmax(probabilities, i * nClasses, nClasses));
}

// The background and a sample of rows with independent features, each with the model's answer.
export class Pool {
  constructor(background, model) {
    const { m, low, high, whole, numeric } = background;
    const n = Math.min(MOST_POOL, Math.max(1000, Math.floor(MOST_VALUES / m)));
    const rng = new Generator([0], background.normal);
    const X = background.drawMarginals(n, rng);
    const uniform = rng.doubles(n * m);
    const coin = rng.doubles(n * m);
    for (let i = 0; i < X.length; i++) {
      const j = i % m;
      let drawn = low[j] + uniform[i] * (high[j] - low[j]);
      if (whole[j]) drawn = rint(drawn);
      const isSwapped = numeric[j] && coin[i] < 0.5 && X[i] === X[i] && drawn === drawn;
      if (isSwapped && Math.floor(i / m) % MARGINAL) X[i] = drawn;
    }
    this.bins = new Bins(background);
    this.background = background;
    this.nRows = n;
    this.nClasses = background.schema.classes.length;
    this.probabilities = model(X, n);
    this.codes = this.bins.codes(X);
    this.labels = labelsOf(this.probabilities, this.nClasses);
    this.realCodes = this.bins.codes(background.matrix);
    this.realLabels = labelsOf(model(background.matrix, background.nRows), this.nClasses);
    this.means = new Map();
  }

  // Mean probability of a class per bin, compared with that of all rows, of all features fitted together.
  meansOf(label) {
    if (!this.means.has(label)) this.means.set(label, this.fitted(label));
    return this.means.get(label);
  }

  fitted(label) {
    const { bins, codes, nRows, nClasses, probabilities, background } = this;
    const { m } = background;
    const mean = pairwise(probabilities, label, nRows, nClasses) / nRows;
    const rest = Float64Array.from({ length: nRows }, (_, i) => probabilities[i * nClasses + label] - mean);
    const means = new Float64Array(bins.n);
    for (let pass = 0; pass < PASSES; pass++) {
      for (let j = 0; j < m; j++) {
        const nBins = bins.last[j] - bins.first[j] + 1;
        const sums = new Float64Array(nBins);
        const counts = new Int32Array(nBins);
        for (let i = 0; i < nRows; i++) {
          const code = codes[i * m + j];
          rest[i] += means[code];
          sums[code - bins.first[j]] += rest[i];
          counts[code - bins.first[j]]++;
        }
        // A bin of few rows stays near the middle.
        for (let b = 0; b < nBins; b++) means[bins.first[j] + b] = sums[b] / (counts[b] + 1);
        for (let i = 0; i < nRows; i++) rest[i] -= means[codes[i * m + j]];
      }
    }
    return means;
  }

  // Per bin, whether a row with bins `own` leaves a class behind when that feature alone goes there.
  falls(own, label) {
    const means = this.meansOf(label);
    return Array.from(means, (mean, bin) => mean < means[own[this.bins.feature[bin]]]);
  }
}

// Rows that keep each value of x with probability 1/2, and otherwise have one of the background.
export function neighborhoodOf(x, own, pool, n, rng) {
  const { m, matrix, nRows } = pool.background;
  const kept = rng.parts(n * m, 2, 8);
  const picks = rng.parts(n * m, nRows, 16);
  const X = new Float64Array(n * m);
  const codes = new Int32Array(n * m);
  for (let i = 0; i < X.length; i++) {
    const j = i % m;
    X[i] = kept[i] ? x[j] : matrix[picks[i] * m + j];
    codes[i] = kept[i] ? own[j] : pool.realCodes[picks[i] * m + j];
  }
  return { X, codes, kept, n };
}
