/** The line that says where one is: position in the patient, value, region, probability. Read out when it rests. */

import { announce, el, setText } from "../dom.js";
import { formatShare } from "../format.js";
import { formatNumber, t } from "../i18n.js";
import { patientOf } from "./geometry.js";

const REST_MS = 700;

export class Readout {
  /** @param {import("./state.js").ViewState} state */
  constructor(state) {
    this.state = state;
    this.hover = /** @type {number[]|null} */ (null);
    this._where = el("span", { class: "case-where" });
    this._value = el("span");
    this._region = el("span");
    this.root = el("p", { class: "case-readout", id: "case-readout" }, this._where, this._value, this._region);
    this._timer = 0;
    this._said = "";
  }

  close() {
    clearTimeout(this._timer);
  }

  /** @param {number[]|null} voxel under the pointer; null where it is elsewhere: then it is the crosshair's */
  setHover(voxel) {
    this.hover = voxel;
    this.update();
  }

  /** @param {boolean} [isSpoken] whether a screen reader should hear it once it rests */
  update(isSpoken = false) {
    if (!this.state.grid) {
      return;
    }
    const { where, value, region } = describe(this.state, this.hover ?? this.state.cursor);
    setText(this._where, where);
    setText(this._value, value);
    setText(this._region, region);
    if (isSpoken) {
      clearTimeout(this._timer);
      this._timer = setTimeout(() => this._speak(), REST_MS);
    }
  }

  _speak() {
    const { where, value, region } = describe(this.state, this.state.cursor);
    const text = [where, value, region].filter(Boolean).join(", ");
    if (text !== this._said) {
      this._said = text;
      announce(text);
    }
  }
}

/** @param {import("./state.js").ViewState} state @param {number[]} voxel */
function describe(state, voxel) {
  const at = voxel.map(Math.round);
  const { feed, grid, voxels: shown } = state;
  const isInside = at.every((n, axis) => n >= 0 && n < grid.counts[axis]);
  const position = patientOf(grid, /** @type {any} */ (voxel));
  const [x, y, z] = position.map((mm) => formatNumber(mm, 1));
  const where = feed.meta.has_millimetres === false
    ? t("case.readout.pixel", { x: at[0], y: at[1] })
    : t("case.readout.position", { x, y, z });
  const arrival = isInside ? feed.stack.order[at[2]] : -1;
  const voxels = arrival >= 0 ? shown.loaded[arrival] : undefined;
  if (!voxels) {
    return { where, value: t("case.readout.nothing"), region: "" };
  }
  const place = at[1] * feed.meta.columns + at[0];
  const { slope, intercept } = shown.scale;
  const number = formatNumber(voxels[place] * slope + intercept);
  const value = feed.meta.sources?.length > 1
    ? t("case.readout.value_of", { value: number, sequence: shown.name })
    : t("case.readout.value", { value: number });
  return { where, value, region: regionAt(state, arrival, place) };
}

function regionAt(state, arrival, place) {
  const segmentation = state.first && state.segmentation(state.first);
  if (!segmentation) {
    return "";
  }
  const layer = state.feed.layer(state.first);
  const value = layer.masks[arrival]?.[place] ?? 0;
  const name = segmentation.labels.find((/** @type {any} */ label) => label.value === value)?.name;
  const probability = state.hasProbabilityMap ? layer.probabilities?.[arrival]?.[place] : undefined;
  return [name, probability !== undefined && t("case.readout.probability", { value: formatShare(probability / 255) })]
    .filter(Boolean).join(", ");
}
