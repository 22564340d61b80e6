/** Counts overlap slice by slice between frames, and again only for slices that changed. */

import { commonRegions, countsOf, diceOf, summed } from "./agreement.js";

const SLICE_OF_TIME_MS = 6;

export class Comparison {
  /** @param {import("./feed.js").CaseFeed} feed @param {() => void} onChange when there are new numbers */
  constructor(feed, onChange) {
    this.feed = feed;
    this.onChange = onChange;
    this.rows = /** @type {{name: string|null, counts: import("./agreement.js").Counts, dice: number|null}[]} */ ([]);
    this.done = 0;
    this.total = 0;
    this._pair = "";
    this._regions = /** @type {ReturnType<typeof commonRegions>} */ ([]);
    this._counts = /** @type {{key: string, perRegion: import("./agreement.js").Counts[]}[]} */ ([]);
    this._timer = 0;
  }

  close() {
    clearTimeout(this._timer);
  }

  /** Start, or go on with, counting these two. @param {any} first @param {any} second segmentations of the description */
  update(first, second) {
    const labels = (/** @type {any} */ one) => one.labels.map((/** @type {any} */ { value }) => value).join(".");
    const pair = `${first.id},${second.id},${labels(first)},${labels(second)}`;
    if (pair !== this._pair) {
      this._pair = pair;
      this._regions = commonRegions(first.labels, second.labels);
      this._counts = [];
    }
    this._sides = [this.feed.layer(first.id), this.feed.layer(second.id)];
    this._timer ||= setTimeout(() => this._step());
  }

  _step() {
    this._timer = 0;
    const [first, second] = /** @type {import("./feed.js").Layer[]} */ (this._sides);
    const until = performance.now() + SLICE_OF_TIME_MS;
    this.total = Math.max(first.masks.length, second.masks.length);
    this.done = 0;
    let isOutOfTime = false;
    for (let arrival = 0; arrival < this.total; arrival++) {
      const key = `${first.changes[arrival] ?? ""},${second.changes[arrival] ?? ""}`;
      if (this._counts[arrival]?.key !== key) {
        isOutOfTime ||= performance.now() > until;
        if (isOutOfTime) {
          continue;
        }
        this._counts[arrival] = {
          key, perRegion: this._regions.map((region) => countsOf(first.masks[arrival], second.masks[arrival], region.first, region.second)),
        };
      }
      this.done += 1;
    }
    this.rows = this._regions.map(({ name }, n) => {
      const counts = summed(this._counts.filter(Boolean).map(({ perRegion }) => perRegion[n]));
      return { name, counts, dice: diceOf(counts) };
    });
    this.onChange();
    if (isOutOfTime) {
      this._timer = setTimeout(() => this._step(), 4);
    }
  }
}
