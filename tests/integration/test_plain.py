# SPDX-License-Identifier: Apache-2.0
"""Callers without ICE, as SBCs and PBXs are: our own caller in both DTLS roles and behind a NAT, OpenSSL of Python as a
foreign one, strangers with the wrong certificate, and floods."""
import os
import re
import contextlib
import socket
import struct
import time
import unittest

from OpenSSL import SSL, crypto

from harness import SLOW, Stack, StackTest, wait_for

MODES = ["transfer", "dtls", "sdes"]
HELLO_VERIFY, SERVER_HELLO = 3, 2


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def make_certificate(key=None):
    if not key:
        key = crypto.PKey()
        key.generate_key(crypto.TYPE_RSA, 2048)
    cert = crypto.X509()
    cert.get_subject().CN = "pbx"
    cert.set_serial_number(1)
    cert.set_issuer(cert.get_subject())
    cert.gmtime_adj_notBefore(-86400)
    cert.gmtime_adj_notAfter(86400)
    cert.set_pubkey(key)
    cert.sign(key, "sha256")
    return key, cert


class Pbx:
    """One call's media of a PBX: a UDP socket and OpenSSL's DTLS client."""
    key, cert = make_certificate()

    def __init__(self, bind="127.0.0.1", other_certificate=False, profiles=b"SRTP_AES128_CM_SHA1_80"):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((bind, 0))
        self.address = self.socket.getsockname()
        self.fingerprint = self.cert.digest("sha256").decode()
        key, cert = make_certificate() if other_certificate else (self.key, self.cert)
        context = SSL.Context(SSL.DTLS_METHOD)
        context.use_privatekey(key)
        context.use_certificate(cert)
        context.set_tlsext_use_srtp(profiles)
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        self.dtls = SSL.Connection(context)
        self.dtls.set_connect_state()
        self.received = []

    def offer(self, setup="active", address=None):
        ip, port = address or self.address
        return (f"v=0\r\no=pbx 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} UDP/TLS/RTP/SAVP 0 101\r\n"
                f"a=rtpmap:101 telephone-event/8000\r\na=setup:{setup}\r\na=fingerprint:SHA-256 {self.fingerprint}\r\n"
                "a=tls-id:abcdefghijklmnopqrstuvwxyz\r\na=rtcp-mux\r\na=sendrecv\r\n")

    def first_hello(self):
        try:
            self.dtls.do_handshake()
        except SSL.WantReadError:
            pass
        return self.dtls.bio_read(1500)

    def handshake(self, to, timeout_s=5):
        """True when it was done, False when the gateway refused it or said nothing."""
        until = time.monotonic() + timeout_s * SLOW
        self.socket.settimeout(0.2)
        while time.monotonic() < until:
            try:
                self.dtls.do_handshake()
                self.flush(to)
                return True
            except SSL.WantReadError:
                self.flush(to)
            except SSL.Error:
                return False
            try:
                datagram = self.socket.recv(2000)
            except socket.timeout:
                continue
            self.received.append(datagram)
            self.dtls.bio_write(datagram)
        return False

    def ask(self, to):
        """For a cookie; a datagram may be lost."""
        hello = self.first_hello()
        self.socket.settimeout(0.5)
        for _ in range(10):
            self.socket.sendto(hello, to)
            with contextlib.suppress(socket.timeout):
                return self.socket.recv(2000)
        raise AssertionError("no cookie came")

    def flush(self, to):
        while True:
            try:
                flight = self.dtls.bio_read(65536)
            except SSL.WantReadError:
                return
            while flight:  # a memory BIO joins datagrams; records are what it had
                length = 13 + struct.unpack("!H", flight[11:13])[0]
                self.socket.sendto(flight[:length], to)
                flight = flight[length:]

    def close(self):
        self.socket.close()


