"""A registry proxy that is started as `make run` does it and ends with its context."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Protocol, Self

import requests

from registry_proxy import ROOT, serve

START_SECONDS = 60
"""How long a slow machine may take to start mitmproxy."""
STOP_SECONDS = 10
LISTENING = " listening at "
"""What mitmproxy prints once it has the port."""
TAKEN = "address already in use"
"""What it prints where it cannot have it."""
_PORT = re.compile(rf"{LISTENING}\S*?:(\d+)\b")


class Process(Protocol):
    """What this needs of a `subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit status of a process that ended."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end so many seconds, and return the exit status."""

    def send_signal(self, sig: int) -> None:
        """Send a signal to a process that runs."""

    def terminate(self) -> None:
        """Send SIGTERM."""

    def kill(self) -> None:
        """Send SIGKILL."""


def launch(arguments: Sequence[str], output: IO[bytes]) -> Process:
    """Start a program of mitmproxy's, whose output goes to a file."""
    # The next line has no shell, and arguments of our own making.
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "mitm.program", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )


class StartError(RuntimeError):
    """The program ended, or does not answer; the message has what it printed."""


class Proxy:
    """mitmdump or mitmweb with the addon, on loopback, while the context lasts."""

    launch = staticmethod(launch)
    """How its process is started: tests have a way that is faster."""

    def __init__(
        self,
        registry_url: str,
        *,
        port: int = 0,
        or_any: bool = False,
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        program: str = "mitmdump",
    ) -> None:
        self.port = port
        """Where it listens; with 0, or where `or_any` says so, once it does."""
        self._or_any = or_any
        self._program = program
        self._variables = {
            "REGISTRY_URL": registry_url,
            "GRACE_PERIOD": "0",
            **(environment or {}),
        }
        self._arguments = arguments
        self._told = 0
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - see __exit__

    @property
    def host(self) -> str:
        """Host and port, as they stand in references."""
        return f"localhost:{self.port}"

    @property
    def log(self) -> str:
        """The output so far."""
        # Without moving the place at which the process writes next.
        descriptor = self._output.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()

    def news(self) -> str:
        """Return what was printed since this was asked last, in whole lines."""
        text = self.log
        end = text.rfind("\n") + 1
        begin, self._told = self._told, max(end, self._told)
        return text[begin:end]

    def __enter__(self) -> Self:
        serve.link_options(serve.confdir(self._variables))
        try:
            self._start_somewhere()
        except BaseException:
            self._output.close()
            raise
        return self

    def _start_somewhere(self) -> None:
        try:
            self._start()
        except StartError:
            if not (self._or_any and TAKEN in self.log):
                raise
            self.port = 0
            self._output.seek(0)
            self._output.truncate()
            self._start()

    def _start(self) -> None:
        variables = {"PROXY_PORT": str(self.port), **self._variables}
        arguments = [
            *serve.arguments_of(self._program, variables),
            *self._arguments,
        ]
        self.process = self.launch([self._program, *arguments], self._output)
        try:
            self._wait()
        except BaseException:
            self._end()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()
        self._output.close()

    def _wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            # Before it listens, another server on the port could answer.
            if listening := _PORT.search(self.log):
                self.port = int(listening[1])
                if self._answers():
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

    def _end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
