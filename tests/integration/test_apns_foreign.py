# SPDX-License-Identifier: Apache-2.0
"""The APNs simulator against HTTP/2, TLS and JWT software of other people: python-h2, nghttp, python3-cryptography."""
import asyncio
import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
import urllib.request
import uuid

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import websockets
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

BIN = os.environ.get("WAKEGATE_BIN", "build/dev/bin")
TEAM, KEY, BUNDLE = "TEAM123456", "KEY1234567", "com.example.app"
WAIT_S = 10


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def provider_token(key, age_s=0, team=TEAM, key_id=KEY):
    header = b64url(json.dumps({"alg": "ES256", "kid": key_id}).encode())
    claims = b64url(json.dumps({"iss": team, "iat": int(time.time()) - age_s}).encode())
    der = key.sign(f"{header}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(der)
    return f"{header}.{claims}.{b64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class Answer:
    def __init__(self):
        self.headers, self.body, self.ended, self.reset = {}, b"", False, None

    @property
    def status(self):
        return int(self.headers.get(":status", 0))

    @property
    def reason(self):
        return json.loads(self.body)["reason"] if self.body else ""


class Provider:
    """One HTTP/2 connection by python-h2."""

    def __init__(self, port, ca_file, alpn=("h2",)):
        context = ssl.create_default_context(cafile=ca_file)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        self.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port), WAIT_S), server_hostname="localhost")
        self.sock.settimeout(WAIT_S)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.answers, self.settings_seen, self.goaway = {}, 0, None

    def start(self):
        self.h2.initiate_connection()
        self.flush()
        self.wait(lambda: self.settings_seen)
        return self

    def close(self):
        self.sock.close()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def take(self):
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("closed by the simulator")
        for event in self.h2.receive_data(data):
            answer = self.answers.get(getattr(event, "stream_id", None))
            if isinstance(event, h2.events.RemoteSettingsChanged):
                self.settings_seen += 1
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goaway = event
            elif isinstance(event, h2.events.ResponseReceived):
                answer.headers = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                answer.body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                answer.ended = True
            elif isinstance(event, h2.events.StreamReset):
                answer.reset = event.error_code

    def wait(self, condition):
        end = time.monotonic() + WAIT_S
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError
            self.take()
            self.flush()

    def submit(self, headers, body, end=True):
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, headers, end_stream=not body)
        for at in range(0, len(body), 16384):
            self.h2.send_data(stream, body[at:at + 16384], end_stream=end and at + 16384 >= len(body))
        return self.answers[stream]

    def push(self, headers, body):
        answer = self.submit(headers, body)
        self.flush()
        self.wait(lambda: answer.ended or answer.reset is not None)
        return answer


class Phone:
    """A simulated phone by python3-websockets."""

    def __init__(self, port, token=None, bundle_id=BUNDLE):
        self.loop = asyncio.new_event_loop()
        self.socket = self.run(self.connect(f"ws://127.0.0.1:{port}/v1/phone"))
        message = {"type": "register", "bundle_id": bundle_id}
        self.run(self.socket.send(json.dumps(message | ({"token": token} if token else {}))))
        registered = self.receive()
        assert registered["type"] == "registered", registered
        self.token = registered["token"]

    @staticmethod
    async def connect(url):
        return await websockets.connect(url, subprotocols=["apns-sim.v1"], max_queue=None)

    def run(self, awaitable):
        return self.loop.run_until_complete(asyncio.wait_for(awaitable, WAIT_S))

    def receive(self):
        return json.loads(self.run(self.socket.recv()))

    def close(self):
        self.run(self.socket.close())
        self.loop.close()


