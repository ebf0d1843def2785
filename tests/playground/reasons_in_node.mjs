// Read [{config, epochs}, …] from stdin; write the reasons that are given after so many epochs.
import { readFileSync } from "node:fs";
import { Replicate, initialWeights } from "../../src/bp_pipeline/playground/backprop.mjs";
import { reasonsOf } from "../../src/bp_pipeline/playground/reasons.mjs";

function reasons({ config, epochs }) {
  const network = new Replicate(config, initialWeights(config).next().value);
  while (network.epoch < epochs && !network.frozen) network.advance();
  return reasonsOf(network, config, { outcome: epochs > 0 ? network.outcome : null, counts: null });
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(reasons)));
