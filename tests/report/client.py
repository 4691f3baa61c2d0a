"""Pulls as the clients of today make them: their requests, connections and tokens.

Seen with the real ones, of `tests/client/test_together.py`.
"""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import NamedTuple

from mitm.story.kind import CONTENT, Kind, Login, Outcome
from mitm.story.record import Record
from report.request import Request
from tests.report.flow import ALIAS, BEGIN, CLIENT

INDEX, CONFIG = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
LAYERS = tuple(f"sha256:{digit * 64}" for digit in "3456")
SECONDS = 0.01
"""What each request takes."""
_NUMBERS = count()


class Step(NamedTuple):
    """A request."""

    kind: Kind
    connection: str
    session: str = ""
    """Which token it has, or gets."""
    digest: str = ""
    agent: str = ""
    """Where it is another one than the client's."""


def _rest(session: str, connections: str) -> Sequence[Step]:
    """Return the blobs of an image, on these connections in turn."""
    blobs = (CONFIG, *LAYERS)
    on = (connections * len(blobs))[: len(blobs)]
    return [
        Step(Kind.BLOB, at, session, digest)
        for at, digest in zip(on, blobs, strict=True)
    ]


_CONTAINERD = "containerd/2.1"
CLIENTS: Mapping[str, Sequence[Step]] = {
    "docker/28": (
        Step(Kind.BASE, "a"),
        Step(Kind.TOKEN, "b", "1"),
        Step(Kind.MANIFEST, "c", "1"),
        Step(Kind.MANIFEST, "d", "1", INDEX),
        *_rest("1", "efghi"),
    ),
    "docker/29": (
        Step(Kind.MANIFEST, "a"),
        Step(Kind.TOKEN, "b", "1", agent=_CONTAINERD),
        Step(Kind.MANIFEST, "a", "1"),
        Step(Kind.MANIFEST, "c", "1", INDEX),
        *_rest("1", "cdef"),
    ),
    "buildkit/v0": (
        Step(Kind.MANIFEST, "a"),
        Step(Kind.TOKEN, "b", "1", agent=_CONTAINERD),
        Step(Kind.MANIFEST, "a", "1"),
        Step(Kind.MANIFEST, "a", "1", INDEX),
        *_rest("1", "a"),
    ),
    _CONTAINERD: (
        Step(Kind.MANIFEST, "a"),
        Step(Kind.TOKEN, "a", "1"),
        Step(Kind.MANIFEST, "a", "1"),
        Step(Kind.MANIFEST, "b", "", INDEX),
        Step(Kind.TOKEN, "b", "2"),
        Step(Kind.MANIFEST, "b", "2", INDEX),
        *_rest("2", "bcd"),
    ),
    "containerd/1.6": (
        Step(Kind.MANIFEST, "a"),
        Step(Kind.TOKEN, "a", "1"),
        Step(Kind.MANIFEST, "a", "1"),
        Step(Kind.MANIFEST, "b", "", INDEX),
        Step(Kind.TOKEN, "c", "2"),
        Step(Kind.MANIFEST, "c", "2", INDEX),
        *_rest("2", "cde"),
    ),
    "containers/5": (
        Step(Kind.BASE, "a"),
        Step(Kind.TOKEN, "a", "1"),
        Step(Kind.MANIFEST, "a", "1"),
        *_rest("1", "abcd"),
    ),
    "skopeo/1": (
        Step(Kind.BASE, "a"),
        Step(Kind.TOKEN, "b", "1"),
        Step(Kind.MANIFEST, "b", "1"),
        *_rest("1", "bcde"),
    ),
    "go-containerregistry": (
        Step(Kind.BASE, "a", agent="Go-http-client/1.1"),
        Step(Kind.TOKEN, "a", "1"),
        Step(Kind.MANIFEST, "a", "1"),
        *_rest("1", "abcd"),
    ),
    "oras/1": (
        Step(Kind.MANIFEST, "a"),
        Step(Kind.TOKEN, "b", "1"),
        Step(Kind.MANIFEST, "b", "1"),
        *_rest("1", "bcd"),
    ),
}
"""What each of them asks for."""
WHOLE = (
    "docker/29",
    "buildkit/v0",
    "containers/5",
    "go-containerregistry",
)
"""Those of which a connection or a token links every request to another."""


def pull_of(agent: str, begins: Sequence[float]) -> list[Request]:
    """Return a client's requests, which begin at these times and take little."""
    number = next(_NUMBERS)
    return [
        _request(step, agent, number, BEGIN + at)
        for step, at in zip(CLIENTS[agent], begins, strict=True)
    ]


def times(agent: str, begin: float, pause: float = 0.02) -> list[float]:
    """Return when the requests of a pull begin that begin in steady succession."""
    return [begin + pause * at for at in range(len(CLIENTS[agent]))]


def _request(step: Step, agent: str, number: int, begin: float) -> Request:
    is_told = not step.session
    request_id = f"{number}-{next(_NUMBERS)}"
    record = Record(
        request_id=request_id,
        kind=step.kind,
        alias=None if step.kind is Kind.BASE else ALIAS,
        login=Login.TOKEN if step.session and step.kind in CONTENT else Login.NONE,
        outcome=Outcome.CHALLENGED if is_told else Outcome.SERVED,
        status=401 if is_told else 200,
        connection=f"{number}-{step.connection}",
        session=f"{number}-{step.session}" if step.session else None,
        digest=step.digest or None,
        path=f"/v2/{ALIAS}/{step.kind}s/{step.digest or 'latest'}",
        seconds=SECONDS,
    )
    name = step.agent or agent
    return Request(request_id, record, begin, SECONDS, CLIENT, name, "", "", (), None)
