/** The row of tools over the pictures. */

import { el } from "../dom.js";
import { t } from "../i18n.js";
import { setRows } from "./controls.js";
import { icon } from "./icons.js";
import { toolName } from "./names.js";
import { TOOLS } from "./state.js";

export class Toolbar {
  /**
   * @param {import("./state.js").ViewState} state
   * @param {{setTool: (tool: string) => void, jump: () => void, setLayout: (layout: string) => void, savePicture: () => void,
   *   help: () => void, back: () => void, toggleSide: () => boolean, showSequence: (name: string) => void}} commands
   * @param {import("./sequences.js").Sequences} sequences
   */
  constructor(state, commands, sequences) {
    this.state = state;
    this.chosen = sequences;
    this.sequences = el("div", { class: "case-group case-sequences", role: "group", "aria-label": t("case.sequence.group") });
    this._makeSequence = (/** @type {string} */ name) =>
      el("button", { type: "button", class: "button quiet", title: t("case.sequence.show", { name }), dataset: { key: name }, onClick: () => commands.showSequence(name), text: name });
    const button = (/** @type {any} */ drawing, /** @type {string} */ text, /** @type {() => void} */ onClick, props = {}) =>
      el("button", { type: "button", class: "button quiet icon-only", title: text, "aria-label": text, onClick, ...props }, icon(drawing));
    this.tools = TOOLS.map((tool) => button(tool, toolName(tool), () => commands.setTool(tool), { dataset: { tool } }));
    this.layouts = [["large", "main", t("case.layout.main")], ["grid", "grid", t("case.layout.grid")]].map(([drawing, layout, text]) =>
      button(drawing, text, () => commands.setLayout(layout), { dataset: { layout } }));
    this.follow = el("button", {
      type: "button", class: "button quiet", onClick: () => state.set({ follow: !state.follow }), title: t("case.follow_hint"),
    }, icon("follow"), t("case.follow"));
    this.overlay = button("layers", t("case.overlay.visible"), () => state.setOverlay({ visible: !state.overlay.visible }));
    this.jump = el("button", { type: "button", class: "button quiet", onClick: commands.jump, title: t("case.jump_hint") }, icon("target"), t("case.jump"));
    this.root = el("div", { class: "case-tools", role: "toolbar", "aria-label": t("case.tools") },
      this.sequences, el("div", { class: "case-group", role: "group", "aria-label": t("case.tool.group") }, this.tools),
      el("div", { class: "case-group" }, this.overlay, button("fit", t("case.fit"), () => state.fit()), this.jump, this.follow),
      el("div", { class: "case-group", role: "group", "aria-label": t("case.layout.group") }, this.layouts),
      el("div", { class: "case-group case-group-end" },
        button("picture", t("case.save_picture"), commands.savePicture), button("keys", t("case.help"), commands.help),
        el("button", { type: "button", class: "button quiet case-side-toggle", onClick: () => this._toggleSide(commands), "aria-expanded": "false", "aria-controls": "case-side", text: t("case.panels") })));
    listenToArrows(this.root);
  }

  _toggleSide(commands) {
    this.root.querySelector(".case-side-toggle")?.setAttribute("aria-expanded", String(commands.toggleSide()));
  }

  update() {
    const { state } = this;
    this.tools.forEach((node) => node.setAttribute("aria-pressed", String(node.dataset.tool === state.tool)));
    this.layouts.forEach((node) => {
      node.setAttribute("aria-pressed", String(node.dataset.layout === state.layout));
      node.hidden = state.isFlat || state.compare === "side";
    });
    this.overlay.setAttribute("aria-pressed", String(state.overlay.visible));
    this.follow.setAttribute("aria-pressed", String(state.follow));
    this.follow.hidden = !isGrowing(state.feed);
    /** @type {HTMLButtonElement} */ (this.jump).disabled = !state.first;
    this._updateSequences();
  }

  _updateSequences() {
    const { names, shown, pending } = this.chosen;
    this.sequences.hidden = names.length === 0;
    setRows(this.sequences, names, this._makeSequence);
    for (const node of /** @type {Iterable<HTMLElement>} */ (this.sequences.children)) {
      node.setAttribute("aria-pressed", String(node.dataset.key === shown));
      node.setAttribute("aria-busy", String(node.dataset.key === pending?.name));
    }
  }
}

/** Whether further slices are to come. @param {import("./feed.js").CaseFeed} feed */
export function isGrowing(feed) {
  return feed.meta.state === "receiving";
}

/** Arrow keys go from tool to tool, as in every toolbar. @param {HTMLElement} bar */
function listenToArrows(bar) {
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const buttons = /** @type {HTMLElement[]} */ ([...bar.querySelectorAll("button:not([hidden]):not(:disabled)")]);
    const at = buttons.indexOf(/** @type {HTMLElement} */ (event.target));
    if (step && at >= 0) {
      buttons[(at + step + buttons.length) % buttons.length].focus();
      event.preventDefault();
    }
  });
}
