import assert from "node:assert/strict";
import { test } from "node:test";

import { directionOf, NAMED_VIEWS } from "../../../neuroscan_core/viewer/static/js/case/orbit.js";
import { close } from "./grids.mjs";

test("from the front the camera stands before the face, from the left at the patient's left", () => {
  assert.ok(close(directionOf(NAMED_VIEWS.anterior), [0, -1, 0], 1e-9));
  assert.ok(close(directionOf(NAMED_VIEWS.left), [1, 0, 0], 1e-9));
});

test("from above the face is on top of the screen", () => {
  const [x, y, z] = directionOf(NAMED_VIEWS.superior);
  assert.ok(z > 0.99);
  // The camera leans to the back, so that what is up on the screen points to the front.
  assert.ok(y > 0 && Math.abs(x) < 1e-9);
});
