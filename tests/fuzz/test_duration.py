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
from resolver.token.request import parse_token_form, parse_token_query
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
FORM = "application/x-www-form-urlencoded"
type Reader = Callable[[str], object]
TARGET = parse_endpoint("GET", "/v2/org/app/manifests/latest")


def client_url_of(**headers: str) -> str:
    """Return the URL that the headers say."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client_url(tls=True, host="a", headers=names, trust_forwarded=True)


def with_token(token: str) -> object:
    """Return the request that goes upstream."""
    assert isinstance(TARGET, Content)
    return forward(TARGET, f"Bearer {token}", selects=True)


def view_of(header: str) -> Reader:
    """Return what reads the header of an answer."""
    return lambda text: VIEW.header(header, text)


SAMPLES = {
    "path": "/v2/org/app/2.3.8_rev1/tags/list?n=1&last=a%2Fb",
    "scope": "scope=repository:org/app:pull,push+repository(a):b:*&service=a",
    "form": "grant_type=password&username=u&password=p%20&scope=repository:a/b:pull",
    "authorization": basic("user", "key"),
    "token": f"{jwt()}~{base64url({'v': 1, 'a': {}, 'r': {}})}",
    "suffix": '{"v":1,"a":{"org/app":"v2/00"},"r":{"a":["DENIED","\\u00e9"]}}',
    "claims": '{"iat":1.5e3,"access":[{"name":"a","actions":["pull"]},[],null]}',
    "forwarded": 'for=1.2.3.4 ; proto = "https"; host="[::1]:8080", for=unknown',
    "host": "user:key@[::1]:8080, a_b.-c",
    "pause": "Mon, 23 Nov 2026 17:24:52 +0100 (CET)",
    "challenge": f'Basic realm="\\"a", {CHALLENGE},error = b',
    "link": f'<https://a//v2/{LOCATION}/tags/list?n=1>; rel="next", <>',
    "redirect": f"https://u:p@{REGISTRY_HOST}:443//v2/{LOCATION}?a=b#c",
    "body": f"v2\\/{LOCATION}%2fv2%2F",
}
READERS: dict[str, Reader] = {
    "path": lambda text: parse_endpoint("GET", text),
    "scope": lambda text: parse_token_query(text, None),
    "form": lambda text: parse_token_form(FORM, text.encode()),
    "authorization": lambda text: parse_token_query("", text),
    "token": with_token,
    "suffix": lambda text: with_token(f"{jwt()}~{base64url(text.encode())[:4096]}"),
    "claims": lambda text: pullable_names(f"e30.{base64url(text.encode())}.c2ln"),
    "forwarded": lambda text: client_url_of(forwarded=text),
    "host": lambda text: client_url_of(x_forwarded_host=text),
    "pause": parse_retry_after,
    "challenge": view_of("WWW-Authenticate"),
    "link": view_of("Link"),
    "redirect": view_of("Location"),
    "body": lambda text: VIEW.body(text.encode()),
}


@st.composite
def long_texts(draw: st.DrawFn) -> tuple[str, str, str, str]:
    """Return a reader, and a text for it: how it begins, goes on and on, and ends."""
    reader = draw(st.sampled_from(sorted(READERS)))
    sample = SAMPLES[reader]
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
        READERS[reader](long)
    assert time.process_time() - begin < SECONDS_MAX
