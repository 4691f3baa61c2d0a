"""What the storage is sent, and where a connection goes."""

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import cast

import pytest
from mitmproxy import connection, http
from mitmproxy.proxy import server_hooks
from mitmproxy.test import taddons, tflow

import addon
from mitm import route, storage
from mitm.exchange import Exchange
from mitm.route import Address
from mitm.settings import Settings
from resolver.blob.request import Found
from resolver.content.forward import Forward
from resolver.storage.address import Allowed
from resolver.storage.redirect import Route
from resolver.storage.url import Url
from resolver.upstream.deadline import Deadline
from resolver.upstream.host import Hosts
from resolver.upstream.observer import NOBODY
from resolver.upstream.outgoing import NONE, Proxies
from resolver.upstream.transport import Verification
from tests.mitm.exposure import sent

TOKEN = "Bearer head.payload.signature"
REGISTRY_ADDRESS = ("registry2.example.com", 443)
STORAGE_ADDRESS = ("s3.example.com", 8443)
DESTINATION = Url("https", *STORAGE_ADDRESS, "/data?Signature=abc")
ROUTE = Route(DESTINATION, ["8.8.8.8"], is_registry=False)


@pytest.fixture(autouse=True)
def options() -> Iterator[taddons.context]:
    """mitmproxy, with the addon's options."""
    with taddons.context(addon.RegistryProxy()) as context:
        context.options.http2 = False
        yield context


def client_flow(*headers: tuple[str, str]) -> http.HTTPFlow:
    """Return a client's request for a blob."""
    flow = tflow.tflow()
    fields = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    flow.request.headers = http.Headers(fields)
    return flow


@contextmanager
def sent_to(flow: http.HTTPFlow, to: Route, token: str) -> Iterator[None]:
    """Let the flow be as it is sent."""
    exchange = Exchange("", {})
    storage.rewrite_request(flow, exchange, to, token)
    with sent(flow, exchange):
        yield


def test_storage_gets_what_it_needs() -> None:
    """Range and conditions go along; tokens, cookies and the client's name do not."""
    flow = client_flow(
        *(("Host", "proxy.example"), ("Authorization", TOKEN), ("Cookie", "a=b")),
        *(("Accept", "*/*"), ("User-Agent", "docker/20"), ("Connection", "close")),
        *(("Range", "bytes=5-"), ("If-Range", '"x"'), ("Accept-Encoding", "gzip")),
        ("X-Forwarded-For", "192.0.2.1"),
    )
    request = flow.request
    with sent_to(flow, ROUTE, TOKEN):
        assert request.path == "/data?Signature=abc"
    assert "Signature" not in request.path
    assert dict(request.headers) == {
        "Host": "s3.example.com:8443",
        "Connection": "close",
        "User-Agent": "balena-registry-proxy",
        "Range": "bytes=5-",
        "If-Range": '"x"',
        "Accept-Encoding": "gzip",
    }
    assert (request.scheme, request.host, request.port) == ("https", *STORAGE_ADDRESS)
    assert not request.raw_content


def test_header_in_any_encoding_passes() -> None:
    """What a client writes into a condition is the storage's to judge."""
    flow = client_flow(("If-None-Match", '"\xe4"'))
    storage.rewrite_request(flow, Exchange("", {}), ROUTE, None)
    assert (b"If-None-Match", b'"\xe4"') in flow.request.headers.fields


def test_registry_gets_its_token_again() -> None:
    """Where it redirects to itself, and nowhere else (T3)."""
    flow = client_flow()
    own = Url("https", *REGISTRY_ADDRESS, "/storage/x")
    with sent_to(flow, Route(own, [], is_registry=True), TOKEN):
        assert flow.request.headers["Authorization"] == TOKEN
    assert "signature" not in str(flow.request.headers.fields)


def connecting(
    address: Address, *routes: Route, follows: bool = True, proxies: Proxies = NONE
) -> server_hooks.ServerConnectionHookData:
    """Return a connection that is about to be made."""
    server = connection.Server(address=address)
    data = server_hooks.ServerConnectionHookData(server, tflow.tclient_conn())
    checked = route.connect(
        data, REGISTRY_ADDRESS, routes, follows=follows, proxies=proxies
    )
    hosts = Hosts(look_up=lambda _host, _port: ["192.0.2.1"])
    asyncio.run(route.choose_address(data, checked, hosts, 10))
    return data


def restored(data: server_hooks.ServerConnectionHookData) -> Address | None:
    """Return how the connection is known once it is open."""
    data.server.state = connection.ConnectionState.OPEN
    route.restore_name(data)
    return data.server.address


def test_connection_to_the_registry() -> None:
    """It goes to an address of the registry's, whose name TLS verifies."""
    data = connecting(REGISTRY_ADDRESS, ROUTE)
    assert (data.server.sni, data.server.error) == (REGISTRY_ADDRESS[0], None)
    assert data.server.address == ("192.0.2.1", 443)
    assert restored(data) == REGISTRY_ADDRESS


