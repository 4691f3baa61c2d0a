"""The registry's challenge says which API belongs to it, and is asked for once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from resolver.errors import ServiceUnavailable
from resolver.grammar.credential import ANONYMOUS
from resolver.upstream.deadline import Deadline
from resolver.upstream.registry import Upstream
from resolver.upstream.transport import Answer
from tests.resolver.fake import (
    API,
    REGISTRY,
    REGISTRY_HOST,
    SOON,
    FakeTransport,
    Reply,
    answer,
    challenged,
    rows,
)

BASE = f"{REGISTRY}/v2/"
OVER = Deadline(at=1.0, clock=lambda: 1.0)
PLAIN = 'Bearer realm="http://api.example.com/auth/v1/token"'


def upstream(
    reply: Reply, api_url: str | None = None, registry_url: str = REGISTRY
) -> tuple[Upstream, FakeTransport]:
    """Return a registry that answers like that, and the network that it is in."""
    network = FakeTransport({f"{registry_url}/v2/": reply, "/v7/": rows()})
    return Upstream(registry_url, api_url, network), network


@pytest.mark.parametrize(
    ("registry_url", "api_url", "reply", "api", "hosts"),
    [
        (REGISTRY, None, challenged(), API, {REGISTRY_HOST}),
        (REGISTRY, "https://other", challenged(), "https://other", {REGISTRY_HOST}),
        # Images are known under the registry's host and under its own name.
        ("http://r:5000", None, challenged(), API, {REGISTRY_HOST, "r:5000"}),
        # Where all is plain HTTP, as in a test setup, the API may be, too.
        ("http://r", None, challenged(PLAIN), "http://api.example.com", {"r"}),
        # With the API given, a registry without a sound challenge goes by its host.
        ("https://r:5000", API, answer({}, 200), API, {"r:5000"}),
        ("https://r:5000", API, challenged("Basic x"), API, {"r:5000"}),
    ],
)
def test_backend(
    registry_url: str, api_url: str | None, reply: Reply, api: str, hosts: set[str]
) -> None:
    """The API is what the challenge names, unless an option says otherwise."""
    ours, network = upstream(reply, api_url, registry_url)
    backend = ours.connect(SOON)
    assert backend.hosts == hosts
    assert backend.service == (REGISTRY_HOST if REGISTRY_HOST in hosts else ours.host)
    assert [(sent.url, sent.authorization) for sent in network.sent] == [
        (f"{registry_url}/v2/", None)
    ]
    backend.api.query("release", ANONYMOUS, SOON)
    assert network.sent[-1].url == f"{api}/v7/release"


def test_registry_is_asked_once() -> None:
    """Requests that come together wait for one answer, each up to its deadline."""
    entered, go = threading.Event(), threading.Event()

    def slowly(_: str) -> Answer:
        entered.set()
        go.wait(10)
        return challenged()

    ours, network = upstream(slowly)
    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ours.connect, Deadline.after(10)) for _ in range(8)]
        entered.wait(10)
        started = time.monotonic()
        with pytest.raises(ServiceUnavailable) as caught:
            ours.connect(OVER)
        assert time.monotonic() - started < 4
        go.set()
        backends = [future.result() for future in asking] + [ours.connect(SOON)]
    assert len({id(backend) for backend in backends}) == len(network.sent) == 1
    assert caught.value.headers == (("Retry-After", "10"),)


@pytest.mark.parametrize(
    "reply",
    [
        answer({}, 200),
        challenged('Basic realm="registry"'),
        challenged('Bearer realm="/auth/v1/token"'),
        challenged(PLAIN),
    ],
    ids=["200", "basic", "relative", "plain"],
)
def test_registry_names_no_api(reply: Reply) -> None:
    """Without a realm that keys may be sent to, nothing is sent anywhere."""
    ours, network = upstream(reply)
    with pytest.raises(ServiceUnavailable, match="balena_api_url"):
        ours.connect(SOON)
    assert len(network.sent) == 1


@pytest.mark.parametrize("api_url", [None, API])
@pytest.mark.parametrize("status", [None, 301, 404, 429, 500, 502, 503])
def test_failure_is_not_remembered(status: int | None, api_url: str | None) -> None:
    """A registry that fails for a moment is asked again, also where the API is set."""
    down = ServiceUnavailable("down")
    ours, network = upstream(answer({}, status) if status else down, api_url)
    with pytest.raises(ServiceUnavailable, match=f"status {status}|down"):
        ours.connect(SOON)
    network.replies[BASE] = challenged()
    assert ours.connect(SOON).service == REGISTRY_HOST
    assert len(network.sent) == 2
