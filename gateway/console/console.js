// SPDX-License-Identifier: Apache-2.0
// The page as a whole: the token, what is asked when, and what an event brings up to date.
import { Events, request } from "./api.js";
import { CallDialog, callTable, loadLive, loadRecent } from "./calls.js";
import { $, setText, words } from "./dom.js";
import * as panels from "./panels.js";

const TOKEN = "wakegate.token"; // in sessionStorage: gone with the tab
const TICK_MS = 500;            // how often it is looked at what is due; nothing is asked for more often than every
const GAP_MS = 2000;
const READY_MS = 10000;
const DOWN_MS = 5000;           // readiness, while the gateway does not answer

let token = sessionStorage.getItem(TOKEN) || "";
let events = null;
let pausedUntil = 0;            // 429

// Parts of the page that are loaded each for itself. everyMs: without an event; wants: patterns of events that make it due.

class Part {
  constructor(id, everyMs, wants, load) {
    this.place = $(`#${id}`);
    this.everyMs = everyMs;
    this.wants = wants;
    this.load = load;
    this.cursor = "";
    this.nextCursor = "";
    this.reset();
  }

  reset() {
    this.due = true;
    this.askedAt = -Infinity;
    this.asking = null; // the promise of the latest answer
    this.forbidden = false;
  }

  isDue(now) {
    return !this.asking && !this.forbidden && now - this.askedAt >= (this.due ? GAP_MS : this.everyMs);
  }

  tell(text, bad) {
    const message = $(".message", this.place);
    setText(message, text);
    message.classList.toggle("bad", bad);
  }

  // An answer that somebody waits for no more (another page, another token) is dropped.
  async refresh() {
    const asking = this.load(token, this.cursor);
    this.asking = asking;
    this.due = false;
    this.askedAt = performance.now();
    try {
      const loaded = await asking;
      if (this.asking === asking) {
        this.asking = null;
        this.show(loaded);
      }
    } catch (e) {
      if (this.asking === asking) {
        this.asking = null;
        this.forbidden = e.status === 403;
        this.tell(e.message, e.status !== 403);
        failed(e);
      }
    }
  }

  show(loaded) {
    loaded.show();
    this.tell(loaded.message, false);
    this.turnPages(loaded.cursor);
    gatewayAnswers();
  }

  turnPages(next) {
    const pages = $(".pages", this.place);
    this.nextCursor = next || "";
    if (pages) {
      pages.hidden = !this.cursor && !next;
      $(".first", pages).disabled = !this.cursor;
      $(".next", pages).disabled = !next;
    }
  }

  // A person asked for something else: at once.
  turnTo(cursor) {
    this.cursor = cursor;
    this.refresh();
  }
}

// What is told to everybody

const announced = { at: -Infinity };

// A busy gateway has more to tell than anybody could listen to.
function announce(text) {
  const now = performance.now();
  if (now - announced.at >= GAP_MS) {
    announced.at = now;
    setText($("#announcer"), text);
  }
}

function notice(text) {
  const place = $("#notice");
  setText(place, text);
  place.hidden = !text;
}

function gatewayAnswers() {
  if (performance.now() >= pausedUntil) {
    notice("");
  }
}

function failed(e) {
  if (e.status === 401) {
    refuseToken(e.message);
  } else if (e.status === 429) {
    pausedUntil = performance.now() + 1000 * e.retryAfterS;
    notice(e.message);
  } else if (e.status === 0) {
    readiness.everyMs = GAP_MS;
    notice(e.message);
  }
}

// The parts

const dialog = new CallDialog(() => token, failed);
const open = (call) => dialog.open(call);
const live = callTable($("#live .table"), "Live calls", open);
const recent = callTable($("#recent .table"), "Recent calls", open);
const devices = panels.deviceTable($("#devices .table"));
const report = panels.reportTable($("#report .table"));
const letters = panels.letterTable($("#letters .table"), actOnLetter);

const parts = {
  live: new Part("live", 10000, ["call.", "push.", "receipt"], (t) => loadLive(t, live, $("#live .count"))),
  recent: new Part("recent", 60000, ["call.ended", "push.outcome"], (t, cursor) => loadRecent(t, recent, $("#callee").value.trim(), cursor)),
  devices: new Part("devices", 60000, ["device."],
    (t, cursor) => panels.loadDevices(t, devices, { health: $("#health").value, user: $("#user").value.trim() }, cursor)),
  report: new Part("report", 30000, [], (t) => panels.loadReport(t, report)),
  letters: new Part("letters", 30000, [], (t, cursor) => panels.loadLetters(t, letters, $("#letters .count"), cursor)),
};

async function actOnLetter(method, path) {
  try {
    await request(token, method, path, "admin");
    parts.letters.refresh();
  } catch (e) {
    parts.letters.tell(e.message, true);
    failed(e);
  }
}

// Events

const news = []; // that are not on the page yet

