"""A process that has mitmproxy loaded, and forks a proxy as often as tests want one.

To load it takes two seconds of processor, and the tests start hundreds of proxies. What
is forked goes on as ``python -m mitm.program`` does after it loaded its modules: with
the arguments, the environment and the output of its own, and nothing that ran before.

::

    tests   {"arguments", "environment"}, and the file for the output   warm process
            ------------------------------------------------------->
            <------------------------------------------------ process id
            process id that ended ---------------------------------->
            <----------------------------------------------- exit status
"""

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import IO, Any

from demo import proxy
from registry_proxy import ROOT

_MESSAGE_MAX = 1 << 20


class Forked:
    """A process that the warm one forked, as `subprocess.Popen` shows its own."""

    def __init__(self, pid: int, warm: "Warm") -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._warm = warm
        # It stays this process's until the warm one asks for its status.
        self._descriptor = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return the exit status of a process that ended."""
        if self.returncode is None and self._has_ended(0):
            self.returncode = self._warm.status_of(self.pid)
            os.close(self._descriptor)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end so many seconds, and return the exit status."""
        if self.returncode is None and not self._has_ended(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        status = self.poll()
        assert status is not None
        return status

    def send_signal(self, sig: int) -> None:
        """Send a signal to a process that runs."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._descriptor, sig)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _has_ended(self, seconds: float | None) -> bool:
        ended = select.poll()
        ended.register(self._descriptor, select.POLLIN)
        return bool(ended.poll(None if seconds is None else seconds * 1000))


class Warm:
    """The warm process, from when it is first needed until it is told to end."""

    def __init__(self) -> None:
        self._place = _place()
        self._lock = Lock()
        self._started: tuple[socket.socket, subprocess.Popen[bytes]] | None = None

    def end(self) -> None:
        """End it, if it was needed."""
        if self._started:
            line, process = self._started
            line.close()
            process.wait()

    def launch(self, arguments: Sequence[str], output: IO[bytes]) -> proxy.Process:
        """Start a program of mitmproxy's, as `demo.proxy.launch` does."""
        if _place() != self._place:
            return proxy.launch(arguments, output)
        wanted = {"arguments": list(arguments), "environment": dict(os.environ)}
        return Forked(self._ask(wanted, output.fileno()), self)

    def status_of(self, pid: int) -> int:
        """Return the exit status of a process that ended."""
        return self._ask(pid)

    def _ask(self, wanted: object, *files: int) -> int:
        with self._lock:
            self._started = self._started or _start()
            line, _ = self._started
            socket.send_fds(line, [json.dumps(wanted).encode()], files)
            told = line.recv(_MESSAGE_MAX)
        if not told:
            raise RuntimeError("the process that forks proxies has ended")
        answer: int = json.loads(told)
        return answer


def _place() -> object:
    """Return what a process inherits from the thread that starts it."""
    namespaces = Path("/proc/thread-self/ns")
    names = [(namespaces / name).readlink() for name in ("net", "mnt")]
    return names, resource.getrlimit(resource.RLIMIT_NOFILE)


def _start() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(its.fileno())],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            pass_fds=(its.fileno(),),
        )
    return ours, process


def _next(line: socket.socket) -> dict[str, Any] | None:
    """Return what the process that was forked is to be, or none in the warm one."""
    while True:
        text, files, _, _ = socket.recv_fds(line, _MESSAGE_MAX, 1)
        if not text:
            return None
        wanted = json.loads(text)
        if isinstance(wanted, int):
            _, status = os.waitpid(wanted, 0)
            answer = os.waitstatus_to_exitcode(status)
        elif not (answer := os.fork()):
            line.close()
            for stream in (sys.stdout, sys.stderr):
                os.dup2(files[0], stream.fileno())
            os.close(files[0])
            return dict(wanted)
        for file in files:
            os.close(file)
        line.send(json.dumps(answer).encode())


def _is_ours(name: str) -> bool:
    """Return whether a module is one of this checkout, and may have a state."""
    file = Path(getattr(sys.modules[name], "__file__", None) or "/")
    is_here = file.is_relative_to(ROOT) and ".venv" not in file.parts
    return is_here and name != "__main__"


def _main(line: socket.socket) -> None:
    # What they have in common, each of which takes long to load.
    import mitmproxy.tools.dump  # noqa: PLC0415
    import mitmproxy.tools.main  # noqa: PLC0415
    import mitmproxy.tools.web  # noqa: F401, PLC0415

    import addon  # noqa: F401, PLC0415

    # What other packages it needs is there; its own modules each proxy has anew.
    for name in [*filter(_is_ours, sys.modules)]:
        del sys.modules[name]
    if wanted := _next(line):
        from mitm import program  # noqa: PLC0415

        os.environ.clear()
        os.environ.update(wanted["environment"])
        time.tzset()
        name, *arguments = wanted["arguments"]
        program.run(name, arguments)


if __name__ == "__main__":
    _main(socket.socket(fileno=int(sys.argv[1])))
