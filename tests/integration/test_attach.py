# SPDX-License-Identifier: Apache-2.0
"""A phone written from design.md alone, on a foreign WebSocket stack: hello, receipts, answers, and every way to end."""
import asyncio
import contextlib
import hashlib
import json
import socket
import struct
import threading
import time
import unittest
import uuid

import websockets

from harness import SLOW, StackTest, wait_for


class Phone:
    """One WebSocket connection to /v1/attach."""

    def __init__(self, stack, device):
        self.stack, self.device, self.ws, self.inbox, self.data = stack, device, None, [], []

    async def dial(self, at=None, **hello):
        """at: (port of a proxy, own address)."""
        port, own = at or (self.stack.api_port, None)
        self.ws = await websockets.connect(f"ws://127.0.0.1:{port}/v1/attach", subprotocols=["wakegate.v1"],
                                           ping_interval=None, local_addr=(own, 0) if own else None)
        assert self.ws.subprotocol == "wakegate.v1"
        if hello:
            await self.say("hello", device=self.device, **hello)
        return self

    async def say(self, kind, **fields):
        await self.ws.send(json.dumps({"type": kind, **fields}))

    async def hear(self, kind=None, timeout_s=5):
        """The next message (of this type; others before it are put aside)."""
        until = time.monotonic() + timeout_s * SLOW
        while True:
            for i, m in enumerate(self.inbox):
                if kind is None or m["type"] == kind:
                    return self.inbox.pop(i)
            left = until - time.monotonic()
            assert left > 0, f"no {kind}; heard {self.inbox}"
            self.take(await asyncio.wait_for(self.ws.recv(), left))

    def take(self, frame):
        if isinstance(frame, bytes):
            self.data.append(frame)
        else:
            self.inbox.append(json.loads(frame))

    async def hear_data(self, timeout_s=5):
        """The next binary frame."""
        while not self.data:
            self.take(await asyncio.wait_for(self.ws.recv(), timeout_s * SLOW))
        return self.data.pop(0)

    async def silent(self, seconds=0.3):
        try:
            self.inbox.append(json.loads(await asyncio.wait_for(self.ws.recv(), seconds)))
        except asyncio.TimeoutError:
            pass
        assert not self.inbox, self.inbox

    async def closed(self):
        try:
            while True:
                self.inbox.append(json.loads(await asyncio.wait_for(self.ws.recv(), 5 * SLOW)))
        except websockets.ConnectionClosed:
            return self.ws.close_code

    async def close(self):
        await self.ws.close()


