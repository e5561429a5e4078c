# SPDX-License-Identifier: Apache-2.0
"""The gateway's push client against an APNs made of other people's software: python-h2 on OpenSSL, with the tokens verified by
python3-cryptography. What it sends, how much at once, and what every answer, silence and certificate leads to."""
import base64
import contextlib
import hashlib
import json
import re
import socket
import ssl
import subprocess
import threading
import time
import unittest

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hyperframe.frame
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from harness import SLOW, Stack, wait_for

UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


class Push:
    """One stream, as it came."""

    def __init__(self, connection, stream, headers):
        self.connection, self.stream, self.headers, self.body = connection, stream, headers, b""
        self.at, self.reset = time.monotonic(), False

    @property
    def payload(self):
        return json.loads(self.body)

    @property
    def call(self):
        return self.payload["wakegate"]["call"]

    def header(self, name):
        return dict(self.headers)[name]

    def answer(self, status=200, reason=None, timestamp=None):
        body = {"reason": reason} if reason else {}
        if timestamp:
            body["timestamp"] = timestamp
        self.connection.answer(self, status, json.dumps(body).encode() if body else b"")


class Connection:
    """One provider connection, on a thread of its own."""

    def __init__(self, server, sock):
        self.server, self.sock, self.lock, self.closed = server, sock, threading.Lock(), False
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.open, self.most_open = {}, 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        try:
            if self.server.settings is not None:
                self.start()
            while data := self.sock.recv(65536):
                with self.lock:
                    events = self.h2.receive_data(data)
                    self.sock.sendall(self.h2.data_to_send())
                for event in events:
                    self.take(event)
        except (OSError, h2.exceptions.ProtocolError) as e:
            if not self.closed:
                self.server.troubles.append(repr(e))
        self.closed = True
        self.sock.close()

    def start(self):
        with self.lock:
            self.h2.local_settings = h2.settings.Settings(client=False, initial_values=self.server.settings)
            self.h2.initiate_connection()
            self.sock.sendall(self.h2.data_to_send())

    def take(self, event):
        stream = getattr(event, "stream_id", None)
        if isinstance(event, h2.events.RequestReceived):
            self.open[stream] = Push(self, stream, [(n, v) for n, v in event.headers])
            self.most_open = max(self.most_open, len(self.open))
        elif isinstance(event, h2.events.DataReceived):
            self.open[stream].body += event.data
            with self.lock:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                self.sock.sendall(self.h2.data_to_send())
        elif isinstance(event, h2.events.StreamEnded):
            push = self.open[stream]
            self.server.pushes.append(push)
            self.server.react(push)
        elif isinstance(event, h2.events.StreamReset) and stream in self.open:
            self.open.pop(stream).reset = True

    def write(self, act):
        with self.lock:
            act()
            self.sock.sendall(self.h2.data_to_send())

    def answer(self, push, status, body):
        def act():
            headers = [(":status", str(status)), ("apns-id", push.header("apns-id"))]
            self.h2.send_headers(push.stream, headers, end_stream=not body)
            if body:
                self.h2.send_data(push.stream, body, end_stream=True)
        self.open.pop(push.stream, None)
        self.write(act)

    def reset(self, push, code):
        self.open.pop(push.stream, None)
        self.write(lambda: self.h2.reset_stream(push.stream, code))

    def goaway(self, last_stream, reason):
        """python-h2 takes its own GOAWAY for the end; here, what is open is still answered."""
        frame = hyperframe.frame.GoAwayFrame(0, last_stream, additional_data=json.dumps({"reason": reason}).encode())
        with self.lock:
            self.sock.sendall(frame.serialize())

    def close(self):
        self.closed = True
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


class Peer:
    """The server. react(push) says what happens to each; `settings` None: it stays silent after TLS."""

    def __init__(self, port, certificate, key, streams=1000):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.context.set_alpn_protocols(["h2"])
        self.settings = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: streams}
        self.connections, self.pushes, self.troubles = [], [], []
        self.react = lambda push: push.answer()
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                raw = self.listener.accept()[0]
            except OSError:
                return
            try:
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections.append(Connection(self, self.context.wrap_socket(raw, server_side=True)))
            except OSError:  # the gateway does not like the certificate
                raw.close()

    def of(self, call):
        return [p for p in self.pushes if p.call == call]

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which would keep the port
        self.listener.close()
        for c in self.connections:
            c.close()