function showNews() {
  const shown = news.splice(0).slice(-panels.EVENTS_SHOWN);
  shown.forEach((event) => panels.addEvent($("#event-list"), event, open));
  if (shown.length) {
    setText($("#events .message"), "");
  }
}

function tellEvent({ type, data }) {
  if (type === "call.ringing" || type === "call.answered" || type === "call.ended") {
    announce(`The call to ${data.callee} is ${data.reason ? `over: ${words(data.reason)}` : data.state}.`);
  } else if (type === "device.health") {
    announce(`The device ${data.device} is ${data.health}.`);
  }
}

function onEvent(type, event) {
  if (type === "events.pruned") {
    $("#events .message").textContent = "Some events are missing here: they were older than the database keeps them.";
    return;
  }
  news.push(event);
  tellEvent(event);
  for (const part of Object.values(parts)) {
    part.due ||= part.wants.some((start) => type.startsWith(start));
  }
}

function onStream(state, sentence) {
  setText($("#listening"), { live: "live", waiting: "reconnecting", off: "" }[state]);
  $("#listening").classList.toggle("live", state === "live");
  const empty = news.length + $("#event-list").children.length === 0;
  setText($("#events .message"), sentence || (empty ? "Nothing has happened since this page was opened." : ""));
  $("#events .message").classList.toggle("bad", state === "waiting");
}

function listen() {
  events = new Events(token, {
    event: onEvent,
    state: onStream,
    resumed: () => Object.values(parts).forEach((part) => { part.due = true; }),
    refused: failed,
  });
  events.start();
}

// The token

function refuseToken(sentence) {
  forgetToken();
  setText($("#token-error"), sentence);
  $("#token").focus();
}

function showToken() {
  const has = token !== "";
  $("#token-form").hidden = has;
  $("#panels").hidden = !has;
  $("#forget").hidden = !has;
}

function forgetToken() {
  token = "";
  sessionStorage.removeItem(TOKEN);
  events?.stop();
  events = null;
  pausedUntil = 0;
  dialog.close();
  [live, recent, devices, report, letters].forEach((table) => table.show([]));
  Object.values(parts).forEach((part) => part.reset());
  news.length = 0;
  $("#event-list").replaceChildren();
  setText($("#listening"), "");
  notice("");
  showToken();
}

function useToken(text) {
  token = text;
  sessionStorage.setItem(TOKEN, token);
  setText($("#token-error"), "");
  Object.values(parts).forEach((part) => part.reset());
  showToken();
  listen();
  tick();
}

function submitToken(event) {
  event.preventDefault();
  const text = $("#token").value.trim();
  $("#token").value = "";
  if (/^[\x21-\x7e]+$/.test(text)) {
    useToken(text);
  } else {
    setText($("#token-error"), "A token has no blanks, and no characters but those of ASCII. Was it copied as a whole?");
  }
}

// Time: nothing is asked while nobody can see it.

const readiness = { said: "", askedAt: -Infinity, everyMs: READY_MS, asking: false, down: false };

async function askReadiness() {
  readiness.asking = true;
  readiness.askedAt = performance.now();
  try {
    readiness.said = await panels.loadReady(readiness.said);
    readiness.everyMs = READY_MS;
    if (readiness.down) {
      readiness.down = false;
      announce("The gateway answers again.");
      notice("");
      Object.values(parts).forEach((part) => { part.due = true; });
    }
  } catch (e) {
    readiness.said = "";
    readiness.everyMs = DOWN_MS;
    readiness.down = true;
    notice(e.message);
  }
  readiness.asking = false;
}

function tick() {
  const now = performance.now();
  showNews();
  if (document.hidden || now < pausedUntil) {
    return;
  }
  if (!readiness.asking && now - readiness.askedAt >= readiness.everyMs) {
    askReadiness();
  }
  if (!token || readiness.down) {
    return;
  }
  Object.values(parts).filter((part) => part.isDue(now)).forEach((part) => part.refresh());
  if (dialog.isLive() && now - dialog.askedAt >= GAP_MS) {
    dialog.load();
  }
}

function onVisibility() {
  if (document.hidden) {
    events?.stop();
  } else {
    events?.start();
    tick();
  }
}

function wirePages(part) {
  $(".first", part.place).addEventListener("click", () => part.turnTo(""));
  $(".next", part.place).addEventListener("click", () => part.turnTo(part.nextCursor));
}

[parts.recent, parts.devices, parts.letters].forEach(wirePages);
$("#callee").addEventListener("change", () => parts.recent.turnTo(""));
$("#health").addEventListener("change", () => parts.devices.turnTo(""));
$("#user").addEventListener("change", () => parts.devices.turnTo(""));
$("#token-form").addEventListener("submit", submitToken);
$("#forget").addEventListener("click", () => { forgetToken(); $("#token").focus(); });
document.addEventListener("visibilitychange", onVisibility);
setInterval(tick, TICK_MS);
showToken();
if (token) {
  listen();
}
tick();
