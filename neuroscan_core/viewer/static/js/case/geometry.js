/**
 * Where voxels lie in the patient, and how three planes look at them. Pure: numbers in, numbers out.
 *
 * Directions and positions are DICOM LPS in millimetres (PS3.3 C.7.6.2): x grows to the patient's left, y to the back,
 * z to the head. Voxel axes are numbered 0 = i (columns), 1 = j (rows), 2 = k (slices along the normal).
 */

/** @typedef {[number, number, number]} Vector */
/** @typedef {{axis: number, reversed: boolean}} ScreenAxis */
/**
 * How a plane looks at the grid: `u` runs to the right of the screen, `v` down, `w` into the stack of its pictures.
 * @typedef {{name: string, u: ScreenAxis, v: ScreenAxis, w: ScreenAxis, letters: {left: string, right: string,
 *   top: string, bottom: string}}} Plane
 */
/**
 * @typedef {{origin: Vector, directions: [Vector, Vector, Vector], steps: Vector, counts: Vector,
 *   inverse: [Vector, Vector, Vector]}} Grid
 */

const LETTERS = [["L", "R"], ["P", "A"], ["S", "I"]];
const OBLIQUE = 0.3; // from about 17 degrees on, a direction is named by two letters

/** @param {Vector} a @param {Vector} b */
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

/** @param {Vector} a @param {Vector} b @returns {Vector} */
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

/** @param {Vector} a @param {number} factor @returns {Vector} */
export const scaled = (a, factor) => [a[0] * factor, a[1] * factor, a[2] * factor];

/** @param {Vector} a @param {Vector} b @returns {Vector} */
export const plus = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];

/** @param {Vector} a */
export const length = (a) => Math.sqrt(dot(a, a));

/**
 * Unit normal of a slice, by the right-hand rule from its orientation.
 * @param {number[]} orientation ImageOrientationPatient
 * @returns {Vector}
 */
export function normalOf(orientation) {
  const normal = cross(/** @type {Vector} */ (orientation.slice(0, 3)), /** @type {Vector} */ (orientation.slice(3, 6)));
  return scaled(normal, 1 / length(normal));
}

/**
 * The regular grid of a stack.
 * @param {{orientation: number[], spacing_mm: number[], rows: number, columns: number}} image spacing: row, column
 * @param {{origin: Vector, step_mm: number, count: number}} stack where slices lie along the normal
 * @returns {Grid}
 */
export function gridOf(image, stack) {
  const row = /** @type {Vector} */ (image.orientation.slice(0, 3));
  const column = /** @type {Vector} */ (image.orientation.slice(3, 6));
  const directions = /** @type {[Vector, Vector, Vector]} */ ([row, column, normalOf(image.orientation)]);
  const steps = /** @type {Vector} */ ([image.spacing_mm[1], image.spacing_mm[0], stack.step_mm]);
  const edges = directions.map((direction, axis) => scaled(direction, steps[axis]));
  const volume = dot(edges[0], cross(edges[1], edges[2]));
  const inverse = /** @type {[Vector, Vector, Vector]} */ ([0, 1, 2].map((axis) =>
    scaled(cross(edges[(axis + 1) % 3], edges[(axis + 2) % 3]), 1 / volume)));
  return { origin: stack.origin, directions, steps, counts: [image.columns, image.rows, stack.count], inverse };
}

/** Position of a voxel (i, j, k; fractions allowed). @param {Grid} grid @param {Vector} voxel @returns {Vector} */
export function patientOf(grid, voxel) {
  let position = grid.origin;
  for (let axis = 0; axis < 3; axis++) {
    position = plus(position, scaled(grid.directions[axis], grid.steps[axis] * voxel[axis]));
  }
  return position;
}

/** Voxel (fractions kept) at a position. @param {Grid} grid @param {Vector} position @returns {Vector} */
export function voxelOf(grid, position) {
  const offset = plus(position, scaled(grid.origin, -1));
  return /** @type {Vector} */ (grid.inverse.map((dual) => dot(dual, offset)));
}

/**
 * Letters of the side of the patient to which a direction points: the nearest axis first, further ones where oblique.
 * @param {Vector} direction
 */
