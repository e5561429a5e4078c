#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Run the test suites: one progress line per suite, the failures in full, a closing summary.

usage: tests/run.py BUILD_DIR [SUITE | test_name]...
"""
import concurrent.futures
import glob
import io
import os
import re
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SUITES = ["unit", "scenario", "integration", "browser", "docker"]
UNIT_TIMEOUT_S = 180


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
    """Remembers how long each test took, so that a slow one is seen."""

    def startTest(self, test):
        self.started = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        took = time.monotonic() - self.started
        if took > 20:
            print(f"  ({test.id()} took {took:.0f} s)", flush=True)
        super().stopTest(test)


def python_suite(build, pattern, only):
    os.environ["WAKEGATE_BIN"] = os.path.join(os.path.abspath(build), "bin")
    sys.path.insert(0, os.path.join(HERE, "integration"))
    total = Tally()
    for path in sorted(glob.glob(os.path.join(HERE, "integration", pattern))):
        name = os.path.splitext(os.path.basename(path))[0]
        if only and name not in only:
            continue
        text = io.StringIO()
        tests = unittest.defaultTestLoader.loadTestsFromName(name)
        result = unittest.TextTestRunner(stream=text, verbosity=2, resultclass=Result).run(tests)
        bad = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
        total.failed += bad
        total.skipped += len(result.skipped)
        total.passed += max(0, result.testsRun - bad - len(result.skipped))
        for test, why in result.skipped:
            print(f"  skipped {test.id()}: {why}", flush=True)
        if bad or result.testsRun == 0:
            total.failed += 0 if bad else 1
            total.reports.append(f"--- {name}\n{text.getvalue()}")
    return total


def run_suite(suite, build, only):
    if suite == "unit":
        return cmocka_suite(build, "test_*", {"test_scenarios"}, only)
    if suite == "scenario":
        return cmocka_suite(build, "test_scenarios", set(), only)
    return python_suite(build, {"integration": "test_*.py", "browser": "browser_*.py", "docker": "docker_*.py"}[suite], only)


def main():
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
