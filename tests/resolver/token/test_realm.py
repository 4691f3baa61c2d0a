"""Requests for tokens go to the realm of the registry's own challenge, or nowhere."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import closing
from threading import Event
from typing import Any

import pytest

from resolver.errors import EndpointUnknown, RealmRefused, ServiceUnavailable
from resolver.token.answer import TokenAnswer
from resolver.token.realm import NAMES_MAX, Realms, TokenRelay
from resolver.token.request import TokenRequest, parse_any_form, parse_any_query
from resolver.upstream.deadline import Deadline
from resolver.upstream.observer import ApiRequest, Contact, Failure, Part
from resolver.upstream.transport import Answer
from tests.resolver.fake import FakeTransport, Notes, Reply, answer, basic, challenged

REGISTRY = "https://registry.example.com"
REALM = "https://auth.example.com/token"
LOGIN = basic("u", "made-up-password")
FORM = "application/x-www-form-urlencoded"
ISSUED = answer({"token": "opaque", "refresh_token": "also"})
NAME = "library/hello"


def bearer(realm: str = REALM, error: str = "") -> str:
    """Return a challenge."""
    return f'Bearer realm="{realm}",service="r"' + (f',error="{error}"' * bool(error))


class Granting(FakeTransport):
    """Passes requests for tokens on, and notes what went along."""

    def __init__(self, replies: Mapping[str, Reply]) -> None:
        super().__init__(replies)
        self.forms: list[bytes | None] = []

    def grant(
        self,
        url: str,
        *,
        authorization: str | None,
        form: bytes | None,
        deadline: Deadline,
    ) -> Answer:
        """Return what the dict says."""
        self.forms.append(form)
        return self.get(url, authorization=authorization, deadline=deadline)


def ask(
    network: Granting,
    request: TokenRequest,
    *,
    registry_url: str = REGISTRY,
    named: Collection[str] = (),
    notes: Notes | None = None,
) -> TokenAnswer:
    """Return what a client gets."""
    realms = Realms(registry_url, named, network)
    relay = TokenRelay(
        realms, registry_url, network, timeout=5, observer=notes or Notes()
    )
    with closing(relay):
        return asyncio.run(relay.answer(request))


def of[E](notes: Notes, kind: type[E]) -> list[E]:
    """Return the events of a kind."""
    return [event for event in notes.events if isinstance(event, kind)]


def request_for(name: str = NAME) -> TokenRequest:
    """Return the request of somebody who is logged in."""
    return parse_any_query(f"scope=repository:{name}:pull", LOGIN)


def network_with(realm: str = REALM, reply: Reply = ISSUED) -> Granting:
    """Return a registry with that realm, and what is answered there."""
    return Granting({f"{REGISTRY}/v2/": challenged(bearer(realm)), realm: reply})


@pytest.mark.parametrize(
    ("realm", "named", "url"),
    [
        (REALM, (), f"{REALM}?"),
        (f"{REGISTRY}/service/token", (), f"{REGISTRY}/service/token?"),
        (f"{REALM}?account=x#there", (), f"{REALM}?account=x&"),
        ("https://ghcr.io:8443/token", ["ghcr.io"], "https://ghcr.io:8443/token?"),
    ],
    ids=["domain", "host", "query", "named"],
)
def test_realm_is_asked(realm: str, named: Collection[str], url: str) -> None:
    """It is on the registry's host or below its domain, or was named."""
    network = network_with(realm.partition("#")[0])
    network.replies[f"{REGISTRY}/v2/"] = challenged(bearer(realm))
    network.replies = dict(reversed(network.replies.items()))
    found = ask(network, request_for(), named=named)
    assert found.body == ISSUED.body
    sent = network.sent[-1]
    assert sent.url == f"{url}scope=repository%3Alibrary%2Fhello%3Apull"
    assert sent.authorization == LOGIN


@pytest.mark.parametrize(
    ("realm", "words"),
    [
        ("https://tokens.example.net/token", "REALM_HOSTS=tokens.example.net"),
        ("https://com/token", "REALM_HOSTS=com"),
        ("https://registry.example.com.evil.net/", "REALM_HOSTS=registry.example.com."),
        ("http://auth.example.com/token", "without TLS, at auth.example.com"),
        ("http://registry.example.com/token", "without TLS"),
        ("/jwt/auth", "no URL with a host"),
        ("//auth.example.com/token", "no URL with a host"),
        ("https://u:p@auth.example.com/token", "no URL with a host"),
        ("https://registry.example.com@evil.net/token", "no URL with a host"),
        ("https://2130706433/token", "no URL with a host"),
        ("https://auth.example.com/a token", "no URL with a host"),
        ("https://auth.example.com:99999/token", "no URL with a host"),
        ("ftp://auth.example.com/token", "no URL with a host"),
        (f"https://auth.example.com/{'x' * 3000}", "no URL with a host"),
    ],
)
def test_login_goes_to_no_other_realm(realm: str, words: str) -> None:
    """What cannot be trusted is refused in words, and gets nothing (T14)."""
    network = network_with(realm)
    with pytest.raises(RealmRefused, match=words) as caught:
        ask(network, request_for())
    assert not network.forms
    assert all(sent.authorization is None for sent in network.sent)
    assert caught.value.message.isprintable()
    assert caught.value.status == 502


