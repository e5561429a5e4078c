# SPDX-License-Identifier: Apache-2.0
"""The gateway as a process: mistakes at start, commands, TLS, signals, kill -9, logs, its user, a full disk."""
import contextlib
import hashlib
import http.client
import json
import os
import pwd
import re
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import threading
import time
import unittest
import uuid

from harness import BIN, SLOW, Reply, Stack, StackTest, free_port, wait_for, without_seal
from test_attach import Phone

SECRET = re.compile(r"w[adg]_[A-Za-z0-9_-]{43}")
# Who is not dumpable cannot be looked at by the leak checker of a sanitizer either.
NO_LEAK_CHECK = {"ASAN_OPTIONS": "detect_leaks=0"}


def run(*args, timeout_s=20):
    """Returns exit code, stdout, stderr of `wakegate ARGS`."""
    done = subprocess.run([os.path.join(BIN, "wakegate"), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, timeout=timeout_s * SLOW, text=True)
    assert "Sanitizer" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   stdin=subprocess.DEVNULL)


def make_certificate(folder, name="tls"):
    """A self-signed certificate for 127.0.0.1; returns the names of its files."""
    certificate, key = os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
            "/CN=wakegate", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", key, "-out", certificate)
    os.chmod(key, 0o600)
    return certificate, key


def with_tls(certificate="tls.pem", key="tls.key"):
    return lambda text: text.replace("listen:\n", f"listen:\n  tls: {{certificate_file: {certificate}, key_file: {key}}}\n")


