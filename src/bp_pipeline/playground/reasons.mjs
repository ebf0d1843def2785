// Why a network does or does not learn its task, as far as this page can show it.
//
// Owns what is claimed. A reason that something is in the way follows from the rows of the task and the form
// of the network; where there is none, it is said what was seen, and nothing is promised.

import { rounded } from "./equations.mjs";
import { spread, tableOf } from "./tables.mjs";

// A list of {name, title, text, kind}; the kinds are wrong, fine and neutral. `seen` is how it came out:
// {outcome, counts}, of this replicate and of all, each null where it is not known yet.
export function reasonsOf(network, config, seen) {
  if (seen.outcome === "diverged" || !network.finite) return [diverged(network, config)];
  const table = tableOf(config);
  const found = table.isSeparable ? [] : [linear(network, config, table), alike(network, config, table)].filter(Boolean);
  if (found.length === 0) found.push(nothing(table, network, seen));
  return [...found, regression(config)].filter(Boolean);
}

function diverged({ finite, epoch, epochsToConverge }, { optimizer }) {
  const what = finite ? "After the last epoch its loss was more than 100 times that of epoch 0" : `At epoch ${epoch} a weight or the loss was no longer a finite number, and training ended`;
  const text = `${what}. Steps that are too large do this: try a learning rate below ${rounded(optimizer.learning_rate, 3)}.`;
  return { name: "diverged", title: epochsToConverge < 0 ? "It diverged." : "It overflowed after it had converged.", text, kind: "wrong" };
}

function linear(network, config, table) {
  const { hidden, output } = config.network;
  if (hidden.length > 0 && config.activation.name !== "identity") return null;
  const units = hidden.length > 0 ? "Identity units pass on a sum of their inputs, and a sum of sums is a sum" : "Without hidden units the output is a sum of its inputs";
  const plane = `${output === "identity" ? "the output" : `the sum that the output’s ${output} is applied to`} is a plane over the inputs, whatever the weights`;
  const text = `${units}: ${plane}. ${table.pairs ? onPlane(network, config, table) : "It learns only what a plane fits."}`;
  return { name: "linear", title: "The network is linear.", text, kind: table.pairs ? "wrong" : "neutral" };
}

function onPlane({ layers }, config, { inputs, pairs: { high, low, output } }) {
  const { a, fanOut } = layers.at(-1);
  const sum = (rows) => rows.map((s) => rounded(a[s * fanOut + output], 3)).join(" + ").replace("+ -", "− ");
  const [up, down] = [named(inputs, high), named(inputs, low)];
  const half = answersHalf(config) ? " The best that it can do is to answer ½ to every row." : "";
  return `The points ${up} have the same middle as ${down}, so a plane adds up to the same over both pairs; now ${sum(high)} and ${sum(low)}. The task asks for more at ${up} than at ${down}, so no plane can do it.${half}`;
}

// By symmetry, and since the loss is convex in the weights.
const answersHalf = ({ task, loss, network: { output } }) => ["xor", "xnor", "parity"].includes(task.name) && (output === "identity" || loss.name === "logistic");

const named = (inputs, rows) => rows.map((s) => `(${inputs[s].map((x) => rounded(x, 3)).join(",")})`).join(" and ");

// Hidden layers that are no more than one unit each.
function alike(network, { network: { hidden }, activation }, table) {
  if (hidden.length === 0 || spread(network, hidden) > 0) return null;
  const why = table.pairs ? oneDirection(table) : "";
  if (hidden.every((size) => size === 1)) {
    const isSaid = !table.pairs || activation.name === "identity"; // that it is linear
    return isSaid ? null : { name: "one-unit", title: "One hidden unit is not enough.", text: why, kind: "wrong" };
  }
  const one = hidden.length === 1 ? "one hidden unit" : "one hidden unit a layer";
  const text = `They start with the same weights, so they get the same gradients, so they stay the same after every step: the largest difference between the weights of two of them is exactly 0. However long it trains, it is ${one}, written several times${why && ", and one is not enough"}. ${why}`;
  return { name: "equal", title: "The hidden units are equal.", text, kind: table.pairs ? "wrong" : "neutral" };
}

function oneDirection({ inputs, pairs: { high, low } }) {
  const [up, down] = [named(inputs, high), named(inputs, low)];
  return `One unit looks along one direction of the inputs, and its answer along it only rises or only falls. Along whichever direction, ${up} have the same middle as ${down}, so an answer that is high at both of the former and low at both of the latter would have to do both.`;
}

function nothing({ isSeparable, pairs }, network, seen) {
  const kind = seen.outcome === "converged" ? "fine" : "neutral";
  const text = inWords(network, seen);
  if (isSeparable) return { name: "separable", title: "The task is easy.", text: `A line or plane tells its rows apart, so one unit with a sigmoid is enough. That is no promise. ${text}`, kind };
  const needed = pairs ? "That is needed, and is no promise." : "That is no promise.";
  return { name: "unknown", title: "Nothing that this page can check rules it out.", text: `Its hidden units are not linear, and they differ. ${needed} ${text}`, kind };
}

function inWords({ epochsToConverge }, { outcome, counts }) {
  const ours = { converged: `converged at epoch ${epochsToConverge}`, stalled: "stalled" }[outcome] ?? "has not converged so far";
  if (!counts) return `This replicate ${ours}; all of them are not trained yet.`;
  const { converged, stalled, diverged } = counts;
  return `This replicate ${ours}; of all ${converged + stalled + diverged}, ${converged} converged, ${stalled} stalled and ${diverged} diverged.`;
}

// The numbers are those of the study `article`, "Which correction decides".
function regression({ task, loss, network: { output } }) {
  if (loss.name !== "squared_error" || output !== "identity") return null;
  const article = task.name === "xor" ? " The article calls its cost that of logistic regression, which needs answers between 0 and 1, so correction 1 sets two things: logistic loss and sigmoid output. XOR is learned without it: with corrections 2 and 3 alone, 99 of the article’s 100 replicates converge, with all three 92." : "";
  return { name: "regression", title: "The answers are no probabilities.", text: `Squared error with an identity output is regression: answers may be below 0 and above 1.${article}`, kind: "neutral" };
}
