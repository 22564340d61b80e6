import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, test } from "node:test";

import { CaseFeed } from "../../../neuroscan_core/viewer/static/js/case/feed.js";
import { Sequences } from "../../../neuroscan_core/viewer/static/js/case/sequences.js";
import { ViewState } from "../../../neuroscan_core/viewer/static/js/case/state.js";
import { useTexts } from "../../../neuroscan_core/viewer/static/js/i18n.js";

const TEXTS = new URL("../../../neuroscan_core/viewer/static/locales/en.json", import.meta.url);
const [ROWS, COLUMNS, COUNT] = [16, 16, 9];
const OFFSET = { FLAIR: 0, T1: 1000, T1ce: 2000, T2: 3000 }; // the value of a voxel is this and the number of its slice

/** A node with a study of four sequences; T2 is fetched when it is asked for, T1 was purged. */
class Server {
  constructor() {
    this.asked = [];
    this.isFetched = false;
    this.isPurged = true;
    this.revision = 1;
  }

  get meta() {
    const source = (name) => {
      const isHere = name !== "T2" || this.isFetched;
      const [low, high] = [OFFSET[name], OFFSET[name] + COUNT];
      return {
        name, is_shown: name === "FLAIR", num_slices: COUNT, pixels_revision: OFFSET[name], state: isHere ? "ready" : "kept",
        scale: isHere ? { slope: 1, intercept: 0 } : null, window: isHere ? { low, high } : null,
      };
    };
    return {
      rows: ROWS, columns: COLUMNS, num_slices: COUNT, pixels_revision: 0, slice_spacing_mm: 1, spacing_mm: [1, 1],
      orientation: [1, 0, 0, 0, 1, 0], positions_mm: Array.from({ length: COUNT }, (_, k) => [0, 0, k]), segmentations: [],
      revision: this.revision, state: "segmented", scale: { slope: 1, intercept: 0 }, window: { low: 0, high: COUNT },
      sources: ["FLAIR", "T1", "T2", "T1ce"].map(source),
    };
  }

  answer(path) {
    this.asked.push(path);
    const url = new URL(path, "http://node/");
    if (!url.pathname.endsWith("/slices")) {
      return Response.json(this.meta);
    }
    const name = /sequences\/(\w+)/.exec(url.pathname)?.[1] ?? "FLAIR";
    if (name === "T2" && !this.isFetched) {
      return Response.json({ state: "loading", progress: 0.25 }, { status: 202 });
    }
    if (name === "T1" && this.isPurged) {
      return Response.json({ error: "The images of the study are not kept any more." }, { status: 409 });
    }
    const [from, count] = [Number(url.searchParams.get("from")), Number(url.searchParams.get("count"))];
    const size = ROWS * COLUMNS;
    const length = Math.max(Math.min(from + count, COUNT) - from, 0) * size;
    return new Response(Uint16Array.from({ length }, (_, n) => OFFSET[name] + from + Math.floor(n / size)));
  }

  slicesAsked(name) {
    return this.asked.filter((path) => path.includes(`/sequences/${name}/slices`)).map((path) => path.split("?")[1]);
  }
}

class Silence extends EventTarget {
  close() {}
}

const kept = {};
let server, feed, state, sequences;

const until = (happens) => new Promise((resolve) => {
  const look = () => (happens() ? resolve() : setTimeout(look, 1));
  look();
});

beforeEach(async () => {
  Object.assign(kept, { fetch: globalThis.fetch, document: globalThis.document, EventSource: globalThis.EventSource });
  const region = { textContent: "" };
  Object.assign(globalThis, {
    document: Object.assign(new EventTarget(), { hidden: false, getElementById: () => region }), EventSource: Silence,
    requestAnimationFrame: (call) => setTimeout(call, 0), cancelAnimationFrame: clearTimeout,
  });
  useTexts("en", JSON.parse(readFileSync(TEXTS, "utf8")));
  server = new Server();
  globalThis.fetch = async (path) => server.answer(path);
  feed = new CaseFeed("s1");
  state = new ViewState(feed);
  sequences = new Sequences(state);
  // As the view does it.
  feed.addEventListener("meta", () => sequences.update());
  feed.addEventListener("sequence", ({ detail: { slices, reason } }) =>
    (reason ? sequences.fail(slices, reason) : sequences.came(slices)));
  await feed.start();
  await until(() => feed.isComplete);
  state.updateGrid();
  state.window = { ...feed.meta.window };
  state.setCursor([3, 4, 5]);
});

afterEach(() => {
  feed.close();
  state.close();
  Object.assign(globalThis, kept);
});

const valueAtCursor = () => state.voxels.loaded[feed.stack.order[state.cursor[2]]]?.[state.cursor[1] * COLUMNS + state.cursor[0]];

test("sequences are named as radiologists do, and the reference is shown first", () => {
  assert.deepEqual(sequences.names, ["T1", "T1ce", "T2", "FLAIR"]);
  assert.equal(sequences.shown, "FLAIR");
  assert.equal(sequences.progress, null);
  assert.equal(valueAtCursor(), 5);
});

