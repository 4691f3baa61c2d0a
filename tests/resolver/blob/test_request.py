"""What of a blob somebody asks for, and the head of the answer (rule C4)."""

import pytest

from resolver.blob.request import WHOLE_LENGTH_MIN, Window, Wish
from resolver.grammar.reference import Digest
from tests.resolver.fake import DIGEST as TEXT

DIGEST = Digest(TEXT)
TAG = f'"{DIGEST}"'
SIZE = 1000


def wish(method: str = "GET", **headers: str) -> Wish:
    """Return a request."""
    return Wish(method, DIGEST, {k.replace("_", "-"): v for k, v in headers.items()})


@pytest.mark.parametrize(
    ("headers", "status", "begin", "end"),
    [
        ({}, 200, 0, SIZE),
        ({"range": "bytes=0-"}, 206, 0, SIZE),
        ({"range": "bytes=0-0"}, 206, 0, 1),
        ({"range": "bytes=10-19"}, 206, 10, 20),
        ({"range": "bytes=990-2000"}, 206, 990, SIZE),
        ({"range": "bytes=-10"}, 206, 990, SIZE),
        ({"range": "bytes=-2000"}, 206, 0, SIZE),
        ({"range": "bytes=1000-"}, 416, 0, 0),
        ({"range": "bytes=10-19", "if_range": TAG}, 206, 10, 20),
        ({"range": "bytes=10-19", "if_range": '"other"'}, 200, 0, SIZE),
        ({"range": "bytes=10-19", "if_range": f"W/{TAG}"}, 200, 0, SIZE),
        ({"range": "bytes=10-19", "if_range": "*"}, 200, 0, SIZE),
        ({"range": "bytes=10-19", "if_range": "Sun, 29 Nov 2026"}, 200, 0, SIZE),
        ({"if_none_match": TAG}, 304, 0, 0),
        ({"if_none_match": "*"}, 304, 0, 0),
        ({"if_none_match": f'"a", W/{TAG}'}, 304, 0, 0),
        ({"if_none_match": '"other"'}, 200, 0, SIZE),
        ({"if_none_match": f"{DIGEST}"}, 200, 0, SIZE),
    ],
)
def test_window(headers: dict[str, str], status: int, begin: int, end: int) -> None:
    """It is what docker-registry would answer."""
    window = Window.of(wish(**headers), SIZE)
    assert (window.status, window.begin, window.end) == (status, begin, end)


def test_head() -> None:
    """Lengths and ranges are those of the blob, and its tag is its digest."""
    head = Window.of(wish(range="bytes=10-19"), SIZE).head.decode()
    assert head.startswith("HTTP/1.1 206 Partial Content\r\n")
    assert head.endswith("\r\n\r\n")
    lines = head.split("\r\n")[1:-2]
    assert dict(line.split(": ") for line in lines) == {
        "Content-Length": "10",
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "Etag": TAG,
        "Content-Range": "bytes 10-19/1000",
    }


def test_head_of_what_the_client_has() -> None:
    """It says nothing of a length (RFC 9110 section 15.4.5)."""
    head = Window.of(wish(if_none_match=TAG), SIZE).head
    assert b"Content-Length" not in head
    assert f"Etag: {TAG}".encode() in head


def test_head_where_no_byte_is_in_the_range() -> None:
    """It says how long the blob is."""
    head = Window.of(wish(range="bytes=1000-"), SIZE).head
    assert b"\r\nContent-Range: bytes */1000\r\n" in head


@pytest.mark.parametrize(
    "headers",
    [
        {"range": "bytes=0-1,5-6"},
        {"range": "bytes=a-b"},
        {"range": "bytes="},
        {"range": "bytes=-"},
        {"range": "lines=1-2"},
        {"range": "bytes=20-10"},
        {"range": "bytes=-0"},
        {"range": f"bytes={'1' * 100}-"},
        {"range": "bytes=0-1\n"},
        {"if_match": TAG},
        {"if_unmodified_since": "Sun, 29 Nov 2026"},
    ],
)
def test_unusual_request(headers: dict[str, str]) -> None:
    """The registry knows best what to answer."""
    assert not wish(**headers).is_usual


@pytest.mark.parametrize(
    ("method", "headers", "begins"),
    [
        ("GET", {}, True),
        ("GET", {"range": "bytes=0-"}, True),
        ("GET", {"range": f"bytes=0-{WHOLE_LENGTH_MIN - 1}"}, True),
        ("GET", {"range": f"bytes=0-{WHOLE_LENGTH_MIN - 2}"}, False),
        ("GET", {"range": "bytes=0-99"}, False),
        ("GET", {"range": "bytes=1-"}, False),
        ("GET", {"range": "bytes=-99"}, False),
        ("GET", {"if_none_match": TAG}, False),
        ("HEAD", {}, False),
    ],
)
def test_request_that_begins_a_pull(
    method: str, headers: dict[str, str], *, begins: bool
) -> None:
    """No other makes the proxy fetch a whole blob."""
    assert wish(method, **headers).begins_pull == begins
