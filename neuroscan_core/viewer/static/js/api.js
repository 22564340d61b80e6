// The only file that speaks HTTP with the node. Paths are relative to the page, so that a proxy may put it anywhere.

/**
 * What the node answered instead of a result, with sentences for a person.
 */
export class ApiError extends Error {
  /**
   * @param {number} status HTTP status; 0 where no answer came
   * @param {{error?: string, meaning?: string, remedy?: string}} said
   */
  constructor(status, said = {}) {
    super(said.error || `HTTP ${status}`);
    this.status = status;
    this.meaning = said.meaning ?? "";
    this.remedy = said.remedy ?? "";
  }
}

/** The session as GET /api/session gives it; `csrf` goes with every request that changes something. */
export const session = {
  authenticated: false,
  needs_login: false,
  csrf: "",
  identity_shown: false,
  version: "",
  limits: {},
};

/** Fires `change` when the session changed and `expired` when the node asks for a login. */
export const sessionEvents = new EventTarget();

/** Read the session anew. */
export async function loadSession() {
  Object.assign(session, await getJson("api/session"));
  sessionEvents.dispatchEvent(new Event("change"));
  return session;
}

// EventSource hides the status of a refusal: only a request tells whether a login is what is missing.
async function askWhetherExpired() {
  const now = await loadSession().catch(() => null);
  if (now?.needs_login && !now.authenticated) sessionEvents.dispatchEvent(new Event("expired"));
}

async function send(path, { method = "GET", body, headers = {}, signal, isSecond = false } = {}) {
  const all = { Accept: "application/json", ...headers };
  if (method !== "GET") all["X-CSRF-Token"] = session.csrf;
  let answer;
  try {
    answer = await fetch(path, { method, body, headers: all, signal, credentials: "same-origin" });
  } catch (reason) {
    if (reason.name === "AbortError") throw reason;
    throw new ApiError(0);
  }
  if (answer.ok) return answer;
  // A viewer that was restarted knows neither the session nor its token: fetch both anew, once.
  if (answer.status === 403 && method !== "GET" && !isSecond && (await csrfHasChanged())) {
    return send(path, { method, body, headers, signal, isSecond: true });
  }
  throw await refusal(answer.status, () => answer.json(), path);
}

async function csrfHasChanged() {
  const before = session.csrf;
  await loadSession();
  return session.csrf !== before;
}

async function refusal(status, readJson, path) {
  let said = {};
  try {
    said = await readJson();
  } catch {
    // Not JSON: a proxy, or a server that is being stopped. The status has to do.
  }
  if (status === 401 && !path.startsWith("api/login")) {
    session.authenticated = false;
    sessionEvents.dispatchEvent(new Event("expired"));
  }
  return new ApiError(status, said);
}

/**
 * GET JSON.
 * @param {string} path such as "api/series"
 * @param {{signal?: AbortSignal}} [options]
 */
export async function getJson(path, options = {}) {
  return (await send(path, options)).json();
}

/** GET bytes. @returns {Promise<ArrayBuffer>} */
export async function getBuffer(path, options = {}) {
  return (await send(path, { ...options, headers: { Accept: "application/octet-stream" } })).arrayBuffer();
}

/**
 * GET a file to keep. A link could not say why there is none.
 * @returns {Promise<{name: string, blob: Blob}>} the name is that which the node gives it
 */
export async function getFile(path, options = {}) {
  const answer = await send(path, { ...options, headers: { Accept: "*/*" } });
  const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1] ?? "neuroscan";
  return { name, blob: await answer.blob() };
}

/** POST JSON; null where the node answers without a body. */
export async function postJson(path, value = {}, options = {}) {
  const headers = { "Content-Type": "application/json" };
  return bodyOf(await send(path, { ...options, method: "POST", body: JSON.stringify(value), headers }));
}

/** DELETE. */
export async function remove(path, options = {}) {
  return bodyOf(await send(path, { ...options, method: "DELETE" }));
}

async function bodyOf(answer) {
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

/**
 * POST a form with files, telling how far it is; fetch cannot.
 * @param {string} path
 * @param {FormData} form
 * @param {{onProgress?: (sent: number, total: number) => void, signal?: AbortSignal}} [options]
 */
export function upload(path, form, { onProgress, signal } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("X-CSRF-Token", session.csrf);
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", (event) => onProgress?.(event.loaded, event.total));
    request.addEventListener("load", async () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText || "null"));
      else reject(await refusal(request.status, async () => JSON.parse(request.responseText), path));
    });
    request.addEventListener("error", () => reject(new ApiError(0)));
    request.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 15000;

/**
 * Listen to pushes; reconnects by itself, later and later. A hidden tab lets go of its connection, because a browser
 * opens only six to one server; it listens again, and is told everything anew, when it is looked at.
 * @param {{case?: string, board?: (entries: Object[]) => void,
 *   changed?: (event: {id: string, revision: number}) => void,
 *   agents?: (event: {id: string, agents: Object[]}) => void,
 *   state?: (state: "connecting"|"open"|"lost") => void}} options
 * @returns {{close: () => void, retry: () => void}}
 */
export function openEvents({ case: caseId, board, changed, agents, state }) {
  const path = "api/events" + (caseId ? `?case=${encodeURIComponent(caseId)}` : "");
  // `board` brings the whole list, `series` only the entries that changed since.
  let entries = [];
  const whole = (list) => board((entries = list));
  const some = (list) => {
    const changedOnes = new Map(list.map((entry) => [entry.case, entry]));
    whole(entries.map((entry) => changedOnes.get(entry.case) ?? entry));
  };
  const listeners = { board: board && whole, series: board && some, case: changed, agents };
  let source = null;
  let timer = 0;
  let wait = FIRST_WAIT_MS;
  let isClosed = false;
  let wasLost = false;

  function disconnect() {
    clearTimeout(timer);
    source?.close();
    source = null;
  }

  function connect() {
    disconnect();
    if (isClosed || document.hidden) return;
    source = new EventSource(path);
    source.addEventListener("open", () => {
      wait = FIRST_WAIT_MS;
      if (wasLost) loadSession().catch(() => {});
      wasLost = false;
      state?.("open");
    });
    source.addEventListener("error", () => {
      disconnect();
      wasLost = true;
      state?.("lost");
      askWhetherExpired();
      timer = setTimeout(connect, wait);
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    });
    for (const [name, listener] of Object.entries(listeners)) {
      if (listener) source.addEventListener(name, (event) => listener(JSON.parse(event.data)));
    }
  }

  const look = () => (document.hidden ? disconnect() : connect());
  document.addEventListener("visibilitychange", look);
  state?.("connecting");
  connect();
  return {
    close() {
      isClosed = true;
      document.removeEventListener("visibilitychange", look);
      disconnect();
    },
    retry() {
      wait = FIRST_WAIT_MS;
      connect();
    },
  };
}
