# SPDX-License-Identifier: Apache-2.0
"""The REST contract of design.md, from outside."""
import hashlib
import json
import re
import socket
import threading
import time
import unittest
import uuid

from harness import Stack, StackTest, wait_for

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
PUSH_TOKEN = "ab" * 32


def device(user, **more):
    return {"user": user, "app": "vcs", "token": PUSH_TOKEN, "handoff": ["dtls"], **more}


def second_token(text):
    """Two more tokens: one of another tenant, one that may only register devices."""
    other = hashlib.sha256(b"other").hexdigest()
    devices = hashlib.sha256(b"devices-only").hexdigest()
    lines = (f'    - {{name: other, sha256: "{other}", scopes: [calls, devices], tenant: elsewhere}}\n'
             f'    - {{name: registrar, sha256: "{devices}", scopes: [devices]}}\n')
    routes = ('routes:\n  - {name: blocked, match: {callee: "blocked-*"}, reject: {status: 403, detail: "not today"}}\n'
              '  - {name: tenantless, match: {callee: "only-default-*", tenant: default}, app: vcs, handoff: [dtls]}\n')
    return text.replace("apps:\n", lines + "apps:\n", 1).replace("routes:\n", routes, 1)


class Devices(StackTest):
    stack_options = {"edit": second_token}

    def test_a_device_is_made_changed_listed_and_deleted(self):
        s = self.stack
        made = s.put("/v1/devices/d-1", device("u-1", os_version="26.4", app_version="2.0", ui="lck"))
        self.assertEqual(made.status, 201, made)
        self.assertGreater(len(made.json["device_secret"]), 32)
        self.assertEqual(made.json["health"], "ok")
        self.assertRegex(made.json["created_at"], TIME)
        self.assertNotIn("token", made.json)
        again = s.put("/v1/devices/d-1", {"app_version": "2.1"})  # what it does not say stays
        self.assertEqual(again.status, 200)
        self.assertNotIn("device_secret", again.json)
        self.assertEqual((again.json["app_version"], again.json["os_version"], again.json["ui"]), ("2.1", "26.4", "lck"))
        rotated = s.put("/v1/devices/d-1", device("u-1", rotate_secret=True))
        self.assertNotEqual(rotated.json["device_secret"], made.json["device_secret"])
        self.assertEqual(s.get("/v1/devices/d-1").json["user"], "u-1")
        self.assertIn("d-1", [d["device"] for d in s.get("/v1/devices").json["devices"]])
        self.assertEqual(s.delete("/v1/devices/d-1").status, 204)
        self.problem(s.get("/v1/devices/d-1"), 404, "not-found")
        self.problem(s.delete("/v1/devices/d-1"), 404, "not-found")

    def test_rfc_8599_names_are_taken(self):
        body = {"user": "u-8599", "pn_provider": "apns", "pn_param": "ABCDE12345.com.example.vcs.voip",
                "pn_prid": PUSH_TOKEN + ":voip", "handoff": ["dtls"]}
        made = self.stack.put("/v1/devices/d-8599", body)
        self.assertEqual((made.status, made.json["app"]), (201, "vcs"), made)
        for param in ["com.example.vcs", "com.example.vcs.voip", "ABCDE12345.com.example.vcs", "com.example.vcs.voip&remote"]:
            self.assertEqual(self.stack.put("/v1/devices/d-8599", {**body, "pn_param": param}).status, 200, param)
        for param in ["com.example.vcs2.voip", "my.com.example.vcs", "OTHERTEAM1.com.example.vcs", "voip"]:
            made = self.stack.put("/v1/devices/d-8599b", {**body, "pn_param": param})
            self.problem(made, 422, "bad-field", "pn_param")
        for change, field in [({"pn_provider": None}, "pn_provider"), ({"pn_prid": None}, "pn_provider"),
                              ({"pn_param": None}, "pn_provider"), ({"pn_provider": "fcm"}, "pn_provider"),
                              ({"pn_provider": 7}, "pn_provider"), ({"pn_param": 7}, "pn_param"), ({"pn_prid": []}, "pn_prid"),
                              ({"pn_param": ""}, "pn_param"), ({"pn_param": "x" * 513}, "pn_param"),
                              ({"pn_prid": "xyz:voip"}, "token"), ({"pn_prid": ":voip"}, "token"), ({"pn_prid": "abc"}, "token"),
                              ({"pn_prid": "ab" * 300}, "pn_prid")]:
            with self.subTest(change=change):
                self.problem(self.stack.put("/v1/devices/d-8599b", {**body, **change}), 422, "bad-field", field)
        self.problem(self.stack.get("/v1/devices/d-8599b"), 404, "not-found")  # none of these registered anything

    def test_bad_fields_are_named(self):
        good = device("u-2")
        for field, value in [("token", "xyz"), ("token", ""), ("token", "abc"), ("user", ""), ("app", "nope"),
                             ("environment", "staging"), ("ui", "sms"), ("handoff", []), ("handoff", ["morse"]),
                             ("handoff", "dtls"), ("sealing_key", "short"), ("rotate_secret", "yes"),
                             ("os_version", "1" * 40), ("user", 7)]:
            with self.subTest(field=field, value=value):
                self.problem(self.stack.put("/v1/devices/d-2", {**good, field: value}), 422, "bad-field", field)
        self.problem(self.stack.put("/v1/devices/d-2", {"user": "u-2", "app": "vcs"}), 422, "bad-field", "token")

    def test_the_list_comes_in_pages(self):
        for i in range(7):
            self.stack.put(f"/v1/devices/page-{i}", device("u-page"))
        seen, cursor = [], ""
        for _ in range(50):
            page = self.stack.get(f"/v1/devices?limit=3&cursor={cursor}").json
            seen += [d["device"] for d in page["devices"]]
            cursor = page["next_cursor"]
            if not cursor:
                break
        self.assertEqual(sorted(set(seen)), sorted(seen))
        self.assertTrue(set(f"page-{i}" for i in range(7)) <= set(seen))
        self.problem(self.stack.get("/v1/devices?limit=0"), 400, "bad-field", "limit")

    def test_one_tenant_never_sees_another(self):
        s = self.stack
        s.put("/v1/devices/d-t", device("u-t"))
        self.problem(s.get("/v1/devices/d-t", token="other"), 404, "not-found")
        self.assertEqual(s.get("/v1/devices", token="other").json["devices"], [])
        call = s.post("/v1/calls", {"callee": "u-t"}).json
        self.problem(s.get(f"/v1/calls/{call['id']}", token="other"), 404, "not-found")
        self.problem(s.delete(f"/v1/calls/{call['id']}", token="other"), 404, "not-found")
        self.assertEqual(s.get("/v1/calls", token="other").json["calls"], [])
        self.problem(s.post("/v1/calls", {"callee": "u-t", "tenant": "default"}, token="other"), 403, "forbidden", "tenant")

    def test_tokens_and_scopes_are_held(self):
        s = self.stack
        self.problem(s.get("/v1/devices", token=None), 401, "unauthorized", "authorization")
        self.problem(s.get("/v1/devices", token="wrong"), 401, "unauthorized", "authorization")
        self.assertEqual(s.get("/v1/devices", token=None).headers["www-authenticate"], "Bearer")
        self.problem(s.get("/v1/calls", token="devices-only"), 403, "forbidden", "authorization")
        self.assertEqual(s.get("/v1/devices", token="devices-only").status, 200)
        self.problem(s.get("/v1/devices", token=None, headers={"Authorization": "Basic abc"}), 401, "unauthorized",
                     "authorization")


