// What came out of a diagnosis: figures, the report, files, the way into the case view.

import { el, icon } from "../dom.js";
import { facts } from "../parts.js";
import { formatNumber, hasText, t } from "../i18n.js";
import { formatVolume } from "../format.js";

/** @param {Object} known the case @returns {Node[]} nothing before there is something */
export function results(known) {
  const { reports = [], downloads = [] } = known;
  const report = reports.find(({ kind }) => kind === "html");
  // Where every model has an SR of its own, the one of the report is among them.
  const hasOwn = downloads.some(({ kind }) => kind === "SR");
  const files = [...reports.filter(({ kind }) => kind !== "html" && !(kind === "sr" && hasOwn)), ...downloads];
  const canOpen = known.num_slices > 0;
  const images = el(
    "a",
    { class: "button primary", href: `#/case/${encodeURIComponent(known.id)}` },
    icon("open"),
    t("results.open"),
  );
  if (!report && !files.length) return canOpen ? [el("p", {}, images)] : [];
  return [
    el(
      "section",
      { class: "card results", "aria-labelledby": "results" },
      el("h2", { id: "results", text: t("results.title") }),
      el(
        "div",
        { class: "row" },
        canOpen ? images : null,
        report
          ? el(
              "a",
              { class: "button", href: report.url, target: "_blank", rel: "noopener" },
              icon("report"),
              t("results.report"),
              el("span", { class: "sr-only", text: t("results.new_tab") }),
            )
          : null,
      ),
      files.length
        ? el("div", {}, el("h3", { text: t("results.files") }), el("ul", { class: "row" }, files.map(file)))
        : null,
      (known.segmentations ?? []).map(segmentation),
      report ? preview(report.url) : null,
    ),
  ];
}

// The report is a document of its own with a style of its own: in a frame that may do nothing but be read.
function preview(url) {
  const frame = el("iframe", { class: "report", title: t("results.report_title"), sandbox: "", hidden: true });
  const details = el("details", {}, el("summary", { text: t("results.preview") }), frame);
  details.addEventListener("toggle", () => {
    if (details.open && !frame.hasAttribute("src")) frame.src = url;
    frame.hidden = !details.open;
  });
  return details;
}

function file({ kind, name, url }) {
  return el(
    "li",
    {},
    el("a", { class: "button small", href: url, download: true }, icon("download"), name || kindWord(kind)),
  );
}

function kindWord(kind) {
  const name = kind.toLowerCase();
  return hasText(`results.kind.${name}`) ? t(`results.kind.${name}`) : kind;
}

function segmentation(found) {
  const labels = found.labels ?? [];
  const composites = (found.composites ?? []).map((composite) => ({
    ...composite,
    name: composite.title ?? composite.name,
  }));
  // A composite of a single label is that label again.
  const regions = [...labels, ...composites.filter((composite) => !labels.some(({ name }) => name === composite.name))];
  return el(
    "div",
    {},
    el("h3", { text: t("results.by", { model: found.model, version: found.version }) }),
    facts(regions.map((region) => [region.name, figures(region)])),
  );
}

function figures({ volume_ml: volume, long_mm: long, short_mm: short }) {
  if (volume === null || volume === undefined) return t("results.not_measured");
  const size = long && short ? t("results.size", { long: formatNumber(long, 0), short: formatNumber(short, 0) }) : "";
  return [formatVolume(volume), size].filter(Boolean).join(", ");
}
