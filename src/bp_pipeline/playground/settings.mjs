// What the page is set to: a config, the options it was made of, and which replicate is looked at.
//
// Owns how entries are read and refused, and how settings are written as overrides of `bp train`. What
// may be chosen, its defaults and its ranges come with the page, from the pipeline's own declarations.

import { architectureOf } from "./backprop.mjs";
import { spell } from "./equations.mjs";

const GROUPS = ["task", "activation", "init", "loss", "optimizer"];
const NAMED = new Set(GROUPS.map((group) => `${group}.name`)); // which the group's own key stands for

// An entry that cannot be used; its text is the whole message, as the pipeline tells it.
export class WrongEntry extends Error {
  constructor(key, rule, value, example) {
    const [whole, item] = key.split(/\[|\]/);
    const sentence = `must ${rule}, got ${repr(value)}.`;
    super(`\`${key}\` ${sentence}${example === undefined ? "" : ` Try \`${whole}=${example}\`.`}`);
    Object.assign(this, { key: whole, item, sentence, example });
  }

  // The message as it stands beside the field of this label.
  beside(label) {
    const which = this.item === undefined ? label : `${label}, number ${Number(this.item) + 1},`;
    return `${which} ${this.sentence}${this.example === undefined ? "" : ` Try ${this.example.replace(/[[\]]/g, "")}.`}`;
  }
}

// {config, labels, replicate} as overrides of the pipeline's defaults: a list of [key, text].
export function overridesOf({ config, labels, path }, data) {
  const chosen = GROUPS.filter((group) => labels[group] !== data.defaults.labels[group]);
  const expected = new Map(flat({ ...data.defaults.config, ...optionsOf(labels, data) }));
  const ours = [...flat(config)].filter(([key]) => !key.startsWith("init.weights"));
  if (labels.init === "given") ours.push(["init.path", path]);
  const isGiven = (key) => labels.init === "given" && key === "replicates"; // one for each that is given
  const changed = ours.filter(([key, value]) => !NAMED.has(key) && !isGiven(key) && text(expected.get(key)) !== text(value));
  return [...chosen.map((group) => [group, labels[group]]), ...changed.map(([key, value]) => [key, text(value)])];
}

export function commandOf(program, overrides) {
  return ["bp", program, ...overrides.map(([key, value]) => quoted(`${key}=${value}`))].join(" ");
}

const quoted = (word) => (/^[\w.,=+:/-]+$/.test(word) ? word : `'${word}'`);

const optionsOf = (labels, data) =>
  Object.fromEntries(GROUPS.map((group) => [group, data.options[group][labels[group]]]).filter(([, option]) => option));

// Settings changed by one entry.
export function changed(settings, key, entry, data) {
  const next = structuredClone(settings);
  const value = valueOf(key, entry);
  if (key === "replicate") next.replicate = checkedReplicate(value, settings);
  else if (GROUPS.includes(key)) choose(next, key, value, data);
  else if (key === "init.path") checkPath(value, settings);
  else set(next.config, key, checked(key, value, data.rules));
  if (next.replicate >= next.config.replicates) next.replicate = 0;
  return next;
}

function checkPath(value, { path }) {
  if (value !== path) throw new WrongEntry("init.path", "be the one that this page was made with", value, path ?? undefined);
}

function choose(settings, group, label, data) {
  const options = data.options[group];
  if (!(label in options)) throw new WrongEntry(group, `be one of ${Object.keys(options).join(", ")}`, label);
  const kept = group === "optimizer" ? settings.config.optimizer : {};
  const { learning_rate, momentum } = kept;
  settings.labels[group] = label;
  settings.config[group] = { ...structuredClone(options[label]) };
  if (group === "optimizer") Object.assign(settings.config.optimizer, { learning_rate, momentum });
  if (group === "init" && label === "given") settings.config.replicates = data.start.config.replicates;
}

function set(config, key, value) {
  const names = key.split(".");
  const last = names.pop();
  names.reduce((section, name) => section[name], config)[last] = value;
}

// Settings in which what was just entered has what it needs beside it, and what was switched for that.
export function together(settings, key) {
  const { config, labels } = settings;
  if (config.loss.name !== "logistic" || config.network.output === "sigmoid") return [settings, ""];
  if (key === "loss") {
    config.network.output = "sigmoid";
    return [settings, "Output was switched to sigmoid: the logistic loss needs answers between 0 and 1."];
  }
  if (key === "network.output") {
    config.loss.name = labels.loss = "squared_error";
    return [settings, `Loss was switched to squared_error: the logistic loss needs a sigmoid output, not ${config.network.output}.`];
  }
  return [settings, ""];
}

// What goes together: raise where the config cannot be trained.
export function checkTogether(settings) {
  const { config, labels } = settings;
  const { output } = config.network;
  if (config.loss.name === "logistic" && output !== "sigmoid") {
    const use = "Use `network.output=sigmoid` or `loss=squared_error`.";
    const error = new WrongEntry("network.output", `be sigmoid for \`loss=${config.loss.name}\``, output);
    error.message += ` ${use}`;
    throw error;
  }
  if (labels.init !== "given") return;
  const { sizes, rows } = architectureOf(config);
  const layers = Object.values(config.init.weights);
  const fits = (row, l) => layers[l]?.[0].length === row && layers[l][0][0].length === sizes[l + 1];
  if (rows.length !== layers.length || !rows.every(fits)) {
    throw new WrongEntry("init.path", `hold weights for the layer sizes ${text(sizes)}`, settings.path);
  }
  if (config.replicates !== layers[0].length) {
    throw new WrongEntry("replicates", `be ${layers[0].length}, as many as are given`, config.replicates);
  }
}

