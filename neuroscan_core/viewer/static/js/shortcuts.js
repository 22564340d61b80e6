// Keys that work everywhere. Single letters can be switched off, because speech input presses them by accident
// (WCAG 2.1.4). Pages that have keys of their own ask `keysAreOn` and name them with `setPageShortcuts`.

import { openHelp } from "./dialogs.js";
import { toggleTheme } from "./theme.js";

const KEY = "neuroscan.single-keys";
const SECOND_KEY_WITHIN_MS = 1500;
let onPage = [];

/** Whether single letters do something. */
export function keysAreOn() {
  try {
    return localStorage.getItem(KEY) !== "off";
  } catch {
    return true;
  }
}

/** @param {boolean} on */
export function setKeysOn(on) {
  try {
    localStorage.setItem(KEY, on ? "on" : "off");
  } catch {
    // Storage is forbidden: they stay on.
  }
}

/** What the help shows for this page. @param {Array<{keys: string[], text: string}>} shortcuts */
export function setPageShortcuts(shortcuts) {
  onPage = shortcuts;
}

/** As it was set last. */
export function pageShortcuts() {
  return onPage;
}

/** Whether a key belongs to a field that is being written in. */
export function isTyping(event) {
  return (
    event.target instanceof Element &&
    event.target.closest(
      "input:not([type=checkbox], [type=radio], [type=range]), textarea, select, [contenteditable]",
    ) !== null
  );
}

/** @param {import("./main.js").Context} context */
export function listenToKeys(context) {
  const afterG = { l: () => context.navigate("#/live"), d: () => context.navigate("#/diagnose"), t: toggleTheme };
  let pressedG = -Infinity;
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event) || !keysAreOn())
      return;
    if (document.querySelector("dialog[open]")) return;
    const isSecond = event.timeStamp - pressedG < SECOND_KEY_WITHIN_MS;
    pressedG = -Infinity;
    if (event.key === "?") openHelp();
    else if (event.key === "g") pressedG = event.timeStamp;
    else if (isSecond && afterG[event.key]) afterG[event.key]();
    else return;
    event.preventDefault();
  });
}
