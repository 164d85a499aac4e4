// From the forest's probabilities to the answer: calibration, costs and prediction sets.

const STEPS = 1000; // a coverage is rounded up to a thousandth
const FIRST_STEP = STEPS / 2;

// np.interp of one number.
function interpolated(x, xs, ys) {
  const last = xs.length - 1;
  if (x !== x) return x;
  if (x > xs[last]) return ys[last];
  if (x < xs[0]) return ys[0];
  let low = 0;
  let high = xs.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= x) low = middle;
    else high = middle;
  }
  if (low === last || xs[low] === x) return ys[low];
  return ((ys[low + 1] - ys[low]) / (xs[low + 1] - xs[low])) * (x - xs[low]) + ys[low];
}

// Rows of n shares in place, scaled to sum to 1; added up from the first to the last.
function scaledRows(weights, n) {
  for (let at = 0; at < weights.length; at += n) {
    let total = weights[at];
    for (let k = 1; k < n; k++) total += weights[at + k];
    for (let k = 0; k < n; k++) weights[at + k] /= total;
  }
  return weights;
}

const rankAt = (n, thousandths) => -Math.floor(-((n + 1) * thousandths) / STEPS);

// Ranks of the scores that some coverage asks for.
function keptRanks(n) {
  const ranks = new Set();
  for (let step = FIRST_STEP; step < STEPS; step++) ranks.add(rankAt(n, step));
  return [...ranks].filter((rank) => rank <= n).sort((a, b) => a - b);
}

export class Decision {
  constructor({ calibration, costs, sets }, nClasses) {
    this.calibration = calibration ?? null;
    this.costs = costs ?? null;
    this.sets = sets ?? null;
    this.n = nClasses;
    this.saved = costs?.map((row) => row.map((cost) => Math.max(...row) - cost));
  }

  calibrated(probabilities) {
    const { calibration, n } = this;
    if (calibration === null) return probabilities;
    const { x, y } = calibration;
    const made = new Float64Array(probabilities.length);
    if (x.length === 1) {
      for (let at = 0; at < made.length; at += 2) {
        made[at + 1] = interpolated(probabilities[at + 1], x[0], y[0]);
        made[at] = 1 - made[at + 1];
      }
      return made;
    }
    for (let i = 0; i < made.length; i++) made[i] = interpolated(probabilities[i], x[i % n], y[i % n]);
    return scaledRows(made, n);
  }

  // Shares of the classes, of which the first largest is the decided one's.
  scores(probabilities) {
    const { saved, n } = this;
    if (this.costs === null) return probabilities;
    const made = new Float64Array(probabilities.length);
    for (let at = 0; at < made.length; at += n) {
      for (let k = 0; k < n; k++) {
        let sum = probabilities[at] * saved[0][k];
        for (let truth = 1; truth < n; truth++) sum += probabilities[at + truth] * saved[truth][k];
        made[at + k] = sum;
      }
    }
    return scaledRows(made, n);
  }

  // Places of the classes that a row may have; `row` has its calibrated probabilities.
  members(row, decided, coverage) {
    const least = this.least(coverage);
    return Array.from(row, (_, k) => k).filter((k) => row[k] >= least[k] || k === decided);
  }

  // The least probability with which each class is in a set.
  least(coverage) {
    if (this.known?.coverage !== coverage) {
      const step = Math.min(Math.ceil(Math.round(coverage * STEPS * 1e6) / 1e6), STEPS - 1);
      const { n_rows: counts, scores } = this.sets;
      const each = counts.map((n, of) => scores[of][keptRanks(n).indexOf(rankAt(n, step))] ?? 0);
      this.known = { coverage, each: Array.from({ length: this.n }, (_, k) => each[each.length === 1 ? 0 : k]) };
    }
    return this.known.each;
  }
}
