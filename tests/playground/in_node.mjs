// Read {modules: [source, …], vectors, all} from stdin; write the failures of each module, at most the
// first unless `all`.
import { readFileSync } from "node:fs";
import { failures } from "./conformance.mjs";

const { modules, vectors, all } = JSON.parse(readFileSync(0, "utf8"));
const found = [];
for (const source of modules) {
  const module = await import(`data:text/javascript;base64,${Buffer.from(source).toString("base64")}`);
  const ours = [];
  for await (const failure of failures(module, vectors)) {
    ours.push(failure);
    if (!all) break;
  }
  found.push(ours);
}
process.stdout.write(JSON.stringify(found));
