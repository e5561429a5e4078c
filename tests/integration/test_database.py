# SPDX-License-Identifier: Apache-2.0
"""The database as an operator meets it: backups of a running gateway, disks that are full or read-only."""
import contextlib
import os
import re
import sqlite3
import stat
import subprocess
import threading
import unittest

from harness import Stack, wait_for
from test_process import Calling, run


class Backup(Calling, unittest.TestCase):
    def backup(self, stack, to, code=0):
        done = run("backup", "-c", stack.config, "--to", to)
        self.assertEqual(done[0], code, done)
        if code:
            self.assertEqual(done[1], "")
            self.assertRegex(done[2], r"^wakegate: backup: [^\n]+\n$")
        return done[1] or done[2]

    def load(self, stack, user, acknowledged, stop):
        while not stop.is_set():
            reply = self.place(stack, user)
            self.assertEqual(reply.status, 201, reply)
            acknowledged.append(reply)
            stack.delete(f"/v1/calls/{reply.json['id']}")

    def test_a_copy_under_load_is_whole_and_a_gateway_starts_on_it(self):
        s = self.stack_of()
        for user in ("b-1", "b-2"):
            self.register(s, user)
        first, stop, acknowledged = self.place(s, "b-1", key="before"), threading.Event(), []
        threads = [threading.Thread(target=self.load, args=(s, u, acknowledged, stop)) for u in ("b-1", "b-2")]
        for t in threads:
            t.start()
        try:
            wait_for(lambda: len(acknowledged) > 20)
            before = list(acknowledged)
            said = self.backup(s, s.path("copy.db"))
            during = len(acknowledged)
            wait_for(lambda: len(acknowledged) > during + 5)  # the gateway goes on
        finally:
            stop.set()
            for t in threads:
                t.join()
        self.assertEqual(said, f"{s.path('copy.db')}: {os.path.getsize(s.path('copy.db'))} bytes, checked\n")
        self.assertEqual(stat.S_IMODE(os.stat(s.path("copy.db")).st_mode), 0o600)
        self.assertFalse(os.path.exists(s.path("copy.db.partial")))
        with contextlib.closing(sqlite3.connect(f"file:{s.path('copy.db')}?mode=ro", uri=True)) as db:
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            kept = {row[0] for row in db.execute("SELECT id FROM calls")}
        self.assertEqual({r.json["id"] for r in [first, *before]} - kept, set())
        s.gateway.kill()
        s.edit_config(lambda text: text.replace("wakegate.db", "copy.db"))
        s.gateway = s.start_gateway()
        for call in [first, *before[:10]]:
            self.assertEqual(s.get(f"/v1/calls/{call.json['id']}").json["callee"], call.json["callee"])
        again = self.place(s, "b-1", key="before")
        self.assertEqual((again.status, again.text), (201, first.text))
        self.assertEqual(s.get("/v1/devices/b-2-phone").status, 200)
        self.assertEqual(self.place(s, "b-2").status, 201)

    def test_without_a_gateway_too(self):
        s = self.stack_of(sim=False)
        self.register_only(s)
        s.gateway.stop()
        self.backup(s, s.path("copy.db"))
        with contextlib.closing(sqlite3.connect(s.path("copy.db"))) as db:
            self.assertEqual(db.execute("SELECT id FROM devices").fetchall(), [("alone",)])
        s.gateway = s.start_gateway()  # nothing that the backup left behind is in its way
        self.assertEqual(s.get("/v1/devices/alone").status, 200)

    def register_only(self, stack):
        made = stack.put("/v1/devices/alone", {"user": "alone", "app": "vcs", "token": "ab" * 32})
        self.assertEqual(made.status, 201, made)

    def test_what_is_refused_and_leaves_nothing_behind(self):
        s = self.stack_of(sim=False)
        self.register_only(s)
        with open(s.path("there.db"), "w") as f:
            f.write("mine")
        os.symlink("nowhere", s.path("link.db"))
        for name in ("there.db", "link.db"):
            self.assertRegex(self.backup(s, s.path(name), 1), rf"{name} exists, and is not replaced; give another name")
        with open(s.path("there.db")) as f:
            self.assertEqual(f.read(), "mine")
        with open(s.path("other.db.partial"), "w"):
            self.assertRegex(self.backup(s, s.path("other.db"), 1), "other.db.partial exists: another backup is at work, or")
        os.unlink(s.path("other.db.partial"))
        self.assertRegex(self.backup(s, "/nonexistent/copy.db", 1), "/nonexistent/copy.db.partial: No such file")
        self.assertIn("--to is needed", run("backup", "-c", s.config)[2])
        self.assertIn("-c FILE is needed", run("backup", "--to", s.path("x.db"))[2])
        files = set(os.listdir(s.folder))
        self.assertEqual({n for n in files if n.endswith(".partial") or n in ("other.db", "x.db")}, set())

    def test_databases_that_are_none_of_ours(self):
        s = self.stack_of(sim=False, gateway=False)
        self.assertRegex(self.backup(s, s.path("copy.db"), 1).replace("backup: ", "", 1), "wakegate.db: No such file")
        with contextlib.closing(sqlite3.connect(s.path("wakegate.db"))) as db:
            db.execute("CREATE TABLE notes (text TEXT)")
            db.commit()
        done = run("backup", "-c", s.config, "--to", s.path("copy.db"))
        self.assertEqual(done[0], 1)
        self.assertIn("is the database of another program", done[2])
        s.edit_config(lambda text: re.sub(r'url: "sqlite:[^"]*"', 'url: "redis://127.0.0.1"', text))
        done = run("backup", "-c", s.config, "--to", s.path("copy.db"))
        self.assertEqual(done[0], 1)
        self.assertRegex(done[2], "store.url: .*(sqlite:PATH|redis)")
        self.assertFalse(os.path.exists(s.path("copy.db")))


