/** Distances, diameters and sizes in millimetres, right for voxels that are not cubes. */

import { length, patientOf, plus, scaled } from "./geometry.js";

/** Distance of two voxels (fractions allowed). @param {import("./geometry.js").Grid} grid */
export function distance(grid, voxelA, voxelB) {
  return length(plus(patientOf(grid, voxelA), scaled(patientOf(grid, voxelB), -1)));
}

/** Number of pixels that have one of some labels. @param {Uint8Array} labels @param {ReadonlySet<number>} values */
export function areaOf(labels, values) {
  let area = 0;
  for (let n = 0; n < labels.length; n++) {
    area += labels[n] !== 0 && values.has(labels[n]) ? 1 : 0;
  }
  return area;
}

/**
 * Arrival number of the slice with most labelled pixels; -1 where there is none.
 * @param {(Uint8Array|undefined)[]} masks by arrival number @param {ReadonlySet<number>} values
 */
export function largestSlice(masks, values) {
  let [best, found] = [0, -1];
  masks.forEach((mask, arrival) => {
    const area = mask ? areaOf(mask, values) : 0;
    if (area > best) {
      [best, found] = [area, arrival];
    }
  });
  return found;
}

/**
 * Largest diameter of what is labelled in one slice, and the largest across it; outlines are edges of pixels, as the
 * report has them.
 * @param {Uint8Array} labels @param {number} columns @param {number} rows @param {ReadonlySet<number>} values
 * @param {number[]} spacing_mm between rows, between columns
 * @returns {{long_mm: number, short_mm: number, long: number[], short: number[]} | null} ends as i0, j0, i1, j1
 */
export function diametersOf(labels, columns, rows, values, spacing_mm) {
  const [rowMm, columnMm] = spacing_mm;
  let best = null;
  for (const part of partsOf(labels, columns, rows, values)) {
    const hull = convexHull(edgePoints(part, columns, columnMm, rowMm));
    const long = longestPair(hull);
    if (long && (!best || long.mm > best.long.mm)) {
      best = { long, hull };
    }
  }
  if (!best) {
    return null;
  }
  const short = longestAcross(best.hull, best.long);
  const ends = (/** @type {number[][]} */ [a, b]) => [a[0] / columnMm, a[1] / rowMm, b[0] / columnMm, b[1] / rowMm];
  return { long_mm: best.long.mm, short_mm: short.mm, long: ends(best.long.ends), short: ends(short.ends) };
}

/** Connected parts (also over corners) as lists of pixel numbers. */
function partsOf(labels, columns, rows, values) {
  const seen = new Uint8Array(labels.length);
  const parts = [];
  for (let start = 0; start < labels.length; start++) {
    if (seen[start] || !values.has(labels[start])) {
      continue;
    }
    const part = [start];
    seen[start] = 1;
    for (let n = 0; n < part.length; n++) {
      const [x, y] = [part[n] % columns, Math.floor(part[n] / columns)];
      for (let v = Math.max(y - 1, 0); v <= Math.min(y + 1, rows - 1); v++) {
        for (let u = Math.max(x - 1, 0); u <= Math.min(x + 1, columns - 1); u++) {
          const next = v * columns + u;
          if (!seen[next] && values.has(labels[next])) {
            seen[next] = 1;
            part.push(next);
          }
        }
      }
    }
    parts.push(part);
  }
  return parts;
}

/** Middles of the edges of pixels that can lie on a hull (the ends of each row), in millimetres. */
function edgePoints(part, columns, columnMm, rowMm) {
  const rows = new Map();
  for (const pixel of part) {
    const [x, y] = [pixel % columns, Math.floor(pixel / columns)];
    const ends = rows.get(y);
    rows.set(y, ends ? [Math.min(ends[0], x), Math.max(ends[1], x)] : [x, x]);
  }
  const points = [];
  for (const [y, [first, last]] of rows) {
    points.push([first - 0.5, y], [last + 0.5, y], [first, y - 0.5], [first, y + 0.5], [last, y - 0.5], [last, y + 0.5]);
  }
  return points.map(([x, y]) => [x * columnMm, y * rowMm]);
}

/** Andrew's monotone chain. @param {number[][]} points */
export function convexHull(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const turn = (o, a, b) => (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0]);
  const half = (/** @type {number[][]} */ list) => {
    const chain = [];
    for (const point of list) {
      while (chain.length > 1 && turn(chain[chain.length - 2], chain[chain.length - 1], point) <= 0) {
        chain.pop();
      }
      chain.push(point);
    }
    return chain.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

function longestPair(hull) {
  let best = null;
  for (let a = 0; a < hull.length; a++) {
    for (let b = a + 1; b < hull.length; b++) {
      const mm = Math.hypot(hull[a][0] - hull[b][0], hull[a][1] - hull[b][1]);
      best = !best || mm > best.mm ? { mm, ends: [hull[a], hull[b]] } : best;
    }
  }
  return best;
}

/** Longest chord of a convex polygon at a right angle to an axis; it starts in one of the corners. */
function longestAcross(hull, axis) {
  const along = [0, 1].map((n) => (axis.ends[1][n] - axis.ends[0][n]) / axis.mm);
  const turned = hull.map(([x, y]) => [x * along[0] + y * along[1], y * along[0] - x * along[1]]);
  let best = { mm: -1, ends: [hull[0], hull[0]] };
  for (const [t] of turned) {
    const chord = chordAt(turned, t);
    if (chord[1] - chord[0] > best.mm) {
      const back = (/** @type {number} */ s) => [t * along[0] - s * along[1], t * along[1] + s * along[0]];
      best = { mm: chord[1] - chord[0], ends: [back(chord[0]), back(chord[1])] };
    }
  }
  return best;
}

function chordAt(turned, t) {
  let [low, high] = [Infinity, -Infinity];
  turned.forEach(([t0, s0], n) => {
    const [t1, s1] = turned[(n + 1) % turned.length];
    if (Math.min(t0, t1) > t || Math.max(t0, t1) < t) {
      return;
    }
    const isFlat = Math.abs(t1 - t0) < 1e-9;
    for (const s of isFlat ? [s0, s1] : [s0 + ((t - t0) / (t1 - t0)) * (s1 - s0)]) {
      [low, high] = [Math.min(low, s), Math.max(high, s)];
    }
  });
  return [low, high];
}
