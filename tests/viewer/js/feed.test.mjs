import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { CaseFeed } from "../../../neuroscan_core/viewer/static/js/case/feed.js";

const [ROWS, COLUMNS] = [2, 2];

/** A node with one case, as the browser sees it. */
class Server {
  constructor(numSlices) {
    this.meta = {
      rows: ROWS, columns: COLUMNS, num_slices: numSlices, pixels_revision: 0, slice_spacing_mm: 1, spacing_mm: [1, 1],
      orientation: [1, 0, 0, 0, 1, 0], positions_mm: Array.from({ length: numSlices }, (_, k) => [0, 0, k]), segmentations: [],
      revision: 1,
    };
    this.masks = new Map();
    this.asked = [];
    this.failures = 0;
  }

  answer(path) {
    this.asked.push(path);
    const url = new URL(path, "http://node/");
    if (url.pathname.endsWith("/slices")) {
      if (this.failures > 0) {
        this.failures -= 1;
        return new Response('{"error": "The node is busy."}', { status: 503 });
      }
      const [from, count] = [Number(url.searchParams.get("from")), Number(url.searchParams.get("count"))];
      const last = Math.min(from + count, this.meta.num_slices);
      return new Response(Uint16Array.from({ length: Math.max(last - from, 0) * ROWS * COLUMNS }, (_, n) => from + Math.floor(n / 4)));
    }
    if (url.pathname.endsWith("/masks")) {
      return this.answerMasks(Number(url.searchParams.get("since")));
    }
    return Response.json(this.meta);
  }

  answerMasks(since) {
    const changed = [...this.masks].filter(([, { revision }]) => revision > since);
    const revision = Math.max(0, ...[...this.masks.values()].map((mask) => mask.revision));
    const header = new TextEncoder().encode(JSON.stringify({ revision, slices: changed.map(([arrival]) => arrival) }));
    const size = new Uint8Array(Uint32Array.of(header.length).buffer);
    return new Response(Buffer.concat([size, header, ...changed.map(([, { value }]) => new Uint8Array(4).fill(value))]));
  }

  grow(numSlices) {
    this.meta = { ...this.meta, num_slices: numSlices, positions_mm: Array.from({ length: numSlices }, (_, k) => [0, 0, k]), revision: this.meta.revision + 1 };
  }

  slicesAsked() {
    return this.asked.filter((path) => path.includes("/slices")).map((path) => path.split("?")[1]);
  }
}

class Silence extends EventTarget {
  close() {}
}

const kept = {};
let feed;

beforeEach(() => {
  Object.assign(kept, { fetch: globalThis.fetch, document: globalThis.document, EventSource: globalThis.EventSource });
  Object.assign(globalThis, { document: Object.assign(new EventTarget(), { hidden: false }), EventSource: Silence });
});

afterEach(() => {
  feed.close();
  Object.assign(globalThis, kept);
});

function open(server) {
  globalThis.fetch = async (path) => server.answer(path);
  feed = new CaseFeed("s1");
  return feed;
}

const until = (happens) => new Promise((resolve) => {
  const look = () => (happens() ? resolve() : setTimeout(look, 1));
  look();
});

test("the first picture is one slice alone, the wanted one, and then come its neighbours", async () => {
  const server = new Server(9);
  open(server);
  feed.addEventListener("meta", () => (feed.wanted = 5), { once: true });
  await feed.start();
  await until(() => feed.isComplete);
  assert.equal(server.slicesAsked()[0], "from=5&count=1");
  assert.deepEqual([...feed.slices[7]], [7, 7, 7, 7]);
  const asked = server.slicesAsked().flatMap((query) => {
    const [, from, count] = /from=(\d+)&count=(\d+)/.exec(query).map(Number);
    return Array.from({ length: count }, (_, n) => from + n);
  });
  assert.deepEqual(asked.sort((a, b) => a - b), [0, 1, 2, 3, 4, 5, 6, 7, 8], "every slice once");
});

test("slices that arrive are fetched, those that are here are not fetched again", async () => {
  const server = new Server(2);
  await open(server).start();
  await until(() => feed.isComplete);
  server.grow(4);
  await feed.refresh();
  await until(() => feed.isComplete);
  assert.equal(feed.stack.count, 4);
  assert.equal(feed.newest, 3);
  assert.equal(server.slicesAsked().at(-1), "from=2&count=2");
});

test("a server that fails is asked again, but not at once", async () => {
  const server = new Server(3);
  server.failures = 1;
  open(server);
  const failures = [];
  feed.addEventListener("failed", ({ detail }) => failures.push(detail.message));
  await feed.start();
  await until(() => failures.length > 0);
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(server.slicesAsked().length, 1);
  assert.deepEqual(failures, ["The node is busy."]);
  await until(() => feed.isComplete);
});

test("masks are fetched once there is a picture, and then only what changed", async () => {
  const server = new Server(3);
  server.meta.segmentations = [{ id: "v1", revision: 4 }];
  server.masks.set(0, { revision: 3, value: 1 }).set(1, { revision: 4, value: 2 });
  open(server);
  feed.wantLayers(["v1"]);
  await feed.start();
  await until(() => feed.layer("v1").revision === 4 && feed.isComplete);
  const [firstMask, firstSlice] = ["/masks", "/slices"].map((part) => server.asked.findIndex((path) => path.includes(part)));
  assert.ok(firstMask > firstSlice);
  server.masks.set(1, { revision: 6, value: 3 });
  server.meta = { ...server.meta, segmentations: [{ id: "v1", revision: 6 }] };
  await feed.refresh();
  await until(() => feed.layer("v1").revision === 6);
  assert.ok(server.asked.at(-1).endsWith("since=4"));
  assert.deepEqual(feed.layer("v1").masks.map((mask) => mask[0]), [1, 3]);
  assert.deepEqual(feed.layer("v1").changes, [4, 6]);
});

test("where voxels are stored on another scale all of them are fetched again", async () => {
  const server = new Server(2);
  await open(server).start();
  await until(() => feed.isComplete);
  server.meta = { ...server.meta, pixels_revision: 1 };
  await feed.refresh();
  await until(() => feed.isComplete);
  assert.deepEqual(server.slicesAsked().map((query) => query.split("&")[0]), ["from=0", "from=1", "from=0", "from=1"]);
});

test("a case that was closed asks for nothing more", async () => {
  const server = new Server(3);
  await open(server).start();
  feed.close();
  const before = server.asked.length;
  feed.want(2);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(server.asked.length, before);
});
