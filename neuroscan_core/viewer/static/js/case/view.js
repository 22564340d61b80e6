/** The case view: puts together data, pictures, tools and panels of one case. */

import { announce, el, icon } from "../dom.js";
import { t } from "../i18n.js";
import { errorMessage, explain, message, ProgressBar } from "../parts.js";
import { openHelp } from "../dialogs.js";
import { commandsOf } from "./commands.js";
import { ComparePanel } from "./compare-panel.js";
import { DisplayPanel } from "./display-panel.js";
import { CaseFeed } from "./feed.js";
import { FilesPanel, MeasurementsPanel } from "./files-panel.js";
import { InfoPanel } from "./info-panel.js";
import { listenToCaseKeys, shortcuts } from "./keys.js";
import { ModelsPanel } from "./models-panel.js";
import { Readout } from "./readout.js";
import { RegionsPanel } from "./regions-panel.js";
import { Sequences } from "./sequences.js";
import { Stage } from "./stage.js";
import { ViewState } from "./state.js";
import { isGrowing, Toolbar } from "./toolbar.js";

/**
 * Open a case.
 * @param {HTMLElement} container
 * @param {string} caseId
 * @param {import("../main.js").Context} context
 * @returns {Promise<{close: () => void}>}
 * @throws {import("../api.js").ApiError} where the case cannot be read
 */
export async function openCase(container, caseId, context) {
  ["neuroscan:case-open", "neuroscan:first-picture"].forEach((name) => performance.clearMarks(name));
  performance.mark("neuroscan:case-open");
  const view = new CaseView(container, caseId, context);
  try {
    await view.start();
  } catch (reason) {
    view.close();
    throw reason;
  }
  return view;
}

/** All of them in one place, small, so that the pictures keep theirs. @param {string[]} texts */
function warnings(texts) {
  return el("div", { class: "message warn case-warned" }, icon("warning"), el("ul", {}, texts.map((text) => el("li", { text }))));
}

/** Arrival number in the middle of what is there. @param {Int32Array} order by place, -1 for gaps */
function middleOf(order) {
  const present = order.filter((arrival) => arrival >= 0);
  return present[present.length >> 1];
}

class CaseView {
  constructor(container, caseId, context) {
    this.container = container;
    this.context = context;
    this.feed = new CaseFeed(caseId);
    this.state = new ViewState(this.feed);
    this.sequences = new Sequences(this.state);
    this.hasStart = false; // whether the crosshair was put into the tumour to begin with
    this.startSlice = -1; // arrival number of what is shown first where there is a tumour
    this._closers = [() => this.feed.close(), () => this.state.close()];
    this._isBuilt = false;
    this._failure = /** @type {any} */ (null);
  }

  async start() {
    const { feed, state, context } = this;
    context.fill?.(true);
    context.setShortcuts?.(shortcuts());
    feed.addEventListener("meta", () => this._meta());
    feed.addEventListener("slices", (event) => this._slices(/** @type {CustomEvent} */ (event).detail));
    feed.addEventListener("sequence", (event) => this._sequence(/** @type {CustomEvent} */ (event).detail));
    feed.addEventListener("masks", () => this._masks());
    feed.addEventListener("probabilities", () => state.changed("probabilities", "overlay"));
    feed.addEventListener("connection", (event) => this._connection(/** @type {CustomEvent} */ (event).detail));
    feed.addEventListener("failed", (event) => this._fail(/** @type {CustomEvent} */ (event).detail));
    state.addEventListener("change", (event) => this._draw(/** @type {CustomEvent} */ (event).detail.changes));
    await feed.start();
  }

  close() {
    this._closers.reverse().forEach((close) => close());
    this._closers = [];
    this.context.fill?.(false);
    this.context.setShortcuts?.([]);
    this.container.replaceChildren();
  }

  // ------------------------------------------------------------------------------------------------------ what comes

  _meta() {
    const { feed, state } = this;
    const { meta } = feed;
    this._failure = null;
    if (!this._isBuilt) {
      this._build();
    }
    this.context.setTitle?.(t("case.page_title", { modality: meta.modality || t("case.title") }));
    if (!feed.hasGrid) {
      state.changed("meta");
      return;
    }
    const isFirst = !state.grid;
    if (isFirst) {
      state.follow = isGrowing(feed);
      state.window = { ...state.voxels.window };
    }
    if (state.stackVersionSeen !== feed.stackVersion) {
      state.stackVersionSeen = feed.stackVersion;
      state.updateGrid();
    }
    if (isFirst) {
      state.mainPlane = state.active = state.native;
    }
    if (isFirst || this._mayJump) {
      this._goToStart();
    }
    this.sequences.update();
    if (state.preset === "auto") {
      state.window = { ...state.voxels.window };
    }
    if (state.follow && !isGrowing(feed)) {
      state.follow = false;
      this.hasStart = false; // the series is whole: what matters is the tumour
      state.isTouched = false;
    }
    this._chooseSegmentation();
    this._findTumour();
    state.changed("meta");
  }

