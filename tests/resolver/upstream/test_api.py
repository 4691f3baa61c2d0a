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
from resolver.grammar.credential import ANONYMOUS, parse_authorization
from resolver.grammar.scope import Scope
from resolver.upstream.api import OLDER_SECONDS, Api
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


def query(api: Api, header: str | None = None) -> object:
    """Return what a query comes to."""
    return api.query("release?$top=1", parse_authorization(header), SOON)


def token(api: Api, header: str | None = None) -> str:
    """Return the token."""
    scopes = [Scope(LOCATION), Scope("resin/x", ("pull", "push"))]
    return api.token(scopes, REGISTRY_HOST, parse_authorization(header), SOON)


type Ask = Callable[[Api], object]
BOTH = pytest.mark.parametrize("ask", [query, token])


def answering(reply: Reply) -> Api:
    """Return an API that answers like that."""
    return Api(API, FakeTransport({"": reply}))


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
    assert query(Api(API, network), header) == {"d": []}
    assert network.sent == [Sent(f"{API}/v7/release?$top=1", authorization)]


@pytest.mark.parametrize("header", [None, BASIC, f"Bearer {KEY}"])
def test_token(header: str | None) -> None:
    """A token is asked for with repeated scopes and the client's own header (R3)."""
    network = FakeTransport({"": answer({"token": "a.b.c"})})
    api = Api(API, network)
    assert token(api, header) == "a.b.c"
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
    api = answering(Answer(401, {}, b""))
    with pytest.raises(CredentialRejected, match="API key") as caught:
        token(api, BASIC)
    assert KEY not in caught.value.message
    assert BASIC.partition(" ")[2] not in caught.value.message
    with pytest.raises(ServiceUnavailable):
        query(api, BASIC)


@BOTH
@pytest.mark.parametrize(
    ("header", "seconds"), [(None, "10"), ("7", "7"), ("0", "0"), ("x", "10")]
)
def test_rate_limit(ask: Ask, header: str | None, seconds: str) -> None:
    """A 429 stays a 429, with the time that the API named (R13)."""
    headers = {"Retry-After": header} if header else {}
    with pytest.raises(RateLimited) as caught:
        ask(answering(answer({}, 429, headers)))
    assert caught.value.headers == (("Retry-After", seconds),)


def versions(network: FakeTransport) -> list[str]:
    """Return which versions were asked since the last time."""
    asked = [sent.url.split("/")[3] for sent in network.sent]
    network.sent.clear()
    return asked


MISSING, OLDER = answer({}, 404), answer({"d": [6]})


def test_older_installation_has_v6_only() -> None:
    """Where there is no v7 the query goes to v6, and the next one at once, a while."""
    network = FakeTransport({"/v7/": MISSING, "/v6/": OLDER})
    now = [0.0]
    api = Api(API, network, clock=lambda: now[0])
    for _ in range(2):
        assert query(api) == {"d": [6]}
    assert versions(network) == ["v7", "v6", "v6"]
    now[0] = OLDER_SECONDS
    assert query(api) == {"d": [6]}
    assert versions(network) == ["v7", "v6"]


@pytest.mark.parametrize(
    "wrong", [MISSING, answer({}, 503), Answer(200, {}, b"<html>")], ids=ident
)
def test_passing_fault_of_v7(wrong: Answer) -> None:
    """A 404 that is over is not remembered, unless v6 answered as it should."""
    network = FakeTransport({"/v7/": MISSING, "/v6/": wrong})
    api = Api(API, network)
    with pytest.raises(ServiceUnavailable):
        query(api)
    network.replies["/v7/"] = answer({"d": [7]})
    assert query(api) == {"d": [7]}
    assert versions(network) == ["v7", "v6", "v7"]


@pytest.mark.parametrize(
    "wrong", [MISSING, answer({}, 500), Answer(200, {}, b"<html>")], ids=ident
)
def test_v7_is_asked_where_v6_fails(wrong: Answer) -> None:
    """Nobody has to wait until it is asked again, and then it is asked alone."""
    network = FakeTransport({"/v7/": MISSING, "/v6/": OLDER})
    api = Api(API, network)
    query(api)
    network.replies |= {"/v7/": answer({"d": [7]}), "/v6/": wrong}
    for _ in range(2):
        assert query(api) == {"d": [7]}
    assert versions(network) == ["v7", "v6", "v6", "v7", "v7"]


@BOTH
@pytest.mark.parametrize(
    "reply",
    [
        *(answer(SOUND, status) for status in (301, 400, 403, 404, 500, 503)),
        *(Answer(200, {}, body) for body in (b"", b"<html>", b'{"d":', b"\xff\xfe")),
        *(
            Answer(200, {}, body)
            for body in (b"[" * 100000, b"9" * 5000, b"[[]" + b",[]" * 99999)
        ),
    ],
    ids=ident,
)
def test_failure(ask: Ask, reply: Reply) -> None:
    """Another status or no JSON is the API's failure, never a missing image (R13)."""
    with pytest.raises(ServiceUnavailable) as caught:
        ask(answering(reply))
    assert caught.value.headers == (("Retry-After", "10"),)


@pytest.mark.parametrize(
    "payload",
    [
        *(None, "token", {}, {"token": ["a.b.c"]}, {"access_token": "a.b.c"}),
        *({"token": "a\r\nX-Injected: b"}, {"token": "é"}, {"token": "a" * 40_000}),
    ],
    ids=ident,
)
def test_senseless_token(payload: object) -> None:
    """A token that is none, or fits in no header, is the API's failure."""
    with pytest.raises(ServiceUnavailable):
        token(answering(answer(payload)))


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
    api = Api(API, FakeTransport({"": reply}), notes)
    if reason is None:
        token(api)
        request, outcome = notes.events
        assert outcome == Contact(Part.API)
    else:
        with pytest.raises(RegistryError):
            token(api)
        outcome, *_, request = notes.events
        assert outcome == Failure(Part.API, reason)
    assert isinstance(request, ApiRequest)
    assert request.endpoint is Endpoint.TOKEN
    assert request.seconds >= 0
