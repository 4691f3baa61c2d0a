"""An answer of the registry passes as a whole, or is seen to be none, and at once."""

import gzip
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests

from demo.proxy import Proxy
from tests.integration.blob import FOLLOW, peak_megabytes
from tests.integration.fault import OPTIONS
from tests.integration.raw import BYE, HOST, send
from tests.integration.scripted import (
    BLOB,
    CHUNKED,
    MANIFEST_PATH,
    STORED_BLOB,
    TOKEN,
    Script,
    ask,
    get,
    registry,
)

PATIENT = ("--set", "balena_registry_timeout=60")
"""Longer than a client waits: what ends in time is not ended by that."""
GROWTH_MEGABYTES_MAX = 60
OK, TWO = b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n\r\n{}"
IN_CHUNKS, CHUNKS = OK + CHUNKED, b"2\r\n{}\r\n0\r\n\r\n"
CHUNK = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20))
SWITCH = b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"

WHOLE = {
    "trailers": IN_CHUNKS + b"2\r\n{}\r\n0\r\nX-Digest: x\r\nX-Other: y\r\n\r\n",
    "a chunk with an extension": IN_CHUNKS + b"2;a=b\r\n{}\r\n0;c\r\n\r\n",
    "a header over two lines": OK + b"ETag: a\r\n b\r\n" + TWO,
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "more than the answer": OK + TWO + b"more",
    "two answers": (OK + TWO) * 2,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n" + TWO,
    "a long reason": b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n" + TWO,
    "NUL in the reason": b"HTTP/1.1 200 a\0b\r\n" + TWO,
    "NUL in a value": OK + b"ETag: a\0b\r\n" + TWO,
    "carriage return in a value": OK + b"ETag: a\rX-Split: b\r\n" + TWO,
}
"""Answers that are odd, and can be passed on."""
NONE = {
    "a blank line first": b"\r\n" + OK + TWO,
    "a line feed first": b"\n" + OK + TWO,
    "no head": b"{}",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a continued status line": OK + b" X: b\r\n" + TWO,
    "no colon": OK + b"X\r\n" + TWO,
    "no name": OK + b": x\r\n" + TWO,
    "white space in a name": OK + b"X A: x\r\n" + TWO,
    "NUL in a name": OK + b"X\0: x\r\n" + TWO,
    "no status": b"HTTP/1.1\r\n" + TWO,
    "letters for a status": b"HTTP/1.1 abc OK\r\n" + TWO,
    "status -1": b"HTTP/1.1 -1 OK\r\n" + TWO,
    "status 600": b"HTTP/1.1 600 OK\r\n" + TWO,
    "status 1000": b"HTTP/1.1 1000 OK\r\n" + TWO,
    "100": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + TWO,
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK + TWO,
    "101": SWITCH + OK + TWO,
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n" + TWO,
    "HTTP/9.9": b"HTTP/9.9 200 OK\r\n" + TWO,
    "two lengths": OK + b"Content-Length: 3\r\n" + TWO,
    "one length twice": OK + b"Content-Length: 2\r\n" + TWO,
    "a list of lengths": OK + b"Content-Length: 2, 2\r\n\r\n{}",
    "a negative length": OK + b"Content-Length: -2\r\n\r\n{}",
    "an empty length": OK + b"Content-Length:\r\n\r\n{}",
    "a length of digits": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
    "length and chunks": OK + b"Content-Length: 2\r\n" + CHUNKED + CHUNKS,
    "chunks twice": OK + b"Transfer-Encoding: chunked\r\n" + CHUNKED + CHUNKS,
    "chunks of gzip": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "gzip of chunks": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + CHUNKS,
    "an empty coding": OK + b"Transfer-Encoding:\r\n\r\n{}",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\n" + CHUNKED + CHUNKS,
    "204 in chunks": b"HTTP/1.1 204 No\r\n" + CHUNKED + b"0\r\n\r\n",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\n{}",
    "gzip": OK + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "no length in HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n{}",
    "no length in HTTP/2.0": b"HTTP/2.0 200 OK\r\n\r\n{}",
    **{
        f"{status} without a length": b"HTTP/1.1 %d X\r\n\r\n{}" % status
        for status in (200, 203, 205, 206, 226, 300, 307, 401, 404, 500)
    },
}
"""Answers of which nothing can be passed on."""
BROKEN = {
    "no number of a chunk": b"zz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": b"-2\r\n{}\r\n0\r\n\r\n",
    "a huge chunk": b"f" * 30 + b"\r\n{}\r\n0\r\n\r\n",
    "a chunk without a number": b"\r\n{}\r\n0\r\n\r\n",
    "a chunk that is too short": b"3\r\n{}\r\n0\r\n\r\n",
    "a chunk that is too long": b"1\r\n{}\r\n0\r\n\r\n",
    "a trailer without a colon": b"2\r\n{}\r\n0\r\nX\r\n\r\n",
    "a long line between chunks": b"2;" + b"x" * 100_000,
    "long trailers": b"2\r\n{}\r\n0\r\n" + b"X: y\r\n" * 20_000,
}
"""Chunks that break off."""


