# SPDX-License-Identifier: Apache-2.0
"""Webhooks against receivers of the standard library: signatures, retries, dead letters, restarts, and where not to connect."""
import base64
import hashlib
import hmac
import http.server
import json
import os
import ssl
import subprocess
import threading
import time
import unittest

from harness import BIN, SLOW, Stack, free_port, wait_for
from test_openapi import component, validate

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class Receiver:
    """A webhook. answers: what is answered next, (status, headers); afterwards 204. delay_s: before each answer."""

    def __init__(self, stack, port=None, delay_s=0):
        self.requests, self.answers, self.delay_s = [], [], delay_s
        self.busy = self.busy_max = 0
        self.lock = threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                with receiver.lock:
                    receiver.busy += 1
                    receiver.busy_max = max(receiver.busy_max, receiver.busy)
                    receiver.requests.append((time.monotonic(), self.path, self.headers, body))
                    status, headers = receiver.answers.pop(0) if receiver.answers else (204, {})
                time.sleep(receiver.delay_s)
                with receiver.lock:
                    receiver.busy -= 1
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                pass  # a gateway that is killed, or does not trust the certificate

        self.port = port or free_port()
        self.server = Server(("127.0.0.1", self.port), Handler, bind_and_activate=False)
        self.server.allow_reuse_address = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(stack.path("apns-sim.pem"), stack.path("apns-sim.key"))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.server.server_bind()
        self.server.server_activate()
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def wait(self, count, timeout_s=15):
        return wait_for(lambda: self.requests[:count] if len(self.requests) >= count else None, timeout_s,
                        lambda: f"{len(self.requests)} came: {[r[3] for r in self.requests]}")

    def bodies(self):
        return [json.loads(r[3]) for r in self.requests]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def hooks(*entries):
    """An edit of the configuration: these webhooks."""
    def edit(text):
        rows = []
        for entry in entries:
            fields = {"secret_file": "hook.key", "ca_file": "ca.pem", "allow_private": "true", "retry_s": "[1, 1]", **entry}
            rows.append("  - {" + ", ".join(f"{k}: {v}" for k, v in fields.items() if v) + "}\n")
        admin = hashlib.sha256(b"admin-of-another").hexdigest()
        text = text.replace("apps:\n", f'    - {{name: other, sha256: "{admin}", scopes: [admin, devices], tenant: other}}\napps:\n', 1)
        return text + "webhooks:\n" + "".join(rows)
    return edit


