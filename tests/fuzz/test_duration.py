"""However long a text is, reading it takes a moment: no part of it is read over again.

What is read here runs in the proxy's one event loop, and others wait for it.
"""

import time
from collections.abc import Callable
from contextlib import suppress

from hypothesis import example, given
from hypothesis import strategies as st

from resolver.content.answer import View
from resolver.content.forward import forward
from resolver.errors import RegistryError
from resolver.grammar.endpoint import Content, parse_endpoint
from resolver.grammar.reference import Location
from resolver.grammar.url import client_url
from resolver.token.claims import pullable_names
from resolver.token.service import parse_token_form, parse_token_query
from resolver.upstream.transport import parse_retry_after
from tests.fuzz.profile import FUZZ
from tests.resolver.fake import (
    CHALLENGE,
    LOCATION,
    REGISTRY_HOST,
    base64url,
    basic,
    jwt,
)

LENGTH = 48 << 10
"""Characters; of a request 64 kB are taken in all."""
SECONDS_MAX = 1
"""Of the processor; a thousandth of it is usual."""
PROXY = "http://localhost:8080"
VIEW = View(PROXY, f"{PROXY}/t", REGISTRY_HOST, "org/app", Location(LOCATION))
TARGET = parse_endpoint("GET", "/v2/org/app/manifests/latest")


def url(**headers: str) -> str:
    """Return the URL that the headers say."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client_url(tls=True, host="a", headers=names, trust_forwarded=True)


def with_token(token: str) -> object:
    """Return the request that goes upstream."""
    assert isinstance(TARGET, Content)
    return forward(TARGET, f"Bearer {token}", selects=True)


READERS: dict[str, tuple[Callable[[str], object], str]] = {
    "path": (
        lambda text: parse_endpoint("GET", text),
        "/v2/org/app/2.3.8_rev1/tags/list?n=1&last=a%2Fb",
    ),
    "scope": (
        lambda text: parse_token_query(text, None),
        "scope=repository:org/app:pull,push+repository(a):b:*&service=a",
    ),
    "form": (
        lambda text: parse_token_form(
            "application/x-www-form-urlencoded", text.encode()
        ),
        "grant_type=password&username=u&password=p%20&scope=repository:a/b:pull",
    ),
    "authorization": (lambda text: parse_token_query("", text), basic("user", "key")),
    "token": (with_token, f"{jwt()}~{base64url({'v': 1, 'a': {}, 'r': {}})}"),
    "suffix": (
        lambda text: with_token(f"{jwt()}~{base64url(text.encode())[:4096]}"),
        '{"v":1,"a":{"org/app":"v2/00"},"r":{"a":["DENIED","\\u00e9"]}}',
    ),
    "claims": (
        lambda text: pullable_names(f"e30.{base64url(text.encode())}.c2ln"),
        '{"iat":1.5e3,"access":[{"name":"a","actions":["pull"]},[],null]}',
    ),
    "forwarded": (
        lambda text: url(forwarded=text),
        'for=1.2.3.4 ; proto = "https"; host="[::1]:8080", for=unknown',
    ),
    "host": (lambda text: url(x_forwarded_host=text), "user:key@[::1]:8080, a_b.-c"),
    "pause": (parse_retry_after, "Mon, 23 Nov 2026 17:24:52 +0100 (CET)"),
    "challenge": (
        lambda text: VIEW.header("WWW-Authenticate", text),
        f'Basic realm="\\"a", {CHALLENGE},error = b',
    ),
    "link": (
        lambda text: VIEW.header("Link", text),
        f'<https://a//v2/{LOCATION}/tags/list?n=1>; rel="next", <>',
    ),
    "redirect": (
        lambda text: VIEW.header("Location", text),
        f"https://u:p@{REGISTRY_HOST}:443//v2/{LOCATION}?a=b#c",
    ),
    "body": (lambda text: VIEW.body(text.encode()), f"v2\\/{LOCATION}%2fv2%2F"),
}


@st.composite
def long_texts(draw: st.DrawFn) -> tuple[str, str, str, str]:
    """Return a reader, and a text for it: how it begins, goes on and on, and ends."""
    reader = draw(st.sampled_from(sorted(READERS)))
    sample = READERS[reader][1]
    begin = draw(st.integers(0, len(sample)))
    end = draw(st.integers(begin, len(sample)))
    part = sample[begin : min(end, begin + draw(st.integers(1, 9)))]
    piece = draw(st.sampled_from([" ", "\t", '"', "<", "\\", "a", part, part]))
    tail = draw(st.sampled_from(["", sample[end:], '""', "!", "\0", "é", "\n"]))
    return reader, sample[:begin], piece or " ", tail


@given(long_texts())
@example(("link", "", "<", ""))
@example(("forwarded", "proto=a", " ", '""'))
@FUZZ
def test_long_text_is_read_at_once(text: tuple[str, str, str, str]) -> None:
    """Nobody keeps the proxy from serving others by what repeats itself."""
    reader, head, piece, tail = text
    long = head + piece * ((LENGTH - len(head) - len(tail)) // len(piece)) + tail
    begin = time.process_time()
    with suppress(RegistryError):
        READERS[reader][0](long)
    assert time.process_time() - begin < SECONDS_MAX
