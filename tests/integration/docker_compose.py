# SPDX-License-Identifier: Apache-2.0
"""The containers: one image, brought up by docker/docker-compose.yml, called from outside. An engine that cannot be had is
a failure, not a skip."""
import json
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
# Makes an engine and the base image on a machine that has none; beside the repository, not part of it.
ENGINE = os.path.join(ROOT, "..", "shared", "bin", "docker-engine")
COMPOSE_FILE = os.path.join(ROOT, "docker", "docker-compose.yml")
# The engine's own client; one in /usr/local/bin may be of another version.
DOCKER = shutil.which("docker", path="/usr/bin:" + os.environ["PATH"]) or "/usr/bin/docker"
BASE_IMAGE = "debian:bookworm-slim"
RUNNING = ["apns-sim", "wakegate", "phone"]
PROGRAMS = ["wakegate", "wakegate-apns-sim", "wakegate-phone", "wakegate-caller"]
GRACE_S = 75  # stop_grace_period of the gateway


def run(*command, env=None, timeout=120, check=True):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=env, timeout=timeout)
    except OSError as why:
        raise AssertionError(f"{command[0]}: {why}") from why
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"{' '.join(command)}: not done after {timeout} s") from late
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done


def succeeds(*command):
    return shutil.which(command[0]) is not None and run(*command, check=False).returncode == 0


def compose_command():
    """Debian's docker-compose, or the plugin of newer engines."""
    return ["docker-compose"] if shutil.which("docker-compose") else [DOCKER, "compose"]


def need_engine():
    have = succeeds(DOCKER, "info") and succeeds(*compose_command(), "version")
    if have and succeeds(DOCKER, "image", "inspect", BASE_IMAGE):
        return
    if os.path.exists(ENGINE):
        run(ENGINE, timeout=600)
    elif not have:
        raise AssertionError("docker and docker-compose are needed, and the daemon must run")


def free_port(kind):
    """A port that nobody uses, below those that the system gives out by itself."""
    while True:
        port = random.randrange(20000, 30000)
        with socket.socket(socket.AF_INET, kind) as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def wait_for(what, condition, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.3)
    raise AssertionError(f"not within {seconds} s: {what}")


def packages_after(text, start):
    """The words of the list that begins after `start`; it ends at a parenthesis or an ampersand."""
    words = re.split(r"[)&]", text.split(start, 1)[1], maxsplit=1)[0]
    return sorted(words.replace("\\", " ").split())


class Containers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need_engine()
        cls.api_port, media_port = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
        cls.env = dict(os.environ, PATH=os.path.dirname(DOCKER) + ":" + os.environ["PATH"],
                       COMPOSE_PROJECT_NAME=f"wakegatetest{os.getpid()}", WAKEGATE_IMAGE="wakegate:test",
                       WAKEGATE_API_PORT=str(cls.api_port), WAKEGATE_MEDIA_PORT=str(media_port))
        cls.env.pop("WAKEGATE_MEDIA_ADDRESS", None)
        cls.addClassCleanup(cls.compose, "down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)
        cls.compose("build", "state", timeout=600)
        cls.compose("up", "-d")
        cls.containers = {name: cls.compose("ps", "-q", name).strip() for name in RUNNING}
        for name in RUNNING:
            cls.wait_healthy(name)

    @classmethod
    def compose(cls, *arguments, timeout=120, check=True):
        return run(*compose_command(), "-f", COMPOSE_FILE, *arguments, env=cls.env, timeout=timeout, check=check).stdout

    @classmethod
    def inspect(cls, name, template):
        return run(DOCKER, "inspect", "-f", template, cls.containers[name]).stdout.strip()

    @classmethod
    def wait_healthy(cls, name):
        try:
            wait_for(f"{name} is healthy", lambda: cls.inspect(name, "{{.State.Health.Status}}") == "healthy", 60)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{cls.compose('logs', '--no-color', '--tail', '50')}") from late

    def phone_events(self):
        lines = self.compose("logs", "--no-color", "--no-log-prefix", "phone").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def test_a_call_from_outside_has_sound_both_ways(self):
        with tempfile.NamedTemporaryFile("w") as token:
            token.write(self.compose("exec", "-T", "wakegate", "cat", "/var/lib/wakegate/token"))
            token.flush()
            run(os.path.join(os.environ["WAKEGATE_BIN"], "wakegate-caller"), "--api", f"http://127.0.0.1:{self.api_port}",
                "--api-token-file", token.name, "--callee", "nurse-7", "--expect-tone", "880", "--tone", "440",
                "--duration-ms", "1500", "--timeline")
        over = wait_for("the phone's report", lambda: [e for e in self.phone_events() if e["event"] == "call_over"], 15)
        self.assertTrue(over[-1]["heard_expected"], over[-1])

    def test_nothing_runs_as_root(self):
        for name, container in self.containers.items():
            processes = run(DOCKER, "top", container, "-eo", "pid,uid,args").stdout.splitlines()[1:]
            self.assertTrue(processes, name)
            for process in processes:
                self.assertNotEqual("0", process.split()[1], f"{name}: {process}")

    def test_no_capabilities_no_new_privileges_nothing_to_write_on(self):
        for name, container in self.containers.items():
            status = run(DOCKER, "exec", container, "cat", "/proc/1/status").stdout
            self.assertRegex(status, r"(?m)^CapEff:\s+0+$", name)
            self.assertRegex(status, r"(?m)^CapBnd:\s+0+$", name)
            self.assertRegex(status, r"(?m)^NoNewPrivs:\s+1$", name)
            self.assertEqual("true", self.inspect(name, "{{.HostConfig.ReadonlyRootfs}}"), name)

    def test_stop_ends_the_gateway_in_order(self):
        self.addCleanup(self.wait_healthy, "wakegate")
        self.addCleanup(self.compose, "start", "wakegate")
        began = time.monotonic()
        self.compose("stop", "wakegate", timeout=2 * GRACE_S)
        self.assertLess(time.monotonic() - began, GRACE_S)
        self.assertEqual("exited 0", self.inspect("wakegate", "{{.State.Status}} {{.State.ExitCode}}"))
        self.assertIn("event=stopped", self.compose("logs", "--no-color", "--tail", "5", "wakegate"))

    def test_every_program_starts_in_the_image(self):
        script = "\n".join(f"{program} --version || exit 1" for program in PROGRAMS)
        out = run(DOCKER, "run", "--rm", "--network", "none", self.env["WAKEGATE_IMAGE"], "sh", "-c", script).stdout
        self.assertEqual(PROGRAMS, [line.split()[0] for line in out.splitlines()])

    def test_the_image_builds_with_the_packages_of_dev(self):
        with open(os.path.join(ROOT, "dev"), encoding="utf-8") as f:
            dev = packages_after(f.read(), "build_packages=(")
        with open(os.path.join(ROOT, "docker", "Dockerfile"), encoding="utf-8") as f:
            image = packages_after(f.read(), "--no-install-recommends")
        self.assertEqual(dev, image)


if __name__ == "__main__":
    unittest.main()
