"""What is seen of a request, for the rules."""

import time
from email.utils import formatdate

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from cause.finding import Cause, Role
from cause.judge import judge
from mitm.story.alias import AliasRecord
from mitm.story.evidence import gather
from mitm.story.kind import Outcome
from mitm.story.record import Record
from resolver.content.forward import Forward
from resolver.naming import OwnNames
from resolver.token.answer import TokenAnswer
from resolver.upstream.observer import NOBODY
from resolver.upstream.registry import Upstream
from resolver.upstream.transport import Transport, Verification
from tests.mitm.story.sample import MANIFEST, TOKEN, request
from tests.resolver.fake import LOCATION, jwt

REALM = "https://auth.example/token"
HUB = 'Bearer realm="https://auth.example/token",service="r.example"'


@pytest.fixture
def naming() -> OwnNames:
    """Names of the registry's own, whose realm is known."""
    transport = Transport(Verification())
    upstream = Upstream("https://r.example", None, transport)
    own = OwnNames(
        upstream, transport, realm_hosts=(), token_seconds=1, observer=NOBODY
    )
    own.heed(HUB, None)
    return own


def answered(record: Record, status: int, body: bytes = b"{}") -> http.HTTPFlow:
    """Return the flow of a request that was answered."""
    flow = tflow.tflow()
    flow.response = http.Response.make(status, body)
    record.answered(flow.response, is_head=False)
    return flow


def relayed(naming: OwnNames, status: int) -> tuple[http.HTTPFlow, Record]:
    """Return a request for a token that a token server answered."""
    record = request(TOKEN, alias="library/alpine", naming=naming)
    answer = TokenAnswer(b"{}", (), {}, status=status, server="auth.example")
    record.issued(answer)
    return answered(record, status), record


def test_failing_token_server(naming: OwnNames) -> None:
    """Its answer is passed on, and the fault is the realm's."""
    seen = gather(*relayed(naming, 503))
    assert seen
    assert (seen.role, seen.host, seen.status) == (Role.TOKEN, "auth.example", 503)
    assert seen.has_own_names
    found = judge(seen)
    assert found
    assert found.cause is Cause.REALM


def test_token_is_no_evidence(naming: OwnNames) -> None:
    """Nothing of a token that was issued is kept."""
    assert gather(*relayed(naming, 200)) is None


def test_client_that_leaves_a_token_server(naming: OwnNames) -> None:
    """Who was waited for is the token server, by its name."""
    record = request(TOKEN, alias="library/alpine", naming=naming)
    record.broken("closed", is_client_there=False)
    assert record.outcome is Outcome.ABORTED
    seen = gather(tflow.tflow(), record)
    assert seen
    assert (seen.role, seen.host, seen.api) == (Role.TOKEN, "auth.example", "")


def test_clocks(naming: OwnNames) -> None:
    """The clock of who issues tokens is told as that of whoever that is."""
    for names, role in ((naming, Role.TOKEN), (None, Role.API)):
        record = request(MANIFEST, is_sent=True, naming=names, issuer_ahead=7200.0)
        date = formatdate(time.time(), usegmt=True).encode()
        record.head = 401, ((b"date", date),)
        seen = gather(answered(record, 401), record)
        assert seen
        assert seen.clocks.keys() == {Role.REGISTRY, role}
        assert seen.clocks[role] == 7200


def test_one_of_several_that_are_refused() -> None:
    """A sentence is about one name, and not about parts of two."""
    record = request(TOKEN, alias="org/a, org/b")
    record.aliases = [
        AliasRecord("org/a", release="2.3.8"),
        AliasRecord("org/b", code="DENIED", message="org/b is private"),
        AliasRecord("org/c", code="DENIED", message="org/c is private"),
    ]
    record.code, record.outcome = "DENIED", Outcome.REFUSED
    seen = gather(tflow.tflow(), record)
    assert seen
    found = judge(seen)
    assert found
    assert "no application org/b:" in found.sentence


@pytest.mark.parametrize(
    ("authorization", "length"), [("Bearer 12345", 5), ("Basic eDp5", 0), (None, 0)]
)
def test_length_of_a_token(authorization: str | None, length: int) -> None:
    """It is counted without its scheme, and a login is none."""
    record = request(MANIFEST)
    record.forwarded(Forward("/", authorization), "r.example")
    assert record.token_length == length


@pytest.mark.parametrize(
    ("token", "pullable"),
    [
        (jwt([{"name": LOCATION, "actions": ["pull"]}]), frozenset({LOCATION})),
        (jwt([{"name": LOCATION, "actions": ["push"]}]), frozenset()),
        (jwt([]), frozenset()),
        (jwt(None), None),
        ("opaque", None),
    ],
    ids=["one", "to push", "none", "no list", "opaque"],
)
def test_rights(token: str, pullable: frozenset[str] | None) -> None:
    """What a token may pull is read from it, where it is one that says so."""
    record = request(MANIFEST, is_sent=True)
    flow = answered(record, 401)
    flow.request.headers["authorization"] = f"Bearer {token}"
    seen = gather(flow, record)
    assert seen
    assert seen.pullable == pullable
