"""Which redirects can be followed by what they say."""

import pytest

from resolver.errors import RedirectRefused
from resolver.storage.destination import URL_LENGTH_MAX, Destination, parse_redirect

TLS = Destination("https", "registry2.example.com", 443, "/v2/v2/00/blobs/x")
PLAIN = Destination("http", "registry2.example.com", 5000, "/v2/v2/00/blobs/x")
SIGNED = "data?X-Amz-Signature=abc%2Fdef&b=%41"


@pytest.mark.parametrize(
    ("location", "origin", "expected"),
    [
        (
            f"https://s3.example.com/{SIGNED}",
            TLS,
            ("https", "s3.example.com", 443, f"/{SIGNED}"),
        ),
        (
            "https://S3.Example.com:8443",
            TLS,
            ("https", "s3.example.com", 8443, "/"),
        ),
        (
            "https://s3.example.com?a=b#c",
            PLAIN,
            ("https", "s3.example.com", 443, "/?a=b"),
        ),
        ("http://s3.example.com/a", PLAIN, ("http", "s3.example.com", 80, "/a")),
        ("//s3.example.com/a", TLS, ("https", "s3.example.com", 443, "/a")),
        ("/storage/a", TLS, ("https", "registry2.example.com", 443, "/storage/a")),
        ("https://[2606:4700::1]/a", TLS, ("https", "2606:4700::1", 443, "/a")),
        ("https://8.8.8.8/a", TLS, ("https", "8.8.8.8", 443, "/a")),
    ],
)
def test_redirect_is_read(
    location: str, origin: Destination, expected: tuple[str, str, int, str]
) -> None:
    """Path and query stay as they are signed, whatever is encoded in them."""
    found = parse_redirect(location, origin)
    assert (found.scheme, found.host, found.port, found.path) == expected


@pytest.mark.parametrize(
    "location",
    [
        "http://s3.example.com/a",
        "https://user@s3.example.com/a",
        "https://user:password@s3.example.com/a",
        "https://@s3.example.com/a",
        "ftp://s3.example.com/a",
        "file:///etc/passwd",
        "unix:/run/docker.sock",
        "javascript:alert(1)",
        "https:///a",
        "https://",
        "https://s3.example.com:0/a",
        "https://s3.example.com:65536/a",
        "https://s3.example.com:x/a",
        "https://s3.example.com\r\nX: y",
        "https://s3.example.com/a\n",
        "https://s3.example.com/a b",
        "https://s3.example.com\\@127.0.0.1/a",
        "https://s3.exämple.com/a",
        "https://s3%2eexample.com/a",
        "https://[::1/a",
        "https://[fe80::1%25eth0]/a",
        "https://2130706433/a",
        "https://0x7f.1/a",
        "https://127.1/a",
        "https://localhost./a",
        "https://s3..example.com/a",
        "",
        "https://s3.example.com/" + "a" * URL_LENGTH_MAX,
    ],
)
def test_redirect_that_is_none(location: str, caplog: pytest.LogCaptureFixture) -> None:
    """What is no plain URL of the web is refused, and the log does not repeat it."""
    with pytest.raises(RedirectRefused) as refused:
        parse_redirect(location, TLS)
    assert (refused.value.status, refused.value.code) == (502, "UNAVAILABLE")
    assert "example" not in refused.value.message
    assert "is not followed" in caplog.text
    assert "password" not in caplog.text
    assert "/a" not in caplog.text


def test_signature_is_not_in_its_words() -> None:
    """What a destination shows of itself is good for a log."""
    found = parse_redirect(f"https://s3.example.com/{SIGNED}", TLS)
    assert "Signature" not in repr(found)
    assert found.url == f"https://s3.example.com/{SIGNED}"


@pytest.mark.parametrize(
    ("url", "netloc"),
    [
        ("https://s3.example.com", "s3.example.com"),
        ("http://s3.example.com:443", "s3.example.com:443"),
        ("https://[2606:4700::1]", "[2606:4700::1]"),
        ("https://[2606:4700::1]:8443", "[2606:4700::1]:8443"),
    ],
)
def test_host_as_a_header_has_it(url: str, netloc: str) -> None:
    """With its port unless that is the usual one, and an IPv6 address in brackets."""
    assert Destination.of_url(url).netloc == netloc