class Plain(StackTest):
    def setUp(self):
        self.media = ("127.0.0.1", self.stack.media_port)

    def place(self, pbx, name, **offer):
        phone = self.stack.start_phone(device=f"phone-{name}", user=f"user-{name}", handoff="sdes", habit="ignores")
        made = self.stack.post("/v1/calls", {"callee": f"user-{name}", "offer": pbx.offer(**offer)})
        self.assertEqual(made.status, 201, made)
        self.addCleanup(phone.stop)
        self.addCleanup(self.stack.delete, f"/v1/calls/{made.json['id']}")
        return made.json["id"], made.json["answer"]

    def ring(self, name, mode, *args):
        phone = self.stack.start_phone(device=f"phone-{name}", user=f"user-{name}", handoff=mode)
        status, out, err = self.stack.run_caller("--callee", f"user-{name}", "--no-ice", "--json", "--timeline",
                                                 "--duration-ms", 1000 * SLOW, *args)
        self.assertEqual(status, 0, f"{out}\n{err}\n{self.stack.gateway.log()}")
        over = phone.wait_event("call_over", 15)
        self.assertTrue(over["heard_expected"], over)
        self.assertIn("caller_address", out)
        self.assertNotIn("caller_ice", out)
        phone.stop()

    def test_sound_both_ways_in_every_mode_and_role(self):
        for mode in MODES:
            for setup in ["actpass", "active", "passive"]:
                with self.subTest(mode=mode, setup=setup):
                    self.ring(f"{mode}-{setup}", mode, "--setup", setup)

    def test_a_caller_behind_a_nat(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                self.ring(f"nat-{mode}", mode, "--claim", "192.0.2.1:4000")

    def test_the_answer_has_an_address_and_no_ice(self):
        pbx = Pbx()
        call, answer = self.place(pbx, "answer")
        self.assertNotIn("ice", answer)
        self.assertNotIn("candidate", answer)
        self.assertIn(f"m=audio {self.stack.media_port} UDP/TLS/RTP/SAVP 0", answer)
        self.assertIn("c=IN IP4 ", answer)
        self.assertIn("a=setup:passive\r\n", answer)
        self.assertIn("a=rtcp-mux\r\n", answer)
        self.assertIn(f"a=tls-id:{call}\r\n", answer)
        pbx.close()

    def test_another_stack_gets_a_cookie_and_then_a_handshake(self):
        pbx = Pbx()
        call, answer = self.place(pbx, "foreign")
        self.assertTrue(pbx.handshake(self.media))
        self.assertEqual(pbx.received[0][13], HELLO_VERIFY)
        self.assertEqual(pbx.received[1][13], SERVER_HELLO)
        self.assertLessEqual(max(map(len, pbx.received)), 1200)
        fingerprint = pbx.dtls.get_peer_certificate().digest("sha256").decode()
        self.assertIn(f"a=fingerprint:sha-256 {fingerprint}\r\n", answer)
        wait_for(lambda: "caller_dtls" in [e["event"] for e in self.stack.timeline(call)])
        pbx.close()

    def test_the_port_of_a_call_can_be_the_next_ones(self):
        pbx = Pbx()
        first, _ = self.place(pbx, "port-1")
        self.assertTrue(pbx.handshake(self.media))
        second = Pbx()
        second.socket.close()
        second.socket, second.address = pbx.socket, pbx.address
        call, _ = self.place(second, "port-2")
        self.assertTrue(second.handshake(self.media))
        wait_for(lambda: "caller_dtls" in [e["event"] for e in self.stack.timeline(call)])
        self.assertEqual(self.stack.call(first)["state"], "ringing")
        pbx.close()

    def test_calls_of_one_certificate_are_told_apart_by_address_or_not_at_all(self):
        one, two, elsewhere = Pbx(), Pbx(), Pbx()
        calls = [self.place(p, f"same-{i}")[0] for i, p in enumerate([one, two])]
        self.assertFalse(elsewhere.handshake(self.media))
        self.assertTrue(two.handshake(self.media))
        wait_for(lambda: "caller_dtls" in [e["event"] for e in self.stack.timeline(calls[1])])
        self.assertNotIn("caller_dtls", [e["event"] for e in self.stack.timeline(calls[0])])
        # Now one call waits for this certificate, and whoever has it is its caller.
        behind_nat = Pbx()
        self.assertTrue(behind_nat.handshake(self.media))
        wait_for(lambda: "caller_dtls" in [e["event"] for e in self.stack.timeline(calls[0])])
        for p in [one, two, elsewhere, behind_nat]:
            p.close()

    def test_a_stranger_with_another_certificate_harms_no_call(self):
        pbx, stranger = Pbx(), Pbx(other_certificate=True)
        call, _ = self.place(pbx, "stranger")
        self.assertFalse(stranger.handshake(self.media))
        self.assertEqual(self.stack.call(call)["state"], "ringing")
        self.assertTrue(pbx.handshake(self.media))
        pbx.close()
        stranger.close()

    def test_another_certificate_at_the_offered_address_ends_the_call(self):
        pbx = Pbx(other_certificate=True)
        call, _ = self.place(pbx, "wrong")
        self.assertFalse(pbx.handshake(self.media))
        over = self.stack.wait_state(call, "ended")
        self.assertEqual(over["reason"], "media_failed")
        failed = next(e for e in self.stack.timeline(call) if e["event"] == "media_failed")
        self.assertEqual((failed["leg"], failed["error"]), ("caller", "authentication failed"))
        pbx.close()

    def test_nobody_is_called_often_in_vain(self):
        pbx = Pbx()
        call, answer = self.place(pbx, "silent", setup="passive")
        self.assertIn("a=setup:active\r\n", answer)
        sent = []
        pbx.socket.settimeout(1)
        until = time.monotonic() + 20 * SLOW
        while self.stack.call(call)["state"] != "ended" and time.monotonic() < until:
            try:
                sent.append(pbx.socket.recv(2000))
            except socket.timeout:
                pass
        self.assertEqual(self.stack.call(call)["reason"], "media_failed")
        self.assertIn(len(sent), range(2, 6))
        self.assertLess(max(map(len, sent)), len(pbx.offer()))
        pbx.close()

    def test_an_alert_is_in_the_timeline(self):
        pbx = Pbx()
        call, _ = self.place(pbx, "alert", setup="passive")
        pbx.socket.settimeout(5 * SLOW)
        _, gateway = pbx.socket.recvfrom(2000)
        pbx.socket.sendto(bytes([21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40]), gateway)
        self.stack.wait_state(call, "ended")
        failed = next(e for e in self.stack.timeline(call) if e["event"] == "media_failed")
        self.assertEqual(failed["alert"], "handshake failure")
        pbx.close()

    def test_a_flood_of_hellos_costs_nothing_and_stops_nobody(self):
        pbx = Pbx()
        call, _ = self.place(pbx, "flood")
        hello = Pbx().first_hello()
        pid, answers, longest = self.stack.gateway.process.pid, 0, 0
        sources = []
        for i in range(400):  # as a sender with spoofed addresses looks to the gateway
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind((f"127.{1 + i % 7}.{i // 250}.{1 + i % 250}", 0))
            s.setblocking(False)
            sources.append(s)

        def flood(rounds):
            nonlocal answers, longest
            for _ in range(rounds):
                for s in sources:
                    s.sendto(hello, self.media)
                time.sleep(0.01)
                for s in sources:
                    while True:
                        try:
                            got = s.recv(2000)
                        except BlockingIOError:
                            break
                        answers, longest = answers + 1, max(longest, len(got))
                        self.assertEqual(got[13], HELLO_VERIFY)

        flood(5)
        before = rss_kib(pid)
        flood(50)
        if SLOW == 1:  # sanitizers keep what was freed
            self.assertLess(rss_kib(pid) - before, 4096)  # of 20,000 hellos, each would take 75 KB as a session
        self.assertGreater(answers, 1000)
        self.assertLessEqual(answers, 55 * len(sources))
        self.assertLessEqual(longest, len(hello))
        self.assertTrue(pbx.handshake(self.media))
        wait_for(lambda: "caller_dtls" in [e["event"] for e in self.stack.timeline(call)])
        for s in sources + [pbx.socket]:
            s.close()

    def test_one_source_has_a_budget(self):
        pbx = Pbx()
        self.place(pbx, "budget")
        hello, answers = Pbx().first_hello(), 0
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("127.9.9.9", 0))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        began = time.monotonic()
        for _ in range(30):
            for _ in range(100):
                s.sendto(hello, self.media)
            time.sleep(0.005)
        s.settimeout(0.5)
        try:
            while s.recv(2000):
                answers += 1
        except socket.timeout:
            pass
        self.assertIn(answers, range(200, int(400 + 400 * (time.monotonic() - began)) + 1))
        s.close()
        pbx.close()


