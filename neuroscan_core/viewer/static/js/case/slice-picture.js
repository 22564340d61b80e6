/**
 * One plane's picture of the image and of what lies over it, kept until something that it shows changes.
 *
 * Image and overlay are small canvases of one pixel per voxel; scaling to the screen is the browser's.
 */

import { differenceOf } from "./agreement.js";
import { DIFFERENCE, coloursOf, labelTable, probabilityTable } from "./colours.js";
import { outline } from "./contour.js";
import { cut, pictureSize } from "./reslice.js";
import { greyTable, paintGrey } from "./window.js";

const PROBABILITIES = probabilityTable();

/** Grey tables are the same for all planes: one is kept. */
export class GreyLevels {
  constructor() {
    this.table = new Uint8ClampedArray(65536);
    this.key = "";
  }

  /** @param {import("./window.js").Window} window @param {import("./window.js").Scale} scale */
  update(window, scale) {
    const key = `${window.low},${window.high},${scale.slope},${scale.intercept}`;
    if (key !== this.key) {
      greyTable(window, scale, this.table);
      this.key = key;
    }
    return this.key;
  }
}

class Sheet {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d", { willReadFrequently: false }));
    this.image = /** @type {any} */ (null);
  }

  resize(width, height) {
    if (!this.image || this.image.width !== width || this.image.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.image = this.context.createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
  }

  put() {
    this.context.putImageData(this.image, 0, 0);
  }
}

export class SlicePicture {
  /**
   * @param {import("./state.js").ViewState} state @param {string} plane
   * @param {"first"|"second"} side which segmentation lies over it where two are compared
   */
  constructor(state, plane, side) {
    this.state = state;
    this.plane = plane;
    this.side = side;
    this.base = new Sheet();
    this.over = new Sheet();
    this.stored = new Uint16Array(0);
    this.labels = new Uint8Array(0);
    this.others = new Uint8Array(0);
    this.present = { axis: "w", runs: /** @type {[number, number][]} */ ([]) };
    this.paths = /** @type {{path: Path2D, colour: string}[]} */ ([]);
    this.hasOverlay = false;
    this._keys = { cut: "", grey: "", labels: "", over: "" };
  }

  /**
   * Bring everything up to date.
   * @param {GreyLevels} grey
   * @returns {boolean} whether anything of it changed
   */
  update(grey) {
    const { state } = this;
    const plane = state.planes[this.plane];
    const { width, height } = pictureSize(plane, state.grid.counts);
    const index = state.indexOf(this.plane);
    this.width = width;
    this.height = height;
    const place = `${this.plane},${index},${width},${height},${state.feed.stackVersion}`;
    const isBaseNew = this._updateBase(plane, index, place, grey);
    const isOverNew = this._updateOverlay(plane, index, place);
    return isBaseNew || isOverNew;
  }

  /** Label under a pixel of the picture, 0 where none. @param {number} x @param {number} y */
  labelAt(x, y) {
    return this.hasOverlay && !this.state.hasProbabilityMap ? this.labels[y * this.width + x] : 0;
  }

  _updateBase(plane, index, place, grey) {
    const { feed, grid } = this.state;
    const { width, height } = this;
    const { voxels } = this.state;
    const cutKey = `${place},${voxels.name},${voxels.epoch},${this._loadedKey(plane, index)}`;
    const greyKey = `${cutKey},${grey.update(this.state.window, voxels.scale)}`;
    if (greyKey === this._keys.grey) {
      return false;
    }
    if (cutKey !== this._keys.cut) {
      if (this.stored.length < width * height) {
        this.stored = new Uint16Array(width * height);
      }
      this.present = cut(voxels.loaded, feed.stack.order, grid.counts, plane, index, this.stored);
      this._keys.cut = cutKey;
    }
    this.base.resize(width, height);
    paintGrey(this.stored, width * height, grey.table, this.base.pixels);
    this.base.put();
    this._keys.grey = greyKey;
    return true;
  }

  /** Changes when what the plane shows may have: one slice for their own plane, any for the others. */
  _loadedKey(plane, index) {
    const { feed, grid, voxels } = this.state;
    if (plane.w.axis !== 2) {
      return `n${voxels.numLoaded}`;
    }
    const place = plane.w.reversed ? grid.counts[2] - 1 - index : index;
    return voxels.loaded[feed.stack.order[place]] ? "here" : "missing";
  }

