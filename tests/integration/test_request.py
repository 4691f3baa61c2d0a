"""Requests that no container client sends: answered clearly, and never forwarded."""

import json
from collections.abc import Iterator

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from tests.integration.raw import BYE, HOST, send


@pytest.fixture(scope="module")
def front(cloud: LocalCloud) -> Iterator[Proxy]:
    """The proxy in front of it."""
    with Proxy(cloud.registry_url) as running:
        yield running


def refusal(proxy: Proxy, request: bytes) -> tuple[int, str, str]:
    """Send bytes; return the status, code and message of the answer."""
    head, _, body = send(proxy, request).partition(b"\r\n\r\n")
    (error,) = json.loads(body)["errors"]
    return int(head.split()[1]), error["code"], error["message"]


REQUESTS = {
    "unknown path": (b"GET /metrics HTTP/1.1\r\n" + HOST + BYE, 404),
    "OData": (b"GET /v7/release HTTP/1.1\r\n" + HOST + BYE, 404),
    "catalog": (b"GET /v2/_catalog HTTP/1.1\r\n" + HOST + BYE, 404),
    "dots": (b"GET /v2/../v7/release HTTP/1.1\r\n" + HOST + BYE, 400),
    "double slash": (b"GET /v2//manifests/latest HTTP/1.1\r\n" + HOST + BYE, 400),
    "percent": (b"GET /v2/a%2Fb/manifests/1 HTTP/1.1\r\n" + HOST + BYE, 400),
    "not UTF-8": (b"GET /v2/a/\xff/manifests/1 HTTP/1.1\r\n" + HOST + BYE, 400),
    "upper case": (b"GET /v2/A/b/manifests/1 HTTP/1.1\r\n" + HOST + BYE, 400),
    "one component": (b"GET /v2/alpine/manifests/1 HTTP/1.1\r\n" + HOST + BYE, 400),
    "long name": (
        b"GET /v2/a/" + b"b" * 300 + b"/tags/list HTTP/1.1\r\n" + HOST + BYE,
        400,
    ),
    "bad digest": (b"GET /v2/a/b/blobs/sha256:1 HTTP/1.1\r\n" + HOST + BYE, 400),
    "bad tag": (b"GET /v2/a/b/manifests/.x HTTP/1.1\r\n" + HOST + BYE, 400),
    "delete": (b"DELETE /v2/a/b/manifests/1 HTTP/1.1\r\n" + HOST + BYE, 405),
    "put with body": (
        b"PUT /v2/a/b/manifests/1 HTTP/1.1\r\nContent-Length: 2\r\n"
        + HOST + BYE + b"{}",
        405,
    ),
    "token delete": (b"DELETE /auth/v1/token HTTP/1.1\r\n" + HOST + BYE, 405),
    "token head": (b"OPTIONS /auth/v1/token HTTP/1.1\r\n" + HOST + BYE, 405),
    "refresh token": (
        b"POST /auth/v1/token HTTP/1.1\r\nContent-Length: 24\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n"
        + HOST + BYE + b"grant_type=refresh_token",
        404,
    ),
    "refresh token in chunks": (
        b"POST /auth/v1/token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n"
        + HOST + BYE + b"18\r\ngrant_type=refresh_token\r\n0\r\n\r\n",
        404,
    ),
    "bad authorization": (
        b"GET /auth/v1/token HTTP/1.1\r\nAuthorization: Digest x\r\n" + HOST + BYE,
        400,
    ),
    "bad base64": (
        b"GET /auth/v1/token HTTP/1.1\r\nAuthorization: Basic !!\r\n" + HOST + BYE,
        400,
    ),
    "bad suffix": (
        b"GET /v2/a/b/manifests/1 HTTP/1.1\r\nAuthorization: Bearer x.y.z~%%\r\n"
        + HOST + BYE,
        401,
    ),
    "no host": (b"GET /v2/ HTTP/1.1\r\n" + BYE, 400),
    "host with path": (b"GET /v2/ HTTP/1.1\r\nHost: a/b\r\n" + BYE, 400),
    "host with user": (b"GET /v2/ HTTP/1.1\r\nHost: u@evil\r\n" + BYE, 400),
    "host with quote": (b'GET /v2/ HTTP/1.1\r\nHost: a",b="\r\n' + BYE, 400),
    "two hosts": (b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + BYE, 400),
    "absolute": (b"GET http://evil.example/v2/ HTTP/1.1\r\n" + HOST + BYE, 400),
    "connect": (b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + BYE, 400),
    "no HTTP": (b"hello\r\n\r\n", 400),
    "two lengths": (
        b"POST /auth/v1/token HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n"
        + HOST + BYE + b"xxx",
        400,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("request_bytes", "status"), REQUESTS.values(), ids=REQUESTS.keys()
)
def test_malformed_request_goes_nowhere(
    cloud: LocalCloud, front: Proxy, request_bytes: bytes, status: int
) -> None:
    """It gets a 4xx with an OCI body; neither registry nor API hears of it (T5)."""
    assert cloud.registry is not None
    cloud.requests.clear()
    cloud.registry.requests.clear()
    said, code, message = refusal(front, request_bytes)
    assert said == status
    assert code in {"NAME_INVALID", "UNSUPPORTED", "UNAUTHORIZED"}
    assert len(message) > 10
    # The registry may be asked for the name of its service, and for nothing else.
    assert {request.target for request in cloud.registry.requests} <= {"/v2/"}
    assert not list(cloud.requests)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /auth/v1/token HTTP/1.1\r\nContent-Length: 999999999\r\n" + HOST + BYE,
        b"PUT /v2/a/b/blobs/uploads/1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
        + HOST + BYE,
        b"POST /auth/v1/token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
        + HOST + BYE + b"ffff\r\n" + bytes(0xFFFF),
    ],
    ids=["huge", "endless", "endless form"],
)  # fmt: skip
def test_large_body_ends_the_connection(front: Proxy, request_bytes: bytes) -> None:
    """A body that nobody asked for is not waited for."""
    assert send(front, request_bytes) == b""


def test_forwarding_headers_stay_here(cloud: LocalCloud, front: Proxy) -> None:
    """What a client writes into forwarding headers reaches neither side (R14, T2)."""
    forged = (
        b"X-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Host: evil.example\r\n"
        b"X-Forwarded-Proto: https\r\nForwarded: host=evil.example\r\nVia: 1.1 evil\r\n"
    )
    scope = b"scope=repository:balenablocks/browser-aarch64/2.3.8:pull"
    for path in (b"/v2/", b"/auth/v1/token?" + scope):
        answer = send(front, b"GET " + path + b" HTTP/1.1\r\n" + HOST + forged + BYE)
        assert answer.split()[1] in (b"200", b"401")
        assert b"evil" not in answer
    assert cloud.registry is not None
    for request in [*cloud.requests, *cloud.registry.requests]:
        assert "evil" not in str(request)
        assert "10.0.0.9" not in str(request)
