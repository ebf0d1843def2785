// What the rows of a task ask for: whether a plane tells them apart, or what shows that none does.

import { architectureOf } from "./backprop.mjs";

const MOST_ROWS = 128; // that are looked at for pairs; what some rows rule out is ruled out
const MOST_PASSES = 1000; // of the perceptron, which ends by itself where there is a plane
const tables = new WeakMap();

// {inputs, pairs, isSeparable} of a config's task. `pairs` are two rows {high} and two rows {low} with the same
// middle, whose targets of one output are farther apart than two tolerances; where there are such, no
// function that rises with a sum of the inputs is within the tolerance at all four. `isSeparable` only
// where a plane was found.
export function tableOf(config) {
  if (!tables.has(config)) {
    const { inputs, targets } = architectureOf(config);
    const outputs = targets[0].map((_, o) => targets.map((row) => row[o]));
    const pairs = outputs.map((column, output) => pairsOf(inputs, column, config.training.tolerance, output)).find(Boolean) ?? null;
    const isSeparable = !pairs && outputs.every((column) => isSplit(inputs, column, config.network.bias));
    tables.set(config, { inputs, pairs, isSeparable });
  }
  return tables.get(config);
}

function pairsOf(inputs, column, tolerance, output) {
  const seen = new Map(); // pairs of rows by the sum of their inputs
  const n = Math.min(inputs.length, MOST_ROWS);
  for (let p = 0; p < n; p++) {
    for (let q = p + 1; q < n; q++) {
      const sum = inputs[p].map((x, i) => x + inputs[q][i]);
      if (!sum.every((s, i) => s - inputs[p][i] === inputs[q][i] && s - inputs[q][i] === inputs[p][i])) continue; // rounded
      const key = sum.join();
      const others = seen.get(key) ?? [];
      for (const other of others) {
        const [low, high] = [[p, q], other].sort((x, y) => column[x[0]] - column[y[0]]);
        const gap = Math.min(...high.map((s) => column[s])) - Math.max(...low.map((s) => column[s]));
        if (gap > 0 && gap >= 2 * tolerance) return { high, low, output };
      }
      seen.set(key, [...others, [p, q]]);
    }
  }
  return null;
}

// The perceptron's rule, on targets of 0 and 1.
function isSplit(inputs, column, hasBias) {
  if (!column.every((y) => y === 0 || y === 1)) return false;
  const rows = inputs.map((row) => [Number(hasBias), ...row]);
  const weights = rows[0].map(() => 0);
  for (let pass = 0; pass < MOST_PASSES; pass++) {
    const wrong = rows.filter((row, s) => {
      const sign = column[s] === 1 ? 1 : -1;
      if (sign * row.reduce((sum, x, i) => sum + weights[i] * x, 0) > 0) return false;
      row.forEach((x, i) => (weights[i] += sign * x));
      return true;
    });
    if (wrong.length === 0) return true;
  }
  return false;
}

// The largest difference between the weights of two units of a hidden layer, to them and from them.
export function spread({ layers }, hidden) {
  let largest = 0;
  const compare = (x, y) => (largest = Math.max(largest, Math.abs(x - y)));
  hidden.forEach((size, layer) => {
    const [incoming, outgoing] = [layers[layer], layers[layer + 1]];
    const { first } = outgoing.from;
    for (let at = 0; at < incoming.w.length; at++) compare(incoming.w[at], incoming.w[at - (at % size)]);
    for (let i = 1; i < size; i++) {
      for (let o = 0; o < outgoing.fanOut; o++) compare(outgoing.w[(first + i) * outgoing.fanOut + o], outgoing.w[first * outgoing.fanOut + o]);
    }
  });
  return largest;
}
