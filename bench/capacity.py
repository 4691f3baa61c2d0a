"""``make capacity``: what one replica can do, and what it takes for that.

All figures but the last are for one second of a core's time that the proxy took: they
are the same on a busy machine and on an idle one, and Python uses one core at most.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import serve
from bench.case import all_cases
from bench.estimate import pull_shapes
from bench.load import LoadError, running_load
from bench.machine import this_machine
from bench.measurement import measure
from bench.processor import PROC, Process
from bench.report import Report
from bench.scene import set_scene
from demo.proxy import StartError

ROUNDS = 3
SECONDS = 1.2
"""For each case in each round; they are 24."""
SECONDS_LEAST = 0.1
"""The time of a process is counted in hundredths."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    options = _parse_options(arguments)
    if not PROC.exists():
        sys.exit("capacity: the time of processes is in /proc, which only Linux has")
    serve.raise_open_files()
    try:
        report = _run(options.rounds, options.seconds)
    except (StartError, LoadError) as error:
        sys.exit(f"capacity: {error}")
    except KeyboardInterrupt:
        return 1
    sys.stdout.write(f"\n{report}")
    if options.json:
        options.json.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return 0


def _run(rounds: int, seconds: float) -> Report:
    with ExitStack() as stack:
        load = stack.enter_context(running_load())
        scene = stack.enter_context(set_scene())
        cases = all_cases(scene)
        results = measure(cases, load, rounds=rounds, seconds=seconds, say=_say)
        memory = Process(scene.redirecting.process.pid).memory()
        return Report(this_machine(), pull_shapes(scene), results, memory)


def _parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.capacity",
        description="Measure what one replica of the proxy can do on this machine.",
    )
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--rounds", type=_rounds, default=ROUNDS)
    parser.add_argument(
        "--seconds", type=_seconds, default=SECONDS, help="for each case in each round"
    )
    return parser.parse_args(arguments)


def _rounds(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _seconds(text: str) -> float:
    if (number := float(text)) < SECONDS_LEAST:
        raise ValueError
    return number


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
