"""The API is asked with the right header, and its answers are not believed blindly."""

from collections.abc import Callable

import pytest

from resolver.errors import (
    CredentialRejected,
    RateLimited,
    Reason,
    RegistryError,
    ServiceUnavailable,
)
from resolver.grammar.credential import ANONYMOUS, Credential, parse_authorization
from resolver.grammar.scope import Scope
from resolver.upstream.api import Api
from resolver.upstream.observer import ApiRequest, Contact, Endpoint, Failure, Part
from resolver.upstream.transport import Answer
from tests.resolver.fake import (
    API,
    LOCATION,
    REGISTRY_HOST,
    SOON,
    FakeTransport,
    Notes,
    Reply,
    Sent,
    answer,
    basic,
    ident,
    jwt,
)

KEY = "made-up-key-0123456789"
BASIC = basic("u", KEY)
SOUND = {"d": [], "token": jwt()}

type Ask = Callable[[Reply], object]


def query(
    reply: Reply, credential: Credential = ANONYMOUS, notes: Notes | None = None
) -> object:
    """Return what a query comes to, where the API answers like that."""
    network = FakeTransport({"/v7/": reply, "/v6/": reply})
    return Api(API, network, notes or Notes()).query("release", credential, SOON)


def token(
    reply: Reply, credential: Credential = ANONYMOUS, notes: Notes | None = None
) -> str:
    """Return the token, where the API answers like that."""
    api = Api(API, FakeTransport({"/auth/v1/token": reply}), notes or Notes())
    return api.token([Scope(LOCATION)], REGISTRY_HOST, credential, SOON)


BOTH = pytest.mark.parametrize("ask", [query, token], ids=["query", "token"])


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
    api = Api(API, network)
    assert api.token(scopes, REGISTRY_HOST, parse_authorization(header), SOON)
    (sent,) = network.sent
    assert sent.url.partition("?")[0] == f"{API}/auth/v1/token"
    assert sent.authorization == header
    assert sent.query == [
        ("service", REGISTRY_HOST),
        ("scope", f"repository:{LOCATION}:pull"),
        ("scope", "repository:resin/x:pull,push"),
    ]
    # A login asks for a token and for nothing else.
    assert api.token((), None, ANONYMOUS, SOON) == "a.b.c"
    assert network.sent[1].query == []


def test_rejected_credential() -> None:
    """A 401 of the token endpoint means a wrong key; elsewhere it is a failure (R4)."""
    credential = parse_authorization(BASIC)
    with pytest.raises(CredentialRejected, match="API key") as caught:
        token(Answer(401, {}, b""), credential)
    assert KEY not in caught.value.message
    assert BASIC.partition(" ")[2] not in caught.value.message
    with pytest.raises(ServiceUnavailable):
        query(Answer(401, {}, b""), credential)


@BOTH
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
def test_rate_limit(ask: Ask, header: dict[str, str], seconds: str) -> None:
    """A 429 stays a 429, with the time that the API named (R13)."""
    with pytest.raises(RateLimited) as caught:
        ask(answer({}, 429, header))
    assert caught.value.headers == (("Retry-After", seconds),)


def test_older_installation_has_v6_only() -> None:
    """Where there is no v7 the query goes to v6, and the next one at once."""
    network = FakeTransport({"/v7/": answer({}, 404), "/v6/": answer({"d": [1]})})
    api = Api(API, network)
    for _ in range(2):
        assert api.query("release", ANONYMOUS, SOON) == {"d": [1]}
    asked = [sent.url for sent in network.sent]
    assert asked == [f"{API}/v7/release", *[f"{API}/v6/release"] * 2]


@BOTH
@pytest.mark.parametrize(
    "reply",
    [
        *(answer(SOUND, status) for status in (301, 400, 403, 404, 500, 502, 503)),
        *(Answer(200, {}, body) for body in (b"", b"<html>", b'{"d":', b"\xff\xfe")),
        *(Answer(200, {}, body) for body in (b"[" * 100000, b"9" * 5000)),
    ],
    ids=ident,
)
def test_failure(ask: Ask, reply: Reply) -> None:
    """Another status or no JSON is the API's failure, never a missing image (R13)."""
    with pytest.raises(ServiceUnavailable) as caught:
        ask(reply)
    assert caught.value.headers == (("Retry-After", "10"),)


@pytest.mark.parametrize(
    "payload",
    [
        *(None, [], "token", {}, {"token": None}, {"token": 1}, {"token": ["a.b.c"]}),
        *({"token": "a\r\nX-Injected: b"}, {"token": "é"}, {"token": "a" * 40_000}),
        {"access_token": "a.b.c"},
    ],
    ids=ident,
)
def test_senseless_token(payload: object) -> None:
    """A token that is none, or fits in no header, is the API's failure."""
    with pytest.raises(ServiceUnavailable):
        token(answer(payload))


@BOTH
def test_failure_of_the_network_passes(ask: Ask) -> None:
    """What the transport raises comes through as it is."""
    error = ServiceUnavailable("down")
    with pytest.raises(RegistryError) as caught:
        ask(error)
    assert caught.value is error


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer(SOUND), None),
        (answer({}, 500), Reason.STATUS),
        (answer({}, 429), Reason.LIMITED),
        (answer("", 200), Reason.SENSELESS),
        (ServiceUnavailable.because(Reason.TLS, "down"), Reason.TLS),
    ],
    ids=ident,
)
def test_observer_learns_what_came_of_it(reply: Reply, reason: Reason | None) -> None:
    """Each request is noted with its time, a failure with its reason."""
    notes = Notes()
    try:
        token(reply, notes=notes)
    except RegistryError:
        assert reason
    last, first = notes.events[-1], notes.events[0]
    if reason is None:
        assert last == Contact(Part.API)
        last = first
    else:
        assert first == Failure(Part.API, reason)
    assert isinstance(last, ApiRequest)
    assert last.endpoint is Endpoint.TOKEN
    assert last.seconds >= 0
