"""Whatever the registry answers, no client sees a location, and links stay with us."""

import json
import re
from contextlib import suppress
from html import unescape
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from resolver.content.answer import View
from resolver.grammar.reference import Location
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import WIRE, mutated
from tests.resolver.fake import HASH, LOCATION, REGISTRY_HOST

ALIAS = "org/app/2.3.8"
PROXY = "http://localhost:8080"
VIEW = View(
    PROXY, f"{PROXY}/auth/v1/token", REGISTRY_HOST, ALIAS, Location(f"{LOCATION}-1")
)
STORED = f"{HASH}-1"
SLASHES = ("/", "\\/", "%2F", "%2f", "%252F", "\\u002f", "&#47;", "&#x2F;", "//", "\\")
NAMED = st.sampled_from([*(f"v2{slash}{STORED}" for slash in SLASHES), STORED])
PIECES = (
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
    assert STORED.encode() not in shown
    assert STORED not in decode(shown.decode("latin-1"))
    start, middle, end = (part.encode() for part in ("v2", ALIAS, ""))
    pattern = rb"(?:%b.{0,6})?%b" % (re.escape(start), re.escape(middle))
    kept = re.escape(before), re.escape(between), re.escape(end)
    assert re.fullmatch(pattern.join(kept), shown, re.DOTALL)


TEXTS = st.lists(
    st.text(max_size=6) | st.just(f"v2/{STORED}") | st.just("v2/"), max_size=4
).map("".join)
DOCUMENTS = st.recursive(
    TEXTS | st.none() | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)


def rename(value: Any) -> Any:
    """Return a JSON value with the alias where the location was."""
    match value:
        case str():
            return value.replace(f"v2/{STORED}", ALIAS)
        case list():
            return [rename(inner) for inner in value]
        case dict():
            return {rename(key): rename(inner) for key, inner in value.items()}
    return value


@given(DOCUMENTS, st.booleans(), st.booleans())
@FUZZ
def test_list_says_the_same_of_the_alias(
    document: Any,
    plain: bool,  # noqa: FBT001 - Hypothesis gives it by position
    slashed: bool,  # noqa: FBT001
) -> None:
    """A list or error stays JSON, and says of the alias what it said before (R10)."""
    text = json.dumps(document, ensure_ascii=not plain)
    text = text.replace("/", "\\/") if slashed and "\\" not in text else text
    shown = VIEW.body(text.encode("utf-8", "surrogatepass"))
    assert json.loads(shown.decode("utf-8", "surrogatepass")) == rename(document)


LINKS = st.sampled_from(
    [
        f'</v2/v2/{STORED}/tags/list?last=a&n=1>; rel="next"',
        f"<https://{REGISTRY_HOST}/v2/v2/{STORED}/tags/list>; rel=next, <//b/y>",
        "<https://other.example//evil.example/x>; rel=prev",
    ]
)


@given(mutated(LINKS, PIECES))
@FUZZ
def test_link_stays_on_the_proxy(value: str) -> None:
    """No link leads anywhere but to the proxy, or on from where it stands (R10)."""
    shown = VIEW.header("Link", value)
    assert STORED not in shown
    for link in re.findall("<([^>]*)", shown):
        reached = urlsplit(urljoin(f"{PROXY}/v2/{ALIAS}/tags/list", link))
        assert f"{reached.scheme}://{reached.netloc}" == PROXY


REDIRECTS = st.sampled_from(
    [
        f"https://{REGISTRY_HOST}/v2/v2/{STORED}/blobs/x?a=b#c",
        f"http://{REGISTRY_HOST.upper()}:80/v2/v2/{STORED}",
        f"//{REGISTRY_HOST}/v2/{STORED}",
        f"https://storage.example/v2/{STORED}?sig=a%2Fb",
        f"/v2/v2/{STORED}/manifests/latest",
    ]
)


def is_foreign(url: str) -> bool:
    """Return whether a redirect leads to another host than the registry."""
    try:
        parts = urlsplit(url)
        usual = {"https": 443, "http": 80}.get(parts.scheme)
        return bool(parts.netloc) and (
            parts.hostname != REGISTRY_HOST or parts.port not in (None, usual)
        )
    except ValueError:
        return False


@given(mutated(REDIRECTS, PIECES))
@FUZZ
def test_redirect_goes_to_storage_or_to_the_proxy(value: str) -> None:
    """A redirect leads to another host, unchanged, or to the proxy with the alias."""
    shown = VIEW.header("Location", value)
    if is_foreign(value):
        assert shown == value
    else:
        assert STORED not in shown
        with suppress(ValueError):
            reached = urlsplit(urljoin(f"{PROXY}/v2/{ALIAS}/blobs/x", shown))
            assert (reached.port, reached.hostname) != (None, REGISTRY_HOST)
