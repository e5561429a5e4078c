#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""./dev bench relay: the cost and the delay of a relayed packet, as ratios to a bare recvmmsg/sendmmsg relay that takes
turns with the measured one in the same run. Needs a release build: BUILD_DIR/bin with bench-relay. Where rtpengine is
installed it is measured, too.

A figure is the median of the rounds; what else the machine does comes and goes. Run it as root, and the measured threads
go before everything else.

usage: tests/bench/relay.py BUILD_DIR [--json] [--rounds N]
"""
import argparse
import json
import statistics
import subprocess
import sys

from bench_rtpengine import rtpengine_beside
from bench_table import Table

RATE, HANDSHAKES = 10000, 200
SUBJECTS = {"transfer": (["transfer"], 1.15), "re-encrypting, AES-CM": (["sdes", "--profile", "cm"], 1.35),
            "re-encrypting, AES-GCM": (["sdes", "--profile", "gcm"], 1.35)}
OF_RTPENGINES = 0.333
BESIDE = {"transfer": ["transfer"], "re-encrypting": ["sdes", "--profile", "gcm"]}  # while callers come up


def measure(build, *options):
    done = subprocess.run([f"{build}/bin/bench-relay", "--rate", str(RATE), *options], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=120)
    if done.returncode != 0:
        sys.exit(f"bench-relay {' '.join(options)}: {done.stdout}{done.stderr}")
    run = json.loads(done.stdout)
    subject = run["subject"]
    if subject["relayed"] < subject["sent"] * 0.99 or run["handshakes_done"] != run["handshakes"]:
        sys.exit(f"bench-relay {' '.join(options)}: packets or handshakes were lost: {done.stdout}")
    return run


class Runs:
    """What bench-relay said of one subject, once a round."""

    def __init__(self):
        self.runs = []

    def figure(self, name, who="subject"):
        return statistics.median(r[who][name] for r in self.runs)

    def ratio(self, name):
        return statistics.median(r["subject"][name] / r["floor"][name] for r in self.runs)

    def added(self, name):
        return statistics.median(r["subject"][name] - r["floor"][name] for r in self.runs)


def run_rounds(build, rounds, rtpengine):
    wanted = {name: options for name, (options, _) in SUBJECTS.items()}
    wanted |= {f"{name} beside handshakes": [*options, "--handshakes", str(HANDSHAKES)] for name, options in BESIDE.items()}
    if rtpengine:
        wanted["rtpengine"] = ["rtpengine", *rtpengine]
    runs = {name: Runs() for name in wanted}
    for _ in range(rounds):
        for name, options in wanted.items():
            runs[name].runs.append(measure(build, *options))
    return runs


def report(table, runs):
    for figure, when in (("cpu_ns", "paced"), ("full_cpu_ns", "saturated")):
        table.add(f"bare relay, {when}, CPU", runs["transfer"].figure(figure, "floor"), "ns/packet", 1)
        for name, (_, most) in SUBJECTS.items():
            table.at_most(f"{name}, {when}, CPU", runs[name].figure(figure), "ns/packet", runs[name].ratio(figure), most)
        if "rtpengine" in runs:
            theirs = runs["rtpengine"].figure(figure)
            table.add(f"rtpengine, DTLS to SDES, {when}, CPU", theirs, "ns/packet", runs["rtpengine"].ratio(figure))
            for name in SUBJECTS:
                ours = runs[name].figure(figure)
                row = (f"{name}, {when}, of rtpengine's", ours, "ns/packet", ours / theirs)
                if when == "paced":
                    table.at_most(*row, OF_RTPENGINES)
                else:
                    table.add(*row)
    table.add("bare relay, saturated", runs["transfer"].figure("full_per_s", "floor"), "packets/s")
    for name in SUBJECTS:
        table.add(f"{name}, saturated", runs[name].figure("full_per_s"), "packets/s")
    for percentile, limit in (("p50_us", 30), ("p99_us", 200)):
        table.add(f"bare relay, one way, {percentile[:3]}", runs["transfer"].figure(percentile, "floor"), "us")
        for name in BESIDE:
            added = runs[f"{name} beside handshakes"].added(percentile)
            table.under(f"{name}, {HANDSHAKES} handshakes/s, added", added, "us", limit)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("build")
    options.add_argument("--json", action="store_true")
    options.add_argument("--rounds", type=int, default=5)
    o = options.parse_args()
    table = Table("relay", o.json)
    with rtpengine_beside() as rtpengine:
        report(table, run_rounds(o.build, o.rounds, rtpengine))
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
