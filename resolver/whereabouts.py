"""Decides at which location something is that is asked for by its digest.

Where tags select, `<org>/<app>` stands for many locations. What a manifest names is at
the manifest's own location, so what passes is remembered, within bounds and in memory
alone. What is not known, after a restart or at another replica, the registry is asked
for with the client's own token.

Remembered are pairs of location and digest, and only locations that a client's token
opens are looked up; so whatever is known of one location says nothing about another.
Nothing is decided on permission, because the request itself goes to the registry.
"""

import json
from collections.abc import Iterable
from http import HTTPStatus
from itertools import chain, islice
from typing import Any

from cachetools import LRUCache

from resolver.reference import Digest, Location, parse_digest

PAIRS_MAX = 20_000
"""About 380 bytes each, 7.6 MB in all; an image of ten layers takes twelve."""
NAMES_MAX = 1000
"""So many digests are taken from one manifest; no image has as many layers."""
DIGEST_HEADER = "Docker-Content-Digest"
_LISTS = ("layers", "manifests", "blobs")


class Whereabouts:
    """What is known to be where."""

    def __init__(self, pairs_max: int = PAIRS_MAX) -> None:
        self._pairs: LRUCache[tuple[Location, str], None] = LRUCache(pairs_max)

    def __len__(self) -> int:
        """Return how many pairs are known."""
        return len(self._pairs)

    def note(self, location: Location, digests: Iterable[str]) -> None:
        """Take note that these are at the location."""
        for digest in digests:
            self._pairs[location, digest] = None

    def find(self, digest: str, locations: Iterable[Location]) -> Location | None:
        """Return one of the locations at which it is, if that is known."""
        for location in locations:
            if (location, digest) in self._pairs:
                # Counts as use, so that it is not among the next to be forgotten.
                self._pairs[location, digest] = None
                return location
        return None


def named_digests(status: int, digest: str | None, manifest: bytes) -> list[Digest]:
    """Return what is at the location of a manifest that the registry answered with.

    Args:
        status: of the answer.
        digest: what the answer's header says of the manifest.
        manifest: the body; nothing where only the head was asked for.

    """
    if status != HTTPStatus.OK:
        return []
    texts = chain([digest], _descriptors(manifest))
    found = (parse_digest(text) for text in texts if isinstance(text, str))
    return list(islice(filter(None, found), NAMES_MAX))


def _descriptors(manifest: bytes) -> Iterable[Any]:
    """Return the digests of what a manifest or an index consists of."""
    try:
        payload = json.loads(manifest)
    except (ValueError, RecursionError):
        return []
    if not isinstance(payload, dict):
        return []
    descriptors = [payload.get("config")]
    for name in _LISTS:
        listed = payload.get(name)
        descriptors += listed if isinstance(listed, list) else []
    return [each.get("digest") for each in descriptors if isinstance(each, dict)]
