# SPDX-License-Identifier: Apache-2.0
"""Each behaviour of the APNs simulator once, over python-h2; the scenario file; the assertions."""
import json
import os
import socket
import ssl
import subprocess
import time
import unittest
import urllib.error
import urllib.request

import h2.errors
import h2.exceptions
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness import SLOW, wait_for
from test_apns_foreign import BIN, BUNDLE, KEY, TEAM, WAIT_S, ForeignClients, Provider, provider_token

DEVICE = "00ff"
OTHER = "com.example.other"
SHORT_S = 0.3 * SLOW


class Sim(ForeignClients):
    """One simulator for a test, started with the options that it names."""
    __test__ = True

    def setUp(self):
        self.open, self.sim = [], None

    def tearDown(self):
        if self.sim:
            super().tearDown()

    def start(self, *options, devices=((DEVICE, BUNDLE),)):
        ready = os.path.join(self.dir, f"{self.id()}.json")
        self.log = open(os.path.join(self.dir, f"{self.id()}.log"), "wb")
        self.sim = subprocess.Popen([os.path.join(BIN, "wakegate-apns-sim"), "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0",
                                     "--cert", self.cert, "--key", self.cert_key, "--auth-key", f"{TEAM}:{KEY}:{self.public}",
                                     "--bundle", BUNDLE, "--bundle", OTHER, "--ready-file", ready, *options],
                                    stdin=subprocess.DEVNULL, stderr=self.log)
        self.where = self.wait_ready(ready)
        self.port, self.control = (int(self.where[k].rsplit(":", 1)[1]) for k in ("listen", "control"))
        self.token = provider_token(self.key)
        for token, bundle in devices:
            self.ask("PUT", f"/v1/devices/{token}", {"bundle_id": bundle})
        return self

    def ask(self, method, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.control}{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=WAIT_S) as reply:
            text = reply.read()
        return json.loads(text) if text else None

    def refused(self, method, path, body):
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.ask(method, path, body)
        self.assertEqual(caught.exception.code, 400)
        detail = json.loads(caught.exception.read())["detail"]
        caught.exception.close()
        return detail

    def set(self, **keys):
        return self.ask("PATCH", "/v1/behaviour", keys)

    def push(self, provider, body=b"{}", token=DEVICE, **change):
        return provider.push(self.headers(token, **change), body)

    def gives(self, provider, status, reason, **change):
        answer = self.push(provider, **change)
        self.assertEqual((answer.status, answer.reason), (status, reason))
        return answer

    def quiet(self, provider, answers=()):
        """Nothing is answered for a while."""
        provider.flush()
        provider.sock.settimeout(SHORT_S)
        with self.assertRaises((TimeoutError, socket.timeout)):
            while True:
                provider.take()
        provider.sock.settimeout(WAIT_S)
        self.assertFalse(any(a.ended for a in answers))

    def closed(self, provider):
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            while True:
                provider.take()

    def until_goaway(self, provider):
        provider.wait(lambda: provider.goaway)
        return provider.goaway


def load(cls):
    """The tests of the base class are not run again."""
    return [name for name in vars(cls) if name.startswith("test_")]


