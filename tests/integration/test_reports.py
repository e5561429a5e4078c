# SPDX-License-Identifier: Apache-2.0
"""What the ledger says over REST: the report by group, as JSON and as a table, and a device's own pushes."""
import csv
import datetime
import io
import unittest

from harness import StackTest, wait_for


class Reports(StackTest):
    def ring(self, device, outcome, **phone):
        """One call to a phone of these habits, until the ledger has its verdict."""
        program = self.stack.start_phone(device, device, **phone)
        call = self.stack.post("/v1/calls", {"callee": device, "ring_timeout_s": 3}).json["id"]
        row = wait_for(lambda: next((p for p in self.pushes(device) if p["call"] == call and p["outcome"] == outcome), None), 20,
                       lambda: str(self.pushes(device)))
        program.stop()
        return row

    def pushes(self, device, query=""):
        return self.stack.get(f"/v1/devices/{device}/pushes{query}").json["pushes"]

    def report(self, query="", **more):
        reply = self.stack.get(f"/v1/reports/must-report?{query}", **more)
        self.assertEqual(reply.status, 200, reply)
        return reply

    def test_the_report_counts_what_the_phones_did(self):
        good = self.ring("good", "reported", answer_ms=100)
        self.ring("good", "reported", answer_ms=100)
        self.ring("silent", "silent", habit="silent")
        today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
        [row] = self.report("group_by=app").json["rows"]
        self.assertEqual((row["app"], row["pushes"], row["accepted"], row["receipts"], row["reported"], row["silent"]),
                         ("vcs", 3, 3, 2, 2, 1))
        self.assertEqual((row["must_report_true"], row["predicted_right"]), (2, 2))
        self.assertTrue(0 < row["push_to_receipt_p50_ms"] <= row["push_to_receipt_p95_ms"] < 10000, row)
        self.assertNotIn("day", row)
        [row] = self.report(f"group_by=day,app&device=good&from={today}").json["rows"]
        self.assertEqual((row["day"], row["pushes"], row["silent"]), (today, 2, 0))
        self.assertEqual(self.report(f"to={today}").json["rows"], [])
        self.assertEqual(self.report(f"from={good['queued_at']}&to={good['queued_at']}").json["rows"], [])
        table = self.report("group_by=app", headers={"Accept": "text/csv"})
        self.assertTrue(table.headers["content-type"].startswith("text/csv"))
        [line] = csv.DictReader(io.StringIO(table.text))
        self.assertEqual((line["app"], line["pushes"], line["silent"]), ("vcs", "3", "1"))

        [latest, first] = self.pushes("good")
        self.assertEqual(first["push"], good["push"])
        self.assertGreater(latest["queued_at"], first["queued_at"])
        self.assertEqual((first["must_report"], first["reported"], first["apns_status"], first["why"]),
                         (True, "callkit", 200, "asleep"))
        self.assertTrue(first["queued_at"] <= first["written_at"] <= first["answered_at"] <= first["receipt_at"], first)
        self.assertEqual(len(self.pushes("good", "?limit=1")), 1)
        self.assertEqual(self.pushes("nobody"), [])

    def test_what_cannot_be_asked_is_said(self):
        for query, field in [("group_by=colour", "group_by"), ("group_by=", "group_by"), ("from=yesterday", "from"),
                             ("to=2026-13-45", "to")]:
            with self.subTest(query):
                self.problem(self.stack.get(f"/v1/reports/must-report?{query}"), 400, "bad-field", field)
        for limit in ("0", "1001", "x", "-1"):
            self.problem(self.stack.get(f"/v1/devices/good/pushes?limit={limit}"), 400, "bad-field", "limit")


if __name__ == "__main__":
    unittest.main()
