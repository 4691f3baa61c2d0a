"""Decides how much is pulled, and for how long something is measured."""

from dataclasses import dataclass

from bench.ballast import Ballast


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a run is."""

    image: Ballast
    """What a whole pull is of."""
    blob_bytes: int
    """What is streamed in one piece."""
    connections: tuple[int, ...]
    """How many ask for manifests at once."""
    seconds: float
    """For how long requests are made, each time."""
    is_rehearsed: bool
    """Whether what needs it is done once before it is measured."""


FULL = Sizes(
    image=Ballast("bench/image", layers=10, layer_bytes=20_000_000),
    blob_bytes=1_000_000_000,
    connections=(1, 8, 64),
    seconds=2.5,
    is_rehearsed=True,
)
QUICK = Sizes(
    image=Ballast("bench/image", layers=2, layer_bytes=100_000),
    blob_bytes=4_000_000,
    connections=(1, 4),
    seconds=0.1,
    is_rehearsed=False,
)
"""Enough to see that everything works, and too little to believe a figure."""
