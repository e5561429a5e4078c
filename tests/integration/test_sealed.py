# SPDX-License-Identifier: Apache-2.0
"""Mode sealed with the simulated phone, and what becomes of calls whose keys cannot be in the push."""
import asyncio
import hashlib
import json
import unittest
import uuid

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from harness import SLOW, StackTest, wait_for
from test_attach import Phone
from test_foreign_phone import base64url, raw, unseal

FINGERPRINT = "sha-256 " + ":".join(["AB"] * 32)


def offer(sections):
    """One of a caller that never comes. sections: kind, payload types, more lines."""
    mids = range(len(sections))
    text = ("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE " + " ".join(map(str, mids)) +
            f"\r\na=ice-ufrag:abcd\r\na=ice-pwd:{'p' * 22}\r\na=fingerprint:{FINGERPRINT}\r\na=setup:actpass\r\n")
    for mid, (kind, payload_types, lines) in zip(mids, sections):
        text += f"m={kind} 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, payload_types))}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\n"
        text += "a=rtcp-mux\r\na=sendrecv\r\n" + "".join(f"a={line}\r\n" for line in lines)
    return text


AUDIO = ("audio", [111, 0, 8, 110], ["rtpmap:111 opus/48000/2", "fmtp:111 minptime=10;useinbandfec=1",
                                     "rtpmap:110 telephone-event/48000", "extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level"])


def video(codecs):
    """As browsers list them: each codec with its feedback, its retransmission and a long fmtp."""
    types, lines = [], []
    for i in range(codecs):
        pt = 35 + 2 * i
        types += [pt, pt + 1]
        lines += [f"rtpmap:{pt} H264/90000", f"rtcp-fb:{pt} goog-remb", f"rtcp-fb:{pt} transport-cc", f"rtcp-fb:{pt} ccm fir",
                  f"rtcp-fb:{pt} nack", f"rtcp-fb:{pt} nack pli",
                  f"fmtp:{pt} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e0{i:02x}",
                  f"rtpmap:{pt + 1} rtx/90000", f"fmtp:{pt + 1} apt={pt}"]
    return "video", types, lines


