# SPDX-License-Identifier: Apache-2.0
"""The API's edges: rates of tokens, pages of other origins, preconditions, bodies, filters and pages, a call for its phone."""
import asyncio
import concurrent.futures
import hashlib
import http.client
import json
import re
import time
import unittest
import uuid

import websockets

from harness import SLOW, StackTest, wait_for


def token_line(name, more):
    return f"    - {{name: {name}, sha256: {hashlib.sha256(name.encode()).hexdigest()}, scopes: [calls, devices], {more}}}\n"


class Edges(StackTest):
    def setUp(self):
        self.user = "u-" + uuid.uuid4().hex[:8]

    def register(self, device=None, user=None, **more):
        device = device or self.user + "-phone"
        token = hashlib.sha256(device.encode()).hexdigest()
        self.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
        reply = self.stack.put(f"/v1/devices/{device}", {"user": user or self.user, "app": "vcs", "token": token, **more})
        self.assertEqual(reply.status, 201, reply)
        return reply.json["device_secret"]

    def push(self, call, device):
        """Of this device's push token."""
        token = hashlib.sha256(device.encode()).hexdigest()
        return wait_for(lambda: [r["payload"]["wakegate"] for r in self.stack.journal()
                                 if r.get("token", r.get("device")) == token and (r["payload"] or {})["wakegate"]["call"] == call])[0]

    def metric(self, name):
        found = re.search(rf"^{re.escape(name)} (\d+)$", self.stack.get("/metrics", token=None).text, re.M)
        return int(found[1]) if found else 0


