/**
 * What the browser holds of one case: its description, slices, masks and probabilities, growing while they arrive.
 *
 * Fires `meta`, `slices` (detail: arrival numbers), `masks` (detail: {sid}), `probabilities` (detail: {sid}),
 * `connection` (detail: state) and `failed` (detail: Error). Draws nothing.
 */

import { getBuffer, getJson, openEvents } from "../api.js";
import { arrange } from "./stack.js";
import { readMasks, readProbabilities, readSlices, readWaiting } from "./wire.js";

const BATCH_BYTES = 6 << 20;
const NUM_PARALLEL = 2; // a browser opens six connections to a server; the event stream and masks need theirs
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
    this.slices = /** @type {(Uint16Array|undefined)[]} */ ([]);
    this.numLoaded = 0;
    this.newest = -1; // arrival number of the last slice that came
    this.layers = /** @type {Map<string, Layer>} */ (new Map());
    this.stack = arrange({ positions_mm: [], orientation: [1, 0, 0, 0, 1, 0], spacing_mm: [1, 1] });
    this.stackVersion = 0;
    this.epoch = 0; // answers to what was asked in an earlier one are thrown away
    this.wanted = -1; // arrival number that should come first
    this._wantedLayers = new Set();
    this._asked = new Set();
    this._running = 0;
    this._isPaused = false;
    this._abort = new AbortController();
    this._timers = new Set();
    this._events = null;
    this._reading = null;
    this._isStale = false;
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
    return this.numLoaded >= (this.meta?.num_slices ?? 0);
  }

  /** Read the description of the case again, e.g. after something was asked of the server. */
  async refresh() {
    this._isStale = true;
    return this._readWhileStale();
  }

  /** Slices around this one come first. @param {number} arrival */
  want(arrival) {
    this.wanted = arrival;
    this._pump();
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
    this.dispatchEvent(new CustomEvent("meta"));
    this._isPaused = false;
    this._pump();
    this._updateLayers();
  }

  /** The server made this case anew, or stores its voxels on another scale: nothing that was read before holds. */
  _forget() {
    this.slices = [];
    this.numLoaded = 0;
    this.newest = -1;
    this.epoch += 1;
    this.layers.clear();
    this._asked.clear();
  }

  _pump() {
    // Until there is a first picture nothing else may be in its way.
    while (!this.isClosed && !this._isPaused && this.meta && this._running < (this.numLoaded === 0 ? 1 : NUM_PARALLEL)) {
      const range = this._nextRange();
      if (!range) {
        return;
      }
      this._running += 1;
      this._loadSlices(...range)
        .catch((reason) => this._pause(reason))
        .finally(() => {
          this._running -= 1;
          this._pump();
        });
    }
  }

  /** The next stretch of arrival numbers that is neither here nor asked for; the first of all is one slice alone. */
  _nextRange() {
    const total = this.meta.num_slices;
    const isMissing = (/** @type {number} */ n) => n >= 0 && n < total && !this.slices[n] && !this._asked.has(n);
    const around = Math.min(Math.max(this.wanted, 0), Math.max(total - 1, 0));
    let from = -1;
    for (let away = 0; away < total && from < 0; away++) {
      from = isMissing(around + away) ? around + away : isMissing(around - away) ? around - away : -1;
    }
    if (from < 0 || this.size === 0) {
      return null;
    }
    const most = this.numLoaded === 0 ? 1 : Math.max(1, Math.floor(BATCH_BYTES / (2 * this.size)));
    let count = 1;
    while (count < most && isMissing(from + count)) {
      count += 1;
    }
    while (count < most && isMissing(from - 1)) {
      from -= 1;
      count += 1;
    }
    return /** @type {[number, number]} */ ([from, count]);
  }

  async _loadSlices(from, count) {
    const range = Array.from({ length: count }, (_, n) => from + n);
    range.forEach((n) => this._asked.add(n));
    try {
      const epoch = this.epoch;
      const loaded = readSlices(await getBuffer(`${this.path}/slices?from=${from}&count=${count}`, this._options), this.size);
      if (epoch !== this.epoch) {
        return;
      }
      if (loaded.length === 0) {
        this._pause(null); // announced, but being fetched by the server itself
        return;
      }
      loaded.forEach((voxels, n) => {
        this.numLoaded += this.slices[from + n] ? 0 : 1;
        this.slices[from + n] = voxels;
      });
      this.newest = Math.max(this.newest, from + loaded.length - 1);
      this._updateLayers();
      this.dispatchEvent(new CustomEvent("slices", { detail: range.slice(0, loaded.length) }));
    } finally {
      range.forEach((n) => this._asked.delete(n));
    }
  }

  /** Wait before slices are asked for again. @param {any} reason null where nothing is wrong */
  _pause(reason) {
    this._isPaused = true;
    const goOn = () => {
      this._isPaused = false;
      this._pump();
    };
    if (reason) {
      this._fail(reason, goOn);
    } else {
      this._later(goOn, AGAIN_MS);
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
