# SPDX-License-Identifier: Apache-2.0
"""rtpengine beside a bench, where Debian's package is installed: in user space, with its own defaults for all that
matters."""
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def rtpengine_beside():
    """The options that name a running rtpengine to a bench program; None when it is not installed or does not start."""
    if not shutil.which("rtpengine"):
        print("rtpengine is left out: it is not installed (Debian: rtpengine-daemon)", file=sys.stderr)
        yield None
        return
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "log"), "wb") as log:
        port = free_port()
        process = subprocess.Popen(
            ["rtpengine", "--config-file=none", "--foreground", "--log-stderr", "--log-level=3", "--table=-1",
             "--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{port}", "--port-min=30000", "--port-max=50000",
             "--delete-delay=0", f"--pidfile={folder}/pid"], stdout=log, stderr=log)
        try:
            time.sleep(1)
            if process.poll() is None:
                yield ["--rtpengine", str(process.pid), "--ng-port", str(port)]
            else:
                print(f"rtpengine does not start, so it is left out: {open(log.name).read()}", file=sys.stderr)
                yield None
        finally:
            process.terminate()
            process.wait(10)
