// Parts that several pages are made of: messages, progress, facts.

import { el, icon, setText } from "./dom.js";
import { t } from "./i18n.js";

const ICONS = { info: "help", good: "check", warn: "warning", bad: "warning" };

/**
 * What happened, what it means, what to do.
 * @param {"info"|"good"|"warn"|"bad"} kind
 * @param {string} text
 * @param {{detail?: string, action?: Node}} [more]
 */
export function message(kind, text, { detail = "", action = null } = {}) {
  const lines = [el("p", { text }), detail && el("p", { text: detail })];
  return el("div", { class: `message ${kind}` }, icon(ICONS[kind]), el("div", {}, ...lines), action);
}

/** An error of `api.js`, or any other, as sentences. */
export function explain(reason) {
  if (reason?.status)
    return { text: reason.message, detail: [reason.meaning, reason.remedy].filter(Boolean).join(" ") };
  if (reason?.status === 0) return { text: t("errors.no_answer"), detail: t("errors.no_answer_remedy") };
  console.error(reason);
  return { text: t("errors.page"), detail: t("errors.page_remedy") };
}

/** An error as a message. */
export function errorMessage(reason, action = null) {
  const { text, detail } = explain(reason);
  return message("bad", text, { detail, action });
}

/** Word with a colour: a state. */
export function badge(text, look) {
  return el("span", { class: `badge ${look}`, text });
}

/** Set what a badge says. */
export function setBadge(node, text, look) {
  setText(node, text);
  node.className = `badge ${look}`;
}

/** A list of names and values; null values are left out. @param {Array<[string, string|Node|null]>} pairs */
export function facts(pairs) {
  return el(
    "dl",
    { class: "facts" },
    pairs.filter(([, value]) => value !== null && value !== "").map(([name, value]) => fact(name, value)),
  );
}

/** One name and value. */
export function fact(name, value) {
  return el("div", {}, el("dt", { text: name }), el("dd", {}, value));
}

/**
 * A bar with a name and an amount in words.
 * @param {string} name
 */
export class ProgressBar {
  constructor(name) {
    this._fill = el("span");
    this._bar = el("div", { class: "bar", role: "progressbar", "aria-label": name, "aria-valuemin": 0 }, this._fill);
    this._amount = el("span", { class: "amount" });
    this.root = el("div", { class: "progress" }, el("span", { class: "name", text: name }), this._bar, this._amount);
  }

  /**
   * @param {number} value
   * @param {number|null} total null where it is not known
   * @param {string} text what is read
   */
  set(value, total, text) {
    setText(this._amount, text);
    this._bar.setAttribute("aria-valuetext", text);
    this._bar.classList.toggle("unknown", total === null);
    this._bar.classList.toggle("good", total !== null && total > 0 && value >= total);
    if (total === null) {
      this._bar.removeAttribute("aria-valuenow");
      this._fill.style.width = "";
      return;
    }
    this._bar.setAttribute("aria-valuemax", String(Math.max(total, 1)));
    this._bar.setAttribute("aria-valuenow", String(Math.min(value, total)));
    this._fill.style.width = `${total > 0 ? Math.min(100, (100 * value) / total) : 0}%`;
  }
}