class Behaviours(Sim):
    def test_the_clock_makes_an_hour_pass(self):
        provider = self.start().provider()
        self.gives(provider, 200, "")
        before = self.ask("GET", "/v1/clock")["now_ms"]
        after = self.ask("PUT", "/v1/clock", {"advance_ms": 3601000})["now_ms"]
        self.assertGreaterEqual(after - before, 3601000)
        self.gives(provider, 403, "ExpiredProviderToken")
        self.ask("PUT", "/v1/clock", {"now_ms": 1000000000000, "speed": 0})
        self.assertEqual(self.ask("GET", "/v1/clock")["now"], "2001-09-09T01:46:40.000Z")
        self.gives(provider, 403, "InvalidProviderToken")
        self.refused("PUT", "/v1/clock", {"speed": -1})

    def test_versions_of_tls(self):
        for wanted, version in (("1.2", "TLSv1.2"), ("1.3", "TLSv1.3")):
            with self.subTest(wanted):
                if not self.sim:
                    self.start()
                self.set(tls=wanted)
                self.assertEqual(self.provider().sock.version(), version)

    def test_a_handshake_that_stalls_and_one_that_is_reset(self):
        self.start("--handshake", "reset")
        with self.assertRaises(ConnectionResetError):
            self.provider()
        self.set(handshake="stall")
        raw = socket.create_connection(("127.0.0.1", self.port), SHORT_S)
        self.open.append(raw)
        with self.assertRaises((TimeoutError, socket.timeout)):
            ssl.create_default_context(cafile=self.cert).wrap_socket(raw, server_hostname="localhost")

    def test_accepting_late(self):
        self.start("--accept-delay-ms", "400")
        begun = time.monotonic()
        self.provider()
        self.assertGreater(time.monotonic() - begun, 0.35)

    def test_several_addresses(self):
        self.start("--listen", "127.0.0.2:0", "--rule", '{"match":{"address":"127.0.0.2"},"action":{"type":"answer","status":500,'
                   '"reason":"InternalServerError"}}')
        self.gives(self.provider(), 200, "")
        address = self.where["addresses"][1]
        self.assertTrue(address.startswith("127.0.0.2:"))
        context = ssl.create_default_context(cafile=self.cert)
        context.set_alpn_protocols(["h2"])
        self.assertEqual(len(self.where["addresses"]), 2)
        other = Provider.__new__(Provider)
        first = socket.create_connection
        socket.create_connection = lambda _, timeout: first(("127.0.0.2", int(address.split(":")[1])), timeout)
        try:
            Provider.__init__(other, 0, self.cert)
        finally:
            socket.create_connection = first
        self.open.append(other)
        self.gives(other.start(), 500, "InternalServerError")

    def test_rejections_cut_the_streams(self):
        provider = self.start("--after-rejection", "strict", "--settings-streams", "64").provider()
        limit = lambda: provider.h2.remote_settings.max_concurrent_streams
        self.gives(provider, 200, "")
        provider.wait(lambda: limit() == 64)
        self.gives(provider, 400, "BadDeviceToken", token="01")
        provider.wait(lambda: limit() == 1)
        self.gives(provider, 200, "")
        provider.wait(lambda: limit() == 64)
        self.set(after_rejection="gentle")
        self.gives(provider, 400, "BadDeviceToken", token="01")
        provider.wait(lambda: limit() == 32)
        self.ask("PUT", f"/v1/devices/{DEVICE}", {"bundle_id": BUNDLE, "state": "unregistered"})
        self.gives(provider, 410, "Unregistered")
        self.assertEqual(limit(), 32)

    def two_at_once(self):
        """Both requests leave before SETTINGS are here."""
        provider = self.provider(start=False)
        provider.h2.initiate_connection()
        first = provider.submit(self.headers(DEVICE), b"{", end=False)
        second = provider.submit(self.headers(DEVICE), b"{}")
        provider.flush()
        return provider, first, second

    def test_streams_above_the_limit_end_the_connection_or_are_closed_twice(self):
        self.start("--above-limit", "goaway", "--goaway-delay-ms", "100")
        provider, _, _ = self.two_at_once()
        goaway = self.until_goaway(provider)
        self.assertEqual((goaway.error_code, goaway.last_stream_id), (h2.errors.ErrorCodes.REFUSED_STREAM, 1))
        with self.assertRaises(ValueError):
            json.loads(goaway.additional_data)
        self.set(above_limit="refuse-twice", journal_frames=100)
        provider, _, second = self.two_at_once()
        provider.wait(lambda: second.reset is not None)
        resets = [f["code"] for f in self.ask("GET", "/v1/frames")["frames"] if f["type"] == "RST_STREAM"]
        self.assertEqual(resets, [7, 5])

    def test_reasons_ids_and_header_lists(self):
        self.start("--environment", "sandbox", "--key-scopes", f"{KEY}:production", devices=())
        self.ask("PUT", f"/v1/devices/{DEVICE}", {"bundle_id": BUNDLE, "environment": "sandbox"})
        provider = self.provider()
        self.gives(provider, 403, "BadEnvironmentKeyIdInToken")
        self.set(environment_key_reason="BadEnvironmentKeyInToken")
        self.gives(provider, 403, "BadEnvironmentKeyInToken")
        self.set(key_scopes="")
        self.assertIn("apns-unique-id", self.gives(provider, 200, "").headers)
        self.set(unique_id="never", upper_case_id="accept")
        upper = "7D1B8A1E-31A5-4F7C-8B0D-2F6F6D0F3C11"
        answer = self.gives(provider, 200, "", apns_id=upper)
        self.assertEqual((answer.headers["apns-id"], "apns-unique-id" in answer.headers), (upper, False))
        self.set(upper_case_id="reject", header_list_max_bytes=500)
        self.assertEqual(self.push(provider).status, 431)

    def test_two_tokens_wedge_a_connection_for_a_while(self):
        provider = self.start("--wedge-s", "3600").provider()
        self.gives(provider, 200, "", authorization=f"bearer {provider_token(self.key, age_s=60)}")
        self.gives(provider, 429, "TooManyProviderTokenUpdates")
        lost = provider.submit(self.headers(DEVICE), b"{}")
        self.quiet(provider, [lost])
        self.gives(self.provider(), 200, "")
        assertion = {a["name"]: a for a in self.ask("GET", "/v1/assertions")["assertions"]}["token_changes"]
        self.assertEqual((assertion["holds"], assertion["broken"], assertion["examples"][0]["connection"]), (False, 1, 1))

    def test_a_connection_is_bound_to_what_was_known_first(self):
        two = ec.generate_private_key(ec.SECP256R1())
        public = os.path.join(self.dir, "two.pem")
        with open(public, "wb") as f:
            f.write(two.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        self.start("--auth-key", f"{TEAM}:KEYTOPICS2:{public}", "--auth-key", f"TEAM999999:KEYFOREIGN:{public}", "--binding",
                   "--key-scopes", f"KEYTOPICS2:any:{OTHER}")
        provider = self.provider()
        self.gives(provider, 200, "")
        topics = provider_token(two, key_id="KEYTOPICS2")
        self.gives(provider, 403, "UnrelatedKeyIdInToken", authorization=f"bearer {topics}")
        foreign = provider_token(two, key_id="KEYFOREIGN", team="TEAM999999")
        self.gives(provider, 403, "InvalidProviderToken", authorization=f"bearer {foreign}")
        self.ask("PUT", "/v1/bundles/com.example.late")
        self.ask("PUT", "/v1/devices/0a", {"bundle_id": "com.example.late"})
        late = {"token": "0a", "apns_topic": "com.example.late.voip"}
        self.gives(provider, 400, "TopicDisallowed", **late)
        self.gives(self.provider(), 200, "", **late)
        self.gives(self.provider(), 400, "TopicDisallowed", authorization=f"bearer {topics}")

    def client_certificate(self, *extensions, ca=None, name="client"):
        """With its topics and environments, as Apple's have them; by itself, or by a CA's certificate and key."""
        paths = [os.path.join(self.dir, f"{name}.{end}") for end in ("pem", "key")]
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                   f"/UID={BUNDLE}/CN={name}", "-out", paths[0], "-keyout", paths[1]]
        for extension in extensions:
            command += ["-addext", extension]
        subprocess.run(command + (["-CA", ca[0], "-CAkey", ca[1]] if ca else []), check=True, capture_output=True)
        return paths

    def certificate_provider(self, *extensions, ca=None):
        pair = self.client_certificate(*extensions, ca=ca)
        first = ssl.create_default_context

        def context(**options):
            made = first(**options)
            made.load_cert_chain(*pair)
            return made
        ssl.create_default_context = context
        try:
            return self.provider()
        finally:
            ssl.create_default_context = first

    @staticmethod
    def topics(*names):
        der = b"".join(b"\x0c" + bytes([len(n)]) + n.encode() + b"\x30\x05\x0c\x03app" for n in names)
        return "1.2.840.113635.100.6.3.6=DER:" + (b"\x30" + bytes([len(der)]) + der).hex(":")

    def test_client_certificates(self):
        self.start("--client-certificates", "--settings-streams", "77")
        production = "1.2.840.113635.100.6.3.2=DER:05:00"
        provider = self.certificate_provider(production, self.topics(BUNDLE, f"{BUNDLE}.voip"))
        self.assertEqual(provider.h2.remote_settings.max_concurrent_streams, 77)
        self.gives(provider, 200, "", authorization=None)
        self.gives(provider, 400, "MissingTopic", authorization=None, apns_topic=None)
        self.gives(provider, 400, "TopicDisallowed", authorization=None, apns_topic=f"{OTHER}.voip")
        provider = self.certificate_provider(production, self.topics(f"{BUNDLE}.voip"))
        self.gives(provider, 200, "", authorization=None, apns_topic=None)
        provider = self.certificate_provider("1.2.840.113635.100.6.3.1=DER:05:00", self.topics(BUNDLE))
        goaway = self.until_goaway(provider)
        self.assertEqual((int(goaway.error_code), goaway.last_stream_id, json.loads(goaway.additional_data)),
                         (0, 0, {"reason": "BadCertificateEnvironment"}))
        self.gives(self.provider(), 403, "MissingProviderToken", authorization=None)

    def test_client_certificates_of_one_authority(self):
        ca = self.client_certificate(name="authority")
        self.start("--client-certificates", "--client-ca", ca[0])
        topics = self.topics(f"{BUNDLE}.voip")
        self.gives(self.certificate_provider(topics, ca=ca), 200, "", authorization=None)
        stranger = self.certificate_provider(topics)
        # A provider token does not help: the certificate speaks for the connection.
        self.gives(stranger, 403, "BadCertificate", authorization=None)
        self.gives(stranger, 403, "BadCertificate")
        self.gives(self.provider(), 200, "")

    def test_goaway_in_all_its_forms(self):
        self.start("--settings-streams", "50")
        for action, data, last in (({}, b'{"reason":"Shutdown"}', 3), ({"body": "text", "text": "bye"}, b"bye", 3),
                                   ({"body": "empty", "last": "below"}, None, 1), ({"last": "above", "offset": 5, "times": 2}, b'{"reason":"Shutdown"}', 13),
                                   ({"last": "zero", "code": 2}, b'{"reason":"Shutdown"}', 0)):
            with self.subTest(action):
                self.ask("PUT", "/v1/script", {"rules": [{"match": {"request": 2}, "action": {"type": "goaway", **action}}]})
                provider = self.provider()
                self.gives(provider, 200, "")
                self.gives(provider, 200, "")
                goaway = self.until_goaway(provider)
                self.assertEqual((goaway.last_stream_id, goaway.additional_data or None, int(goaway.error_code)),
                                 (last, data, action.get("code", 0)))
                self.closed(provider)

    def test_goaway_and_the_connection_stays(self):
        """What comes behind last-stream-id is refused, or gets no answer."""
        self.start("--goaway-every", "1", "--goaway-then", "stay")
        for then in ("stay", "silent"):
            with self.subTest(then):
                self.set(goaway_then=then)
                provider = self.provider()
                self.gives(provider, 200, "")
                self.until_goaway(provider)
                provider.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
                late = provider.submit(self.headers(DEVICE), b"{}")
                if then == "stay":
                    provider.flush()
                    provider.wait(lambda: late.reset is not None)
                    self.assertEqual(late.reset, h2.errors.ErrorCodes.REFUSED_STREAM)
                else:
                    self.quiet(provider, [late])

    def test_shutdown_of_one_address(self):
        provider = self.start("--shutdown").provider()
        self.gives(provider, 503, "Shutdown")
        self.assertEqual(json.loads(self.until_goaway(provider).additional_data), {"reason": "Shutdown"})
        self.closed(provider)
        self.set(shutdown=False)
        self.ask("PUT", "/v1/script", {"rules": [{"match": {"on": "time", "at_ms": 1}, "action": {"type": "shutdown"}}]})
        wait_for(lambda: self.ask("GET", "/v1/script")["rules"][0]["acted"])
        provider = self.provider()
        self.gives(provider, 200, "")
        self.ask("POST", "/v1/actions", {"action": {"type": "shutdown"}, "address": "127.0.0.1"})
        self.assertEqual(self.until_goaway(provider).last_stream_id, 1)

    def test_too_many_bad_tokens(self):
        provider = self.start("--error-budget", "3").provider()
        for _ in range(3):
            self.gives(provider, 400, "BadDeviceToken", token="01")
        self.closed(provider)

    def test_windows_are_withheld(self):
        provider = self.start("--window-bytes", "20000").provider()
        body = b"{}" + b" " * 4000
        for _ in range(20):
            self.assertEqual(self.push(provider, body).status, 200)
        self.assertEqual(provider.h2.remote_settings.initial_window_size, 20000)
        self.set(withhold_windows=True)
        sent = 0
        with self.assertRaises(h2.exceptions.FlowControlError):
            for sent in range(40):
                self.push(provider, body)
        self.assertLess(sent, 20)
        connection = self.ask("GET", "/v1/connections")["connections"][0]
        self.assertGreater(connection["hpack_bytes"], 0)

    def test_black_holes(self):
        self.start()
        for hole, ping in (("stop-reading", False), ("silent", False), ("no-answers", True), ("drop-ping", False)):
            with self.subTest(hole):
                provider = self.provider()
                self.gives(provider, 200, "")
                self.ask("POST", "/v1/actions", {"action": {"type": "black-hole", "mode": hole}})
                seen, take = [], provider.h2.receive_data
                provider.h2.receive_data = lambda data, take=take, seen=seen: seen.extend(found := take(data)) or found
                provider.h2.ping(b"12345678")
                answer = provider.submit(self.headers(DEVICE), b"{}")
                provider.flush()
                provider.sock.settimeout(SHORT_S)
                try:
                    while True:
                        provider.take()
                except (TimeoutError, socket.timeout):
                    pass
                self.assertEqual(any(isinstance(e, h2.events.PingAckReceived) for e in seen), ping)
                self.assertEqual(answer.ended, hole == "drop-ping")
                provider.close()

    def test_one_stream_takes_700_seconds(self):
        self.start("--rule", '{"match":{"request":2},"action":{"type":"pass","delay_ms":700000}}', "--settings-streams", "50")
        provider = self.provider()
        self.gives(provider, 200, "")
        provider.wait(lambda: provider.h2.remote_settings.max_concurrent_streams == 50)
        late = provider.submit(self.headers(DEVICE), b"{}")
        self.gives(provider, 200, "")
        self.assertFalse(late.ended)
        self.ask("PUT", "/v1/clock", {"advance_ms": 700000})
        provider.wait(lambda: late.ended)
        self.assertEqual(late.status, 200)

    def test_a_device_is_throttled(self):
        provider = self.start("--device-limit", "2", "--retry-after-s", "30").provider()
        self.gives(provider, 200, "")
        self.gives(provider, 200, "")
        self.assertEqual(self.gives(provider, 429, "TooManyRequests").headers["retry-after"], "30")
        self.ask("PUT", "/v1/clock", {"advance_ms": 60000})
        self.gives(provider, 200, "")

    def test_rapid_reconnects_are_refused(self):
        self.start("--connect-limit", "2", "--connect-window-ms", "60000", "--connect-refuse-ms", "60000")
        self.provider()
        self.provider()
        with self.assertRaises((ConnectionError, ssl.SSLError)):
            self.provider()
        assertion = {a["name"]: a for a in self.ask("GET", "/v1/assertions")["assertions"]}["connect_rate"]
        self.assertFalse(assertion["holds"])
        self.ask("PUT", "/v1/clock", {"advance_ms": 120000})
        self.provider()

    def test_delivery_drops_doubles_collapses_and_expires(self):
        self.start("--delivery-duplicate-percent", "100")
        phone, provider = self.phone(), self.provider()
        self.gives(provider, 200, "", token=phone.token)
        self.assertEqual(phone.receive(), phone.receive())
        self.set(delivery_duplicate_percent=0, delivery_drop_percent=100)
        self.gives(provider, 200, "", token=phone.token)
        self.set(delivery_drop_percent=0, delivery_delay_ms=100)
        self.gives(provider, 200, "", token=phone.token, apns_collapse_id="c")
        last = self.gives(provider, 200, "", token=phone.token, apns_collapse_id="c").headers["apns-id"]
        push = phone.receive()
        self.assertEqual((push["apns_id"], push["must_report"]), (last, True))
        self.assertEqual([r["delivered"] for r in self.ask("GET", "/v1/journal")["requests"]][1:], ["dropped", "collapsed", "yes"])
        self.set(delivery_delay_ms=0)
        self.gives(provider, 200, "", apns_expiration=str(int(time.time()) + 60))
        self.ask("PUT", "/v1/clock", {"advance_ms": 61000})
        away = self.phone(token=DEVICE)
        self.gives(provider, 200, "", apns_collapse_id="fresh")
        self.assertEqual(away.receive()["expiration"], 0)

    def test_delivery_in_another_order(self):
        self.start("--delivery-reorder-percent", "100", "--delivery-reorder-ms", "600000")
        phone, provider = self.phone(), self.provider()

        def push():
            return self.gives(provider, 200, "", token=phone.token).headers["apns-id"]
        late = push()
        self.set(delivery_reorder_percent=0)
        self.assertEqual([push(), push()], [phone.receive()["apns_id"], phone.receive()["apns_id"]])
        self.assertEqual([r["delivered"] for r in self.ask("GET", "/v1/journal")["requests"]], ["no", "yes", "yes"])
        self.ask("PUT", "/v1/clock", {"advance_ms": 600000})
        self.assertEqual(phone.receive()["apns_id"], late)
        # Some of them, by the seed: first those that keep their place, then the others, each group in its order.
        self.set(delivery_reorder_percent=50, seed=7)
        sent = [push() for _ in range(20)]
        late = [r["apns_id"] for r in self.ask("GET", "/v1/journal")["requests"][3:] if r["delivered"] == "no"]
        self.assertIn(len(late), range(4, 17))
        self.assertEqual([phone.receive()["apns_id"] for _ in range(20 - len(late))], [i for i in sent if i not in late])
        self.ask("PUT", "/v1/clock", {"advance_ms": 600000})
        self.assertEqual([phone.receive()["apns_id"] for _ in late], late)

    def test_frames_and_assertions(self):
        provider = self.start("--journal-frames", "1000").provider()
        same = "7d1b8a1e-31a5-4f7c-8b0d-2f6f6d0f3c11"
        self.gives(provider, 200, "", apns_id=same)
        self.assertTrue(self.ask("GET", "/v1/assertions")["holds"])
        self.gives(provider, 200, "", apns_id=same)
        seen = self.ask("GET", "/v1/assertions")
        broken = [a for a in seen["assertions"] if not a["holds"]]
        self.assertEqual([a["name"] for a in broken], ["answered_once"])
        self.assertIn(same, broken[0]["examples"][0]["detail"])
        self.assertTrue(broken[0]["examples"][0]["frames"])
        frames = self.ask("GET", "/v1/frames?connection=1")["frames"]
        self.assertEqual([f["type"] for f in frames if f["direction"] == "in" and f["stream"] == 1], ["HEADERS", "DATA"])
        self.ask("DELETE", "/v1/assertions")
        self.assertTrue(self.ask("GET", "/v1/assertions")["holds"])

    def test_one_stream_at_the_start_is_asserted(self):
        self.start()
        provider, _, second = self.two_at_once()
        provider.wait(lambda: second.reset is not None)
        broken = [a["name"] for a in self.ask("GET", "/v1/assertions")["assertions"] if not a["holds"]]
        self.assertEqual(broken, ["one_stream_at_start"])

    def test_bench_answers_everything(self):
        provider = self.start("--bench").provider()
        many = [provider.submit([(":method", "POST"), (":path", "/"), (":scheme", "https"), (":authority", "x")], b"x" * 1024) for _ in range(100)]
        provider.flush()
        provider.wait(lambda: all(a.ended for a in many))
        self.assertEqual({a.status for a in many}, {200})
        provider.h2.ping(b"abcdefgh")
        provider.flush()
        provider.take()

    def test_scenario_file(self):
        path = os.path.join(self.dir, "scenario.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"behaviour": {"settings_streams": 7, "clock_speed": 60}, "bundles": ["com.example.third"],
                       "devices": [{"token": "0b", "bundle_id": "com.example.third"}],
                       "rules": [{"match": {"token": "0b", "after": 1, "every": 2}, "count": 1,
                                  "action": {"type": "answer", "status": 503, "reason": "ServiceUnavailable", "retry_after_s": 9}}]}, f)
        provider = self.start("--scenario", path, "--clock-speed", "1").provider()
        third = {"token": "0b", "apns_topic": "com.example.third.voip"}
        self.gives(provider, 200, "", **third)
        provider.wait(lambda: provider.h2.remote_settings.max_concurrent_streams == 7)
        self.gives(provider, 200, "", **third)
        self.assertEqual(self.gives(provider, 503, "ServiceUnavailable", **third).headers["retry-after"], "9")
        for _ in range(3):
            self.gives(provider, 200, "", **third)
        now = self.ask("GET", "/v1/behaviour")
        self.assertEqual((now["settings_streams"], now["clock_speed"]), (7, 1))

    def test_mistakes_are_named(self):
        self.start()
        before = self.ask("GET", "/v1/behaviour")
        self.assertIn("black_hole", self.refused("PATCH", "/v1/behaviour", {"wedge_s": 5, "black_hole": "sun"}))
        self.assertIn("colour", self.refused("PUT", "/v1/behaviour", {"colour": 1}))
        self.assertIn("type", self.refused("PUT", "/v1/script", {"rules": [{"action": {"type": "sing"}}]}))
        self.assertIn("moon", self.refused("POST", "/v1/script", {"rules": [{"match": {"moon": 1}, "action": {"type": "pass"}}]}))
        self.assertEqual(self.ask("GET", "/v1/behaviour"), before)
        self.set(wedge_s=5)
        self.assertEqual(self.ask("PUT", "/v1/behaviour", {})["wedge_s"], 0)
        for options, said in ((["--seed", "x"], "--seed"), (["--tls", "9"], "--tls"), (["--scenario", "/nowhere"], "--scenario"),
                              (["--rule", "{"], "--rule"), (["--rule", '{"action":{"type":"sing"}}'], "action"),
                              (["--cert", "/nowhere"], "--cert"), (["--client-ca", "/nowhere"], "--client-ca"),
                              (["--listen", f"127.0.0.1:{self.port}"], "--listen"),
                              (["--listen", "127.0.0.1:0", "--control", f"127.0.0.1:{self.control}"], "--control")):
            done = subprocess.run([os.path.join(BIN, "wakegate-apns-sim"), "--auth-key", f"{TEAM}:{KEY}:{self.public}", "--bundle",
                                   BUNDLE, "--cert", self.cert, "--key", self.cert_key, *options], stderr=subprocess.PIPE, check=False)
            self.assertEqual((done.returncode, said in done.stderr.decode()), (1, True), done.stderr)


def load_tests(loader, tests, pattern):
    """Those of the base class are test_apns_foreign's."""
    del loader, tests, pattern
    return unittest.TestSuite(Behaviours(name) for name in load(Behaviours))


if __name__ == "__main__":
    unittest.main()
