"""The URL that the client used is read strictly, because the realm is built on it."""

import pytest

from resolver.errors import RequestInvalid
from resolver.grammar.url import client_url, parse_host, parse_url
from tests.resolver.fake import ident

HOSTS = [
    "registry.example.com",
    "registry.example.com:8080",
    "registry.example.com.",
    "Registry.Example.COM",
    "_srv.local",
    "127.0.0.1",
    "10.0.0.1:65535",
    "[::1]",
    "[::1]:8080",
    "[2001:DB8::1]",
    "[::ffff:127.0.0.1]:80",
    "xn--bcher-kva.example",
    "a" * 254,
]

NO_HOSTS = [
    "",
    " ",
    "ho st",
    "host\n",
    "host\r\nX-Injected: 1",
    "host/",
    "//host",
    "http://host",
    "host\\x",
    "user@host",
    "host,other",
    'host"',
    "'host'",
    "host%20",
    "bücher.example",
    "host\udcff",
    "host:",
    "host:0",
    "host:65536",
    "host:123456",
    "host:8o",
    "host:\u0661",
    ":80",
    ".host",
    "host-",
    "host..example",
    "a" * 255,
    "::1",
    "[::1",
    "[:::]",
    "[127.0.0.1]",
    "[::1%eth0]",
    "[::1]80",
    "[::1]:65536",
    "[1:2:3:4:5:6:7:8:9]",
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
        ("https://host/", "https://host"),
        ("https://host:443", "https://host"),
        ("https://host:443/", "https://host"),
        ("http://host:80", "http://host"),
        ("http://host:443", "http://host:443"),
        ("http://[::1]:80", "http://[::1]"),
        ("https://host:4430", "https://host:4430"),
    ],
)
def test_url(text: str, url: str) -> None:
    """The URL of a host is brought into its shortest form."""
    assert parse_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "//host",
        "https://",
        "ftp://host",
        "https://host/path",
        "https://host?x",
        "https://host#x",
        "https://user:password@host",
        "https://ho st",
        "https://host\n",
        "https://host\\@other",
        "https://host:99999",
        "https://[::1",
        "https://bücher",
        "https://a\u2100b",
    ],
    ids=ident,
)
def test_no_url(text: str) -> None:
    """A URL with a path, query, user or another scheme is refused."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse_url(text)
    assert "password" not in str(caught.value) or "password@" in text


@pytest.mark.parametrize(
    ("tls", "host", "url"),
    [
        (False, "host:8080", "http://host:8080"),
        (True, "host:8080", "https://host:8080"),
        (True, "host:443", "https://host:443"),
        (False, "[::1]:80", "http://[::1]:80"),
    ],
)
def test_client_url(*, tls: bool, host: str, url: str) -> None:
    """The URL has the scheme of the connection and the host of the request."""
    found = client_url(tls=tls, host=host, headers={}, trust_forwarded=False)
    assert found == url


@pytest.mark.parametrize("host", [None, *NO_HOSTS], ids=ident)
@pytest.mark.parametrize("trust_forwarded", [False, True], ids=["plain", "trust"])
def test_bad_host_is_refused(*, host: str | None, trust_forwarded: bool) -> None:
    """A request with no host, or one that breaks the grammar, is refused."""
    with pytest.raises(RequestInvalid):
        client_url(tls=True, host=host, headers={}, trust_forwarded=trust_forwarded)


FORWARDED = {
    "forwarded: proto=https;host=a.example": "https://a.example",
    'forwarded: for="[2001:db8::1]:4711";proto=https;host="a.example:8443"': (
        "https://a.example:8443"
    ),
    "forwarded: Proto=HTTPS; Host=a.example": "https://a.example",
    "forwarded: proto=https;host=a.example, proto=http;host=b.example": (
        "https://a.example"
    ),
    "forwarded: for=1.2.3.4;proto=https": "https://own",
    'forwarded: host="[::1]:8080"': "http://[::1]:8080",
    "forwarded: nonsense": "http://own",
    "forwarded: , proto=https;host=b.example": "http://own",
    "x-forwarded-proto: https": "https://own",
    "x-forwarded-proto: https, http": "https://own",
    "x-forwarded-host: a.example": "http://a.example",
    "x-forwarded-host: a.example:8443 , b.example": "http://a.example:8443",
    "x-forwarded-host: ": "http://own",
    "x-forwarded-for: 1.2.3.4": "http://own",
}


@pytest.mark.parametrize(("header", "url"), FORWARDED.items(), ids=FORWARDED)
def test_forwarded_headers_are_believed(header: str, url: str) -> None:
    """Of a trusted proxy in front, the entry nearest to the client counts."""
    headers = dict([header.split(": ", 1)])
    found = client_url(tls=False, host="own", headers=headers, trust_forwarded=True)
    assert found == url


@pytest.mark.parametrize("header", FORWARDED)
def test_forwarded_headers_are_not_believed(header: str) -> None:
    """Without trust no forwarding header counts: any client can write them."""
    headers = dict([header.split(": ", 1)])
    found = client_url(tls=False, host="own", headers=headers, trust_forwarded=False)
    assert found == "http://own"


def test_standard_header_goes_first() -> None:
    """``Forwarded`` counts before the older headers, each for what it says."""
    headers = {
        "forwarded": "host=a.example",
        "x-forwarded-host": "b.example",
        "x-forwarded-proto": "https",
    }
    found = client_url(tls=False, host="own", headers=headers, trust_forwarded=True)
    assert found == "https://a.example"


@pytest.mark.parametrize(
    "header",
    [
        "forwarded: proto=javascript;host=a.example",
        "forwarded: host=user@a.example",
        "forwarded: host=a.example/path",
        'forwarded: host="a b"',
        "forwarded: host=a.example:99999",
        "x-forwarded-proto: ftp",
        "x-forwarded-host: user@a.example",
        "x-forwarded-host: é",
    ],
    ids=ident,
)
def test_forwarded_header_is_refused(header: str) -> None:
    """Trusted headers have to keep the same grammar."""
    headers = dict([header.split(": ", 1)])
    with pytest.raises(RequestInvalid):
        client_url(tls=False, host="own", headers=headers, trust_forwarded=True)
