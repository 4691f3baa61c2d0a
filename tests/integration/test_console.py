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
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from localcloud import LocalCloud
from pull.client import Client
from pull.reference import parse_reference
from registry_proxy import ROOT
from registry_proxy.port import free_port
from tests.integration.session import plain_session

SECONDS = 60
ROWS, COLUMNS = 40, 160
_COLOURS = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
ALIAS = "balenablocks/browser-aarch64/2.3"


class Console:
    """mitmproxy in a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: FileIO) -> None:
        self.process = process
        self.terminal = terminal
        self._shown = b""

    def read_until(self, text: str) -> None:
        """Read what is shown until the text is."""
        last = time.monotonic() + SECONDS
        while text.encode() not in _COLOURS.sub(b"", self._shown):
            ready, _, _ = select.select([self.terminal], [], [], 1)
            if ready:
                self._shown += self.terminal.read(1 << 16)
            assert time.monotonic() < last, f"{text!r} is not shown"
            assert self.process.poll() is None, "it has ended"


@contextmanager
def console(**variables: str) -> Iterator[Console]:
    """Yield a running console."""
    ours, theirs = pty.openpty()
    size = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    process = subprocess.Popen(
        # Whoever runs the tests may ignore the signal, as `nohup` does.
        [
            *("env", "--default-signal=HUP"),
            *(sys.executable, "-m", "registry_proxy", "console"),
        ],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", **variables},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    with FileIO(ours, "r+") as terminal:
        try:
            yield Console(process, terminal)
        finally:
            process.kill()
            process.wait()


def test_key_explains_a_flow(cloud: LocalCloud, tmp_path: Path) -> None:
    """`y` tells what happened to the flow in focus; no terminal, no console."""
    port, folder = free_port(), str(tmp_path)
    with console(
        HOME=folder,
        CONFDIR=folder,
        REGISTRY_URL=cloud.registry_url,
        PROXY_PORT=str(port),
    ) as shown:
        shown.read_until("Flows")
        url = f"http://localhost:{port}"
        with plain_session() as session:
            assert session.get(f"{url}/ping", timeout=SECONDS).text == "pong"
        assert Client(lambda _: None).pull(parse_reference(f"{url}/{ALIAS}"))
        shown.read_until("/auth/v1/token?scope")
        shown.terminal.write(b"jjy")
        shown.read_until("is release 2.3.8+rev2")
        shown.terminal.close()
        assert shown.process.wait(SECONDS) == -signal.SIGHUP
