/**
 * What the browser holds of one case: its description, slices, masks and probabilities, growing while they arrive.
 *
 * Fires `meta`, `slices` (detail: arrival numbers), `sequence` (detail: {slices, reason}, of a series of a study that is
 * not shown first), `masks` (detail: {sid}), `probabilities` (detail: {sid}), `connection` (detail: state) and `failed`
 * (detail: Error). Draws nothing.
 */

import { getBuffer, getJson, openEvents } from "../api.js";
import { arrange } from "./stack.js";
import { Slices } from "./slices.js";
import { readMasks, readProbabilities, readWaiting } from "./wire.js";

const LEAST_PAUSE_MS = 120; // between two readings of the description of a case that changes all the time
const RETRY_MS = 1500;
const AGAIN_MS = 1000; // when the server is still computing

/** @typedef {{masks: (Uint8Array|undefined)[], changes: number[], revision: number, probabilities: Uint8Array[]|null,
 *   progress: number}} Layer `progress`: of the probabilities, 0..1 */

export class CaseFeed extends EventTarget {
  /** @param {string} caseId */
  constructor(caseId) {
    super();
    this.caseId = caseId;
    this.path = `api/cases/${encodeURIComponent(caseId)}`;
    this.meta = /** @type {any} */ (null);
    this.layers = /** @type {Map<string, Layer>} */ (new Map());
    this.stack = arrange({ positions_mm: [], orientation: [1, 0, 0, 0, 1, 0], spacing_mm: [1, 1] });
    this.stackVersion = 0;
    this._wantedLayers = new Set();
    this._asked = new Set();
    this._abort = new AbortController();
    this._timers = new Set();
    this._events = null;
    this._reading = null;
    this._isStale = false;
    this.reference = new Slices(`${this.path}/slices`, "", this._owner());
    this.first = this.reference; // whose slices are loaded before those of others
    this._sequences = /** @type {Map<string, Slices>} */ (new Map());
  }

  /** Slices of the reference, by arrival number: there is something to draw once there is one. */
  get slices() {
    return this.reference.loaded;
  }

  get numLoaded() {
    return this.reference.numLoaded;
  }

  /** Arrival number of the last slice that came. */
  get newest() {
    return this.reference.newest;
  }

  /** Arrival number that should come first; nothing is asked for yet. @param {number} arrival */
  set wanted(arrival) {
    this.reference.wanted = this.first.wanted = arrival;
  }

  /** Read the case for the first time and listen for changes. Rejects with what the server said. */
  async start() {
    await this._readMeta();
    this._events = openEvents({
      case: this.caseId,
      changed: (event) => this._changed(event),
      agents: (event) => this.dispatchEvent(new CustomEvent("agents", { detail: event.agents })),
      state: (state) => this.dispatchEvent(new CustomEvent("connection", { detail: state })),
    });
  }

  close() {
    this._abort.abort();
    this._events?.close();
    this._timers.forEach((timer) => clearTimeout(timer));
  }

  get isClosed() {
    return this._abort.signal.aborted;
  }

  /** Whether there is anything to draw: slices with a size. */
  get hasGrid() {
    return this.stack.count > 0 && this.size > 0;
  }

  /** Pixels of a slice. */
  get size() {
    return this.meta.rows * this.meta.columns;
  }

  get isComplete() {
    return this.reference.isComplete;
  }

  /** Read the description of the case again, e.g. after something was asked of the server. */
  async refresh() {
    this._isStale = true;
    return this._readWhileStale();
  }

  /** Slices around this one come first. @param {number} arrival */
  want(arrival) {
    this.wanted = arrival;
    this.first.pump();
    this.reference.pump();
  }

  /** Masks of these segmentations are kept up to date. @param {(string|null|undefined)[]} sids */
  wantLayers(sids) {
    this._wantedLayers = new Set(sids.filter(Boolean));
    this._updateLayers();
  }

  /** @param {string} sid @returns {Layer} */
  layer(sid) {
    let layer = this.layers.get(sid);
    if (!layer) {
      layer = { masks: [], changes: [], revision: -1, probabilities: null, progress: 0 };
      this.layers.set(sid, layer);
    }
    return layer;
  }

  /** Read the probabilities of a segmentation once. @param {string} sid */
  async loadProbabilities(sid) {
    const layer = this.layer(sid);
    if (layer.probabilities || this._asked.has(`p${sid}`)) {
      return;
    }
    this._asked.add(`p${sid}`);
    try {
      const buffer = await getBuffer(`${this.path}/segmentations/${encodeURIComponent(sid)}/probabilities`, this._options);
      const waiting = readWaiting(buffer, this.size);
      layer.progress = waiting?.progress ?? 1;
      if (waiting) {
        this._asked.delete(`p${sid}`);
        this._later(() => this.loadProbabilities(sid), AGAIN_MS);
      } else {
        layer.probabilities = readProbabilities(buffer, this.size);
      }
      this.dispatchEvent(new CustomEvent("probabilities", { detail: { sid } }));
    } catch (reason) {
      this._asked.delete(`p${sid}`);
      this._fail(reason);
    }
  }

  get _options() {
    return { signal: this._abort.signal };
  }

  _changed(event) {
    if (event.id === this.caseId && event.revision !== this.meta?.revision) {
      this.refresh().catch((reason) => this._fail(reason));
    }
  }

  _readWhileStale() {
    this._reading ??= (async () => {
      try {
        while (this._isStale && !this.isClosed) {
          this._isStale = false;
          await this._readMeta();
          await new Promise((resolve) => this._later(resolve, LEAST_PAUSE_MS));
        }
      } finally {
        this._reading = null;
      }
    })();
    return this._reading;
  }

