// Where studies are dropped, or picked as files or as a folder.

import { announce, el, icon } from "../dom.js";
import { formatBytes } from "../format.js";
import { fromDrop, fromInput, problemOf, summarise, withoutLitter } from "./selection.js";
import { message } from "../parts.js";
import { session } from "../api.js";
import { t } from "../i18n.js";

const NAMES_SHOWN = 5;

/** A drop zone; `onChange` is told of the files that may be sent (none where there is a problem). */
export class DropZone {
  /** @param {(chosen: import("./selection.js").Chosen[]) => void} onChange */
  constructor(onChange) {
    this._onChange = onChange;
    this._listening = new AbortController();
    this._files = el("input", { type: "file", multiple: true, hidden: true, onChange: (event) => this._picked(event) });
    this._folder = el("input", {
      type: "file",
      webkitdirectory: true,
      hidden: true,
      onChange: (event) => this._picked(event),
    });
    this._summary = el("div", { class: "selection" });
    const { upload_bytes: bytes, upload_files: files } = session.limits;
    this._zone = el(
      "div",
      { class: "dropzone", role: "group", "aria-label": t("upload.zone"), "aria-describedby": "accepted" },
      icon("upload"),
      el("p", { class: "dropzone-title", text: t("upload.drop") }),
      el(
        "div",
        { class: "row" },
        el(
          "button",
          { class: "button", type: "button", onClick: () => this._files.click() },
          icon("file"),
          t("upload.files"),
        ),
        el(
          "button",
          { class: "button", type: "button", onClick: () => this._folder.click() },
          icon("folder"),
          t("upload.folder"),
        ),
      ),
      el(
        "div",
        { class: "hint", id: "accepted" },
        el("p", { text: t("upload.accepted") }),
        bytes && files ? el("p", { text: t("upload.limits", { size: formatBytes(bytes), n: files }) }) : null,
      ),
      this._files,
      this._folder,
    );
    this.root = el("div", { class: "drop" }, this._zone, this._summary);
    this._listen();
  }

  /** Forget what was chosen. */
  clear() {
    this._files.value = this._folder.value = "";
    this._summary.replaceChildren();
    this._onChange([]);
  }

  // The whole page takes a drop: beside the zone, the browser would open the file and leave the page.
  _listen() {
    const { signal } = this._listening;
    let depth = 0; // the children enter and leave, too
    const over = (isOver) => this._zone.classList.toggle("over", isOver);
    document.addEventListener(
      "dragenter",
      (event) => {
        event.preventDefault();
        over(++depth > 0);
      },
      { signal },
    );
    document.addEventListener("dragleave", () => over(--depth > 0), { signal });
    document.addEventListener("dragover", (event) => event.preventDefault(), { signal });
    document.addEventListener(
      "drop",
      async (event) => {
        event.preventDefault();
        depth = 0;
        over(false);
        if (!this.root.matches(":disabled *")) this._take(await fromDrop(event.dataTransfer));
      },
      { signal },
    );
  }

  /** Listen no more. */
  close() {
    this._listening.abort();
  }

  _picked(event) {
    this._take(fromInput(event.target));
    event.target.value = ""; // the same choice again is a change, too
  }

  _take(all) {
    const chosen = withoutLitter(all).sort((a, b) => a.path.localeCompare(b.path, undefined, { numeric: true }));
    const problem = problemOf(chosen, session.limits);
    if (problem) {
      this._summary.replaceChildren(message("bad", problem.text, problem));
      announce(problem.text, "assertive");
      return this._onChange([]);
    }
    const { n, bytes, kinds } = summarise(chosen);
    const text = t("upload.chosen", { n, size: formatBytes(bytes) });
    const names = chosen.slice(0, NAMES_SHOWN).map(({ path }) => el("li", {}, el("code", { text: path })));
    if (n > NAMES_SHOWN) names.push(el("li", { class: "hint", text: t("upload.more", { n: n - NAMES_SHOWN }) }));
    this._summary.replaceChildren(
      el(
        "div",
        { class: "card" },
        el(
          "div",
          { class: "row" },
          el("h2", { class: "plain", text }),
          el(
            "button",
            { class: "button quiet", type: "button", onClick: () => this.clear() },
            icon("close"),
            t("upload.clear"),
          ),
        ),
        el("p", {
          class: "hint",
          text: kinds.map(([kind, count]) => t(`upload.kind.${kind}`, { n: count })).join(", "),
        }),
        el("ul", { class: "names" }, names),
      ),
    );
    announce(text);
    this._onChange(chosen);
  }
}