class Mistakes(StackTest):
    """Each ends in one sentence on stderr, and exit 1."""
    stack_options = {"sim": False, "gateway": False}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(cls.stack.config) as f:
            cls.text = f.read()

    def setUp(self):
        self.write(lambda text: text)

    def write(self, edit):
        with open(self.stack.config, "w") as f:
            f.write(edit(self.text))

    def sentence(self, *args):
        code, out, err = run(*args)
        self.assertEqual(code, 1, err)
        self.assertEqual(out, "")
        said = [line for line in err.splitlines() if not line.startswith("time=")]
        self.assertEqual(len(said), 1, err)
        self.assertTrue(said[0].startswith("wakegate: "), err)
        return said[0][len("wakegate: "):]

    def refused(self, pattern, edit=None):
        if edit:
            self.write(edit)
        said = self.sentence("serve", "-c", self.stack.config)
        self.assertRegex(said, pattern)
        return said

    def line_of(self, text):
        with open(self.stack.config) as f:
            return next(i for i, line in enumerate(f, 1) if text in line)

    def test_a_bad_key_is_named_with_its_line(self):
        for good, bad, key in [("  port: ", "  prot: ", "prot"), ("workers: 1", "workers: 65", "media.workers"),
                               ("ring_timeout_s: 40", "ring_timeout_s: 60", r"routes\[0\].ring_timeout_s"),
                               ("app: vcs,", "app: abc,", r"routes\[0\].app"),
                               ("host: \"127.0.0.1\"", "host: \"127.0.0.1", "")]:
            with self.subTest(bad=bad):
                self.write(lambda text: text.replace(good, bad, 1))
                said = self.sentence("serve", "-c", self.stack.config)
                self.assertRegex(said, rf"^{re.escape(self.stack.config)}:\d+: .*{key}")
                if key:
                    self.assertIn(f":{self.line_of(bad)}: ", said)
                code, _, err = run("check", "-c", self.stack.config)
                self.assertEqual((code, err), (1, said + "\n"))  # the same sentence, ready for an editor

    def test_the_file_itself(self):
        self.assertRegex(self.sentence("serve", "-c", "/nonexistent.yaml"), "^/nonexistent.yaml: No such file")
        self.assertRegex(self.sentence("serve"), "-c FILE is needed")

    def key_file(self, name, mode=0o600):
        os.chmod(self.stack.path(name), mode)
        return lambda text: text.replace("key_file: apns-key.p8", f"key_file: {name}")

    def test_the_key_file(self):
        path = self.stack.path
        self.refused(r":\d+: apps\[0\].apns.key_file: .*no.p8: No such file",
                     lambda text: text.replace("apns-key.p8", "no.p8"))
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path("rsa.p8"))
        openssl("pkcs8", "-topk8", "-in", path("apns-key.p8"), "-passout", "pass:secret", "-out", path("sealed.p8"))
        with open(path("noise.p8"), "w") as f:
            f.write("no key\n")
        with open(path("open.p8"), "w") as f, open(path("apns-key.p8")) as key:
            f.write(key.read())
        self.refused(r"key_file: .*others can use this secret.*chmod 600", self.key_file("open.p8", 0o644))
        self.refused(r"P-256", self.key_file("rsa.p8"))
        self.refused(r"encrypted|password|passphrase", self.key_file("sealed.p8"))
        self.refused(r"apps\[0\].*(PEM|\.p8|key)", self.key_file("noise.p8"))

    def test_an_occupied_api_port(self):
        with socket.create_server(("127.0.0.1", self.stack.api_port)):
            self.refused(rf"^listen.api: 127.0.0.1:{self.stack.api_port}: .*Address already in use")

    def test_an_occupied_media_port(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", self.stack.media_port))
            self.refused(rf"UDP port {self.stack.media_port} on 127.0.0.1 .*Address already in use")

    def test_the_certificate_and_its_key(self):
        make_certificate(self.stack.folder)
        make_certificate(self.stack.folder, "other")
        with open(self.stack.path("noise.pem"), "w") as f:
            f.write("no certificate\n")
        self.refused(r"no.pem: No such file", with_tls(certificate="no.pem"))
        self.refused(r"no.key: No such file", with_tls(key="no.key"))
        self.refused(r"noise.pem: holds no certificate", with_tls(certificate="noise.pem"))
        self.refused(r"other.key: not the key of the certificate in .*tls.pem", with_tls(key="other.key"))
        os.chmod(self.stack.path("other.key"), 0o644)
        self.refused(r"listen.tls.key_file: .*others can use this secret", with_tls("other.pem", "other.key"))

    def test_the_database(self):
        self.refused(r"^store.url: /nonexistent/w.db.*: No such file", lambda text: re.sub(
            r'url: "sqlite:.*"', 'url: "sqlite:/nonexistent/w.db"', text))
        with open(self.stack.path("noise.db"), "w") as f:
            f.write("this is no database, although it is long enough for one\n" * 100)
        self.refused(r"^store.url: .*noise.db is not a database", lambda text: text.replace("wakegate.db", "noise.db"))
        self.refused(r"user: there is no user \"nobody-at-all\"", lambda text: text + "user: nobody-at-all\n")

    def test_a_second_gateway_on_one_database(self):
        first = self.stack.start_gateway()
        try:
            other = free_port(), free_port(socket.SOCK_DGRAM)
            self.refused(r"^store.url: .*wakegate.db is in use by another gateway", lambda text: text.replace(
                f'"127.0.0.1:{self.stack.api_port}"', f'"127.0.0.1:{other[0]}"').replace(
                    f"port: {self.stack.media_port}", f"port: {other[1]}"))
        finally:
            self.assertEqual(first.stop(), 0)

    def test_usage(self):
        for args in [[], ["dance"], ["serve", "--loud"], ["serve", "-c", self.stack.config, "more"], ["token"],
                     ["token", "old"], ["serve", "-c"]]:
            with self.subTest(args=args):
                code, out, err = run(*args)
                self.assertEqual((code, out), (1, ""))
                self.assertIn("usage: wakegate COMMAND", err)
        self.assertEqual(run("--help")[::2], (0, ""))
        self.assertRegex(run("--version")[1], r"^wakegate \d+\.\d+\.\d+\n$")

    def test_a_database_is_its_owners_alone(self):
        gateway = self.stack.start_gateway()
        try:
            files = [n for n in os.listdir(self.stack.folder) if n.startswith("wakegate.db")]
            self.assertIn("wakegate.db", files)
            self.assertEqual({n: stat.S_IMODE(os.stat(self.stack.path(n)).st_mode) & 0o077 for n in files},
                             {n: 0 for n in files})
        finally:
            gateway.stop()


class Commands(StackTest):
    stack_options = {"sim": False, "gateway": False, "edit": lambda text: text.replace("routes:\n", """routes:
  - {name: blocked, match: {callee: "blocked-*"}, reject: {status: 403, detail: "not today"}}
  - {name: nurses, match: {callee: "nurse-*", caller: "+1*", tenant: default}, app: vcs, ring_timeout_s: 20}
""").replace('callee: "*"}', 'callee: "r*"}')}

    def test_check(self):
        code, out, err = run("check", "-c", self.stack.config)
        self.assertEqual((code, out, err), (0, f"{self.stack.config}: good: 1 apps, 3 routes, 1 tokens\n", ""))

    def route(self, *args):
        return run("route", "-c", self.stack.config, *args)[:2]

    def test_route_says_rule_by_rule(self):
        self.assertEqual(self.route("--callee", "nurse-7", "--caller", "+15550100"),
                         (0, '  blocked: no, callee "nurse-7" is not "blocked-*"\n  nurses: yes\n'
                             'route "nurses" takes the call: app vcs, rings for 20 s\n'))
        code, out = self.route("--callee", "nurse-7", "--caller", "+49", "--tenant", "default")
        self.assertEqual((code, out.splitlines()[1:]), (1, ['  nurses: no, caller "+49" is not "+1*"',
                                                            '  everybody: no, callee "nurse-7" is not "r*"',
                                                            "no route takes the call: it is answered with 404"]))
        self.assertIn('  nurses: no, tenant "other" is not "default"', self.route(
            "--callee", "nurse-7", "--caller", "+1", "--tenant", "other")[1])
        self.assertEqual(self.route("--callee", "blocked-1"),
                         (1, '  blocked: yes\nroute "blocked" rejects the call: 403 not today\n'))
        self.assertIn("--callee is needed", run("route", "-c", self.stack.config)[2])

    def test_a_new_token_opens_the_gateway(self):
        code, out, err = run("token", "new", "--scope", "devices", "--name", "registrar", "--tenant", "clinic")
        self.assertEqual((code, err), (0, ""))
        token = re.search(r"token \(shown once\): +(wg_\S{43})\n", out)[1]
        line = re.search(r"line for auth.tokens: (- \{.*\})\n", out)[1]
        self.assertIn(hashlib.sha256(token.encode()).hexdigest(), line)
        self.assertEqual(line, f'- {{name: registrar, sha256: "{hashlib.sha256(token.encode()).hexdigest()}", '
                               "scopes: [devices], tenant: clinic}")
        self.stack.edit_config(lambda text: text.replace("apps:\n", f"    {line}\napps:\n", 1))
        self.addCleanup(self.stack.edit_config, lambda text: text.replace(f"    {line}\n", ""))
        self.assertIn("2 tokens", run("check", "-c", self.stack.config)[1])
        self.addCleanup(self.stack.start_gateway().stop)
        self.assertEqual(self.stack.get("/v1/devices", token=token).status, 200)
        self.assertEqual(self.stack.get("/v1/calls", token=token).status, 403)
        self.assertNotEqual(run("token", "new")[1], run("token", "new")[1])
        self.assertIn("--scope is", run("token", "new", "--scope", "all")[2])


class TlsStack(Stack):
    def edit_config(self, edit):
        self.ca_file, _ = make_certificate(self.folder)
        super().edit_config(edit)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.api_port}"

    def request(self, method, path, body=None, token="", headers=None, port=None):
        if port:
            return super().request(method, path, body, token, headers, port)
        context = ssl.create_default_context(cafile=self.ca_file)
        connection = http.client.HTTPSConnection("127.0.0.1", self.api_port, timeout=15 * SLOW, context=context)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {
                "Content-Type": "application/json", "Authorization": f"Bearer {token or self.token}"})
            response = connection.getresponse()
            return Reply(response, response.read())
        finally:
            connection.close()


