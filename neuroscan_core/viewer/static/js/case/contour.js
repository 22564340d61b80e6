/** Outlines of labelled pixels, along the edges of pixels: where the label is, not where a smooth curve would be. */

/**
 * Straight pieces around all pixels that have a value.
 * @param {Uint8Array} labels row by row @param {number} width @param {number} height @param {number} value
 * @returns {Int32Array} x0, y0, x1, y1 of each piece, in corners of pixels
 */
export function outline(labels, width, height, value) {
  const box = boundsOf(labels, width, height, value);
  if (!box) {
    return new Int32Array(0);
  }
  const pieces = /** @type {number[]} */ ([]);
  const is = (/** @type {number} */ x, /** @type {number} */ y) =>
    x >= 0 && y >= 0 && x < width && y < height && labels[y * width + x] === value;
  const trace = (from, to, acrossFrom, acrossTo, differs, push) => {
    for (let across = acrossFrom; across <= acrossTo; across++) {
      for (let at = from, start = -1; at <= to; at++) {
        const isEdge = at < to && differs(at, across);
        if (isEdge && start < 0) {
          start = at;
        } else if (!isEdge && start >= 0) {
          push(start, at, across);
          start = -1;
        }
      }
    }
  };
  trace(box.left, box.right, box.top, box.bottom, (x, y) => is(x, y) !== is(x, y - 1),
    (x0, x1, y) => pieces.push(x0, y, x1, y));
  trace(box.top, box.bottom, box.left, box.right, (y, x) => is(x, y) !== is(x - 1, y),
    (y0, y1, x) => pieces.push(x, y0, x, y1));
  return Int32Array.from(pieces);
}

/** Box around all pixels of a value, right and bottom exclusive; null where there is none. */
export function boundsOf(labels, width, height, value) {
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let y = 0; y < height; y++) {
    const row = labels.subarray(y * width, (y + 1) * width);
    const first = row.indexOf(value);
    if (first >= 0) {
      left = Math.min(left, first);
      right = Math.max(right, row.lastIndexOf(value));
      top = Math.min(top, y);
      bottom = y;
    }
  }
  return right < 0 ? null : { left, right: right + 1, top, bottom: bottom + 1 };
}
