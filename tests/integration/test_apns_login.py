# SPDX-License-Identifier: Apache-2.0
"""How the push client comes in: with a certificate in place of provider tokens, and through an HTTP proxy that opens the way or
does not. push-load over real sockets, against the simulator."""
import base64
import contextlib
import datetime
import os
import re
import socket
import socketserver
import threading
import time
import unittest

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

from harness import Stack, free_port, wait_for

TOKEN = f"00f{0:061x}"  # push-load's
PUSHES = 3
HOST = "apns-sim"  # a name in the simulator's certificate, which the proxy looks up
SANDBOX, PRODUCTION, TOPICS = (x509.ObjectIdentifier(f"1.2.840.113635.100.6.3.{n}") for n in (1, 2, 6))
PLAIN = serialization.NoEncryption()
SEALED = serialization.BestAvailableEncryption(b"open sesame")


class LoginTest(unittest.TestCase):
    def setUp(self):
        self.stack = Stack(sim=False, gateway=False)
        self.addCleanup(self.stack.close)

    def start(self, *options):
        self.sim = self.stack.start_sim(*options)
        self.stack.control("PUT", f"/v1/devices/{TOKEN}", {"bundle_id": "com.example.vcs"})

    def load(self, *options, name="push-load"):
        """push-load, under way."""
        return self.stack.start(name, "push-load", "--port", str(self.stack.sim_port), "--ca", self.stack.path("ca.pem"), "--count",
                                str(PUSHES), "--no-hedge", "--log", *map(str, options), ready=False)

    def report(self, program, timeout_s=40):
        wait_for(lambda: program.process.poll() is not None, timeout_s, program.log)
        [line] = program.events() or [None]
        self.assertIsNotNone(line, program.log())
        return line

    def accepted(self, program):
        self.assertEqual(self.report(program)["verdicts"], {"accepted": PUSHES}, program.log())
        self.assertEqual([r["status"] for r in self.stack.journal()][-PUSHES:], [200] * PUSHES)

    def never_left(self, program):
        """Their time was over before there was a connection."""
        report = self.report(program)
        self.assertEqual((report["verdicts"], report["errors"]), ({"not_sent": PUSHES}, {"expired": PUSHES}), program.log())
        self.assertEqual(self.stack.journal(), [])

    @staticmethod
    def alarms(program):
        return re.findall(r'event="apns alarm".* what="([^"]*)"', program.log())

    def connections(self):
        text = self.stack.control("GET", "/metrics").text
        return int(re.search(r"^apns_sim_connections_total (\d+)$", text, re.M).group(1))


