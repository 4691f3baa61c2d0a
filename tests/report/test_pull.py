"""What came of a pull, and why."""

from collections.abc import Mapping
from typing import Any

import pytest
from mitmproxy import http

from mitm.story.kind import Kind, Outcome, OwnKind
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
    request_of,
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


@pytest.mark.parametrize("has_manifest", [True, False])
def test_refusal_of_a_tag_is_one(*, has_manifest: bool) -> None:
    """A tag has a name of its own in the token request, which is no other pull."""
    records = [{"alias": name, **REFUSED} for name in ("org/nope", "org/nope/latest")]
    asked = ", ".join(each["alias"] for each in records)
    known: dict[str, Any] = {"session": "s", "outcome": Outcome.REFUSED}
    flows = [make_flow(Kind.TOKEN, alias=asked, aliases=records, **known)]
    if has_manifest:
        flows += [
            make_flow(Kind.MANIFEST, at=0.2, alias="org/nope", status=404, **known)
        ]
    pull = pull_of(*flows)
    assert (pull.alias, pull.result) == ("org/nope", Outcome.REFUSED)


@pytest.mark.parametrize("tag", ["9.9", "latest"])
def test_refused_tag_stands_for_no_release(tag: str) -> None:
    """Of a name with a release, nobody got that; the heading has the tag instead."""
    token = make_flow(Kind.TOKEN, target=FOUND)
    path = f"/v2/{ALIAS}/manifests/{tag}"
    known: dict[str, Any] = {"outcome": Outcome.REFUSED, "status": 404, "path": path}
    refused = pull_of(token, make_flow(Kind.MANIFEST, at=0.2, **known))
    assert phrase.release(refused) == ""
    assert phrase.name(refused) == (f"{ALIAS}:9.9" if tag == "9.9" else ALIAS)
    served = pull_of(token, make_flow(Kind.MANIFEST, at=0.2, path=path))
    assert phrase.release(served) == "2.3.8+rev2 (b4b201f)"
    assert phrase.name(served) == ALIAS


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


def test_push_decides() -> None:
    """A client that pushes looks first what is there; that it is not is no cause."""
    looked = make_flow(Kind.MANIFEST, Outcome.REFUSED, at=0.2, status=404)
    pushed = make_flow(Kind.PUSH, Outcome.REFUSED, at=0.3, status=405, method="POST")
    decisive = pull_of(TOKEN, looked, pushed).decisive
    assert decisive
    assert decisive.kind is Kind.PUSH


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


BROKE: Mapping[str, Any] = {
    "digest": DIGEST,
    "failure": "it broke off",
    "fault": "storage",
    "finding": "the answer of the storage s3.example broke off before its end",
    "advice": "look at its log",
}


def gone(at: float) -> http.HTTPFlow:
    """Return a request for the same blob during which the client went away."""
    return make_flow(Kind.BLOB, Outcome.ABORTED, at=at, digest=DIGEST, failure="gone")


@pytest.mark.parametrize(
    ("times", "told"),
    [(1, "; then the client gave up"), (3, "; it happened 3 times, then the client")],
)
def test_why_a_client_gave_up(times: int, told: str) -> None:
    """What failed before the client went away is the reason, and how often it did."""
    failed = [
        make_flow(Kind.BLOB, Outcome.FAILED, at=1 + n, **BROKE) for n in range(times)
    ]
    pull = pull_of(TOKEN, *failed, gone(9))
    assert pull.result is Outcome.FAILED
    assert pull.decisive
    assert pull.decisive.record.advice == "look at its log"
    assert phrase.reason(pull).startswith(f"{BROKE['finding']}{told}")
    assert "gave up" not in phrase.reason(pull_of(TOKEN, *failed))


