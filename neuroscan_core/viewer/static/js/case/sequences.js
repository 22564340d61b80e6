/** Which sequence of a study is shown, which one is waited for, and the window of each. Another one is shown once its
 * slice at the crosshair is here; until then the picture stays what it is called. */

import { announce } from "../dom.js";
import { formatShare } from "../format.js";
import { t } from "../i18n.js";

const ORDER = ["T1", "T1ce", "T2", "FLAIR"]; // as radiologists name them; others come after

export class Sequences {
  /** @param {import("./state.js").ViewState} state */
  constructor(state) {
    this.state = state;
    this.pending = /** @type {import("./slices.js").Slices|null} */ (null);
    this.failure = /** @type {null|{slices: import("./slices.js").Slices, reason: any}} */ (null);
    this._windows = /** @type {Map<import("./slices.js").Slices, {window: any, preset: string}>} */ (new Map());
  }

  /** Names to choose from; none where there is nothing to choose. @returns {string[]} */
  get names() {
    const names = (this.state.feed.meta?.sources ?? []).map((/** @type {any} */ { name }) => name);
    const rank = (/** @type {string} */ name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
    return names.length > 1 ? names.sort((/** @type {string} */ a, /** @type {string} */ b) => rank(a) - rank(b)) : [];
  }

  /** Name of the one that is shown; empty where there is only one. */
  get shown() {
    return this.names.length > 0 ? this.state.voxels.name : "";
  }

  /** Show a sequence as soon as it is here. @param {string} name */
  choose(name) {
    const { state } = this;
    const slices = state.feed.sequence(name);
    this.failure = null;
    this.pending = slices === state.voxels ? null : slices;
    state.feed.putFirst(slices);
    state.wantCursor();
    state.changed("sequence");
    this.update();
  }

  /** The next one, or the one before. @param {number} by */
  step(by) {
    const { names } = this;
    if (names.length > 0) {
      const at = names.indexOf(this.pending?.name ?? this.shown);
      this.choose(names[(at + by + names.length) % names.length]);
    }
  }

  /** Something of a sequence came. @param {import("./slices.js").Slices} slices */
  came(slices) {
    if (this.failure?.slices === slices && slices.numLoaded > 0) {
      this.failure = null;
      this.state.changed("failure");
    }
    this.update();
  }

  /**
   * A sequence cannot be had: what was shown stays.
   * @param {import("./slices.js").Slices} slices @param {any} reason @returns {boolean} whether anybody waits for it
   */
  fail(slices, reason) {
    const { state } = this;
    if (slices === this.pending) {
      this.pending = null;
      state.feed.putFirst(state.voxels);
    } else if (slices !== state.voxels) {
      return false;
    }
    this.failure = { slices, reason };
    state.changed("failure", "sequence");
    return true;
  }

  /** Show what is waited for where it is here; go back to the reference where the study has become another one. */
  update() {
    const { state, pending } = this;
    const { feed } = state;
    if (pending?.isDescribed && this._isHere(pending)) {
      this._show(pending);
      announce(t("case.sequence.shown", { name: pending.name }));
    } else if (state.voxels !== feed.reference && !this.names.includes(state.voxels.name)) {
      this.pending = null;
      feed.putFirst(feed.reference);
      this._show(feed.reference);
    }
  }

  /** How far the one is that is waited for, or that is shown; null where it is whole. */
  get progress() {
    const { feed, voxels } = this.state;
    const slices = this.pending ?? voxels;
    if (slices === feed.reference || slices.isComplete) {
      return null;
    }
    const { name, progress, numLoaded } = slices;
    return progress !== null
      ? { value: Math.round(100 * progress), total: 100, text: t("case.sequence.fetching", { name, share: formatShare(progress) }) }
      : { value: numLoaded, total: feed.meta.num_slices, text: t("case.sequence.loading", { name, done: numLoaded, total: feed.meta.num_slices }) };
  }

  _isHere(slices) {
    const { feed, cursor } = this.state;
    const arrival = feed.stack.order[cursor[2]] ?? -1;
    return arrival >= 0 ? Boolean(slices.loaded[arrival]) : slices.numLoaded > 0;
  }

  _show(slices) {
    const { state } = this;
    this._windows.set(state.voxels, { window: state.window, preset: state.preset });
    const { window, preset } = this._windows.get(slices) ?? { window: null, preset: "auto" };
    this.pending = null;
    state.set({ voxels: slices, preset, window: preset === "auto" ? { ...slices.window } : window });
  }
}
