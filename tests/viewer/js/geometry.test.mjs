import assert from "node:assert/strict";
import { test } from "node:test";

import { isOblique, lettersOf, nativePlane, patientOf, placeOf, planesOf, storedPlane, voxelAt, voxelOf } from "../../../neuroscan_core/viewer/static/js/case/geometry.js";
import { AXIAL, close, CORONAL, grid, SAGITTAL } from "./grids.mjs";

const sides = ({ letters }) => `${letters.left}${letters.right} ${letters.top}${letters.bottom}`;

test("an axial picture has the patient's left on its right and the front on top", () => {
  const { axial, sagittal, coronal } = planesOf(grid({ orientation: AXIAL }));
  assert.equal(sides(axial), "RL AP");
  assert.equal(sides(sagittal), "AP SI");
  assert.equal(sides(coronal), "RL SI");
});

test("sides do not depend on how the slices were stored", () => {
  const stored = [[AXIAL, [0, 0, 1]], [SAGITTAL, [-1, 0, 0]], [CORONAL, [0, 1, 0]], [[-1, 0, 0, 0, -1, 0], [0, 0, 1]], [[0, -1, 0, 1, 0, 0], [0, 0, 1]]];
  for (const [orientation, normal] of stored) {
    const planes = planesOf(grid({ orientation, normal }));
    assert.deepEqual(Object.values(planes).map(sides), ["RL AP", "AP SI", "RL SI"], String(orientation));
  }
});

test("the plane of the slices is found for every way of storing them", () => {
  assert.equal(nativePlane(planesOf(grid({ orientation: AXIAL }))), "axial");
  assert.equal(nativePlane(planesOf(grid({ orientation: SAGITTAL, normal: [-1, 0, 0] }))), "sagittal");
  assert.equal(nativePlane(planesOf(grid({ orientation: CORONAL, normal: [0, 1, 0] }))), "coronal");
});

test("an oblique stack is named by its nearest axes", () => {
  const [c, s] = [Math.cos(Math.PI / 6), Math.sin(Math.PI / 6)];
  const tilted = grid({ orientation: [1, 0, 0, 0, c, s], normal: [0, -s, c] });
  assert.equal(planesOf(tilted).axial.letters.top, "AI");
  assert.equal(planesOf(tilted).axial.letters.left, "R");
  assert.ok(isOblique(tilted));
  assert.ok(!isOblique(grid()));
});

test("a tilt of a few degrees does not change the letters", () => {
  assert.equal(lettersOf([Math.cos(0.1), Math.sin(0.1), 0]), "L");
  assert.equal(lettersOf([0.8, -0.6, 0]), "LA");
  assert.equal(lettersOf([0, 0, -2]), "I");
});

test("a voxel's position is that of the standard's equation", () => {
  const stack = grid({ orientation: SAGITTAL, spacing_mm: [0.5, 0.8], gap: 3, normal: [-1, 0, 0] });
  // Columns run to the back by 0.8 mm, rows to the feet by 0.5 mm, slices to the right by 3 mm.
  assert.ok(close(patientOf(stack, [2, 4, 1]), [-3 + stack.origin[0], 1.6, -2]));
});

test("from voxel to patient and back is where one was", () => {
  const [c, s] = [Math.cos(0.4), Math.sin(0.4)];
  const stack = grid({ orientation: [c, s, 0, -s, c, 0], spacing_mm: [0.7, 0.9], gap: 5 });
  assert.ok(close(voxelOf(stack, patientOf(stack, [1.25, 2.5, 3.75])), [1.25, 2.5, 3.75], 1e-9));
});

test("every voxel is shown where it is asked for", () => {
  const stack = grid({ orientation: CORONAL, normal: [0, 1, 0] });
  for (const plane of Object.values(planesOf(stack))) {
    const { x, y, index } = placeOf(plane, stack.counts, [3, 1, 4]);
    assert.deepEqual(voxelAt(plane, stack.counts, x, y, index), [3, 1, 4], plane.name);
  }
});

test("a photograph is shown as it was stored", () => {
  const plane = storedPlane(grid({ orientation: [-1, 0, 0, 0, -1, 0] }));
  assert.deepEqual([plane.u, plane.v, plane.w].map(({ axis, reversed }) => [axis, reversed]), [[0, false], [1, false], [2, false]]);
});
