"""Runs a soak for MINUTES, and ends with status 1 where something was found.

It says now and then how it goes. Ctrl-C ends it with the report so far.
"""

import os
import signal
import sys

import serve
from demo.proxy import StartError
from demo.terminal import interrupt_once, say
from soak.course import run

MINUTES_DEFAULT = "20"
MINUTES_LEAST = 0.02
MINUTES_MOST = 7 * 24 * 60


def main() -> int:
    """Return the exit status."""
    try:
        minutes = parse_minutes(os.environ.get("MINUTES") or MINUTES_DEFAULT)
    except ValueError as error:
        sys.exit(f"soak: {error}")
    serve.raise_open_files()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt_once)
    try:
        report = run(minutes * 60, say)
    except StartError as error:
        sys.exit(f"soak: {error}")
    except KeyboardInterrupt:
        say("Ended before it began.")
        return 0
    say(f"\n{report}")
    return report.status


def parse_minutes(text: str) -> float:
    """Return how long a soak is to take.

    Raises:
        ValueError: that is no time, or no sensible one; the message names it.

    """
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not MINUTES_LEAST <= minutes <= MINUTES_MOST:
        raise ValueError(
            f"MINUTES: {text!r} is no number of minutes for a soak; write one from"
            f" {MINUTES_LEAST} to {MINUTES_MOST}, as in 20 or 0.5"
        )
    return minutes


if __name__ == "__main__":
    sys.exit(main())
