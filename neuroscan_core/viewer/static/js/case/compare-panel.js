/** Two segmentations against each other: side by side or as their difference, with Dice and volumes. */

import { el, setText } from "../dom.js";
import { formatVolume } from "../format.js";
import { formatNumber, t } from "../i18n.js";
import { Comparison } from "./comparison.js";
import { DIFFERENCE } from "./colours.js";
import { labelled, line, section, select, setField, setOptions, setRows } from "./controls.js";
import { segmentationName } from "./names.js";

export class ComparePanel {
  /** @param {import("./state.js").ViewState} state */
  constructor(state) {
    this.state = state;
    this.comparison = new Comparison(state.feed, () => this._updateNumbers());
    this.mode = select([["off", t("case.compare.off")], ["side", t("case.compare.side")], ["difference", t("case.compare.difference")]], (compare) => this._setMode(compare));
    this.other = select([], (second) => state.set({ second }));
    this.otherField = labelled(t("case.compare.with"), this.other, "case-field wide");
    this.modeField = labelled(t("case.compare.mode"), this.mode);
    this.body = el("tbody");
    const head = [t("case.compare.region"), t("case.compare.first"), t("case.compare.second"), t("case.compare.dice")];
    this.table = el("table", { class: "case-table" }, el("caption", { class: "sr-only", text: t("case.compare.title") }),
      el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col", text })))), this.body);
    this.key = el("ul", { class: "case-key" }, [[1, t("case.compare.only_first")], [2, t("case.compare.only_second")], [3, t("case.compare.both")]]
      .map(([value, text]) => el("li", {}, el("span", { class: "case-swatch", style: { "background-color": DIFFERENCE[/** @type {1|2|3} */ (value)] } }), text)));
    this.hint = line();
    this.progress = line();
    this.root = section(t("case.compare.title"), this.hint.root, this.modeField, this.otherField, this.key, this.table, this.progress.root);
  }

  close() {
    this.comparison.close();
  }

  update() {
    const { state } = this;
    const others = state.segmentations.filter((/** @type {any} */ { id }) => id !== state.first);
    const isPossible = others.length > 0;
    this.hint.set(isPossible ? "" : t("case.compare.needs_two"));
    this.modeField.hidden = !isPossible;
    setOptions(this.other, others.map((/** @type {any} */ one) => [one.id, segmentationName(one)]));
    const isOn = isPossible && state.compare !== "off";
    if (isOn && (!state.second || state.second === state.first || !state.segmentation(state.second))) {
      state.set({ second: this.other.value });
    } else if (!isPossible && state.compare !== "off") {
      state.set({ compare: "off", second: null });
    }
    setField(this.mode, state.compare);
    if (state.second) {
      setField(this.other, state.second);
    }
    this.otherField.hidden = !isOn;
    this.table.hidden = !isOn;
    this.key.hidden = state.compare !== "difference";
    if (isOn && state.second) {
      this.comparison.update(state.segmentation(state.first), state.segmentation(state.second));
    } else {
      this.progress.set("");
    }
  }

  _setMode(compare) {
    this.state.set({ compare, second: compare === "off" ? null : this.other.value, showProbability: false });
  }

  _updateNumbers() {
    const { rows, done, total } = this.comparison;
    const voxelMl = this.state.grid.steps.reduce((/** @type {number} */ product, /** @type {number} */ step) => product * step, 1) / 1000;
    const hasMl = this.state.feed.meta.has_millimetres !== false;
    const size = (/** @type {number} */ voxels) => (hasMl ? formatVolume(voxels * voxelMl) : t("case.compare.voxels", { n: voxels }));
    setRows(this.body, rows.map(({ name, counts, dice }) =>
      [name ?? t("case.compare.everything"), size(counts.first), size(counts.second), dice === null ? t("format.none") : formatNumber(dice, 3)]), (cells) =>
      el("tr", {}, cells.map((/** @type {string} */ text, /** @type {number} */ n) => el(n === 0 ? "th" : "td", n === 0 ? { scope: "row", text } : { text }))));
    this.progress.set(done < total ? t("case.compare.counting", { done, total }) : "");
    setText(this.table.querySelector("caption"), t("case.compare.title"));
  }
}
