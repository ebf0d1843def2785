// What several parts of the page make of the document.

export const $ = (id) => document.getElementById(id);
export const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
export const made = (tag, textContent, attributes = {}) => Object.assign(document.createElement(tag), { textContent, ...attributes });

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
