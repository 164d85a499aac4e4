// Search for a rule: a box of one run of neighbouring bins per feature. It is cut out of everything, as long as rows
// of other classes are inside, and then widened again.
import { argsort, pairwise, settled } from "./numbers.js";
import { MARGINAL } from "./neighborhood.js";
import { ClassRule, Premise } from "./rule.js";

const MOST_CUTS = 16;
const COUNTED = 1500;
const FEW = 4; // categories that are easy to read
const ENOUGH = 20;

const withSide = (box, j, low, high) => ({ low: box.low.with(j, low), high: box.high.with(j, high) });

// Rows per position, and rows of the class.
function counted(sample, m, n, rows) {
  const counts = { rows: new Float64Array(n), hits: new Float64Array(n), nHits: 0 };
  for (const row of rows) {
    const hit = sample.hit[row];
    counts.nHits += hit;
    for (let j = 0; j < m; j++) {
      const at = sample.positions[row * m + j];
      counts.rows[at]++;
      counts.hits[at] += hit;
    }
  }
  return counts;
}

// Sums in front of each place and after the last: those of any run are one difference.
function runningSums(values) {
  const sums = new Float64Array(values.length + 1);
  for (let i = 0; i < values.length; i++) sums[i + 1] = sums[i] + values[i];
  return sums;
}

const everyRow = (sample) => Int32Array.from(sample.hit, (_, row) => row);
const shareOf = (hits, n) => (n ? hits / n : 1);

export class RuleSearch {
  constructor(pool, label) {
    Object.assign(this, { pool, label, background: pool.background });
    const { bins } = pool;
    const { numeric, nCodes, features, m } = this.background;
    const hit = Uint8Array.from(pool.labels, (one) => Number(one === label));
    const nHits = hit.reduce((sum, one) => sum + one, 0);
    const native = counted({ positions: pool.codes, hit }, m, bins.n, hit.keys());
    // The bins of a category stand in the order of their share of the class; rare ones stay in the middle.
    const share = nHits / hit.length;
    const key = Array.from(bins.feature, (j, bin) =>
      numeric[j] ? bin : (native.hits[bin] + 5 * share) / (native.rows[bin] + 5),
    );
    this.order = [];
    for (let j = 0; j < m; j++) {
      const own = argsort(key.slice(bins.first[j], bins.last[j] + 1));
      this.order.push(...own.map((place) => place + bins.first[j]));
    }
    this.position = new Int32Array(bins.n);
    this.order.forEach((bin, place) => (this.position[bin] = place));
    this.made = { positions: pool.codes.map((bin) => this.position[bin]), hit };
    const realHit = Uint8Array.from(pool.realLabels, (one) => Number(one === label));
    this.real = { positions: pool.realCodes.map((bin) => this.position[bin]), hit: realHit };
    this.everything = { low: bins.first, high: bins.last };
    this.root = [this.made, this.real].map((sample) => counted(sample, m, bins.n, everyRow(sample)));
    const { matrix, nRows } = this.background;
    const isMissing = (j) => Array.from({ length: nRows }, (_, i) => matrix[i * m + j]).some(Number.isNaN);
    this.noMissing = features.map((feature, j) => !feature.nullable && !isMissing(j));
    this.isLarge = numeric.map((isNumber, j) => !isNumber && nCodes[j] > 2 * FEW);
  }

  // Rows in front of a sample.
  after(sample, { codes, hit }) {
    const positions = new Int32Array(codes.length + sample.positions.length);
    codes.forEach((bin, i) => (positions[i] = this.position[bin]));
    positions.set(sample.positions, codes.length);
    const hits = new Uint8Array(hit.length + sample.hit.length);
    hits.set(hit);
    hits.set(sample.hit, hit.length);
    return { positions, hit: hits };
  }

  // Box around the row with bins `own` whose precision on the pool and on real rows reaches a target.
  find(own, asked, extra, near) {
    // Drawn rows have fewer exceptions than real ones, so half as many of them may be missed.
    const target = this.background.isSynthetic ? (1 + asked) / 2 : asked;
    const mine = own.map((bin) => this.position[bin]);
    let made = extra === null ? this.made : this.after(this.made, extra);
    let box = this.cut(mine, target, made);
    const isUnseen = mine.some((place, j) => this.background.read[j] && this.root[0].rows[place] === 0);
    if (isUnseen || box === this.everything) {
      made = this.after(made, near);
      box = this.cut(mine, target, made);
    }
    return this.widen(box, target, made);
  }