class Tls(unittest.TestCase):
    def test_https_and_wss_carry_a_whole_call(self):
        stack = TlsStack(edit=lambda text: with_tls()(text).replace('public_url: "http:', 'public_url: "https:'))
        try:
            self.assertEqual(stack.get("/v1/calls").json, {"calls": [], "next_cursor": None})
            with self.assertRaises(ssl.SSLCertVerificationError):
                ssl.create_default_context().wrap_socket(socket.create_connection(("127.0.0.1", stack.api_port)),
                                                         server_hostname="127.0.0.1")
            with socket.create_connection(("127.0.0.1", stack.api_port)) as plain:  # nothing is served without TLS
                plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                plain.settimeout(5)
                with contextlib.suppress(OSError):
                    self.assertNotIn(b"200", plain.recv(4096))
            phone = stack.start_phone(ca_file=stack.ca_file, once=True)
            code, out, err = stack.run_caller("--ca-file", stack.ca_file, "--callee", "nurse-7", "--duration-ms", 1000)
            self.assertEqual(code, 0, err + stack.gateway.log() + phone.log())
            [push] = [r for r in stack.journal() if r["status"] == 200]
            self.assertEqual(push["payload"]["wakegate"]["attach"], f"wss://127.0.0.1:{stack.api_port}/v1/attach")
            self.assertEqual(phone.process.wait(10 * SLOW), 0, phone.log())
        finally:
            stack.close()