def test_client_that_goes_by_itself() -> None:
    """What failed and was had after that is no reason, nor what has no known cause."""
    failed = make_flow(Kind.BLOB, Outcome.FAILED, at=1, **BROKE)
    served = make_flow(Kind.BLOB, at=2, digest=DIGEST)
    unknown = make_flow(Kind.BLOB, Outcome.FAILED, at=1, digest=DIGEST, failure="oh")
    assert pull_of(TOKEN, failed, served, gone(3)).result is Outcome.ABORTED
    assert pull_of(TOKEN, unknown, gone(3)).result is Outcome.ABORTED


@pytest.mark.parametrize(
    ("known", "status", "told"),
    [
        (BROKE, 200, "1.0 MB in 5.10 s, after 2 answers that broke off"),
        ({"digest": DIGEST}, 502, "1.0 MB in 5.10 s, after 2 requests that failed"),
    ],
)
def test_served_after_failures(
    known: Mapping[str, Any], status: int, told: str
) -> None:
    """A pull that took several attempts says so beside what was served."""
    failed = [
        make_flow(Kind.BLOB, Outcome.FAILED, at=n, status=status, **known)
        for n in (1, 2)
    ]
    served = make_flow(Kind.BLOB, at=5, digest=DIGEST, bytes=1_000_000)
    pull = pull_of(make_flow(Kind.TOKEN), *failed, served)
    assert pull.result is Outcome.SERVED
    assert phrase.reason(pull) == phrase.headline(pull) == told


@pytest.mark.parametrize(
    ("count", "told"),
    [(1, "; 1 layer is fetched by the"), (2, "; 2 layers are fetched by the")],
)
def test_layers_that_go_past_the_proxy(count: int, told: str) -> None:
    """Who is sent to a storage has the layers from there, signature and all unseen."""
    flows = [
        make_flow(Kind.BLOB, at=1 + n, status=307, digest=f"sha256:{n}", path=f"/{n}")
        for n in range(count)
    ]
    for flow in flows:
        assert flow.response
        flow.response.headers["location"] = "https://u:p@s3.example/x?Signature=abc"
    pull = pull_of(make_flow(Kind.MANIFEST, bytes=500), *flows)
    assert told in phrase.reason(pull)
    assert phrase.reason(pull).endswith(" client from s3.example, past the proxy")


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        *(("clock", Outcome.FAILED), ("realm", Outcome.FAILED)),
        *(("registry", Outcome.FAILED), ("API", Outcome.FAILED)),
        *(("login", Outcome.UNAUTHORIZED), ("rights", Outcome.UNAUTHORIZED)),
        (None, Outcome.UNAUTHORIZED),
    ],
)
def test_login_that_does_not_help(fault: str | None, result: Outcome) -> None:
    """A pull is unauthorized where another login is the way out, otherwise failed."""
    refused = make_flow(
        Kind.MANIFEST, Outcome.UNAUTHORIZED, at=1, status=401, fault=fault
    )
    assert pull_of(TOKEN, refused).result is result


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("the registry fails", "The registry fails."),
        ("org/app has no release 9", "org/app has no release 9."),
        ("r.example is no registry", "r.example is no registry."),
        ("'alpine' names none", "'alpine' names none."),
        ("registry-proxy resolve lists it.", "registry-proxy resolve lists it."),
        ("", "."),
    ],
)
def test_sentence(words: str, told: str) -> None:
    """What begins with a word gets a capital letter, a name stays as it is written."""
    assert phrase.sentence(words) == told


@pytest.mark.parametrize(
    ("kind", "storage", "told"),
    [
        (OwnKind.SEARCH, None, "search for the blob at the registry"),
        (OwnKind.SEARCH, "s3.example", "search for the blob at the storage"),
        (OwnKind.CHOICE, None, "look whether the registry has it"),
    ],
)
def test_own_request_says_whom_it_asked(
    kind: OwnKind, storage: str | None, told: str
) -> None:
    """A search goes from the registry to the storage, and each row says where it is."""
    made = make_flow(kind, path="", storage=storage)
    assert phrase.what(request_of(made)) == told
