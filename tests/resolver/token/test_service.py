"""A token request is read strictly and answered with a token for all it can get."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlencode

import pytest

from resolver.errors import (
    AccessDenied,
    CredentialRejected,
    GrantUnsupported,
    RateLimited,
    Refusal,
    RegistryError,
    RequestInvalid,
    ServiceUnavailable,
)
from resolver.grammar.client import Client
from resolver.grammar.scope import Scope
from resolver.token.answer import HEADER_LENGTH_MAX, TokenAnswer
from resolver.token.cache import ResolutionCache
from resolver.token.claims import Token, parse_token
from resolver.token.service import (
    TokenRequest,
    TokenService,
    parse_token_form,
    parse_token_query,
)
from resolver.upstream.registry import Upstream
from resolver.upstream.transport import Answer
from tests.resolver.fake import (
    EXPIRES,
    ISSUED,
    LOCATION,
    REGISTRY,
    REGISTRY_HOST,
    SLUG,
    FakeTransport,
    Reply,
    Sent,
    answer,
    basic,
    challenged,
    fixed,
    grant,
    ident,
    image_row,
    jwt,
    location_of,
    pullable,
    release_row,
    rows,
    target_row,
)

KEY = "made-up-key-0123456789"
BASIC = basic("u", KEY)
FORM = "application/x-www-form-urlencoded"
TOKEN, RELEASES, TARGETS = "/auth/v1/token?", "/v7/release?", "/v7/application?"
NETWORK: dict[str, Reply] = {
    f"{REGISTRY}/v2/": challenged(),
    "hidden": rows(),
    RELEASES: rows(release_row()),
    TARGETS: rows({**target_row(release_row()), "owns__release": [release_row()]}),
    TOKEN: grant,
}


def request_for(*names: str, authorization: str | None = BASIC) -> TokenRequest:
    """Return a request for pulling from these repositories."""
    scopes = [("scope", f"repository:{name}:pull") for name in names]
    return parse_token_query(urlencode(scopes), authorization)


@contextmanager
def serving(
    network: FakeTransport, timeout: float = 10, tags: int = 0
) -> Iterator[TokenService]:
    """Yield the token endpoint of a proxy in that network."""
    service = TokenService(
        Upstream(REGISTRY, None, network),
        ResolutionCache(300),
        timeout=timeout,
        tags=tags,
    )
    with closing(service):
        yield service


def issue(
    request: TokenRequest, replies: Mapping[str, Reply] | None = None, tags: int = 0
) -> tuple[TokenAnswer, FakeTransport]:
    """Return the answer to the request, and the network that it was asked of."""
    network = FakeTransport({**NETWORK, **(replies or {})})
    with serving(network, tags=tags) as service:
        return asyncio.run(service.answer(request)), network


def token_of(found: TokenAnswer) -> Token:
    """Return the token in the answer."""
    return parse_token(json.loads(found.body)["token"])


def test_alias_becomes_its_location() -> None:
    """The API is asked for the location, and the token carries the alias (R3, R4)."""
    issued, network = issue(request_for(f"{SLUG}/2.3.8"))
    body: dict[str, Any] = json.loads(issued.body)
    token = parse_token(body["token"])
    assert location_of(token, f"{SLUG}/2.3.8") == LOCATION
    assert body["access_token"] == body["token"]
    assert body["expires_in"] == EXPIRES - ISSUED
    assert body["issued_at"] == "2026-11-23T17:24:52Z"
    assert [resolution.location for resolution in issued.resolutions] == [LOCATION]
    assert issued.refusals == {}
    last = network.sent[-1]
    assert last.query == [
        ("service", REGISTRY_HOST),
        ("scope", f"repository:{LOCATION}:pull"),
    ]
    assert last.authorization == BASIC
    assert len(network.sent) == 3


@pytest.mark.parametrize(
    ("query", "names", "requests"),
    [
        ("", [], 2),
        ("service=x&account=y", [], 2),
        (f"scope=repository:{LOCATION}:pull", [LOCATION], 2),
        ("scope=repository:resin/resinos:pull,push", ["resin/resinos"], 2),
        ("scope=repository:org/app:pull", [LOCATION], 3),
        ("scope=repository:org/app:push", [LOCATION], 3),
        ("scope=repository:org/app:pull&scope=repository:org/app:pull", [LOCATION], 3),
        ("scope=repository:org/app:pull+repository:org/app:*", [LOCATION], 3),
        ("scope=repository:a/b:pull+repository:c/d/2.3.8:pull", [LOCATION], 4),
        (f"scope=repository:a/b:pull%20repository:{LOCATION}:pull", [LOCATION], 3),
        ("scope=repository:hidden/app:pull", [], 3),
        ("scope=repository:a/b:pull&scope=repository:hidden/app:pull", [LOCATION], 4),
        ("scope=repository:app:pull", [], 2),
        ("scope=registry:catalog:*", [], 2),
    ],
)
def test_requests_are_counted(query: str, names: list[str], requests: int) -> None:
    """Each alias costs one request, beside the registry's and the token's own."""
    issued, network = issue(parse_token_query(query, None))
    assert [scope.split(":")[1] for scope in network.sent[-1].scopes] == names
    assert len(network.sent) == requests
    assert issued.body


BAD = {
    "app": "NAME_INVALID",
    "a/b/c/d/e": "NAME_INVALID",
    "Org/App": "NAME_INVALID",
    "org/app/2.3.8+rev1": "NAME_INVALID",
    "org/äpp": "NAME_INVALID",
    "host:5000/org/app": "NAME_INVALID",
    "hidden/app": "DENIED",
    "hidden/app/2.3.8": "DENIED",
}


@pytest.mark.parametrize(("name", "code"), BAD.items(), ids=ident)
def test_bad_scope_does_not_sink_the_rest(name: str, code: str) -> None:
    """A name that cannot be pulled is carried as a refusal beside the others (R3)."""
    issued, network = issue(request_for("org/app", name, f"{SLUG}/2.3.8"))
    token = token_of(issued)
    assert (
        location_of(token, "org/app") == location_of(token, f"{SLUG}/2.3.8") == LOCATION
    )
    with pytest.raises(Refusal) as caught:
        location_of(token, name)
    assert caught.value.code == code
    assert set(issued.refusals) == {name}
    assert network.sent[-1].scopes == [f"repository:{LOCATION}:pull"]


def test_what_the_api_does_not_grant_is_denied() -> None:
    """Only the token endpoint decides on permission, whatever was resolved."""
    empty = {"type": "repository", "name": LOCATION, "actions": []}
    for tags in (0, 20):
        issued, _ = issue(
            request_for("org/app"),
            {TOKEN: answer({"token": jwt([empty])}), TARGETS: rows(APPLICATION)},
            tags,
        )
        with pytest.raises(AccessDenied):
            location_of(token_of(issued), "org/app")
        assert token_of(issued).aliases.candidates == {}
        assert issued.resolutions == ()


def test_opaque_token_is_passed_on() -> None:
    """A token that is no JWT is passed on with its aliases, and without its times."""
    for tags in (0, 20):
        issued, _ = issue(
            request_for("org/app"), {TOKEN: answer({"token": "opaque"})}, tags
        )
        assert token_of(issued).jwt == "opaque"
        assert token_of(issued).aliases.candidates == {"org/app": fixed(LOCATION)}
        assert set(json.loads(issued.body)) == {"token", "access_token"}


@pytest.mark.parametrize(
    ("part", "reply", "error"),
    [
        (TOKEN, Answer(401, {}, b""), CredentialRejected),
        (TOKEN, answer({}, 429, {"Retry-After": "7"}), RateLimited),
        (TOKEN, answer({}, 500), ServiceUnavailable),
        (RELEASES, answer({}, 429), RateLimited),
        (RELEASES, answer({}, 500), ServiceUnavailable),
        (f"{REGISTRY}/v2/", ServiceUnavailable("down"), ServiceUnavailable),
        (f"{REGISTRY}/v2/", answer({}, 200), ServiceUnavailable),
    ],
    ids=ident,
)
def test_failure(part: str, reply: Reply, error: type[RegistryError]) -> None:
    """A failing API fails the token request, and refuses no alias (R13)."""
    with pytest.raises(error) as caught:
        issue(request_for(f"{SLUG}/2.3.8", "org/app"), {part: reply})
    assert KEY not in caught.value.message


def test_slow_api_is_given_up() -> None:
    """The whole answer is due within the timeout, however slow the API is (R5)."""
    go = threading.Event()

    def slowly(_: str) -> Answer:
        go.wait(10)
        return challenged()

    network = FakeTransport({f"{REGISTRY}/v2/": slowly})
    started = time.monotonic()
    with serving(network, timeout=0.02) as service:
        try:
            with pytest.raises(ServiceUnavailable, match=r"0\.02 seconds") as caught:
                asyncio.run(service.answer(request_for("org/app")))
            assert time.monotonic() - started < 4
        finally:
            go.set()
    assert caught.value.headers == (("Retry-After", "10"),)


@pytest.mark.parametrize(
    ("service", "expected"), [(',service="own"', "own"), ("", REGISTRY_HOST)]
)
def test_registry_service(service: str, expected: str) -> None:
    """Our challenges name the registry's own service, or its host; asked once."""
    reply = challenged(f'Bearer realm="https://a.example/"{service}')
    network = FakeTransport({f"{REGISTRY}/v2/": reply})
    with serving(network) as ours:
        for _ in range(2):
            assert asyncio.run(ours.registry_service()) == expected
    assert len(network.sent) == 1


