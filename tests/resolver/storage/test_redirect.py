"""Where a blob is looked for, who sees the token, and when nobody is asked."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import pytest

from resolver.errors import RedirectRefused, ServiceUnavailable
from resolver.storage.address import parse_allowed
from resolver.storage.border import Border
from resolver.storage.redirect import ANSWERS_MIN, REDIRECTS_MAX, Redirects, make_border
from resolver.upstream.deadline import Deadline
from resolver.upstream.transport import Answer
from tests.resolver.fake import DIGEST, LOCATION, REGISTRY, REGISTRY_HOST, SOON

PATH = f"/v2/{LOCATION}/blobs/{DIGEST}"
BLOB = f"{REGISTRY}{PATH}"
TOKEN = "Bearer head.payload.signature"
STORED = "https://s3.example.com/data?Signature=abc"


@dataclass(frozen=True, slots=True)
class Searched:
    """A request for a blob that was made."""

    method: str
    url: str
    authorization: str | None


class Hosts:
    """Answers by URL: with a redirect to what stands there, or with a status."""

    def __init__(self, answers: Mapping[str, str | int]) -> None:
        self.answers = dict(answers)
        self.asked: list[Searched] = []

    def search(
        self,
        url: str,
        *,
        method: str,
        authorization: str | None,
        deadline: Deadline,  # noqa: ARG002 - the real one's signature
    ) -> Answer:
        """Note the request, and answer it."""
        self.asked.append(Searched(method, url, authorization))
        answer = self.answers[url]
        if isinstance(answer, int):
            return Answer(answer, {}, b"")
        return Answer(307, {"Location": answer}, b"")


def following(hosts: Hosts, registry: str = REGISTRY) -> Redirects:
    """Return what follows the redirects of the registry; every name is on the net."""
    border = Border(
        REGISTRY_HOST, parse_allowed(""), look_up=lambda _host, _port: ["8.8.8.8"]
    )
    return Redirects(registry, border, hosts)


def find(redirects: Redirects, method: str = "GET") -> str | None:
    """Return the URL at which the blob is found."""
    route = redirects.find(method, PATH, TOKEN, SOON)
    return route.destination.url if route else None


def test_storage_gets_no_token() -> None:
    """The token goes to the registry, and to nobody that it names (T3)."""
    hosts = Hosts({BLOB: STORED, STORED: 206})
    route = following(hosts).find("GET", PATH, TOKEN, SOON)
    assert hosts.asked == [
        Searched("GET", BLOB, TOKEN),
        Searched("GET", STORED, None),
    ]
    assert route is not None
    assert (route.destination.url, route.address) == (STORED, "8.8.8.8")
    assert not route.is_registry


def test_registry_that_sends_blobs_itself_is_asked_no_more() -> None:
    """After a few answers without a redirect a blob costs nothing beside itself."""
    hosts = Hosts({BLOB: 206})
    redirects = following(hosts)
    assert [find(redirects) for _ in range(10)] == [None] * 10
    assert len(hosts.asked) == ANSWERS_MIN


def test_registry_that_redirects_is_always_asked() -> None:
    """Some send small blobs themselves, so one redirect counts for ever."""
    hosts = Hosts({BLOB: STORED, STORED: 206})
    redirects = following(hosts)
    assert find(redirects) == STORED
    hosts.answers[BLOB] = 206
    assert [find(redirects) for _ in range(10)] == [None] * 10
    hosts.answers[BLOB] = STORED
    assert find(redirects) == STORED


def test_storage_is_asked_until_it_is_known() -> None:
    """A storage that answers is asked no more, and the registry for each blob."""
    hosts = Hosts({BLOB: STORED, STORED: 206})
    redirects = following(hosts)
    assert [find(redirects) for _ in range(10)] == [STORED] * 10
    assert [one.url for one in hosts.asked].count(BLOB) == 10
    assert [one.url for one in hosts.asked].count(STORED) == ANSWERS_MIN


def test_methods_are_known_apart() -> None:
    """A registry may answer HEAD itself and redirect GET; a URL is for one of them."""
    hosts = Hosts({BLOB: 200})
    redirects = following(hosts)
    for _ in range(ANSWERS_MIN):
        find(redirects, "HEAD")
    hosts.answers |= {BLOB: STORED, STORED: 206}
    assert find(redirects) == STORED
    assert find(redirects, "HEAD") is None


def test_redirect_that_nobody_expected() -> None:
    """Once one was seen elsewhere, the host is asked again."""
    hosts = Hosts({BLOB: 206})
    redirects = following(hosts)
    for _ in range(ANSWERS_MIN):
        find(redirects)
    hosts.answers |= {BLOB: STORED, STORED: 206}
    assert find(redirects) is None
    redirects.saw_redirect(None, "GET")
    assert find(redirects) == STORED


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503, 302])
def test_error_is_the_registry_s_own_affair(status: int) -> None:
    """It answers the client itself, and says nothing about what it does with blobs."""
    hosts = Hosts({BLOB: status})
    redirects = following(hosts)
    for _ in range(ANSWERS_MIN + 1):
        assert find(redirects) is None
    assert len(hosts.asked) == ANSWERS_MIN + 1


@pytest.mark.parametrize("count", [REDIRECTS_MAX, REDIRECTS_MAX + 1])
def test_redirects_in_a_row(count: int, caplog: pytest.LogCaptureFixture) -> None:
    """Each is checked and followed, up to a few (T11)."""
    urls = [BLOB, *(f"https://s{number}.example.com/x" for number in range(count))]
    answers: dict[str, str | int] = dict(pairwise(urls))
    hosts = Hosts(answers | {urls[-1]: 206})
    if count <= REDIRECTS_MAX:
        assert find(following(hosts)) == urls[-1]
        return
    with pytest.raises(RedirectRefused):
        find(following(hosts))
    assert len(hosts.asked) == count
    assert f"more than {REDIRECTS_MAX} in a row" in caplog.text


def test_redirect_to_itself_ends() -> None:
    """A circle is left like any other row that is too long."""
    hosts = Hosts({BLOB: PATH})
    with pytest.raises(RedirectRefused):
        find(following(hosts))


def test_redirect_within_the_registry() -> None:
    """The registry itself gets its token again, also from its own redirect."""
    other = f"{REGISTRY}/storage/x"
    hosts = Hosts({BLOB: "/storage/x", other: 206})
    route = following(hosts).find("GET", PATH, TOKEN, SOON)
    assert [one.authorization for one in hosts.asked] == [TOKEN, TOKEN]
    assert route is not None
    assert (route.destination.url, route.is_registry) == (other, True)


def test_redirect_back_to_the_registry() -> None:
    """What somebody else says about the registry is not said with its token (T3)."""
    back = f"{REGISTRY}/storage/x"
    hosts = Hosts({BLOB: STORED, STORED: back, back: 206})
    route = following(hosts).find("GET", PATH, TOKEN, SOON)
    assert [one.authorization for one in hosts.asked] == [TOKEN, None, None]
    assert route is not None
    assert not route.is_registry


def test_other_port_of_the_registry_gets_no_token() -> None:
    """A token is for one server, and another one may listen beside it (T3)."""
    beside = f"{REGISTRY}:8443/x"
    hosts = Hosts({BLOB: beside, beside: 206})
    route = following(hosts).find("GET", PATH, TOKEN, SOON)
    assert hosts.asked[-1] == Searched("GET", beside, None)
    assert route is not None
    assert (route.address, route.is_registry) == (None, False)


@pytest.mark.parametrize(
    ("registry", "first", "second"),
    [
        (REGISTRY, "http://s3.example.com/x", ""),
        ("http://registry2.example.com", STORED, "http://s3.example.com/x"),
    ],
)
def test_tls_is_not_left(
    registry: str, first: str, second: str, caplog: pytest.LogCaptureFixture
) -> None:
    """From https nothing leads to http, be the registry itself without TLS (T11)."""
    hosts = Hosts({f"{registry}{PATH}": first, first: second})
    with pytest.raises(RedirectRefused):
        find(following(hosts, registry))
    assert "it leads from https to http, at s3.example.com" in caplog.text


def test_inner_network_is_not_reached() -> None:
    """What the registry says leads to no address behind the proxy (T11)."""
    inner = "https://10.0.0.1/x"
    hosts = Hosts({BLOB: inner, inner: 206})
    border = make_border(REGISTRY, parse_allowed(""))
    with pytest.raises(RedirectRefused):
        Redirects(REGISTRY, border, hosts).find("GET", PATH, TOKEN, SOON)


def test_signature_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever becomes of a redirect, its URL is in no line (R15)."""
    caplog.set_level(logging.DEBUG)
    hosts = Hosts({BLOB: STORED, STORED: "http://s3.example.com/y?Signature=def"})
    with pytest.raises(ServiceUnavailable):
        find(following(hosts))
    assert "Signature" not in caplog.text
    assert "s3.example.com" in caplog.text
