"""The transport speaks HTTP with deadlines, limits, retries, and nothing else."""

import gzip
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from email.utils import formatdate
from pathlib import Path

import pytest

from resolver.errors import ServiceUnavailable
from resolver.grammar.reference import Slug
from resolver.grammar.selector import VersionReading
from resolver.release import query
from resolver.upstream.call import Attempt
from resolver.upstream.deadline import Deadline
from resolver.upstream.failure import origin
from resolver.upstream.transport import (
    ATTEMPTS,
    BODY_LENGTH_MAX,
    Transport,
    Verification,
    parse_retry_after,
)
from tests.resolver.fake import LOCATION, SOON, ident
from tests.resolver.server import HANG_UP, Reply, Server, connected, free_port

SECRET = "Bearer made-up-key-0123456789"


class Clock:
    """A clock that stands still until somebody turns it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_answer_is_whole() -> None:
    """Status, headers and body come back, with header names in any case."""
    server = Server([Reply(418, b"body", {"WWW-Authenticate": "Bearer x"})])
    with connected(server) as (ours, pauses):
        found = ours.get(f"{server.url}/v2/", deadline=SOON)
    assert (found.status, found.body, pauses) == (418, b"body", [])
    assert found.headers["www-authenticate"] == "Bearer x"
    assert found.retry_after is None


def test_each_attempt_is_told() -> None:
    """Whoever watches sees every request, its answer or why there is none."""
    seen: list[Attempt] = []
    server = Server([Reply(503), HANG_UP, Reply(200, b"body", {"X-Name": "value"})])
    with connected(server, tap=seen.append) as (ours, _):
        ours.get(f"{server.url}/v7/x?y", authorization=SECRET, deadline=SOON)
    assert [attempt.status for attempt in seen] == [503, None, 200]
    assert [bool(attempt.failure) for attempt in seen] == [False, True, False]
    assert {attempt.url for attempt in seen} == {f"{server.url}/v7/x?y"}
    assert seen[-1].body == b"body"
    assert dict(seen[-1].headers)["X-Name"] == "value"
    assert all(attempt.begin <= attempt.end for attempt in seen)
    assert SECRET not in repr(seen)


def test_head_asks_for_the_head() -> None:
    """A HEAD has the type that is wanted, and no body to wait for."""
    seen: list[Attempt] = []
    headers = {"Content-Length": "9999", "Docker-Content-Digest": "sha256:ab"}
    server = Server([HANG_UP, Reply(307, b"", headers)])
    with connected(server, tap=seen.append) as (ours, _):
        found = ours.head(
            f"{server.url}/v2/x", authorization=SECRET, accept="a/b", deadline=SOON
        )
    assert (found.status, found.body) == (307, b"")
    (*_, sent) = server.requests
    assert (sent.method, sent.headers["accept"]) == ("HEAD", "a/b")
    assert sent.headers["authorization"] == SECRET
    assert [attempt.method for attempt in seen] == ["HEAD", "HEAD"]


@pytest.mark.parametrize("authorization", [None, SECRET])
def test_request_has_what_it_needs(authorization: str | None) -> None:
    """A request has our name, JSON as its wish, the credential, and nothing else."""
    server = Server([Reply()])
    with connected(server) as (ours, _):
        ours.get(f"{server.url}/v2/", authorization=authorization, deadline=SOON)
    (sent,) = server.requests
    expected = {
        "host": server.url.removeprefix("http://"),
        "accept-encoding": "identity",
        "user-agent": "balena-registry-proxy",
        "accept": "application/json",
    }
    if authorization:
        expected["authorization"] = authorization
    assert sent.headers == expected


@pytest.mark.parametrize(
    "target",
    [
        "/v7/"
        + query.releases(Slug("org/it's"), [VersionReading("1.0.0+a b&c%27(,;:=)é")]),
        "/auth/v1/token?service=r&scope=repository%3Av2%2F00%3Apull&scope=a%3Ab",
        "/v7/release?$filter=a/b%20eq%20'%27%27'",
    ],
    ids=["query", "token", "quotes"],
)
def test_target_goes_out_as_it_is(target: str) -> None:
    """No library on the way encodes a query anew: the API would not read it."""
    server = Server([Reply()])
    with connected(server) as (ours, _):
        ours.get(server.url + target, deadline=SOON)
    assert [sent.target for sent in server.requests] == [target]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_not_followed(status: int) -> None:
    """A redirect is an answer like others, so no credential follows it."""
    other = Server([])
    with other:
        server = Server([Reply(status, headers={"Location": f"{other.url}/x"})])
        with connected(server) as (ours, _):
            found = ours.get(server.url, authorization=SECRET, deadline=SOON)
    assert found.status == status
    assert (len(server.requests), other.requests) == (1, [])


@pytest.mark.parametrize(
    "location", ["/x", "/\xff", "http://[::1/", "http://other.example/"]
)
def test_redirect_is_read_like_any_answer(location: str) -> None:
    """Neither where it leads nor how long it is makes a difference."""
    headers = {"Location": location}
    short = Reply(302, b"x", headers)
    long = Reply(302, b"x" * (BODY_LENGTH_MAX + 1), headers)
    server = Server([short, long])
    with connected(server) as (ours, _):
        assert ours.get(server.url, deadline=SOON).status == 302
        with pytest.raises(ServiceUnavailable):
            ours.get(server.url, deadline=SOON)


def test_cookie_is_never_sent_back() -> None:
    """The connections are shared by many credentials, so no state is kept."""
    server = Server([Reply(headers={"Set-Cookie": "session=x; Path=/"}), Reply()])
    with connected(server) as (ours, _):
        ours.get(server.url, deadline=SOON)
        ours.get(server.url, deadline=SOON)
    assert ["cookie" in sent.headers for sent in server.requests] == [False, False]


def test_environment_adds_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither ``.netrc`` nor proxies of the environment have a say."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
        monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server = Server([Reply()])
    with connected(server) as (ours, _):
        assert ours.get(server.url, deadline=SOON).status == 200
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_body_is_limited(*, chunked: bool) -> None:
    """A body is read up to its limit, and one byte more is refused."""
    full = b"x" * BODY_LENGTH_MAX
    server = Server(
        [Reply(body=full, chunked=chunked), Reply(body=full + b"x", chunked=chunked)]
    )
    with connected(server) as (ours, pauses):
        assert len(ours.get(server.url, deadline=SOON).body) == BODY_LENGTH_MAX
        with pytest.raises(ServiceUnavailable):
            ours.get(server.url, deadline=SOON)
    assert (len(server.requests), pauses) == (2, [])


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_compressed_body_is_limited(*, chunked: bool) -> None:
    """A body counts as it is unpacked, so that a small one cannot fill the memory."""
    small, bomb = gzip.compress(b"unpacked"), gzip.compress(bytes(BODY_LENGTH_MAX + 1))
    packed = {"Content-Encoding": "gzip"}
    server = Server([Reply(200, body, packed, chunked) for body in (small, bomb)])
    with connected(server) as (ours, _):
        assert ours.get(server.url, deadline=SOON).body == b"unpacked"
        with pytest.raises(ServiceUnavailable):
            ours.get(server.url, deadline=SOON)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_slow_body_is_given_up(*, chunked: bool) -> None:
    """A body that comes byte by byte is not waited for past the deadline."""
    clock = Clock()

    def trickle() -> Iterator[bytes]:
        yield b"x"
        clock.now = 61.0
        yield b"y"
        server.ended.wait()

    server = Server([Reply(body=trickle(), chunked=chunked)])
    with connected(server) as (ours, pauses):
        started = time.monotonic()
        with pytest.raises(ServiceUnavailable):
            ours.get(server.url, deadline=Deadline.after(60, clock))
        assert time.monotonic() - started < 30
        server.ended.set()
    assert (len(server.requests), pauses) == (1, [])


@pytest.mark.parametrize(
    "begun", [b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\nX-Slow: "], ids=["status", "header"]
)
def test_slow_head_is_given_up(begun: bytes) -> None:
    """A head that comes byte by byte is not waited for past the deadline either."""
    hung_up = threading.Event()

    def trickle(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(begun)
            for _ in range(400):
                connection.sendall(b"1")
                if hung_up.wait(0.05):
                    break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=trickle, args=[listener])
        server.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        started = time.monotonic()
        with (
            closing(Transport(Verification())) as ours,
            pytest.raises(ServiceUnavailable),
        ):
            ours.get(url, deadline=Deadline.after(0.5))
        waited = time.monotonic() - started
        hung_up.set()
        server.join()
    assert waited < 10


def test_close_ends_what_waits() -> None:
    """Who waits for an answer at the end is told at once that there is none."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        ThreadPoolExecutor() as pool,
    ):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        ours = Transport(Verification())
        asking = pool.submit(ours.get, url, deadline=Deadline.after(60))
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(65536)
            started = time.monotonic()
            while not asking.done():
                ours.close()
        with pytest.raises(ServiceUnavailable):
            asking.result()
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 401 Unauthorized\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Le",
        b"HTTP/1.1 401 Unauth",
    ],
)
def test_cut_head_is_no_answer(sent: bytes) -> None:
    """A head that breaks off says nothing, least of all that a key is refused."""

    def answer(listener: socket.socket) -> None:
        for _ in range(ATTEMPTS):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(sent)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer, args=[listener])
        server.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with (
            closing(Transport(Verification(), sleep=lambda _: None)) as ours,
            pytest.raises(ServiceUnavailable),
        ):
            ours.get(url, deadline=SOON)
        server.join()


