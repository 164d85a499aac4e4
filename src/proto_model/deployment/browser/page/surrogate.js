// The surrogate: a small decision tree that imitates the model around one row.
import { argmax, argsort, pairwise } from "./numbers.js";

const MOST_DEPTH = 10;
const MOST_FEATURES = 10;
const LEAF_ROWS = 10;
const LEAST_GAIN = 2e-4; // of the spread at the root
const WIDTHS = [4, 8]; // numbers that are summed per row: its count, its weight, and two or six weighted targets

// Part of the targets' squares that the means of a side explain.
function explained(sums, at, width) {
  let squares = sums[at + 2] * sums[at + 2];
  for (let k = 3; k < width; k++) squares += sums[at + k] * sums[at + k];
  return squares / Math.max(sums[at + 1], 1e-12);
}

export class Surrogate {
  // Tree for rows given by positions of their values, the model's probabilities and weights.
  constructor(positions, probabilities, given, nClasses, bins, read) {
    const n = given.length;
    const m = positions.length / n;
    const labels = Array.from({ length: n }, (_, i) => argmax(probabilities, i * nClasses, nClasses));
    // Every class weighs the same, and a row 1 on average.
    const perClass = new Float64Array(nClasses);
    labels.forEach((label, i) => (perClass[label] += given[i]));
    let weights = given.map((weight, i) => weight / Math.max(perClass[labels[i]], 1e-12));
    const scale = n / pairwise(weights);
    weights = weights.map((weight) => weight * scale);
    const weighted = probabilities.map((p, i) => p * weights[Math.floor(i / nClasses)]);
    const { targets, least, width } = chosenTargets(probabilities, weighted, pairwise(weights), nClasses);
    const values = new Float64Array(n * width);
    for (let i = 0; i < n; i++) {
      values[i * width] = 1;
      values[i * width + 1] = weights[i];
      targets.forEach((target, k) => (values[i * width + 2 + k] = weighted[i * nClasses + target]));
    }
    const coarse = positions.map((position) => bins.coarse[position]);
    const features = splitFeatures(coarse, m, values, width, bins, read);
    Object.assign(this, { m, ...grown(coarse, m, values, width, features, bins, LEAST_GAIN * least) });
    const votes = Array.from(this.feature, () => new Float64Array(nClasses));
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < nClasses; k++) votes[this.leaf[i]][k] += weighted[i * nClasses + k];
    }
    this.label = votes.map((vote) => argmax(vote));
  }

  // Splits on a row's way, each as feature, threshold and whether it is above; and the class at its end.
  way(positions, at = 0) {
    const steps = [];
    let node = 0;
    while (this.feature[node] >= 0) {
      const [j, threshold] = [this.feature[node], this.threshold[node]];
      const isAbove = positions[at + j] > threshold;
      steps.push([j, threshold, isAbove]);
      node = this.left[node] + Number(isAbove);
    }
    return { steps, label: this.label[node] };
  }
}

// Probabilities sum to 1, so that one class fewer says as much; those that vary most are told apart.
function chosenTargets(probabilities, weighted, total, nClasses) {
  const squares = new Float64Array(nClasses);
  const sums = new Float64Array(nClasses);
  weighted.forEach((value, i) => {
    squares[i % nClasses] += value * probabilities[i];
    sums[i % nClasses] += value;
  });
  const spread = squares.map((square, k) => square - (sums[k] * sums[k]) / total);
  const width = WIDTHS.find((one) => nClasses - 1 <= one - 2) ?? WIDTHS.at(-1);
  const targets = argsort(spread.map((one) => -one)).slice(0, Math.max(Math.min(width - 2, nClasses - 1), 1));
  return { targets, width, least: pairwise(targets.map((target) => spread[target])) };
}

