import assert from "node:assert/strict";
import { test } from "node:test";

import { commonRegions, countsOf, diceOf, differenceOf, summed } from "../../../neuroscan_core/viewer/static/js/case/agreement.js";

const ANY = new Set([1, 2, 3]);

test("overlap is counted over all labels that mean it", () => {
  const counts = countsOf(Uint8Array.from([1, 2, 3, 0, 0]), Uint8Array.from([1, 1, 0, 1, 0]), ANY, new Set([1]));
  assert.deepEqual(counts, { first: 3, second: 3, both: 2 });
  assert.equal(diceOf(counts), 4 / 6);
});

test("the same is 1, nothing in common is 0, and two empty ones cannot be compared", () => {
  const labels = Uint8Array.from([1, 0, 1]);
  assert.equal(diceOf(countsOf(labels, labels, ANY, ANY)), 1);
  assert.equal(diceOf(countsOf(labels, Uint8Array.from([0, 1, 0]), ANY, ANY)), 0);
  assert.equal(diceOf(countsOf(new Uint8Array(3), new Uint8Array(3), ANY, ANY)), null);
});

test("a slice that one of them has not is empty there", () => {
  assert.deepEqual(countsOf(undefined, Uint8Array.from([1, 1]), ANY, ANY), { first: 0, second: 2, both: 0 });
  assert.deepEqual(countsOf(undefined, undefined, ANY, ANY), { first: 0, second: 0, both: 0 });
});

test("counts of slices add up", () => {
  assert.deepEqual(summed([{ first: 1, second: 2, both: 1 }, { first: 3, second: 4, both: 2 }]), { first: 4, second: 6, both: 3 });
});

test("the difference tells only the first, only the second and both apart", () => {
  const out = new Uint8Array(4);
  differenceOf(Uint8Array.from([0, 2, 0, 3]), Uint8Array.from([0, 0, 1, 1]), 4, out, ANY, ANY);
  assert.deepEqual([...out], [0, 1, 2, 3]);
});

test("regions are matched by name, whatever their values are", () => {
  const rows = commonRegions([{ value: 1, name: "oedema" }, { value: 2, name: "core" }], [{ value: 7, name: "Core" }]);
  assert.deepEqual(rows.map(({ name, first, second }) => [name, [...first], [...second]]), [[null, [1, 2], [7]], ["core", [2], [7]]]);
});