class Rates(Edges):
    @staticmethod
    def edit(text):
        text = text.replace("apps:\n", token_line("slow", "rate: {per_s: 1, burst: 5}") + token_line("other", "rate: {per_s: 1, burst: 5}")
                            + token_line("without-scope", "rate: {per_s: 1, burst: 5}")
                            + token_line("free", "rate: {per_s: 0}") + "apps:\n", 1)
        return text.replace("auth:\n", "auth:\n  rate: {per_s: 1000, burst: 2000}\n  phone_rate: {per_s: 1, burst: 6}\n"
                                       "  unknown_rate: {per_s: 1, burst: 7}\n", 1)

    stack_options = {"edit": edit.__func__}

    def until_429(self, most, ask):
        """How many went well before a 429; of these, each is as the first. Another test may have spent something before."""
        first = wait_for(lambda: next((r for r in [ask()] if r.status != 429), None))
        for n in range(1, most):
            reply = ask()
            if reply.status == 429:
                self.problem(reply, 429, "too-many-requests", "authorization")
                self.assertEqual(reply.headers["retry-after"], "1")
                return n, first
            self.assertEqual(reply.status, first.status)
        self.fail(f"no 429 in {most}: {reply}")

    def test_a_token_has_its_burst_and_comes_back_with_time(self):
        before = self.metric('wakegate_http_over_rate_total{who="token"}')
        n, first = self.until_429(200, lambda: self.stack.get("/v1/calls?limit=1", token="slow"))
        self.assertGreaterEqual(n, 5)  # no other test uses this token
        self.assertEqual(first.status, 200)
        self.assertEqual(self.metric('wakegate_http_over_rate_total{who="token"}'), before + 1)
        self.assertEqual(self.stack.get("/v1/calls?limit=1", token="other").status, 200)  # each has its own
        wait_for(lambda: self.stack.get("/v1/calls?limit=1", token="slow").status == 200)

    def test_a_request_without_the_scope_counts_too(self):
        n, first = self.until_429(200, lambda: self.stack.get("/v1/webhooks/dead-letters", token="without-scope"))
        self.assertEqual(first.status, 403)
        self.assertGreaterEqual(n, 5)

    def test_a_rate_of_zero_is_no_limit(self):
        until = time.monotonic() + 1
        asked = 0
        while asked < 100 or time.monotonic() < until:
            self.assertEqual(self.stack.get("/v1/calls?limit=1", token="free").status, 200)
            asked += 1

    def test_unknown_tokens_are_held_up_and_good_ones_never(self):
        _, first = self.until_429(500, lambda: self.stack.get("/v1/calls", token="wg_" + uuid.uuid4().hex))
        self.assertEqual(first.status, 401)
        before = self.metric('wakegate_http_over_rate_total{who="unknown"}')
        self.assertGreater(before, 0)
        for _ in range(50):  # between each two guesses from the same address, a good one
            self.assertIn(self.stack.get("/v1/calls", token="wg_" + uuid.uuid4().hex).status, (401, 429))
            self.assertEqual(self.stack.get("/v1/calls?limit=1").status, 200)
        self.assertEqual(self.stack.get("/v1/calls", token=None).status, 401)  # no token is no guess
        wait_for(lambda: self.stack.get("/v1/calls", token="wg_wrong").status == 401)  # it comes back

    def test_guesses_of_receipts_and_calls_are_held_up_and_the_phone_is_not(self):
        device = self.user + "-phone"
        secret = self.register()
        call = self.stack.post("/v1/calls", {"callee": self.user}).json["id"]
        push = self.push(call, device)
        receipt = {"call": call, "push": push["push"], "must_report": True}
        for ask in [lambda: self.stack.post("/v1/receipts", receipt, token="wd_" + uuid.uuid4().hex),
                    lambda: self.stack.post("/v1/receipts", {"call": str(uuid.uuid4()), "push": str(uuid.uuid4())},
                                            token="wd_" + uuid.uuid4().hex),
                    lambda: self.stack.get(f"/v1/calls/{call}", token="wa_" + uuid.uuid4().hex),
                    lambda: self.stack.get(f"/v1/calls/{uuid.uuid4()}", token="wa_" + uuid.uuid4().hex)]:
            self.until_429(500, ask)
        self.assertEqual(self.stack.post("/v1/receipts", receipt, token=secret).status, 204)
        self.assertEqual(self.stack.post("/v1/receipts", receipt, token=push["token"]).status, 204)
        other = self.stack.post("/v1/receipts", {**receipt, "push": str(uuid.uuid4())}, token=secret)
        self.problem(other, 404, "not-found", "push")  # a known phone's mistake is no guess
        self.assertEqual(self.stack.get(f"/v1/calls/{call}", token=secret).status, 200)

    def test_a_phone_has_its_own_rate(self):
        device = self.user + "-phone"
        secret, other = self.register(), self.register(self.user + "-other")
        call = self.stack.post("/v1/calls", {"callee": self.user}).json["id"]
        receipt = {"call": call, "push": self.push(call, device)["push"], "must_report": True}
        n, first = self.until_429(200, lambda: self.stack.post("/v1/receipts", receipt, token=secret))
        self.assertGreaterEqual(n, 6)
        self.assertEqual(first.status, 204)
        self.assertEqual(self.stack.get(f"/v1/calls/{call}", token=other).status, 200)
        self.assertGreater(self.metric('wakegate_http_over_rate_total{who="phone"}'), 0)

    def attach(self, **hello):
        """The close code, or the first message's type."""
        async def talk():
            url = f"ws://127.0.0.1:{self.stack.api_port}/v1/attach"
            async with websockets.connect(url, subprotocols=["wakegate.v1"]) as ws:
                await ws.send(json.dumps({"type": "hello", **hello}))
                first = json.loads(await asyncio.wait_for(ws.recv(), 10 * SLOW))
                if first["type"] == "welcome":
                    return "welcome"
                await asyncio.wait_for(ws.wait_closed(), 10 * SLOW)
                return ws.close_code
        return asyncio.run(talk())

    def test_connections_are_counted_too(self):
        secret = self.register()
        hello = {"device": self.user + "-phone", "secret": secret}
        codes = []
        while 4429 not in codes and len(codes) < 500:
            codes.append(self.attach(device=self.user + "-phone", secret="wd_wrong"))
        self.assertEqual(set(codes), {4401, 4429} if len(codes) > 1 else {4429})
        self.assertEqual(self.attach(**hello), "welcome")  # from the same address
        codes = []
        while 4429 not in codes and len(codes) < 200:
            codes.append(self.attach(**hello))
        self.assertEqual(codes[-1], 4429)
        self.assertEqual(set(codes[:-1]), {"welcome"})
        wait_for(lambda: self.attach(**hello) == "welcome")


