"""``make bench``: pulling through the proxy, without it, and through others.

All of it is measured in one run, side by side. Ctrl-C ends it, and all that it started.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import serve
from bench.comparison import markdown, plot
from bench.comparison.contest import DISCIPLINES, Contest
from bench.comparison.discipline import Discipline
from bench.comparison.outcome import Outcome
from bench.comparison.peer import Peer, parse_peer
from bench.comparison.progress import Progress
from bench.comparison.sheet import Area
from bench.comparison.site import open_site
from bench.comparison.size import FULL, QUICK
from bench.comparison.software import versions
from bench.comparison.stage import Stage
from bench.load import LoadError, running_load
from bench.machine import this_machine
from bench.processor import PROC
from bench.program import ProgramError, find_program
from demo.terminal import interrupt_once, say

ROUNDS_MOST = 100
PROGRAMS = ("docker-registry", "nginx")
WITH_BLOBS = (Area.BLOB, Area.SCALE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    options = _parse_options(arguments)
    if not PROC.exists():
        sys.exit("bench: the time of processes is in /proc, which only Linux has")
    rounds = {
        discipline: options.rounds or (1 if options.quick else discipline.rounds)
        for discipline in DISCIPLINES
        if discipline.area in options.only
    }
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt_once)
    serve.raise_open_files()
    try:
        outcome = _run(options, rounds)
    except (ProgramError, LoadError) as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        say("Ended; nothing is left running.")
        return 1
    _write(outcome, options)
    return 0


def _run(options: argparse.Namespace, rounds: Mapping[Discipline, int]) -> Outcome:
    for program in PROGRAMS + sum((one.programs for one in rounds), ()):
        find_program(program)
    busy = os.getloadavg()[0]
    sizes = QUICK if options.quick else FULL
    progress = Progress(rounds, is_full=not options.quick)
    say(f"Storing what is pulled; {progress.left()}.")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        load = stack.enter_context(running_load())
        site = stack.enter_context(
            open_site(
                folder,
                sizes,
                has_blob=any(one.area in WITH_BLOBS for one in rounds),
                first_port=options.first_port,
            )
        )
        stage = Stage(site, sizes, options.peer, stack, say)
        contest = Contest(progress, say, is_rehearsed=sizes.is_rehearsed)
        for discipline, number in rounds.items():
            contest.hold(discipline, discipline.attempts(stage, load), number)
        return Outcome(this_machine(), versions(), sizes, busy, rounds, contest.sheet)


def _write(outcome: Outcome, options: argparse.Namespace) -> None:
    table = markdown.write(outcome)
    say(f"\n{table}")
    if options.markdown:
        options.markdown.write_text(table)
    if options.json:
        options.json.write_text(json.dumps(outcome.as_json(), indent=2) + "\n")
    if options.plot:
        options.plot.write_text(plot.draw(outcome))


def _parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure pulling through the proxy against doing without it.",
    )
    parser.add_argument("--rounds", type=_rounds, help="of everything that is measured")
    parser.add_argument(
        "--only",
        type=_areas,
        default=tuple(Area),
        help=f"some of {','.join(Area)}",
    )
    parser.add_argument(
        "--peer",
        type=_peer,
        action="append",
        default=[],
        help="NAME=URL[,URL] or NAME=COMMAND of another proxy to compare",
    )
    parser.add_argument(
        "--first-port",
        type=int,
        help="of four: streaming registry, redirecting one, and the API of each",
    )
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file")
    parser.add_argument("--plot", type=Path, help="draw it as SVG to this file")
    parser.add_argument(
        "--quick", action="store_true", help="only see whether everything works"
    )
    return parser.parse_args(arguments)


def _rounds(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= ROUNDS_MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 1 to {ROUNDS_MOST}")
    return number


def _areas(text: str) -> tuple[Area, ...]:
    names = text.split(",")
    if unknown := set(names) - set(Area):
        known = ", ".join(Area)
        raise argparse.ArgumentTypeError(f"{unknown.pop()!r} is none of {known}")
    return tuple(map(Area, names))


def _peer(text: str) -> Peer:
    try:
        return parse_peer(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