  // From everything down to a box that reaches the target, one cut at a time.
  cut(own, target, made) {
    const { m } = this.background;
    let box = this.everything;
    let rows = everyRow(made);
    let real = everyRow(this.real);
    for (let step = 0; step < MOST_CUTS; step++) {
      const precisions = [[made, rows], [this.real, real]].map(([{ hit }, some]) =>
        shareOf(some.reduce((sum, row) => sum + hit[row], 0), some.length),
      );
      if (rows.length < ENOUGH || precisions.every((precision) => precision >= target)) break;
      let samples = this.root;
      if (made !== this.made || box !== this.everything) {
        const { n } = this.pool.bins;
        samples = [counted(made, m, n, rows.subarray(0, COUNTED)), counted(this.real, m, n, real)];
      }
      const best = this.bestCut(box, own, samples, precisions);
      if (best === null) break;
      const { j, run } = best;
      box = withSide(box, j, ...run);
      const inside = ({ positions }) => (row) => positions[row * m + j] >= run[0] && positions[row * m + j] <= run[1];
      rows = rows.filter(inside(made));
      real = real.filter(inside(this.real));
    }
    return box;
  }

  // Every cut of every feature: how much purer the rows get, for the hits that are left.
  bestCut(box, own, samples, precisions) {
    const { feature, n } = this.pool.bins;
    const sums = samples.map(({ rows, hits, nHits }) => ({ rows: runningSums(rows), hits: runningSums(hits), nHits }));
    const logs = precisions.map((before) => Math.log(before + 1e-9));
    let best = null;
    for (let side = 0; side < 2; side++) {
      for (let at = 0; at < n; at++) {
        const j = feature[at];
        const [low, high] = [box.low[j], box.high[j]];
        const isInside = side === 0 ? at >= own[j] && at < high : at > low && at <= own[j];
        if (!isInside || !this.background.read[j]) continue;
        const [from, to] = side === 0 ? [low, at + 1] : [at, high + 1];
        let better = 0;
        let left = 0;
        sums.forEach(({ rows, hits, nHits }, k) => {
          const kept = hits[to] - hits[from];
          better += Math.log((kept + precisions[k] + 1e-9) / (rows[to] - rows[from] + 1)) - logs[k];
          left += (kept + 0.5) / (nHits + 0.5);
        });
        const size = to - from;
        // A set of many categories, and many left out, is hard to read.
        const isHard = this.isLarge[j] && Math.min(size, high - low + 1 - size) > FEW;
        const score = settled(better) * (left * left) * (isHard ? 0.5 : 1);
        if (score > (best?.score ?? 0)) best = { score, j, run: [from, to - 1] };
      }
    }
    return best;
  }

  // The box with every side as wide as the target allows.
  widen(given, target, made) {
    const { bins } = this.pool;
    let box = given;
    const sides = this.sides(box);
    let settledSides = 0; // in a row that are as wide as the others allow
    for (let turn = 0; turn < 2 * sides.length && settledSides < sides.length; turn++) {
      const j = sides[turn % sides.length];
      settledSides++;
      const [first, n] = [bins.first[j], bins.last[j] - bins.first[j] + 1];
      const run = [box.low[j] - first, box.high[j] - first];
      if (run[0] === 0 && run[1] === n - 1) continue;
      const others = sides.filter((side) => side !== j);
      const [free, seen] = [made, this.real].map((sample) => this.freeCounts(sample, box, others, j, first, n));
      const [low, high] = widest(free, seen, run, target);
      if (low !== run[0] || high !== run[1]) {
        box = withSide(box, j, low + first, high + first);
        settledSides = 1;
      }
    }
    return box;
  }

  // Counts per bin of a feature, of the rows inside all other sides.
  freeCounts({ positions, hit }, box, others, j, first, n) {
    const { m } = this.background;
    const counts = { rows: new Float64Array(n), hits: new Float64Array(n), nHits: 0 };
    for (let row = 0; row < hit.length; row++) {
      const at = row * m;
      if (others.some((i) => positions[at + i] < box.low[i] || positions[at + i] > box.high[i])) continue;
      counts.rows[positions[at + j] - first]++;
      counts.hits[positions[at + j] - first] += hit[row];
      counts.nHits += hit[row];
    }
    return counts;
  }

  // Box of the splits on a way through a tree over positions.
  box(steps) {
    let box = this.everything;
    for (const [j, threshold, isAbove] of steps) {
      const [low, high] = isAbove ? [threshold + 1, box.high[j]] : [box.low[j], threshold];
      box = withSide(box, j, Math.max(low, box.low[j]), Math.min(high, box.high[j]));
    }
    return box;
  }

