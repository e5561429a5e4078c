# SPDX-License-Identifier: Apache-2.0
"""A client of APNs that none of us wrote, @parse/node-apn from the npm registry, sends through the simulator."""
import json
import os
import shutil
import subprocess
import unittest

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness import ROOT
from test_apns_foreign import BUNDLE, KEY, TEAM
from test_sim_behaviour import Sim

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "npm")
CACHE = os.path.join(ROOT, "build", "npm")
INSTALL_TIMEOUT_S, SEND_TIMEOUT_S = 300, 60


def installed():
    """The folder with node_modules as package-lock.json has them; installed when the lock is another one than last time."""
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(HERE, "package-lock.json"), encoding="utf-8") as f:
        lock = f.read()
    stamp = os.path.join(CACHE, "installed.lock")
    if os.path.exists(stamp):
        with open(stamp, encoding="utf-8") as f:
            if f.read() == lock:
                return CACHE
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(HERE, name), CACHE)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=CACHE, check=True, timeout=INSTALL_TIMEOUT_S,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    with open(stamp, "w", encoding="utf-8") as f:
        f.write(lock)
    return CACHE


class NodeApn(Sim):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.modules = installed()
        cls.p8 = os.path.join(cls.dir, "AuthKey.p8")
        with open(cls.p8, "wb") as f:
            f.write(cls.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))

    def send(self, *devices, key=None):
        wanted = {"key": key or self.p8, "keyId": KEY, "teamId": TEAM, "address": f"localhost:{self.port}", "port": self.port, "ca": self.cert,
                  "topic": f"{BUNDLE}.voip", "devices": devices}
        done = subprocess.run(["node", os.path.join(HERE, "send.mjs"), self.modules, json.dumps(wanted)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SEND_TIMEOUT_S, check=False)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return [(p["device"], p["status"], p.get("reason", "")) for p in json.loads(done.stdout)]

    def test_accepted_pushes_reach_the_phone(self):
        self.start()
        phone = self.phone()
        self.assertEqual(self.send(phone.token, phone.token), [(phone.token, 200, "")] * 2)
        self.assertEqual(phone.receive()["payload"], {"aps": {}, "call": "x" * 100})
        self.assertEqual({r["connection"] for r in self.ask("GET", "/v1/journal")["requests"]}, {1})

    def test_rejected_pushes_are_told(self):
        self.start()
        self.ask("PUT", "/v1/devices/0a", {"bundle_id": BUNDLE, "state": "unregistered"})
        self.assertEqual(self.send("0b", "0a", "00ff"), [("0b", 400, "BadDeviceToken"), ("0a", 410, "Unregistered"), ("00ff", 200, "")])

    def test_an_expired_token_is_told(self):
        """Two hours pass between the signature and the push: the virtual clock is ahead."""
        self.start("--clock-offset-s", "7200")
        self.assertEqual(self.send("00ff"), [("00ff", 403, "ExpiredProviderToken")])

    def test_a_key_of_somebody_else_is_told(self):
        self.start()
        other = os.path.join(self.dir, "other.p8")
        with open(other, "wb") as f:
            f.write(ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        self.assertEqual(self.send("00ff", key=other), [("00ff", 403, "InvalidProviderToken")])


def load_tests(loader, tests, pattern):
    """Those of the base class are test_apns_foreign's."""
    del loader, tests, pattern
    return unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromNames([f"{__name__}.NodeApn.{n}" for n in vars(NodeApn)
                                                                            if n.startswith("test_")]))


if __name__ == "__main__":
    unittest.main()
