"""What one client waits for delays no other, and many are served together."""

import base64
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from urllib.parse import urlencode

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.server import Request, Response
from tests.integration.session import TIMEOUT
from tests.integration.tool import wait_until

APPLICATION = "balenablocks/browser-aarch64"
ALIAS = f"{APPLICATION}/2.3.8"
SECONDS = 2
"""Of the slow API."""
HANGING = 140
"""More than any share, and more than there once were threads."""
LIMITED, NAMES = 24, 32
OTHERS = 8


@dataclass(frozen=True, slots=True)
class Asker:
    """A client with an address of its own and, perhaps, a key."""

    proxy: Proxy
    address: str = "127.0.0.1"
    key: str | None = field(default=None, repr=False)

    def ask(self, *names: str) -> tuple[int, str | None]:
        """Return the status of a request for a token, and its ``Retry-After``."""
        query = urlencode([("scope", f"repository:{name}:pull") for name in names])
        headers = {}
        if self.key:
            login = base64.b64encode(f"u:{self.key}".encode()).decode()
            headers["Authorization"] = f"Basic {login}"
        connection = HTTPConnection(
            "127.0.0.1",
            self.proxy.port,
            timeout=TIMEOUT,
            source_address=(self.address, 0),
        )
        try:
            connection.request("GET", f"/auth/v1/token?{query}", headers=headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("Retry-After")
        finally:
            connection.close()


@pytest.fixture
def proxy(cloud: LocalCloud) -> Iterator[Proxy]:
    """A proxy that remembers nothing yet."""
    with Proxy(cloud.registry_url) as running:
        yield running


@contextmanager
def answering(
    cloud: LocalCloud, interpose: Callable[[Request], Response | None]
) -> Iterator[None]:
    """Let the API answer like that, where it is not None."""
    cloud.api.requests.clear()
    cloud.api.interpose = interpose
    try:
        yield
    finally:
        cloud.api.interpose = None


@pytest.mark.parametrize(
    ("clients", "name"),
    [(200, "{0}/2.3.8"), (100, "{0}/0.{1}.0"), (100, "org{1}/app")],
    ids=["one name", "versions", "applications"],
)
def test_slow_api_serves_all(
    cloud: LocalCloud, proxy: Proxy, clients: int, name: str
) -> None:
    """As many clients of one address and key as the API itself would serve."""
    asker = Asker(proxy, key=cloud.keys["admin"])
    names = [name.format(APPLICATION, number) for number in range(clients)]
    if len(set(names)) == 1:
        assert asker.ask(names[0])[0] == 200

    def slowly(_: Request) -> None:
        threading.Event().wait(SECONDS)

    with answering(cloud, slowly), ThreadPoolExecutor(clients) as pool:
        statuses = [status for status, _ in pool.map(asker.ask, names)]
    assert statuses == [200] * clients


def others(proxy: Proxy, cloud: LocalCloud) -> Sequence[Asker]:
    """Return clients with other addresses, with another key or none."""
    keys = (cloud.keys["carol"], None)
    return [Asker(proxy, f"127.0.1.{n}", keys[n % 2]) for n in range(1, OTHERS + 1)]


@pytest.mark.parametrize("common", ["application", "key", "address"])
def test_look_ups_that_hang_delay_no_other(
    cloud: LocalCloud, proxy: Proxy, common: str
) -> None:
    """Whatever they have in common, others are served while they still hang."""
    gate = threading.Event()
    hanging: list[str] = []

    def hang(request: Request) -> None:
        if "hanging" in request.target:
            hanging.append(request.target)
            gate.wait(TIMEOUT)

    def asker(number: int) -> Asker:
        return Asker(
            proxy,
            "127.0.0.2" if common == "address" else f"127.0.2.{number + 1}",
            cloud.keys["admin"] if common == "key" else None,
        )

    def name(number: int) -> str:
        return f"hanging/app{'' if common == 'application' else number}/{number}.0.0"

    with answering(cloud, hang), ThreadPoolExecutor(HANGING) as pool:
        try:
            waiting = [pool.submit(asker(n).ask, name(n)) for n in range(HANGING)]
            wait_until(lambda: len(hanging) >= 100, "so many look-ups hang")
            found = [other.ask(ALIAS)[0] for other in others(proxy, cloud)]
            assert not any(map(Future.done, waiting))
        finally:
            gate.set()
    assert found == [200] * OTHERS


def test_limited_key_delays_no_other(cloud: LocalCloud, proxy: Proxy) -> None:
    """While it pauses others are served; then it is told, and the API asked little."""
    key = cloud.keys["admin"]
    limits: list[str] = []

    def limit(request: Request) -> Response | None:
        if request.header("Authorization") != f"Bearer {key}":
            return None
        limits.append(request.target)
        return Response(429, (("Retry-After", "2"),))

    def ask(number: int) -> tuple[int, str | None]:
        names = [f"{APPLICATION}/{number}.{n}.0" for n in range(NAMES)]
        return Asker(proxy, key=key).ask(*names)

    with answering(cloud, limit), ThreadPoolExecutor(LIMITED) as pool:
        waiting = [pool.submit(ask, number) for number in range(LIMITED)]
        wait_until(lambda: bool(limits), "the key is limited")
        found = [other.ask(ALIAS)[0] for other in others(proxy, cloud)]
        assert not any(map(Future.done, waiting))
        told = [each.result() for each in waiting]
    assert found == [200] * OTHERS
    assert told == [(429, "2")] * LIMITED
    assert len(limits) < LIMITED * NAMES / 2
