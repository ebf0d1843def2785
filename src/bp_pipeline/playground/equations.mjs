// One training step as equations, named and written as `bp explain` does: a formula, the formula with
// numbers in, the result. The numbers are those of `backprop.mjs`; no formula is ever evaluated.

import { Replicate } from "./backprop.mjs";

const MOST_UNITS = 9; // in a layer, for W10 to be read as "to 1, from 0"
const MOST_TERMS = 20; // of a sum; between the first and the last ones stands an ellipsis
const subscript = (number) => String(number).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);

// How activations and losses are written; z and a are a unit's, y its target.
const ACTIVATION_FORMULAS = {
  identity: { f: (a) => a, derivative: () => "1" },
  sigmoid: { f: (a) => `1/(1 + e^(−${a}))`, derivative: (z) => `${z}·(1 − ${z})` },
  tanh: { f: (a) => `tanh(${a})`, derivative: (z) => `1 − ${z}²` },
  relu: { f: (a) => `max(0, ${a})`, derivative: (z) => `1 if ${z} > 0 else 0` },
  leaky_relu: {
    f: (a, slope) => `${a} if ${a} ≥ 0 else ${slope}·${a}`,
    derivative: (z, slope) => `1 if ${z} > 0 else ${slope}`,
  },
  softplus: { f: (a) => `ln(1 + e^${a})`, derivative: (z) => `1 − e^(−${z})` },
};
const LOSS_FORMULAS = {
  logistic: { value: (a, z, y) => `ln(1 + e^${a}) − ${y}·${a}`, delta: (z, y) => `${z} − ${y}` },
  squared_error: { value: (a, z, y) => `½·(${y} − ${z})²`, delta: (z, y, slope) => `(${z} − ${y})·${slope}` },
};

// What units and weights are called: the article's X1, Z1, D0, W10, V01 as far as those go.
export class Names {
  constructor({ sizes, rows }) {
    this.last = sizes.length - 1;
    this.hasBias = rows[0] > sizes[0];
    this.short = this.last <= 2 && Math.max(...sizes) <= MOST_UNITS;
    this.sizes = sizes;
    this.rows = rows;
    this.layers = rows.map((_, l) => this.#named(l + 1)); // of weights
  }

  // The unit at this place of a layer, where the bias unit, if any, comes first.
  unit(layer, index) {
    const bias = Number(this.hasBias);
    if (layer === this.last) return `D${index - bias}`;
    const number = index + 1 - bias;
    if (layer === 0) return `X${number}`;
    return this.last <= 2 ? `Z${number}` : `Z[${layer}][${number}]`;
  }

  // The units of a layer that compute something.
  units(layer) {
    return Array.from({ length: this.sizes[layer] }, (_, i) => this.unit(layer, i + Number(this.hasBias)));
  }

  get biases() {
    return this.hasBias ? this.rows.map((_, layer) => this.unit(layer, 0)) : [];
  }

  weight(layer, row, column) {
    const source = row + 1 - Number(this.hasBias);
    const target = column + Number(layer < this.last);
    if (this.short) return `${layer === this.last ? "V" : "W"}${target}${source}`;
    return `w[${layer}][${source}, ${target}]`;
  }

  // The weights that lead to a unit of a layer, and those that leave one for the next.
  incoming(layer, o) {
    return Array.from({ length: this.rows[layer - 1] }, (_, row) => this.layers[layer - 1][row * this.sizes[layer] + o]);
  }

  outgoing(layer, o) {
    const size = this.sizes[layer + 1];
    const row = o + Number(this.hasBias);
    return this.layers[layer].slice(row * size, (row + 1) * size);
  }

  #named(layer) {
    const { rows, sizes } = this;
    return Array.from({ length: rows[layer - 1] * sizes[layer] }, (_, at) => {
      const [row, column] = [Math.floor(at / sizes[layer]), at % sizes[layer]];
      const target = this.unit(layer, column + Number(this.hasBias));
      return { name: this.weight(layer, row, column), layer, row, at, source: this.unit(layer - 1, row), target };
    });
  }

  get allWeights() {
    return this.layers.flat();
  }
}

// All equations of the update that a network takes next, as seen from one sample. Each is
// {part, about, name, sign, formula, values, value}: `about` is the unit or weight it belongs to. Where only
// one of these is asked for, its equations.
export function equationsOf(config, network, names, sample, only = null) {
  const step = takeStep(config, network, sample);
  const units = [...forward(step, names), ...losses(step, names), ...deltas(step, names)];
  if (only === null) return [...units, ...updates(step, names.allWeights)];
  const weights = names.allWeights.filter(({ name }) => name === only);
  return [...units.filter(({ about }) => about === only), ...updates(step, weights)];
}

