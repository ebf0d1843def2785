// Pictures of a network in training: its diagram, the surface of its output, its loss curve.
//
// Owns geometry and colours. Colours are the style sheet's, so they follow light and dark.

import { Replicate, architectureOf } from "./backprop.mjs";
import { setText } from "./elements.mjs";
import { rounded } from "./equations.mjs";

const SVG = "http://www.w3.org/2000/svg";
const RADIUS = 27;
const GRID = 56; // points a side of the surface
const CORNERS = [0, 1, GRID, GRID + 1]; // of a cell between four of them
const MOST_LABELS = 24; // weights written into the diagram; more would cover each other
const NARROW = 480; // pixels; below it no weights are written
const MOST_UNITS = 12; // of a layer that are drawn, bias unit and all
const LABEL = 62; // pixels, length of a label
const LETTER = 6.3; // pixels, of a label
const SHARES = [0.5, 0.42, 0.58, 0.34, 0.66, 0.27, 0.73, 0.22, 0.78]; // of a link, where a label may stand
const FITTING = 6; // letters of a number in a circle

// Colours and sizes are asked for once: to ask while a page changes has all of it laid out anew.
const colours = new Map();
const sizes = new Map();

export function forgetStyle() {
  colours.clear();
  sizes.clear();
}

function colour(name) {
  if (!colours.has(name)) colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return colours.get(name);
}

// As many digits as fit, and exponents without their zeros.
function short(x) {
  const written = [4, 3, 2, 1].map((digits) => rounded(x, digits).replace(/e\+?(-?)0*/, "e$1"));
  return [...written, x.toExponential(0)].find((text) => text.length <= FITTING) ?? written.at(-1);
}

function element(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
}

// The network as circles and lines; `choose` is called with the unit or weight that is clicked.
export class Diagram {
  constructor(svg, choose) {
    this.svg = svg;
    svg.addEventListener("click", ({ target }) => {
      const about = target.closest("[data-about]")?.dataset.about;
      if (about) choose(about);
    });
  }

  // Lay it out for a network of these names, and for the width there is.
  build(names, width) {
    this.svg.replaceChildren();
    this.width = width;
    const { last } = names;
    const all = (layer) => (layer === last ? names.sizes[layer] : names.rows[layer]);
    const count = (layer) => Math.min(all(layer), MOST_UNITS);
    const tallest = Math.max(...names.sizes.map((_, layer) => count(layer)));
    const height = Math.max(190, tallest * (tallest > 8 ? 58 : 78) + 24);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.style.aspectRatio = `${width} / ${height}`;
    const place = (layer, index) => ({
      x: 40 + (layer * (width - 80)) / last,
      y: height / 2 + (index - (count(layer) - 1) / 2) * ((height - 60) / Math.max(1, tallest - 1 || 1)),
    });
    const places = new Map();
    const nameAt = (layer, i) => names.unit(layer, layer === last ? i + Number(names.hasBias) : i);
    names.sizes.forEach((_, layer) => {
      for (let i = 0; i < count(layer); i++) places.set(nameAt(layer, i), place(layer, i));
    });
    const weights = names.allWeights.filter(({ source, target }) => places.has(source) && places.has(target));
    const isWhole = names.sizes.every((_, layer) => count(layer) === all(layer));
    this.leftOut = isWhole ? "" : `Of each layer the first ${MOST_UNITS} units are drawn, of up to ${Math.max(...names.rows, names.sizes[last]).toLocaleString("en")}, and the weights between these. `;
    this.names = [...places.keys(), ...weights.map(({ name }) => name)];
    this.isLabelled = weights.length <= MOST_LABELS && width >= NARROW;
    const lines = element("g", {}, this.svg);
    const labels = element("g", {}, this.svg);
    this.taken = [...places.values()].map(({ x, y }) => [x, y]);
    this.links = weights.map((weight) => this.#link(weight, places, lines, labels));
    this.units = [...places].map(([name, at]) => this.#unit(name, at, names.biases.includes(name)));
  }

  #link(weight, places, lines, labels) {
    const [from, to] = [places.get(weight.source), places.get(weight.target)];
    const ends = { x1: from.x, y1: from.y, x2: to.x, y2: to.y };
    const group = element("g", { "data-about": weight.name, class: "link" }, lines);
    element("line", { ...ends, class: "target" }, group); // wide enough for a finger
    const line = element("line", ends, group);
    const title = element("title", {}, group);
    if (!this.isLabelled) return { ...weight, group, line, title };
    const angle = (Math.atan2(to.y - from.y, to.x - from.x) * 180) / Math.PI;
    const [x, y] = this.#freePlace(from, to);
    const turned = { transform: `translate(${x} ${y}) rotate(${angle})`, "data-about": weight.name, class: "label" };
    const plate = element("g", turned, labels);
    const paper = element("rect", { y: -8, height: 16 }, plate);
    const label = element("text", {}, plate);
    return { ...weight, group, line, title, plate, paper, label };
  }

  // Where on a link a label is farthest from all others and from the units.
  #freePlace(from, to) {
    const length = Math.hypot(to.x - from.x, to.y - from.y);
    const at = (share) => [from.x + share * (to.x - from.x), from.y + share * (to.y - from.y)];
    const cover = (share) => [-1, -0.5, 0, 0.5, 1].map((part) => at(share + (part * LABEL) / 2 / length));
    const distance = (share) => Math.min(...cover(share).flatMap(([x, y]) => this.taken.map((other) => Math.hypot(x - other[0], y - other[1]))));
    const best = SHARES.reduce((found, share) => (distance(share) > distance(found) + 1 ? share : found));
    this.taken.push(...cover(best));
    return at(best);
  }

