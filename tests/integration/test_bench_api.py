# SPDX-License-Identifier: Apache-2.0
"""./dev bench api in small: that it runs, finds no call without a push and no phone without its messages, and prints its lines.
Whether the limits hold is for a release build on a quiet machine."""
import json
import os
import subprocess
import unittest

from harness import BIN, ROOT, SLOW


class BenchApi(unittest.TestCase):
    def test_it_runs(self):
        done = subprocess.run(["/usr/bin/python3", os.path.join(ROOT, "tests", "bench", "api.py"), os.path.dirname(BIN), "--json",
                               "--quick"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120 * SLOW)
        self.assertIn(done.returncode, (0, 1), done.stderr)  # 1: a limit was missed
        self.assertEqual(done.stderr, "")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        figures = {line["figure"]: line for line in lines}
        for line in lines:
            self.assertEqual(list(line), ["bench", "figure", "value", "unit", "ratio", "limit", "ok"])
            self.assertEqual(line["bench"], "api")
            self.assertGreaterEqual(line["value"], 0, line)
        self.assertEqual(len(figures), len(lines))
        self.assertEqual(figures["calls whose push was not written"]["value"], 0)
        self.assertEqual(figures["phones attached, TLS"]["value"], 20)
        for measured in ("OpenSSL's DTLS handshake, in memory", "request to push, 300 calls/s, CPU",
                         "request to push written, 300 calls/s, p50",
                         "SIGTERM to `ended` at the last phone"):
            self.assertGreater(figures[measured]["value"], 0)
        self.assertEqual(any(not line["ok"] for line in lines), done.returncode == 1)


if __name__ == "__main__":
    unittest.main()
