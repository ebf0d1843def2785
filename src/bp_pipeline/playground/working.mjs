// One unit or weight, step by step: its equations as elements.

import { made } from "./elements.mjs";
import { equationsOf, numbersOf, shortened, spell, symbolsOf } from "./equations.mjs";

const DIGITS = 6; // of numbers put into a formula
// What is done in each part of a step.
const PARTS = {
  forward: () => ["Forward pass", "add up the inputs times their weights, then apply f"],
  loss: (unit) => ["Loss", `what this sample costs${unit}`],
  deltas: () => ["Delta", "∂loss/∂a, brought back from the output"],
  gradient: () => ["Gradient", "the activation at the start of the link times the delta at its end"],
  update: () => ["Update", "a step against the gradient"],
};

// The elements for what is asked about, at a sample.
export function workingOf(config, network, names, sample, about) {
  const given = givenValue(network, names, sample, about);
  if (given) return [made("p", given)];
  const unit = config.loss.name === "logistic" ? ", in nats" : "";
  const found = equationsOf(config, network, names, sample, about);
  return found.flatMap((each, i) => (each.part === found[i - 1]?.part ? [] : [partHead(...PARTS[each.part](unit))]).concat(equationRow(each)));
}

// Units that compute nothing: inputs and bias units.
function givenValue(network, names, sample, about) {
  if (names.biases.includes(about)) return `${about} is a bias unit: its value is 1, for every sample.`;
  const input = names.units(0).indexOf(about);
  if (input < 0) return null;
  const { z, width, first } = network.units[0];
  return `${about} is input ${input + 1}: its value is ${spell(z[sample * width + first + input])} in sample ${sample}.`;
}

function partHead(title, note) {
  const head = made("h3", title);
  head.append(made("span", ` ${note}`, { className: "note" }));
  return head;
}

function equationRow(equation) {
  const short = shortened(equation);
  const [symbols, numbers, result] = [symbolsOf(short), numbersOf(short, DIGITS), spell(equation.value)];
  const row = made("div", "", { className: "equation" });
  const parts = made("div", "", { className: "parts" });
  const add = (className, text) => parts.append(made("span", text, { className }), " ");
  if (!(symbols === numbers && numbers === result)) add("symbols", `${equation.sign} ${symbols}`);
  if (numbers !== symbols && numbers !== result) add("numbers", `= ${numbers}`);
  add("result", `= ${result}`);
  row.append(made("span", equation.name), parts);
  return row;
}

// Which update the equations are of, and which weights they begin with.
export function whichUpdate({ epoch, online, targets }, isAtEnd, sample) {
  const when = isAtEnd ? `if there were an epoch ${epoch + 1}` : `in epoch ${epoch + 1}`;
  if (!online) return `Sample ${sample}, ${when}: one update for all ${targets.length} samples.`;
  if (sample === 0) return `Sample 0, ${when}: the first of its ${targets.length} updates.`;
  const before = sample === 1 ? "sample 0 has" : `samples 0 to ${sample - 1} have`;
  return `Sample ${sample}, ${when}, after ${before} updated the weights. The network and the outputs above are those from before these updates, so their numbers differ from the ones here.`;
}
