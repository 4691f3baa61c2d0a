"""The client speaks HTTP with deadlines, limits, retries, and nothing else."""

import contextlib
import gzip
import itertools
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from contextvars import copy_context
from pathlib import Path

import pytest

from localcloud.relay import Relay
from localcloud.server import Response
from registry_proxy.port import free_port
from resolver.errors import Reason, ServiceUnavailable
from resolver.upstream.deadline import Deadline
from resolver.upstream.observer import Call, Event
from resolver.upstream.outgoing import Proxies
from resolver.upstream.pause import TRIES, Pause, current_try
from resolver.upstream.transport import (
    BODY_LENGTH_MAX,
    SEARCH_LENGTH_MAX,
    VIA,
    Answer,
    Transport,
    Verification,
    parse_retry_after,
)
from tests.authority import Authority
from tests.resolver.fake import LOCATION, SOON, ident
from tests.resolver.server import HANG_UP, connected

SECRET = "Bearer made-up-key-0123456789"


@pytest.fixture
def ours() -> Iterator[Transport]:
    """The client, which waits for nothing between two tries."""
    with closing(Transport(Verification(), sleep=lambda _: None)) as transport:
        yield transport


@pytest.mark.parametrize("status", [200, 301, 307, 418])
def test_answer_is_whole(status: int) -> None:
    """Status, headers and body come back; a redirect is an answer like others."""
    headers = (("WWW-Authenticate", "Bearer x"), ("Location", "http://other.example/"))
    with connected(Response(status, headers, b"body")) as (ours, server, pauses):
        found = ours.get(f"{server.url}/v2/", authorization=SECRET, deadline=SOON)
        assert len(server.requests) == 1
    assert (found.status, found.body, pauses) == (status, b"body", [])
    assert found.headers["www-authenticate"] == "Bearer x"
    assert found.retry_after is None


def test_head_asks_for_the_head() -> None:
    """A HEAD has the type that is wanted, and no body to wait for."""
    reply = Response(307, (("Content-Length", "9999"),))
    with connected(HANG_UP, reply) as (ours, server, _):
        found = ours.head(
            f"{server.url}/v2/x", authorization=SECRET, accept="a/b", deadline=SOON
        )
        (*_, sent) = server.requests
    assert (found.status, found.body) == (307, b"")
    assert (sent.method, sent.header("accept")) == ("HEAD", "a/b")
    assert sent.header("authorization") == SECRET


def test_request_for_a_token_says_whose_it_is() -> None:
    """A proxy knows its own, should a realm lead back to it; of no other request."""
    with connected(Response(200), Response(200)) as (ours, server, _):
        ours.grant(server.url, authorization=None, form=b"a=b", deadline=SOON)
        ours.get(server.url, deadline=SOON)
        sent = [request.header("Via") for request in server.requests]
    assert sent == [VIA, None]


@pytest.mark.parametrize(("length", "is_taken"), [(64 << 10, True), (65537, False)])
def test_answer_with_a_token_is_small(length: int, *, is_taken: bool) -> None:
    """Nobody holds up the others with a long answer that has to be parsed."""
    with connected(Response(403, (), b" " * length)) as (ours, server, _):
        url, given = server.url, contextlib.nullcontext()
        with given if is_taken else pytest.raises(ServiceUnavailable):
            found = ours.grant(url, authorization=None, form=None, deadline=SOON)
            assert len(found.body) == length


