// Where the results of a series went.

import { el } from "../dom.js";
import { badge } from "../parts.js";
import { formatMs } from "../format.js";
import { hasText, t } from "../i18n.js";

const LOOKS = { queued: "active", retrying: "warn", delivered: "good", committed: "good", "dead-letter": "bad" };

/** One line per destination and object. @param {Object[]} deliveries */
export function deliveryList(deliveries) {
  return el(
    "ul",
    { class: "deliveries" },
    deliveries.map((delivery) => {
      const state = delivery.state ?? (delivery.is_committed ? "committed" : "delivered");
      const word = hasText(`delivery.${state}`) ? t(`delivery.${state}`) : state;
      return el(
        "li",
        {},
        el("span", { text: t("live.to", { what: delivery.modality, where: delivery.destination }) }),
        badge(word, LOOKS[state] ?? "idle"),
        delivery.delay_s
          ? el("span", { class: "hint", text: t("live.delay", { delay: formatMs(1000 * delivery.delay_s) }) })
          : null,
        delivery.error ? el("span", { class: "hint", text: delivery.error }) : null,
      );
    }),
  );
}
