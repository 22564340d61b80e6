// The frame around the pages: session, routes, focus. A page is a module that exports
// open(container, parameter, context) -> {close()}; it is loaded when it is first wanted.

import { announce, el, icon } from "./dom.js";
import { ApiError, loadSession, session, sessionEvents } from "./api.js";
import { loadLocale, t } from "./i18n.js";
import { drawFrame, markRoute } from "./frame.js";
import { listenToKeys, setPageShortcuts } from "./shortcuts.js";

/**
 * What a page is given.
 * @typedef {Object} Context
 * @property {(hash: string) => void} navigate go to "#/live" and the like
 * @property {(title: string) => void} setTitle of the browser's tab; no patient's name, which would be in its history
 * @property {(fills: boolean) => void} fill the page takes the whole height and scrolls by itself
 * @property {(shortcuts: Array<{keys: string[], text: string}>) => void} setShortcuts what the help shows for the page
 */

const ROUTES = {
  live: () => import("./live/page.js").then((page) => page.openLive),
  diagnose: () => import("./diagnose/page.js").then((page) => page.openDiagnose),
  case: () => import("./case/view.js").then((page) => page.openCase),
  login: () => import("./login.js").then((page) => page.openLogin),
};
const HOME = "#/live";

const view = document.getElementById("view");
let current = { close() {} };
let visit = 0;

/** @type {Context} */
const context = {
  navigate(hash) {
    location.hash = hash;
  },
  setTitle(title) {
    document.title = title ? `${title} - NeuroScan` : "NeuroScan";
  },
  fill(fills) {
    view.classList.toggle("view-fill", fills);
  },
  setShortcuts: setPageShortcuts,
};

function readRoute() {
  const [, name = "", parameter = ""] = location.hash.split("/");
  return { name: name || "live", parameter: decodeURIComponent(parameter) };
}

async function showRoute({ isFirst = false } = {}) {
  const { name, parameter } = readRoute();
  if (!(name in ROUTES)) return context.navigate(HOME);
  if (session.needs_login && !session.authenticated && name !== "login") return askForLogin();
  const mine = ++visit;
  current.close();
  current = { close() {} };
  context.fill(false);
  context.setShortcuts([]);
  markRoute(name, parameter);
  const container = el("div", { class: "route" }, el("p", { class: "loading", text: t("frame.loading") }));
  view.replaceChildren(container);
  view.scrollTop = 0;
  try {
    const open = await ROUTES[name]();
    if (mine !== visit) return;
    container.replaceChildren();
    const opened = await open(container, parameter, context);
    if (mine !== visit) return opened?.close();
    current = opened ?? current;
  } catch (reason) {
    if (mine === visit) showFailure(container, reason);
  }
  if (!isFirst) moveFocus(container);
}

// A change of page moves the focus to its heading: a screen reader says where one is, and Tab goes on from there.
function moveFocus(container) {
  if (container.contains(document.activeElement)) return;
  const heading = container.querySelector("h1");
  if (heading) heading.tabIndex = -1;
  (heading ?? view).focus({ preventScroll: true });
}

function showFailure(container, reason) {
  console.error(reason);
  const [meaning, remedy] =
    reason instanceof ApiError && reason.status
      ? [reason.message, reason.remedy || reason.meaning]
      : [t("frame.failed"), t("frame.failed_remedy")];
  const again = el("button", { class: "button", onClick: () => showRoute() }, icon("retry"), t("frame.try_again"));
  container.replaceChildren(
    el(
      "div",
      { class: "page" },
      el("h1", { text: t("frame.failed_title") }),
      el(
        "div",
        { class: "message bad" },
        icon("warning"),
        el("div", {}, el("p", { text: meaning }), el("p", { text: remedy })),
        again,
      ),
    ),
  );
  announce(meaning, "assertive");
}

function askForLogin() {
  const back = location.hash && !location.hash.startsWith("#/login") ? location.hash : HOME;
  sessionStorage.setItem("neuroscan.after-login", back);
  context.navigate("#/login");
}

async function start() {
  try {
    await loadLocale();
    await loadSession();
  } catch (reason) {
    console.error(reason);
    // Without the node there may be no texts either: these words are the only ones that are not in the locale.
    const again = el("button", { class: "button", onClick: () => location.reload() }, "Try again");
    view.replaceChildren(
      el(
        "div",
        { class: "page" },
        el("h1", {}, "NeuroScan"),
        el("p", {}, "The node does not answer. Look whether it is running."),
        again,
      ),
    );
    return;
  }
  drawFrame(context);
  listenToKeys(context);
  sessionEvents.addEventListener("expired", askForLogin);
  window.addEventListener("hashchange", () => showRoute());
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the hash is the route
    moveFocus(view);
  });
  if (!location.hash) history.replaceState(null, "", HOME);
  await showRoute({ isFirst: true });
}

start();
