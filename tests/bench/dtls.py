#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""./dev bench dtls: the CPU time of a caller's leg that comes up (ICE check, DTLS handshake, keys, on real sockets), as a
ratio to a handshake of OpenSSL alone in memory, in the same run and rhythm. Needs a release build: BUILD_DIR/bin with
bench-dtls. Where rtpengine is installed it is measured, too, without ICE.

Figures are medians of the rounds. Run it as root, and the measured thread goes before everything else.

usage: tests/bench/dtls.py BUILD_DIR [--json] [--rounds N]
"""
import argparse
import json
import statistics
import subprocess
import sys

from bench_rtpengine import rtpengine_beside
from bench_table import Table

LEGS, RTPENGINE_LEGS = 1920, 200


def run(build, *options):
    done = subprocess.run([f"{build}/bin/bench-dtls", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=120)
    if done.returncode != 0:
        sys.exit(f"bench-dtls {' '.join(options)}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("build")
    options.add_argument("--json", action="store_true")
    options.add_argument("--rounds", type=int, default=5)
    o = options.parse_args()
    table = Table("dtls", o.json)
    runs = [run(o.build, "legs", "--count", str(LEGS)) for _ in range(o.rounds)]
    if sum(r["failed"] for r in runs):
        sys.exit("bench-dtls: handshakes failed")
    floor = statistics.median(r["floor_us"] for r in runs)
    table.add("OpenSSL alone, in memory", floor, "us", 1)
    table.at_most("caller's leg, up", statistics.median(r["leg_us"] for r in runs), "us",
                  statistics.median(r["leg_us"] / r["floor_us"] for r in runs), 1.15)
    with rtpengine_beside() as rtpengine:
        if rtpengine:
            leg = run(o.build, "rtpengine", "--count", str(RTPENGINE_LEGS), *rtpengine)["leg_us"]
            table.add("rtpengine, call set up, DTLS, deleted", leg, "us", leg / floor)
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