def b64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class PeerTest(unittest.TestCase):
    """A gateway whose APNs is the peer."""
    # A peer that has no time for 300 ms gets a ring twice, on two connections: tests that count pushes do without.
    hedges = True

    def start(self, listen=True, **options):
        self.stack = Stack(sim=False, gateway=False, edit=None if self.hedges else self.without_hedges)
        self.addCleanup(self.stack.close)
        self.peer = None
        if listen:
            self.listen(**options)
        self.stack.gateway = self.stack.start_gateway()
        if listen:
            self.wait_up()

    @staticmethod
    def without_hedges(text):
        return text.replace("ca_file: ca.pem", "ca_file: ca.pem\n      hedge_ms: 0")

    def listen(self, certificate="apns-sim.pem", key="apns-sim.key", **options):
        self.peer = Peer(self.stack.sim_port, self.stack.path(certificate), self.stack.path(key), **options)
        self.addCleanup(self.peer.close)

    def wait_up(self):
        wait_for(lambda: self.stack.get("/readyz", token=None).status == 200, 15, self.stack.gateway.log)

    def token(self, user):
        return hashlib.sha256(user.encode()).hexdigest()

    def register(self, user, **more):
        made = self.stack.put(f"/v1/devices/{user}-phone", {"user": user, "app": "vcs", "token": self.token(user),
                                                            "handoff": ["dtls"], **more})
        self.assertIn(made.status, (200, 201), made)

    def place(self, user="u", **more):
        self.register(user)
        made = self.stack.post("/v1/calls", {"callee": user, **more})
        self.assertEqual(made.status, 201, made)
        return made.json["id"]

    def wait_push(self, call, count=1, timeout_s=10):
        return wait_for(lambda: self.peer.of(call)[count - 1:count] or None, timeout_s,
                        lambda: f"{self.peer.troubles}\n{self.stack.gateway.log()}")[0]

    def leg(self, call, *states):
        """The call's only device, in one of these push states."""
        return wait_for(lambda: next((d for d in self.stack.call(call)["devices"] if d["push_state"] in states), None),
                        10, lambda: f"{self.stack.call(call)}\n{self.stack.gateway.log()}")


    def never_left(self, over):
        """The ring's end finds the push in the queue: it expires there, or is taken back in the same moment."""
        self.assertEqual(over["reason"], "expired")
        self.assertIsNone(self.leg(over["id"], "expired", "withdrawn")["apns_status"])


