import assert from "node:assert/strict";
import { test } from "node:test";

import { addToHistogram, centreAndWidth, draggedWindow, greyTable, paintGrey, percentile, presetsOf, windowAround } from "../../../neuroscan_core/viewer/static/js/case/window.js";

const PLAIN = { slope: 1, intercept: 0 };

test("grey goes from black at the low end to white at the high end", () => {
  const table = greyTable({ low: 100, high: 200 }, PLAIN);
  assert.deepEqual([table[0], table[100], table[150], table[200], table[65535]], [0, 0, 128, 255, 255]);
});

test("slope and intercept are taken into account", () => {
  const table = greyTable({ low: -10, high: 10 }, { slope: 0.5, intercept: -20 });
  assert.deepEqual([table[20], table[40], table[60]], [0, 128, 255]);
});

test("a window without width is a threshold, not a division by zero", () => {
  const table = greyTable({ low: 50, high: 50 }, PLAIN);
  assert.deepEqual([table[49], table[51]], [0, 255]);
});

test("pixels are opaque and grey", () => {
  const rgba = new Uint32Array(2);
  paintGrey(Uint16Array.from([0, 255]), 2, greyTable({ low: 0, high: 255 }, PLAIN), rgba);
  assert.deepEqual([...new Uint8Array(rgba.buffer)], [0, 0, 0, 255, 255, 255, 255, 255]);
});

test("percentiles are those of the values", () => {
  const histogram = addToHistogram([Uint16Array.from({ length: 1000 }, (_, n) => n)], 1);
  assert.equal(percentile(histogram, 0.5), 499);
  assert.equal(percentile(histogram, 0.995), 994);
  assert.equal(percentile(histogram, 0), 0);
  assert.equal(percentile(histogram, 0.5, 900), 949);
});

test("the soft window leaves air out and the wide one nothing", () => {
  const voxels = Uint16Array.from([...Array(900).fill(3), ...Array.from({ length: 100 }, (_, n) => 500 + n), 1200]);
  const { auto, soft, wide } = presetsOf(addToHistogram([voxels], 1), PLAIN);
  assert.deepEqual(wide, { low: 3, high: 1200 });
  assert.ok(soft.low > 400 && soft.high < 600, JSON.stringify(soft));
  assert.equal(auto.low, 3);
});

test("an image of one value has windows with a width", () => {
  const presets = presetsOf(addToHistogram([new Uint16Array(100).fill(7)], 1), PLAIN);
  for (const { low, high } of Object.values(presets)) {
    assert.ok(high > low);
  }
});

test("dragging to the right widens, dragging down brightens", () => {
  const start = { low: 0, high: 1000 };
  const wider = draggedWindow(start, 50, 0, start);
  assert.ok(wider.high - wider.low > 1000);
  assert.equal(wider.high + wider.low, 1000);
  const brighter = draggedWindow(start, 0, 50, start);
  assert.ok(brighter.low < 0 && Math.abs(brighter.high - brighter.low - 1000) < 1e-9);
});

test("a window never gets narrower than nothing", () => {
  const { low, high } = draggedWindow({ low: 0, high: 10 }, -10_000, 0, { low: 0, high: 10 });
  assert.ok(high > low);
});

test("level and width say the same as both ends", () => {
  assert.deepEqual(centreAndWidth({ low: 100, high: 300 }), { centre: 200, width: 200 });
  assert.deepEqual(windowAround(200, 200), { low: 100, high: 300 });
});