@pytest.fixture(scope="module")
def script() -> Script:
    """What the registry says."""
    return Script()


@pytest.fixture(scope="module")
def front(script: Script) -> Iterator[Proxy]:
    """A proxy in front of it, that would wait for long."""
    with registry(script.send) as url, Proxy(url, arguments=PATIENT) as proxy:
        yield proxy


@pytest.mark.parametrize("path", [MANIFEST_PATH, BLOB], ids=["manifest", "blob"])
@pytest.mark.parametrize("answer", WHOLE.values(), ids=WHOLE)
def test_odd_answer(script: Script, front: Proxy, answer: bytes, path: str) -> None:
    """What can be understood passes, without what a client may stumble over."""
    script.answer = answer
    passed = get(front, path)
    assert (passed.status_code, passed.reason, passed.content) == (200, "OK", b"{}")
    assert not {"X-Split", "X-Digest"} & set(passed.headers)
    assert "\0" not in str(passed.headers)


@pytest.mark.parametrize("path", [MANIFEST_PATH, BLOB], ids=["manifest", "blob"])
@pytest.mark.parametrize("answer", NONE.values(), ids=NONE)
def test_answer_that_is_none(
    script: Script, front: Proxy, answer: bytes, path: str
) -> None:
    """The client is told at once to try later, the log why, and nothing passes."""
    script.answer = answer
    before = len(front.log)
    refused = get(front, path)
    assert refused.status_code in (502, 503)
    assert refused.json()["errors"][0]["code"] == "UNAVAILABLE"
    assert "Location" not in refused.headers
    said = front.log[before:]
    place = r"127\.0\.0\.1:\d+"
    assert re.search(rf"(not answered|503 UNAVAILABLE).*the registry.*{place}", said)
    assert "crashed" not in said


@pytest.mark.parametrize("chunks", BROKEN.values(), ids=BROKEN)
def test_broken_chunks(script: Script, front: Proxy, chunks: bytes) -> None:
    """A blob breaks off, a manifest is 502, both at once and with a word in the log."""
    script.answer = IN_CHUNKS + chunks
    before = len(front.log)
    with pytest.raises(requests.RequestException, match="ended prematurely"):
        get(front, BLOB)
    assert get(front, MANIFEST_PATH).status_code == 502
    said = front.log[before:]
    assert said.count("HTTP/1 protocol error: ") == 2
    assert "crashed" not in said


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (NONE["100"], "status 100, which ends no request"),
        (NONE["101"], "status 101, which ends no request"),
        (NONE["status 600"], "status 600, which ends no request"),
        (NONE["HTTP/2.0"], "answers by HTTP/2.0"),
        (NONE["identity"], "does not say how long its answer is"),
    ],
    ids=["100", "101", "600", "HTTP/2.0", "identity"],
)
def test_client_is_told_why(
    script: Script, front: Proxy, answer: bytes, message: str
) -> None:
    """The message says what was wrong, where the head could be read."""
    script.answer = answer
    assert message in get(front, MANIFEST_PATH).text