def test_token_with_a_refusal_is_short_lived() -> None:
    """A client that keeps its token asks again soon; the JWT's time is four hours."""
    for name, seconds in (("org/app/2.3.8", 14400), ("alpine", 60)):
        answer, _ = issue(request_for(name))
        assert json.loads(answer.body)["expires_in"] == seconds


def test_service_that_is_not_known_is_not_made_up() -> None:
    """A client holds on to the first service it hears, so it hears none (503)."""
    down = FakeTransport({f"{REGISTRY}/v2/": ServiceUnavailable("down")})
    with serving(down) as ours, pytest.raises(ServiceUnavailable):
        asyncio.run(ours.registry_service())


@pytest.mark.parametrize(
    ("header", "sent"),
    [(BASIC, BASIC), ("Basic Og==", None), (None, None), ("bearer x", "Bearer x")],
)
def test_authorization_goes_along(header: str | None, sent: str | None) -> None:
    """The client's header reaches the token endpoint, an empty Basic does not (R3)."""
    _, network = issue(request_for("org/app", authorization=header))
    assert network.sent[0].authorization is None
    assert network.sent[-1].authorization == sent


@pytest.mark.parametrize("content_type", [FORM, f"{FORM}; charset=utf-8", f"{FORM} ;x"])
@pytest.mark.parametrize(("user", "password"), [("u", KEY), ("", "k"), ("ü", "a&b=c")])
def test_password_grant(content_type: str, user: str, password: str) -> None:
    """A POST with user and password stands for a GET with Basic (R5)."""
    form = {
        "grant_type": "password",
        "username": user,
        "password": password,
        "scope": "repository:a/b:pull repository:c/d:pull",
        "service": "x",
        "client_id": "containerd",
    }
    issued = parse_token_form(content_type, urlencode(form).encode())
    assert issued.scopes == (Scope("a/b"), Scope("c/d"))
    assert issued.credential.authorization == basic(user, password)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (None, b"grant_type=password"),
        ("application/json", b"{}"),
        (f"text/{FORM}", b"grant_type=password"),
        (FORM, b"grant_type=password&username=\xff"),
        (FORM, b"grant_type=password" + b"&scope=x" * 64),
        (FORM, b"grant_type=password" + b"&scope=repository:a/b:pull" * 99),
    ],
    ids=ident,
)
def test_form_is_refused(content_type: str | None, body: bytes) -> None:
    """Another type and an endless form are refused at once (R5)."""
    with pytest.raises(RequestInvalid) as caught:
        parse_token_form(content_type, body)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "body",
    [
        "",
        f"grant_type=refresh_token&refresh_token={KEY}",
        "grant_type=%0d%0aX",
    ],
)
def test_other_grant_is_not_there(body: str) -> None:
    """It is answered with 404, after which clients ask with GET (R5)."""
    with pytest.raises(GrantUnsupported, match="password") as caught:
        parse_token_form(FORM, body.encode())
    assert caught.value.message.isprintable()
    assert KEY not in caught.value.message