def test_connection_to_a_storage() -> None:
    """It goes to the address that was checked, and is known by its name (T11)."""
    data = connecting(STORAGE_ADDRESS, ROUTE)
    assert data.server.sni == "s3.example.com"
    assert data.server.alpn_offers == [b"http/1.1"]
    assert data.server.address == ("8.8.8.8", 8443)
    assert restored(data) == STORAGE_ADDRESS


def test_connection_to_elsewhere_does_not_come_about() -> None:
    """Nothing is connected to that was not said for this client (T11)."""
    assert connecting(STORAGE_ADDRESS).server.error
    assert connecting(("s3.example.com", 443), ROUTE).server.error
    assert not connecting(STORAGE_ADDRESS, ROUTE).server.error


def test_connection_to_a_proxy() -> None:
    """It goes to an address of the proxy's, and to the storage only through it."""
    proxies = Proxies.of({"HTTPS_PROXY": "http://proxy.test:3128"})
    data = connecting(("proxy.test", 3128), proxies=proxies)
    assert data.server.address == ("192.0.2.1", 3128)
    assert restored(data) == ("proxy.test", 3128)
    unchecked = Route(DESTINATION, (), is_registry=False)
    assert connecting(STORAGE_ADDRESS, unchecked, proxies=proxies).server.error


def test_connection_whose_address_nobody_could_choose() -> None:
    """A bug of ours on the way lets no name through to the system (T9, T11)."""
    server = connection.Server(address=STORAGE_ADDRESS)
    data = server_hooks.ServerConnectionHookData(server, tflow.tclient_conn())

    class Broken(Hosts):
        def look_up(self, host: str, port: int) -> Future[Sequence[str]]:
            return super().look_up(host, port // 0)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(route.choose_address(data, (), Broken(), 10))
    assert server.error


def test_without_the_option_nothing_is_different() -> None:
    """Every connection is named as the registry, as mitmproxy was told."""
    data = connecting(STORAGE_ADDRESS, follows=False)
    assert (data.server.sni, data.server.error) == (REGISTRY_ADDRESS[0], None)
    assert restored(data) == (REGISTRY_ADDRESS[0], STORAGE_ADDRESS[1])


def make_storage(*, has_nginx: bool = False) -> storage.Storage:
    """Return what finds blobs behind a registry."""
    values = SimpleNamespace(
        registry_url="https://registry2.example.com",
        blobs_allowed=Allowed(),
        verification=Verification(),
        limits=SimpleNamespace(registry_seconds=30),
        proxies=NONE,
        cache_dir=None,
        has_nginx=has_nginx,
    )
    return storage.Storage(cast("Settings", values), NOBODY, Hosts())


@pytest.mark.parametrize(("status", "is_granted"), [(200, True), (403, False)])
def test_only_a_manifest_that_was_served_grants(
    status: int, *, is_granted: bool
) -> None:
    """What a refusal has in it gives nobody a blob that is kept (rule C2)."""
    blobs, digest = make_storage(has_nginx=True), f"sha256:{'1' * 64}"
    media_type = "application/vnd.oci.image.manifest.v1+json"
    layer = {"mediaType": "x", "digest": digest, "size": 1}
    manifest = {"schemaVersion": 2, "mediaType": media_type, "layers": [layer]}
    wanted = Forward("/v2/org/app/manifests/latest", TOKEN)
    answer = http.Response.make(
        status, json.dumps(manifest), {"Content-Type": media_type}
    )
    blobs.learn(wanted, answer)
    assert blobs._grants.has(TOKEN, "/v2/org/app", digest) is is_granted


def test_blobs_of_one_address_delay_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While one address has more connections than there are threads, others go on."""
    blobs = make_storage()
    gate, began = threading.Event(), threading.Semaphore(0)

    def find(_method: str, path: str, _login: str, _deadline: Deadline) -> Route:
        if path != "/other":
            began.release()
            gate.wait(30)
        return ROUTE

    monkeypatch.setattr(blobs._redirects, "find", find)

    async def play() -> None:
        def look(path: str, address: str) -> asyncio.Task[Found]:
            wanted = Forward(path, TOKEN)
            return asyncio.create_task(blobs.find("GET", wanted, {}, address))

        busy = [look("/busy", "192.0.2.1") for _ in range(storage.THREADS + 1)]
        for _ in range(storage.SHARE):
            assert await asyncio.to_thread(began.acquire, timeout=10)
        assert await asyncio.wait_for(look("/other", "192.0.2.2"), 10) == Found(ROUTE)
        assert not any(task.done() for task in busy)
        gate.set()
        await asyncio.gather(*busy)

    with closing(blobs):
        try:
            asyncio.run(play())
        finally:
            gate.set()