def test_range_error_needs_no_length(script: Script, front: Proxy) -> None:
    """A 416 has words of the proxy's own, however the registry ends its own."""
    script.answer = b"HTTP/1.1 416 X\r\nContent-Range: bytes */5\r\n\r\ninvalid"
    refused = get(front, BLOB)
    assert refused.status_code == 416
    assert "the length is 5 bytes" in refused.text


@pytest.mark.parametrize("head", ["204 No", "304 No"])
def test_answer_without_content_needs_no_length(
    script: Script, front: Proxy, head: str
) -> None:
    """It ends with its head, as every answer to HEAD does."""
    script.answer = f"HTTP/1.1 {head}\r\n\r\n".encode()
    assert get(front, BLOB).status_code == int(head[:3])
    script.answer = OK + b"\r\n"
    answered = send(front, f"HEAD {BLOB} HTTP/1.1\r\n".encode() + HOST + BYE)
    assert answered.startswith(b"HTTP/1.1 200 OK\r\n")


CUT = {
    "no length": OK + b"\r\nhalf of it",
    "206": b"HTTP/1.1 206 X\r\nContent-Range: bytes 0-9/20\r\n\r\nhalf of it",
    "203": b"HTTP/1.1 203 X\r\n\r\nhalf of it",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nhalf of it",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\nhalf of it",
    "length": OK + b"Content-Length: 20\r\n\r\nhalf of it",
    "chunk": IN_CHUNKS + b"a\r\nhalf of it\r\n",
    "in a chunk": IN_CHUNKS + b"14\r\nhalf of it",
    "last chunk": IN_CHUNKS + b"a\r\nhalf of it\r\n0\r\n",
}
"""Answers after which the connection ends."""


@pytest.fixture(scope="module", params=["registry", "storage"])
def cutting(request: pytest.FixtureRequest) -> Iterator[tuple[Script, Proxy]]:
    """Who breaks off, and a proxy in front of that."""
    script = Script()
    script.closes = True
    with ExitStack() as stack:
        url = stack.enter_context(registry(script.send))
        environment = {}
        if request.param == "storage":
            there = Script()
            there.answer = (
                f"HTTP/1.1 307 X\r\nLocation: {url}/x\r\nContent-Length: 0\r\n\r\n"
            ).encode()
            url = stack.enter_context(registry(there.send))
            environment = FOLLOW | {"BLOBS_ALLOW": "127.0.0.1"}

        proxy = Proxy(url, environment=environment, arguments=PATIENT)
        yield script, stack.enter_context(proxy)


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT)
def test_blob_that_breaks_off(cutting: tuple[Script, Proxy], answer: bytes) -> None:
    """However it is framed, a client sees an error or a broken transfer (T9)."""
    script, proxy = cutting
    script.answer = answer
    try:
        refused = ask(f"http://{proxy.host}{STORED_BLOB}", TOKEN)
    except requests.exceptions.ChunkedEncodingError:
        return
    assert refused.status_code in (502, 503)
    assert "half of it" not in refused.text


