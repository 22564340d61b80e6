/** What tools, keys and panels have in common to do to the view. */

import { announce } from "../dom.js";
import { t } from "../i18n.js";
import { savePicture } from "./export.js";
import { diametersOf, largestSlice } from "./measure.js";
import { toolName } from "./names.js";
import { addToHistogram, presetsOf } from "./window.js";

const SAMPLES = 2_000_000;
const STYLES = ["both", "fill", "contour"];

/** @param {any} view the case view */
export function commandsOf(view) {
  const { state, feed } = view;

  const viewOf = (/** @type {string} */ plane) => view.stage.viewOf(plane);

  const setPreset = (/** @type {string} */ preset) => {
    if (preset === "custom") {
      state.set({ preset });
    } else {
      const { voxels } = state;
      state.set({ preset, window: preset === "auto" ? { ...voxels.window } : presetsOf(sampled(voxels, feed.size), voxels.scale)[/** @type {"soft"|"wide"} */ (preset)] });
    }
  };

  const setTool = (/** @type {string} */ tool) => {
    state.set({ tool, draft: null });
    announce(toolName(tool));
  };

  /** To the slice with most tumour, or to a named one; false where there is none. */
  const jump = ({ isQuiet = false, slice = -1 } = {}) => {
    const shown = state.first && state.segmentation(state.first);
    const values = new Set((shown?.labels ?? []).map((/** @type {any} */ { value }) => value));
    const arrival = slice >= 0 ? slice : shown ? largestSlice(feed.layer(state.first).masks, values) : -1;
    if (arrival >= 0) {
      if (!isQuiet) {
        waitFor(view, state.native);
      }
      showSlice(view, arrival, values);
    } else if (!isQuiet) {
      announce(t("case.jump_nothing"));
    }
    return arrival >= 0;
  };

  const goTo = (/** @type {any} */ region) => {
    const values = new Set(region.isComposite ? compositeValues(state, region) : [region.value]);
    waitFor(view, state.native);
    showSlice(view, region.slice, values);
    state.set({ diameter: diameterOf(view, region, values), showDiameters: true, follow: false });
  };

  return {
    viewOf, setPreset, setTool, jump, goTo,
    enlarge: (/** @type {string} */ plane) => enlarge(state, plane),
    setLayout: (/** @type {string} */ layout) => state.set({ layout, mainPlane: state.mainPlane }),
    cycleStyle: () => state.setOverlay({ style: STYLES[(STYLES.indexOf(state.overlay.style) + 1) % STYLES.length] }),
    toggleProbability: () => {
      const hasThem = state.first && state.segmentation(state.first)?.has_probabilities;
      state.set({ showProbability: Boolean(hasThem) && !state.showProbability });
      state.changed("overlay");
    },
    showSequence: (/** @type {string} */ name) => view.sequences.choose(name),
    stepSequence: (/** @type {number} */ by) => view.sequences.step(by),
    showSegmentation: (/** @type {string} */ sid) => state.set(state.first ? { second: sid, compare: "side", showProbability: false } : { first: sid }),
    savePicture: () => savePicture(view.stage.visiblePictures(), feed.caseId, view.sequences.shown),
    help: () => view.help(),
    toggleSide: () => view.root.classList.toggle("case-side-open"),
  };
}

/** Make a plane the large one; once more, show it alone; once more, back. */
function enlarge(state, plane) {
  if (state.layout === "main" && state.mainPlane !== plane) {
    state.set({ mainPlane: plane });
  } else if (state.layout === "single") {
    state.set({ layout: state.layoutBefore ?? "main" });
  } else {
    state.set({ layoutBefore: state.layout, layout: "single", mainPlane: plane });
  }
}

/** Go to a slice and put the crosshair into the middle of some labels there. */
function showSlice(view, arrival, values) {
  const { state, feed } = view;
  const place = feed.stack.slots[arrival];
  if (!(place >= 0)) {
    return;
  }
  const middle = middleOf(feed.layer(state.first).masks[arrival], feed.meta.columns, values);
  state.follow = false;
  state.setCursor(middle ? [middle[0], middle[1], place] : [state.cursor[0], state.cursor[1], place]);
  state.changed("cursor", "follow");
}

/** A person asked for another slice: the time until it is drawn is marked. */
function waitFor(view, plane) {
  view.state.isTouched = true;
  const shown = view.stage.viewOf(plane);
  if (shown) {
    shown.pending ??= performance.now();
  }
}

/** @param {Uint8Array|undefined} mask @param {number} columns @param {ReadonlySet<number>} values */
function middleOf(mask, columns, values) {
  let [x, y, count] = [0, 0, 0];
  mask?.forEach((label, n) => {
    if (label !== 0 && values.has(label)) {
      x += n % columns;
      y += Math.floor(n / columns);
      count += 1;
    }
  });
  return count > 0 ? [x / count, y / count] : null;
}

function compositeValues(state, region) {
  const labels = state.segmentation(state.first)?.labels.map((/** @type {any} */ { value }) => value) ?? [];
  const parts = { WT: [1, 2, 3], TC: [1, 3], ET: [3] }[region.name];
  return region.labels ?? parts?.filter((value) => labels.includes(value)) ?? labels;
}

/** What the server measured; while it has not, the same is measured here. */
function diameterOf(view, region, values) {
  const { feed, state } = view;
  if (region.long_axis && region.short_axis) {
    return { arrival: region.slice, long: region.long_axis, short: region.short_axis, long_mm: region.long_mm, short_mm: region.short_mm };
  }
  const mask = feed.layer(state.first).masks[region.slice];
  const found = mask && diametersOf(mask, feed.meta.columns, feed.meta.rows, values, feed.meta.spacing_mm);
  return found ? { arrival: region.slice, ...found } : null;
}

function sampled(voxels, size) {
  const slices = voxels.loaded.filter(Boolean);
  return addToHistogram(slices, Math.max(1, Math.ceil((slices.length * size) / SAMPLES)));
}
