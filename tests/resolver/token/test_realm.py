"""Requests for tokens go to the realm of the registry's own challenge, or nowhere."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import closing

import pytest

from resolver.errors import EndpointUnknown, RealmRefused, ServiceUnavailable
from resolver.token.answer import TokenAnswer
from resolver.token.realm import Realms, TokenRelay
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


def test_challenge_teaches() -> None:
    """A new realm counts, but not one for a token that was not good."""
    network = Granting({})
    realms = Realms(REGISTRY, (), network)
    found = []
    for header in (
        bearer(),
        bearer("https://later.example.com/token", "invalid_token"),
        'Basic realm="x"',
        bearer("https://other.example.com/token"),
    ):
        realms.heed(header)
        found.append(realms.find([], Deadline.after(1)))
    assert found == [REALM, REALM, REALM, "https://other.example.com/token"]
    assert not network.sent
