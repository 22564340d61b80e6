import assert from "node:assert/strict";
import { test } from "node:test";

import { arrange, carriedOver } from "../../../neuroscan_core/viewer/static/js/case/stack.js";
import { image, SAGITTAL } from "./grids.mjs";

test("slices lie in the order of their position, whatever the order of their arrival", () => {
  const stack = arrange(image({ places: [4, 2, 0, 1, 3] }));
  assert.deepEqual([...stack.order], [2, 3, 1, 4, 0]);
  assert.deepEqual([...stack.slots], [4, 2, 0, 1, 3]);
});

test("a slice that is missing leaves a gap", () => {
  const stack = arrange(image({ places: [0, 2, 4, 1] }));
  assert.deepEqual([...stack.order], [0, 3, 1, -1, 2]);
  assert.ok(stack.is_regular);
});

test("without a known distance the smallest gap is the distance", () => {
  const stack = arrange({ ...image({ places: [0, 3, 1], gap: 2 }), slice_spacing_mm: null });
  assert.equal(stack.step_mm, 2);
  assert.deepEqual([...stack.order], [0, 2, -1, 1]);
});

test("one slice alone has a thickness", () => {
  const stack = arrange({ ...image({ places: [5], spacing_mm: [0.5, 0.8] }), slice_spacing_mm: null });
  assert.equal(stack.count, 1);
  assert.equal(stack.step_mm, 0.8);
});

test("a case without images has an empty stack", () => {
  assert.equal(arrange(image({ places: [] })).count, 0);
});

test("the normal of a sagittal stack points to the right of the patient", () => {
  const stack = arrange(image({ orientation: SAGITTAL, normal: [1, 0, 0], places: [0, 1, 2] }));
  assert.deepEqual([...stack.order], [2, 1, 0]);
  assert.deepEqual(stack.origin, [4, 0, 0]);
});

test("several slices at one place are shown one after the other and said to be irregular", () => {
  const stack = arrange(image({ places: [0, 1, 1, 2] }));
  assert.ok(!stack.is_regular);
  assert.deepEqual([...stack.order], [0, 1, 2, 3]);
});

test("a spacing that would leave almost only gaps is not believed", () => {
  const stack = arrange({ ...image({ places: [0, 1000, 2000] }), slice_spacing_mm: 0.001 });
  assert.ok(!stack.is_regular);
  assert.equal(stack.count, 3);
});

test("what was looked at stays where it is in the patient while slices come in below", () => {
  const before = arrange(image({ places: [5, 6, 7] }));
  const now = arrange(image({ places: [5, 6, 7, 3, 4] }));
  assert.equal(carriedOver(before, now, 1), 3);
});
