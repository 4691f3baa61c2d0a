"""A token request is read strictly and answered with a token for all it can get."""

import asyncio
import json
import logging
import threading
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
    Reason,
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
from resolver.token.request import TokenRequest, parse_token_form, parse_token_query
from resolver.token.service import LOOK_UPS_MAX, SHARE, TokenService
from resolver.upstream.observer import Failure, Part
from resolver.upstream.registry import Upstream
from resolver.upstream.share import PARTY_WAITING_MAX
from resolver.upstream.transport import Answer
from tests.resolver.fake import (
    EXPIRES,
    ISSUED,
    LOCATION,
    REGISTRY,
    REGISTRY_HOST,
    SLUG,
    SOON,
    FakeTransport,
    Notes,
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


def request_for(*names: str, login: str | None = BASIC) -> TokenRequest:
    """Return a request for pulling from these repositories."""
    scopes = [("scope", f"repository:{name}:pull") for name in names]
    return parse_token_query(urlencode(scopes), login)


@contextmanager
def serving(
    network: FakeTransport, timeout: float = 10, tags: int = 0
) -> Iterator[TokenService]:
    """Yield the token endpoint of a proxy in that network."""
    upstream, cache = Upstream(REGISTRY, None, network), ResolutionCache(300)
    service = TokenService(upstream, cache, timeout=timeout, tags=tags)
    with closing(service):
        yield service


def issue(
    request: TokenRequest, replies: Mapping[str, Reply] | None = None, tags: int = 0
) -> tuple[TokenAnswer, FakeTransport]:
    """Return the answer to the request, and the network that it was asked of."""
    network = FakeTransport({**NETWORK, **(replies or {})})
    with serving(network, tags=tags) as service:
        return asyncio.run(service.answer(request)), network


def body_of(found: TokenAnswer) -> Any:
    """Return what the client reads."""
    return json.loads(found.body)


def token_of(found: TokenAnswer) -> Token:
    """Return the token in the answer."""
    return parse_token(body_of(found)["token"])


def test_alias_becomes_its_location() -> None:
    """The API is asked for the location, and the token carries the alias (R3, R4)."""
    issued, network = issue(request_for(f"{SLUG}/2.3.8"))
    assert location_of(token_of(issued), f"{SLUG}/2.3.8") == LOCATION
    body = body_of(issued)
    assert body["access_token"] == body["token"]
    assert body["expires_in"] == EXPIRES - ISSUED
    assert body["issued_at"] == "2026-11-23T17:24:52Z"
    assert [resolution.location for resolution in issued.resolutions] == [LOCATION]
    logins = [sent.authorization for sent in network.sent]
    assert (logins[0], logins[-1]) == (None, BASIC)
    assert network.sent[-1].query == [
        ("service", REGISTRY_HOST),
        ("scope", f"repository:{LOCATION}:pull"),
    ]


COUNTS = {
    "service=x&account=y": ([], 2),
    f"scope=repository:{LOCATION}:pull": ([LOCATION], 2),
    "scope=repository:resin/resinos:pull,push": (["resin/resinos"], 2),
    "scope=repository:org/app:push": ([LOCATION], 3),
    "scope=repository:a/b:pull&scope=repository:a/b:pull": ([LOCATION], 3),
    "scope=repository:a/b:pull+repository:a/b:*": ([LOCATION], 3),
    "scope=repository:a/b:pull+repository:c/d/2.3.8:pull": ([LOCATION], 4),
    f"scope=repository:a/b:pull%20repository:{LOCATION}:pull": ([LOCATION], 3),
    "scope=repository:a/b:pull&scope=repository:hidden/app:pull": ([LOCATION], 4),
    "scope=repository:app:pull": ([], 2),
    "scope=registry:catalog:*": ([], 2),
}


@pytest.mark.parametrize(("query", "expected"), COUNTS.items(), ids=ident)
def test_requests_are_counted(query: str, expected: tuple[list[str], int]) -> None:
    """Each alias costs one request, beside the registry's and the token's own."""
    _, network = issue(parse_token_query(query, None))
    names = [scope.split(":")[1] for scope in network.sent[-1].scopes]
    assert (names, len(network.sent)) == expected


BAD = {
    "app": "NAME_INVALID",
    "org/app/2.3.8+rev1": "NAME_INVALID",
    "org/äpp": "NAME_INVALID",
    "host:5000/org/app": "NAME_INVALID",
    "hidden/app": "DENIED",
    "hidden/app/2.3.8": "DENIED",
}


@pytest.mark.parametrize(("name", "code"), BAD.items(), ids=ident)
def test_bad_scope_does_not_sink_the_rest(name: str, code: str) -> None:
    """What cannot be pulled is carried beside the others, for a short time (R3)."""
    issued, network = issue(request_for("org/app", name, f"{SLUG}/2.3.8"))
    token = token_of(issued)
    for sound in ("org/app", f"{SLUG}/2.3.8"):
        assert location_of(token, sound) == LOCATION
    with pytest.raises(Refusal) as caught:
        location_of(token, name)
    assert caught.value.code == code
    assert set(issued.refusals) == {name}
    assert network.sent[-1].scopes == [f"repository:{LOCATION}:pull"]
    assert body_of(issued)["expires_in"] == 60


@pytest.mark.parametrize("tags", [0, 20])
def test_what_the_api_does_not_grant_is_denied(tags: int) -> None:
    """Only the token endpoint decides on permission, whatever was resolved."""
    empty = {"type": "repository", "name": LOCATION, "actions": []}
    granted = answer({"token": jwt([empty])})
    issued, _ = issue(
        request_for("org/app"), {TOKEN: granted, TARGETS: rows(APPLICATION)}, tags
    )
    with pytest.raises(AccessDenied):
        location_of(token_of(issued), "org/app")
    assert token_of(issued).aliases.candidates == {}
    assert issued.resolutions == ()


@pytest.mark.parametrize(
    ("login", "advice"),
    [
        (None, "docker login, any user name and a balena API key as password"),
        (BASIC, "a key that may see it"),
    ],
    ids=["anonymous", "logged in"],
)
@pytest.mark.parametrize("name", ["hidden/app", "org/app"])
def test_denial_advises_another_login(
    name: str, login: str | None, advice: str
) -> None:
    """Whoever has logged in need not be told how, only that this key is not enough."""
    granted = answer({"token": jwt([])})
    issued, _ = issue(request_for(name, login=login), {TOKEN: granted})
    said = f"{name} is private or does not exist: check its name, or log in with"
    assert issued.refusals[name].message == f"{said} {advice}"


@pytest.mark.parametrize("tags", [0, 20])
def test_opaque_token_is_passed_on(tags: int) -> None:
    """A token that is no JWT is passed on with its aliases, and without its times."""
    opaque = answer({"token": "opaque"})
    issued, _ = issue(request_for("org/app"), {TOKEN: opaque}, tags)
    assert token_of(issued).jwt == "opaque"
    assert token_of(issued).aliases.candidates == {"org/app": fixed(LOCATION)}
    assert body_of(issued).keys() == {"token", "access_token"}


@pytest.mark.parametrize(
    ("part", "reply", "error"),
    [
        (TOKEN, Answer(401, {}, b""), CredentialRejected),
        (TOKEN, answer({}, 429, {"Retry-After": "7"}), RateLimited),
        (TOKEN, answer({}, 500), ServiceUnavailable),
        (TOKEN, answer({"token": f"{jwt()}~e30"}), ServiceUnavailable),
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
    gate = threading.Event()

    def slowly(_: str) -> Answer:
        gate.wait(10)
        return challenged()

    network = FakeTransport({f"{REGISTRY}/v2/": slowly})
    with serving(network, timeout=0.02) as service:
        try:
            with pytest.raises(ServiceUnavailable, match=r"0\.02 seconds") as caught:
                asyncio.run(service.answer(request_for("org/app")))
            assert not network.count(TOKEN)
        finally:
            gate.set()
    assert caught.value.headers == (("Retry-After", "10"),)


def test_registry_service() -> None:
    """Our challenges name the registry's own service, asked once, or none (503)."""
    network = FakeTransport({"/v2/": ServiceUnavailable("down")})
    with serving(network) as service:
        with pytest.raises(ServiceUnavailable):
            asyncio.run(service.registry_service())
        own = 'Bearer realm="https://api.example.com/",service="own"'
        network.replies["/v2/"] = challenged(own)
        for _ in range(2):
            assert asyncio.run(service.registry_service()) == "own"
    assert len(network.sent) == 2


@pytest.mark.parametrize("content_type", [f"{FORM}; charset=utf-8", f"{FORM} ;x"])
@pytest.mark.parametrize(("user", "password"), [("", "k"), ("ü", "a&b=c")])
def test_password_grant(content_type: str, user: str, password: str) -> None:
    """A POST with user and password stands for a GET with Basic (R5)."""
    scope = "repository:a/b:pull repository:c/d:pull"
    form = {"grant_type": "password", "username": user, "password": password}
    body = urlencode({**form, "scope": scope, "service": "x"}).encode()
    issued = parse_token_form(content_type, body)
    assert issued.scopes == (Scope("a/b"), Scope("c/d"))
    assert issued.credential.authorization == basic(user, password)


PASSWORD = b"grant_type=password"


@pytest.mark.parametrize(
    ("content_type", "body", "error"),
    [
        (None, PASSWORD, RequestInvalid),
        (f"text/{FORM}", PASSWORD, RequestInvalid),
        (FORM, PASSWORD + b"&username=\xff", RequestInvalid),
        (FORM, PASSWORD + b"&scope=x" * 64, RequestInvalid),
        (FORM, b"", GrantUnsupported),
        (FORM, b"grant_type=%0d%0aX", GrantUnsupported),
        (FORM, b"grant_type=refresh_token", GrantUnsupported),
    ],
    ids=ident,
)
def test_form_is_refused(
    content_type: str | None, body: bytes, error: type[RegistryError]
) -> None:
    """Another type, an endless form and another grant are refused at once (R5)."""
    key = f"&refresh_token={KEY}".encode()
    with pytest.raises(error) as caught:
        parse_token_form(content_type, body + key)
    assert caught.value.message.isprintable()
    assert KEY not in caught.value.message


def test_secrets_are_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither request nor answer shows its secrets, and no log does (R15)."""
    caplog.set_level(logging.DEBUG)
    request = request_for("org/app", "hidden/app")
    issued, _ = issue(request)
    shown = f"{request} {issued} {issued.refusals} {caplog.text}"
    for secret in (KEY, BASIC.partition(" ")[2], jwt(), token_of(issued).jwt):
        assert secret not in shown


def release_at(number: int, raw_version: str) -> dict[str, Any]:
    """Return a release as the API shows it."""
    image = image_row(f"{number:032x}")
    return release_row(raw_version, 0, image, id=number, commit=f"{number:032x}")


RELEASED = [release_at(3, "1.2.0"), release_at(2, "1.1.0"), release_at(1, "1.0.0")]
APPLICATION = {**target_row(RELEASED[-1]), "owns__release": RELEASED}
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
    assert body_of(issued)["expires_in"] == 300


@pytest.mark.parametrize("beside", [(), ("org/app",)])
def test_selector_is_resolved_alone(beside: tuple[str, ...]) -> None:
    """A name beside its application is a tag's: the token is for that one (R9)."""
    issued, network = issue_tagged(request_for(*beside, "org/app/2.3.8"))
    assert len(network.sent) == 3
    assert network.sent[-1].scopes == [f"repository:{LOCATION}:pull"]
    assert token_of(issued).aliases.candidates == {"org/app/2.3.8": fixed(LOCATION)}
    assert body_of(issued)["expires_in"] == EXPIRES - ISSUED


CONTAINERD = Client("containerd/2.1.9+unknown")
MISSING = {"v7/release": rows(), TARGETS: rows(APPLICATION)}
DOCKER = Client("docker/28.5.2 go/go1.27 os/linux")
ABSENT = "org/app/9.9.9"
REFUSED = [
    ((ABSENT,), CONTAINERD, True),
    ((ABSENT, "a/b/c/d/e"), CONTAINERD, True),
    ((ABSENT, "org/app"), CONTAINERD, False),
    ((ABSENT, LOCATION), CONTAINERD, False),
    ((ABSENT, "org/other"), CONTAINERD, False),
    (("org/app",), CONTAINERD, False),
    ((), CONTAINERD, False),
    ((ABSENT,), DOCKER, False),
]


@pytest.mark.parametrize(("names", "client", "is_refused"), REFUSED, ids=ident)
def test_token_is_refused(
    names: tuple[str, ...], client: Client, *, is_refused: bool
) -> None:
    """A token good for nothing is refused where only that is shown (R8)."""
    issued, _ = issue_tagged(request_for(*names), MISSING)
    refusal = issued.refusal_for(client)
    assert (refusal is not None) is is_refused
    if refusal:
        messages = [each.message for each in issued.refusals.values()]
        assert refusal.message == "; ".join(messages)


def granting(count: int, **claims: object) -> Reply:
    """Return a token endpoint that grants no more than so many of the scopes."""

    def grant_some(url: str) -> Answer:
        names = [scope.split(":")[1] for scope in Sent(url, None).scopes]
        return answer({"token": jwt(pullable(names[:count]), **claims)})

    return grant_some


def test_candidates_that_the_api_does_not_grant() -> None:
    """Releases whose image the JWT does not open are no candidates, nor lesser ones."""
    issued, _ = issue_tagged(request_for("org/app"), {TOKEN: granting(2)})
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
    assert token.refusal("org/app")
    assert body_of(issued)["expires_in"] == 60


def test_long_token_is_asked_for_again_with_fewer() -> None:
    """Servers take headers of 8 kB (nginx, Node.js), so the token keeps within that."""
    finals = [release_at(n, f"1.{n}.0") for n in range(60, 0, -1)]
    many = rows({**target_row(finals[0]), "owns__release": finals})
    replies = {TARGETS: many, TOKEN: granting(60, sub="x" * 2000)}
    issued, network = issue_tagged(request_for("org/app"), replies, 60)
    text = body_of(issued)["token"]
    assert len(f"Authorization: Bearer {text}") <= HEADER_LENGTH_MAX
    assert 10 < issued.tagged["org/app"] < 36
    assert network.count(TOKEN) == 2


def test_too_many_requests_are_told_so() -> None:
    """Beyond the bound of one address the answer comes at once, and is counted."""
    gate, notes = threading.Event(), Notes()

    def slowly(url: str) -> Answer:
        gate.wait(10)
        return grant(url)

    network = FakeTransport({**NETWORK, TOKEN: slowly})
    upstream = Upstream(REGISTRY, None, network)

    async def play() -> list[TokenAnswer | BaseException]:
        tokens = TokenService(
            upstream, ResolutionCache(300), timeout=10, observer=notes
        )
        login = parse_token_query("", None)
        upstream.connect(SOON)
        with closing(tokens):
            asking = [
                asyncio.create_task(tokens.answer(login, "192.0.2.1"))
                for _ in range(SHARE + PARTY_WAITING_MAX + 1)
            ]
            refused = await asyncio.wait_for(
                asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED), 10
            )
            assert refused[0] == {asking[-1]}
            gate.set()
            return list(await asyncio.gather(*asking, return_exceptions=True))

    *answered, refused = asyncio.run(play())
    assert all(isinstance(each, TokenAnswer) for each in answered)
    assert isinstance(refused, ServiceUnavailable)
    assert refused.headers == (("Retry-After", "10"),)
    assert notes.events.count(Failure(Part.API, Reason.BUSY)) == 1


def test_nobody_waits_for_the_turn_of_another_address() -> None:
    """A name that one asks for whose share is used up is looked up for others."""
    gate = threading.Event()

    def slowly(_: str) -> Answer:
        gate.wait(10)
        return answer({"d": []})

    network = FakeTransport({"hanging": slowly, **NETWORK})

    async def play(tokens: TokenService) -> None:
        names = [f"hanging{number}/app/1.0.0" for number in range(SHARE)]
        busy = [
            asyncio.create_task(
                tokens.answer(request_for(name, login=None), "192.0.2.1")
            )
            for name in (*names, SLUG)
        ]
        while network.count("hanging") < SHARE:
            await asyncio.sleep(0)
        wanted = tokens.answer(request_for(SLUG, login=None), "192.0.2.2")
        found = await asyncio.wait_for(wanted, 10)
        assert [str(each.alias) for each in found.resolutions] == [SLUG]
        assert not any(task.done() for task in busy)
        gate.set()
        await asyncio.gather(*busy)

    with serving(network) as tokens:
        try:
            asyncio.run(play(tokens))
        finally:
            gate.set()


def test_others_of_a_request_that_fails_are_not_asked_for() -> None:
    """Nobody waits for them: the client is told at once, and asks again."""
    network = FakeTransport({**NETWORK, RELEASES: answer({}, 429)})

    async def play(tokens: TokenService) -> None:
        names = [f"org/app/{number}.0.0" for number in range(32)]
        with pytest.raises(RateLimited):
            await tokens.answer(request_for(*names))
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*rest, return_exceptions=True)

    with serving(network) as tokens:
        asyncio.run(play(tokens))
    assert network.count(RELEASES) <= 2 * LOOK_UPS_MAX
