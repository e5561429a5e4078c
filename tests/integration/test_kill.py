# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random points under load, again and again: what was acknowledged is there, nothing is pushed twice, and the
events are one row without a gap.

WAKEGATE_KILLS: how often (500; 40 under sanitizers). WAKEGATE_SEED: the seed of an earlier run, which is printed."""
import collections
import contextlib
import hashlib
import http.client
import json
import os
import random
import sqlite3
import threading
import time
import unittest
import uuid

from harness import SLOW, Stack, wait_for

KILLS = int(os.environ.get("WAKEGATE_KILLS", "500" if SLOW == 1 else "40"))
SEED = int(os.environ.get("WAKEGATE_SEED", random.randrange(1 << 32)))
USERS = 24
CALLERS, REGISTRARS = 3, 2
LOAD_S = (0.0, 0.07) # from the start until the kill; some of them come before it serves
PAUSE_S = 0.01        # of a client between two of its turns: the books of 500 kills are to stay of a size to compare
LONGER, LONGER_S = 0.06, 0.5  # of the rounds last so much longer: time for pushes on any machine
EARLY = 0.1           # of the kills come while it starts
RING_S = 5             # calls that go on through the kills shall not become ever more
CHECKED_BY_API = 8    # of a round's calls; the books are compared as a whole at the end


class Gone(Exception):
    """The gateway went away in the middle: the client does not know what has become of its request."""


class Client:
    """One connection, kept open as a call server would."""

    def __init__(self, port, token):
        self.port, self.token, self.connection = port, token, None

    def ask(self, method, path, body=None, token=None, **headers):
        """Returns status and text."""
        head = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json",
                **{k.replace("_", "-"): v for k, v in headers.items()}}
        try:
            if not self.connection:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15 * SLOW)
            self.connection.request(method, path, None if body is None else json.dumps(body), head)
            response = self.connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException) as e:
            self.close()
            raise Gone from e
        if response.will_close:
            self.close()
        return response.status, text

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class Load:
    """Clients that go on over every kill: what was not acknowledged is asked again, until it is."""

    def __init__(self, stack, secrets, rng):
        self.stack, self.secrets = stack, secrets
        self.up, self.stop = threading.Event(), threading.Event()
        self.lock = threading.Lock()
        self.calls = {}     # key -> text of the 201
        self.fresh = []     # keys that were acknowledged since the last look
        self.ended = set()  # calls whose DELETE was acknowledged
        self.receipts = {}  # push -> call, acknowledged
        self.unknown = {}   # push -> call: asked again after a kill, and refused as unknown
        self.devices = {}   # device -> app_version, or None when its deletion was acknowledged
        self.changes = 0    # acknowledged
        self.retried = collections.Counter()
        self.errors = []
        seeds = [rng.randrange(1 << 32) for _ in range(CALLERS + REGISTRARS)]
        work = [self.place] * CALLERS + [self.register] * REGISTRARS
        self.threads = [threading.Thread(target=self.run, args=(fn, n, random.Random(seed)), daemon=True)
                        for n, (fn, seed) in enumerate(zip(work, seeds))]

    def run(self, fn, number, rng):
        client, turn = Client(self.stack.api_port, self.stack.token), 0
        try:
            while not self.stop.is_set():
                fn(client, number, turn, rng)
                turn += 1
                time.sleep(rng.uniform(0, PAUSE_S))
        except Exception as e:  # pylint: disable=broad-except
            self.errors.append(f"{fn.__name__}: {type(e).__name__}: {e}")
        client.close()

    def sure(self, client, *args, **more):
        """Until there is an answer; status, text, and whether the request had to be sent again."""
        again = False
        while True:
            while not self.up.wait(0.2):
                pass
            with contextlib.suppress(Gone):
                return *client.ask(*args, **more), again
            again = True
            self.retried[args[0]] += 1
            time.sleep(0.005)

    def expect(self, condition, what):
        if not condition:
            raise AssertionError(what)

    def place(self, client, number, turn, rng):
        user, key = f"u-{rng.randrange(USERS)}", str(uuid.UUID(int=rng.getrandbits(128)))
        status, text, _ = self.sure(client, "POST", "/v1/calls", {"callee": user, "ring_timeout_s": RING_S}, Idempotency_Key=key)
        self.expect(status == 201, f"{number}.{turn}: POST {status} {text}")
        made = json.loads(text)
        with self.lock:
            self.calls[key] = text
            self.fresh.append(key)
        if rng.random() < 0.7:
            self.report(client, made, user)
        if rng.random() < 0.8:
            status, text, _ = self.sure(client, "DELETE", f"/v1/calls/{made['id']}")
            self.expect(status == 204, f"DELETE {status} {text}")
            with self.lock:
                self.ended.add(made["id"])

    def report(self, client, made, user):
        push = made["devices"][0].get("apns_id")
        if not push:
            return
        receipt = {"call": made["id"], "push": push, "must_report": True, "reported": "callkit", "app_state": "background"}
        status, text, again = self.sure(client, "POST", "/v1/receipts", receipt, token=self.secrets[user])
        # A call that ended before its push left has none, and so no receipt: an answer that is no acknowledgement.
        self.expect(status in (204, 404), f"receipt: {status} {text}")
        with self.lock:
            (self.receipts if status == 204 else self.unknown)[push] = made["id"]

    def register(self, client, number, turn, rng):
        name, version = f"d-{number}-{rng.randrange(12)}", f"{number}.{turn}"
        if rng.random() < 0.3:
            status, text, again = self.sure(client, "DELETE", f"/v1/devices/{name}")
            known = self.devices.get(name)
            self.expect(status == 204 or (status == 404 and (again or known is None)), f"DELETE {name}: {status} {text}")
            version = None
        else:
            body = {"user": f"x-{number}", "app": "vcs", "token": "ab" * 32, "app_version": version}
            status, text, again = self.sure(client, "PUT", f"/v1/devices/{name}", body)
            right = (200, 201) if again else (200,) if self.devices.get(name) else (201,)
            self.expect(status in right, f"PUT {name}: {status} {text}")
        with self.lock:
            self.devices[name] = version
            self.changes += 1


class Listener:
    """A consumer of /v1/events that resumes where it was, over every kill."""

    def __init__(self, load):
        self.load, self.heard, self.resumed, self.faults = load, [], 0, []
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.load.stop.is_set():
            if self.load.up.wait(0.2):
                with contextlib.suppress(OSError, http.client.HTTPException):
                    self.listen()
                time.sleep(0.005)

    def listen(self):
        stack, last = self.load.stack, self.heard[-1][0] if self.heard else 0
        connection = http.client.HTTPConnection("127.0.0.1", stack.api_port, timeout=5 * SLOW)
        try:
            connection.request("GET", "/v1/events", headers={"Authorization": f"Bearer {stack.token}",
                                                             "Last-Event-ID": str(last)})
            response = connection.getresponse()
            if response.status != 200:
                self.faults.append(f"Last-Event-ID {last}: {response.status} {response.read()}")
                return
            self.resumed += 1
            self.read(response)
        finally:
            connection.close()

    def read(self, response):
        fields = {}
        for raw in response:
            line = raw.decode().rstrip("\n")
            if line and not line.startswith(":"):
                name, value = line.split(": ", 1)
                fields[name] = value
            elif not line and "data" in fields:
                self.take(fields)
                fields = {}
            if self.load.stop.is_set() and not fields:
                return

    def take(self, fields):
        event = json.loads(fields["data"])
        if fields["event"] == "events.pruned":
            self.faults.append(f"pruned: {event}")
            return
        number = int(fields["id"])
        if self.heard and number <= self.heard[-1][0]:
            self.faults.append(f"event {number} after {self.heard[-1][0]}")
        self.heard.append((number, fields["event"], event["data"]))


class Journal:
    """What APNs got, over all: its own journal keeps the latest 1,000."""

    def __init__(self, stack):
        self.stack, self.seen, self.pushes = stack, set(), collections.Counter()
        self.of_call = collections.defaultdict(set)
        self.doubled = set()

    def look(self):
        requests = self.stack.control("GET", "/v1/journal?limit=300").json["requests"]
        here = collections.Counter(r["apns_id"] for r in requests)
        self.doubled |= {i for i, n in here.items() if n > 1}
        for r in requests:
            mark = (r["apns_id"], r["at"], r["connection"])
            inside = (r["payload"] or {}).get("wakegate")
            if mark in self.seen or not inside:
                continue
            self.seen.add(mark)
            self.pushes[r["apns_id"]] += 1
            if r["push_type"] == "voip":
                self.of_call[inside["call"]].add(r["apns_id"])


class Kill(unittest.TestCase):
    def setUp(self):
        self.rng = random.Random(SEED)
        print(f"WAKEGATE_SEED={SEED} WAKEGATE_KILLS={KILLS}", flush=True)
        self.stack = Stack(gateway=False, LOG_LEVEL="warn")
        self.addCleanup(self.stack.close)
        self.journal = Journal(self.stack)

    def start(self, ready=True):
        s = self.stack
        s.programs = [p for p in s.programs if p.name != "gateway"]
        s.gateway = s.start("gateway", "wakegate", "serve", "-c", s.config, ready=ready)

    def rows(self, sql, *values):
        with contextlib.closing(sqlite3.connect(f"file:{self.stack.path('wakegate.db')}?mode=ro", uri=True)) as db:
            return db.execute(sql, values).fetchall()

    def users(self):
        secrets = {}
        for i in range(USERS):
            user = f"u-{i}"
            token = hashlib.sha256(user.encode()).hexdigest()
            self.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
            made = self.stack.put(f"/v1/devices/{user}-phone", {"user": user, "app": "vcs", "token": token})
            self.assertEqual(made.status, 201, made)
            secrets[user] = made.json["device_secret"]
        return secrets

    def kill_while_it_starts(self):
        """Between exec and the ready file, the database may be half read, and the pushes half closed."""
        self.start(ready=False)
        time.sleep(self.rng.uniform(0, 0.03 * SLOW))
        self.stack.gateway.kill()

    def check_round(self, load):
        """What was acknowledged in the last round is answered for now, by the API and truthfully."""
        with load.lock:
            fresh, load.fresh = load.fresh, []
            ended = set(load.ended)
        client = Client(self.stack.api_port, self.stack.token)
        for key in self.rng.sample(fresh, min(len(fresh), CHECKED_BY_API)):
            made = json.loads(load.calls[key])
            status, text = client.ask("GET", f"/v1/calls/{made['id']}")
            self.assertEqual(status, 200, text)
            now = json.loads(text)
            self.assertIn(now["state"], ("ringing", "answered", "active", "ended"))
            if made["id"] in ended:
                self.assertEqual(now["state"], "ended", now)
            again = client.ask("POST", "/v1/calls", {"callee": made["callee"], "ring_timeout_s": RING_S}, Idempotency_Key=key)
            self.assertEqual(again, (201, load.calls[key]))
        client.close()
        self.assertEqual(self.rows("PRAGMA quick_check(1)"), [("ok",)])
        self.journal.look()

    def test_nothing_that_was_acknowledged_is_lost_and_nothing_is_pushed_twice(self):
        self.start()
        load = Load(self.stack, self.users(), self.rng)
        listener = Listener(load)
        self.addCleanup(load.stop.set)
        load.up.set()
        for thread in [*load.threads, listener.thread]:
            thread.start()
        for turn in range(KILLS):
            longer = LONGER_S if self.rng.random() < LONGER else 0
            time.sleep((self.rng.uniform(*LOAD_S) + longer) * SLOW)
            load.up.clear()  # whoever is refused waits, instead of trying all the time
            self.stack.gateway.kill()
            while self.rng.random() < EARLY:
                self.kill_while_it_starts()
            self.start()
            load.up.set()
            self.check_round(load)
            self.assertEqual(load.errors + listener.faults, [], f"kill {turn + 1}, seed {SEED}")
        load.stop.set()
        for thread in load.threads:
            thread.join(30 * SLOW)
            self.assertFalse(thread.is_alive())
        self.assertEqual(load.errors, [])
        self.settle(load, listener)
        self.check_calls(load)
        self.check_pushes(load)
        self.check_devices(load)
        self.check_events(load, listener)
        self.assertEqual(self.rows("PRAGMA integrity_check"), [("ok",)])
        print(f"{KILLS} kills: {len(load.calls)} calls, {len(load.ended)} ended, {len(load.receipts)} receipts, "
              f"{len(load.unknown)} of pushes that never left, {load.changes} changes of devices, "
              f"{sum(self.journal.pushes.values())} pushes, {len(listener.heard)} events over {listener.resumed} "
              f"connections; asked again: {dict(load.retried)}", flush=True)

    def settle(self, load, listener):
        """One more kill, with nothing on its way: the end of the books."""
        wait_for(lambda: self.stack.get("/readyz", token=None).status == 200, 20, self.stack.gateway.log)
        listener.thread.join(30 * SLOW)
        self.stack.gateway.kill()
        self.start()
        self.journal.look()

    def check_calls(self, load):
        self.assertGreater(len(load.calls), KILLS / 4)
        ids = {json.loads(text)["id"] for text in load.calls.values()}
        self.assertEqual(len(ids), len(load.calls))
        # Each key was asked until there was an answer, so there is exactly one call of each.
        self.assertEqual({row[0] for row in self.rows("SELECT id FROM calls")}, ids)
        self.assertEqual({row[0]: row[1] for row in self.rows("SELECT key, response FROM idempotency")}, load.calls)
        over = {row[0] for row in self.rows("SELECT id FROM calls WHERE state = 'ended' AND ended_ms > 0")}
        self.assertEqual(load.ended - over, set())

    def check_pushes(self, load):
        self.assertEqual(self.journal.doubled, set())
        self.assertEqual([i for i, n in self.journal.pushes.items() if n > 1], [])
        self.assertEqual({c: p for c, p in self.journal.of_call.items() if len(p) > 1}, {})
        self.assertGreater(len(self.journal.of_call), KILLS / 10)
        self.assertEqual(set(self.journal.of_call) - {json.loads(t)["id"] for t in load.calls.values()}, set())
        ledger = {row[0]: row[1:] for row in self.rows("SELECT id, call, receipt_ms > 0, reported FROM pushes")}
        lost = {p: ledger.get(p) for p, call in load.receipts.items() if ledger.get(p) != (call, 1, "callkit")}
        self.assertEqual(lost, {})
        # A push that APNs got has its row, so that its receipt can count.
        self.assertEqual({p for pushes in self.journal.of_call.values() for p in pushes} - set(ledger), set())
        self.assertEqual(set(load.unknown) & set(self.journal.pushes), set())

    def check_devices(self, load):
        there = dict(self.rows("SELECT id, app_version FROM devices WHERE user LIKE 'x-%'"))
        self.assertEqual(there, {name: version for name, version in load.devices.items() if version})
        page = self.stack.get("/v1/devices?limit=200").json["devices"]
        self.assertEqual({d["device"]: d["app_version"] for d in page if d["user"].startswith("x-")}, there)

    def check_events(self, load, listener):
        kept = {row[0]: (row[1], row[2]) for row in self.rows("SELECT id, type, data FROM events ORDER BY id")}
        heard = {number: (kind, data) for number, kind, data in listener.heard}
        self.assertEqual(len(heard), len(listener.heard))
        until = max(heard)
        self.assertEqual(list(heard), [number for number in kept if number <= until])
        self.assertEqual({n: (k, json.dumps(d, sort_keys=True)) for n, (k, d) in heard.items()},
                         {n: (k, json.dumps(json.loads(d), sort_keys=True)) for n, (k, d) in kept.items() if n <= until})
        of = collections.defaultdict(collections.Counter)
        for kind, text in kept.values():
            data = json.loads(text)
            of[kind][data.get("push") if kind == "receipt" else data.get("call") or data.get("device")] += 1
        ids = {json.loads(text)["id"] for text in load.calls.values()}
        self.assertEqual(of["call.ringing"], collections.Counter(ids))
        self.assertEqual([c for c, n in of["call.ended"].items() if n > 1], [])
        self.assertEqual(load.ended - set(of["call.ended"]), set())
        self.assertEqual(set(load.receipts) - set(of["receipt"]), set())
        self.assertEqual([p for p, n in of["receipt"].items() if n > 1], [])


if __name__ == "__main__":
    unittest.main()
