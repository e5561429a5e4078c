# SPDX-License-Identifier: Apache-2.0
"""The console at / in Chromium: what it shows of real calls and devices, what it says to tokens that may not, that hostile
names stay text, and that nothing breaks its Content-Security-Policy."""
import hashlib
import os
import shutil
import tempfile
import unittest

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from harness import Stack, wait_for

HOSTILE = "<img src=x onerror=document.title='owned'>"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--window-size=1400,1000"]


def edit(text):
    """Tokens that may less, and a webhook that nobody answers."""
    def token(name, scopes, rest=""):
        return f'    - {{name: {name}, sha256: "{hashlib.sha256(name.encode()).hexdigest()}", scopes: [{scopes}]{rest}}}\n'
    more = token("caller", "calls") + token("slow", "calls, devices, admin", ", rate: {per_s: 1, burst: 1}")
    return text.replace("apps:\n", more + "apps:\n", 1) + (
        'webhooks:\n  - {name: nobody, url: "https://127.0.0.1:9/", secret_file: hook.key, allow_private: true, retry_s: [1], '
        'events: [device.registered]}\n')


class Console(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(gateway=False, edit=edit)
        cls.addClassCleanup(cls.stack.close)
        with open(cls.stack.path("hook.key"), "w", encoding="ascii") as f:
            f.write("whsec_" + "A" * 43 + "=\n")
        os.chmod(cls.stack.path("hook.key"), 0o600)
        cls.stack.gateway = cls.stack.start_gateway()
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        profile = tempfile.mkdtemp(prefix="wakegate-chromium-")
        cls.addClassCleanup(shutil.rmtree, profile, ignore_errors=True)
        for flag in FLAGS + [f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        cls.browser = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        cls.addClassCleanup(cls.browser.quit)
        cls.browser.set_page_load_timeout(30)

    def setUp(self):
        self.addCleanup(self.leave)
        self.browser.get(self.stack.url + "/")

    def leave(self):
        """The next test's page begins without a token, and its log without what this one's was still to get."""
        self.browser.execute_script("sessionStorage.clear()")
        self.browser.get("about:blank")
        self.log()

    def find(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        """What a person sees of it; asked in one step, since the page changes under us."""
        return self.browser.execute_script("return Array.from(document.querySelectorAll(arguments[0])).map(n => n.innerText).join('\\n')",
                                           selector)

    def wait_text(self, selector, *wanted, timeout_s=20):
        return wait_for(lambda: all(w in self.text(selector) for w in wanted), timeout_s,
                        lambda: f"{selector} is {self.text(selector)!r}\n{self.log()}\n{self.stack.gateway.log()}")

    def log(self):
        return self.browser.get_log("browser")

    def click(self, selector):
        self.browser.execute_script("document.querySelector(arguments[0]).click()", selector)

    def use(self, token=None):
        self.find("#token")[0].send_keys(token or self.stack.token)
        self.find("#token-form button")[0].click()

    def quiet_log(self, *allowed):
        """Nothing in the browser's log but the statuses that the test asks for: no exception, no violation of the policy."""
        rest = [e for e in self.log() if not any(a in e["message"] for a in allowed)]
        self.assertEqual(rest, [])

    def place(self, callee, name="Ward 3"):
        reply = self.stack.post("/v1/calls", {"callee": callee, "caller": {"handle": "+15550100", "name": name}})
        self.assertEqual(reply.status, 201, reply)
        return reply.json["id"]

    def test_a_call_appears_and_ends_and_its_events_are_shown(self):
        phone = self.stack.start_phone("iphone-1", "nurse-1")
        self.use()
        self.wait_text("#listening", "live")
        self.wait_text("#ready", "ready")
        self.wait_text("#live .message", "No call is live.")
        call = self.place("nurse-1")
        self.wait_text("#event-list", "call.ringing", "call.answered", "push.accepted")
        self.wait_text("#live tbody", "nurse-1", "answered", "Ward 3", "iphone-1", "push accepted")
        self.click("#live tbody button")
        self.wait_text("#call .timeline", "request", "push accepted", "answered", " ms")
        self.wait_text("#call-body", call, "callkit")
        self.click("#end-call")
        self.wait_text("#end-call", "Really end it?")
        self.assertEqual(self.stack.call(call)["state"], "answered")  # one click does not end it
        self.click("#end-call")
        self.assertEqual(self.stack.wait_state(call, "ended")["reason"], "completed")
        self.wait_text("#call .facts", "completed")
        self.wait_text("#event-list", "call.ended")
        self.wait_text("#recent tbody", "nurse-1", "completed")
        self.wait_text("#live .message", "No call is live.")
        self.wait_text("#report tbody", "1.0", "100 %", timeout_s=45)
        self.quiet_log()
        phone.stop()

    def test_hostile_names_are_text(self):
        self.stack.put("/v1/devices/hostile", {"user": HOSTILE, "app": "vcs", "token": "00aa", "app_version": "<i>1</i>"})
        self.use()
        self.wait_text("#listening", "live")
        call = self.place(HOSTILE, HOSTILE + "\u202e")
        self.wait_text("#devices tbody", HOSTILE, "<i>1</i>")
        self.wait_text("#event-list", HOSTILE)
        self.stack.delete(f"/v1/calls/{call}")
        self.wait_text("#recent tbody", HOSTILE)
        self.browser.execute_script("[...document.querySelectorAll('#recent tbody button')]"
                                    ".find(b => b.textContent === arguments[0]).click()", HOSTILE)
        self.wait_text("#call-title", HOSTILE)
        self.wait_text("#call .timeline", HOSTILE)
        self.assertEqual(self.browser.execute_script("return document.querySelectorAll('img, b, i').length"), 0)
        self.assertEqual(self.browser.title, "wakegate")
        self.quiet_log()

    def test_a_wrong_token_is_told_and_not_kept(self):
        self.use("wg_wrong")
        self.wait_text("#token-error", "does not know this token")
        self.assertFalse(self.find("#panels")[0].is_displayed())
        self.assertIsNone(self.browser.execute_script("return sessionStorage.getItem('wakegate.token')"))
        self.quiet_log("401")

    def test_the_token_is_in_the_tab_alone(self):
        self.use()
        self.wait_text("#live .message", "No call is live.")
        self.assertEqual(self.browser.current_url, self.stack.url + "/")
        stored = "return [sessionStorage.length, localStorage.length, document.cookie]"
        self.assertEqual(self.browser.execute_script(stored), [1, 0, ""])
        asked = self.browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        self.assertTrue(any("/v1/calls" in url for url in asked), asked)
        self.assertFalse([url for url in asked if self.stack.token in url])
        self.browser.refresh()
        self.wait_text("#live .message", "No call is live.")
        self.click("#forget")
        self.assertTrue(self.find("#token-form")[0].is_displayed())
        self.assertEqual(self.browser.execute_script(stored), [0, 0, ""])

    def test_a_scope_that_is_missing_is_named(self):
        self.use("caller")
        self.wait_text("#devices .message", "lacks the scope devices")
        self.wait_text("#letters .message", "lacks the scope admin")
        self.wait_text("#live .message", "No call is live.")
        self.quiet_log("403")

    def test_a_token_that_asks_for_too_much_is_told(self):
        self.use("slow")
        self.wait_text("#notice", "too many requests")
        self.quiet_log("429")

    def test_dead_letters_are_sent_again_and_deleted(self):
        self.stack.put("/v1/devices/letter", {"user": "letter", "app": "vcs", "token": "00bb"})
        letters = "/v1/webhooks/dead-letters"
        mine = lambda: [l for l in self.stack.get(letters).json["dead_letters"] if l["event"]["data"]["device"] == "letter"]
        wait_for(mine, 30)
        self.use()
        self.wait_text("#letters tbody", "nobody", "device.registered", "device letter")
        button = "[...document.querySelectorAll('#letters tr')].find(r => r.innerText.includes('device letter'))" \
                 ".querySelector(`[data-act=${arguments[0]}]`).click()"
        self.browser.execute_script(button, "again")
        wait_for(lambda: 'device letter' not in self.text("#letters tbody"))
        wait_for(mine, 30)
        self.browser.refresh()
        self.wait_text("#letters tbody", "device letter")
        self.browser.execute_script(button, "remove")
        self.assertTrue(mine())
        self.browser.execute_script(button, "remove")
        wait_for(lambda: not mine())
        wait_for(lambda: 'device letter' not in self.text("#letters tbody"))
        self.quiet_log()

    def test_devices_are_found_by_health(self):
        self.stack.put("/v1/devices/well", {"user": "well", "app": "vcs", "token": "00cc"})
        self.stack.put("/v1/devices/unwell", {"user": "unwell", "app": "vcs", "token": "00dd"})  # the simulator knows no such token
        self.place("unwell")
        wait_for(lambda: self.stack.get("/v1/devices/unwell").json["health"] == "invalid")
        self.use()
        self.wait_text("#devices tbody", "well", "unwell", "invalid", self.stack.get("/v1/devices/unwell").json["health_reason"])
        self.find("#health option:nth-child(5)")[0].click()
        wait_for(lambda: "ok" not in self.text("#devices tbody .pill"), 10, lambda: self.text("#devices tbody"))
        self.wait_text("#devices tbody", "unwell")
        self.quiet_log()

    def test_the_gateway_goes_and_comes_back(self):
        self.use()
        self.wait_text("#listening", "live")
        self.register("before")
        self.wait_text("#event-list", "user before")
        self.stack.gateway.kill()
        self.wait_text("#notice", "does not answer")
        self.wait_text("#listening", "reconnecting")
        self.wait_text("#ready", "no answer")
        self.stack.gateway = self.stack.start_gateway()
        self.register("meanwhile")  # the page waits for its next try now, and has to ask for what it missed
        self.wait_text("#listening", "live", timeout_s=60)
        self.wait_text("#event-list", "user meanwhile", "user before")
        self.wait_text("#ready", "ready", timeout_s=60)
        wait_for(lambda: not self.find("#notice")[0].is_displayed())
        call = self.place_to("back")
        self.wait_text("#event-list", "callee back")
        self.stack.delete(f"/v1/calls/{call}")
        self.quiet_log("ERR_")

    def test_an_alarm_says_what_to_see_to(self):
        """Without a token: whoever can reach the gateway sees whether it works."""
        stack = Stack(edit=lambda text: text.replace("key_id: FGHIJ67890", "key_id: FGHIJ67899"))
        self.addCleanup(stack.close)
        self.browser.get(stack.url + "/")
        self.wait_text("#readiness-facts", "none in 24 hours", "vcs: connected")
        stack.put("/v1/devices/alarmed", {"user": "alarmed", "app": "vcs", "token": "00ff"})
        stack.post("/v1/calls", {"callee": "alarmed"})
        wait_for(lambda: stack.get("/readyz", token=None).json["alarms"])
        self.wait_text("#alarms", "vcs: credential", "APNs refuses the key", timeout_s=30)
        self.quiet_log("503")

    def register(self, user):
        self.stack.put("/v1/devices/" + user, {"user": user, "app": "vcs", "token": "00ee"})

    def place_to(self, user):
        self.register(user)
        return self.place(user)

    def test_it_fits_a_phone(self):
        self.place_to("narrow")
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                     {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": True})
        self.addCleanup(self.browser.execute_cdp_cmd, "Emulation.clearDeviceMetricsOverride", {})
        self.use()
        self.wait_text("#devices tbody", "narrow")
        self.wait_text("#recent tbody", "narrow")
        self.assertLessEqual(self.browser.execute_script("return document.documentElement.scrollWidth"), 360)


if __name__ == "__main__":
    unittest.main()
