// SPDX-License-Identifier: Apache-2.0
// The gateway's API, as the page asks it: requests that fail with a sentence, and the stream of events.

const RETRY_MS = 2000;
const RETRY_MAX_MS = 30000;
const ANSWER_MS = 15000;
const SILENT_MS = 40000; // a comment comes every 15 s at least

// status 0: no answer came at all.
export class Problem extends Error {
  constructor(status, sentence, retryAfterS = 0) {
    super(sentence);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

function sentenceOf(status, detail, scope, retryAfterS) {
  switch (status) {
    case 401:
      return "The gateway does not know this token. It may be another gateway's, or no longer in the configuration.";
    case 403:
      return `Not shown: this token lacks the scope ${scope}.`;
    case 429:
      return `The gateway has had too many requests with this token. Next try in ${retryAfterS} s.`;
    default:
      return detail || `The gateway answered with status ${status}.`;
  }
}

async function problemOf(response, scope) {
  let detail = "";
  try {
    detail = (await response.json()).detail;
  } catch {
    // Not from the gateway: a proxy's page, which says nothing that could be shown.
  }
  const retryAfterS = Number(response.headers.get("Retry-After")) || 2;
  return new Problem(response.status, sentenceOf(response.status, detail, scope, retryAfterS), retryAfterS);
}

async function ask(path, options) {
  try {
    return await fetch(path, { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(ANSWER_MS), ...options });
  } catch (e) {
    if (e.name === "AbortError") {
      throw e;
    }
    throw new Problem(0, "The gateway does not answer. It may be down, or the network between it and you.");
  }
}

// The answer's JSON, or null where there is none. scope: what the token needs, for the sentence.
export async function request(token, method, path, scope) {
  const response = await ask(path, { method, headers: { Authorization: `Bearer ${token}` } });
  if (!response.ok) {
    throw await problemOf(response, scope);
  }
  return response.headers.get("Content-Type") ? response.json() : null;
}

// /readyz, /healthz: public, and 503 has the same document.
export async function state(path) {
  const response = await ask(path, {});
  if (!response.ok && response.status !== 503) {
    throw await problemOf(response, "");
  }
  return response.json();
}

export function query(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

// One block of a stream (HTML, 9.2.6): {id, type, data, retry}.
function parseBlock(block) {
  const found = { data: "" };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) {
      found[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
    }
  }
  return found;
}

// Server-sent events by fetch, since EventSource sends no Authorization header.
// on: {event(event), state("live" | "waiting" | "off", sentence), resumed(), refused(problem)}
export class Events {
  constructor(token, on) {
    this.token = token;
    this.on = on;
    this.lastId = "";
    this.running = null;
  }

  start() {
    if (!this.running) {
      this.running = new AbortController();
      this.run(this.running.signal);
    }
  }

  // Where it was is kept: start() goes on from there.
  stop() {
    this.running?.abort();
    this.running = null;
  }

  async run(signal) {
    for (let waitMs = RETRY_MS; !signal.aborted; waitMs = Math.min(2 * waitMs, RETRY_MAX_MS)) {
      try {
        await this.listen(signal, () => { waitMs = RETRY_MS; });
        this.on.state("waiting", "The stream of events has ended; asking again.");
      } catch (e) {
        if (signal.aborted) {
          return;
        }
        if (!this.goesOn(e)) {
          this.running = null;
          return;
        }
        waitMs = Math.max(waitMs, 1000 * (e.retryAfterS || 0));
      }
      await new Promise((done) => setTimeout(done, waitMs));
    }
  }

  goesOn(e) {
    if (e.status === 401 || e.status === 403) {
      this.on.state("off", e.message);
      this.on.refused(e);
      return false;
    }
    if (e.status === 400) {
      this.lastId = ""; // another database: it has not had that event
    }
    this.on.state("waiting", e instanceof Problem ? e.message : "The stream of events broke off; asking again.");
    return true;
  }

  async listen(signal, connected) {
    const watch = new AbortController();
    const giveUp = () => watch.abort();
    signal.addEventListener("abort", giveUp);
    let silence = setTimeout(giveUp, SILENT_MS);
    try {
      const headers = { Authorization: `Bearer ${this.token}`, Accept: "text/event-stream" };
      if (this.lastId) {
        headers["Last-Event-ID"] = this.lastId;
      }
      const response = await ask("v1/events", { headers, signal: watch.signal });
      if (!response.ok) {
        throw await problemOf(response, "calls or devices");
      }
      connected();
      this.on.state("live", "");
      this.on.resumed();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ;) {
        const { value, done } = await reader.read();
        if (done) {
          return;
        }
        clearTimeout(silence);
        silence = setTimeout(giveUp, SILENT_MS);
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        blocks.forEach((block) => this.take(parseBlock(block)));
      }
    } finally {
      clearTimeout(silence);
      signal.removeEventListener("abort", giveUp);
    }
  }

  take(block) {
    if (block.id) {
      this.lastId = block.id;
    }
    if (block.event) {
      this.on.event(block.event, JSON.parse(block.data));
    }
  }
}
