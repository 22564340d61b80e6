/** Which segmentation is shown, and how large each of its regions is. */

import { el, icon as commonIcon, setText } from "../dom.js";
import { formatMs, formatVolume } from "../format.js";
import { formatNumber, t } from "../i18n.js";
import { coloursOf } from "./colours.js";
import { labelled, line, section, select, setField, setOptions, setRows } from "./controls.js";
import { segmentationName } from "./names.js";

export class RegionsPanel {
  /**
   * @param {import("./state.js").ViewState} state
   * @param {{goTo: (region: any) => void, jump: () => void}} commands
   */
  constructor(state, commands) {
    this.state = state;
    this.commands = commands;
    this.choice = select([], (sid) => state.set({ first: sid, diameter: null, isChosen: true }));
    this.field = labelled(t("case.segmentation.shown"), this.choice, "case-field wide");
    this.facts = el("p", { class: "hint" });
    this.body = el("tbody");
    const head = [t("case.regions.name"), t("case.regions.volume"), t("case.regions.diameters"), t("case.regions.parts")];
    this.table = el("table", { class: "case-table" },
      el("caption", { class: "sr-only", text: t("case.regions.title") }),
      el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col", text })))), this.body);
    this.empty = line("case-empty");
    this.warnings = el("ul", { class: "case-warnings" });
    this.triage = line();
    this.root = section(t("case.regions.title"), this.field, this.facts, this.table, this.empty.root, this.triage.root, this.warnings);
  }

  update() {
    const { state } = this;
    const { segmentations } = state;
    setOptions(this.choice, segmentations.map((/** @type {any} */ one) => [one.id, segmentationName(one)]));
    if (state.first) {
      setField(this.choice, state.first);
    }
    const shown = state.first && state.segmentation(state.first);
    this.field.hidden = !shown;
    this.table.hidden = !shown;
    this.empty.set(shown ? "" : t("case.regions.none"));
    setText(this.facts, shown ? factsOf(shown) : "");
    setRows(this.body, shown ? this._rows(shown) : [], (row) => this._row(row));
    const known = state.feed.meta.warnings ?? [];
    setRows(this.warnings, (shown?.warnings ?? []).filter((/** @type {string} */ text) => !known.includes(text)), (text) => el("li", {}, commonIcon("warning"), text));
    this.triage.set(triageText(shown?.triage));
  }

  _rows(shown) {
    const { state } = this;
    const colours = coloursOf(shown.labels, state.overlay.palette);
    const hidden = state.hiddenLabels(shown.id);
    const labels = shown.labels.map((/** @type {any} */ label) => ({
      ...label, sid: shown.id, title: label.name, colour: colours.get(label.value), visible: !hidden.has(label.value),
    }));
    return [...labels, ...(shown.composites ?? []).map((/** @type {any} */ one) => ({ ...one, sid: shown.id, isComposite: true }))];
  }

  _row(row) {
    const name = row.title || row.name;
    const show = row.isComposite ? null : el("input", {
      type: "checkbox", checked: row.visible, "aria-label": t("case.regions.show", { name }), dataset: { key: `show-${row.value}` },
      onChange: (event) => this.state.showLabel(row.sid, row.value, event.target.checked),
    });
    const swatch = row.isComposite ? el("span", { class: "case-swatch composite" }) : el("span", { class: "case-swatch", style: { "background-color": row.colour } });
    const go = el("button", {
      type: "button", class: "case-region", onClick: () => this.commands.goTo(row), disabled: row.slice === null || row.slice === undefined,
      title: t("case.regions.go", { name }), dataset: { key: `go-${row.name}` },
    }, name);
    return el("tr", { class: row.isComposite ? "composite" : "" },
      el("th", { scope: "row" }, el("span", { class: "case-region-name" }, show, swatch, go)),
      el("td", { text: row.volume_ml === null || row.volume_ml === undefined ? t("case.unknown") : formatVolume(row.volume_ml) }), el("td", { text: diametersText(row) }),
      el("td", { text: row.num_components === null || row.num_components === undefined ? t("case.unknown") : formatNumber(row.num_components) }));
  }
}

function diametersText({ long_mm: long, short_mm: short }) {
  if (long === null || long === undefined) {
    return t("case.unknown");
  }
  return t("case.regions.diameters_mm", { long: formatNumber(long, 0), short: formatNumber(short ?? 0, 0) });
}

function factsOf(shown) {
  const parts = [shown.engine, shown.state === "streaming" && t("case.segmentation.masks", { n: shown.num_masks }),
    shown.latency_ms && t("case.segmentation.latency", { time: formatMs(shown.latency_ms) })];
  return parts.filter(Boolean).join(" · ");
}

function triageText(triage) {
  const most = triage?.classes?.find((/** @type {any} */ one) => one.name === triage.most_likely);
  return most ? t("case.triage", { name: most.name, value: Math.round(100 * most.probability), model: triage.model }) : "";
}
