# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the gateway in the middle of calls: with a seal key they go on, in every mode, with the same ports, ICE
credentials and keys, and what lies on the disk for it cannot be read."""
import asyncio
import base64
import glob
import hashlib
import json
import os
import random
import socket
import sqlite3
import subprocess
import time
import unittest

from harness import BIN, SLOW, Stack, StackTest, free_port, wait_for, without_seal
from test_attach import Phone

MODES = ["transfer", "sealed", "sdes", "dtls"]
GAP_MS = 1000  # beyond the restart itself


class Crashing(StackTest):
    def start_caller(self, name, *args):
        """In the background. Returns the process."""
        stack = self.stack
        with open(stack.path(f"caller-{name}.out"), "wb") as out:
            caller = subprocess.Popen([os.path.join(BIN, "wakegate-caller"), "--api", stack.url, "--api-token-file",
                                       stack.path("token"), "--callee", "user-" + name, "--json", *map(str, args)],
                                      stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.addCleanup(lambda: caller.poll() is None and (caller.kill(), caller.wait()))
        return caller

    def report(self, name, caller):
        caller.wait(90 * SLOW)
        with open(self.stack.path(f"caller-{name}.out")) as f:
            text = f.read()
        last = text.splitlines()[-1] if text else ""
        self.assertTrue(last.startswith("{"), f"the caller said: {text}\n{self.stack.gateway.log()}")
        return json.loads(last)

    def call_of(self, name, *states):
        def find():
            calls = self.stack.get(f"/v1/calls?callee=user-{name}").json["calls"]
            return next((c for c in calls if c["state"] in states), None)
        return wait_for(find, 20, lambda: f"no call of user-{name} is {states}\n{self.stack.gateway.log()}")

    def phone(self, name, **options):
        phone = self.stack.start_phone(device="phone-" + name, user="user-" + name, **options)
        self.addCleanup(phone.stop)
        return phone

    def crash(self, edit=None):
        """Returns how long nobody was there, in milliseconds."""
        began = time.monotonic()
        self.stack.gateway.kill()
        if edit:
            self.stack.edit_config(edit)
        self.stack.gateway = self.stack.start("gateway", "wakegate", "serve", "-c", self.stack.config)
        return (time.monotonic() - began) * 1000

    def restarted_reason(self, call_id):
        """The call did not go on. Returns what its timeline says about that."""
        call = self.stack.call(call_id)
        self.assertEqual((call["state"], call["reason"]), ("ended", "error"), self.stack.gateway.log())
        return self.stack.timeline(call_id)[-1]["detail"]

    def rows(self, sql, *values):
        with sqlite3.connect(f"file:{self.stack.path('wakegate.db')}?mode=ro", uri=True) as db:
            return db.execute(sql, values).fetchall()

    def went_on(self, name, caller, phone, gone_ms):
        """Both sides heard each other until the end, and nothing came twice."""
        report, over = self.report(name, caller), phone.wait_event("call_over", 20)
        self.assertTrue(report["ok"] and report["heard_expected"] and over["heard_expected"], (report, over))
        for end in (report, over):
            self.assertLessEqual(end["gap_ms"], gone_ms + GAP_MS * SLOW, end)
            self.assertEqual(end["refused_pkts"], 0, end)
        self.assertEqual(over["reason"], "completed")
        return report


class Crash(Crashing):
    def test_sound_goes_on_in_every_mode(self):
        phones = {mode: self.phone(mode, handoff=mode) for mode in MODES}
        callers = {mode: self.start_caller(mode, "--duration-ms", 5000 * SLOW) for mode in MODES}
        before = {mode: self.call_of(mode, "active") for mode in MODES}
        time.sleep(1)
        gone_ms = self.crash()
        for mode in MODES:
            self.assertEqual(self.stack.call(before[mode]["id"])["state"], "active", self.stack.gateway.log())
        for mode in MODES:
            with self.subTest(mode=mode):
                report = self.went_on(mode, callers[mode], phones[mode], gone_ms)
                self.assertEqual(len(phones[mode].events("attached")), 2)
                events = [e["event"] for e in self.stack.timeline(report["id"])]
                self.assertEqual(events.count("resumed"), 1, events)
                apns_id = before[mode]["devices"][0]["apns_id"]
                self.assertEqual(len([r for r in self.stack.journal() if r["apns_id"] == apns_id]), 1)

    def test_again_and_again(self):
        names = {mode: "again-" + mode for mode in MODES}
        phones = {mode: self.phone(names[mode], handoff=mode) for mode in MODES}
        callers = {mode: self.start_caller(names[mode], "--duration-ms", 9000 * SLOW) for mode in MODES}
        for mode in MODES:
            self.call_of(names[mode], "active")
        longest_ms = 0
        for _ in range(6):
            time.sleep(random.uniform(0.1, 1.2))
            longest_ms = max(longest_ms, self.crash())
        for mode in MODES:
            with self.subTest(mode=mode):
                self.went_on(names[mode], callers[mode], phones[mode], longest_ms)

    def test_a_call_that_rings_goes_on(self):
        """Before the phone is awake, and again between its attaching and its answer."""
        names = {mode: "rings-" + mode for mode in MODES}
        phones = {mode: self.phone(names[mode], handoff=mode, wake_ms=1500 * SLOW, answer_ms=1500 * SLOW) for mode in MODES}
        callers = {mode: self.start_caller(names[mode], "--duration-ms", 2000 * SLOW) for mode in MODES}
        for mode in MODES:
            call = self.call_of(names[mode], "ringing")
            wait_for(lambda c=call: "caller_dtls" in [e["event"] for e in self.stack.timeline(c["id"])])
            wait_for(lambda c=call: self.stack.call(c["id"])["devices"][0]["push_state"] == "accepted")
        self.crash()
        for mode in MODES:
            phones[mode].wait_event("attached", 15)
        gone_ms = self.crash()
        for mode in MODES:
            with self.subTest(mode=mode):
                report = self.went_on(names[mode], callers[mode], phones[mode], gone_ms)
                events = [e["event"] for e in self.stack.timeline(report["id"])]
                self.assertEqual(events.count("resumed"), 2, events)
                self.assertEqual(events.count("push_queued"), 1, events)

    def test_a_caller_without_ice_goes_on(self):
        phone = self.phone("plain", handoff="sdes")
        caller = self.start_caller("plain", "--no-ice", "--duration-ms", 3000 * SLOW)
        self.call_of("plain", "active")
        time.sleep(0.5)
        self.went_on("plain", caller, phone, self.crash())

    def test_several_phones_ring_and_one_of_them_answers_afterwards(self):
        quiet = self.stack.start_phone(device="phone-two-a", user="user-two", handoff="sealed", habit="ignores")
        self.addCleanup(quiet.stop)
        phone = self.stack.start_phone(device="phone-two-b", user="user-two", handoff="sealed", answer_ms=1500 * SLOW)
        self.addCleanup(phone.stop)
        caller = self.start_caller("two", "--duration-ms", 1500 * SLOW)
        for p in (quiet, phone):
            p.wait_event("attached", 10)
        self.went_on("two", caller, phone, self.crash())
        self.assertEqual(quiet.wait_event("call_over", 10)["reason"], "answered_elsewhere")

    def test_a_call_without_media_goes_on(self):
        self.phone("still")
        self.start_caller("still", "--no-media", "--duration-ms", 60000)
        call = self.call_of("still", "answered")
        self.crash()
        self.assertEqual(self.stack.call(call["id"])["state"], "answered")
        self.assertEqual(self.stack.delete(f"/v1/calls/{call['id']}").status, 204)
        self.assertEqual(self.stack.call(call["id"])["reason"], "completed")

    def test_a_call_that_ended_leaves_nothing(self):
        phone = self.phone("gone", handoff="sdes")
        caller = self.start_caller("gone", "--duration-ms", 500 * SLOW)
        call = self.call_of("gone", "active")
        parts = {p for p, in self.rows("SELECT part FROM kept WHERE call = ?", call["id"])}
        self.assertEqual(parts, {"call", "offer", "media", "far", "near"})
        self.report("gone", caller)
        phone.wait_event("call_over", 10)
        self.assertEqual(self.rows("SELECT part FROM kept WHERE call = ?", call["id"]), [])
        self.crash()
        self.assertEqual(self.stack.call(call["id"])["reason"], "completed")

    def test_nothing_on_the_disk_can_be_read(self):
        """The keys of a transfer, the ICE password and the offer: not in the database, nor in its log."""
        async def take():
            token = hashlib.sha256(b"secretive").hexdigest()
            self.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
            made = self.stack.put("/v1/devices/secretive", {"user": "user-secretive", "app": "vcs", "token": token,
                                                            "handoff": ["transfer"]})
            phone = await Phone(self.stack, "secretive").dial(secret=made.json["device_secret"], app_state="foreground")
            await phone.hear("welcome")
            caller = self.start_caller("secretive", "--expect-tone", 0, "--timeout-ms", 5000)
            call = await phone.hear("call")
            handoff = call.get("handoff") or await phone.hear("handoff")
            await asyncio.sleep(0.5)
            secrets = [base64.b64decode(handoff["rx"])[:16], base64.b64decode(handoff["tx"])[:16], handoff["rx"].encode(),
                       handoff["tx"].encode(), handoff["ice"]["pwd"].encode(), b"a=fingerprint", b"RTP/SAVPF"]
            stored = b"".join(open(f, "rb").read() for f in glob.glob(self.stack.path("wakegate.db*")))
            self.assertEqual([s for s in secrets if s in stored], [])
            self.assertIn(b"far", stored)
            caller.kill()
            await phone.close()
        asyncio.run(take())


class Keys(Crashing):
    """The seal key changes, is lost, or was never there."""

    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.close)

    def talking(self, name):
        phone = self.phone(name, handoff="sdes")
        caller = self.start_caller(name, "--duration-ms", 4000 * SLOW)
        return phone, caller, self.call_of(name, "active")

    def write_keys(self, *keys):
        with open(self.stack.path("seal.key"), "w") as f:
            f.write("".join(k + "\n" for k in keys))

    def read_key(self):
        with open(self.stack.path("seal.key")) as f:
            return f.read().strip()

    def test_the_key_is_changed_while_calls_go_on(self):
        old, new = self.read_key(), os.urandom(32).hex()
        phone, caller, call = self.talking("rotated")
        self.write_keys(new, old)
        first_ms = self.crash()
        wait_for(lambda: phone.events("attached")[1:])
        time.sleep(0.3)
        self.write_keys(new)  # everything was sealed anew when the call went on
        self.went_on("rotated", caller, phone, max(first_ms, self.crash()))

    def test_a_key_that_is_lost_ends_the_call_and_says_so(self):
        _, caller, call = self.talking("lost")
        self.write_keys(os.urandom(32).hex())
        self.crash()
        self.assertIn("the key that closed it is not in store.seal_key_file any more", self.restarted_reason(call["id"]))
        self.assertIn("seal_key_file", self.stack.gateway.log())

    def test_without_a_key_nothing_is_kept(self):
        self.stack.gateway.stop()
        self.stack.edit_config(without_seal)
        self.stack.gateway = self.stack.start_gateway()
        _, caller, call = self.talking("off")
        self.assertEqual(self.rows("SELECT COUNT(*) FROM kept"), [(0,)])
        self.crash()
        self.assertIn("without store.seal_key_file", self.restarted_reason(call["id"]))

    def test_a_port_that_is_gone_ends_the_call_and_says_so(self):
        _, caller, call = self.talking("port")
        other = free_port(socket.SOCK_DGRAM, 2)
        self.crash(lambda text: text.replace(f"port: {self.stack.media_port}", f"port: {other}"))
        self.assertIn(f"no worker has the port {self.stack.media_port} any more", self.restarted_reason(call["id"]))

    def test_a_route_that_is_gone_ends_the_call_and_says_so(self):
        _, caller, call = self.talking("route")
        name = call["route"]
        self.crash(lambda text: text.replace(f"name: {name}", "name: another"))
        self.assertIn("its route is not in the configuration any more", self.restarted_reason(call["id"]))


if __name__ == "__main__":
    unittest.main()
