/** The place of the three-dimensional picture: loads three.js and the surfaces when they are wanted, says why not. */

import { getBuffer } from "../api.js";
import { el } from "../dom.js";
import { t } from "../i18n.js";
import { explain } from "../parts.js";
import { coloursOf } from "./colours.js";
import { patientOf } from "./geometry.js";
import { icon } from "./icons.js";
import { isGrowing } from "./toolbar.js";
import { readSurface } from "./wire.js";

const REST_MS = 250; // the marker follows the crosshair when it rests: slices come first

export class ScenePane {
  /** @param {import("./state.js").ViewState} state @param {{onMaximise: (plane: string) => void}} options */
  constructor(state, { onMaximise }) {
    this.state = state;
    this.scene = /** @type {import("./scene.js").SurfaceScene|null} */ (null);
    this.canvas = /** @type {HTMLCanvasElement} */ (this._newCanvas());
    this.text = el("p", { text: t("case.solid.waiting") });
    this.button = el("button", { type: "button", class: "button", onClick: () => this.load(), hidden: true }, icon("cube"), t("case.solid.show"));
    this.veil = el("div", { class: "case-solid-veil" }, this.text, this.button);
    const looks = /** @type {["anterior"|"left"|"superior", string][]} */ ([["anterior", t("case.solid.anterior")], ["left", t("case.solid.left")], ["superior", t("case.solid.superior")]]);
    this.looks = el("div", { class: "case-solid-looks", role: "group", "aria-label": t("case.solid.looks"), hidden: true },
      looks.map(([name, text]) => el("button", { type: "button", class: "button quiet", onClick: () => this.scene?.orbit.look(name), text })));
    this.enlarge = el("button", {
      type: "button", class: "button quiet icon-only case-enlarge", "aria-label": t("case.solid.enlarge"), title: t("case.solid.enlarge"), onClick: () => onMaximise("solid"),
    }, icon("enlarge"));
    this.stage = el("div", { class: "case-view-stage" }, this.canvas, this.veil);
    this.root = el("figure", { class: "case-view case-solid", dataset: { plane: "solid" } },
      el("figcaption", { class: "case-view-head" }, el("span", { class: "case-view-title", text: t("case.solid.title") }), this.looks, this.enlarge), this.stage);
    this._observer = new ResizeObserver(() => this._resize());
    this._observer.observe(this.stage);
    this._shown = "";
    this._asked = "";
    this._head = /** @type {any[]|null} */ (null);
    this._timer = 0;
    this._isClosed = false;
    this._hasFailed = false;
  }

  close() {
    this._isClosed = true;
    clearTimeout(this._timer);
    this._observer.disconnect();
    this.scene?.close();
    this.scene = null;
  }

  /** What has to be shown: the surface of a segmentation in its newest state. */
  get _key() {
    const shown = this.state.first && this.state.segmentation(this.state.first);
    return shown ? `${shown.id},${shown.revision}` : "";
  }

  update() {
    const { state } = this;
    const isVisible = this.root.isConnected && !this.root.hidden && this.stage.clientWidth > 0;
    if (!isVisible || this._hasFailed) {
      return;
    }
    const growing = isGrowing(state.feed) || state.segmentation(state.first ?? "")?.state === "streaming";
    if (this._key === "") {
      this._say(growing ? t("case.solid.waiting") : t("case.solid.none"), false);
    } else if (this._key !== this._shown && this._key !== this._asked) {
      if (growing) {
        this._say(t("case.solid.growing"), true);
      } else if (state.feed.isComplete) {
        this.load();
      }
    }
    this._style();
  }

  /** Whether there is a picture to be seen. */
  get isShown() {
    return this.scene !== null && this.veil.hidden && this.canvas.getClientRects().length > 0;
  }

  /** What is seen, on a canvas of its own. */
  snapshot() {
    const canvas = document.createElement("canvas");
    canvas.width = this.canvas.width;
    canvas.height = this.canvas.height;
    this.scene?.drawNow(); // WebGL forgets its picture once it was shown
    canvas.getContext("2d")?.drawImage(this.canvas, 0, 0);
    return canvas;
  }

  /** Follow the crosshair when it rests. */
  cursorMoved() {
    if (this.scene) {
      clearTimeout(this._timer);
      this._timer = setTimeout(() => this._mark(), REST_MS);
    }
  }

  async load() {
    const key = this._key;
    const sid = this.state.first;
    if (!sid || this._asked === key) {
      return;
    }
    this._asked = key;
    this._say(t("case.solid.loading"), false);
    try {
      const { SurfaceScene } = await import("./scene.js");
      const [tumour, head] = await Promise.all([this._surface(`segmentations/${encodeURIComponent(sid)}/surface`), this._head ?? this._surface("head-surface")]);
      if (this._isClosed || key !== this._asked) {
        return;
      }
      this._head = isGrowing(this.state.feed) ? null : head;
      this._open(SurfaceScene, tumour, head);
      this._shown = key;
    } catch (reason) {
      if (!this._isClosed) {
        this._say([explain(reason).text, explain(reason).detail].filter(Boolean).join(" "), true);
        this._asked = "";
        this._shown = key; // not again by itself
      }
    }
  }

  _open(SurfaceScene, tumour, head) {
    try {
      this.scene ??= new SurfaceScene(this.canvas);
    } catch {
      this._hasFailed = true;
      this._say(t("case.solid.no_webgl"), false);
      return;
    }
    this.scene.show(tumour, head);
    this._resize();
    this._style();
    this._mark();
    const isEmpty = tumour.length === 0 && head.length === 0;
    this.veil.hidden = !isEmpty;
    this.looks.hidden = isEmpty;
    if (isEmpty) {
      this._say(t("case.solid.none"), false);
    }
    performance.mark("neuroscan:surface");
  }

  /** Parts of a surface; none where there is nothing (yet). */
  async _surface(path) {
    try {
      return readSurface(await getBuffer(`${this.state.feed.path}/${path}`));
    } catch (reason) {
      if (/** @type {any} */ (reason).status === 404) {
        return [];
      }
      throw reason;
    }
  }

  _say(text, withButton) {
    this.text.textContent = text;
    this.button.hidden = !withButton;
    this.veil.hidden = false;
  }

  _style() {
    const { state } = this;
    const shown = state.first && state.segmentation(state.first);
    const key = shown && JSON.stringify([state.overlay.palette, [...state.hiddenLabels(shown.id)], this._shown]);
    if (this.scene && shown && key !== this._styled) {
      this._styled = key;
      this.scene.style(coloursOf(shown.labels, state.overlay.palette), state.hiddenLabels(shown.id));
    }
  }

  _mark() {
    const { state } = this;
    this.scene?.mark(patientOf(state.grid, state.cursor), state.showCrosshair);
  }

  _resize() {
    const { clientWidth, clientHeight } = this.stage;
    if (clientWidth > 0 && clientHeight > 0) {
      this.scene?.resize(clientWidth, clientHeight);
    }
  }

  _newCanvas() {
    return el("canvas", { class: "case-canvas", tabIndex: 0, role: "application", "aria-roledescription": t("case.view.role"), "aria-label": t("case.solid.canvas") });
  }
}
