"""Whatever the registry answers, clients see the alias and are led to the proxy."""

import re
from html import unescape
from urllib.parse import unquote, urljoin, urlsplit

from hypothesis import example, given
from hypothesis import strategies as st
from mitmproxy.http import Request

from resolver.content.answer import View
from resolver.errors import RedirectRefused, ServiceUnavailable
from resolver.grammar.challenge import Challenge, parse_challenge
from resolver.grammar.reference import Location
from resolver.storage.url import Url, parse_redirect
from resolver.upstream.registry import Upstream
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import WIRE, check_shown, mutated
from tests.resolver.fake import (
    API,
    CHALLENGE,
    HASH,
    LOCATION,
    REGISTRY,
    REGISTRY_HOST,
    SOON,
    FakeTransport,
    challenged,
)

ALIAS = "org/app/2.3.8"
PROXY = "http://localhost:8080"
REALM = f"{PROXY}/auth/v1/token"
STORED = f"{HASH}-1"
VIEW = View(PROXY, REALM, REGISTRY_HOST, ALIAS, Location(f"v2/{STORED}"))
WITHOUT_TOKEN = View(PROXY, REALM, REGISTRY_HOST, ALIAS)
SLASHES = ("/", "\\/", "%2F", "%2f", "%252F", "\\u002f", "&#47;", "&#x2F;", "//", "\\")
NAMED = st.sampled_from([*(f"v2{slash}{STORED}" for slash in SLASHES), STORED])
URL_PIECES = (
    *("<", ">", ",", ";", ' rel="next"', "/", "//", "///", "\\", ":", "@", "?", "#"),
    *("http:", "https://", REGISTRY_HOST, f"u:p@{REGISTRY_HOST}:443", "[", "]", "%"),
    *("evil.example", "//evil.example", "\t", "é", STORED, f"v2/{STORED}", ".", "\0"),
)
HEADERS = st.sampled_from(
    ["Link", "Content-Location", "WWW-Authenticate", "ETag", "X-Name", "Docker-Digest"]
)


def decode(text: str) -> str:
    """Return the text without all the escaping that a client could undo."""
    for _ in range(2):
        text = unescape(unquote(text.replace("\\/", "/").replace("\\u002f", "/")))
    return text


@given(HEADERS, WIRE, NAMED, WIRE, NAMED)
@FUZZ
def test_location_is_in_no_header(
    name: str, before: str, first: str, between: str, second: str
) -> None:
    """However a location is escaped in a header, the alias stands there (R2)."""
    shown = VIEW.header(name, f"{before}{first}{between}{second}")
    assert STORED not in shown + decode(shown)
    assert ALIAS in shown or name == "WWW-Authenticate"


@given(st.binary(max_size=40), NAMED, st.binary(max_size=40), NAMED)
@FUZZ
def test_location_is_in_no_body(
    before: bytes, first: str, between: bytes, second: str
) -> None:
    """However a location is escaped in a body, the rest of it stays as it is (R2)."""
    shown = VIEW.body(before + first.encode() + between + second.encode())
    assert STORED not in decode(shown.decode("latin-1"))
    pattern = rb"(?:v2.{0,6})?%b" % re.escape(ALIAS.encode())
    kept = re.escape(before), re.escape(between), b""
    assert re.fullmatch(pattern.join(kept), shown, re.DOTALL)


LINKS = st.sampled_from(
    [
        f'</v2/v2/{STORED}/tags/list?last=a&n=1>; rel="next"',
        f"<https://{REGISTRY_HOST}/v2/v2/{STORED}/tags/list>; rel=next, <//b/y>",
        "<https://other.example//evil.example/x>; rel=prev",
    ]
)


@given(mutated(LINKS, URL_PIECES))
@FUZZ
def test_link_stays_on_the_proxy(value: str) -> None:
    """No link leads anywhere but to the proxy, or on from where it stands (R10)."""
    shown = VIEW.header("Link", value)
    assert STORED not in shown
    for link in re.findall("<([^>]*)", shown):
        reached = urlsplit(urljoin(f"{PROXY}/v2/{ALIAS}/tags/list", link))
        assert f"{reached.scheme}://{reached.netloc}" == PROXY


