# SPDX-License-Identifier: Apache-2.0
"""Chromium as the caller: its tone arrives at the phone, the phone's tone arrives in the page; in each handoff mode, in
both DTLS roles, with the post-quantum ClientHello that takes two datagrams. And Chromium as the phone, in mode dtls."""
import contextlib
import http.client
import http.server
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import unittest

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from harness import BIN, Stack, wait_for
from test_ringback import RINGBACK_HZ, opus_file

HERE = os.path.dirname(os.path.abspath(__file__))
CALLER_HZ, PHONE_HZ = 440, 880
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
         "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


class Web(http.server.BaseHTTPRequestHandler):
    """Serves the page, and passes /v1 on to the gateway with the token, as a call server's own site would."""
    stack = None

    def log_message(self, *args):
        pass

    def do_GET(self):
        with open(os.path.join(HERE, "browser_page.html"), "rb") as f:
            page = f.read()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(page)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        upstream = http.client.HTTPConnection("127.0.0.1", self.stack.api_port, timeout=10)
        upstream.request("POST", self.path, body, {"Authorization": f"Bearer {self.stack.token}",
                                                   "Content-Type": self.headers["Content-Type"]})
        reply = upstream.getresponse()
        text = reply.read()
        upstream.close()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.headers["content-type"])
        self.end_headers()
        self.wfile.write(text)


class Sniffer:
    """The ClientHello fragments that go to a UDP port, as (fragment offset, fragment length, message length)."""
    CLIENT_HELLO, HANDSHAKE = 1, 22

    def __init__(self, port):
        self.port, self.hellos = port, []
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        self.socket.settimeout(0.1)
        self.running = True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while self.running:
            with contextlib.suppress(socket.timeout):
                packet, address = self.socket.recvfrom(65536)
                if address[2] == socket.PACKET_OUTGOING:  # loopback shows each packet twice
                    continue
                head = (packet[0] & 15) * 4
                if packet[9] != socket.IPPROTO_UDP or struct.unpack("!H", packet[head + 2:head + 4])[0] != self.port:
                    continue
                self.take(packet[head + 8:])

    def take(self, p):
        # DTLS record: type, version, epoch, sequence, length; handshake: type, length, message_seq, offset, length
        if len(p) > 25 and p[0] == self.HANDSHAKE and p[3:5] == b"\0\0" and p[13] == self.CLIENT_HELLO:
            total, offset, length = (int.from_bytes(b, "big") for b in (p[14:17], p[19:22], p[22:25]))
            self.hellos.append((offset, length, total))

    def close(self):
        self.running = False
        self.thread.join()
        self.socket.close()


