# SPDX-License-Identifier: Apache-2.0
"""200 phones of mixed habits, some calls to each: at the end the ledger says of every push what the phones wrote down of it
themselves, row by row."""
import collections
import json
import time
import unittest

from harness import SLOW, Stack, wait_for

ROUNDS, RING_S = 3, 10
# Name, how many, what they are told, and the outcome of a push that finds them asleep.
HABITS = [
    ("answers", 40, {"habit": "answers", "network": "wifi"}, "reported"),
    ("declines", 20, {"habit": "declines", "network": "cellular"}, "reported"),
    ("ignores", 20, {"habit": "ignores"}, "reported"),
    ("old", 20, {"habit": "answers", "os": "18.6"}, "reported"),
    ("china", 20, {"habit": "answers", "ui": "lck"}, "reported"),
    ("engaged", 10, {"habit": "declines", "on_call": True}, "exempt"),
    ("filtered", 10, {"habit": "filtered"}, "filtered"),
    ("fails", 10, {"habit": "fails"}, "violated"),
    ("late", 20, {"habit": "late", "report_ms": 1000}, "reported"),
    ("confesses", 10, {"habit": "confesses", "answer_ms": 50, "block_after": 2}, "violated"),
    ("killed", 10, {"habit": "no-report"}, "silent"),
    ("silent", 10, {"habit": "silent"}, "silent"),
]
WRITTEN = ("push", "ignored", "not_launched", "busy", "repeated", "alert")  # a phone's own record of a push


class Soak(unittest.TestCase):
    def setUp(self):
        self.stack = Stack(edit=lambda text: text.replace("ring_timeout_s: 40", f"ring_timeout_s: {RING_S}").replace(
            "ring_timeout_s", "must_report: {blocked_violations: 14}, ring_timeout_s", 1), LOG_LEVEL="info")
        self.addCleanup(self.stack.close)

    def place(self, name, count):
        return [self.stack.post("/v1/calls", {"callee": f"{name}-{i + 1}"}).json["id"] for i in range(count)]

    def rows(self, device):
        return self.stack.get(f"/v1/devices/{device}/pushes").json["pushes"]

    def decided(self, devices):
        return wait_for(lambda: all(r["outcome"] for d in devices for r in self.rows(d)), 3 * RING_S,
                        lambda: str([r for d in devices for r in self.rows(d) if not r["outcome"]]))

    def end_all(self, calls):
        for call in calls:
            self.stack.delete(f"/v1/calls/{call}")

    def compare(self, habit, event, row):
        """One push: what the phone wrote down, and what the ledger says."""
        name, _, options, outcome = habit
        told = (event, row)
        self.assertEqual((event["call"], row["apns_status"], row["type"]), (row["call"], 200, "voip"), told)
        if event["event"] != "push" or name == "killed":
            self.assertEqual((row["outcome"], row["receipt_at"], row["must_report"]), ("silent", None, None), told)
            return
        self.assertEqual(row["must_report"], event["must_report"], told)
        self.assertEqual(row["outcome"], outcome, told)
        self.assertEqual(row["network"], options.get("network", ""), told)
        self.assertEqual(row["os_version"], options.get("os", "26.4"), told)
        self.assertEqual(row["reported"], event["ui"] if event["reported"] or name == "late" else "none", told)
        self.assertEqual(row["report_error"], {"filtered": "filteredByDoNotDisturb", "fails": "unentitled"}.get(name, ""), told)
        received = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(event["received_at"] // 1000))
        self.assertEqual(row["received_at"], f"{received}.{event['received_at'] % 1000:03}Z", told)

    def test_the_ledger_is_what_the_phones_wrote_down(self):
        phones = {name: self.stack.start_phone(name, name, count=count, **options) for name, count, options, _ in HABITS}
        devices = [f"{name}-{i + 1}" for name, count, _, _ in HABITS for i in range(count)]
        self.assertEqual(len(devices), 200)
        placed = 0
        for _ in range(ROUNDS):
            calls = [call for name, count, _, _ in HABITS for call in self.place(name, count)]
            placed += len(calls)
            self.decided(devices)
            self.end_all(calls)
            wait_for(lambda: not self.stack.get("/v1/calls?state=answered").json["calls"])
            time.sleep(0.5 * SLOW)  # the phones hear of the end over their connections, and go back to sleep
        outcomes = collections.Counter()
        for habit in HABITS:
            name = habit[0]
            written = {e["push"]: e for e in phones[name].events() if e["event"] in WRITTEN}
            rows = {r["push"]: (d, r) for d in devices if d.rsplit("-", 1)[0] == name for r in self.rows(d)}
            self.assertEqual(sorted(written), sorted(rows), name)  # none is missing on either side
            self.assertEqual(len(rows), ROUNDS * habit[1])
            for push, (device, row) in rows.items():
                self.assertEqual(written[push]["device"], device)
                self.compare(habit, written[push], row)
                outcomes[row["outcome"]] += 1
        self.assertEqual(placed, sum(outcomes.values()))
        [report] = self.stack.get("/v1/reports/must-report?group_by=app").json["rows"]
        self.assertEqual({o: report[o] for o in ("reported", "exempt", "violated", "late", "silent", "filtered")},
                         {**dict.fromkeys(("exempt", "violated", "late", "silent", "filtered", "reported"), 0), **outcomes})
        networks = {r["network"]: r["pushes"] for r in self.stack.get("/v1/reports/must-report?group_by=network").json["rows"]}
        self.assertEqual((networks["wifi"], networks["cellular"]), (ROUNDS * 40, ROUNDS * 20))
        sick = {d: self.stack.get(f"/v1/devices/{d}").json["health"] for d in devices}
        self.assertEqual({d for d in sick if sick[d] != "ok"},
                         {d for d in devices if d.rsplit("-", 1)[0] in ("silent", "killed", "confesses")}, json.dumps(sick))


if __name__ == "__main__":
    unittest.main()
