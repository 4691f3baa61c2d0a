"""Pull an image as container clients do, and say each step, or what is wrong.

It is for any reference and any registry or proxy. The image is checked and thrown away,
or written to a folder that skopeo and others read. The password of a login is read from
BALENA_API_KEY, or from what `docker login` has kept.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path

from mitm import interrupt
from mitm.option import parse_variable
from mitm.story.quantity import describe_size
from pull.client import Client
from pull.connection import Trust
from pull.fault import Fault
from pull.layout import Layout
from pull.login import Logins
from pull.reference import EXAMPLE, parse_reference

_EVERYWHERE = ("127.0.0.1", "::1", "0.0.0.0", "::")  # noqa: S104 - it is connected to
"""Addresses to listen on that this machine knows as localhost."""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the reference, and how it is pulled."""
    add = parser.add_argument
    add(
        "reference",
        metavar="REF",
        nargs="?",
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
    add_ways(parser, "this machine's")
    add("--quiet", action="store_true", help="say only what is wrong")


def add_ways(parser: ArgumentParser, platform: str) -> None:
    """Declare how images are pulled, and which of an index by default."""
    add = parser.add_argument
    add(
        "--platform",
        metavar="OS/ARCH",
        help=f"which image of several, as in linux/arm64 or linux/arm/v7 [{platform}]",
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


def run(options: Namespace, environment: Mapping[str, str]) -> int:
    """Pull, and return the exit status.

    Raises:
        ValueRefused: where the proxy listens is no address or no port.

    """
    if not options.reference:
        sys.stderr.write(f"REF is missing: name an image, as in {EXAMPLE}\n")
        return 2
    host = usual_host(environment)

    def work() -> int:
        try:
            _pull(options, environment, host)
        except Fault as fault:
            sys.stdout.flush()
            sys.stderr.write(describe(fault))
            return 1
        return 0

    return interrupt.unwinding(work)


def usual_host(environment: Mapping[str, str]) -> str:
    """Return where the proxy of this machine listens, with the port.

    Raises:
        ValueRefused: the variables that say it have a value that cannot work.

    """
    port = parse_variable("PROXY_PORT", environment)
    listen = str(parse_variable("LISTEN_HOST", environment))
    if listen in _EVERYWHERE:
        listen = "localhost"
    return f"[{listen}]:{port}" if ":" in listen else f"{listen}:{port}"


def describe(fault: Fault) -> str:
    """Return what is wrong and what to do, as lines."""
    return f"error ({fault.cause}): {fault}\nnext: {fault.advice}\n"


def _pull(options: Namespace, environment: Mapping[str, str], host: str) -> None:
    tell = _say_nothing if options.quiet else _say
    reference = parse_reference(
        options.reference, usual_host=host, is_plain=options.plain_http
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