  _updateOverlay(plane, index, place) {
    const { state } = this;
    const sid = this.side === "second" ? state.second : state.first;
    const isDifference = state.compare === "difference" && this.side === "first" && state.first && state.second;
    const wanted = sid && state.overlay.visible;
    const labelsKey = wanted
      ? [place, sid, isDifference ? state.second : "", state.hasProbabilityMap,
        this._layerKey(sid, plane, index), isDifference ? this._layerKey(state.second, plane, index) : ""].join()
      : "none";
    const { style, palette } = state.overlay;
    const overKey = [labelsKey, style, palette, sid && [...state.hiddenLabels(sid)].join(".")].join(";");
    if (overKey === this._keys.over) {
      return false;
    }
    this._keys.over = overKey;
    if (!wanted) {
      this._keys.labels = labelsKey;
      const hadOne = this.hasOverlay;
      this.hasOverlay = false;
      this.paths = [];
      return hadOne;
    }
    if (labelsKey !== this._keys.labels) {
      this._cutLabels(plane, index, sid, isDifference);
      this._keys.labels = labelsKey;
    }
    this._paintLabels(sid, isDifference);
    return true;
  }

  _layerKey(sid, plane, index) {
    const layer = this.state.feed.layer(sid);
    const hasProbabilities = layer.probabilities ? "p" : "";
    if (plane.w.axis !== 2) {
      return `${layer.revision}${hasProbabilities}`;
    }
    const place = plane.w.reversed ? this.state.grid.counts[2] - 1 - index : index;
    return `${layer.changes[this.state.feed.stack.order[place]] ?? 0}${hasProbabilities}`;
  }

  _cutLabels(plane, index, sid, isDifference) {
    const { state } = this;
    const { feed, grid } = state;
    const count = this.width * this.height;
    if (this.labels.length < count) {
      this.labels = new Uint8Array(count);
    }
    const layer = feed.layer(sid);
    const shown = (state.hasProbabilityMap && layer.probabilities) || layer.masks;
    cut(shown, feed.stack.order, grid.counts, plane, index, this.labels);
    if (isDifference) {
      if (this.others.length < count) {
        this.others = new Uint8Array(count);
      }
      cut(feed.layer(state.second).masks, feed.stack.order, grid.counts, plane, index, this.others);
      const values = (/** @type {string} */ id) => new Set(state.segmentation(id)?.labels.map((/** @type {any} */ l) => l.value));
      differenceOf(this.labels, this.others, count, this.labels, values(sid), values(state.second));
    }
  }

  _paintLabels(sid, isDifference) {
    const { state } = this;
    const isProbability = state.hasProbabilityMap;
    const labels = isDifference
      ? Object.entries(DIFFERENCE).map(([value, colour]) => ({ value: Number(value), colour }))
      : this._colouredLabels(sid);
    const hidden = isDifference ? new Set() : state.hiddenLabels(sid);
    const table = isProbability ? PROBABILITIES : labelTable(labels, hidden);
    this.over.resize(this.width, this.height);
    const { pixels } = this.over;
    for (let n = 0; n < this.width * this.height; n++) {
      pixels[n] = table[this.labels[n]];
    }
    this.over.put();
    this.hasOverlay = true;
    this.paths = isProbability || state.overlay.style === "fill" ? [] : labels
      .filter(({ value }) => !hidden.has(value))
      .map(({ value, colour }) => ({ path: pathOf(outline(this.labels, this.width, this.height, value)), colour }));
  }

  _colouredLabels(sid) {
    const labels = this.state.segmentation(sid)?.labels ?? [];
    const colours = coloursOf(labels, this.state.overlay.palette);
    return labels.map((/** @type {any} */ { value }) => ({ value, colour: colours.get(value) }));
  }
}

function pathOf(pieces) {
  const path = new Path2D();
  for (let n = 0; n < pieces.length; n += 4) {
    path.moveTo(pieces[n], pieces[n + 1]);
    path.lineTo(pieces[n + 2], pieces[n + 3]);
  }
  return path;
}
