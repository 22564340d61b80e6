// Messages above the page that stay while what they say is so: health of the node, a lost connection.

import { announce, el, icon } from "./dom.js";
import { t } from "./i18n.js";

const shown = new Map();

/**
 * Show, change or remove a banner.
 * @param {string} key
 * @param {{kind: "info"|"warn"|"bad", text: string, detail?: string, action?: Node}|null} content null removes it
 */
export function setBanner(key, content) {
  const place = document.getElementById("banners");
  const old = shown.get(key);
  if (!content) {
    old?.root.remove();
    shown.delete(key);
    return;
  }
  if (old?.kind === content.kind && old.said === content.text + content.detail) return;
  old?.root.remove();
  const lines = [el("p", { text: content.text }), content.detail && el("p", { text: content.detail })];
  const root = el("div", { class: `message ${content.kind}` }, icon("warning"), el("div", {}, lines), content.action);
  shown.set(key, { root, kind: content.kind, said: content.text + content.detail });
  place.append(root);
  announce(content.text, content.kind === "bad" ? "assertive" : "polite");
}

/**
 * What to give to `openEvents` as `state`: tells of a lost connection, and that it is there again.
 * @param {() => void} retry
 */
export function connectionBanner(retry) {
  let wasLost = false;
  return (state) => {
    if (state === "lost") {
      const action = el("button", { class: "button", onClick: retry }, icon("retry"), t("connection.now"));
      setBanner("connection", { kind: "warn", text: t("connection.lost"), detail: t("connection.remedy"), action });
    } else if (state === "open") {
      setBanner("connection", null);
      if (wasLost) announce(t("connection.again"));
    }
    wasLost = state === "lost" || (wasLost && state !== "open");
  };
}