@pytest.mark.parametrize("authorization", [None, SECRET])
def test_request_has_what_it_needs(
    authorization: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It has our name, a type and the credential; no cookie, and no environment's say.

    The connections are shared by many credentials.
    """
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    cookie = Response(200, (("Set-Cookie", "session=x; Path=/"),))
    with connected(cookie, Response(200)) as (ours, server, _):
        for _ in range(2):
            ours.get(f"{server.url}/", authorization=authorization, deadline=SOON)
        sent = [dict(request.headers) for request in server.requests]
    expected = {
        "Host": server.host,
        "Accept-Encoding": "identity",
        "User-Agent": "balena-registry-proxy",
        "Accept": "application/json",
    } | ({"Authorization": authorization} if authorization else {})
    assert sent == [expected] * 2


@pytest.mark.parametrize(
    "target",
    [
        "/auth/v1/token?service=r&scope=repository%3Av2%2F00%3Apull&scope=a%3Ab",
        "/v7/release?$filter=a/any(a:a/b%20eq%20'%27%27%2B&%25(,;:=)%C3%A9')",
    ],
    ids=["token", "query"],
)
def test_target_goes_out_as_it_is(target: str) -> None:
    """No library on the way encodes a query anew: the API would not read it."""
    with connected(Response(200)) as (ours, server, _):
        ours.get(server.url + target, deadline=SOON)
        assert [sent.target for sent in server.requests] == [target]


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Yield the URL of a server that treats each connection like that."""

    def serve() -> None:
        with suppress(OSError):
            for _ in range(TRIES):
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    answer(connection)

    with (
        ThreadPoolExecutor() as pool,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        pool.submit(serve)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(
    "head",
    [
        b"200 OK\r\nContent-Encoding: gzip",
        b"302 Found\r\nLocation: /\xff",
        b"302 Found\r\nLocation: http://[::1/",
    ],
    ids=["gzip", "redirect", "redirect to nowhere"],
)
def test_body_is_limited(ours: Transport, head: bytes, *, chunked: bool) -> None:
    """A body is read up to its limit, as it is unpacked, and no further."""
    lengths = [BODY_LENGTH_MAX, BODY_LENGTH_MAX + 1]
    asked = []

    def answer(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        body = bytes(lengths[len(asked) - 1])
        body = gzip.compress(body) if b"gzip" in head else body
        framing = b"Content-Length: %d\r\n\r\n" % len(body)
        if chunked:
            framing = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)
            body += b"\r\n0\r\n\r\n"
        connection.sendall(b"HTTP/1.1 %s\r\nConnection: close\r\n" % head)
        connection.sendall(framing + body)

    with answering(answer) as url:
        assert ours.get(url, deadline=SOON).body == bytes(BODY_LENGTH_MAX)
        with pytest.raises(ServiceUnavailable):
            ours.get(url, deadline=SOON)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(bytes(BODY_LENGTH_MAX * 50)), "gzip"),
        (zlib.compress(bytes(BODY_LENGTH_MAX * 50)), "deflate"),
        (gzip.compress(gzip.compress(bytes(BODY_LENGTH_MAX * 50))), "gzip, gzip"),
    ],
    ids=["gzip", "deflate", "gzip twice"],
)
def test_body_is_unpacked_piece_by_piece(
    ours: Transport, body: bytes, coding: str
) -> None:
    """A small piece that unpacks to much does not do so all at once."""
    head = f"Content-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head.encode() + body)

    with answering(answer) as url:
        tracemalloc.start()
        with pytest.raises(ServiceUnavailable):
            ours.get(url, deadline=SOON)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 3 * BODY_LENGTH_MAX


@pytest.mark.parametrize(
    "begin",
    [
        b"HTTP/1.1 ",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n",
    ],
    ids=["status", "header", "length", "chunked"],
)
def test_slow_answer_is_given_up(ours: Transport, begin: bytes) -> None:
    """What comes byte by byte is not waited for past the deadline."""
    over = threading.Event()

    def trickle(connection: socket.socket) -> None:
        connection.sendall(begin)
        for _ in range(400):
            connection.sendall(b"1")
            if over.wait(0.05):
                break

    with answering(trickle) as url:
        started = time.monotonic()
        with pytest.raises(ServiceUnavailable) as failed:
            ours.get(url, deadline=Deadline.after(0.5))
        over.set()
    assert time.monotonic() - started < 10
    assert failed.value.reason is Reason.TIMEOUT


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_slow_proxy_is_given_up(scheme: str) -> None:
    """Nor is that, whether it makes a tunnel or answers itself."""
    over = threading.Event()

    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(400):
            connection.sendall(b"1")
            if over.wait(0.05):
                break

    with answering(trickle) as url:
        proxies = Proxies.of({"ALL_PROXY": url})
        started = time.monotonic()
        with (
            closing(Transport(Verification(), proxies=proxies)) as ours,
            pytest.raises(ServiceUnavailable) as failed,
        ):
            ours.get(f"{scheme}://registry.test/", deadline=Deadline.after(0.5))
        over.set()
    assert time.monotonic() - started < 10
    place = url.removeprefix("http://")
    said = f"it takes too long, through the proxy {place}"
    assert said in failed.value.explanation


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 401 Unauthorized\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Le",
        b"HTTP/1.1 401 Unauth",
        b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf",
    ],
)
def test_cut_answer_is_none(ours: Transport, sent: bytes) -> None:
    """What breaks off says nothing, least of all that a key is refused."""

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(sent)

    with answering(answer) as url, pytest.raises(ServiceUnavailable):
        ours.get(url, deadline=SOON)


def test_close_ends_what_waits(ours: Transport) -> None:
    """Who waits for an answer at the end is told at once that there is none."""
    asked, over = threading.Event(), threading.Event()

    def wait(connection: socket.socket) -> None:
        connection.recv(65536)
        asked.set()
        over.wait(30)

    started = time.monotonic()
    with answering(wait) as url, ThreadPoolExecutor() as pool:
        asking = pool.submit(ours.get, url, deadline=Deadline.after(60))
        asked.wait(30)
        while not asking.done():
            ours.close()
        over.set()
        with pytest.raises(ServiceUnavailable):
            asking.result()
    assert time.monotonic() - started < 30


