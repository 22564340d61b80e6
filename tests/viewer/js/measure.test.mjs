import assert from "node:assert/strict";
import { test } from "node:test";

import { areaOf, convexHull, diametersOf, distance, largestSlice } from "../../../neuroscan_core/viewer/static/js/case/measure.js";
import { grid } from "./grids.mjs";

const ONE = new Set([1]);

test("a distance is in millimetres whatever the voxels are", () => {
  const stack = grid({ spacing_mm: [0.5, 2], gap: 5 });
  assert.equal(distance(stack, [0, 0, 0], [3, 0, 0]), 6);
  assert.equal(distance(stack, [0, 0, 0], [0, 4, 0]), 2);
  assert.equal(distance(stack, [0, 0, 0], [0, 0, 2]), 10);
  assert.ok(Math.abs(distance(stack, [0, 0, 0], [2, 6, 0]) - 5) < 1e-12);
});

test("a disc has its diameter, with voxels that are not square", () => {
  const [columns, rows, radius] = [60, 120, 20];
  const labels = new Uint8Array(columns * rows);
  for (let j = 0; j < rows; j++) {
    for (let i = 0; i < columns; i++) {
      labels[j * columns + i] = Math.hypot((i - 30) * 1, (j - 60) * 0.5) <= radius ? 1 : 0;
    }
  }
  const { long_mm: long, short_mm: short } = diametersOf(labels, columns, rows, ONE, [0.5, 1]);
  // Outlines go around pixels: up to one pixel more than twice the radius.
  assert.ok(Math.abs(long - 40) < 1.5 && Math.abs(short - 40) < 1.5, `${long} ${short}`);
});

test("diameters of a rectangle are its diagonal and what stands at a right angle to it", () => {
  const labels = new Uint8Array(20 * 10);
  for (let j = 2; j < 5; j++) {
    labels.fill(1, j * 20 + 3, j * 20 + 15);
  }
  const { long_mm: long, short_mm: short, long: [i0, j0, i1, j1] } = diametersOf(labels, 20, 10, ONE, [1, 1]);
  assert.ok(long > 12 && long < Math.hypot(12, 3), String(long));
  assert.ok(short > 2.5 && short <= 3.2, String(short));
  assert.ok(Math.abs(Math.hypot(i1 - i0, j1 - j0) - long) < 1e-9);
});

test("the diameter is that of the largest part, not across parts", () => {
  const labels = new Uint8Array(30 * 3);
  labels.fill(1, 30, 34);
  labels.fill(1, 57, 59);
  assert.ok(diametersOf(labels, 30, 3, ONE, [1, 1]).long_mm < 5);
});

test("nothing has no diameter", () => {
  assert.equal(diametersOf(new Uint8Array(9), 3, 3, ONE, [1, 1]), null);
});

test("the largest slice is the one with most pixels of the labels asked for", () => {
  const masks = [Uint8Array.from([1, 0, 0]), undefined, Uint8Array.from([1, 1, 0]), Uint8Array.from([2, 2, 2])];
  assert.equal(largestSlice(masks, ONE), 2);
  assert.equal(largestSlice(masks, new Set([1, 2])), 3);
  assert.equal(largestSlice([new Uint8Array(3)], ONE), -1);
  assert.equal(areaOf(masks[3], new Set([2])), 3);
});

test("a hull holds its corners only", () => {
  const hull = convexHull([[0, 0], [2, 0], [2, 2], [0, 2], [1, 1], [1, 0]]);
  assert.equal(hull.length, 4);
});
