// The live page: every series of the node, newest first, as it is now.

import { announce, el, Keyed, placeChildren, setText } from "../dom.js";
import { connectionBanner, setBanner } from "../banners.js";
import { getJson, openEvents } from "../api.js";
import { groupOf, wordOf } from "./states.js";
import { emptyState } from "./empty.js";
import { SeriesCard } from "./card.js";
import { t } from "../i18n.js";

const FILTERS = ["all", "progress", "attention", "done"];
const SAY_AT_MOST_EVERY_MS = 3000;

/** @param {HTMLElement} container @param {string} _ @param {import("../main.js").Context} context */
export async function openLive(container, _, context) {
  context.setTitle(t("live.title"));
  const list = el("ul", { class: "series-list" });
  const state = { entries: await getJson("api/series"), filter: "all" };
  const filters = filterBar((filter) => {
    state.filter = filter;
    draw();
  });
  const cards = new Keyed(() => new SeriesCard());
  const nothing = el("p", { class: "hint", hidden: true });
  let empty = null;
  container.append(
    el(
      "div",
      { class: "page" },
      el("div", { class: "page-head" }, el("h1", { text: t("live.title") }), filters.root),
      nothing,
      list,
    ),
  );

  function draw() {
    const { entries, filter } = state;
    filters.count(entries);
    const shown = entries.filter((entry) => filter === "all" || groupOf(entry.state) === filter);
    // Every card is kept up to date, also those that the filter hides: they lose neither focus nor answers.
    const all = cards.of(entries.map((entry) => entry.series));
    all.forEach((card, place) => card.update(entries[place]));
    placeChildren(
      list,
      shown.map((entry) => all[entries.indexOf(entry)].root),
    );
    filters.root.hidden = entries.length === 0;
    nothing.hidden = shown.length > 0 || entries.length === 0;
    setText(nothing, nothing.hidden ? "" : t("live.none_of_these"));
    if (entries.length === 0 && !empty) list.after((empty = emptyState()));
    else if (entries.length > 0 && empty) {
      empty.remove();
      empty = null;
    }
  }

  const say = sayChanges(state.entries);
  draw();
  const banner = connectionBanner(() => stream.retry());
  const stream = openEvents({
    board(entries) {
      state.entries = entries;
      draw();
      say(entries);
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

function filterBar(onChange) {
  const counts = new Map();
  const buttons = FILTERS.map((filter) => {
    const count = el("span", { class: "count" });
    counts.set(filter, count);
    return el(
      "button",
      {
        class: "button quiet",
        "aria-pressed": String(filter === "all"),
        onClick: (event) => {
          for (const button of buttons) button.setAttribute("aria-pressed", String(button === event.currentTarget));
          onChange(filter);
        },
      },
      t(`live.filter.${filter}`),
      " ",
      count,
    );
  });
  return {
    root: el("div", { class: "filters", role: "group", "aria-label": t("live.filters") }, buttons),
    count(entries) {
      for (const filter of FILTERS) {
        const n = filter === "all" ? entries.length : entries.filter((entry) => groupOf(entry.state) === filter).length;
        setText(counts.get(filter), String(n));
      }
    },
  };
}

/** Only beginnings and ends are read out, several in one sentence: a push comes five times a second. */
function sayChanges(first) {
  let before = new Map(first.map((entry) => [entry.series, entry.state]));
  let waiting = [];
  let timer = 0;
  return (entries) => {
    for (const { series, state, description } of entries) {
      const name = description || t("live.no_description");
      if (!before.has(series)) waiting.push(t("live.said_new", { name }));
      else if (before.get(series) !== state && groupOf(state) !== "progress")
        waiting.push(t("live.said_state", { name, state: wordOf(state) }));
    }
    before = new Map(entries.map((entry) => [entry.series, entry.state]));
    if (!waiting.length || timer) return;
    timer = setTimeout(() => {
      announce(waiting.join(" "));
      waiting = [];
      timer = 0;
    }, SAY_AT_MOST_EVERY_MS);
  };
}
