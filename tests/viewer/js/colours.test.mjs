import assert from "node:assert/strict";
import { test } from "node:test";

import { coloursOf, labelTable, OKABE_ITO, probabilityTable, rgbOf, viridis } from "../../../neuroscan_core/viewer/static/js/case/colours.js";

const luminance = ([red, green, blue]) => 0.2126 * red + 0.7152 * green + 0.0722 * blue;

test("the map of probabilities gets brighter all the way", () => {
  const steps = Array.from({ length: 101 }, (_, n) => luminance(viridis(n / 100)));
  assert.ok(steps.every((value, n) => n === 0 || value > steps[n - 1]));
  assert.deepEqual(viridis(0), rgbOf("#440154"));
  assert.deepEqual(viridis(2), rgbOf("#fde725"));
});

test("where there is no tumour the image is seen", () => {
  const table = probabilityTable();
  assert.equal(table[0] >>> 24, 0);
  assert.equal(table[255] >>> 24, 255);
});

test("pixels are red, green, blue, opaque in memory; background and hidden labels are transparent", () => {
  const table = labelTable([{ value: 1, colour: "#010203" }, { value: 2, colour: "#ffffff" }], new Set([2]));
  assert.deepEqual([...new Uint8Array(table.slice(1, 2).buffer)], [1, 2, 3, 255]);
  assert.equal(table[0], 0);
  assert.equal(table[2], 0);
});

test("colours are safe for the colour-blind unless those of the model are chosen", () => {
  const labels = [{ value: 1, colour: "#ff0000" }, { value: 4, colour: "#00ff00" }];
  assert.deepEqual([...coloursOf(labels, "safe")], [[1, OKABE_ITO[0]], [4, OKABE_ITO[1]]]);
  assert.deepEqual([...coloursOf(labels, "card")], [[1, "#ff0000"], [4, "#00ff00"]]);
});
