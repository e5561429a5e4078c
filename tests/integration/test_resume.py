# SPDX-License-Identifier: Apache-2.0
"""A phone whose network changes: its connection is cut, or goes dead without a word, at every stage of a call. It attaches
again from another address, and neither the call nor a word about it is lost."""
import asyncio
import contextlib
import hashlib
import os
import re
import socket
import subprocess
import time
import unittest
import uuid

from harness import BIN, SLOW, Stack, free_port, wait_for
from test_attach import Phone
from test_foreign_phone import ForeignPhoneTest, KeyedMedia

ELSEWHERE = "127.0.0.2"  # the address in the other network
# Of the gateway: a ping follows what is sent, and is waited for so long; a silent connection is asked, and given up.
ANSWER_S, IDLE_S = 10, 40
FAREWELL_S = 30  # a connection by token is closed so long after its call's end
PHONE_IDLE_S = 25  # wakegate-phone gives a silent gateway up


class Link:
    """The way to the gateway through the first network. A proxy: TCP on the gateway's side does not notice that the phone is
    not there any more."""

    def __init__(self, api_port, port=None):
        self.api_port, self.port, self.dead, self.writers, self.server = api_port, port or free_port(), False, [], None

    async def open(self):
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", self.port)
        return self

    async def accept(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.api_port)
        self.writers += [writer, far_writer]
        await asyncio.gather(self.pump(reader, far_writer), self.pump(far_reader, writer))

    async def pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not self.dead:
                    writer.write(data)
                    await writer.drain()

    def lose(self, how):
        if how == "dead":
            self.dead = True
        else:
            self.close()

    def close(self):
        for writer in self.writers:
            writer.transport.abort()
        self.server.close()


class ResumeTest(ForeignPhoneTest):
    async def link(self, port=None):
        link = await Link(self.stack.api_port, port).open()
        self.addCleanup(link.close)
        return link

    def enrol(self, name, mode="sdes", user=None):
        """A device's secret."""
        token = hashlib.sha256(name.encode()).hexdigest()
        self.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
        made = self.stack.put(f"/v1/devices/{name}", {"user": user or name, "app": "vcs", "token": token, "handoff": [mode]})
        self.assertEqual(made.status, 201, made)
        return made.json["device_secret"]

    def place(self, user, **more):
        made = self.stack.post("/v1/calls", {"callee": user, **more})
        self.assertEqual(made.status, 201, made)
        return made.json["id"]

    async def quiet(self, phone):
        """All that the gateway sent has come, and it knows that: its pings are answered in their order."""
        for _ in range(3):
            await (await phone.ws.ping())
        await phone.silent(0.2)

    async def eventually(self, probe, timeout_s=10, what=lambda: "it never came to that"):
        return await asyncio.to_thread(wait_for, probe, timeout_s, what)


