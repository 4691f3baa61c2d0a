"""The proxy with a cache of blobs, beside one without, and the registry itself.

The round that is not counted fills the cache.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from bench.contestant import DIRECT, PROXY, ROOT, Contestant, checkout
from bench.load import Client, Work, measure, skopeo_copy, time_command
from bench.site import BLOB, PULLED, Site
from bench.table import MEGA, Figures, Turn

OFF = "off"
"""The proxy without a cache."""
SECONDS, SPEED, P50, CPU = "seconds", "MB/s", "p50 ms", "CPU ms/request"
MEMORY = "MB above idle"
KINDS = {"1 kept connection": (1, True), "16 new connections": (16, False)}
"""How many connections there are at once, and whether they are kept."""
_STORAGE = {"BLOBS_ALLOW": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Kept:
    """Who is compared at a site, where each turn of wrk lasts so many seconds."""

    site: Site
    seconds: int
    stack: ExitStack

    def turns(self, area: str) -> Iterator[Turn]:
        """Start everybody, and yield everything that can be measured of them."""
        everybody = list(self._start(self.site.streaming, "streamed"))
        for who in everybody:
            pull = partial(self._pull, who)
            yield area, "pull of 200 MB, streamed", who.name, pull
            blob = Client(self.site, who, BLOB).blob()
            for case, number in (("one", 1), ("4 at once", 4)):
                many = replace(blob, connections=number)
                name = f"blob of 100 MB, {case}"
                yield area, name, who.name, partial(self._blob, who, many)
        for who in everybody[:2]:
            client = Client(self.site, who, PULLED)
            works = {"manifest": client.manifest(), "token": client.token()}
            for kind, work in works.items():
                for case, (number, is_kept) in KINDS.items():
                    many = replace(work, connections=number, is_kept=is_kept)
                    ask = partial(self._ask, who, many)
                    yield area, f"{kind}, {case}", who.name, ask
        for who in self._start(self.site.redirecting, "redirected"):
            pull = partial(self._pull, who)
            yield area, "pull of 200 MB, redirected", who.name, pull

    def _start(self, registry: str, name: str) -> Iterator[Contestant]:
        """Yield everybody in front of a registry."""
        cache = {"CACHE": str(self.site.folder / f"cache-{name}"), **_STORAGE}
        for who, more in ((PROXY, cache), (OFF, {"BLOBS": "follow", **_STORAGE})):
            made = checkout(self.site, registry, ROOT, who, **more)
            yield self.stack.enter_context(made.started(self.site))
        yield Contestant(DIRECT, registry)

    def _pull(self, who: Contestant) -> Figures:
        """Let skopeo copy the image to a folder, and remove it there."""
        name = f"localhost:{who.port}/{Client(self.site, who, PULLED).name}"
        folder, key = self.site.folder, self.site.cloud.keys["carol"]
        idle = who.forget_peak() if who.process else 0
        try:
            seconds = time_command(skopeo_copy(name, key, folder), folder)
            return {SECONDS: seconds, **_memory(who, idle)}
        finally:
            shutil.rmtree(folder / "copy", ignore_errors=True)

    def _blob(self, who: Contestant, work: Work) -> Figures:
        idle = who.forget_peak() if who.process else 0
        done, _ = measure(who, work, self.seconds, self.site.folder)
        return {SPEED: done["bytes"] / MEGA / done["seconds"], **_memory(who, idle)}

    def _ask(self, who: Contestant, work: Work) -> Figures:
        done, taken = measure(who, work, self.seconds, self.site.folder)
        return {P50: done["median"], CPU: 1000 * taken / done["requests"]}


def _memory(who: Contestant, idle: int) -> Figures:
    """Return by how much somebody has grown at most in a turn."""
    return {MEMORY: (who.peak_memory() - idle) / MEGA} if who.process else {}
