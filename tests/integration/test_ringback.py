# SPDX-License-Identifier: Apache-2.0
"""Ringback: what the caller hears while the call rings, and what is said about a file that cannot be used."""
import json
import math
import os
import shutil
import struct
import subprocess
import tempfile
import unittest
import wave

from harness import BIN, SLOW, Stack, StackTest

RINGBACK_HZ = 600


def mulaw(sample):
    """G.711: one linear sample of 16 bits."""
    sign, magnitude = (0, sample) if sample >= 0 else (0x80, -sample)
    magnitude = min(magnitude, 32635) + 132
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | magnitude >> (exponent + 3) & 0x0f) & 0xff


def sine(rate):
    return [int(12000 * math.sin(2 * math.pi * RINGBACK_HZ * i / rate)) for i in range(rate)]


def riff(fmt, data):
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def pcmu_file(path):
    write(path, riff(struct.pack("<HHIIHH", 7, 1, 8000, 8000, 1, 8), bytes(map(mulaw, sine(8000)))))


def pcm_file(path, rate=48000):
    with wave.open(path, "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(rate)
        w.writeframes(struct.pack(f"<{rate}h", *sine(rate)))


def opus_file(path, *options):
    pcm_file(path + ".wav")
    subprocess.run(["opusenc", "--quiet", *options, path + ".wav", path], check=True)


class Ringing(StackTest):
    """One gateway for each kind of file."""

    @classmethod
    def setUpClass(cls):
        cls.files = tempfile.mkdtemp(prefix="wakegate-ringback-")
        cls.addClassCleanup(shutil.rmtree, cls.files)
        path = os.path.join(cls.files, "tone")
        cls.make_file(path)
        cls.stack_options = {"edit": lambda text: cls.edit(text.replace("media:\n", f"media:\n  ringback: {path}\n"))}
        super().setUpClass()

    @staticmethod
    def edit(text):
        return text

    def ring(self, name, *caller_args, **phone_options):
        phone = self.stack.start_phone(device="phone-" + name, user="user-" + name, answer_ms=2500 * SLOW, **phone_options)
        status, out, err = self.stack.run_caller("--callee", "user-" + name, "--json", "--duration-ms", 1500 * SLOW,
                                                 *caller_args)
        self.assertEqual(status, 0, f"{out}\n{err}\n{self.stack.gateway.log()}")
        report = json.loads(out.splitlines()[-1])
        self.assertTrue(phone.wait_event("call_over", 15)["heard_expected"])
        phone.stop()
        return report, {e["event"]: e for e in self.stack.timeline(report["id"])}

    def heard(self, codec, **phone_options):
        report, events = self.ring("-".join(phone_options.values()), "--expect-ringback", RINGBACK_HZ, "--codec",
                                   codec.lower(), **phone_options)
        self.assertTrue(report["heard_ringback"] and report["heard_expected"])  # the tone, and then the phone's
        self.assertEqual(events["ringback"]["codec"], codec)
        self.assertLess(events["ringback"]["offset_us"], events["answered"]["offset_us"])
        self.assertNotIn("no_ringback", events)

    def not_heard(self, reason, **phone_options):
        report, events = self.ring(reason, **phone_options)
        self.assertEqual(events["no_ringback"]["reason"], reason)
        self.assertNotIn("ringback", events)
        # Nothing came before the answer: the first packet is the phone's.
        self.assertGreaterEqual(report["first_packet_ms"], events["answered"]["offset_us"] / 1000)


class Pcmu(Ringing):
    make_file = staticmethod(pcmu_file)

    @staticmethod
    def edit(text):
        return text.replace("workers: 1", "workers: 2")

    def test_the_tone_and_then_the_phone(self):
        for mode in ("sdes", "dtls"):
            with self.subTest(mode=mode):
                self.heard("PCMU", handoff=mode)
        lines = dict(line.rsplit(" ", 1) for line in self.stack.get("/metrics", token=None).text.splitlines() if line[:1] != "#")
        sent = [int(lines[f'wakegate_media_ringback_packets_total{{worker="{n}"}}']) for n in (0, 1)]
        self.assertGreater(sent[0], 100)
        self.assertEqual(sent[1], 0)  # the calls came one after the other, and the first free worker takes a call

    def test_in_transfer_the_callers_keys_are_the_phones_alone(self):
        self.not_heard("transfer", handoff="transfer")


class Opus(Ringing):
    make_file = staticmethod(opus_file)

    def test_the_tone_and_then_the_phone(self):
        self.heard("opus", handoff="sdes")


class Codec(Ringing):
    make_file = staticmethod(opus_file)

    @staticmethod
    def edit(text):
        return text.replace("    bundle_id:", "    codecs: [PCMU]\n    bundle_id:")

    def test_a_codec_that_the_app_has_not_is_not_played(self):
        self.not_heard("codec", handoff="sdes")


class Files(unittest.TestCase):
    def test_a_file_that_cannot_be_used_is_told_at_start(self):
        def opus_60(path):
            opus_file(path, "--framesize", "60")

        stack = Stack(sim=False, gateway=False,
                      edit=lambda text: text.replace("media:\n", "media:\n  ringback: tone\n"))
        self.addCleanup(stack.close)
        path = stack.path("tone")
        for make, said in [(lambda p: None, "cannot be opened: No such file or directory"),
                           (lambda p: write(p, b"no sound"), "neither Ogg nor WAV; an Ogg Opus file, or a WAV file with mu-law, is needed"),
                           (pcm_file, "WAV with linear samples (format 1); mu-law (format 7) is needed"),
                           (opus_60, "another length than 20 ms; make it with opusenc --framesize 20")]:
            make(path)
            for command in ("check", "serve"):
                with self.subTest(said=said, command=command):
                    done = subprocess.run([os.path.join(BIN, "wakegate"), command, "-c", stack.config], timeout=30,
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
                    self.assertEqual(done.returncode, 1)
                    self.assertIn(f"media.ringback: {path}: ", done.stdout.decode())
                    self.assertIn(said, done.stdout.decode())
        pcmu_file(path)
        subprocess.run([os.path.join(BIN, "wakegate"), "check", "-c", stack.config], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    unittest.main()
