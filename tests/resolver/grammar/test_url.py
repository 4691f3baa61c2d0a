"""The URL that the client used is read strictly, because the realm is built on it."""

import pytest

from resolver.errors import RequestInvalid
from resolver.grammar.url import client_url, forwarded_scheme, parse_host, parse_url
from tests.resolver.fake import ident

HOSTS = [
    *("registry.example.com:8080", "registry.example.com.", "Registry.Example.COM"),
    *("_srv.local", "10.0.0.1:65535", "[::1]", "[2001:DB8::1]:8080", "a" * 254),
]
NO_HOSTS = [
    *("", "ho st", "host\r\nX-Injected: 1", "host/", "http://host", "host\\x"),
    *("user@host", "host,other", 'host"', "host%20", "bücher.example", "host\udcff"),
    *("host:", "host:0", "host:65536", "host:8o", "host:\u0661", ":80", ".host"),
    *("host-", "host..example", "a" * 255, "::1", "[::1", "[:::]", "[127.0.0.1]"),
    *("[::1%eth0]", "[::1]80", "[::1]:65536"),
]


@pytest.mark.parametrize("text", HOSTS, ids=ident)
def test_host(text: str) -> None:
    """A name or address, perhaps with a port, is a host, as it was written."""
    assert parse_host(text) == text


@pytest.mark.parametrize("text", NO_HOSTS, ids=ident)
def test_no_host(text: str) -> None:
    """What breaks the grammar of a host is refused with a printable message."""
    with pytest.raises(RequestInvalid) as caught:
        parse_host(text)
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://host", "https://host"),
        ("https://host:443/", "https://host"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://host:443", "http://host:443"),
        ("https://host:4430", "https://host:4430"),
    ],
)
def test_url(text: str, url: str) -> None:
    """The URL of a host is brought into its shortest form."""
    assert parse_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        *("host", "//host", "https://", "ftp://host", "https://host/path"),
        *("https://host?x", "https://host#x", "https://user:password@host"),
        *("https://host\n", "https://host\\@other", "https://host:99999"),
        *("https://[::1", "https://bücher", "https://a\u2100b"),
    ],
)
def test_no_url(text: str) -> None:
    """A URL with a path, query, user or another scheme is refused."""
    with pytest.raises(ValueError, match=r"."):
        parse_url(text)


FORWARDED = {
    'forwarded: for="[2001:db8::1]:4711";proto=https;host="a.example:8443"': (
        "https://a.example:8443"
    ),
    "forwarded: Proto=HTTPS; Host=a.example": "https://a.example",
    "forwarded: proto=https;host=a.example, proto=http;host=b.example": (
        "https://a.example"
    ),
    "forwarded: for=1.2.3.4;proto=https": "https://own",
    'forwarded: host="[::1]:8080"': "http://[::1]:8080",
    "forwarded: , proto=https;host=b.example": "http://own",
    "x-forwarded-proto: https, http": "https://own",
    "x-forwarded-host: a.example:8443 , b.example": "http://a.example:8443",
    "x-forwarded-for: 1.2.3.4": "http://own",
    # Each header counts for what it says, the standard one first.
    "forwarded: host=a\nx-forwarded-host: b\nx-forwarded-proto: https": "https://a",
    "forwarded: proto=javascript;host=a.example": None,
    'forwarded: host="a b"': None,
    "forwarded: host=a.example:99999": None,
    "x-forwarded-proto: ftp": None,
    "x-forwarded-host: é": None,
}
"""The URL that each header says, or None where it is refused."""


def url_of(header: str, *, trust_forwarded: bool) -> str | None:
    """Return the URL of a request with the header, or None where it is refused."""
    headers = dict(line.split(": ", 1) for line in header.split("\n"))
    try:
        return client_url(
            tls=False, host="own", headers=headers, trust_forwarded=trust_forwarded
        )
    except RequestInvalid:
        return None


@pytest.mark.parametrize(("header", "url"), FORWARDED.items(), ids=FORWARDED)
def test_forwarded_header(header: str, url: str | None) -> None:
    """Of a trusted proxy the entry nearest to the client counts; of others, none."""
    assert url_of(header, trust_forwarded=True) == url
    assert url_of(header, trust_forwarded=False) == "http://own"


@pytest.mark.parametrize("trust_forwarded", [False, True], ids=["plain", "trust"])
def test_own_host(*, trust_forwarded: bool) -> None:
    """Else the URL has the connection's scheme and the request's host, if sound."""

    def own(host: str | None, *, tls: bool) -> str:
        return client_url(
            tls=tls, host=host, headers={}, trust_forwarded=trust_forwarded
        )

    assert own("[::1]:80", tls=False) == "http://[::1]:80"
    assert own("host:443", tls=True) == "https://host:443"
    for host in (None, "user@host"):
        with pytest.raises(RequestInvalid):
            own(host, tls=True)


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        ({"x-forwarded-proto": "HTTPS, http"}, "https"),
        ({"forwarded": "for=192.0.2.1;proto=https"}, "https"),
        ({"x-forwarded-host": "r.example"}, ""),
        ({}, ""),
    ],
    ids=str,
)
def test_forwarded_scheme(headers: dict[str, str], scheme: str) -> None:
    """What a reverse proxy says is known also where it is not believed."""
    assert forwarded_scheme(headers) == scheme