def test_endless_query_is_refused() -> None:
    """A query has a limited number of parameters."""
    with pytest.raises(RequestInvalid, match="64 parameters"):
        parse_token_query("a=b&" * 65, None)


def test_secrets_are_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither request nor answer shows its secrets, and no log does (R15)."""
    caplog.set_level(logging.DEBUG)
    request = request_for("org/app", "hidden/app")
    issued, _ = issue(request)
    shown = f"{request} {issued} {issued.refusals} {caplog.text}"
    for secret in (
        KEY,
        BASIC.partition(" ")[2],
        jwt(),
        json.loads(issued.body)["token"],
    ):
        assert secret not in shown


def release_at(number: int, raw_version: str) -> dict[str, Any]:
    """Return a release as the API shows it."""
    image = image_row(f"{number:032x}")
    return release_row(raw_version, 0, image, id=number, commit=f"{number:032x}")


APPLICATION = {
    **target_row(release_at(1, "1.0.0")),
    "owns__release": [
        release_at(3, "1.2.0"),
        release_at(2, "1.1.0"),
        release_at(1, "1.0.0"),
    ],
}
PLACES = [f"v2/{number:032x}" for number in (1, 3, 2)]


def issue_tagged(
    request: TokenRequest, replies: Mapping[str, Reply] | None = None, tags: int = 20
) -> tuple[TokenAnswer, FakeTransport]:
    """Return the answer to the request where tags select."""
    return issue(request, {TARGETS: rows(APPLICATION), **(replies or {})}, tags)


def test_candidates_are_resolved_together() -> None:
    """One request finds the releases, and the token is for all of their locations."""
    issued, network = issue_tagged(request_for("org/app"))
    assert network.sent[-1].scopes == [f"repository:{name}:pull" for name in PLACES]
    assert len(network.sent) == 3
    assert "$top=21" in network.sent[1].url
    many = token_of(issued).aliases.candidates["org/app"]
    assert [row.location for row in many.rows] == [PLACES[1], PLACES[2], PLACES[0]]
    assert [row.is_target for row in many.rows] == [False, False, True]
    assert many.is_whole
    assert [one.location for one in issued.resolutions] == PLACES[:1]
    assert issued.tagged == {"org/app": 3}
    assert json.loads(issued.body)["expires_in"] == 300


@pytest.mark.parametrize("beside", [(), ("org/app",)])
def test_selector_is_resolved_alone(beside: tuple[str, ...]) -> None:
    """A name beside its application is a tag's: the token is for that one (R9)."""
    issued, network = issue_tagged(request_for(*beside, "org/app/2.3.8"))
    assert len(network.sent) == 3
    assert network.sent[-1].scopes == [f"repository:{LOCATION}:pull"]
    token = token_of(issued)
    assert set(token.aliases.candidates) == {"org/app/2.3.8"}
    assert token.aliases.candidates["org/app/2.3.8"] == fixed(LOCATION)
    assert json.loads(issued.body)["expires_in"] == EXPIRES - ISSUED


