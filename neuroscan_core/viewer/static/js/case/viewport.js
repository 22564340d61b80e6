/** One plane on the screen: a canvas with the picture, what lies over it, and a slider to scroll through. */

import { el } from "../dom.js";
import { t } from "../i18n.js";
import { drawAnnotations } from "./annotations.js";
import { placeOf, voxelAt } from "./geometry.js";
import { SlicePicture } from "./slice-picture.js";
import { icon } from "./icons.js";
import { planeName } from "./names.js";

const GROUND = "#000000";
const MARGIN = 0.96; // of the canvas that a fitted picture fills
const MAX_MARKS = 2000;

export class Viewport {
  /**
   * @param {import("./state.js").ViewState} state @param {string} plane @param {import("./slice-picture.js").GreyLevels} grey
   * @param {{side?: "first"|"second", onMaximise: (plane: string) => void}} options
   */
  constructor(state, plane, grey, { side = "first", onMaximise }) {
    this.state = state;
    this.plane = plane;
    this.side = side;
    this.grey = grey;
    this.picture = new SlicePicture(state, plane, side);
    this.pending = /** @type {number|null} */ (null); // when the person asked for the slice that is not drawn yet
    this.canvas = /** @type {HTMLCanvasElement} */ (el("canvas", {
      class: "case-canvas", tabIndex: 0, role: "application", "aria-roledescription": t("case.view.role"),
      "aria-label": planeName(plane), "aria-describedby": "case-readout", dataset: { plane, side },
    }));
    this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d", { alpha: false }));
    this.title = el("span", { class: "case-view-title" });
    this.caption = el("span", { class: "case-view-caption" }); // which segmentation, where two are compared
    this.enlarge = el("button", {
      class: "button quiet icon-only case-enlarge", type: "button", onClick: () => onMaximise(plane),
    }, icon("enlarge"));
    this.slider = /** @type {HTMLInputElement} */ (el("input", {
      type: "range", min: "0", max: "0", step: "1", class: "case-slider", "aria-label": t("case.view.slider", { plane: planeName(plane) }),
      onInput: (event) => this._slide(event),
    }));
    this.root = el("figure", { class: "case-view", dataset: { plane, side } },
      el("figcaption", { class: "case-view-head" }, this.title, this.caption, this.enlarge),
      el("div", { class: "case-view-stage" }, this.canvas), this.slider);
    this._size = { width: 0, height: 0, ratio: 1 };
    this._drawn = "";
    this._observer = new ResizeObserver(() => this._resize());
    this._observer.observe(this.canvas.parentElement);
  }

  close() {
    this._observer.disconnect();
  }

  /** Ask for another slice; the time until it is drawn is marked. @param {number} index @param {number} [since] */
  scrollTo(index, since = performance.now()) {
    this.pending ??= since;
    this.state.follow = false;
    this.state.isTouched = true;
    this.state.setIndex(this.plane, index);
    this.state.changed("follow");
  }

  /** Draw if anything changed. @param {boolean} [isForced] */
  draw(isForced = false) {
    const { state } = this;
    if (!state.planes?.[this.plane] || this._size.width === 0 || !this.root.isConnected) {
      return;
    }
    const began = performance.now();
    const isNew = this.picture.update(this.grey);
    const key = this._key();
    if (!isNew && key === this._drawn && !isForced) {
      this.pending = null;
      return;
    }
    const isOtherSlice = this.pending !== null;
    this._drawn = key;
    this._paint(this.context, this._size);
    this._describe();
    if (isOtherSlice) {
      this._mark(performance.now() - began);
    }
  }

  /** Draw the same, without crosshair, on a canvas of its own. @returns {HTMLCanvasElement} */
  snapshot() {
    const canvas = document.createElement("canvas");
    canvas.width = this.canvas.width;
    canvas.height = this.canvas.height;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this._paint(context, this._size, { crosshair: false });
    return canvas;
  }