class Cors(Edges):
    PAGE = "https://console.example.com"

    @staticmethod
    def edit(text):
        return text.replace("listen:\n", 'listen:\n  cors_origins: ["https://console.example.com", "http://localhost:3000"]\n', 1)

    stack_options = {"edit": edit.__func__}

    def readable(self, reply, origin=PAGE):
        self.assertEqual(reply.headers.get("access-control-allow-origin"), origin, reply)
        self.assertEqual(reply.headers["vary"], "Origin")
        self.assertNotIn("access-control-allow-credentials", reply.headers)
        exposed = reply.headers["access-control-expose-headers"].lower().split(", ")
        self.assertLessEqual({"location", "etag", "retry-after"}, set(exposed))

    def not_readable(self, reply):
        self.assertFalse([h for h in reply.headers if h.startswith("access-control")], reply)

    def preflight(self, path, method, origin=PAGE):
        return self.stack.request("OPTIONS", path, token=None, headers={
            "Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"})

    def test_replies_and_errors_are_readable_for_a_page_of_the_list(self):
        with_origin = {"headers": {"Origin": self.PAGE}}
        self.readable(self.stack.get("/v1/calls", **with_origin))
        self.readable(self.stack.get("/v1/calls", **{"headers": {"Origin": "http://localhost:3000"}}), "http://localhost:3000")
        for reply, status in [(self.stack.get("/v1/calls", token=None, **with_origin), 401),
                              (self.stack.get("/v1/nothing", **with_origin), 404),
                              (self.stack.request("PATCH", "/v1/calls", {}, **with_origin), 405),
                              (self.stack.post("/v1/calls", b" " * 200000, **with_origin), 413),
                              (self.stack.get(f"/v1/calls/{uuid.uuid4()}", **with_origin), 404),
                              (self.stack.post("/v1/calls", b"{", **with_origin), 400)]:
            self.assertEqual(reply.status, status)
            self.readable(reply)

    def test_a_page_of_another_origin_reads_nothing(self):
        for origin in ["https://evil.example", "https://console.example.com.evil.example", "https://CONSOLE.example.com",
                       "http://console.example.com", "null", "*"]:
            reply = self.stack.get("/v1/calls", headers={"Origin": origin})
            self.assertEqual(reply.status, 200)
            self.not_readable(reply)
            self.assertEqual(reply.headers["vary"], "Origin")
            self.not_readable(self.preflight("/v1/calls", "POST", origin))
        self.not_readable(self.stack.get("/v1/calls"))  # a server sends no Origin

    def test_a_preflight_needs_no_token_and_says_what_is_allowed(self):
        for path, methods in [("/v1/calls", {"GET", "POST"}), ("/v1/devices/x", {"GET", "PUT", "DELETE"}),
                              ("/v1/events", {"GET"}), ("/v1/whip/nurse", {"POST", "OPTIONS"}),
                              (f"/v1/whip/calls/{uuid.uuid4()}", {"PATCH", "DELETE", "OPTIONS"})]:
            reply = self.preflight(path, "POST")
            self.assertIn(reply.status, (200, 204))
            self.assertEqual(reply.headers["access-control-allow-origin"], self.PAGE)
            self.assertEqual(set(reply.headers["access-control-allow-methods"].split(", ")), methods)
            self.assertEqual(set(reply.headers["allow"].split(", ")), methods)
            self.assertLessEqual({"authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "last-event-id"},
                                 set(reply.headers["access-control-allow-headers"].lower().split(", ")))
            self.assertGreater(int(reply.headers["access-control-max-age"]), 0)
            self.assertEqual(reply.headers["vary"], "Origin")
        self.assertEqual(self.preflight("/v1/whip/nurse", "POST").headers["accept-post"], "application/sdp")  # RFC 9725 4.2
        self.assertNotIn("access-control-allow-methods",
                         self.stack.request("OPTIONS", "/v1/calls", token=None, headers={"Origin": self.PAGE}).headers)

    def test_a_stream_of_events_is_readable(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.api_port, timeout=10 * SLOW)
        connection.request("GET", "/v1/events", headers={"Authorization": f"Bearer {self.stack.token}", "Origin": self.PAGE})
        reply = connection.getresponse()
        self.assertEqual(reply.status, 200)
        self.assertEqual(reply.headers["access-control-allow-origin"], self.PAGE)
        self.assertEqual(reply.headers["vary"], "Origin")
        connection.close()

    def test_the_websocket_takes_any_origin(self):
        """Who it is, is in `hello`; some native libraries send an Origin of their own."""
        secret = self.register()

        async def talk(origin):
            url = f"ws://127.0.0.1:{self.stack.api_port}/v1/attach"
            async with websockets.connect(url, subprotocols=["wakegate.v1"], origin=origin) as ws:
                await ws.send(json.dumps({"type": "hello", "device": self.user + "-phone", "secret": secret}))
                return json.loads(await asyncio.wait_for(ws.recv(), 10 * SLOW))["type"]
        for origin in [None, "https://calls.example.com", self.PAGE]:
            self.assertEqual(asyncio.run(talk(origin)), "welcome")


class Preconditions(Edges):
    def test_a_device_is_changed_only_as_it_was_read(self):
        device = f"/v1/devices/{self.user}-phone"
        self.register()
        read = self.stack.get(device)
        tag = read.headers["etag"]
        self.assertRegex(tag, r'^"[0-9a-f]{32}"$')
        self.assertEqual(self.stack.get(device).headers["etag"], tag)
        changed = self.stack.put(device, {"app_version": "2"}, headers={"If-Match": f'"other", {tag}'})
        self.assertEqual(changed.status, 200)
        self.assertNotIn("etag", changed.headers)  # RFC 9110 9.3.4: it would be of what the client sent
        lost = self.stack.put(device, {"app_version": "3"}, headers={"If-Match": tag})
        self.problem(lost, 412, "precondition-failed", "if-match")
        now = self.stack.get(device)
        self.assertEqual(now.json["app_version"], "2")
        for wrong in [tag, f'W/{now.headers["etag"]}', '"x"', now.headers["etag"].strip('"')]:
            self.problem(self.stack.delete(device, headers={"If-Match": wrong}), 412, "precondition-failed", "if-match")
        self.assertEqual(self.stack.delete(device, headers={"If-Match": now.headers["etag"]}).status, 204)
        self.assertEqual(self.stack.delete(device, headers={"If-Match": "*"}).status, 404)

    def test_what_is_not_shown_changes_the_tag_too(self):
        """However fast changes come: the tag is of a document with the time of the change."""
        device = f"/v1/devices/{self.user}-phone"
        self.register()
        tag = self.stack.get(device).headers["etag"]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            changed = list(pool.map(lambda _: self.stack.put(device, {"rotate_secret": True}), range(200)))
        times = {reply.json["updated_at"] for reply in changed}
        self.assertEqual(len(times), len(changed))
        self.assertNotEqual(self.stack.get(device).headers["etag"], tag)

    def test_a_device_is_registered_once(self):
        device, body = f"/v1/devices/{self.user}-phone", {"user": self.user, "app": "vcs", "token": "ab" * 32}
        self.problem(self.stack.put(device, body, headers={"If-Match": "*"}), 412, "precondition-failed", "if-match")
        self.assertEqual(self.stack.get(device).status, 404)
        self.assertEqual(self.stack.put(device, body, headers={"If-None-Match": "*"}).status, 201)
        again = self.stack.put(device, {**body, "user": "other"}, headers={"If-None-Match": "*"})
        self.problem(again, 412, "precondition-failed", "if-none-match")
        read = self.stack.get(device)
        self.assertEqual(read.json["user"], self.user)
        same = self.stack.put(device, body, headers={"If-None-Match": f'W/{read.headers["etag"]}'})
        self.problem(same, 412, "precondition-failed", "if-none-match")
        self.assertEqual(self.stack.put(device, body, headers={"If-None-Match": '"x"', "If-Match": "*"}).status, 200)

    def test_what_the_client_has_is_not_sent_again(self):
        self.register()
        call = self.stack.post("/v1/calls", {"callee": self.user}).json["id"]
        self.assertEqual(self.stack.delete(f"/v1/calls/{call}").status, 204)
        for path in [f"/v1/devices/{self.user}-phone", f"/v1/calls/{call}"]:
            tag = self.stack.get(path).headers["etag"]
            for have in [tag, f"W/{tag}", f'"a", {tag}', "*"]:
                reply = self.stack.get(path, headers={"If-None-Match": have})
                self.assertEqual(reply.status, 304, reply)
                self.assertEqual(reply.headers["etag"], tag)
                self.assertEqual(reply.text, "")
                self.assertNotIn("content-length", reply.headers)
                self.assertNotIn("content-type", reply.headers)
            self.assertEqual(self.stack.get(path, headers={"If-None-Match": '"a"'}).status, 200)

    def test_a_connection_goes_on_after_a_304(self):
        self.register()
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.api_port, timeout=10 * SLOW)
        head = {"Authorization": f"Bearer {self.stack.token}", "If-None-Match": "*"}
        for _ in range(3):
            connection.request("GET", f"/v1/devices/{self.user}-phone", headers=head)
            reply = connection.getresponse()
            reply.read()
            self.assertEqual(reply.status, 304)
        connection.close()

    def test_a_call_that_moved_on_has_another_tag(self):
        self.register()
        call = self.stack.post("/v1/calls", {"callee": self.user}).json["id"]
        wait_for(lambda: self.stack.call(call)["devices"][0]["push_state"] == "accepted")
        tag = self.stack.get(f"/v1/calls/{call}").headers["etag"]
        self.assertEqual(self.stack.get(f"/v1/calls/{call}", headers={"If-None-Match": tag}).status, 304)
        self.stack.delete(f"/v1/calls/{call}")
        ended = self.stack.get(f"/v1/calls/{call}", headers={"If-None-Match": tag})
        self.assertEqual((ended.status, ended.json["state"]), (200, "ended"))


