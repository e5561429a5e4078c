#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""./dev bench hold: 5,000 callers on one worker, their DTLS done, waiting for phones that sleep; then all of them end. The
memory of a call, what is left afterwards, and whether one was lost. Needs a release build: BUILD_DIR/bin with bench-dtls.

usage: tests/bench/hold.py BUILD_DIR [--json] [--calls N] [--hold-ms MS]
"""
import argparse
import json
import subprocess
import sys

from bench_table import Table

CALL_BYTES = 12 * 1024
LEFT_KIB = 1024  # hash tables and the like keep some


def main():
    options = argparse.ArgumentParser()
    options.add_argument("build")
    options.add_argument("--json", action="store_true")
    options.add_argument("--calls", type=int, default=5000)
    options.add_argument("--hold-ms", type=int, default=35000, help="longer than a lost consent is noticed after")
    o = options.parse_args()
    table = Table("hold", o.json)
    done = subprocess.run([f"{o.build}/bin/bench-dtls", "hold", "--count", str(o.calls), "--hold-ms", str(o.hold_ms)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600)
    if done.returncode != 0:
        sys.exit(f"bench-dtls: {done.stdout}{done.stderr}")
    r = json.loads(done.stdout)
    lost = r["failed"] + r["lost"] + r["calls"] - r["told"]
    table.add("calls set up, held, ended", r["calls"], "")
    table.add("calls a second, set up", r["calls"] * 1000 / r["up_ms"], "1/s")
    table.add("lost ones", lost, "", None, "none", lost == 0)
    table.add("memory of a call", r["call_bytes"], "bytes", None, f"at most {CALL_BYTES}", r["call_bytes"] <= CALL_BYTES)
    table.add("memory at the start", r["start_kib"], "KiB")
    table.add("memory with all calls", r["full_kib"], "KiB")
    table.add("left after their end", r["left_kib"], "KiB", None, f"at most {LEFT_KIB}", r["left_kib"] <= LEFT_KIB)
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