class ForeignClients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="apns-foreign-")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.cert, cls.cert_key = os.path.join(cls.dir, "cert.pem"), os.path.join(cls.dir, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", cls.cert_key, "-out", cls.cert],
                       check=True, capture_output=True)
        cls.key = ec.generate_private_key(ec.SECP256R1())
        cls.public = os.path.join(cls.dir, "auth.pem")
        with open(cls.public, "wb") as f:
            f.write(cls.key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))

    def setUp(self):
        ready = os.path.join(self.dir, f"{self.id()}.json")
        self.log = open(os.path.join(self.dir, f"{self.id()}.log"), "wb")
        self.sim = subprocess.Popen([os.path.join(BIN, "wakegate-apns-sim"), "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0",
                                     "--cert", self.cert, "--key", self.cert_key, "--auth-key", f"{TEAM}:{KEY}:{self.public}",
                                     "--bundle", BUNDLE, "--bundle", "com.example.other", "--settings-streams", "50",
                                     "--ready-file", ready], stdin=subprocess.DEVNULL, stderr=self.log)
        self.open = []
        where = self.wait_ready(ready)
        self.port, self.control = (int(where[k].rsplit(":", 1)[1]) for k in ("listen", "control"))
        self.token = provider_token(self.key)

    def tearDown(self):
        for thing in self.open:
            thing.close()
        self.sim.terminate()
        try:
            code = self.sim.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.sim.kill()
            code = self.sim.wait()
        self.log.close()
        self.assertEqual(code, 0, "the simulator did not end cleanly")

    def wait_ready(self, path):
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end and self.sim.poll() is None:
            try:
                with open(path, encoding="utf-8") as f:
                    return json.load(f)
            except (FileNotFoundError, json.JSONDecodeError):
                time.sleep(0.02)
        self.sim.kill()
        self.sim.wait()
        self.fail("the simulator does not start")

    def provider(self, start=True):
        p = Provider(self.port, self.cert)
        self.open.append(p)
        return p.start() if start else p

    def phone(self, **kwargs):
        p = Phone(self.control, **kwargs)
        self.open.append(p)
        return p

    def headers(self, token, **change):
        fields = {":method": "POST", ":scheme": "https", ":path": f"/3/device/{token}", ":authority": "localhost",
                  "authorization": f"bearer {self.token}", "apns-push-type": "voip", "apns-topic": f"{BUNDLE}.voip",
                  "apns-priority": "10", "apns-expiration": "0", "apns-id": str(uuid.uuid4())}
        fields.update({(":" if k in ("method", "path") else "") + k.replace("_", "-"): v for k, v in change.items()})
        return [(k, v) for k, v in fields.items() if v is not None]

    def test_a_good_push_arrives_at_the_phone(self):
        phone, provider = self.phone(), self.provider()
        headers = self.headers(phone.token)
        answer = provider.push(headers, b'{"aps":{},"call":"\xc3\xa9"}')
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(answer.headers["apns-id"], dict(headers)["apns-id"])
        push = phone.receive()
        self.assertEqual((push["type"], push["apns_id"]), ("push", dict(headers)["apns-id"]))
        self.assertEqual(push["payload"], {"aps": {}, "call": "\u00e9"})
        self.assertEqual((push["topic"], push["push_type"], push["priority"], push["expiration"]), (f"{BUNDLE}.voip", "voip", 10, 0))

    def test_what_a_push_lacks_is_made_up(self):
        phone, provider = self.phone(), self.provider()
        answer = provider.push(self.headers(phone.token, apns_id=None, apns_priority=None, apns_expiration=None), b"{}")
        self.assertEqual(answer.status, 200)
        self.assertEqual(str(uuid.UUID(answer.headers["apns-id"])), answer.headers["apns-id"])
        self.assertEqual(phone.receive()["apns_id"], answer.headers["apns-id"])

    def test_each_mistake_has_its_documented_answer(self):
        phone, provider = self.phone(), self.provider()
        cases = [
            (405, "MethodNotAllowed", {"method": "PUT"}, b"{}"),
            (404, "BadPath", {"path": "/3/dev/00"}, b"{}"),
            (403, "MissingProviderToken", {"authorization": None}, b"{}"),
            (403, "InvalidProviderToken", {"authorization": "bearer x.y.z"}, b"{}"),
            (400, "MissingDeviceToken", {"path": "/3/device/"}, b"{}"),
            (400, "BadDeviceToken", {"path": "/3/device/00"}, b"{}"),
            (400, "BadMessageId", {"apns_id": "7"}, b"{}"),
            (400, "BadExpirationDate", {"apns_expiration": "soon"}, b"{}"),
            (400, "InvalidPushType", {"apns_push_type": "ring"}, b"{}"),
            (400, "InvalidPushType", {"apns_push_type": None}, b"{}"),
            (400, "BadPriority", {"apns_priority": "7"}, b"{}"),
            (400, "BadPriority", {"apns_push_type": "background", "apns_topic": BUNDLE}, b"{}"),
            (400, "MissingTopic", {"apns_topic": None}, b"{}"),
            (400, "BadTopic", {"apns_topic": BUNDLE}, b"{}"),
            (400, "TopicDisallowed", {"apns_topic": "com.example.stranger.voip"}, b"{}"),
            (400, "DeviceTokenNotForTopic", {"apns_topic": "com.example.other.voip"}, b"{}"),
            (400, "BadCollapseId", {"apns_collapse_id": "c" * 65}, b"{}"),
            (400, "PayloadEmpty", {}, b""),
            (413, "PayloadTooLarge", {}, b"x" * 5121),
            (413, "PayloadTooLarge", {}, b"x" * 60000),
            (413, "PayloadTooLarge", {"apns_push_type": "alert", "apns_topic": BUNDLE}, b"x" * 4097),
        ]
        for status, reason, change, body in cases:
            with self.subTest(reason=reason, change=change, size=len(body)):
                answer = provider.push(self.headers(phone.token, **change), body)
                self.assertEqual((answer.status, answer.reason), (status, reason))
        self.assertEqual(provider.push(self.headers(phone.token), b"{}" + b" " * 5118).status, 200)

    def test_a_header_that_comes_twice_is_refused(self):
        phone, provider = self.phone(), self.provider()
        answer = provider.push(self.headers(phone.token) + [("apns-topic", f"{BUNDLE}.voip")], b"{}")
        self.assertEqual((answer.status, answer.reason), (400, "DuplicateHeaders"))

    def test_provider_tokens(self):
        phone, provider = self.phone(), self.provider()
        stranger = ec.generate_private_key(ec.SECP256R1())
        for reason, token in (("ExpiredProviderToken", provider_token(self.key, age_s=3700)),
                              ("InvalidProviderToken", provider_token(self.key, age_s=-3700)),
                              ("InvalidProviderToken", provider_token(stranger)),
                              ("InvalidProviderToken", provider_token(self.key, team="TEAM999999")),
                              ("InvalidProviderToken", provider_token(self.key, key_id="KEY9999999"))):
            with self.subTest(reason=reason):
                answer = provider.push(self.headers(phone.token, authorization=f"bearer {token}"), b"{}")
                self.assertEqual((answer.status, answer.reason), (403, reason))
        self.assertEqual(provider.push(self.headers(phone.token, authorization=f"bearer {provider_token(self.key, age_s=3500)}"), b"{}").status, 200)
        answer = provider.push(self.headers(phone.token), b"{}")
        self.assertEqual((answer.status, answer.reason), (429, "TooManyProviderTokenUpdates"))
        self.assertEqual(self.provider().push(self.headers(phone.token), b"{}").status, 200)

    def test_a_device_that_left(self):
        provider, before = self.provider(), int(time.time() * 1000)
        request = urllib.request.Request(f"http://127.0.0.1:{self.control}/v1/devices/00ff", method="PUT",
                                         data=json.dumps({"bundle_id": BUNDLE, "state": "unregistered"}).encode())
        urllib.request.urlopen(request, timeout=WAIT_S).close()
        answer = provider.push(self.headers("00ff"), b"{}")
        self.assertEqual((answer.status, answer.reason), (410, "Unregistered"))
        self.assertLessEqual(abs(json.loads(answer.body)["timestamp"] - before), 5000)

    def test_one_stream_until_the_first_good_token_then_as_many_as_are_set(self):
        phone, provider = self.phone(), self.provider()
        self.assertEqual(provider.h2.remote_settings.max_concurrent_streams, 1)
        provider.push(self.headers(phone.token, authorization="bearer x.y.z"), b"{}")
        self.assertEqual(provider.h2.remote_settings.max_concurrent_streams, 1)
        provider.push(self.headers(phone.token), b"{}")
        provider.wait(lambda: provider.h2.remote_settings.max_concurrent_streams == 50)
        many = [provider.submit(self.headers(phone.token), b"{}") for _ in range(50)]
        provider.flush()
        provider.wait(lambda: all(a.ended for a in many))
        self.assertEqual({a.status for a in many}, {200})

    def test_streams_above_the_limit_are_refused(self):
        """Both requests leave before the simulator's SETTINGS are here: later, python-h2 would not let a client do wrong."""
        phone, provider = self.phone(), self.provider(start=False)
        provider.h2.initiate_connection()
        first = provider.submit(self.headers(phone.token), b"{", end=False)
        second = provider.submit(self.headers(phone.token), b"{}")
        provider.h2.send_data(1, b"}", end_stream=True)
        provider.flush()
        provider.wait(lambda: first.ended and (second.ended or second.reset is not None))
        self.assertEqual(first.status, 200)
        self.assertEqual((second.status, second.reset), (0, h2.errors.ErrorCodes.REFUSED_STREAM))

    def test_a_client_without_http2_is_turned_away(self):
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            other = Provider(self.port, self.cert, alpn=("http/1.1",))
            self.open.append(other)
            other.start()
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            silent = Provider(self.port, self.cert, alpn=())
            self.open.append(silent)
            silent.start()
        self.provider()

    def test_bytes_that_are_no_http2_close_the_connection_only(self):
        bad = self.provider(start=False)
        bad.sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            while True:
                if not bad.sock.recv(65536):
                    raise ConnectionError
        self.assertEqual(self.provider().push(self.headers(self.phone().token), b"{}").status, 200)

    def test_nghttp_is_served(self):
        phone = self.phone()
        body = os.path.join(self.dir, "body.json")
        with open(body, "w", encoding="utf-8") as f:
            f.write('{"aps":{}}')
        command = ["nghttp", "-v", "--no-verify-peer", "-d", body, f"https://localhost:{self.port}/3/device/{phone.token}"]
        for name, value in self.headers(phone.token):
            if not name.startswith(":"):
                command[2:2] = ["-H", f"{name}: {value}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WAIT_S, check=False)
        self.assertIn(b":status: 200", done.stdout)
        self.assertEqual(phone.receive()["payload"], {"aps": {}})

    def test_a_push_for_a_phone_that_is_away_is_kept_unless_it_says_otherwise(self):
        provider, phone = self.provider(), self.phone()
        token = phone.token
        self.open.remove(phone)
        phone.close()
        for expiration in ("0", str(int(time.time()) + 600), str(int(time.time()) + 601)):
            self.assertEqual(provider.push(self.headers(token, apns_expiration=expiration), b"{}").status, 200)
        last = expiration
        # One stored push per app and device: the newest.
        self.assertEqual(self.phone(token=token).receive()["expiration"], int(last))


if __name__ == "__main__":
    unittest.main()