def test_past_deadline_makes_no_request() -> None:
    """Once the time is over nothing is sent any more."""
    with connected() as (ours, server, _):
        with pytest.raises(ServiceUnavailable):
            ours.get(server.url, deadline=Deadline(at=1.0, clock=lambda: 1.0))
        assert not server.requests


@pytest.mark.parametrize(
    ("statuses", "status", "requests"),
    [
        ([502, 504, 200], 200, 3),
        ([429, 429, 429, 200], 429, 3),
        ([503, 404], 404, 2),
        ([0, 503, 200], 200, 3),
        ([0, 0, 0, 200], None, 3),
        ([500, 200], 500, 1),
        ([401, 200], 401, 1),
    ],
    ids=ident,
)
def test_retries(statuses: Sequence[int], status: int | None, requests: int) -> None:
    """What may pass is tried three times, with growing pauses; the rest once.

    With 0 the server hangs up.
    """
    replies = [Response(each) if each else HANG_UP for each in statuses]
    with connected(*replies) as (ours, server, pauses):
        try:
            answer = ours.get(server.url, authorization=SECRET, deadline=SOON)
            assert answer.status == status
        except ServiceUnavailable:
            assert status is None
        sent = [request.header("Authorization") for request in server.requests]
    assert sent == [SECRET] * requests
    assert len(pauses) == requests - 1
    for pause, most in zip(pauses, (0.2, 0.8), strict=False):
        assert most / 2 <= pause <= most


def test_refused_connection_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """Where nobody listens the client is told to try later, and the log says why."""
    pauses: list[float] = []
    url = f"http://127.0.0.1:{free_port()}"
    target = f"{url}/auth/v1/token?scope={LOCATION}"
    with (
        closing(Transport(Verification(), sleep=pauses.append)) as ours,
        pytest.raises(ServiceUnavailable) as caught,
    ):
        ours.get(target, authorization=SECRET, deadline=SOON)
    assert caught.value.headers == (("Retry-After", "10"),)
    assert "127.0.0.1" not in caught.value.message
    assert len(pauses) == 2
    why = caught.value.explanation
    assert why == f"{url} does not answer: it refuses the connection"
    shown = why + caught.value.message
    assert LOCATION not in shown
    assert SECRET not in caplog.text + shown


@pytest.mark.parametrize(
    ("header", "remaining", "requests", "pause"),
    [
        ("4", 10.0, 2, 4.0),
        ("5", 10.0, 1, None),
        ("soon", 10.0, 2, None),
        ("0", 10.0, 2, None),
        ("0", 0.2, 1, None),
    ],
)
def test_retry_after_is_obeyed(
    header: str, remaining: float, requests: int, pause: float | None
) -> None:
    """The pause is as long as asked, or the answer is passed on where time is short."""
    reply = Response(429, (("Retry-After", header),))
    with connected(reply, Response(200)) as (ours, server, pauses):
        found = ours.get(server.url, deadline=Deadline(remaining, lambda: 0.0))
        assert len(server.requests) == requests
    assert found.status == (200 if requests > 1 else 429)
    assert pause is None or pauses == [pause]


def test_limited_login_is_not_asked_for_again() -> None:
    """Whoever has it is told so without the server; other logins are answered."""
    limit = Response(429, (("Retry-After", "60"),))
    with connected(limit, Response(200), Response(200)) as (ours, server, pauses):
        for _ in range(32):
            found = ours.get(server.url, authorization=SECRET, deadline=SOON)
            assert (found.status, found.retry_after) == (429, 60)
        for other in (f"{SECRET}x", None):
            found = ours.get(server.url, authorization=other, deadline=SOON)
            assert found.status == 200
        assert len(server.requests) == 3
    assert pauses == []


def test_pause_is_anothers_to_wait_for() -> None:
    """Where somebody awaits it, no thread sleeps; the last try has none."""
    replies = [Response(503), HANG_UP, Response(503)]
    with connected(*replies) as (ours, server, pauses):

        def attempt(number: int) -> int:
            current_try.set(number)
            return ours.get(server.url, deadline=SOON).status

        for number in range(1, TRIES):
            with pytest.raises(Pause):
                copy_context().run(attempt, number)
        assert copy_context().run(attempt, TRIES) == 503
    assert pauses == []


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *((None, None), (" 7 ", 7), ("86401", 86400), ("9" * 5000, None)),
        *(("-1", None), ("1.5", None), ("soon", None), ("", None)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2815 07:28:00 GMT", 86400),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999", None),
    ],
    ids=ident,
)
def test_retry_after(value: str | None, seconds: int | None) -> None:
    """``Retry-After`` has seconds or a date; anything else says nothing."""
    assert parse_retry_after(value) == seconds


