"""Decides what a pull has to cost, from what its requests cost one by one.

A pull that was measured costs the same, or something is left out here; and with it
one knows what a pull of more layers, or of more megabytes, will cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.case import MEGA, Name
from bench.scene import Scene


@dataclass(frozen=True, slots=True)
class Shape:
    """What a pull consists of, beside challenge, token, and HEAD and GET of a manifest.

    Docker 20.10 was seen to open a connection for each request, and podman as well.
    A reverse proxy in front keeps some open to the proxy, and uses them for everybody.
    """

    blobs: int
    """Layers, and the config."""
    megabytes: float = 0
    """What of them is streamed."""
    is_kept: bool = False
    """Whether no request needs a connection of its own."""

    @property
    def requests(self) -> int:
        """How many requests it is."""
        return 1 + 1 + 2 + self.blobs


def pull_shapes(scene: Scene) -> Mapping[Name, Shape]:
    """Return what the pulls consist of that are measured."""
    blobs = len(scene.small.blobs)
    megabytes = scene.image.length / MEGA
    return {
        Name.PULL_NEW: Shape(blobs),
        Name.PULL_KEPT: Shape(blobs, is_kept=True),
        Name.PULL_STREAM: Shape(len(scene.image.blobs), megabytes),
    }


def pulls_per_processor_second(shape: Shape, rates: Mapping[Name, float]) -> float:
    """Return how many pulls of that shape one second of a core is enough for."""
    cost = {name: 1 / rate for name, rate in rates.items()}
    seconds = (
        cost[Name.CHALLENGE]
        + cost[Name.REMEMBERED]
        + 2 * cost[Name.MANIFEST]
        + shape.blobs * cost[Name.REDIRECT]
        + shape.megabytes * cost[Name.STREAM]
    )
    if not shape.is_kept:
        # All but the token need a connection to the registry besides.
        to_client = cost[Name.PING_NEW] - cost[Name.PING]
        to_both = cost[Name.MANIFEST_NEW] - cost[Name.MANIFEST]
        seconds += to_client + (shape.requests - 1) * to_both
    return 1 / seconds
