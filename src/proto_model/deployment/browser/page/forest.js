// The forest: probabilities of coded rows, to the last bit those of the server's engine.
import { expanded } from "./expansion.js";

const BLOCK = 128; // rows that go through a tree together, so that it is read once

export class Forest {
  constructor({ head, arrays }) {
    Object.assign(this, {
      nTrees: head.n_trees, nInputs: head.n_inputs, nClasses: head.schema.classes.length,
      columns: arrays.columns, start: arrays.tree_start, threshold: arrays.threshold,
      leaves: arrays.leaves, labels: arrays.labels, expansion: expanded(head, arrays),
    });
    // Slot and left child of a node beside each other: one place in memory to wait for.
    this.links = new Int32Array(2 * arrays.slot.length);
    for (let node = 0; node < arrays.slot.length; node++) {
      this.links[2 * node] = arrays.slot[node];
      this.links[2 * node + 1] = arrays.left[node];
    }
    this.nUsed = this.columns.length;
    this.slots = new Float32Array(BLOCK * 2 * this.nUsed);
  }

  // Probability of each class, row by row, of n coded rows.
  predict(X, n) {
    const inputs = this.expansion === null ? X : this.expansion(X, n);
    const sums = new Float64Array(n * this.nClasses);
    for (let first = 0; first < n; first += BLOCK) {
      const count = Math.min(BLOCK, n - first);
      this.fill(inputs, first, count);
      const { start, nTrees } = this;
      for (let tree = 0; tree < nTrees; tree++) this.addTree(start[tree], first, count, sums);
    }
    for (let i = 0; i < sums.length; i++) sums[i] /= this.nTrees;
    return sums;
  }

  // Inputs as float32; a second time with minus infinity for what is missing, which then goes left.
  fill(inputs, first, count) {
    const { columns, nUsed, nInputs, slots } = this;
    for (let i = 0; i < count; i++) {
      const row = (first + i) * nInputs;
      const to = i * 2 * nUsed;
      for (let j = 0; j < nUsed; j++) {
        const value = Math.fround(inputs[row + columns[j]]);
        slots[to + j] = value;
        slots[to + nUsed + j] = value === value ? value : -Infinity;
      }
    }
  }

  addTree(root, first, count, sums) {
    const { links, threshold, slots, nUsed, nClasses, leaves, labels } = this;
    const width = 2 * nUsed;
    for (let i = 0; i < count; i++) {
      const row = i * width;
      let node = root;
      let slot = links[2 * node];
      while (slot >= 0) {
        node = links[2 * node + 1] + (slots[row + slot] <= threshold[node] ? 0 : 1);
        slot = links[2 * node];
      }
      let leaf = links[2 * node + 1];
      const to = (first + i) * nClasses;
      if (labels === undefined) {
        leaf *= nClasses;
        for (let k = 0; k < nClasses; k++) sums[to + k] += leaves[leaf + k];
      } else {
        // A run of entries; the last one's label is minus one and less.
        for (; labels[leaf] >= 0; leaf++) sums[to + labels[leaf]] += leaves[leaf];
        sums[to - 1 - labels[leaf]] += leaves[leaf];
      }
    }
  }
}