class Lists(Edges):
    def names(self, query):
        reply = self.stack.get("/v1/devices?" + query)
        self.assertEqual(reply.status, 200, reply)
        return [d["device"] for d in reply.json["devices"]], reply.json["next_cursor"]

    def test_devices_of_a_user_an_app_and_a_health(self):
        mine = sorted(f"{self.user}-{i}" for i in range(5))
        for name in mine:
            self.register(name)
        self.register(self.user + "-foreign", user=self.user + "-other")
        self.assertEqual(self.names(f"user={self.user}"), (mine, None))
        self.assertEqual(self.names(f"user={self.user}&app=vcs&health=ok"), (mine, None))
        self.assertEqual(self.names(f"user={self.user}&health=blocked"), ([], None))
        self.assertEqual(self.names(f"user={self.user}&app=other"), ([], None))
        found, cursor = [], ""
        while cursor is not None:
            page, cursor = self.names(f"user={self.user}&limit=2&cursor={cursor}")
            self.assertLessEqual(len(page), 2)
            found += page
        self.assertEqual(found, mine)

    def test_values_out_of_bounds_are_named(self):
        for path, field in [("/v1/devices?health=fine", "health"), ("/v1/devices?health=", "health"), ("/v1/devices?limit=201", "limit"),
                            ("/v1/devices?limit=1.5", "limit"), ("/v1/devices?limit=-1", "limit"),
                            ("/v1/devices?cursor=a%20b", "cursor"), ("/v1/devices?cursor=" + "x" * 200, "cursor"),
                            ("/v1/devices?user=" + "x" * 129, "user"), ("/v1/devices?app=" + "x" * 65, "app"),
                            ("/v1/calls?callee=" + "x" * 129, "callee"), ("/v1/calls?cursor=1." + "x" * 36, "cursor"),
                            ("/v1/devices/x/pushes?limit=1001", "limit"), ("/v1/devices/x/pushes?cursor=x", "cursor"),
                            (f"/v1/devices/x/pushes?cursor=0.{uuid.uuid4()}", "cursor")]:
            with self.subTest(path=path[:60]):
                self.problem(self.stack.get(path), 400, "bad-field", field)

    def test_the_pushes_of_a_device_come_in_pages(self):
        self.register()
        calls = []
        for _ in range(5):
            calls.append(self.stack.post("/v1/calls", {"callee": self.user}).json["id"])
            self.push(calls[-1], self.user + "-phone")
            self.stack.delete(f"/v1/calls/{calls[-1]}")
        path = f"/v1/devices/{self.user}-phone/pushes"
        wait_for(lambda: len(self.stack.get(path).json["pushes"]) == 5)
        found, cursor = [], ""
        for size in [2, 2, 1]:
            page = self.stack.get(f"{path}?limit=2&cursor={cursor}").json
            self.assertEqual(len(page["pushes"]), size)
            found += [p["call"] for p in page["pushes"]]
            cursor = page["next_cursor"]
        self.assertIsNone(cursor)
        self.assertEqual(found, calls[::-1])
        self.assertIsNone(self.stack.get(path + "?limit=5").json["next_cursor"])  # exactly full


