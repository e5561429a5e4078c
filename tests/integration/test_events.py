# SPDX-License-Identifier: Apache-2.0
"""GET /v1/events: what listeners hear, and that nothing is missing or twice, over reconnects, restarts and kill -9."""
import contextlib
import hashlib
import http.client
import json
import signal
import socket
import sqlite3
import threading
import time
import unittest
import uuid

from harness import SLOW, Stack, StackTest, wait_for
from test_openapi import component, validate

KEPT = 2048  # EVENT_STREAMS_KEPT
TOKEN_MAX = 100


def tokens(text):
    """A token with the scope calls, one with devices, and one of another tenant."""
    rows = "".join(f'    - {{name: {name}, sha256: "{hashlib.sha256(name.encode()).hexdigest()}", scopes: [{scopes}], '
                   f'tenant: {tenant}}}\n' for name, scopes, tenant in
                   [("caller", "calls", "default"), ("registrar", "devices", "default"), ("stranger", "calls, devices", "other"),
                    ("crowd", "calls", "other")])
    return text.replace("apps:\n", rows + "apps:\n", 1)


class Listener:
    """Reads a stream in a thread. `heard`: (id, event, data) in the order of arrival."""

    def __init__(self, stack, query="", last=None, token=None, reads=True):
        self.connection = http.client.HTTPConnection("127.0.0.1", stack.api_port, timeout=60 * SLOW)
        self.heard, self.comments, self.ended = [], [], False
        if not reads:  # a small window, so that little waits in it
            self.connection.sock = socket.socket()
            self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.connection.sock.connect(("127.0.0.1", stack.api_port))
        headers = {"Authorization": f"Bearer {token or stack.token}", "Accept": "text/event-stream"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        self.connection.request("GET", "/v1/events" + query, headers=headers)
        self.sock = self.connection.sock  # the response takes it over, since the stream's end is the connection's
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.thread = threading.Thread(target=self.read, daemon=True)
        if reads and self.status == 200:
            self.thread.start()

    def read(self):
        fields = {}
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            for raw in self.response:
                line = raw.decode().rstrip("\n")
                if line.startswith(":"):
                    self.comments.append(line[1:].strip())
                elif line:
                    name, value = line.split(": ", 1)
                    fields[name] = value
                elif "data" in fields:
                    self.heard.append((int(fields.get("id", 0)), fields["event"], json.loads(fields["data"])))
                    fields = {}
                else:
                    fields = {}
        self.ended = True

    def wait(self, probe, timeout_s=20):
        return wait_for(lambda: probe(self.heard), timeout_s, lambda: f"heard {self.heard[-20:]}")

    def wait_live(self, timeout_s=30):
        wait_for(lambda: "live" in self.comments, timeout_s, lambda: f"not live: {self.comments} {len(self.heard)}")
        return self

    def ids(self):
        return [i for i, _, _ in self.heard]

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        if self.thread.is_alive():
            self.thread.join(5)
        self.response.close()


def put_devices(stack, names):
    """As fast as one connection goes; returns the names that were acknowledged."""
    done = []
    connection = http.client.HTTPConnection("127.0.0.1", stack.api_port, timeout=15 * SLOW)
    head = {"Authorization": f"Bearer {stack.token}", "Content-Type": "application/json"}
    with contextlib.suppress(OSError, http.client.HTTPException):
        for name in names:
            body = json.dumps({"user": name, "app": "vcs", "token": hashlib.sha256(name.encode()).hexdigest()})
            connection.request("PUT", f"/v1/devices/{name}", body, head)
            response = connection.getresponse()
            response.read()
            if response.status in (200, 201):
                done.append(name)
    connection.close()
    return done


def registered(heard):
    return [data["data"]["device"] for _, kind, data in heard if kind == "device.registered"]


class Events(StackTest):
    stack_options = {"edit": tokens}

    def setUp(self):
        self.user = "u-" + uuid.uuid4().hex[:8]

    def listen(self, *args, stack=None, **more):
        listener = Listener(stack or self.stack, *args, **more)
        self.addCleanup(listener.close)
        return listener

    def place(self):
        token = hashlib.sha256(self.user.encode()).hexdigest()
        self.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
        secret = self.stack.put(f"/v1/devices/{self.user}", {"user": self.user, "app": "vcs", "token": token}).json["device_secret"]
        call = self.stack.post("/v1/calls", {"callee": self.user, "caller": {"handle": "+1", "name": 'a "b"\n'}}).json["id"]
        push = wait_for(lambda: [r["payload"]["wakegate"] for r in self.stack.journal()
                                 if (r["payload"] or {}).get("wakegate", {}).get("call") == call])[0]
        wait_for(lambda: self.stack.call(call)["devices"][0]["push_state"] == "accepted")
        receipt = {"call": call, "push": push["push"], "must_report": True, "reported": "callkit", "app_state": "background"}
        self.assertEqual(self.stack.post("/v1/receipts", receipt, token=secret).status, 204)
        return call

    def mine(self, heard):
        return [(i, kind, e) for i, kind, e in heard if self.user in (e["data"].get("callee"), e["data"].get("device"))]

    def test_a_calls_life_is_told_in_order_and_as_described(self):
        listener = self.listen().wait_live()
        self.assertEqual(listener.response.getheader("content-type"), "text/event-stream")
        self.assertEqual(listener.response.getheader("cache-control"), "no-store")
        call = self.place()
        self.assertEqual(self.stack.delete(f"/v1/calls/{call}").status, 204)
        self.assertEqual(self.stack.delete(f"/v1/devices/{self.user}").status, 204)
        listener.wait(lambda heard: [k for _, k, _ in self.mine(heard)][-1:] == ["device.deleted"])
        mine = self.mine(listener.heard)
        self.assertEqual([k for _, k, _ in mine], ["device.registered", "call.ringing", "push.accepted", "receipt", "push.outcome",
                                                   "call.ended", "device.deleted"])
        for event_id, kind, event in mine:
            validate(component("Event"), event)
            self.assertEqual((event["id"], event["type"]), (event_id, kind))
        self.assertEqual(listener.ids(), sorted(set(listener.ids())))
        by_type = {k: e["data"] for _, k, e in mine}
        self.assertEqual(by_type["call.ringing"]["caller"], {"handle": "+1", "name": 'a "b" '})
        self.assertEqual(by_type["call.ended"]["reason"], "cancelled")
        self.assertEqual((by_type["receipt"]["must_report"], by_type["push.outcome"]["outcome"]), (True, "reported"))

    def test_a_call_that_is_answered_and_talked_in(self):
        listener = self.listen("?types=call.*").wait_live()
        phone = self.stack.start_phone(self.user, self.user)
        status, _, err = self.stack.run_caller("--callee", self.user, "--duration-ms", 600 * SLOW)
        self.assertEqual(status, 0, err)
        listener.wait(lambda heard: any(k == "call.ended" for _, k, _ in self.mine(heard)))
        phone.stop()
        mine = self.mine(listener.heard)
        self.assertEqual([k for _, k, _ in mine], ["call.ringing", "call.answered", "call.active", "call.ended"])
        for _, _, event in mine:
            validate(component("Event"), event)
        self.assertEqual([e["data"].get("device") for _, _, e in mine], [None] + [self.user] * 3)
        self.assertEqual(mine[-1][2]["data"]["reason"], "completed")

    def test_a_token_that_apns_refuses_and_a_new_one(self):
        listener = self.listen().wait_live()
        put_devices(self.stack, [self.user])  # the simulator does not know the token
        self.stack.post("/v1/calls", {"callee": self.user})
        listener.wait(lambda heard: any(k == "call.ended" for _, k, _ in self.mine(heard)))
        put_devices(self.stack, [self.user])
        listener.wait(lambda heard: [k for _, k, _ in self.mine(heard)].count("device.health") == 2)
        mine = self.mine(listener.heard)
        self.assertEqual([k for _, k, _ in mine], ["device.registered", "call.ringing", "push.rejected", "device.health",
                                                   "call.ended", "device.updated", "device.health"])
        for _, _, event in mine:
            validate(component("Event"), event)
        data = [e["data"] for _, _, e in mine]
        self.assertEqual((data[2]["apns_status"], data[2]["apns_reason"], data[2]["push_state"]), (400, "BadDeviceToken", "rejected"))
        self.assertEqual([d["health"] for d in (data[3], data[6])], ["invalid", "ok"])
        self.assertEqual(data[4]["reason"], "unreachable")

    def test_types_scopes_and_tenants_choose_what_is_heard(self):
        everything, types = self.listen().wait_live(), self.listen("?types=call.*,device.reg*").wait_live()
        caller, registrar = self.listen(token="caller").wait_live(), self.listen(token="registrar").wait_live()
        stranger = self.listen(token="stranger").wait_live()
        call = self.place()
        self.stack.delete(f"/v1/calls/{call}")
        everything.wait(lambda heard: any(k == "call.ended" for _, k, _ in self.mine(heard)))
        other = {"user": "x", "app": "vcs", "token": "ab"}
        self.assertEqual(self.stack.put("/v1/devices/other-1", other, token="stranger").status, 201)
        stranger.wait(lambda heard: heard)

        def kinds(listener):
            return {k for _, k, _ in self.mine(listener.heard)}
        types.wait(lambda heard: any(k == "call.ended" for _, k, _ in self.mine(heard)))
        caller.wait(lambda heard: any(k == "call.ended" for _, k, _ in self.mine(heard)))
        self.assertEqual(kinds(types), {"device.registered", "call.ringing", "call.ended"})
        self.assertEqual(kinds(caller), {"call.ringing", "push.accepted", "receipt", "push.outcome", "call.ended"})
        registrar.wait(lambda heard: self.mine(heard))
        self.assertEqual(kinds(registrar), {"device.registered"})
        self.assertEqual([k for _, k, _ in stranger.heard], ["device.registered"])
        self.assertEqual(stranger.heard[0][2]["data"]["device"], "other-1")
        self.assertNotIn("other-1", registered(everything.heard))
        again = self.listen(last=0, token="stranger").wait_live()
        self.assertEqual(registered(again.heard), ["other-1"])

    def test_a_resumed_stream_has_what_was_missed_and_goes_on(self):
        first = self.listen("?types=device.registered").wait_live()
        before, missed, after = ([f"{self.user}-{part}{n}" for n in range(300)] for part in "abc")
        put_devices(self.stack, before[:5])
        first.wait(lambda heard: registered(heard)[-1:] == [before[4]])
        first.close()
        put_devices(self.stack, missed)  # more than a page
        second = self.listen("?types=device.registered", last=first.ids()[-1]).wait_live()
        put_devices(self.stack, after[:5])
        second.wait(lambda heard: registered(heard)[-1:] == [after[4]])
        self.assertEqual(registered(second.heard), missed + after[:5])

    def test_nothing_is_lost_or_twice_between_replay_and_live(self):
        names = [f"{self.user}-{n}" for n in range(1200)]
        writer = threading.Thread(target=put_devices, args=(self.stack, names))
        writer.start()
        listeners = []
        while writer.is_alive():
            listeners.append(self.listen("?types=device.*", last=0))
            time.sleep(0.02 * SLOW)
            if len(listeners) == 40:
                break
        writer.join()
        whole = self.listen("?types=device.*", last=0).wait_live()
        whole.wait(lambda heard: registered(heard)[-1:] == names[-1:])
        self.assertGreater(len(listeners), 3)
        for listener in listeners:
            listener.wait(lambda heard: registered(heard)[-1:] == names[-1:])
            self.assertEqual(listener.ids(), whole.ids())
        self.assertEqual([n for n in registered(whole.heard) if n.startswith(self.user)], names)

    def test_a_slow_reader_is_cut_off_and_resumes(self):
        slow = self.listen("?types=device.*", reads=False)
        fast = self.listen("?types=device.*").wait_live()
        self.assertEqual(slow.status, 200)
        names, log = [f"{self.user}-{n}" for n in range(KEPT + 2500)], self.stack.gateway.log
        workers = [threading.Thread(target=put_devices, args=(self.stack, names[k::4])) for k in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        fast.wait(lambda heard: len(registered(heard)) == len(names), 60)
        wait_for(lambda: "event listener cut off" in log(), 10, lambda: log()[-2000:])
        self.assertFalse(fast.ended)
        slow.thread.start()
        wait_for(lambda: slow.ended, 20)
        self.assertLess(len(slow.heard), len(names))
        self.assertGreater(len(slow.heard), 0)
        rest = self.listen("?types=device.*", last=slow.ids()[-1]).wait_live()
        rest.wait(lambda heard: len(heard) + len(slow.heard) >= len(names))
        self.assertEqual(slow.ids() + rest.ids(), fast.ids())
        self.assertIn("wakegate_events_slow_listeners_total 1", self.stack.get("/metrics", token=None).text)

    def test_a_quiet_stream_is_kept_alive_by_comments(self):
        quiet = self.listen("?types=call.active").wait_live()
        began = time.monotonic()
        wait_for(lambda: "keep-alive" in quiet.comments, 20)
        self.assertGreater(time.monotonic() - began, 10)

    def test_a_token_has_so_many_listeners_and_no_more(self):
        many = [self.listen(token="crowd") for _ in range(TOKEN_MAX)]
        self.assertEqual({one.status for one in many}, {200})
        detail = self.problem(self.stack.get("/v1/events", token="crowd"), 429, "too-many-listeners", "authorization")
        self.assertIn('"crowd" has 100 streams', detail)
        self.assertEqual(self.listen(token="caller").status, 200)
        many[0].close()
        wait_for(lambda: (lambda l: (l.close(), l.status == 200)[1])(Listener(self.stack, token="crowd")))

    def test_head_gets_the_head_alone(self):
        reply = self.stack.request("HEAD", "/v1/events")
        self.assertEqual((reply.status, reply.headers["content-type"], reply.text), (200, "text/event-stream", ""))


class Process(unittest.TestCase):
    """What a process that ends leaves behind."""

    def start(self):
        stack = Stack(edit=tokens)
        self.addCleanup(stack.close)
        return stack

    def listen(self, stack, *args, **more):
        listener = Listener(stack, *args, **more)
        self.addCleanup(listener.close)
        return listener

    def test_the_stream_ends_after_the_last_calls_end(self):
        stack = self.start()
        put_devices(stack, ["d"])
        call = stack.post("/v1/calls", {"callee": "d"}).json["id"]
        listener = self.listen(stack).wait_live()
        stack.gateway.process.send_signal(signal.SIGTERM)
        wait_for(lambda: stack.get("/readyz", token=None).status == 503)
        self.assertFalse(listener.ended)
        stack.gateway.process.send_signal(signal.SIGTERM)
        wait_for(lambda: listener.ended)
        self.assertEqual([(k, e["data"]["call"], e["data"]["reason"]) for _, k, e in listener.heard if k == "call.ended"],
                         [("call.ended", call, "error")])

    def test_what_was_acknowledged_before_kill_9_is_told_after_it(self):
        stack = self.start()
        acknowledged, last, heard = [], 0, []
        for turn in range(4):
            listener = self.listen(stack, "?types=device.registered", last=last)
            names = [[f"t{turn}-{k}-{n}" for n in range(2000)] for k in range(3)]
            workers = [threading.Thread(target=lambda some=some: acknowledged.extend(put_devices(stack, some))) for some in names]
            for worker in workers:
                worker.start()
            time.sleep(0.15 * SLOW + 0.05 * turn)
            stack.gateway.kill()
            for worker in workers:
                worker.join()
            wait_for(lambda one=listener: one.ended)
            heard += registered(listener.heard)
            last = listener.ids()[-1] if listener.heard else last
            stack.gateway = stack.start_gateway()
        rest = self.listen(stack, "?types=device.registered", last=last).wait_live()
        heard += registered(rest.heard)
        self.assertGreater(len(acknowledged), 50)
        self.assertEqual(len(heard), len(set(heard)))
        self.assertEqual(set(acknowledged) - set(heard), set())
        # And what was told is true: the rows came in the same transactions.
        database = sqlite3.connect(f"file:{stack.path('wakegate.db')}?mode=ro", uri=True)
        with contextlib.closing(database):
            self.assertEqual(set(heard), {row[0] for row in database.execute("SELECT id FROM devices")})

    def test_a_reader_that_comes_too_late_for_some_is_told(self):
        stack = self.start()
        put_devices(stack, ["a", "b", "c", "d"])
        stack.gateway.process.send_signal(signal.SIGTERM)
        stack.gateway.process.wait()
        with contextlib.closing(sqlite3.connect(stack.path("wakegate.db"))) as database:
            ids = [row[0] for row in database.execute("SELECT id FROM events ORDER BY id")]
            database.execute("DELETE FROM events WHERE id <= ?", (ids[1],))
            database.commit()
        stack.gateway = stack.start_gateway()
        late = self.listen(stack, last=ids[0]).wait_live()
        self.assertEqual(late.heard[0], (0, "events.pruned", {"after": ids[0], "first": ids[2]}))
        self.assertEqual(registered(late.heard), ["c", "d"])
        just = self.listen(stack, last=ids[1]).wait_live()
        self.assertEqual([k for _, k, _ in just.heard], ["device.registered"] * 2)
        # All of them: the ids go on where they were.
        stack.gateway.process.send_signal(signal.SIGTERM)
        stack.gateway.process.wait()
        with contextlib.closing(sqlite3.connect(stack.path("wakegate.db"))) as database:
            database.execute("DELETE FROM events")
            database.commit()
        stack.gateway = stack.start_gateway()
        put_devices(stack, ["e"])
        none = self.listen(stack, last=ids[3]).wait_live()
        self.assertEqual([(k, i) for i, k, _ in none.heard], [("device.registered", ids[3] + 1)])


if __name__ == "__main__":
    unittest.main()