  _later(call, ms) {
    const timer = setTimeout(() => {
      this._timers.delete(timer);
      call();
    }, ms);
    this._timers.add(timer);
  }

  async _readMeta() {
    const meta = await getJson(this.path, this._options);
    const before = this.meta;
    this.meta = meta;
    const isOther = before && (before.rows !== meta.rows || before.columns !== meta.columns
      || meta.num_slices < before.num_slices || (before.pixels_revision ?? 0) !== (meta.pixels_revision ?? 0));
    if (isOther) {
      this._forget();
    }
    const hasMoved = !before || isOther || before.positions_mm.length !== meta.positions_mm.length
      || before.slice_spacing_mm !== meta.slice_spacing_mm;
    if (hasMoved && meta.positions_mm.length > 0) {
      this.stack = arrange(meta);
      this.stackVersion += 1;
    }
    this._describe();
    this.dispatchEvent(new CustomEvent("meta"));
    this.first.resume();
    this.reference.resume();
    this._updateLayers();
  }

  /** The server made this case anew, or stores its voxels on another scale: nothing that was read before holds. */
  _forget() {
    [this.reference, ...this._sequences.values()].forEach((slices) => slices.forget());
    this.layers.clear();
    this._asked.clear();
  }

  /** Where the voxels of a sequence of a study come from; what is shown first is the reference. @param {string} name */
  sequence(name) {
    if (name === this.reference.name || !this.meta.sources?.some((/** @type {any} */ one) => one.name === name)) {
      return this.reference;
    }
    let slices = this._sequences.get(name);
    if (!slices) {
      slices = new Slices(`${this.path}/sequences/${encodeURIComponent(name)}/slices`, name, this._owner());
      this._sequences.set(name, slices);
      this._describe();
    }
    return slices;
  }

  /** Load a sequence before everything else. @param {Slices} slices */
  putFirst(slices) {
    this.first = slices;
    slices.wanted = this.reference.wanted;
    slices.resume();
  }

  /** @returns {import("./slices.js").Owner} */
  _owner() {
    return {
      size: () => this.size,
      total: () => this.meta?.num_slices ?? 0,
      mayLoad: (slices) => !this.isClosed && Boolean(this.meta)
        && (slices === this.first || (slices === this.reference && this.first.isResting)),
      signal: this._abort.signal,
      later: (call, ms) => this._later(call, ms),
      came: (slices, arrivals) => this._came(slices, arrivals),
      rested: (slices) => slices !== this.reference && this.reference.pump(),
      failed: (slices, reason, again) => this._failed(slices, reason, again),
    };
  }

  _came(slices, arrivals) {
    if (slices !== this.reference) {
      if (arrivals.length > 0 && !slices.isDescribed) {
        this.refresh().catch((reason) => this._fail(reason)); // the server knows by now how they are stored
      }
      this.dispatchEvent(new CustomEvent("sequence", { detail: { slices } }));
    } else if (arrivals.length > 0) {
      this._updateLayers();
      this.dispatchEvent(new CustomEvent("slices", { detail: arrivals }));
    }
  }

  _failed(slices, reason, again) {
    if (slices === this.reference) {
      this._fail(reason, again);
    } else if (!this.isClosed && reason.name !== "AbortError") {
      this.dispatchEvent(new CustomEvent("sequence", { detail: { slices, reason } }));
      if (!reason.status || reason.status >= 500) {
        this._later(again, RETRY_MS);
      }
    }
  }

  /** Scales and windows, as far as the server knows them; what is another series by now is read anew. */
  _describe() {
    const { meta, reference } = this;
    reference.name = meta.sources?.find((/** @type {any} */ one) => one.is_shown)?.name ?? "";
    reference.describe(meta);
    for (const one of meta.sources ?? []) {
      const slices = this._sequences.get(one.name);
      if (slices && slices.revision !== one.pixels_revision) {
        slices.forget();
        slices.revision = one.pixels_revision;
      }
      slices?.describe(one);
    }
  }

  _updateLayers() {
    if (this.numLoaded === 0) {
      return;
    }
    for (const segmentation of this.meta?.segmentations ?? []) {
      if (this._wantedLayers.has(segmentation.id) && this.layer(segmentation.id).revision < segmentation.revision) {
        this._loadMasks(segmentation.id).catch((reason) => this._fail(reason, () => this._updateLayers()));
      }
    }
  }

  async _loadMasks(sid) {
    if (this._asked.has(`m${sid}`)) {
      return;
    }
    this._asked.add(`m${sid}`);
    try {
      const layer = this.layer(sid);
      const buffer = await getBuffer(
        `${this.path}/segmentations/${encodeURIComponent(sid)}/masks?since=${layer.revision}`, this._options);
      const { revision, masks } = readMasks(buffer, this.size);
      for (const [arrival, mask] of masks) {
        layer.masks[arrival] = mask;
        layer.changes[arrival] = revision;
      }
      layer.revision = revision;
      this.dispatchEvent(new CustomEvent("masks", { detail: { sid } }));
    } finally {
      this._asked.delete(`m${sid}`);
    }
    this._updateLayers();
  }

  _fail(reason, again) {
    if (this.isClosed || reason.name === "AbortError") {
      return;
    }
    this.dispatchEvent(new CustomEvent("failed", { detail: reason }));
    if (again && (reason.status ?? 0) !== 404) {
      this._later(again, RETRY_MS);
    }
  }
}
