"""Output and signals of a command that runs until somebody ends it."""

import signal
import sys
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from mitm.option import ValueRefused, parse_variables
from mitm.parser import parse_flag
from registry_proxy.port import LOOPBACK, check_place

PREFERRED_PORT = 8080
"""The usual port, because it is the easiest to type."""
LOOK_SECONDS = 0.2
"""Between two looks whether there is something new, or a signal."""
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare when it ends."""
    parser.add_argument(
        "--once", action="store_true", help="end after it, as with ONCE=1"
    )


def cache_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the cache, for somebody who wants to see it at work."""
    names = ("CACHE", "CACHE_SIZE")
    return {name: environment[name] for name in names if environment.get(name)}


def is_once(options: Namespace, environment: Mapping[str, str]) -> bool:
    """Return whether it ends after its pulls.

    Raises:
        ValueRefused: ONCE is neither true nor false.

    """
    try:
        return options.once or parse_flag(environment.get("ONCE") or "0")
    except ValueError as error:
        raise ValueRefused(f"ONCE: {error}; write ONCE=1") from error


def chosen_port(environment: Mapping[str, str]) -> tuple[int, bool]:
    """Return the port that the environment names, or the usual one, or any other.

    Raises:
        ValueRefused: the one that it names cannot be had.

    """
    port: int | None = parse_variables(environment).get("PROXY_PORT")
    if port is None:
        return PREFERRED_PORT, True
    check_place(LOOPBACK, port, "LISTEN_HOST", "PROXY_PORT")
    return port, False


def say(text: str) -> None:
    """Print a line; one that ends in a carriage return is written over."""
    if text.endswith("\r") and not sys.stdout.isatty():
        return
    show(text if text.endswith("\r") else f"{text}\n")


def show(text: str) -> None:
    """Print it as it is, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


@contextmanager
def until_ended() -> Iterator[Callable[[float], bool]]:
    """Yield a wait for so many seconds, which Ctrl-C and its like end."""
    for number in _ENDING:
        signal.signal(number, interrupt_once)
    try:
        # Nobody sets it: a handler that did would need the lock that the wait may hold.
        yield threading.Event().wait
    except KeyboardInterrupt:
        say("\nEnded.")


def interrupt_once(_signal: int, _frame: FrameType | None) -> None:
    """Interrupt the command, and ignore further signals while it cleans up."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
