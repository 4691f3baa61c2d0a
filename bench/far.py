"""Pulls from far away: registry, storage and API are behind a link.

Registry and API speak TLS. The proxy is beside its clients, and *direct* goes through
the link itself, whose module says what it imitates and counts.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from bench import contestant
from bench.contestant import DIRECT, PEER, PROXY, ROOT, Contestant
from bench.load import Client, skopeo_copy, skopeo_inspect, time_command
from bench.program import Command
from bench.site import PULLED, SMALL, Site
from bench.table import MEGA, Figures, Turn

SECONDS = "seconds"
ALIASES = PULLED, SMALL
"""What is pulled."""


def turns(site: Site, stack: ExitStack, area: str, peer: str) -> Iterator[Turn]:
    """Start everybody, and yield everything that can be measured of them.

    Args:
        site: what is far away.
        stack: ends whom is started.
        area: what the turns are called.
        peer: the folder of another checkout, or nothing.

    """
    for who in contestants(site, stack, site.streaming, peer):
        for case, alias, command in (
            ("pull of 200 MB", PULLED, skopeo_copy),
            ("pull of 6 MB", SMALL, skopeo_copy),
            ("skopeo inspect", SMALL, skopeo_inspect),
        ):
            yield area, case, who.name, partial(_measure, site, who, alias, command)
    for who in contestants(site, stack, site.redirecting, peer):
        case = "pull of 6 MB that is redirected"
        yield area, case, who.name, partial(_measure, site, who, SMALL, skopeo_copy)


def contestants(
    site: Site, stack: ExitStack, registry: str, peer: str, **variables: str
) -> Iterator[Contestant]:
    """Yield those who are compared, started.

    Args:
        site: what is far away.
        stack: ends whom is started.
        registry: its URL.
        peer: the folder of another checkout, or nothing.
        variables: what a checkout is told beside the usual.

    """
    yield Contestant(DIRECT, registry)
    folders = {PROXY: ROOT} | ({PEER: Path(peer).resolve()} if peer else {})
    for name, folder in folders.items():
        # Clients are at the same site as the proxy, and speak plain HTTP with it.
        plain = {"TLS": "", **variables}
        made = contestant.checkout(site, registry, folder, name, **plain)
        yield stack.enter_context(made.started(site))


def _measure(
    site: Site,
    who: Contestant,
    alias: str,
    command: Callable[[str, str, Path], Command],
) -> Figures:
    """Return how long a command took, and what it took from the link."""
    assert site.link, "the site is far away"  # noqa: S101
    name = f"localhost:{who.port}/{Client(site, who, alias).name}"
    before = site.link.tally()
    try:
        words = command(name, site.cloud.keys["carol"], site.folder)
        seconds = time_command(words, site.folder)
    finally:
        shutil.rmtree(site.folder / "copy", ignore_errors=True)
    passed = {port: t.since(before[port]) for port, t in site.link.tally().items()}
    connections = {port: float(each.connections) for port, each in passed.items()}
    api = urlsplit(site.cloud.api_url).port or 0
    return {
        SECONDS: seconds,
        "MB from afar": sum(each.received for each in passed.values()) / MEGA,
        "connections to the API": connections.pop(api),
        "others": sum(connections.values()),
    }
