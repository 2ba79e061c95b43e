"use strict";
// labels.csv: read from the text that refining wrote, and made bytes again.

const byteOrderMark = "\ufeff";

// Lines as refining writes them: a byte order mark, and quotes around a cell with a comma, a quote
// or a line feed.
function tableRows(text) {
  const found = [[]];
  for (const [, cell, end] of text.replace(byteOrderMark, "").matchAll(/("(?:[^"]|"")*"|[^,\n]*)([,\n])/g)) {
    found.at(-1).push(cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell);
    if (end === "\n") found.push([]);
  }
  return found.slice(0, -1);
}

function tableBytes(rows) {
  return bytesOf(byteOrderMark + rows.map((row) => row.map(quoted).join(",") + "\n").join(""));
}

// A cell's text: one that a spreadsheet would take for a formula has an apostrophe in front.
function textOf(cell) {
  return /^'+[=+\-@\t\r\n＝＋－＠]/.test(cell) ? cell.slice(1) : cell;
}

function quoted(cell) {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

// UTF-8, but for bytes of names that are not: each of those came as half of a surrogate pair.
function bytesOf(text) {
  const encoder = new TextEncoder();
  const parts = text
    .split(/([\udc80-\udcff])/u)
    .map((part, index) => (index % 2 ? [part.charCodeAt(0) - 0xdc00] : encoder.encode(part)));
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    bytes.set(part, place);
    place += part.length;
  }
  return bytes;
}

function decisionWord(label, given) {
  if (label === "") return "drop";
  if (label === given) return "keep";
  return label.includes("+") ? "multi" : "relabel";
}