class Webhooks(unittest.TestCase):
    def start(self, *entries, gateway=True):
        """A stack whose webhooks are these; `port` in an entry makes its URL, and a receiver unless it is one's own."""
        stack = Stack(gateway=False)
        self.addCleanup(stack.close)
        with open(os.open(stack.path("hook.key"), os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(SECRET + "\n")
        stack.edit_config(hooks(*entries))
        if gateway:
            stack.gateway = stack.start_gateway()
        return stack

    def receiver(self, stack, *args, **more):
        receiver = Receiver(stack, *args, **more)
        self.addCleanup(receiver.close)
        return receiver

    def one(self, **entry):
        """A stack with one webhook, and its receiver."""
        port = entry.pop("port", None) or free_port()
        stack = self.start({"url": f'"https://127.0.0.1:{port}/hook?x=1"', "name": "h", **entry})
        return stack, self.receiver(stack, port)

    @staticmethod
    def register(stack, name, token=""):
        body = {"user": name, "app": "vcs", "token": hashlib.sha256(name.encode()).hexdigest()}
        reply = stack.put(f"/v1/devices/{name}", body, token=token)
        assert reply.status in (200, 201), reply

    def letters(self, stack, query="", **more):
        reply = stack.get("/v1/webhooks/dead-letters" + query, **more)
        self.assertEqual(reply.status, 200, reply)
        for letter in reply.json["dead_letters"]:
            validate(component("DeadLetter"), letter)
        return reply.json

    def wait_dead(self, stack, count=1):
        return wait_for(lambda: (lambda found: found if len(found) == count else None)(self.letters(stack)["dead_letters"]), 20)

    def metric(self, stack, line):
        wait_for(lambda: line in stack.get("/metrics", token=None).text, 10, lambda: stack.get("/metrics", token=None).text)

    def test_an_event_comes_signed_and_once(self):
        stack, receiver = self.one(events='["device.reg*"]')
        self.register(stack, "d1")
        self.register(stack, "d1")  # device.updated: not wanted
        self.register(stack, "d2")
        self.register(stack, "d3", token="admin-of-another")  # of another tenant
        receiver.wait(2)
        time.sleep(1)
        self.assertEqual(sorted(b["data"]["device"] for b in receiver.bodies()), ["d1", "d2"])  # POSTs run side by side
        for _, path, headers, body in receiver.requests:
            validate(component("Event"), json.loads(body))
            self.assertEqual((path, headers["content-type"]), ("/hook?x=1", "application/json"))
            signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
            mac = hmac.new(bytes(range(32)), signed, hashlib.sha256).digest()
            self.assertEqual(headers["webhook-signature"], "v1," + base64.b64encode(mac).decode())
            self.assertLess(abs(int(headers["webhook-timestamp"]) - time.time()), 60)
        self.assertEqual(len({r[2]["webhook-id"] for r in receiver.requests}), 2)
        self.metric(stack, 'wakegate_webhook_deliveries_total{webhook="h",result="delivered"} 2')
        self.metric(stack, 'wakegate_webhook_pending{webhook="h"} 0')

    def test_what_fails_comes_again_with_its_id_and_a_new_time(self):
        stack, receiver = self.one(retry_s="[1, 1, 1]")
        receiver.answers = [(500, {}), (302, {"location": f"https://127.0.0.1:{receiver.port}/elsewhere"}), (404, {})]
        self.register(stack, "d1")
        requests = receiver.wait(4)
        time.sleep(1.5)
        self.assertEqual(len(receiver.requests), 4)
        self.assertEqual({r[1] for r in requests}, {"/hook?x=1"})  # no redirect was followed
        self.assertEqual(len({(r[2]["webhook-id"], r[3]) for r in requests}), 1)
        self.assertGreater(len({r[2]["webhook-timestamp"] for r in requests}), 1)
        for earlier, later in zip(requests, requests[1:]):
            self.assertGreater(later[0] - earlier[0], 0.9)
        self.assertEqual(self.letters(stack)["dead_letters"], [])

    def test_retry_after_is_respected(self):
        stack, receiver = self.one()
        receiver.answers = [(503, {"retry-after": "4"})]
        self.register(stack, "d1")
        first, second = receiver.wait(2)
        self.assertGreater(second[0] - first[0], 3.5)

    def test_dead_letters_are_listed_sent_again_and_forgotten(self):
        stack, receiver = self.one(retry_s="[1]")
        receiver.answers = [(500, {})] * 6
        for name in ["d1", "d2", "d3"]:
            self.register(stack, name)
        letters = self.wait_dead(stack, 3)
        receiver.wait(6)
        self.assertEqual([(d["webhook"], d["attempts"], d["status"], d["detail"]) for d in letters], [("h", 2, 500, "HTTP status 500")] * 3)
        self.assertEqual({d["event"]["data"]["device"] for d in letters}, {"d1", "d2", "d3"})
        self.assertEqual(self.letters(stack, token="admin-of-another")["dead_letters"], [])
        page = self.letters(stack, "?limit=2")
        rest = self.letters(stack, f"?limit=2&cursor={page['next_cursor']}")
        self.assertEqual(page["dead_letters"] + rest["dead_letters"], letters)
        self.assertIsNone(rest["next_cursor"])
        path = f"/v1/webhooks/dead-letters/{letters[0]['id']}"
        self.assertEqual(stack.delete(path, token="admin-of-another").status, 404)
        self.assertEqual(stack.request("POST", path + "/retry").status, 202)
        self.assertEqual(json.loads(receiver.wait(7)[6][3]), letters[0]["event"])
        self.assertEqual(stack.request("POST", path + "/retry").status, 404)
        path = f"/v1/webhooks/dead-letters/{letters[1]['id']}"
        self.assertEqual(stack.delete(path).status, 204)
        self.assertEqual(stack.delete(path).status, 404)
        self.assertEqual(self.letters(stack)["dead_letters"], letters[2:])
        self.metric(stack, 'result="dead"} 3')
        stack.gateway.stop()
        stack.edit_config(lambda text: text.replace("name: h", "name: renamed"))
        stack.gateway = stack.start_gateway()
        reply = stack.request("POST", f"/v1/webhooks/dead-letters/{letters[2]['id']}/retry")
        self.assertEqual((reply.status, reply.json["type"].rsplit(":", 1)[1]), (409, "no-webhook"))
        self.assertEqual(self.letters(stack)["dead_letters"], letters[2:])

    def test_what_was_acknowledged_before_kill_9_is_delivered_after_it(self):
        port = free_port()
        stack = self.start({"url": f'"https://127.0.0.1:{port}/"', "events": '["device.registered"]'})
        names = [f"d{n}" for n in range(40)]
        for name in names[:20]:  # nobody listens
            self.register(stack, name)
        stack.gateway.kill()
        receiver = self.receiver(stack, port, delay_s=0.2)
        stack.gateway = stack.start_gateway()
        for name in names[20:]:
            self.register(stack, name)
        receiver.wait(25)
        stack.gateway.kill()  # some are on their way
        stack.gateway = stack.start_gateway()
        wait_for(lambda: {b["data"]["device"] for b in receiver.bodies()} == set(names), 20, lambda: str(receiver.bodies()))
        wait_for(lambda: receiver.busy == 0)
        time.sleep(1)
        self.assertLessEqual(receiver.busy_max, 2 * 4)  # four, and those of the gateway that was killed
        self.assertLess(len(receiver.requests), len(names) + 8 * SLOW)  # twice is rare
        per_id = {}
        for _, _, headers, body in receiver.requests:
            per_id.setdefault(headers["webhook-id"], set()).add(body)
        self.assertEqual(len(per_id), len(names))
        self.assertEqual({len(bodies) for bodies in per_id.values()}, {1})

    def test_410_ends_deliveries_until_the_next_start(self):
        stack, receiver = self.one()
        receiver.answers = [(410, {})]
        self.register(stack, "d1")
        receiver.wait(1)
        wait_for(lambda: "webhook disabled" in stack.gateway.log())
        self.register(stack, "d2")
        time.sleep(2.5)
        self.assertEqual(len(receiver.requests), 1)
        stack.gateway.stop()
        stack.gateway = stack.start_gateway()
        receiver.wait(3)
        self.assertEqual({b["data"]["device"] for b in receiver.bodies()}, {"d1", "d2"})

    def refused(self, host, detail, **entry):
        port = free_port()
        stack = self.start({"url": f'"https://{host}:{port}/"', "retry_s": "[1]", **entry})
        receiver = self.receiver(stack, port)
        self.register(stack, "d1")
        [letter] = self.wait_dead(stack)
        self.assertEqual(receiver.requests, [])
        self.assertIsNone(letter["status"])
        self.assertIn(detail, letter["detail"])

    def test_no_private_address_is_connected_to(self):
        self.refused("127.0.0.1", "127.0.0.1 is not a public address", allow_private="false")

    def test_a_name_that_leads_to_a_private_address_is_no_way_round(self):
        self.refused("localhost", "is not a public address", allow_private="")

    def test_the_certificate_is_checked(self):
        self.refused("127.0.0.1", "certificate", ca_file="")

    def test_a_webhook_that_hangs_holds_up_no_other(self):
        ports = [free_port(), free_port()]
        stack = self.start(*({"url": f'"https://127.0.0.1:{p}/"', "events": '["device.registered"]'} for p in ports))
        hangs, works = self.receiver(stack, ports[0], delay_s=3), self.receiver(stack, ports[1])
        for n in range(12):
            self.register(stack, f"d{n}")
        works.wait(12)
        self.assertLess(len(hangs.requests), 12)
        hangs.wait(12, 20)
        self.assertEqual(hangs.busy_max, 4)

    def test_what_cannot_be_used_is_said_at_start(self):
        def check(stack):
            done = subprocess.run([os.path.join(BIN, "wakegate"), "check", "-c", stack.config], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, check=False)
            self.assertEqual(done.returncode, 1)
            return done.stdout.decode()
        stack = self.start({"url": '"https://h.example"', "events": '["call.*", "cal.ended"]'}, gateway=False)
        self.assertIn('webhooks: https://h.example: events: "cal.ended" matches no event type', check(stack))
        stack = self.start({"url": '"https://h.example"', "name": "h"}, gateway=False)
        with open(stack.path("hook.key"), "w") as f:
            f.write("secret\n")
        self.assertIn('hook.key: line 1 is not "whsec_"', check(stack))
        with self.assertRaises(AssertionError) as refused:
            stack.start_gateway()
        self.assertIn("webhooks: h: ", str(refused.exception))
        os.chmod(stack.path("hook.key"), 0o644)
        self.assertIn("webhooks[0].secret_file: ", check(stack))


if __name__ == "__main__":
    unittest.main()
