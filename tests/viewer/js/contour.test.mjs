import assert from "node:assert/strict";
import { test } from "node:test";

import { boundsOf, outline } from "../../../neuroscan_core/viewer/static/js/case/contour.js";

function map(...rows) {
  return { labels: Uint8Array.from(rows.join("").split("").map(Number)), width: rows[0].length, height: rows.length };
}

const piecesOf = ({ labels, width, height }, value = 1) => {
  const flat = [...outline(labels, width, height, value)];
  return Array.from({ length: flat.length / 4 }, (_, n) => flat.slice(4 * n, 4 * n + 4));
};
const lengthOf = (pieces) => pieces.reduce((sum, [x0, y0, x1, y1]) => sum + Math.abs(x1 - x0) + Math.abs(y1 - y0), 0);

test("one pixel has four edges", () => {
  assert.deepEqual(piecesOf(map("000", "010", "000")), [[1, 1, 2, 1], [1, 2, 2, 2], [1, 1, 1, 2], [2, 1, 2, 2]]);
});

test("edges along one line are one piece", () => {
  assert.equal(piecesOf(map("0000", "0110", "0110", "0000")).length, 4);
});

test("a region at the border of the picture is closed", () => {
  assert.equal(lengthOf(piecesOf(map("11", "11"))), 8);
});

test("a hole has an outline of its own", () => {
  assert.equal(lengthOf(piecesOf(map("111", "101", "111"))), 12 + 4);
});

test("labels are outlined one by one, also where they touch", () => {
  const both = map("12", "12");
  assert.equal(lengthOf(piecesOf(both, 1)), 6);
  assert.equal(lengthOf(piecesOf(both, 2)), 6);
});

test("a label that is not there has no outline", () => {
  assert.equal(piecesOf(map("00", "00")).length, 0);
});

test("every corner of an outline is met by an even number of edges, so that it is closed", () => {
  const wild = map("0110100", "1100111", "0010100", "1101011", "0111110");
  const ends = new Map();
  for (const [x0, y0, x1, y1] of piecesOf(wild)) {
    for (let x = x0, y = y0; x < x1 || y < y1; x += Math.sign(x1 - x0), y += Math.sign(y1 - y0)) {
      for (const key of [`${x},${y}`, `${x + Math.sign(x1 - x0)},${y + Math.sign(y1 - y0)}`]) {
        ends.set(key, (ends.get(key) ?? 0) + 1);
      }
    }
  }
  assert.ok(ends.size > 0 && [...ends.values()].every((count) => count % 2 === 0));
});

test("the box around a label is the smallest", () => {
  const { labels, width, height } = map("0000", "0010", "0110", "0000");
  assert.deepEqual(boundsOf(labels, width, height, 1), { left: 1, right: 3, top: 1, bottom: 3 });
  assert.equal(boundsOf(labels, width, height, 2), null);
});
