# SPDX-License-Identifier: Apache-2.0
"""aiortc as the caller, without a browser: its own ICE, DTLS, SRTP and Opus against the gateway, in both DTLS roles and
every handoff mode. aiortc knows AES128_CM_SHA1_80 only, which Chromium does not choose."""
import asyncio
import fractions
import math
import time
import unittest

import av
import numpy
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from harness import SLOW, StackTest

CALLER_HZ, PHONE_HZ = 440, 880
RATE_HZ, FRAME = 48000, 960


class Tone(MediaStreamTrack):
    kind = "audio"

    def __init__(self):
        super().__init__()
        self.at, self.started = 0, None

    async def recv(self):
        self.started = self.started or time.monotonic()
        await asyncio.sleep(max(0, self.started + self.at / RATE_HZ - time.monotonic()))
        samples = numpy.sin(2 * math.pi * CALLER_HZ / RATE_HZ * (self.at + numpy.arange(FRAME))) * 12000
        frame = av.AudioFrame.from_ndarray(samples.astype(numpy.int16).reshape(1, -1), format="s16", layout="mono")
        frame.pts, frame.sample_rate, frame.time_base = self.at, RATE_HZ, fractions.Fraction(1, RATE_HZ)
        self.at += FRAME
        return frame


def loudest_hz(samples, rate):
    spectrum = numpy.abs(numpy.fft.rfft(samples * numpy.hanning(len(samples))))
    return numpy.argmax(spectrum) * rate / len(samples) if spectrum.max() > 1e4 else 0


class Caller:
    """One call; `hears` waits until the last half second of sound has this frequency."""

    def __init__(self, setup):
        self.setup, self.pc, self.heard, self.rate = setup, RTCPeerConnection(), numpy.zeros(0), RATE_HZ
        self.pc.addTrack(Tone())
        self.pc.on("track", lambda track: asyncio.ensure_future(self.listen(track)))

    async def listen(self, track):
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:  # the call is over
                return
            self.rate = frame.sample_rate
            samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
            self.heard = numpy.concatenate([self.heard, samples])[-self.rate // 2:]

    async def offer(self):
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp.replace("a=setup:actpass", f"a=setup:{self.setup}")

    async def take(self, answer):
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def hears(self, hz, timeout_s=15):
        until = time.monotonic() + timeout_s * SLOW
        while time.monotonic() < until:
            if len(self.heard) >= self.rate // 2 and abs(loudest_hz(self.heard, self.rate) - hz) < 8:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"hears {loudest_hz(self.heard, self.rate) if len(self.heard) else 'nothing'}")


class Aiortc(StackTest, unittest.IsolatedAsyncioTestCase):
    async def ring(self, mode, setup):
        name = f"{mode}-{setup}"
        phone = self.stack.start_phone(device=f"phone-{name}", user=f"user-{name}", handoff=mode, tone=PHONE_HZ,
                                       expect_tone=CALLER_HZ)
        caller = Caller(setup)
        made = self.stack.post("/v1/calls", {"callee": f"user-{name}", "offer": await caller.offer()})
        self.assertEqual(made.status, 201, made)
        self.assertIn("a=setup:active" if setup == "passive" else "a=setup:passive", made.json["answer"])
        await caller.take(made.json["answer"])
        await caller.hears(PHONE_HZ)
        await asyncio.sleep(1)  # and the phone's meter needs half a second, too
        return phone, caller, made.json["id"]

    async def calls(self, setup):
        for mode in ["transfer", "dtls", "sdes"]:
            with self.subTest(mode=mode, setup=setup):
                phone, caller, call = await self.ring(mode, setup)
                media = self.stack.call(call)["media"]
                self.assertEqual((media["handoff"], media["profile"]), (mode, "AES_CM_128_HMAC_SHA1_80"))
                self.stack.delete(f"/v1/calls/{call}")
                over = phone.wait_event("call_over")
                self.assertTrue(over["heard_expected"], over)
                await caller.pc.close()
                phone.stop()

    async def test_as_the_dtls_client(self):
        await self.calls("actpass")

    async def test_as_the_dtls_server(self):
        await self.calls("passive")

    async def test_its_hang_up_ends_the_call(self):
        for mode in ["transfer", "dtls"]:
            with self.subTest(mode=mode):
                phone, caller, call = await self.ring(mode, "active")
                await caller.pc.close()
                over = await asyncio.to_thread(self.stack.wait_state, call, "ended")
                self.assertEqual(over["reason"], "completed")
                phone.stop()


if __name__ == "__main__":
    unittest.main()
