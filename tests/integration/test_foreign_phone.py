# SPDX-License-Identifier: Apache-2.0
"""The phone's side of every handoff, written from design.md alone: STUN by hand and pylibsrtp for the modes with keys,
HPKE by RFC 9180 for the one whose keys are in the push, aiortc for the mode with DTLS. The caller is our own."""
import asyncio
import base64
import fractions
import hashlib
import hmac
import json
import os
import socket
import struct
import subprocess
import time
import unittest
import zlib

from aiortc import RTCSessionDescription
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pylibsrtp import Policy, Session

from harness import BIN, SLOW, StackTest, wait_for
from test_aiortc import Caller
from test_attach import Phone

COOKIE = 0x2112A442
SILENCE_PCMU = b"\xff" * 160
PROFILES = {"AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
            "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
            "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM}


def binding_request(ice, transaction):
    """RFC 8489 with what RFC 8445 7.1 wants of a controlling agent that nominates."""
    def attribute(kind, value):
        return struct.pack("!HH", kind, len(value)) + value + b"\0" * (-len(value) % 4)

    def message(body, more):
        return struct.pack("!HHI", 1, len(body) + more, COOKIE) + transaction + body

    body = attribute(0x0006, f"{ice['ufrag']}:{ice['remote_ufrag']}".encode())
    body += attribute(0x0024, struct.pack("!I", 1845501695)) + attribute(0x0025, b"")
    body += attribute(0x802a, os.urandom(8))
    body += attribute(0x0008, hmac.new(ice["pwd"].encode(), message(body, 24), hashlib.sha1).digest())
    crc = zlib.crc32(message(body, 8)) ^ 0x5354554e
    return message(body + attribute(0x8028, struct.pack("!I", crc)), 0)


def raw(key):
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def labeled_extract(suite, salt, label, ikm):
    """RFC 9180 4."""
    return hmac.new(salt, b"HPKE-v1" + suite + label + ikm, hashlib.sha256).digest()


def labeled_expand(suite, prk, label, info, length):
    info = struct.pack("!H", length) + b"HPKE-v1" + suite + label + info
    return HKDFExpand(hashes.SHA256(), length, info).derive(prk)


def hpke_open(key, info, aad, sealed):
    """RFC 9180 6.1 in base mode: X25519/HKDF-SHA256/ChaCha20Poly1305, sequence number 0."""
    enc, ciphertext = sealed[:32], sealed[32:]
    kem, suite = b"KEM\0\x20", b"HPKE\0\x20\0\1\0\3"
    eae = labeled_extract(kem, b"", b"eae_prk", key.exchange(X25519PublicKey.from_public_bytes(enc)))
    shared = labeled_expand(kem, eae, b"shared_secret", enc + raw(key.public_key()), 32)
    context = b"\0" + labeled_extract(suite, b"", b"psk_id_hash", b"") + labeled_extract(suite, b"", b"info_hash", info)
    secret = labeled_extract(suite, shared, b"secret", b"")
    return ChaCha20Poly1305(labeled_expand(suite, secret, b"key", context, 32)).decrypt(
        labeled_expand(suite, secret, b"base_nonce", context, 12), ciphertext, aad)


def unseal(key, wakegate, device):
    """The handoff object in a push."""
    text = wakegate["sealed"]
    sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return json.loads(hpke_open(key, b"wakegate sealed v1", f"{wakegate['call']}/{device}".encode(), sealed))


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class KeyedMedia:
    """A UDP socket with the keys of a handoff object."""

    def __init__(self, handoff):
        self.to = (handoff["media"][0]["address"], handoff["media"][0]["port"])
        self.ice, self.socket = handoff["ice"], socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(0.05)
        profile = PROFILES[handoff["profile"]]
        self.rx = Session(Policy(key=base64.b64decode(handoff["rx"]), ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile))
        self.tx = Session(Policy(key=base64.b64decode(handoff["tx"]), ssrc_type=Policy.SSRC_ANY_OUTBOUND,
                                 srtp_profile=profile))
        self.received, self.seq = [], 1000

    def path(self):
        """One round trip: the gateway knows us by it."""
        transaction = os.urandom(12)
        for _ in range(20 * SLOW):
            self.socket.sendto(binding_request(self.ice, transaction), self.to)
            try:
                reply = self.socket.recv(2048)
            except socket.timeout:
                continue
            if reply[:2] == b"\x01\x01" and reply[8:20] == transaction:
                return True
        return False

    def talk(self, seconds):
        """Send 20 ms packets and take what comes."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            packet = struct.pack("!BBHII", 0x80, 0, self.seq & 0xffff, self.seq * 160, 0x1234) + SILENCE_PCMU
            self.socket.sendto(self.tx.protect(packet), self.to)
            self.seq += 1
            try:
                data = self.socket.recv(2048)
                if 128 <= data[0] <= 191 and not 192 <= data[1] <= 223:
                    self.received.append(self.rx.unprotect(data))
            except socket.timeout:
                pass

    def close(self):
        self.socket.close()


class ForeignPhoneTest(StackTest, unittest.IsolatedAsyncioTestCase):
    """What tests with such a phone need; none is in here."""

    def register(self, name, mode, user=None, **more):
        token = hashlib.sha256(name.encode()).hexdigest()
        self.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
        made = self.stack.put(f"/v1/devices/{name}", {"user": user or name, "app": "vcs", "token": token, "handoff": [mode],
                                                      "environment": "production", "ui": "callkit", **more})
        self.assertEqual(made.status, 201, made)
        return token

    def caller(self, name, *more):
        return subprocess.Popen([os.path.join(BIN, "wakegate-caller"), "--api", self.stack.url, "--api-token-file",
                                 self.stack.path("token"), "--callee", name, "--expect-tone", "0", "--json",
                                 "--duration-ms", str(1200 * SLOW), *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    async def push(self, token):
        return (await asyncio.to_thread(wait_for, lambda: [r["payload"]["wakegate"] for r in self.stack.journal()
                                                           if r["token"] == token]))[-1]

    async def woken(self, name, token):
        """The push has come: attached by its token, receipt sent."""
        push = await self.push(token)
        phone = await Phone(self.stack, name).dial(token=push["token"], call=push["call"], app_state="background",
                                                   on_call=False, os_version="26.4")
        await phone.hear("welcome")
        await phone.say("receipt", call=push["call"], push=push["push"], must_report=True, app_state="background",
                        on_call=False, received_at=int(time.time() * 1000), reported="callkit")
        return phone, push["call"]

    async def handoff(self, phone):
        call = await phone.hear("call")
        return call.get("handoff") or await phone.hear("handoff")

    async def talk(self, call, caller, phone, media):
        """From the keys to the end of the call; sound went both ways."""
        await phone.say("keys_taken", call=call)
        await phone.say("answer", call=call)
        await asyncio.to_thread(self.stack.wait_state, call, "answered", "active")
        await asyncio.to_thread(media.talk, 2.5 * SLOW)
        out, err = await asyncio.to_thread(caller.communicate)
        self.assertEqual(caller.returncode, 0, err)
        self.assertGreater(json.loads(out)["rx_pkts"], 10)
        self.assertGreater(len(media.received), 10)
        self.assertTrue(all(len(p) == 172 and p[1] & 127 == 0 for p in media.received))
        self.assertEqual((await phone.hear("ended"))["reason"], "completed")


class ForeignPhone(ForeignPhoneTest):
    async def test_the_keys_of_a_handoff_are_those_of_the_media(self):
        for mode, profile in [("transfer", "gcm128"), ("transfer", "cm80"), ("transfer", "gcm256"), ("sdes", "gcm128")]:
            with self.subTest(mode=mode, profile=profile):
                name = f"keys-{mode}-{profile}"
                token = self.register(name, mode)
                caller = self.caller(name, "--profile", profile)
                phone, call = await self.woken(name, token)
                handoff = await self.handoff(phone)
                self.assertEqual(handoff["mode"], mode)
                self.assertIn("RTP/SAVPF", handoff["sdp"])
                self.assertIn("a=ice-lite", handoff["sdp"])
                self.assertIn(f"inline:{handoff['rx']}", handoff["sdp"])  # what the gateway's side sends with
                media = KeyedMedia(handoff)
                self.assertTrue(await asyncio.to_thread(media.path))
                await self.talk(call, caller, phone, media)
                media.close()
                await phone.close()

    async def test_application_data_waits_for_the_phone_and_goes_back(self):
        name = "data"
        token = self.register(name, "sdes")
        caller = self.caller(name, "--data", "from the caller", "--duration-ms", str(1500 * SLOW))
        await asyncio.to_thread(wait_for, lambda: next((c for c in self.stack.get(f"/v1/calls?callee={name}").json["calls"]
                                                        if "caller_dtls" in [e["event"] for e in self.stack.timeline(c["id"])]), None))
        await asyncio.sleep(0.1)  # said, long before the phone is there
        phone, call = await self.woken(name, token)
        handoff = await self.handoff(phone)
        self.assertEqual(await phone.hear_data(), b"from the caller")
        await phone.ws.send(b"from the phone")
        media = KeyedMedia(handoff)
        self.assertTrue(await asyncio.to_thread(media.path))
        await phone.say("keys_taken", call=call)
        await phone.say("answer", call=call)
        await asyncio.to_thread(self.stack.wait_state, call, "answered", "active")
        await asyncio.to_thread(media.talk, 2 * SLOW)
        out, err = await asyncio.to_thread(caller.communicate)
        self.assertEqual(caller.returncode, 0, err)
        self.assertEqual(json.loads(out)["heard_data"], "from the phone")
        media.close()
        await phone.close()

    def events(self, call):
        return [e["event"] for e in self.stack.timeline(call)]

    async def test_with_sealed_keys_the_first_packet_follows_the_first_check(self):
        name, key = "sealed", X25519PrivateKey.generate()
        token = self.register(name, "sealed", sealing_key=base64url(raw(key.public_key())))
        caller = self.caller(name, "--duration-ms", str(1500 * SLOW))
        push = await self.push(token)
        handoff, call = unseal(key, push, name), push["call"]
        self.assertEqual((handoff["mode"], handoff["streams"]), ("sealed", []))
        self.assertIn(f"inline:{handoff['rx']}", handoff["sdp"])
        needles = [base64.b64decode(handoff[k])[:16] for k in ("rx", "tx")]
        needles += [handoff[k][:20].encode() for k in ("rx", "tx")]
        self.assertTrue(await asyncio.to_thread(self.in_memory, needles))
        media = KeyedMedia(handoff)
        # One check and its answer, and packets are on their way. There is no connection to the gateway yet.
        self.assertTrue(await asyncio.to_thread(media.path))
        await asyncio.to_thread(media.talk, 0.3)
        figures = await asyncio.to_thread(self.stack.call, call)
        self.assertGreater(figures["media"]["phone"]["rx_pkts"], 3)
        self.assertEqual(figures["media"]["caller"]["tx_pkts"], 0)  # nobody has answered
        self.assertEqual((media.received, figures["state"]), ([], "ringing"))
        events = await asyncio.to_thread(self.events, call)
        self.assertIn("phone_path", events)
        self.assertNotIn("attached", events)
        phone, _ = await self.woken(name, token)
        again = (await phone.hear("call"))["handoff"]  # for a phone that lost what the push had
        self.assertEqual({**again, "sdp": ""}, {**handoff, "sdp": ""})
        await self.talk(call, caller, phone, media)
        await asyncio.to_thread(wait_for, lambda: not self.in_memory(needles), 5,
                                lambda: f"keys of a call that is over: {self.in_memory(needles)}")
        media.close()
        await phone.close()

    async def test_each_phone_has_sealed_keys_of_its_own_and_one_gets_the_media(self):
        keys = {f"many-{i}": X25519PrivateKey.generate() for i in range(3)}
        tokens = {name: self.register(name, "sealed", "many", sealing_key=base64url(raw(key.public_key())))
                  for name, key in keys.items()}
        caller = self.caller("many", "--duration-ms", str(4000 * SLOW))  # silence has to be waited for
        pushes = {name: await self.push(tokens[name]) for name in keys}
        handoffs = {name: unseal(keys[name], pushes[name], name) for name in keys}
        for field in ("rx", "tx"):
            self.assertEqual(len({h[field] for h in handoffs.values()}), 3)
        self.assertEqual(len({h["ice"]["pwd"] for h in handoffs.values()}), 3)
        with self.assertRaises(Exception):  # what is sealed to one phone is nothing to another
            unseal(keys["many-0"], pushes["many-1"], "many-1")
        media = {name: KeyedMedia(h) for name, h in handoffs.items()}
        for m in media.values():  # all of them are ready before anybody answers
            self.assertTrue(await asyncio.to_thread(m.path))
        phones = {name: (await self.woken(name, tokens[name]))[0] for name in keys}
        call = pushes["many-0"]["call"]
        for name in keys:
            again = (await phones[name].hear("call"))["handoff"]
            self.assertEqual({**again, "sdp": ""}, {**handoffs[name], "sdp": ""})
        await phones["many-0"].say("keys_taken", call=call)
        await asyncio.to_thread(wait_for, lambda: "keys_taken" in self.events(call))
        await phones["many-0"].close()
        phones["many-0"], _ = await self.woken("many-0", tokens["many-0"])
        self.assertNotIn("handoff", await phones["many-0"].hear("call"))
        await phones["many-2"].say("decline", call=call, reason="busy")  # its keys go, the others ring on
        self.assertEqual((await phones["many-2"].hear("ended"))["reason"], "busy")
        self.assertFalse(await asyncio.to_thread(media["many-2"].path))
        self.assertTrue(await asyncio.to_thread(media["many-0"].path))
        await phones["many-1"].say("answer", call=call)
        await phones["many-0"].hear("answered_elsewhere")
        for name in ("many-0", "many-2"):
            await asyncio.to_thread(media[name].talk, 0.2)
            self.assertEqual(media[name].received, [])
            self.assertFalse(await asyncio.to_thread(media[name].path))
        await asyncio.to_thread(media["many-1"].talk, 5 * SLOW)
        out, err = await asyncio.to_thread(caller.communicate)
        self.assertEqual(caller.returncode, 0, err)
        self.assertGreater(len(media["many-1"].received), 10)
        figures = await asyncio.to_thread(self.stack.call, call)
        self.assertEqual((figures["media"]["device"], figures["media"]["handoff"]), ("many-1", "sealed"))
        # What the losers sent was never relayed: the caller got no more than the winner sent.
        self.assertLessEqual(figures["media"]["caller"]["tx_pkts"], media["many-1"].seq - 1000)
        for name in keys:
            media[name].close()
            await phones[name].close()

    async def test_keys_that_were_taken_are_nowhere_in_the_gateways_memory(self):
        name = "erased"
        token = self.register(name, "transfer")
        caller = self.caller(name, "--duration-ms", str(1500 * SLOW))
        phone, call = await self.woken(name, token)
        handoff = await self.handoff(phone)
        keys = [base64.b64decode(handoff[k]) for k in ("rx", "tx")]
        needles = [k[:16] for k in keys] + [handoff[k][:20].encode() for k in ("rx", "tx")]
        media = KeyedMedia(handoff)
        self.assertTrue(await asyncio.to_thread(media.path))
        self.assertTrue(await asyncio.to_thread(self.in_memory, needles))  # the search finds what is there
        await phone.say("keys_taken", call=call)
        await phone.say("answer", call=call)
        await asyncio.to_thread(self.stack.wait_state, call, "answered", "active")
        await asyncio.to_thread(media.talk, 0.5)
        self.assertEqual(await asyncio.to_thread(self.in_memory, needles), [])
        await asyncio.to_thread(media.talk, 1.5 * SLOW)
        out, err = await asyncio.to_thread(caller.communicate)
        self.assertEqual(caller.returncode, 0, err)
        media.close()
        await phone.close()

    def in_memory(self, needles):
        """Which of these bytes stand in the gateway's writable memory, and where."""
        pid, found = self.stack.gateway.process.pid, []
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
            for line in maps:
                span, rights, _, _, _, *name = line.split()
                start, end = (int(x, 16) for x in span.split("-"))
                if not rights.startswith("rw") or end - start > 1 << 30:  # the sanitizers' shadow
                    continue
                try:
                    mem.seek(start)
                    data = mem.read(end - start)
                except OSError:
                    continue
                found += [(n, name, hex(start + data.index(n))) for n in needles if n in data]
        return found

    async def test_aiortc_takes_the_handoff_with_dtls(self):
        name = "dtls-foreign"
        token = self.register(name, "dtls")
        caller = self.caller(name)
        phone, call = await self.woken(name, token)
        handoff = await self.handoff(phone)
        self.assertEqual(handoff["mode"], "dtls")
        self.assertIn("UDP/TLS/RTP/SAVPF", handoff["sdp"])
        self.assertIn("a=setup:actpass", handoff["sdp"])
        self.assertNotIn("rx", handoff)
        peer = Caller("actpass")
        await peer.pc.setRemoteDescription(RTCSessionDescription(handoff["sdp"], "offer"))
        await peer.pc.setLocalDescription(await peer.pc.createAnswer())
        await phone.say("answer", call=call, sdp=peer.pc.localDescription.sdp)
        await peer.hears(440)
        out, err = await asyncio.to_thread(caller.communicate)
        self.assertEqual(caller.returncode, 0, err)
        self.assertGreater(json.loads(out)["rx_pkts"], 10)
        self.assertEqual((await phone.hear("ended"))["reason"], "completed")
        await peer.pc.close()
        await phone.close()

    async def test_the_answer_may_come_before_the_sdp(self):
        name = "dtls-late"
        token = self.register(name, "dtls")
        caller = self.caller(name)
        phone, call = await self.woken(name, token)
        handoff = await self.handoff(phone)
        await phone.say("answer", call=call)
        await phone.say("media", call=call, sdp="v=0\r\nrubbish")
        self.assertEqual((await phone.hear("error"))["code"], "bad_sdp")
        peer = Caller("actpass")
        await peer.pc.setRemoteDescription(RTCSessionDescription(handoff["sdp"], "offer"))
        await peer.pc.setLocalDescription(await peer.pc.createAnswer())
        await phone.say("media", call=call, sdp=peer.pc.localDescription.sdp)
        await peer.hears(440)
        out, err = await asyncio.to_thread(caller.communicate)
        self.assertEqual(caller.returncode, 0, err)
        await peer.pc.close()
        await phone.close()


if __name__ == "__main__":
    unittest.main()
