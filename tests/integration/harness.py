# SPDX-License-Identifier: Apache-2.0
"""The programs as a test needs them: simulator, gateway, phones and callers in a folder of their own, on free ports of
loopback, ended by their pids."""
import contextlib
import fcntl
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("WAKEGATE_BIN", os.path.join(ROOT, "build", "dev", "bin"))
START_TIMEOUT_S = 20
# Sanitizers make everything slower; figures in tests that are about time are multiplied by this.
SLOW = 4 if os.path.basename(os.path.dirname(BIN)) in ("asan", "tsan") else 1


PORT_LOCKS = os.path.join(tempfile.gettempdir(), "wakegate-test-ports")
reserved = []  # locked files: a port belongs to this process until it ends


def reserve(port, kind):
    """Between this look and the program's bind, another test file may look, too: a lock tells it."""
    os.makedirs(PORT_LOCKS, exist_ok=True)
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", port))
        lock = open(os.path.join(PORT_LOCKS, str(port)), "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return False
        reserved.append(lock)
        return True
    return False


def free_port(kind=socket.SOCK_STREAM, count=1):
    """The first of so many in a row, below the range that outgoing connections take theirs from."""
    while True:
        port = random.randrange(11000, 32000)
        if all(reserve(port + i, kind) for i in range(count)):
            return port


class Program:
    """One process with its log; `events` are the JSON lines of its stdout."""

    def __init__(self, folder, name, args, ready=True, env=None):
        self.name, self.folder = name, folder
        self.log_path = os.path.join(folder, name + ".log")
        self.out_path = os.path.join(folder, name + ".out")
        ready_file = os.path.join(folder, name + ".ready")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(ready_file)
        command = [os.path.join(BIN, args[0])] + args[1:] + (["--ready-file", ready_file] if ready else [])
        with open(self.out_path, "ab") as out, open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdout=out, stderr=log, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **(env or {})})
        self.ready = {}
        if ready:
            self.ready = self.wait_ready(ready_file)

    def wait_ready(self, path):
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(FileNotFoundError, ValueError):
                with open(path) as f:
                    return json.load(f)
            time.sleep(0.02)
        self.stop()
        raise AssertionError(f"{self.name} did not start:\n{self.log()}")

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def events(self, name=None):
        found = []
        with open(self.out_path, errors="replace") as f:
            for line in f:
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    if name is None or event.get("event") == name:
                        found.append(event)
        return found

    def wait_event(self, name, timeout_s=10, count=1):
        return wait_for(lambda: self.events(name)[count - 1:count] or None, timeout_s,
                        lambda: f"{self.name}: no event {name}; it said {self.events()}\n{self.log()}")[0]

    def stop(self, sig=signal.SIGTERM, timeout_s=15):
        if self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"{self.name} did not stop on signal {sig}:\n{self.log()}")
        return self.process.returncode

    def kill(self):
        self.process.kill()
        return self.process.wait()


def wait_for(probe, timeout_s=10, what=lambda: "nothing came"):
    """The first true value of probe(), asked every 20 ms."""
    until = time.monotonic() + timeout_s * SLOW
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(what())
        time.sleep(0.02)


class Reply:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = {k.lower(): v for k, v in response.getheaders()}
        self.text = body.decode("utf-8")
        self.json = None
        with contextlib.suppress(ValueError):
            self.json = json.loads(self.text)

    def __repr__(self):
        return f"{self.status} {self.headers} {self.text}"


def without_seal(text):
    """The configuration without its seal key: a crash ends calls."""
    return text.replace("  seal_key_file: seal.key\n", "")


