// Stacks for the tests of the case view.

import { gridOf } from "../../../neuroscan_core/viewer/static/js/case/geometry.js";
import { arrange } from "../../../neuroscan_core/viewer/static/js/case/stack.js";

export const AXIAL = [1, 0, 0, 0, 1, 0];
export const SAGITTAL = [0, 1, 0, 0, 0, -1];
export const CORONAL = [1, 0, 0, 0, 0, -1];

/** Description of a stack of slices along their normal, in the order of `places`. */
export function image({ orientation = AXIAL, spacing_mm = [1, 1], rows = 3, columns = 4, gap = 2, places = [0, 1, 2, 3, 4], normal = [0, 0, 1] } = {}) {
  return { orientation, spacing_mm, rows, columns, slice_spacing_mm: gap, positions_mm: places.map((k) => normal.map((n) => n * k * gap)) };
}

/** The grid of such a stack. */
export function grid(options) {
  const described = image(options);
  return gridOf(described, arrange(described));
}

/** Slices whose voxels name themselves: 100 k + 10 j + i. */
export function numbered(rows, columns, places) {
  return places.map((k) => Uint16Array.from({ length: rows * columns }, (_, n) => 100 * k + 10 * Math.floor(n / columns) + (n % columns)));
}

export function close(actual, wanted, tolerance = 1e-9) {
  return actual.length === wanted.length && actual.every((value, n) => Math.abs(value - wanted[n]) <= tolerance);
}
