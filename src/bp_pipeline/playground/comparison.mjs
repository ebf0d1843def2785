// What differs between a result of this page and a recorded one.

import { digestArrays } from "./backprop.mjs";

export const digestsOf = ({ arrays }) =>
  Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, digestArrays({ [name]: array })]));

// `recorded` has digests of all arrays, and the losses of the first replicates as base64 of doubles.
export function differenceOf({ digests, losses, epochs }, recorded) {
  const names = Object.keys({ ...digests, ...recorded.digests }).filter((name) => digests[name] !== recorded.digests[name]);
  if (names.length === 0) return "differs: the recorded digest is not that of the recorded arrays, which are as they are here.";
  const what = `differs in ${names.join(", ")}`;
  const theirs = doublesOf(recorded.losses);
  for (let k = 0; k < theirs.length / epochs.length; k++) {
    const at = epochs.findIndex((_, e) => !Object.is(losses[k]?.[e], theirs[k * epochs.length + e]));
    if (at >= 0) return `${what}; first in replicate ${k}, at epoch ${epochs[at]}: loss ${losses[k]?.[at]}, recorded ${theirs[k * epochs.length + at]}`;
  }
  return `${what}; the recorded losses that this page has (${theirs.length / epochs.length} replicates) are as they are here.`;
}

function doublesOf(base64) {
  const view = new DataView(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer);
  return Array.from({ length: view.byteLength / 8 }, (_, i) => view.getFloat64(8 * i, true));
}
