"""What is counted of the cache of blobs, and what is bounded."""

from dataclasses import dataclass, field

FETCHES = 64
"""As many blobs are fetched at the same time."""


@dataclass(slots=True)
class Counts:
    """What happened since the start."""

    fetched: int = 0
    """Bytes that were written."""
    evictions: int = 0
    """Blobs that made room for others."""
    evicted_bytes: int = 0
    damaged: int = 0
    """Blobs that were not what their digests say, on the disk or as they came."""


@dataclass(slots=True)
class Kept:
    """How much is kept at the moment: nothing, where there is no cache."""

    size: int = 0
    """Bytes."""
    size_max: int = 0
    """Bytes."""
    counts: Counts = field(default_factory=Counts)
