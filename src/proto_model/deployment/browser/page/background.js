// What an explainer knows of the training table, and which changes of a row are allowed.
import { partsOf } from "./bytes.js";
import { differ, nextAfter, pairwise } from "./numbers.js";
import { Generator, blake2b } from "./random.js";
import { SECONDS_OF, dateText } from "./values.js";

export class Background {
  constructor(schema, arrays, isSynthetic) {
    const { features } = schema;
    const types = features.map(({ type }) => type);
    Object.assign(this, {
      schema, features, isSynthetic, m: features.length, matrix: arrays.background,
      low: arrays.low, high: arrays.high, scale: arrays.scale, gap: arrays.gap,
      names: features.map(({ name }) => name),
      nRows: arrays.background.length / features.length,
      numeric: types.map((type) => type === "double" || type === "long" || type in SECONDS_OF),
      whole: types.map((type) => type !== "double"),
      nCodes: features.map(({ type, categories }) => (type === "boolean" ? 2 : (categories ?? []).length)),
      sensitive: Array.from(arrays.sensitive, Boolean),
      read: Array.from(arrays.read, Boolean),
      cuts: partsOf(arrays.cuts, arrays.cuts_start),
      known: partsOf(arrays.known, arrays.known_start),
      tried: partsOf(arrays.tried, arrays.tried_start),
      normal: { wi: arrays.normal_wi, ki: arrays.normal_ki },
    });
  }

  // Random numbers that depend on the seed, the row's own values and their purpose.
  generator(seed, x, purpose) {
    const head = new TextEncoder().encode(`${seed}:${purpose}:`);
    const row = new DataView(new ArrayBuffer(8 * x.length));
    x.forEach((value, j) => row.setFloat64(8 * j, value + 0, true));
    const message = new Uint8Array(head.length + row.byteLength);
    message.set(head);
    message.set(new Uint8Array(row.buffer), head.length);
    return new Generator(blake2b(message), this.normal);
  }

  // Distance from x of the row that begins at a place of X.
  distance(x, X, at) {
    const { m, scale, numeric } = this;
    const parts = new Float64Array(m);
    for (let j = 0; j < m; j++) {
      const value = X[at + j];
      const change = Math.abs(value - x[j]) / scale[j];
      if (change !== change) parts[j] = Number.isNaN(value) !== Number.isNaN(x[j]) ? 1 : 0;
      else parts[j] = numeric[j] ? change : Number(change > 0);
    }
    return pairwise(parts);
  }

  // Rows whose features are drawn independently of each other, each as the background has them.
  drawMarginals(n, rng) {
    const { m, matrix, nRows } = this;
    const picks = rng.belows(n * m, nRows);
    return Float64Array.from(picks, (pick, i) => matrix[pick * m + (i % m)]);
  }

  // Rows inside a rule: bounded numbers uniform, categories by frequency, the rest as in the table.
  drawInside(rule, n, rng) {
    const X = this.drawMarginals(n, rng);
    for (const premise of rule.premises) {
      const drawn = this.drawPremise(premise, n, rng);
      for (let i = 0; i < n; i++) X[i * this.m + premise.feature] = drawn[i];
    }
    return X;
  }

  drawPremise(premise, n, rng) {
    const { m, matrix, nRows } = this;
    const j = premise.feature;
    const inside = [];
    for (let i = 0; i < nRows; i++) if (premise.covers(matrix[i * m + j])) inside.push(matrix[i * m + j]);
    if (premise.codes !== null) {
      const allowed = inside.length ? inside : premise.codes.length ? premise.codes : [NaN];
      return Float64Array.from(rng.belows(n, allowed.length), (pick) => allowed[pick]);
    }
    const known = this.drawInterval(premise, n, rng);
    if (premise.orMissing && inside.length) {
      const share = inside.filter(Number.isNaN).length / inside.length;
      for (let i = 0; i < n; i++) if (rng.double() < share) known[i] = NaN;
    }
    return known;
  }

  // Bounds are open below and closed above, as in the premise.
  drawInterval({ feature: j, above, atMost }, n, rng) {
    const isKnown = !Number.isNaN(this.low[j]);
    const low = isKnown ? Math.max(above, this.low[j]) : NaN;
    const high = isKnown ? Math.min(atMost, this.high[j]) : NaN;
    if (!isKnown || low > high) {
      const edge = [atMost, above].find(Number.isFinite);
      return new Float64Array(n).fill(edge === undefined ? NaN : edge === above ? nextAfter(edge, Infinity) : edge);
    }
    if (this.whole[j]) {
      const first = low === above ? Math.floor(low) + 1 : Math.ceil(low);
      const last = Math.max(Math.floor(high), first);
      return rng.doubles(n).map((u) => first + Math.floor(u * (last - first + 1)));
    }
    const least = nextAfter(low, high);
    return rng.doubles(n).map((u) => Math.max(high - u * (high - low), least));
  }

  // Value of a feature as JSON shows it.
  jsonValue(j, code) {
    if (Number.isNaN(code)) return null;
    const { type, categories } = this.features[j];
    if (categories) return categories[Math.trunc(code)];
    if (type === "boolean") return Boolean(code);
    return type in SECONDS_OF ? dateText(code, type) : code;
  }

  // Bound of an interval; of dates, the last one that is not beyond it.
  jsonBound(j, value) {
    const { type } = this.features[j];
    return type in SECONDS_OF ? dateText(Math.floor(value), type) : value;
  }
}

// Which changes of a row are allowed: per feature, whether its value may grow, and may shrink.
export class Freedom {
  constructor(options, background) {
    const { names, sensitive, read } = background;
    const asked = names.map((name) => options.immutable_features.includes(name));
    const held = names.map((name, j) => sensitive[j] && !options.mutable_features.includes(name) && !asked[j]);
    const free = names.map((_, j) => !asked[j] && !held[j] && read[j]);
    this.increase = names.map((name, j) => free[j] && !options.decrease_only.includes(name));
    this.decrease = names.map((name, j) => free[j] && !options.increase_only.includes(name));
    this.held = names.filter((_, j) => held[j]);
    this.isDirected = names.some((_, j) => this.increase[j] !== this.decrease[j]);
  }

  mayChange(j) {
    return this.increase[j] || this.decrease[j];
  }

  // Whether a feature's value may become another.
  allows(j, from, to) {
    if (!differ(from, to)) return true;
    if (Number.isNaN(to)) return false;
    if (Number.isNaN(from)) return this.mayChange(j);
    return to > from ? this.increase[j] : this.decrease[j];
  }
}
