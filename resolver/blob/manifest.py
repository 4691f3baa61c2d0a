"""The blobs that an image manifest names, read so that nothing else passes for one.

What is named here is given away (rule C2), so it has to be what the registry saw when
it took the manifest. Registries are written in Go, whose reader of JSON takes a name in
any case, and of several the last one; so a manifest is read only where that makes no
difference. A layer with URLs of its own need not be in the registry, and counts for
nothing.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from cachetools import LRUCache, cached

from resolver.content.index import NAMES_MAX, SIGNS_MAX
from resolver.grammar.payload import parse_payload
from resolver.grammar.reference import Digest, parse_digest

TYPES = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
    }
)
"""Those whose blobs a registry looks for before it takes the manifest."""
READ_MAX = 1000
"""So many manifests are remembered as they were read, by their own digests."""
_FOREIGN = ("foreign", "nondistributable")


def _key(media_type: str, manifest: bytes) -> tuple[str, bytes]:
    return media_type[:100], hashlib.sha256(manifest).digest()


def named_blobs(media_type: str, manifest: bytes) -> Sequence[Digest]:
    """Return the digests of config and layers; none of what can be read in two ways.

    A manifest that many clients pull is read once.

    Args:
        media_type: as the registry says.
        manifest: as it sent it.

    """
    return _read(media_type, manifest)


@cached(LRUCache(READ_MAX), key=_key)
def _read(media_type: str, manifest: bytes) -> Sequence[Digest]:
    if media_type.partition(";")[0].strip().lower() not in TYPES:
        return []
    try:
        payload = parse_payload(manifest, SIGNS_MAX, _unambiguous)
    except ValueError:
        return []
    if not isinstance(payload, dict):
        return []
    layers = payload.get("layers")
    entries = [payload.get("config"), *(layers if isinstance(layers, list) else [])]
    digests = [digest for entry in entries if (digest := _digest(entry))]
    return digests if len(digests) <= NAMES_MAX else []


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object whose names are all different, in whatever case."""
    if len({name.casefold() for name, _ in pairs}) < len(pairs):
        raise ValueError("a name stands there twice")
    return dict(pairs)


def _digest(entry: object) -> Digest | None:
    """Return the digest of a descriptor of something that the registry has."""
    if not isinstance(entry, dict):
        return None
    media_type, digest = entry.get("mediaType"), entry.get("digest")
    if not isinstance(media_type, str) or not isinstance(digest, str):
        return None
    has_urls = any(name.casefold() == "urls" for name in entry)
    if has_urls or any(word in media_type.lower() for word in _FOREIGN):
        return None
    return parse_digest(digest)
