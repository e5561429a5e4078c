# SPDX-License-Identifier: Apache-2.0
"""The gateway's push client against nghttpd, nghttp2's own server: as strict about HTTP/2 as they come, and with a limit of
streams and a window of its own."""
import re
import subprocess
import unittest

from harness import Stack, wait_for

CALLS = 20


class Nghttpd(unittest.TestCase):
    def start(self, *options):
        self.stack = Stack(sim=False, gateway=False)
        self.addCleanup(self.stack.close)
        self.output = open(self.stack.path("nghttpd.log"), "wb")
        self.addCleanup(self.output.close)
        server = subprocess.Popen(
            ["stdbuf", "-oL", "nghttpd", "--verbose", "--echo-upload", "--address=127.0.0.1", *options,
             str(self.stack.sim_port), self.stack.path("apns-sim.key"), self.stack.path("apns-sim.pem")],
            stdout=self.output, stderr=self.output)
        self.addCleanup(server.wait, 10)
        self.addCleanup(server.terminate)
        self.stack.gateway = self.stack.start_gateway()
        wait_for(lambda: self.stack.get("/readyz", token=None).status == 200, 15, self.stack.gateway.log)

    def log(self):
        with open(self.output.name, encoding="utf-8", errors="replace") as f:
            return f.read()

    def place(self, count):
        calls = []
        for i in range(count):
            made = self.stack.put(f"/v1/devices/phone-{i}", {"user": f"u{i}", "app": "vcs", "token": f"{i:064x}",
                                                             "handoff": ["dtls"]})
            self.assertIn(made.status, (200, 201), made)
            placed = self.stack.post("/v1/calls", {"callee": f"u{i}"})
            self.assertEqual(placed.status, 201, placed)
            calls.append(placed.json["id"])
        return calls

    def accepted(self, call):
        return all((d["push_state"], d["apns_status"]) == ("accepted", 200) for d in self.stack.call(call)["devices"])

    def everything_arrives(self):
        calls = self.place(CALLS)
        wait_for(lambda: all(map(self.accepted, calls)), 10, self.log)
        log = self.log()
        self.assertEqual(sorted(re.findall(r":path: /3/device/([0-9a-f]{64})", log)), [f"{i:064x}" for i in range(CALLS)])
        self.assertNotRegex(log, r"(send|recv) (GOAWAY|RST_STREAM) frame")

    def test_every_push_arrives_once(self):
        self.start()
        self.everything_arrives()

    def test_a_server_that_takes_one_stream_and_small_windows(self):
        self.start("--max-concurrent-streams=1", "--window-bits=10", "--connection-window-bits=16")
        self.everything_arrives()

    def test_a_small_table_for_headers(self):
        self.start("--header-table-size=0")
        self.everything_arrives()


if __name__ == "__main__":
    unittest.main()
