// The page: settings, one network in training, and what is shown of it when.
//
// The same script is the worker's that trains all replicates.

import { $, made, setText } from "./elements.mjs";
import { Names, rounded, spell } from "./equations.mjs";
import { Player } from "./player.mjs";
import { WrongEntry, changed, checkTogether, commandOf, overridesOf, together } from "./settings.mjs";
import { Diagram, Surface, drawCurve, forgetStyle } from "./drawing.mjs";
import { Replicates, listenAsWorker, meanings } from "./replicates.mjs";
import { reasonsOf } from "./reasons.mjs";
import { whichUpdate, workingOf } from "./working.mjs";

const TRAINING = 6; // milliseconds of a frame, at 60 of which a second a page is smooth
const DRAWING = 3; // milliseconds of a frame, after which the pictures that are left wait for the next one
const READING = 100; // milliseconds from one text to the next while it plays
const MOST_ROWS = 64; // of the table of outputs; with a thousand its layout takes longer than a frame
const PAUSE = 300; // milliseconds without a new entry before the address is written
const SAID = 2000; // milliseconds for which a button says that it has done it

class Page {
  constructor(data) {
    const { start, options } = data;
    if (start.labels.init === "given") options.init.given = start.config.init;
    this.data = data;
    this.diagram = new Diagram($("diagram"), (about) => this.choose(about));
    this.surface = new Surface($("surface"));
    this.replicates = new Replicates(data, () => (this.isStale = true));
    this.sample = 0;
    this.about = null;
    this.errors = new Map();
    this.left = []; // pictures that are out of date, the longest first
    this.fillChoices();
    this.listen();
    this.readAddress();
    requestAnimationFrame((time) => this.frame(time));
  }

  // Settings

  get start() {
    return { replicate: 0, ...this.data.start };
  }

  fillChoices() {
    const { options, rules } = this.data;
    for (const select of document.querySelectorAll("select[data-key]")) {
      const values = rules[select.dataset.key]?.values ?? Object.keys(options[select.dataset.key]);
      select.replaceChildren(...values.map((value) => new Option(value)));
    }
  }

  enter(key, entry) {
    try {
      const [next, switched] = together(changed(this.settings, key, entry, this.data), key);
      this.errors.delete(key);
      checkTogether(next);
      if (JSON.stringify(next) === JSON.stringify(this.settings)) this.showSettings();
      else this.use(next);
      $("switched").textContent = switched;
    } catch (error) {
      if (!(error instanceof WrongEntry)) throw error;
      const { key: about } = error;
      this.errors.set($(about) ? about : key, $(about) ? error.beside(document.querySelector(`label[for="${about}"]`).textContent) : error.message);
      this.showErrors();
    }
  }

  showErrors() {
    for (const field of document.querySelectorAll("[data-key]")) {
      const message = this.errors.get(field.dataset.key) ?? "";
      field.setAttribute("aria-invalid", String(message !== ""));
      $(`${field.dataset.key}-error`).textContent = message;
    }
  }

  // Begin anew with checked settings; what plays goes on playing.
  use(settings, epoch = 0) {
    this.settings = settings;
    this.overrides = overridesOf(settings, this.data);
    this.player = new Player(settings.config, settings.replicate);
    this.player.goTo(epoch);
    this.names = new Names({ sizes: sizesOf(this.player.network), rows: this.player.network.units.slice(0, -1).map(({ width }) => width) });
    this.sample = Math.min(this.sample, this.player.network.targets.length - 1);
    this.surface.build(settings.config);
    $("switched").textContent = "";
    this.showSettings();
    this.showMeanings();
    this.build();
    this.replicates.trainSoon(settings.config, this.names.allWeights.length, this.player.network.targets.length);
    this.writeAddressSoon();
  }

  showSettings() {
    const { config, labels, replicate } = this.settings;
    const shown = { ...labels, replicate, "network.hidden": config.network.hidden.join(", ") };
    for (const field of document.querySelectorAll("[data-key]")) {
      const { key } = field.dataset;
      const value = key.split(".").reduce((section, name) => section?.[name], config);
      const text = String(shown[key] ?? (typeof value === "number" ? spell(value) : value));
      if (field.tagName === "SELECT" && ![...field.options].some((option) => option.value === text)) field.add(new Option(text));
      if (!this.errors.has(key)) field.value = text;
    }
    $("replicates").disabled = labels.init === "given";
    this.showErrors();
    $("command").textContent = commandOf("train", this.overrides);
    const isArticle = String(this.overrides) === String(overridesOf(this.data.article, this.data));
    $("as-it-is").setAttribute("aria-pressed", String(isArticle));
    document.querySelectorAll("[data-correction]").forEach((button) => {
      button.setAttribute("aria-pressed", String(this.isCorrected(this.data.corrections[button.dataset.correction])));
    });
  }