  _goToStart() {
    const { feed, state } = this;
    const { meta, stack } = feed;
    const known = meta.segmentations.flatMap((/** @type {any} */ one) => [...(one.composites ?? []), ...one.labels])
      .find((/** @type {any} */ region) => typeof region.slice === "number");
    const arrival = state.follow ? meta.num_slices - 1 : known?.slice ?? middleOf(stack.order);
    state.cursor = [meta.columns >> 1, meta.rows >> 1, Math.max(stack.slots[arrival] ?? 0, 0)];
    this.startSlice = known?.slice ?? -1;
    feed.wanted = arrival;
    state.changed("cursor");
  }

  /** Whether the view still chooses what is seen: nobody has moved, and what was looked for has not been found. */
  get _mayJump() {
    return !this.hasStart && !this.state.isTouched && !isGrowing(this.feed);
  }

  /** Put the crosshair into the tumour as soon as its mask is here. */
  _findTumour() {
    const { feed, state } = this;
    const masks = state.first ? feed.layer(state.first).masks : [];
    if (this._mayJump && state.grid && (masks[this.startSlice] || feed.isComplete)) {
      const isFound = this.commands.jump({ isQuiet: true, slice: masks[this.startSlice] ? this.startSlice : -1 });
      // While masks are still coming a larger slice may come, too.
      const shown = state.segmentation(state.first ?? "");
      const isWhole = shown?.state === "final" && feed.layer(shown.id).revision >= shown.revision;
      this.hasStart = isWhole && (isFound || feed.isComplete);
    }
  }

  _chooseSegmentation() {
    const { state, feed } = this;
    const newest = state.segmentations[0]?.id ?? null; // the server lists the newest result first
    const isGone = !state.first || !state.segmentation(state.first);
    if (isGone || (!state.isChosen && state.first !== newest && state.compare === "off")) {
      state.first = newest;
      state.changed("first");
    }
    feed.wantLayers([state.first, state.compare === "off" ? null : state.second]);
  }

  _slices(arrivals) {
    const { state } = this;
    this._follow();
    state.changed("slices");
    if (this._failure) {
      this._failure = null;
      state.changed("failure");
    }
    if (arrivals.length > 0 && performance.getEntriesByName("neuroscan:first-picture").length === 0) {
      this._draw(new Set(["slices", "cursor", "grid"]));
      performance.mark("neuroscan:first-picture");
    }
  }

  _sequence({ slices, reason }) {
    if (!reason) {
      this.sequences.came(slices);
    } else if (this.sequences.fail(slices, reason)) {
      announce(explain(reason).text, "assertive");
    }
    this.state.changed("slices");
  }

  /** Go to what is newest: the slice with the newest mask where masks come, for that is what is waited for. */
  _follow() {
    const { feed, state } = this;
    const numMasks = state.first ? feed.layer(state.first).masks.length : 0;
    const place = feed.stack.slots[numMasks > 0 ? Math.min(numMasks - 1, feed.newest) : feed.newest];
    if (state.follow && place >= 0 && state.cursor[2] !== place) {
      state.cursor[2] = place;
      state.changed("cursor");
    }
  }

  _masks() {
    const { state } = this;
    this._follow();
    this._findTumour();
    state.changed("masks");
  }

  _connection(state) {
    this.offline.hidden = state !== "lost";
  }

  _fail(reason) {
    this._failure = reason;
    this.state.changed("failure");
    announce(explain(reason).text, "assertive");
  }

  // ---------------------------------------------------------------------------------------------------------- drawing

