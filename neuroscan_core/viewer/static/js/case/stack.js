/** From slices in the order in which they arrived to a stack along their normal, with gaps where none is there yet. */

import { dot, normalOf, plus, scaled } from "./geometry.js";

const SAME_PLACE_MM = 1e-3;
const MAX_EMPTY_PER_SLICE = 8; // a spacing that would leave more gaps than this is not the spacing

/**
 * @typedef {{order: Int32Array, slots: Int32Array, step_mm: number, origin: import("./geometry.js").Vector,
 *   count: number, is_regular: boolean, base_mm: number}} Stack
 * `order`: arrival number at each place along the normal, -1 for a gap; `slots`: the place of each arrival number.
 */

/**
 * Sort slices by their position along the normal.
 * @param {{positions_mm: number[][], orientation: number[], spacing_mm: number[], slice_spacing_mm?: number|null}} image
 * @returns {Stack}
 */
export function arrange(image) {
  const normal = normalOf(image.orientation);
  const offsets = image.positions_mm.map((position) => dot(normal, /** @type {any} */ (position)));
  const sorted = offsets.map((_, arrival) => arrival).sort((a, b) => offsets[a] - offsets[b]);
  const step = stepOf(sorted.map((arrival) => offsets[arrival]), image);
  const places = sorted.map((arrival) => Math.round((offsets[arrival] - offsets[sorted[0]]) / step));
  const last = places[places.length - 1] ?? -1;
  const collide = places.some((place, n) => n > 0 && place === places[n - 1]);
  const isRegular = !collide && last < MAX_EMPTY_PER_SLICE * Math.max(sorted.length, 4);
  const count = sorted.length === 0 ? 0 : isRegular ? last + 1 : sorted.length;
  const order = new Int32Array(count).fill(-1);
  const slots = new Int32Array(sorted.length).fill(-1);
  sorted.forEach((arrival, rank) => {
    const place = isRegular ? places[rank] : rank;
    order[place] = arrival;
    slots[arrival] = place;
  });
  const origin = sorted.length > 0 ? /** @type {any} */ (image.positions_mm[sorted[0]]) : [0, 0, 0];
  return { order, slots, step_mm: step, origin, count, is_regular: isRegular, base_mm: offsets[sorted[0]] ?? 0 };
}

/** Distance of neighbours: what the server says, otherwise the smallest gap that is one. */
function stepOf(offsets, image) {
  if (image.slice_spacing_mm) {
    return image.slice_spacing_mm;
  }
  let step = Infinity;
  for (let n = 1; n < offsets.length; n++) {
    const gap = offsets[n] - offsets[n - 1];
    step = gap > SAME_PLACE_MM ? Math.min(step, gap) : step;
  }
  return Number.isFinite(step) ? step : Math.max(...image.spacing_mm);
}

/**
 * Where a place of an older stack lies in a newer one; slices below the first one move everything up.
 * @param {Stack} before @param {Stack} now @param {number} place
 */
export function carriedOver(before, now, place) {
  const offset = before.base_mm + place * before.step_mm;
  return Math.min(Math.max(Math.round((offset - now.base_mm) / now.step_mm), 0), Math.max(now.count - 1, 0));
}

/** Position of the voxel (0, 0) of a place. @param {Stack} stack @param {number[]} orientation @param {number} place */
export function positionOf(stack, orientation, place) {
  return plus(stack.origin, scaled(normalOf(orientation), stack.step_mm * place));
}