  #unit(name, { x, y }, isBias) {
    const attributes = { transform: `translate(${x} ${y})`, class: isBias ? "unit bias" : "unit", "data-about": name };
    const group = element("g", attributes, this.svg);
    const circle = element("circle", { r: RADIUS }, group);
    element("text", { y: -8, class: "name" }, group).textContent = name;
    const value = element("text", { y: 8 }, group);
    return { name, group, circle, value };
  }

  // Write the numbers of a sample: `values` by the names of units.
  draw(network, values, chosen) {
    for (const { name, layer, at, group, line, title, plate, paper, label } of this.links) {
      const w = network.layers[layer - 1].w[at];
      group.classList.toggle("lost", !Number.isFinite(w));
      const thickness = (Math.min(7, 0.8 + 1.6 * Math.abs(w)) || 1).toFixed(2);
      if (line.getAttribute("stroke-width") !== thickness) line.setAttribute("stroke-width", thickness);
      group.classList.toggle("negative", w < 0);
      group.classList.toggle("chosen", name === chosen);
      setText(title, `${name} = ${short(w)}`);
      if (!label) continue;
      plate.classList.toggle("chosen", name === chosen);
      const text = `${name} ${short(w)}`;
      if (label.textContent === text) continue;
      label.textContent = text;
      paper.setAttribute("x", (-LETTER * text.length) / 2 - 2);
      paper.setAttribute("width", LETTER * text.length + 4);
    }
    for (const { name, group, value } of this.units) {
      setText(value, short(values.get(name)));
      group.classList.toggle("chosen", name === chosen);
    }
  }
}

