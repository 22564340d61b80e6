/** What a person has chosen to see of a case. Changes are told once per frame, with the names of what changed. */

import { clamp } from "./numbers.js";
import { gridOf, nativePlane, planesOf, storedPlane } from "./geometry.js";
import { carriedOver } from "./stack.js";

export const TOOLS = ["crosshair", "window", "pan", "zoom", "measure"];
export const PLANES = ["axial", "sagittal", "coronal"];

export class ViewState extends EventTarget {
  /** @param {import("./feed.js").CaseFeed} feed */
  constructor(feed) {
    super();
    this.feed = feed;
    this.voxels = feed.reference; // slices of the sequence that is shown
    this.tool = "crosshair";
    this.layout = "main"; // main: one large and the others small; grid: all the same size; single
    this.mainPlane = "axial";
    this.active = "axial"; // plane that keys act on
    this.cursor = /** @type {[number, number, number]} */ ([0, 0, 0]);
    this.window = { low: 0, high: 1 };
    this.preset = "auto";
    this.overlay = { visible: true, opacity: 0.45, style: "both", palette: /** @type {"safe"|"card"} */ ("safe") };
    this.showProbability = false;
    this.showCrosshair = true;
    this.showDiameters = true;
    this.hidden = /** @type {Map<string, Set<number>>} */ (new Map());
    this.first = /** @type {string|null} */ (null);
    this.second = /** @type {string|null} */ (null);
    this.compare = "off"; // off, side, difference
    this.follow = false;
    this.places = Object.fromEntries(PLANES.map((name) => [name, { zoom: 1, x: 0, y: 0 }]));
    this.measurements = /** @type {{id: number, plane: string, a: number[], b: number[]}[]} */ ([]);
    this.draft = /** @type {null|{plane: string, a: number[], b: number[]}} */ (null); // a measurement being made
    this.diameter = /** @type {null|{arrival: number, long: number[], short: number[], long_mm: number|null,
      short_mm: number|null}} */ (null);
    this.layoutBefore = /** @type {string|null} */ (null);
    this.stackVersionSeen = -1;
    this.isChosen = false; // a person chose the segmentation, which stays even where a newer one comes
    this.isTouched = false; // a person moved: nothing jumps any more
    this.grid = /** @type {any} */ (null);
    this.planes = /** @type {any} */ (null);
    this._stack = /** @type {any} */ (null);
    this._changes = new Set();
    this._frame = 0;
  }

  close() {
    cancelAnimationFrame(this._frame);
  }

  /** Take in the stack as it is now; the cursor stays at its position in the patient. */
  updateGrid() {
    const { meta, stack } = this.feed;
    if (this._stack && this._stack.count > 0) {
      this.cursor[2] = carriedOver(this._stack, stack, this.cursor[2]);
    }
    this._stack = stack;
    this.grid = gridOf(meta, stack);
    this.planes = meta.has_millimetres === false && stack.count <= 1
      ? { axial: { ...storedPlane(this.grid), name: "axial" } }
      : planesOf(this.grid);
    this.cursor = /** @type {any} */ (this.cursor.map((at, axis) => clamp(Math.round(at), 0, Math.max(this.grid.counts[axis] - 1, 0))));
    this.changed("grid", "cursor");
  }

  /** Whether there is one picture and none will follow. */
  get isFlat() {
    const { meta, stack } = this.feed;
    return stack.count <= 1 && meta.state !== "receiving" && (meta.num_expected ?? 1) <= 1;
  }

  get native() {
    return this.isFlat ? Object.keys(this.planes)[0] : nativePlane(this.planes);
  }

  /** Something changed: whoever listens is told before the next frame. @param {...string} names */
  changed(...names) {
    names.forEach((name) => this._changes.add(name));
    this._frame ||= requestAnimationFrame((time) => {
      this._frame = 0;
      const changes = this._changes;
      this._changes = new Set();
      this.dispatchEvent(new CustomEvent("change", { detail: { changes, time } }));
    });
  }