class Requests(PeerTest):
    def verify_token(self, authorization):
        self.assertTrue(authorization.startswith("bearer "))
        head, claims, signature = authorization[len("bearer "):].split(".")
        with open(self.stack.path("apns-key.pub.pem"), "rb") as f:
            key = serialization.load_pem_public_key(f.read())
        raw = b64(signature)
        self.assertEqual(len(raw), 64)
        der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        key.verify(der, f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))  # raises when it does not fit
        self.assertEqual({k: v for k, v in json.loads(b64(head)).items() if k != "typ"},
                         {"alg": "ES256", "kid": "FGHIJ67890"})
        claims = json.loads(b64(claims))
        self.assertEqual(claims["iss"], "ABCDE12345")
        self.assertLess(abs(claims["iat"] - time.time()), 60 * SLOW)
        self.assertEqual(set(claims), {"iss", "iat"})

    def test_a_push_is_what_the_design_says(self):
        self.start()
        call = self.place(caller={"handle": "+15550100", "name": 'Ward "3"\n\U0001F600'}, video=True, data={"bed": 2},
                          ring_timeout_s=20)
        push = self.wait_push(call)
        names = [n for n, _ in push.headers]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(sorted(names[:4]), [":authority", ":method", ":path", ":scheme"])  # first, and complete
        [leg] = self.stack.call(call)["devices"]
        authorization = push.header("authorization")
        self.assertEqual(dict(push.headers), {
            ":method": "POST", ":scheme": "https", ":authority": "127.0.0.1", ":path": f"/3/device/{self.token('u')}",
            "authorization": authorization, "apns-push-type": "voip", "apns-topic": "com.example.vcs.voip",
            "apns-priority": "10", "apns-expiration": "0", "apns-id": leg["apns_id"]})
        self.assertRegex(leg["apns_id"], UUID)
        self.verify_token(authorization)
        w = push.payload["wakegate"]
        self.assertEqual(push.payload, {"aps": {}, "data": {"bed": 2}, "wakegate": {
            "v": 1, "call": call, "push": leg["apns_id"], "video": True, "token": w["token"], "sent_at": w["sent_at"],
            "expires_at": w["expires_at"], "caller": {"handle": "+15550100", "name": 'Ward "3" \U0001F600'},
            "attach": f"ws://127.0.0.1:{self.stack.api_port}/v1/attach"}})
        self.assertLess(abs(w["sent_at"] / 1000 - time.time()), 10 * SLOW)
        self.assertTrue(0 <= 20000 - (w["expires_at"] - w["sent_at"]) < 5000 * SLOW, w)
        # Another push: another token for the phone, the same one for the provider.
        second = self.wait_push(self.place("v"))
        self.assertNotEqual(second.payload["wakegate"]["token"], w["token"])
        self.assertEqual(second.header("authorization"), authorization)

    def test_the_largest_call_fits_into_a_push(self):
        self.start()
        call = self.place(caller={"handle": "h" * 1024, "name": "\U0001F469" * 256}, data={"x": "y" * 2030})
        push = self.wait_push(call)
        self.assertLessEqual(len(push.body), 5120)
        self.assertEqual(len(push.payload["data"]["x"]), 2030)
        self.assertEqual(set(push.payload["wakegate"]["caller"]["name"]), {"\U0001F469"})

    def test_one_stream_until_the_first_token_is_accepted_then_the_servers_limit(self):
        self.start(streams=5)
        waiting = []
        self.peer.react = waiting.append
        for i in range(12):
            self.place(f"many-{i}")
        def most_open():  # of whatever connections there are: a push that waits long is reason for a second one
            return max(c.most_open for c in self.peer.connections)
        wait_for(lambda: waiting)
        time.sleep(0.5)
        self.assertEqual(most_open(), 1)
        self.assertLessEqual(len(waiting), len(self.peer.connections))
        first = waiting[:]
        del waiting[:len(first)]
        for push in first:
            push.answer()
        wait_for(lambda: most_open() == 5)
        time.sleep(0.5)
        self.assertEqual(most_open(), 5)
        self.peer.react = lambda push: push.answer()
        for push in waiting[:]:
            push.answer()
        wait_for(lambda: len({push.call for push in self.peer.pushes}) == 12)
        self.assertEqual(most_open(), 5)
        self.assertEqual(self.peer.troubles, [])

    def test_a_token_that_is_refused_proves_nothing(self):
        self.start(streams=5)
        waiting = []
        self.peer.react = waiting.append
        for i in range(4):
            self.place(f"doubt-{i}")
        wait_for(lambda: waiting)
        waiting.pop().answer(403, "InvalidProviderToken")
        wait_for(lambda: waiting)  # on a new connection
        time.sleep(0.3)
        self.assertEqual(len(waiting), 1)
        self.assertGreaterEqual(len(self.peer.connections), 2)
        self.assertEqual(max(c.most_open for c in self.peer.connections), 1)


