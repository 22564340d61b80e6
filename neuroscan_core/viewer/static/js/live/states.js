// The life of a series, as the journal names it, in words for a person.

import { hasText, t } from "../i18n.js";

const LOOKS = {
  receiving: "active",
  complete: "active",
  segmenting: "active",
  segmented: "active",
  delivering: "active",
  delivered: "good",
  committed: "good",
  purged: "good",
  waiting: "idle",
  ignored: "idle",
  collected: "idle",
  rejected: "warn",
  failed: "bad",
  "dead-letter": "bad",
};

/** What the badge of a state looks like. */
export function lookOf(state) {
  return LOOKS[state] ?? "idle";
}

/** The word for a state; the state itself where a newer gateway knows more of them. */
export function wordOf(state) {
  return hasText(`state.${state}.word`) ? t(`state.${state}.word`) : state;
}

/** A sentence that says what the state means. */
export function meaningOf(state) {
  return hasText(`state.${state}.meaning`) ? t(`state.${state}.meaning`) : "";
}

/** @typedef {"progress"|"attention"|"done"} Group */

/** Which filter of the page a state belongs to. @returns {Group} */
export function groupOf(state) {
  if (["rejected", "failed", "dead-letter"].includes(state)) return "attention";
  return lookOf(state) === "active" || state === "waiting" ? "progress" : "done";
}