CONTAINERD = Client("containerd/2.1.9+unknown")
MISSING = {"v7/release": rows(), TARGETS: rows(APPLICATION)}
REFUSED = [
    (("org/app/9.9.9",), CONTAINERD, "org/app has no release 9.9.9"),
    (("org/app/9.9.9", "a/b/c/d/e"), CONTAINERD, "; 'a/b/c/d/e' does not name"),
    (("org/app/9.9.9", "org/app"), CONTAINERD, None),
    (("org/app/9.9.9", LOCATION), CONTAINERD, None),
    (("org/app/9.9.9", "org/other"), CONTAINERD, None),
    (("org/app",), CONTAINERD, None),
    ((), CONTAINERD, None),
    (("org/app/9.9.9",), Client("docker/28.5.2 go/go1.27 os/linux"), None),
    (("org/app/9.9.9",), Client("containers/5.36 (github.com/containers/image)"), None),
]


@pytest.mark.parametrize(("names", "client", "words"), REFUSED, ids=ident)
def test_token_is_refused(
    names: tuple[str, ...], client: Client, words: str | None
) -> None:
    """A token good for nothing is refused where only that is shown (R8)."""
    issued, _ = issue_tagged(request_for(*names), MISSING)
    refusal = issued.refusal_for(client)
    assert (refusal is None) == (words is None)
    assert refusal is None or str(words) in refusal.message


