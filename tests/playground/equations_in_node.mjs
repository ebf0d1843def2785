// Read [{config, epoch, sample, replicate}, …] from stdin; write the equations of each step.
import { readFileSync } from "node:fs";
import { Replicate, architectureOf, initialWeights } from "../../src/bp_pipeline/playground/backprop.mjs";
import { Names, equationsOf, numbersOf, spell, symbolsOf } from "../../src/bp_pipeline/playground/equations.mjs";

function equations({ config, epoch, sample, replicate }) {
  const draws = initialWeights(config);
  for (let k = 0; k < replicate; k++) draws.next();
  const network = new Replicate(config, draws.next().value);
  while (network.epoch < epoch) network.advance();
  const found = equationsOf(config, network, new Names(architectureOf(config)), sample);
  return found.map((e) => ({ name: e.name, formula: symbolsOf(e), numbers: numbersOf(e), value: Number.isFinite(e.value) ? e.value : spell(e.value) }));
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(equations)));
