# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: each kind of thing takes effect without a restart, nothing that goes on is disturbed, and a file that is not good
changes nothing."""
import contextlib
import hashlib
import http.client
import json
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import unittest

from harness import BIN, ROOT, SLOW, Stack, free_port, wait_for
from test_events import Listener
from test_process import NO_LEAK_CHECK, make_certificate, openssl, with_tls
from test_webhooks import SECRET, Receiver

MODES = ["transfer", "sealed", "dtls", "sdes"]


def token_line(name, scopes="calls, devices", tenant="default"):
    """A token whose text is its name."""
    return (f'    - {{name: {name}, sha256: "{hashlib.sha256(name.encode()).hexdigest()}", scopes: [{scopes}], '
            f'tenant: {tenant}}}\n')


def with_tokens(*lines):
    return lambda text: text.replace("apps:\n", "".join(lines) + "apps:\n", 1)


def app(name, bundle, **apns):
    fields = {"team_id": "ABCDE12345", "key_id": "FGHIJ67890", "key_file": "apns-key.p8", "host": "127.0.0.1",
              "ca_file": "ca.pem", **apns}
    return (f"  - name: {name}\n    bundle_id: {bundle}\n    apns: {{" + ", ".join(f"{k}: {v}" for k, v in fields.items()) +
            "}\n")


class Reloading(unittest.TestCase):
    """What the tests share."""

    def stack_of(self, **options):
        stack = Stack(**options)
        self.addCleanup(stack.close)
        return stack

    def counts(self, stack):
        text = stack.get("/metrics", token=None).text
        return {result: int(re.search(rf'wakegate_reloads_total{{result="{result}"}} (\d+)', text)[1])
                for result in ("applied", "refused")}

    def reload(self, stack, edit=None, result="applied"):
        """Returns what the log has got by it."""
        before, said = self.counts(stack), len(stack.gateway.log())
        if edit:
            stack.edit_config(edit)
        stack.gateway.process.send_signal(signal.SIGHUP)
        want = {**before, result: before[result] + 1}
        wait_for(lambda: sum(self.counts(stack).values()) > sum(before.values()), 10, stack.gateway.log)
        self.assertEqual(self.counts(stack), want, stack.gateway.log())
        return stack.gateway.log()[said:]

    def register(self, stack, user, app="vcs", bundle="com.example.vcs", **more):
        token = hashlib.sha256(user.encode()).hexdigest()
        stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": bundle})
        made = stack.put(f"/v1/devices/{user}-phone", {"user": user, "app": app, "token": token, "handoff": ["dtls"], **more})
        self.assertIn(made.status, (200, 201), made)

    def place(self, stack, user, **more):
        made = stack.post("/v1/calls", {"callee": user, **more})
        self.assertEqual(made.status, 201, made)
        return made.json["id"]

    def leg(self, stack, call, *states):
        return wait_for(lambda: next((d for d in stack.call(call)["devices"] if d["push_state"] in states), None), 15,
                        lambda: f"{stack.call(call)}\n{stack.gateway.log()}")

    def accepted(self, stack, user):
        """A call whose push APNs takes; returns what the simulator wrote down of it."""
        call = self.place(stack, user, ring_timeout_s=10)  # connections to one address are made one in a second
        self.leg(stack, call, "accepted")
        self.assertEqual(stack.delete(f"/v1/calls/{call}").status, 204)
        return self.pushes(stack, call)[-1]

    def pushes(self, stack, call):
        return [r for r in stack.journal() if (r["payload"] or {}).get("wakegate", {}).get("call") == call]

    def write_secret(self, stack, name, text):
        with open(os.open(stack.path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            f.write(text)

    def wait_delivered(self, stack, count):
        wait_for(lambda: f'wakegate_webhook_deliveries_total{{webhook="h",result="delivered"}} {count}' in
                 stack.get("/metrics", token=None).text, 10, stack.gateway.log)


class Calls(Reloading):
    def test_a_call_goes_on_in_every_mode_when_its_route_and_its_app_are_gone(self):
        stack = self.stack_of()
        with open(stack.config) as f:
            text = f.read()
        for mode in MODES:
            with self.subTest(mode=mode):
                phone = stack.start_phone(device=f"phone-{mode}", user=f"user-{mode}", handoff=mode)
                caller = subprocess.Popen([os.path.join(BIN, "wakegate-caller"), "--api", stack.url, "--api-token-file",
                                           stack.path("token"), "--callee", f"user-{mode}", "--json", "--duration-ms",
                                           str(4000 * SLOW)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                live = wait_for(lambda: next((c for c in stack.get("/v1/calls?state=active").json["calls"]
                                              if c["callee"] == f"user-{mode}"), None), 20, stack.gateway.log)
                self.reload(stack, lambda t: t.replace("name: vcs", "name: next").replace("app: vcs", "app: next").replace(
                    "name: everybody", "name: nobody"))
                self.assertEqual(stack.post("/v1/calls", {"callee": f"user-{mode}"}).status, 404)  # no device has that app
                before = stack.call(live["id"])
                self.assertEqual((before["state"], before["route"]), ("active", "everybody"))
                grown = wait_for(lambda: (lambda c: c if c["media"]["caller"]["rx_pkts"] > before["media"]["caller"]["rx_pkts"] + 10
                                          and c["media"]["phone"]["rx_pkts"] > before["media"]["phone"]["rx_pkts"] + 10 else None)
                                 (stack.call(live["id"])), 20, lambda: str(stack.call(live["id"])))
                self.assertEqual(grown["state"], "active")
                self.reload(stack, lambda t: text)
                out, err = caller.communicate(timeout=60 * SLOW)
                self.assertEqual(caller.returncode, 0, err.decode() + stack.gateway.log())
                self.assertTrue(json.loads(out.splitlines()[-1])["heard_expected"])
                over = phone.wait_event("call_over", 15)
                self.assertEqual((over["reason"], over["heard_expected"]), ("completed", True))
                phone.stop()

    def test_a_ringing_call_pushes_again_by_the_app_that_is_gone_and_then_it_is_retired(self):
        rule = "must_report: {second_path: alert, second_path_after_ms: 3000}, "
        stack = self.stack_of(edit=lambda text: text.replace("ring_timeout_s", rule + "ring_timeout_s"))
        self.register(stack, "late", alert_token="ef" * 32)
        stack.control("PUT", f"/v1/devices/{'ef' * 32}", {"bundle_id": "com.example.vcs"})
        call = self.place(stack, "late", ring_timeout_s=6)
        self.leg(stack, call, "accepted")
        log = self.reload(stack, lambda text: re.sub(r"apps:\n.*routes:", "apps:\n" + app("next", "com.example.next", port=1) +
                                                     "routes:", text, flags=re.S).replace("app: vcs", "app: next"))
        self.assertIn('apps="added next; removed vcs"', log)
        self.assertEqual(stack.get("/readyz", token=None).json["apns"], {"next": "not connected"})
        self.assertEqual(len(self.pushes(stack, call)), 1)
        self.assertNotIn("credential retired", stack.gateway.log())
        alert = wait_for(lambda: self.pushes(stack, call)[1:], 10, stack.gateway.log)[0]
        self.assertEqual(alert["status"], 200, alert)
        self.assertEqual(stack.call(call)["route"], "everybody")
        stack.wait_state(call, "ended", timeout_s=15)
        wait_for(lambda: 'event="apns credential retired" credential=vcs' in stack.gateway.log(), 10, stack.gateway.log)
        wait_for(lambda: not stack.control("GET", "/v1/connections").json["connections"], 10,
                 lambda: str(stack.control("GET", "/v1/connections").json))
        self.assertEqual(stack.call(call)["route"], "everybody")  # it is still in memory

    def test_pushes_under_way_have_their_results(self):
        stack = self.stack_of()
        for i in range(5):
            self.register(stack, f"wait-{i}")
        self.accepted(stack, "wait-0")
        stack.control("PATCH", "/v1/behaviour", {"answer_delay_ms": 2000})
        calls = [self.place(stack, f"wait-{i}", ring_timeout_s=20) for i in range(5)]
        wait_for(lambda: sum(c["open_streams"] for c in stack.control("GET", "/v1/connections").json["connections"]) == 5, 10,
                 lambda: str(stack.control("GET", "/v1/connections").json))
        self.assertEqual({d["push_state"] for c in calls for d in stack.call(c)["devices"]}, {"queued"})
        self.reload(stack, lambda text: text.replace("name: vcs", "name: next").replace("app: vcs", "app: next"))
        for call in calls:
            self.assertEqual(self.leg(stack, call, "accepted", "rejected", "failed")["push_state"], "accepted")

    def test_no_call_is_lost_in_50_reloads_under_load(self):
        stack = self.stack_of(LOG_LEVEL="info")
        with open(stack.config) as f:
            texts = [f.read()]
        # Another route, one more token and app, other settings; now and then another credential for the calls' own app.
        texts.append(with_tokens(token_line("more"))(texts[0]).replace("name: everybody", "name: everyone").replace(
            "ring_timeout_s: 40", "ring_timeout_s: 30").replace("routes:\n", app("extra", "com.example.extra", host="127.0.0.2",
                                                                                port=1) + "routes:\n"))
        phones = [stack.start_phone(device=f"load-{mode}", user=f"load-{mode}", handoff=mode) for mode in MODES]
        callers = [subprocess.Popen([os.path.join(BIN, "wakegate-caller"), "--api", stack.url, "--api-token-file",
                                     stack.path("token"), "--callee", f"load-{mode}", "--calls", "10", "--duration-ms", "300"],
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE) for mode in MODES]
        for i in range(50):
            self.reload(stack, lambda text, i=i: texts[(i + 1) % 2].replace("      team_id", f"      hedge_ms: {300 + i // 10}\n"
                                                                            "      team_id"))
            time.sleep(0.1)
        for caller in callers:
            out, err = caller.communicate(timeout=120 * SLOW)
            self.assertEqual(caller.returncode, 0, out.decode() + err.decode() + stack.gateway.log())
        self.assertEqual(self.counts(stack), {"applied": 50, "refused": 0})
        ended = stack.get("/v1/calls?state=ended&limit=100").json["calls"]
        self.assertEqual([c["reason"] for c in ended], ["completed"] * 40)
        self.assertEqual({stack.call(c["id"])["route"] for c in ended}, {"everybody", "everyone"})
        wait_for(lambda: stack.gateway.log().count('event="apns credential retired" credential=extra') == 25, 15,
                 stack.gateway.log)
        self.assertEqual(stack.gateway.log().count('event="apns credential renewed" credential=vcs'), 4)  # 300 is the default
        for phone in phones:
            phone.stop()


class Kinds(Reloading):
    """Each kind of thing that can be reloaded."""

    def test_nothing_has_changed(self):
        stack = self.stack_of()
        self.register(stack, "same")
        self.accepted(stack, "same")
        before = stack.control("GET", "/v1/connections").json["connections"]
        line = self.reload(stack)
        self.assertIn("event=reloaded tokens=same apps=same routes=same webhooks=same settings=same certificate=same "
                      "credentials_changed=0 streams_ended=0", line)
        self.accepted(stack, "same")
        ids = [sorted(c["connection"] for c in connections)
               for connections in (before, stack.control("GET", "/v1/connections").json["connections"])]
        self.assertEqual(ids[0], ids[1])

    def test_a_token_is_added_changed_and_removed(self):
        stack = self.stack_of(edit=with_tokens(token_line("stays"), token_line("goes"), token_line("loses"),
                                               token_line("gains", "calls"), token_line("moves")))
        names = ["stays", "goes", "loses", "gains", "moves"]
        listeners = {name: Listener(stack, token=name).wait_live() for name in names}
        for listener in listeners.values():
            self.addCleanup(listener.close)
        self.assertEqual(stack.get("/v1/calls", token="new").status, 401)
        line = self.reload(stack, lambda text: text.replace(token_line("goes"), token_line("new")).replace(
            token_line("loses"), token_line("loses", "devices")).replace(token_line("gains", "calls"), token_line("gains")).replace(
            token_line("moves"), token_line("moves", tenant="other")))
        self.assertIn('tokens="added new; changed loses, gains, moves; removed goes"', line)
        self.assertIn("streams_ended=3", line)
        for name in ["goes", "loses", "moves"]:
            wait_for(lambda name=name: listeners[name].ended, 5, lambda name=name: name)
        self.register(stack, "events-go-on")
        for name in ["stays", "gains"]:
            self.assertFalse(listeners[name].ended, name)
        listeners["stays"].wait(lambda heard: any(kind == "device.registered" for _, kind, _ in heard))
        self.assertEqual({name: stack.get("/v1/calls", token=name).status for name in names + ["new"]},
                         {"stays": 200, "goes": 401, "loses": 403, "gains": 200, "moves": 200, "new": 200})
        self.assertEqual(stack.get("/v1/devices", token="gains").status, 200)
        self.assertEqual(stack.get("/v1/devices/events-go-on-phone", token="moves").status, 404)
        self.assertEqual(stack.get("/v1/events", token="goes").status, 401)

    def test_a_connection_that_stays_open_is_judged_by_the_new_tokens(self):
        stack = self.stack_of(edit=with_tokens(token_line("goes")))
        connection = http.client.HTTPConnection("127.0.0.1", stack.api_port, timeout=15 * SLOW)
        self.addCleanup(connection.close)

        def ask():
            connection.request("GET", "/v1/calls", headers={"Authorization": "Bearer goes"})
            response = connection.getresponse()
            response.read()
            return response.status
        self.assertEqual(ask(), 200)
        own = connection.sock.getsockname()
        self.reload(stack, lambda text: text.replace(token_line("goes"), ""))
        self.assertEqual(ask(), 401)
        self.assertEqual(connection.sock.getsockname(), own)

    def test_an_app_is_added_and_a_route_to_it(self):
        stack = self.stack_of()
        stack.control("PUT", "/v1/bundles/com.example.wifi", {})
        refused = stack.put("/v1/devices/new-phone", {"user": "new", "app": "wifi", "token": "ab" * 32})
        self.assertEqual(refused.status, 422, refused)
        line = self.reload(stack, lambda text: text.replace("routes:\n", app("wifi", "com.example.wifi", port=stack.sim_port) +
                                                            "routes:\n  - {name: new, match: {callee: new}, app: wifi}\n"))
        self.assertIn("apps=\"added wifi\" routes=\"added new\"", line)
        self.register(stack, "new", app="wifi", bundle="com.example.wifi")
        push = self.accepted(stack, "new")
        self.assertEqual(push["topic"], "com.example.wifi.voip")
        self.assertEqual(set(stack.get("/readyz", token=None).json["apns"]), {"vcs", "wifi"})

    def test_a_route_is_changed(self):
        stack = self.stack_of()
        self.register(stack, "routed")
        self.accepted(stack, "routed")
        self.reload(stack, lambda text: text.replace("routes:\n",
                                                     "routes:\n  - {name: shut, reject: {status: 410, detail: closed}}\n"))
        refused = stack.post("/v1/calls", {"callee": "routed"})
        self.assertEqual((refused.status, refused.json["detail"]), (410, "closed"))

    def test_the_other_environment_comes_and_goes(self):
        stack = self.stack_of()
        port, control = free_port(), free_port()
        stack.start("sandbox", "wakegate-apns-sim", "--listen", f"127.0.0.1:{port}", "--control", f"127.0.0.1:{control}",
                    "--cert", stack.path("apns-sim.pem"), "--key", stack.path("apns-sim.key"), "--auth-key",
                    f"ABCDE12345:FGHIJ67890:{stack.path('apns-key.pub.pem')}", "--bundle", "com.example.vcs",
                    "--environment", "sandbox")
        stack.request("PUT", "/v1/devices/00ff", {"bundle_id": "com.example.vcs", "environment": "sandbox"}, token=None,
                      port=control)
        other = (f"    other_environment: {{team_id: ABCDE12345, key_id: FGHIJ67890, key_file: apns-key.p8, host: 127.0.0.1, "
                 f"port: {port}, ca_file: ca.pem}}\n")
        made = stack.put("/v1/devices/dev", {"user": "dev", "app": "vcs", "token": "00ff"})
        self.assertEqual(made.status, 201, made)
        self.reload(stack, lambda text: text.replace("routes:\n", other + "routes:\n"))
        call = self.place(stack, "dev", ring_timeout_s=10)
        self.leg(stack, call, "accepted")  # what production calls a bad token is tried there
        self.assertEqual(stack.get("/v1/devices/dev").json["environment"], "sandbox")
        self.assertEqual(set(stack.get("/readyz", token=None).json["apns"]), {"vcs", "vcs/sandbox"})
        stack.delete(f"/v1/calls/{call}")
        self.reload(stack, lambda text: text.replace(other, ""))
        self.assertEqual(set(stack.get("/readyz", token=None).json["apns"]), {"vcs"})
        wait_for(lambda: 'event="apns credential retired" credential=vcs/sandbox' in stack.gateway.log(), 10, stack.gateway.log)
        call = self.place(stack, "dev", ring_timeout_s=2)
        self.leg(stack, call, "failed")
        self.assertIn("no APNs credential for the sandbox environment", stack.gateway.log())

    def test_addresses_that_others_are_told_change(self):
        stack = self.stack_of()
        self.register(stack, "told")
        with open(os.path.join(ROOT, "tests", "fixtures", "sdp", "chromium.sdp")) as f:
            offer = f.read()
        first = stack.post("/v1/calls", {"callee": "told", "offer": offer}).json
        self.assertIn(" 127.0.0.1 ", first["answer"])
        line = self.reload(stack, lambda text: re.sub('public_url: ".*"', 'public_url: "https://phones.example"', text).replace(
            'announce: ["127.0.0.1"]', 'announce: ["192.0.2.7"]'))
        self.assertIn('settings="listen.public_url, media.announce"', line)
        second = stack.post("/v1/calls", {"callee": "told", "offer": offer}).json
        self.assertIn(" 192.0.2.7 ", second["answer"])
        push = wait_for(lambda: self.pushes(stack, second["id"]), 10, stack.gateway.log)[0]
        self.assertEqual(push["payload"]["wakegate"]["attach"], "wss://phones.example/v1/attach")
        for call in (first, second):
            stack.delete(f"/v1/calls/{call['id']}")

    def test_a_key_file_with_another_key_is_read_again(self):
        stack = self.stack_of(gateway=False)
        shutil.copy(stack.path("apns-key.p8"), stack.path("good.p8"))
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", stack.path("apns-key.p8"))
        stack.gateway = stack.start_gateway()
        self.register(stack, "keyed")
        call = self.place(stack, "keyed", ring_timeout_s=2)
        self.assertEqual(self.leg(stack, call, "rejected")["apns_reason"], "InvalidProviderToken")
        shutil.copy(stack.path("good.p8"), stack.path("apns-key.p8"))
        line = self.reload(stack)
        self.assertIn("apps=same", line)
        self.assertIn("credentials_changed=1", line)
        wait_for(lambda: self.leg(stack, self.place(stack, "keyed", ring_timeout_s=1), "accepted", "rejected",
                                  "expired")["push_state"] == "accepted", 15, stack.gateway.log)

    def test_an_app_moves_to_another_server(self):
        stack = self.stack_of()
        port, control = free_port(), free_port()
        stack.start("other", "wakegate-apns-sim", "--listen", f"127.0.0.1:{port}", "--control", f"127.0.0.1:{control}",
                    "--cert", stack.path("apns-sim.pem"), "--key", stack.path("apns-sim.key"), "--auth-key",
                    f"ABCDE12345:FGHIJ67890:{stack.path('apns-key.pub.pem')}", "--bundle", "com.example.vcs")
        self.register(stack, "moved")
        self.accepted(stack, "moved")
        self.reload(stack, lambda text: text.replace(f"port: {stack.sim_port}\n", f"port: {port}\n"))
        seen = len(stack.journal())
        stack.request("PUT", f"/v1/devices/{hashlib.sha256(b'moved').hexdigest()}", {"bundle_id": "com.example.vcs"},
                      token=None, port=control)
        call = self.place(stack, "moved", ring_timeout_s=5)
        self.leg(stack, call, "accepted")
        self.assertEqual(len(stack.journal()), seen)
        wait_for(lambda: not stack.control("GET", "/v1/connections").json["connections"], 15, stack.gateway.log)

    def test_a_webhook_is_added_changed_and_removed(self):
        stack = self.stack_of()
        port = free_port()
        receiver = Receiver(stack, port)
        self.addCleanup(receiver.close)
        self.write_secret(stack, "hook.key", SECRET + "\n")
        with open(stack.config) as f:
            text = f.read()
        hook = (f'webhooks:\n  - {{name: h, url: "https://127.0.0.1:{port}/one", secret_file: hook.key, ca_file: ca.pem, '
                f'allow_private: true, events: ["device.*"]}}\n')
        self.register(stack, "before")
        line = self.reload(stack, lambda t: text + hook)
        self.assertIn('webhooks="added h"', line)
        self.register(stack, "hooked")
        receiver.wait(1)
        self.assertEqual([b["data"]["device"] for b in receiver.bodies()], ["hooked-phone"])
        first = receiver.requests[0][2]["webhook-signature"]
        self.assertEqual(len(first.split(" ")), 1)
        # A second secret in the file: what is signed has two signatures, although the configuration is the same.
        self.write_secret(stack, "hook.key", SECRET + "\n" + SECRET.replace("AAEC", "BBEC") + "\n")
        self.assertIn("webhooks=same", self.reload(stack))
        self.register(stack, "signed-twice")
        receiver.wait(2)
        self.assertEqual(len(receiver.requests[1][2]["webhook-signature"].split(" ")), 2)
        self.assertIn('webhooks="changed h"', self.reload(stack, lambda t: t.replace("/one", "/two")))
        self.register(stack, "elsewhere")
        receiver.wait(3)
        self.assertEqual([r[1] for r in receiver.requests], ["/one", "/one", "/two"])
        self.wait_delivered(stack, 3)  # what is under way to a webhook that is removed comes again when it is back
        self.assertIn('webhooks="removed h"', self.reload(stack, lambda t: text))
        self.register(stack, "after")
        self.reload(stack, lambda t: text + hook)  # what it did not want meanwhile does not come now
        self.register(stack, "back")
        receiver.wait(4)
        self.assertEqual(receiver.bodies()[3]["data"]["device"], "back-phone")

    def test_a_delivery_under_way_is_not_repeated(self):
        stack = self.stack_of(gateway=False)
        port = free_port()
        receiver = Receiver(stack, port, delay_s=1)
        self.addCleanup(receiver.close)
        self.write_secret(stack, "hook.key", SECRET + "\n")
        stack.edit_config(lambda text: text + f'webhooks:\n  - {{name: h, url: "https://127.0.0.1:{port}/", secret_file: '
                          'hook.key, ca_file: ca.pem, allow_private: true, events: ["device.*"]}\n')
        stack.gateway = stack.start_gateway()
        self.register(stack, "slow")
        receiver.wait(1)
        self.reload(stack, lambda text: text.replace("ring_timeout_s: 40", "ring_timeout_s: 30"))
        self.wait_delivered(stack, 1)
        self.assertEqual(len(receiver.requests), 1)

    def test_the_log_gets_another_level_and_form(self):
        stack = self.stack_of(LOG_LEVEL="warn")
        self.assertNotIn("level=info", stack.gateway.log())
        line = self.reload(stack, lambda text: text.replace("log: {level: warn, format: logfmt}", "log: {level: info, format: json}"))
        self.assertEqual(json.loads(line.splitlines()[0])["settings"], "log.level, log.format")
        line = self.reload(stack, lambda text: text.replace("level: info, format: json", "level: error, format: logfmt"))
        self.assertIn("event=reloaded", line)
        said = len(stack.gateway.log())
        self.reload(stack)
        self.assertEqual(stack.gateway.log()[said:], "")

    def test_what_takes_a_restart_stays_and_is_named_while_the_rest_is_applied(self):
        stack = self.stack_of()
        edits = {"listen.api": (f'api: "127.0.0.1:{stack.api_port}"', f'api: "127.0.0.1:{free_port()}"'),
                 "media.port": (f"port: {stack.media_port}\n", "port: 9\n"),
                 "media.workers": ("workers: 1", "workers: 2"),
                 "store.url": ("wakegate.db", "other.db")}
        node = "cluster: {node: b}\nuser: nobody\n"

        def edit(text):
            for was, now in edits.values():
                assert was in text, was
                text = text.replace(was, now)
            return with_tokens(token_line("new"))(text) + node
        for _ in range(2):  # as long as the file says so
            line = self.reload(stack, edit)
            self.assertEqual(re.findall(r'event="not reloaded" key=(\S+) detail="it has changed in the file, and takes a restart',
                                        line), [*edits, "cluster.node", "user"])
            edit = None
        self.assertEqual(stack.get("/v1/calls", token="new").status, 200)
        self.register(stack, "fixed")
        self.accepted(stack, "fixed")
        self.assertFalse(os.path.exists(stack.path("other.db")))


class Certificates(Reloading):
    def seen(self, stack):
        """The certificate that a new connection is shown."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", stack.api_port), timeout=15 * SLOW) as plain:
            with context.wrap_socket(plain) as tls:
                return ssl.DER_cert_to_PEM_cert(tls.getpeercert(True))

    def pem(self, stack, name):
        with open(stack.path(name)) as f:
            return f.read()

    def start(self):
        stack = self.stack_of(gateway=False)
        make_certificate(stack.folder)
        make_certificate(stack.folder, "second")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=third", "-keyout",
                stack.path("third.key"), "-out", stack.path("third.pem"))
        os.chmod(stack.path("third.key"), 0o600)
        stack.edit_config(with_tls())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        def request(method, path, body=None, token="", headers=None, port=None):
            if port:
                return Stack.request(stack, method, path, body, token, headers, port)
            connection = http.client.HTTPSConnection("127.0.0.1", stack.api_port, timeout=15 * SLOW, context=context)
            with contextlib.closing(connection):
                connection.request(method, path, headers={"Authorization": f"Bearer {token or stack.token}"})
                response = connection.getresponse()
                reply = response.read().decode()
                response.text = reply
                return response
        stack.request = request
        stack.gateway = stack.start_gateway()
        return stack, context

    def test_new_connections_get_the_new_one_and_open_ones_stay(self):
        stack, context = self.start()
        self.assertEqual(self.seen(stack), self.pem(stack, "tls.pem"))
        connection = http.client.HTTPSConnection("127.0.0.1", stack.api_port, timeout=15 * SLOW, context=context)
        self.addCleanup(connection.close)

        def ask():
            connection.request("GET", "/healthz")
            response = connection.getresponse()
            response.read()
            return response.status
        self.assertEqual(ask(), 200)
        own = connection.sock.getsockname()
        self.assertIn("certificate=same", self.reload(stack))
        line = self.reload(stack, lambda text: text.replace("tls.pem", "second.pem").replace("tls.key", "second.key"))
        self.assertIn('settings="listen.tls.certificate_file, listen.tls.key_file" certificate=changed', line)
        self.assertEqual(self.seen(stack), self.pem(stack, "second.pem"))
        self.assertEqual((ask(), connection.sock.getsockname()), (200, own))
        # The files' content alone, and a key of another kind.
        for name in ["third", "tls"]:
            shutil.copy(stack.path(name + ".pem"), stack.path("second.pem"))
            shutil.copy(stack.path(name + ".key"), stack.path("second.key"))
            self.assertIn("settings=same certificate=changed", self.reload(stack))
            self.assertEqual(self.seen(stack), self.pem(stack, name + ".pem"))
        self.assertEqual((ask(), connection.sock.getsockname()), (200, own))

    def test_one_that_cannot_be_used_changes_nothing_at_all(self):
        stack, _ = self.start()
        with open(stack.path("noise.pem"), "w") as f:
            f.write("no certificate\n")
        line_of = {"certificate_file": 3, "key_file": 3}
        shutil.copy(stack.config, stack.path("good.yaml"))
        for key, was, now, why in [("key_file", "tls.key", "second.key", "second.key: not the key of the certificate in"),
                                   ("certificate_file", "tls.pem", "noise.pem", "noise.pem: holds no certificate"),
                                   ("certificate_file", "tls.pem", "none.pem", "none.pem: No such file"),
                                   ("key_file", "tls.key", "none.key", "none.key: No such file")]:
            line = self.reload(stack, lambda text, was=was, now=now: with_tokens(token_line("new"))(text).replace(was, now),
                               "refused")
            self.assertRegex(line, rf"wakegate.yaml:{line_of[key]}: listen.tls.{key}: .*/{why}")
            self.assertEqual(self.seen(stack), self.pem(stack, "tls.pem"))
            self.assertEqual(stack.get("/v1/calls", token="new").status, 401)
            shutil.copy(stack.path("good.yaml"), stack.config)

    def test_tls_itself_takes_a_restart(self):
        stack, _ = self.start()
        line = self.reload(stack, lambda text: re.sub("  tls: .*\n", "", text))
        self.assertIn('event="not reloaded" key=listen.tls detail', line)
        self.assertEqual(self.seen(stack), self.pem(stack, "tls.pem"))


