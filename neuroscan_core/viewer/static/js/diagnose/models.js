// Which models look at the study, and whether they look at it flipped as well.

import { el } from "../dom.js";
import { hasText, t } from "../i18n.js";

/**
 * @param {Object[]} models as GET /api/models has them
 * @returns {{root: HTMLElement, query: () => string}}
 */
export function modelChoice(models) {
  const segmenters = models.filter(({ kind }) => kind !== "classifier");
  const boxes = segmenters.map((model) =>
    el("input", { type: "checkbox", value: model.name, id: `model-${model.name}` }),
  );
  const list = el(
    "div",
    { class: "model-list", hidden: true },
    segmenters.map((model, place) => choice(boxes[place], model.title || model.name, describe(model))),
  );
  const radio = (value, checked) =>
    el("input", {
      type: "radio",
      name: "which",
      value,
      checked,
      id: `which-${value}`,
      onChange: () => {
        list.hidden = !own.checked;
      },
    });
  const automatic = radio("automatic", true);
  const own = radio("own", false);
  const flips = el("input", { type: "checkbox", id: "tta" });
  return {
    root: el(
      "div",
      { class: "options" },
      el(
        "fieldset",
        { class: "choices" },
        el("legend", { text: t("diagnose.models") }),
        choice(automatic, t("diagnose.automatic"), t("diagnose.automatic_hint")),
        segmenters.length ? choice(own, t("diagnose.own"), t("diagnose.own_hint")) : null,
        list,
      ),
      el(
        "fieldset",
        { class: "choices" },
        el("legend", { text: t("diagnose.care") }),
        choice(flips, t("diagnose.tta"), t("diagnose.tta_hint")),
      ),
    ),
    query() {
      const query = new URLSearchParams({ tta: flips.checked ? "1" : "0" });
      const names = own.checked ? boxes.filter((box) => box.checked).map((box) => box.value) : [];
      if (names.length) query.set("models", names.join(","));
      return query.toString();
    },
  };
}

function choice(input, title, hint) {
  return el(
    "label",
    { class: "choice", htmlFor: input.id },
    input,
    el("span", {}, title, el("span", { class: "hint block", text: hint })),
  );
}

function describe({ name, version, kind }) {
  const needs = hasText(`model_kind.${kind}`) ? t(`model_kind.${kind}`) : kind;
  return `${name} ${version}. ${needs}.`;
}
