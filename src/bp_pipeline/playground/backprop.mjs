// Back-propagation, bit for bit as docs/arithmetic.md defines it; the numbers of its sections stand here.
//
// Owns the arithmetic: from a config (a run's config.yaml as parsed JSON) to the arrays of its result
// and their digest. It uses IEEE doubles, 32-bit integers, and BigInt for the 128-bit generator, and no
// function whose bits the language leaves open. What a config may hold is checked where it is composed.

// 1. Numbers: the bits of a double, as two 32-bit halves in the order of this machine.

const double = new Float64Array(1);
const halves = new Int32Array(double.buffer);
double[0] = 1;
const [LOW, HIGH] = halves[1] === 0x3ff00000 ? [0, 1] : [1, 0];
const copysign = (y, x) => Math.sign(x) * Math.abs(y); // y is finite wherever x is 0

// 2. Elementary functions

const ROUNDER = 1.5 * 2 ** 52;
const TWO_OVER_LN2 = 2.8853900817779268;
const HALF_LN2_HIGH = 0.3465735902798315;
const HALF_LN2_LOW = 1.4117645281515789e-13;
const COTH = Float64Array.of(
  2.121579360295946e-05, -0.00021163595318832105, 0.0021164020706737627, -0.02222222222205029, 0.3333333333333332,
);
const ARTANH = Float64Array.of(
  7.707617574664846e-08, 1.6786076519288395e-07, 9.156091926262446e-07, 4.063154360856609e-06,
  1.8781213458201444e-05, 8.877826873111747e-05, 0.00043402778744976297, 0.0022321428568053718,
  0.012500000000004558, 0.08333333333333333,
);

function poly(x, coefficients) {
  const last = coefficients.length - 1;
  let v = x * coefficients[0];
  for (let i = 1; i < last; i++) v = (v + coefficients[i]) * x;
  return v + coefficients[last];
}

const reduced = new Float64Array(3); // n, q and τ, which `reduce` returns

function reduce(h, bias) {
  const rounder = ROUNDER + bias;
  const n = h * -TWO_OVER_LN2 + rounder;
  const k = n - rounder;
  const q = k * HALF_LN2_HIGH + h + k * HALF_LN2_LOW;
  const square = q * q;
  reduced[0] = n;
  reduced[1] = q;
  reduced[2] = square * poly(square, COTH);
}

function power(n) {
  double[0] = n;
  halves[HIGH] = halves[LOW] << 20;
  halves[LOW] = 0;
  return double[0];
}

// The double whose exponent field is the upper 11 of the lower 12 bits of b: double((b << 51) & 0x7FF0…).
function halfPower(b) {
  halves[HIGH] = (b << 19) & 0x7ff00000;
  halves[LOW] = 0;
  return double[0];
}

export function exp(x) {
  reduce(-0.5 * Math.min(Math.max(x, -750), 710), 2046);
  const q = reduced[1];
  const t = reduced[2] + 1;
  double[0] = reduced[0];
  const b = halves[LOW];
  return ((t - q) / (t + q)) * halfPower(b) * halfPower(b + 1);
}

export function expm1(x) {
  reduce(-0.5 * Math.min(Math.max(x, -40), 710), 1022);
  const q = reduced[1];
  const p = power(reduced[0]);
  let c = reduced[2] + q;
  c = (c / (1 + c)) * q;
  const y = (0.5 * p - 0.25 - p * q + p * c) * 4;
  return Math.abs(x) < 2 ** -54 ? x : y;
}

export function tanh(x) {
  reduce(Math.min(Math.abs(x), 20), 1023);
  const r = reduced[1] / (1 + reduced[2]);
  const p = power(reduced[0]);
  const m = 1 - p;
  const y = ((p + 1) * r + m) / (m * r + (p + 1));
  return copysign(y, x);
}

export function sigmoid(x) {
  reduce(0.5 * Math.min(Math.max(x, -750), 40), 959);
  const q = reduced[1];
  const t = reduced[2] + 1;
  const numerator = (t + q) * 2 ** -64;
  return numerator / (power(reduced[0]) * (t - q) + numerator);
}

export function softplus(x) {
  reduce(0.5 * Math.min(Math.abs(x), 750), 1087);
  const q = reduced[1];
  const t = reduced[2] + 1;
  let y = power(reduced[0]) * (t - q);
  y = y / ((t + q) * 2 ** 64 + 0.5 * y);
  const square = y * y;
  return y + square * poly(square, ARTANH) * y + Math.max(x, 0);
}

