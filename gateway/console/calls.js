// SPDX-License-Identifier: Apache-2.0
// Calls: live and recent ones as tables, and one of them with its timeline.
import { query, request } from "./api.js";
import { $, NOTHING, Table, duration, el, facts, lines, pill, setText, time, twoClicks, words } from "./dom.js";

const LIVE = ["ringing", "answered", "active"];
const LIVE_MAX = 100; // of each state; the gateway may have more, and then the page says so
const STATE_KINDS = { ringing: "warn", answered: "good", active: "good", ended: "dim" };
const BAD_OUTCOMES = ["violated", "late", "silent"];
const BAD_PUSHES = ["rejected", "failed", "expired"];
const BAD_REASONS = ["unreachable", "media_failed", "error", "expired"];

const callerName = ({ name, handle }) => (name && handle ? [name, el("div", { className: "quiet" }, handle)] : name || handle || NOTHING);

function stateOf(call) {
  const kind = BAD_REASONS.includes(call.reason) ? "bad" : STATE_KINDS[call.state];
  return pill(call.state === "ended" ? words(call.reason) : call.state, kind);
}

function deviceLine({ device, delivery, push_state: push, outcome, state }) {
  const bad = BAD_OUTCOMES.includes(outcome) || BAD_PUSHES.includes(push);
  const said = delivery === "connection" ? ["connected", state] : [`push ${push}`, outcome];
  return el("div", {}, device, " ", el("span", { className: bad ? "bad" : "quiet" }, said.filter(Boolean).join(", ")));
}

const packets = ({ rx_pkts: rx, tx_pkts: tx }) => `${rx.toLocaleString()} in, ${tx.toLocaleString()} out`;

function mediaLines(media) {
  if (!media) {
    return "none";
  }
  return [el("div", {}, media.handoff || "waiting for the phone"),
    ...["caller", "phone"].map((leg) => el("div", { className: "quiet packets" }, `${leg} ${packets(media[leg])}`))];
}

function calleeButton({ callee }) {
  const button = el("button", { type: "button", className: "link" }, callee); // its click is the row's
  button.dataset.act = "open";
  return button;
}

const columns = [
  { title: "Callee", name: true, cell: calleeButton },
  { title: "State", cell: stateOf },
  { title: "Caller", cell: ({ caller }) => callerName(caller) },
  { title: "Began", cell: ({ created_at: at }) => time(at) },
  { title: "Devices", cell: ({ devices }) => devices.map(deviceLine) },
  { title: "Media", cell: ({ media }) => mediaLines(media) },
];

export function callTable(place, label, open) {
  return new Table(place, { label, columns, key: ({ id }) => id, onClick: open });
}

// What is loaded comes as {message, cursor, show}: show() puts it on the page, unless somebody has asked for something else meanwhile.

export async function loadLive(token, table, count) {
  const pages = await Promise.all(LIVE.map((state) => request(token, "GET", query("v1/calls", { state, limit: LIVE_MAX }), "calls")));
  const calls = pages.flatMap((page) => page.calls).sort((a, b) => b.created_at.localeCompare(a.created_at));
  const more = pages.some((page) => page.next_cursor);
  const show = () => {
    table.show(calls);
    setText(count, calls.length ? `${calls.length}${more ? "+" : ""}` : "");
  };
  const none = calls.length ? "" : "No call is live.";
  return { show, message: more ? `There are more: these are the newest ${LIVE_MAX} of each state.` : none };
}

export async function loadRecent(token, table, callee, cursor) {
  const page = await request(token, "GET", query("v1/calls", { state: "ended", callee, limit: 25, cursor }), "calls");
  return { show: () => table.show(page.calls), cursor: page.next_cursor, message: page.calls.length ? "" : "No call has ended within the time that the database keeps." };
}

// What a timeline's entry says beside its name, in the order that the gateway wrote it.
function details({ at, offset_us: offset, event, ...rest }) {
  return Object.entries(rest).filter(([, value]) => value !== "" && value !== null)
    .map(([name, value]) => `${words(name)} ${name === "push" ? String(value).slice(0, 8) : value}`).join(", ");
}

function timelineItem(entry) {
  return el("li", { className: ["media_failed", "push_rejected", "receipt_overdue"].includes(entry.event) ? "bad" : "" },
    el("span", { className: "offset", title: entry.at }, duration(entry.offset_us / 1000)),
    el("span", { className: "what" }, words(entry.event), " ", el("span", { className: "quiet" }, details(entry))));
}

const saidOfMustReport = (device) => (device.must_report === null ? "no answer" : String(device.must_report));