class Chromium(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        files = tempfile.mkdtemp(prefix="wakegate-ringback-")
        cls.addClassCleanup(shutil.rmtree, files)
        opus_file(os.path.join(files, "tone"))
        cls.stack = Stack(edit=lambda text: text.replace("media:\n", f"media:\n  ringback: {files}/tone\n"))
        cls.addClassCleanup(cls.stack.close)
        Web.stack = cls.stack
        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        cls.addClassCleanup(web.server_close)
        cls.addClassCleanup(web.shutdown)
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        profile = tempfile.mkdtemp(prefix="wakegate-chromium-")
        cls.addClassCleanup(shutil.rmtree, profile, ignore_errors=True)
        for flag in FLAGS + [f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        cls.browser = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        cls.addClassCleanup(cls.browser.quit)
        cls.browser.set_script_timeout(20)
        cls.browser.get(f"http://127.0.0.1:{web.server_address[1]}/")

    def js(self, expression, *args):
        """The value of a promise in the page."""
        result = self.browser.execute_async_script(
            "const done = arguments[arguments.length - 1], args = Array.from(arguments).slice(0, -1);"
            f"Promise.resolve().then(() => ({expression})(...args)).then(v => done({{v}}), e => done({{e: String(e)}}));", *args)
        self.assertNotIn("e", result)
        return result.get("v")

    def ring(self, mode, setup="actpass", codec=None):
        """One call from the page to a phone of this mode; waits until sound has gone both ways."""
        name = f"{mode}-{setup}-{codec}"
        phone = self.stack.start_phone(device="phone-" + name, user="user-" + name, handoff=mode, tone=PHONE_HZ,
                                       expect_tone=CALLER_HZ)
        placed = self.js("(o) => place(o)", {"callee": "user-" + name, "hz": CALLER_HZ, "setup": setup, "codec": codec})
        self.stack.wait_state(placed["id"], "active", timeout_s=15)
        wait_for(lambda: abs(self.js("(id) => heard(id)", placed["id"]) - PHONE_HZ) < 12, 10,
                 lambda: f"the page hears {self.js('(id) => heard(id)', placed['id'])} Hz\n{self.stack.gateway.log()}")
        transport = self.js("(id) => transport(id)", placed["id"])
        self.assertEqual((transport["connection"], transport["dtls"]), ("connected", "connected"))
        # More than a second of sound, for the phone's meter.
        call = wait_for(lambda: next((c for c in [self.stack.call(placed["id"])] if c["media"]["phone"]["tx_pkts"] > 60), None))
        self.assertEqual(call["media"]["handoff"], mode)
        self.assertGreater(call["media"]["discarded_pkts"], 0)  # the page talks from the start, the phone answers later
        return phone, placed, transport

    def end(self, phone, placed, reason="completed"):
        self.assertEqual(self.stack.wait_state(placed["id"], "ended")["reason"], reason)
        over = phone.wait_event("call_over")
        self.assertTrue(over["heard_expected"], over)
        self.assertGreater(over["rx_pkts"], 20)
        phone.stop()

    def modes(self, setup, role):
        for mode in ["transfer", "dtls", "sdes"]:
            with self.subTest(mode=mode):
                phone, placed, transport = self.ring(mode, setup)
                self.assertEqual(transport["role"], role)
                self.assertIn("a=ice-lite", placed["answer"])
                self.stack.delete(f"/v1/calls/{placed['id']}")
                self.end(phone, placed)
                self.js("(id) => hangUp(id)", placed["id"])

    def test_the_browser_as_dtls_client_in_every_mode(self):
        sniffer = Sniffer(self.stack.media_port)
        self.addCleanup(sniffer.close)
        self.modes("actpass", "client")
        # X25519MLKEM768 makes a hello that no single datagram takes.
        self.assertTrue([h for h in sniffer.hellos if h[0] > 0], sniffer.hellos)
        self.assertGreater(max(h[2] for h in sniffer.hellos), 1200)

    def test_the_browser_as_dtls_server_in_every_mode(self):
        self.modes("passive", "server")

    def test_the_gateway_crashes_in_the_middle_of_the_call(self):
        """The page notices nothing but a gap: no new offer, no other handshake."""
        for mode in ["transfer", "dtls", "sdes"]:
            with self.subTest(mode=mode):
                phone, placed, before = self.ring(mode, "actpass", "opus")
                came = self.js("(id) => received(id)", placed["id"])
                self.stack.gateway.kill()
                self.stack.gateway = self.stack.start("gateway", "wakegate", "serve", "-c", self.stack.config)
                self.assertEqual(self.stack.call(placed["id"])["state"], "active", self.stack.gateway.log())
                self.js("() => new Promise((done) => setTimeout(done, 1500))")
                wait_for(lambda p=placed: abs(self.js("(id) => heard(id)", p["id"]) - PHONE_HZ) < 12)
                self.assertEqual(self.js("(id) => transport(id)", placed["id"]), before)
                self.assertGreater(self.js("(id) => received(id)", placed["id"]), came + 40)
                self.stack.delete(f"/v1/calls/{placed['id']}")
                self.assertEqual(phone.wait_event("call_over")["refused_pkts"], 0)
                self.end(phone, placed)
                self.js("(id) => hangUp(id)", placed["id"])

    def test_pcmu(self):
        phone, placed, _ = self.ring("transfer", codec="pcmu")
        self.stack.delete(f"/v1/calls/{placed['id']}")
        self.end(phone, placed)

    def test_the_ringback_tone_and_then_the_phone(self):
        """Another stream, with an SSRC of its own, takes over from the tone: the page hears it."""
        for mode in ["sdes", "dtls"]:
            with self.subTest(mode=mode):
                name = "ringback-" + mode
                phone = self.stack.start_phone(device="phone-" + name, user="user-" + name, handoff=mode, tone=PHONE_HZ,
                                               expect_tone=CALLER_HZ, answer_ms=5000)
                placed = self.js("(o) => place(o)", {"callee": "user-" + name, "hz": CALLER_HZ})
                wait_for(lambda: abs(self.js("(id) => heard(id)", placed["id"]) - RINGBACK_HZ) < 12)
                self.assertEqual(self.stack.call(placed["id"])["state"], "ringing")
                self.stack.wait_state(placed["id"], "active", timeout_s=15)
                wait_for(lambda: abs(self.js("(id) => heard(id)", placed["id"]) - PHONE_HZ) < 12)
                wait_for(lambda: self.stack.call(placed["id"])["media"]["phone"]["tx_pkts"] > 60)
                self.stack.delete(f"/v1/calls/{placed['id']}")
                self.end(phone, placed)
                self.js("(id) => hangUp(id)", placed["id"])

    def test_the_browser_as_the_phone(self):
        made = self.stack.put("/v1/devices/page", {"user": "page", "app": "vcs", "token": "00aa", "handoff": ["dtls"]})
        self.browser.execute_script("window.answered = answerCall(arguments[0])", {
            "url": f"ws://127.0.0.1:{self.stack.api_port}/v1/attach", "device": "page",
            "secret": made.json["device_secret"], "hz": PHONE_HZ})
        wait_for(lambda: 'event="phone attached" device=page' in self.stack.gateway.log())
        caller = subprocess.Popen([os.path.join(BIN, "wakegate-caller"), "--api", self.stack.url, "--api-token-file",
                                   self.stack.path("token"), "--callee", "page", "--tone", str(CALLER_HZ), "--expect-tone",
                                   str(PHONE_HZ), "--duration-ms", "4000", "--json"], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
        taken = self.js("() => window.answered")
        self.assertIn("a=setup:active", taken["answer"])
        wait_for(lambda: abs(self.js("(id) => heard(id)", taken["id"]) - CALLER_HZ) < 12, 10, self.stack.gateway.log)
        transport = self.js("(id) => transport(id)", taken["id"])
        self.assertEqual((transport["connection"], transport["dtls"], transport["role"]), ("connected", "connected", "client"))
        out, err = caller.communicate(timeout=30)
        self.assertEqual(caller.returncode, 0, (out, err))  # the caller heard the page's tone
        wait_for(lambda: self.js("(id) => ended(id)", taken["id"]) == "completed")
        self.js("(id) => hangUp(id)", taken["id"])

    def test_the_browser_hangs_up(self):
        for mode in ["transfer", "dtls"]:
            with self.subTest(mode=mode):
                phone, placed, _ = self.ring(mode, codec="opus")
                self.js("(id) => hangUp(id)", placed["id"])
                self.end(phone, placed)


if __name__ == "__main__":
    unittest.main()
