"""Wherever a registry redirects to, nothing is fetched inside, nor said in a log."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.http import Request

from resolver.errors import RedirectRefused
from resolver.storage.address import Addresses, Allowed, is_public, parse_allowed
from resolver.storage.url import Url, parse_redirect
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import WIRE, check_shown, mutated

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
PIECES = (
    *("https://", "http://", "//", "@", ":", "::", "[", "]", "\\", "\r\n", "\t", "\0"),
    *("%2e", "%00", "0x7f", "127.1", "localhost", ".", "..", "#", "?", "é", ":0", " "),
    *("user:secret@", "[::ffff:127.0.0.1]", "[fe80::1%25eth0]", "file:", "2130706433"),
)
HOSTS = st.sampled_from(["8.8.8.8", "10.0.0.1", "::1", "::ffff:10.0.0.1", "fe80::1%e"])


@given(mutated(SAMPLES, PIECES) | WIRE, ORIGINS)
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
    assert (read.scheme, read.hostname, read.username) == (
        found.scheme,
        found.host,
        None,
    )
    request = Request.make("GET", found.text)
    assert (request.scheme, request.host, request.port) == found.origin
    assert request.path == found.path


@given(st.lists(HOSTS, min_size=1, max_size=4), st.sampled_from(["", "10.0.0.0/8"]))
@FUZZ
def test_address_is_public_or_allowed(addresses: list[str], allowed: str) -> None:
    """Whatever a name resolves to, what is connected to was looked at (T11)."""
    ours = Addresses(
        "own", parse_allowed(allowed), look_up=lambda _host, _port: addresses
    )
    try:
        found = ours.find("s3.example.com", 443)
    except RedirectRefused as refused:
        check_shown(refused)
        return
    assert found in addresses
    address = ip_address(found or "")
    assert is_public(address) or parse_allowed(allowed).covers(address)


@given(mutated(st.sampled_from(["minio.internal,10.1.0.0/16,fd00::/8"]), PIECES) | WIRE)
@FUZZ
def test_list_of_what_is_allowed_is_read_or_refused(text: str) -> None:
    """A slip in the list opens nothing that is not in it."""
    try:
        allowed = parse_allowed(text)
    except ValueError:
        return
    assert isinstance(allowed, Allowed)
    entries = [entry.strip() for entry in text.split(",")]
    assert len(allowed.hosts) + len(allowed.networks) <= len(
        list(filter(None, entries))
    )
