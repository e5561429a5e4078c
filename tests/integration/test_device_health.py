# SPDX-License-Identifier: Apache-2.0
"""What the gateway makes of pushes that are not heard of: a device's health, second paths, and receipts that come long
after their calls."""
import asyncio
import contextlib
import json
import sqlite3
import unittest
import uuid

import websockets

from harness import SLOW, StackTest, wait_for, without_seal
from test_events import Listener
from test_openapi import component, validate

HOUR_MS = 3600000
BLOCKED = 4  # HEALTH_BLOCKED, as it is stored
TIMES = f"receipt_after_ms: {200 * SLOW}, suspect_after_ms: {400 * SLOW}, second_path_after_ms: {800 * SLOW}"
ROUTES = "".join(f"  - {{name: {name}, match: {{callee: \"{name}-*\"}}, app: vcs, ring_timeout_s: {3 * SLOW}, {rest}}}\n" for name, rest in [
    ("alert", f"must_report: {{{TIMES}, second_path: alert}}"),
    ("event", f"must_report: {{{TIMES}, second_path: event}}"),
    ("others", f"must_report: {{{TIMES}, second_path: others}}"),
    ("repeat", f"must_report: {{{TIMES}, repeat_push: true}}"),
    ("quiet", f"must_report: {{{TIMES}, blocked_violations: 2}}"),
    ("engaged", "on_call: busy"),
])


