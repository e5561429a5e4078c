#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Run the test suites: one progress line per suite, the failures in full, a closing summary.

usage: tests/run.py BUILD_DIR [SUITE | test_name]...
"""
import concurrent.futures
import glob
import json
import os
import re
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SUITES = ["unit", "scenario", "integration", "browser", "docker"]
UNIT_TIMEOUT_S = 180
MODULE_TIMEOUT_S = 900
SLOW_S = 20
INTEGRATION_AT_ONCE = 5  # they wait most of the time
NO_SANITIZER = ("test_bench_api",)  # benches are not built with one
# What these drive has one thread, or is the API's side of the gateway alone, which the other files drive too: nothing new for
# ThreadSanitizer to see, and half of its time.
ONE_THREAD = ("test_apns_", "test_sim_", "test_push_", "test_documents", "test_openapi", "test_tenants", "test_api",
              "test_reports", "test_database")


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.reports = []

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def cmocka(program):
    """One cmocka program: its [  OK  ] and [  FAILED  ] lines are the tests."""
    tally = Tally()
    try:
        done = subprocess.run([program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=UNIT_TIMEOUT_S,
                              stdin=subprocess.DEVNULL)
        output, code = done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as late:
        output, code = (late.stdout or b"").decode(errors="replace") + "\ntimed out", -1
    tally.passed = len(re.findall(r"^\[       OK \]", output, re.M))
    tally.skipped = len(re.findall(r"^\[  SKIPPED \] \w+$", output, re.M))
    tally.failed = len(set(re.findall(r"^\[  FAILED  \] (\w+)$", output, re.M)))
    if code != 0 and tally.failed == 0:
        tally.failed = 1
    if tally.passed + tally.failed + tally.skipped == 0:
        tally.failed, output = 1, output + "\nran no test"
    if tally.failed:
        tally.reports.append(f"--- {os.path.basename(program)} (exit {code})\n{output}")
    return tally


def cmocka_suite(build, pattern, leave_out, only):
    programs = [p for p in sorted(glob.glob(os.path.join(build, "bin", pattern))) if os.path.basename(p) not in leave_out]
    if only:
        programs = [p for p in programs if os.path.basename(p) in only]
    total = Tally()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for tally in pool.map(cmocka, programs):
            total.add(tally)
            total.reports += tally.reports
    return total


class Result(unittest.TextTestResult):
    """Tells the slow tests apart."""

    def startTest(self, test):
        self.started = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        took = time.monotonic() - self.started
        if took > SLOW_S:
            self.stream.writeln(f"({test.id()} took {took:.0f} s)")
        super().stopTest(test)


def run_module(name):
    """One file of tests in this process; the last line says how it went, as JSON."""
    sys.path.insert(0, os.path.join(HERE, "integration"))
    tests = unittest.defaultTestLoader.loadTestsFromName(name)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(tests)
    bad = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    print(json.dumps({"failed": bad, "skipped": len(result.skipped),
                      "passed": max(0, result.testsRun - bad - len(result.skipped))}))


def python(name):
    tally = Tally()
    try:
        done = subprocess.run([sys.executable, __file__, "--module", name], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=MODULE_TIMEOUT_S, stdin=subprocess.DEVNULL)
        output = done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode(errors="replace") + "\ntimed out"
    try:
        counts = json.loads(output.splitlines()[-1])
        tally.passed, tally.failed, tally.skipped = counts["passed"], counts["failed"], counts["skipped"]
    except (ValueError, IndexError, KeyError):
        tally.failed = 1
    if tally.passed + tally.failed + tally.skipped == 0:
        tally.failed, output = 1, output + "\nran no test"
    if tally.failed or tally.skipped:
        tally.reports.append(f"--- {name}\n{output}")
    return tally


def python_suite(build, pattern, only, at_once):
    os.environ["WAKEGATE_BIN"] = os.path.join(os.path.abspath(build), "bin")
    files = sorted(glob.glob(os.path.join(HERE, "integration", pattern)), key=os.path.getsize, reverse=True)
    names = [os.path.splitext(os.path.basename(f))[0] for f in files]
    if os.path.basename(os.path.normpath(build)) in ("asan", "tsan") and not only:
        names = [n for n in names if n not in NO_SANITIZER]
    if os.path.basename(os.path.normpath(build)) == "tsan" and not only:
        names = [n for n in names if not n.startswith(ONE_THREAD)]
    total = Tally()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        for tally in pool.map(python, [n for n in names if not only or n in only]):
            total.add(tally)
            total.reports += tally.reports
    return total


def run_suite(suite, build, only):
    if suite == "unit":
        return cmocka_suite(build, "test_*", {"test_scenarios"}, only)
    if suite == "scenario":
        return cmocka_suite(build, "test_scenarios", set(), only)
    pattern, at_once = {"integration": ("test_*.py", INTEGRATION_AT_ONCE), "browser": ("browser_*.py", 1),
                        "docker": ("docker_*.py", 1)}[suite]
    return python_suite(build, pattern, only, at_once)


def main():
    if sys.argv[1:2] == ["--module"]:
        run_module(sys.argv[2])
        return 0
    build, wanted = sys.argv[1], sys.argv[2:]
    suites = [s for s in SUITES if s in wanted] or SUITES
    only = [w for w in wanted if w not in SUITES]
    total = Tally()
    for suite in suites:
        started = time.monotonic()
        tally = run_suite(suite, build, only)
        if only and tally.passed + tally.failed + tally.skipped == 0:
            continue
        for report in tally.reports:
            print(report)
        print(f"{suite:12} {tally.passed:4} passed {tally.failed:3} failed {tally.skipped:3} skipped "
              f"{time.monotonic() - started:6.1f} s", flush=True)
        total.add(tally)
    print(f"\n{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed or total.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
