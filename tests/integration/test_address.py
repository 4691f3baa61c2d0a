"""Registry, API and storage whose names have several addresses, or are found slowly."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import requests

from demo.proxy import Proxy
from localcloud.server import Request, Response, Server
from registry_proxy.port import free_port
from tests.deaf import deaf
from tests.integration.fault import OPTIONS, port_of
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.storage import NAME, SCRIPT, known_to_the_proxy
from tests.integration.tool import wait_for_start

DEAD, LIVE = "127.0.0.2", "127.0.0.1"
PATH = f"/v2/v2/{'a' * 32}"
MANIFEST, BLOB = f"{PATH}/manifests/latest", f"{PATH}/blobs/sha256:{'0' * 64}"
TOKEN = {"Authorization": "Bearer head.payload.signature"}
CLIENTS = 90


def answer(request: Request) -> Response:
    """Answer what registry, API and storage are asked."""
    if request.path == "/auth/v1/token":
        return Response(200, (), b'{"token": "head.payload.signature"}')
    return Response(200, (), b"{}")


def serving(stack: ExitStack, address: str, port: int = 0) -> Server:
    """Run a server at the address until the stack is closed."""
    server = stack.enter_context(Server(host=address, port=port))
    server.application = answer
    return server


def get(proxy: Proxy, path: str = MANIFEST) -> requests.Response:
    """Return the answer to a request on a connection of its own."""
    with plain_session() as session:
        url = f"http://{proxy.host}{path}"
        return session.get(url, headers=TOKEN, timeout=TIMEOUT)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Whatever a test starts."""
    with ExitStack() as opened:
        yield opened


@pytest.mark.parametrize(
    ("part", "dead"),
    [("registry", DEAD), ("registry", "::1"), ("api", DEAD), ("storage", DEAD)],
)
def test_address_that_takes_no_connection(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch, part: str, dead: str
) -> None:
    """Within the two seconds in which others are given up, the next one is used."""
    server = serving(stack, LIVE)
    stack.enter_context(deaf(dead, port_of(server.url)))
    known_to_the_proxy(monkeypatch, f"{dead}+{LIVE}")
    named = f"http://{NAME}:{port_of(server.url)}"
    variables, url, path = {}, server.url, MANIFEST
    if part == "registry":
        url = named
    elif part == "api":
        variables, path = {"API_URL": named}, "/auth/v1/token"
    else:
        variables, path = {"BLOBS": "follow", "BLOBS_ALLOW": NAME}, BLOB
        registry = serving(stack, LIVE)
        registry.application = lambda _: Response(
            307, (("Location", f"{named}/blob"),), b""
        )
        url = registry.url
    proxy = Proxy(url, environment=variables, arguments=(*OPTIONS, *SCRIPT))
    stack.enter_context(proxy)
    assert [get(proxy, path).status_code for _ in range(3)] == [200] * 3
    assert "does not answer" not in proxy.log


def test_address_that_dies(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request that finds out goes to the other one, and the client sees nothing."""
    ends = [stack.enter_context(ExitStack()) for _ in range(2)]
    port = free_port()
    servers = [serving(ends[0], DEAD, port), serving(ends[1], LIVE, port)]
    known_to_the_proxy(monkeypatch, f"{DEAD}+{LIVE}")
    proxy = Proxy(f"http://{NAME}:{port}", arguments=SCRIPT)
    stack.enter_context(proxy)
    # What the proxy asked at the start is none of this.
    wait_for_start(proxy)
    for server in servers:
        server.requests.clear()
    assert get(proxy).ok
    number = 0 if servers[0].requests else 1
    used, other = servers[number], servers[1 - number]
    assert (len(used.requests), len(other.requests)) == (1, 0)
    ends[number].close()
    stack.enter_context(deaf(used.host.partition(":")[0], port))
    assert get(proxy).ok
    assert proxy.log.count("asked again on a new one") == 1
    assert get(proxy).ok
    assert proxy.log.count("asked again on a new one") == 1
    assert len(other.requests) == 2


def test_slow_look_up_is_made_once(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many clients at once wait for the same one, and none of them in vain."""
    server = serving(stack, LIVE)
    known_to_the_proxy(monkeypatch, LIVE)
    monkeypatch.setenv("KNOWN_HOSTS_SECONDS", "1")
    named = f"http://{NAME}:{port_of(server.url)}"
    proxy = stack.enter_context(Proxy(named, arguments=(*OPTIONS, *SCRIPT)))
    clients = stack.enter_context(ThreadPoolExecutor(CLIENTS))
    answers = clients.map(lambda _: get(proxy).status_code, range(CLIENTS))
    assert list(answers) == [200] * CLIENTS
