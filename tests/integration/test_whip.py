# SPDX-License-Identifier: Apache-2.0
"""WHIP clients that know RFC 9725 and nothing of wakegate: one on aiortc's ICE, DTLS and SRTP, one on GStreamer's webrtcbin.
ICE restarts are done with aiortc's own socket, and from another one with STUN by hand."""
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import unittest
from urllib.parse import urljoin, urlsplit

from harness import ROOT, SLOW, StackTest
from test_aiortc import CALLER_HZ, PHONE_HZ, Caller
from test_foreign_phone import binding_request

NEW_UFRAG, NEW_PWD = "ysXw", "vw5LmwG4y/e6dPP/zAP9Gp5k"


def attribute(sdp, name):
    return re.search(rf"^a={name}:(\S+)\r?$", sdp, re.M).group(1)


class WhipClient(Caller):
    """`url` is all that it is told."""

    def __init__(self, stack, url, setup="actpass"):
        super().__init__(setup)
        self.stack, self.url, self.session, self.etag, self.offered = stack, url, None, None, None

    def http(self, method, url, body=None, **headers):
        target = urlsplit(url)
        return self.stack.request(method, target.path + (f"?{target.query}" if target.query else ""), body, headers=headers)

    async def publish(self, trickle=False, **headers):
        """POST, and the answer into the peer connection. trickle: the candidates come later."""
        self.offered = await self.offer()
        body = re.sub(r"a=(candidate:|end-of-candidates).*\r\n", "", self.offered) if trickle else self.offered
        made = await asyncio.to_thread(self.http, "POST", self.url, body.encode(),
                                       **{"Content-Type": "application/sdp", **headers})
        if made.status == 201:
            self.session, self.etag = urljoin(self.url, made.headers["location"]), made.headers["etag"]
            await self.take(made.text)
        return made

    def patch(self, body, if_match):
        return self.http("PATCH", self.session, body.encode(), **{"Content-Type": "application/trickle-ice-sdpfrag",
                                                                  "If-Match": if_match})

    def credentials(self):
        return f"a=ice-ufrag:{attribute(self.offered, 'ice-ufrag')}\r\na=ice-pwd:{attribute(self.offered, 'ice-pwd')}\r\n"

    def trickle(self):
        candidates = "".join(re.findall(r"a=candidate:.*\r\n", self.offered))
        return self.patch(f"{self.credentials()}m=audio 9 RTP/AVP 0\r\na=mid:{attribute(self.offered, 'mid')}\r\n{candidates}"
                          "a=end-of-candidates\r\n", self.etag)

    def restart(self, ufrag, pwd):
        """What the gateway's checks are made with from now on, as a handoff object has it."""
        reply = self.patch(f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n", "*")
        assert reply.status == 200, reply
        assert reply.headers["content-type"] == "application/trickle-ice-sdpfrag", reply
        self.etag = reply.headers["etag"]
        return {"ufrag": attribute(reply.text, "ice-ufrag"), "pwd": attribute(reply.text, "ice-pwd"), "remote_ufrag": ufrag}

    async def nominate(self, ice, ufrag, pwd):
        """ICE restart of aiortc, which knows none: other credentials, and a nomination on the pair that there is."""
        connection = self.pc.getTransceivers()[0].sender.transport.transport._connection
        connection.local_username, connection.local_password = ufrag, pwd
        connection.remote_username, connection.remote_password = ice["ufrag"], ice["pwd"]
        [pair] = connection._nominated.values()
        await asyncio.wait_for(pair.protocol.request(connection.build_request(pair, nominate=True), pair.remote_addr,
                                                     integrity_key=ice["pwd"].encode()), 5 * SLOW)

    async def hears_again(self, hz):
        self.heard = self.heard[:0]
        await self.hears(hz)

    async def end(self):
        return await asyncio.to_thread(self.http, "DELETE", self.session)


class OtherNetwork:
    """A socket that takes the caller's media over: nothing but ICE is needed for that."""

    def __init__(self, stack):
        self.to, self.socket = ("127.0.0.1", stack.media_port), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(0.5 * SLOW)

    def check(self, ice, tries=1):
        """Nominate; True when the gateway answers."""
        for _ in range(tries):
            self.socket.sendto(binding_request(ice, b"whip-restart"), self.to)
            try:
                while True:
                    if self.socket.recv(2048)[:2] == b"\x01\x01":
                        return True
            except socket.timeout:
                pass
        return False

    def next_packets(self, count):
        """Their RTP sequence numbers."""
        found = []
        while len(found) < count:
            data = self.socket.recv(2048)
            if 128 <= data[0] <= 191 and not 192 <= data[1] <= 223:
                found.append(int.from_bytes(data[2:4], "big"))
        return found

    def close(self):
        self.socket.close()


class Whip(StackTest, unittest.IsolatedAsyncioTestCase):
    def phone(self, name, mode, **more):
        return self.stack.start_phone(device=f"phone-{name}", user=name, handoff=mode, tone=PHONE_HZ,
                                      expect_tone=CALLER_HZ, **more)

    def client(self, name, query="", **more):
        client = WhipClient(self.stack, f"{self.stack.url}/v1/whip/{name}{query}", **more)
        self.addAsyncCleanup(client.pc.close)
        return client

    def id_of(self, client):
        return client.session.rsplit("/", 1)[1]

    async def call(self, name, mode, **more):
        phone, client = self.phone(name, mode), self.client(name)
        made = await client.publish(**more)
        self.assertEqual(made.status, 201, made)
        await client.hears(PHONE_HZ)
        await asyncio.to_thread(self.stack.wait_state, self.id_of(client), "active")
        return phone, client

    async def test_a_call_in_every_mode(self):
        for mode in ["transfer", "dtls", "sdes"]:
            with self.subTest(mode=mode):
                phone = self.phone(f"every-{mode}", mode)
                client = self.client(f"every-{mode}", "?handle=%2B15550100&name=Ward%203")
                made = await client.publish(trickle=True)
                self.assertEqual((made.status, made.headers["content-type"]), (201, "application/sdp"), made)
                self.assertIn("a=sendrecv", made.text)
                self.assertEqual((await asyncio.to_thread(client.trickle)).status, 204)
                await client.hears(PHONE_HZ)
                await asyncio.sleep(1)  # the phone's meter needs half a second, too
                call = self.stack.call(self.id_of(client))
                self.assertEqual(call["state"], "active")
                self.assertEqual(call["caller"], {"handle": "+15550100", "name": "Ward 3"})
                self.assertEqual((call["media"]["handoff"], call["video"]), (mode, False))
                self.assertEqual((await client.end()).status, 200)
                over = phone.wait_event("call_over")
                self.assertTrue(over["heard_expected"], over)
                ended = self.stack.call(self.id_of(client))
                self.assertEqual((ended["state"], ended["reason"]), ("ended", "completed"))
                self.problem(await client.end(), 404, "not-found")
                self.problem(await asyncio.to_thread(client.trickle), 404, "not-found")
                await client.pc.close()
                phone.stop()

    def test_gstreamer_calls_by_whip(self):
        phone = self.phone("gstreamer", "sdes")
        done = subprocess.run([sys.executable, os.path.join(ROOT, "tests", "integration", "whip_gstreamer.py"),
                               f"{self.stack.url}/v1/whip/gstreamer", self.stack.token, str(4 * SLOW), str(CALLER_HZ)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        said = json.loads(done.stdout)
        self.assertLess(abs(said["heard_hz"] - PHONE_HZ), 8)
        self.assertGreater(said["trickled"], 0)
        self.assertEqual(said["deleted"], 200)
        self.assertTrue(phone.wait_event("call_over")["heard_expected"])
        self.assertEqual(self.stack.call(said["session"].rsplit("/", 1)[1])["reason"], "completed")
        phone.stop()

    async def test_who_only_sends_is_answered_so(self):
        phone, client = self.phone("sendonly", "sdes"), self.client("sendonly")
        client.pc.getTransceivers()[0].direction = "sendonly"
        made = await client.publish()
        self.assertEqual(made.status, 201, made)
        self.assertIn("a=recvonly", made.text)
        self.assertNotIn("a=sendrecv", made.text)
        await asyncio.to_thread(self.stack.wait_state, self.id_of(client), "active")
        await asyncio.sleep(1.5)
        call = self.stack.call(self.id_of(client))
        self.assertTrue(call["caller"]["handle"])  # the token's name
        await client.end()
        self.assertTrue(phone.wait_event("call_over")["heard_expected"])
        await client.pc.close()
        phone.stop()

    async def test_an_ice_restart_takes_the_media_along(self):
        for mode in ["transfer", "dtls"]:
            with self.subTest(mode=mode):
                phone, client = await self.call(f"restart-{mode}", mode)
                first = client.etag
                other, stale = OtherNetwork(self.stack), OtherNetwork(self.stack)
                ice = await asyncio.to_thread(client.restart, NEW_UFRAG, NEW_PWD)
                self.assertNotEqual(client.etag, first)
                self.problem(await asyncio.to_thread(client.patch, "a=end-of-candidates\r\n", first), 412,
                             "precondition-failed", "if-match")
                await client.hears_again(PHONE_HZ)  # on the old path, until the new one is nominated
                self.assertTrue(await asyncio.to_thread(other.check, ice, 10))
                moved = await asyncio.to_thread(other.next_packets, 10)
                self.assertEqual(moved, [(moved[0] + i) & 0xffff for i in range(10)])
                old = {"ufrag": attribute(client.pc.remoteDescription.sdp, "ice-ufrag"),
                       "pwd": attribute(client.pc.remoteDescription.sdp, "ice-pwd"),
                       "remote_ufrag": attribute(client.offered, "ice-ufrag")}
                self.assertFalse(await asyncio.to_thread(stale.check, old))
                back = await asyncio.to_thread(client.restart, "back", NEW_PWD[::-1])
                self.assertNotEqual((back["ufrag"], back["pwd"]), (ice["ufrag"], ice["pwd"]))
                await client.nominate(back, "back", NEW_PWD[::-1])
                await client.hears_again(PHONE_HZ)
                events = [e["event"] for e in self.stack.timeline(self.id_of(client))]
                self.assertEqual(events.count("caller_dtls"), 1)
                self.assertEqual(events.count("caller_ice"), 3)
                self.assertEqual(events.count("caller_ice_restart"), 2)
                await client.end()
                over = await asyncio.to_thread(phone.wait_event, "call_over")
                self.assertTrue(over["heard_expected"], over)
                await client.pc.close()
                phone.stop()
                other.close()
                stale.close()

    async def test_a_restart_whose_answer_got_lost_is_the_same_again(self):
        phone, client = await self.call("lost", "sdes")
        ice = await asyncio.to_thread(client.restart, NEW_UFRAG, NEW_PWD)
        tag = client.etag
        self.assertEqual(await asyncio.to_thread(client.restart, NEW_UFRAG, NEW_PWD), ice)
        self.assertEqual(client.etag, tag)
        await client.nominate(ice, NEW_UFRAG, NEW_PWD)
        await client.hears_again(PHONE_HZ)
        await client.end()
        await client.pc.close()
        phone.stop()

    async def test_a_call_of_the_rest_api_restarts_ice_too(self):
        phone, client = self.phone("rest", "sdes"), self.client("rest")
        client.offered = await client.offer()
        made = await asyncio.to_thread(self.stack.post, "/v1/calls", {"callee": "rest", "offer": client.offered})
        client.session = f"{self.stack.url}/v1/whip/calls/{made.json['id']}"
        await client.take(made.json["answer"])
        await client.hears(PHONE_HZ)
        ice = await asyncio.to_thread(client.restart, NEW_UFRAG, NEW_PWD)
        await client.nominate(ice, NEW_UFRAG, NEW_PWD)
        await client.hears_again(PHONE_HZ)
        self.assertEqual(self.stack.delete(f"/v1/calls/{made.json['id']}").status, 204)
        self.problem(await client.end(), 404, "not-found")
        await client.pc.close()
        phone.stop()

    async def test_a_call_without_media_is_no_session(self):
        token = "ce" * 32
        self.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
        self.stack.put("/v1/devices/ring-only", {"user": "ring-only", "app": "vcs", "token": token})
        made = self.stack.post("/v1/calls", {"callee": "ring-only"})
        self.problem(self.stack.delete(f"/v1/whip/calls/{made.json['id']}"), 404, "not-found")
        self.assertEqual(self.stack.call(made.json["id"])["state"], "ringing")

    async def test_a_repeated_post_is_the_same_call(self):
        phone, client = self.phone("again", "sdes"), self.client("again")
        made = await client.publish(**{"Idempotency-Key": "again"})
        again = await asyncio.to_thread(client.http, "POST", client.url, client.offered.encode(),
                                        **{"Content-Type": "application/sdp; charset=utf-8", "Idempotency-Key": "again"})
        for name in ["location", "etag", "content-type"]:
            self.assertEqual(again.headers[name], made.headers[name])
        self.assertEqual((again.status, again.text), (201, made.text))
        await client.hears(PHONE_HZ)
        pushes = [r for r in self.stack.journal() if (r["payload"] or {}).get("wakegate", {}).get("call") == self.id_of(client)]
        self.assertEqual(len(pushes), 1)
        await client.end()
        await client.pc.close()
        phone.stop()

    async def test_the_callers_close_ends_the_session(self):
        phone, client = await self.call("closes", "dtls")
        await client.pc.close()
        await asyncio.to_thread(self.stack.wait_state, self.id_of(client), "ended")
        self.problem(await client.end(), 404, "not-found")
        phone.stop()

    def test_what_the_urls_can_do(self):
        endpoint, session = "/v1/whip/nurse-7", "/v1/whip/calls/5afa1219-9dd6-4a67-b34d-35c56865b49b"
        for path, allow in [(endpoint, "POST, OPTIONS"), (session, "PATCH, DELETE, OPTIONS")]:
            for method in ["GET", "HEAD", "PUT"] + (["PATCH", "DELETE"] if path == endpoint else ["POST"]):
                reply = self.stack.request(method, path, b"" if method in ("PUT", "PATCH", "POST") else None)
                self.assertEqual((reply.status, reply.headers["allow"]), (405, allow), (method, path))
            options = self.stack.request("OPTIONS", path, token=None)
            self.assertEqual((options.status, options.headers["allow"]), (200, allow))
        self.assertEqual(self.stack.request("OPTIONS", endpoint, token=None).headers["accept-post"], "application/sdp")


if __name__ == "__main__":
    unittest.main()