def test_named_realm_has_tls() -> None:
    """That its host is named is no reason to leave TLS (T14)."""
    network = network_with("http://ghcr.io/token")
    with pytest.raises(RealmRefused, match="without TLS"):
        ask(network, request_for(), named=["ghcr.io"])
    assert not network.forms


@pytest.mark.parametrize(
    "location", ["https://evil.net/", "/there", "", "http://[", "x:"]
)
def test_redirect_is_not_followed(location: str) -> None:
    """Whatever a redirect of the realm leads to, nothing is sent there (T14)."""
    redirect = answer({}, 307, {"Location": location})
    network = network_with(reply=redirect)
    with pytest.raises(RealmRefused, match="no login is sent after a redirect"):
        ask(network, request_for())
    assert len(network.forms) == 1


def test_form_goes_on_whole() -> None:
    """It has its login in itself, so no header has one."""
    form = b"grant_type=refresh_token&refresh_token=r&scope=repository%3Aa%3Apull&x="
    network = network_with()
    ask(network, parse_any_form(FORM, form))
    assert network.forms == [form]
    assert network.sent[-1].authorization is None
    assert network.sent[-1].url == REALM


@pytest.mark.parametrize(("status", "seen"), [(401, 401), (403, 403), (503, 503)])
def test_error_comes_back(status: int, seen: int) -> None:
    """Status, words and the time to wait are the realm's; what else it says is not."""
    headers = {"Retry-After": "7", "Set-Cookie": "a=b", "Warning": "\xff"}
    found = ask(
        network_with(reply=answer({"details": "no"}, status, headers)), request_for()
    )
    assert (found.status, found.body) == (seen, b'{"details": "no"}')
    assert list(found.headers) == [("Retry-After", "7")]
    assert found.server == "auth.example.com"


def test_no_token_is_told() -> None:
    """An answer without one is none."""
    with pytest.raises(ServiceUnavailable, match="without a token"):
        ask(network_with(reply=answer({"access_token": None})), request_for())


def test_registry_is_asked_once_more_by_name() -> None:
    """Where nothing is asked for at first, a repository may still need a token."""
    network = Granting(
        {
            f"{REGISTRY}/v2/{NAME}/": challenged(bearer()),
            f"{REGISTRY}/v2/": answer({}),
            REALM: ISSUED,
        }
    )
    assert ask(network, request_for()).body == ISSUED.body
    assert [sent.authorization for sent in network.sent] == [None, None, LOGIN]


@pytest.mark.parametrize("name", [NAME, "../../x", "UPPER"])
def test_registry_that_needs_no_token(name: str) -> None:
    """It is asked by no name that is none, and the client is told."""
    network = Granting({f"{REGISTRY}/v2/": answer({})})
    with pytest.raises(EndpointUnknown, match="asks for no token here"):
        ask(network, request_for(name))
    assert all(
        ".." not in sent.url and "UPPER" not in sent.url for sent in network.sent
    )


def test_registry_that_is_down() -> None:
    """Its failure is nobody else's."""
    notes, network = Notes(), Granting({f"{REGISTRY}/v2/": answer({}, 502)})
    with pytest.raises(ServiceUnavailable) as caught:
        ask(network, request_for(), notes=notes)
    assert caught.value.server == REGISTRY
    assert [each.part for each in of(notes, Failure)] == [Part.REGISTRY]


def test_realm_is_observed() -> None:
    """How long it takes is counted, as the API's time is."""
    notes = Notes()
    ask(network_with(), request_for(), notes=notes)
    assert len(of(notes, ApiRequest)) == 1
    assert [each.part for each in of(notes, Contact)] == [Part.API]


LATER = "https://later.example.com/token"
OTHER = "https://other.example.com/token"
REFUSED = "https://tokens.example.net/token"


@pytest.mark.parametrize("name", [None, NAME])
def test_challenge_teaches(name: str | None) -> None:
    """A new realm counts, but not one for a token that was not good."""
    network = Granting({})
    realms = Realms(REGISTRY, (), network)
    found = []
    for header in (
        bearer(LATER, "invalid_token"),
        bearer(),
        bearer(LATER, "invalid_token"),
        'Basic realm="x"',
        bearer(REFUSED),
        bearer(f"https://auth.example.com/{'x' * 3000}"),
        bearer(OTHER),
    ):
        realms.heed(header, name)
        found.append(realms.known(name))
    assert found == [None, *[REALM] * 5, OTHER]
    assert not network.sent