class Calling:
    """What tests of a running gateway share."""
    problem = StackTest.problem

    def stack_of(self, **options):
        stack = Stack(**options)
        self.addCleanup(stack.close)
        return stack

    def register(self, stack, user):
        token = hashlib.sha256(user.encode()).hexdigest()
        stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
        made = stack.put(f"/v1/devices/{user}-phone", {"user": user, "app": "vcs", "token": token, "handoff": ["dtls"]})
        self.assertEqual(made.status, 201, made)
        return made.json["device_secret"]

    def place(self, stack, user, key=None):
        return stack.post("/v1/calls", {"callee": user}, headers={"Idempotency-Key": key} if key else None)

    def pushes(self, stack, call):
        return [r for r in stack.journal() if (r["payload"] or {}).get("wakegate", {}).get("call") == call]

    async def attach(self, stack, user, secret):
        phone = await Phone(stack, f"{user}-phone").dial(secret=secret, app_state="background")
        await phone.hear("welcome")
        return phone

    def assert_nothing_listens(self, stack):
        for kind, port in [(socket.SOCK_STREAM, stack.api_port), (socket.SOCK_DGRAM, stack.media_port)]:
            with socket.socket(socket.AF_INET, kind) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("127.0.0.1", port))


def drain(seconds):
    return lambda text: text.replace("listen:\n", f"listen:\n  drain_s: {seconds}\n")


class Signals(Calling, unittest.IsolatedAsyncioTestCase):
    async def test_a_drain_lets_calls_end_by_themselves(self):
        for sig in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(sig=sig):
                s = self.stack_of()
                secret = self.register(s, "u-1")
                phone = await self.attach(s, "u-1", secret)
                call = self.place(s, "u-1").json["id"]
                push = wait_for(lambda: self.pushes(s, call))[0]["payload"]["wakegate"]
                await phone.say("receipt", call=call, push=push["push"], must_report=True, reported="callkit")
                await phone.hear("call")
                await phone.say("answer", call=call)
                s.wait_state(call, "answered")
                s.gateway.process.send_signal(sig)
                wait_for(lambda: "event=draining" in s.gateway.log())
                detail = self.problem(self.place(s, "u-1"), 503, "draining")
                self.assertIn("going down", detail)
                self.assertEqual(s.get("/readyz", token=None).status, 503)
                self.assertEqual(s.get("/healthz", token=None).status, 200)
                time.sleep(0.5)
                self.assertEqual(s.call(call)["state"], "answered")  # it goes on
                await phone.say("hangup", call=call)
                self.assertEqual((await phone.hear("ended"))["reason"], "completed")
                self.assertEqual(s.gateway.process.wait(10 * SLOW), 0, s.gateway.log())
                self.assert_nothing_listens(s)
                self.assertIn("event=stopped", s.gateway.log())

    async def test_the_drains_limit_ends_what_is_left(self):
        s = self.stack_of(edit=drain(1))
        secret = self.register(s, "u-2")
        phone = await self.attach(s, "u-2", secret)
        call = self.place(s, "u-2").json["id"]
        push = wait_for(lambda: self.pushes(s, call))[0]["payload"]["wakegate"]
        await phone.say("receipt", call=call, push=push["push"], must_report=True, reported="callkit")
        await phone.hear("call")
        started = time.monotonic()
        s.gateway.process.send_signal(signal.SIGTERM)
        self.assertEqual((await phone.hear("ended"))["reason"], "error")
        self.assertGreater(time.monotonic() - started, 0.9)
        self.assertEqual(s.gateway.process.wait(10 * SLOW), 0)
        self.assert_nothing_listens(s)
        s.gateway = s.start_gateway()
        over = s.call(call)
        self.assertEqual((over["state"], over["reason"]), ("ended", "error"))

    async def test_a_second_signal_stops_at_once_and_in_order(self):
        s = self.stack_of()
        secret = self.register(s, "u-3")
        phone = await self.attach(s, "u-3", secret)
        call = self.place(s, "u-3").json["id"]
        push = wait_for(lambda: self.pushes(s, call))[0]["payload"]["wakegate"]
        await phone.say("receipt", call=call, push=push["push"])
        await phone.hear("call")
        s.gateway.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "event=draining" in s.gateway.log())
        started = time.monotonic()
        for _ in range(5):  # an impatient operator: the first of these counts, the others do no harm
            s.gateway.process.send_signal(signal.SIGTERM)
            time.sleep(0.03)
        self.assertEqual((await phone.hear("ended"))["reason"], "error")
        self.assertEqual(s.gateway.process.wait(10 * SLOW), 0, s.gateway.log())
        self.assertLess(time.monotonic() - started, 3 * SLOW)
        self.assertIn("event=stopped", s.gateway.log())
        self.assert_nothing_listens(s)

    def hammer(self, stack, stop, ask):
        while not stop.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException, KeyError):
                ask()

    async def test_requests_that_wait_for_the_store_at_the_end(self):
        s = self.stack_of()
        self.register(s, "u-4")
        over = self.place(s, "u-4").json["id"]
        s.delete(f"/v1/calls/{over}")
        stop = threading.Event()
        asks = [lambda: s.put("/v1/devices/u-4-phone", {"app_version": uuid.uuid4().hex[:8]}),
                lambda: s.get("/v1/calls?limit=200"), lambda: s.get(f"/v1/calls/{uuid.uuid4()}"),
                lambda: s.delete(f"/v1/calls/{self.place(s, 'u-4').json['id']}")]
        threads = [threading.Thread(target=self.hammer, args=(s, stop, ask)) for ask in asks * 3]
        for t in threads:
            t.start()
        time.sleep(0.3)
        for _ in range(2):
            s.gateway.process.send_signal(signal.SIGTERM)
            time.sleep(0.02)
        self.assertEqual(s.gateway.process.wait(20 * SLOW), 0, s.gateway.log())
        stop.set()
        for t in threads:
            t.join()
        self.assertNotIn("Sanitizer", s.gateway.log())

    async def test_a_gateway_without_calls_stops_at_once(self):
        s = self.stack_of(sim=False)
        started = time.monotonic()
        self.assertEqual(s.gateway.stop(signal.SIGINT), 0)
        self.assertLess(time.monotonic() - started, 3 * SLOW)
        self.assert_nothing_listens(s)


