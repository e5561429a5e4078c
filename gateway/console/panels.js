// SPDX-License-Identifier: Apache-2.0
// All that is not about calls: readiness, devices, the must-report report, dead letters, events.
import { query, request, state } from "./api.js";
import { $, NOTHING, Table, duration, el, facts, lines, pill, setText, time, twoClicks, words } from "./dom.js";

export const EVENTS_SHOWN = 100;
const REPORT_ROWS = 100;
const HEALTH_KINDS = { ok: "good", suspect: "warn", blocked: "bad", invalid: "bad" };
const ALARMS = {
  credential: "APNs refuses the key, the certificate or the team. No push of it goes out.",
  topic: "The key or certificate may not send to the app's topic.",
  clock: "This machine's clock is wrong: APNs takes no provider token from it.",
  bad_tokens: "APNs refuses many push tokens at once. Is the environment (sandbox, production) the right one?",
  expiry: "The certificate ends soon.",
  bug: "A push went out that should never have been made.",
};

// Readiness

function alarmItem({ credential, alarm, at }) {
  return el("li", { className: "notice bad" }, el("strong", {}, `${credential}: ${words(alarm)}`), " ", ALARMS[alarm] || "",
    " The log says more, and how to mend it. ", el("span", { className: "quiet" }, "last seen ", time(at)));
}

function showReady(document) {
  const ready = document.status === "ready";
  const pillNode = $("#ready");
  setText(pillNode, document.status);
  pillNode.className = `pill ${ready ? (document.alarms.length ? "warn" : "good") : "bad"}`;
  const apns = Object.entries(document.apns).map(([app, connection]) => el("div", {}, `${app}: `,
    el("span", { className: connection === "connected" ? "" : "bad" }, connection)));
  facts($("#readiness-facts"), [
    ["Database", el("span", { className: document.store === "ok" ? "" : "bad" }, document.store)],
    ["APNs", apns.length ? apns : "no apps"],
    ["Draining", document.draining ? "yes: it goes down, and takes no new calls" : "no"],
    ["Alarms", document.alarms.length ? "" : "none in 24 hours"],
  ]);
  $("#alarms").replaceChildren(...document.alarms.map(alarmItem));
}

function showDown() {
  const pillNode = $("#ready");
  setText(pillNode, "no answer");
  pillNode.className = "pill bad";
}

// Returns once it has answered; what is on the page is replaced only if it has changed.
export async function loadReady(last) {
  try {
    const [document, health] = await Promise.all([state("readyz"), state("healthz")]);
    const said = JSON.stringify(document);
    if (said !== last) {
      showReady(document);
    }
    setText($("#version"), health.version);
    return said;
  } catch (e) {
    showDown();
    throw e;
  }
}

// Devices

const versions = ({ app_version: app, os_version: os }) => [app && `app ${app}`, os && `iOS ${os}`].filter(Boolean);

export function deviceTable(place) {
  return new Table(place, { label: "Devices", key: ({ device }) => device, columns: [
    { title: "Device", name: true, cell: ({ device }) => device },
    { title: "User", cell: ({ user }) => user },
    { title: "Health", cell: ({ health }) => pill(health, HEALTH_KINDS[health]) },
    { title: "Reason, and the way back", wide: true, cell: ({ health_reason: reason }) => reason || NOTHING },
    { title: "App", cell: ({ app, environment }) => [app, el("div", { className: "quiet" }, environment)] },
    { title: "Versions", cell: (device) => (versions(device).length ? lines(versions(device)) : NOTHING) },
    { title: "Changed", cell: ({ updated_at: at }) => time(at) },
  ] });
}

export async function loadDevices(token, table, { health, user }, cursor) {
  const page = await request(token, "GET", query("v1/devices", { health, user, limit: 50, cursor }), "devices");
  const none = health || user ? "No device is like that." : "No device is registered. An app's backend does it with PUT /v1/devices/{device}.";
  return { show: () => table.show(page.devices), cursor: page.next_cursor, message: page.devices.length ? "" : none };
}

// The report

const percent = (part) => (part === null ? NOTHING : `${(100 * part).toFixed(part === 0 || part === 1 ? 0 : 1)} %`);

function share(count, of, bad) {
  return [el("span", { className: bad && count ? "bad" : "" }, percent(of ? count / of : null)), el("div", { className: "quiet" }, count.toLocaleString())];
}

const countColumn = (title, name, of, bad) => ({ title, number: true, cell: (row) => share(row[name], row[of], bad) });
const latency = (row) => [row.push_to_receipt_p50_ms, row.push_to_receipt_p95_ms].map((ms) => (ms === null ? NOTHING : duration(ms)));

