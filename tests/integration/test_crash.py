# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the gateway in the middle of calls: with a seal key they go on, in every mode, with the same ports, ICE
credentials and keys, and what lies on the disk for it cannot be read."""
import json
import os
import subprocess
import time
import unittest

from harness import BIN, SLOW, StackTest, wait_for

MODES = ["transfer", "sealed", "sdes", "dtls"]
GAP_MS = 1000  # beyond the restart itself


class Crash(StackTest):
    def start_caller(self, name, *args):
        """In the background. Returns the process."""
        stack = self.stack
        out = open(stack.path(f"caller-{name}.out"), "wb")
        self.addCleanup(out.close)
        return subprocess.Popen([os.path.join(BIN, "wakegate-caller"), "--api", stack.url, "--api-token-file",
                                 stack.path("token"), "--callee", "user-" + name, "--json", *map(str, args)],
                                stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def report(self, name, caller):
        caller.wait(90 * SLOW)
        with open(self.stack.path(f"caller-{name}.out")) as f:
            text = f.read()
        return json.loads(text.splitlines()[-1])

    def call_of(self, user, *states):
        def find():
            calls = self.stack.get(f"/v1/calls?callee={user}").json["calls"]
            return next((c for c in calls if c["state"] in states), None)
        return wait_for(find, 20, lambda: f"no call of {user} is {states}\n{self.stack.gateway.log()}")

    def crash(self):
        """Returns how long nobody was there, in milliseconds."""
        stack = self.stack
        began = time.monotonic()
        stack.gateway.kill()
        stack.gateway = stack.start("gateway", "wakegate", "serve", "-c", stack.config)
        return (time.monotonic() - began) * 1000

    def test_sound_goes_on_in_every_mode(self):
        phones, callers = {}, {}
        for mode in MODES:
            phones[mode] = self.stack.start_phone(device="phone-" + mode, user="user-" + mode, handoff=mode)
            callers[mode] = self.start_caller(mode, "--duration-ms", 6000 * SLOW)
        before = {mode: self.call_of("user-" + mode, "active") for mode in MODES}
        time.sleep(1)
        gone_ms = self.crash()
        for mode in MODES:
            call = self.stack.call(before[mode]["id"])
            self.assertEqual(call["state"], "active", f"{call}\n{self.stack.gateway.log()}")
        for mode in MODES:
            with self.subTest(mode=mode):
                report = self.report(mode, callers[mode])
                over = phones[mode].wait_event("call_over", 20)
                self.assertTrue(report["ok"], report)
                self.assertTrue(report["heard_expected"] and over["heard_expected"], (report, over))
                self.assertLessEqual(report["gap_ms"], gone_ms + GAP_MS * SLOW, report)
                self.assertLessEqual(over["gap_ms"], gone_ms + GAP_MS * SLOW, over)
                self.assertEqual((report["refused_pkts"], over["refused_pkts"]), (0, 0))
                self.assertEqual(over["reason"], "completed")
                self.assertEqual(len(phones[mode].events("attached")), 2)
                events = [e["event"] for e in self.stack.timeline(report["id"])]
                self.assertEqual(events.count("resumed"), 1, events)
                self.assertEqual(len([r for r in self.stack.journal() if r.get("apns_id") == before[mode]["devices"][0]["apns_id"]]), 1)
                phones[mode].stop()


if __name__ == "__main__":
    unittest.main()