class Mistakes(Reloading):
    def test_a_file_that_is_not_good_changes_nothing_and_the_log_says_why(self):
        stack = self.stack_of()
        self.write_secret(stack, "hook.key", "no secret\n")
        self.write_secret(stack, "noise.p8", "no key\n")
        shutil.copy(stack.path("apns-key.p8"), stack.path("open.p8"))
        os.chmod(stack.path("open.p8"), 0o644)
        shutil.copy(stack.config, stack.path("good.yaml"))
        self.register(stack, "steady")
        listener = Listener(stack).wait_live()
        self.addCleanup(listener.close)
        self.write_secret(stack, "good.key", SECRET + "\n")
        good = 'webhooks:\n  - {name: g, url: "https://g.example", secret_file: good.key}\n'
        hook = '  - {name: h, url: "https://h.example", secret_file: hook.key}\n'
        cases = [(lambda t: t + "listen: [\n", r"wakegate.yaml:\d+: not YAML"),
                 (lambda t: t.replace("ring_timeout_s", "ring_timeout"),
                  r'wakegate.yaml:30: routes\[0\].ring_timeout: unknown key; did you mean .*ring_timeout_s'),
                 (lambda t: t.replace("app: vcs", "app: vsc"), r"wakegate.yaml:30: routes\[0\].app: no app has the name"),
                 (lambda t: t.replace("key_file: apns-key.p8", "key_file: open.p8"),
                  r"wakegate.yaml:25: apps\[0\].apns.key_file: .*open.p8: others can use this secret .*chmod 600"),
                 (lambda t: t.replace("key_file: apns-key.p8", "key_file: none.p8"), r"none.p8: No such file"),
                 (lambda t: t.replace("key_file: apns-key.p8", "key_file: noise.p8"), r"wakegate.yaml:23: apps\[0\].apns: .*key"),
                 (lambda t: t.replace("ca_file: ca.pem", "ca_file: none.pem"), r"apps\[0\].apns: ca_file: .*none.pem"),
                 (lambda t: t.replace("level: debug", "level: ${WAKEGATE_NOT_SET}"), r"WAKEGATE_NOT_SET.*not set"),
                 (lambda t: t + hook, r"wakegate.yaml:\d+: webhooks\[1\]: webhooks: h: .*hook.key: line 1 is not")]
        for edit, why in cases:
            line = self.reload(stack, lambda text, edit=edit: edit(with_tokens(token_line("new"))(text).replace(
                "name: everybody", "name: other") + good), "refused")
            self.assertRegex(line, rf'event="reload refused" detail=".*{why}.*then="nothing has changed"')
            self.assertEqual(stack.get("/v1/calls", token="new").status, 401)
            self.assertNotIn('webhook="g"', stack.get("/metrics", token=None).text)
            shutil.copy(stack.path("good.yaml"), stack.config)
        os.unlink(stack.config)
        self.assertIn("wakegate.yaml: No such file", self.reload(stack, None, "refused"))
        self.accepted(stack, "steady")
        self.assertFalse(listener.ended)
        self.assertEqual(stack.gateway.stop(), 0)

    def test_files_of_root_are_named_when_the_gateway_runs_as_another_user(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become another user")
        stack = self.stack_of(gateway=False, edit=lambda text: text + "user: nobody\n")
        nobody = pwd.getpwnam("nobody")
        os.chown(stack.folder, nobody.pw_uid, nobody.pw_gid)
        os.chmod(stack.config, 0o644)
        for name in ["ca.pem", "seal.key"]:
            os.chown(stack.path(name), nobody.pw_uid, nobody.pw_gid)
        stack.gateway = stack.start("gateway", "wakegate", "serve", "-c", stack.config, env=NO_LEAK_CHECK)
        line = self.reload(stack, None, "refused")
        self.assertRegex(line, r"apps\[0\].apns.key_file: .*/apns-key.p8: Permission denied; it must belong to the user that "
                               "this process runs as")
        os.chown(stack.path("apns-key.p8"), nobody.pw_uid, nobody.pw_gid)
        self.reload(stack)
        os.chmod(stack.config, 0o600)
        self.assertIn("wakegate.yaml: Permission denied; the user that this process runs as must be able to read it",
                      self.reload(stack, None, "refused"))


class Signals(Reloading):
    @staticmethod
    def holds(pid):
        """Its main thread has SIGHUP blocked."""
        with open(f"/proc/{pid}/status") as f:
            return int(re.search(r"SigBlk:\s*([0-9a-f]+)", f.read())[1], 16) & 1 << signal.SIGHUP - 1

    def test_a_signal_that_comes_while_it_starts_is_harmless(self):
        stack = self.stack_of(gateway=False)
        ready = stack.path("early.ready")
        stack.gateway = stack.start("gateway", "wakegate", "serve", "-c", stack.config, "--ready-file", ready, ready=False)
        pid = stack.gateway.process.pid
        wait_for(lambda: self.holds(pid) or os.path.exists(ready), 10, stack.gateway.log)
        self.assertFalse(os.path.exists(ready), "it was too quick for this test")
        while not os.path.exists(ready):
            stack.gateway.process.send_signal(signal.SIGHUP)
            self.assertIsNone(stack.gateway.process.poll(), stack.gateway.log())
            time.sleep(0.001)
        wait_for(lambda: self.counts(stack)["applied"] >= 1, 10, stack.gateway.log)

    def test_many_in_a_row_and_one_at_the_end_are_harmless(self):
        stack = self.stack_of()
        for _ in range(100):
            stack.gateway.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.counts(stack)["applied"] >= 1, 10, stack.gateway.log)
        self.register(stack, "ringing")
        self.place(stack, "ringing", ring_timeout_s=2)
        stack.gateway.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "event=draining" in stack.gateway.log(), 10, stack.gateway.log)
        stack.gateway.process.send_signal(signal.SIGHUP)
        wait_for(lambda: 'event="not reloaded" detail="the gateway goes down"' in stack.gateway.log(), 10, stack.gateway.log)
        self.assertEqual(stack.gateway.process.wait(30 * SLOW), 0)


if __name__ == "__main__":
    unittest.main()
