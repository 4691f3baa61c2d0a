"""The programs that are measured, or that measure: found, started and ended."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from demo.proxy import StartError
from demo.terminal import interrupt_once
from registry_proxy.serve import raise_open_files

START_SECONDS = 60
STOP_SECONDS = 10
LOOK_SECONDS = 0.02
SAID_LENGTH = 2000
"""How much of what a program printed is shown where it failed."""
FOLDERS = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
"""Debian puts servers where only root's PATH leads."""

type Command = Sequence[str | Path]


class ProgramError(RuntimeError):
    """A program is missing, failed, or gave a wrong answer; the message says all."""


@contextmanager
def as_command(name: str) -> Iterator[None]:
    """Let an error end the command with a sentence, and Ctrl-C all that it started."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt_once)
    raise_open_files()
    try:
        yield
    except (ProgramError, StartError, OSError) as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: ended; nothing is left running")


def find(name: str) -> str:
    """Return a program's path, or say how it is installed."""
    if path := shutil.which(name, path=FOLDERS):
        return path
    package = {"node": "nodejs", "nginx": "nginx-light"}.get(name, name)
    raise ProgramError(f"{name} is missing: apt-get install {package}")


@contextmanager
def serving(
    command: Command,
    port: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[int]:
    """Run a server while the context lasts, and yield its process number.

    It gets a session of its own, so that Ctrl-C reaches only who runs it.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - there is no shell
            command,
            env={**os.environ, **(environment or {})},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        last = time.monotonic() + START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > last:
                text = log.read_text(errors="replace")[-SAID_LENGTH:]
                raise ProgramError(f"{command[0]} does not listen; it said:\n{text}")
            time.sleep(LOOK_SECONDS)
        yield process.pid
    finally:
        for kind in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):  # Nobody is left of the session.
                os.killpg(process.pid, kind)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)


def run(
    command: Command,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    seconds: float = 300,
) -> str:
    """Return what a program prints, unless it fails or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - there is no shell
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProgramError(f"{command[0]} takes over {seconds:g} s") from error
    if done.returncode:
        text = (done.stdout + done.stderr)[-SAID_LENGTH:]
        raise ProgramError(f"{command[0]} failed; it said:\n{text}")
    return done.stdout


def end(number: int) -> None:
    """End a process that a program has started, and wait until it has gone."""
    with suppress(ProcessLookupError):
        os.kill(number, signal.SIGTERM)
        last = time.monotonic() + STOP_SECONDS
        while time.monotonic() < last:
            os.kill(number, 0)
            time.sleep(LOOK_SECONDS)
        os.kill(number, signal.SIGKILL)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
