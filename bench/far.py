"""Pulls from far away: registry, storage and API are behind a link.

Registry and API speak TLS. The proxy is beside its clients, and *direct* goes through
the link itself, whose module says what it imitates and counts.

Each is done twice. At first no connection is open, and the proxy has never looked the
release up; again, right behind, it has both.
"""

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path

from bench import contestant
from bench.contestant import DIRECT, PEER, PROXY, ROOT, Contestant
from bench.load import skopeo_copy, skopeo_inspect, time_command
from bench.program import Command
from bench.site import PULLED, SMALL, Site
from bench.table import MEGA, Figures, Turn

SECONDS, AGAIN = "seconds", "again"
ALIASES = PULLED, SMALL
"""What is pulled."""
PREFIX_LENGTH = 7
"""Digits that a commit needs at least. Each number of them is an alias of its own, of
which there are enough for sixteen rounds."""

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
                yield area, case, who.name, partial(self._measure, who, alias, words)
        for who in self.contestants(self._site.redirecting):
            case = "pull of 6 MB, redirected"
            redirected = partial(self._measure, who, SMALL, skopeo_copy)
            yield area, case, who.name, redirected

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

    def _measure(self, who: Contestant, alias: str, words: Words) -> Figures:
        """Return how long a command takes, first and again, and what passes then."""
        name = self._name(who, alias)
        command = words(
            f"localhost:{who.port}/{name}",
            self._site.cloud.keys["carol"],
            self._site.folder,
        )
        self._link.close_connections()
        before = self._link.tally()
        seconds = self._time(command)
        tallies = self._link.tally()
        passed = [tallies[port].since(before[port]) for port in tallies]
        again = {AGAIN: self._time(command)} if alias == SMALL else {}
        return {
            SECONDS: seconds,
            **again,
            "MB from afar": sum(each.received for each in passed) / MEGA,
            "connections": sum(each.connections for each in passed),
        }

    def _name(self, who: Contestant, alias: str) -> str:
        """Return what an image is called there, by a name that nobody has asked for."""
        if not who.is_ours:
            return self._site.images[alias].repository
        slug, find = alias.rpartition("/")[0], self._site.cloud.database.find
        (application,) = find("application", slug=slug)
        (release,) = find("release", belongs_to__application=application["id"])
        return f"{slug}/{release['commit'][: next(self._digits[who.port, slug])]}"

    def _time(self, command: Command) -> float:
        try:
            return time_command(command, self._site.folder)
        finally:
            shutil.rmtree(self._site.folder / "copy", ignore_errors=True)
