// The state of the node in the header, and what is wrong with it in a banner.

import { setBanner } from "./banners.js";
import { badge, setBadge } from "./parts.js";
import { t } from "./i18n.js";

const ASK_EVERY_MS = 5000;

/** @returns {HTMLElement} the word in the header; it keeps itself up to date */
export function healthBadge() {
  const shown = badge(t("health.asking"), "idle");
  async function ask() {
    if (!document.hidden) {
      const { text, look, problems, warnings } = await readHealth();
      setBadge(shown, text, look);
      setBanner(
        "problems",
        problems.length ? { kind: "bad", text: t("health.not_ready_title"), detail: problems.join(" ") } : null,
      );
      setBanner("warnings", warnings.length ? { kind: "warn", text: warnings.join(" ") } : null);
    }
    setTimeout(ask, ASK_EVERY_MS);
  }
  ask();
  return shown;
}

async function readHealth() {
  try {
    const answer = await fetch("health/ready", { headers: { Accept: "application/json" } });
    const { problems = [], warnings = [] } = await answer.json();
    if (!answer.ok) return { text: t("health.not_ready"), look: "bad", problems, warnings };
    const [text, look] = warnings.length ? [t("health.attention"), "warn"] : [t("health.ready"), "good"];
    return { text, look, problems: [], warnings };
  } catch {
    // The page's own connection banner says so where a page listens.
    return { text: t("health.no_answer"), look: "bad", problems: [], warnings: [] };
  }
}
