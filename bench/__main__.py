"""``make bench``: pulling through the proxy, beside doing without it and others.

Everybody takes turns in every round, and a ratio is taken within a round: what else the
machine does then meets all of them. Ctrl-C ends it, and all that it started.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

from bench import accel, capacity, contestant, far, kept
from bench.contestant import BARE, DIRECT, NODE, PEER, PROXY, ROOT, Contestant
from bench.crowd import compare
from bench.load import Client, Work, measure, skopeo_copy, time_command
from bench.program import START_SECONDS, as_command, end, find
from bench.site import BLOB, CROWDED, PULLED, SIZES, Site, open_site
from bench.table import MEGA, Figures, Table, Turn, hold

MILLI, GIGA = 1000, 1_000_000_000
P50, CPU = "p50 ms", "CPU ms/request"
SPEED, CPU_BLOB = "MB/s", "CPU s/GB"
SECONDS = far.SECONDS
SCRIPT = Path(__file__).with_name("start.sh")
OTHERS = (DIRECT, BARE, NODE)
KINDS = {
    "1 kept connection": (1, True),
    "16 kept connections": (16, True),
    "16 new connections": (16, False),
}
"""How many connections there are at once, and whether they are kept."""
BLOBS = {"one": 1, "4 at once": 4}
REDIRECTED, STREAMED = "the registry redirects blobs", "the registry streams them"
CROWD, FAR, NGINX, CACHE = "crowd", "far", "nginx", "cache"
"""Areas; the first two are measured where they are named: they take a minute for each
figure."""
ALIASES = PULLED, BLOB, CROWDED
"""What is pulled where nothing is far away."""
AREAS = {
    "manifest": ("Warm manifests", (P50, CPU)),
    "token": ("Tokens of an alias that is remembered", (P50, CPU)),
    "blob": ("Blobs of 100 MB that the registry streams", (SPEED, CPU_BLOB)),
    "pull": ("Whole pull of 200 MB in 10 layers by skopeo", (SECONDS,)),
    "start": ("From the command to the first challenge", (SECONDS,)),
    CACHE: ("Blobs in the cache", (SECONDS, SPEED, P50, CPU)),
    NGINX: ("Blobs that nginx keeps, of a registry that streams them", (SPEED,)),
    CROWD: ("Pull of 3 MB by skopeo, in a crowd of 312", ()),
    FAR: ("Over a link of 50 Mbit/s with a round trip of 40 ms", (SECONDS, far.AGAIN)),
}


class Bench:
    """One run."""

    def __init__(
        self, site: Site, options: argparse.Namespace, stack: ExitStack
    ) -> None:
        self._site = site
        self._options = options
        self._peer: str = options.peer
        self._urls = self._peer.split(",") if "://" in self._peer else []
        self._streaming = self._start(site.streaming, stack, self._urls[:1])
        self._redirecting = self._start(site.redirecting, stack, self._urls[1:])
        self._caching = (
            stack.enter_context(accel.behind_nginx(site))
            if NGINX in options.only
            else None
        )

    def turns(self) -> Iterator[Turn]:
        """Yield everything that can be measured."""
        for who in self._streaming:
            client = Client(self._site, who, PULLED)
            works = {"manifest": client.manifest()}
            if who.is_ours or who.name == DIRECT:
                works["token"] = client.token()
            for area, work in works.items():
                for case, (number, is_kept) in KINDS.items():
                    many = replace(work, connections=number, is_kept=is_kept)
                    yield area, case, who.name, partial(self._request, who, many)
            blob = Client(self._site, who, BLOB).blob()
            for case, number in BLOBS.items():
                many = replace(blob, connections=number)
                yield "blob", case, who.name, partial(self._blob, who, many)
            yield "pull", STREAMED, who.name, partial(self._pull, who)
            if who.is_ours:
                yield CROWD, "by skopeo", who.name, partial(self._crowd, who)
        for who in self._redirecting:
            yield "pull", REDIRECTED, who.name, partial(self._pull, who)
        if self._caching:
            yield from self._kept(self._caching)
        for who in self._recipes(self._site.streaming):
            yield "start", "first answer", who.name, partial(self._first, who)

    def _kept(self, ours: Contestant) -> Iterator[Turn]:
        """Yield what is measured where nginx keeps the blobs."""
        direct = Contestant(DIRECT, self._site.streaming)
        for who in (ours, direct):
            yield NGINX, "pull of 200 MB", who.name, partial(self._pull_rate, who)
        blobs = (
            (ours, Client(self._site, ours, BLOB).blob()),
            (
                replace(ours, name=accel.FILE, process=0),
                accel.plain_file(self._site, ours),
            ),
            (direct, Client(self._site, direct, BLOB).blob()),
        )
        for case, number in BLOBS.items():
            for who, work in blobs:
                many = replace(work, connections=number)
                name = f"blob of 100 MB, {case}"
                yield NGINX, name, who.name, partial(self._blob, who, many)

    def _pull_rate(self, who: Contestant) -> Figures:
        seconds = self._pull(who)[SECONDS]
        layers, length = SIZES[PULLED]
        return {SPEED: layers * length / MEGA / seconds, SECONDS: seconds}

    def _request(self, who: Contestant, work: Work) -> Figures:
        done, taken = measure(who, work, self._options.seconds, self._site.folder)
        rate = done["requests"] / done["seconds"]
        figures = {P50: done["median"], "p99 ms": done["slow"], "requests/s": rate}
        return figures | ({CPU: MILLI * taken / done["requests"]} if taken else {})

    def _blob(self, who: Contestant, work: Work) -> Figures:
        done, taken = measure(who, work, self._options.seconds, self._site.folder)
        speed = {SPEED: done["bytes"] / MEGA / done["seconds"]}
        return speed | ({CPU_BLOB: GIGA * taken / done["bytes"]} if taken else {})

    def _pull(self, who: Contestant) -> Figures:
        """Let skopeo copy the image to a folder, and remove it there."""
        name = f"localhost:{who.port}/{Client(self._site, who, PULLED).name}"
        folder, key = self._site.folder, self._site.cloud.keys["carol"]
        try:
            return {SECONDS: time_command(skopeo_copy(name, key, folder), folder)}
        finally:
            shutil.rmtree(folder / "copy", ignore_errors=True)

    def _crowd(self, who: Contestant) -> Figures:
        """Pull alone, and in a crowd."""
        alone, crowded = compare(self._site, who)
        return {"s alone": alone, "s in the crowd": crowded, "times": crowded / alone}

    def _first(self, who: Contestant) -> Figures:
        """Start somebody, and ask until a client is sent for a token."""
        find("curl")
        log = self._site.folder / "started"
        values = [f"{name}={value}" for name, value in who.environment.items()]
        words = ("timeout", START_SECONDS, "sh", SCRIPT, log, who.url)
        command = list(map(str, (*words, "env", *values, *who.command)))
        try:
            return {SECONDS: time_command(command, self._site.folder)}
        finally:
            end(int(Path(f"{log}.pid").read_text()))

    def _recipes(self, registry: str) -> Iterator[Contestant]:
        """Yield who is started here."""
        site, against = self._site, self._options.against
        yield contestant.checkout(site, registry, ROOT, PROXY)
        if self._peer and not self._urls:
            folder = Path(self._peer).resolve()
            yield contestant.checkout(site, registry, folder, PEER)
        if BARE in against:
            yield contestant.bare(site, registry)
        if NODE in against:
            yield contestant.node(site, registry)

    def _start(
        self, registry: str, stack: ExitStack, urls: list[str]
    ) -> list[Contestant]:
        """Return who is in front of a registry, started."""
        enter = stack.enter_context
        found = [enter(who.started(self._site)) for who in self._recipes(registry)]
        if DIRECT in self._options.against:
            found.insert(0, Contestant(DIRECT, registry))
        return found + [Contestant(PEER, url, is_ours=True) for url in urls]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    options = _parse_options(arguments)
    name = "capacity" if options.capacity else "bench"
    with as_command(name), ExitStack() as stack:
        if options.capacity:
            site = _open_site(options, stack, is_tls=True)
            tables = {area: Table(title) for area, title in capacity.AREAS.items()}
            turns = capacity.turns(site, stack, options.seconds)
        else:
            tables = {area: Table(*AREAS[area]) for area in options.only}
            turns = chain.from_iterable(_turns(options, stack))
        pattern = re.compile(options.case)
        chosen = [t for t in turns if t[0] in tables and pattern.search(t[1])]
        hold(chosen, tables, options.rounds)
    return 0


def _turns(options: argparse.Namespace, stack: ExitStack) -> Iterator[Iterator[Turn]]:
    """Yield what can be measured at each site that has to be there."""
    if set(options.only) - {FAR}:
        site = _open_site(options, stack, is_tls=options.tls)
        if set(options.only) - {FAR, CACHE}:
            yield Bench(site, options, stack).turns()
        if CACHE in options.only:
            yield kept.Kept(site, options.seconds, stack).turns(CACHE)
    if FAR in options.only:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made = open_site(folder, is_tls=True, aliases=far.ALIASES, is_far=True)
        peer = "" if "://" in options.peer else options.peer
        yield far.Far(stack.enter_context(made), stack, peer).turns(FAR)


def _open_site(options: argparse.Namespace, stack: ExitStack, *, is_tls: bool) -> Site:
    """Open a site that is near."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    made = open_site(
        folder, is_tls=is_tls, first_port=options.first_port, aliases=ALIASES
    )
    return stack.enter_context(made)


def _parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    description = "Measure pulling through the proxy, without it, and others."
    parser = argparse.ArgumentParser(prog="python -m bench", description=description)
    add = parser.add_argument
    add("--rounds", type=int, default=7)
    add("--seconds", type=int, default=2, help="of each turn of wrk")
    usual = [area for area in AREAS if area not in {CROWD, FAR}]
    add("--only", nargs="+", choices=AREAS, default=usual)
    add("--case", default="", help="pattern of what is measured in them")
    add("--against", nargs="*", choices=OTHERS, default=OTHERS)
    peer = "folder of another checkout, or URL[,URL] of a proxy that runs"
    add("--peer", default=os.environ.get("PEER", ""), help=peer)
    ports = "of three: streaming registry, redirecting one, API"
    add("--first-port", type=int, default=0, help=ports)
    add("--capacity", action="store_true", help="measure what one replica can do")
    add("--tls", action="store_true", help="on both sides of everybody")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