class Calls(StackTest):
    stack_options = {"edit": second_token}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.control("PUT", f"/v1/devices/{PUSH_TOKEN}", {"bundle_id": "com.example.vcs"})
        cls.stack.put("/v1/devices/c-1", device("callee-1"))

    def place(self, **more):
        headers = {"Idempotency-Key": more.pop("key")} if "key" in more else None
        body = {"callee": "callee-1", "caller": {"handle": "+15550100", "name": "Ward 3"}, **more}
        return self.stack.post("/v1/calls", body, headers=headers)

    def pushes(self, call):
        return [r for r in self.stack.journal() if (r["payload"] or {}).get("wakegate", {}).get("call") == call]

    def test_a_call_rings_by_the_push_of_the_design(self):
        made = self.place(video=True, data={"ward": 3})
        self.assertEqual(made.status, 201, made)
        call = made.json
        self.assertEqual(made.headers["location"], f"/v1/calls/{call['id']}")
        self.assertEqual(str(uuid.UUID(call["id"])), call["id"])
        self.assertEqual(call["state"], "ringing")
        self.assertIsNone(call["answer"])
        self.assertRegex(call["created_at"], TIME)
        self.assertRegex(call["expires_at"], TIME)
        [leg] = call["devices"]
        self.assertEqual((leg["device"], leg["delivery"], leg["push_state"]), ("c-1", "push", "queued"))
        self.stack.wait_state(call["id"], "ringing")
        push = self.wait_push(call["id"])
        self.assertEqual(push["apns_id"], leg["apns_id"])
        self.assertEqual((push["status"], push["push_type"], push["topic"], push["priority"], push["expiration"]),
                         (200, "voip", "com.example.vcs.voip", "10", "0"))
        payload, w = push["payload"], push["payload"]["wakegate"]
        self.assertEqual(payload["aps"], {})
        self.assertEqual(payload["data"], {"ward": 3})
        self.assertEqual((w["v"], w["video"], w["caller"]), (1, True, {"handle": "+15550100", "name": "Ward 3"}))
        self.assertEqual(w["push"], leg["apns_id"])
        self.assertTrue(39000 < w["expires_at"] - w["sent_at"] <= 40000, w)
        self.assertEqual(w["attach"], f"ws://127.0.0.1:{self.stack.api_port}/v1/attach")
        self.assertGreater(len(w["token"]), 32)
        self.assertEqual(self.stack.delete(f"/v1/calls/{call['id']}").status, 204)
        over = self.stack.call(call["id"])
        self.assertEqual((over["state"], over["reason"]), ("ended", "cancelled"))
        self.assertEqual(len(self.pushes(call["id"])), 1)  # never a cancel by push

    def wait_push(self, call):
        return wait_for(lambda: self.pushes(call))[0]

    def test_names_never_break_the_payload(self):
        for raw in [b'"a\\"b\\\\c"', b'"tab\\tnew\\nline"', b'"\\u0000\\u001f"', b'"\xff\xfe bad utf-8"', b'"\\ud83d half"',
                    '"Grüße \U0001F600"'.encode(), b'"' + b"n" * 1000 + b'"', b'"\x7f\xc2\x85"']:
            with self.subTest(raw=raw):
                body = b'{"callee":"callee-1","caller":{"name":' + raw + b'}}'
                made = self.stack.post("/v1/calls", body)
                self.assertEqual(made.status, 201, made)
                push = self.wait_push(made.json["id"])
                self.assertEqual(push["status"], 200)
                name = push["payload"]["wakegate"]["caller"]["name"]
                self.assertFalse([c for c in name if ord(c) < 32 or ord(c) == 127])
                self.stack.delete(f"/v1/calls/{made.json['id']}")

    def test_one_idempotency_key_one_call(self):
        first, again = self.place(key="k-1"), self.place(key="k-1")
        self.assertEqual((first.status, again.status), (201, 201))
        self.assertEqual(first.text, again.text)
        self.assertEqual(first.headers["location"], again.headers["location"])
        self.problem(self.place(key="k-1", video=True), 409, "idempotency-conflict", "idempotency-key")
        self.wait_push(first.json["id"])
        self.assertEqual(len(self.pushes(first.json["id"])), 1)
        self.problem(self.place(key="k" * 300), 400, "bad-field", "idempotency-key")

    def test_the_same_key_at_the_same_time_makes_one_call(self):
        replies = []
        threads = [threading.Thread(target=lambda: replies.append(self.place(key="k-race"))) for _ in range(20)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual({r.status for r in replies}, {201})
        self.assertEqual(len({r.json["id"] for r in replies}), 1)
        self.wait_push(replies[0].json["id"])
        self.assertEqual(len(self.pushes(replies[0].json["id"])), 1)

    def test_a_refused_call_leaves_its_key_free(self):
        self.problem(self.place(key="k-2", callee="nobody"), 404, "no-device", "callee")
        self.assertEqual(self.place(key="k-2").status, 201)

    def test_bad_requests_are_named(self):
        for field, value in [("callee", ""), ("callee", 7), ("callee", "c" * 200), ("caller", "Ward 3"), ("video", "no"),
                             ("ring_timeout_s", 0), ("ring_timeout_s", 56), ("ring_timeout_s", "5"), ("data", [1]),
                             ("offer", {}), ("data", {"big": "x" * 3000})]:
            with self.subTest(field=field, value=str(value)[:20]):
                self.problem(self.place(**{field: value}), 422, "bad-field", field)
        self.problem(self.place(caller={"name": 5}), 422, "bad-field", "caller.name")
        self.problem(self.stack.post("/v1/calls", {}), 422, "bad-field", "callee")
        self.problem(self.place(offer="v=0\r\ns=-\r\n"), 422, "bad-offer", "offer")
        detail = self.problem(self.place(offer="v=0\r\nrubbish\r\n"), 422, "bad-offer", "offer")
        self.assertIn("line 2", detail)

    def test_bad_bodies_are_told_from_each_other(self):
        s = self.stack
        self.problem(s.post("/v1/calls", b'{"callee":'), 400, "bad-json")
        self.problem(s.post("/v1/calls", b'[]'), 400, "bad-json")
        self.problem(s.post("/v1/calls", b'{"callee":"a","callee":"b"}'), 400, "bad-json", "callee")
        self.problem(s.post("/v1/calls", b"[" * 100000), 400, "bad-json")
        self.problem(s.post("/v1/calls", b"callee=x", headers={"Content-Type": "text/plain"}), 415,
                     "unsupported-media-type", "content-type")
        self.problem(s.post("/v1/calls", b" " * 200000), 413, "refused")
        self.problem(s.request("PATCH", "/v1/calls", {}), 405, "method-not-allowed")
        self.assertIn("POST", s.request("OPTIONS", "/v1/calls").headers["allow"])
        self.problem(s.get("/v1/nothing"), 404, "not-found")

    def test_requests_that_are_not_http_do_no_harm(self):
        for raw in [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 9000 + b"\r\n\r\n",
                    b"POST /v1/calls HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
                    b"POST /v1/calls HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n{}",
                    b"POST /v1/calls HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                    b"GET /%00%ff/../../etc HTTP/1.1\r\nHost: x\r\n\r\n"]:
            with self.subTest(raw=raw[:30]), socket.create_connection(("127.0.0.1", self.stack.api_port), 5) as c:
                c.sendall(raw)
                c.settimeout(0.3)
                try:
                    c.recv(4096)
                except OSError:
                    pass
        self.assertEqual(self.stack.get("/healthz").status, 200)

    def test_routes_are_taken_in_order(self):
        detail = self.problem(self.place(callee="blocked-1"), 403, "rejected", "callee")
        self.assertEqual(detail, "not today")
        self.stack.put("/v1/devices/r-1", device("only-default-1"))
        self.assertEqual(self.place(callee="only-default-1").json["route"], "tenantless")
        self.assertEqual(self.place().json["route"], "everybody")

    def test_calls_are_listed_newest_first_in_pages(self):
        self.stack.put("/v1/devices/l-1", device("listed"))
        ids = []
        for _ in range(5):
            ids.append(self.place(callee="listed").json["id"])
            time.sleep(0.002)  # the order is by milliseconds
        self.stack.delete(f"/v1/calls/{ids[0]}")
        seen, cursor = [], ""
        while cursor is not None:
            page = self.stack.get(f"/v1/calls?callee=listed&limit=2&cursor={cursor}").json
            seen += [c["id"] for c in page["calls"]]
            cursor = page["next_cursor"]
        self.assertEqual(seen, ids[::-1])
        self.assertIsNone(self.stack.get("/v1/calls?callee=listed&limit=5").json["next_cursor"])  # exactly full
        self.assertEqual([c["id"] for c in self.stack.get("/v1/calls?callee=listed&state=ended").json["calls"]], ids[:1])
        self.assertEqual(len(self.stack.get("/v1/calls?callee=listed&state=ringing").json["calls"]), 4)
        for query, field in [("state=odd", "state"), ("limit=1000", "limit"), ("limit=x", "limit"), ("cursor=x", "cursor")]:
            self.problem(self.stack.get(f"/v1/calls?{query}"), 400, "bad-field", field)

    def test_an_unknown_call_is_404(self):
        for path in ["", "/timeline"]:
            self.problem(self.stack.get(f"/v1/calls/{uuid.uuid4()}{path}"), 404, "not-found")
        self.problem(self.stack.get(f"/v1/calls/{self.place().json['id']}x"), 404, "not-found")
        self.problem(self.stack.delete(f"/v1/calls/{uuid.uuid4()}"), 404, "not-found")

    def test_a_ring_ends_by_itself(self):
        call = self.place(ring_timeout_s=1).json
        over = self.stack.wait_state(call["id"], "ended")
        self.assertEqual(over["reason"], "no_answer")
        self.assertEqual(self.stack.timeline(call["id"])[-1]["reason"], "no_answer")
        [leg] = self.stack.call(call["id"])["devices"]
        self.assertEqual(leg["outcome"], "silent")

    def test_the_timeline_is_in_order(self):
        call = self.place().json
        self.wait_push(call["id"])
        self.stack.delete(f"/v1/calls/{call['id']}")
        events = self.stack.timeline(call["id"])
        names = [e["event"] for e in events]
        self.assertEqual([n for n in names if n in ("request", "push_queued", "push_written", "push_accepted", "ended")],
                         ["request", "push_queued", "push_written", "push_accepted", "ended"])
        self.assertEqual([e["offset_us"] for e in events], sorted(e["offset_us"] for e in events))
        self.assertTrue(all(TIME.match(e["at"]) for e in events))


class Push(StackTest):
    """What APNs answers, as the call server sees it."""

    def place(self, user):
        self.stack.put(f"/v1/devices/{user}-phone", device(user, token=hashlib.sha256(user.encode()).hexdigest()))
        return self.stack.post("/v1/calls", {"callee": user}).json["id"]

    def test_a_dead_token_makes_the_device_invalid_until_it_registers_again(self):
        token = hashlib.sha256(b"gone").hexdigest()
        self.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs", "state": "unregistered"})
        # The registration must be older than the token's death, or it would count as a new one.
        self.stack.put("/v1/devices/gone-phone", device("gone", token=token))
        self.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs", "state": "unregistered"})
        call = self.stack.post("/v1/calls", {"callee": "gone"}).json["id"]
        over = self.stack.wait_state(call, "ended")
        self.assertEqual(over["reason"], "unreachable")
        [leg] = over["devices"]
        self.assertEqual((leg["push_state"], leg["apns_status"], leg["apns_reason"]), ("rejected", 410, "Unregistered"))
        self.assertEqual(self.stack.get("/v1/devices/gone-phone").json["health"], "invalid")
        before = len(self.stack.journal())
        over = self.stack.wait_state(self.stack.post("/v1/calls", {"callee": "gone"}).json["id"], "ended")
        self.assertEqual(over["reason"], "unreachable")
        self.assertEqual(len(self.stack.journal()), before)  # a dead token is not pushed to again
        self.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
        self.assertEqual(self.stack.put("/v1/devices/gone-phone", device("gone", token=token)).json["health"], "ok")
        call = self.stack.post("/v1/calls", {"callee": "gone"}).json["id"]
        self.assertEqual(self.stack.wait_state(call, "ringing")["state"], "ringing")

    def test_every_refusal_of_apns_ends_the_call_as_unreachable(self):
        for status, reason in [(400, "DeviceTokenNotForTopic"), (403, "InvalidProviderToken"), (429, "TooManyRequests"),
                               (413, "PayloadTooLarge")]:
            with self.subTest(reason=reason):
                self.stack.control("POST", "/v1/answers", {"status": status, "reason": reason})
                over = self.stack.wait_state(self.place("refused-" + reason.lower()), "ended")
                self.assertEqual(over["reason"], "unreachable")
                self.assertEqual(over["devices"][0]["apns_reason"], reason)

    def test_a_device_of_the_other_environment_is_told_apart(self):
        self.stack.put("/v1/devices/sandboxed", device("sandboxed", environment="sandbox"))
        over = self.stack.wait_state(self.stack.post("/v1/calls", {"callee": "sandboxed"}).json["id"], "ended")
        self.assertEqual((over["reason"], over["devices"][0]["push_state"]), ("unreachable", "failed"))
        self.assertIn("no APNs credential for the sandbox environment", over["devices"][0]["apns_reason"])

    def test_a_server_error_is_tried_once_more(self):
        token = hashlib.sha256(b"twice").hexdigest()
        self.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
        self.stack.control("POST", "/v1/answers", {"status": 500, "reason": "InternalServerError", "token": token})
        call = self.place("twice")
        leg = wait_for(lambda: next((d for d in self.stack.call(call)["devices"] if d["push_state"] == "accepted"), None))
        self.assertEqual(leg["apns_status"], 200)
        tries = [r for r in self.stack.journal() if r["token"] == token]
        self.assertEqual([r["status"] for r in tries], [500, 200])
        self.assertEqual(len({r["apns_id"] for r in tries}), 1)
        self.assertEqual(len({json.dumps(r["payload"]) for r in tries}), 1)


class System(StackTest):
    def test_health_readiness_metrics_and_description(self):
        s = self.stack
        self.assertEqual(s.get("/healthz", token=None).json["status"], "ok")
        ready = s.get("/readyz", token=None).json
        self.assertEqual((ready["status"], ready["apns"]), ("ready", {"vcs": "connected"}))
        text = s.get("/metrics", token=None)
        self.assertTrue(text.headers["content-type"].startswith("text/plain"))
        self.assertIn("# TYPE wakegate_http_requests_total counter", text.text)
        self.assertTrue(s.get("/v1/openapi.yaml", token=None).text.startswith("openapi: 3.1"))
        self.assertEqual(s.request("HEAD", "/healthz").text, "")

    def test_readiness_follows_the_push_service(self):
        with_sim = Stack()
        try:
            with_sim.sim.stop()
            wait_for(lambda: with_sim.get("/readyz", token=None).status == 503)
            self.assertEqual(with_sim.get("/readyz", token=None).json["apns"], {"vcs": "not connected"})
            self.assertEqual(with_sim.get("/healthz", token=None).status, 200)
            with_sim.sim = with_sim.start_sim()
            wait_for(lambda: with_sim.get("/readyz", token=None).status == 200, 20)
        finally:
            with_sim.close()


if __name__ == "__main__":
    unittest.main()