export function log(x) {
  if (!(x > 0)) return x === 0 ? -Infinity : NaN;
  if (x === Infinity) return x;
  return x < 2 ** -1022 ? ln(2 ** 54 * x, -37.42994775023705) : ln(x, 0);
}

function ln(u, e) {
  double[0] = u;
  const borrow = halves[LOW] >>> 0 < 0x667f3bcd ? 1 : 0;
  const k = (halves[HIGH] - 0x3fe6a09e - borrow) >> 20; // j of the specification, as a double its k
  halves[HIGH] -= k << 20;
  const f = double[0] - 1;
  const v = f / (1 + 0.5 * f);
  const w = v * v;
  const s = 0.5 * f * f;
  const r = v * (0.5 * s + w * poly(w, ARTANH)) + (k * (2 * HALF_LN2_LOW) + e);
  return k * (2 * HALF_LN2_HIGH) - (s - r - f);
}

// 3. Random words

const words32 = (number) => {
  const words = [];
  for (let rest = BigInt(number); rest > 0n || words.length === 0; rest >>= 32n) words.push(Number(rest & 0xffffffffn));
  return words;
};
const folded = (v) => (v ^ (v >>> 16)) >>> 0;

function seedState(seed, layerSizes) {
  const entropy = words32(seed);
  while (entropy.length < 4) entropy.push(0);
  entropy.push(...layerSizes.flatMap(words32));
  let h = 0x43b0d7e5;
  const hash = (v) => {
    const mixed = v ^ h;
    h = Math.imul(h, 0x931e8875);
    return folded(Math.imul(mixed, h));
  };
  const mix = (x, y) => folded(Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y));
  const pool = entropy.slice(0, 4).map(hash);
  for (let s = 0; s < 4; s++) for (let d = 0; d < 4; d++) if (d !== s) pool[d] = mix(pool[d], hash(pool[s]));
  for (const word of entropy.slice(4)) for (let d = 0; d < 4; d++) pool[d] = mix(pool[d], hash(word));
  let g = 0x8b51f9dd;
  const state = Array.from({ length: 8 }, (_, i) => {
    const v = pool[i % 4] ^ g;
    g = Math.imul(g, 0x58f38ded);
    return BigInt(folded(Math.imul(v, g)));
  });
  return [0, 2, 4, 6].map((i) => state[i] | (state[i + 1] << 32n));
}

const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;
const modulo64 = (x) => BigInt.asUintN(64, x);
const modulo128 = (x) => BigInt.asUintN(128, x);

// The stream of 64-bit words that belongs to a seed and to layer sizes.
export function* randomWords(seed, layerSizes) {
  const [a, b, c, d] = seedState(seed, layerSizes);
  const increment = modulo128(2n * ((c << 64n) | d) + 1n);
  const step = (s) => modulo128(s * MULTIPLIER + increment);
  let state = step(modulo128(increment + ((a << 64n) | b)));
  for (;;) {
    state = step(state);
    const x = (state >> 64n) ^ modulo64(state);
    const rotation = state >> 122n;
    yield modulo64((x >> rotation) | (x << (64n - rotation)));
  }
}

// 4. Networks and their weights

const BOOLEAN = {
  xor: [0, 1, 1, 0], and: [0, 0, 0, 1], or: [0, 1, 1, 1],
  nand: [1, 1, 1, 0], nor: [1, 0, 0, 0], xnor: [1, 0, 0, 1],
};
const binary = (number, bits) => Array.from({ length: bits }, (_, i) => (number >> (bits - 1 - i)) & 1);

// The rows of a task: inputs and targets.
export function truthTable(task) {
  if (task.name === "table") return task;
  const bits = task.name === "parity" ? task.bits : 2;
  const inputs = Array.from({ length: 2 ** bits }, (_, row) => binary(row, bits));
  const odd = (row) => row.reduce((sum, bit) => sum ^ bit, 0);
  const values = task.name === "parity" ? inputs.map(odd) : BOOLEAN[task.name];
  return { inputs, targets: values.map((value) => [value]) };
}

// What a config says of its networks: rows of the task, units and rows of weights of each layer.
export function architectureOf(config) {
  const { inputs, targets } = truthTable(config.task);
  const sizes = [inputs[0].length, ...config.network.hidden, targets[0].length];
  const rows = sizes.slice(0, -1).map((size) => size + Number(config.network.bias));
  return { inputs, targets, sizes, rows };
}

