import assert from "node:assert/strict";
import { test } from "node:test";

import { readMasks, readProbabilities, readSlices, readSurface, readWaiting } from "../../../neuroscan_core/viewer/static/js/case/wire.js";

/** As the server packs it. */
function packed(header, ...arrays) {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const size = Buffer.alloc(4);
  size.writeUInt32LE(text.length);
  const all = Buffer.concat([size, text, ...arrays.map((array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength))]);
  return all.buffer.slice(all.byteOffset, all.byteOffset + all.byteLength);
}

test("slices come as many as there are", () => {
  const slices = readSlices(Uint16Array.from([1, 2, 3, 4, 65535, 6]).buffer, 2);
  assert.deepEqual(slices.map((slice) => [...slice]), [[1, 2], [3, 4], [65535, 6]]);
});

test("masks are put at their arrival numbers", () => {
  const { revision, masks } = readMasks(packed({ revision: 5, slices: [7, 2] }, Uint8Array.from([1, 0, 3, 3])), 2);
  assert.equal(revision, 5);
  assert.deepEqual([...masks].map(([arrival, mask]) => [arrival, [...mask]]), [[7, [1, 0]], [2, [3, 3]]]);
});

test("nothing new is no masks", () => {
  assert.equal(readMasks(packed({ revision: 5, slices: [] }), 2).masks.size, 0);
});

test("an answer that ends too early is an error, not a wrong mask", () => {
  assert.throws(() => readMasks(packed({ revision: 1, slices: [0, 1] }, Uint8Array.from([1, 1])), 2), RangeError);
  assert.throws(() => readMasks(new ArrayBuffer(2), 2), RangeError);
  assert.throws(() => readMasks(Uint8Array.from([200, 0, 0, 0, 123]).buffer, 2), RangeError);
});

test("probabilities are one array per slice", () => {
  assert.deepEqual(readProbabilities(Uint8Array.from([1, 2, 3, 4]).buffer, 2).map((slice) => [...slice]), [[1, 2], [3, 4]]);
});

test("surfaces are read whatever the length of their header is", () => {
  for (const name of ["a", "ab", "abc", "abcd"]) {
    const part = { label: 1, name, colour: "#ff0000", num_vertices: 3, num_triangles: 1 };
    const positions = Float32Array.from([0, 0, 0, 1, 0, 0, 0, 1, 0]);
    const normals = Float32Array.from([0, 0, 1, 0, 0, 1, 0, 0, 1]);
    const [read] = readSurface(packed({ parts: [part] }, positions, normals, Uint32Array.from([0, 1, 2])));
    assert.deepEqual(read.positions, positions);
    assert.deepEqual(read.normals, normals);
    assert.deepEqual([...read.triangles], [0, 1, 2]);
    assert.equal(read.name, name);
  }
});

test("a surface that is cut short is an error", () => {
  const part = { label: 1, name: "a", colour: "#ff0000", num_vertices: 300, num_triangles: 1 };
  assert.throws(() => readSurface(packed({ parts: [part] }, Float32Array.from([0, 0, 0]))), RangeError);
});

test("what is still being computed is told apart from what is there", () => {
  const waiting = new TextEncoder().encode('{"state": "computing", "progress": 0.25}');
  assert.equal(readWaiting(waiting.buffer.slice(0, waiting.byteLength), 65536).progress, 0.25);
  assert.equal(readWaiting(new ArrayBuffer(65536 * 3), 65536), null);
});
