"""Whole pulls, from a registry that streams blobs and from one that redirects them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.comparison import skopeo
from bench.comparison.contestant import DIRECT, Contestant
from bench.comparison.discipline import Attempt, Discipline
from bench.comparison.sheet import Area, Quantity, Subject
from bench.comparison.stage import Stage
from bench.load import Load

REDIRECTING = "the registry redirects"
STREAMING = "the registry streams"


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull by somebody."""

    subject: Subject
    contestant: Contestant
    name: str
    """Of the image's repository."""
    folder: Path

    @property
    def is_peer(self) -> bool:
        """Whether the others go on where it fails."""
        return self.contestant.is_peer

    def rehearse(self) -> None:
        """Let the proxy find the release, and the disk be read."""
        self.measure()

    def measure(self) -> Mapping[Quantity, float]:
        """Return how long it takes."""
        return {Quantity.SECONDS: skopeo.pull(self.contestant, self.name, self.folder)}


def _attempts(stage: Stage, _load: Load) -> Sequence[Attempt]:
    site = stage.site
    registries = {REDIRECTING: site.redirecting, STREAMING: site.streaming}
    return [
        Pull(
            Subject(Area.PULL, case, contestant.name),
            contestant,
            skopeo.name_of(contestant, site.goods.image),
            site.folder,
        )
        for case, installation in registries.items()
        for contestant in (
            stage.direct(installation),
            stage.proxy(installation),
            *stage.node(installation),
            *stage.peers(installation),
        )
    ]


DISCIPLINE = Discipline(
    area=Area.PULL,
    title="Whole pull",
    text=(
        "`skopeo copy` of {layers} layers of {layer_megabytes} MB to a folder,"
        " by a client that has nothing yet."
    ),
    attempts=_attempts,
    rounds=7,
    minutes=2,
    base=DIRECT,
    headline=Quantity.SECONDS,
    programs=("skopeo",),
)