// 5. Initial weights

const CENTRAL = [
  [3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946,
    45921.95393154987, 67265.7709270087, 33430.57558358813, 2509.0809287301227],
  [1.0, 42.31333070160091, 687.1870074920579, 5394.196021424751,
    21213.794301586597, 39307.89580009271, 28729.085735721943, 5226.495278852854],
];
const MIDDLE = [
  [1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045,
    1.2704582524523684, 0.2417807251774506, 0.022723844989269184, 0.0007745450142783414],
  [1.0, 2.053191626637759, 1.6763848301838038, 0.6897673349851,
    0.14810397642748008, 0.015198666563616457, 0.0005475938084995345, 1.0507500716444169e-09],
];
const FAR = [
  [6.657904643501103, 5.463784911164114, 1.7848265399172913, 0.29656057182850487,
    0.026532189526576124, 0.0012426609473880784, 2.7115555687434876e-05, 2.0103343992922881e-07],
  [1.0, 0.599832206555888, 0.1369298809227358, 0.014875361290850615,
    0.0007868691311456133, 1.8463183175100548e-05, 1.421511758316446e-07, 2.0442631033899397e-15],
];
const horner = (r, coefficients) => coefficients.reduceRight((v, a) => v * r + a);
const ratio = (r, [numerator, denominator]) => horner(r, numerator) / horner(r, denominator);

// Inverse of the standard normal distribution function at ½ + c.
export function normalQuantile(c) {
  if (Math.abs(c) <= 0.425) return c * ratio(0.180625 - c * c, CENTRAL);
  const t = Math.sqrt(-log(0.5 - Math.abs(c)));
  return copysign(t <= 5 ? ratio(t - 1.6, MIDDLE) : ratio(t - 5, FAR), c);
}

const uniform = (word) => Number(2n * (word >> 11n) + 1n - 2n ** 53n) * 2 ** -53;

const INITIALIZERS = {
  constant: ({ value, noise = 0 }) => (u) => value + noise * u,
  uniform: ({ bound }) => (u) => bound * u,
  normal: ({ std }) => (u) => std * normalQuantile(0.5 * u),
  variance_scaling({ variance_factor: factor, fan, distribution }, fanIn, fanOut) {
    const variance = factor / { in: fanIn, out: fanOut, average: (fanIn + fanOut) / 2 }[fan];
    return DISTRIBUTIONS[distribution](variance);
  },
};
const DISTRIBUTIONS = {
  uniform(variance) {
    const bound = Math.sqrt(3 * variance);
    return (u) => bound * u;
  },
  normal(variance) {
    const std = Math.sqrt(variance);
    return (u) => std * normalQuantile(0.5 * u);
  },
  truncated_normal(variance) {
    const std = Math.sqrt(variance) / 0.87962566103423978;
    return (u) => std * normalQuantile(0.5 * 0.9544997361036416 * u);
  },
};

// The initial weights of one replicate after the other, layer by layer. With `init: given` they stand in
// the config as `weights: {layer_1: [replicate][row][unit], …}`.
export function* initialWeights(config) {
  const { init, network } = config;
  const { sizes, rows } = architectureOf(config);
  const words = randomWords(config.seed, sizes);
  const drawn = (n, l) => {
    const weight = INITIALIZERS[init.name](init, sizes[l], sizes[l + 1]);
    const layer = Float64Array.from({ length: n * sizes[l + 1] }, () => weight(uniform(words.next().value)));
    return network.bias && init.bias === "zero" ? layer.fill(0, 0, sizes[l + 1]) : layer;
  };
  const given = (replicate) => (_, l) => Float64Array.from(init.weights[`layer_${l + 1}`][replicate].flat());
  for (let k = 0; ; k++) {
    const layers = rows.map(init.name === "given" ? given(k) : drawn);
    const scale = init.scale ?? 1;
    yield layers.map((layer) => layer.map((w) => w * scale));
  }
}

// 6. One pass

const ACTIVATIONS = {
  identity: () => ({ f: (a) => a, derivative: () => 1 }),
  sigmoid: () => ({ f: sigmoid, derivative: (z) => z * (1 - z) }),
  tanh: () => ({ f: tanh, derivative: (z) => 1 - z * z }),
  relu: () => ({ f: (a) => (a < 0 ? 0 : a), derivative: (z) => (z > 0 ? 1 : 0) }),
  leaky_relu: (slope) => ({ f: (a) => (a < 0 ? slope * a : a), derivative: (z) => (z > 0 ? 1 : slope) }),
  softplus: () => ({ f: softplus, derivative: (z) => -expm1(-z) }),
};
const LOSSES = {
  logistic: { value: (a, z, y) => softplus(a) - y * a, delta: (z, y) => z - y },
  squared_error: { value: (a, z, y) => 0.5 * (y - z) * (y - z), delta: (z, y, slope) => (z - y) * slope },
};

