// The diagnose page: give a study, and see the former ones. `#/diagnose/ID` shows one of them (case.js).

import { el, icon } from "../dom.js";
import { errorMessage, message, ProgressBar } from "../parts.js";
import { getJson, upload } from "../api.js";
import { setBanner } from "../banners.js";
import { formatBytes, formatShare } from "../format.js";
import { CaseList } from "./list.js";
import { DropZone } from "./dropzone.js";
import { modelChoice } from "./models.js";
import { openDiagnosis } from "./case.js";
import { t } from "../i18n.js";

/** @param {HTMLElement} container @param {string} id @param {import("../main.js").Context} context */
export async function openDiagnose(container, id, context) {
  return id ? openDiagnosis(container, id, context) : openNew(container, context);
}

async function openNew(container, context) {
  context.setTitle(t("diagnose.title"));
  setBanner("upload", null);
  const known = await knownCases();
  if (!known) return showUnavailable(container);
  const models = modelChoice(await getJson("api/models"));
  const list = new CaseList();
  let chosen = [];
  let sending = null;
  const start = el(
    "button",
    { class: "button primary", type: "submit", disabled: true },
    icon("report"),
    t("diagnose.start"),
  );
  const progress = el("div", { class: "upload-progress", "aria-live": "polite" });
  const zone = new DropZone((files) => {
    chosen = files;
    start.disabled = files.length === 0;
    progress.replaceChildren();
  });
  const fields = el("fieldset", { class: "choices" }, zone.root, models.root);

  async function submit(event) {
    event.preventDefault();
    if (!chosen.length || sending) return;
    const bar = new ProgressBar(t("upload.sending"));
    sending = new AbortController();
    const cancel = el("button", {
      class: "button",
      type: "button",
      onClick: () => sending.abort(),
      text: t("upload.cancel"),
    });
    fields.disabled = start.disabled = true;
    progress.replaceChildren(bar.root, cancel);
    try {
      const form = new FormData();
      for (const { file, path } of chosen) form.append("files", file, path);
      const found = await upload(`api/diagnose?${models.query()}`, form, {
        signal: sending.signal,
        onProgress: (sent, total) => showSent(bar, sent, total),
      });
      sending = null;
      context.navigate(`#/diagnose/${encodeURIComponent(found.id)}`);
    } catch (reason) {
      const isCancelled = reason.name === "AbortError";
      progress.replaceChildren(isCancelled ? message("info", t("upload.cancelled")) : errorMessage(reason));
    } finally {
      sending = null;
      fields.disabled = false;
      start.disabled = chosen.length === 0;
    }
  }

  container.append(
    el(
      "div",
      { class: "page" },
      el("div", { class: "page-head" }, el("h1", { text: t("diagnose.title") })),
      el("p", { class: "lead", text: t("diagnose.what") }),
      el(
        "form",
        { class: "diagnose-form", onSubmit: submit },
        fields,
        el("div", { class: "row" }, start, el("span", { class: "hint", text: t("diagnose.privacy") })),
        progress,
      ),
      list.root,
    ),
  );
  list.show(known);
  const keep = (event) => sending && event.preventDefault();
  window.addEventListener("beforeunload", keep);
  return {
    close() {
      window.removeEventListener("beforeunload", keep);
      zone.close();
      if (sending) setBanner("upload", { kind: "warn", text: t("upload.left"), detail: t("upload.left_remedy") });
      sending?.abort();
    },
  };
}

// A node whose configuration takes no studies has no such route.
async function knownCases() {
  try {
    return await getJson("api/cases");
  } catch (reason) {
    if (reason.status === 404) return null;
    throw reason;
  }
}

function showUnavailable(container) {
  container.append(
    el(
      "div",
      { class: "page" },
      el("h1", { text: t("diagnose.title") }),
      el(
        "section",
        { class: "empty" },
        el("h2", { text: t("diagnose.unavailable") }),
        el("p", { text: t("diagnose.unavailable_remedy") }),
      ),
    ),
  );
  return { close() {} };
}

function showSent(bar, sent, total) {
  // The last byte has left; what follows is the node unpacking and checking, of which nothing is known here.
  if (sent >= total) bar.set(0, null, t("upload.checking"));
  else
    bar.set(
      sent,
      total,
      t("upload.sent", { sent: formatBytes(sent), total: formatBytes(total), share: formatShare(sent / total) }),
    );
}