test("a case of one series has nothing to choose from", () => {
  feed.meta.sources = [];
  assert.deepEqual(sequences.names, []);
  assert.equal(sequences.shown, "");
  sequences.step(1);
  assert.equal(sequences.pending, null);
});

test("another sequence is shown at the same place, its slice at the crosshair first", async () => {
  state.addMeasurement({ plane: "axial", a: [1, 1, 5], b: [9, 1, 5] });
  state.setPlace("axial", { zoom: 2, x: 3, y: 4 });
  const before = JSON.stringify([state.cursor, state.places, state.measurements, state.overlay]);
  sequences.choose("T1ce");
  await until(() => sequences.shown === "T1ce");
  assert.equal(valueAtCursor(), OFFSET.T1ce + 5);
  assert.equal(server.slicesAsked("T1ce")[0], "from=5&count=1");
  assert.equal(JSON.stringify([state.cursor, state.places, state.measurements, state.overlay]), before);
  await until(() => state.voxels.isComplete);
  const numAsked = server.asked.length;
  sequences.choose("FLAIR");
  assert.equal(valueAtCursor(), 5, "what is here is shown at once");
  sequences.choose("T1ce");
  assert.equal(valueAtCursor(), OFFSET.T1ce + 5);
  assert.equal(server.asked.length, numAsked, "nothing is fetched twice");
});

test("what is shown stays until the server has fetched another sequence, and it is said how far it is", async () => {
  sequences.choose("T2");
  await until(() => state.voxels === feed.reference && sequences.progress?.total === 100);
  assert.deepEqual([sequences.shown, sequences.pending.name], ["FLAIR", "T2"]);
  assert.equal(sequences.progress.text, "T2 is being fetched: 25 %");
  state.setCursor([3, 4, 7]);
  assert.equal(valueAtCursor(), 7, "everything else goes on");
  server.isFetched = true;
  server.revision += 1;
  await feed.refresh(); // the server says that the case has changed
  await until(() => sequences.shown === "T2");
  assert.equal(valueAtCursor(), OFFSET.T2 + 7);
  assert.equal(server.slicesAsked("T2").at(1), "from=7&count=1", "where the crosshair is by now");
});

test("scale and window are read where slices come before them", async () => {
  sequences.choose("T2");
  await until(() => sequences.progress?.total === 100);
  server.isFetched = true; // nobody tells
  feed.sequence("T2").resume();
  await until(() => sequences.shown === "T2");
  assert.deepEqual(state.window, { low: OFFSET.T2, high: OFFSET.T2 + COUNT });
});

test("a sequence that cannot be had is refused, what is shown stays, and it may be chosen again", async () => {
  sequences.choose("T1");
  await until(() => sequences.failure);
  assert.equal(sequences.failure.reason.message, "The images of the study are not kept any more.");
  assert.deepEqual([sequences.shown, sequences.pending, sequences.progress], ["FLAIR", null, null]);
  server.isPurged = false;
  sequences.choose("T1");
  assert.equal(sequences.failure, null);
  await until(() => sequences.shown === "T1");
});

test("each sequence keeps its window", async () => {
  state.set({ window: { low: 2, high: 4 }, preset: "custom" });
  sequences.choose("T1ce");
  await until(() => sequences.shown === "T1ce");
  assert.deepEqual([state.window, state.preset], [{ low: OFFSET.T1ce, high: OFFSET.T1ce + COUNT }, "auto"]);
  state.set({ window: { low: 2001, high: 2002 }, preset: "custom" });
  sequences.choose("FLAIR");
  assert.deepEqual([state.window, state.preset], [{ low: 2, high: 4 }, "custom"]);
  sequences.choose("T1ce");
  assert.deepEqual([state.window, state.preset], [{ low: 2001, high: 2002 }, "custom"]);
});

test("a step goes on from the one that is waited for, and round", async () => {
  sequences.step(1); // of FLAIR, the last: T1, which is refused
  assert.equal(sequences.pending.name, "T1");
  sequences.step(1);
  await until(() => sequences.shown === "T1ce");
  assert.equal(sequences.failure, null, "nobody waits for what was passed over");
  sequences.step(-1);
  assert.equal(sequences.pending.name, "T1");
});

test("a study that has become another one is read anew, and a sequence that is gone is not shown any more", async () => {
  sequences.choose("T1ce");
  await until(() => sequences.shown === "T1ce" && state.voxels.isComplete);
  OFFSET.T1ce += 100;
  try {
    await feed.refresh();
    await until(() => state.voxels.isComplete && valueAtCursor() === OFFSET.T1ce + 5);
    feed.meta.sources = feed.meta.sources.filter(({ name }) => name !== "T1ce");
    sequences.update();
    assert.equal(sequences.shown, "FLAIR");
  } finally {
    OFFSET.T1ce -= 100;
  }
});