class DeafPhone:
    """A phone by hand (RFC 6455), which does not read until it is told to."""

    def __init__(self, stack, hello):
        self.enough = threading.Event()
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.settimeout(10 * SLOW)
        self.sock.connect(("127.0.0.1", stack.api_port))
        self.sock.sendall(b"GET /v1/attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                          b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                          b"Sec-WebSocket-Protocol: wakegate.v1\r\n\r\n")
        self.file = self.sock.makefile("rb")
        while self.file.readline() != b"\r\n":
            pass
        self.sock.sendall(self.frame(hello))

    @staticmethod
    def frame(message):
        """One text frame of less than 64 KiB, masked with zeros."""
        body = json.dumps(message).encode()
        return b"\x81\xfe" + struct.pack("!H", len(body)) + bytes(4) + body

    def say_until_closed(self, message):
        with contextlib.suppress(OSError):
            while not self.enough.is_set():
                self.sock.sendall(self.frame(message) * 20)

    def read_to_the_end(self):
        """The close frame's code and reason; None when TCP threw it away, as it does with what is on its way when the
        other end closes and has not read everything."""
        with contextlib.suppress(ConnectionResetError, ValueError, struct.error):
            while True:
                head, size = self.file.read(2)
                if size == 126:
                    [size] = struct.unpack("!H", self.file.read(2))
                body = self.file.read(size)
                if head & 15 == 8:
                    return struct.unpack("!H", body[:2])[0], body[2:].decode()
        return None

    def close(self):
        self.enough.set()
        self.file.close()
        self.sock.close()


class Attach(StackTest, unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.user = "u-" + uuid.uuid4().hex[:8]

    def register(self, device=None, handoff=("dtls",), **more):
        device = device or self.user + "-phone"
        token = hashlib.sha256(device.encode()).hexdigest()
        self.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
        made = self.stack.put(f"/v1/devices/{device}", {"user": self.user, "app": "vcs", "token": token,
                                                        "handoff": list(handoff), **more})
        self.assertIn(made.status, (200, 201), made)
        return device, made.json.get("device_secret")

    def place(self, **more):
        made = self.stack.post("/v1/calls", {"callee": self.user, "caller": {"handle": "h", "name": "n"}, **more})
        self.assertEqual(made.status, 201, made)
        return made.json

    def push(self, call, device):
        """The payload that APNs handed to the device."""
        token = hashlib.sha256(device.encode()).hexdigest()
        found = wait_for(lambda: [r["payload"]["wakegate"] for r in self.stack.journal()
                                  if r["token"] == token and r["payload"]["wakegate"]["call"] == call])
        self.assertEqual(len(found), 1)
        return found[0]

    async def wake(self, device, push, **hello):
        phone = await Phone(self.stack, device).dial(token=push["token"], call=push["call"], app_state="background",
                                                     on_call=False, os_version="26.4", **hello)
        welcome = await phone.hear("welcome")
        self.assertEqual(welcome, {"type": "welcome", "device": device, "node": "a"})
        return phone

    def receipt(self, push, **more):
        return {"call": push["call"], "push": push["push"], "must_report": True, "app_state": "background",
                "on_call": False, "received_at": "2026-01-02T03:04:05.678Z", "reported": "callkit", **more}

    async def test_a_woken_phone_answers_and_hangs_up(self):
        device, _ = self.register()
        call = self.place()
        push = self.push(call["id"], device)
        phone = await self.wake(device, push)
        told = await phone.hear("call")
        self.assertEqual((told["call"], told["state"], told["video"]), (call["id"], "ringing", False))
        self.assertEqual(told["caller"], {"handle": "h", "name": "n"})
        self.assertEqual(told["expires_at"], push["expires_at"])
        self.assertNotIn("handoff", told)
        await phone.say("receipt", **self.receipt(push))
        await phone.say("ringing", call=call["id"])
        await phone.say("answer", call=call["id"])
        self.stack.wait_state(call["id"], "answered")
        [leg] = self.stack.call(call["id"])["devices"]
        self.assertEqual((leg["must_report"], leg["reported"], leg["outcome"], leg["state"]),
                         (True, "callkit", "reported", "answered"))
        await phone.say("hangup", call=call["id"])
        over = await phone.hear("ended")
        self.assertEqual(over, {"type": "ended", "call": call["id"], "reason": "completed"})
        self.assertEqual(self.stack.call(call["id"])["reason"], "completed")
        names = [e["event"] for e in self.stack.timeline(call["id"])]
        names.remove("phone_woken")  # by the phone's clock, which has milliseconds: before or after "attached"
        self.assertEqual(names, ["request", "push_queued", "push_written", "push_accepted", "attached",
                                 "receipt", "reported", "ringing", "answered", "ended"])
        await phone.close()

    async def test_uuids_in_upper_case_are_the_same(self):
        device, _ = self.register()
        push = self.push(self.place()["id"], device)
        upper = {k: push[k].upper() for k in ("call", "push")}
        phone = await Phone(self.stack, device).dial(token=push["token"], call=upper["call"])
        await phone.hear("call")
        await phone.say("receipt", **{**self.receipt(push), **upper})
        await phone.say("answer", call=upper["call"])
        self.stack.wait_state(push["call"], "answered")
        self.assertEqual(self.stack.get(f"/v1/calls/{upper['call']}").json["id"], push["call"])
        self.assertEqual(self.stack.call(push["call"])["devices"][0]["outcome"], "reported")
        self.assertEqual(self.stack.delete(f"/v1/calls/{upper['call']}").status, 204)
        await phone.close()

    async def test_decline_busy_and_do_not_disturb(self):
        for reason, expected in [("declined", "declined"), ("busy", "busy"), ("filteredByDoNotDisturb", "filtered")]:
            with self.subTest(reason=reason):
                device, _ = self.register()
                push = self.push(self.place()["id"], device)
                phone = await self.wake(device, push)
                await phone.say("decline", call=push["call"], reason=reason)
                self.assertEqual((await phone.hear("ended"))["reason"], expected)
                self.assertEqual(self.stack.call(push["call"])["reason"], expected)
                await phone.close()

    async def test_a_filtered_report_is_a_final_answer(self):
        device, _ = self.register()
        push = self.push(self.place()["id"], device)
        phone = await self.wake(device, push)
        await phone.say("receipt", **self.receipt(push, reported="none", report_error="filteredByBlockList"))
        self.assertEqual((await phone.hear("ended"))["reason"], "filtered")
        self.assertEqual(self.stack.call(push["call"])["devices"][0]["outcome"], "filtered")
        await phone.close()

    async def test_delete_tells_the_phone_over_its_connection(self):
        device, _ = self.register()
        push = self.push(self.place()["id"], device)
        phone = await self.wake(device, push)
        await phone.hear("call")
        self.assertEqual(self.stack.delete(f"/v1/calls/{push['call']}").status, 204)
        self.assertEqual((await phone.hear("ended"))["reason"], "cancelled")
        await phone.say("answer", call=push["call"])  # too late: it is told again
        self.assertEqual((await phone.hear("ended"))["reason"], "cancelled")
        await phone.close()

    async def test_a_late_waker_is_told_the_truth(self):
        device, _ = self.register()
        push = self.push(self.place()["id"], device)
        self.stack.delete(f"/v1/calls/{push['call']}")
        phone = await self.wake(device, push)
        self.assertEqual((await phone.hear("call"))["state"], "ended")
        self.assertEqual((await phone.hear("ended"))["reason"], "cancelled")
        await phone.say("receipt", **self.receipt(push))
        wait_for(lambda: self.stack.call(push["call"])["devices"][0]["reported"])
        await phone.close()

    async def test_the_first_answer_wins(self):
        phones = []
        for i in range(3):
            device, _ = self.register(f"{self.user}-{i}")
            phones.append(device)
        call = self.place()
        self.assertEqual(sorted(d["device"] for d in call["devices"]), phones)
        sockets = [await self.wake(d, self.push(call["id"], d)) for d in phones]
        for s in sockets:
            await s.hear("call")
        await sockets[1].say("answer", call=call["id"])
        for i in (0, 2):
            self.assertEqual(await sockets[i].hear("answered_elsewhere"),
                             {"type": "answered_elsewhere", "call": call["id"]})
        await sockets[0].say("answer", call=call["id"])
        await sockets[0].hear("answered_elsewhere")
        self.assertEqual([d["state"] for d in self.stack.call(call["id"])["devices"]], ["out", "answered", "out"])
        await sockets[2].say("hangup", call=call["id"])
        await sockets[2].hear("answered_elsewhere")
        self.assertEqual(self.stack.call(call["id"])["state"], "answered")
        await sockets[1].say("hangup", call=call["id"])
        self.assertEqual((await sockets[1].hear("ended"))["reason"], "completed")
        for s in sockets:
            await s.close()

    async def test_busy_on_one_phone_leaves_the_others_ringing(self):
        a, _ = self.register(self.user + "-a")
        b, _ = self.register(self.user + "-b")
        call = self.place()["id"]
        pa, pb = await self.wake(a, self.push(call, a)), await self.wake(b, self.push(call, b))
        await pa.say("decline", call=call, reason="busy")
        await pa.hear("ended")
        self.assertEqual(self.stack.call(call)["state"], "ringing")
        await pb.say("decline", call=call, reason="declined")
        self.assertEqual((await pb.hear("ended"))["reason"], "declined")
        await pa.close()
        await pb.close()

    async def test_in_the_foreground_calls_come_without_a_push(self):
        device, secret = self.register()
        phone = await Phone(self.stack, device).dial(secret=secret, app_state="foreground", on_call=False)
        await phone.hear("welcome")
        before = len(self.stack.journal())
        call = self.place()
        self.assertEqual(call["devices"][0]["delivery"], "connection")
        self.assertEqual((await phone.hear("call"))["call"], call["id"])
        await phone.say("ringing", call=call["id"])
        await phone.say("answer", call=call["id"])
        self.stack.wait_state(call["id"], "answered")
        self.assertEqual(len(self.stack.journal()), before)
        self.stack.delete(f"/v1/calls/{call['id']}")
        await phone.hear("ended")
        # In the background the same connection does not spare the push.
        await phone.say("state", app_state="background", on_call=False)
        await asyncio.sleep(0.1)
        second = self.place()
        self.assertEqual(second["devices"][0]["delivery"], "push")
        push = self.push(second["id"], device)
        await phone.say("receipt", **self.receipt(push))
        self.assertEqual((await phone.hear("call"))["call"], second["id"])
        await phone.close()

    async def test_a_lost_connection_is_made_up_for_by_a_push(self):
        device, secret = self.register()
        phone = await Phone(self.stack, device).dial(secret=secret, app_state="foreground")
        await phone.hear("welcome")
        call = self.place()
        await phone.hear("call")
        await phone.close()
        push = self.push(call["id"], device)
        again = await self.wake(device, push)
        await again.say("answer", call=call["id"])
        self.stack.wait_state(call["id"], "answered")
        await again.close()

    async def test_on_a_call_the_prediction_is_false(self):
        device, _ = self.register()
        push = self.push(self.place()["id"], device)
        phone = await self.wake(device, push)
        await phone.say("answer", call=push["call"])
        self.stack.wait_state(push["call"], "answered")
        second = self.place()
        self.push(second["id"], device)
        [leg] = self.stack.call(second["id"])["devices"]
        self.assertFalse(leg["predicted_must_report"])
        await phone.close()

    async def test_receipts_over_rest(self):
        device, secret = self.register()
        push = self.push(self.place()["id"], device)
        body = self.receipt(push, must_report=False, reported="none")
        self.problem(self.stack.post("/v1/receipts", body, token=None), 401, "unauthorized", "authorization")
        self.problem(self.stack.post("/v1/receipts", body), 404, "not-found", "push")  # an API token is not a phone
        self.problem(self.stack.post("/v1/receipts", {**body, "push": str(uuid.uuid4())}, token=push["token"]), 404,
                     "not-found", "push")
        self.problem(self.stack.post("/v1/receipts", {**body, "reported": "shouted"}, token=push["token"]), 422,
                     "bad-field", "reported")
        self.assertEqual(self.stack.post("/v1/receipts", body, token=push["token"]).status, 204)
        [leg] = self.stack.call(push["call"])["devices"]
        self.assertEqual((leg["must_report"], leg["outcome"]), (False, "exempt"))
        self.assertEqual(self.stack.post("/v1/receipts", body, token=secret).status, 204)  # again, and by the secret

    async def test_no_must_report_counts_as_true(self):
        device, _ = self.register(os_version="18.5")
        push = self.push(self.place()["id"], device)
        body = self.receipt(push, must_report=None)
        self.assertEqual(self.stack.post("/v1/receipts", body, token=push["token"]).status, 204)
        [leg] = self.stack.call(push["call"])["devices"]
        self.assertEqual((leg["must_report"], leg["outcome"]), (None, "reported"))

    async def test_who_is_not_known_is_turned_away(self):
        device, secret = self.register()
        push = self.push(self.place()["id"], device)
        for hello in [{"secret": "wrong"}, {"token": "wrong"}, {}, {"secret": ""},
                      {"token": push["token"], "call": str(uuid.uuid4())}]:
            with self.subTest(hello=hello):
                phone = await Phone(self.stack, device).dial(app_state="background", **hello)
                self.assertEqual((await phone.hear("error"))["code"], "unauthorized")
                self.assertEqual(await phone.closed(), 4401)
        stranger = await Phone(self.stack, "another").dial(token=push["token"])
        self.assertEqual((await stranger.hear("error"))["code"], "unauthorized")

    async def test_a_token_is_good_for_its_call_alone(self):
        device, _ = self.register()
        first, second = self.place()["id"], self.place()["id"]
        phone = await self.wake(device, self.push(first, device))
        await phone.hear("call")
        await phone.say("answer", call=second)
        self.assertEqual((await phone.hear("error"))["code"], "unknown_call")
        self.assertEqual(self.stack.call(second)["state"], "ringing")
        await phone.close()

    async def test_the_newer_connection_wins(self):
        device, secret = self.register()
        old = await Phone(self.stack, device).dial(secret=secret, app_state="foreground")
        await old.hear("welcome")
        new = await Phone(self.stack, device).dial(secret=secret, app_state="foreground")
        await new.hear("welcome")
        self.assertEqual((await old.hear("error"))["code"], "replaced")
        self.assertEqual(await old.closed(), 4409)
        call = self.place()
        self.assertEqual((await new.hear("call"))["call"], call["id"])
        await new.close()

    async def revoked(self, phone):
        """The phone is told why, and its connection is closed."""
        error = await phone.hear("error")
        self.assertEqual(error["code"], "revoked")
        self.assertEqual(await phone.closed(), 4403)
        return error["detail"]

    async def refused(self, device, **hello):
        phone = await Phone(self.stack, device).dial(**hello)
        self.assertEqual((await phone.hear("error"))["code"], "unauthorized")
        self.assertEqual(await phone.closed(), 4401)

    def rotate(self, device):
        made = self.stack.put(f"/v1/devices/{device}", {"rotate_secret": True})
        self.assertEqual(made.status, 200, made)
        return made.json["device_secret"]

    async def test_a_new_secret_ends_what_the_old_one_opened(self):
        device, secret = self.register()
        phone = await Phone(self.stack, device).dial(secret=secret, app_state="foreground")
        await phone.hear("welcome")
        new = self.rotate(device)
        self.assertIn("new secret", await self.revoked(phone))
        await self.refused(device, secret=secret)
        again = await Phone(self.stack, device).dial(secret=new, app_state="foreground")
        await again.hear("welcome")
        self.stack.put(f"/v1/devices/{device}", {"app_version": "2"})  # no new secret, no new connection
        call = self.place()
        self.assertEqual((await again.hear("call"))["call"], call["id"])
        await again.close()

    async def test_a_new_secret_ends_what_a_pushs_token_opened(self):
        device, secret = self.register()
        push = self.push(self.place()["id"], device)
        phone = await self.wake(device, push)
        await phone.hear("call")
        new = self.rotate(device)
        await self.revoked(phone)
        await self.refused(device, token=push["token"], call=push["call"])
        body = self.receipt(push)
        for bearer in (push["token"], secret):
            self.problem(self.stack.post("/v1/receipts", body, token=bearer), 404, "not-found", "push")
        self.assertEqual(self.stack.post("/v1/receipts", body, token=new).status, 204)
        again = await Phone(self.stack, device).dial(secret=new, app_state="foreground")
        self.assertEqual((await again.hear("call"))["call"], push["call"])  # it rings on
        await again.say("answer", call=push["call"])
        self.stack.wait_state(push["call"], "answered")
        newer = self.rotate(device)  # and a call goes on, too
        await self.revoked(again)
        last = await Phone(self.stack, device).dial(secret=newer, app_state="foreground")
        self.assertEqual((await last.hear("call"))["state"], "answered")
        await last.say("hangup", call=push["call"])
        self.assertEqual((await last.hear("ended"))["reason"], "completed")
        await last.close()

    async def test_a_call_over_a_connection_that_is_revoked_gets_a_push(self):
        device, secret = self.register()
        phone = await Phone(self.stack, device).dial(secret=secret, app_state="foreground")
        await phone.hear("welcome")
        call = self.place()
        await phone.hear("call")
        self.rotate(device)
        await self.revoked(phone)
        again = await self.wake(device, self.push(call["id"], device))
        self.assertEqual((await again.hear("call"))["state"], "ringing")
        await again.close()

    async def test_a_deleted_device_is_out_and_the_others_ring_on(self):
        (a, secret), (b, _) = self.register(self.user + "-a"), self.register(self.user + "-b")
        call = self.place()["id"]
        push = self.push(call, a)
        whole = await Phone(self.stack, a).dial(secret=secret, app_state="background")
        await whole.hear("call")
        pa, pb = await self.wake(a, push), await self.wake(b, self.push(call, b))
        await pa.hear("call")
        await pb.hear("call")
        self.assertEqual(self.stack.delete(f"/v1/devices/{a}").status, 204)
        self.assertEqual(await pa.hear("ended"), {"type": "ended", "call": call, "reason": "unreachable"})
        for phone in (pa, whole):
            self.assertIn("deleted", await self.revoked(phone))
        legs = {d["device"]: d["state"] for d in self.stack.call(call)["devices"]}
        self.assertEqual(legs, {a: "out", b: "ringing" if legs[b] == "ringing" else "called"})
        # The same name again is another device: what the first one had opens nothing of it.
        self.register(a)
        await self.refused(a, secret=secret)
        await self.refused(a, token=push["token"], call=call)
        self.problem(self.stack.post("/v1/receipts", self.receipt(push), token=push["token"]), 404, "not-found", "push")
        await pb.say("answer", call=call)
        self.stack.wait_state(call, "answered")
        await pb.close()

    async def test_the_last_device_that_is_deleted_ends_the_call(self):
        device, _ = self.register()
        call = self.place()["id"]
        phone = await self.wake(device, self.push(call, device))
        await phone.hear("call")
        self.assertEqual(self.stack.delete(f"/v1/devices/{device}").status, 204)
        self.assertEqual((await phone.hear("ended"))["reason"], "unreachable")
        await self.revoked(phone)
        self.assertEqual(self.stack.call(call)["reason"], "unreachable")

    async def test_the_device_that_answered_is_deleted(self):
        device, _ = self.register()
        call = self.place()["id"]
        phone = await self.wake(device, self.push(call, device))
        await phone.say("answer", call=call)
        self.stack.wait_state(call, "answered")
        self.stack.delete(f"/v1/devices/{device}")
        self.assertEqual((await phone.hear("ended"))["reason"], "completed")
        await self.revoked(phone)
        self.assertEqual(self.stack.call(call)["reason"], "completed")

    async def test_who_was_replaced_can_do_nothing_any_more(self):
        device, _ = self.register()
        push = self.push(self.place()["id"], device)
        old = await self.wake(device, push)
        await old.hear("call")
        old.ws.transport.pause_reading()  # it does not hear that it is replaced, and goes on
        new = await self.wake(device, push)
        await old.say("decline", call=push["call"], reason="declined")
        old.ws.transport.resume_reading()
        self.assertEqual((await old.hear("error"))["code"], "replaced")
        self.assertEqual(await old.closed(), 4409)
        self.assertEqual((await new.hear("call"))["state"], "ringing")
        self.assertEqual(self.stack.call(push["call"])["state"], "ringing")
        await new.say("answer", call=push["call"])
        self.stack.wait_state(push["call"], "answered")
        await new.close()

    async def test_nonsense_is_answered_and_does_no_harm(self):
        device, secret = self.register()
        phone = await Phone(self.stack, device).dial()
        for text, code in [("[]", "malformed"), ("{", "malformed"), ("{}", "malformed"), ('{"type":7}', "malformed"),
                           ('{"type":"dance"}', "unknown_type"), ('{"type":"answer","call":"x"}', "state"),
                           ('{"type":"hello"}', "bad_field"), ('{"type":"hello","device":7}', "bad_field")]:
            await phone.ws.send(text)
            error = await phone.hear("error")
            self.assertEqual(error["code"], code, text)
            self.assertTrue(error["detail"])
        await phone.say("hello", device=device, secret=secret)
        await phone.hear("welcome")
        for message in [{"type": "answer"}, {"type": "media", "call": str(uuid.uuid4())}, {"type": "receipt", "call": "x"}]:
            await phone.ws.send(json.dumps(message))
            self.assertEqual((await phone.hear("error"))["code"], "bad_field")
        await phone.say("answer", call=str(uuid.uuid4()))
        self.assertEqual((await phone.hear("error"))["code"], "unknown_call")
        await phone.ws.send(b"\x00\x01")
        self.assertEqual((await phone.hear("error"))["code"], "data")
        await phone.say("hello", device=device, secret=secret)
        self.assertEqual((await phone.hear("error"))["code"], "state")
        await phone.close()

    async def test_who_says_too_much_nonsense_is_closed(self):
        device, secret = self.register()
        phone = await Phone(self.stack, device).dial(secret=secret)
        for _ in range(21):
            await phone.ws.send("nonsense")
        self.assertEqual(await phone.closed(), 1008)

    def memory_kib(self):
        with open(f"/proc/{self.stack.gateway.process.pid}/status") as f:
            return int(next(line for line in f if line.startswith("VmRSS")).split()[1])

    async def test_a_phone_that_does_not_read_is_closed_and_nobody_else_suffers(self):
        device, secret = self.register()
        call = self.place()["id"]
        self.stack.delete(f"/v1/calls/{call}")
        deaf = DeafPhone(self.stack, {"type": "hello", "device": device, "secret": secret, "app_state": "background"})
        self.addCleanup(deaf.close)
        other, other_secret = self.register(self.user + "-other")
        phone = await Phone(self.stack, other).dial(secret=other_secret, app_state="foreground")
        await phone.hear("welcome")
        before = self.memory_kib()
        # Each of these is answered by `ended`, and none of the answers is read.
        flood = asyncio.create_task(asyncio.to_thread(deaf.say_until_closed, {"type": "hangup", "call": call}))
        await asyncio.to_thread(wait_for, lambda: "phone too slow" in self.stack.gateway.log(), 30)
        grown = self.memory_kib() - before
        deaf.enough.set()
        self.assertLess(grown, 8192)
        began = time.monotonic()
        await (await phone.ws.ping())
        self.assertLess(time.monotonic() - began, 1 * SLOW)
        # Whoever reads again is told why; what was thrown away would have been more than that.
        told = await asyncio.to_thread(deaf.read_to_the_end)
        await flood
        self.assertIn(told, [(1008, "too slow"), None])
        self.assertEqual(self.stack.gateway.log().count("phone too slow"), 1)
        await phone.close()

    async def test_a_message_that_is_too_large_closes(self):
        phone = await Phone(self.stack, "x").dial()
        try:
            await phone.ws.send("x" * 300000)
        except websockets.ConnectionClosed:
            pass
        self.assertEqual(await phone.closed(), 1009)

    async def test_the_subprotocol_and_the_path_are_needed(self):
        for path, protocols in [("/v1/attach", None), ("/v1/attach", ["other"]), ("/v1/other", ["wakegate.v1"])]:
            with self.subTest(path=path, protocols=protocols):
                with self.assertRaises((websockets.InvalidHandshake, websockets.ConnectionClosed, ConnectionError, EOFError)):
                    ws = await websockets.connect(f"ws://127.0.0.1:{self.stack.api_port}{path}", subprotocols=protocols)
                    await ws.recv()


if __name__ == "__main__":
    unittest.main()