export function lettersOf(direction) {
  const unit = scaled(direction, 1 / length(direction));
  return [0, 1, 2]
    .filter((axis) => Math.abs(unit[axis]) > OBLIQUE)
    .sort((a, b) => Math.abs(unit[b]) - Math.abs(unit[a]))
    .map((axis) => LETTERS[axis][unit[axis] > 0 ? 0 : 1])
    .join("");
}

/** Whether no axis of the grid lies along an axis of the patient. @param {Grid} grid */
export function isOblique(grid) {
  return grid.directions.some((direction) => Math.max(...direction.map(Math.abs)) < 0.999);
}

/**
 * The voxel axis nearest to each of the patient's axes x, y, z, and whether it runs against it.
 * @param {Grid} grid
 * @returns {ScreenAxis[]}
 */
export function nearestAxes(grid) {
  const free = [0, 1, 2];
  const found = /** @type {ScreenAxis[]} */ ([]);
  for (const patient of [2, 1, 0]) {
    free.sort((a, b) => Math.abs(grid.directions[b][patient]) - Math.abs(grid.directions[a][patient]));
    const axis = /** @type {number} */ (free.shift());
    found[patient] = { axis, reversed: grid.directions[axis][patient] < 0 };
  }
  return found;
}

const opposite = (/** @type {ScreenAxis} */ { axis, reversed }) => ({ axis, reversed: !reversed });

/**
 * Axial, sagittal and coronal in radiological convention: the patient's left on the right of axial and coronal
 * pictures, the front on the left of sagittal ones, the head on top.
 * @param {Grid} grid
 * @returns {{axial: Plane, sagittal: Plane, coronal: Plane}}
 */
export function planesOf(grid) {
  const [left, back, head] = nearestAxes(grid);
  const plane = (/** @type {string} */ name, u, v, w) => ({ name, u, v, w, letters: sidesOf(grid, u, v) });
  return {
    axial: plane("axial", left, back, head),
    sagittal: plane("sagittal", back, opposite(head), left),
    coronal: plane("coronal", left, opposite(head), back),
  };
}

/** The pictures as they were stored: rows and columns on the screen as in the file. @param {Grid} grid */
export function storedPlane(grid) {
  const [u, v, w] = [0, 1, 2].map((axis) => ({ axis, reversed: false }));
  return { name: "stored", u, v, w, letters: sidesOf(grid, u, v) };
}

/** @param {Grid} grid @param {ScreenAxis} u @param {ScreenAxis} v */
function sidesOf(grid, u, v) {
  const along = (/** @type {ScreenAxis} */ { axis, reversed }) => scaled(grid.directions[axis], reversed ? -1 : 1);
  return {
    left: lettersOf(scaled(along(u), -1)), right: lettersOf(along(u)),
    top: lettersOf(scaled(along(v), -1)), bottom: lettersOf(along(v)),
  };
}

/** Name of the plane whose pictures are the slices themselves. @param {{axial: Plane, sagittal: Plane, coronal: Plane}} planes */
export function nativePlane(planes) {
  return Object.values(planes).find((plane) => plane.w.axis === 2)?.name ?? "axial";
}

/**
 * Voxel under a point of a plane's picture.
 * @param {Plane} plane @param {Vector} counts voxels along i, j, k
 * @param {number} x along u in voxels, from 0 at the centre of the first shown voxel
 * @param {number} y along v
 * @param {number} index of the picture along w
 * @returns {Vector}
 */
export function voxelAt(plane, counts, x, y, index) {
  const voxel = /** @type {Vector} */ ([0, 0, 0]);
  voxel[plane.u.axis] = plane.u.reversed ? counts[plane.u.axis] - 1 - x : x;
  voxel[plane.v.axis] = plane.v.reversed ? counts[plane.v.axis] - 1 - y : y;
  voxel[plane.w.axis] = plane.w.reversed ? counts[plane.w.axis] - 1 - index : index;
  return voxel;
}

/** The way back: where a plane shows a voxel. @param {Plane} plane @param {Vector} counts @param {Vector} voxel */
export function placeOf(plane, counts, voxel) {
  const along = (/** @type {ScreenAxis} */ { axis, reversed }) => (reversed ? counts[axis] - 1 - voxel[axis] : voxel[axis]);
  return { x: along(plane.u), y: along(plane.v), index: along(plane.w) };
}