function prepared(canvas) {
  const scale = window.devicePixelRatio || 1;
  if (!sizes.has(canvas)) sizes.set(canvas, canvas.getBoundingClientRect());
  const { width, height } = sizes.get(canvas);
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

// The first output over two inputs.
export class Surface {
  constructor(canvas) {
    this.canvas = canvas;
    this.pixels = document.createElement("canvas");
    Object.assign(this.pixels, { width: GRID, height: GRID });
  }

  build(config) {
    const { inputs } = architectureOf(config);
    this.isPossible = inputs[0].length === 2;
    if (!this.isPossible) return;
    const ranges = [0, 1].map((axis) => {
      const values = inputs.map((row) => row[axis]);
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const margin = (high - low || 1) / 4;
      return [low - margin, high + margin];
    });
    this.ranges = ranges;
    const at = (range, i) => range[0] + ((range[1] - range[0]) * (i + 0.5)) / GRID;
    const rows = Array.from({ length: GRID * GRID }, (_, k) => [
      at(ranges[0], k % GRID),
      at(ranges[1], GRID - 1 - Math.floor(k / GRID)),
    ]);
    const targets = rows.map(() => Array(architectureOf(config).sizes.at(-1)).fill(0));
    const table = { ...config, task: { name: "table", inputs: rows, targets } };
    this.makeNetwork = (weights) => new Replicate(table, weights);
    this.network = null;
    this.done = 0;
  }

  // Compute and draw it; false where time ends before all its points are computed, and the next call goes on.
  draw(network, end) {
    if (!this.isPossible) return true;
    if (end === Infinity) this.done = 0; // what was begun is of an earlier epoch
    if (this.done === 0) {
      const weights = network.layers.map(({ w }) => w);
      this.network ??= this.makeNetwork(weights);
      this.network.layers.forEach(({ w }, l) => w.set(weights[l]));
    }
    const n = GRID * GRID;
    do {
      for (const next = this.done + GRID; this.done < next; this.done++) this.network.forward(this.done);
    } while (this.done < n && performance.now() < end);
    if (this.done < n) return false;
    this.done = 0;
    const { z, width: stride } = this.network.units.at(-1);
    const values = new Float64Array(n);
    for (let s = 0; s < n; s++) values[s] = z[s * stride];
    const { context, width, height } = prepared(this.canvas);
    this.#paint(values);
    context.imageSmoothingEnabled = true;
    context.drawImage(this.pixels, 0, 0, width, height);
    const { tolerance } = network;
    for (const level of new Set([tolerance, 1 - tolerance])) this.#isoline(context, values, level, width, height);
    this.#samples(context, network, width, height);
    return true;
  }

  #paint(values) {
    const ends = ["low", "middle", "high"].map((name) => channels(colour(name)));
    const context = this.pixels.getContext("2d");
    const image = context.createImageData(GRID, GRID);
    values.forEach((value, k) => {
      const v = Math.min(Math.max(value, 0), 1) * 2 || 0;
      const [from, to, share] = v < 1 ? [ends[0], ends[1], v] : [ends[1], ends[2], v - 1];
      for (let c = 0; c < 3; c++) image.data[4 * k + c] = from[c] + share * (to[c] - from[c]);
      image.data[4 * k + 3] = Number.isFinite(value) ? 255 : 0;
    });
    context.putImageData(image, 0, 0);
  }

  // Where the output is at this level, by linear interpolation between points of the grid.
  #isoline(context, values, level, width, height) {
    const [dx, dy] = [width / GRID, height / GRID];
    context.beginPath();
    for (let row = 0; row < GRID - 1; row++) {
      for (let column = 0; column < GRID - 1; column++) {
        const nBelow = CORNERS.reduce((n, k) => n + (values[row * GRID + column + k] < level), 0);
        if (nBelow === 0 || nBelow === CORNERS.length) continue; // as nearly all are
        const corner = (r, c) => [column + c, row + r, values[(row + r) * GRID + column + c] - level];
        const ring = [corner(0, 0), corner(0, 1), corner(1, 1), corner(1, 0)];
        const cuts = ring.flatMap(([x, y, v], i) => {
          const [x2, y2, v2] = ring[(i + 1) % 4];
          if (v < 0 === v2 < 0) return [];
          const share = v / (v - v2);
          return [[(x + share * (x2 - x) + 0.5) * dx, (y + share * (y2 - y) + 0.5) * dy]];
        });
        for (let i = 0; i + 1 < cuts.length; i += 2) {
          context.moveTo(...cuts[i]);
          context.lineTo(...cuts[i + 1]);
        }
      }
    }
    context.strokeStyle = colour("ink");
    context.lineWidth = 1;
    context.stroke();
  }

  #samples(context, network, width, height) {
    const { z, width: stride } = network.units.at(-1);
    const inputs = network.units[0];
    network.targets.forEach((target, s) => {
      const at = (axis) => inputs.z[s * inputs.width + inputs.first + axis];
      const share = (axis) => (at(axis) - this.ranges[axis][0]) / (this.ranges[axis][1] - this.ranges[axis][0]);
      const [x, y] = [share(0) * width, (1 - share(1)) * height];
      const isRight = Math.abs(z[s * stride] - target[0]) < network.tolerance;
      context.beginPath();
      context.arc(x, y, 13, 0, 2 * Math.PI);
      context.fillStyle = colour("card");
      context.fill();
      context.lineWidth = isRight ? 3 : 1.5;
      context.setLineDash(isRight ? [] : [3, 3]);
      context.strokeStyle = colour("ink");
      context.stroke();
      context.setLineDash([]);
      context.fillStyle = colour("ink");
      context.font = "600 13px system-ui, sans-serif";
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillText(rounded(target[0], 2), x, y + 0.5);
    });
  }
}