  /**
   * From voxels of the picture to CSS pixels of the canvas.
   * @returns {{scaleX: number, scaleY: number, left: number, top: number, perMm: number}}
   */
  transform(size = this._size) {
    const { state, picture } = this;
    const plane = state.planes[this.plane];
    const [stepX, stepY] = [state.grid.steps[plane.u.axis], state.grid.steps[plane.v.axis]];
    const place = state.places[this.plane];
    const perMm = this._fitted(size, stepX, stepY) * place.zoom;
    return {
      scaleX: stepX * perMm, scaleY: stepY * perMm, perMm,
      left: size.width / 2 + (place.x - (picture.width * stepX) / 2) * perMm,
      top: size.height / 2 + (place.y - (picture.height * stepY) / 2) * perMm,
    };
  }

  /** Point of the picture (voxels; whole numbers are centres) under a point of the canvas. */
  pictureAt(x, y) {
    const { scaleX, scaleY, left, top } = this.transform();
    return { x: (x - left) / scaleX - 0.5, y: (y - top) / scaleY - 0.5 };
  }

  /** Voxel under a point of the canvas, fractions kept. */
  voxelAt(x, y) {
    const at = this.pictureAt(x, y);
    return voxelAt(this.state.planes[this.plane], this.state.grid.counts, at.x, at.y, this.state.indexOf(this.plane));
  }

  /** Point of the canvas over a voxel. @param {number[]} voxel */
  canvasAt(voxel, transform = this.transform()) {
    const at = placeOf(this.state.planes[this.plane], this.state.grid.counts, /** @type {any} */ (voxel));
    return { x: transform.left + (at.x + 0.5) * transform.scaleX, y: transform.top + (at.y + 0.5) * transform.scaleY, index: at.index };
  }

  /** A picture without a place in the patient has no plane either. */
  get _name() {
    const { state } = this;
    const isPicture = state.feed.meta.has_millimetres === false && state.planes[this.plane].w.axis === 2;
    return isPicture ? t("case.plane.picture") : planeName(this.plane);
  }

  /** Size of the canvas in CSS pixels. */
  get size() {
    return this._size;
  }

  /** Millimetres to pixels so that all of the plane is seen; while it grows, all that is expected. */
  _fitted(size, stepX, stepY) {
    const { state, picture } = this;
    const expected = state.feed.meta.num_expected ?? 0;
    const plane = state.planes[this.plane];
    const along = (/** @type {number} */ count, /** @type {{axis: number}} */ axis) => (axis.axis === 2 ? Math.max(count, expected) : count);
    const width = along(picture.width, plane.u) * stepX;
    const height = along(picture.height, plane.v) * stepY;
    return MARGIN * Math.min(size.width / width, size.height / height);
  }

  _slide(event) {
    this.state.active = this.plane;
    this.scrollTo(Number(this.slider.value), event.timeStamp);
  }

  _resize() {
    const { clientWidth: width, clientHeight: height } = /** @type {HTMLElement} */ (this.canvas.parentElement);
    const ratio = Math.min(window.devicePixelRatio || 1, 3);
    if (width === this._size.width && height === this._size.height && ratio === this._size.ratio) {
      return;
    }
    this._size = { width, height, ratio };
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this._drawn = "";
    this.draw();
  }

  _key() {
    const { state } = this;
    const place = state.places[this.plane];
    return JSON.stringify([
      state.cursor, place, state.overlay, state.hasProbabilityMap, state.showCrosshair, state.showDiameters, state.diameter,
      state.measurements, state.draft, state.feed.stackVersion, state.feed.meta.num_expected, this._size, state.active === this.plane,
      state.compare,
    ]);
  }

  _paint(context, size, { crosshair = true } = {}) {
    const { state, picture } = this;
    const transform = this.transform(size);
    context.setTransform(size.ratio, 0, 0, size.ratio, 0, 0);
    context.fillStyle = GROUND;
    context.fillRect(0, 0, size.width, size.height);
    this._paintGap(context, transform);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "low";
    this._paintRuns(context, picture.base.canvas, transform);
    if (picture.hasOverlay) {
      this._paintOverlay(context, transform);
    }
    drawAnnotations(context, this, transform, size, crosshair && state.showCrosshair);
  }

