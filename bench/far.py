"""Pulls from far away: registry, storage and API are behind a link.

Registry and API speak TLS. The proxy is beside its clients, and *direct* goes through
the link itself, whose module says what it imitates and counts.

The first pull of an alias finds no connection open, and the proxy looks the release up.
"""

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
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
PREFIX_LENGTH = 7
"""Digits that a commit needs at least: each number of them is an alias of its own."""

type Words = Callable[[str, str, Path], Command]
"""Makes a command of an image's name, a key and a folder."""


class Far:
    """Who pulls from a site that is far away."""

    def __init__(self, site: Site, stack: ExitStack, peer: str) -> None:
        """Take the folder of another checkout, too, unless it is empty."""
        assert site.link, "the site is far away"  # noqa: S101
        self._site, self._stack, self._peer = site, stack, peer
        self._link = site.link
        self._digits = defaultdict[tuple[int, str], Iterator[int]](
            partial(count, PREFIX_LENGTH)
        )

    def turns(self, area: str) -> Iterator[Turn]:
        """Start everybody, and yield everything that can be measured of them."""
        for who in self.contestants(self._site.streaming):
            for case, alias, words in (
                ("pull of 200 MB", PULLED, skopeo_copy),
                ("pull of 6 MB", SMALL, skopeo_copy),
                ("skopeo inspect", SMALL, skopeo_inspect),
            ):
                first = partial(self._first, who, alias, words)
                yield area, f"first {case}", who.name, first
                if alias == SMALL:
                    again = partial(self._measure, who, alias, words)
                    yield area, f"another {case}", who.name, again
        for who in self.contestants(self._site.redirecting):
            case = "first pull of 6 MB that is redirected"
            first = partial(self._first, who, SMALL, skopeo_copy)
            yield area, case, who.name, first

    def contestants(self, registry: str, **variables: str) -> Iterator[Contestant]:
        """Yield those who are compared, started; checkouts with these variables."""
        yield Contestant(DIRECT, registry)
        folders = {PROXY: ROOT}
        if self._peer:
            folders[PEER] = Path(self._peer).resolve()
        for name, folder in folders.items():
            # Clients are at the same site as the proxy, and speak plain HTTP with it.
            plain = {"TLS": "", **variables}
            made = contestant.checkout(self._site, registry, folder, name, **plain)
            yield self._stack.enter_context(made.started(self._site))

    def _first(self, who: Contestant, alias: str, words: Words) -> Figures:
        self._link.close_connections()
        slug = alias.rpartition("/")[0]
        database = self._site.cloud.database
        (application,) = database.find("application", slug=slug)
        (release,) = database.find("release", belongs_to__application=application["id"])
        digits = next(self._digits[who.port, alias])
        name = f"{slug}/{release['commit'][:digits]}"
        return self._measure(who, alias, words, name)

    def _measure(
        self, who: Contestant, alias: str, words: Words, name: str = ""
    ) -> Figures:
        """Return how long a command took, and what it took from the link.

        The proxy is asked for the image by its alias, or by another name for it.
        """
        site = self._site
        ours = name if who.is_ours and name else Client(site, who, alias).name
        command = words(
            f"localhost:{who.port}/{ours}", site.cloud.keys["carol"], site.folder
        )
        before = self._link.tally()
        try:
            seconds = time_command(command, site.folder)
        finally:
            shutil.rmtree(site.folder / "copy", ignore_errors=True)
        tallies = self._link.tally()
        passed = {port: each.since(before[port]) for port, each in tallies.items()}
        connections = {port: each.connections for port, each in passed.items()}
        api = urlsplit(site.cloud.api_url).port or 0
        return {
            SECONDS: seconds,
            "MB from afar": sum(each.received for each in passed.values()) / MEGA,
            "connections to the API": connections.pop(api),
            "others": sum(connections.values()),
        }