class Crash(Calling, unittest.IsolatedAsyncioTestCase):
    USERS, ROUNDS = 8, 3

    def load(self, stack, replies, stop):
        """Place calls until the gateway is gone; keep what it acknowledged."""
        while not stop.is_set():
            key = uuid.uuid4().hex
            with contextlib.suppress(OSError, http.client.HTTPException):
                reply = self.place(stack, f"c-{len(replies) % self.USERS}", key)
                if reply.status == 201:
                    replies.append((key, reply))

    def rows(self, stack, sql):
        with contextlib.closing(sqlite3.connect(f"file:{stack.path('wakegate.db')}?mode=ro", uri=True)) as db:
            return db.execute(sql).fetchall()

    def check_call(self, stack, key, reply):
        call = reply.json["id"]
        over = stack.call(call)
        self.assertEqual((over["state"], over["reason"]), ("ended", "error"), over)
        self.assertIsNotNone(over["ended_at"])
        self.assertEqual({d["state"] for d in over["devices"]}, {"out"})
        last = stack.timeline(call)[-1]
        self.assertEqual((last["event"], last["reason"], last["detail"]), ("ended", "error", "the gateway was restarted; without store.seal_key_file nothing of it was kept"))
        before = len(self.pushes(stack, call))
        self.assertLessEqual(before, 1)
        user = reply.json["callee"]
        again = self.place(stack, user, key)
        self.assertEqual((again.status, again.text), (201, reply.text))
        return call, before

    async def test_what_was_acknowledged_survives_kill_9(self):
        s = self.stack_of(edit=without_seal)
        secrets = {f"c-{i}": self.register(s, f"c-{i}") for i in range(self.USERS)}
        for _ in range(self.ROUNDS):
            replies, stop = [], threading.Event()
            threads = [threading.Thread(target=self.load, args=(s, replies, stop)) for _ in range(4)]
            for t in threads:
                t.start()
            wait_for(lambda: len(replies) > 20)
            s.gateway.kill()
            stop.set()
            for t in threads:
                t.join()
            s.gateway = s.start_gateway()
            seen = dict(self.check_call(s, key, reply) for key, reply in replies)
            time.sleep(0.3)
            self.assertEqual({c: len(self.pushes(s, c)) for c in seen}, seen)  # a repeated request pushes nothing
            wait_for(lambda: not self.rows(s, "SELECT id FROM pushes WHERE outcome = '' AND status = 200"))
            self.assertEqual(self.rows(s, "SELECT id FROM calls WHERE state <> 'ended'"), [])
        for user, secret in secrets.items():
            phone = await self.attach(s, user, secret)
            await phone.close()
        self.assertEqual(self.place(s, "c-0").status, 201)


    def change(self, stack, stop, seen, n):
        """PUT and DELETE by turns, several at a time on each device; seen: the answers by device."""
        i = 0
        while not stop.is_set():
            name, i = f"x-{i % 5}", i + 1
            with contextlib.suppress(OSError, http.client.HTTPException):
                if i % 7 == n:
                    reply = stack.delete(f"/v1/devices/{name}")
                else:
                    body = {"user": f"x-{n}-{i % 3}", "app": "vcs", "token": "ab" * 32, "app_version": f"{n}.{i}"}
                    reply = stack.put(f"/v1/devices/{name}", body)
                seen.append(reply.status)

    async def test_devices_are_after_a_crash_what_they_were_before(self):
        s = self.stack_of(sim=False)
        stop, seen = threading.Event(), []
        threads = [threading.Thread(target=self.change, args=(s, stop, seen, n)) for n in range(4)]
        for t in threads:
            t.start()
        wait_for(lambda: len(seen) > 400)
        stop.set()
        for t in threads:
            t.join()
        self.assertTrue({200, 201, 204} <= set(seen) <= {200, 201, 204, 404}, set(seen))
        for i in range(20):
            s.put(f"/v1/devices/many-{i:02}", {"user": "many", "app": "vcs", "token": "cd" * 32, "handoff": ["dtls"]})
        before = s.get("/v1/devices?limit=200").json
        s.gateway.kill()
        s.gateway = s.start_gateway()
        self.assertEqual(s.get("/v1/devices?limit=200").json, before)
        for device in before["devices"]:
            made = self.place(s, device["user"])
            self.assertEqual(made.status, 201, made)
            ringing = [d["device"] for d in made.json["devices"]]
            self.assertIn(device["device"], ringing if device["user"] != "many" else ringing + [
                f"many-{i:02}" for i in range(4)])
        self.assertEqual([d["device"] for d in self.place(s, "many").json["devices"]],
                         [f"many-{i:02}" for i in range(4, 20)])  # sixteen at most: the latest


