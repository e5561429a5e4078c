# SPDX-License-Identifier: Apache-2.0
"""What is written for people agrees with the programs: manual pages with --help, the example configuration with the schema,
links and sources in the README files with the tree."""
import glob
import os
import re
import shutil
import subprocess
import unittest

from harness import BIN, ROOT, Stack

PAGES = {"wakegate": "gateway", "wakegate-apns-sim": "apns/sim", "wakegate-phone": "tests/peers", "wakegate-caller": "tests/peers"}
FOLDERS = ["base", "config", "apns", "apns/sim", "dtls", "gateway", "gateway/console"]


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


class Documents(unittest.TestCase):
    def test_manual_pages_have_the_options_of_help(self):
        for program, folder in PAGES.items():
            with self.subTest(program=program):
                done = subprocess.run([os.path.join(BIN, program), "--help"], stdout=subprocess.PIPE, check=True)
                shown = set(re.findall(r"(?<![\w-])--([a-z-]+)", done.stdout.decode()))
                self.assertEqual(set(re.findall(r"Fl -([a-z-]+)", read(folder, program + ".1"))), shown)

    def test_the_example_configuration_has_every_key_and_is_good(self):
        keys = set(re.findall(r'(?:TEXT|NUMBER|GROUP|CYAML_FIELD_\w+)\("(\w+)"', read("config", "config_schema.c")))
        example = read("config", "wakegate.yaml")
        self.assertGreater(len(keys), 50)
        self.assertEqual([k for k in sorted(keys) if not re.search(rf"\b{k}:", example)], [])
        stack = Stack(sim=False, gateway=False)
        try:
            shutil.copy(os.path.join(ROOT, "config", "wakegate.yaml"), stack.config)
            shutil.copy(stack.path("apns-sim.key"), stack.path("api.key"))
            shutil.copy(stack.path("apns-sim.pem"), stack.path("api.pem"))
            done = subprocess.run([os.path.join(BIN, "wakegate"), "check", "-c", stack.config], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, check=False)
            self.assertEqual(done.returncode, 0, done.stdout.decode())
        finally:
            stack.close()

    def test_links_lead_somewhere(self):
        for path in glob.glob(os.path.join(ROOT, "*.md")) + [os.path.join(ROOT, f, "README.md") for f in FOLDERS + ["tests"]]:
            name = os.path.relpath(path, ROOT)
            for link in re.findall(r"\]\(([^)#]+)\)", read(name)):
                if not link.startswith("http"):
                    self.assertTrue(os.path.exists(os.path.join(os.path.dirname(path), link)), f"{name}: {link}")

    def test_each_source_is_named_in_its_folder(self):
        for folder in FOLDERS:
            text = read(folder, "README.md")
            for pattern in ["*.c", "*.html", "*.css", "*.js"]:
                for source in glob.glob(os.path.join(ROOT, folder, pattern)):
                    self.assertIn(f"`{os.path.basename(source)}`", text, folder)


if __name__ == "__main__":
    unittest.main()
