// Header and footer: where one is, how the node is, who may see what, theme, help.

import { announce, el, icon, svg } from "./dom.js";
import { loadSession, postJson, session, sessionEvents } from "./api.js";
import { confirmIdentity, openHelp } from "./dialogs.js";
import { currentTheme, toggleTheme } from "./theme.js";
import { explain } from "./parts.js";
import { healthBadge } from "./health.js";
import { setBanner } from "./banners.js";
import { t } from "./i18n.js";

const links = new Map();

/** @param {import("./main.js").Context} context */
export function drawFrame(context) {
  document.getElementById("skip").textContent = t("frame.skip");
  document.getElementById("notice").textContent = t("frame.notice");
  const identity = identityButton();
  const logout = el(
    "button",
    { class: "button quiet", onClick: () => leave(context) },
    icon("logout"),
    t("frame.logout"),
  );
  const nav = el(
    "nav",
    { class: "main-nav", "aria-label": t("frame.nav") },
    el("ul", {}, link("live", t("frame.live")), link("diagnose", t("frame.diagnose"))),
  );
  document
    .getElementById("top")
    .replaceChildren(
      el("a", { class: "brand", href: "#/live" }, mark(), "NeuroScan"),
      nav,
      el("div", { class: "top-tools" }, healthBadge(), identity.root, themeButton(), helpButton(), logout),
    );
  const about = el(
    "nav",
    { "aria-label": t("frame.about_nav") },
    el("a", { href: "health/ready", text: t("frame.health") }),
    el("a", { href: "metrics", text: t("frame.metrics") }),
    el("span", { text: t("frame.version", { version: session.version }) }),
  );
  document.getElementById("bottom").append(about);
  const follow = () => {
    const isIn = session.authenticated || !session.needs_login;
    nav.hidden = identity.root.hidden = !isIn;
    logout.hidden = !(session.needs_login && session.authenticated);
    identity.update();
  };
  sessionEvents.addEventListener("change", follow);
  sessionEvents.addEventListener("expired", follow);
  follow();
}

/** Mark where one is in the navigation; a case of the node belongs to Live, a diagnosis to Diagnose. */
export function markRoute(name, parameter = "") {
  const place = name === "case" ? (parameter.startsWith("d") ? "diagnose" : "live") : name;
  for (const [key, node] of links) {
    if (key === place) node.setAttribute("aria-current", name === place ? "page" : "true");
    else node.removeAttribute("aria-current");
  }
}

function link(name, text) {
  const node = el("a", { href: `#/${name}`, text });
  links.set(name, node);
  return el("li", {}, node);
}

function mark() {
  return svg(
    "svg",
    { viewBox: "0 0 32 32", "aria-hidden": "true", focusable: "false" },
    svg("ellipse", { cx: 16, cy: 16, rx: 11, ry: 13, fill: "none", stroke: "var(--accent)", "stroke-width": 2.4 }),
    svg("circle", { cx: 20, cy: 12, r: 4, fill: "var(--warn)" }),
  );
}

function themeButton() {
  const button = el("button", { class: "button quiet icon-only" });
  const draw = () => {
    const isDark = currentTheme() === "dark";
    button.replaceChildren(icon(isDark ? "sun" : "moon"));
    const says = isDark ? t("frame.to_light") : t("frame.to_dark");
    button.setAttribute("aria-label", says);
    button.title = says;
  };
  button.addEventListener("click", toggleTheme);
  document.addEventListener("themechange", draw);
  draw();
  return button;
}

function helpButton() {
  return el(
    "button",
    { class: "button quiet icon-only", "aria-label": t("frame.help"), title: t("frame.help"), onClick: openHelp },
    icon("help"),
  );
}

function identityButton() {
  const words = el("span");
  const root = el(
    "button",
    { class: "button quiet", title: t("identity.hint"), onClick: change },
    icon("person"),
    words,
  );
  async function change() {
    const shown = !session.identity_shown;
    if (shown && !(await confirmIdentity())) return;
    try {
      await postJson("api/identity", { shown });
      await loadSession();
      setBanner("identity-failed", null);
      announce(shown ? t("identity.now_shown") : t("identity.now_hidden"));
    } catch (reason) {
      setBanner("identity-failed", { kind: "bad", ...explain(reason) });
    }
  }
  return {
    root,
    update() {
      words.textContent = session.identity_shown ? t("identity.shown") : t("identity.hidden");
      root.setAttribute("aria-pressed", String(session.identity_shown));
    },
  };
}

async function leave(context) {
  try {
    await postJson("api/logout");
  } finally {
    await loadSession();
    context.navigate("#/login");
  }
}