class Recorder:
    """A TCP relay in front of the gateway that remembers what it said: the secrets that phones and callers are given."""

    def __init__(self, port):
        self.said, self.heard, self.target = [], [], port
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.server.accept()[0]
                gateway = socket.create_connection(("127.0.0.1", self.target))
                threading.Thread(target=self.pump, args=(client, gateway, self.heard), daemon=True).start()
                threading.Thread(target=self.pump, args=(gateway, client, self.said), daemon=True).start()

    @staticmethod
    def pump(source, sink, kept):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                kept.append(data)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        source.close()

    def text(self):
        return b"".join(self.said + self.heard).decode(errors="replace")


class Logs(Calling, unittest.TestCase):
    MODES = ["transfer", "sdes", "dtls"]

    def parsed(self, stack):
        return [json.loads(line) for line in stack.gateway.log().splitlines()]

    def secrets_of(self, recorder, stack):
        text = recorder.text()
        found = {
            "device secret": re.findall(r'"device_secret":"([^"]+)"', text),
            "key": re.findall(r'"[rt]x":"([A-Za-z0-9+/=]{20,})"', text),
            "a=crypto": re.findall(r"inline:([A-Za-z0-9+/=]+)", text),
            "ICE password": re.findall(r"a=ice-pwd:([A-Za-z0-9+/]+)", text) + re.findall(r'"pwd":"([^"]+)"', text),
            "SDP": re.findall(r"(?:^|\\n)((?:a|m|o|c)=[^\\\"]{8,})", text),
            "push token": [r["token"] for r in stack.journal()],
            "attach token": [r["payload"]["wakegate"]["token"] for r in stack.journal()],
        }
        self.assertEqual([kind for kind, values in found.items() if not values], [])
        return {(kind, v) for kind, values in found.items() for v in values} | {("API token", stack.token)}

    def call_in(self, stack, recorder, mode):
        user = "log-" + mode
        phone = stack.start("phone-" + mode, "wakegate-phone", "--sim", f"ws://127.0.0.1:{stack.control_port}", "--api",
                            f"http://127.0.0.1:{recorder.port}", "--api-token-file", stack.path("token"), "--device",
                            user, "--user", user, "--handoff", mode, "--once")
        done = subprocess.run([os.path.join(BIN, "wakegate-caller"), "--api", f"http://127.0.0.1:{recorder.port}",
                               "--api-token-file", stack.path("token"), "--callee", user, "--duration-ms", "1000"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60 * SLOW)
        self.assertEqual(done.returncode, 0, done.stderr.decode() + stack.gateway.log())
        self.assertEqual(phone.process.wait(20 * SLOW), 0, phone.log())

    def refusals(self, stack):
        """What goes wrong is logged more than what goes well."""
        stack.get("/v1/calls", token="wg_" + "x" * 43)
        stack.post("/v1/calls", {"callee": "nobody", "offer": "v=0\r\na=ice-pwd:wrong\r\n"})
        self.register(stack, "log-gone")
        stack.control("POST", "/v1/answers", {"status": 410, "reason": "Unregistered"})
        stack.wait_state(self.place(stack, "log-gone").json["id"], "ended")
        stack.control("POST", "/v1/answers", {"status": 403, "reason": "InvalidProviderToken"})
        self.register(stack, "log-denied")
        stack.wait_state(self.place(stack, "log-denied").json["id"], "ended")

    def test_no_secret_is_ever_logged(self):
        s = self.stack_of(gateway=False, edit=lambda text: text.replace("format: logfmt", "format: json"))
        recorder = Recorder(s.api_port)
        self.addCleanup(recorder.server.close)
        s.edit_config(lambda text: re.sub('public_url: ".*"', f'public_url: "http://127.0.0.1:{recorder.port}"', text))
        s.gateway = s.start_gateway()
        for mode in self.MODES:
            self.call_in(s, recorder, mode)
        self.refusals(s)
        log = s.gateway.log()
        for kind, value in self.secrets_of(recorder, s):
            self.assertNotIn(value, log, kind)
        self.assertIsNone(SECRET.search(log))
        self.check_lines(s)

    def check_lines(self, stack):
        lines = self.parsed(stack)
        for line in lines:
            self.assertEqual(list(line)[:4], ["time", "level", "service", "event"], line)
        of_calls = [line for line in lines if line["event"] in ("call", "push result", "push outcome", "push not made",
                                                                "media failed", "phone attached", "phone detached")]
        self.assertGreater(len(of_calls), 20)
        for line in of_calls:
            self.assertRegex(line.get("call", ""), r"^[0-9a-f-]{36}$", line)
        ids = {c["id"] for c in stack.get("/v1/calls").json["calls"]}
        self.assertEqual(ids, {line["call"] for line in of_calls})

    def test_logfmt_is_one_line_an_event(self):
        s = self.stack_of()
        self.register(s, "log-fmt")
        made = s.post("/v1/calls", {"callee": "log-fmt", "caller": {"name": 'a"b\nlevel=error event=forged'}})
        s.delete(f"/v1/calls/{made.json['id']}")
        for line in s.gateway.log().splitlines():
            self.assertRegex(line, r'^time=\S+Z level=(debug|info|warn|error) service=wakegate event=("[^"]+"|\S+)( |$)')
            self.assertNotIn("event=forged", line)
        self.assertIn(f"call={made.json['id']} state=ended", s.gateway.log())

    def test_the_level_is_held(self):
        s = self.stack_of(sim=False, LOG_LEVEL="error")
        s.gateway.stop()
        self.assertEqual(s.gateway.log(), "")


@unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
class User(Calling, unittest.TestCase):
    def status(self, path):
        with open(path) as f:
            return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)

    def test_root_becomes_the_user_of_the_config(self):
        nobody = pwd.getpwnam("nobody")
        s = self.stack_of(gateway=False, edit=lambda text: text + "user: nobody\n")
        os.chown(s.folder, nobody.pw_uid, nobody.pw_gid)
        s.gateway = s.start("gateway", "wakegate", "serve", "-c", s.config, env=NO_LEAK_CHECK)
        wait_for(lambda: s.get("/readyz", token=None).status == 200, 10, s.gateway.log)
        pid = s.gateway.process.pid
        tasks = [f"/proc/{pid}/task/{t}/status" for t in os.listdir(f"/proc/{pid}/task")]
        self.assertGreater(len(tasks), 2)
        for task in tasks:
            status = self.status(task)
            self.assertEqual(set(status["Uid"].split()), {str(nobody.pw_uid)}, task)
            self.assertEqual(set(status["Gid"].split()), {str(nobody.pw_gid)}, task)
            self.assertEqual(set(status["Groups"].split()) - {str(nobody.pw_gid)}, set())
            for caps in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                self.assertEqual(int(status[caps], 16), 0, task)
            self.assertEqual(status["NoNewPrivs"], "1", task)
        # A process that is not dumpable has its /proc files owned by root.
        self.assertEqual(os.stat(f"/proc/{pid}/environ").st_uid, 0)
        with open(f"/proc/{pid}/limits") as f:
            self.assertRegex(f.read(), r"Max core file size +0 +0 ")
        for name in os.listdir(s.folder):
            if name.startswith("wakegate.db"):
                self.assertEqual(os.stat(s.path(name)).st_uid, nobody.pw_uid, name)
        self.register(s, "as-nobody")
        self.assertEqual(self.place(s, "as-nobody").status, 201)