  _paintOverlay(context, transform) {
    const { overlay, hasProbabilityMap: isProbability } = this.state;
    if (overlay.style !== "contour" || isProbability) {
      context.globalAlpha = overlay.opacity;
      context.imageSmoothingEnabled = isProbability;
      this._paintRuns(context, this.picture.over.canvas, transform);
      context.globalAlpha = 1;
    }
    // Paths are brought to the screen before the stroke: lines are as wide whatever size the voxels have.
    const toScreen = new DOMMatrix([transform.scaleX, 0, 0, transform.scaleY, transform.left, transform.top]);
    for (const { path, colour } of this.picture.paths) {
      const onScreen = new Path2D();
      onScreen.addPath(path, toScreen);
      context.strokeStyle = colour;
      context.lineWidth = 1.5;
      context.stroke(onScreen);
    }
  }

  /** Only what is there, piece by piece, so that smoothing does not invent anything between the pieces. */
  _paintRuns(context, source, { left, top, scaleX, scaleY }) {
    const { width, height, present } = this.picture;
    for (const [from, to] of present.runs) {
      if (present.axis === "u") {
        context.drawImage(source, from, 0, to - from, height, left + from * scaleX, top, (to - from) * scaleX, height * scaleY);
      } else {
        context.drawImage(source, 0, from, width, to - from, left, top + from * scaleY, width * scaleX, (to - from) * scaleY);
      }
    }
  }

  /** Hatching where slices are missing. */
  _paintGap(context, { left, top, scaleX, scaleY }) {
    const { width, height, present } = this.picture;
    const [run] = present.runs;
    const whole = present.axis === "u" ? width : height;
    if (present.runs.length === 1 && run[0] === 0 && run[1] === whole) {
      return;
    }
    context.fillStyle = hatching(context);
    context.fillRect(left, top, width * scaleX, height * scaleY);
  }

  _describe() {
    const { state } = this;
    const [index, count] = [state.indexOf(this.plane), state.countOf(this.plane)];
    const values = { plane: this._name, index: index + 1, count };
    this.title.textContent = t("case.view.title", values);
    this.slider.max = String(Math.max(count - 1, 0));
    this.slider.value = String(index);
    this.slider.disabled = count < 2;
    this.slider.hidden = this.enlarge.hidden = state.isFlat;
    this.slider.setAttribute("aria-label", t("case.view.slider", values));
    this.slider.setAttribute("aria-valuetext", t("case.view.slice_of", values));
    this.canvas.setAttribute("aria-label", t("case.view.canvas", values));
    const isLarge = state.layout === "single" || (state.layout === "main" && state.mainPlane === this.plane);
    this.enlarge.setAttribute("aria-label", isLarge ? t("case.view.back", values) : t("case.view.enlarge", values));
    this.enlarge.title = /** @type {string} */ (this.enlarge.getAttribute("aria-label"));
  }

  /** @param {number} drawMs of it, what the drawing took; the rest is waiting for the browser's next frame */
  _mark(drawMs) {
    const ms = performance.now() - /** @type {number} */ (this.pending);
    if (performance.getEntriesByName("neuroscan:slice-change").length >= MAX_MARKS) {
      performance.clearMarks("neuroscan:slice-change");
    }
    performance.mark("neuroscan:slice-change", { detail: { ms, draw_ms: drawMs, plane: this.plane, index: this.state.indexOf(this.plane) } });
    this.pending = null;
  }
}

let pattern = /** @type {CanvasPattern|null} */ (null);

function hatching(context) {
  if (!pattern) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const drawing = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
    drawing.fillStyle = "#10161d";
    drawing.fillRect(0, 0, 8, 8);
    drawing.strokeStyle = "#2a3644";
    drawing.lineWidth = 1.2;
    for (const shift of [-8, 0, 8]) {
      drawing.moveTo(shift, 8);
      drawing.lineTo(shift + 8, 0);
    }
    drawing.stroke();
    pattern = context.createPattern(tile, "repeat");
  }
  return /** @type {CanvasPattern} */ (pattern);
}
