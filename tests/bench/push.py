#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""./dev bench push: the cost of a push in the client, as a ratio to h2load's cost of a request to the same server, with
the same body, in the same run. Needs a release build: BUILD_DIR/bin with bench-push and wakegate-apns-sim.

usage: tests/bench/push.py BUILD_DIR [--json] [--count N]
"""
import argparse
import http.client
import json
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time

from bench_table import Table

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PAYLOAD = b'{"aps":{},"x":"' + b"x" * (1024 - 17) + b'"}'
STREAMS = 500
DEVICES = 1000
PACED_PUSHES, PACED_RATE = 20000, 1000
CONNECTIONS, ROUNDS, NOISE = (1, 2, 4), 6, 1.05
H2LOAD_PER_S, OURS_PER_S = 150000, 65000  # what we promise of a machine that gives h2load so many


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Simulator:
    def __init__(self, build, folder, *options):
        self.port, self.control, ready = free_port(), free_port(), os.path.join(folder, "sim.ready")
        if os.path.exists(ready):
            os.unlink(ready)
        self.log = open(os.path.join(folder, "sim.log"), "wb")
        self.process = subprocess.Popen(
            [f"{build}/bin/wakegate-apns-sim", "--listen", f"127.0.0.1:{self.port}", "--control",
             f"127.0.0.1:{self.control}", "--cert", f"{folder}/apns-sim.pem", "--key", f"{folder}/apns-sim.key",
             "--auth-key", f"ABCDE12345:FGHIJ67890:{folder}/apns-key.pub.pem", "--bundle", "com.example.vcs",
             "--ready-file", ready, *options], stdout=self.log, stderr=self.log)
        for _ in range(100):
            if os.path.exists(ready):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.close()
        sys.exit(f"the simulator did not start: {open(self.log.name).read()}")

    def know_devices(self):
        """The good tokens of bench-push."""
        control = http.client.HTTPConnection("127.0.0.1", self.control)
        for i in range(DEVICES):
            control.request("PUT", f"/v1/devices/00f{i:061x}", json.dumps({"bundle_id": "com.example.vcs"}))
            answer = control.getresponse()
            answer.read()
            if answer.status not in (200, 201):
                sys.exit(f"the simulator does not take a device: {answer.status}")
        control.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()


def h2load(port, folder, count):
    body = os.path.join(folder, "payload.json")
    with open(body, "wb") as f:
        f.write(PAYLOAD)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        ["h2load", "-n", str(count), "-c", "1", "-m", str(STREAMS), "-t", "1", "-d", body, "-H",
         "apns-topic: com.example.vcs.voip", "-H", "apns-push-type: voip", "-H", "apns-priority: 10", "-H",
         "apns-expiration: 0", "-H", "authorization: bearer " + "x" * 180, f"https://127.0.0.1:{port}/3/device/00f{'0' * 61}"],
        capture_output=True, text=True, check=True, timeout=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    rate = float(re.search(r"([\d.]+) req/s", done.stdout).group(1))
    good = int(re.search(r"(\d+) succeeded", done.stdout).group(1))
    if good != count:
        sys.exit(f"h2load: {good} of {count} succeeded\n{done.stdout}")
    return {"per_s": rate, "cpu_us": cpu_s * 1e6 / count}


def ours(build, folder, port, *options):
    done = subprocess.run([f"{build}/bin/bench-push", "--host", "localhost", "--port", str(port), "--ca",
                           f"{folder}/ca.pem", "--key", f"{folder}/apns-key.p8", *map(str, options)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600)
    if done.returncode != 0:
        sys.exit(f"bench-push: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def by_connections(build, folder, port, count):
    """CPU for a push, by how many connections share the same pushes; in turns, and the best of each: the machine is never
    as quiet twice."""
    best = {}
    for _ in range(ROUNDS):
        for n in CONNECTIONS:
            run = ours(build, folder, port, "--count", count, "--outstanding", STREAMS, "--connections", n)
            best[n] = min(best.get(n, run["cpu_us"]), run["cpu_us"])
    return best


def main():
    options = argparse.ArgumentParser()
    options.add_argument("build")
    options.add_argument("--json", action="store_true")
    options.add_argument("--count", type=int, default=1000000)
    o = options.parse_args()
    table = Table("push", o.json)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([f"{ROOT}/config/dev-state.sh", folder], check=True, stdout=subprocess.DEVNULL)
        with Simulator(o.build, folder, "--bench") as sim:
            floor = h2load(sim.port, folder, o.count // 5)
            full = ours(o.build, folder, sim.port, "--count", o.count, "--outstanding", STREAMS)
            floor_again = h2load(sim.port, folder, o.count // 5)
            several = by_connections(o.build, folder, sim.port, o.count // 8)
        with Simulator(o.build, folder) as sim:
            sim.know_devices()
            good = ours(o.build, folder, sim.port, "--count", PACED_PUSHES, "--rate", PACED_RATE)
            mixed = ours(o.build, folder, sim.port, "--count", PACED_PUSHES, "--rate", PACED_RATE, "--bad", 10)
    floor_cpu = min(floor["cpu_us"], floor_again["cpu_us"])
    floor_rate = max(floor["per_s"], floor_again["per_s"])
    ratio, wanted = full["cpu_us"] / floor_cpu, OURS_PER_S * floor_rate / H2LOAD_PER_S
    table.add("h2load, CPU for a request", floor_cpu, "us", 1)
    table.add("client, CPU for a push", full["cpu_us"], "us", ratio, "at most 2.0 x", ratio <= 2)
    table.add("the best of some, 1 connection", several[1], "us", 1)
    for n in CONNECTIONS[1:]:
        more = several[n] / several[1]
        table.add(f"the best of some, {n} connections", several[n], "us", more, f"at most {NOISE} x one's", more <= NOISE)
    table.add("h2load, requests", floor_rate, "1/s", 1)
    table.add("client, pushes", full["per_s"], "1/s", full["per_s"] / floor_rate, f"at least {wanted:.0f}", full["per_s"] >= wanted)
    table.add("client, allocations for a push", full["allocations"], "", None, "at most 0.01", full["allocations"] <= 0.01)
    table.add("OpenSSL's, for its TLS records", full["tls_allocations"], "")
    table.add(f"client, grown over {full['pushes']} pushes", full["grown_kb"], "kB", None, "at most 1024", full["grown_kb"] <= 1024)
    table.add("submit to HEADERS, p50", good["wait_p50_us"], "us")
    table.add("submit to HEADERS, p99", good["wait_p99_us"], "us", None, "under 1000", good["wait_p99_us"] < 1000)
    table.add("submit to HEADERS, p99.9", good["wait_p999_us"], "us", None, "under 5000", good["wait_p999_us"] < 5000)
    slower = mixed["wait_p999_us"] / max(good["wait_p999_us"], 1)
    table.add("the same with 1 % rejected, p99.9", mixed["wait_p999_us"], "us", slower, "at most 2.0 x", slower <= 2)
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
