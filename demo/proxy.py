"""A registry proxy that is started as `make run` does it and ends with its context."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import requests

from registry_proxy import ROOT, serve

START_SECONDS = 60
"""How long a slow machine may take to start mitmproxy."""
STOP_SECONDS = 10
LISTENING = " listening at "
"""What mitmproxy prints once it has the port."""


class StartError(RuntimeError):
    """The program ended, or does not answer; the message has what it printed."""


class Proxy:
    """mitmdump or mitmweb with the addon, on loopback, while the context lasts."""

    def __init__(
        self,
        registry_url: str,
        *,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        program: str = "mitmdump",
    ) -> None:
        self.port = port or serve.free_port()
        self._program = program
        self.host = f"localhost:{self.port}"
        self._variables = {
            "REGISTRY_URL": registry_url,
            "PROXY_PORT": str(self.port),
            "GRACE_PERIOD": "0",
            **(environment or {}),
        }
        self._arguments = arguments
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__

    @property
    def log(self) -> str:
        """The output so far."""
        self._output.seek(0)
        return self._output.read().decode()

    def __enter__(self) -> Self:
        serve.link_options(serve.confdir(self._variables))
        arguments = [
            *serve.arguments_of(self._program, self._variables),
            *self._arguments,
        ]
        # The next line has no shell, and arguments of our own making.
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "mitm.program", self._program, *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        try:
            self._wait()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            # Before it listens, another server on the port could answer.
            if LISTENING in self.log and self._answers():
                return
            time.sleep(0.05)
        raise StartError(f"{self._program} does not serve; it said:\n{self.log}")

    def _answers(self) -> bool:
        with requests.Session() as session:
            session.trust_env = False
            try:
                session.get(f"http://127.0.0.1:{self.port}/ping", timeout=5)
            except requests.RequestException:
                return False
            return True

    def _stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._output.close()
