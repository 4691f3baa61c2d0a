"""What is known of one request."""

from mitm.story.kind import Kind, Outcome
from mitm.story.record import KEY
from tests.report.flow import ALIAS, FOUND, REFUSED, make_flow, request_of


def test_each_alias_has_what_is_known_of_it() -> None:
    """Of a request about several aliases each has its own release, or its refusal."""
    records = [{"alias": "a/one", **FOUND}, {"alias": "a/refused", **REFUSED}]
    request = request_of(make_flow(Kind.TOKEN, aliases=records))
    assert request.aliases == ["a/one", "a/refused"]
    assert request.about("a/one").release == "2.3.8+rev2"
    assert request.about("a/refused").release is None
    assert request.outcome_for("a/one") is Outcome.SERVED
    assert request.outcome_for("a/refused") is Outcome.REFUSED


def test_lifetime_of_a_token() -> None:
    """The lifetime is that which the client was told; no other body is read."""
    body = b'{"expires_in": 60}'
    assert request_of(make_flow(Kind.TOKEN, body=body)).lifetime == 60
    assert request_of(make_flow(Kind.MANIFEST, body=body)).lifetime is None


def test_agent_is_the_name_alone() -> None:
    """Of what a client calls itself the name is kept, not its whole build."""
    flow = make_flow(Kind.BASE)
    flow.request.headers["User-Agent"] = "docker/20.10 go/1.19 kernel/6.1"
    assert request_of(flow).agent == "docker/20.10"
    flow.request.headers["User-Agent"] = "a" * 999
    assert len(request_of(flow).with_texts(str).agent) < 100


def test_times_without_facts() -> None:
    """A request that is not over has lasted as long as mitmproxy knows."""
    flow = make_flow(Kind.BLOB, outcome=None, at=0)
    del flow.metadata[KEY]["seconds"]
    assert flow.response
    flow.response.timestamp_end = flow.request.timestamp_start + 2.5
    request = request_of(flow)
    assert (request.seconds, request.record.outcome) == (2.5, None)


def test_unknown_words() -> None:
    """A kind or outcome of another version is taken for an unknown one."""
    flow = make_flow(Kind.BLOB)
    flow.metadata[KEY] |= {"kind": "upload", "outcome": "later"}
    request = request_of(flow)
    assert (request.kind, request.record.outcome) == (Kind.OTHER, None)


def test_client_of_a_blob_that_was_fetched_for_it() -> None:
    """A storage is told another name than that of the client, which the record has."""
    flow = make_flow(Kind.BLOB, agent="registry-proxy/0.1.0")
    flow.metadata["balena"]["agent"] = "docker/28.5.2"
    assert request_of(flow).agent == "docker/28.5.2"


def test_absent_blob_of_a_push_is_no_failure() -> None:
    """Who only looks whether something is there has an answer."""
    flow = make_flow(Kind.BLOB, Outcome.REFUSED, status=404, method="HEAD")
    request = request_of(flow)
    assert not request.is_bad
    assert request.outcome_for(ALIAS) is Outcome.SERVED
