"""Where a blob is looked for, who sees the token, and when nobody is asked."""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pytest

from resolver.errors import RedirectRefused, ServiceUnavailable
from resolver.storage.address import Addresses, parse_allowed
from resolver.storage.redirect import ANSWERS_MIN, Redirects
from resolver.symptom import Role
from resolver.upstream.deadline import Deadline
from resolver.upstream.host import Hosts as KnownHosts
from resolver.upstream.transport import Answer
from tests.resolver.fake import DIGEST, LOCATION, REGISTRY, REGISTRY_HOST, SOON

PATH = f"/v2/{LOCATION}/blobs/{DIGEST}"
BLOB = f"{REGISTRY}{PATH}"
TOKEN = "Bearer head.payload.signature"
STORED = "https://s3.example.com/data?Signature=abc"


class Search(NamedTuple):
    """A request for a blob that was made."""

    method: str
    url: str
    authorization: str | None


class Hosts:
    """Answers by URL: with a redirect to what stands there, a status or an error."""

    def __init__(self, answers: Mapping[str, str | int | Exception]) -> None:
        self.answers = dict(answers)
        self.asked: list[Search] = []
        self.redirect = 307

    def search(
        self,
        url: str,
        *,
        method: str,
        authorization: str | None,
        deadline: Deadline,  # noqa: ARG002 - the real one's signature
    ) -> Answer:
        """Note the request, and answer it."""
        self.asked.append(Search(method, url, authorization))
        answer = self.answers[url]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            return Answer(answer, {}, b"")
        return Answer(self.redirect, {"Location": answer}, b"")


def following(hosts: Hosts, registry: str = REGISTRY) -> Redirects:
    """Return what follows the redirects of the registry; every name is on the net."""
    known = KnownHosts(look_up=lambda _host, _port: ["8.8.8.8"])
    addresses = Addresses(REGISTRY_HOST, parse_allowed(""), known)
    return Redirects(registry, addresses, hosts)


def find(redirects: Redirects, method: str = "GET") -> str | None:
    """Return the URL at which the blob is found."""
    route = redirects.find(method, PATH, TOKEN, SOON)
    return route.destination.text if route else None


def test_registry_that_sends_blobs_itself_is_asked_no_more() -> None:
    """After a few answers a blob costs nothing beside itself, until one redirects."""
    hosts = Hosts({BLOB: 206})
    redirects = following(hosts)
    assert [find(redirects) for _ in range(10)] == [None] * 10
    assert len(hosts.asked) == ANSWERS_MIN
    hosts.answers |= {BLOB: STORED, STORED: 206}
    assert find(redirects) is None
    redirects.saw_redirect(None, "GET")
    assert find(redirects) == STORED


def test_registry_that_redirects_is_always_asked() -> None:
    """Some send small blobs themselves; a storage is asked until it is known."""
    hosts = Hosts({BLOB: STORED, STORED: 206})
    redirects = following(hosts)
    assert [find(redirects) for _ in range(10)] == [STORED] * 10
    hosts.answers[BLOB] = 206
    assert [find(redirects) for _ in range(10)] == [None] * 10
    urls = [search.url for search in hosts.asked]
    assert (urls.count(BLOB), urls.count(STORED)) == (20, ANSWERS_MIN)


def test_methods_are_known_apart() -> None:
    """A registry may answer HEAD itself and redirect GET; a URL is for one of them."""
    hosts = Hosts({BLOB: 200})
    redirects = following(hosts)
    for _ in range(ANSWERS_MIN):
        find(redirects, "HEAD")
    hosts.answers |= {BLOB: STORED, STORED: 206}
    assert find(redirects) == STORED
    assert find(redirects, "HEAD") is None


@pytest.mark.parametrize("status", [404, 503, 302])
def test_error_is_the_registry_s_own_affair(status: int) -> None:
    """It answers the client itself, and says nothing about what it does with blobs."""
    hosts = Hosts({BLOB: status})
    redirects = following(hosts)
    assert [find(redirects) for _ in range(ANSWERS_MIN + 1)] == [None] * 4
    assert len(hosts.asked) == ANSWERS_MIN + 1


OWN = f"{REGISTRY}/storage/x"
BESIDE = f"{REGISTRY}:8443/x"


