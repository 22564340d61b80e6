/** The keyboard in the case view: everything that the mouse does, and how the help names it. */

import { t } from "../i18n.js";
import { isTyping, keysAreOn } from "../shortcuts.js";
import { placeOf, voxelAt } from "./geometry.js";
import { zoomAround } from "./pointer.js";
import { PLANES } from "./state.js";

const MANY = 10;
const ZOOM = 1.25;
const PAN_PX = 30;
const OWN_ARROWS = "input, select, textarea, [role=tablist], [role=radiogroup], [role=toolbar]";
const OWN_ENTER = "button, a, summary, input, select, textarea";

/** What the help lists. */
export function shortcuts() {
  return [
    { keys: ["↑", "↓"], text: t("case.keys.slice") },
    { keys: ["PgUp", "PgDn"], text: t("case.keys.ten") },
    { keys: ["Home", "End"], text: t("case.keys.ends") },
    { keys: ["Shift", "← ↑ → ↓"], text: t("case.keys.crosshair") },
    { keys: ["Ctrl", "← ↑ → ↓"], text: t("case.keys.pan") },
    { keys: ["+", "-", "0"], text: t("case.keys.zoom") },
    { keys: ["1", "2", "3"], text: t("case.keys.plane") },
    { keys: ["x"], text: t("case.keys.enlarge") },
    { keys: ["c", "w", "p", "z", "m"], text: t("case.keys.tools") },
    { keys: ["Enter"], text: t("case.keys.point") },
    { keys: ["Delete", "Esc"], text: t("case.keys.delete") },
    { keys: ["a", "s", "e"], text: t("case.keys.windows") },
    { keys: ["q", "Q"], text: t("case.keys.sequence") },
    { keys: ["o", "[", "]"], text: t("case.keys.overlay") },
    { keys: ["f"], text: t("case.keys.style") },
    { keys: ["b"], text: t("case.keys.probability") },
    { keys: ["j"], text: t("case.keys.jump") },
    { keys: ["n"], text: t("case.keys.follow") },
    { keys: ["v"], text: t("case.keys.crosshair_shown") },
  ];
}

/**
 * @param {import("./state.js").ViewState} state
 * @param {{viewOf: (plane: string) => any, setPreset: (name: string) => void, setTool: (tool: string) => void, jump: () => void,
 *   enlarge: (plane: string) => void, cycleStyle: () => void, toggleProbability: () => void,
 *   stepSequence: (by: number) => void}} commands
 * @returns {() => void} stops listening
 */
export function listenToCaseKeys(state, commands) {
  const letters = lettersOf(state, commands);
  const moves = movesOf(state, commands);
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    const target = /** @type {Element} */ (event.target);
    if (event.defaultPrevented || event.altKey || event.metaKey || isTyping(event) || !state.grid || document.querySelector("dialog[open]")) {
      return;
    }
    const isMove = event.key in moves && !target.closest?.(event.key === "Enter" ? OWN_ENTER : OWN_ARROWS);
    const isLetter = !event.ctrlKey && event.key in letters && keysAreOn();
    if (isMove) {
      moves[event.key](event);
    } else if (isLetter) {
      letters[event.key](event);
    } else {
      return;
    }
    event.preventDefault();
  };
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
}

function lettersOf(state, commands) {
  const zoom = (/** @type {number} */ factor) => {
    const view = commands.viewOf(state.active);
    zoomAround(view, { x: view.size.width / 2, y: view.size.height / 2 }, factor);
  };
  const opacity = (/** @type {number} */ change) =>
    state.setOverlay({ opacity: Math.min(Math.max(state.overlay.opacity + change, 0), 1) });
  return {
    "+": () => zoom(ZOOM), "=": () => zoom(ZOOM), "-": () => zoom(1 / ZOOM), 0: () => state.fit(),
    1: () => activate(state, commands, PLANES[0]), 2: () => activate(state, commands, PLANES[1]), 3: () => activate(state, commands, PLANES[2]),
    x: () => commands.enlarge(state.active),
    c: () => commands.setTool("crosshair"), w: () => commands.setTool("window"), p: () => commands.setTool("pan"),
    z: () => commands.setTool("zoom"), m: () => commands.setTool("measure"),
    a: () => commands.setPreset("auto"), s: () => commands.setPreset("soft"), e: () => commands.setPreset("wide"),
    q: () => commands.stepSequence(1), Q: () => commands.stepSequence(-1),
    o: () => state.setOverlay({ visible: !state.overlay.visible }), "[": () => opacity(-0.1), "]": () => opacity(0.1),
    f: () => commands.cycleStyle(), b: () => commands.toggleProbability(), j: () => commands.jump(),
    n: () => state.set({ follow: !state.follow }), v: () => state.set({ showCrosshair: !state.showCrosshair }),
  };
}

function activate(state, commands, plane) {
  if (state.planes[plane]) {
    state.set({ active: plane });
    commands.viewOf(plane)?.canvas.focus();
  }
}

function movesOf(state, commands) {
  const scroll = (/** @type {KeyboardEvent} */ event, /** @type {number} */ index) =>
    commands.viewOf(state.active).scrollTo(index, event.timeStamp);
  const here = () => state.indexOf(state.active);
  const arrow = (/** @type {number} */ dx, /** @type {number} */ dy) => (/** @type {KeyboardEvent} */ event) => {
    if (event.ctrlKey) {
      const { perMm } = commands.viewOf(state.active).transform();
      const { x, y } = state.places[state.active];
      state.setPlace(state.active, { x: x + (dx * PAN_PX) / perMm, y: y + (dy * PAN_PX) / perMm });
    } else if (event.shiftKey) {
      nudge(state, dx, dy);
    } else {
      scroll(event, here() + dx + dy);
    }
  };
  const takeBack = () => (state.draft ? state.set({ draft: null }) : state.removeMeasurement());
  return {
    ArrowUp: arrow(0, -1), ArrowDown: arrow(0, 1), ArrowLeft: arrow(-1, 0), ArrowRight: arrow(1, 0),
    PageUp: (event) => scroll(event, here() - MANY), PageDown: (event) => scroll(event, here() + MANY),
    Home: (event) => scroll(event, 0), End: (event) => scroll(event, state.countOf(state.active) - 1),
    Enter: () => point(state), Delete: takeBack, Backspace: takeBack, Escape: () => state.set({ draft: null }),
  };
}

/** Move the crosshair by a voxel on the screen of the active plane. */
function nudge(state, dx, dy) {
  const plane = state.planes[state.active];
  const at = placeOf(plane, state.grid.counts, state.cursor);
  state.setCursor(voxelAt(plane, state.grid.counts, at.x + dx, at.y + dy, at.index));
  if (state.draft && state.draft.plane === state.active) {
    state.set({ draft: { ...state.draft, b: [...state.cursor] } });
  }
}

/** With the tool for distances: the crosshair is the first point, then the second. */
function point(state) {
  if (state.tool !== "measure") {
    return;
  }
  if (!state.draft) {
    state.set({ draft: { plane: state.active, a: [...state.cursor], b: [...state.cursor] } });
  } else {
    state.addMeasurement({ ...state.draft, b: [...state.cursor] });
  }
}
