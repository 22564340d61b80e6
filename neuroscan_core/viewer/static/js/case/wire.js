/** Reads the binary answers of the server: little-endian, a length, a JSON header, then arrays. */

/** @param {ArrayBuffer} buffer @returns {{header: any, offset: number}} */
function headerOf(buffer) {
  if (buffer.byteLength < 4) {
    throw new RangeError("The answer of the server is too short to have a header.");
  }
  const size = new DataView(buffer).getUint32(0, true);
  if (4 + size > buffer.byteLength) {
    throw new RangeError("The answer of the server ends inside its header.");
  }
  return { header: JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size))), offset: 4 + size };
}

/**
 * Slices of an answer, as views into it.
 * @param {ArrayBuffer} buffer @param {number} size pixels of a slice
 * @returns {Uint16Array[]}
 */
export function readSlices(buffer, size) {
  const count = Math.floor(buffer.byteLength / (2 * size));
  return Array.from({ length: count }, (_, n) => new Uint16Array(buffer, 2 * size * n, size));
}

/**
 * Masks that changed.
 * @param {ArrayBuffer} buffer @param {number} size pixels of a slice
 * @returns {{revision: number, masks: Map<number, Uint8Array>}} by arrival number
 */
export function readMasks(buffer, size) {
  const { header, offset } = headerOf(buffer);
  if (buffer.byteLength - offset < size * header.slices.length) {
    throw new RangeError("The answer of the server ends inside a mask.");
  }
  const masks = new Map();
  header.slices.forEach((/** @type {number} */ arrival, /** @type {number} */ n) =>
    masks.set(arrival, new Uint8Array(buffer, offset + n * size, size)));
  return { revision: header.revision, masks };
}

/** Probabilities of all slices. @param {ArrayBuffer} buffer @param {number} size @returns {Uint8Array[]} */
export function readProbabilities(buffer, size) {
  return Array.from({ length: Math.floor(buffer.byteLength / size) }, (_, n) => new Uint8Array(buffer, size * n, size));
}

/**
 * What the server says while it is still computing: JSON, shorter than any slice.
 * @param {ArrayBuffer} buffer @param {number} size
 * @returns {{state: string, progress?: number}|null} null where the answer is what was asked for
 */
export function readWaiting(buffer, size) {
  if (buffer.byteLength > 0 && buffer.byteLength % size === 0) {
    return null;
  }
  return JSON.parse(new TextDecoder().decode(buffer) || "{}");
}

/**
 * Parts of a surface.
 * @param {ArrayBuffer} buffer
 * @returns {{label: number, name: string, colour: string, positions: Float32Array, normals: Float32Array,
 *   triangles: Uint32Array}[]} positions in LPS mm
 */
export function readSurface(buffer) {
  const { header, offset } = headerOf(buffer);
  let at = offset;
  // Copied out: a header of any length leaves the arrays where typed arrays may not start.
  const take = (/** @type {number} */ count) => {
    const bytes = buffer.slice(at, at + 4 * count);
    if (bytes.byteLength < 4 * count) {
      throw new RangeError("The answer of the server ends inside a surface.");
    }
    at += 4 * count;
    return bytes;
  };
  return header.parts.map((/** @type {any} */ part) => ({
    label: part.label, name: part.name, colour: part.colour,
    positions: new Float32Array(take(3 * part.num_vertices)),
    normals: new Float32Array(take(3 * part.num_vertices)),
    triangles: new Uint32Array(take(3 * part.num_triangles)),
  }));
}
