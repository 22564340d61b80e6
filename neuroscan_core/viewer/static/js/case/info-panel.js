/** What is known of the case, and whose it is where that is shown. */

import { sessionEvents } from "../api.js";
import { el, setText } from "../dom.js";
import { formatNumber, t } from "../i18n.js";
import { facts } from "../parts.js";
import { section } from "./controls.js";
import { isOblique } from "./geometry.js";
import { planeName } from "./names.js";

export class InfoPanel {
  /** @param {import("./state.js").ViewState} state */
  constructor(state) {
    this.state = state;
    this.identity = el("p", { class: "case-identity" });
    this.body = el("div");
    this.root = section(t("case.info.title"), this.body);
    this._key = "";
    // Whether identity is shown is a matter of the session: the case has to be read again.
    this._onSession = () => this.state.feed.refresh().catch(() => {});
    sessionEvents.addEventListener("change", this._onSession);
  }

  close() {
    sessionEvents.removeEventListener("change", this._onSession);
  }

  update() {
    const { meta, stack } = this.state.feed;
    const identity = meta.identity;
    setText(this.identity, identity
      ? [identity.name, identity.id, identity.birth_date, identity.sex, identity.study_date].filter(Boolean).join(" · ")
      : meta.identity_note ?? "");
    this.identity.hidden = this.identity.textContent === ""; // that it is hidden, the top of the page says
    const key = JSON.stringify([meta.modality, meta.description, meta.rows, meta.columns, meta.spacing_mm, meta.slice_spacing_mm, meta.num_slices, stack.count, meta.plane]);
    if (key === this._key) {
      return;
    }
    this._key = key;
    const spacing = meta.spacing_mm && meta.has_millimetres !== false;
    const oblique = this.state.grid && isOblique(this.state.grid);
    this.body.replaceChildren(facts([
      [t("case.info.modality"), meta.modality ?? null],
      [t("case.info.description"), meta.description ?? null],
      [t("case.info.grid"), meta.rows ? t("case.info.grid_value", { columns: meta.columns, rows: meta.rows, slices: stack.count }) : null],
      [t("case.info.spacing"), spacing ? t("case.info.spacing_value", { row: formatNumber(meta.spacing_mm[0]), column: formatNumber(meta.spacing_mm[1]), slice: formatNumber(stack.step_mm) }) : null],
      [t("case.info.plane"), spacing && meta.plane ? (oblique ? t("case.info.oblique", { plane: planeName(meta.plane) }) : planeName(meta.plane)) : null],
      [t("case.info.gaps"), stack.count > meta.num_slices ? formatNumber(stack.count - meta.num_slices) : null],
    ]));
  }
}