@pytest.mark.parametrize(
    ("redirects", "logins", "is_registry"),
    [
        ({BLOB: STORED, STORED: 206}, [TOKEN, None], False),
        ({BLOB: "/storage/x", OWN: 206}, [TOKEN, TOKEN], True),
        # What somebody else says about the registry is not said with its token.
        ({BLOB: STORED, STORED: OWN, OWN: 206}, [TOKEN, None, None], False),
        # A token is for one server, and another one may listen beside it.
        ({BLOB: BESIDE, BESIDE: 206}, [TOKEN, None], False),
    ],
    ids=["storage", "registry itself", "back to the registry", "another port"],
)
def test_token_goes_to_the_registry_alone(
    redirects: Mapping[str, str | int],
    logins: Sequence[str | None],
    *,
    is_registry: bool,
) -> None:
    """The registry gets its token again, from its own redirect; nobody else (T3)."""
    hosts = Hosts(redirects)
    route = following(hosts).find("GET", PATH, TOKEN, SOON)
    (*_, last) = redirects
    assert hosts.asked == [
        Search("GET", url, login) for url, login in zip(redirects, logins, strict=True)
    ]
    assert route is not None
    assert (route.destination.text, route.is_registry) == (last, is_registry)
    assert route.addresses == ["8.8.8.8"]


@pytest.mark.parametrize(
    ("registry", "first", "second"),
    [
        (REGISTRY, "http://s3.example.com/x?Signature=def", ""),
        ("http://registry2.example.com", STORED, "http://s3.example.com/x?Signature=d"),
    ],
)
def test_tls_is_not_left(
    registry: str, first: str, second: str, caplog: pytest.LogCaptureFixture
) -> None:
    """From https nothing leads to http, and no URL is in the log (T11, R15)."""
    caplog.set_level(logging.DEBUG)
    hosts = Hosts({f"{registry}{PATH}": first, first: second})
    with pytest.raises(RedirectRefused):
        find(following(hosts, registry))
    assert "it leads from https to http, at s3.example.com" in caplog.text
    assert "Signature" not in caplog.text


@pytest.mark.parametrize(
    ("silent", "role", "said"),
    [
        (BLOB, Role.REGISTRY, "it does not answer"),
        (STORED, Role.STORAGE, "the storage of the registry does not answer"),
    ],
)
def test_who_does_not_answer(silent: str, role: Role, said: str) -> None:
    """The client is told of the storage, as if it had gone there itself."""
    error = ServiceUnavailable("it does not answer")
    error.cause = "it refuses the connection"
    with pytest.raises(ServiceUnavailable) as failed:
        find(following(Hosts({BLOB: STORED} | {silent: error})))
    assert failed.value.role is role
    assert said in failed.value.message


@pytest.mark.parametrize(
    ("answer", "is_granted", "place"),
    [
        (206, True, None),
        (200, True, None),
        (STORED, True, STORED),
        (401, False, None),
        (404, False, None),
        (503, False, None),
    ],
)
def test_registry_is_asked_for_permission(
    answer: str | int, place: str | None, *, is_granted: bool
) -> None:
    """Each time, also one that never redirects (rule C2)."""
    hosts = Hosts({BLOB: 206, STORED: 206})
    redirects = following(hosts)
    for _ in range(ANSWERS_MIN):
        find(redirects)
    hosts.answers[BLOB] = answer
    hosts.asked.clear()
    permission = redirects.ask(PATH, TOKEN, SOON)
    assert permission.is_granted == is_granted
    assert (permission.route and permission.route.destination.text) == place
    assert hosts.asked[0] == ("GET", BLOB, TOKEN)


@pytest.mark.parametrize("status", [206, 401, 404])
@pytest.mark.parametrize("again", [f"{BLOB}/", f"https://other.example.com{PATH}"])
def test_redirect_of_everybody_is_no_permission(again: str, status: int) -> None:
    """A registry that sends all elsewhere, as from HTTP to TLS, decides there."""
    hosts = Hosts({BLOB: again, again: status})
    redirects = following(hosts)
    for _ in range(2 * ANSWERS_MIN):
        assert redirects.ask(PATH, TOKEN, SOON).is_granted == (status == 206)
    hosts.answers[again] = STORED
    hosts.answers[STORED] = 403
    assert redirects.ask(PATH, TOKEN, SOON).is_granted


@pytest.mark.parametrize("status", [206, 200, 401, 403, 404])
def test_redirect_to_a_login_is_no_permission(status: int) -> None:
    """Where a registry may send those who are to log in, it counts what is there."""
    hosts = Hosts({BLOB: STORED, STORED: status})
    hosts.redirect = 302
    assert following(hosts).ask(PATH, TOKEN, SOON).is_granted == (status < 300)