// One network in training, as it is after `epoch` passes and the forward pass that follows them.
// `units[l]` holds the activations z of layer l, sample after sample; the first of its `width` is the bias
// unit's, where there is one. `layers[l]` leads to layer l + 1 and holds a weight w as w[row * fanOut + o].
export class Replicate {
  constructor(config, weights) {
    const { inputs, targets, sizes, rows } = architectureOf(config);
    const n = inputs.length;
    const { optimizer, network, activation, loss } = config;
    this.targets = targets;
    this.cost = LOSSES[loss.name];
    this.tolerance = config.training.tolerance;
    this.stops = config.training.stop_when_converged;
    this.online = optimizer.name === "online_gd";
    this.momentum = optimizer.momentum;
    this.gradientScale = !this.online && loss.reduction === "mean" ? 1 / n : 1;
    this.firstTrainedRow = network.bias && !network.train_bias ? 1 : 0;
    this.units = [...rows, sizes.at(-1)].map((width, l) => ({
      width,
      first: width - sizes[l],
      z: new Float64Array(n * width).fill(1),
    }));
    inputs.forEach((row, s) => this.units[0].z.set(row, s * rows[0] + this.units[0].first));
    this.layers = weights.map((w, l) => ({
      fanOut: sizes[l + 1],
      from: this.units[l],
      to: this.units[l + 1],
      activation: ACTIVATIONS[l < network.hidden.length ? activation.name : network.output](activation.slope ?? 0.01),
      rate: optimizer.learning_rate * (optimizer.layer_factors?.[l] ?? 1),
      w: w.slice(),
      velocity: new Float64Array(w.length),
      gradient: new Float64Array(w.length),
      a: new Float64Array(n * sizes[l + 1]),
      delta: new Float64Array(n * sizes[l + 1]),
    }));
    this.epoch = 0;
    this.epochsToConverge = -1;
    this.frozen = false;
    this.observe();
    this.initialLoss = this.meanLoss;
  }

  // Pass sample s forward.
  forward(s) {
    for (const { fanOut, from, to, activation, w, a } of this.layers) {
      const first = s * from.width;
      for (let o = 0; o < fanOut; o++) {
        let sum = w[o] * from.z[first];
        for (let i = 1; i < from.width; i++) sum += w[i * fanOut + o] * from.z[first + i];
        a[s * fanOut + o] = sum;
        to.z[s * to.width + to.first + o] = activation.f(sum);
      }
    }
  }

  // Compute the deltas of sample s, from the last layer to the first.
  backward(s) {
    const targets = this.targets[s];
    for (let l = this.layers.length - 1, next = null; l >= 0; next = this.layers[l--]) {
      const { fanOut, to, activation, delta } = this.layers[l];
      for (let o = 0; o < fanOut; o++) {
        const z = to.z[s * to.width + to.first + o];
        const slope = activation.derivative(z);
        delta[s * fanOut + o] = next ? brought(next, s, to.first + o) * slope : this.cost.delta(z, targets[o], slope);
      }
    }
  }

  // Update every weight by the gradient of samples `start` to `end`, without the latter.
  update(start, end) {
    for (const { fanOut, from, rate, w, velocity, gradient, delta } of this.layers) {
      for (let i = 0; i < from.width; i++) {
        for (let o = 0; o < fanOut; o++) {
          let g = from.z[start * from.width + i] * delta[start * fanOut + o];
          for (let s = start + 1; s < end; s++) g += from.z[s * from.width + i] * delta[s * fanOut + o];
          const at = i * fanOut + o;
          gradient[at] = i < this.firstTrainedRow ? 0 : g * this.gradientScale;
          velocity[at] = this.momentum * velocity[at] - rate * gradient[at];
          w[at] += velocity[at];
        }
      }
    }
  }

  // 7. Training: one epoch further, unless frozen.
  advance() {
    const n = this.targets.length;
    for (let s = 0; s < n; s++) {
      if (this.online) this.forward(s);
      this.backward(s);
      if (this.online) this.update(s, s + 1);
    }
    if (!this.online) this.update(0, n);
    this.epoch += 1;
    this.observe();
  }