function checkedReplicate(value, { config }) {
  const last = config.replicates - 1;
  if (Number.isInteger(value) && value >= 0 && value <= last) return value;
  throw new WrongEntry("replicate", `be one of the run's \`replicates\`, 0 to ${last}`, value, "0");
}

function checked(key, value, rules) {
  const rule = rules[key];
  if (rule === undefined) throw new WrongEntry(key, "be a key of this page", value);
  if (rule.values && !rule.values.includes(value)) {
    throw new WrongEntry(key, `be one of ${rule.values.join(", ")}`, value, rule.example);
  }
  if (rule.type !== "array") return inRange(key, value, rule, rule.example);
  if (!Array.isArray(value)) throw new WrongEntry(key, "be a list", value, rule.example);
  return value.map((item, i) => inRange(`${key}[${i}]`, item, rule.items, rule.example));
}

const LIMITS = [
  ["exclusiveMinimum", ">", (value, limit) => value > limit],
  ["minimum", ">=", (value, limit) => value >= limit],
  ["exclusiveMaximum", "<", (value, limit) => value < limit],
  ["maximum", "<=", (value, limit) => value <= limit],
];

function inRange(key, value, rule, example) {
  const refuse = (what) => {
    throw new WrongEntry(key, what, value, example);
  };
  if (rule.type === "boolean" && typeof value !== "boolean") refuse("be true or false");
  if (rule.type === "integer" && !Number.isInteger(value) && typeof value !== "bigint") refuse("be an integer");
  if (rule.type === "number" && typeof value !== "number") refuse("be a number");
  if (rule.type === "number" && !Number.isFinite(value)) refuse("be finite");
  for (const [name, sign, holds] of LIMITS) {
    if (name in rule && !holds(value, exactly(rule[name]))) refuse(`be ${sign} ${rule[name]}`);
  }
  return typeof value === "bigint" ? String(value) : value;
}

const exactly = (limit) => (typeof limit === "string" ? BigInt(limit) : limit); // beyond 2⁵³ it is a text

// Read an entry as Hydra reads a value.
function valueOf(key, entry) {
  const trimmed = entry.trim();
  if (key === "seed" && /^-?\d+$/.test(trimmed)) return BigInt(trimmed);
  if (key === "network.hidden") return listOf(trimmed);
  return scalarOf(trimmed);
}

function listOf(trimmed) {
  const inner = trimmed.replace(/^\[|\]$/g, "").trim();
  return inner === "" ? [] : inner.split(/[\s,]+/).map(scalarOf);
}

function scalarOf(trimmed) {
  if (/^(true|false)$/.test(trimmed)) return trimmed === "true";
  if (/^[+-]?inf$/i.test(trimmed)) return trimmed.startsWith("-") ? -Infinity : Infinity;
  if (/^nan$/i.test(trimmed)) return NaN;
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(trimmed) ? Number(trimmed) : trimmed;
}

// A value as Python prints it in a message, and as one types it.
const repr = (value) => (typeof value === "string" ? `'${value}'` : text(value));

function text(value) {
  if (Array.isArray(value)) return `[${value.map(text).join(",")}]`;
  return typeof value === "number" ? spell(value) : String(value);
}

function* flat(tree, prefix = "") {
  for (const [key, value] of Object.entries(tree)) {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) yield* flat(value, `${prefix}${key}.`);
    else yield [prefix + key, value];
  }
}