class Stages(ResumeTest):
    STAGES = ("told", "ringing", "answered", "active")

    async def advance(self, phone, push, stage):
        """The phone does all that comes before this stage's end; the gateway knows."""
        call = push["call"]
        if stage == "told":
            return
        await phone.say("receipt", call=call, push=push["push"], must_report=True, app_state="background", on_call=False,
                        received_at=int(time.time() * 1000), reported="callkit")
        await phone.say("ringing", call=call)
        await self.eventually(lambda: "ringing" in self.events(call))
        if stage == "ringing":
            return
        await phone.say("answer", call=call)
        await self.eventually(lambda: self.stack.call(call)["state"] != "ringing")

    def events(self, call):
        return [e["event"] for e in self.stack.timeline(call)]

    async def until_active(self, call, media):
        async def talk():
            while self.events(call).count("active") == 0:
                await asyncio.to_thread(media.talk, 0.2)
        await asyncio.wait_for(talk(), 20 * SLOW)

    async def lose_and_return(self, stage, how, by, mode):
        name = f"{stage}-{how}-{by}-{mode}"
        secret = self.enrol(name, mode)
        caller = subprocess.Popen([os.path.join(BIN, "wakegate-caller"), "--api", self.stack.url, "--api-token-file",
                                   self.stack.path("token"), "--callee", name, "--expect-tone", "0", "--json", "--hangup",
                                   "never"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(caller.communicate)
        self.addCleanup(caller.kill)
        push = await self.push(hashlib.sha256(name.encode()).hexdigest())
        call = push["call"]
        proof = {"secret": secret} if by == "secret" else {"token": push["token"], "call": call}
        link = await self.link()
        phone = await Phone(self.stack, name).dial(at=(link.port, None), app_state="background", **proof)
        handoff = await self.handoff(phone)
        media = KeyedMedia(handoff)
        self.addCleanup(media.close)
        await self.advance(phone, push, stage)
        if stage == "active":
            self.assertTrue(await asyncio.to_thread(media.path))
            await phone.say("keys_taken", call=call)
            await self.until_active(call, media)
        link.lose(how)
        if how == "dead":  # what it says now is lost, too
            await phone.say("ringing" if stage == "told" else "hangup", call=call)

        again = await Phone(self.stack, name).dial(at=(self.stack.api_port, ELSEWHERE), app_state="background", **proof)
        self.assertEqual((await again.hear())["type"], "welcome")
        told = await again.hear()
        self.assertEqual((told["type"], told["call"]), ("call", call))
        self.assertEqual(told["state"], stage if stage in ("answered", "active") else "ringing")
        media.socket.close()
        media.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        media.socket.bind((ELSEWHERE, 0))
        media.socket.settimeout(0.05)
        before = len(media.received)
        if stage == "active":
            self.assertNotIn("handoff", told)
        else:  # the same keys, until it says that it has them
            self.assertEqual([told["handoff"][k] for k in ("mode", "rx", "tx", "ice")],
                             [handoff[k] for k in ("mode", "rx", "tx", "ice")])
        await self.quiet(again)
        # It cannot know what arrived, and says all of it again: nothing of that is refused.
        await self.advance(again, push, "answered")
        await again.say("keys_taken", call=call)
        self.assertTrue(await asyncio.to_thread(media.path))
        await self.until_active(call, media)
        sent = (await asyncio.to_thread(self.stack.call, call))["media"]["caller"]["tx_pkts"]
        await asyncio.to_thread(media.talk, 0.5)
        self.assertGreater(len(media.received), before + 5)
        await self.eventually(lambda: self.stack.call(call)["media"]["caller"]["tx_pkts"] > sent + 5)
        await self.quiet(again)
        await again.say("hangup", call=call)
        self.assertEqual(await again.hear(), {"type": "ended", "call": call, "reason": "completed"})
        await self.eventually(lambda: caller.poll() is not None)
        self.assertEqual(caller.returncode, 0, caller.stderr.read())
        for event in ("answered", "keys_taken", "active", "ended"):
            self.assertEqual(self.events(call).count(event), 1, event)
        await again.close()

    async def everyhow(self, stage):
        await asyncio.gather(*(self.lose_and_return(stage, how, by, mode) for how, by, mode in
                               [("cut", "token", "sdes"), ("dead", "secret", "sdes"), ("cut", "secret", "transfer"),
                                ("dead", "token", "transfer")]))

    async def test_before_the_receipt(self):
        await self.everyhow("told")

    async def test_after_ringing(self):
        await self.everyhow("ringing")

    async def test_after_the_answer_and_before_the_keys_were_taken(self):
        await self.everyhow("answered")

    async def test_while_media_flows(self):
        await self.everyhow("active")

    async def test_media_goes_on_while_the_secret_changes(self):
        name = "rotated"
        self.enrol(name)
        caller = self.caller(name, "--duration-ms", str(6000 * SLOW))
        self.addCleanup(caller.communicate)
        self.addCleanup(caller.kill)
        push = await self.push(hashlib.sha256(name.encode()).hexdigest())
        call = push["call"]
        phone = await Phone(self.stack, name).dial(token=push["token"], call=call, app_state="background")
        media = KeyedMedia(await self.handoff(phone))
        self.addCleanup(media.close)
        await self.advance(phone, push, "answered")
        await phone.say("keys_taken", call=call)
        self.assertTrue(await asyncio.to_thread(media.path))
        await self.until_active(call, media)
        new = self.stack.put(f"/v1/devices/{name}", {"rotate_secret": True}).json["device_secret"]
        self.assertEqual((await phone.hear("error"))["code"], "revoked")
        self.assertEqual(await phone.closed(), 4403)
        before = len(media.received)
        await asyncio.to_thread(media.talk, 0.5)
        self.assertGreater(len(media.received), before + 5)
        again = await Phone(self.stack, name).dial(secret=new, app_state="background", on_call=True)
        self.assertEqual((await again.hear("call"))["state"], "active")
        await again.say("hangup", call=call)
        self.assertEqual((await again.hear("ended"))["reason"], "completed")
        await again.close()


class Missed(ResumeTest):
    def setUp(self):
        self.user = "u-" + uuid.uuid4().hex[:8]

    async def away(self, how, device=None):
        """A phone that heard of a call and then lost its network."""
        device = device or self.user
        secret = self.enrol(device, user=self.user)
        link = await self.link()
        phone = await Phone(self.stack, device).dial(at=(link.port, None), secret=secret, app_state="foreground")
        await phone.hear("welcome")
        return device, secret, link, phone

    async def back(self, device, secret, **more):
        phone = await Phone(self.stack, device).dial(at=(self.stack.api_port, ELSEWHERE), secret=secret,
                                                     app_state="foreground", **more)
        self.assertEqual((await phone.hear())["type"], "welcome")
        return phone

    async def test_an_end_that_was_missed_is_told_once(self):
        for how in ("cut", "dead"):
            with self.subTest(how=how):
                self.setUp()
                device, secret, link, phone = await self.away(how)
                call = self.place(self.user)
                await phone.hear("call")
                link.lose(how)
                self.stack.delete(f"/v1/calls/{call}")
                ended = {"type": "ended", "call": call, "reason": "cancelled"}
                again = await self.back(device, secret)
                self.assertEqual(await again.hear(), ended)
                await self.quiet(again)
                await again.close()
                third = await self.back(device, secret)
                await self.quiet(third)
                # Whoever asks is told again.
                await third.close()
                asking = await self.back(device, secret, call=call)
                told = await asking.hear()
                self.assertEqual((told["type"], told["call"], told["state"]), ("call", call, "ended"))
                self.assertEqual(await asking.hear(), ended)
                await self.quiet(asking)
                await asking.close()

    async def test_an_answer_elsewhere_that_was_missed_is_told(self):
        for how in ("cut", "dead"):
            with self.subTest(how=how):
                self.setUp()
                device, secret, link, phone = await self.away(how, self.user + "-a")
                other = self.user + "-b"
                other_secret = self.enrol(other, user=self.user)
                winner = await self.back(other, other_secret)
                call = self.place(self.user)
                await phone.hear("call")
                await winner.hear("call")
                link.lose(how)
                await winner.say("answer", call=call)
                await asyncio.to_thread(self.stack.wait_state, call, "answered")
                again = await self.back(device, secret)
                self.assertEqual(await again.hear(), {"type": "answered_elsewhere", "call": call})
                await self.quiet(again)
                self.assertEqual(self.stack.call(call)["state"], "answered")
                await again.close()
                await winner.close()

    async def test_a_call_that_is_not_the_devices(self):
        device, secret, _, phone = await self.away("cut")
        other = self.user + "-other"
        self.enrol(other, user=other)
        for call in (self.place(other), str(uuid.uuid4()), "nonsense"):
            again = await self.back(device, secret, call=call)
            self.assertEqual((await again.hear())["code"], "unknown_call")
            await self.quiet(again)
            await again.close()
        self.assertEqual((await phone.hear("error"))["code"], "replaced")

    async def test_a_ring_over_a_dead_connection_becomes_a_push(self):
        """Behind a proxy, only the phone's own answer shows that it is there."""
        device, _, link, _ = await self.away("dead")
        link.lose("dead")
        began = time.monotonic()
        call = self.place(self.user)
        self.assertEqual(self.stack.call(call)["devices"][0]["delivery"], "connection")
        token = hashlib.sha256(device.encode()).hexdigest()
        [push] = await self.eventually(lambda: [r["payload"]["wakegate"] for r in self.stack.journal() if r["token"] == token],
                                       ANSWER_S + 10)
        self.assertGreater(time.monotonic() - began, ANSWER_S - 1)
        phone = await Phone(self.stack, device).dial(token=push["token"], call=call, app_state="background")
        self.assertEqual((await phone.hear("call"))["state"], "ringing")
        await phone.say("answer", call=call)
        await asyncio.to_thread(self.stack.wait_state, call, "answered")
        await phone.close()


class Dead(ResumeTest):
    """A connection that says nothing any more is found out, by both sides; what it was part of goes on."""
    public_port = free_port()
    stack_options = {"PUBLIC_URL": f"http://127.0.0.1:{public_port}"}

    async def test_a_silent_connection_is_asked_and_given_up(self):
        await asyncio.gather(self.the_gateway_gives_up(), self.the_phone_gives_up(), self.a_call_is_long_over())

    async def a_call_is_long_over(self):
        """Not dead, but of no use any more: what came for one call."""
        self.enrol("over")
        call = self.place("over")
        push = await self.push(hashlib.sha256(b"over").hexdigest())
        phone = await Phone(self.stack, "over").dial(token=push["token"], app_state="background")
        await phone.hear("call")
        self.stack.delete(f"/v1/calls/{call}")
        await phone.hear("ended")
        began = time.monotonic()
        self.assertEqual((await phone.hear("error", FAREWELL_S + 10))["code"], "call_over")
        self.assertGreater(time.monotonic() - began, FAREWELL_S - 2)
        self.assertEqual(await phone.closed(), 4410)

    async def the_phone_gives_up(self):
        """Our own, whose pushes name the address of the link."""
        link = await self.link(self.public_port)
        phone = await asyncio.to_thread(self.stack.start_phone, "asking", "asking", handoff="sdes", answer_ms=0)
        call = self.place("asking")
        await asyncio.to_thread(self.stack.wait_state, call, "answered")
        link.lose("dead")
        lost = await asyncio.to_thread(phone.wait_event, "connection_lost", PHONE_IDLE_S + 15)
        self.assertEqual(lost["call"], call)
        self.assertEqual(self.stack.call(call)["state"], "answered")

    async def the_gateway_gives_up(self):
        secret = self.enrol("silent")
        link = await self.link()
        phone = await Phone(self.stack, "silent").dial(at=(link.port, None), secret=secret, app_state="foreground")
        alive = await Phone(self.stack, "alive").dial(secret=self.enrol("alive"), app_state="foreground")
        await alive.hear("welcome")
        await phone.hear("welcome")
        call = self.place("silent")
        await phone.hear("call")
        await phone.say("answer", call=call)
        await self.eventually(lambda: self.stack.call(call)["state"] == "answered")
        await self.quiet(phone)
        def detached():
            return re.search(r'event="phone detached" device=silent ', self.stack.gateway.log())
        self.assertFalse(detached())
        link.lose("dead")
        await self.eventually(detached, IDLE_S + 15)
        self.assertEqual(self.stack.call(call)["state"], "answered")
        again = await Phone(self.stack, "silent").dial(secret=secret, app_state="foreground", on_call=True)
        self.assertEqual((await again.hear("call"))["state"], "answered")
        await self.quiet(alive)  # who answers pings stays
        await again.close()
        await alive.close()


class Restarted(unittest.IsolatedAsyncioTestCase):
    async def test_the_store_answers_for_a_call_that_memory_has_forgotten(self):
        stack = Stack()
        self.addCleanup(stack.close)
        token = hashlib.sha256(b"d").hexdigest()
        stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
        secrets = {name: stack.put(f"/v1/devices/{name}", {"user": name, "app": "vcs", "token": token}).json["device_secret"]
                   for name in ("d", "other")}
        call = stack.post("/v1/calls", {"callee": "d"}).json["id"]
        self.assertEqual(stack.delete(f"/v1/calls/{call}").status, 204)
        stack.gateway.stop()
        stack.gateway = stack.start_gateway()
        phone = await Phone(stack, "d").dial(secret=secrets["d"], call=call.upper(), app_state="foreground")
        await phone.hear("welcome")
        self.assertEqual(await phone.hear(), {"type": "ended", "call": call, "reason": "cancelled"})
        await phone.close()
        other = await Phone(stack, "other").dial(secret=secrets["other"], call=call, app_state="foreground")
        self.assertEqual((await other.hear("error"))["code"], "unknown_call")
        await other.close()


if __name__ == "__main__":
    unittest.main()