class BothFamilies(StackTest):
    """One socket for IPv6 and IPv4."""
    stack_options = {"edit": lambda text: re.sub(r"(?m)^media:\n(?:  address:.*\n)?",
                                                 "media:\n  address: '::'\n  announce: ['127.0.0.1', '::1']\n",
                                                 re.sub(r"(?m)^  (address|announce):.*\n", "", text))}

    def test_sound_over_either_in_each_role(self):
        for address in ["127.0.0.1", "::1"]:
            for setup in ["active", "passive"]:
                with self.subTest(address=address, setup=setup):
                    name = f"both-{len(address)}-{setup}"
                    phone = self.stack.start_phone(device=f"phone-{name}", user=f"user-{name}", handoff="sdes")
                    status, out, err = self.stack.run_caller(
                        "--callee", f"user-{name}", "--no-ice", "--setup", setup, "--address", address, "--json",
                        "--duration-ms", 1000 * SLOW)
                    self.assertEqual(status, 0, f"{out}\n{err}\n{self.stack.gateway.log()}")
                    phone.stop()

    def test_calls_of_one_certificate_are_told_apart(self):
        one, two = Pbx(), Pbx()
        for i, pbx in enumerate([one, two]):
            self.stack.start_phone(device=f"phone-apart-{i}", user=f"user-apart-{i}", handoff="sdes", habit="ignores")
            made = self.stack.post("/v1/calls", {"callee": f"user-apart-{i}", "offer": pbx.offer()})
            self.assertEqual(made.status, 201, made)
        for pbx in [two, one]:
            self.assertTrue(pbx.handshake(("127.0.0.1", self.stack.media_port)))
            pbx.close()