  showMeanings() {
    const { config } = this.settings;
    this.meanings = meanings(config);
    $("meanings").replaceChildren(...Object.entries(this.meanings).flatMap(([word, text]) => [made("dt", word), made("dd", text)]));
    const { tolerance } = config.training;
    $("within").textContent = `✓: less than ${tolerance} from the target. Choose a row to see it in the network.`;
    const levels = [...new Set([tolerance, rounded(1 - tolerance, 6) - 0])];
    $("levels").textContent = `Thin lines: an output of ${levels.join(" and of ")}.`;
    $("nats").hidden = config.loss.name !== "logistic";
    $("clipped").hidden = config.network.output === "sigmoid";
  }

  isCorrected({ made }) {
    return Object.entries(made).every(([key, value]) => this.valueOf(key) === value);
  }

  valueOf(key) {
    const { config, labels } = this.settings;
    return labels[key] ?? key.split(".").reduce((section, name) => section[name], config);
  }

  correct(correction) {
    const wanted = this.isCorrected(correction) ? correction.article : correction.made;
    let next = this.settings;
    for (const [key, value] of Object.entries(wanted)) next = changed(next, key, value, this.data);
    this.errors.clear();
    this.use(next);
  }

  // The state in the address

  readAddress() {
    const entries = new URLSearchParams(location.hash.slice(1));
    let settings = this.start;
    try {
      if (entries.size > 0) settings = this.settingsOf(entries);
      this.sample = Number(entries.get("sample") ?? 0);
      this.about = entries.get("about");
      $("problem").textContent = "";
    } catch (error) {
      if (!(error instanceof WrongEntry)) throw error;
      $("problem").textContent = `The address is not a state of this page: ${error.message}`;
      settings = this.start;
    }
    this.errors.clear();
    this.playing = false;
    this.use(settings, Number(entries.get("epoch") ?? 0) || 0);
  }

  settingsOf(entries) {
    const { defaults, start } = this.data;
    let settings = { ...structuredClone(defaults), path: start.path, replicate: 0 };
    for (const [key, entry] of entries) {
      if (["epoch", "sample", "about"].includes(key)) continue;
      settings = changed(settings, key, entry, this.data);
    }
    checkTogether(settings);
    return settings;
  }

  writeAddress() {
    const { replicate } = this.settings;
    const { about, sample } = this;
    const epoch = this.player.goal;
    const entries = new URLSearchParams([...this.overrides, ...Object.entries({ replicate, epoch, sample, about })]);
    try {
      history.replaceState(null, "", `#${entries}`);
    } catch {
      // a frame without an address of its own, as MLflow shows artifacts in
    }
  }

  // One network

  build() {
    forgetStyle();
    this.diagram.build(this.names, $("diagram").parentElement.clientWidth);
    const hasSurface = this.surface.isPossible;
    $("surface-figure").hidden = !hasSurface;
    $("timeline").max = this.settings.config.training.epochs;
    setText($("undrawn"), this.diagram.leftOut);
    const names = this.diagram.names;
    $("about").replaceChildren(...names.map((name) => new Option(name)));
    if (!names.includes(this.about)) this.about = this.names.units(this.names.last)[0];
    $("about").value = this.about;
    this.buildOutputs();
    this.isStale = true;
  }

  buildOutputs() {
    const { network } = this.player;
    const inputs = Array.from({ length: this.names.sizes[0] }, (_, i) => `X${i + 1}`);
    const outputs = this.names.units(this.names.last);
    const head = made("tr", "");
    for (const text of [...inputs, "target", ...outputs]) head.append(made("th", text));
    $("outputs").tHead.replaceChildren(head);
    const rows = network.targets.slice(0, MOST_ROWS).map((targets, s) => {
      const row = made("tr", "");
      const { z, width, first } = network.units[0];
      const radio = made("input", "", { type: "radio", name: "sample", value: s });
      radio.setAttribute("aria-label", `Sample ${s}`);
      inputs.forEach((_, i) => row.append(made("td", rounded(z[s * width + first + i], 3))));
      row.firstChild.prepend(radio, " ");
      row.append(made("td", targets.map((y) => rounded(y, 3)).join(", ")), ...outputs.map(() => made("td", "")));
      row.addEventListener("click", () => this.chooseSample(s));
      return row;
    });
    $("outputs").tBodies[0].replaceChildren(...rows);
    const n = network.targets.length;
    $("rows").textContent = n > MOST_ROWS ? `The first ${MOST_ROWS} of ${n.toLocaleString("en")} samples. ` : "";
  }

