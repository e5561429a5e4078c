#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""./dev bench api: what a call costs the gateway from its request to its push, how many it takes, how long a push takes to
leave, and what 5,000 attached phones cost. Needs a release build: BUILD_DIR/bin with wakegate, wakegate-apns-sim, bench-api.

The gateway runs as in production: TLS, SQLite on a real file system, its log on a file. The push goes to the simulator's
bench mode. The caller does no DTLS handshake here; one in memory is the floor.

usage: tests/bench/api.py BUILD_DIR [--json] [--calls N] [--phones N] [--seconds N] [--idle-ms MS] [--rounds N]
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
OF_HANDSHAKE, P99_OF_P50 = 1.8, 4
PHONE_KIB, TOLD_MS, IDLE_PERCENT = 24, 1000, 2
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


def calls(table, o):
    command = ["calls", "--count", o.calls, "--rate", RATE]
    runs = [fresh(o.build, command) for _ in range(o.rounds)]
    plain = fresh(o.build, command, tls=False)
    sealed = fresh(o.build, [*command, "--handoff", "sealed", "--sealing-key", o.sealing_key], sealed_rows=True)
    key = fresh(o.build, command, sealed_rows=True)

    def figure(name):
        return statistics.median(r[name] for r in runs)

    unwritten = sum(r["calls"] - r["written"] for r in runs)
    table.add("OpenSSL's DTLS handshake, in memory", figure("floor_us"), "us", 1)
    table.at_most("call, request to push, CPU", figure("cpu_us"), "us",
                  statistics.median(r["cpu_us"] / r["floor_us"] for r in runs), OF_HANDSHAKE)
    table.add("its end by DELETE, CPU", figure("delete_cpu_us"), "us", figure("delete_cpu_us") / figure("floor_us"))
    for name, run in (("without TLS", plain), ("with store.seal_key_file", key), ("that, and mode sealed", sealed)):
        table.add(f"call, {name}, CPU", run["cpu_us"], "us", run["cpu_us"] / run["floor_us"])
    table.add("calls whose push was not written", unwritten, "", None, "none", unwritten == 0)
    for name, figures in (("request to push on the wire", "written"), ("request to 201, at the caller", "reply")):
        table.add(f"{name}, p50", figure(f"{figures}_p50_us"), "us", 1)
        ratio = statistics.median(r[f"{figures}_p99_us"] / r[f"{figures}_p50_us"] for r in runs)
        if figures == "written":
            table.at_most(f"{name}, p99", figure(f"{figures}_p99_us"), "us", ratio, P99_OF_P50)
        else:
            table.add(f"{name}, p99", figure(f"{figures}_p99_us"), "us", ratio)


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
    options.add_argument("--idle-ms", type=int, default=20000, help="each phone is pinged once in 20 s")
    o = options.parse_args()
    o.sealing_key = "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"  # RFC 7748 6.1: Bob's public key
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
