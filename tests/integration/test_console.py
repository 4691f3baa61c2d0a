"""The console of mitmproxy shows pulls, explains them by a key, and ends."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests

import serve
from demo.client import Client
from localcloud import LocalCloud

SECONDS = 60
ROWS, COLUMNS = 40, 160
_COLOURS = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
ALIAS = "balenablocks/browser-aarch64/2.3"


class Console:
    """mitmproxy in a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process = process
        self._terminal = terminal
        self._shown = b""

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._terminal, keys.encode())

    def read_until(self, text: str) -> None:
        """Read what is shown until the text is."""
        last = time.monotonic() + SECONDS
        while text.encode() not in _COLOURS.sub(b"", self._shown):
            ready, _, _ = select.select([self._terminal], [], [], 1)
            if ready:
                self._shown += os.read(self._terminal, 1 << 16)
            assert time.monotonic() < last, f"{text!r} is not shown"
            assert self.process.poll() is None, "it has ended"

    def close(self) -> None:
        """Take the terminal away, without a signal."""
        os.close(self._terminal)
        self._terminal = -1


@contextmanager
def console(cloud: LocalCloud, port: int, folder: Path) -> Iterator[Console]:
    """Yield a running console."""
    ours, theirs = pty.openpty()
    size = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    process = subprocess.Popen(
        [sys.executable, serve.ROOT / "serve.py", "mitmproxy"],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CONFDIR": str(folder),
            "TERM": "xterm",
            "REGISTRY_URL": cloud.registry_url,
            "PROXY_PORT": str(port),
        },
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    made = Console(process, ours)
    try:
        made.read_until("Flows")
        yield made
    finally:
        with suppress(OSError):
            made.close()
        process.kill()
        process.wait()


def test_key_explains_a_flow(tmp_path: Path) -> None:
    """`y` tells what happened to the flow in focus; no terminal, no console."""
    port = serve.free_port()
    with LocalCloud() as cloud, console(cloud, port, tmp_path) as shown:
        url = f"http://localhost:{port}"
        with requests.Session() as session:
            session.trust_env = False
            assert session.get(f"{url}/ping", timeout=SECONDS).text == "pong"
        assert Client(url, lambda _: None).pull(ALIAS)
        shown.read_until("/auth/v1/token?scope")
        shown.press("jjy")
        shown.read_until("is release 2.3.8+rev2")
        shown.close()
        assert shown.process.wait(SECONDS) == -signal.SIGHUP
