# SPDX-License-Identifier: Apache-2.0
"""What the gateway makes of the APNs client: logins, proxy, both environments, lanes, alarms, provider tokens that outlive a
restart."""
import asyncio
import base64
import contextlib
import os
import sqlite3
import subprocess
import types
import unittest

from harness import BIN, Stack, free_port, wait_for
import test_apns_login
from test_attach import Phone

APNS = "      team_id: ABCDE12345\n      key_id: FGHIJ67890\n      key_file: apns-key.p8\n"


def openssl(folder, *args):
    subprocess.run(["openssl", *args], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class PushService(unittest.TestCase):
    def stack(self, **options):
        stack = Stack(**options)
        self.addCleanup(stack.close)
        return stack

    @staticmethod
    def register(stack, device, token="00ff", **more):
        reply = stack.put(f"/v1/devices/{device}", {"user": device, "app": "vcs", "token": token, **more})
        assert reply.status in (200, 201), reply

    @staticmethod
    def ring(stack, user):
        """The leg of the one device, when APNs has answered or the push has failed."""
        reply = stack.post("/v1/calls", {"callee": user, "ring_timeout_s": 2})
        assert reply.status == 201, reply
        call = reply.json["id"]

        def answered():
            [leg] = stack.call(call)["devices"]
            return leg if leg["push_state"] not in ("none", "queued") else None
        return wait_for(answered, 10, stack.gateway.log)

    @staticmethod
    def device(stack, name):
        return stack.get(f"/v1/devices/{name}").json

    @staticmethod
    def known(stack, token="00ff", **more):
        stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs", **more})

    # Provider tokens

    @staticmethod
    def sealed(stack):
        with contextlib.closing(sqlite3.connect(f"file:{stack.path('wakegate.db')}?mode=ro", uri=True)) as db:
            return db.execute("SELECT name, value FROM sealed WHERE name LIKE 'provider-token/%'").fetchall()

    def one_ring(self, stack):
        self.known(stack)
        self.register(stack, "phone")
        self.assertEqual(self.ring(stack, "phone")["push_state"], "accepted")

    def test_a_provider_token_outlives_a_restart_and_lies_sealed_on_the_disk(self):
        stack = self.stack()
        self.one_ring(stack)
        [(name, value)] = wait_for(lambda: self.sealed(stack))
        self.assertEqual(name, "provider-token/ABCDE12345/FGHIJ67890")
        self.assertNotIn("eyJ", value)  # a JWT begins so
        stack.gateway.kill()
        stack.gateway = stack.start_gateway()
        self.one_ring(stack)
        stack.gateway.stop()
        self.assertEqual(self.sealed(stack), [(name, value)])
        self.assertNotIn("not taken over", stack.gateway.log())

    def test_without_the_key_a_new_one_is_made(self):
        stack = self.stack()
        self.one_ring(stack)
        before = wait_for(lambda: self.sealed(stack))
        stack.gateway.kill()
        with open(stack.path("seal.key"), "w") as f:
            f.write(os.urandom(32).hex() + "\n")
        stack.gateway = stack.start_gateway()
        self.one_ring(stack)
        self.assertIn("provider token not taken over", stack.gateway.log())
        wait_for(lambda: self.sealed(stack) != before)

    def test_without_a_seal_key_nothing_is_stored(self):
        stack = self.stack(edit=lambda text: text.replace("  seal_key_file: seal.key\n", ""))
        self.one_ring(stack)
        stack.gateway.stop()
        self.assertEqual(self.sealed(stack), [])

    # Environments and lanes

    def test_a_new_token_of_the_other_environment_rings_there_and_is_remembered(self):
        other_port, other_control = free_port(), free_port()
        stack = self.stack(gateway=False, edit=lambda text: text.replace("routes:", f"""\
    other_environment: {{team_id: ABCDE12345, key_id: FGHIJ67890, key_file: apns-key.p8, host: 127.0.0.1, port: {other_port}, ca_file: ca.pem}}
routes:"""))
        stack.start("sandbox", "wakegate-apns-sim", "--listen", f"127.0.0.1:{other_port}", "--control",
                    f"127.0.0.1:{other_control}", "--cert", stack.path("apns-sim.pem"), "--key", stack.path("apns-sim.key"),
                    "--auth-key", f"ABCDE12345:FGHIJ67890:{stack.path('apns-key.pub.pem')}", "--bundle", "com.example.vcs",
                    "--environment", "sandbox")
        stack.gateway = stack.start_gateway()
        stack.request("PUT", "/v1/devices/00ff", {"bundle_id": "com.example.vcs", "environment": "sandbox"}, token=None,
                      port=other_control)
        self.register(stack, "phone")
        self.assertEqual(self.device(stack, "phone")["environment"], "production")
        leg = self.ring(stack, "phone")
        self.assertEqual((leg["push_state"], leg["apns_status"]), ("accepted", 200))
        self.assertEqual(self.device(stack, "phone")["environment"], "sandbox")
        asked = len(stack.journal())
        self.assertEqual(self.ring(stack, "phone")["push_state"], "accepted")
        self.assertEqual(len(stack.journal()), asked)  # not in the wrong one again
        self.assertEqual(set(stack.get("/readyz", token=None).json["apns"]), {"vcs", "vcs/sandbox"})
        # A token that neither knows is given up.
        self.register(stack, "stranger", "00fe")
        self.assertEqual(self.ring(stack, "stranger")["apns_reason"], "BadDeviceToken")
        self.assertEqual(self.device(stack, "stranger")["health"], "invalid")

    def test_bad_new_tokens_do_not_cut_the_connection_for_rings(self):
        stack = self.stack(sim=False, gateway=False)
        stack.sim = stack.start_sim("--after-rejection", "strict")
        stack.gateway = stack.start_gateway()
        wait_for(lambda: len(stack.control("GET", "/v1/connections").json["connections"]) == 2)
        self.one_ring(stack)
        self.assertEqual(self.ring(stack, "phone")["push_state"], "accepted")
        self.register(stack, "stranger", "00fe")
        self.assertEqual(self.ring(stack, "stranger")["apns_reason"], "BadDeviceToken")
        good, bad = [{r["connection"] for r in stack.journal() if r["token"] == t} for t in ("00ff", "00fe")]
        limits = {c["connection"]: c["stream_limit"] for c in stack.control("GET", "/v1/connections").json["connections"]}
        self.assertEqual([limits[c] for c in bad], [1])
        rings = stack.journal()[-2]["connection"]
        self.assertIn(rings, good)
        self.assertNotIn(rings, bad)
        self.assertGreater(limits[rings], 1)

    def test_a_token_that_apns_refuses_is_told_to_the_phone(self):
        stack = self.stack()
        stack.control("PUT", "/v1/devices/00ff", {"bundle_id": "com.example.other"})
        for device, token, reason, health, code in (
                ("phone", "00ff", "DeviceTokenNotForTopic", "suspect", "token_misfiled"),
                ("stranger", "00fe", "BadDeviceToken", "invalid", "token_invalid")):
            secret = stack.put(f"/v1/devices/{device}", {"user": device, "app": "vcs", "token": token}).json["device_secret"]
            self.assertEqual(self.ring(stack, device)["apns_reason"], reason)
            self.assertEqual(self.device(stack, device)["health"], health)
            told = asyncio.run(self.told(stack, device, secret))
            self.assertEqual((told["code"], told["detail"]), (code, self.device(stack, device)["health_reason"]))

    @staticmethod
    async def told(stack, device, secret):
        phone = await Phone(stack, device).dial(secret=secret, app_state="foreground", on_call=False)
        try:
            return await phone.hear("error")
        finally:
            await phone.ws.close()

    # Alarms

    def test_a_refused_key_is_an_alarm_in_health_metrics_and_log(self):
        stack = self.stack(edit=lambda text: text.replace("key_id: FGHIJ67890", "key_id: FGHIJ67899"))
        self.assertEqual(stack.get("/readyz", token=None).json["alarms"], [])
        self.known(stack)
        self.register(stack, "phone")
        self.assertEqual(self.ring(stack, "phone")["apns_reason"], "InvalidProviderToken")
        [alarm] = stack.get("/readyz", token=None).json["alarms"]
        self.assertEqual((alarm["credential"], alarm["alarm"]), ("vcs", "credential"))
        self.assertIn('wakegate_apns_alarms_total{credential="vcs",alarm="credential"} 1',
                      stack.get("/metrics", token=None).text)
        self.assertIn('event="apns alarm"', stack.gateway.log())

    # Logins

    @staticmethod
    def doctor(stack, *args):
        return subprocess.run([os.path.join(BIN, "wakegate"), "push-doctor", "-c", stack.config, *args], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)

    def certificate(self, stack, subject="/CN=Apple Push Services: com.example.vcs"):
        openssl(stack.folder, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "push.key")
        openssl(stack.folder, "req", "-new", "-key", "push.key", "-subj", f"/UID=com.example.vcs{subject}", "-out", "push.csr")
        with open(stack.path("push.ext"), "w") as f:
            # One topic with its suffix for VoIP, as Apple's certificates name them: a list of topic and kinds.
            f.write("1.2.840.113635.100.6.3.2=ASN1:NULL\n1.2.840.113635.100.6.3.6=ASN1:SEQUENCE:topics\n[topics]\n"
                    "bundle=UTF8:com.example.vcs\nkinds=SEQUENCE:kinds\nvoip=UTF8:com.example.vcs.voip\n"
                    "voipkinds=SEQUENCE:voipkinds\n[kinds]\na=UTF8:app\n[voipkinds]\na=UTF8:voip\n")
        openssl(stack.folder, "x509", "-req", "-in", "push.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "77",
                "-days", "20", "-extfile", "push.ext", "-out", "push.crt")

    def ring_with_certificate(self, stack):
        stack.sim = stack.start_sim("--client-ca", stack.path("ca.pem"), "--client-certificates")
        stack.gateway = stack.start_gateway()
        self.one_ring(stack)

    @staticmethod
    def with_certificate(lines):
        return lambda text: text.replace(APNS, lines)

    def test_a_certificate_in_pem_and_its_end_in_sight(self):
        stack = self.stack(sim=False, gateway=False, edit=self.with_certificate("      certificate_file: push.pem\n"))
        self.certificate(stack)
        with open(os.open(stack.path("push.pem"), os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            for part in ("push.crt", "push.key"):
                with open(stack.path(part)) as p:
                    f.write(p.read())
        self.ring_with_certificate(stack)
        [alarm] = stack.get("/readyz", token=None).json["alarms"]
        self.assertEqual(alarm["alarm"], "expiry")
        self.assertRegex(stack.gateway.log(), r"the certificate ends in (19|20) days: replace it before")

    def test_a_certificate_in_pkcs12_with_a_password(self):
        stack = self.stack(sim=False, gateway=False, edit=self.with_certificate(
            "      certificate_file: push.p12\n      certificate_password_file: push.password\n      expiry_alarm_days: 5\n"))
        self.certificate(stack)
        openssl(stack.folder, "pkcs12", "-export", "-in", "push.crt", "-inkey", "push.key", "-out", "push.p12",
                "-passout", "pass:sesame")
        with open(os.open(stack.path("push.password"), os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write("sesame\n")
        os.chmod(stack.path("push.p12"), 0o600)
        self.ring_with_certificate(stack)
        self.assertEqual(stack.get("/readyz", token=None).json["alarms"], [])
        doctor = self.doctor(stack, "--device", "00ff")
        self.assertEqual(doctor.returncode, 0, doctor.stdout)
        stack.gateway.stop()
        with open(stack.path("push.password"), "w") as f:
            f.write("wrong\n")
        refused = stack.start("refused", "wakegate", "serve", "-c", stack.config, ready=False)
        self.assertEqual(refused.process.wait(20), 1)
        self.assertIn("apps[0].apns (vcs): ", refused.log())
        self.assertIn("password", refused.log())

    def test_a_proxy_with_a_password(self):
        stack = self.stack(gateway=False)
        login = base64.b64encode(b"me:sesame").decode()

        def act(request):
            if f"\r\nProxy-Authorization: Basic {login}\r\n" in request.server.heads[-1]:
                request.way()
            else:
                request.say(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        proxy = test_apns_login.Proxy(types.SimpleNamespace(stack=stack, addCleanup=self.addCleanup), act)
        stack.edit_config(lambda text: text.replace(APNS, (
            f"{APNS}      proxy: \"{proxy.address}\"\n      proxy_user: me\n      proxy_password_file: proxy.password\n")))
        with open(os.open(stack.path("proxy.password"), os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write("sesame\n")
        stack.gateway = stack.start_gateway()
        self.one_ring(stack)
        self.assertEqual({head.split()[1] for head in proxy.heads}, {f"127.0.0.1:{stack.sim_port}"})
        good = self.doctor(stack)
        self.assertEqual(good.returncode, 0, good.stdout)
        self.assertIn(f"the proxy opened a way to 127.0.0.1:{stack.sim_port}", good.stdout)
        stack.gateway.stop()
        with open(stack.path("proxy.password"), "w") as f:
            f.write("wrong\n")
        bad = self.doctor(stack)
        self.assertEqual(bad.returncode, 1)
        self.assertRegex(bad.stdout, "proxy +FAILS .*407")
        stack.gateway = stack.start("gateway", "wakegate", "serve", "-c", stack.config)
        wait_for(lambda: "407 Proxy Authentication Required" in stack.gateway.log())


if __name__ == "__main__":
    unittest.main()
