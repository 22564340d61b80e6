// One diagnosis: its agents at work, then its results.

import { announce, el, icon } from "../dom.js";
import { badge, errorMessage, message, setBadge } from "../parts.js";
import { connectionBanner, setBanner } from "../banners.js";
import { caseLook, caseWord } from "./states.js";
import { formatFromNow, formatTime } from "../format.js";
import { getJson, openEvents, remove } from "../api.js";
import { AgentChain } from "./agents.js";
import { confirmDelete } from "./list.js";
import { results } from "./results.js";
import { t } from "../i18n.js";

/** @param {HTMLElement} container @param {string} id @param {import("../main.js").Context} context */
export async function openDiagnosis(container, id, context) {
  const path = `api/cases/${encodeURIComponent(id)}`;
  const title = el("h1");
  const state = badge("", "idle");
  const times = el("p", { class: "hint" });
  const notice = el("div", { class: "stack" });
  const outcome = el("div");
  const chain = new AgentChain();
  const drop = el("button", { class: "button danger", onClick: () => discard() }, icon("trash"), t("cases.delete"));
  let known = await getJson(path);
  let said = "";
  let isAsking = false;
  let isAskedAgain = false;

  container.append(
    el(
      "div",
      { class: "page" },
      el("p", {}, el("a", { href: "#/diagnose", text: t("diagnose.back") })),
      el("div", { class: "page-head" }, title, state, drop),
      times,
      notice,
      outcome,
      el("section", { "aria-labelledby": "chain" }, el("h2", { id: "chain", text: t("agents.title") }), chain.root),
    ),
  );
  const name = () => known.title || t("cases.untitled");

  function draw() {
    context.setTitle(t("diagnose.title"));
    title.textContent = name();
    setBadge(state, caseWord(known.state), caseLook(known.state));
    times.textContent = [
      known.created_at_s && t("diagnose.begun", { time: formatTime(known.created_at_s) }),
      known.expires_at_s && t("diagnose.expires", { when: formatFromNow(known.expires_at_s) }),
    ]
      .filter(Boolean)
      .join(" ");
    chain.update(known.agents ?? []);
    const now = JSON.stringify([
      known.state,
      known.reason,
      known.remedy,
      known.warnings,
      known.verdict,
      known.reports,
      known.downloads,
      known.num_slices > 0,
      known.segmentations?.length,
      known.queue_position,
      known.agents?.some(({ state }) => state !== "waiting"),
    ]);
    if (now === said) return;
    if (said && known.state === "done") announce(t("diagnose.done"));
    said = now;
    notice.replaceChildren(...notices(known));
    outcome.replaceChildren(...results(known));
  }

  async function refresh() {
    if (isAsking) {
      isAskedAgain = true;
      return;
    }
    isAsking = true;
    try {
      known = await getJson(path);
      draw();
    } catch (reason) {
      notice.replaceChildren(errorMessage(reason));
    } finally {
      isAsking = false;
    }
    if (isAskedAgain) {
      isAskedAgain = false;
      await refresh();
    }
  }

  async function discard() {
    if (!(await confirmDelete(name()))) return;
    try {
      await remove(path);
      announce(t("cases.deleted", { name: name() }));
      context.navigate("#/diagnose");
    } catch (reason) {
      notice.replaceChildren(errorMessage(reason));
    }
  }

  draw();
  const banner = connectionBanner(() => stream.retry());
  const stream = openEvents({
    case: id,
    changed: refresh,
    agents(event) {
      if (event.id !== id) return;
      known = { ...known, agents: event.agents };
      draw();
    },
    state: banner,
  });
  return {
    close() {
      stream.close();
      setBanner("connection", null);
    },
  };
}

function notices(known) {
  const shown = [];
  if (known.state === "queued")
    shown.push(
      message("info", t("diagnose.queued", { n: known.queue_position ?? 1 }), { detail: t("diagnose.queued_detail") }),
    );
  const isStarting = known.state === "running" && (known.agents ?? []).every(({ state }) => state === "waiting");
  if (isStarting) shown.push(message("info", t("diagnose.starting")));
  if (known.state === "failed")
    shown.push(
      message("bad", known.reason || t("diagnose.failed"), { detail: known.remedy || t("diagnose.failed_remedy") }),
    );
  return [...shown, ...verdict(known)];
}

const VERDICTS = {
  plausible: ["good", "plausible"],
  doubtful: ["warn", "doubtful"],
  "not usable": ["bad", "not_usable"],
};

/** What the critic says, and why; a result is not to be read without it. */
function verdict({ verdict: word, warnings = [] }) {
  if (!(word in VERDICTS)) return warnings.map((text) => message("warn", text));
  const [look, name] = VERDICTS[word];
  const shown = message(look, t(`verdict.${name}.word`), { detail: t(`verdict.${name}.meaning`) });
  if (warnings.length)
    shown.querySelector("div").append(
      el(
        "ul",
        { class: "reasons" },
        warnings.map((text) => el("li", { text })),
      ),
    );
  return [shown];
}