// The features that tell the targets apart best, each on its own.
function splitFeatures(coarse, m, values, width, bins, read) {
  const allowed = [...read.keys()].filter((j) => read[j]);
  if (allowed.length <= MOST_FEATURES) return allowed;
  const sums = new Float64Array(bins.coarseFeature.length * width);
  for (let i = 0; i < coarse.length; i++) {
    const from = Math.floor(i / m) * width;
    for (let k = 1; k < width; k++) sums[coarse[i] * width + k] += values[from + k];
  }
  const scores = new Float64Array(m);
  bins.coarseFeature.forEach((j, code) => (scores[j] += explained(sums, code * width, width)));
  const best = argsort(Array.from(scores, (score, j) => (read[j] ? -score : Infinity)));
  return best.slice(0, MOST_FEATURES).sort((a, b) => a - b);
}

// Feature, threshold and left child of each node, level by level, and the leaf of each row.
function grown(coarse, m, values, width, features, bins, leastGain) {
  const n = coarse.length / m;
  const first = features.map((j) => bins.coarseFeature.indexOf(j));
  const spans = features.map((j) => bins.coarseFeature.lastIndexOf(j) - bins.coarseFeature.indexOf(j) + 1);
  const span = Math.max(...spans);
  const tree = { feature: [], threshold: [], left: [], leaf: new Int32Array(n) };
  let rows = [...tree.leaf.keys()]; // those whose node may still be split
  const node = new Int32Array(n); // of each of them, in the numbering of its level
  let nNodes = 1;
  let offset = 0;
  for (let depth = 0; depth <= MOST_DEPTH; depth++) {
    const splits = depth < MOST_DEPTH ? levelSplits(rows, node, nNodes) : Array(nNodes).fill(null);
    let nSplits = 0;
    const child = splits.map((split) => (split === null ? -1 : 2 * nSplits++));
    splits.forEach((split, k) => {
      tree.feature.push(split === null ? -1 : features[split.place]);
      tree.threshold.push(split === null ? 0 : bins.coarseLast[first[split.place] + split.code]);
      tree.left.push(split === null ? -1 : offset + nNodes + child[k]);
    });
    if (!nSplits) break;
    offset += nNodes;
    nNodes = 2 * nSplits;
    rows = rows.filter((row) => splits[node[row]] !== null);
    for (const row of rows) {
      const { place, code } = splits[node[row]];
      node[row] = child[node[row]] + Number(coarse[row * m + features[place]] - first[place] > code);
      tree.leaf[row] = offset + node[row];
    }
  }
  return tree;

  // The best split of each node of a level, null where none is worth it.
  function levelSplits(some, nodeOf, count) {
    const perNode = features.length * span * width;
    const sums = new Float64Array(count * perNode);
    for (const row of some) {
      const at = nodeOf[row] * perNode;
      for (let place = 0; place < features.length; place++) {
        const to = at + (place * span + coarse[row * m + features[place]] - first[place]) * width;
        for (let k = 0; k < width; k++) sums[to + k] += values[row * width + k];
      }
    }
    return Array.from({ length: count }, (_, k) => bestSplit(sums, k * perNode));
  }

  function bestSplit(sums, at) {
    const total = new Float64Array(width);
    for (let code = 0; code < span; code++) {
      for (let k = 0; k < width; k++) total[k] += sums[at + code * width + k];
    }
    let best = -Infinity;
    let found = null;
    for (let place = 0; place < features.length; place++) {
      const left = new Float64Array(width);
      for (let code = 0; code < span; code++) {
        for (let k = 0; k < width; k++) left[k] += sums[at + (place * span + code) * width + k];
        const right = left.map((sum, k) => total[k] - sum);
        if (!(left[0] >= LEAF_ROWS && right[0] >= LEAF_ROWS)) continue;
        const gain = explained(left, 0, width) + explained(right, 0, width);
        if (gain > best) [best, found] = [gain, { place, code }]; // of equal splits, the first stays
      }
    }
    return best - explained(total, 0, width) > leastGain ? found : null;
  }
}
