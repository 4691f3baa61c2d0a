"""What is known of one request."""

from mitm.story.fact import Fact
from mitm.story.record import Kind, Outcome
from report.request import Request, read_request
from tests.report.flow import make_flow


def about_three() -> Request:
    """Return a token request for two aliases that were found and one that was not."""
    facts = {
        Fact.RELEASE: "1.0.0, 2.0.0",
        Fact.CACHE: "hit, miss",
        Fact.REFUSED: "a/refused",
    }
    names = "a/one, a/two, a/refused"
    return read_request(make_flow(Kind.TOKEN, alias=names, facts=facts))


def test_facts_of_one_alias() -> None:
    """Of a request about several aliases each has the facts that are about it."""
    request = about_three()
    assert request.say_of("a/one", Fact.RELEASE) == "1.0.0"
    assert request.say_of("a/two", Fact.CACHE) == "miss"
    assert request.say_of("a/refused", Fact.RELEASE) == ""


def test_commas_in_a_reason() -> None:
    """A comma parts nothing where there is one alias."""
    request = read_request(make_flow(Kind.TOKEN, facts={Fact.REASON: "this, that"}))
    assert request.say_of("balenablocks/browser/2.3", Fact.REASON) == "this, that"


def test_lifetime_of_a_token() -> None:
    """The lifetime is that which the client was told; no other body is read."""
    body = b'{"expires_in": 60}'
    assert read_request(make_flow(Kind.TOKEN, body=body)).lifetime == 60
    assert read_request(make_flow(Kind.MANIFEST, body=body)).lifetime is None


def test_agent_is_the_name_alone() -> None:
    """Of what a client calls itself the name is kept, not its whole build."""
    flow = make_flow(Kind.BASE)
    flow.request.headers["User-Agent"] = "docker/20.10 go/1.19 kernel/6.1"
    assert read_request(flow).agent == "docker/20.10"
    flow.request.headers["User-Agent"] = "a" * 999
    assert len(read_request(flow).with_texts(str).agent) < 100


def test_times_without_facts() -> None:
    """A request that is not over has lasted as long as mitmproxy knows."""
    flow = make_flow(Kind.BLOB, outcome=None, at=0)
    del flow.metadata[Fact.SECONDS]
    assert flow.response
    flow.response.timestamp_end = flow.request.timestamp_start + 2.5
    request = read_request(flow)
    assert request.seconds == 2.5
    assert request.outcome is None


def test_unknown_words() -> None:
    """A kind or outcome of another version is taken for an unknown one."""
    flow = make_flow(Kind.BLOB, Outcome.SERVED, facts={Fact.OUTCOME: "later"})
    flow.metadata[Fact.KIND] = "upload"
    request = read_request(flow)
    assert request.kind == Kind.OTHER
    assert request.outcome is None
