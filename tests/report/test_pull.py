"""What came of a pull, and why."""

import pytest
from mitmproxy import http

from mitm.story.record import Kind, Outcome
from report import phrase
from report.grouping import group_requests
from report.pull import Pull
from tests.report.flow import (
    ALIAS,
    DIGEST,
    FOUND,
    REFUSED,
    docker_pull,
    make_flow,
    refused_pull,
    requests_of,
)

CHALLENGED = make_flow(Kind.MANIFEST, Outcome.CHALLENGED, status=401)
TOKEN = make_flow(Kind.TOKEN, at=0.1)


def pull_of(*flows: http.HTTPFlow) -> Pull:
    """Return the one pull that the flows are."""
    (pull,) = group_requests(requests_of(flows)).pulls
    return pull


@pytest.mark.parametrize(
    "outcome",
    [
        *(Outcome.SERVED, Outcome.REFUSED, Outcome.UNAUTHORIZED, Outcome.LIMITED),
        *(Outcome.FAILED, Outcome.ABORTED, None),
    ],
)
def test_result(outcome: Outcome | None) -> None:
    """The outcome of the manifest is that of the pull."""
    assert pull_of(TOKEN, make_flow(Kind.MANIFEST, outcome, at=0.2)).result == outcome


def test_token_alone_is_no_success() -> None:
    """A client that was challenged, or has a token, has nothing yet."""
    assert pull_of(CHALLENGED).result is None
    assert pull_of(CHALLENGED, TOKEN).result is None


def test_refusal_is_decided_with_the_token() -> None:
    """Of a refusal the token request is decisive: it knows of the login."""
    decisive = pull_of(*refused_pull()).decisive
    assert decisive
    assert decisive.kind == Kind.TOKEN


def test_refusal_of_one_alias_of_two() -> None:
    """A token for two aliases, one of them refused, decides on that one alone."""
    records = [{"alias": ALIAS, **FOUND}, {"alias": "a/b", **REFUSED}]
    flow = make_flow(Kind.TOKEN, alias=f"{ALIAS}, a/b", aliases=records)
    found, refused = group_requests(requests_of([flow])).pulls
    assert found.decisive is None
    assert refused.result is Outcome.REFUSED


def test_success_at_the_second_attempt() -> None:
    """A blob that came at the second attempt spoils nothing."""
    broken = make_flow(Kind.BLOB, Outcome.FAILED, at=0.2, digest=DIGEST)
    again = make_flow(Kind.BLOB, at=5, digest=DIGEST)
    assert pull_of(TOKEN, broken).result is Outcome.FAILED
    assert pull_of(TOKEN, broken, again).result is Outcome.SERVED


def test_what_is_worst_decides() -> None:
    """Where the registry failed as well, a client that went away is not the reason."""
    gone = make_flow(Kind.BLOB, Outcome.ABORTED, at=0.2, digest="sha256:1")
    failed = make_flow(Kind.BLOB, Outcome.FAILED, at=0.3, digest=DIGEST)
    assert pull_of(TOKEN, gone, failed).result is Outcome.FAILED


def test_bytes_of_an_error_are_not_counted() -> None:
    """What is answered to a request without a token is no part of the image."""
    challenged = make_flow(Kind.BLOB, Outcome.CHALLENGED, status=401, bytes=177)
    assert pull_of(challenged, *docker_pull(at=0.1)).bytes == 1_000_000


def test_facts_and_size() -> None:
    """What is known of the alias is known of the pull, and its bytes are summed up."""
    pull = pull_of(*docker_pull())
    assert (pull.target.release, pull.target.selector) == ("2.3.8+rev2", "2.3")
    assert pull.bytes == 1_000_000
    assert pull.lifetime == 14400
    assert pull.agent == "docker/20"


def test_what_came_from_the_cache_is_told() -> None:
    """It is what the pull did not cost the line."""
    blobs = [
        make_flow(Kind.BLOB, at=0.3, bytes=3_000_000, cache="hit"),
        make_flow(Kind.BLOB, at=0.4, bytes=2_000_000, cache="miss"),
    ]
    pull = pull_of(TOKEN, make_flow(Kind.MANIFEST, at=0.2, bytes=1000), *blobs)
    assert phrase.reason(pull) == "5.0 MB, 3.0 MB of it from the cache, in 400 ms"
    assert [phrase.ending(each) for each in pull.requests[-2:]] == [
        "from the cache",
        "fetched into the cache",
    ]