class Answers(PeerTest):
    """status, reason, what becomes of the device; every refusal leaves the callee unreachable."""
    hedges = False
    REFUSED = [
        (400, "BadDeviceToken", "invalid"), (400, "DeviceTokenNotForTopic", "suspect"), (400, "TopicDisallowed", "ok"),
        (400, "BadTopic", "ok"), (400, "BadPriority", "ok"), (400, "SomethingNew", "ok"), (403, "BadCertificate", "ok"),
        (403, "Forbidden", "ok"), (403, "InvalidProviderToken", "ok"), (403, "MissingProviderToken", "ok"),
        (403, "BadEnvironmentKeyInToken", "ok"), (404, "BadPath", "ok"), (405, "MethodNotAllowed", "ok"),
        (410, "ExpiredToken", "invalid"), (410, "Unregistered", "invalid"), (413, "PayloadTooLarge", "ok"),
        (429, "TooManyRequests", "ok")]
    # One more try, with the same id and the same payload; then it is refused.
    TWICE = [(403, "ExpiredProviderToken"), (429, "TooManyProviderTokenUpdates"), (500, "InternalServerError"),
             (503, "ServiceUnavailable"), (599, "")]

    def test_every_refusal(self):
        self.start()
        for status, reason, health in self.REFUSED:
            with self.subTest(status=status, reason=reason):
                user = f"r-{status}-{reason.lower()}"
                self.peer.react = lambda push: push.answer(status, reason, int(time.time() * 1000) + 60000
                                                           if status == 410 else None)
                call = self.place(user)
                over = self.stack.wait_state(call, "ended", timeout_s=15)
                self.assertEqual(over["reason"], "unreachable")
                [leg] = over["devices"]
                self.assertEqual((leg["push_state"], leg["apns_status"], leg["apns_reason"]), ("rejected", status, reason))
                self.assertEqual(len(self.peer.of(call)), 1)
                self.assertEqual(self.stack.get(f"/v1/devices/{user}-phone").json["health"], health)
                self.assertIn("push_rejected", [e["event"] for e in self.stack.timeline(call)])
        self.assertEqual(self.peer.troubles, [])

    def test_what_may_pass_is_tried_twice(self):
        self.start()
        for status, reason in self.TWICE:
            with self.subTest(status=status, reason=reason):
                self.peer.react = lambda push: push.answer(status, reason or None)
                call = self.place(f"t-{status}-{reason.lower()}")
                over = self.stack.wait_state(call, "ended", timeout_s=15)
                self.assertEqual((over["reason"], over["devices"][0]["apns_status"]), ("unreachable", status))
                first, second = self.peer.of(call)
                self.assertEqual((first.header("apns-id"), first.body), (second.header("apns-id"), second.body))
                self.peer.react = lambda push: push.answer()
                self.leg(self.place(f"after-{status}-{reason.lower()}"), "accepted")

    def test_a_server_that_shuts_down_is_left_for_another_until_the_ring_is_over(self):
        self.start()
        self.peer.react = lambda push: push.answer(503, "Shutdown")
        call = self.place("down", ring_timeout_s=5)
        over = self.stack.wait_state(call, "ended", timeout_s=15)
        self.assertEqual(over["reason"], "expired")
        leg = self.leg(call, "rejected", "withdrawn")  # ring and push have the same deadline: whichever is first
        if leg["push_state"] == "rejected":
            self.assertEqual((leg["apns_status"], leg["apns_reason"]), (503, "Shutdown"))
        self.assertGreater(len(self.peer.of(call)), 2)
        self.assertEqual(len({push.connection for push in self.peer.of(call)}), len(self.peer.of(call)))
        back = self.place("back")
        self.peer.react = lambda push: push.answer()
        self.leg(back, "accepted")

    def test_a_token_that_died_before_the_registration_is_not_given_up(self):
        self.start()
        self.peer.react = lambda push: push.answer(410, "Unregistered", 1600000000000)
        call = self.place("reborn")
        self.assertEqual(self.stack.wait_state(call, "ended")["reason"], "unreachable")
        self.assertEqual(self.stack.get("/v1/devices/reborn-phone").json["health"], "ok")


