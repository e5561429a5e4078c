#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""./dev bench api: what a call costs the gateway from its request to its push, how many it takes, how long a push takes to
leave, and what 5,000 attached phones cost. Needs a release build: BUILD_DIR/bin with wakegate, wakegate-apns-sim, bench-api.

The gateway runs as in production: TLS, SQLite on a real file system, its log in a file. Pushes go to the simulator's bench
mode. Callers do no DTLS handshake here; one in memory is the floor. CPU is that of the gateway's process, all threads, from
the first request of a rate to 0.3 s after the last reply. "Push written" is the timeline's point: the request's head was read,
the push's last byte was handed to the kernel. "Due to 201" is seen from the caller, and counts the wait for a connection.

usage: tests/bench/api.py BUILD_DIR [--json] [--quick] [--calls N] [--phones N] [--seconds N] [--idle-ms MS] [--rounds N]
"""
import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from bench_table import Table
from push import Simulator, free_port

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
OFFER = os.path.join(ROOT, "tests", "fixtures", "sdp", "chromium.sdp")
RATE, CALLS_PER_S = 300, 1000
QUICK = {"rounds": 1, "calls": 60, "phones": 20, "seconds": 1, "idle_ms": 200}  # for the tests: does it run?
OF_HANDSHAKE, P99_OF_P50 = 1.8, 4
PHONE_KIB, TOLD_MS, IDLE_PERCENT = 24, 1000, 2
SEALING_KEY = "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"  # RFC 7748 6.1: Bob's public key
# A phone of this bench sends no receipt. What the gateway does about that is no part of a call's set-up.
PATIENT = "must_report: {receipt_after_ms: 55000, suspect_after_ms: 55000, second_path_after_ms: 55000}"


class Gateway:
    """A new gateway with an empty database, beside its simulator."""

    def __init__(self, build, folder, tls=True, sealed_rows=False):
        self.build, self.folder = build, folder
        self.listen = f"127.0.0.1:{free_port()}"
        self.simulator = None
        settings = {"API_LISTEN": self.listen, "MEDIA_PORT": str(free_port())}
        subprocess.run([f"{ROOT}/config/dev-state.sh", folder], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, **settings})
        self.simulator = Simulator(build, folder, "--bench")
        self.tls = tls
        self.configure(sealed_rows)
        self.ready = os.path.join(folder, "gateway.ready")
        self.log = open(os.path.join(folder, "gateway.log"), "wb")
        self.process = subprocess.Popen([f"{build}/bin/wakegate", "serve", "-c", f"{folder}/wakegate.yaml", "--ready-file",
                                         self.ready], stdout=self.log, stderr=self.log)
        self.wait_ready()

    def configure(self, sealed_rows):
        path = os.path.join(self.folder, "wakegate.yaml")
        with open(path) as f:
            lines = f.read().replace("port: 2197", f"port: {self.simulator.port}").splitlines()
        out = []
        for line in lines:
            if "seal_key_file" in line and not sealed_rows:
                continue
            out.append(line.replace("ring_timeout_s: 40", f"ring_timeout_s: 40, {PATIENT}"))
            if line == "listen:" and self.tls:  # the simulator's certificate is for 127.0.0.1, too
                out.append(f"  tls: {{certificate_file: {self.folder}/apns-sim.pem, key_file: {self.folder}/apns-sim.key}}")
            if line == "auth:":  # what the gateway can do, not what it allows one client
                out.append("  rate: {per_s: 0}")
        with open(path, "w") as f:
            f.write("\n".join(out) + "\n")

    def wait_ready(self):
        for _ in range(200):
            if os.path.exists(self.ready) and os.path.getsize(self.ready):
                time.sleep(1.2)  # the connections to APNs: one a second to an address
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        with open(self.log.name) as f:
            text = f.read()
        self.close()
        sys.exit(f"the gateway did not start: {text}")

    def run(self, *options):
        tls = ["--ca", f"{self.folder}/ca.pem"] if self.tls else []
        done = subprocess.run([f"{self.build}/bin/bench-api", *map(str, options), "--listen", self.listen, "--token-file",
                               f"{self.folder}/token", "--offer", OFFER, "--pid", str(self.process.pid), *tls],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
        if done.returncode != 0:
            with open(self.log.name) as f:
                tail = f.read()[-2000:]
            sys.exit(f"bench-api {' '.join(map(str, options))}: {done.stdout}{done.stderr}{tail}")
        return json.loads(done.stdout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for _ in range(2):  # the first one waits for calls
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                time.sleep(0.2)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.simulator.close()


def fresh(build, options, **gateway):
    # Not below /tmp where that is memory: a commit is to reach a disk.
    with tempfile.TemporaryDirectory(dir=os.path.abspath(build)) as folder, Gateway(build, folder, **gateway) as g:
        return g.run(*options)


def others(table, o, command):
    """What else a call may cost: no limits."""
    sealed = ["--handoff", "sealed", "--sealing-key", SEALING_KEY]
    for name, run in (("without TLS", fresh(o.build, command, tls=False)),
                      ("with store.seal_key_file", fresh(o.build, command, sealed_rows=True)),
                      ("that, and mode sealed", fresh(o.build, [*command, *sealed], sealed_rows=True))):
        table.add(f"call, {name}, CPU", run["cpu_us"], "us", run["cpu_us"] / run["floor_us"])


def calls(table, o):
    """Alternately at both rates, and the medians: the machine is never as quiet twice."""
    def command(rate):
        return ["calls", "--count", o.calls, "--rate", rate]

    slow, fast = [], []
    for _ in range(o.rounds):
        slow.append(fresh(o.build, command(RATE)))
        fast.append(fresh(o.build, command(CALLS_PER_S)))

    def figure(name, runs=slow):
        return statistics.median(r[name] for r in runs)

    def ratio(name, to, runs=slow):
        return statistics.median(r[name] / r[to] for r in runs)

    unwritten = sum(r["calls"] - r["written"] for r in slow + fast)
    table.add("OpenSSL's DTLS handshake, in memory", figure("floor_us", slow + fast), "us", 1)
    for rate, runs in ((CALLS_PER_S, fast), (RATE, slow)):
        of_floor = ratio("cpu_us", "floor_us", runs)
        if rate == CALLS_PER_S:
            table.at_most(f"request to push, {rate} calls/s, CPU", figure("cpu_us", runs), "us", of_floor, OF_HANDSHAKE)
        else:  # nearly each call has a commit of its own, which is half of it
            table.add(f"request to push, {rate} calls/s, CPU", figure("cpu_us", runs), "us", of_floor)
        table.add(f"end by DELETE, {rate} calls/s, CPU", figure("delete_cpu_us", runs), "us",
                  ratio("delete_cpu_us", "floor_us", runs))
    if not o.quick:
        others(table, o, command(RATE))
    table.add("calls whose push was not written", unwritten, "", None, "none", unwritten == 0)
    table.add(f"request to push written, {RATE} calls/s, p50", figure("written_p50_us"), "us", 1)
    table.at_most(f"request to push written, {RATE} calls/s, p99", figure("written_p99_us"), "us",
                  ratio("written_p99_us", "written_p50_us"), P99_OF_P50)
    table.add(f"due to 201 at the caller, {RATE} calls/s, p50", figure("reply_p50_us"), "us", 1)
    table.add(f"due to 201 at the caller, {RATE} calls/s, p99", figure("reply_p99_us"), "us",
              ratio("reply_p99_us", "reply_p50_us"))


def sustain(table, o):
    run = fresh(o.build, ["sustain", "--seconds", o.seconds, "--count", 100000, "--connections", 64])
    table.add("calls, each with its DELETE, sustained", run["per_s"], "1/s", None, f"at least {CALLS_PER_S}",
              run["per_s"] >= CALLS_PER_S)
    table.add("request to 201 then, p99", run["reply_p99_us"], "us")
    table.add("call and its DELETE then, CPU", run["cpu_us"], "us")


def phones(table, o):
    run = fresh(o.build, ["phones", "--count", o.phones, "--idle-ms", o.idle_ms, "--rate", RATE])
    table.add("phones attached, TLS", run["phones"], "")
    table.add("attached in a second", run["attached_per_s"], "1/s")
    table.add("memory of an attached phone", run["phone_kib"], "KiB", None, f"at most {PHONE_KIB}",
              run["phone_kib"] <= PHONE_KIB)
    table.add(f"idle CPU over {o.idle_ms / 1000:g} s, {run['pings']} pings", run["idle_percent"], "%", None,
              f"under {IDLE_PERCENT}", run["idle_percent"] < IDLE_PERCENT)
    table.add("request to `call` at the phone, p50", run["called_p50_us"], "us")
    table.add("request to `call` at the phone, p99", run["called_p99_us"], "us")
    table.add("SIGTERM to `ended` at the last phone", run["told_us"] / 1000, "ms", None, f"at most {TOLD_MS}",
              run["told_us"] <= TOLD_MS * 1000)
    table.add("from the first phone to the last", run["spread_us"] / 1000, "ms")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("build")
    options.add_argument("--json", action="store_true")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--calls", type=int, default=3000)
    options.add_argument("--phones", type=int, default=5000)
    options.add_argument("--seconds", type=int, default=10)
    options.add_argument("--idle-ms", type=int, default=22000, help="each phone is pinged once in 20 to 22 s")
    options.add_argument("--quick", action="store_true", help="small numbers, which say nothing: does it run?")
    o = options.parse_args()
    if o.quick:
        vars(o).update(QUICK)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < o.phones + 200:
        sys.exit(f"the limit of open files is {hard}; {o.phones} phones need {o.phones + 200} (ulimit -Hn)")
    table = Table("api", o.json)
    calls(table, o)
    sustain(table, o)
    phones(table, o)
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
