/** From stored values to grey: windows, presets and lookup tables. Values are stored * slope + intercept. */

/** @typedef {{low: number, high: number}} Window */
/** @typedef {{slope: number, intercept: number}} Scale */

const NUM_STORED = 65536;
const LEAST_WIDTH = 1e-6;
const FOREGROUND = 0.12; // of the 99.5th percentile: below it is air and noise in MR

/**
 * Grey level of every stored value.
 * @param {Window} window @param {Scale} scale @param {Uint8ClampedArray} [out] of 65536
 */
export function greyTable(window, scale, out = new Uint8ClampedArray(NUM_STORED)) {
  const width = Math.max(window.high - window.low, LEAST_WIDTH);
  const factor = (255 * scale.slope) / width;
  const offset = (255 * (scale.intercept - window.low)) / width;
  for (let stored = 0; stored < NUM_STORED; stored++) {
    out[stored] = stored * factor + offset;
  }
  return out;
}

/**
 * Opaque grey pixels.
 * @param {Uint16Array} stored @param {number} count @param {Uint8ClampedArray} table @param {Uint32Array} rgba
 */
export function paintGrey(stored, count, table, rgba) {
  for (let n = 0; n < count; n++) {
    const grey = table[stored[n]];
    rgba[n] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
}

/**
 * How often each stored value occurs, of every `stride`-th voxel.
 * @param {Iterable<Uint16Array>} slices @param {number} stride @param {Uint32Array} [histogram] to add to
 */
export function addToHistogram(slices, stride, histogram = new Uint32Array(NUM_STORED)) {
  for (const voxels of slices) {
    for (let n = 0; n < voxels.length; n += stride) {
      histogram[voxels[n]]++;
    }
  }
  return histogram;
}

/** Stored value below which a fraction of those from `from` on lies. @param {Uint32Array} histogram */
export function percentile(histogram, fraction, from = 0) {
  let total = 0;
  for (let stored = from; stored < NUM_STORED; stored++) {
    total += histogram[stored];
  }
  let sum = 0;
  for (let stored = from; stored < NUM_STORED; stored++) {
    sum += histogram[stored];
    if (sum > 0 && sum >= fraction * total) {
      return stored;
    }
  }
  return from;
}

/**
 * Windows to choose from.
 * @param {Uint32Array} histogram @param {Scale} scale
 * @returns {{auto: Window, soft: Window, wide: Window}} percentiles 0.5 to 99.5; the spread of tissue without air and
 *   without the brightest fat; everything
 */
export function presetsOf(histogram, scale) {
  const value = (/** @type {number} */ stored) => stored * scale.slope + scale.intercept;
  const top = percentile(histogram, 0.995);
  const foreground = Math.floor(top * FOREGROUND) + 1;
  const window = (/** @type {number} */ low, /** @type {number} */ high) => {
    const [a, b] = [value(low), value(Math.max(high, low + 1))];
    return { low: Math.min(a, b), high: Math.max(a, b) };
  };
  return {
    auto: window(percentile(histogram, 0.005), top),
    soft: window(percentile(histogram, 0.05, foreground), percentile(histogram, 0.92, foreground)),
    wide: window(percentile(histogram, 0), percentile(histogram, 1)),
  };
}

/**
 * Window after a drag: to the right widens, down brightens, as viewers in radiology do.
 * @param {Window} start @param {number} dx in pixels @param {number} dy @param {Window} range of the values there are
 * @returns {Window}
 */
export function draggedWindow(start, dx, dy, range) {
  const perPixel = (range.high - range.low) / 512;
  const width = Math.max(start.high - start.low + dx * perPixel * 2, (range.high - range.low) / 1000, LEAST_WIDTH);
  const centre = (start.low + start.high) / 2 - dy * perPixel;
  return { low: centre - width / 2, high: centre + width / 2 };
}

/** @param {Window} window */
export const centreAndWidth = ({ low, high }) => ({ centre: (low + high) / 2, width: high - low });

/** @param {number} centre @param {number} width @returns {Window} */
export function windowAround(centre, width) {
  const half = Math.max(width, LEAST_WIDTH) / 2;
  return { low: centre - half, high: centre + half };
}
