// Former cases: open, when they are deleted by themselves, delete now.

import { announce, el, icon } from "../dom.js";
import { badge, errorMessage } from "../parts.js";
import { formatFromNow, formatTime } from "../format.js";
import { getJson, remove } from "../api.js";
import { caseLook, caseWord } from "./states.js";
import { confirm } from "../dialogs.js";
import { t } from "../i18n.js";

/** The list; `load` reads it anew. */
export class CaseList {
  constructor() {
    this._body = el("div");
    this._heading = el("h2", { id: "former", text: t("cases.title"), tabIndex: -1 });
    this.root = el("section", { class: "former", "aria-labelledby": "former" }, this._heading, this._body);
  }

  /** Read the cases and show them. */
  async load() {
    try {
      this.show(await getJson("api/cases"));
    } catch (reason) {
      const again = el(
        "button",
        { class: "button", type: "button", onClick: () => this.load() },
        icon("retry"),
        t("frame.try_again"),
      );
      this._body.replaceChildren(errorMessage(reason, again));
    }
  }

  /** @param {Object[]} cases as GET /api/cases has them */
  show(cases) {
    this._body.replaceChildren(cases.length ? this._table(cases) : el("p", { class: "hint", text: t("cases.none") }));
  }

  _table(cases) {
    const head = ["cases.study", "cases.state", "cases.begun", "cases.expires"];
    return el(
      "div",
      { class: "table-scroll" },
      el(
        "table",
        {},
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            head.map((key) => el("th", { scope: "col", text: t(key) })),
            el("th", { scope: "col" }, el("span", { class: "sr-only", text: t("cases.delete") })),
          ),
        ),
        el(
          "tbody",
          {},
          cases.map((found) => this._row(found)),
        ),
      ),
    );
  }

  _row(found) {
    const name = found.title || t("cases.untitled");
    const button = el(
      "button",
      {
        class: "button quiet",
        "aria-label": t("cases.delete_named", { name }),
        onClick: () => this._delete(found, name),
      },
      icon("trash"),
      t("cases.delete"),
    );
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, el("a", { href: `#/diagnose/${encodeURIComponent(found.id)}`, text: name })),
      el("td", {}, badge(caseWord(found.state), caseLook(found.state))),
      el("td", { text: formatTime(found.created_at_s) }),
      el("td", { text: found.expires_at_s ? formatFromNow(found.expires_at_s) : t("format.none") }),
      el("td", {}, button),
    );
  }

  async _delete(found, name) {
    if (!(await confirmDelete(name))) return;
    try {
      await remove(`api/cases/${encodeURIComponent(found.id)}`);
      await this.load();
      announce(t("cases.deleted", { name }));
    } catch (reason) {
      this._body.prepend(errorMessage(reason));
    }
    this._heading.focus();
  }
}

/** Ask before images and results are deleted. @returns {Promise<boolean>} */
export function confirmDelete(name) {
  return confirm(t("cases.delete_title", { name }), [t("cases.delete_what")], t("cases.delete"));
}