  // Pass all samples forward, and note what is true of the network at this epoch.
  observe() {
    const { a, to, fanOut } = this.layers.at(-1);
    let sum = 0;
    this.isWithin = true;
    for (let s = 0; s < this.targets.length; s++) {
      this.forward(s);
      for (let o = 0, at = s * fanOut; o < fanOut; o++, at++) {
        const y = this.targets[s][o];
        sum += this.cost.value(a[at], to.z[at], y);
        if (!(Math.abs(to.z[at] - y) < this.tolerance)) this.isWithin = false;
      }
    }
    this.meanLoss = sum / this.targets.length;
    this.finite = isFinite(this.meanLoss) && this.layers.every(({ w }) => w.every(isFinite));
    if (!this.finite) this.frozen = true;
    else if (this.isWithin && this.epochsToConverge < 0) {
      this.epochsToConverge = this.epoch;
      this.frozen = this.stops;
    }
  }

  // What all later epochs follow from.
  save() {
    const { epoch, epochsToConverge, frozen } = this;
    const layers = this.layers.map(({ w, velocity }) => ({ w: w.slice(), velocity: velocity.slice() }));
    return { epoch, epochsToConverge, frozen, layers };
  }

  restore({ epoch, epochsToConverge, frozen, layers }) {
    Object.assign(this, { epoch, epochsToConverge, frozen });
    layers.forEach(({ w, velocity }, l) => {
      this.layers[l].w.set(w);
      this.layers[l].velocity.set(velocity);
    });
    this.observe();
  }

  get finalLoss() {
    return this.finite ? this.meanLoss : Infinity;
  }

  get solved() {
    return this.finite && this.isWithin;
  }

  get outcome() {
    if (this.epochsToConverge >= 0) return "converged";
    return this.finalLoss > 100 * this.initialLoss || !this.finite ? "diverged" : "stalled";
  }
}

// Σ w·delta over the links that leave a unit, which is the given row of the next layer's weights.
function brought({ fanOut, w, delta }, s, row) {
  let sum = w[row * fanOut] * delta[s * fanOut];
  for (let o = 1; o < fanOut; o++) sum += w[row * fanOut + o] * delta[s * fanOut + o];
  return sum;
}

// The recorded epochs, at most `record` of 0 … `epochs`.
export function recordedEpochs(epochs, record) {
  const n = BigInt(epochs);
  const grow = (g) => {
    const grown = [0n];
    while (grown.at(-1) < n && grown.length <= record) {
      const next = grown.at(-1) + 1n;
      const far = (next * (1024n + g)) / 1024n;
      const reached = (far > next ? far : next + 1n) - 1n;
      grown.push(reached < n ? reached : n);
    }
    return grown;
  };
  let [low, high] = [-1n, 1024n * n];
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (grow(middle).length <= record) high = middle;
    else low = middle;
  }
  return grow(high).map(Number);
}

const OUTCOMES = ["stalled", "converged", "diverged"]; // in the order of their codes

// Train what a config asks for, and return what a run records, with its digest. `seed` may be a text;
// `report` is called with the number of replicates that are done.
export async function train(config, report = () => {}) {
  const { sizes, rows } = architectureOf(config);
  const epochs = recordedEpochs(config.training.epochs, config.training.record);
  const weights = initialWeights(config);
  const replicates = Array.from({ length: config.replicates }, (_, k) => {
    const kept = k < config.training.record_weights;
    const trained = trainReplicate(new Replicate(config, weights.next().value), epochs, kept);
    report(k + 1);
    return trained;
  });
  const arrays = resultArrays(replicates, epochs, sizes, rows);
  return {
    epochs,
    losses: replicates.map(({ losses }) => losses),
    outcomes: replicates.map(({ outcome }) => outcome),
    epochs_to_converge: replicates.map(({ epochsToConverge }) => epochsToConverge),
    solved: replicates.map(({ solved }) => solved),
    final_loss: replicates.map(({ finalLoss }) => finalLoss),
    weights: replicates.map(({ final }) => final),
    arrays,
    result_digest: digestArrays(arrays),
  };
}

