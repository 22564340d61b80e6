/**
 * Pictures of a plane out of slices that lie as separate arrays; the same code for images and label maps.
 *
 * Nothing is interpolated here. Where a slice is missing the picture keeps `empty`, and `runs` says which rows or
 * columns are there, so that the drawing does not blur across a gap either.
 */

/** @typedef {Uint16Array|Uint8Array} Voxels */

/** Size of a plane's picture in voxels. @param {import("./geometry.js").Plane} plane @param {number[]} counts */
export function pictureSize(plane, counts) {
  return { width: counts[plane.u.axis], height: counts[plane.v.axis], depth: counts[plane.w.axis] };
}

/**
 * Cut a plane out of a stack.
 * @template {Voxels} V
 * @param {(V|null|undefined)[]} slices by arrival number
 * @param {Int32Array} order arrival number by place along the normal, -1 for none
 * @param {number[]} counts voxels along i, j, k
 * @param {import("./geometry.js").Plane} plane
 * @param {number} index of the picture along the plane's w
 * @param {V} out at least width x height; row by row
 * @param {number} [empty] value where nothing is
 * @returns {{axis: "u"|"v"|"w", runs: [number, number][]}} which stretch of the picture is there: along u or v from
 *   first to after the last; for the plane of the slices themselves one run of everything, or none
 */
export function cut(slices, order, counts, plane, index, out, empty = 0) {
  const [columns, , numSlices] = counts;
  const strides = [1, columns, 0];
  const { width, height } = pictureSize(plane, counts);
  const first = (/** @type {{axis: number, reversed: boolean}} */ axis) => (axis.reversed ? counts[axis.axis] - 1 : 0);
  const step = (/** @type {{axis: number, reversed: boolean}} */ axis) => strides[axis.axis] * (axis.reversed ? -1 : 1);
  const place = plane.w.reversed ? counts[plane.w.axis] - 1 - index : index;
  const sliceAt = (/** @type {number} */ k) => {
    const arrival = k >= 0 && k < numSlices ? order[k] : -1;
    return arrival < 0 ? undefined : slices[arrival];
  };
  if (plane.w.axis === 2) {
    const source = sliceAt(place);
    if (!source) {
      out.fill(empty, 0, width * height);
      return { axis: "w", runs: [] };
    }
    const start = first(plane.u) * strides[plane.u.axis] + first(plane.v) * strides[plane.v.axis];
    copy(source, start, step(plane.u), step(plane.v), out, width, height);
    return { axis: "w", runs: [[0, height]] };
  }
  return plane.v.axis === 2
    ? rowsOf(sliceAt, counts, plane, place * strides[plane.w.axis], out, empty)
    : columnsOf(sliceAt, counts, plane, place * strides[plane.w.axis], out, empty);
}

function copy(source, start, stepX, stepY, out, width, height) {
  if (stepX === 1 && stepY === width && start === 0) {
    out.set(source.length === width * height ? source : source.subarray(0, width * height));
    return;
  }
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0, from = start + y * stepY; x < width; x++, from += stepX) {
      out[to++] = source[from];
    }
  }
}

/** Every row of the picture comes from a slice of its own. */
function rowsOf(sliceAt, counts, plane, offset, out, empty) {
  const { width, height } = pictureSize(plane, counts);
  const stride = plane.u.axis === 0 ? 1 : counts[0];
  const start = offset + (plane.u.reversed ? (width - 1) * stride : 0);
  const step = plane.u.reversed ? -stride : stride;
  const present = new Uint8Array(height);
  for (let y = 0; y < height; y++) {
    const source = sliceAt(plane.v.reversed ? height - 1 - y : y);
    const to = y * width;
    if (!source) {
      out.fill(empty, to, to + width);
      continue;
    }
    present[y] = 1;
    for (let x = 0, from = start; x < width; x++, from += step) {
      out[to + x] = source[from];
    }
  }
  return { axis: "v", runs: runsOf(present) };
}

/** Every column of the picture comes from a slice of its own. */
function columnsOf(sliceAt, counts, plane, offset, out, empty) {
  const { width, height } = pictureSize(plane, counts);
  const stride = plane.v.axis === 0 ? 1 : counts[0];
  const start = offset + (plane.v.reversed ? (height - 1) * stride : 0);
  const step = plane.v.reversed ? -stride : stride;
  const present = new Uint8Array(width);
  for (let x = 0; x < width; x++) {
    const source = sliceAt(plane.u.reversed ? width - 1 - x : x);
    if (!source) {
      for (let y = 0, to = x; y < height; y++, to += width) {
        out[to] = empty;
      }
      continue;
    }
    present[x] = 1;
    for (let y = 0, from = start, to = x; y < height; y++, from += step, to += width) {
      out[to] = source[from];
    }
  }
  return { axis: "u", runs: runsOf(present) };
}

/** Stretches of ones. @param {Uint8Array} present @returns {[number, number][]} */
export function runsOf(present) {
  const runs = /** @type {[number, number][]} */ ([]);
  for (let n = 0; n < present.length; n++) {
    if (present[n] && (n === 0 || !present[n - 1])) {
      runs.push([n, n + 1]);
    } else if (present[n]) {
      runs[runs.length - 1][1] = n + 1;
    }
  }
  return runs;
}
