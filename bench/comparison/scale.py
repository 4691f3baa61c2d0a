"""One replica and two, behind HAProxy."""

from collections.abc import Sequence
from dataclasses import replace

from bench.comparison import blob, manifest
from bench.comparison.asking import connections
from bench.comparison.balancer import balancing
from bench.comparison.contestant import Contestant
from bench.comparison.discipline import Attempt, Discipline
from bench.comparison.sheet import Area, Quantity, Subject
from bench.comparison.stage import Stage
from bench.load import Load
from resolver.grammar.challenge import TOKEN_PATH
from serve import free_port

BLOBS = 4
BLOBS_CASE = f"{BLOBS} blobs at once"
ONE = "1 replica"
TWO = "2 replicas"


def _attempts(stage: Stage, load: Load) -> Sequence[Attempt]:
    installation = stage.site.streaming
    replicas = [stage.proxy(installation, number=number) for number in (1, 2)]
    clients = max(stage.sizes.connections)
    balanced = [
        _behind_haproxy(stage, ONE, replicas[:1]),
        _behind_haproxy(stage, TWO, replicas),
    ]
    case = f"manifests, {connections(clients)}"
    return [
        *(
            manifest.attempt_at(
                Subject(Area.SCALE, case, one.name), one, stage, load, clients
            )
            for one in balanced
        ),
        *(
            blob.attempt_at(
                Subject(Area.SCALE, BLOBS_CASE, one.name), one, stage, load, BLOBS
            )
            for one in balanced
        ),
    ]


def _behind_haproxy(
    stage: Stage, name: str, replicas: Sequence[Contestant]
) -> Contestant:
    port = free_port()
    ports = [replica.port for replica in replicas]
    stage.enter(balancing(stage.site.folder, ports, port))
    return replace(
        replicas[0],
        name=name,
        port=port,
        realm=f"http://localhost:{port}{TOKEN_PATH}",
        process=None,
    )


DISCIPLINE = Discipline(
    area=Area.SCALE,
    title="Replicas behind HAProxy",
    text=(
        "All of it shares the cores of this machine: clients, HAProxy, replicas and"
        " registry."
    ),
    attempts=_attempts,
    rounds=3,
    minutes=1.5,
    base=ONE,
    headline=Quantity.RATE,
    programs=("haproxy",),
)
