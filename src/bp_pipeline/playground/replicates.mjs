// All replicates of the run, trained in a worker: how they came out, their digest, and whether it is the
// recorded one.

import { train } from "./backprop.mjs";
import { differenceOf, digestsOf } from "./comparison.mjs";
import { $, plural } from "./elements.mjs";

const MOST_WORK = 2e9; // weight updates that are done unasked
const WORK_PER_SECOND = 7e7; // of a laptop, roughly
const PAUSE = 300; // milliseconds without a new entry before they are trained
const OUTCOMES = ["converged", "stalled", "diverged"];

export class Replicates {
  // `changed` is called when there is a new result or none any more.
  constructor({ recorded, start }, changed) {
    Object.assign(this, { recorded, start, changed });
    $("train").addEventListener("click", () => this.#train());
  }

  // How many came out how, or null where they are not trained yet.
  counts = null;

  // Train them for a config of so many weights and samples; where it is the same as before, nothing is done.
  trainSoon(config, n_weights, n_samples) {
    const text = JSON.stringify(config);
    if (text === this.text) return;
    Object.assign(this, { config, text, counts: null });
    this.worker?.terminate();
    clearTimeout(this.timer);
    $("progress").value = 0;
    for (const id of ["outcomes", "digest"]) $(id).textContent = "–";
    this.#say("", "");
    const work = config.replicates * config.training.epochs * n_weights * n_samples;
    const isLong = work > MOST_WORK;
    $("train").hidden = !isLong;
    $("train").disabled = false;
    const why = isLong ? `: so many weights take ${duration(work / WORK_PER_SECOND)} or so, and are trained only when you ask for it` : "";
    $("done").textContent = `${plural(config.replicates, "replicate")}${why}`;
    if (!isLong) this.timer = setTimeout(() => this.#train(), PAUSE);
  }

  #train() {
    const address = URL.createObjectURL(new Blob([$("program").textContent], { type: "text/javascript" }));
    this.worker = new Worker(address);
    this.worker.onmessage = ({ data }) => (data.result ? this.#show(data.result) : this.#showProgress(data.done));
    this.worker.onerror = ({ message }) => this.#say(`The replicates could not be trained: ${message}`, "differs");
    this.worker.postMessage(this.config);
    $("train").disabled = true;
  }

  #showProgress(done) {
    const { replicates } = this.config;
    $("progress").value = done / replicates;
    $("done").textContent = `${done.toLocaleString("en")} of ${plural(replicates, "replicate")}`;
  }

  #show(result) {
    $("train").disabled = false;
    this.counts = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, result.outcomes.filter((each) => each === outcome).length]));
    const counts = OUTCOMES.map((outcome) => `${this.counts[outcome]} ${outcome}`);
    $("outcomes").textContent = `${counts.join(", ")}; ${result.solved.filter(Boolean).length} solved`;
    $("digest").textContent = result.result_digest;
    this.changed();
    const { recorded, start } = this;
    if (!recorded) return;
    if (this.text !== JSON.stringify(start.config)) this.#say("These are not the settings of the recorded run.", "");
    else if (result.result_digest === recorded.digest) this.#say("identical", "identical");
    else this.#say(differenceOf(result, recorded), "differs");
  }

  #say(textContent, className) {
    Object.assign($("verdict"), { textContent, className });
  }
}

const duration = (seconds) => (seconds < 90 ? plural(Math.ceil(seconds / 10) * 10, "second") : plural(Math.ceil(seconds / 60), "minute"));

// What the outcomes mean, by their names.
export const meanings = ({ training: { tolerance, epochs } }) => ({
  converged: `at some epoch every output was less than ${tolerance} from its target. It may be lost again; the first such epoch counts.`,
  solved: `every output is less than ${tolerance} from its target after the last epoch.`,
  stalled: `neither converged nor diverged in ${plural(epochs, "epoch")}.`,
  diverged: "without having converged, a weight or the loss was no longer a finite number, or the loss ended at more than 100 times that of epoch 0.",
});

export function listenAsWorker() {
  let last = 0;
  self.onmessage = async ({ data: config }) => {
    const result = await train(config, (done) => {
      if (performance.now() - last < 50 && done < config.replicates) return;
      last = performance.now();
      postMessage({ done });
    });
    const { outcomes, solved, losses, epochs, result_digest } = result;
    postMessage({ result: { outcomes, solved, losses, epochs, result_digest, digests: digestsOf(result) } });
  };
}