  choose(about) {
    if ([...$("about").options].some((option) => option.value === about)) this.about = about;
    $("about").value = this.about;
    this.isStale = true;
    this.writeAddress();
  }

  chooseSample(sample) {
    this.sample = sample;
    this.isStale = true;
    this.writeAddress();
  }

  frame(time) {
    const elapsed = Math.min(time - (this.time ?? time), 100);
    this.time = time;
    const { player } = this;
    const before = player.epoch;
    if (this.playing && player.isThere) {
      this.owed = (this.owed ?? 0) + (elapsed * Number($("speed").value)) / 1000;
      player.goTo(player.epoch + Math.floor(this.owed));
      this.owed %= 1;
    }
    player.work(TRAINING);
    if (this.playing && player.isAtEnd) this.pause();
    const hasMoved = player.epoch !== before;
    const isAtRest = !this.playing && player.isThere && hasMoved;
    if (this.isStale || hasMoved) this.outdate(time);
    this.draw(this.isStale || isAtRest ? Infinity : DRAWING);
    this.isStale = false;
    requestAnimationFrame((next) => this.frame(next));
  }

  outdate(time) {
    const mayRead = !this.playing || time - (this.writtenAt ?? 0) >= READING;
    if (mayRead) this.writtenAt = time;
    const changed = mayRead ? [...PICTURES, ...TEXTS] : PICTURES;
    this.left.push(...changed.filter((each) => !this.left.includes(each)));
  }

  // Draw what is out of date. One picture is drawn in any case; those that time is too short for come first in the next frame.
  draw(milliseconds) {
    if (this.left.length === 0) return;
    const { network } = this.player;
    const end = performance.now() + milliseconds;
    this.drawStatus(network);
    do {
      const picture = this.left.shift();
      if (this[picture](network, end) === false) this.left.push(picture);
    } while (this.left.length > 0 && performance.now() < end);
  }

  drawSurface(network, end) {
    return this.surface.draw(network, end);
  }

  drawCurve() {
    const { losses, epoch, config } = this.player;
    drawCurve($("curve"), losses, epoch, config.training.epochs);
  }

  drawReasons(network) {
    this.describe(network);
    const { config, isAtEnd } = this.player;
    const isOut = isAtEnd || network.epochsToConverge >= 0;
    const reasons = reasonsOf(network, config, { outcome: isOut ? network.outcome : null, counts: this.replicates.counts });
    const texts = reasons.map(({ title, text }) => `${title} ${text}`).join();
    if (texts === this.reasons) return;
    this.reasons = texts;
    $("why").replaceChildren(...reasons.map(reasonItem));
  }

  // What the pictures show, for who cannot see them.
  describe({ targets, units, tolerance, finalLoss }) {
    const { z, width } = units.at(-1);
    const isWithin = (row, s) => row.every((y, o) => Math.abs(z[s * width + o] - y) < tolerance);
    const n = targets.filter(isWithin).length;
    const { losses, epoch } = this.player;
    const labels = {
      diagram: `The network, ${this.names.sizes.join("-")}, with weights and activations`,
      surface: `Output over the inputs: ${n} of ${targets.length} samples are within the tolerance`,
      curve: `Loss: ${rounded(losses[0], 4)} at the start, ${rounded(finalLoss, 4)} at epoch ${epoch}`,
    };
    for (const [id, label] of Object.entries(labels)) $(id).setAttribute("aria-label", label);
  }

  drawOutputs(network) {
    const { z, width } = network.units.at(-1);
    [...$("outputs").tBodies[0].rows].forEach((row, s) => {
      row.classList.toggle("chosen", s === this.sample);
      row.querySelector("input").checked = s === this.sample;
      const cells = [...row.cells].slice(-width);
      cells.forEach((each, o) => {
        const value = z[s * width + o];
        const isWithin = Math.abs(value - network.targets[s][o]) < network.tolerance;
        setText(each, `${rounded(value, 5)}${isWithin ? " ✓" : ""}`);
        each.classList.toggle("within", isWithin);
      });
    });
  }

  drawDiagram(network) {
    const values = new Map();
    network.units.forEach(({ z, width }, layer) => {
      for (let i = 0; i < width; i++) values.set(this.names.unit(layer, layer === this.names.last ? i + Number(this.names.hasBias) : i), z[this.sample * width + i]);
    });
    this.diagram.draw(network, values, this.about);
  }

  drawEquations(network) {
    $("equations").replaceChildren(...workingOf(this.settings.config, network, this.names, this.sample, this.about));
    setText($("of-sample"), whichUpdate(network, this.player.isAtEnd, this.sample));
  }

