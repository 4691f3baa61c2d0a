"""The registry's challenge says which API belongs to it, and is asked for once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from resolver.errors import ReleaseUnknown, ServiceUnavailable
from resolver.grammar.credential import ANONYMOUS
from resolver.grammar.reference import parse_alias
from resolver.upstream.deadline import Deadline
from resolver.upstream.registry import Upstream
from resolver.upstream.transport import Answer
from tests.resolver.fake import (
    API,
    LOCATION,
    REGISTRY,
    REGISTRY_HOST,
    SOON,
    FakeTransport,
    Reply,
    answer,
    challenged,
    image_row,
    release_row,
    rows,
    target_row,
)

BASE = f"{REGISTRY}/v2/"


def upstream(
    reply: Reply, api_url: str | None = None, registry_url: str = REGISTRY
) -> tuple[Upstream, FakeTransport]:
    """Return a registry that answers like that, and the network that it is in."""
    network = FakeTransport({f"{registry_url}/v2/": reply, "/v7/": rows()})
    return Upstream(registry_url, api_url, network), network


@pytest.mark.parametrize(
    ("api_url", "api"),
    [(None, API), ("https://other.example", "https://other.example")],
    ids=["challenge", "balena_api_url"],
)
def test_backend(api_url: str | None, api: str) -> None:
    """The API is what the challenge names, unless an option says otherwise."""
    ours, network = upstream(challenged(), api_url)
    backend = ours.connect(SOON)
    assert backend.service == REGISTRY_HOST
    assert [(sent.url, sent.authorization) for sent in network.sent] == [(BASE, None)]
    backend.api.query("release", ANONYMOUS, SOON)
    assert network.sent[-1].url == f"{api}/v7/release"


def test_registry_is_asked_once() -> None:
    """What the registry said holds for all later requests."""
    ours, network = upstream(challenged())
    assert ours.connect(SOON) is ours.connect(SOON)
    assert len(network.sent) == 1


def test_registry_is_asked_once_by_many_threads() -> None:
    """Requests that come together wait for one answer."""
    entered, go = threading.Event(), threading.Event()

    def slowly(_: str) -> Answer:
        entered.set()
        go.wait(10)
        return challenged()

    ours, network = upstream(slowly)
    with ThreadPoolExecutor(8) as pool:
        backends = [pool.submit(ours.connect, Deadline.after(10)) for _ in range(8)]
        entered.wait(10)
        go.set()
        assert len({id(backend.result()) for backend in backends}) == 1
    assert len(network.sent) == 1


def test_waiting_ends_with_the_deadline() -> None:
    """Who waits for another's question gives up when its own time is over."""
    entered, go = threading.Event(), threading.Event()

    def slowly(_: str) -> Answer:
        entered.set()
        go.wait(10)
        return challenged()

    ours, network = upstream(slowly)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ours.connect, SOON)
        entered.wait(10)
        started = time.monotonic()
        with pytest.raises(ServiceUnavailable) as caught:
            ours.connect(Deadline(at=1.0, clock=lambda: 1.0))
        assert time.monotonic() - started < 4
        go.set()
        assert first.result().service == REGISTRY_HOST
    assert caught.value.headers == (("Retry-After", "10"),)
    assert len(network.sent) == 1


def test_failure_is_not_kept() -> None:
    """A registry that was down is asked again by the next request."""
    ours, network = upstream(ServiceUnavailable("down"))
    with pytest.raises(ServiceUnavailable):
        ours.connect(SOON)
    network.replies[BASE] = challenged()
    assert ours.connect(SOON).service == REGISTRY_HOST
    assert len(network.sent) == 2


@pytest.mark.parametrize(
    "reply",
    [
        answer({}, 200),
        challenged('Basic realm="registry"'),
        challenged('Bearer service="registry"'),
        challenged('Bearer realm="/auth/v1/token"'),
        challenged('Bearer realm="ftp://api.example.com/"'),
        challenged('Bearer realm="https://["'),
        challenged('Bearer realm="http://api.example.com/auth/v1/token"'),
    ],
    ids=["200", "basic", "bare", "relative", "ftp", "broken", "plain"],
)
def test_registry_names_no_api(reply: Reply) -> None:
    """Without a realm that keys may be sent to, nothing is sent anywhere."""
    ours, network = upstream(reply)
    with pytest.raises(ServiceUnavailable, match="balena_api_url"):
        ours.connect(SOON)
    assert len(network.sent) == 1


@pytest.mark.parametrize("status", [301, 404, 429, 500, 502, 503])
def test_passing_failure_is_not_remembered(status: int) -> None:
    """A registry that fails for a moment is asked again, also where the API is set."""
    ours, network = upstream(answer({}, status), api_url=API)
    with pytest.raises(ServiceUnavailable, match=f"status {status}"):
        ours.connect(SOON)
    network.replies[BASE] = challenged()
    assert ours.connect(SOON).service == REGISTRY_HOST


def test_registry_without_tls_may_name_an_api_without() -> None:
    """Where all is plain HTTP, as in a test setup, the API may be, too."""
    ours, _ = upstream(
        challenged('Bearer realm="http://api.example.com/auth/v1/token"'),
        registry_url="http://registry2.example.com",
    )
    assert ours.connect(SOON).service == REGISTRY_HOST


@pytest.mark.parametrize(
    "reply", [answer({}, 200), challenged('Bearer realm="/"'), challenged("Basic x")]
)
def test_option_serves_where_the_registry_says_nothing(reply: Reply) -> None:
    """With the API given, a registry without a sound challenge goes by its host."""
    ours, _ = upstream(reply, API, "https://registry2.example.com:5000")
    assert ours.connect(SOON).service == ours.host == "registry2.example.com:5000"


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [("10.0.0.1:5000", True), (REGISTRY_HOST, True), ("registry3.example.com", False)],
)
def test_image_is_where_the_registry_is(*, host: str, is_ours: bool) -> None:
    """Images are looked for under the registry's host and under its own name."""
    release = release_row("1.0.0", 0, image_row(host=host))
    network = FakeTransport({"/v2/": challenged(), "/v7/": rows(target_row(release))})
    backend = Upstream("http://10.0.0.1:5000", None, network).connect(SOON)
    alias = parse_alias("org/app")
    if is_ours:
        found = backend.resolver.resolve(alias, ANONYMOUS, SOON)
        assert found.location == LOCATION
    else:
        with pytest.raises(ReleaseUnknown):
            backend.resolver.resolve(alias, ANONYMOUS, SOON)