  // The pool's rows that are most like neighbours of `own`, and weights.
  similar(own, asked) {
    const { m } = this.background;
    const { nRows } = this.pool;
    const likeness = new Float64Array(Math.ceil(nRows / MARGINAL));
    own.forEach((bin, j) => {
      const place = this.position[bin];
      const frequency = Math.max(this.root[1].rows[place] / this.real.hit.length, 1e-3);
      // A value that most rows have anyway says little of likeness.
      const weight = settled(0.5 * Math.log(1 + 1 / frequency));
      for (let i = 0; i < likeness.length; i++) {
        if (this.made.positions[i * MARGINAL * m + j] === place) likeness[i] += weight;
      }
    });
    const n = Math.min(asked, likeness.length);
    const least = Float64Array.from(likeness).sort()[likeness.length - n];
    const nMore = likeness.reduce((count, one) => count + (one > least ? 1 : 0), 0);
    let ties = n - nMore; // of equally near ones, the first
    const chosen = [];
    likeness.forEach((one, i) => {
      if (one > least || (one === least && ties-- > 0)) chosen.push(i);
    });
    const most = chosen.reduce((largest, i) => Math.max(largest, likeness[i]), -Infinity);
    const raw = Float64Array.from(chosen, (i) => settled(Math.exp(likeness[i] - most)));
    // The sum over the sum of squares is the number of equally weighted rows that would say as much.
    const worth = pairwise(raw) / pairwise(raw.map((weight) => weight * weight));
    return { rows: chosen.map((i) => i * MARGINAL), weights: raw.map((weight) => Math.min(weight * worth, 1)) };
  }

  // The box as a rule; missing values are spoken of only where they can occur.
  rule(box, own) {
    const { bins } = this.pool;
    const { numeric, nCodes } = this.background;
    const premises = [];
    for (const j of this.sides(box)) {
      const [first, last] = [bins.first[j], bins.last[j]];
      let premise;
      let coversAll;
      if (numeric[j]) {
        premise = this.interval(j, box.low[j] - first, box.high[j] - first);
        coversAll = premise.codes === null && premise.above === -Infinity && premise.atMost === Infinity;
      } else {
        const codes = this.order.slice(box.low[j], box.high[j] + 1);
        const known = codes.filter((code) => code !== last).map((code) => code - first).sort((a, b) => a - b);
        premise = new Premise(j, { codes: known, orMissing: codes.includes(last) });
        coversAll = known.length === nCodes[j];
      }
      if (!this.noMissing[j] || own[j] === last) premises.push(premise);
      else if (!coversAll) premises.push(new Premise(j, { ...premise, orMissing: false }));
    }
    return new ClassRule(premises, this.label);
  }

  // Premise of a number from its lowest and highest bin.
  interval(j, low, high) {
    const cuts = this.background.cuts[j];
    return new Premise(j, {
      above: low > 0 && low <= cuts.length ? cuts[low - 1] : -Infinity,
      atMost: high < cuts.length ? cuts[high] : Infinity,
      codes: low > cuts.length ? [] : null,
      orMissing: high > cuts.length,
    });
  }

  // Features that the box bounds.
  sides(box) {
    const { first, last } = this.pool.bins;
    return [...first.keys()].filter((j) => box.low[j] > first[j] || box.high[j] < last[j]);
  }
}

// The run from `low` to `high`, or the longer one that holds most rows of the class at the target.
function widest(made, real, [low, high], target) {
  const n = made.rows.length;
  const [rows, hits] = [runningSums(made.rows), runningSums(made.hits)];
  const [seen, seenHits] = [runningSums(real.rows), runningSums(real.hits)];
  let best = null;
  for (let from = 0; from <= low; from++) {
    for (let to = high; to < n; to++) {
      const [kept, keptHits] = [rows[to + 1] - rows[from], hits[to + 1] - hits[from]];
      const [real_, realHits] = [seen[to + 1] - seen[from], seenHits[to + 1] - seenHits[from]];
      // A run without rows counts as good: it may be taken in on the way to a better one.
      const isGood = keptHits + target >= target * (kept + 1) && realHits + target >= target * (real_ + 1);
      let value = isGood ? realHits / Math.max(real.nHits, 1) + keptHits / Math.max(made.nHits, 1) : -1;
      if (from === low && to === high) value = Math.max(value, 0);
      // of equal runs, the one with fewer sides, then the wider one
      value += 1e-6 * (Number(from === 0) + Number(to === n - 1)) + 1e-9 * (to - from);
      if (best === null || value > best.value) best = { value, run: [from, to] };
    }
  }
  return best.run;
}