const deviceColumns = [
  { title: "Device", name: true, cell: ({ device }) => device },
  { title: "State", cell: ({ state, delivery }) => `${state}, by ${delivery}` },
  { title: "Push", cell: ({ push_state: push, apns_status: status, apns_reason: reason }) =>
    lines([push, [status, reason].filter(Boolean).join(" ")].filter(Boolean)) },
  { title: "mustReport", cell: (device) => (device.delivery === "connection" ? NOTHING :
    lines([saidOfMustReport(device), `expected ${device.predicted_must_report}`])) },
  { title: "Outcome", cell: ({ outcome, push_state: push, reported }) => [outcome || (push === "accepted" ? "open" : NOTHING), reported ? ` (${reported})` : ""] },
  { title: "Handoff", cell: ({ handoff }) => handoff },
];

function callFacts(call) {
  const list = el("dl", { className: "facts" });
  facts(list, [
    ["State", stateOf(call)], ["Caller", callerName(call.caller)], ["Route", call.route], ["Tenant", call.tenant],
    ["Began", time(call.created_at)], ["Answered", time(call.answered_at)], ["Ended", time(call.ended_at)],
    ["Id", el("code", {}, call.id)],
  ]);
  return list;
}

function mediaFacts(media) {
  const list = el("dl", { className: "facts" });
  facts(list, media ? [
    ["Handoff", media.handoff || "not yet"], ["Device", media.device || "none yet"], ["SRTP", media.profile || "no handshake yet"],
    ["Caller", `${packets(media.caller)}`], ["Phone", `${packets(media.phone)}`],
    ["Before the answer", `${media.discarded_pkts} discarded`], ["Dropped", String(media.dropped_pkts)], ["Worker", String(media.worker)],
  ] : [["Media", "none: the call came without an offer"]]);
  return list;
}

// The dialog with one call. tokenOf(): the token in use; failed(problem): it is the page's to tell.
export class CallDialog {
  constructor(tokenOf, failed) {
    this.tokenOf = tokenOf;
    this.failed = failed;
    this.dialog = $("#call");
    this.said = "";
    this.call = null;
    this.askedAt = -Infinity; // monotonic milliseconds
    $("#close-call").addEventListener("click", () => this.dialog.close());
    this.disarm = twoClicks($("#end-call"), "Really end it?", () => this.end());
    this.dialog.addEventListener("close", () => { this.call = null; });
  }

  open(call) {
    this.call = { ...call };
    this.said = "";
    this.disarm();
    setText($("#call-title"), `Call to ${call.callee}`);
    setText($("#call-message"), "");
    $("#call-body").replaceChildren();
    $("#end-call").hidden = true;
    if (!this.dialog.open) {
      this.dialog.showModal();
    }
    this.load();
  }

  close() {
    this.dialog.close();
  }

  isLive() {
    return this.call !== null && this.call.state !== "ended";
  }

  async load() {
    const id = this.call?.id;
    if (!id) {
      return;
    }
    this.askedAt = performance.now();
    try {
      const [call, timeline] = await Promise.all(["", "/timeline"].map((part) =>
        request(this.tokenOf(), "GET", `v1/calls/${encodeURIComponent(id)}${part}`, "calls")));
      if (this.call?.id === id) {
        this.show(call, timeline);
      }
    } catch (e) {
      if (e.status === 404 && this.call?.id === id) {
        this.call.state = "ended"; // and so long ago that nobody knows it any more
      }
      setText($("#call-message"), e.message);
      this.failed(e);
    }
  }

  show(call, timeline) {
    this.call = call;
    setText($("#call-title"), `Call to ${call.callee}`);
    $("#end-call").hidden = call.state === "ended";
    setText($("#call-message"), "");
    const said = JSON.stringify([call, timeline]);
    if (said === this.said) {
      return;
    }
    this.said = said;
    const place = el("div", { className: "table" });
    const table = new Table(place, { label: "Devices of the call", columns: deviceColumns, key: ({ device }) => device });
    table.show(call.devices);
    $("#call-body").replaceChildren(callFacts(call), el("h3", {}, "Devices"), place, el("h3", {}, "Media"), mediaFacts(call.media),
      el("h3", {}, "Timeline"), el("ol", { className: "timeline plain" }, timeline.map(timelineItem)));
  }

  async end() {
    try {
      await request(this.tokenOf(), "DELETE", `v1/calls/${encodeURIComponent(this.call.id)}`, "calls");
      await this.load();
    } catch (e) {
      setText($("#call-message"), e.message);
      this.failed(e);
    }
  }
}