export function reportTable(place) {
  return new Table(place, { label: "VoIP pushes by day and app version", key: ({ day, app_version: version }) => `${day} ${version}`, columns: [
    { title: "Day", name: true, cell: ({ day }) => day },
    { title: "App version", cell: ({ app_version: version }) => version || "not known" },
    { title: "Pushes", number: true, cell: ({ pushes }) => pushes.toLocaleString() },
    countColumn("Accepted", "accepted", "pushes"),
    countColumn("Receipts", "receipts", "accepted"),
    countColumn("Reported", "reported", "accepted"),
    countColumn("Violated", "violated", "accepted", true),
    countColumn("Late", "late", "accepted", true),
    countColumn("Silent", "silent", "accepted", true),
    { title: "Predicted right", number: true, cell: ({ prediction_accuracy: accuracy }) => percent(accuracy) },
    { title: "To receipt: median, p95", number: true, cell: (row) => lines(latency(row)) },
  ] });
}

export async function loadReport(token, table) {
  const { rows } = await request(token, "GET", query("v1/reports/must-report", { group_by: "day,app_version" }), "calls");
  const none = rows.length ? "" : "No push has gone out within the time that the ledger keeps.";
  const message = rows.length > REPORT_ROWS ? `The latest ${REPORT_ROWS} rows; the rest by GET /v1/reports/must-report.` : none;
  return { show: () => table.show(rows.slice(0, REPORT_ROWS)), message };
}

// Dead letters. act(method, path) asks, and has the list loaded again.

function letterButtons({ id }, act) {
  const again = el("button", { type: "button", onclick: () => act("POST", `v1/webhooks/dead-letters/${id}/retry`) }, "Send again");
  const remove = el("button", { type: "button", className: "danger" }, "Delete");
  again.dataset.act = "again";
  remove.dataset.act = "remove";
  twoClicks(remove, "Really delete?", () => act("DELETE", `v1/webhooks/dead-letters/${id}`));
  return el("div", { className: "row" }, again, remove);
}

export function letterTable(place, act) {
  return new Table(place, { label: "Dead letters", key: ({ id }) => id, columns: [
    { title: "Webhook", name: true, cell: ({ webhook }) => webhook },
    { title: "Event", cell: ({ event }) => [event?.type || "", el("div", { className: "quiet" }, event ? eventSubject(event.data) : "")] },
    { title: "Attempts", number: true, cell: ({ attempts }) => String(attempts) },
    { title: "Last answer", cell: ({ status, detail }) => [status === null ? "none" : String(status), el("div", { className: "quiet" }, detail)] },
    { title: "Last attempt", cell: ({ last_attempt_at: at }) => time(at) },
    { title: "What to do", cell: (letter) => letterButtons(letter, act) },
  ] });
}

export async function loadLetters(token, table, count, cursor) {
  const page = await request(token, "GET", query("v1/webhooks/dead-letters", { limit: 25, cursor }), "admin");
  const show = () => {
    table.show(page.dead_letters);
    setText(count, page.dead_letters.length ? `${page.dead_letters.length}${page.next_cursor ? "+" : ""}` : "");
  };
  const none = "None: webhooks have taken all events, or there are no webhooks.";
  return { show, cursor: page.next_cursor, message: page.dead_letters.length ? "" : none };
}

// Events

function eventSubject({ device, callee, user, state: callState }) {
  return [callee && `callee ${callee}`, user && `user ${user}`, device && `device ${device}`, callState].filter(Boolean).join(", ");
}

function eventDetails(data) {
  const shown = ["reason", "push_state", "apns_reason", "outcome", "second_path", "must_report", "reported", "health", "health_reason"];
  return shown.filter((name) => data[name] !== undefined && data[name] !== null && data[name] !== "")
    .map((name) => `${words(name)} ${data[name]}`).join(", ");
}

const isBad = ({ type, data }) => type === "push.rejected" || type === "push.unheard" || ["violated", "silent", "late"].includes(data.outcome) ||
  ["blocked", "invalid", "suspect"].includes(data.health);

// open(call): for events of calls.
export function addEvent(list, event, open) {
  const what = [el("span", { className: isBad(event) ? "bad" : "" }, event.type), " ",
    el("span", { className: "quiet" }, [eventSubject(event.data), eventDetails(event.data)].filter(Boolean).join(": "))];
  const { call, callee } = event.data;
  const id = call ? el("button", { type: "button", className: "link", onclick: () => open({ id: call, callee: callee || "…", state: "" }) }, "call") : "";
  list.prepend(el("li", {}, time(event.timestamp), el("span", { className: "what" }, what, " ", id)));
  while (list.children.length > EVENTS_SHOWN) {
    list.lastChild.remove();
  }
}
