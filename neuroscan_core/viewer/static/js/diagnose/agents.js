// The chain of agents, one under the other: what each was given, what it found, how long it took, how sure it is.

import { announce, el, icon, Keyed, placeChildren, setText } from "../dom.js";
import { badge, message, ProgressBar, setBadge } from "../parts.js";
import { formatSeconds, formatShare } from "../format.js";
import { agentLook, agentWord } from "./states.js";
import { t } from "../i18n.js";

/** The list of agents; `update` is called with each push. */
export class AgentChain {
  constructor() {
    this._steps = new Keyed(() => new AgentStep());
    this._before = new Map();
    this._list = el("ol", { class: "agents", "aria-label": t("agents.title") });
    this._overview = el("ul", { class: "overview", "aria-label": t("agents.overview") });
    this.root = el("div", {}, this._overview, this._list);
  }

  /** @param {Object[]} agents as the contract has them */
  update(agents) {
    const steps = this._steps.of(agents.map(({ name }, place) => `${place} ${name}`));
    steps.forEach((step, place) => step.update(agents[place], place + 1));
    placeChildren(
      this._list,
      steps.map((step) => step.root),
    );
    placeChildren(
      this._overview,
      steps.map((step) => step.short),
    );
    this._say(agents);
  }

  // Each agent is heard of once, when it has ended.
  _say(agents) {
    const isFirst = this._before.size === 0;
    const ended = agents.filter(
      ({ name, state }) => ["done", "failed"].includes(state) && this._before.get(name) !== state,
    );
    this._before = new Map(agents.map(({ name, state }) => [name, state]));
    if (ended.length && !isFirst)
      announce(ended.map(({ title, state }) => t("agents.said", { title, state: agentWord(state) })).join(" "));
  }
}

class AgentStep {
  constructor() {
    this._number = el("span", { class: "agent-number", "aria-hidden": "true" });
    this._title = el("h3", { tabIndex: -1 });
    this._shortName = el("span", { class: "name" });
    this._shortState = el("span", { class: "hint" });
    this._shortButton = el(
      "button",
      { type: "button", onClick: () => this._goThere() },
      this._shortName,
      this._shortState,
    );
    /** The agent in the overview. */
    this.short = el("li", {}, this._shortButton);
    this._badge = badge("", "idle");
    this._time = el("span", { class: "hint" });
    this._confidence = el("span", { class: "confidence" });
    this._body = el("div", { class: "agent-body" });
    this._bar = new ProgressBar(t("agents.progress"));
    this._said = "";
    this.root = el(
      "li",
      { class: "agent" },
      this._number,
      el(
        "div",
        { class: "agent-main" },
        el("div", { class: "agent-head" }, this._title, this._badge, this._time, this._confidence),
        this._bar.root,
        this._body,
      ),
    );
  }

  _goThere() {
    this.root.scrollIntoView({ block: "start", behavior: "smooth" });
    this._title.focus({ preventScroll: true });
  }

  update(agent, place) {
    setText(this._shortName, agent.name);
    setText(this._shortState, agentWord(agent.state));
    this._shortButton.className = agent.state;
    setText(this._number, String(place));
    this.root.className = `agent ${agent.state}`;
    setText(this._title, agent.title || agent.name);
    setBadge(this._badge, agentWord(agent.state), agentLook(agent.state));
    setText(this._time, !agent.duration_s || agent.state === "skipped" ? "" : formatSeconds(agent.duration_s));
    const isWorking = agent.state === "running";
    this._bar.root.hidden = !isWorking;
    const [done, all] = agent.progress ?? [0, null];
    if (isWorking) this._bar.set(done, all, all === null ? t("agents.working") : t("live.of", { n: done, total: all }));
    const said = JSON.stringify([agent.state, agent.input, agent.output, agent.notes, agent.confidence]);
    if (said === this._said) return;
    this._said = said;
    this._confidence.replaceChildren(...confidence(agent.confidence));
    this._body.replaceChildren(...body(agent));
  }
}

function confidence(value) {
  if (value === null || value === undefined) return [];
  const fill = el("span");
  fill.style.width = `${100 * value}%`;
  return [
    el("span", { text: t("agents.confidence", { share: formatShare(value) }) }),
    el("span", { class: "bar", "aria-hidden": "true" }, fill),
  ];
}

function body(agent) {
  const { notes = [] } = agent;
  const isFailed = agent.state === "failed";
  const [first, ...others] = isFailed ? notes : [null, ...notes];
  return [
    isFailed
      ? message("bad", first || t("agents.failed"), { detail: others.join(" ") || t("agents.failed_remedy") })
      : null,
    section(t("agents.input"), agent.input),
    section(t("agents.output"), agent.output),
    agent.state === "skipped" ? el("p", { class: "hint wide", text: notes.join(" ") }) : null,
    !isFailed && agent.state !== "skipped" && notes.length
      ? el(
          "div",
          { class: "agent-section" },
          el("h4", { text: t("agents.notes") }),
          el(
            "ul",
            { class: "agent-notes" },
            notes.map((note) => el("li", {}, icon("warning"), el("span", { text: note }))),
          ),
        )
      : null,
  ].filter(Boolean);
}

/** Agents say sentences, or names with values (pairs, or an object). */
function section(title, content) {
  const pairs = pairsOf(content);
  if (!pairs.length) return null;
  const lines = pairs.map(([name, value]) =>
    name
      ? el("div", {}, el("dt", { text: name }), el("dd", { text: String(value) }))
      : el("dd", { text: String(value) }),
  );
  return el("div", { class: "agent-section" }, el("h4", { text: title }), el("dl", { class: "agent-facts" }, lines));
}

function pairsOf(content) {
  if (!content) return [];
  if (typeof content === "string") return [["", content]];
  if (Array.isArray(content)) return content.map((line) => (Array.isArray(line) ? line : ["", line]));
  return Object.entries(content);
}
