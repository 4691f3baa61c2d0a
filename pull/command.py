"""Pull an image as container clients do, and say each step, or what is wrong.

It is for any reference and any registry or proxy. The image is checked and thrown away,
or written to a folder that skopeo and others read. The password of a login is read from
BALENA_API_KEY, or from what `docker login` has kept.
"""

import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path

from mitm import interrupt
from mitm.option import DEFAULTS, parse_variables
from mitm.story.quantity import describe_size
from pull.client import Client
from pull.connection import Trust
from pull.fault import Fault
from pull.layout import Layout
from pull.login import Logins
from pull.reference import parse_reference


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the reference, and how it is pulled."""
    add = parser.add_argument
    add(
        "reference",
        metavar="REF",
        help="[<host>/]<name>[:<tag>][@<digest>]; without a host it is pulled from the"
        " proxy of this machine",
    )
    add(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="write the image there, as an OCI layout",
    )
    add("--check", action="store_true", help="ask for one byte of each blob, no more")
    add(
        "--platform",
        metavar="OS/ARCH",
        help="which image of several, as in linux/arm64 or linux/arm/v7 [this"
        " machine's]",
    )
    add(
        "--username",
        metavar="NAME",
        help="log in so, with BALENA_API_KEY as the password, wherever it is asked for",
    )
    add("--ca", type=Path, metavar="FILE", help="trust these authorities as well")
    add("--insecure", action="store_true", help="verify no certificate")
    add(
        "--plain-http",
        action="store_true",
        help="speak plain HTTP, as is done with localhost anyway",
    )
    add("--quiet", action="store_true", help="say only what is wrong")


def run(options: Namespace, environment: Mapping[str, str]) -> int:
    """Pull, and return the exit status.

    Raises:
        ValueRefused: PROXY_PORT is no port.

    """
    port = (DEFAULTS | parse_variables(environment))["PROXY_PORT"]
    for number in (signal.SIGINT, signal.SIGTERM):
        # Files that were begun are taken away.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        _pull(options, environment, f"localhost:{port}")
    except Fault as fault:
        sys.stdout.flush()
        sys.stderr.write(f"error ({fault.cause}): {fault}\nnext: {fault.advice}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(interrupt.LINE.decode())
        return interrupt.STATUS
    return 0


def _pull(options: Namespace, environment: Mapping[str, str], usual_host: str) -> None:
    tell = _say_nothing if options.quiet else _say
    reference = parse_reference(
        options.reference, usual_host=usual_host, is_plain=options.plain_http
    )
    client = Client(
        tell,
        trust=Trust(options.ca, options.insecure),
        find_login=Logins(environment, options.username),
        platform=options.platform,
        has_bars=sys.stdout.isatty() and not options.quiet,
        is_check=options.check,
    )
    tell(f"Pulling {reference.name}, {reference.version}, from {reference.url}")
    if options.insecure:
        tell("   no certificate is verified: whoever is between can read the login")
    layout = Layout(options.output) if options.output else None
    size = client.pull(reference, None if options.check else layout)
    tell(_result(options, describe_size(size)))


def _result(options: Namespace, size: str) -> str:
    if options.check:
        return f"All of it can be pulled: {size}."
    where = f" to {options.output}" if options.output else ""
    return f"Pulled {size}{where}, all digests as they should be."


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _say_nothing(_text: str) -> None:
    pass