class Stack:
    """A gateway with its simulator. Everything is ended by close()."""

    def __init__(self, sim=True, gateway=True, edit=None, **env):
        self.folder = tempfile.mkdtemp(prefix="wakegate-test-")
        self.programs = []
        self.api_port, self.media_port = free_port(), free_port(socket.SOCK_DGRAM, 2)  # for two workers
        self.sim_port, self.control_port = free_port(), free_port()
        settings = {"API_LISTEN": f"127.0.0.1:{self.api_port}", "MEDIA_PORT": str(self.media_port),
                    "APNS_PORT": str(self.sim_port), "LOG_LEVEL": "debug", **env}
        subprocess.run([os.path.join(ROOT, "config", "dev-state.sh"), self.folder], check=True,
                       env={**os.environ, **settings}, stdout=subprocess.DEVNULL)
        self.config = self.path("wakegate.yaml")
        if edit:
            self.edit_config(edit)
        with open(self.path("token")) as f:
            self.token = f.read().strip()
        self.sim = self.start_sim() if sim else None
        self.gateway = self.start_gateway() if gateway else None

    def path(self, name):
        return os.path.join(self.folder, name)

    def edit_config(self, edit):
        with open(self.config) as f:
            text = edit(f.read())
        with open(self.config, "w") as f:
            f.write(text)

    def start(self, name, *args, ready=True, env=None):
        program = Program(self.folder, name, list(args), ready, env)
        self.programs.append(program)
        return program

    def start_sim(self, *more):
        return self.start("apns-sim", "wakegate-apns-sim", "--listen", f"127.0.0.1:{self.sim_port}", "--control",
                          f"127.0.0.1:{self.control_port}", "--cert", self.path("apns-sim.pem"), "--key",
                          self.path("apns-sim.key"), "--auth-key",
                          f"ABCDE12345:FGHIJ67890:{self.path('apns-key.pub.pem')}", "--bundle", "com.example.vcs", *more)

    def start_gateway(self):
        gateway = self.start("gateway", "wakegate", "serve", "-c", self.config)
        if self.sim:
            wait_for(lambda: self.get("/readyz", token=None).status == 200, 10, gateway.log)
        return gateway

    def start_phone(self, device="iphone-1", user="nurse-7", **options):
        args = []
        for key, value in options.items():
            args.append("--" + key.replace("_", "-"))
            if value is not True:
                args.append(str(value))
        return self.start("phone-" + device, "wakegate-phone", "--sim", f"ws://127.0.0.1:{self.control_port}", "--api",
                          self.url, "--api-token-file", self.path("token"), "--device", device, "--user", user, *args)

    def run_caller(self, *args, timeout_s=60):
        done = subprocess.run([os.path.join(BIN, "wakegate-caller"), "--api", self.url, "--api-token-file",
                               self.path("token"), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=timeout_s, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.api_port}"

    def request(self, method, path, body=None, token="", headers=None, port=None):
        """body: JSON, or bytes as they are. token "": the stack's own; None: none."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.api_port, timeout=15 * SLOW)
        head = dict(headers or {})
        if token is not None:
            head.setdefault("Authorization", f"Bearer {token or self.token}")
        data = body
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body).encode()
        if data is not None:
            head.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, data, head)
            response = connection.getresponse()
            return Reply(response, response.read())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body, **more):
        return self.request("POST", path, body, **more)

    def put(self, path, body, **more):
        return self.request("PUT", path, body, **more)

    def delete(self, path, **more):
        return self.request("DELETE", path, **more)

    def control(self, method, path, body=None):
        return self.request(method, path, body, token=None, port=self.control_port)

    def journal(self):
        return self.control("GET", "/v1/journal").json["requests"]

    def call(self, call_id):
        return self.get(f"/v1/calls/{call_id}").json

    def wait_state(self, call_id, *states, timeout_s=10):
        return wait_for(lambda: next((c for c in [self.call(call_id)] if c["state"] in states), None), timeout_s,
                        lambda: f"call is {self.call(call_id)}\n{self.gateway.log()}")

    def timeline(self, call_id):
        return self.get(f"/v1/calls/{call_id}/timeline").json

    def close(self):
        failures = []
        for program in reversed(self.programs):
            try:
                if program.process.poll() is None and program.name == "gateway":
                    program.process.send_signal(signal.SIGTERM)  # drain, and with the next one stop at once
                    time.sleep(0.1)
                program.stop()
            except AssertionError as e:
                failures.append(str(e))
            report = program.log()
            if "Sanitizer" in report or "runtime error:" in report:
                failures.append(f"{program.name}: {report}")
        subprocess.run(["rm", "-rf", self.folder], check=True)
        if failures:
            raise AssertionError("\n".join(failures))


class StackTest(unittest.TestCase):
    """A stack for the whole class; tests use devices and users of their own."""
    stack_options = {}

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(**cls.stack_options)
        cls.addClassCleanup(cls.stack.close)

    def problem(self, reply, status, kind, field=None):
        """reply is an RFC 9457 problem of this status and type."""
        self.assertEqual(reply.status, status, reply)
        self.assertEqual(reply.headers["content-type"], "application/problem+json")
        self.assertEqual(reply.json["status"], status)
        self.assertTrue(reply.json["type"].endswith(":" + kind), reply)
        self.assertTrue(reply.json["title"] and reply.json["detail"], reply)
        self.assertEqual(reply.json.get("field"), field, reply)
        return reply.json["detail"]