class Sealed(StackTest, unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.user = "u-" + uuid.uuid4().hex[:8]
        self.key = X25519PrivateKey.generate()
        self.token = hashlib.sha256(self.user.encode()).hexdigest()

    def ring(self, *caller_args, **phone_options):
        phone = self.stack.start_phone(device=self.user, user=self.user, **phone_options)
        return phone, self.place(*caller_args)

    def place(self, *caller_args, expect=0):
        status, out, err = self.stack.run_caller("--callee", self.user, "--json", "--duration-ms", 1500 * SLOW, *caller_args)
        self.assertEqual(status, expect, f"{out}\n{err}\n{self.stack.gateway.log()}")
        return self.stack.call(json.loads(out.splitlines()[-1])["id"])

    def order(self, call, *names):
        """These events are in the timeline, in this order."""
        events = [e["event"] for e in self.stack.timeline(call["id"])]
        self.assertEqual([e for e in events if e in names], list(names), events)

    def register(self, *modes, key=None):
        self.stack.control("PUT", f"/v1/devices/{self.token}", {"bundle_id": "com.example.vcs"})
        made = self.stack.put(f"/v1/devices/{self.user}", {
            "user": self.user, "app": "vcs", "token": self.token, "handoff": modes, "environment": "production",
            "sealing_key": base64url(key or raw(self.key.public_key()))})
        self.assertEqual(made.status, 201, made)

    def push(self, **call):
        """A call and its push."""
        made = self.stack.post("/v1/calls", {"callee": self.user, **call})
        self.assertEqual(made.status, 201, made)
        self.addCleanup(self.stack.delete, f"/v1/calls/{made.json['id']}")
        sent = wait_for(lambda: [r for r in self.stack.journal() if r["token"] == self.token])[-1]
        self.assertLessEqual(len(json.dumps(sent["payload"], separators=(",", ":"), ensure_ascii=False).encode()), 5120)
        return made.json, sent["payload"]

    async def attached(self, push):
        phone = await Phone(self.stack, self.user).dial(token=push["wakegate"]["token"], call=push["wakegate"]["call"],
                                                        app_state="background", on_call=False, os_version="26.4")
        return phone, await phone.hear("call")

    def test_the_path_is_there_before_the_connection(self):
        phone, call = self.ring(handoff="sealed", attach_ms=700 * SLOW)
        self.order(call, "keys_sealed", "phone_woken", "phone_path", "attached", "keys_taken", "answered", "active")
        self.assertEqual((call["media"]["handoff"], call["reason"]), ("sealed", "completed"))
        over = phone.wait_event("call_over", 15)
        self.assertTrue(over["heard_expected"], over)
        self.assertEqual([e["opened"] for e in phone.events("sealed")], [True])
        self.assertEqual(len(phone.events("handoff")), 1)
        phone.stop()

    def test_over_the_connection_alone(self):
        phone, call = self.ring(handoff="sealed", foreground=True)
        self.assertEqual(call["devices"][0]["delivery"], "connection")
        self.assertEqual((call["media"]["handoff"], phone.events("sealed")), ("sealed", []))
        self.assertTrue(phone.wait_event("call_over", 15)["heard_expected"])
        phone.stop()

    def test_a_phone_that_cannot_open_its_keys_gets_them_when_it_attaches(self):
        phone = self.stack.start_phone(device=self.user, user=self.user, handoff="sealed")
        mine = self.stack.put(f"/v1/devices/{self.user}", {"sealing_key": base64url(raw(self.key.public_key()))})
        self.assertEqual(mine.status, 200, mine)
        call = self.place()
        self.assertEqual([e["opened"] for e in phone.events("sealed")], [False])
        self.assertEqual(call["media"]["handoff"], "sealed")
        self.assertTrue(phone.wait_event("call_over", 15)["heard_expected"])
        self.order(call, "keys_sealed", "attached", "phone_path", "active")
        phone.stop()

    def test_several_phones_are_ready_and_the_quickest_one_has_the_call(self):
        slow = self.stack.start_phone(device=self.user + "-slow", user=self.user, handoff="sealed", answer_ms=5000 * SLOW)
        other = self.stack.start_phone(device=self.user + "-other", user=self.user, handoff="transfer", answer_ms=5000 * SLOW)
        quick = self.stack.start_phone(device=self.user + "-quick", user=self.user, handoff="sealed", answer_ms=600 * SLOW)
        call = self.place()
        self.assertEqual((call["media"]["device"], call["media"]["handoff"]), (self.user + "-quick", "sealed"))
        self.assertTrue(quick.wait_event("call_over", 15)["heard_expected"])
        over = slow.wait_event("call_over", 15)
        self.assertEqual((over["reason"], over["mode"], over["rx_pkts"]), ("answered_elsewhere", "sealed", 0))
        self.assertEqual(other.events("handoff"), [])
        paths = [e["device"] for e in self.stack.timeline(call["id"]) if e["event"] == "phone_path"]
        self.assertEqual(sorted(paths), [self.user + "-quick", self.user + "-slow"])
        for phone in (slow, other, quick):
            phone.stop()

    def test_a_phone_in_another_mode_may_answer_first(self):
        slow = self.stack.start_phone(device=self.user + "-slow", user=self.user, handoff="sealed", answer_ms=5000 * SLOW)
        quick = self.stack.start_phone(device=self.user + "-quick", user=self.user, handoff="dtls", answer_ms=600 * SLOW)
        call = self.place()
        self.assertEqual((call["media"]["device"], call["media"]["handoff"]), (self.user + "-quick", "dtls"))
        self.assertTrue(quick.wait_event("call_over", 15)["heard_expected"])
        self.assertEqual(slow.wait_event("call_over", 15)["rx_pkts"], 0)
        slow.stop()
        quick.stop()

    def test_a_phone_that_is_busy_leaves_the_media_to_the_other(self):
        busy = self.stack.start_phone(device=self.user + "-busy", user=self.user, handoff="sealed", habit="busy", answer_ms=200)
        other = self.stack.start_phone(device=self.user + "-other", user=self.user, handoff="sealed", answer_ms=1500 * SLOW)
        call = self.place()
        self.assertEqual(call["media"]["device"], self.user + "-other")
        self.assertTrue(other.wait_event("call_over", 15)["heard_expected"])
        busy.stop()
        other.stop()

    async def test_what_does_not_fit_of_the_description_comes_with_the_call(self):
        self.register("sealed")
        names = {"handle": "h" * 250, "name": "n" * 250}
        made, push = await asyncio.to_thread(self.push, offer=offer([AUDIO, video(20)]), caller=names,
                                             data={"x": "d" * 1500})
        brief = unseal(self.key, push["wakegate"], self.user)
        self.assertEqual(push["data"], {"x": "d" * 1500})
        self.assertGreaterEqual(len(push["wakegate"]["caller"]["name"]), 63)
        self.assertIn("m=audio", brief["sdp"])
        self.assertIn("m=video", brief["sdp"])
        self.assertEqual(brief["sdp"].count(f"inline:{brief['rx']}"), 2)
        phone, call = await self.attached(push)
        whole = call["handoff"]
        self.assertEqual({**whole, "sdp": ""}, {**brief, "sdp": ""})
        self.assertGreater(len(whole["sdp"]), 4 * len(brief["sdp"]))
        self.assertIn("telephone-event", whole["sdp"])
        await phone.close()

    async def test_keys_for_which_there_is_no_room_come_in_the_next_mode(self):
        self.register("sdes", "sealed")
        long = ("audio", [111], ["rtpmap:111 opus/48000/2", "fmtp:111 " + "x" * 4000])
        made, push = await asyncio.to_thread(self.push, offer=offer([long]))
        self.assertNotIn("sealed", push["wakegate"])
        told = [e for e in await asyncio.to_thread(self.stack.timeline, made["id"]) if e["event"] == "not_sealed"]
        self.assertEqual([(e["mode"], "no room" in e["reason"]) for e in told], [("sdes", True)])
        phone, call = await self.attached(push)
        self.assertEqual(call["handoff"]["mode"], "sdes")
        await phone.close()

    async def test_a_phone_that_can_do_nothing_else_gets_them_when_it_attaches(self):
        self.register("sealed")
        long = ("audio", [111], ["rtpmap:111 opus/48000/2", "fmtp:111 " + "x" * 4000])
        made, push = await asyncio.to_thread(self.push, offer=offer([long]))
        self.assertNotIn("sealed", push["wakegate"])
        phone, call = await self.attached(push)
        self.assertEqual(call["handoff"]["mode"], "sealed")
        await phone.close()

    async def test_a_key_that_is_no_point_of_the_curve_is_no_obstacle(self):
        self.register("sealed", "transfer", key=bytes(32))
        made, push = await asyncio.to_thread(self.push, offer=offer([AUDIO]))
        self.assertNotIn("sealed", push["wakegate"])
        self.assertEqual((await asyncio.to_thread(self.stack.call, made["id"]))["devices"][0]["handoff"], "transfer")

    async def test_without_an_offer_there_are_no_keys(self):
        self.register("sealed")
        made, push = await asyncio.to_thread(self.push)
        self.assertNotIn("sealed", push["wakegate"])
        self.assertNotIn("not_sealed", [e["event"] for e in await asyncio.to_thread(self.stack.timeline, made["id"])])
        phone, call = await self.attached(push)
        self.assertNotIn("handoff", call)
        await phone.close()

    async def test_keys_are_told_until_they_were_taken(self):
        self.register("sealed")
        _, push = await asyncio.to_thread(self.push, offer=offer([AUDIO]))
        phone, call = await self.attached(push)
        self.assertIn("handoff", call)
        await phone.close()
        phone, call = await self.attached(push)
        self.assertIn("handoff", call)
        await phone.hear("welcome")
        await phone.say("keys_taken", call=call["call"])
        await phone.say("keys_taken", call=call["call"])
        await phone.silent()
        await phone.close()
        phone, call = await self.attached(push)
        self.assertNotIn("handoff", call)
        await phone.close()


if __name__ == "__main__":
    unittest.main()