@unittest.skipUnless(os.geteuid() == 0, "a file system of its own needs a mount")
class Disk(Calling, unittest.IsolatedAsyncioTestCase):
    def on_small_disk(self, size="1m", gateway=True):
        """A stack whose database is on a file system of its own."""
        s = Stack(gateway=False, edit=lambda text: text.replace("/wakegate.db", "/small/wakegate.db"))
        self.addCleanup(s.close)
        os.mkdir(s.path("small"))
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", s.path("small")], check=False).returncode:
            self.skipTest("no file system may be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", s.path("small")], check=True)
        self.addCleanup(lambda: [p.kill() for p in s.programs if p.name == "gateway"])
        if gateway:
            s.gateway = s.start_gateway()
        return s

    def remount(self, stack, how):
        subprocess.run(["mount", "-o", f"remount,{how}", stack.path("small")], check=True)

    def fill(self, stack):
        with open(stack.path("small/fill"), "wb", buffering=0) as f:
            for size in (65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while f.write(b"x" * size) == size:
                        pass

    def refused(self, stack, pattern):
        code, _, err = run("serve", "-c", stack.config)
        self.assertEqual(code, 1, err)
        self.assertRegex([line for line in err.splitlines() if not line.startswith("time=")][-1], pattern)

    def test_a_read_only_disk_is_named_at_the_start(self):
        s = self.on_small_disk(gateway=False)
        self.remount(s, "ro")  # no database yet
        self.refused(s, r"^wakegate: store.url: .*small/wakegate.db.lock: Read-only file system; the gateway's user must be")
        self.remount(s, "rw")
        s.start_gateway().stop()
        self.remount(s, "ro")
        self.refused(s, r"^wakegate: store.url: .*Read-only file system; the gateway's user must be able to write")
        self.remount(s, "rw")
        s.start_gateway().stop()

    def test_a_full_disk_is_named_at_the_start(self):
        s = self.on_small_disk()
        self.register(s, "full")
        made = self.place(s, "full", key="kept")
        s.gateway.kill()
        self.fill(s)
        with contextlib.suppress(FileNotFoundError):  # so that no room is left in it
            os.truncate(s.path("small/wakegate.db-shm"), 0)
        self.fill(s)
        self.refused(s, r"^wakegate: store.url: .*small/wakegate.db .*; make room on the disk")
        os.unlink(s.path("small/fill"))
        s.gateway = s.start_gateway()
        again = self.place(s, "full", key="kept")
        self.assertEqual((again.status, again.text), (201, made.text))

    def test_a_backup_on_a_full_disk_leaves_nothing(self):
        s = self.on_small_disk(size="4m")
        self.register(s, "full")
        os.mkdir(s.path("tiny"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", s.path("tiny")], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", s.path("tiny")], check=True)
        code, _, err = run("backup", "-c", s.config, "--to", s.path("tiny/copy.db"))
        self.assertEqual(code, 1)
        self.assertRegex(err, r"^wakegate: backup: the copy to .*copy.db failed: .*(full|I/O)")
        self.assertEqual(os.listdir(s.path("tiny")), [])
        self.assertEqual(self.place(s, "full").status, 201)


@unittest.skipUnless(os.geteuid() == 0, "only root makes a file immutable")
class ReadOnly(Calling, unittest.IsolatedAsyncioTestCase):
    """While it runs. A file system with files that are open for writing cannot be remounted; a disk that fails does it to
    itself. To the gateway immutable files are the same: each write is refused, on files that were open before, too."""

    def immutable(self, stack, sign):
        files = [stack.path(name) for name in ("wakegate.db", "wakegate.db-wal")]
        return subprocess.run(["chattr", sign + "i", *files], check=False, stderr=subprocess.DEVNULL).returncode == 0

    def need_immutable(self, stack):
        name = stack.path("probe")
        with open(name, "wb", buffering=0) as f:
            able = subprocess.run(["chattr", "+i", name], check=False, stderr=subprocess.DEVNULL).returncode == 0
            try:
                f.write(b"x")
                able = False
            except OSError:
                pass
            subprocess.run(["chattr", "-i", name], check=False, stderr=subprocess.DEVNULL)
        if not able:
            self.skipTest("this file system does not refuse writes to immutable files")

    async def test_a_file_that_is_read_only_at_the_start_is_named(self):
        s = self.stack_of()
        self.need_immutable(s)
        s.gateway.stop()  # in order, so that all is in the one file
        name = s.path("wakegate.db")
        self.addCleanup(subprocess.run, ["chattr", "-i", name], check=True)
        subprocess.run(["chattr", "+i", name], check=True)
        code, _, err = run("serve", "-c", s.config)
        self.assertEqual(code, 1, err)
        self.assertRegex(err.splitlines()[-1], r"^wakegate: store.url: .*wakegate.db takes no writes: .*readonly database; .*"
                                               "let the gateway's user write")
        subprocess.run(["chattr", "-i", name], check=True)
        s.gateway = s.start_gateway()

    async def test_calls_go_on_and_new_ones_wait(self):
        s = self.stack_of()
        self.need_immutable(s)
        secret = self.register(s, "old")
        self.register(s, "new")
        phone = await self.attach(s, "old", secret)
        call = self.place(s, "old").json["id"]
        push = wait_for(lambda: self.pushes(s, call))[0]["payload"]["wakegate"]
        self.addCleanup(self.immutable, s, "-")
        self.assertTrue(self.immutable(s, "+"))
        reply = wait_for(lambda: next((r for r in [self.place(s, "new", key="ro")] if r.status == 503), None), 20)
        self.problem(reply, 503, "store")
        self.assertIn("the database takes no writes: its disk is full, or read-only", self.problem(self.place(s, "new", key="ro"), 503, "store"))
        ready = s.get("/readyz", token=None)
        self.assertEqual((ready.status, ready.json["store"]), (503, "takes no writes"))
        detail = self.problem(s.put("/v1/devices/late", {"user": "late", "app": "vcs", "token": "ab" * 32}), 503, "store")
        self.assertEqual(detail, "the device could not be stored: the database is read-only, or its disk fails")
        await phone.say("receipt", call=call, push=push["push"], must_report=True, reported="callkit")
        await phone.hear("call")
        await phone.say("answer", call=call)
        s.wait_state(call, "answered")
        await phone.say("hangup", call=call)
        self.assertEqual((await phone.hear("ended"))["reason"], "completed")
        self.problem(s.delete(f"/v1/calls/{call}"), 503, "store")
        self.assertTrue(self.immutable(s, "-"))
        wait_for(lambda: s.get("/readyz", token=None).status == 200, 20, s.gateway.log)
        self.assertEqual(self.place(s, "new", key="ro").status, 201)
        self.assertEqual(s.delete(f"/v1/calls/{call}").status, 204)
        await phone.close()
        self.assertIn('event="the database takes no writes"', s.gateway.log())
        self.assertIn('event="the database takes writes again"', s.gateway.log())
        self.assertLess(s.gateway.log().count("database"), 20)
        s.gateway.kill()
        s.gateway = s.start_gateway()
        over = s.call(call)
        self.assertEqual((over["state"], over["reason"]), ("ended", "completed"))


if __name__ == "__main__":
    unittest.main()
