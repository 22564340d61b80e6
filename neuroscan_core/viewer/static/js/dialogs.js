// Dialogs: the browser's own element keeps the focus inside and gives it back.

import { el, icon } from "./dom.js";
import { keysAreOn, pageShortcuts, setKeysOn } from "./shortcuts.js";
import { session } from "./api.js";
import { t } from "./i18n.js";

let number = 0;

/**
 * Show a dialog; Escape, the cross and a click beside it close it.
 * @param {string} title
 * @param {Node[]} body
 * @param {(close: (answer: string) => void) => Node[]} [foot] buttons
 * @returns {Promise<string>} what was given to `close`; empty when it was only closed
 */
export function openDialog(title, body, foot) {
  const id = `dialog-${++number}`;
  const dialog = el("dialog", { "aria-labelledby": id });
  const close = (answer) => dialog.close(answer);
  const cross = el(
    "button",
    { class: "button quiet icon-only", "aria-label": t("dialog.close"), onClick: () => close("") },
    icon("close"),
  );
  dialog.append(
    el("div", { class: "dialog-head" }, el("h2", { id, text: title }), cross),
    el("div", { class: "dialog-body" }, ...body),
  );
  if (foot) dialog.append(el("div", { class: "dialog-foot" }, ...foot(close)));
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) close("");
  });
  document.body.append(dialog);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
    dialog.showModal();
  });
}

/**
 * Ask before something that cannot be taken back.
 * @param {string} title
 * @param {string[]} sentences
 * @param {string} yes what the button says
 * @param {"danger"|"primary"} [look]
 * @returns {Promise<boolean>}
 */
export async function confirm(title, sentences, yes, look = "danger") {
  const body = sentences.map((text) => el("p", { text }));
  const answer = await openDialog(title, body, (close) => [
    el("button", { class: "button", autofocus: true, onClick: () => close(""), text: t("dialog.cancel") }),
    el("button", { class: `button ${look}`, onClick: () => close("yes"), text: yes }),
  ]);
  return answer === "yes";
}

/** Names and birth dates are shown only after this, and the node writes down that they were. */
export function confirmIdentity() {
  return confirm(t("identity.title"), [t("identity.what"), t("identity.audited")], t("identity.show"), "primary");
}

/** About and shortcuts. */
export function openHelp() {
  const single = el("input", {
    type: "checkbox",
    checked: keysAreOn(),
    id: "single-keys",
    onChange: (event) => setKeysOn(event.target.checked),
  });
  const everywhere = [
    [["?"], t("keys.help")],
    [["g", "l"], t("keys.live")],
    [["g", "d"], t("keys.diagnose")],
    [["g", "t"], t("keys.theme")],
    [["Tab"], t("keys.tab")],
  ];
  const onPage = pageShortcuts();
  return openDialog(t("help.title"), [
    el("p", { text: t("help.what") }),
    el("p", { class: "notice", text: t("help.notice") }),
    el("h3", { text: t("help.everywhere") }),
    keyList(everywhere),
    ...(onPage.length
      ? [el("h3", { text: t("help.on_page") }), keyList(onPage.map(({ keys, text }) => [keys, text]))]
      : []),
    el(
      "label",
      { class: "choice", htmlFor: "single-keys" },
      single,
      el("span", {}, t("help.single_keys"), el("span", { class: "hint", text: ` ${t("help.single_keys_hint")}` })),
    ),
    el("p", { class: "hint", text: t("help.version", { version: session.version }) }),
  ]);
}

function keyList(rows) {
  return el(
    "dl",
    { class: "keys" },
    rows.map(([keys, text]) => [
      el(
        "dt",
        {},
        keys.flatMap((key, place) => [place ? " " : null, el("kbd", { text: key })]),
      ),
      el("dd", { text }),
    ]),
  );
}
