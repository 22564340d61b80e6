/** Measurements that were made by hand, and files to keep. */

import { getFile } from "../api.js";
import { el, icon } from "../dom.js";
import { t } from "../i18n.js";
import { errorMessage } from "../parts.js";
import { lengthText } from "./annotations.js";
import { saveFile } from "./export.js";
import { placeOf } from "./geometry.js";
import { line, section, setRows } from "./controls.js";
import { planeName } from "./names.js";

export class MeasurementsPanel {
  /** @param {import("./state.js").ViewState} state */
  constructor(state) {
    this.state = state;
    this.list = el("ul", { class: "case-list" });
    this.hint = line();
    this.hint.set(t("case.measure.hint"));
    this.root = section(t("case.measure.title"), this.list, this.hint.root);
  }

  update() {
    const { state } = this;
    const rows = state.measurements.map(({ id, plane, a, b }) => {
      const index = Math.round(placeOf(state.planes[plane], state.grid.counts, /** @type {any} */ (a)).index);
      return { id, plane, index, text: lengthText(state, a, b) };
    });
    this.hint.set(rows.length === 0 ? t("case.measure.hint") : "");
    setRows(this.list, rows, ({ id, plane, index, text }) => {
      const where = t("case.measure.where", { plane: planeName(plane), slice: index + 1 });
      return el("li", {},
        el("button", { type: "button", class: "case-region", onClick: () => state.setIndex(plane, index), dataset: { key: `go-${id}` } }, el("strong", { text }), where),
        el("button", {
          type: "button", class: "button quiet icon-only", "aria-label": t("case.measure.delete", { length: text }), title: t("case.measure.delete", { length: text }),
          onClick: () => state.removeMeasurement(id), dataset: { key: `delete-${id}` },
        }, icon("trash")));
    });
  }
}

export class FilesPanel {
  /** @param {import("./state.js").ViewState} state @param {{savePicture: () => void}} commands */
  constructor(state, commands) {
    this.state = state;
    this.list = el("ul", { class: "case-list" });
    this.problem = el("div", { role: "alert" });
    this.root = section(t("case.files.title"), this.list, this.problem,
      el("button", { type: "button", class: "button", onClick: commands.savePicture }, icon("download"), t("case.save_picture")));
  }

  update() {
    const { downloads, reports } = this.state.feed.meta;
    const sid = this.state.first;
    const files = (downloads ?? []).map((/** @type {any} */ one) => ({ ...one, url: urlOf(one.url, sid) }));
    const written = (reports ?? []).map(({ kind, url }) => ({ kind, url: urlOf(url, null), name: t("case.files.report", { kind: kind.toUpperCase() }), opens: kind === "html" }));
    setRows(this.list, [...written, ...files], ({ kind, name, url, opens }) =>
      el("li", {}, el("a", {
        class: "case-file", href: url, download: !opens, target: opens ? "_blank" : null, rel: "noopener", dataset: { key: url },
        onClick: opens ? null : (/** @type {MouseEvent} */ event) => this._save(event, url),
      },
        icon(opens ? "report" : "download"), el("span", { text: name || kind }))));
  }

  /** A link alone could not say why a file cannot be had. */
  async _save(event, url) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) {
      return;
    }
    event.preventDefault();
    this.problem.replaceChildren();
    try {
      saveFile(await getFile(url));
    } catch (reason) {
      this.problem.replaceChildren(errorMessage(reason));
    }
  }
}

/** Relative to the page, so that a proxy may put it anywhere; of the segmentation that is shown. */
function urlOf(url, sid) {
  const relative = url.replace(/^\//, "");
  if (!sid || relative.includes("segmentation=") || !relative.includes("/download/")) {
    return relative;
  }
  return `${relative}${relative.includes("?") ? "&" : "?"}segmentation=${encodeURIComponent(sid)}`;
}
