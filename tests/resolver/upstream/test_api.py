"""The API is asked with the right header, and its answers are not believed blindly."""

from collections.abc import Callable

import pytest

from resolver.errors import (
    CredentialRejected,
    RateLimited,
    RegistryError,
    ServiceUnavailable,
)
from resolver.grammar.credential import ANONYMOUS, Credential, parse_authorization
from resolver.grammar.scope import Scope
from resolver.upstream.api import Api
from resolver.upstream.transport import Answer
from tests.resolver.fake import (
    API,
    LOCATION,
    REGISTRY_HOST,
    SOON,
    FakeTransport,
    Reply,
    Sent,
    answer,
    basic,
    ident,
    jwt,
)

KEY = "made-up-key-0123456789"
BASIC = basic("u", KEY)


def query(reply: Reply, credential: Credential = ANONYMOUS) -> object:
    """Return what a query comes to, where the API answers like that."""
    return Api(API, FakeTransport({"/v7/": reply, "/v6/": reply})).query(
        "release", credential, SOON
    )


def token(reply: Reply, credential: Credential = ANONYMOUS) -> str:
    """Return the token, where the API answers like that."""
    api = Api(API, FakeTransport({"/auth/v1/token": reply}))
    return api.token([Scope(LOCATION)], REGISTRY_HOST, credential, SOON)


@pytest.mark.parametrize(
    ("header", "authorization"),
    [
        (None, None),
        (BASIC, f"Bearer {KEY}"),
        (f"Bearer {KEY}", f"Bearer {KEY}"),
        (basic("u", ""), None),
        (basic("u", "schlüssel"), None),
    ],
)
def test_query(header: str | None, authorization: str | None) -> None:
    """A query goes below ``/v7`` as it is, with the key alone as Bearer."""
    network = FakeTransport({"": answer({"d": []})})
    text = "release?$filter=slug%20eq%20'a%27%27b'"
    found = Api(API, network).query(text, parse_authorization(header), SOON)
    assert found == {"d": []}
    assert network.sent == [Sent(f"{API}/v7/{text}", authorization)]


@pytest.mark.parametrize("header", [None, BASIC, f"Bearer {KEY}"])
def test_token(header: str | None) -> None:
    """A token is asked for with repeated scopes and the client's own header (R3)."""
    network = FakeTransport({"": answer({"token": "a.b.c"})})
    scopes = [Scope(LOCATION), Scope("resin/x", ("pull", "push"))]
    found = Api(API, network).token(
        scopes, REGISTRY_HOST, parse_authorization(header), SOON
    )
    assert found == "a.b.c"
    (sent,) = network.sent
    assert sent.url.partition("?")[0] == f"{API}/auth/v1/token"
    assert sent.authorization == header
    assert sent.query == [
        ("service", REGISTRY_HOST),
        ("scope", f"repository:{LOCATION}:pull"),
        ("scope", "repository:resin/x:pull,push"),
    ]


def test_token_without_scope_and_service() -> None:
    """A login asks for a token and for nothing else."""
    network = FakeTransport({"": answer({"token": jwt()})})
    assert Api(API, network).token((), None, ANONYMOUS, SOON) == jwt()
    assert network.sent[0].query == []


def test_rejected_credential() -> None:
    """A 401 of the token endpoint means a wrong key, and says what to do (R4)."""
    with pytest.raises(CredentialRejected, match="API key") as caught:
        token(Answer(401, {}, b""), parse_authorization(BASIC))
    assert KEY not in caught.value.message
    assert BASIC.partition(" ")[2] not in caught.value.message


@pytest.mark.parametrize("ask", [query, token], ids=["query", "token"])
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({}, "10"),
        ({"Retry-After": "7"}, "7"),
        ({"Retry-After": "0"}, "0"),
        ({"Retry-After": "x"}, "10"),
    ],
    ids=ident,
)
def test_rate_limit(
    ask: Callable[[Reply], object], header: dict[str, str], seconds: str
) -> None:
    """A 429 stays a 429, with the time that the API named (R13)."""
    with pytest.raises(RateLimited) as caught:
        ask(answer({}, 429, header))
    assert caught.value.headers == (("Retry-After", seconds),)


@pytest.mark.parametrize("ask", [query, token], ids=["query", "token"])
@pytest.mark.parametrize("status", [301, 400, 403, 404, 500, 502, 503])
def test_failure(ask: Callable[[Reply], object], status: int) -> None:
    """Any other status is the API's failure and never a missing image (R13)."""
    with pytest.raises(ServiceUnavailable) as caught:
        ask(answer({"d": [], "token": jwt()}, status))
    assert caught.value.headers == (("Retry-After", "10"),)


def test_older_installation_has_v6_only() -> None:
    """Where there is no v7 the query goes to v6, and the next one at once."""
    network = FakeTransport({"/v7/": answer({}, 404), "/v6/": answer({"d": [1]})})
    api = Api(API, network)
    for _ in range(2):
        assert api.query("release", ANONYMOUS, SOON) == {"d": [1]}
    asked = [sent.url for sent in network.sent]
    assert asked == [f"{API}/v7/release", *[f"{API}/v6/release"] * 2]


def test_query_that_is_forbidden_is_a_failure() -> None:
    """A 401 of the OData side is about the query, not about the key."""
    with pytest.raises(ServiceUnavailable):
        query(Answer(401, {}, b""), parse_authorization(BASIC))


@pytest.mark.parametrize("ask", [query, token], ids=["query", "token"])
@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b'{"d":', b"\xff\xfe\xfd", b"[" * 100000, b"9" * 5000],
    ids=["empty", "html", "cut", "bytes", "deep", "number"],
)
def test_answer_that_is_no_json(ask: Callable[[Reply], object], body: bytes) -> None:
    """A body that is no JSON is the API's failure."""
    with pytest.raises(ServiceUnavailable):
        ask(Answer(200, {}, body))


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        "token",
        {},
        {"token": None},
        {"token": 1},
        {"token": ["a.b.c"]},
        {"token": "a\r\nX-Injected: b"},
        {"token": "é"},
        {"token": "a" * 40_000},
        {"access_token": "a.b.c"},
    ],
    ids=ident,
)
def test_senseless_token(payload: object) -> None:
    """A token that is none, or fits in no header, is the API's failure."""
    with pytest.raises(ServiceUnavailable):
        token(answer(payload))


@pytest.mark.parametrize("ask", [query, token], ids=["query", "token"])
def test_failure_of_the_network_passes(ask: Callable[[Reply], object]) -> None:
    """What the transport raises comes through as it is."""
    error = ServiceUnavailable("down")
    with pytest.raises(RegistryError) as caught:
        ask(error)
    assert caught.value is error
