# SPDX-License-Identifier: Apache-2.0
"""gateway/openapi.yaml and the gateway say the same: routes, scopes, statuses, problem types and documents."""
import asyncio
import contextlib
import glob
import hashlib
import http.client
import json
import os
import re
import signal
import sqlite3
import unittest
import urllib.parse
import uuid

import jsonschema
import websockets
import yaml

from harness import ROOT, SLOW, Stack, StackTest, wait_for

METHODS = ("get", "put", "post", "delete", "patch", "options")
FILE = os.path.join(ROOT, "gateway", "openapi.yaml")
with open(FILE, encoding="utf-8") as f:
    TEXT = f.read()
DOC = yaml.safe_load(TEXT)
FINGERPRINT = ":".join(f"{7 * i % 256:02X}" for i in range(32))
OFFER = ("v=0\r\no=- 46117 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\n"
         "c=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
         f"a=fingerprint:sha-256 {FINGERPRINT}\r\na=setup:actpass\r\na=sendrecv\r\na=rtcp-mux\r\n"
         "a=rtpmap:111 opus/48000/2\r\na=rtpmap:0 PCMU/8000\r\n")


def follow(node):
    while isinstance(node, dict) and "$ref" in node:
        target, rest = DOC, {k: v for k, v in node.items() if k != "$ref"}
        for part in node["$ref"][2:].split("/"):
            target = target[part]
        node = {**target, **rest}
    return node


def component(name):
    return {"$ref": f"#/components/schemas/{name}"}


def validate(schema, value):
    """Against the schema; and nothing is in the value that the schema does not name."""
    root = {**schema, "components": DOC["components"]}
    jsonschema.Draft202012Validator(root).validate(value)
    for place in unnamed(schema, value, "$"):
        raise jsonschema.ValidationError(f"{place} is not described")


def is_valid(schema, value):
    return jsonschema.Draft202012Validator({**schema, "components": DOC["components"]}).is_valid(value)


def properties(schema, value):
    """All properties that a schema names for this value, or None when any are welcome."""
    schema = follow(schema)
    named, closed = dict(schema.get("properties", {})), "properties" in schema
    for part in schema.get("allOf", []) + [s for s in schema.get("oneOf", []) if is_valid(s, value)]:
        more = properties(part, value)
        if more is not None:
            named.update(more)
            closed = True
    return named if closed else None


def items(schema, value):
    schema = follow(schema)
    if "items" in schema:
        return schema["items"]
    return next((items(s, value) for s in schema.get("oneOf", []) if is_valid(s, value)), {})


def unnamed(schema, value, place):
    if isinstance(value, list):
        for i, v in enumerate(value):
            yield from unnamed(items(schema, value), v, f"{place}[{i}]")
    elif isinstance(value, dict):
        known = properties(schema, value)
        for key, v in value.items() if known is not None else ():
            if key not in known:
                yield f"{place}.{key}"
            else:
                yield from unnamed(known[key], v, f"{place}.{key}")