class Inactivity(StackTest):
    stack_options = {"edit": lambda text: re.sub(r"(?m)^media:\n", f"media:\n  inactivity_s: {2 * SLOW}\n", text)}

    def test_who_falls_silent_after_the_answer_is_gone(self):
        pbx = Pbx()
        phone = self.stack.start_phone(device="phone-silent", user="user-silent", handoff="sdes")
        call = self.stack.post("/v1/calls", {"callee": "user-silent", "offer": pbx.offer()}).json["id"]
        self.assertTrue(pbx.handshake(("127.0.0.1", self.stack.media_port)))
        over = self.stack.wait_state(call, "ended", timeout_s=15)
        self.assertEqual(over["reason"], "media_failed")
        failed = next(e for e in self.stack.timeline(call) if e["event"] == "media_failed")
        self.assertEqual((failed["leg"], failed["error"]), ("caller", "timed out"))
        pbx.close()
        phone.stop()


class Identity(unittest.TestCase):
    def stack(self, settings, prepare=lambda stack: None):
        stack = Stack(gateway=False, edit=lambda text: re.sub(r"(?m)^media:\n", f"media:\n  {settings}\n", text))
        self.addCleanup(stack.close)
        prepare(stack)
        stack.gateway = stack.start_gateway()
        stack.start_phone(device="phone", user="user", handoff="sdes", habit="ignores")
        return stack

    def call(self, stack, pbx):
        made = stack.post("/v1/calls", {"callee": "user", "offer": pbx.offer()})
        self.assertEqual(made.status, 201, made)
        return made.json["id"], re.search("a=fingerprint:sha-256 ([0-9A-F:]+)", made.json["answer"]).group(1)

    def test_the_operators_certificate_and_order_of_profiles(self):
        def prepare(stack):
            key = crypto.PKey()
            key.generate_key(crypto.TYPE_RSA, 4096)
            self.given = make_certificate(key)[1]
            with open(stack.path("media.pem"), "wb") as f:
                f.write(crypto.dump_certificate(crypto.FILETYPE_PEM, self.given))
            with open(os.open(stack.path("media.key"), os.O_CREAT | os.O_WRONLY, 0o600), "wb") as f:
                f.write(crypto.dump_privatekey(crypto.FILETYPE_PEM, key))
        stack = self.stack("certificate_file: media.pem\n  key_file: media.key\n"
                           "  srtp_profiles: [AES_CM_128_HMAC_SHA1_80, AEAD_AES_128_GCM]", prepare)
        pbx = Pbx(profiles=b"SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80")
        call, told = self.call(stack, pbx)
        self.assertEqual(told, self.given.digest("sha256").decode())
        self.assertTrue(pbx.handshake(("127.0.0.1", stack.media_port)))
        self.assertEqual(pbx.dtls.get_peer_certificate().digest("sha256").decode(), told)
        self.assertLessEqual(max(map(len, pbx.received)), 1200)
        done = wait_for(lambda: next((e for e in stack.timeline(call) if e["event"] == "caller_dtls"), None))
        self.assertEqual(done["profile"], "AES_CM_128_HMAC_SHA1_80")
        log = stack.gateway.log()
        self.assertRegex(log, r'library="OpenSSL 3[^"]*" versions="?[\d. ]+"? groups=\S*X25519:P-256')
        self.assertIn("identity=given", log)
        self.assertNotIn("new DTLS identity", log)
        pbx.close()

    def test_a_made_identity_is_replaced_and_each_answer_tells_the_one_that_is_used(self):
        stack = self.stack("rotate_identity_s: 1")
        seen = set()
        def wait_for_another():
            n = stack.gateway.log().count("new DTLS identity")
            wait_for(lambda: stack.gateway.log().count("new DTLS identity") > n)

        for _ in range(3):
            early, pbx = Pbx(), Pbx()
            before, _ = self.call(stack, early)
            early.ask(("127.0.0.1", stack.media_port))  # and what gives this cookie has the identity of now
            wait_for_another()
            stack.delete(f"/v1/calls/{before}")
            call, told = self.call(stack, pbx)
            wait_for_another()
            self.assertTrue(pbx.handshake(("127.0.0.1", stack.media_port)))
            self.assertEqual(pbx.dtls.get_peer_certificate().digest("sha256").decode(), told)
            seen.add(told)
            stack.delete(f"/v1/calls/{call}")
            pbx.close()
            early.close()
        self.assertEqual(len(seen), 3)


if __name__ == "__main__":
    unittest.main()
