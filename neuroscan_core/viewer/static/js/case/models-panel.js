/** Runs another model on the case; its result is a further segmentation. */

import { getJson, postJson } from "../api.js";
import { announce, el } from "../dom.js";
import { t } from "../i18n.js";
import { explain, ProgressBar } from "../parts.js";
import { labelled, line, section, select, setOptions } from "./controls.js";

export class ModelsPanel {
  /** @param {import("./state.js").ViewState} state @param {{showSegmentation: (sid: string) => void}} commands */
  constructor(state, commands) {
    this.state = state;
    this.commands = commands;
    this.models = /** @type {any[]} */ ([]);
    this.choice = select([], () => {});
    this.button = /** @type {HTMLButtonElement} */ (el("button", { type: "button", class: "button", onClick: () => this._run(), text: t("case.run.start") }));
    this.progress = new ProgressBar(t("case.run.progress"));
    this.progress.root.hidden = true;
    this.text = line();
    this.failure = line("case-failure");
    this.body = el("div", { class: "case-run" }, labelled(t("case.run.model"), this.choice, "case-field wide"), this.button);
    this.root = section(t("case.run.title"), this.body, this.progress.root, this.text.root, this.failure.root);
    this._sid = /** @type {string|null} */ (null); // of what is being made; empty while it is asked for
    this._load();
  }

  async _load() {
    try {
      this.models = await getJson("api/models");
    } catch (reason) {
      this.failure.set(explain(reason).text);
    }
    this.update();
  }

  update() {
    const { meta } = this.state.feed;
    const fitting = this.models.filter((model) => fits(model, meta));
    setOptions(this.choice, fitting.map(({ name, version }) => [name, t("case.run.name", { name, version: version ?? "" })]));
    const isWhole = meta.num_slices > 0 && meta.is_complete !== false && meta.state !== "receiving";
    this._watch();
    this.button.disabled = this._sid !== null || fitting.length === 0 || !isWhole;
    this.text.set(!isWhole ? t("case.run.not_yet") : fitting.length === 0 ? t("case.run.none") : "");
  }

  async _run() {
    this.failure.set("");
    this._sid = "";
    this.progress.root.hidden = false;
    this.progress.set(0, null, t("case.run.running"));
    this.update();
    try {
      const answer = await postJson(`${this.state.feed.path}/segment`, { model: this.choice.value });
      this._sid = answer.segmentation ?? answer.id;
      await this.state.feed.refresh();
    } catch (reason) {
      this._end();
      const { text, detail } = explain(reason);
      this._tell([text, detail].filter(Boolean).join(" "));
    }
    this.update();
  }

  /** How far the segmentation that was asked for is; also one that was asked for before the page was opened. */
  _watch() {
    const { segmentations, num_slices: total } = this.state.feed.meta;
    this._sid ??= segmentations.find((/** @type {any} */ { state }) => state === "running")?.id ?? null;
    const found = this._sid && segmentations.find((/** @type {any} */ { id }) => id === this._sid);
    if (!found) {
      return;
    }
    this.progress.root.hidden = false;
    this.progress.set(found.num_masks ?? 0, total, t("case.run.masks", { n: found.num_masks ?? 0 }));
    if (found.state === "final") {
      this._end();
      announce(t("case.run.done", { model: found.model }));
      this.commands.showSegmentation(found.id);
    } else if (found.state === "failed") {
      this._end();
      this._tell(found.reason || t("case.run.failed", { model: found.model }));
    }
  }

  _tell(text) {
    this.failure.set(text);
    announce(text, "assertive");
  }

  _end() {
    this._sid = null;
    this.progress.root.hidden = true;
  }
}

/** Whether a model segments what the case has: one series, or all of the sequences it wants. */
function fits(model, meta) {
  if (model.kind === "classifier") {
    return false;
  }
  const sequences = new Set((meta.sources ?? []).map((/** @type {any} */ { name }) => name));
  return model.is_for_one_series !== false || (model.channels ?? []).every((/** @type {string} */ name) => sequences.has(name));
}