def test_blob_that_does_not(cutting: tuple[Script, Proxy]) -> None:
    """It passes from either."""
    script, proxy = cutting
    script.answer = OK + TWO
    assert ask(f"http://{proxy.host}{STORED_BLOB}", TOKEN).content == b"{}"


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT)
def test_manifest_that_breaks_off(
    script: Script, front: Proxy, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of one passes that is not there as a whole."""
    monkeypatch.setattr(script, "closes", True)
    script.answer = answer
    assert get(front, MANIFEST_PATH).status_code in (502, 503)


HEADERS = (
    *("Via: 1.1 cache-7.internal", "Server: registry/2.8", "X-Backend: 10.1.2.3"),
    *("Set-Cookie: a=b", "Alt-Svc: h3=:443", "X-Accel-Redirect: /secret"),
    *("Keep-Alive: timeout=5", "Docker-RateLimit-Source: 192.0.2.7"),
)
"""What no client gets."""
KEPT = {
    "Docker-Distribution-Api-Version": "registry/2.0",
    "Docker-Content-Digest": f"sha256:{'0' * 64}",
    "RateLimit-Remaining": "99;w=21600",
    "ETag": '"x"',
    "Cache-Control": "max-age=1",
    "Retry-After": "7",
}


@pytest.mark.parametrize("status", [200, 307, 404, 429])
def test_headers_of_the_inside_stay_inside(
    script: Script, front: Proxy, status: int
) -> None:
    """A client gets the headers that it reads, and none of the inside (T6)."""
    kept = [f"{name}: {value}" for name, value in KEPT.items()]
    lines = [f"HTTP/1.1 {status} at 10.1.2.3", *HEADERS, *kept]
    script.answer = "\r\n".join([*lines, ""]).encode() + TWO
    for path in (MANIFEST_PATH, BLOB):
        passed = get(front, path)
        assert passed.status_code == status
        assert KEPT.items() <= passed.headers.items()
        assert "10.1.2.3" not in f"{passed.reason} {passed.headers}"
        assert not {line.partition(":")[0] for line in HEADERS} & set(passed.headers)


def endless(head: bytes, piece: bytes) -> Iterator[bytes]:
    """Yield an answer that has no end."""
    yield head
    while True:
        yield piece


@pytest.mark.parametrize(
    ("path", "head", "piece"),
    [
        (MANIFEST_PATH, OK, b"X: " + b"x" * 1000 + b"\r\n"),
        (MANIFEST_PATH, IN_CHUNKS, CHUNK),
        (BLOB, b"HTTP/1.1 404 No\r\n" + CHUNKED, CHUNK),
    ],
    ids=["head", "manifest", "error"],
)
def test_endless_answer_is_not_held(path: str, head: bytes, piece: bytes) -> None:
    """What the proxy would have to hold has an end, and the client gets 502."""

    def answer(connection: socket.socket) -> None:
        for each in endless(head, piece):
            connection.sendall(each)

    with registry(answer) as url, Proxy(url, arguments=OPTIONS) as proxy:
        assert get(proxy, "/ping").text == "pong"
        before = peak_megabytes(proxy.process.pid)
        assert get(proxy, path).status_code == 502
        assert peak_megabytes(proxy.process.pid) - before < GROWTH_MEGABYTES_MAX
        assert "too long to be held" in proxy.log


def packed(body: bytes, coding: str) -> bytes:
    """Return the end of a head, with the body behind it."""
    head = f"Content-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def test_body_that_unpacks_to_much(script: Script, front: Proxy) -> None:
    """An error or a manifest that unpacks to more than may be held is 502."""
    bomb = packed(gzip.compress(bytes(400 << 20), 9), "gzip")
    assert len(bomb) < 1 << 20
    before = peak_megabytes(front.process.pid)
    for path, head in ((BLOB, b"HTTP/1.1 404 No\r\n"), (MANIFEST_PATH, OK)):
        script.answer = head + bomb
        refused = get(front, path)
        assert refused.status_code == 502
        assert refused.json()["errors"][0]["code"] == "UNAVAILABLE"
        assert "packed in a way that cannot be read" in refused.text
        assert f"[{refused.headers['X-Request-Id'][:8]}]" in front.log
    assert peak_megabytes(front.process.pid) - before < GROWTH_MEGABYTES_MAX


def test_body_that_was_packed_comes_as_asked_for(script: Script, front: Proxy) -> None:
    """What the registry packs without being asked to is unpacked, but for blobs."""
    body = packed(gzip.compress(b"{}"), "gzip")
    script.answer = OK + body
    manifest, blob = get(front, MANIFEST_PATH), get(front, BLOB)
    assert (manifest.content, manifest.headers["Content-Length"]) == (b"{}", "2")
    assert "Content-Encoding" not in manifest.headers
    assert (blob.content, blob.headers["Content-Encoding"]) == (b"{}", "gzip")
    head = ask(f"http://{front.host}{MANIFEST_PATH}", method="HEAD")
    assert not {"Content-Length", "Content-Encoding"} & set(head.headers)
