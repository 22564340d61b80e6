// The login: one secret, as the node's configuration has it (a password or the token of a file).

import { announce, el } from "./dom.js";
import { loadSession, postJson, session } from "./api.js";
import { explain, message } from "./parts.js";
import { t } from "./i18n.js";

/** @param {HTMLElement} container @param {string} _ @param {import("./main.js").Context} context */
export function openLogin(container, _, context) {
  context.setTitle(t("login.title"));
  if (session.authenticated || !session.needs_login) {
    goOn(context);
    return { close() {} };
  }
  const field = el("input", {
    class: "input",
    id: "secret",
    type: "password",
    autocomplete: "current-password",
    required: true,
    "aria-describedby": "secret-hint login-error",
  });
  const error = el("div", { id: "login-error" });
  const button = el("button", { class: "button primary", type: "submit", text: t("login.submit") });
  async function submit(event) {
    event.preventDefault();
    if (!field.value) return field.focus();
    button.disabled = true;
    try {
      await postJson("api/login", { secret: field.value });
      await loadSession();
      goOn(context);
    } catch (reason) {
      const said = explain(reason);
      error.replaceChildren(message("bad", said.text, said));
      announce(said.text, "assertive");
      field.setAttribute("aria-invalid", "true");
      field.select();
    } finally {
      button.disabled = false;
    }
  }
  container.append(
    el(
      "div",
      { class: "page login" },
      el("h1", { text: t("login.title") }),
      el("p", { class: "hint", text: t("login.why") }),
      el(
        "form",
        { class: "card", onSubmit: submit },
        el(
          "div",
          { class: "field" },
          el("label", { htmlFor: "secret", text: t("login.secret") }),
          field,
          el("p", { class: "hint", id: "secret-hint", text: t("login.secret_hint") }),
        ),
        error,
        button,
      ),
    ),
  );
  field.focus();
  return { close() {} };
}

function goOn(context) {
  const wanted = sessionStorage.getItem("neuroscan.after-login") ?? "#/live";
  sessionStorage.removeItem("neuroscan.after-login");
  context.navigate(wanted);
}
