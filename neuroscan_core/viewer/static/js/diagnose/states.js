// States of a diagnosis and of its agents, in words.

import { hasText, t } from "../i18n.js";

const CASE_LOOKS = { queued: "idle", running: "active", done: "good", failed: "bad" };
const AGENT_LOOKS = { waiting: "idle", running: "active", done: "good", failed: "bad", skipped: "idle" };

/** Look of a case's badge. */
export function caseLook(state) {
  return CASE_LOOKS[state] ?? "idle";
}

/** Word for a case's state. */
export function caseWord(state) {
  return hasText(`case_state.${state}`) ? t(`case_state.${state}`) : state;
}

/** Look of an agent's badge. */
export function agentLook(state) {
  return AGENT_LOOKS[state] ?? "idle";
}

/** Word for an agent's state. */
export function agentWord(state) {
  return hasText(`agent_state.${state}`) ? t(`agent_state.${state}`) : state;
}
