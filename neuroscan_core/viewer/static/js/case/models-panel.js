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
    this.body = el("div", { class: "case-run" }, labelled(t("case.run.model"), this.choice), this.button);
    this.root = section(t("case.run.title"), this.body, this.progress.root, this.text.root, this.failure.root);
    this._known = new Set();
    this._running = /** @type {any} */ (null);
    this._load();
  }

  async _load() {
    try {
      this.models = (await getJson("api/models")).filter((/** @type {any} */ { kind }) => kind !== "classifier" && kind !== "classification");
      setOptions(this.choice, this.models.map(({ name, version, title }) => [name, t("case.run.name", { title: title || name, version: version ?? "" })]));
    } catch (reason) {
      this.failure.set(explain(reason).text);
    }
    this.update();
  }

  update() {
    const { meta } = this.state.feed;
    const isWhole = meta.num_slices > 0 && meta.state !== "receiving";
    this.button.disabled = Boolean(this._running) || this.models.length === 0 || !isWhole;
    this.text.set(this._running ? "" : !isWhole ? t("case.run.not_yet") : this.models.length === 0 ? t("case.run.none") : "");
    this._watch();
  }

  async _run() {
    const model = this.choice.value;
    this._known = new Set(this.state.feed.meta.segmentations.map((/** @type {any} */ { id }) => id));
    this._running = { model };
    this.failure.set("");
    this.progress.root.hidden = false;
    this.progress.set(0, null, t("case.run.running"));
    this.update();
    try {
      const answer = await postJson(`${this.state.feed.path}/segment`, { model });
      // The answer comes at once with the job, or at the end with the segmentation: both are looked for in the case.
      this._running = this._running && { ...this._running, sid: answer?.segmentation ?? answer?.id };
      await this.state.feed.refresh();
    } catch (reason) {
      this._end();
      const { text, detail } = explain(reason);
      this.failure.set([text, detail].filter(Boolean).join(" "));
      announce(text, "assertive");
    }
    this.update();
  }

  /** Whether the segmentation that was asked for is there. */
  _watch() {
    const found = this._running && this.state.feed.meta.segmentations.find((/** @type {any} */ { id }) => !this._known.has(id));
    if (!found) {
      return;
    }
    this.progress.set(found.num_masks ?? 0, this.state.feed.meta.num_slices, t("case.run.masks", { n: found.num_masks ?? 0 }));
    if (found.state === "final") {
      this._end();
      announce(t("case.run.done", { model: found.model }));
      this.commands.showSegmentation(found.id);
    }
  }

  _end() {
    this._running = null;
    this.progress.root.hidden = true;
  }
}