function takeStep(config, network, sample) {
  const state = network.save();
  const stepping = new Replicate(config, state.layers.map(({ w }) => w));
  stepping.restore(state);
  const n = stepping.targets.length;
  for (let s = 0; s < (stepping.online ? sample : n); s++) {
    if (stepping.online) stepping.forward(s);
    stepping.backward(s);
    if (stepping.online) stepping.update(s, s + 1);
  }
  if (stepping.online) stepping.forward(sample);
  if (stepping.online) stepping.backward(sample);
  const before = stepping.save().layers;
  const copied = { units: stepping.units.map(({ z }) => z.slice()) };
  stepping.update(stepping.online ? sample : 0, stepping.online ? sample + 1 : n);
  return { config, network: stepping, sample, before, values: new Map(), ...copied };
}

function equation(step, part, about, name, formula, value, sign = "=") {
  const values = new Map(Array.from(formula.matchAll(/\{([^{}]*)\}/g), ([, symbol]) => [symbol, step.values.get(symbol)]));
  step.values.set(name, value);
  return { part, about, name, sign, formula, values, value };
}

const formulaOf = ({ config, network }, layer) =>
  ACTIVATION_FORMULAS[layer === network.layers.length ? config.network.output : config.activation.name];
const slopeOf = ({ config }) => spell(config.activation.slope ?? 0.01);
const product = ({ name, source }) => `{${name}}·{${source}}`;

function* forward(step, names) {
  const { network, sample, before, values, units, config } = step;
  network.layers.forEach(({ rate }, l) => values.set(rateSymbol(network, l + 1), rate));
  values.set("μ", config.optimizer.momentum);
  network.units.slice(0, -1).forEach(({ width }, layer) => {
    for (let i = 0; i < width; i++) values.set(names.unit(layer, i), units[layer][sample * width + i]);
  });
  for (const { name, layer, at } of names.allWeights) {
    values.set(name, before[layer - 1].w[at]).set(`v_${name}`, before[layer - 1].velocity[at]);
  }
  for (let layer = 1; layer <= names.last; layer++) {
    const { a, fanOut, to } = network.layers[layer - 1];
    for (const [o, unit] of names.units(layer).entries()) {
      yield equation(step, "forward", unit, `a_${unit}`, names.incoming(layer, o).map(product).join(" + "), a[sample * fanOut + o]);
      const z = units[layer][sample * to.width + to.first + o];
      yield equation(step, "forward", unit, unit, formulaOf(step, layer).f(`{a_${unit}}`, slopeOf(step)), z);
    }
  }
}

const lossName = ({ network, sample }) => (network.online ? "L" : `L${subscript(sample)}`);

function* losses(step, names) {
  const { network, sample, config } = step;
  const outputs = names.units(names.last);
  let total = 0;
  const parts = outputs.map((unit, o) => {
    const y = network.targets[sample][o];
    step.values.set(`y_${unit}`, y);
    const value = network.cost.value(step.values.get(`a_${unit}`), step.values.get(unit), y);
    total += value;
    const name = outputs.length === 1 ? lossName(step) : `${lossName(step)}(${unit})`;
    const formula = LOSS_FORMULAS[config.loss.name].value(`{a_${unit}}`, `{${unit}}`, `{y_${unit}}`);
    return equation(step, "loss", unit, name, formula, value);
  });
  yield* parts;
  if (parts.length === 1) return;
  yield equation(step, "loss", outputs[0], lossName(step), parts.map(({ name }) => `{${name}}`).join(" + "), total);
}

function* deltas(step, names) {
  const { network, sample, config } = step;
  for (let layer = names.last; layer >= 1; layer--) {
    const { delta, fanOut, activation } = network.layers[layer - 1];
    for (const [o, unit] of names.units(layer).entries()) {
      const slope = `f′(a_${unit})`;
      const formula =
        layer === names.last
          ? LOSS_FORMULAS[config.loss.name].delta(`{${unit}}`, `{y_${unit}}`, `{${slope}}`)
          : `${broughtBack(names.outgoing(layer, o))}·{${slope}}`;
      if (formula.includes(slope)) {
        const written = formulaOf(step, layer).derivative(`{${unit}}`, slopeOf(step));
        yield equation(step, "deltas", unit, slope, written, activation.derivative(step.values.get(unit)));
      }
      yield equation(step, "deltas", unit, `δ_${unit}`, formula, delta[sample * fanOut + o]);
    }
  }
}