  /** @param {string} plane */
  indexOf(plane) {
    const { axis, reversed } = this.planes[plane].w;
    return reversed ? this.grid.counts[axis] - 1 - this.cursor[axis] : this.cursor[axis];
  }

  /** @param {string} plane */
  countOf(plane) {
    return this.grid.counts[this.planes[plane].w.axis];
  }

  /** Show a picture of a plane. @param {string} plane @param {number} index */
  setIndex(plane, index) {
    const { axis, reversed } = this.planes[plane].w;
    const count = this.grid.counts[axis];
    const at = clamp(Math.round(index), 0, Math.max(count - 1, 0));
    this.moveTo(axis, reversed ? count - 1 - at : at);
  }

  /** @param {number} axis @param {number} at */
  moveTo(axis, at) {
    if (this.cursor[axis] === at) {
      return;
    }
    this.cursor[axis] = at;
    if (axis === 2) {
      this.wantCursor();
    }
    this.changed("cursor");
  }

  /** Put the crosshair on a voxel. @param {number[]} voxel */
  setCursor(voxel) {
    voxel.forEach((at, axis) => this.moveTo(axis, clamp(Math.round(at), 0, Math.max(this.grid.counts[axis] - 1, 0))));
  }

  /** Slices near the crosshair are fetched first. */
  wantCursor() {
    const arrival = this.feed.stack.order[this.cursor[2]] ?? -1;
    if (arrival >= 0) {
      this.feed.want(arrival);
    }
  }

  /** Set some fields and tell. @param {Record<string, any>} fields */
  set(fields) {
    Object.assign(this, fields);
    this.changed(...Object.keys(fields));
  }

  /** @param {Record<string, any>} fields of the overlay */
  setOverlay(fields) {
    Object.assign(this.overlay, fields);
    this.changed("overlay");
  }

  /** @param {string} sid @returns {any} */
  segmentation(sid) {
    return this.segmentations.find((/** @type {any} */ { id }) => id === sid) ?? null;
  }

  /** Segmentations with something to show; those that are being made or failed have nothing. @returns {any[]} */
  get segmentations() {
    return this.feed.meta.segmentations.filter((/** @type {any} */ { state }) => state !== "running" && state !== "failed");
  }

  /** Whether the map is drawn instead of labels: it was asked for and is here. */
  get hasProbabilityMap() {
    return this.showProbability && this.compare === "off" && this.first !== null && this.feed.layer(this.first).probabilities !== null;
  }

  /** @param {string} sid @returns {Set<number>} labels that are not shown */
  hiddenLabels(sid) {
    return this.hidden.get(sid) ?? new Set();
  }

  /** @param {string} sid @param {number} value @param {boolean} isVisible */
  showLabel(sid, value, isVisible) {
    const hidden = new Set(this.hiddenLabels(sid));
    hidden[isVisible ? "delete" : "add"](value);
    this.hidden.set(sid, hidden);
    this.changed("overlay");
  }

  /** Keep a measurement. @param {{plane: string, a: number[], b: number[]}} measurement */
  addMeasurement(measurement) {
    this._number = (this._number ?? 0) + 1;
    this.set({ measurements: [...this.measurements, { id: this._number, ...measurement }], draft: null });
  }

  /** @param {number} [id] the newest where none is named */
  removeMeasurement(id = this.measurements.at(-1)?.id) {
    this.set({ measurements: this.measurements.filter((one) => one.id !== id) });
  }

  /** Back to the whole picture. @param {string[]} [planes] */
  fit(planes = PLANES) {
    planes.forEach((name) => Object.assign(this.places[name], { zoom: 1, x: 0, y: 0 }));
    this.changed("places");
  }

  /** @param {string} plane @param {{zoom?: number, x?: number, y?: number}} place */
  setPlace(plane, place) {
    Object.assign(this.places[plane], place);
    this.places[plane].zoom = clamp(this.places[plane].zoom, 0.25, 32);
    this.changed("places");
  }
}
