"""Pulls from far away: registry, storage and API are behind a link.

Registry and API speak TLS. The proxy is beside its clients, and *direct* goes through
the link itself, whose module says what it imitates and counts.

Each is done twice. At first no connection is open, and the proxy has never looked the
release up; again, right behind, it has both.
"""

import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

from bench import contestant
from bench.contestant import DIRECT, PEER, PROXY, ROOT, Contestant
from bench.link import Tally
from bench.load import skopeo_copy, skopeo_inspect, time_command
from bench.program import Command, run
from bench.site import PULLED, SMALL, Site
from bench.table import MEGA, Figures, Turn

SECONDS, AGAIN = "seconds", "again"
CROWD = 20
"""Who pull at once."""
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
        # The round that is not counted fills the cache.
        for who in self.contestants(self._site.streaming, is_caching=True):
            cached = partial(self._measure, who, PULLED, skopeo_copy)
            yield area, "pull of 200 MB, cached", who.name, cached
        for who in self._recipes(self._site.streaming):
            alone = partial(self._measure, who, PULLED, skopeo_copy)
            crowd = partial(self._crowd, who) if who.is_ours else alone
            case = f"pull of 200 MB by {CROWD} at once, direct by one"
            yield area, case, who.name, crowd

    def contestants(
        self, registry: str, *, is_caching: bool = False
    ) -> Iterator[Contestant]:
        """Yield those who are compared, started; with a cache each, or with none."""
        for who in self._recipes(registry):
            if not who.command:
                yield who
                continue
            cache = {"CACHE": str(self._folder())} if is_caching else {}
            made = replace(who, environment={**who.environment, **cache})
            yield self._stack.enter_context(made.started(self._site))

    def _recipes(self, registry: str) -> Iterator[Contestant]:
        """Yield those who are compared."""
        yield Contestant(DIRECT, registry)
        folders = {PROXY: ROOT}
        if self._peer:
            folders[PEER] = Path(self._peer).resolve()
        for name, folder in folders.items():
            # Clients are at the same site as the proxy, and speak plain HTTP with it.
            yield contestant.checkout(self._site, registry, folder, name, TLS="")

    def _folder(self) -> Path:
        """Return a new folder."""
        return Path(tempfile.mkdtemp(dir=self._site.folder))

    def _measure(self, who: Contestant, alias: str, words: Words) -> Figures:
        """Return how long a command takes, first and again, and what passes first."""
        site, name = self._site, self._name(who, alias)
        command = words(name, site.cloud.keys["carol"], site.folder)
        self._link.close_connections()
        before = self._link.tally()
        seconds = self._time(command)
        passed = self._passed(before)
        again = {AGAIN: self._time(command)} if alias == SMALL else {}
        return {SECONDS: seconds, **again, **passed}

    def _time(self, command: Command) -> float:
        try:
            return time_command(command, self._site.folder)
        finally:
            shutil.rmtree(self._site.folder / "copy", ignore_errors=True)

    def _crowd(self, who: Contestant) -> Figures:
        """Let many pull at once by a proxy whose cache is empty; wait for the last."""
        site, name = self._site, self._name(who, PULLED)
        cache, *folders = [self._folder() for _ in range(1 + CROWD)]
        key = site.cloud.keys["carol"]
        pulls = [skopeo_copy(name, key, folder) for folder in folders]
        made = replace(who, environment={**who.environment, "CACHE": str(cache)})
        try:
            with made.started(site), ThreadPoolExecutor(CROWD) as threads:
                before, begin = self._link.tally(), time.monotonic()
                list(threads.map(run, pulls))
                seconds = time.monotonic() - begin
                return {SECONDS: seconds, **self._passed(before)}
        finally:
            for folder in (cache, *folders):
                shutil.rmtree(folder)

    def _name(self, who: Contestant, alias: str) -> str:
        """Return what an image is called there, by a name that nobody has asked for."""
        slug, find = alias.rpartition("/")[0], self._site.cloud.database.find
        name = self._site.images[alias].repository
        if who.is_ours:
            (application,) = find("application", slug=slug)
            (release,) = find("release", belongs_to__application=application["id"])
            name = f"{slug}/{release['commit'][: next(self._digits[who.port, slug])]}"
        return f"localhost:{who.port}/{name}"

    def _passed(self, before: Mapping[int, Tally]) -> Figures:
        """Return what has passed the link since."""
        tallies = self._link.tally()
        passed = [tallies[port].since(before[port]) for port in tallies]
        return {
            "MB from afar": sum(each.received for each in passed) / MEGA,
            "connections": sum(each.connections for each in passed),
        }
