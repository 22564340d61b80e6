// One series of the node.

import { announce, el, icon, setText } from "../dom.js";
import { badge, errorMessage, explain, fact, message, ProgressBar, setBadge } from "../parts.js";
import { formatMs, formatTime, formatVolume } from "../format.js";
import { groupOf, lookOf, meaningOf, wordOf } from "./states.js";
import { deliveryList } from "./deliveries.js";
import { formatNumber, t } from "../i18n.js";
import { postJson } from "../api.js";

/** A series on the page; `update` is called with each push, and only touches what changed. */
export class SeriesCard {
  constructor() {
    this._title = el("a", { class: "card-title" });
    this._badge = badge("", "idle");
    this._time = el("time", { class: "hint" });
    this._picture = el("div", { class: "thumb", "aria-hidden": "true" });
    this._slices = new ProgressBar(t("live.slices"));
    this._masks = new ProgressBar(t("live.masks"));
    this._facts = el("dl", { class: "facts" });
    this._problem = el("div", { class: "card-problem" });
    this._answer = el("div", { class: "card-answer" });
    this._saidFacts = this._saidProblem = this._shownPicture = "";
    this.root = el(
      "li",
      {},
      el(
        "article",
        { class: "card series" },
        this._picture,
        el(
          "div",
          { class: "series-body" },
          el("div", { class: "series-head" }, el("h2", {}, this._title), this._badge, this._time),
          el("div", { class: "bars" }, this._slices.root, this._masks.root),
          this._facts,
          this._problem,
          this._answer,
        ),
      ),
    );
  }

  /** @param {Object} entry as GET /api/series has it */
  update(entry) {
    const isAttention = groupOf(entry.state) === "attention";
    this.root.firstChild.className = `card series group-${groupOf(entry.state)}`;
    setText(this._title, entry.description || t("live.no_description"));
    const target = entry.case ? `#/case/${entry.case}` : null;
    if (this._title.getAttribute("href") !== target)
      target ? this._title.setAttribute("href", target) : this._title.removeAttribute("href");
    setBadge(this._badge, wordOf(entry.state), lookOf(entry.state));
    this._badge.title = meaningOf(entry.state);
    setText(this._time, entry.opened_at_s ? t("live.begun", { time: formatTime(entry.opened_at_s) }) : "");
    this._updateBars(entry);
    this._updatePicture(entry);
    this._updateFacts(entry);
    this._updateProblem(entry, isAttention);
  }

  _updateBars({ num_slices: slices, num_masks: masks, num_expected: expected, state }) {
    const isEnded = groupOf(state) !== "progress";
    const total = expected ? Math.max(expected, slices) : isEnded ? slices : null;
    // Where nothing was taken, or is to be segmented, an empty bar would look like something that is missing.
    this._slices.root.hidden = isEnded && slices === 0;
    this._masks.root.hidden = isEnded && masks === 0;
    this._slices.set(
      slices,
      total,
      total === null ? t("live.so_far", { n: slices }) : t("live.of", { n: slices, total }),
    );
    this._masks.set(masks, total ?? Math.max(slices, 1), t("live.of", { n: masks, total: total ?? slices }));
  }

  _updatePicture({ picture, overlay_number: shown, state }) {
    const wanted = picture && shown ? `${picture}?n=${shown}` : "";
    if (wanted && wanted !== this._shownPicture) {
      const image = el("img", { alt: "", src: wanted });
      image.decode().then(
        () => this._shownPicture === wanted && this._picture.replaceChildren(image),
        () => {},
      );
    } else if (!wanted && !this._picture.hasChildNodes()) {
      this._picture.append(el("span"));
    }
    if (!wanted)
      setText(this._picture.firstChild, groupOf(state) === "progress" ? t("live.no_mask_yet") : t("live.no_mask"));
    this._picture.classList.toggle("small", !wanted && groupOf(state) !== "progress");
    this._shownPicture = wanted;
  }

  _updateFacts(entry) {
    const said = JSON.stringify([
      entry.rule,
      entry.model,
      entry.median_latency_ms,
      entry.volume_ml,
      entry.finding,
      entry.version,
      entry.priority,
      entry.deliveries,
    ]);
    if (said === this._saidFacts) return;
    this._saidFacts = said;
    const pairs = [
      [t("live.rule"), entry.rule],
      [t("live.model"), entry.model],
      [t("live.latency"), entry.median_latency_ms === null ? "" : formatMs(entry.median_latency_ms)],
      [t("live.volume"), entry.volume_ml === null ? entry.finding : formatVolume(entry.volume_ml)],
      [t("live.version"), entry.version > 1 ? formatNumber(entry.version) : ""],
      [t("live.priority"), entry.priority ? formatNumber(entry.priority) : ""],
    ];
    this._facts.replaceChildren(...pairs.filter(([, value]) => value).map(([name, value]) => fact(name, value)));
    if (entry.deliveries?.length) {
      const sent = fact(t("live.destinations"), deliveryList(entry.deliveries));
      sent.className = "wide";
      this._facts.append(sent);
    }
  }

  _updateProblem(entry, isAttention) {
    const said = JSON.stringify([isAttention, entry.state, entry.reason, entry.remedy, entry.can_retry]);
    if (said === this._saidProblem) return;
    this._saidProblem = said;
    if (groupOf(entry.state) === "done") this._answer.replaceChildren();
    // What no rule wants is no fault; the reason is still what somebody who misses a mask looks for.
    if (!entry.reason && !isAttention && !entry.can_retry) return this._problem.replaceChildren();
    if (!isAttention && !entry.can_retry)
      return this._problem.replaceChildren(el("p", { class: "hint", text: entry.reason }));
    const retry = el(
      "button",
      { class: "button", "aria-label": t("live.retry_named", { name: entry.description || t("live.no_description") }) },
      icon("retry"),
      t("live.retry"),
    );
    retry.addEventListener("click", () => this._retry(entry.case, retry));
    const text = entry.reason || meaningOf(entry.state);
    const kind = entry.state === "rejected" ? "warn" : "bad";
    this._problem.replaceChildren(
      message(kind, text, { detail: entry.remedy, action: entry.can_retry ? retry : null }),
    );
  }

  async _retry(id, button) {
    button.disabled = true;
    try {
      await postJson(`api/cases/${encodeURIComponent(id)}/retry`);
      // The outcome may be there before this answer, and be the same: it stays until the series is well.
      const said = t("live.retry_asked", { time: formatTime(Date.now() / 1000) });
      this._answer.replaceChildren(el("p", { class: "hint", text: said }));
      announce(said);
    } catch (reason) {
      this._answer.replaceChildren(errorMessage(reason));
      announce(explain(reason).text, "assertive");
    } finally {
      button.disabled = false;
    }
  }
}