def test_candidates_that_the_api_does_not_grant() -> None:
    """Releases whose image the JWT does not open are no candidates, nor lesser ones."""

    def some(url: str) -> Answer:
        asked_for = [scope.split(":")[1] for scope in Sent(url, None).scopes]
        return answer({"token": jwt(pullable(asked_for[:2]))})

    issued, _ = issue_tagged(request_for("org/app"), {TOKEN: some})
    many = token_of(issued).aliases.candidates["org/app"]
    assert set(many.locations) == set(PLACES[:2])
    assert not many.is_whole


def test_target_that_is_refused() -> None:
    """It is carried as a refusal beside the others, and the client soon asks again."""
    loose = rows({**APPLICATION, "should_be_running__release": []})
    issued, network = issue_tagged(request_for("org/app"), {TARGETS: loose})
    assert (issued.resolutions, issued.refusals) == ((), {})
    assert issued.tagged == {"org/app": 3}
    assert len(network.sent) == 3
    token = token_of(issued)
    assert len(token.aliases.candidates["org/app"]) == 3
    refusal = token.refusal("org/app")
    assert refusal
    assert "its newest are 1.2.0, 1.1.0, 1.0.0" in refusal.message
    assert json.loads(issued.body)["expires_in"] == 60


def test_long_token_is_asked_for_again_with_fewer() -> None:
    """Servers take headers of 8 kB (nginx, Node.js), so the token keeps within that."""
    finals = [release_at(n, f"1.{n}.0") for n in range(60, 0, -1)]
    many = rows({**target_row(finals[0]), "owns__release": finals})

    def long(url: str) -> Answer:
        scopes = [scope.split(":")[1] for scope in Sent(url, None).scopes]
        return answer({"token": jwt(pullable(scopes), sub="x" * 2000)})

    issued, network = issue_tagged(
        request_for("org/app"), {TARGETS: many, TOKEN: long}, 60
    )
    text = json.loads(issued.body)["token"]
    assert len(f"Authorization: Bearer {text}") <= HEADER_LENGTH_MAX
    assert 10 < issued.tagged["org/app"] < 36
    assert network.count(TOKEN) == 2


def test_tags_are_remembered() -> None:
    """What tags select is remembered as a name is, stale answers included."""
    now, failing = 0.0, False

    def application(_: str) -> Answer:
        return answer({}, 500) if failing else rows(APPLICATION)

    network = FakeTransport({**NETWORK, TARGETS: application})
    cache = ResolutionCache(300, clock=lambda: now)
    upstream = Upstream(REGISTRY, None, network)
    service = TokenService(upstream, cache, timeout=10, tags=20)

    def state() -> str:
        return asyncio.run(service.answer(request_for("org/app"))).states["org/app"]

    assert [state(), state()] == ["miss", "hit"]
    assert network.count(TARGETS) == 1
    now, failing = 301.0, True
    assert state() == "stale"
    (entry,) = cache.entries()
    assert str(entry.outcome) == "1.0.0 (commit 0000000) -> v2/0000..."
    # For somebody who wants to know, a name without selector is the target release.
    issued = asyncio.run(service.look_up("org/app", request_for().credential))
    assert issued.location == PLACES[0]
    service.close()
