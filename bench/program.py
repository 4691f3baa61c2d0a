"""The programs that are measured, or needed for it: found, run, and ended."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

START_SECONDS = 60
STOP_SECONDS = 10
LOOK_SECONDS = 0.005
"""Between two looks whether a program listens."""
SAID_LENGTH = 2000
"""How much of what a program printed is shown where it failed."""
SYSTEM_FOLDERS = "/usr/sbin:/sbin:/usr/bin:/bin"
"""Where Debian's packages put servers, also outside of root's PATH."""

type Command = Sequence[str | Path]


class ProgramError(RuntimeError):
    """A program is missing, or failed; the message says which, and what it said."""


def find_program(name: str) -> str:
    """Return the program's path, the packaged one first.

    Raises:
        ProgramError: it is not installed.

    """
    path = shutil.which(name, path=f"{SYSTEM_FOLDERS}:{os.environ.get('PATH', '')}")
    if path is None:
        raise ProgramError(f"{name} is not installed")
    return path


@contextmanager
def running(
    command: Command,
    port: int,
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, from when it listens at a port of loopback until the context ends.

    Ctrl-C in the terminal does not reach it, only who runs it. What is in the
    environment is added to this process's own.

    Raises:
        ProgramError: it ended, or does not listen.

    """
    with started(command, log=log, environment=environment) as process:
        last = time.monotonic() + START_SECONDS
        while process.poll() is None and not listens(port):
            if time.monotonic() > last:
                raise ProgramError(f"{command[0]} does not listen at port {port}")
            time.sleep(LOOK_SECONDS)
        if process.poll() is not None:
            raise ProgramError(f"{command[0]} ended; {said(log)}")
        yield process


@contextmanager
def started(
    command: Command, *, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the context ends, whether it is ready or not.

    Raises:
        ProgramError: it cannot be run.

    """
    with log.open("wb") as output, _program_errors(command):
        # There is no shell, and the command is ours or that of who measures.
        process = subprocess.Popen(  # noqa: S603
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def run(
    command: Command,
    *,
    environment: Mapping[str, str],
    seconds: float,
    folder: Path | None = None,
) -> str:
    """Return what a program prints that has nothing but this environment.

    Raises:
        ProgramError: it failed, or took longer.

    """
    with _program_errors(command):
        done = subprocess.run(  # noqa: S603 - as above
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
    if done.returncode:
        raise ProgramError(f"{command[0]} failed:\n{done.stdout[-SAID_LENGTH:]}")
    return done.stdout


def listens(port: int) -> bool:
    """Return whether somebody accepts connections on a port of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def said(log: Path) -> str:
    """Return the end of what a program printed, in a sentence."""
    text = log.read_text(errors="replace")[-SAID_LENGTH:].strip()
    return f"it said:\n{text}" if text else "it said nothing"


@contextmanager
def _program_errors(command: Command) -> Iterator[None]:
    try:
        yield
    except (subprocess.TimeoutExpired, OSError) as error:
        raise ProgramError(f"{command[0]} cannot be run: {error}") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it, and what it has started."""
    _signal(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # Nobody is left.
        os.killpg(process.pid, number)
