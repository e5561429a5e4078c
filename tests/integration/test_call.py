# SPDX-License-Identifier: Apache-2.0
"""Whole calls: our own caller, gateway, APNs simulator and phone as separate programs, in every mode and with every
habit of the phone."""
import json
import unittest

from harness import SLOW, StackTest, wait_for

MODES = ["transfer", "sealed", "dtls", "sdes"]


class Calls(StackTest):
    def ring(self, name, *caller_args, expect=0, **phone_options):
        """A phone with these options, and one call to it. Returns the phone, the caller's report and the call."""
        phone = self.stack.start_phone(device="phone-" + name, user="user-" + name, **phone_options)
        return phone, *self.place(name, *caller_args, expect=expect)

    def place(self, name, *caller_args, expect=0):
        status, out, err = self.stack.run_caller("--callee", "user-" + name, "--json", "--duration-ms", 1500 * SLOW,
                                                 *caller_args)
        report = json.loads(out.splitlines()[-1]) if out.strip() else {}
        self.assertEqual(status, expect, f"{out}\n{err}\n{self.stack.gateway.log()}")
        return report, self.stack.call(report["id"]) if report.get("id") else None

    def over(self, phone):
        return phone.wait_event("call_over", 15)

    def test_sound_both_ways_in_every_mode_role_and_profile(self):
        for mode in MODES:
            for setup, profile, codec in [("actpass", "gcm128", "pcmu"), ("passive", "cm80", "opus"), ("active", "gcm256", "pcmu")]:
                with self.subTest(mode=mode, setup=setup, profile=profile):
                    name = f"{mode}-{setup}"
                    phone, report, call = self.ring(name, "--setup", setup, "--profile", profile, "--codec", codec,
                                                    handoff=mode)
                    self.assertTrue(report["heard_expected"])
                    over = self.over(phone)
                    self.assertTrue(over["heard_expected"], over)
                    self.assertEqual((call["state"], call["reason"]), ("ended", "completed"))
                    self.assertEqual(call["media"]["handoff"], mode)
                    self.assertIn({"gcm128": "AEAD_AES_128", "cm80": "AES_CM_128", "gcm256": "AEAD_AES_256"}[profile],
                                  call["media"]["profile"])
                    self.assertGreater(call["media"]["discarded_pkts"], 5)  # what came before the answer
                    self.assertEqual(call["media"]["dropped_pkts"] < 20, True, call["media"])
                    phone.stop()

    def test_the_timeline_tells_the_whole_call(self):
        phone, report, call = self.ring("timeline", handoff="transfer")
        events = {e["event"]: e for e in reversed(self.stack.timeline(call["id"]))}
        order = ["request", "push_queued", "push_written", "push_accepted", "phone_woken", "attached", "receipt", "reported",
                 "answered", "active", "ended"]
        self.assertEqual([e for e in order if e not in events], [])
        at = [events[e]["offset_us"] for e in order]
        self.assertEqual(at[:4] + at[8:], sorted(at[:4] + at[8:]))
        for e in ["caller_ice", "caller_dtls", "handoff", "keys_taken", "phone_path", "first_packet_to_phone",
                  "first_packet_to_caller"]:
            self.assertIn(e, events)
        # The caller's handshake is done before the phone is awake: what this gateway is for.
        self.assertLess(events["caller_dtls"]["offset_us"], events["phone_woken"]["offset_us"])
        self.assertEqual(events["receipt"]["must_report"], True)
        self.assertEqual(events["handoff"]["mode"], "transfer")
        self.assertGreaterEqual(min(events[e]["offset_us"] for e in ("first_packet_to_phone", "first_packet_to_caller")),
                                events["answered"]["offset_us"])
        phone.stop()

    def test_the_route_and_the_phone_choose_the_mode(self):
        phone, _, call = self.ring("order", handoff="dtls,sdes")  # the route says sealed, transfer, sdes, dtls
        self.assertEqual(call["media"]["handoff"], "sdes")
        phone.stop()
        made = self.stack.put("/v1/devices/phone-keyless", {"user": "user-keyless", "app": "vcs", "token": "ab" * 32,
                                                            "handoff": ["sealed"]})
        self.assertEqual(made.status, 201, made)
        status, _, err = self.stack.run_caller("--callee", "user-keyless")
        self.assertEqual(status, 1)
        self.assertRegex(err, "no handoff mode in common: .* can do sealed .but a sealing_key is not registered.")

    def test_the_phone_hangs_up(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                phone, report, call = self.ring("hang-" + mode, "--hangup", "never", handoff=mode, hangup_ms=1500 * SLOW)
                self.assertEqual((call["state"], call["reason"]), ("ended", "completed"))
                phone.stop()

    def test_the_caller_hangs_up_by_dtls(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                phone, report, _ = self.ring("bye-" + mode, "--hangup", "dtls", handoff=mode)
                self.assertEqual(self.stack.wait_state(report["id"], "ended")["reason"], "completed")
                self.assertEqual(self.over(phone)["reason"], "completed")
                phone.stop()

    def refused(self, habit, reason, outcome, state="out", **more):
        phone, report, call = self.ring("habit-" + habit, "--timeout-ms", 15000 * SLOW, expect=1, habit=habit, **more)
        self.assertEqual((call["state"], call["reason"]), ("ended", reason))
        leg = wait_for(lambda: next((d for d in self.stack.call(call["id"])["devices"] if d["outcome"]), None), 15)
        self.assertEqual(leg["outcome"], outcome)
        phone.stop()
        return call

    def test_the_phone_declines(self):
        self.refused("declines", "declined", "reported")

    def test_the_phone_is_busy(self):
        self.refused("busy", "busy", "reported")

    def test_do_not_disturb(self):
        self.refused("filtered", "filtered", "filtered")

    def test_in_the_foreground_no_push_is_sent(self):
        before = len(self.stack.journal())
        phone, report, call = self.ring("front", foreground=True)
        self.assertEqual(call["devices"][0]["delivery"], "connection")
        self.assertIsNone(call["devices"][0]["apns_id"])
        self.assertEqual(len(self.stack.journal()), before)
        self.assertTrue(self.over(phone)["heard_expected"])
        phone.stop()

    def test_on_a_call_must_report_is_false(self):
        phone, report, call = self.ring("on-call", on_call=True)
        leg = call["devices"][0]
        self.assertEqual((leg["must_report"], leg["outcome"]), (False, "exempt"))
        phone.stop()

    def test_before_ios_26_4_there_is_no_must_report(self):
        phone, report, call = self.ring("old-ios", os="18.6")
        leg = call["devices"][0]
        self.assertEqual((leg["must_report"], leg["outcome"]), (None, "reported"))
        self.assertEqual(self.stack.get("/v1/devices/phone-old-ios").json["os_version"], "18.6")
        phone.stop()

    def test_lck_reports_count(self):
        phone, report, call = self.ring("china", ui="lck")
        self.assertEqual((call["devices"][0]["reported"], call["devices"][0]["outcome"]), ("lck", "reported"))
        phone.stop()

    def test_two_phones_ring_and_the_quicker_one_has_the_call(self):
        slow = self.stack.start_phone(device="two-slow", user="user-two", answer_ms=5000 * SLOW)
        quick = self.stack.start_phone(device="two-quick", user="user-two", answer_ms=100)
        report, call = self.place("two")
        self.assertTrue(report["heard_expected"])
        self.assertTrue(self.over(quick)["heard_expected"])
        over = self.over(slow)
        self.assertEqual((over["reason"], over["mode"], over["rx_pkts"]), ("answered_elsewhere", "", 0))
        self.assertEqual(slow.events("handoff"), [])  # keys never reach two phones
        self.assertEqual(call["media"]["device"], "two-quick")
        slow.stop()
        quick.stop()

    def test_who_is_on_a_call_is_busy_for_another(self):
        for name, options in [("push", {}), ("connection", {"foreground": True})]:
            with self.subTest(name):
                phone = self.stack.start_phone(device="phone-second-" + name, user="second-" + name, **options)
                first = self.stack.post("/v1/calls", {"callee": "second-" + name}).json
                self.stack.wait_state(first["id"], "answered")
                second = self.stack.post("/v1/calls", {"callee": "second-" + name}).json
                self.assertEqual(self.stack.wait_state(second["id"], "ended")["reason"], "busy")
                self.assertEqual(self.stack.call(first["id"])["state"], "answered")
                if name == "push":
                    leg = self.stack.call(second["id"])["devices"][0]
                    self.assertEqual((leg["predicted_must_report"], leg["must_report"], leg["outcome"]),
                                     (False, False, "exempt"))
                self.stack.delete(f"/v1/calls/{first['id']}")
                phone.wait_event("call_over")
                phone.stop()

    def test_calls_after_each_other(self):
        phone = self.stack.start_phone(device="phone-again", user="user-again")
        for i in range(3):
            report, call = self.place("again")
            self.assertTrue(phone.wait_event("call_over", count=i + 1)["heard_expected"])
        phone.stop()


class TwoWorkers(StackTest):
    stack_options = {"MEDIA_WORKERS": "2"}

    def test_calls_are_spread_and_each_port_serves_its_own(self):
        phones = [self.stack.start_phone(device=f"spread-{i}", user=f"spread-{i}") for i in range(4)]
        callers = [self.stack.start(f"caller-{i}", "wakegate-caller", "--api", self.stack.url, "--api-token-file",
                                    self.stack.path("token"), "--callee", f"spread-{i}", "--json", "--duration-ms",
                                    str(2000 * SLOW), ready=False) for i in range(4)]
        reports = []
        for caller in callers:
            self.assertEqual(caller.process.wait(60 * SLOW), 0, caller.log())
            with open(caller.out_path) as f:
                reports.append(json.loads(f.read().splitlines()[-1]))
        workers = sorted(self.stack.call(r["id"])["media"]["worker"] for r in reports)
        self.assertEqual(workers, [0, 0, 1, 1])
        for phone in phones:
            self.assertTrue(phone.wait_event("call_over")["heard_expected"])


class ShortRing(StackTest):
    stack_options = {"edit": lambda text: text.replace("ring_timeout_s: 40", "ring_timeout_s: 2")}

    def ring(self, habit, **options):
        phone = self.stack.start_phone(device="short-" + habit, user="short-" + habit, habit=habit, **options)
        call = self.stack.post("/v1/calls", {"callee": "short-" + habit}).json
        return phone, self.stack.wait_state(call["id"], "ended", timeout_s=15)

    def outcome(self, call):
        return wait_for(lambda: self.stack.call(call["id"])["devices"][0]["outcome"], 15)

    def test_who_ignores_the_ring_has_reported(self):
        phone, call = self.ring("ignores")
        self.assertEqual((call["reason"], self.outcome(call)), ("no_answer", "reported"))
        self.assertEqual(phone.wait_event("call_over")["reason"], "no_answer")
        phone.stop()

    def test_a_silent_push_is_in_the_books(self):
        phone, call = self.ring("silent")
        self.assertEqual((call["reason"], self.outcome(call)), ("no_answer", "silent"))
        phone.stop()

    def test_an_app_that_does_not_report_is_killed_and_silent(self):
        phone, call = self.ring("no-report")
        phone.wait_event("killed")
        self.assertEqual((call["reason"], self.outcome(call)), ("no_answer", "silent"))
        phone.stop()

    def test_a_push_that_comes_late_is_told_the_truth(self):
        self.stack.control("PUT", "/v1/delivery", {"delay_ms": 3000})
        self.addCleanup(self.stack.control, "PUT", "/v1/delivery", {"delay_ms": 0})
        phone = self.stack.start_phone(device="late", user="late")
        call = self.stack.post("/v1/calls", {"callee": "late"}).json
        push = phone.wait_event("push", 15)
        self.assertFalse(push["must_report"])  # found too late to be viable
        self.stack.wait_state(call["id"], "ended")
        # At the ring's end the push is silent; when its receipt comes after all, it is late.
        wait_for(lambda: self.outcome(call) == "late", 15, lambda: f"the push is {self.outcome(call)}\n{phone.log()}")
        phone.stop()


if __name__ == "__main__":
    unittest.main()
