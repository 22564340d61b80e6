/** What is written and drawn over a picture: sides of the patient, crosshair, measurements, diameters, a scale bar. */

import { formatNumber, t } from "../i18n.js";
import { placeOf } from "./geometry.js";
import { distance } from "./measure.js";

const FONT = "600 13px system-ui, sans-serif";
const SIDE = "#8fd0f5";
const CROSSHAIR = "#f0e442";
const MEASURE = "#3fc79b";
const DIAMETER = "#ffffff";
const SHADOW = "rgb(0 0 0 / 75%)";
const BAR_MM = [100, 50, 20, 10, 5, 2, 1];

/**
 * @param {CanvasRenderingContext2D} context @param {import("./viewport.js").Viewport} view
 * @param {{left: number, top: number, scaleX: number, scaleY: number, perMm: number}} transform
 * @param {{width: number, height: number}} size @param {boolean} withCrosshair
 */
export function drawAnnotations(context, view, transform, size, withCrosshair) {
  const { state } = view;
  context.font = FONT;
  if (withCrosshair && !state.isFlat) {
    drawCrosshair(context, view.canvasAt(state.cursor, transform), size);
  }
  if (state.showDiameters && view.side === "first") {
    drawDiameter(context, view, transform);
  }
  drawMeasurements(context, view, transform);
  if (view.picture.present.runs.length === 0) {
    label(context, t("case.view.missing"), size.width / 2, size.height / 2, "#d8e0e8", "center");
  }
  if (state.feed.meta.has_millimetres !== false) {
    drawSides(context, state.planes[view.plane].letters, size);
    drawScaleBar(context, transform.perMm, size);
  }
}

/** Text with a dark outline, readable over anything. */
function label(context, text, x, y, colour, align = "left", baseline = "middle") {
  context.textAlign = align;
  context.textBaseline = baseline;
  context.lineWidth = 3;
  context.lineJoin = "round";
  context.strokeStyle = SHADOW;
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

function drawSides(context, letters, { width, height }) {
  label(context, letters.left, 8, height / 2, SIDE);
  label(context, letters.right, width - 8, height / 2, SIDE, "right");
  label(context, letters.top, width / 2, 12, SIDE, "center");
  label(context, letters.bottom, width / 2, height - 12, SIDE, "center");
}

function drawScaleBar(context, perMm, { width, height }) {
  const mm = BAR_MM.find((length) => length * perMm < width / 3);
  if (!mm || width < 160) {
    return;
  }
  const [x, y] = [10, height - 12];
  strokeLine(context, [x, y, x + mm * perMm, y], "#d8e0e8", 2);
  label(context, t("case.mm", { value: mm }), x, y - 11, "#d8e0e8");
}

function drawCrosshair(context, { x, y }, { width, height }) {
  const gap = 10;
  for (const piece of [[0, y, x - gap, y], [x + gap, y, width, y], [x, 0, x, y - gap], [x, y + gap, x, height]]) {
    strokeLine(context, piece, CROSSHAIR, 1, 0.75);
  }
}

function strokeLine(context, [x0, y0, x1, y1], colour, width, alpha = 1) {
  context.globalAlpha = alpha;
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.lineWidth = width + 1.5;
  context.strokeStyle = SHADOW;
  context.stroke();
  context.lineWidth = width;
  context.strokeStyle = colour;
  context.stroke();
  context.globalAlpha = 1;
}

function drawDiameter(context, view, transform) {
  const { state } = view;
  const { diameter } = state;
  const plane = state.planes[view.plane];
  if (!diameter || plane.w.axis !== 2 || state.feed.stack.order[state.cursor[2]] !== diameter.arrival) {
    return;
  }
  for (const [axis, mm] of [[diameter.long, diameter.long_mm], [diameter.short, diameter.short_mm]]) {
    const ends = [axis.slice(0, 2), axis.slice(2, 4)].map(([i, j]) => view.canvasAt([i, j, state.cursor[2]], transform));
    strokeLine(context, [ends[0].x, ends[0].y, ends[1].x, ends[1].y], DIAMETER, 1.5);
    if (mm) {
      label(context, t("case.mm", { value: formatNumber(mm, 1) }), ends[1].x + 6, ends[1].y, DIAMETER);
    }
  }
}

function drawMeasurements(context, view, transform) {
  const { state } = view;
  const index = state.indexOf(view.plane);
  const drafts = state.draft && state.draft.plane === view.plane ? [state.draft] : [];
  for (const { plane, a, b } of [...state.measurements, ...drafts]) {
    const at = placeOf(state.planes[view.plane], state.grid.counts, a).index;
    if (plane !== view.plane || Math.round(at) !== index) {
      continue;
    }
    const [from, to] = [view.canvasAt(a, transform), view.canvasAt(b, transform)];
    strokeLine(context, [from.x, from.y, to.x, to.y], MEASURE, 1.5);
    for (const { x, y } of [from, to]) {
      strokeLine(context, [x - 4, y, x + 4, y], MEASURE, 1.5);
      strokeLine(context, [x, y - 4, x, y + 4], MEASURE, 1.5);
    }
    label(context, lengthText(state, a, b), Math.max(from.x, to.x) + 8, from.x > to.x ? from.y : to.y, MEASURE);
  }
}

/** Distance of two voxels in words: millimetres, or pixels where the image has none. */
export function lengthText(state, a, b) {
  const length = distance(state.grid, a, b);
  return state.feed.meta.has_millimetres === false
    ? t("case.pixels", { value: formatNumber(length, 1) })
    : t("case.mm", { value: formatNumber(length, 1) });
}