def test_cut_body_is_no_answer() -> None:
    """A body shorter than its declared length is a failure, not half an answer."""
    server = Server([Reply(body=b"half", headers={"Content-Length": "8"})])
    with connected(server) as (ours, _), pytest.raises(ServiceUnavailable):
        ours.get(server.url, deadline=SOON)


def test_past_deadline_makes_no_request() -> None:
    """Once the time is over nothing is sent any more."""
    server = Server([])
    with connected(server) as (ours, _), pytest.raises(ServiceUnavailable):
        ours.get(server.url, deadline=Deadline(at=1.0, clock=lambda: 1.0))
    assert server.requests == []


@pytest.mark.parametrize(
    ("replies", "status", "requests"),
    [
        ([Reply(200)], 200, 1),
        ([Reply(503), Reply(200)], 200, 2),
        ([Reply(502), Reply(504), Reply(200)], 200, 3),
        ([Reply(429), Reply(429), Reply(429), Reply(200)], 429, 3),
        ([Reply(503), Reply(503), Reply(503), Reply(200)], 503, 3),
        ([Reply(503), Reply(404)], 404, 2),
        ([HANG_UP, Reply(200)], 200, 2),
        ([HANG_UP, Reply(503), Reply(200)], 200, 3),
        ([Reply(500), Reply(200)], 500, 1),
        ([Reply(401), Reply(200)], 401, 1),
        ([Reply(404), Reply(200)], 404, 1),
        ([Reply(400), Reply(200)], 400, 1),
    ],
    ids=lambda value: (
        "-".join(str(reply.status) for reply in value)
        if isinstance(value, list)
        else str(value)
    ),
)
def test_retries(replies: list[Reply], status: int, requests: int) -> None:
    """What may pass is tried three times, with growing pauses; the rest once."""
    server = Server(replies)
    with connected(server) as (ours, pauses):
        found = ours.get(server.url, authorization=SECRET, deadline=SOON)
    assert (found.status, len(server.requests)) == (status, requests)
    assert {sent.headers["authorization"] for sent in server.requests} == {SECRET}
    assert len(pauses) == requests - 1
    for pause, most in zip(pauses, (0.2, 0.8), strict=False):
        assert most / 2 <= pause <= most