class Connections(Calling, unittest.TestCase):
    def test_more_than_fit_are_refused_and_nothing_else_suffers(self):
        s = self.stack_of(gateway=False)
        s.gateway = s.start("gateway", "/usr/bin/prlimit", "--nofile=200:200", os.path.join(BIN, "wakegate"), "serve", "-c",
                            s.config)
        self.register(s, "fits")
        crowd = [socket.create_connection(("127.0.0.1", s.api_port)) for _ in range(300)]
        wait_for(lambda: "too many are open" in s.gateway.log())
        refused = 0
        for c in crowd:
            c.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                refused += c.recv(1) == b""
        self.assertGreater(refused, 100)
        s.sim.stop()  # a push service that comes back finds a descriptor
        s.sim = s.start_sim()
        wait_for(lambda: s.gateway.log().count('event="apns connected"') == 2, 20)
        for c in crowd:
            c.close()
        wait_for(lambda: self.place(s, "fits").status == 201)
        self.assertLess(len(s.gateway.log().splitlines()), 40, s.gateway.log()[:4000])


@unittest.skipUnless(os.geteuid() == 0, "a small file system needs a mount")
class FullDisk(Calling, unittest.IsolatedAsyncioTestCase):
    def small_stack(self):
        s = Stack(gateway=False, edit=lambda text: text.replace("/wakegate.db", "/small/wakegate.db"))
        os.mkdir(s.path("small"))
        self.addCleanup(s.close)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", s.path("small")]).returncode != 0:
            self.skipTest("no file system may be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", s.path("small")], check=True)
        self.addCleanup(lambda: [p.stop() for p in s.programs if p.name == "gateway"])
        s.gateway = s.start_gateway()
        return s

    def fill(self, stack):
        with open(stack.path("small/fill"), "wb", buffering=0) as f:
            for size in (65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while f.write(b"x" * size) == size:
                        pass

    async def test_calls_go_on_and_new_ones_wait_for_room(self):
        s = self.small_stack()
        secret = self.register(s, "old")
        self.register(s, "new")
        phone = await self.attach(s, "old", secret)
        call = self.place(s, "old").json["id"]
        push = wait_for(lambda: self.pushes(s, call))[0]["payload"]["wakegate"]
        self.fill(s)
        # Pages that the log has already are used up first.
        reply = wait_for(lambda: next((r for r in [self.place(s, "new", key="disk")] if r.status == 503), None)
                         or self.place(s, "new") and None, 20)
        self.problem(reply, 503, "store")
        ready = s.get("/readyz", token=None)
        self.assertEqual((ready.status, ready.json["store"]), (503, "takes no writes"))
        refused = s.put("/v1/devices/late", {"user": "late", "app": "vcs", "token": "ab" * 32})
        self.assertEqual(self.problem(refused, 503, "store"), "the device could not be stored: the database's disk is full")
        self.problem(s.get("/v1/devices/late"), 404, "not-found")
        before = s.get("/v1/devices/new-phone").json
        self.problem(s.put("/v1/devices/new-phone", {"app_version": "9.9", "rotate_secret": True}), 503, "store")
        self.assertEqual(s.get("/v1/devices/new-phone").json, before)
        self.problem(s.delete("/v1/devices/new-phone"), 503, "store")
        self.assertEqual(s.get("/v1/devices/new-phone").json, before)
        await phone.say("receipt", call=call, push=push["push"], must_report=True, reported="callkit")
        await phone.hear("call")
        await phone.say("answer", call=call)
        s.wait_state(call, "answered")
        await phone.say("hangup", call=call)
        self.assertEqual((await phone.hear("ended"))["reason"], "completed")
        # It has ended, but a crash would not know: so the answer to DELETE is no 204 yet, the first time and again.
        for _ in range(2):
            self.problem(s.delete(f"/v1/calls/{call}"), 503, "store")
        os.unlink(s.path("small/fill"))
        wait_for(lambda: s.get("/readyz", token=None).status == 200, 10, s.gateway.log)
        self.assertEqual(s.delete(f"/v1/calls/{call}").status, 204)
        late = s.put("/v1/devices/late", {"user": "late", "app": "vcs", "token": "ab" * 32})
        self.assertEqual(late.status, 201)
        self.assertIn("device_secret", late.json)  # the refused one had shown none
        self.assertEqual(self.place(s, "new", key="disk").status, 201)
        self.assertLess(s.gateway.log().count("database"), 20)  # a state, not a line for each refused row
        await phone.close()
        wait_for(lambda: self.row(s, push["push"]))
        s.gateway.kill()
        s.gateway = s.start_gateway()
        over = s.call(call)
        self.assertEqual((over["state"], over["reason"]), ("ended", "completed"))
        self.assertEqual(s.delete(f"/v1/calls/{s.get('/v1/calls?state=ringing').json['calls'][0]['id']}").status, 204)

    def row(self, stack, push):
        """The ledger's row of the push that was reported while the disk was full is written when there is room."""
        with contextlib.closing(sqlite3.connect(stack.path("small/wakegate.db"))) as db:
            return db.execute("SELECT 1 FROM pushes WHERE id = ? AND outcome = 'reported'", (push,)).fetchall()


if __name__ == "__main__":
    unittest.main()
