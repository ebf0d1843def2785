// Why a network does or does not learn its task, as far as its weights and activations tell.

import { rounded } from "./equations.mjs";

const SEPARABLE = new Set(["and", "or", "nand", "nor"]);

// A list of {title, text, isFine}. The first entries are what stands in the way.
export function reasonsOf(network, config) {
  if (SEPARABLE.has(config.task.name)) return [{ title: "This task is easy.", text: "A line tells its rows apart, so one unit can do it.", isFine: true }];
  const found = [linear(network, config), symmetric(network, config)].filter(Boolean);
  if (found.length > 0) return found;
  const text = "Its hidden units are not linear, and their weights differ. Whether it learns depends on the draw: look at other replicates.";
  return [{ title: "Nothing stands in the way.", text, isFine: true }];
}

function linear(network, config) {
  const { hidden, output } = config.network;
  if (hidden.length > 0 && config.activation.name !== "identity") return null;
  const units = hidden.length > 0 ? "Identity units pass on a sum of their inputs, and a sum of sums is a sum" : "Without hidden units the output is a sum of its inputs";
  const plane = `${output === "identity" ? "the output" : `what goes into the output’s ${output}`} is a plane over the inputs, whatever the weights`;
  return { title: "The network is linear.", text: `${units}: ${plane}. ${corners(network, config)}`, isFine: false };
}

// On a plane the sums over opposite corners are equal; XOR wants them to be different.
function corners(network, { task, loss, network: { output } }) {
  if (!["xor", "xnor"].includes(task.name)) return "";
  const isHalfBest = output === "identity" || loss.name === "logistic";
  const { a } = network.layers.at(-1);
  const [same, other] = [a[0] + a[3], a[1] + a[2]].map((sum) => rounded(sum, 4));
  const [low, high] = task.name === "xor" ? ["(0,1) and (1,0)", "(0,0) and (1,1)"] : ["(0,0) and (1,1)", "(0,1) and (1,0)"];
  return `On a plane, opposite corners have the same sum: what goes into D0 adds up to ${same} over (0,0) and (1,1), and to ${other} over (0,1) and (1,0). ${task.name.toUpperCase()} asks for more at ${low} than at ${high}, so no plane can do it${isHalfBest ? "; the least loss is that of ½ for all four" : ""}.`;
}

function symmetric(network, config) {
  const spread = Math.max(0, ...config.network.hidden.map((size, layer) => largestDifference(network, layer, size)));
  const many = config.network.hidden.some((size) => size > 1);
  if (!many || spread > 0) return null;
  const text =
    "They start with the same weights, so they get the same gradients, so their weights stay the same after every step: the largest difference between two of them is exactly 0. However long it trains, it is one hidden unit, written several times.";
  return { title: "The hidden units are equal.", text, isFine: false };
}

// Between the weights of two units of a hidden layer, to it and from it.
function largestDifference(network, layer, size) {
  const [incoming, outgoing] = [network.layers[layer], network.layers[layer + 1]];
  let largest = 0;
  const compare = (x, y) => (largest = Math.max(largest, Math.abs(x - y) || 0));
  for (let i = 0; i < incoming.from.width; i++) {
    for (let o = 1; o < size; o++) compare(incoming.w[i * size + o], incoming.w[i * size]);
  }
  const { first } = outgoing.from;
  for (let i = 1; i < size; i++) {
    for (let o = 0; o < outgoing.fanOut; o++) compare(outgoing.w[(first + i) * outgoing.fanOut + o], outgoing.w[first * outgoing.fanOut + o]);
  }
  return largest;
}