  drawStatus(network) {
    const { player } = this;
    const epochs = this.settings.config.training.epochs;
    const [outcome, after] = this.outcome(network);
    const parts = [`epoch ${player.epoch.toLocaleString("en")} of ${epochs.toLocaleString("en")}`, `loss ${rounded(network.finalLoss, 3)}`];
    setText($("where"), `${parts.join(" · ")} · `);
    setText($("outcome"), outcome);
    setText($("after"), after);
    const meaning = this.meanings[outcome] ?? "";
    Object.assign($("outcome"), { className: meaning && outcome, title: meaning && `${outcome}: ${meaning}` });
    $("timeline").value = player.epoch;
    $("timeline").setAttribute("aria-valuetext", `epoch ${player.epoch}, loss ${rounded(network.finalLoss, 3)}`);
    $("back").disabled = $("start").disabled = player.epoch === 0;
    $("step").disabled = $("end").disabled = player.isAtEnd;
    $("play").textContent = this.playing ? "Pause" : "Play";
    if (`${outcome}${after}` === this.announced) return;
    this.announced = `${outcome}${after}`;
    $("news").textContent = `${parts[0]}: ${outcome}${after}`;
  }

  // A word for how it came out, and what is to be said after it.
  outcome({ finite, epoch, epochsToConverge, solved, outcome }) {
    if (epochsToConverge >= 0) {
      const now = finite ? ", not solved now" : `, no longer finite at epoch ${epoch}`;
      return ["converged", ` at epoch ${epochsToConverge}${solved ? "" : now}`];
    }
    if (!finite) return ["diverged", ` at epoch ${epoch}`];
    return [this.player.isAtEnd ? outcome : "not converged", ""];
  }

  play() {
    if (this.player.isAtEnd) this.player.goTo(0);
    this.playing = true;
    this.isStale = true;
  }

  pause() {
    this.playing = false;
    this.isStale = true;
    this.writeAddress();
  }

  goTo(epoch) {
    this.playing = false;
    this.player.goTo(epoch);
    this.isStale = true;
    this.writeAddressSoon();
  }

  writeAddressSoon() {
    clearTimeout(this.addressTimer);
    this.addressTimer = setTimeout(() => this.writeAddress(), PAUSE);
  }

  // Events

  listen() {
    document.querySelectorAll("[data-key]").forEach((field) => {
      field.addEventListener("change", () => this.enter(field.dataset.key, field.value));
    });
    document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    document.querySelectorAll("[data-correction]").forEach((button) => {
      button.addEventListener("click", () => this.correct(this.data.corrections[button.dataset.correction]));
    });
    const clicks = {
      "as-it-is": () => this.beginWithArticle(),
      start: () => this.goTo(0),
      back: () => this.goTo(this.player.goal - 1),
      step: () => this.goTo(this.player.goal + 1),
      end: () => this.goTo(this.settings.config.training.epochs),
      play: () => (this.playing ? this.pause() : this.play()),
      copy: () => this.copy(),
      "to-settings": () => document.querySelector(".settings").scrollIntoView(),
    };
    for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);
    $("copy").hidden = !navigator.clipboard;
    $("timeline").addEventListener("input", () => this.goTo(Number($("timeline").value)));
    $("about").addEventListener("change", () => this.choose($("about").value));
    const keys = { " ": "play", ArrowRight: "step", ArrowLeft: "back", Home: "start", End: "end" };
    document.addEventListener("keydown", (event) => {
      const isTyping = event.target.closest("input, select, button, pre, a");
      if (isTyping || event.altKey || event.ctrlKey || event.metaKey || !(event.key in keys)) return;
      event.preventDefault();
      $(keys[event.key]).click();
    });
    addEventListener("hashchange", () => this.readAddress());
    addEventListener("resize", () => this.build());
    for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", () => this.restyle());
    const observer = new ResizeObserver(() => this.restyle());
    for (const id of ["curve", "surface"]) observer.observe($(id));
  }

  async copy() {
    await navigator.clipboard.writeText($("command").textContent);
    $("copy").textContent = "Copied";
    setTimeout(() => ($("copy").textContent = "Copy"), SAID);
  }

  restyle() {
    forgetStyle();
    this.isStale = true;
  }

  beginWithArticle() {
    this.errors.clear();
    this.use({ ...structuredClone(this.data.article), path: this.data.start.path, replicate: 0 });
  }
}

const PICTURES = ["drawDiagram", "drawSurface", "drawCurve", "drawOutputs"];
const TEXTS = ["drawEquations", "drawReasons"];
const sizesOf = (network) => network.units.map(({ width, first }) => width - first);

function reasonItem({ name, title, text, kind }) {
  const item = made("li", "", { className: kind });
  item.dataset.reason = name;
  item.append(made("b", title), ` ${text}`);
  return item;
}

if (typeof document === "undefined") listenAsWorker();
else window.page = new Page(JSON.parse($("data").textContent));
