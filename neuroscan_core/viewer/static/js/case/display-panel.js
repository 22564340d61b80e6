/** Window and level, and how the overlay is drawn. */

import { el } from "../dom.js";
import { formatShare } from "../format.js";
import { t } from "../i18n.js";
import { viridis } from "./colours.js";
import { labelled, line, numberField, section, select, setField, slider, toggle } from "./controls.js";
import { rounded } from "./numbers.js";
import { centreAndWidth, windowAround } from "./window.js";

export class DisplayPanel {
  /**
   * @param {import("./state.js").ViewState} state
   * @param {{setPreset: (name: string) => void, toggleProbability: () => void}} commands
   */
  constructor(state, commands) {
    this.state = state;
    this.preset = select([["auto", t("case.window.auto")], ["soft", t("case.window.soft")], ["wide", t("case.window.wide")], ["custom", t("case.window.custom")]],
      (name) => commands.setPreset(name));
    const setWindow = () => state.set({ window: windowAround(this.centre.valueAsNumber || 0, this.width.valueAsNumber || 1), preset: "custom" });
    this.centre = numberField(setWindow);
    this.width = numberField(setWindow);
    this.visible = toggle(t("case.overlay.visible"), (visible) => state.setOverlay({ visible }));
    this.crosshair = toggle(t("case.crosshair"), (showCrosshair) => state.set({ showCrosshair }));
    this.probability = toggle(t("case.probability.show"), commands.toggleProbability);
    this.opacity = slider({ min: 0, max: 100, step: 5, onInput: () => state.setOverlay({ opacity: Number(this.opacity.value) / 100 }) });
    this.style = select([["both", t("case.overlay.both")], ["fill", t("case.overlay.fill")], ["contour", t("case.overlay.contour")]], (style) => state.setOverlay({ style }));
    this.palette = select([["safe", t("case.overlay.safe")], ["card", t("case.overlay.card")]], (palette) => state.setOverlay({ palette }));
    this.legend = legend();
    this.hint = line();
    this.root = section(t("case.display"),
      labelled(t("case.window.preset"), this.preset),
      el("div", { class: "case-pair" }, labelled(t("case.window.centre"), this.centre), labelled(t("case.window.width"), this.width)),
      this.visible.root, this.crosshair.root, labelled(t("case.overlay.opacity"), this.opacity),
      el("div", { class: "case-pair" }, labelled(t("case.overlay.style"), this.style), labelled(t("case.overlay.palette"), this.palette)),
      this.probability.root, this.legend, this.hint.root);
  }

  update() {
    const { state } = this;
    const { centre, width } = centreAndWidth(state.window);
    const digits = width > 20 ? 0 : width > 1 ? 2 : 4;
    setField(this.preset, state.preset);
    setField(this.centre, rounded(centre, digits));
    setField(this.width, rounded(width, digits));
    this.visible.input.checked = state.overlay.visible;
    this.crosshair.input.checked = state.showCrosshair;
    setField(this.opacity, Math.round(100 * state.overlay.opacity));
    this.opacity.setAttribute("aria-valuetext", formatShare(state.overlay.opacity));
    setField(this.style, state.overlay.style);
    setField(this.palette, state.overlay.palette);
    this._updateProbability();
  }

  _updateProbability() {
    const { state } = this;
    const segmentation = state.first && state.segmentation(state.first);
    this.probability.root.hidden = !segmentation?.has_probabilities;
    this.probability.input.checked = state.showProbability;
    this.legend.hidden = !state.hasProbabilityMap;
    const isWaiting = state.showProbability && state.first && !state.hasProbabilityMap && state.compare === "off";
    this.hint.set(isWaiting ? t("case.probability.loading", { share: formatShare(state.feed.layer(state.first).progress) }) : "");
  }
}

/** A bar from 0 to 1 in the colours of the map. */
function legend() {
  const canvas = /** @type {HTMLCanvasElement} */ (el("canvas", { width: 256, height: 1, class: "case-legend-bar" }));
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  for (let n = 0; n < 256; n++) {
    context.fillStyle = `rgb(${viridis(n / 255).join(" ")})`;
    context.fillRect(n, 0, 1, 1);
  }
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => el("span", { text: formatShare(share) }));
  return el("figure", { class: "case-legend", role: "img", "aria-label": t("case.probability.legend") },
    el("figcaption", { text: t("case.probability.title") }), canvas, el("div", { class: "case-legend-ticks" }, ticks));
}
