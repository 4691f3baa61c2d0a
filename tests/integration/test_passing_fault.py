"""What a balancer says once is not remembered for the registry's or the API's word."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.server import Request, Response, Server
from tests.integration.session import TIMEOUT, get_token, logged_in, plain_session

ALIAS = "balenablocks/browser-aarch64/2.3.8"
BASIC = Response(401, (("WWW-Authenticate", 'Basic realm="balancer"'),))


@pytest.fixture
def proxy(cloud: LocalCloud) -> Iterator[Proxy]:
    """A proxy that has asked nobody yet."""
    with Proxy(cloud.registry_url) as running:
        yield running


@contextmanager
def failing(server: Server | None, faults: Mapping[str, Response]) -> Iterator[None]:
    """Let a server answer so where the target has one of these parts in it."""
    assert server is not None

    def interpose(request: Request) -> Response | None:
        return next((v for part, v in faults.items() if part in request.target), None)

    server.interpose = interpose
    try:
        yield
    finally:
        server.interpose = None


def status_of(proxy: Proxy) -> tuple[int, str]:
    """Return status and body of a request for a token."""
    query = {"scope": f"repository:{ALIAS}:pull"}
    with plain_session() as session:
        answer = session.get(
            f"http://{proxy.host}/auth/v1/token", params=query, timeout=TIMEOUT
        )
        return answer.status_code, answer.text


def test_basic_challenge_of_a_balancer(cloud: LocalCloud) -> None:
    """The error names it; when it is over, tokens have the registry's own service."""
    with ExitStack() as stack:
        with failing(cloud.registry, {"/v2/": BASIC}):
            proxy = stack.enter_context(Proxy(cloud.registry_url))
            status, body = status_of(proxy)
            assert status == 503
            assert "status 401 with a challenge of 'Basic'" in body
        get_token(f"http://{proxy.host}", ALIAS)
    assert f"service={cloud.registry_host.replace(':', '%3A')}" in (
        cloud.requests[-1].target
    )


def test_missing_v7_that_comes_back(cloud: LocalCloud, proxy: Proxy) -> None:
    """A balancer that knows neither version leaves nothing behind."""
    page = Response(200, (), b"<html>down for maintenance</html>")
    with failing(cloud.api, {"/v7/": Response(404), "/v6/": page}):
        assert status_of(proxy)[0] == 503
    get_token(f"http://{proxy.host}", ALIAS)
    asked = [each.path for each in cloud.requests if "/release" in each.path]
    assert asked[-1] == "/v7/release"


def test_registry_that_gets_another_name(cloud: LocalCloud, proxy: Proxy) -> None:
    """Once its challenge to a client names another service, tokens are for that one."""
    url = f"http://{proxy.host}"
    realm = f"{cloud.api_url}/auth/v1/token"
    header = f'Bearer realm="{realm}",service="renamed.example",error="invalid_token"'
    renamed = Response(401, (("WWW-Authenticate", header),))
    with logged_in(url, ALIAS) as session, failing(cloud.registry, {"/v2/": renamed}):
        path = f"{url}/v2/{ALIAS}/manifests/latest"
        assert session.get(path, timeout=TIMEOUT).status_code == 401
        status_of(proxy)
    tokens = [each for each in cloud.requests if "/auth/" in each.path]
    assert "service=renamed.example" in tokens[-1].target