function trainReplicate(network, epochs, isKept) {
  const copy = () => network.layers.map(({ w }) => w.slice());
  const initial = copy();
  const losses = [];
  const trajectory = [];
  for (const epoch of epochs) {
    while (network.epoch < epoch && !network.frozen) network.advance();
    losses.push(network.finalLoss);
    if (isKept) trajectory.push(copy());
  }
  const { outcome, epochsToConverge, solved, finalLoss } = network;
  return { initial, final: copy(), losses, trajectory, outcome, epochsToConverge, solved, finalLoss };
}

// 8. Digests

function resultArrays(replicates, epochs, sizes, rows) {
  const n = replicates.length;
  const kept = replicates.filter(({ trajectory }) => trajectory.length > 0);
  const arrays = {
    epochs: { shape: [epochs.length], values: epochs },
    loss: { shape: [n, epochs.length], values: replicates.flatMap(({ losses }) => losses) },
    outcome_code: { shape: [n], values: replicates.map(({ outcome }) => OUTCOMES.indexOf(outcome)) },
    epochs_to_converge: { shape: [n], values: replicates.map(({ epochsToConverge }) => epochsToConverge) },
    solved: { shape: [n], values: replicates.map(({ solved }) => Number(solved)) },
    "trajectory/epoch": { shape: [epochs.length], values: epochs },
  };
  rows.forEach((row, l) => {
    const [name, shape] = [`layer_${l + 1}`, [row, sizes[l + 1]]];
    const joined = (layers) => layers.flatMap((layer) => [...layer[l]]);
    arrays[`initial_weights/${name}`] = { shape: [n, ...shape], values: joined(replicates.map((r) => r.initial)) };
    arrays[`final_weights/${name}`] = { shape: [n, ...shape], values: joined(replicates.map((r) => r.final)) };
    const trajectory = joined(kept.flatMap((r) => r.trajectory));
    arrays[`trajectory/${name}`] = { shape: [kept.length, epochs.length, ...shape], values: trajectory };
  });
  return arrays;
}

// The digest of named arrays, {name: {shape, values}}.
export function digestArrays(arrays) {
  const parts = Object.keys(arrays).sort().flatMap((name) => {
    const { shape, values } = arrays[name];
    const written = `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
    return [new TextEncoder().encode(`${name} ${written} `), littleEndian(values)];
  });
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  parts.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
  return sha256(bytes);
}

function littleEndian(values) {
  const view = new DataView(new ArrayBuffer(8 * values.length));
  values.forEach((value, i) => {
    if (value === value) view.setFloat64(8 * i, value, true);
    else view.setUint32(8 * i + 4, 0x7ff80000, true); // any NaN
  });
  return new Uint8Array(view.buffer);
}

// FIPS 180-4; its constants are the first bits of the fractional parts of the roots of the first primes.
const PRIMES = [2];
for (let n = 3; PRIMES.length < 64; n += 2) if (PRIMES.every((prime) => n % prime)) PRIMES.push(n);
const fraction = (prime, power) => {
  let [low, high] = [0n, BigInt(prime) << 32n]; // the root times 2³², from below
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle ** power <= BigInt(prime) << (32n * power)) low = middle;
    else high = middle;
  }
  return Number(low & 0xffffffffn);
};
const ROUND_CONSTANTS = Int32Array.from(PRIMES, (prime) => fraction(prime, 3n));
const FIRST_STATE = Int32Array.from(PRIMES.slice(0, 8), (prime) => fraction(prime, 2n));

// SHA-256 in hex. Browsers have one only on pages from https.
export function sha256(bytes) {
  const padded = new Uint8Array(Math.floor((bytes.length + 72) / 64) * 64);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(bytes.length / 2 ** 29));
  view.setUint32(padded.length - 4, bytes.length << 3);
  const state = FIRST_STATE.slice();
  const schedule = new Int32Array(64);
  for (let block = 0; block < padded.length; block += 64) compress(state, schedule, view, block);
  return Array.from(state, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

const rotated = (x, n) => (x >>> n) | (x << (32 - n));

function compress(state, w, view, block) {
  for (let t = 0; t < 16; t++) w[t] = view.getInt32(block + 4 * t);
  for (let t = 16; t < 64; t++) {
    const s0 = rotated(w[t - 15], 7) ^ rotated(w[t - 15], 18) ^ (w[t - 15] >>> 3);
    const s1 = rotated(w[t - 2], 17) ^ rotated(w[t - 2], 19) ^ (w[t - 2] >>> 10);
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let t = 0; t < 64; t++) {
    const s1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + ROUND_CONSTANTS[t] + w[t]) | 0;
    const s0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
    const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] += word));
}
