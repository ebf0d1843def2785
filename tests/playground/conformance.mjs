// Whether a module does the arithmetic of docs/arithmetic.md: what its conformance vectors say against it.

const view = new DataView(new ArrayBuffer(8));
const toDouble = (hex) => (view.setBigUint64(0, BigInt(`0x${hex}`)), view.getFloat64(0));
const toHex = (x) => {
  view.setFloat64(0, x);
  return x === x ? view.getBigUint64(0).toString(16).padStart(16, "0") : "7ff8000000000000";
};
const take = (n, generator) => Array.from({ length: n }, () => generator.next().value);
const FUNCTIONS = { normal_quantile: "normalQuantile" }; // whose names differ

// Yield one text for each vector that the module fails; parts of the vectors may be missing.
export async function* failures(module, vectors) {
  const value = (name, argument) => toHex(module[FUNCTIONS[name] ?? name](toDouble(argument)));
  for (const [name, pairs] of Object.entries(vectors.functions ?? {})) {
    for (const [argument, result] of pairs) if (value(name, argument) !== result) yield `${name}(${argument})`;
  }
  for (const { seed, layer_sizes: sizes, words } of vectors.words ?? []) {
    const ours = take(words.length, module.randomWords(seed, sizes)).map((word) => word.toString(16).padStart(16, "0"));
    if (`${ours}` !== `${words}`) yield `words of ${seed}, ${sizes}`;
  }
  for (const { epochs, record, result } of vectors.recorded_epochs ?? []) {
    if (`${module.recordedEpochs(epochs, record)}` !== `${result}`) yield `recorded epochs of ${epochs}, ${record}`;
  }
  for (const { config, weights } of vectors.initial_weights ?? []) {
    const ours = take(config.replicates, module.initialWeights(config));
    for (const [l, [name, layer]] of Object.entries(weights).entries()) {
      const hexes = ours.flatMap((layers) => Array.from(layers[l], toHex));
      if (`${hexes}` !== `${layer}`) yield `${name} of ${JSON.stringify(config)}`;
    }
  }
  for (const vector of vectors.trainings ?? []) {
    const differing = await differences(module, vector);
    if (differing.length > 0) yield `${differing} of ${JSON.stringify(vector.config)}`;
  }
  for (const [name, wrong] of Object.entries(vectors.wrong?.functions ?? {})) {
    for (const { argument, result, why } of wrong) {
      if (value(name, argument) === result) yield `${why} not noticed: ${name}(${argument})`;
    }
  }
  for (const vector of vectors.wrong?.trainings ?? []) {
    if ((await differences(module, vector)).length === 0) yield `${vector.why} not noticed`;
  }
}

async function differences(module, { config, arrays = {}, result_digest: digest }) {
  const result = await module.train(config);
  const names = Object.keys(arrays).filter((name) => {
    const ours = result.arrays[name];
    return ours === undefined || module.digestArrays({ [name]: ours }) !== arrays[name];
  });
  return result.result_digest === digest ? names : ["result_digest", ...names];
}