class Connections(PeerTest):
    hedges = False

    def test_goaway_ends_nothing_that_was_answered_and_loses_nothing(self):
        self.start()
        self.leg(self.place("before"), "accepted")
        waiting = []
        self.peer.react = waiting.append
        first = self.place("kept")
        wait_for(lambda: waiting)
        old = waiting[0].connection
        old.goaway(waiting[0].stream, "Shutdown")
        waiting.pop().answer()  # still answered on the old connection
        self.leg(first, "accepted")
        self.peer.react = lambda push: push.answer()
        second = self.place("moved")
        self.leg(second, "accepted")
        self.assertIsNot(self.wait_push(second).connection, old)
        self.assertEqual((len(self.peer.of(first)), len(self.peer.of(second))), (1, 1))
        self.assertRegex(self.stack.gateway.log(), r'event="apns goaway".*reason=Shutdown')

    def test_a_stream_that_was_refused_goes_out_again(self):
        self.start()
        tries = []

        def react(push):
            tries.append(push)
            if len(tries) < 4:  # never processed: this costs no try
                push.connection.reset(push, h2.errors.ErrorCodes.REFUSED_STREAM)
            elif len(tries) == 4:
                push.answer(500, "InternalServerError")
            else:
                push.answer()
        self.peer.react = react
        self.leg(self.place("refused"), "accepted")
        self.assertEqual(len(tries), 5)
        self.assertEqual(len({p.header("apns-id") for p in tries}), 1)

    def test_a_stream_that_broke_is_tried_twice(self):
        self.start()
        self.peer.react = lambda push: push.connection.reset(push, h2.errors.ErrorCodes.INTERNAL_ERROR)
        call = self.place("broken")
        over = self.stack.wait_state(call, "ended")
        self.assertEqual((over["reason"], over["devices"][0]["push_state"]), ("unreachable", "failed"))
        self.assertEqual(len(self.peer.of(call)), 2)

    def test_a_server_that_closes_gets_the_push_again_on_the_next_connection(self):
        self.start()
        done = []

        def react(push):
            done.append(push)
            if len(done) == 1:
                push.connection.close()
            else:
                push.answer()
        self.peer.react = react
        self.leg(self.place("closed"), "accepted")
        self.assertEqual(len(done), 2)
        self.assertIsNot(done[0].connection, done[1].connection)
        self.assertEqual(done[0].header("apns-id"), done[1].header("apns-id"))
        self.assertIn('event="apns connection lost"', self.stack.gateway.log())

    def test_a_server_that_never_answers(self):
        self.start()
        self.peer.react = lambda push: None
        began = time.monotonic()
        call = self.place("silent", ring_timeout_s=2)
        push = self.wait_push(call)
        over = self.stack.wait_state(call, "ended", timeout_s=15)
        self.assertGreater(time.monotonic() - began, 1.9)
        # The push left, and nobody knows whether it arrived; none of it was accepted.
        self.assertEqual(over["reason"], "expired")
        leg = self.leg(call, "failed")
        self.assertIsNone(leg["apns_status"])
        result = [e for e in wait_for(lambda: [e for e in self.stack.timeline(call) if e["event"] == "push_rejected"])][0]
        self.assertEqual((result["status"], result["reason"]), (0, "timed out"))
        self.assertIn("push_written", [e["event"] for e in self.stack.timeline(call)])
        wait_for(lambda: push.reset)  # the stream is given back
        self.peer.react = lambda p: p.answer()
        self.leg(self.place("next"), "accepted")
        self.assertEqual(len(self.peer.of(call)), 1)
        self.assertLessEqual(len(self.peer.connections), 2)

    def test_a_server_that_is_not_there_until_later(self):
        self.start(listen=False)
        lost = self.place("lost", ring_timeout_s=1)
        late = self.place("late")
        over = self.stack.wait_state(lost, "ended")
        self.never_left(over)
        self.assertEqual(self.stack.call(late)["state"], "ringing")
        self.assertRegex(self.stack.gateway.log(), r'event="apns connection lost".*what=connect detail="connection refused"')
        self.listen()
        self.leg(late, "accepted")
        self.assertEqual((len(self.peer.of(lost)), len(self.peer.of(late))), (0, 1))

    def test_a_server_without_settings_gets_nothing(self):
        self.stack = Stack(sim=False, gateway=False)
        self.addCleanup(self.stack.close)
        self.listen()
        self.peer.settings = None
        self.stack.gateway = self.stack.start_gateway()
        wait_for(lambda: self.peer.connections)
        call = self.place("early", ring_timeout_s=1)
        self.assertEqual(self.stack.wait_state(call, "ended")["reason"], "expired")
        self.assertEqual(self.peer.connections[0].open, {})


class Certificates(PeerTest):
    def make(self, name, san, ca="ca"):
        path = self.stack.path

        def openssl(*args):
            subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if ca != "ca":
            openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=another CA", "-keyout",
                    path(ca + ".key"), "-out", path(ca + ".pem"))
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=peer", "-keyout", path(name + ".key"), "-out",
                path(name + ".csr"))
        with open(path(name + ".ext"), "w") as f:
            f.write(f"subjectAltName={san}\n")
        openssl("x509", "-req", "-in", path(name + ".csr"), "-CA", path(ca + ".pem"), "-CAkey", path(ca + ".key"),
                "-set_serial", "7", "-days", "2", "-extfile", path(name + ".ext"), "-out", path(name + ".pem"))

    def refused(self, name, san, ca, words):
        self.stack = Stack(sim=False, gateway=False)
        self.addCleanup(self.stack.close)
        self.make(name, san, ca)
        self.listen(name + ".pem", name + ".key")
        self.stack.gateway = self.stack.start_gateway()
        call = self.place("cert", ring_timeout_s=1)
        over = self.stack.wait_state(call, "ended")
        self.never_left(over)
        self.assertEqual(self.peer.pushes, [])
        self.assertEqual(self.stack.get("/readyz", token=None).status, 503)
        self.assertRegex(self.stack.gateway.log(), rf'event="apns connection lost".*what=tls detail="{words}')
        # The right certificate is found at the next try.
        waiting = self.place("cert-later")
        self.peer.close()
        self.listen()
        self.leg(waiting, "accepted")

    def test_of_another_ca(self):
        self.refused("stranger", "IP:127.0.0.1", "other", "unable to get local issuer certificate|self.signed")

    def test_of_another_name(self):
        self.refused("misnamed", "IP:127.0.0.9,DNS:api.push.example", "ca", "IP address mismatch")


if __name__ == "__main__":
    unittest.main()