class CallOfAPhone(Edges):
    def setUp(self):
        super().setUp()
        self.devices = [f"{self.user}-{i}" for i in range(2)]
        self.secrets = [self.register(d) for d in self.devices]
        self.call = self.stack.post("/v1/calls", {"callee": self.user, "data": {"ward": 3}}).json["id"]
        self.pushes = [self.push(self.call, d) for d in self.devices]

    def read(self, token, call=None):
        return self.stack.get(f"/v1/calls/{call or self.call}", token=token)

    def assert_sees_its_own(self, token, device, state):
        reply = self.read(token)
        self.assertEqual(reply.status, 200, reply)
        self.assertEqual(reply.json["state"], state)
        self.assertEqual([d["device"] for d in reply.json["devices"]], [device])
        other = next(d for d in self.devices if d != device)
        self.assertNotIn(other, reply.text)
        self.assertIn("etag", reply.headers)
        return reply.json

    def test_each_phone_sees_the_call_and_its_own_leg(self):
        whole = self.read("").json
        for device, secret, push in zip(self.devices, self.secrets, self.pushes):
            for token in [secret, push["token"]]:
                seen = self.assert_sees_its_own(token, device, "ringing")
                self.assertEqual({k: v for k, v in seen.items() if k not in ("devices", "media")},
                                 {k: v for k, v in whole.items() if k not in ("devices", "media")})
        self.assertEqual(self.read(self.secrets[0], self.call.upper()).status, 200)
        self.assertEqual(self.stack.get(f"/v1/calls/{self.call}", token=self.secrets[0], headers={"If-None-Match": "*"}).status, 304)

    def test_a_late_waker_learns_that_it_is_over(self):
        self.stack.delete(f"/v1/calls/{self.call}")
        seen = self.assert_sees_its_own(self.pushes[1]["token"], self.devices[1], "ended")
        self.assertEqual(seen["reason"], "cancelled")

    def test_a_phone_sees_no_other_call(self):
        stranger = self.register(self.user + "-stranger", user=self.user + "-s")
        theirs = self.stack.post("/v1/calls", {"callee": self.user + "-s"}).json["id"]
        again = self.stack.post("/v1/calls", {"callee": self.user}).json["id"]
        for token, call in [(stranger, self.call), (self.secrets[0], theirs), (self.pushes[0]["token"], theirs),
                            (self.pushes[0]["token"], again), ("wd_nobody", self.call), ("wa_nobody", self.call),
                            (self.secrets[0], str(uuid.uuid4())), (self.secrets[0], "x")]:
            reply = self.read(token, call)
            self.problem(reply, 404, "not-found")
        self.assertEqual(self.read(self.secrets[0], again).status, 200)  # its own, by its secret
        self.problem(self.read("nobody"), 401, "unauthorized", "authorization")
        for method, path in [("DELETE", f"/v1/calls/{self.call}"), ("GET", f"/v1/calls/{self.call}/timeline"), ("GET", "/v1/calls"),
                             ("GET", "/v1/devices")]:
            self.problem(self.stack.request(method, path, token=self.secrets[0]), 401, "unauthorized", "authorization")
        self.assertEqual(self.read("").json["state"], "ringing")

    def test_what_only_the_store_knows_is_read_too(self):
        self.stack.delete(f"/v1/calls/{self.call}")
        wait_for(lambda: len(self.stack.get(f"/v1/devices/{self.devices[0]}/pushes").json["pushes"]) == 1)
        self.stack.gateway.kill()  # other tests' calls still ring: it would wait for them
        type(self).stack.gateway = self.stack.start_gateway()
        for device, secret, push in zip(self.devices, self.secrets, self.pushes):
            for token in [secret, push["token"]]:
                self.assertEqual(self.assert_sees_its_own(token, device, "ended")["reason"], "cancelled")
        self.problem(self.read("wd_nobody"), 404, "not-found")

    def test_media_that_went_to_another_is_not_shown(self):
        user = self.user + "-m"
        phones = [self.stack.start_phone(f"{user}-{habit}", user, handoff="sdes", habit=habit) for habit in ["answers", "ignores"]]
        status, _, err = self.stack.run_caller("--callee", user, "--duration-ms", 300 * SLOW)
        self.assertEqual(status, 0, err)
        [whole] = self.stack.get(f"/v1/calls?callee={user}").json["calls"]
        self.assertEqual(whole["media"]["device"], user + "-answers")
        seen = {}
        for habit in ["answers", "ignores"]:
            secret = self.stack.put(f"/v1/devices/{user}-{habit}", {"rotate_secret": True}).json["device_secret"]
            seen[habit] = self.read(secret, whole["id"])
            self.assertEqual([d["device"] for d in seen[habit].json["devices"]], [f"{user}-{habit}"])
        self.assertEqual(seen["answers"].json["media"]["device"], user + "-answers")
        self.assertIsNone(seen["ignores"].json["media"])
        self.assertNotIn(user + "-answers", seen["ignores"].text)
        for phone in phones:
            phone.stop()


del Edges
if __name__ == "__main__":
    unittest.main()