def test_broken_connections_are_given_up() -> None:
    """A server that always hangs up is asked three times."""
    server = Server([HANG_UP] * 4)
    with connected(server) as (ours, pauses), pytest.raises(ServiceUnavailable):
        ours.get(server.url, deadline=SOON)
    assert (len(server.requests), len(pauses)) == (3, 2)


def test_refused_connection_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """Where nobody listens the client is told to try later, and the log says why."""
    pauses: list[float] = []
    url = f"http://127.0.0.1:{free_port()}"
    with (
        closing(Transport(Verification(), sleep=pauses.append)) as ours,
        pytest.raises(ServiceUnavailable) as caught,
    ):
        ours.get(
            f"{url}/auth/v1/token?scope={LOCATION}",
            authorization=SECRET,
            deadline=SOON,
        )
    assert caught.value.headers == (("Retry-After", "10"),)
    assert "127.0.0.1" not in caught.value.message
    assert len(pauses) == 2
    (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert record.getMessage().startswith(f"{url} does not answer: ConnectionRefused")
    shown = record.getMessage() + caught.value.message
    assert LOCATION not in shown
    assert SECRET not in caplog.text + shown


@pytest.mark.parametrize(
    ("header", "remaining", "requests", "pause"),
    [
        ("1", 10.0, 2, 1.0),
        ("4", 10.0, 2, 4.0),
        ("5", 10.0, 1, None),
        ("3600", 10.0, 1, None),
        ("soon", 10.0, 2, None),
        ("0", 10.0, 2, None),
        ("0", 0.2, 1, None),
    ],
)
def test_retry_after_is_obeyed(
    header: str, remaining: float, requests: int, pause: float | None
) -> None:
    """The pause is as long as asked, or the answer is passed on where time is short."""
    server = Server([Reply(429, headers={"Retry-After": header}), Reply(200)])
    with connected(server) as (ours, pauses):
        found = ours.get(server.url, deadline=Deadline(remaining, lambda: 0.0))
    assert (found.status, len(server.requests)) == (
        200 if requests > 1 else 429,
        requests,
    )
    assert pause is None or pauses == [pause]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        (" 7 ", 7),
        ("120", 120),
        ("86401", 86400),
        ("9" * 5000, None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2815 07:28:00 GMT", 86400),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 99999999999 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999", None),
    ],
    ids=ident,
)
def test_retry_after(value: str | None, seconds: int | None) -> None:
    """``Retry-After`` has seconds or a date; anything else says nothing."""
    assert parse_retry_after(value) == seconds


def test_retry_after_date_is_ahead() -> None:
    """A date says how long to wait from now on."""
    found = parse_retry_after(formatdate(time.time() + 100, usegmt=True))
    assert found is not None
    assert 60 < found <= 100


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.example.com/v7/release?$filter=x", "https://api.example.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_origin(url: str, expected: str) -> None:
    """A log shows scheme and host of a URL alone."""
    assert origin(url) == expected


def test_deadline_counts_down() -> None:
    """What remains shrinks with the clock, and is never negative."""
    clock = Clock()
    deadline = Deadline.after(2.5, clock)
    remaining = []
    for now in (0.0, 1.0, 2.5, 99.0):
        clock.now = now
        remaining.append(deadline.remaining)
    assert remaining == [2.5, 1.5, 0.0, 0.0]
