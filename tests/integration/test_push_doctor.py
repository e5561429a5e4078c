# SPDX-License-Identifier: Apache-2.0
"""`wakegate push-doctor`: each step of the way to APNs, good and broken, told in words and without a secret."""
import os
import socket
import ssl
import subprocess
import threading
import unittest

from harness import BIN, SLOW, Stack

STEPS = ["key", "dns", "tcp", "tls", "alpn", "settings", "push"]


class Doctor(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(gateway=False)
        cls.addClassCleanup(cls.stack.close)
        with open(cls.stack.config) as f:
            cls.good = f.read()

    def run_doctor(self, *args, edit=lambda text: text):
        path = self.stack.path("doctor.yaml")
        with open(path, "w") as f:
            f.write(edit(self.good))
        done = subprocess.run([os.path.join(BIN, "wakegate"), "push-doctor", "-c", path, *args], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60 * SLOW)
        text = done.stdout.decode() + done.stderr.decode()
        with open(self.stack.path("apns-key.p8")) as f:
            for line in f.read().splitlines()[1:-1]:
                self.assertNotIn(line, text)
        self.assertNotRegex(text, r"bearer|eyJ")
        return done.returncode, text

    def fails(self, step, sentence, *args, edit=lambda text: text):
        """Every step before this one is good, this one says the sentence, none follows."""
        status, text = self.run_doctor(*args, edit=edit)
        self.assertEqual(status, 1, text)
        lines = [line.split(None, 2) for line in text.splitlines()[1:]]
        self.assertEqual([line[0] for line in lines], STEPS[:STEPS.index(step) + 1], text)
        self.assertEqual([line[1] for line in lines], ["ok"] * (len(lines) - 1) + ["FAILS"], text)
        self.assertIn(sentence, lines[-1][2])

    def test_all_is_well(self):
        status, text = self.run_doctor()
        self.assertEqual(status, 0, text)
        self.assertEqual([line.split()[:2] for line in text.splitlines()[1:]], [[s, "ok"] for s in STEPS])
        self.assertIn("the topic com.example.vcs.voip are good", text)

    def test_a_device_gets_one_real_push(self):
        token = "ab" * 32
        self.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
        before = len(self.stack.journal())
        status, text = self.run_doctor("--device", token)
        self.assertEqual(status, 0, text)
        self.assertIn("accepted (200)", text)
        [push] = self.stack.journal()[before:]
        self.assertEqual((push["token"], push["push_type"], push["status"]), (token, "voip", 200))

    def test_what_apns_refuses_is_explained(self):
        self.fails("push", "403 InvalidProviderToken; check team_id, key_id and key_file",
                   edit=lambda t: t.replace("FGHIJ67890", "WRONG67890"))
        self.fails("push", "400 TopicDisallowed; the key may not send to this bundle id",
                   edit=lambda t: t.replace("bundle_id: com.example.vcs", "bundle_id: com.example.other"))
        self.fails("push", "400 BadDeviceToken; the token is of the other environment", "--device", "cd" * 32)
        other = "ef" * 32
        self.stack.control("PUT", f"/v1/devices/{other}", {"bundle_id": "com.example.other"})
        self.fails("push", "400 DeviceTokenNotForTopic; the token belongs to another topic", "--device", other)

    def test_the_network_is_told_from_the_server(self):
        self.fails("dns", "check apns.host", edit=lambda t: t.replace('host: "127.0.0.1"', 'host: "nowhere.invalid"'))
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            self.fails("tcp", "Connection refused; is TCP to port",
                       edit=lambda t: t.replace(f"port: {self.stack.sim_port}", f"port: {port}"))

    def test_certificates_are_told_apart(self):
        self.fails("tls", "the server's certificate is refused: unable to get local issuer certificate; for Apple's servers",
                   edit=lambda t: t.replace("ca_file: ca.pem", ""))
        self.fails("tls", "holds no CA certificate", edit=lambda t: t.replace("ca_file: ca.pem", "ca_file: token"))
        os.makedirs(self.stack.path("names"), exist_ok=True)
        # The simulator's certificate has DNS:localhost; a name that resolves to it and is not in it is ip6-localhost's.
        with open("/etc/hosts") as f:
            names = [n for line in f if line.startswith("127.") for n in line.split()[1:] if n != "localhost"]
        if names:
            self.fails("tls", "it is not this server's certificate",
                       edit=lambda t: t.replace('host: "127.0.0.1"', f'host: "{names[0]}"'))

    def serve_tls(self, alpn, then):
        """A TLS server with the simulator's certificate that does something else than APNs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.stack.path("apns-sim.pem"), self.stack.path("apns-sim.key"))
        context.set_alpn_protocols(alpn)
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve():
            try:
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) as tls:
                    then(tls)
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        return lambda t: t.replace(f"port: {self.stack.sim_port}", f"port: {port}")

    def test_a_server_that_is_not_apns(self):
        self.fails("alpn", "does not speak HTTP/2", edit=self.serve_tls(["http/1.1"], lambda tls: tls.recv(100)))
        self.fails("settings", "nothing that is HTTP/2", edit=self.serve_tls(["h2"], lambda tls: tls.recv(100)))
        self.fails("settings", "nothing that is HTTP/2",
                   edit=self.serve_tls(["h2"], lambda tls: tls.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20)))

    def test_a_key_that_is_none(self):
        path = self.stack.path("rsa.p8")
        subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-out", path], check=True, stderr=subprocess.DEVNULL)
        os.chmod(path, 0o600)
        self.fails("key", "not an EC key on P-256", edit=lambda t: t.replace("apns-key.p8", "rsa.p8"))

    def test_arguments(self):
        for args, sentence in [(("--app", "nope"), 'no app "nope"'), (("--device", "xyz"), "token in hex")]:
            status, text = self.run_doctor(*args)
            self.assertEqual(status, 1)
            self.assertIn(sentence, text)


if __name__ == "__main__":
    unittest.main()