  _build() {
    const { state } = this;
    this._isBuilt = true;
    this.commands = commandsOf(this);
    this.readout = new Readout(state);
    this.stage = new Stage(state, this.commands, (voxel) => this.readout.setHover(voxel));
    this.toolbar = new Toolbar(state, this.commands, this.sequences);
    this.compare = new ComparePanel(state);
    this.panels = [new RegionsPanel(state, this.commands), new DisplayPanel(state, this.commands), this.compare,
      new MeasurementsPanel(state), new ModelsPanel(state, this.commands), new FilesPanel(state, this.commands)];
    this.info = new InfoPanel(state);
    this.progress = new ProgressBar(t("case.progress.slices"));
    this.offline = el("p", { class: "case-offline", role: "status", hidden: true, text: t("case.offline") });
    this.notices = el("div", { class: "case-notices" });
    this.empty = el("div", { class: "empty case-nothing", hidden: true }, el("p"));
    this.heading = el("h1", { class: "case-title" });
    this.side = el("section", { class: "case-side", id: "case-side", "aria-label": t("case.panels") },
      [...this.panels, this.info].map((panel) => panel.root));
    this.root = el("section", { class: "case", "aria-label": t("case.title") },
      el("header", { class: "case-head" }, this.heading, this.info.identity, this.progress.root, this.offline),
      this.toolbar.root, this.notices, el("div", { class: "case-body" }, this.stage.root, this.empty, this.side), this.readout.root);
    this.container.replaceChildren(this.root);
    this._closers.push(() => this.stage.close(), () => this.readout.close(), () => this.compare.close(), () => this.info.close(), listenToCaseKeys(state, this.commands));
  }

  _draw(changes) {
    const { state, feed } = this;
    if (!this._isBuilt || feed.isClosed) {
      return;
    }
    this.stage.root.hidden = this.toolbar.root.hidden = this.readout.root.hidden = !state.grid;
    this.empty.hidden = Boolean(state.grid);
    if (state.grid) {
      this._drawPictures(changes);
    }
    const isOnlyMoving = [...changes].every((name) => ["cursor", "follow", "places", "draft", "active", "slices"].includes(name));
    if (!isOnlyMoving || (changes.has("slices") && this.feed.isComplete)) {
      this._drawPanels(changes);
    } else if (changes.has("follow") || changes.has("slices")) {
      this.toolbar.update();
      this._drawProgress();
    }
  }

  _drawPictures(changes) {
    const { state } = this;
    if (["meta", "grid", "layout", "mainPlane", "compare", "second", "voxels"].some((name) => changes.has(name))) {
      this.stage.arrange();
    }
    this.stage.draw();
    this.readout.update(changes.has("cursor") && state.isTouched && !state.follow);
    if (changes.has("cursor")) {
      this.stage.solid.cursorMoved();
    }
  }

  _drawPanels(changes) {
    const { state, feed } = this;
    if (changes.has("first") || changes.has("second") || changes.has("compare")) {
      feed.wantLayers([state.first, state.compare === "off" ? null : state.second]);
    }
    if (state.showProbability && state.first) {
      feed.loadProbabilities(state.first);
    }
    this.info.update();
    this._drawProgress();
    this._drawNotices();
    if (state.grid) {
      this.toolbar.update();
      this.panels.forEach((panel) => panel.update());
      this.stage.solid.update();
    }
    this.side.hidden = !state.grid;
    this.heading.textContent = feed.meta.title || feed.meta.description || t("case.title");
    /** @type {HTMLElement} */ (this.empty.firstChild).textContent = isGrowing(feed) || ["waiting", "queued", "running"].includes(feed.meta.state) ? t("case.nothing_yet") : t("case.nothing");
  }

  _drawProgress() {
    const { meta, numLoaded } = this.feed;
    const growing = isGrowing(this.feed);
    const other = growing ? null : this.sequences.progress;
    if (other) {
      this.progress.root.hidden = false;
      this.progress.set(other.value, other.total, other.text);
      return;
    }
    const total = meta.num_expected ?? (growing ? null : meta.num_slices);
    this.progress.root.hidden = !growing && this.feed.isComplete;
    const text = growing ? t("case.progress.arriving", { n: meta.num_slices }) : t("case.progress.loading", { done: numLoaded, total: meta.num_slices });
    const shown = growing && total ? t("case.progress.of", { done: meta.num_slices, total }) : text;
    this.progress.set(growing ? meta.num_slices : numLoaded, total, shown);
  }

  _drawNotices() {
    const { meta } = this.feed;
    const { failure } = this.sequences;
    const key = JSON.stringify([meta.reason, meta.remedy, meta.warnings, this._failure && String(this._failure), failure && String(failure.reason), this.feed.stack.is_regular]);
    if (this.notices.dataset.key === key) {
      return;
    }
    this.notices.dataset.key = key;
    const isIrregular = !this.feed.stack.is_regular && this.feed.hasGrid;
    // The list scrolls: what a person has just asked for in vain comes first.
    this.notices.replaceChildren(...[
      this._failure && errorMessage(this._failure), failure && errorMessage(failure.reason),
      meta.reason && message("bad", meta.reason, { detail: meta.remedy ?? "" }),
      isIrregular && message("warn", t("case.irregular")),
      meta.warnings?.length > 0 && warnings(meta.warnings),
    ].filter(Boolean));
  }

  help() {
    openHelp();
  }
}
