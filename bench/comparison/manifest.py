"""Manifests whose release is known, from one client and from many."""

from collections.abc import Sequence

from bench import visit
from bench.comparison import skopeo
from bench.comparison.asking import Asking, asking, connections
from bench.comparison.contestant import BARE, Contestant
from bench.comparison.discipline import Attempt, Discipline
from bench.comparison.login import fetch_token
from bench.comparison.sheet import Area, Quantity, Subject
from bench.comparison.stage import Stage
from bench.load import Load


def attempt_at(
    subject: Subject, contestant: Contestant, stage: Stage, load: Load, clients: int
) -> Asking:
    """Return the attempt of somebody with so many clients."""
    name = skopeo.name_of(contestant, stage.site.goods.image)
    token = fetch_token(contestant, name)
    step = visit.with_token(visit.ask_manifest(contestant.host, name), token)
    seconds = stage.sizes.seconds
    return asking(subject, contestant, load, ((step,),), clients, seconds)


def _attempts(stage: Stage, load: Load) -> Sequence[Attempt]:
    installation = stage.site.streaming
    contestants = [
        stage.direct(installation),
        stage.bare(installation),
        stage.proxy(installation),
        *stage.node(installation),
        *stage.peers(installation),
    ]
    return [
        attempt_at(
            Subject(Area.MANIFEST, connections(number), contestant.name),
            contestant,
            stage,
            load,
            number,
        )
        for number in stage.sizes.connections
        for contestant in contestants
    ]


DISCIPLINE = Discipline(
    area=Area.MANIFEST,
    title="Warm manifests",
    text=(
        "Each client keeps its connection and asks for a manifest by its tag, again"
        " and again, with one token."
    ),
    attempts=_attempts,
    rounds=5,
    minutes=3.5,
    base=BARE,
    headline=Quantity.MEDIAN,
)
