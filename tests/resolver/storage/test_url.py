"""The URLs of redirects: which are read, how, and which are refused."""

import pytest

from resolver.errors import RedirectRefused
from resolver.storage.url import Url, is_ambiguous, parse_redirect

TLS = Url("https", "registry2.example.com", 443, "/v2/v2/00/blobs/x")
PLAIN = Url("http", "registry2.example.com", 5000, "/v2/v2/00/blobs/x")
SIGNED = "https://s3.example.com/data?X-Amz-Signature=abc%2Fdef&b=%41"


@pytest.mark.parametrize(
    ("location", "origin", "expected"),
    [
        (SIGNED, TLS, SIGNED),
        ("https://S3.Example.com:8443", TLS, "https://s3.example.com:8443/"),
        ("https://s3.example.com:443/a", TLS, "https://s3.example.com/a"),
        ("https://s3.example.com?a=b#c", PLAIN, "https://s3.example.com/?a=b"),
        ("http://s3.example.com:443/a", PLAIN, "http://s3.example.com:443/a"),
        ("//s3.example.com/a", TLS, "https://s3.example.com/a"),
        ("/storage/a", PLAIN, "http://registry2.example.com:5000/storage/a"),
        ("https://[2606:4700::1]:8443/", TLS, "https://[2606:4700::1]:8443/"),
        ("https://8.8.8.8/a", TLS, "https://8.8.8.8/a"),
    ],
)
def test_redirect_is_read(location: str, origin: Url, expected: str) -> None:
    """Path and query stay as they are signed, whatever is encoded in them."""
    assert parse_redirect(location, origin).text == expected


def test_parts() -> None:
    """A connection is for host and port; what is shown of a URL is good for a log."""
    url = parse_redirect(SIGNED, TLS)
    assert url.origin == ("https", "s3.example.com", 443)
    assert "Signature" not in repr(url)
    assert Url.of("https://[2606:4700::1]:8443").host == "2606:4700::1"
    beside = Url.of("http://registry:5000").at("/v2/x")
    assert beside.text == "http://registry:5000/v2/x"


@pytest.mark.parametrize(
    "location",
    [
        *("http://s3.example.com/a", "file:///etc/passwd", "https:///a", ""),
        *("https://user:password@s3.example.com/a", "https://@s3.example.com/a"),
        *("https://s3.example.com\\@127.0.0.1/a", "https://s3.example.com:0/a"),
        *("https://s3.example.com:x/a", "https://s3.example.com\r\nX: y"),
        *("https://s3.example.com/a b", "https://s3.exämple.com/a"),
        *("https://s3%2eexample.com/a", "https://[::1/a", "https://2130706433/a"),
        *("https://[fe80::1%25eth0]/a", "https://localhost./a"),
        *("https://s3..example.com/a", f"https://s3.example.com/{'a' * 8192}"),
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


@pytest.mark.parametrize(
    ("expected", "hosts"),
    [
        (False, "127.0.0.1 ::1 s3.example.com 1.s3.example.com"),
        (True, "2130706433 0x7f000001 0x7f.0.0.1 127.1 017700000001 storage.127"),
        (True, "0127.0.0.1 127.0.0.0x1"),
    ],
)
def test_address_in_disguise(hosts: str, *, expected: bool) -> None:
    """An address has one form, and what only some read as one is none."""
    assert {is_ambiguous(host) for host in hosts.split()} == {expected}
