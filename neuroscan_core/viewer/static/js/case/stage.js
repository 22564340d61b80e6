/** The place of the pictures: which planes are shown, how large, and one beside the other where two are compared. */

import { el, setText } from "../dom.js";
import { t } from "../i18n.js";
import { planeName, segmentationName } from "./names.js";
import { listenToPointers } from "./pointer.js";
import { ScenePane } from "./scene-pane.js";
import { GreyLevels } from "./slice-picture.js";
import { PLANES } from "./state.js";
import { Viewport } from "./viewport.js";

export class Stage {
  /**
   * @param {import("./state.js").ViewState} state @param {{enlarge: (plane: string) => void}} commands
   * @param {(voxel: number[]|null) => void} onHover
   */
  constructor(state, commands, onHover) {
    this.state = state;
    this.commands = commands;
    this.onHover = onHover;
    this.grey = new GreyLevels();
    this.views = Object.fromEntries(PLANES.map((plane) => [plane, this._make(plane, "first")]));
    this.others = /** @type {Record<string, Viewport>} */ ({});
    this.solid = new ScenePane(state, { onMaximise: commands.enlarge });
    this.tabs = el("div", { class: "case-planes", role: "group", "aria-label": t("case.plane.group"), hidden: true },
      PLANES.map((plane) => el("button", { type: "button", class: "button quiet", dataset: { plane }, onClick: () => state.set({ mainPlane: plane, active: plane }), text: planeName(plane) })));
    this.grid = el("div", { class: "case-grid" }, ...Object.values(this.views).map((view) => view.root), this.solid.root);
    this.root = el("div", { class: "case-stage" }, this.tabs, this.grid);
  }

  close() {
    [...Object.values(this.views), ...Object.values(this.others)].forEach((view) => view.close());
    this.solid.close();
  }

  /** The first picture of a plane. @param {string} plane */
  viewOf(plane) {
    return this.views[plane];
  }

  visibleViews() {
    return [...Object.values(this.views), ...Object.values(this.others)].filter((view) => view.canvas.getClientRects().length > 0);
  }

  /** Everything that a picture of the page has. @returns {{canvas: HTMLCanvasElement, snapshot: () => HTMLCanvasElement}[]} */
  visiblePictures() {
    return [...this.visibleViews(), ...(this.solid.isShown ? [this.solid] : [])];
  }

  /** Show and size what the layout says. */
  arrange() {
    const { state } = this;
    const isPair = state.compare === "side" && state.second !== null;
    const planes = Object.keys(state.planes);
    const isAlone = state.isFlat || state.layout === "single";
    const canBeLarge = planes.includes(state.mainPlane) || (state.mainPlane === "solid" && !isPair && !state.isFlat);
    const large = canBeLarge && !state.isFlat ? state.mainPlane : state.native;
    this.grid.dataset.layout = isPair ? "pair" : isAlone ? "single" : state.layout;
    for (const [plane, view] of Object.entries(this.views)) {
      view.root.hidden = !planes.includes(plane) || ((isPair || isAlone) && plane !== large);
      view.root.classList.toggle("large", plane === large);
    }
    this.solid.root.hidden = isPair || state.isFlat || (isAlone && large !== "solid");
    this.solid.root.classList.toggle("large", large === "solid");
    this._arrangePair(isPair, large);
    this.tabs.hidden = state.isFlat || !(isPair || state.layout === "single");
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (this.tabs.querySelectorAll("button"))) {
      button.setAttribute("aria-pressed", String(button.dataset.plane === large));
    }
    this._nameSides(isPair);
  }

  _arrangePair(isPair, large) {
    if (isPair && !this.others[large]) {
      this.others[large] = this._make(large, "second");
    }
    for (const [plane, view] of Object.entries(this.others)) {
      const isShown = isPair && plane === large;
      if (isShown && !view.root.isConnected) {
        this.grid.append(view.root);
      } else if (!isShown) {
        view.root.remove();
      }
    }
  }

  _nameSides(isPair) {
    const { state } = this;
    const sequence = state.feed.meta.sources?.length > 1 ? state.voxels.name : "";
    for (const view of [...Object.values(this.views), ...Object.values(this.others)]) {
      const shown = isPair && state.segmentation((view.side === "second" ? state.second : state.first) ?? "");
      const letter = view.side === "second" ? t("case.compare.second") : t("case.compare.first");
      setText(view.caption, [sequence, shown && `${letter}: ${segmentationName(shown)}`].filter(Boolean).join(" · "));
    }
  }

  draw() {
    const views = this.visibleViews();
    // The one that a person is waiting for comes first.
    views.sort((a, b) => Number(b.pending !== null) - Number(a.pending !== null));
    views.forEach((view) => view.draw());
  }

  _make(plane, side) {
    const view = new Viewport(this.state, plane, this.grey, { side, onMaximise: this.commands.enlarge });
    listenToPointers(view, {
      onHover: this.onHover, onDouble: this.commands.enlarge, valueRange: () => this.state.voxels.window,
    });
    return view;
  }
}