class Health(StackTest):
    stack_options = {"edit": lambda text: text.replace("routes:\n", "routes:\n" + ROUTES, 1)}

    def call(self, user):
        reply = self.stack.post("/v1/calls", {"callee": user, "caller": {"handle": "+15550100", "name": "Ward 3"}})
        self.assertEqual(reply.status, 201, reply)
        return reply.json["id"]

    def pushes(self, call):
        """What APNs got for this call."""
        return [r for r in self.stack.journal() if (r["payload"] or {}).get("wakegate", {}).get("call") == call]

    def wait_health(self, device, health):
        return wait_for(lambda: next((d for d in [self.stack.get(f"/v1/devices/{device}").json] if d["health"] == health), None),
                        15, lambda: str(self.stack.get(f"/v1/devices/{device}").json) + self.stack.gateway.log())

    def rows(self, device, outcome=None, count=1):
        def probe():
            rows = self.stack.get(f"/v1/devices/{device}/pushes").json["pushes"]
            return rows if outcome is None or sum(r["outcome"] == outcome for r in rows) >= count else None
        return wait_for(probe, 15, lambda: str(self.stack.get(f"/v1/devices/{device}/pushes").json))

    def event(self, call, name):
        return wait_for(lambda: next((e for e in self.stack.timeline(call) if e["event"] == name), None), 10,
                        lambda: f"no {name} in {self.stack.timeline(call)}")

    def attach(self, device, secret):
        """All that a phone hears at once."""
        async def talk():
            url = f"ws://127.0.0.1:{self.stack.api_port}/v1/attach"
            async with websockets.connect(url, subprotocols=["wakegate.v1"]) as ws:
                await ws.send(json.dumps({"type": "hello", "device": device, "secret": secret}))
                heard = []
                try:
                    while True:
                        heard.append(json.loads(await asyncio.wait_for(ws.recv(), 0.5 * SLOW)))
                except asyncio.TimeoutError:
                    return heard
        return asyncio.run(talk())

    def test_silence_makes_suspect_and_a_receipt_mends_it(self):
        phone = self.stack.start_phone("quiet-1", "quiet-1", habit="silent")
        call = self.call("quiet-1")
        self.event(call, "receipt_overdue")
        device = self.wait_health("quiet-1", "suspect")
        self.assertIn("no receipt came in time; the next receipt mends it", device["health_reason"])
        [row] = self.rows("quiet-1", "silent")
        self.call("quiet-1")
        self.rows("quiet-1", "silent", 2)
        wait_for(lambda: "2 pushes in a row" in self.stack.get("/v1/devices/quiet-1").json["health_reason"])
        phone.stop()
        phone = self.stack.start_phone("quiet-1", "quiet-1", push_token=phone.ready["push_token"])
        self.assertEqual(self.stack.get("/v1/devices/quiet-1").json["health"], "suspect")  # a registration is no receipt
        self.call("quiet-1")
        self.assertEqual(self.wait_health("quiet-1", "ok")["health_reason"], "")
        phone.stop()

    def block(self, device):
        phone = self.stack.start_phone(device, device, habit="confesses", block_after=2, answer_ms=50)
        for i in range(2):
            self.call(device)
            phone.wait_event("killed", count=i + 1)
            self.rows(device, "violated", i + 1)
        reason = self.wait_health(device, "suspect")["health_reason"]
        self.assertIn("2 of the latest 16 pushes were not reported", reason)
        for i in range(2):
            self.call(device)
            phone.wait_event("not_launched", count=i + 1)
            self.rows(device, "silent", i + 1)
        self.assertIn("iOS very probably does not launch the app", self.wait_health(device, "blocked")["health_reason"])
        return phone

    def test_a_blocked_phone_gets_alerts_only_until_it_has_a_new_token(self):
        phone = self.block("quiet-2")
        call = self.call("quiet-2")
        alert = phone.wait_event("alert")
        self.assertEqual(self.stack.call(call)["devices"][0]["delivery"], "alert")
        [push] = wait_for(lambda: self.pushes(call))
        self.assertEqual((push["push_type"], push["topic"], push["priority"]),
                         ("alert", "com.example.vcs", "10"))
        self.assertEqual(int(push["expiration"]), push["payload"]["wakegate"]["expires_at"] // 1000)
        aps = push["payload"]["aps"]
        self.assertEqual((aps["alert"]["title"], bool(aps["sound"])), ("Ward 3", True))
        self.assertEqual(alert["call"], call)
        self.rows("quiet-2", "silent", 3)
        self.assertEqual(self.rows("quiet-2")[0]["type"], "alert")
        self.assertEqual(len(self.pushes(call)), 1)
        secret = self.stack.put("/v1/devices/quiet-2", {"rotate_secret": True}).json["device_secret"]
        [told] = [m for m in self.attach("quiet-2", secret) if m["type"] == "error"]
        self.assertEqual(told["code"], "pushes_blocked")
        token = phone.ready["push_token"]
        self.assertEqual(self.stack.put("/v1/devices/quiet-2", {"token": token}).json["health"], "blocked")
        self.assertEqual(self.stack.put("/v1/devices/quiet-2", {"token": "ab" * 32}).json["health"], "ok")
        phone.stop()

    def test_a_visible_alert_once_and_a_tap_answers(self):
        phone = self.stack.start_phone("alert-1", "alert-1", habit="silent")
        call = self.call("alert-1")
        self.stack.wait_state(call, "ended")
        self.assertEqual([p["push_type"] for p in self.pushes(call)], ["voip", "alert"])
        self.assertEqual(self.event(call, "second_path")["path"], "alert")
        phone.stop()
        taps = "cd" * 32  # notifications go to a phone that is awake, VoIP pushes to one that is silent
        phone = self.stack.start_phone("alert-3", "alert-3", push_token=taps, tap_ms=50, answer_ms=50)
        sleeper = self.stack.start_phone("alert-2", "alert-2", habit="silent")
        self.stack.put("/v1/devices/alert-2", {"alert_token": taps})
        call = self.call("alert-2")
        self.assertEqual(phone.wait_event("alert")["call"], call)
        self.assertEqual(phone.wait_event("tapped")["call"], call)
        for program in (phone, sleeper):
            program.stop()

    def test_a_phone_that_answers_needs_no_second_path(self):
        phone = self.stack.start_phone("alert-4", "alert-4", answer_ms=1500 * SLOW)
        call = self.call("alert-4")
        self.stack.wait_state(call, "answered")
        self.assertEqual(len(self.pushes(call)), 1)
        phone.stop()

    def test_an_event_says_that_a_phone_is_not_heard_of(self):
        phone = self.stack.start_phone("event-1", "event-1", habit="silent")
        listener = Listener(self.stack, "?types=push.unheard").wait_live()
        call = self.call("event-1")
        self.assertEqual((self.event(call, "second_path")["path"], self.event(call, "second_path")["device"]), ("event", "event-1"))
        event = listener.wait(lambda heard: next((e for _, _, e in heard if e["data"]["call"] == call), None))
        validate(component("Event"), event)
        self.assertEqual((event["type"], event["data"]["device"], event["data"]["second_path"]), ("push.unheard", "event-1", "event"))
        self.assertIn('wakegate_second_paths_total{path="event"}', self.stack.get("/metrics").text)
        self.stack.wait_state(call, "ended")
        self.assertEqual(len(self.pushes(call)), 1)
        phone.stop()

    def test_the_other_phones_ring_on(self):
        silent = self.stack.start_phone("others-1", "others-1", habit="silent")
        good = self.stack.start_phone("others-2", "others-1", habit="ignores")
        call = self.call("others-1")
        self.event(call, "second_path")
        legs = {d["device"]: d["state"] for d in self.stack.call(call)["devices"]}
        self.assertEqual(legs, {"others-1": "out", "others-2": "ringing"})
        for phone in (silent, good):
            phone.stop()

    def test_a_second_voip_push_has_the_same_call(self):
        phone = self.stack.start_phone("repeat-1", "repeat-1", habit="silent")
        call = self.call("repeat-1")
        self.stack.wait_state(call, "ended")
        sent = self.pushes(call)
        self.assertEqual([p["push_type"] for p in sent], ["voip", "voip"])
        self.assertEqual(len({p["payload"]["wakegate"]["push"] for p in sent}), 2)
        self.rows("repeat-1", "silent", 2)
        phone.stop()

    def test_who_is_on_a_call_is_busy_where_the_route_says_so(self):
        phone = self.stack.start_phone("engaged-1", "engaged-1", foreground=True, answer_ms=50)
        first = self.call("engaged-1")
        self.stack.wait_state(first, "answered")
        second = self.call("engaged-1")
        self.assertEqual(self.stack.wait_state(second, "ended")["reason"], "busy")
        self.assertEqual(phone.events("busy"), [])  # it was not asked
        self.assertEqual(self.stack.call(first)["state"], "answered")
        phone.stop()

    def test_a_cancelled_call_is_told_on_attach_and_by_get_and_by_no_push(self):
        self.stack.control("PUT", "/v1/delivery", {"delay_ms": 1500 * SLOW})
        self.addCleanup(self.stack.control, "PUT", "/v1/delivery", {"delay_ms": 0})
        phone = self.stack.start_phone("alert-5", "alert-5")
        call = self.call("alert-5")
        wait_for(lambda: self.pushes(call))
        self.stack.delete(f"/v1/calls/{call}")
        phone.wait_event("push")
        self.assertEqual(phone.wait_event("call_over")["reason"], "cancelled")
        self.assertEqual((self.stack.call(call)["state"], self.stack.call(call)["reason"]), ("ended", "cancelled"))
        self.assertEqual(len(self.pushes(call)), 1)
        phone.stop()


    def refuse(self, device, user):
        """A phone whose token APNs does not know any more."""
        token = uuid.uuid4().hex * 2
        self.assertEqual(self.stack.put(f"/v1/devices/{device}", {"user": user, "app": "vcs", "token": token}).status, 201)
        self.stack.control("POST", "/v1/answers", {"status": 410, "reason": "Unregistered", "token": token})

    def unheard(self, listener, call):
        return listener.wait(lambda heard: [(e["data"]["device"], e["data"]["second_path"]) for _, _, e in heard
                                            if e["data"]["call"] == call] or None)

    def test_a_call_server_is_told_at_once_of_a_phone_that_no_push_reaches(self):
        self.refuse("event-2", "event-2")
        listener = Listener(self.stack, "?types=push.unheard").wait_live()
        for pushes in (1, 0):  # the second time it is known, and not tried
            call = self.call("event-2")
            self.assertEqual(self.unheard(listener, call), [("event-2", "event")])
            self.assertEqual(self.stack.wait_state(call, "ended")["reason"], "unreachable")
            self.assertEqual(self.event(call, "second_path")["path"], "event")
            self.assertEqual(len(self.pushes(call)), pushes)
            self.wait_health("event-2", "invalid")

    def test_the_others_of_a_phone_that_no_push_reaches_ring_on(self):
        self.refuse("others-3", "others-3")
        good = self.stack.start_phone("others-4", "others-3", habit="ignores")
        listener = Listener(self.stack, "?types=push.unheard").wait_live()
        call = self.call("others-3")
        self.assertEqual(self.unheard(listener, call), [("others-3", "others")])
        legs = {d["device"]: d["state"] for d in self.stack.call(call)["devices"]}
        self.assertEqual((legs["others-3"], self.stack.call(call)["state"]), ("out", "ringing"))
        self.stack.delete(f"/v1/calls/{call}")
        good.stop()


class Restart(StackTest):
    """What is known of a phone's health does not end with the process."""

    def setUp(self):
        self.user = "restart-" + uuid.uuid4().hex[:8]
        token = uuid.uuid4().hex * 2
        self.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
        self.stack.put(f"/v1/devices/{self.user}", {"user": self.user, "app": "vcs", "token": token})

    def call(self, *types):
        """A call, for which APNs gets pushes of these types, and the ledger has no others."""
        call = self.stack.post("/v1/calls", {"callee": self.user}).json["id"]

        def sent():
            return sorted(r["push_type"] for r in self.stack.journal() if r["payload"]["wakegate"]["call"] == call)
        wait_for(lambda: sent() == sorted(types), 10, lambda: f"{sent()}, not {types}")
        wait_for(lambda: self.stack.call(call)["devices"][0]["push_state"] == "accepted")
        self.assertEqual(self.stack.delete(f"/v1/calls/{call}").status, 204)
        rows = self.stack.get(f"/v1/devices/{self.user}/pushes").json["pushes"]
        self.assertEqual(sorted(r["type"] for r in rows if r["call"] == call), sorted(types))

    def restart(self, *changes):
        self.stack.gateway.kill()
        with contextlib.closing(sqlite3.connect(self.stack.path("wakegate.db"))) as database:
            for change in changes:
                database.execute(change, (self.user,))
            database.commit()
        self.stack.gateway = self.stack.start_gateway()

    def health(self):
        return self.stack.get(f"/v1/devices/{self.user}").json["health"]

    def test_a_push_that_a_restart_cut_off_counts_for_its_phone(self):
        self.call("voip")
        self.assertEqual(self.health(), "ok")
        self.restart()
        wait_for(lambda: self.health() == "suspect", 10, self.stack.gateway.log)

    def test_a_blocked_phones_next_try_is_a_day_after_the_last_one_over_all_restarts(self):
        self.call("voip")
        self.restart(f"UPDATE devices SET health = {BLOCKED} WHERE id = ?")
        self.assertEqual(self.health(), "blocked")
        self.call("alert")
        self.restart(f"UPDATE pushes SET queued_ms = queued_ms - {23 * HOUR_MS} WHERE device = ?")
        self.call("alert")
        self.restart(f"UPDATE pushes SET queued_ms = queued_ms - {2 * HOUR_MS} WHERE device = ?")
        self.call("alert", "voip")
        self.call("alert")
        self.restart()
        self.assertEqual(self.health(), "blocked")
        self.call("alert")


class LateReceipts(StackTest):
    """After a restart, as after the minutes for which a call stays in memory, only the store knows of a push."""
    stack_options = {"edit": without_seal}

    def receipt(self, sent, bearer, **more):
        body = {"call": sent["call"], "push": sent["push"], "must_report": True, "reported": "callkit", **more}
        return self.stack.request("POST", "/v1/receipts", body, token=bearer)

    def wait_accepted(self, device):
        """By the row in the store: what the call says may not be there yet."""
        wait_for(lambda: [r["apns_status"] for r in self.stack.get(f"/v1/devices/{device}/pushes").json["pushes"]] == [200])

    def test_they_count_and_belong_to_their_device(self):
        secrets = {}
        for device in ("a", "b"):
            reply = self.stack.put(f"/v1/devices/late-{device}", {"user": "late-" + device, "app": "vcs", "token": ("0" + device) * 32})
            secrets[device] = reply.json["device_secret"]
            self.stack.control("PUT", "/v1/devices/" + ("0" + device) * 32, {"bundle_id": "com.example.vcs"})
        call = self.stack.post("/v1/calls", {"callee": "late-a"}).json["id"]
        push = wait_for(lambda: [r["payload"]["wakegate"] for r in self.stack.journal() if r["payload"]])[0]
        self.assertEqual(push["call"], call)
        self.wait_accepted("late-a")
        self.stack.gateway.kill()
        self.stack.gateway = self.stack.start_gateway()

        def row():
            return self.stack.get("/v1/devices/late-a/pushes").json["pushes"][0]
        self.assertEqual(row()["outcome"], "silent")
        for body, bearer in [({}, secrets["b"]), ({}, "wa_" + "x" * 43), ({"call": str(uuid.uuid4())}, secrets["a"]),
                             ({"push": str(uuid.uuid4())}, secrets["a"]), ({"push": "x"}, secrets["a"])]:
            self.problem(self.receipt(push, bearer, **body), 404, "not-found", "push")
        self.problem(self.receipt(push, None), 401, "unauthorized", "authorization")
        self.assertEqual(row()["outcome"], "silent")
        self.assertEqual(self.receipt(push, push["token"], reported=None, network="wifi").status, 204)
        first = row()
        self.assertEqual((first["must_report"], first["reported"], first["network"]), (True, "", "wifi"))
        self.assertEqual(self.receipt(push, secrets["a"]).status, 204)
        whole = row()
        self.assertEqual((whole["reported"], whole["receipt_at"]), ("callkit", first["receipt_at"]))
        self.assertEqual(self.receipt(push, secrets["a"], reported="none", must_report=False).status, 204)
        self.assertEqual(row(), whole)  # what was said first holds

    def test_they_count_over_the_connection_too(self):
        token = "0c" * 32
        secret = self.stack.put("/v1/devices/late-c", {"user": "late-c", "app": "vcs", "token": token}).json["device_secret"]
        self.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
        call = self.stack.post("/v1/calls", {"callee": "late-c"}).json
        self.wait_accepted("late-c")
        self.stack.gateway.kill()
        self.stack.gateway = self.stack.start_gateway()

        async def talk():
            async with websockets.connect(f"ws://127.0.0.1:{self.stack.api_port}/v1/attach", subprotocols=["wakegate.v1"]) as ws:
                await ws.send(json.dumps({"type": "hello", "device": "late-c", "secret": secret}))
                for push in (str(uuid.uuid4()), call["devices"][0]["apns_id"]):
                    await ws.send(json.dumps({"type": "receipt", "call": call["id"], "push": push, "must_report": False}))
                await ws.recv()
                return json.loads(await ws.recv())
        self.assertEqual(asyncio.run(talk())["code"], "unknown_call")  # of the first one
        wait_for(lambda: self.stack.get("/v1/devices/late-c/pushes").json["pushes"][0]["must_report"] is False)


if __name__ == "__main__":
    unittest.main()