function channels(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

// The losses of all epochs so far, on a logarithmic axis; the part ahead of this epoch is faint.
export function drawCurve(canvas, losses, epoch, epochs) {
  const { context, width, height } = prepared(canvas);
  const box = { left: 44, right: 10, top: 10, bottom: 22 };
  const [low, high] = decades(losses);
  const x = (e) => box.left + ((width - box.left - box.right) * e) / Math.max(1, epochs);
  const y = (loss) => {
    const share = (Math.log10(Math.max(loss, 10 ** low)) - low) / (high - low);
    return height - box.bottom - (height - box.top - box.bottom) * Math.min(share, 1);
  };
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.textAlign = "right";
  const every = Math.ceil((high - low) / 5);
  for (let decade = low; decade <= high; decade += every) {
    context.fillStyle = colour("soft");
    context.fillText(Math.abs(decade) <= 3 ? rounded(10 ** decade, 4) : `1e${decade}`, box.left - 6, y(10 ** decade));
    line(context, "rule", 1, [[box.left, y(10 ** decade)], [width - box.right, y(10 ** decade)]]);
  }
  context.textBaseline = "alphabetic";
  context.fillText(`${epochs.toLocaleString("en")} epochs`, width - box.right, height - 5);
  context.textAlign = "left";
  context.fillText("0", box.left, height - 5);
  const stride = Math.max(1, Math.floor(losses.length / 2000));
  const points = losses.map((loss, e) => [e, loss]).filter(([e, loss]) => e % stride === 0 && Number.isFinite(loss));
  const upTo = (last) => points.filter(([e]) => e <= last).map(([e, loss]) => [x(e), y(loss)]);
  line(context, "rule", 2, points.map(([e, loss]) => [x(e), y(loss)]));
  line(context, "accent", 2, upTo(epoch));
  if (!Number.isFinite(losses[epoch])) return;
  context.beginPath();
  context.arc(x(epoch), y(losses[epoch]), 4, 0, 2 * Math.PI);
  context.fillStyle = colour("accent");
  context.fill();
}

function decades(losses) {
  let [low, high] = [Infinity, -Infinity];
  for (const loss of losses) {
    if (!Number.isFinite(loss) || loss <= 0) continue;
    low = Math.min(low, loss);
    high = Math.max(high, loss);
  }
  if (low > high) return [-1, 0];
  const top = Math.ceil(Math.log10(high));
  return [Math.min(Math.floor(Math.log10(low)), top - 2), top];
}

function line(context, name, width, points) {
  context.beginPath();
  points.forEach(([x, y]) => context.lineTo(x, y));
  context.strokeStyle = colour(name);
  context.lineWidth = width;
  context.stroke();
}
