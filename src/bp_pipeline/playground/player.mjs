// One network on its way through the epochs, forwards and back.
//
// Owns which epochs are kept to go back to. Going to an epoch may take longer than a frame: `work` does as
// much as there is time for.

import { Replicate, initialWeights } from "./backprop.mjs";

const KEPT_EVERY = 50; // epochs; those between are trained again, which gives the same bits

export class Player {
  constructor(config, replicate) {
    const draws = initialWeights(config);
    for (let k = 0; k < replicate; k++) draws.next();
    this.config = config;
    this.network = new Replicate(config, draws.next().value);
    this.target = 0;
    this.losses = [this.network.finalLoss];
    this.kept = [this.network.save()];
  }

  get epoch() {
    return this.network.epoch;
  }

  // Whether no later epoch can be reached.
  get isAtEnd() {
    return this.network.frozen || this.epoch >= this.config.training.epochs;
  }

  get isThere() {
    return this.epoch === this.target || (this.isAtEnd && this.epoch < this.target);
  }

  // Where it is, or is on its way to.
  get goal() {
    return this.isThere ? this.epoch : this.target;
  }

  goTo(epoch) {
    this.target = Math.min(Math.max(epoch, 0), this.config.training.epochs);
    if (this.target < this.epoch) this.network.restore(this.kept[Math.floor(this.target / KEPT_EVERY)]);
  }

  // Train towards the target for at most so many milliseconds.
  work(milliseconds) {
    const end = performance.now() + milliseconds;
    while (!this.isThere && performance.now() < end) {
      this.network.advance();
      const { epoch } = this.network;
      if (epoch === this.losses.length) this.losses.push(this.network.finalLoss);
      if (epoch % KEPT_EVERY === 0 && epoch / KEPT_EVERY === this.kept.length) this.kept.push(this.network.save());
    }
  }
}
