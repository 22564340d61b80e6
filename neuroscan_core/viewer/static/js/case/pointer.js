/** Mouse, pen and fingers over a picture. */

import { draggedWindow } from "./window.js";

const ZOOM_PER_PIXEL = 0.006;
const ZOOM_PER_NOTCH = 1.15;
const PIXELS_PER_SLICE = 40; // of a trackpad's smooth scrolling; a notch of a wheel is more
const LEAST_LENGTH_PX = 3; // shorter drags are clicks, not measurements

/**
 * Let a picture be handled.
 * @param {import("./viewport.js").Viewport} view
 * @param {{onHover: (voxel: number[]|null, view: import("./viewport.js").Viewport) => void, onDouble: (plane: string) => void,
 *   valueRange: () => import("./window.js").Window}} hooks
 */
export function listenToPointers(view, hooks) {
  const { canvas, state } = view;
  const fingers = new Map();
  let drag = /** @type {any} */ (null);
  let pinch = /** @type {any} */ (null);
  let scrolled = 0;

  const at = (/** @type {MouseEvent} */ event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (!state.grid) {
      return;
    }
    state.set({ active: view.plane, isTouched: true });
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
    if (fingers.size === 2) {
      drag?.cancel?.();
      drag = null;
      pinch = startPinch(view, [...fingers.values()]);
    } else if (fingers.size === 1) {
      drag = startDrag(view, actionOf(event, state.tool), at(event), hooks);
    }
    event.preventDefault();
  });

  canvas.addEventListener("pointermove", (event) => {
    if (!state.grid) {
      return;
    }
    const here = at(event);
    if (fingers.has(event.pointerId)) {
      fingers.set(event.pointerId, here);
    }
    if (pinch && fingers.size === 2) {
      pinch([...fingers.values()]);
    } else if (drag) {
      drag.move(here);
    }
    hooks.onHover(view.voxelAt(here.x, here.y), view);
  });

  const release = (/** @type {PointerEvent} */ event) => {
    if (fingers.delete(event.pointerId)) {
      (event.type === "pointercancel" ? drag?.cancel : drag?.end)?.();
      drag = null;
      pinch = null;
    }
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => hooks.onHover(null, view));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("focus", () => state.set({ active: view.plane }));
  canvas.addEventListener("dblclick", () => hooks.onDouble(view.plane));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (!state.grid) {
      return;
    }
    const pixels = event.deltaMode === 0 ? event.deltaY : event.deltaY * PIXELS_PER_SLICE;
    if (event.ctrlKey || event.metaKey) {
      zoomAround(view, at(event), ZOOM_PER_NOTCH ** (-pixels / 60));
      return;
    }
    scrolled += Math.sign(pixels) === Math.sign(scrolled) ? pixels : pixels - scrolled;
    const steps = Math.abs(pixels) >= PIXELS_PER_SLICE ? Math.sign(pixels) * Math.max(1, Math.round(Math.abs(pixels) / 120)) : Math.trunc(scrolled / PIXELS_PER_SLICE);
    if (steps !== 0) {
      scrolled = 0;
      view.scrollTo(state.indexOf(view.plane) + steps, event.timeStamp);
    }
  }, { passive: false });
}

/** The middle button moves, the right one windows, whatever the tool is; so does the left one with shift. */
function actionOf(event, tool) {
  if (event.button === 1 || event.shiftKey) {
    return "pan";
  }
  return event.button === 2 ? "window" : tool;
}

function startDrag(view, action, from, hooks) {
  const { state } = view;
  const starts = {
    crosshair: () => {
      const move = (/** @type {{x: number, y: number}} */ to) => state.setCursor(view.voxelAt(to.x, to.y));
      const before = [...state.cursor];
      move(from);
      return { move, cancel: () => state.setCursor(before) }; // a second finger came: the first was no click
    },
    window: () => {
      const [start, range] = [{ ...state.window }, hooks.valueRange()];
      return {
        move: (/** @type {{x: number, y: number}} */ to) =>
          state.set({ window: draggedWindow(start, to.x - from.x, to.y - from.y, range), preset: "custom" }),
      };
    },
    pan: () => {
      const { x, y } = state.places[view.plane];
      const { perMm } = view.transform();
      return {
        move: (/** @type {{x: number, y: number}} */ to) =>
          state.setPlace(view.plane, { x: x + (to.x - from.x) / perMm, y: y + (to.y - from.y) / perMm }),
      };
    },
    zoom: () => {
      let last = from.y;
      return {
        move: (/** @type {{x: number, y: number}} */ to) => {
          zoomAround(view, from, Math.exp((last - to.y) * ZOOM_PER_PIXEL));
          last = to.y;
        },
      };
    },
    measure: () => startMeasure(view, from),
  };
  return starts[/** @type {keyof typeof starts} */ (action)]();
}

function startMeasure(view, from) {
  const { state } = view;
  const a = view.voxelAt(from.x, from.y);
  let last = from;
  return {
    move: (/** @type {{x: number, y: number}} */ to) => {
      last = to;
      state.set({ draft: { plane: view.plane, a, b: view.voxelAt(to.x, to.y) } });
    },
    end: () => {
      if (state.draft && Math.hypot(last.x - from.x, last.y - from.y) >= LEAST_LENGTH_PX) {
        state.addMeasurement(state.draft);
      } else {
        state.set({ draft: null });
      }
    },
    cancel: () => state.set({ draft: null }),
  };
}

/** Two fingers: their distance zooms, their middle moves. */
function startPinch(view, [a, b]) {
  const { state } = view;
  let before = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) };
  return ([c, d]) => {
    const now = { x: (c.x + d.x) / 2, y: (c.y + d.y) / 2, apart: Math.hypot(c.x - d.x, c.y - d.y) };
    zoomAround(view, now, now.apart / Math.max(before.apart, 1));
    const { perMm } = view.transform();
    const { x, y } = state.places[view.plane];
    state.setPlace(view.plane, { x: x + (now.x - before.x) / perMm, y: y + (now.y - before.y) / perMm });
    before = now;
  };
}

/** Enlarge so that what lies under a point stays there. @param {import("./viewport.js").Viewport} view */
export function zoomAround(view, point, factor) {
  const { state } = view;
  const before = view.transform();
  state.setPlace(view.plane, { zoom: state.places[view.plane].zoom * factor });
  const after = view.transform();
  const { width, height } = view.size;
  const shift = (/** @type {number} */ at, /** @type {number} */ whole) => (at - whole / 2) * (1 / after.perMm - 1 / before.perMm);
  const { x, y } = state.places[view.plane];
  state.setPlace(view.plane, { x: x + shift(point.x, width), y: y + shift(point.y, height) });
}
