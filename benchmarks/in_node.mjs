// Train each time a line is read from stdin; answer when that is done. The config is the argument.
import { createInterface } from "node:readline";
import { Replicate, initialWeights } from "../src/bp_pipeline/playground/backprop.mjs";

const config = JSON.parse(process.argv[2]);
for await (const _ of createInterface({ input: process.stdin })) {
  const weights = initialWeights(config);
  for (let k = 0; k < config.replicates; k++) {
    const network = new Replicate(config, weights.next().value);
    while (network.epoch < config.training.epochs) network.advance();
  }
  console.log("done");
}