class Certificates(LoginTest):
    """The simulator lets in who shows a certificate of its CA, and looks at no provider token then."""

    def start(self, *options):
        super().start("--client-certificates", "--client-ca", self.stack.path("ca.pem"), *options)

    def certificate(self, environment=PRODUCTION, days=90, ca="ca"):
        """A provider certificate as Apple's are, and its key."""
        with open(self.stack.path(f"{ca}.pem"), "rb") as f:
            issuer = x509.load_pem_x509_certificate(f.read())
        with open(self.stack.path(f"{ca}.key"), "rb") as f:
            issuer_key = serialization.load_pem_private_key(f.read(), None)
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.utcnow()
        topic = b"com.example.vcs.voip"
        listed = b"\x0c" + bytes([len(topic)]) + topic + b"\x30\x06\x0c\x04voip"
        made = x509.CertificateBuilder(
            issuer.subject, x509.Name([x509.NameAttribute(x509.NameOID.USER_ID, "com.example.vcs")]), key.public_key(),
            x509.random_serial_number(), now - datetime.timedelta(days=365), now + datetime.timedelta(days=days))
        for oid, value in ((environment, b"\x05\x00"), (TOPICS, b"\x30" + bytes([len(listed)]) + listed)):
            made = made.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
        return made.sign(issuer_key, hashes.SHA256()), key

    def save(self, name, data):
        with open(os.open(self.stack.path(name), os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as f:
            f.write(data)
        return self.stack.path(name)

    def pem(self, certificate, key, encryption=PLAIN):
        return self.save("push.pem", certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))

    def pkcs12(self, certificate, key, encryption=SEALED):
        return self.save("push.p12", pkcs12.serialize_key_and_certificates(b"push", key, certificate, None, encryption))

    def test_pem(self):
        self.start()
        program = self.load("--certificate", self.pem(*self.certificate()))
        self.accepted(program)
        self.assertEqual(self.alarms(program), [])

    def test_with_a_password(self):
        self.start()
        for name, path in (("PEM", self.pem(*self.certificate(), SEALED)), ("PKCS#12", self.pkcs12(*self.certificate()))):
            with self.subTest(name):
                self.accepted(self.load("--certificate", path, "--certificate-password", "open sesame", name=name))
                for password in (["--certificate-password", "guess"], []):
                    wrong = self.load("--certificate", path, *password, name=f"{name} wrong")
                    self.assertEqual(wrong.process.wait(20), 1)
                    self.assertRegex(wrong.log(), r"certificate: no (private key|certificate) found;.* with the right password")

    def test_pkcs12_without_a_password(self):
        self.start()
        self.accepted(self.load("--certificate", self.pkcs12(*self.certificate(), PLAIN)))

    def test_its_streams_are_there_from_the_start(self):
        """No first push has to prove a token."""
        self.start("--settings-streams", str(PUSHES), "--answer-delay-ms", "1000")
        program = self.load("--certificate", self.pem(*self.certificate()))
        wait_for(lambda: [c["open_streams"] for c in self.stack.control("GET", "/v1/connections").json["connections"]] == [PUSHES],
                 20, program.log)
        [connection] = self.stack.control("GET", "/v1/connections").json["connections"]
        self.assertTrue(connection["certificate"])
        self.accepted(program)

    def test_of_the_other_environment(self):
        """APNs says so in a GOAWAY before anything was sent: an alarm, and no storm of connections."""
        self.start()
        program = self.load("--certificate", self.pem(*self.certificate(SANDBOX)), "--deadline-ms", 6000)
        self.never_left(program)
        [alarm] = self.alarms(program)
        self.assertEqual(alarm, "APNs answers 403 BadCertificateEnvironment: the certificate is for the other environment")
        self.assertIn('event="apns goaway" credential=load-0 reason=BadCertificateEnvironment', program.log())
        self.assertIn(self.connections(), range(2, 5))

    def test_of_a_stranger(self):
        self.start()
        os.rename(self.stack.path("apns-sim.pem"), self.stack.path("stranger.pem"))  # no CA of the simulator's
        os.rename(self.stack.path("apns-sim.key"), self.stack.path("stranger.key"))
        program = self.load("--certificate", self.pem(*self.certificate(ca="stranger")))
        report = self.report(program)
        self.assertEqual(report["verdicts"], {"credential_bad": PUSHES}, program.log())
        self.assertEqual(self.alarms(program), ["APNs answers 403 BadCertificate: replace the certificate"])

    def test_its_end_is_told_before(self):
        self.start()
        pem = self.pem(*self.certificate(days=20))
        soon = self.load("--certificate", pem)
        self.accepted(soon)
        [alarm] = self.alarms(soon)
        self.assertRegex(alarm, "^the certificate ends in (19|20) days: replace it before$")
        patient = self.load("--certificate", pem, "--expiry-alarm-days", 10, name="patient")
        self.accepted(patient)
        self.assertEqual(self.alarms(patient), [])
        over = self.load("--certificate", self.pem(*self.certificate(days=-1)), name="over")
        self.assertEqual(self.report(over)["verdicts"], {"credential_bad": PUSHES}, over.log())
        self.assertEqual(self.alarms(over)[0], "the certificate has expired: APNs will refuse it; replace it now")


class Proxy(socketserver.ThreadingTCPServer):
    """An HTTP proxy: what it does with a CONNECT, the test says."""
    daemon_threads, allow_reuse_address = True, True

    def __init__(self, test, act):
        self.act, self.heads, self.sim_port = act, [], test.stack.sim_port
        super().__init__(("127.0.0.1", free_port()), Connect)
        self.address = f"127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()
        test.addCleanup(self.server_close)
        test.addCleanup(self.shutdown)


class Connect(socketserver.BaseRequestHandler):
    def handle(self):
        head = b""
        with contextlib.suppress(OSError):
            while b"\r\n\r\n" not in head:
                more = self.request.recv(4096)
                if not more:
                    return
                head += more
            self.server.heads.append(head.decode())
            self.server.act(self)

    def say(self, data):
        self.request.sendall(data)

    def way(self, answer=b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n", piece=1000):
        """To the simulator, whatever name it is asked for."""
        with socket.create_connection(("127.0.0.1", self.server.sim_port)) as there:
            for at in range(0, len(answer), piece):
                self.say(answer[at:at + piece])
                time.sleep(0.001)
            back = threading.Thread(target=self.copy, args=(there, self.request), daemon=True)
            back.start()
            self.copy(self.request, there)
            back.join()

    @staticmethod
    def copy(source, to):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                to.sendall(data)
        with contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_WR)


class Proxies(LoginTest):
    def setUp(self):
        super().setUp()
        self.start()

    def through(self, proxy, *options, name="push-load"):
        return self.load("--key", self.stack.path("apns-key.p8"), "--host", HOST, "--proxy", proxy.address, *options, name=name)

    def test_it_is_asked_for_the_name(self):
        """It is not looked up here, and the certificate must carry it."""
        proxy = Proxy(self, Connect.way)
        self.accepted(self.through(proxy))
        where = f"{HOST}:{self.stack.sim_port}"
        self.assertEqual(proxy.heads, [f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n"])

    def test_an_answer_in_pieces(self):
        self.accepted(self.through(Proxy(self, lambda request: request.way(piece=1))))

    def test_one_that_wants_a_login(self):
        wanted = "Basic " + base64.b64encode(b"me:open sesame").decode()

        def act(request):
            if f"\r\nProxy-Authorization: {wanted}\r\n" in request.server.heads[-1]:
                request.way()
            else:
                request.say(b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n')
        proxy = Proxy(self, act)
        self.accepted(self.through(proxy, "--proxy-user", "me", "--proxy-password", "open sesame"))
        for name, login in (("without", []), ("wrong", ["--proxy-user", "me", "--proxy-password", "guess"])):
            with self.subTest(name):
                before = len(self.stack.journal())
                program = self.through(proxy, *login, "--deadline-ms", 1500, name=name)
                self.assertEqual(self.report(program)["verdicts"], {"not_sent": PUSHES}, program.log())
                self.assertRegex(program.log(), r'connection lost.*what=proxy detail="HTTP/1.1 407 Proxy Authentication Required"')
                self.assertNotRegex(program.log(), "guess|Basic")
                self.assertEqual(len(self.stack.journal()), before)

    def test_ones_that_open_no_way(self):
        """Each is told as what it is, and asked ever less often."""
        cases = {
            "refuses": (lambda r: r.say(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno.\n"),
                        'proxy detail="HTTP/1.1 403 Forbidden"'),
            "talks rubbish": (lambda r: r.say(b"SSH-2.0-OpenSSH\r\n\r\n"), "proxy detail=SSH-2.0-OpenSSH"),
            "talks without end": (lambda r: r.say(b"HTTP/1.1 200 " + b"x" * 8000), 'proxy detail="its answer is too long"'),
            "hangs up": (lambda r: None, 'read detail="closed by the peer"'),
            "hangs up in the answer": (lambda r: r.say(b"HTTP/1.1 200 Connec"), 'read detail="closed by the peer"'),
            "is a web server": (lambda r: r.say(b"HTTP/1.1 200 OK\r\n\r\n<html></html>"), "tls detail="),
        }
        runs = {}
        for name, (act, said) in cases.items():
            proxy = Proxy(self, act)
            runs[name] = (proxy, self.through(proxy, "--deadline-ms", 6000, name=name), said)
        for name, (proxy, program, said) in runs.items():
            with self.subTest(name):
                self.never_left(program)
                self.assertRegex(program.log(), f"connection lost.*what={re.escape(said)}")
                self.assertIn(len(proxy.heads), range(2, 5), program.log())

    def test_one_that_is_not_there(self):
        proxy = Proxy(self, Connect.way)
        proxy.address = f"127.0.0.1:{free_port()}"
        program = self.through(proxy, "--deadline-ms", 1000)
        self.never_left(program)
        self.assertRegex(program.log(), r'connection lost.*what=connect detail="connection refused"')

    def test_one_that_opens_the_way_later(self):
        proxy = Proxy(self, lambda request: request.say(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"))
        program = self.through(proxy, "--deadline-ms", 30000)
        wait_for(lambda: len(proxy.heads) >= 2)
        proxy.act = Connect.way
        self.accepted(program)

    def test_one_that_hangs_up_later(self):
        """A ring that was under way goes out again over a new way."""
        ways = []

        def act(request):
            ways.append(request.request)
            request.way()
        self.stack.control("PUT", "/v1/script", {"rules": [{"count": 1, "action": {"type": "ignore"}}]})
        proxy = Proxy(self, act)
        program = self.through(proxy)
        wait_for(lambda: self.stack.control("GET", "/v1/script").json["rules"][0]["acted"], 20, program.log)
        ways[0].shutdown(socket.SHUT_RDWR)
        self.accepted(program)
        self.assertEqual(len(proxy.heads), 2)


if __name__ == "__main__":
    unittest.main()