function broughtBack(outgoing) {
  const total = outgoing.map(({ name, target }) => `{${name}}·{δ_${target}}`).join(" + ");
  return outgoing.length === 1 ? total : `(${total})`;
}

// The learning rate, or that of a layer where they differ.
function rateSymbol({ layers }, layer) {
  return layers.every(({ rate }) => rate === layers[0].rate) ? "η" : `η${subscript(layer)}`;
}

function* updates(step, weights) {
  for (const weight of weights) {
    if (weight.row < step.network.firstTrainedRow) {
      yield equation(step, "update", weight.name, weight.name, `{${weight.name}}`, newWeight(step, weight));
      continue;
    }
    yield* gradient(step, weight);
    yield* update(step, weight);
  }
}

const newWeight = ({ network }, { layer, at }) => network.layers[layer - 1].w[at];

function* gradient(step, weight) {
  const { network, sample, config } = step;
  const { name, layer, at, row, source, target } = weight;
  const { delta, fanOut, from } = network.layers[layer - 1];
  const share = (s) => from.z[s * from.width + row] * delta[s * fanOut + (at % fanOut)];
  yield equation(step, "gradient", name, `∂${lossName(step)}/∂${name}`, `{${source}}·{δ_${target}}`, share(sample));
  if (network.online) return;
  const shares = network.targets.map((_, s) => `∂L${subscript(s)}/∂${name}`);
  shares.forEach((part, s) => step.values.set(part, share(s)));
  const total = shares.map((part) => `{${part}}`).join(" + ");
  const isMean = config.loss.reduction === "mean" && shares.length > 1;
  const formula = isMean ? `(${total})·1/${shares.length}` : total;
  yield equation(step, "gradient", name, `∂L/∂${name}`, formula, network.layers[layer - 1].gradient[at]);
}

function* update(step, weight) {
  const { name, layer, at } = weight;
  const value = newWeight(step, weight);
  const against = `{${rateSymbol(step.network, layer)}}·{∂L/∂${name}}`;
  if (step.network.momentum === 0) {
    yield equation(step, "update", name, name, `{${name}} − ${against}`, value, ":=");
    return;
  }
  const velocity = `v_${name}`;
  const moved = step.network.layers[layer - 1].velocity[at];
  yield equation(step, "update", name, velocity, `{μ}·{${velocity}} − ${against}`, moved, ":=");
  yield equation(step, "update", name, name, `{${name}} + {${velocity}}`, value, ":=");
}

export const symbolsOf = ({ formula }) => formula.replace(/\{([^{}]*)\}/g, "$1");

// The formula with numbers in: all their digits, or so many significant ones.
export function numbersOf({ formula, values }, digits) {
  return formula.replace(/\{([^{}]*)\}/g, (all, symbol, start) => {
    const text = digits === undefined ? spell(values.get(symbol)) : rounded(values.get(symbol), digits);
    const before = formula.slice(0, start);
    const standsFree = (before === "" || /(\(|if )$/.test(before)) && formula[start + all.length] !== "²";
    return standsFree || !text.startsWith("-") ? text : `(${text})`;
  });
}

// Leave out the middle of a long sum.
export function shortened(equation) {
  const terms = equation.formula.split(" + ");
  if (terms.length <= MOST_TERMS) return equation;
  return { ...equation, formula: [...terms.slice(0, MOST_TERMS - 2), "…", terms.at(-1)].join(" + ") };
}

// A number in the shortest form that reads back as the same double, as Python writes it; zero as 0.
export const spell = (x) => written(x, Math.abs(x).toExponential(), 16);

// A number with so many significant digits, as Python's format `g` writes it.
export const rounded = (x, digits) => written(x, Math.abs(x).toExponential(digits - 1), digits);

function written(x, exponential, longest) {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "nan" : x < 0 ? "-inf" : "inf";
  const sign = x < 0 ? "-" : "";
  const [mantissa, exponent] = exponential.split("e").map((part) => part.replace(".", ""));
  const digits = mantissa.replace(/0+$/, "") || "0";
  const e = Number(exponent);
  if (e < -4 || e >= longest) {
    const fraction = digits.length > 1 ? `.${digits.slice(1)}` : "";
    return `${sign}${digits[0]}${fraction}e${e < 0 ? "-" : "+"}${String(Math.abs(e)).padStart(2, "0")}`;
  }
  if (e < 0) return `${sign}0.${"0".repeat(-e - 1)}${digits}`;
  const whole = digits.slice(0, e + 1).padEnd(e + 1, "0");
  return `${sign}${whole}${digits.length > e + 1 ? `.${digits.slice(e + 1)}` : ""}`;
}