def test_each_name_has_its_realm() -> None:
    """No challenge for one repository says where the logins for another go (T14)."""
    realms = Realms(REGISTRY, (), Granting({}))
    realms.heed(bearer(LATER), "team-b/x")
    assert realms.known("team-a/x") is None
    realms.heed(bearer(), None)
    realms.heed(bearer(REFUSED), "team-c/x")
    assert realms.known("team-a/x") == REALM
    assert realms.known("team-b/x") == LATER
    with pytest.raises(RealmRefused):
        realms.known("team-c/x")
    realms.heed(bearer(OTHER), "team-c/x")
    assert realms.known("team-c/x") == OTHER
    assert realms.known(None) == REALM


def test_names_follow_the_realm_of_the_base() -> None:
    """A registry that moves its realm needs no challenge for each repository."""
    realms = Realms(REGISTRY, (), Granting({}))
    realms.heed(bearer(), NAME)
    for realm in (REALM, OTHER):
        realms.heed(bearer(realm), None)
        assert realms.known(NAME) == realm


def test_names_are_bounded() -> None:
    """Whoever asks for ever more names takes no more memory."""
    realms = Realms(REGISTRY, (), Granting({}))
    for number in range(NAMES_MAX + 10):
        realms.heed(bearer(), f"a/{number}")
    assert realms.known("a/9") is None
    assert realms.known("a/10") == REALM


def test_change_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A registry that names now this realm, now that one, does not fill the log."""
    caplog.set_level("INFO")
    realms = Realms(REGISTRY, (), Granting({}))
    for realm in (REALM, OTHER, REFUSED) * 5:
        realms.heed(bearer(realm), NAME)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "the registry registry.example.com names another realm than before",
        (
            "the registry registry.example.com names another realm than before, to"
            " which no login goes; the one before stays"
        ),
    ]


def test_first_name_counts() -> None:
    """A request for several repositories goes to the realm of the first one."""
    network = Granting({LATER: ISSUED, OTHER: ISSUED})
    realms = Realms(REGISTRY, (), network)
    realms.heed(bearer(LATER), "a/later")
    realms.heed(bearer(OTHER), "a/other")
    with closing(TokenRelay(realms, REGISTRY, network, timeout=5)) as relay:
        for names, realm in ((["later", "other"], LATER), (["other", "later"], OTHER)):
            scopes = "&".join(f"scope=repository:a/{name}:pull" for name in names)
            asyncio.run(relay.answer(parse_any_query(scopes, LOGIN)))
            assert network.sent[-1].url.startswith(realm)


def test_stranger_delays_nobody() -> None:
    """Where the realm is unknown, it is asked for in nobody's share and time."""
    is_asked, may_answer = Event(), Event()

    def base(_: str) -> Answer:
        is_asked.set()
        assert may_answer.wait(10)
        return challenged(bearer())

    network = Granting({f"{REGISTRY}/v2/": base, REALM: ISSUED})
    realms = Realms(REGISTRY, (), network)

    async def play(relay: TokenRelay) -> None:
        threads = relay._threads
        first = asyncio.create_task(relay.answer(request_for(), "192.0.2.1"))
        await asyncio.to_thread(is_asked.wait, 10)
        assert threads._shares._running_count == 1
        assert not threads._shares._running
        others = [
            asyncio.create_task(relay.answer(request_for(f"a/{n}"), f"192.0.2.{n}"))
            for n in range(2, 5)
        ]
        first.cancel()
        may_answer.set()
        for found in await asyncio.gather(*others):
            assert found.body == ISSUED.body

    with closing(TokenRelay(realms, REGISTRY, network, timeout=5)) as relay:
        asyncio.run(play(relay))
    assert network.count(f"{REGISTRY}/v2/") == 1


def test_known_realm_takes_no_thread() -> None:
    """Whoever has used up its share of the threads holds up no other's request."""
    network = Granting({REALM: ISSUED})
    realms = Realms(REGISTRY, (), network)
    realms.heed(bearer(), None)
    relay = TokenRelay(realms, REGISTRY, network, timeout=5)
    taken: list[object] = []
    run = relay._threads.run

    async def noted(function: Any, *arguments: Any, **parties: Any) -> Any:
        taken.append(function)
        return await run(function, *arguments, **parties)

    with closing(relay):
        relay._threads.run = noted  # type: ignore[method-assign,assignment]
        asyncio.run(relay.answer(request_for(), "192.0.2.1"))
    assert taken == [relay._grant]


def test_refused_realm_is_the_registry_s() -> None:
    """It is told and counted as a fault of the registry, also where it was known."""
    notes, network = Notes(), Granting({})
    realms = Realms(REGISTRY, (), network)
    realms.heed(bearer(REFUSED), NAME)
    relay = TokenRelay(realms, REGISTRY, network, timeout=5, observer=notes)
    with closing(relay), pytest.raises(RealmRefused) as caught:
        asyncio.run(relay.answer(request_for()))
    assert caught.value.server == REGISTRY
    assert [each.part for each in of(notes, Failure)] == [Part.REGISTRY]
