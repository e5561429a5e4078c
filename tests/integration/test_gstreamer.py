# SPDX-License-Identifier: Apache-2.0
"""A foreign SDES stack as the phone's media: GStreamer's srtpdec and srtpenc take the keys of a handoff in mode sdes. Only
the STUN check is ours; packets pass through a socket of the test untouched."""
import asyncio
import base64
import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest
import wave

import numpy

from harness import SLOW, StackTest, free_port, wait_for
from test_aiortc import loudest_hz
import test_foreign_phone

CALLER_HZ, PHONE_HZ, RATE = 440, 880, 8000
# SRTP and SRTCP cipher and authentication, as GStreamer names them.
CIPHERS = {"AES_CM_128_HMAC_SHA1_80": ("aes-128-icm", "hmac-sha1-80"), "AEAD_AES_128_GCM": ("aes-128-gcm", "null"),
           "AEAD_AES_256_GCM": ("aes-256-gcm", "null")}


class Path(threading.Thread):
    """The phone's socket: ICE by hand, then every media packet from the gateway goes to `listen`, and what comes to `talk`
    goes to the gateway."""

    def __init__(self, handoff):
        super().__init__(daemon=True)
        self.gateway = (handoff["media"][0]["address"], handoff["media"][0]["port"])
        self.ice, self.ssrc, self.running = handoff["ice"], None, True
        self.outside, self.inside = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self.inside.bind(("127.0.0.1", 0))
        self.talk, self.listen = self.inside.getsockname()[1], free_port(socket.SOCK_DGRAM)
        self.start()

    def run(self):
        checked = 0.0
        while self.running:
            if time.monotonic() - checked > 0.5:
                checked = time.monotonic()
                self.outside.sendto(test_foreign_phone.binding_request(self.ice, os.urandom(12)), self.gateway)
            for ready in select.select([self.outside, self.inside], [], [], 0.1)[0]:
                with contextlib.suppress(ConnectionRefusedError):
                    self.forward(ready, ready.recv(2048))

    def forward(self, source, data):
        if source is self.inside:
            self.outside.sendto(data, self.gateway)
        elif 128 <= data[0] <= 191 and not 192 <= data[1] <= 223:
            self.ssrc = struct.unpack("!I", data[8:12])[0]
            self.inside.sendto(data, ("127.0.0.1", self.listen))

    def close(self):
        self.running = False
        self.join()
        self.outside.close()
        self.inside.close()


class GStreamer(StackTest, unittest.IsolatedAsyncioTestCase):
    register, caller, push, woken, handoff = (getattr(test_foreign_phone.ForeignPhone, n)
                                              for n in ("register", "caller", "push", "woken", "handoff"))

    def launch(self, handoff, path, heard):
        cipher, authentication = CIPHERS[handoff["profile"]]
        rx, tx = (base64.b64decode(handoff[k]).hex() for k in ("rx", "tx"))
        packets = (f"application/x-srtp,media=(string)audio,payload=(int)0,clock-rate=(int){RATE},encoding-name=(string)PCMU,"
                   f"ssrc=(uint){path.ssrc},srtp-key=(buffer){rx},srtp-cipher=(string){cipher},srtcp-cipher=(string){cipher},"
                   f"srtp-auth=(string){authentication},srtcp-auth=(string){authentication}")
        line = ["gst-launch-1.0", "-q", "-e",
                "udpsrc", "address=127.0.0.1", f"port={path.listen}", f"caps={packets}", "!", "srtpdec", "!", "rtppcmudepay", "!",
                "mulawdec", "!", "wavenc", "!", "filesink", f"location={heard}",
                "audiotestsrc", "is-live=true", f"freq={PHONE_HZ}", "samplesperbuffer=160", "!",
                f"audio/x-raw,rate={RATE},channels=1", "!", "mulawenc", "!", "rtppcmupay", "pt=0", "min-ptime=20000000",
                "max-ptime=20000000", "!", "srtpenc", f"key={tx}", f"rtp-cipher={cipher}", f"rtcp-cipher={cipher}",
                f"rtp-auth={authentication}", f"rtcp-auth={authentication}", "!", "udpsink", "host=127.0.0.1",
                f"port={path.talk}", "sync=false"]
        return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)

    async def test_sdes_with_srtpdec_and_srtpenc(self):
        for profile in ("gcm128", "cm80", "gcm256"):
            with self.subTest(profile=profile):
                await self.call(profile)

    async def call(self, profile):
        name, heard = f"gst-{profile}", self.stack.path(f"{profile}.wav")
        token = self.register(name, "sdes")
        caller = self.caller(name, "--profile", profile, "--tone", str(CALLER_HZ), "--expect-tone", str(PHONE_HZ),
                             "--duration-ms", str(2000 + 1000 * SLOW))
        phone, call = await self.woken(name, token)
        handoff = await self.handoff(phone)
        self.assertEqual(handoff["mode"], "sdes")
        path = Path(handoff)
        await phone.say("keys_taken", call=call)
        await phone.say("answer", call=call)
        await asyncio.to_thread(wait_for, lambda: path.ssrc)  # stands in clear in the header; srtpdec wants to be told
        foreign = self.launch(handoff, path, heard)
        out, err = await asyncio.to_thread(caller.communicate)
        self.assertEqual(caller.returncode, 0, (out, err))
        self.assertTrue(json.loads(out)["heard_expected"])
        foreign.send_signal(signal.SIGINT)  # it writes the file's header at its end
        complaint = (await asyncio.to_thread(foreign.communicate))[1]
        self.assertEqual(foreign.returncode, 0, complaint)
        with wave.open(heard) as f:
            sound = numpy.frombuffer(f.readframes(f.getnframes()), numpy.int16)
        self.assertGreater(len(sound), RATE // 2)
        self.assertAlmostEqual(loudest_hz(sound[-RATE // 2:], RATE), CALLER_HZ, delta=12)
        self.assertEqual((await phone.hear("ended"))["reason"], "completed")
        path.close()
        await phone.close()


if __name__ == "__main__":
    unittest.main()
