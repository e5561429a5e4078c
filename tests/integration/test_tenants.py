# SPDX-License-Identifier: Apache-2.0
"""One tenant never sees another's: every route of gateway/openapi.yaml, asked by a tenant about what another one has; and two
tenants with the same names for devices and people."""
import asyncio
import hashlib
import os
import unittest
import uuid

from harness import Stack, StackTest, free_port, wait_for
from test_attach import Phone
from test_events import Listener
from test_openapi import OFFER, operations
from test_webhooks import SECRET, Receiver, hooks

# The same names in both tenants.
DEVICE, USER = "phone-of-ward-3", "nurse-of-ward-3"
THEIRS = "admin-of-another"  # the token of the tenant "other"
SDP = {"Content-Type": "application/sdp"}


def push_token(tenant):
    return hashlib.sha256(tenant.encode()).hexdigest()


class TenantsTest(StackTest):
    """A stack with two tenants, "default" and "other"; each has a webhook."""

    @classmethod
    def setUpClass(cls):
        cls.stack = stack = Stack(gateway=False)
        cls.addClassCleanup(stack.close)
        with open(os.open(stack.path("hook.key"), os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(SECRET + "\n")
        ports = {"default": free_port(), "other": free_port()}
        edit = hooks(*({"url": f'"https://127.0.0.1:{port}/"', "name": name, "tenant": name} for name, port in ports.items()))
        stack.edit_config(lambda text: edit(text).replace("scopes: [admin, devices], tenant: other",
                                                          "scopes: [calls, devices, admin], tenant: other"))
        cls.receivers = {name: Receiver(stack, port) for name, port in ports.items()}
        for receiver in cls.receivers.values():
            cls.addClassCleanup(receiver.close)
        stack.gateway = stack.start_gateway()

    @classmethod
    def register(cls, tenant="default", device=DEVICE, user=USER, **more):
        """A device's secret."""
        token = push_token(tenant)
        cls.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
        made = cls.stack.put(f"/v1/devices/{device}", {"user": user, "app": "vcs", "token": token, "handoff": ["dtls"],
                                                       "rotate_secret": True, **more}, token=cls.token_of(tenant))
        assert made.status in (200, 201), made
        return made.json["device_secret"]

    @staticmethod
    def token_of(tenant):
        return THEIRS if tenant == "other" else ""

    @classmethod
    def place(cls, tenant="default", **more):
        made = cls.stack.post("/v1/calls", {"callee": USER, "caller": {"handle": "h", "name": "Ward 3"}, **more},
                              token=cls.token_of(tenant))
        assert made.status == 201, made
        return made.json

    @classmethod
    def push(cls, call, tenant="default"):
        """What the device got, on the push token of its tenant and on no other."""
        def pushes():
            return [r for r in cls.stack.journal() if ((r["payload"] or {}).get("wakegate") or {}).get("call") == call]
        found = wait_for(pushes)
        assert [r["token"] for r in found] == [push_token(tenant)], found
        return found[0]["payload"]["wakegate"]


class EveryRoute(TenantsTest, unittest.IsolatedAsyncioTestCase):
    """The other tenant has nothing of its own here; what is asked about is the default one's."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.receivers["default"].answers = [(500, {})] * 1000
        cls.secret = cls.register()
        cls.key = {"Idempotency-Key": "the-key"}
        cls.body = {"callee": USER}
        made = cls.stack.post("/v1/calls", cls.body, headers=cls.key)
        assert made.status == 201, made
        cls.call = made.json["id"]
        cls.wakegate = cls.push(cls.call)
        asyncio.run(cls.answer())
        cls.ended = cls.place()["id"]
        assert cls.stack.delete(f"/v1/calls/{cls.ended}").status == 204
        cls.letter = wait_for(lambda: cls.stack.get("/v1/webhooks/dead-letters").json["dead_letters"], 30)[0]["id"]
        cls.device = cls.stack.get(f"/v1/devices/{DEVICE}").json

    @classmethod
    async def answer(cls):
        """A call that is answered, and has no media, goes on for as long as these tests take."""
        phone = await Phone(cls.stack, DEVICE).dial(token=cls.wakegate["token"], app_state="background")
        await phone.say("answer", call=cls.call)
        await asyncio.to_thread(cls.stack.wait_state, cls.call, "answered")
        await phone.close()

    def whip(self):
        made = self.stack.request("POST", f"/v1/whip/{USER}", OFFER.encode(), headers=SDP)
        self.assertEqual(made.status, 201, made)
        return made.headers["location"], made.headers["etag"]

    def theirs(self, method, path, body=None, **more):
        return self.stack.request(method, path, body, token=THEIRS, **more)

    def nothing(self, *requests):
        """All of these are answered as if it was not there."""
        for request in requests:
            self.problem(self.theirs(*request), 404, "not-found")

    def empty(self, path, field):
        reply = self.theirs("GET", path)
        self.assertEqual((reply.status, reply.json[field]), (200, []), reply)

    def speaks_of_nobody(self, path):
        text = self.stack.get(path, token=None).text
        for name in (DEVICE, USER, self.call, self.ended, self.secret, self.wakegate["token"], self.stack.token):
            self.assertNotIn(name, text)

    def post_calls(self):
        self.problem(self.theirs("POST", "/v1/calls", self.body), 404, "no-device", "callee")
        self.problem(self.theirs("POST", "/v1/calls", self.body, headers=self.key), 404, "no-device", "callee")
        self.problem(self.theirs("POST", "/v1/calls", {**self.body, "tenant": "default"}), 403, "forbidden", "tenant")

    def get_calls(self):
        self.assertGreaterEqual(len(self.stack.get("/v1/calls").json["calls"]), 2)
        for query in ("", f"?callee={USER}", "?state=answered", "?state=ended"):
            self.empty("/v1/calls" + query, "calls")
        cursor = self.stack.get("/v1/calls?limit=1").json["next_cursor"]
        self.empty(f"/v1/calls?cursor={cursor}", "calls")

    def one_call(self, method, tail=""):
        self.nothing(*((method, f"/v1/calls/{call}{tail}") for call in (self.call, self.ended)))
        self.assertEqual(self.stack.call(self.call)["state"], "answered")

    def post_whip(self):
        reply = self.theirs("POST", f"/v1/whip/{USER}", OFFER.encode(), headers=SDP)
        self.problem(reply, 404, "no-device", "callee")

    def patch_whip(self):
        fragment = b"a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n"
        session, etag = self.whip()
        for match in (etag, "*"):
            reply = self.theirs("PATCH", session, fragment, headers={"Content-Type": "application/trickle-ice-sdpfrag",
                                                                       "If-Match": match})
            self.problem(reply, 404, "not-found")

    def delete_whip(self):
        session, _ = self.whip()
        self.nothing(("DELETE", session))
        self.assertEqual(self.stack.call(session.rsplit("/", 1)[1])["state"], "ringing")

    def options(self, theirs, nobodys):
        """The same answer, whether there is one or not."""
        with_one, without = (self.stack.request("OPTIONS", path, token=None) for path in (theirs, nobodys))
        self.assertEqual((with_one.status, with_one.headers.get("allow"), with_one.text),
                         (without.status, without.headers.get("allow"), without.text))

    def put_device(self):
        """The same name is another device, and its tenant's own."""
        made = self.theirs("PUT", f"/v1/devices/{DEVICE}", {"user": USER, "app": "vcs", "token": "ab" * 32})
        self.assertEqual((made.status, made.json["tenant"]), (201, "other"), made)
        self.assertEqual(self.theirs("DELETE", f"/v1/devices/{DEVICE}").status, 204)
        self.unchanged()

    def delete_device(self):
        self.nothing(("DELETE", f"/v1/devices/{DEVICE}"))
        self.unchanged()

    def unchanged(self):
        self.assertEqual(self.stack.get(f"/v1/devices/{DEVICE}").json, self.device)
        self.assertEqual(self.stack.call(self.call)["state"], "answered")

    def pushes(self):
        self.assertTrue(self.stack.get(f"/v1/devices/{DEVICE}/pushes").json["pushes"])
        self.empty(f"/v1/devices/{DEVICE}/pushes", "pushes")

    def report(self):
        for query in ("", f"?device={DEVICE}", "?group_by=app"):
            self.assertTrue(self.stack.get("/v1/reports/must-report" + query).json["rows"], query)
            self.empty("/v1/reports/must-report" + query, "rows")

    def events(self):
        mine, theirs, past = Listener(self.stack), Listener(self.stack, token=THEIRS), Listener(self.stack, last=0, token=THEIRS)
        for listener in (mine, theirs, past):
            self.addCleanup(listener.close)
            listener.wait_live()
        call = self.place()["id"]
        self.stack.delete(f"/v1/calls/{call}")
        self.theirs("PUT", "/v1/devices/last", {"user": "last", "app": "vcs", "token": "cd" * 32})
        mine.wait(lambda heard: any(data["data"].get("call") == call for _, _, data in heard))
        for listener in (theirs, past):
            heard = listener.wait(lambda heard: any(data["data"].get("device") == "last" for _, _, data in heard) and heard)
            self.assertEqual({data["data"].get("call") for _, _, data in heard}, {None})
            self.assertLessEqual({data["data"]["user"] for _, _, data in heard}, {"last", USER})
        self.assertEqual(self.theirs("DELETE", "/v1/devices/last").status, 204)

    def dead_letters(self):
        self.empty("/v1/webhooks/dead-letters", "dead_letters")
        self.empty(f"/v1/webhooks/dead-letters?cursor={self.letter + 1}", "dead_letters")

    def one_dead_letter(self, method, tail=""):
        self.nothing((method, f"/v1/webhooks/dead-letters/{self.letter}{tail}"))
        self.assertIn(self.letter, [m["id"] for m in self.stack.get("/v1/webhooks/dead-letters").json["dead_letters"]])

    def receipts(self):
        secret = self.register("other")
        body = {"call": self.call, "push": self.wakegate["push"], "must_report": True, "app_state": "background",
                "on_call": False, "received_at": self.wakegate["sent_at"] + 1, "reported": "callkit"}
        for bearer in (THEIRS, secret):
            self.problem(self.stack.post("/v1/receipts", body, token=bearer), 404, "not-found", "push")
        self.assertIsNone(self.stack.call(self.call)["devices"][0]["reported"])
        self.assertEqual(self.theirs("DELETE", f"/v1/devices/{DEVICE}").status, 204)

    async def attach(self):
        """A device of the same name hears nothing of the other's calls, and can do nothing about them."""
        secret = self.register("other")
        phone = await Phone(self.stack, DEVICE).dial(secret=secret, app_state="foreground", call=self.call)
        self.assertEqual((await phone.hear())["type"], "welcome")
        self.assertEqual((await phone.hear())["code"], "unknown_call")
        for kind in ("ringing", "answer", "decline", "hangup", "keys_taken"):
            await phone.say(kind, call=self.call)
            self.assertEqual((await phone.hear())["code"], "unknown_call")
        await phone.say("receipt", call=self.call, push=self.wakegate["push"], must_report=True, app_state="background",
                        on_call=False, received_at=self.wakegate["sent_at"] + 1, reported="callkit")
        self.assertIn((await phone.hear())["code"], ("unknown_call", "unknown_push"))
        await phone.silent()
        await phone.close()
        self.assertEqual(self.theirs("DELETE", f"/v1/devices/{DEVICE}").status, 204)
        self.unchanged()

    ROUTES = {
        ("post", "/v1/calls"): post_calls,
        ("get", "/v1/calls"): get_calls,
        ("get", "/v1/calls/{id}"): lambda self: self.one_call("GET"),
        ("delete", "/v1/calls/{id}"): lambda self: self.one_call("DELETE"),
        ("get", "/v1/calls/{id}/timeline"): lambda self: self.one_call("GET", "/timeline"),
        ("post", "/v1/whip/{callee}"): post_whip,
        ("options", "/v1/whip/{callee}"): lambda self: self.options(f"/v1/whip/{USER}", "/v1/whip/nobody"),
        ("patch", "/v1/whip/calls/{id}"): patch_whip,
        ("delete", "/v1/whip/calls/{id}"): delete_whip,
        ("options", "/v1/whip/calls/{id}"): lambda self: self.options(self.whip()[0], f"/v1/whip/calls/{uuid.uuid4()}"),
        ("get", "/v1/devices"): lambda self: self.empty("/v1/devices", "devices"),
        ("put", "/v1/devices/{device}"): put_device,
        ("get", "/v1/devices/{device}"): lambda self: self.nothing(("GET", f"/v1/devices/{DEVICE}")),
        ("delete", "/v1/devices/{device}"): delete_device,
        ("get", "/v1/devices/{device}/pushes"): pushes,
        ("get", "/v1/reports/must-report"): report,
        ("get", "/v1/events"): events,
        ("get", "/v1/webhooks/dead-letters"): dead_letters,
        ("delete", "/v1/webhooks/dead-letters/{id}"): lambda self: self.one_dead_letter("DELETE"),
        ("post", "/v1/webhooks/dead-letters/{id}/retry"): lambda self: self.one_dead_letter("POST", "/retry"),
        ("post", "/v1/receipts"): receipts,
        ("get", "/v1/attach"): attach,
        ("get", "/"): lambda self: self.speaks_of_nobody("/"),
        ("get", "/console/{file}"): lambda self: self.speaks_of_nobody("/console/console.js"),
        ("get", "/healthz"): lambda self: self.speaks_of_nobody("/healthz"),
        ("get", "/readyz"): lambda self: self.speaks_of_nobody("/readyz"),
        ("get", "/metrics"): lambda self: self.speaks_of_nobody("/metrics"),
        ("get", "/v1/openapi.yaml"): lambda self: self.speaks_of_nobody("/v1/openapi.yaml"),
    }

    async def test_every_route(self):
        described = {(method, path) for path, method, _ in operations()}
        self.assertEqual(described ^ set(self.ROUTES), set(), "a route without its row here, or a row without its route")
        for (method, path), ask in self.ROUTES.items():
            with self.subTest(method=method, path=path):
                if asyncio.iscoroutinefunction(ask):
                    await ask(self)
                else:
                    ask(self)
        # The other tenant's webhook has heard of its own devices, and of nothing else.
        self.receivers["other"].wait(1)
        for body in self.receivers["other"].bodies():
            self.assertTrue(body["type"].startswith("device."), body)


class SameNames(TenantsTest, unittest.IsolatedAsyncioTestCase):
    async def test_devices_of_one_name_are_two(self):
        secrets = {tenant: self.register(tenant) for tenant in ("default", "other")}
        self.assertNotEqual(secrets["default"], secrets["other"])
        phones, calls = {}, {}
        for tenant, secret in secrets.items():
            phones[tenant] = await Phone(self.stack, DEVICE).dial(secret=secret, app_state="background")
            await phones[tenant].hear("welcome")  # neither replaces the other
        for tenant in secrets:
            calls[tenant] = self.place(tenant)["id"]
            self.push(calls[tenant], tenant)
        for tenant, phone in phones.items():
            await phone.silent()
            await phone.close()
        # By the token of a push, and by the secret again: each comes to its own call.
        for tenant, secret in secrets.items():
            push = self.push(calls[tenant], tenant)
            for proof in ({"token": push["token"]}, {"secret": secret}):
                phone = await Phone(self.stack, DEVICE).dial(app_state="background", **proof)
                await phone.hear("welcome")
                self.assertEqual((await phone.hear())["call"], calls[tenant])
                await phone.silent()
                await phone.close()
        # What one of them does with its device is nothing to the other's.
        phone = await Phone(self.stack, DEVICE).dial(secret=secrets["default"], app_state="foreground")
        await phone.hear("welcome")
        await phone.hear("call")
        self.register("other")
        self.assertEqual(self.stack.delete(f"/v1/devices/{DEVICE}", token=THEIRS).status, 204)
        self.assertEqual(self.stack.get(f"/v1/calls/{calls['other']}", token=THEIRS).json["reason"], "unreachable")
        await phone.silent()
        await phone.say("answer", call=calls["default"])
        await asyncio.to_thread(self.stack.wait_state, calls["default"], "answered")
        await phone.close()
        for tenant, call in calls.items():
            bodies = [b for b in self.receivers[tenant].bodies() if b["data"].get("call")]
            self.assertEqual({b["data"]["call"] for b in bodies}, {call})

    async def test_idempotency_keys_of_one_name_are_two(self):
        self.register("default")
        self.register("other")
        key = {"Idempotency-Key": "same"}
        ids = [self.stack.post("/v1/calls", {"callee": USER}, token=self.token_of(t), headers=key).json["id"]
               for t in ("default", "other", "default", "other")]
        self.assertEqual(ids[:2], ids[2:])
        self.assertNotEqual(ids[0], ids[1])


if __name__ == "__main__":
    unittest.main()
