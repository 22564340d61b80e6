import assert from "node:assert/strict";
import { test } from "node:test";

import { patientOf, placeOf, planesOf, voxelAt } from "../../../neuroscan_core/viewer/static/js/case/geometry.js";
import { cut, pictureSize, runsOf } from "../../../neuroscan_core/viewer/static/js/case/reslice.js";
import { AXIAL, CORONAL, grid, numbered, SAGITTAL } from "./grids.mjs";

const ORDER = Int32Array.from([0, 1, 2, 3, 4]);

function picture(stack, slices, order, name, index) {
  const plane = planesOf(stack)[name];
  const { width, height } = pictureSize(plane, stack.counts);
  const out = new Uint16Array(width * height);
  return { plane, width, height, out, present: cut(slices, order, stack.counts, plane, index, out) };
}

test("the plane of the slices is the slice itself", () => {
  const slices = numbered(3, 4, [0, 1, 2, 3, 4]);
  const { out } = picture(grid(), slices, ORDER, "axial", 2);
  assert.deepEqual(out, slices[2]);
});

test("every voxel of every plane is the one that lies there, for all ways of storing", () => {
  for (const [orientation, normal] of [[AXIAL, [0, 0, 1]], [SAGITTAL, [-1, 0, 0]], [CORONAL, [0, 1, 0]], [[0, -1, 0, 1, 0, 0], [0, 0, 1]], [[-1, 0, 0, 0, 0, -1], [0, -1, 0]]]) {
    const stack = grid({ orientation, normal });
    const slices = numbered(3, 4, [0, 1, 2, 3, 4]);
    for (const name of ["axial", "sagittal", "coronal"]) {
      const { depth } = pictureSize(planesOf(stack)[name], stack.counts);
      for (let index = 0; index < depth; index++) {
        const { plane, width, height, out } = picture(stack, slices, ORDER, name, index);
        for (let y = 0; y < height; y++) {
          for (let x = 0; x < width; x++) {
            const [i, j, k] = voxelAt(plane, stack.counts, x, y, index);
            assert.equal(out[y * width + x], 100 * k + 10 * j + i, `${orientation} ${name} ${index} ${x} ${y}`);
          }
        }
      }
    }
  }
});

test("a coronal picture has the head on top and the patient's left on the right", () => {
  const stack = grid();
  const { plane, width, height } = picture(stack, numbered(3, 4, [0, 1, 2, 3, 4]), ORDER, "coronal", 1);
  const [topLeft, bottomRight] = [voxelAt(plane, stack.counts, 0, 0, 1), voxelAt(plane, stack.counts, width - 1, height - 1, 1)].map((voxel) => patientOf(stack, voxel));
  assert.ok(topLeft[2] > bottomRight[2]);
  assert.ok(topLeft[0] < bottomRight[0]);
});

test("a missing slice is a gap and nothing is invented for it", () => {
  const slices = numbered(3, 4, [0, 1, 2, 3, 4]);
  const order = Int32Array.from([0, 1, -1, 3, 4]);
  const stack = grid();
  const { out, width, present } = picture(stack, slices, order, "coronal", 1);
  assert.equal(present.axis, "v");
  assert.deepEqual(present.runs, [[0, 2], [3, 5]]);
  assert.deepEqual([...out.subarray(2 * width, 3 * width)], [0, 0, 0, 0]);
  assert.equal(picture(stack, slices, order, "axial", 2).present.runs.length, 0);
});

test("a slice that is announced but not yet here is a gap, too", () => {
  const slices = numbered(3, 4, [0, 1, 2, 3, 4]);
  slices[4] = undefined;
  assert.deepEqual(picture(grid(), slices, ORDER, "sagittal", 0).present.runs, [[1, 5]]);
});

test("where slices are columns of the picture, gaps are columns", () => {
  const stack = grid({ orientation: SAGITTAL, normal: [-1, 0, 0] });
  const order = Int32Array.from([0, -1, 2, 3, 4]);
  const { present, out, width, height } = picture(stack, numbered(3, 4, [0, 1, 2, 3, 4]), order, "axial", 1);
  assert.equal(present.axis, "u");
  const gap = placeOf(planesOf(stack).axial, stack.counts, [0, 0, 1]).x;
  for (let y = 0; y < height; y++) {
    assert.equal(out[y * width + gap], 0);
  }
});

test("label maps are cut like images", () => {
  const labels = [0, 1, 2, 3, 4].map((k) => new Uint8Array(12).fill(k));
  const stack = grid();
  const out = new Uint8Array(20);
  cut(labels, ORDER, stack.counts, planesOf(stack).coronal, 0, out);
  assert.deepEqual([...out], [4, 4, 4, 4, 3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0]);
});

test("runs are stretches without a hole", () => {
  assert.deepEqual(runsOf(Uint8Array.from([1, 1, 0, 1, 0, 0, 1])), [[0, 2], [3, 4], [6, 7]]);
  assert.deepEqual(runsOf(new Uint8Array(4)), []);
});
