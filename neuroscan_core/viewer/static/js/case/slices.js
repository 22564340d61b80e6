/** Slices of one series, fetched piece by piece: those near the crosshair first. Draws nothing. */

import { getBuffer } from "../api.js";
import { readSlices, readWaiting } from "./wire.js";

const BATCH_BYTES = 6 << 20;
const NUM_PARALLEL = 2; // a browser opens six connections to a server; the event stream and masks need theirs
const AGAIN_MS = 1000; // when the server itself is still fetching

/**
 * What slices are loaded for.
 * @typedef {{size: () => number, total: () => number, mayLoad: (slices: Slices) => boolean, signal: AbortSignal,
 *   later: (call: () => void, ms: number) => void, came: (slices: Slices, arrivals: number[]) => void,
 *   rested: (slices: Slices) => void, failed: (slices: Slices, reason: any, again: () => void) => void}} Owner
 * `size`: pixels of a slice; `total`: slices that there are; `rested`: told when nothing is asked for at the moment.
 */

export class Slices {
  /** @param {string} path where they are asked for @param {string} name of the sequence; empty for a single series @param {Owner} owner */
  constructor(path, name, owner) {
    this.path = path;
    this.name = name;
    this.loaded = /** @type {(Uint16Array|undefined)[]} */ ([]); // by arrival number
    this.numLoaded = 0;
    this.newest = -1; // arrival number of the last slice that came
    this.wanted = -1; // arrival number that should come first
    this.epoch = 0; // answers to what was asked in an earlier one are thrown away
    this.scale = /** @type {import("./window.js").Scale} */ ({ slope: 1, intercept: 0 });
    this.window = /** @type {import("./window.js").Window} */ ({ low: 0, high: 1 });
    this.revision = 0;
    this.isDescribed = false; // whether scale and window are known
    this.progress = /** @type {number|null} */ (null); // 0..1 while the server fetches them itself
    this._owner = owner;
    this._asked = new Set();
    this._running = 0;
    this._isPaused = false;
  }

  /** Take in how they are stored; null while the server does not know yet. @param {{scale: any, window: any}} described */
  describe({ scale, window }) {
    if (scale && window) {
      Object.assign(this, { scale, window, isDescribed: true });
    }
  }

  get isComplete() {
    return this.numLoaded >= this._owner.total();
  }

  /** Whether nothing more is asked for at the moment. */
  get isResting() {
    return this._isPaused || this.isComplete;
  }

  /** Nothing that was read before holds. */
  forget() {
    this.loaded = [];
    this.numLoaded = 0;
    this.newest = -1;
    this.epoch += 1;
    this.progress = null;
    this.isDescribed = false;
    this._asked.clear();
  }

  /** Go on after a pause, if there was one. */
  resume() {
    this._isPaused = false;
    this.pump();
  }

  /** Do not ask for more until `resume`. */
  pause() {
    this._isPaused = true;
  }

  pump() {
    // Until there is a first picture nothing else may be in its way.
    while (!this._isPaused && this._owner.mayLoad(this) && this._running < (this.numLoaded === 0 ? 1 : NUM_PARALLEL)) {
      const range = this._nextRange();
      if (!range) {
        return;
      }
      this._running += 1;
      this._load(...range)
        .catch((reason) => this._fail(reason))
        .finally(() => {
          this._running -= 1;
          this.pump();
          if (this.isResting) {
            this._owner.rested(this);
          }
        });
    }
  }

  /** The next stretch of arrival numbers that is neither here nor asked for; the first of all is one slice alone. */
  _nextRange() {
    const [total, size] = [this._owner.total(), this._owner.size()];
    const isMissing = (/** @type {number} */ n) => n >= 0 && n < total && !this.loaded[n] && !this._asked.has(n);
    const around = Math.min(Math.max(this.wanted, 0), Math.max(total - 1, 0));
    let from = -1;
    for (let away = 0; away < total && from < 0; away++) {
      from = isMissing(around + away) ? around + away : isMissing(around - away) ? around - away : -1;
    }
    if (from < 0 || size === 0) {
      return null;
    }
    const most = this.numLoaded === 0 ? 1 : Math.max(1, Math.floor(BATCH_BYTES / (2 * size)));
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

  async _load(from, count) {
    const range = Array.from({ length: count }, (_, n) => from + n);
    range.forEach((n) => this._asked.add(n));
    try {
      const [epoch, size] = [this.epoch, this._owner.size()];
      const buffer = await getBuffer(`${this.path}?from=${from}&count=${count}`, { signal: this._owner.signal });
      if (epoch !== this.epoch) {
        return;
      }
      const loaded = readSlices(buffer, size);
      this.progress = loaded.length === 0 ? readWaiting(buffer, 2 * size)?.progress ?? null : null;
      if (loaded.length === 0) {
        this._wait(); // announced, but being fetched by the server itself
        return;
      }
      loaded.forEach((voxels, n) => {
        this.numLoaded += this.loaded[from + n] ? 0 : 1;
        this.loaded[from + n] = voxels;
      });
      this.newest = Math.max(this.newest, from + loaded.length - 1);
      this._owner.came(this, range.slice(0, loaded.length));
    } finally {
      range.forEach((n) => this._asked.delete(n));
    }
  }

  _wait() {
    this._isPaused = true;
    this._owner.later(() => this.resume(), AGAIN_MS);
    this._owner.came(this, []);
  }

  _fail(reason) {
    this._isPaused = true;
    this.progress = null;
    this._owner.failed(this, reason, () => this.resume());
  }
}