def test_retry_after_is_by_the_clock_of_who_answers() -> None:
    """A clock that was set, here or there, makes no pause longer or shorter."""
    date, later = "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:05 GMT"
    assert Answer(429, {"Date": date, "Retry-After": later}, b"").retry_after == 5


class Calls(list[Call]):
    """The calls that an observer was told of."""

    def note(self, event: Event) -> None:
        """Keep it, if it is one."""
        if isinstance(event, Call):
            self.append(event)


@pytest.mark.parametrize("replies", [(Response(200),), (HANG_UP,) * TRIES], ids=len)
def test_call_ends_after_it_began(
    replies: Sequence[Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the clock is set back in the meantime, again and again."""
    moments = itertools.count(2_000_000_000, -3600)
    monkeypatch.setattr(time, "time", lambda: float(next(moments)))
    calls = Calls()
    with (
        connected(*replies, observer=calls) as (ours, server, _),
        suppress(ServiceUnavailable),
    ):
        ours.get(f"{server.url}/v2/", authorization=None, deadline=SOON)
    assert len(calls) == len(replies)
    assert all(call.end >= call.begin for call in calls)


def search(ours: Transport, url: str, method: str = "GET") -> int:
    """Return the status that a search for a blob finds."""
    found = ours.search(url, method=method, authorization=SECRET, deadline=SOON)
    assert found.body == b""
    return found.status


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [206, 429, 503])
def test_search_asks_for_a_byte(method: str, status: int) -> None:
    """It is like the client's request, who itself is told of an error."""
    reply = Response(status, (("Retry-After", "1"),), b"x")
    with connected(reply) as (ours, server, _):
        assert search(ours, f"{server.url}/v2/x", method) == status
        (sent,) = server.requests
    assert (sent.method, sent.target) == (method, "/v2/x")
    assert dict(sent.headers) == {
        "Host": server.host,
        "Accept-Encoding": "identity",
        "User-Agent": "balena-registry-proxy",
        "Accept": "*/*",
        "Range": "bytes=0-0",
        "Authorization": SECRET,
    }


@pytest.mark.parametrize(
    ("length", "connections"), [(0, 1), (SEARCH_LENGTH_MAX, 1), (8 << 20, 3)]
)
def test_connection_is_kept_where_that_costs_little(
    length: int, connections: int
) -> None:
    """A short body is read away; a long one is left, and its connection closed."""
    replies = [Response(307, (("Location", "/x"),), bytes(length))] * 3
    with (
        connected(*replies) as (ours, server, _),
        Relay(int(server.host.rpartition(":")[2])) as cable,
    ):
        for _ in replies:
            assert search(ours, f"http://127.0.0.1:{cable.port}/") == 307
        assert cable.accepted == connections


def test_signed_url_is_not_in_the_log(
    ours: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    """A signed URL that cannot be used is not told, nor one whose host is silent."""
    port = free_port()
    for place in (f"127.0.0.1:{port}", "127.0.0.1:99999"):
        with pytest.raises(ServiceUnavailable) as failed:
            search(ours, f"http://{place}/x?Signature=abc")
        assert f"http://{place} does not answer: " in failed.value.explanation
        assert "Signature" not in failed.value.message + failed.value.explanation
    assert "Signature" not in caplog.text


def test_connection_is_there_before_it_is_needed(tmp_path: Path) -> None:
    """One that is prepared carries the request; another is made where none is left."""
    authority = Authority("private")
    verification = Verification(ca_file=authority.write_file(tmp_path / "ca.pem"))
    with (
        connected(
            *[Response(200)] * 2,
            tls=authority.server_context(tmp_path),
            verification=verification,
        ) as (ours, server, pauses),
        Relay(int(server.host.rpartition(":")[2])) as cable,
    ):
        url = f"{server.url.rpartition(':')[0]}:{cable.port}"
        for number in (1, 2):
            ours.prepare(url)
            ours.prepare(url)
            assert (cable.accepted, len(server.requests)) == (number, number - 1)
            assert ours.get(url, deadline=SOON).status == 200
            assert cable.accepted == number
            cable.drop()
    assert not pauses


def test_connection_that_cannot_be_prepared(ours: Transport, tmp_path: Path) -> None:
    """The request says what is wrong: nobody is there, or nobody who is trusted."""
    tls = Authority("stranger").server_context(tmp_path)
    with connected(tls=tls) as (_, server, _):
        for url in (server.url, f"http://127.0.0.1:{free_port()}", "http://[::1/"):
            ours.prepare(url)
        with pytest.raises(ServiceUnavailable):
            ours.get(server.url, authorization=SECRET, deadline=SOON)
        assert not server.requests
