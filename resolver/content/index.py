"""An index of digests: at which location something is that is asked for by its digest.

Where tags select, `<org>/<app>` stands for many locations. What a manifest names is at
the manifest's own location, so what passes is remembered, within bounds and in memory
alone. What is not known, after a restart or at another replica, the registry is asked
for with the client's own token.

Only locations that a client's token opens are looked up; so whatever is known of one
location says nothing about another. Nothing is decided on permission, because the
request itself goes to the registry.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain, islice
from typing import Any

from cachetools import LRUCache

from resolver.grammar.payload import parse_payload
from resolver.grammar.reference import Alias, Digest, Location, Slug, parse_digest

DIGESTS_MAX = 20_000
"""At one location each, of some 500 bytes; an image of ten layers takes twelve."""
PLACES_MAX = 8
"""So many locations of one digest are known: releases often share layers."""
NAMES_MAX = 1000
"""So many digests are taken from one manifest; no image has as many layers."""
SIGNS_MAX = 16 * NAMES_MAX
"""Of JSON, which is read in the event loop: for platform and annotations of each."""
DIGEST_HEADER = "Docker-Content-Digest"
_LISTS = ("layers", "manifests", "blobs")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is, and which alias leads there."""

    location: Location
    name: Alias | None = None
    """The alias of the tag under which a client pulled it."""
    client: str = ""
    """Which client that was; each has a place of its own."""


class Index:
    """Where digests are, as far as manifests that passed say."""

    def __init__(self, digests_max: int = DIGESTS_MAX) -> None:
        self._places: LRUCache[tuple[Slug, str], tuple[Place, ...]] = LRUCache(
            digests_max, getsizeof=len
        )
        self._by_name: LRUCache[tuple[str, Alias], Location] = LRUCache(digests_max)
        self._last: LRUCache[tuple[str, Slug], Alias] = LRUCache(digests_max)

    def __len__(self) -> int:
        """Return how many digests are known."""
        return len(self._places)

    def add(self, slug: Slug, digests: Iterable[str], place: Place) -> None:
        """Remember that these digests are at the place."""
        if place.name:
            self._by_name[place.client, place.name] = place.location
            self._last[place.client, slug] = place.name
        for digest in digests:
            places = self.places(slug, digest)
            if places[:1] != (place,):
                others = (
                    each
                    for each in places
                    if (each.location, each.client) != (place.location, place.client)
                )
                self._places[slug, digest] = (place, *islice(others, PLACES_MAX - 1))

    def places(self, slug: Slug, digest: str) -> tuple[Place, ...]:
        """Return where the digest is, as far as that is known, the latest first."""
        return self._places.get((slug, digest), ())

    def name(self, slug: Slug, digest: str, client: str) -> Alias | None:
        """Return the alias under which the client pulled it, if that leads there still.

        A tag may move: `latest` and ranges do. Nobody is told a name that is not known
        of that very client (S11).
        """
        names = (
            place.name
            for place in self.places(slug, digest)
            if place.name and self._by_name.get((client, place.name)) == place.location
        )
        return next(names, None)

    def last_name(self, slug: Slug, client: str) -> Alias | None:
        """Return the alias under which the client pulled from the application last."""
        return self._last.get((client, slug))

    def forget_name(self, client: str, name: Alias) -> None:
        """Forget where the alias led, because it leads elsewhere now."""
        self._by_name.pop((client, name), None)
        if self._last.get((client, name.slug)) == name:
            del self._last[client, name.slug]


def read_digests(status: int, digest: str | None, manifest: bytes) -> list[Digest]:
    """Return what is at the location of a manifest that the registry answered with.

    Args:
        status: of the answer.
        digest: what the answer's header says of the manifest.
        manifest: the body; nothing where only the head was asked for.

    """
    if status != HTTPStatus.OK:
        return []
    texts = chain([digest], _descriptors(manifest))
    digests = (parse_digest(text) for text in texts if isinstance(text, str))
    return list(islice(filter(None, digests), NAMES_MAX))


def _descriptors(manifest: bytes) -> Iterable[Any]:
    """Return the digests of what a manifest or an index consists of."""
    try:
        payload = parse_payload(manifest, SIGNS_MAX)
    except ValueError:
        return []
    if not isinstance(payload, dict):
        return []
    descriptors = [payload.get("config")]
    for name in _LISTS:
        items = payload.get(name)
        descriptors += items if isinstance(items, list) else []
    return [each.get("digest") for each in descriptors if isinstance(each, dict)]
