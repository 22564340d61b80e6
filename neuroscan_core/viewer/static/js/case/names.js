/** Names of planes, tools and states in the language of the page. */

import { t } from "../i18n.js";

/** @param {string} plane */
export function planeName(plane) {
  const names = { axial: t("case.plane.axial"), sagittal: t("case.plane.sagittal"), coronal: t("case.plane.coronal") };
  return names[/** @type {keyof typeof names} */ (plane)] ?? plane;
}

/** @param {string} tool */
export function toolName(tool) {
  const names = {
    crosshair: t("case.tool.crosshair"), window: t("case.tool.window"), pan: t("case.tool.pan"), zoom: t("case.tool.zoom"),
    measure: t("case.tool.measure"),
  };
  return names[/** @type {keyof typeof names} */ (tool)] ?? tool;
}

/** A segmentation in one line. @param {any} segmentation */
export function segmentationName(segmentation) {
  const state = segmentation.state === "streaming" ? t("case.segmentation.streaming") : t("case.segmentation.final");
  const values = { model: segmentation.model, version: segmentation.version ?? "", state };
  if (segmentation.result_version === null) {
    return t("case.segmentation.name_added", values);
  }
  return segmentation.result_version > 1
    ? t("case.segmentation.name_of_version", { ...values, result: segmentation.result_version })
    : t("case.segmentation.name", values);
}
