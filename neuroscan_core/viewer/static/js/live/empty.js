// What the live page shows before the first series: how to send one.

import { el } from "../dom.js";
import { facts } from "../parts.js";
import { session } from "../api.js";
import { t } from "../i18n.js";

/** @returns {HTMLElement} */
export function emptyState() {
  const node = session.node;
  const receiver = node?.ae_title
    ? [
        el("p", { text: t("live.empty_how") }),
        facts([
          [t("live.ae_title"), el("code", { text: node.ae_title })],
          [t("live.host"), el("code", { text: node.host || location.hostname })],
          [t("live.port"), el("code", { text: String(node.port) })],
        ]),
      ]
    : [el("p", { text: t("live.empty_how_config") })];
  const command = node?.port
    ? `neuroscan send FOLDER ${node.host || location.hostname} ${node.port} --called-ae ${node.ae_title}`
    : "neuroscan send FOLDER HOST PORT";
  return el(
    "section",
    { class: "empty" },
    el("h2", { text: t("live.empty_title") }),
    receiver,
    el("p", {}, t("live.empty_command"), " ", el("code", { text: command })),
    el("p", {}, t("live.empty_study"), " ", el("a", { href: "#/diagnose", text: t("live.empty_diagnose") })),
  );
}
