/** Pictures of what is seen, as PNG files, and files to keep. Names have no identity of a patient. */

import { t } from "../i18n.js";

const GAP = 4;
const NOTE_HEIGHT = 22;

/**
 * Save the shown planes, as they lie on the page, as one picture.
 * @param {{canvas: HTMLCanvasElement, snapshot: () => HTMLCanvasElement}[]} views
 * @param {string} caseId @param {string} sequence written below; empty for none
 */
export async function savePicture(views, caseId, sequence) {
  if (views.length === 0) {
    return;
  }
  const boxes = views.map((view) => ({ view, box: view.canvas.getBoundingClientRect() })).filter(({ box }) => box.width > 0);
  const left = Math.min(...boxes.map(({ box }) => box.left));
  const top = Math.min(...boxes.map(({ box }) => box.top));
  const ratio = Math.min(window.devicePixelRatio || 1, 3);
  const canvas = document.createElement("canvas");
  canvas.width = Math.round((Math.max(...boxes.map(({ box }) => box.right)) - left + 2 * GAP) * ratio);
  canvas.height = Math.round((Math.max(...boxes.map(({ box }) => box.bottom)) - top + 2 * GAP + NOTE_HEIGHT) * ratio);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = "#000000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  for (const { view, box } of boxes) {
    context.drawImage(view.snapshot(), (box.left - left + GAP) * ratio, (box.top - top + GAP) * ratio, box.width * ratio, box.height * ratio);
  }
  context.fillStyle = "#d8e0e8";
  context.font = `${12 * ratio}px system-ui, sans-serif`;
  context.fillText([sequence, t("case.picture_note")].filter(Boolean).join(". "), GAP * ratio, canvas.height - 7 * ratio);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  saveFile({ name: `neuroscan-${caseId.slice(0, 9)}.png`, blob: /** @type {Blob} */ (blob) });
}

/** Give a file to the browser to keep. @param {{name: string, blob: Blob}} file */
export function saveFile({ name, blob }) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
