"""Requests that no container client sends, and several names at once.

What is answered, word by word, `tests/golden` has.
"""

import json
import re
import ssl
from collections.abc import Iterator

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from tests.golden.script import RAW
from tests.integration.raw import BYE, HOST, encrypted, receive, send
from tests.integration.session import TIMEOUT, logged_in, plain_session
from tests.integration.tool import wait_for_start
from tests.resolver.fake import ident

SLUG = "balenablocks/browser-aarch64"
LINES = (
    *("GET /metrics", "GET /v7/release", "GET /v2/_catalog", "GET /v2/A/b/manifests/1"),
    *("GET /v2/a/b/blobs/sha256:1", "DELETE /v2/a/b/manifests/1"),
    "OPTIONS /auth/v1/token",
)
REQUESTS = (
    *RAW,
    *(f"{line} HTTP/1.1\r\n".encode() + HOST + BYE for line in LINES),
    b"POST /auth/v1/token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
    + HOST + BYE + b"ffff\r\n" + bytes(0xFFFF),
)  # fmt: skip


@pytest.fixture(scope="module")
def front(cloud: LocalCloud) -> Iterator[Proxy]:
    """The proxy in front of it."""
    with Proxy(cloud.registry_url) as running:
        wait_for_start(running)
        yield running


@pytest.fixture(scope="module")
def encrypting(cloud: LocalCloud) -> Iterator[Proxy]:
    """One that speaks TLS as well."""
    with Proxy(cloud.registry_url, environment={"TLS": "authority"}) as running:
        wait_for_start(running)
        yield running


@pytest.mark.parametrize("request_bytes", REQUESTS, ids=ident)
def test_malformed_request_goes_nowhere(
    cloud: LocalCloud, front: Proxy, request_bytes: bytes
) -> None:
    """It gets a 4xx, or no answer; neither registry nor API hears of it."""
    assert cloud.registry is not None
    cloud.requests.clear()
    cloud.registry.requests.clear()
    head, _, body = send(front, request_bytes).partition(b"\r\n\r\n")
    if head:
        assert head.split()[1].startswith(b"4")
        assert json.loads(body)["errors"]
    # The registry may be asked for the name of its service, and for nothing else.
    assert {request.target for request in cloud.registry.requests} <= {"/v2/"}
    assert not list(cloud.requests)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("POST /auth/v1/token|Content-Length: 1000000", 413),
        ("POST /auth/v1/token|Content-Length: 1000000|Expect: 100-continue", 413),
        ("PUT /v2/a/b/manifests/1|Content-Length: 16385", 413),
        ("HEAD /v2/|Content-Length: 1000000", 413),
        ("PATCH /v2/a/b/blobs/uploads/1|Transfer-Encoding: chunked", 411),
        ("GET /v2/|Content-Length: +9", 400),
        ("PRI *", 400),
    ],
)
@pytest.mark.parametrize("is_encrypted", [False, True])
def test_body_is_refused_in_words(
    encrypting: Proxy, head: str, status: int, *, is_encrypted: bool
) -> None:
    """Its client reads why, though most of the body is still to come."""
    lines = head.replace("|", " HTTP/1.1|", 1) if "|" in head else f"{head} HTTP/1.1"
    sent = lines.replace("|", "\r\n").encode() + b"\r\n" + HOST + b"\r\n"
    if "Expect" not in head:
        sent += b"F4240\r\n" + bytes(1_000_000)
    if is_encrypted:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with encrypted(encrypting, context) as connection:
            connection.sendall(sent)
            answer = receive(connection)
    else:
        answer = send(encrypting, sent)
    answered, _, body = answer.partition(b"\r\n\r\n")
    if head.startswith("HEAD"):
        assert not body
    else:
        assert json.loads(body)["errors"]
    assert int(answered.split()[1]) == status
    assert b"Connection: close" in answered


def test_forwarding_headers_stay_here(cloud: LocalCloud, front: Proxy) -> None:
    """What a client writes into forwarding headers reaches neither side (R14, T2)."""
    forged = (
        b"X-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Host: evil.example\r\n"
        b"X-Forwarded-Proto: https\r\nForwarded: host=evil.example\r\nVia: 1.1 evil\r\n"
    )
    scope = f"scope=repository:{SLUG}/2.3.8:pull".encode()
    for path in (b"/v2/", b"/auth/v1/token?" + scope):
        answer = send(front, b"GET " + path + b" HTTP/1.1\r\n" + HOST + forged + BYE)
        assert answer.split()[1] in (b"200", b"401")
        assert b"evil" not in answer
    assert cloud.registry is not None
    for request in [*cloud.requests, *cloud.registry.requests]:
        assert "evil" not in str(request)
        assert "10.0.0.9" not in str(request)


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"TRUST_PROXY": "true"}, "https://hub.example"),
        ({"PUBLIC_URL": "https://fixed.example"}, "https://fixed.example"),
    ],
)
def test_realm_behind_a_terminator(
    cloud: LocalCloud, variables: dict[str, str], url: str
) -> None:
    """It is what the terminator's client used, where that is trusted, or as told.

    What was told is in the log beside the address at which the proxy listens.
    """
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "hub.example"}
    with Proxy(cloud.registry_url, environment=variables) as proxy:
        with plain_session() as session:
            base = f"http://{proxy.host}/v2/"
            answer = session.get(base, headers=headers, timeout=TIMEOUT)
        assert f'realm="{url}/auth/v1/token"' in answer.headers["WWW-Authenticate"]
        assert f"are served at http://127.0.0.1:{proxy.port};" in proxy.log
        told = f"; clients are sent to {url} (PUBLIC_URL)\n"
        assert (told in proxy.log) == ("PUBLIC_URL" in variables)


def test_refused_alias_does_not_spoil_the_rest(front: Proxy) -> None:
    """Each scope is read alone, whether repeated or joined by spaces (R3)."""
    url = f"http://{front.host}"
    names = (f"{SLUG}/2.3.8", f"{SLUG}/9.9.9", "alpine", f"{SLUG}/1.6.0")
    joined = ":pull repository:".join(names)
    with logged_in(url, joined) as session:
        status = [
            session.get(f"{url}/v2/{name}/manifests/latest", timeout=TIMEOUT)
            for name in (*names, f"{SLUG}/2.3.6")
        ]
    assert [answer.status_code for answer in status] == [200, 404, 400, 200, 401]


def test_private_and_absent_read_the_same(front: Proxy) -> None:
    """Nobody learns from a refusal whether an application exists (S11)."""
    url, shown = f"http://{front.host}", set()
    for slug in ("balenablocks/private-block", "balenablocks/nothing-here1"):
        with logged_in(url, slug) as session:
            answer = session.get(f"{url}/v2/{slug}/manifests/latest", timeout=TIMEOUT)
        text = re.sub(r"\[[0-9a-f]{8}\]", "[ID]", answer.text).replace(slug, "SLUG")
        shown.add((answer.status_code, text))
    assert len(shown) == 1