PIECES = (
    *("Bearer ", "bearer\t", "BEARER", "Bearer", 'realm="x"', "realm=x", "realm=", ","),
    *('"', "\\", '\\"', "=", " ", "  ", ";", ", ", "\0", "é", "service=", "https://"),
    *(LOCATION, HASH, "Basic ", f'Bearer realm="{API}"', "," * 50, " " * 50, "\\" * 50),
)
CHALLENGES = mutated(
    st.sampled_from(
        [
            CHALLENGE,
            f'Basic realm="x", {CHALLENGE}, Digest realm=y',
            f'bEARER realm="{API}",error = "insufficient_scope",service="a\\"b"',
        ]
    ),
    PIECES,
) | WIRE.map("Bearer {}".format)


@given(CHALLENGES, st.sampled_from([VIEW, WITHOUT_TOKEN]))
@FUZZ
def test_realm_is_ours_whatever_comes(header: str, view: View) -> None:
    """A header with anything of Bearer in it becomes one challenge with our realm."""
    challenge = parse_challenge(header)
    if challenge:
        assert parse_challenge(str(challenge)) == challenge
    shown = view.header("WWW-Authenticate", header)
    if "bearer" not in header.lower():
        assert challenge is None
        assert "bearer" not in shown.lower()
        return
    ours = parse_challenge(shown)
    assert ours
    assert str(ours) == shown
    assert ours.realm == REALM
    if not challenge:
        assert ours == Challenge(REALM, REGISTRY_HOST)
    elif HASH not in header:
        assert (ours.service, ours.error) == (challenge.service, challenge.error)


ORIGIN = re.compile(r"https?://([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?", re.ASCII)
REALMS = mutated(
    st.sampled_from(
        [f"{API}/auth/v1/token", "http://api/t", "//a/b", "https://[::1]/"]
    ),
    ("/", "@", "user:key@", ":", ":99999", "[", "]", "%", "?", "#", "\\", "\t", "é"),
)


@example(str(Challenge("https://api:99999/", "r")), REGISTRY)
@given(
    CHALLENGES | REALMS.map(lambda realm: str(Challenge(realm, "r"))),
    st.sampled_from([REGISTRY, "http://registry2.example.com"]),
)
@FUZZ
def test_registry_names_a_sound_api_or_none(header: str, registry_url: str) -> None:
    """Keys are sent to the API of the registry's challenge, with TLS, or nowhere."""
    upstream = Upstream(registry_url, None, FakeTransport({"/v2/": challenged(header)}))
    try:
        backend = upstream.connect(SOON)
    except ServiceUnavailable as error:
        check_shown(error)
        assert upstream.backend is None
        return
    url, challenge = backend.api.url, parse_challenge(header)
    assert challenge
    assert url.partition("://")[2] in re.sub(r"[\t\r\n]", "", challenge.realm)
    assert ORIGIN.fullmatch(url)
    assert url.startswith("https:") or registry_url.startswith("http:")
    assert backend.service == (challenge.service or REGISTRY_HOST)


ORIGINS = st.sampled_from(
    [
        Url("https", "registry2.example.com", 443, "/v2/a/b/blobs/x"),
        Url("http", "registry2.example.com", 5000, "/v2/a/b/blobs/x"),
    ]
)
SAMPLES = st.sampled_from(
    [
        "https://s3.example.com/data?X-Amz-Signature=abc%2F&b=c#d",
        "https://s3.example.com:8443/data;x?y",
        "https://[2606:4700::1]:8443/data",
        "http://127.0.0.1:80/data",
        "//s3.example.com/data",
        "/data?y",
    ]
)
REDIRECT_PIECES = (
    *(*URL_PIECES, "::", "\r\n", "%2e", "%00", "0x7f", "127.1", ":0", " ", "file:"),
    *("user:secret@", "[::ffff:127.0.0.1]", "[fe80::1%25eth0]", "2130706433"),
)


@given(mutated(SAMPLES, REDIRECT_PIECES) | WIRE, ORIGINS)
@FUZZ
def test_redirect_is_sound_or_refused(location: str, origin: Url) -> None:
    """What is followed means the same to every library on the way (T11)."""
    try:
        found = parse_redirect(location, origin)
    except RedirectRefused as refused:
        check_shown(refused)
        return
    assert found.scheme == "https" or origin.scheme == found.scheme == "http"
    assert found.path.startswith("/")
    assert found.path.isascii()
    assert found.path.isprintable()
    assert " " not in found.path
    read = urlsplit(found.text)
    assert (read.scheme, read.hostname, read.username) == (*found.origin[:2], None)
    request = Request.make("GET", found.text)
    assert (request.scheme, request.host, request.port) == found.origin
    assert request.path == found.path