def operations():
    for path, item in DOC["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def parameters(path, op):
    return [follow(p) for p in DOC["paths"][path].get("parameters", []) + op.get("parameters", [])]


def code_routes():
    """(path, METHOD) -> (auth, scope), from the tables in the C sources."""
    found = {}
    row = re.compile(r'\{"([A-Z]+)",\s*"(/[^"]*)",\s*HTTP_AUTH_(\w+),\s*([\w |]+),\s*\w+\}')
    for method, path, auth, scope in row.findall(code_text()):
        found[path, method] = (auth, scope)
    return found


def code_text():
    texts = []
    for source in sorted(glob.glob(os.path.join(ROOT, "gateway", "*.c"))):
        with open(source, encoding="utf-8") as c:
            texts.append(c.read())
    return "\n".join(texts)


class File(unittest.TestCase):
    """What can be said without a gateway."""

    def test_every_route_is_described_and_nothing_else(self):
        routes = code_routes()
        self.assertGreater(len(routes), 10)
        [attach] = re.findall(r'\.ws_path = "([^"]+)"', code_text())
        routes[attach, "GET"] = ("NONE", "0")
        self.assertEqual(sorted((path, method.upper()) for path, method, _ in operations()), sorted(routes))
        for path, method, op in operations():
            auth, scope = routes[path, method.upper()]
            scopes = [{"apiToken": [one.replace("CONFIG_SCOPE_", "").lower()]} for one in scope.split(" | ")]
            expected = {"NONE": [], "BEARER": [{"phone": []}], "TOKEN": scopes, "EITHER": scopes + [{"phone": []}]}[auth]
            self.assertEqual(op["security"], expected, (method, path))
            self.assertEqual("401" in op["responses"], auth != "NONE", (method, path))
            self.assertEqual("403" in op["responses"], auth in ("TOKEN", "EITHER"), (method, path))
            self.assertEqual("429" in op["responses"], auth != "NONE", (method, path))

    def test_every_problem_type_is_described_and_nothing_else(self):
        text = code_text()
        types = set(re.findall(r'http_problem\([^"]*?(?:\d{3}|status),\s*"([a-z-]+)"', text))
        types |= set(re.findall(r'\(struct problem\)\{"([a-z-]+)"', text))
        types |= set(re.findall(r'call_refuse\([^"]*?"([a-z-]+)"', text))
        described = {t.rsplit(":", 1)[1] for t in DOC["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]}
        self.assertEqual(described, types)
        [base] = re.findall(r'#define PROBLEM_BASE "([^"]+)"', text)
        self.assertEqual({t.rsplit(":", 1)[0] + ":" for t in
                          DOC["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]}, {base})

    def test_the_message_types_are_those_of_the_code(self):
        text = code_text()
        from_phone = set(re.findall(r'MESSAGE\("(\w+)"', text))
        to_phone = set(re.findall(r'begin\(out, "(\w+)"\)', text))

        def described(name):
            for branch in DOC["components"]["schemas"][name]["oneOf"]:
                kind = branch["properties"]["type"]
                yield from kind.get("enum", [kind.get("const")])
        self.assertEqual(set(described("AttachFromPhone")), from_phone)
        self.assertEqual(set(described("AttachToPhone")), to_phone)

    def test_event_types_are_those_of_the_code(self):
        types = re.findall(r'\[EVENT_[A-Z_]+\] = \{"([a-z.]+)"', code_text())
        self.assertGreater(len(types), 10)
        self.assertEqual(DOC["components"]["schemas"]["EventType"]["enum"], types)

    def test_timeline_events_are_those_of_the_code(self):
        noted = set(re.findall(r'call_note(?:_device)?\(\s*[\w>-]+,[^"]*"(\w+)"', code_text()))
        noted |= set(re.findall(r'call_note\([^"]*"\w+" : "(\w+)"', code_text()))
        self.assertEqual(set(DOC["components"]["schemas"]["TimelineEvent"]["properties"]["event"]["enum"]), noted)

    def test_schemas_references_and_examples_hold(self):
        self.assertTrue(DOC["openapi"].startswith("3.1"))
        used = set(re.findall(r'\$ref: "#/components/(\w+)/(\w+)"', TEXT))
        for kind, name in used:
            self.assertIn(name, DOC["components"][kind])
        for name, schema in DOC["components"]["schemas"].items():
            jsonschema.Draft202012Validator.check_schema(schema)
        schemas = {"CallRequest": "CallRequest", "CallCreated": "CallCreated", "Call": "Call", "DeviceRequest": "DeviceRequest",
                   "DeviceCreated": "DeviceCreated", "Device": "Device", "Receipt": "Receipt", "AttachHello": "AttachFromPhone",
                   "AttachWelcome": "AttachToPhone", "AttachCall": "AttachToPhone", "AttachEnded": "AttachToPhone"}
        for name, example in DOC["components"]["examples"].items():
            if name == "Timeline":
                validate({"type": "array", "items": component("TimelineEvent")}, example["value"])
            elif not name.startswith("Whip"):  # those are texts, and are sent below
                validate(component(schemas[name]), example["value"])
        for path, method, op in operations():
            for status, response in op["responses"].items():
                described = follow(response)
                problem = described.get("content", {}).get("application/problem+json", {}).get("example")
                if problem:
                    self.assertEqual(str(problem["status"]), status, (method, path))
                    self.assertIn(f'`{problem["type"].rsplit(":", 1)[1]}`', described["description"], (method, path))
                for header in described.get("headers", {}).values():
                    if "example" in header:
                        validate(header["schema"], header["example"])
            for parameter in parameters(path, op):
                if "example" in parameter:
                    validate(parameter["schema"], parameter["example"])
            bodies = [op.get("requestBody", {})] + [follow(r) for r in op["responses"].values()]
            for media in (m for b in bodies for m in b.get("content", {}).values()):
                values = [media["example"]] if "example" in media else []
                values += [follow(e)["value"] for e in media.get("examples", {}).values()]
                for value in values:
                    with self.subTest(path=path, method=method):
                        validate(media["schema"], value)


# What no test here can bring about, and why.
NOT_PROVOKED = {
    ("/v1/whip/calls/{id}", "patch", "503"): "a media worker's queue would have to be full, or the memory used up",
    ("/v1/events", "get", "503"): "streams end after the last call, and the gateway with them: the time between is too short",
}

# Each operation, as its examples say it, and the status that comes; in this order. None: it has no body.
EXAMPLES = [
    ("putDevice", "byName", 201), ("putDevice", "byRfc8599", 200), ("getDevice", None, 200), ("listDevices", None, 200),
    ("createCall", "withOffer", 201), ("createCall", "ringOnly", 201), ("createWhipCall", "example", 201),
    ("patchWhipCall", "trickle", 204), ("patchWhipCall", "restart", 200), ("whipEndpointOptions", None, 200),
    ("whipCallOptions", None, 200), ("attach", None, 101), ("postReceipt", "example", 204), ("listCalls", None, 200),
    ("getCall", None, 200), ("getTimeline", None, 200), ("devicePushes", None, 200), ("mustReport", None, 200),
    ("events", None, 200), ("deadLetters", None, 200), ("deleteDeadLetter", None, 404), ("retryDeadLetter", None, 404),
    ("endWhipCall", None, 200), ("endCall", None, 204), ("deleteDevice", None, 204), ("health", None, 200),
    ("ready", None, 200), ("metrics", None, 200), ("description", None, 200), ("console", None, 200), ("consoleFile", None, 200),
]


class Served(StackTest):
    """Real answers are as they are described; and whatever is described was a real answer in one of these tests."""

    @staticmethod
    def edit(text):
        other = hashlib.sha256(b"registrar").hexdigest()
        slow = hashlib.sha256(b"slow").hexdigest()
        text = text.replace("auth:\n", "auth:\n  phone_rate: {per_s: 1, burst: 20}\n  unknown_rate: {per_s: 0}\n", 1)
        text = text.replace("apps:\n", f'    - {{name: slow, sha256: "{slow}", scopes: [calls, devices, admin], '
                                       'rate: {per_s: 1, burst: 1}}\napps:\n', 1)
        text = text.replace("apps:\n", f'    - {{name: registrar, sha256: "{other}", scopes: [devices]}}\n'
                                       f'    - {{name: caller, sha256: "{hashlib.sha256(b"caller").hexdigest()}", '
                                       'scopes: [calls]}\napps:\n', 1)
        return text.replace("routes:\n", 'routes:\n  - {name: blocked, match: {callee: "blocked-*"}, reject: {status: 403}}\n'
                                         '  - {name: legal, match: {callee: "legal-*"}, reject: {status: 451, detail: no}}\n', 1)

    stack_options = {"edit": edit.__func__}

    seen, begun = set(), set()

    def setUp(self):
        self.user = "u-" + uuid.uuid4().hex[:8]
        self.begun.add(self._testMethodName)

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        if not cls.begun >= set(unittest.defaultTestLoader.getTestCaseNames(cls)):
            return  # only some of them were asked for
        described = {(path, method, status) for path, method, op in operations() for status in op["responses"]}
        missing = sorted(described - cls.seen - set(NOT_PROVOKED))
        assert not missing, f"described, and never answered in a test: {missing}"
        assert set(NOT_PROVOKED) <= described - cls.seen, "NOT_PROVOKED names what is not described, or was provoked"

    def described(self, path):
        """The path in the file that this one is an instance of; a literal one before one with a placeholder."""
        path = path.split("?")[0]
        found = [p for p in DOC["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", p), path)]
        return min(found, key=lambda p: p.count("{")) if found else None

    def ask(self, method, path, body=None, status=None, kind=None, **more):
        """Send it, and hold the answer against the file."""
        reply = (more.pop("stack", None) or self.stack).request(method, path, body, **more)
        template = self.described(path)
        responses = DOC["paths"][template][method.lower()]["responses"]
        self.assertTrue(str(reply.status) in responses or "default" in responses, (method, path, reply))
        described = follow(responses.get(str(reply.status)) or responses["default"])
        for name, header in described.get("headers", {}).items():
            if header.get("required"):
                self.assertIn(name.lower(), reply.headers)
            if name.lower() in reply.headers:
                validate(header["schema"], reply.headers[name.lower()])
        content = described.get("content")
        if content is None:
            self.assertEqual(reply.text, "")
        else:
            media_type = reply.headers["content-type"].split(";")[0]
            self.assertIn(media_type, content)
            validate(content[media_type]["schema"], reply.json if media_type.endswith("json") else reply.text)
        if reply.status >= 400 and media_type == "application/problem+json":
            self.assertEqual(reply.json["status"], reply.status)
            if kind:
                self.assertTrue(reply.json["type"].endswith(":" + kind), reply)
            detail = described["description"]
            self.assertIn(f'`{reply.json["type"].rsplit(":", 1)[1]}`', detail)
        elif reply.status < 300 and body is not None and not isinstance(body, bytes):
            validate(DOC["paths"][template][method.lower()]["requestBody"]["content"]["application/json"]["schema"], body)
        if status:
            self.assertEqual(reply.status, status, reply)
        self.seen.add((template, method.lower(), str(reply.status) if str(reply.status) in responses else "default"))
        return reply

    def register(self, device=None, **more):
        device = device or self.user + "-phone"
        token = hashlib.sha256(device.encode()).hexdigest()
        self.stack.control("PUT", f"/v1/devices/{token}", {"bundle_id": "com.example.vcs"})
        return self.ask("PUT", f"/v1/devices/{device}", {"user": self.user, "app": "vcs", "token": token, **more}, 201)

    def push(self, call):
        return wait_for(lambda: [r["payload"]["wakegate"] for r in self.stack.journal()
                                 if (r["payload"] or {}).get("wakegate", {}).get("call") == call])[0]

    def test_the_file_itself_is_served(self):
        self.assertEqual(self.ask("GET", "/v1/openapi.yaml", status=200, token=None).text, TEXT)

    def test_every_success(self):
        secret = self.register(handoff=["dtls", "sealed"], ui="lck", os_version="26.4", app_version="1").json["device_secret"]
        device = self.user + "-phone"
        self.ask("PUT", f"/v1/devices/{device}", {"rotate_secret": True, "sealing_key": "A" * 43}, 200)
        secret = self.ask("PUT", f"/v1/devices/{device}", {"rotate_secret": True}, 200).json["device_secret"]
        self.ask("PUT", f"/v1/devices/{device}-2", {"user": self.user, "pn_provider": "apns", "handoff": ["dtls"],
                                                     "pn_param": "ABCDE12345.com.example.vcs.voip", "pn_prid": "ab" * 32}, 201)
        self.ask("GET", f"/v1/devices/{device}", status=200)
        self.ask("GET", "/v1/devices?limit=1", status=200)
        self.ask("GET", "/v1/devices", status=200)
        self.ask("DELETE", f"/v1/devices/{device}-2", status=204)
        call = self.ask("POST", "/v1/calls", {"callee": self.user, "caller": {"handle": "h", "name": None}, "offer": OFFER,
                                              "video": True, "ring_timeout_s": 30, "tenant": "default", "data": {"a": [1]}},
                        201, headers={"Idempotency-Key": self.user}).json
        self.assertNotIn("trickle", call["answer"])  # the offer does not say that it knows it
        self.ask("GET", f"/v1/calls/{call['id']}", status=200)
        push = self.push(call["id"])
        for reported in ["none", "callkit"]:
            self.ask("POST", "/v1/receipts", {"call": call["id"], "push": push["push"], "must_report": True, "on_call": False,
                                              "app_state": "background", "received_at": push["sent_at"] + 1,
                                              "reported": reported}, 204, token=secret)
        self.ask("POST", "/v1/receipts", {"call": call["id"], "push": push["push"], "must_report": None}, 204,
                 token=push["token"])
        self.ask("GET", f"/v1/calls/{call['id']}/timeline", status=200)
        self.ask("DELETE", f"/v1/calls/{call['id']}", status=204)
        self.ask("GET", f"/v1/calls/{call['id']}", status=200)
        self.ask("GET", "/v1/calls?limit=1&state=ended", status=200)
        self.ask("GET", "/v1/calls", status=200)
        self.ask("GET", f"/v1/devices/{device}/pushes?limit=5", status=200)
        rows = self.ask("GET", "/v1/reports/must-report?group_by=day,app", status=200).json["rows"]
        self.assertGreater(rows[0]["reported"], 0)
        table = self.ask("GET", "/v1/reports/must-report", status=200, headers={"Accept": "text/csv"}).text
        self.assertTrue(table.startswith("day,app_version,os_version,pushes,"), table)
        self.ask("GET", "/v1/webhooks/dead-letters?limit=1", status=200)
        for path in ["/healthz", "/readyz", "/metrics", "/v1/openapi.yaml"]:
            self.ask("GET", path, status=200, token=None)
        self.whip_by_its_examples()

    def test_preconditions(self):
        self.register()
        device, call = f"/v1/devices/{self.user}-phone", self.ask("POST", "/v1/calls", {"callee": self.user}, 201).headers["location"]
        tag = self.ask("GET", device, status=200).headers["etag"]
        for path in [device, call]:
            self.ask("GET", path, status=304, headers={"If-None-Match": "*"})
        self.ask("PUT", device, {}, 412, "precondition-failed", headers={"If-None-Match": "*"})
        self.ask("DELETE", device, None, 412, "precondition-failed", headers={"If-Match": '"x"'})
        self.ask("DELETE", device, None, 204, headers={"If-Match": tag})

    def test_the_console(self):
        """Each file of its folder is served as it is, and no other; or none at all."""
        folder = os.path.join(ROOT, "gateway", "console")
        files = DOC["paths"]["/console/{file}"]["parameters"][0]["schema"]["enum"]
        self.assertEqual(set(files), set(os.listdir(folder)) - {"README.md", "index.html"})
        kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
        places = {"/": "index.html", **{f"/console/{name}": name for name in files}}
        tags = set()
        for place, name in places.items():
            reply = self.ask("GET", place, status=200, token=None)
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                self.assertEqual(reply.text, f.read())
            self.assertEqual(reply.headers["content-type"], kinds[name.rsplit(".", 1)[1]] + "; charset=utf-8")
            tags.add(reply.headers["etag"])
            self.ask("GET", place, status=304, token=None, headers={"If-None-Match": f'"x", {reply.headers["etag"]}'})
            self.ask("GET", place, status=200, token=None, headers={"If-None-Match": '"x"'})
            head = self.stack.request("HEAD", place, token=None)
            self.assertEqual((head.status, head.text, head.headers["etag"]), (200, "", reply.headers["etag"]))
            self.problem(self.stack.request("POST", place, b"", token=None), 405, "method-not-allowed")
        self.assertEqual(len(tags), len(places))
        for name in ["index.html", "README.md", "nothing.js", "..%2Findex.html"]:
            self.ask("GET", "/console/" + name, None, 404, "not-found", token=None)
        self.problem(self.stack.get("/console", token=None), 404, "not-found")
        stack = Stack(sim=False, edit=lambda text: text.replace("listen:\n", "listen:\n  console: false\n", 1))
        try:
            for place in places:
                self.ask("GET", place, None, 404, "not-found", token=None, stack=stack)
            stack.edit_config(lambda text: text.replace("console: false", "console: true"))
            stack.gateway.process.send_signal(signal.SIGHUP)
            wait_for(lambda: stack.get("/", token=None).status == 200)
        finally:
            stack.close()

    def plain_path(self, path):
        """With something that is not there in each placeholder."""
        id_ = "1" if "letters" in path else str(uuid.uuid4())
        return path.replace("{id}", id_).replace("{device}", "d").replace("{callee}", "c")

    def test_the_limits_of_every_operation(self):
        for path, method, op in operations():
            if path == "/v1/attach":
                continue
            place, method = self.plain_path(path), method.upper()
            with self.subTest(path=path, method=method):
                self.ask(method, place, status=431, kind="refused", headers={"Accept": "x" * 1500})
                self.ask(method, place, b" " * 200000, 413, "refused")
                self.ask(method, place, b"", 411, "refused", headers={"Transfer-Encoding": "chunked"})

    def test_the_tokens_of_every_operation(self):
        for path, method, op in operations():
            if not op["security"]:
                continue
            place, method = self.plain_path(path) + ("?types=device.*" if path == "/v1/events" else ""), method.upper()
            scopes = [s["apiToken"][0] for s in op["security"] if "apiToken" in s]
            with self.subTest(path=path, method=method):
                self.ask(method, place, status=401, kind="unauthorized", token=None)
                if scopes:
                    self.ask(method, place, status=401, kind="unauthorized", token="wrong")
                    self.ask(method, place, status=403, kind="forbidden", token="registrar" if scopes == ["calls"] else "caller")
                if path == "/v1/events":
                    place = "/v1/events?types=none"  # no stream, whatever its token's rate says
                wait_for(lambda: self.ask(method, place, token="slow" if scopes else "wd_nobody").status == 429)

    def test_a_database_that_fails(self):
        """Its tables are gone: all that reads or writes it is 503."""
        stack = Stack()
        try:
            stack.control("PUT", "/v1/devices/" + "ab" * 32, {"bundle_id": "com.example.vcs"})
            stack.put("/v1/devices/d", {"user": "u", "app": "vcs", "token": "ab" * 32, "handoff": ["dtls"]})
            session = self.whip("u", stack=stack).headers["location"]
            with contextlib.closing(sqlite3.connect(stack.path("wakegate.db"), timeout=20)) as db:
                for table in ["calls", "devices", "pushes", "deliveries", "events"]:
                    db.execute(f"DROP TABLE {table}")
                db.commit()
            unknown = str(uuid.uuid4())
            for method, path, body in [("POST", "/v1/calls", {"callee": "u"}), ("GET", "/v1/calls", None),
                                       ("GET", f"/v1/calls/{unknown}", None), ("DELETE", f"/v1/calls/{unknown}", None),
                                       ("GET", f"/v1/calls/{unknown}/timeline", None), ("DELETE", session, None),
                                       ("PUT", "/v1/devices/d", {"app_version": "2"}), ("DELETE", "/v1/devices/d", None),
                                       ("GET", "/v1/devices/d/pushes", None), ("GET", "/v1/reports/must-report", None),
                                       ("GET", "/v1/webhooks/dead-letters", None), ("DELETE", "/v1/webhooks/dead-letters/1", None),
                                       ("POST", "/v1/webhooks/dead-letters/1/retry", None),
                                       ("POST", "/v1/receipts", {"call": unknown, "push": unknown})]:
                with self.subTest(path=path, method=method):
                    self.ask(method, path, body, 503, "store", stack=stack)
            self.ask("GET", f"/v1/calls/{unknown}", None, 503, "store", stack=stack, token="wd_nobody")
            self.whip("u", status=503, kind="store", stack=stack)
        finally:
            stack.close()

    def test_dead_letters(self):
        """Of a webhook that nobody answers for."""
        stack = Stack(gateway=False)
        try:
            with open(stack.path("hook.key"), "w", encoding="ascii") as f:
                f.write("whsec_" + "A" * 43 + "=\n")
            os.chmod(stack.path("hook.key"), 0o600)
            hook = (f'webhooks:\n  - {{name: h, url: "https://127.0.0.1:{stack.control_port + 1}/", secret_file: hook.key, '
                    'allow_private: true, retry_s: [1]}\n')
            stack.edit_config(lambda text: text + hook)
            stack.gateway = stack.start_gateway()
            path = "/v1/webhooks/dead-letters"
            for name in ["a", "b"]:
                stack.put("/v1/devices/" + name, {"user": "u", "app": "vcs", "token": "ab" * 32})
            letters = wait_for(lambda: (lambda found: found if len(found) == 2 else None)(
                self.ask("GET", path, stack=stack).json["dead_letters"]), 30)
            self.ask("DELETE", f"{path}/{letters[0]['id']}", status=204, stack=stack)
            self.ask("POST", f"{path}/{letters[1]['id']}/retry", status=202, stack=stack)
            wait_for(lambda: self.ask("GET", path, stack=stack).json["dead_letters"], 30)
            stack.gateway.stop()
            stack.edit_config(lambda text: text.replace(hook, ""))
            stack.gateway = stack.start_gateway()
            self.ask("POST", f"{path}/{letters[1]['id']}/retry", None, 409, "no-webhook", stack=stack)
        finally:
            stack.close()

    # Every example of a request, sent

    def send_example(self, op, path, method, body, place):
        """place: what stands for the ids and tokens of an example. Returns the answer."""
        query, headers, target = [], dict(place["headers"]), path
        for p in parameters(path, op):
            if p["name"] in place or "example" in p:
                value = str(place.get(p["name"], p.get("example")))
                if p["in"] == "path":
                    target = target.replace("{" + p["name"] + "}", urllib.parse.quote(value, safe=""))
                elif p["in"] == "query":
                    query.append((p["name"], value))
                else:
                    headers.setdefault(p["name"], value)
            else:
                self.assertFalse(p.get("required"), f"{op['operationId']}: {p['name']} is required, and has no example")
        target += "?" + urllib.parse.urlencode(query) if query else ""
        token = place.get("token", "") if op["security"] else None
        return self.ask(method.upper(), target, body, headers=headers, token=token)

    def attach_by_example(self, place):
        async def talk():
            url = f"ws://127.0.0.1:{self.stack.api_port}/v1/attach"
            hello = {**DOC["components"]["examples"]["AttachHello"]["value"], "token": place["push"]["token"], "call": place["id"]}
            async with websockets.connect(url, subprotocols=["wakegate.v1"]) as ws:
                await ws.send(json.dumps(hello))
                return [json.loads(await asyncio.wait_for(ws.recv(), 10 * SLOW)) for _ in range(2)]
        heard = asyncio.run(talk())
        for message, name in zip(heard, ["AttachWelcome", "AttachCall"]):
            validate(component("AttachToPhone"), message)
            self.assertEqual(message.keys(), DOC["components"]["examples"][name]["value"].keys())
        self.seen.add(("/v1/attach", "get", "101"))

    def listen_by_example(self, op):
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.api_port, timeout=15 * SLOW)
        types = next(p["example"] for p in op["parameters"] if p["name"] == "types")
        connection.request("GET", "/v1/events?" + urllib.parse.urlencode({"types": types}),
                           headers={"Authorization": f"Bearer {self.stack.token}"})
        reply = connection.getresponse()
        self.assertEqual(reply.status, 200)
        [media_type] = op["responses"]["200"]["content"]
        self.assertEqual(reply.headers["content-type"], media_type)
        example = op["responses"]["200"]["content"][media_type]["example"]
        self.assertEqual(reply.readline().decode(), example.splitlines(keepends=True)[0])
        connection.close()
        self.seen.add(("/v1/events", "get", "200"))

    def test_every_example_is_sent_and_answered_as_described(self):
        by_id = {op["operationId"]: (path, method, op) for path, method, op in operations()}
        bodies = {(name, example) for name, (_, _, op) in by_id.items() for media in op.get("requestBody", {}).get("content", {}).values()
                  for example in media["examples"]}
        plain = {(name, None) for name, (_, _, op) in by_id.items() if "requestBody" not in op}
        self.assertEqual(bodies | plain, {(name, example) for name, example, _ in EXAMPLES})
        self.stack.control("PUT", "/v1/devices/" + "ab" * 32, {"bundle_id": "com.example.vcs"})
        place = {"headers": {}}
        for name, example, status in EXAMPLES:
            path, method, op = by_id[name]
            with self.subTest(operation=name, example=example):
                here, body = self.place_of(name, example, place), None
                if name == "attach":
                    self.attach_by_example(here)
                    continue
                if name == "events":
                    self.listen_by_example(op)
                    continue
                if example:
                    [(media_type, media)] = op["requestBody"]["content"].items()
                    body = follow(media["examples"][example])["value"]
                    here["headers"]["Content-Type"] = media_type
                    body = {**body, **here.get("body", {})} if isinstance(body, dict) else body.replace("\n", "\r\n").encode()
                reply = self.send_example(op, path, method, body, here)
                self.assertEqual(reply.status, status, reply)
                self.compare_with_example(op, reply)
                self.learn(name, example, reply, place)

    def place_of(self, name, example, place):
        here = {**place, "headers": {}}
        if name == "createCall" and example == "ringOnly":
            here["Idempotency-Key"] = "order-4711-b"  # another call needs another key
        elif name in ("patchWhipCall", "whipCallOptions", "endWhipCall"):
            here["id"] = place["session"]
        elif name == "postReceipt":
            here.update(token=place["secret"], body={"call": place["id"], "push": place["push"]["push"]})
        elif "DeadLetter" in name:
            del here["id"]
        if (name, example) == ("patchWhipCall", "restart"):
            here["If-Match"] = "*"
        return here

    def learn(self, name, example, reply, place):
        if (name, example) == ("putDevice", "byName"):
            place["secret"] = reply.json["device_secret"]
        elif (name, example) == ("createCall", "withOffer"):
            place.update(id=reply.json["id"], push=self.push(reply.json["id"]))
        elif name == "createWhipCall":
            place["session"] = reply.headers["location"].rsplit("/", 1)[1]

    def compare_with_example(self, op, reply):
        """An answer that is an object has the fields of its example."""
        content = follow(op["responses"][str(reply.status)]).get("content", {}).get("application/json", {})
        for example in [follow(e)["value"] for e in content.get("examples", {}).values()] + [content.get("example")]:
            if isinstance(example, dict):
                self.assertEqual(reply.json.keys(), example.keys())

    def example(self, name):
        return DOC["components"]["examples"][name]["value"].replace("\n", "\r\n").encode()

    def whip(self, user, offer=None, status=201, kind=None, query="", stack=None, **headers):
        return self.ask("POST", f"/v1/whip/{user}{query}", self.example("WhipOffer") if offer is None else offer, status, kind,
                        headers={"Content-Type": "application/sdp", **headers}, stack=stack)

    def patch(self, session, fragment, status, kind=None, **headers):
        return self.ask("PATCH", session, fragment, status, kind,
                        headers={"Content-Type": "application/trickle-ice-sdpfrag", **headers})

    def whip_by_its_examples(self):
        made = self.whip(self.user, query="?handle=%2B15550100&name=Ward%203")
        self.assertIn("a=ice-options:trickle", made.text)
        session, first = made.headers["location"], made.headers["etag"]
        self.patch(session, self.example("WhipTrickle"), 204, **{"If-Match": first})
        restarted = self.patch(session, self.example("WhipRestart"), 200, **{"If-Match": "*"})
        self.assertNotEqual(restarted.headers["etag"], first)
        self.ask("OPTIONS", f"/v1/whip/{self.user}", status=200, token=None)
        self.ask("OPTIONS", session, status=200, token=None)
        events = self.ask("GET", f"/v1/calls/{session.rsplit('/', 1)[1]}/timeline", status=200).json
        self.assertIn("caller_ice_restart", [e["event"] for e in events])
        self.ask("DELETE", session, status=200)

    def test_every_refusal_of_whip(self):
        self.register(handoff=["sdes"])
        made = self.whip(self.user, **{"Idempotency-Key": self.user})
        session, tag = made.headers["location"], {"If-Match": made.headers["etag"]}
        unknown = f"/v1/whip/calls/{uuid.uuid4()}"
        trickle, restart = self.example("WhipTrickle"), self.example("WhipRestart")
        for method, path in [("POST", f"/v1/whip/{self.user}"), ("PATCH", session), ("DELETE", session)]:
            self.ask(method, path, b"x", 401, "unauthorized", token=None)
            self.ask(method, path, b"x", 403, "forbidden", token="registrar")
            self.ask(method, path, b" " * 200000, 413, "refused")
            self.ask(method, path, b"", 411, "refused", headers={"Transfer-Encoding": "chunked"})
        self.ask("POST", f"/v1/whip/{self.user}", {}, 415, "unsupported-media-type")
        self.whip(self.user, status=415, kind="unsupported-media-type", **{"Content-Type": "application/sdpfrag"})
        self.whip(self.user, b"", 400, "bad-offer")
        self.whip(self.user, b"hello", 400, "bad-offer")
        self.whip(self.user, self.example("WhipOffer") + b"a=x:\xff\r\n", 400, "bad-offer")
        self.whip(self.user, self.example("WhipOffer") + b"\0", 400, "bad-offer")
        self.whip(self.user, b"v=0\r\n", 422, "bad-offer")
        self.whip("x" * 200, status=400, kind="bad-field")
        self.whip("x" * 300, status=404, kind="not-found")
        self.whip("%FF", status=400, kind="bad-field")
        self.whip("nobody", status=404, kind="no-device")
        self.whip("blocked-1", status=403, kind="rejected")
        self.whip("legal-1", status=451, kind="rejected")
        self.whip(self.user, status=400, kind="bad-field", **{"Idempotency-Key": "x" * 300})
        self.whip(self.user, status=409, kind="idempotency-conflict", query="?name=x", **{"Idempotency-Key": self.user})
        self.ask("POST", "/v1/calls", {"callee": self.user}, 409, "idempotency-conflict", headers={"Idempotency-Key": self.user})
        self.ask("PUT", f"/v1/devices/{self.user}-sealed", {"user": self.user + "-s", "app": "vcs", "token": "cd" * 32,
                                                            "handoff": ["sealed"]}, 201)
        self.whip(self.user + "-s", status=409, kind="no-handoff")
        for path in [unknown, "/v1/whip/calls/x"]:
            self.patch(path, trickle, 404, "not-found", **tag)
            self.ask("DELETE", path, status=404, kind="not-found")
        self.patch(session, trickle, 415, "unsupported-media-type", **tag, **{"Content-Type": "application/sdp"})
        self.patch(session, trickle, 428, "precondition-required")
        for wrong in ['"ice-2"', "ice-1", 'W/"ice-1"', '"x", "y"']:
            self.patch(session, trickle, 412, "precondition-failed", **{"If-Match": wrong})
        for fragment, match in [(b"", tag), (b"hello", tag), (b"v=0\r\n", tag), (restart, tag),
                                (trickle.replace(b"mid:0", b"mid:7"), tag),
                                (trickle.replace(b"EsAw", b"ysXw"), {"If-Match": "*"}),
                                (restart.replace(b"ysXw", b"EsAw"), {"If-Match": "*"})]:
            self.patch(session, fragment, 400, "bad-fragment", **match)
        plain = self.example("WhipOffer").replace(b"IP4 0.0.0.0", b"IP4 127.0.0.1")
        plain = re.sub(rb"a=ice-.*\r\n", b"", plain).replace(b"m=audio 9 ", b"m=audio 40000 ")
        self.patch(self.whip(self.user, plain).headers["location"], restart, 422, "no-ice", **{"If-Match": "*"})
        self.ask("DELETE", session, status=200)
        self.patch(session, trickle, 404, "not-found", **tag)
        self.ask("DELETE", session, status=404, kind="not-found")

    def test_a_whole_call_with_media(self):
        phone = self.stack.start_phone(self.user + "-phone", self.user, handoff="transfer")
        status, _, err = self.stack.run_caller("--callee", self.user, "--duration-ms", 600 * SLOW)
        self.assertEqual(status, 0, err)
        [call] = self.ask("GET", f"/v1/calls?callee={self.user}", status=200).json["calls"]
        self.assertEqual(call["media"]["handoff"], "transfer")
        events = self.ask("GET", f"/v1/calls/{call['id']}/timeline", status=200).json
        self.assertIn("caller_dtls", [e["event"] for e in events])
        phone.stop()

    def test_every_refusal_that_a_request_can_provoke(self):
        self.register(handoff=["sealed"])
        place, device, receipts = {"callee": self.user}, f"/v1/devices/{self.user}-phone", "/v1/receipts"
        unknown = str(uuid.uuid4())
        for method, path, body in [("POST", "/v1/calls", place), ("GET", "/v1/calls", None), ("GET", f"/v1/calls/{unknown}", None),
                                   ("DELETE", f"/v1/calls/{unknown}", None), ("GET", f"/v1/calls/{unknown}/timeline", None),
                                   ("GET", "/v1/devices", None), ("GET", device, None), ("PUT", device, place),
                                   ("DELETE", device, None), ("POST", receipts, {})]:
            self.ask(method, path, body, 401, "unauthorized", token=None)
            if path != receipts:
                self.ask(method, path, body, 401, "unauthorized", token="wrong")
                self.ask(method, path, body, 403, "forbidden", token="caller" if "devices" in path else "registrar")
        for method, path in [("GET", f"/v1/calls/{unknown}"), ("DELETE", f"/v1/calls/{unknown}"),
                             ("GET", f"/v1/calls/{unknown}/timeline"), ("GET", "/v1/devices/nobody"),
                             ("DELETE", "/v1/devices/nobody")]:
            self.ask(method, path, status=404, kind="not-found")
        self.ask("PUT", "/v1/devices/" + "x" * 300, {}, 404, "not-found")
        self.ask("PUT", "/v1/devices/" + "x" * 200, {}, 400, "bad-field")
        self.ask("POST", receipts, {"call": unknown, "push": unknown}, 404, "not-found", token="x")
        for query in ["/v1/calls?limit=0", "/v1/calls?state=odd", "/v1/calls?cursor=x", "/v1/devices?limit=0",
                      "/v1/devices/d/pushes?cursor=x", "/v1/reports/must-report?from=x"]:
            self.ask("GET", query, status=400, kind="bad-field")
        for method, path in [("POST", "/v1/calls"), ("PUT", device), ("POST", receipts)]:
            self.ask(method, path, b"{", 400, "bad-json")
            self.ask(method, path, b"{}", 415, "unsupported-media-type", headers={"Content-Type": "text/plain"})
            self.ask(method, path, b" " * 200000, 413, "refused")
            self.ask(method, path, b"", 411, "refused", headers={"Transfer-Encoding": "chunked"})
            self.ask(method, path, {"user": 1, "callee": 1, "call": 1}, 422, "bad-field")
        letter = "/v1/webhooks/dead-letters/1"
        for method, path in [("GET", "/v1/events"), ("GET", letter[:-2]), ("DELETE", letter), ("POST", letter + "/retry")]:
            self.ask(method, path, status=401, kind="unauthorized", token=None)
            if path != "/v1/events":
                self.ask(method, path, status=403, kind="forbidden", token="caller")
        self.ask("GET", "/v1/events?types=device.*", status=403, kind="forbidden", token="caller")
        for more in [{"Last-Event-ID": "x"}, {"Last-Event-ID": "999999999"}]:
            self.ask("GET", "/v1/events", status=400, kind="bad-field", headers=more)
        for query in ["/v1/events?types=cal.*", "/v1/events?types=", letter[:-2] + "?limit=201", letter[:-2] + "?cursor=x"]:
            self.ask("GET", query, status=400, kind="bad-field")
        for path in [letter, letter[:-1] + "x"]:
            self.ask("DELETE", path, status=404, kind="not-found")
            self.ask("POST", path + "/retry", status=404, kind="not-found")
        self.ask("POST", "/v1/calls", {**place, "offer": "v=0\r\n"}, 422, "bad-offer")
        self.ask("POST", "/v1/calls", {"callee": "nobody"}, 404, "no-device")
        self.ask("POST", "/v1/calls", {"callee": "blocked-1"}, 403, "rejected")
        self.ask("POST", "/v1/calls", {"callee": "legal-1"}, 451, "rejected")
        self.ask("POST", "/v1/calls", {**place, "tenant": "elsewhere"}, 403, "forbidden")
        self.ask("POST", "/v1/calls", {**place, "offer": OFFER}, 409, "no-handoff")
        self.ask("POST", "/v1/calls", place, 400, "bad-field", headers={"Idempotency-Key": "x" * 300})
        self.ask("POST", "/v1/calls", place, 201, headers={"Idempotency-Key": self.user})
        self.ask("POST", "/v1/calls", {**place, "video": True}, 409, "idempotency-conflict",
                 headers={"Idempotency-Key": self.user})

    def test_a_gateway_that_goes_down(self):
        with_calls = Stack()
        try:
            with_calls.put("/v1/devices/d", {"user": "u", "app": "vcs", "token": "ab" * 32})
            with_calls.post("/v1/calls", {"callee": "u"})
            with_calls.gateway.process.send_signal(signal.SIGTERM)
            wait_for(lambda: with_calls.get("/readyz", token=None).status == 503)
            self.ask("GET", "/readyz", status=503, token=None, stack=with_calls)
            self.ask("POST", "/v1/calls", {"callee": "u"}, 503, "draining", stack=with_calls)
            self.whip("u", status=503, kind="draining", stack=with_calls)
        finally:
            with_calls.close()

    def test_messages_of_the_websocket(self):
        self.register(handoff=["sdes"])
        call = self.ask("POST", "/v1/calls", {"callee": self.user, "offer": OFFER}, 201).json["id"]
        push = self.push(call)

        async def talk():
            heard = []
            url = f"ws://127.0.0.1:{self.stack.api_port}{next(p for p in DOC['paths'] if p.endswith('attach'))}"
            async with websockets.connect(url, subprotocols=["wakegate.v1"]) as ws:
                for message in [{"type": "hello", "device": self.user + "-phone", "token": push["token"], "call": call,
                                 "app_state": "background", "on_call": False, "os_version": "26.4"},
                                {"type": "receipt", "call": call, "push": push["push"], "must_report": True,
                                 "reported": "callkit", "received_at": "2026-01-02T03:04:05Z"},
                                {"type": "ringing", "call": call}, {"type": "keys_taken", "call": call},
                                {"type": "answer", "call": call, "sdp": None}, {"type": "state", "app_state": "foreground"},
                                {"type": "media", "call": call, "sdp": "v=0"}, {"type": "hangup", "call": call},
                                {"type": "decline", "call": call, "reason": "busy"}]:
                    validate(component("AttachFromPhone"), message)
                    await ws.send(json.dumps(message))
                while len({m["type"] for m in heard}) < 4:
                    heard.append(json.loads(await asyncio.wait_for(ws.recv(), 5 * SLOW)))
            return heard

        heard = asyncio.run(talk())
        for message in heard:
            validate(component("AttachToPhone"), message)
        self.assertEqual({m["type"] for m in heard}, {"welcome", "call", "error", "ended"})
        self.assertEqual(next(m for m in heard if m["type"] == "call")["handoff"]["mode"], "sdes")
        self.ask("GET", "/v1/attach", status=404, token=None)


if __name__ == "__main__":
    unittest.main()
