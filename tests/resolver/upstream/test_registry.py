"""The registry's challenge says which API belongs to it, and is asked for once."""

import asyncio
import re
import threading
from contextlib import closing

import pytest

from resolver.errors import ServiceUnavailable
from resolver.grammar.credential import ANONYMOUS
from resolver.upstream.deadline import Deadline
from resolver.upstream.registry import Backend, Upstream
from resolver.upstream.threads import Threads
from resolver.upstream.transport import Answer
from tests.resolver.fake import (
    API,
    CHALLENGE,
    REGISTRY,
    REGISTRY_HOST,
    SOON,
    FakeTransport,
    Reply,
    answer,
    challenged,
    ident,
    rows,
)

BASE = f"{REGISTRY}/v2/"
OTHER, PLAIN_API = "http://r.example.com:5000", "http://api.example.com"
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
        (OTHER, None, challenged(), API, {REGISTRY_HOST, "r.example.com:5000"}),
        # Where all is plain HTTP, as in a test setup, the API may be, too.
        (OTHER, None, challenged(PLAIN), PLAIN_API, {"r.example.com:5000"}),
        # With the API given, a registry without a sound challenge goes by its host.
        ("https://r:5000", API, answer({}, 200), API, {"r:5000"}),
        ("https://r:5000", API, challenged(PLAIN), API, {"r:5000"}),
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
    """Requests that come together wait for one answer, which holds one thread."""
    go = threading.Event()

    def slowly(_: str) -> Answer:
        go.wait(10)
        return challenged()

    ours, network = upstream(slowly)

    async def ask(threads: Threads) -> list[Backend]:
        asking = [
            asyncio.create_task(ours.connected(threads, Deadline.after(10)))
            for _ in range(8)
        ]
        await asyncio.sleep(0)
        asking.pop().cancel()  # It takes the answer from nobody.
        assert await asyncio.wait_for(threads.run(len, "ab"), 10) == 2
        go.set()
        return [*await asyncio.gather(*asking), await ours.connected(threads, SOON)]

    with closing(Threads(2, "sample")) as threads:
        backends = asyncio.run(ask(threads))
    assert len({id(backend) for backend in backends}) == len(network.sent) == 1


@pytest.mark.parametrize(
    "reply",
    [
        answer({}, 200),
        challenged('Bearer realm="/auth/v1/token"'),
        challenged(PLAIN),
    ],
    ids=["200", "relative", "plain"],
)
def test_registry_names_no_api(reply: Reply) -> None:
    """Without a realm that keys may be sent to, nothing is sent anywhere."""
    ours, network = upstream(reply)
    with pytest.raises(ServiceUnavailable, match="API_URL"):
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


@pytest.mark.parametrize("api_url", [None, API])
@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (challenged('Basic realm="balancer"'), "status 401 .*'Basic'.* Bearer token"),
        (challenged("Bearer error=x"), "status 401 .* Bearer token"),
        (answer({}, 401), "status 401 alone"),
    ],
    ids=["basic", "no realm", "nothing"],
)
def test_challenge_of_another_is_not_remembered(
    reply: Reply, said: str, api_url: str | None
) -> None:
    """What a balancer asks for is an error, and the registry keeps its own name."""
    ours, network = upstream(reply, api_url)
    with pytest.raises(ServiceUnavailable, match=said):
        ours.connect(SOON)
    network.replies[BASE] = challenged()
    assert ours.connect(SOON).service == REGISTRY_HOST


@pytest.mark.parametrize(
    ("header", "is_asked"),
    [
        (CHALLENGE, False),
        (CHALLENGE.replace("a/b", "c/d") + ',error="invalid_token"', False),
        (CHALLENGE.replace(REGISTRY_HOST, "other.example.com"), True),
        (CHALLENGE.replace(API, "https://auth.example.com"), True),
        ('Basic realm="balancer"', False),
        ("", False),
    ],
    ids=ident,
)
def test_registry_is_asked_anew_where_it_says_something_else(
    header: str, *, is_asked: bool
) -> None:
    """A challenge to a client that names another service or realm is heeded."""
    ours, network = upstream(challenged())
    ours.heed(header)
    ours.connect(SOON)
    ours.heed(header)
    network.replies[BASE] = challenged(CHALLENGE.replace(REGISTRY_HOST, "new"))
    service = ours.connect(SOON).service
    assert (service, len(network.sent)) == (
        ("new", 2) if is_asked else (REGISTRY_HOST, 1)
    )


@pytest.mark.parametrize(
    ("registry", "api", "is_named"),
    [
        ("registry2.balena-cloud.com", "api.balena-cloud.com", True),
        ("registry2.balena-cloud.com", "balena-cloud.com", True),
        ("registry2.balena-cloud.com:443", "API.Balena-Cloud.com:8443", True),
        ("registry.eu.example.co.uk", "api.example.co.uk", True),
        ("registry.open.balena.internal", "api.open.balena.internal", True),
        ("registry", "registry:8000", True),
        ("127.0.0.1:5000", "127.0.0.1:8000", True),
        ("[::1]:5000", "[::1]:8000", True),
        ("registry2.balena-cloud.com", "balena-cloud.com.evil.example", False),
        ("registry2.balena-cloud.com", "api.evilbalena-cloud.com", False),
        ("registry.co.uk", "api.co.uk", False),
        ("registry.github.io", "api.github.io", False),
        ("registry.internal", "api.internal", False),
        ("own.azurecr.io", "own.azurecr.io", True),
        ("own.azurecr.io", "other.azurecr.io", False),
        ("own.jfrog.io", "other.jfrog.io", False),
        ("docker.own.jfrog.io", "auth.own.jfrog.io", True),
        ("fra.ocir.io", "ocir.io", False),
        ("eu-docker.pkg.dev", "other.pkg.dev", False),
        ("registry", "api", False),
        ("localhost:5000", "127.0.0.1:8000", True),
        ("127.0.0.1", "[::1]", True),
        ("10.0.0.1:5000", "10.0.0.1:8000", True),
        ("127.0.0.1", "10.0.0.1", False),
        ("registry.localhost", "localhost", False),
        ("10.0.0.1", "11.0.0.1", False),
        ("[2001:db8::1]", "[2001:db8::2]", False),
    ],
)
def test_api_is_of_the_registrys_own_domain(
    registry: str, api: str, *, is_named: bool
) -> None:
    """Keys go to the same host or registered domain, or where it is said (T3)."""
    header = challenged(f'Bearer realm="https://{api}/auth/v1/token"')
    ours, _ = upstream(header, registry_url=f"https://{registry}")
    if is_named:
        assert ours.connect(SOON).api.url == f"https://{api}"
        return
    host = api.strip("[]")
    with pytest.raises(ServiceUnavailable, match=f"{re.escape(host)}.*API_URL"):
        ours.connect(SOON)
    named, _ = upstream(header, f"https://{api}", f"https://{registry}")
    assert named.connect(SOON).api.url == f"https://{api}"
