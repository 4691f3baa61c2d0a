"""Forged tokens and smuggled requests, tried from outside."""

from collections.abc import Iterator

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from resolver.token.claims import append_aliases
from resolver.token.suffix import Aliases
from tests.integration.raw import BYE, HOST, get, send
from tests.integration.session import get_token
from tests.resolver.fake import fixed

PUBLIC = "balenablocks/browser-aarch64/2.3.8"
PRIVATE = "balenablocks/private-block/1.0.0"
PRIVATE_LOCATION = "v2/875ff9869a2373a5d97612c498e0bcf1"


@pytest.fixture(scope="module")
def front(cloud: LocalCloud) -> Iterator[Proxy]:
    """The proxy in front of the cloud."""
    with Proxy(cloud.registry_url) as running:
        yield running


def test_forged_alias_wins_nothing(proxy: Proxy) -> None:
    """The registry checks the JWT against the location that is asked for (T1)."""
    jwt = get_token(f"http://{proxy.host}", PUBLIC).partition("~")[0]
    for alias in (PUBLIC, PRIVATE, "some/thing"):
        forged = append_aliases(jwt, Aliases({alias: fixed(PRIVATE_LOCATION)}))
        refused = send(proxy, get(f"/v2/{alias}/manifests/latest", forged))
        assert refused.startswith(b"HTTP/1.1 401 ")
        assert PRIVATE_LOCATION.partition("/")[2].encode() not in refused


SMUGGLED = b"GET /v2/org/smuggled/manifests/latest HTTP/1.1\r\n" + HOST + b"\r\n"
LENGTH = f"Content-Length: {len(SMUGGLED)}"
GET = "GET /v2/ HTTP/1.1"
CARRIERS = {
    "body": f"{GET}|{LENGTH}",
    "body of a token request": f"POST /auth/v1/token HTTP/1.1|{LENGTH}",
    "chunked": f"{GET}|Transfer-Encoding: chunked",
    "both": f"{GET}|Transfer-Encoding: chunked|Content-Length: 4",
    "two lengths": f"{GET}|Content-Length: 0|{LENGTH}",
    "signed length": f"{GET}|Content-Length: +{len(SMUGGLED)}",
    "list of lengths": f"{GET}|Content-Length: 0, {len(SMUGGLED)}",
    "space before the colon": f"{GET}|Transfer-Encoding : chunked",
    "unknown encoding": f"{GET}|Transfer-Encoding: xchunked",
    "folded header": f"{GET}|Transfer-Encoding:| chunked",
    "header of another": f"{GET}|X: a|\tContent-Length: 4",
    "line feed": f"{GET}\n{LENGTH}\nX: a",
    "upgrade": f"{GET}|Connection: Upgrade|Upgrade: websocket|{LENGTH}",
    "cleartext HTTP/2": f"{GET}|Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|"
    f"HTTP2-Settings: AAMAAABk|{LENGTH}",
    "CONNECT": "CONNECT registry2.example.com:443 HTTP/1.1",
    "absolute": "GET http://registry2.example.com/v2/ HTTP/1.1",
}
"""The head of a request, each line behind a bar."""


@pytest.mark.parametrize("carrier", CARRIERS)
def test_smuggled_request_goes_nowhere(
    cloud: LocalCloud, front: Proxy, carrier: str
) -> None:
    """A request inside another is its body, or ends the connection (T5)."""
    assert cloud.registry is not None
    cloud.registry.requests.clear()
    head = CARRIERS[carrier].replace("|", "\r\n") + "\r\n"
    answer = send(front, head.encode() + HOST + b"\r\n" + SMUGGLED, ends=True)
    ping = b"GET /ping HTTP/1.1\r\n" + HOST + BYE
    assert send(front, ping).startswith(b"HTTP/1.1 200 ")
    targets = {request.target for request in cloud.registry.requests}
    assert targets <= {"/v2/"}
    assert b"smuggled" not in answer
