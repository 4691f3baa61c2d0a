"""Watch pulls in a terminal, on a server: what runs, how far it is, and why one fails.

It reads the page of pulls of a running proxy, or a log whose lines have facts
(LOG_FORMAT=json): a file, or - for standard input, as in
`docker logs -f proxy | registry-proxy watch -`. Without either it is the page at
PULLS_PORT. Where its output is no terminal, it prints a line when a pull begins, and
one when it is over.
"""

import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from live import log, poll
from live.draw import Screen, Terminal
from live.poll import SourceError
from live.shown import Shown
from mitm import interrupt
from mitm.option import parse_variable

STANDARD_INPUT = "-"
HOW_TO_SHOW = (
    "name what to watch: --page <address of the page of pulls, from the proxy's log>,"
    " or PULLS_PORT where the page is on this machine, or a log with LOG_FORMAT=json"
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare what is watched, and what is shown of it."""
    add = parser.add_argument
    add(
        "log",
        metavar="LOG",
        nargs="?",
        help="a log with LOG_FORMAT=json, or - for standard input",
    )
    add(
        "--page",
        metavar="URL",
        help="the page of pulls, with PULLS_TOKEN; or as the proxy's log names it, with"
        " its token, which everybody on this machine can see then",
    )
    add("--once", action="store_true", help="print what there is now, and end")
    add("--failures", action="store_true", help="show only pulls that fail")


def run(options: Namespace, environment: Mapping[str, str]) -> int:
    """Watch, and return the exit status.

    Raises:
        ValueRefused: a variable has a value that cannot work.

    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    screen = _screen(options, environment)
    try:
        with closing(_source(options, environment, screen)) as source:
            for pulls in source:
                screen.show(pulls)
                if options.once and not options.log:
                    break
    except SourceError as error:
        screen.close()
        sys.stderr.write(f"registry-proxy watch: {error}\n")
        return 1
    except KeyboardInterrupt:
        screen.close()
        return interrupt.STATUS
    return 0


def _screen(options: Namespace, environment: Mapping[str, str]) -> Screen:
    """Return what draws, by what there is to draw on."""
    is_terminal = sys.stdout.isatty() and environment.get("TERM") != "dumb"
    has_colours = is_terminal and not environment.get("NO_COLOR")
    if is_terminal and not options.once:
        return Terminal(
            sys.stdout, only_failures=options.failures, has_colours=has_colours
        )
    return Screen(
        sys.stdout,
        only_failures=options.failures,
        has_colours=has_colours,
        is_once=options.once,
    )


def _source(
    options: Namespace, environment: Mapping[str, str], screen: Screen
) -> Generator[list[Shown]]:
    """Yield the pulls, again and again.

    Raises:
        SourceError: there is nothing to watch.

    """
    if options.log and options.page:
        raise SourceError("name a page or a log, not both")
    if options.log:
        yield from _log(options.log, screen, is_once=options.once)
        return
    url = options.page or _usual_page(environment)
    token = parse_variable("PULLS_TOKEN", environment)
    page = poll.Page(url, poll.read_token(Path(str(token))) if token else None)
    yield from poll.follow(page, screen.note)


def _log(name: str, screen: Screen, *, is_once: bool) -> Iterator[list[Shown]]:
    if name == STANDARD_INPUT:
        yield from log.follow(sys.stdin.fileno(), screen.note, is_once=is_once)
        return
    try:
        descriptor = os.open(name, os.O_RDONLY)
    except OSError as error:
        raise SourceError(f"{name}: {error.strerror}") from error
    try:
        yield from log.follow(descriptor, screen.note, is_once=is_once)
    except OSError as error:
        raise SourceError(f"{name}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _usual_page(environment: Mapping[str, str]) -> str:
    """Return where the page of this machine is, by the variables of the proxy.

    Raises:
        SourceError: these name none.

    """
    port = parse_variable("PULLS_PORT", environment)
    if not port:
        raise SourceError(HOW_TO_SHOW)
    host = str(parse_variable("PULLS_HOST", environment) or "127.0.0.1")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
