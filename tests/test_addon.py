"""What the hooks do to single flows."""

import asyncio
import gzip
import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import pytest
from mitmproxy import connection, exceptions, hooks, http
from mitmproxy import flow as mitmproxy_flow
from mitmproxy.addons.onboarding import Onboarding
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy import server_hooks
from mitmproxy.proxy.server_hooks import ClientConnectedHook
from mitmproxy.test import taddons, tflow, tutils

import addon
from mitm.guard import inbound
from mitm.guard.reader import RequestReader
from mitm.option import REQUIRED
from mitm.story.kind import Login
from mitm.story.session import session_of
from registry_proxy.port import free_port
from resolver.grammar.credential import ANONYMOUS
from resolver.grammar.reference import Location, parse_alias
from resolver.release.candidate import Candidates
from resolver.release.release import parse_releases
from resolver.release.resolution import Resolution
from resolver.token.claims import append_aliases
from resolver.token.suffix import Aliases
from resolver.upstream.host import Hosts
from tests.mitm.exposure import sent
from tests.resolver.fake import candidate, fixed, jwt, pullable, release_row

ALIAS = "org/app/2.3"
LOCATION = Location("v2/567e62d1e73529e7a31757ac1f3fb902")
DIGEST = "sha256:" + "ab" * 32
JWT = "head.payload.signature"
TOKEN = append_aliases(JWT, Aliases({ALIAS: fixed(LOCATION)}))
MODE = "reverse:https://registry2.example.com@127.0.0.1:0"


@pytest.fixture
def loaded() -> addon.RegistryProxy:
    """The addon, without a configuration."""
    return addon.RegistryProxy()


@pytest.fixture
def context(loaded: addon.RegistryProxy) -> Iterator[taddons.context]:
    """mitmproxy, as far as addons see it."""
    level = logging.getLogger().level
    with taddons.context(Proxyserver(), Onboarding(), loaded) as tctx:
        yield tctx
    logging.getLogger().setLevel(level)


@pytest.fixture
def proxy(
    context: taddons.context, loaded: addon.RegistryProxy
) -> Iterator[addon.RegistryProxy]:
    """The addon, configured for a registry that nobody can reach."""
    context.configure(loaded, mode=[MODE], **REQUIRED)
    yield loaded
    loaded.done()


def make_flow(method: str, path: str, *headers: tuple[str, str]) -> http.HTTPFlow:
    """Return a flow as mitmproxy hands it to `request`."""
    fields = [(b"Host", b"proxy.example:8080")]
    fields += [(name.encode(), value.encode()) for name, value in headers]
    flow = tflow.tflow(
        req=tutils.treq(
            method=method.encode(),
            path=path.encode(),
            content=b"",
            authority=b"",
            headers=http.Headers(fields),
        )
    )
    flow.live = True
    return flow


async def forwarded(
    proxy: addon.RegistryProxy, path: str = f"/v2/{ALIAS}/blobs/{DIGEST}"
) -> http.HTTPFlow:
    """Return a flow that goes to the registry with its token."""
    flow = make_flow("GET", path, ("Authorization", f"Bearer {TOKEN}"))
    proxy.requestheaders(flow)
    await proxy.request(flow)
    assert flow.response is None
    return flow


def message(response: http.Response) -> tuple[int, str, str]:
    """Return status, code and message of an OCI error."""
    (error,) = json.loads(response.content or b"")["errors"]
    return response.status_code, error["code"], error["message"]


def test_ping_needs_no_host_and_no_registry(proxy: addon.RegistryProxy) -> None:
    """A health check is answered without anything else working."""
    flow = make_flow("GET", "/ping")
    del flow.request.headers["Host"]
    asyncio.run(proxy.request(flow))
    assert flow.response is not None
    assert (flow.response.status_code, flow.response.content) == (200, b"pong")


def test_request_with_token_is_rewritten(proxy: addon.RegistryProxy) -> None:
    """Alias, tag, token and host become those of the registry."""
    flow = make_flow(
        "GET",
        f"/v2/{ALIAS}/manifests/1.0?ns=proxy.example",
        ("Authorization", f"Bearer {TOKEN}"),
        ("X-Forwarded-Ssl", "on"),
        ("Upgrade", "websocket"),
        ("Cookie", "a=b"),
        ("Proxy-Authorization", "Basic dTprZXk="),
        ("Accept", "application/json"),
        ("Content-Length", "2"),
    )
    flow.request.raw_content = b"{}"
    asyncio.run(proxy.request(flow))
    assert flow.response is None
    assert flow.request.raw_content == b""
    assert flow.request.path == f"/v2/{LOCATION}/manifests/latest"
    assert flow.request.headers["Host"] == "registry2.example.com"
    with sent(flow, proxy._exchanges[flow]):
        assert flow.request.headers["Authorization"] == f"Bearer {JWT}"
    names = {name.lower() for name in flow.request.headers}
    assert names == {
        *("host", "authorization", "accept", "accept-encoding", "content-length"),
        "via",
    }
    assert flow.request.headers["Accept-Encoding"] == "identity"
    assert flow.request.headers["Content-Length"] == "0"


def test_error_that_cannot_be_decoded_is_left_out(proxy: addon.RegistryProxy) -> None:
    """The client is told so, and nothing is passed on that could name the location."""
    flow = asyncio.run(forwarded(proxy))
    flow.response = http.Response.make(404)
    flow.response.raw_content = LOCATION.encode()
    flow.response.headers["Content-Encoding"] = "gzip"
    proxy.responseheaders(flow)
    proxy.response(flow)
    assert message(flow.response)[:2] == (502, "UNAVAILABLE")
    assert "Content-Encoding" not in flow.response.headers


@pytest.mark.parametrize(
    ("rest", "status", "stays"),
    [
        ("manifests/latest", 404, False),
        ("manifests/1.0", 404, False),
        # One that is there says nothing, and others may be of another release.
        ("manifests/latest", 401, True),
        ("manifests/latest", 503, True),
        (f"manifests/{DIGEST}", 404, True),
        (f"manifests/{DIGEST.replace(':', '-')}.sig", 404, True),
        (f"blobs/{DIGEST}", 404, True),
        ("tags/list", 404, True),
    ],
)
def test_deleted_image_is_forgotten(
    proxy: addon.RegistryProxy,
    monkeypatch: pytest.MonkeyPatch,
    rest: str,
    status: int,
    *,
    stays: bool,
) -> None:
    """Where the registry has no image the alias is looked up anew at the next pull."""
    monkeypatch.setattr("resolver.token.cache.GONE_SECONDS", 0)
    cache = proxy._endpoints.naming.cache
    (release,) = parse_releases({"d": [release_row()]})

    async def load() -> Resolution:
        image = release.images[0]
        return Resolution(parse_alias(ALIAS), release, image, LOCATION, "it is")

    asyncio.run(cache.resolve(parse_alias(ALIAS), ANONYMOUS, load))
    flow = asyncio.run(forwarded(proxy, f"/v2/{ALIAS}/{rest}"))
    flow.response = http.Response.make(status)
    proxy.responseheaders(flow)
    assert bool(cache.entries()) == stays


def test_trailers_are_dropped(proxy: addon.RegistryProxy) -> None:
    """A registry may send them by HTTP/2, and to HTTP/1.1 mitmproxy sends none."""
    flow = asyncio.run(forwarded(proxy))
    flow.response = http.Response.make(200, b"{}")
    flow.response.trailers = http.Headers(x_backend="10.1.2.3")
    proxy.responseheaders(flow)
    proxy.response(flow)
    assert flow.response.trailers is None


@pytest.mark.parametrize("failing", ["record", "request", "responseheaders"])
def test_bug_is_answered_with_500(
    proxy: addon.RegistryProxy,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
) -> None:
    """An exception nobody expected closes the door, and the log has its traceback."""
    flow = make_flow("GET", "/v2/", ("Authorization", f"Bearer {TOKEN}"))
    if failing != "responseheaders":
        broken = {
            "record": "mitm.story.record.shown_path",
            "request": "resolver.content.forward.parse_token",
        }
        monkeypatch.delattr(broken[failing])
        asyncio.run(proxy.request(flow))
    else:
        asyncio.run(proxy.request(flow))
        flow.response = http.Response.make(200, b"from the registry")
        monkeypatch.delattr("resolver.content.answer.is_streamed")
        proxy.responseheaders(flow)
        # mitmproxy puts the body that it read in place of ours meanwhile.
        flow.response.raw_content = b"from the registry"
        proxy.response(flow)
    assert flow.response is not None
    assert message(flow.response)[:2] == (500, "UNKNOWN")
    assert "Traceback" in caplog.text


def test_nothing_is_left_of_a_request_that_fails(proxy: addon.RegistryProxy) -> None:
    """Neither what was sent in secret, nor what is known of the flow (R15)."""
    flow = asyncio.run(forwarded(proxy))
    exchange = proxy._exchanges[flow]
    assert exchange.secrets
    flow.error = mitmproxy_flow.Error("the connection broke")
    proxy.error(flow)
    assert not exchange.secrets
    assert flow not in proxy._exchanges


def test_form_is_not_decompressed(proxy: addon.RegistryProxy) -> None:
    """A few bytes that unpack to a gigabyte stay a few bytes, and no form."""
    flow = make_flow(
        "POST",
        "/auth/v1/token",
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Encoding", "gzip"),
    )
    flow.request.raw_content = gzip.compress(b"grant_type=password")
    asyncio.run(proxy.request(flow))
    assert flow.response is not None
    assert message(flow.response)[:2] == (400, "UNSUPPORTED")


def test_push_has_what_stands_for_its_token(proxy: addon.RegistryProxy) -> None:
    """So it is known whose it is, as a pull's is."""
    login = ("Authorization", f"Bearer {TOKEN}")
    flow = make_flow("POST", f"/v2/{ALIAS}/blobs/uploads/", login)
    asyncio.run(proxy.request(flow))
    proxy.response(flow)
    assert flow.metadata["balena"]["session"] == session_of(TOKEN)


def test_headers_are_read_in_one_pass() -> None:
    """Reading the headers asks each once; thousands cost what they have to."""
    reads = 0

    class Counted(bytes):
        def decode(self, *_: object) -> str:
            nonlocal reads
            reads += 1
            return "x"

    fields = tuple((Counted(b"x"), b"1") for _ in range(3))
    assert inbound.joined_values(http.Headers(fields)) == {"x": "1, 1, 1"}
    assert reads <= 6


def test_flow_that_is_saved_at_the_end_has_no_token(
    proxy: addon.RegistryProxy,
) -> None:
    """Mitmproxy saves what is under way when it ends, also what is replayed."""
    flow = make_flow("GET", "/v2/", ("Authorization", f"Bearer {TOKEN}"))
    flow.is_replay = "request"
    asyncio.run(proxy.request(flow))
    assert JWT in str(flow.get_state())
    proxy.done()
    assert JWT not in str(flow.get_state())


def test_log_line_has_no_control_character(
    proxy: addon.RegistryProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """The log shows what the client asked for, in characters that print."""
    flow = make_flow("GET", "/x\x1b]0;title\x07")
    asyncio.run(proxy.request(flow))
    proxy.response(flow)
    assert caplog.messages
    assert all(line.isprintable() for line in caplog.messages)


@pytest.mark.parametrize(
    ("method", "path", "header"),
    [
        ("POST", "/auth/v1/token?apikey=secretkey", ("Content-Length", "99999999")),
        ("POST", "/v2/?apikey=secretkey", ("Transfer-Encoding", "chunked")),
        ("PRI", "*", ("Accept", "*/*")),
    ],
    ids=["length", "chunked", "HTTP/2 without TLS"],
)
def test_connection_is_closed_before_the_body(
    proxy: addon.RegistryProxy, method: str, path: str, header: tuple[str, str]
) -> None:
    """A body that nobody needs is not read into memory, nor what is no HTTP/1.1."""
    flow = make_flow(method, path, header)
    flow.request.headers["Cookie"] = flow.request.headers["Authorization"] = "secretkey"
    proxy.requestheaders(flow)
    assert "secretkey" not in str(flow.get_state())
    assert flow.error is not None
    proxy.error(flow)
    assert "secretkey" not in str(flow.get_state())


def test_signed_redirect_is_sent_and_not_shown(proxy: addon.RegistryProxy) -> None:
    """The client finds the storage; what is saved opens nothing there."""
    flow = asyncio.run(forwarded(proxy))
    url = "https://storage.example/blob?Signature=secret"
    flow.response = http.Response.make(307, b"", {"Location": url})
    proxy.responseheaders(flow)
    with sent(flow, proxy._exchanges[flow]):
        assert flow.response.headers["Location"] == url
    proxy.response(flow)
    assert "Signature=secret" not in str(flow.get_state())


def test_replayed_request_is_asked_as_at_first(proxy: addon.RegistryProxy) -> None:
    """Its path is the client's again, and what proves nothing is no login."""
    flow = asyncio.run(forwarded(proxy, f"/v2/{ALIAS}/manifests/latest"))
    assert flow.request.path == f"/v2/{LOCATION}/manifests/latest"
    flow.response = http.Response.make(200, b"{}", {"Content-Length": "2"})
    proxy.responseheaders(flow)
    proxy.response(flow)
    flow.is_replay, flow.response = "request", None
    proxy.requestheaders(flow)
    asyncio.run(proxy.request(flow))
    assert flow.request.path == f"/v2/{ALIAS}/manifests/latest"
    assert "authorization" not in flow.request.headers
    record = proxy._exchanges[flow].record
    assert record
    assert record.login is Login.NONE


def test_answered_flow_is_left_alone(proxy: addon.RegistryProxy) -> None:
    """What another addon answered stays as it is."""
    flow = make_flow("GET", "/nothing/here")
    flow.response = http.Response.make(204)
    asyncio.run(proxy.request(flow))
    assert flow.response.status_code == 204


@pytest.mark.parametrize(
    ("tags", "path", "is_read"),
    [
        ("ignore", f"/v2/{ALIAS}/manifests/1", False),
        ("select", f"/v2/{ALIAS}/manifests/1", False),
        ("select", f"/v2/org/app/blobs/{DIGEST}", False),
        ("select", "/v2/org/app/manifests/2", True),
    ],
)
def test_manifest_is_read_where_tags_select_only(
    context: taddons.context,
    proxy: addon.RegistryProxy,
    monkeypatch: pytest.MonkeyPatch,
    tags: str,
    path: str,
    *,
    is_read: bool,
) -> None:
    """Nobody looks at what passes, but at what an alias with a table is served."""
    context.configure(proxy, balena_tags=tags)
    read: list[bytes] = []

    def read_digests(_status: int, _digest: str | None, body: bytes) -> list[str]:
        read.append(body)
        return []

    monkeypatch.setattr("resolver.content.locator.read_digests", read_digests)
    granted = jwt(pullable([LOCATION]))
    many = Candidates((candidate("2.3.8", is_target=True),))
    token = append_aliases(granted, Aliases({ALIAS: fixed(LOCATION), "org/app": many}))
    flow = make_flow("GET", path, ("Authorization", f"Bearer {token}"))
    asyncio.run(proxy.request(flow))
    assert flow.request.path.startswith(f"/v2/{LOCATION}/")
    flow.response = http.Response.make(200, b"{}", {"Content-Length": "2"})
    proxy.responseheaders(flow)
    proxy.response(flow)
    assert read == [b"{}"] * is_read


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("mode", ["regular"], "mode: regular does not say which registry"),
        ("mode", [MODE, "regular@0"], "mode: "),
        ("mode", ["reverse:tcp://registry:5000@0"], "mode: "),
        ("keep_host_header", False, "keep_host_header: has to be true"),
        ("rawtcp", True, "rawtcp: has to be false"),
        ("proxy_debug", True, "proxy_debug: cannot be used, because it logs"),
        ("ignore_hosts", ["."], "ignore_hosts: cannot be used, because it lets"),
        ("validate_inbound_headers", False, "validate_inbound_headers: has to be"),
        ("balena_api_url", "api.example.com", "balena_api_url: 'api.example.com'"),
        ("balena_api_url", "https://api.example.com/v7", "balena_api_url: "),
        ("balena_public_url", "ftp://proxy", "balena_public_url: 'ftp://proxy'"),
        ("balena_public_url", "https://user@proxy", "balena_public_url: "),
        ("balena_api_timeout", 0, "balena_api_timeout: 0 is not between 1 and 60"),
        ("balena_cache_ttl", -1, "balena_cache_ttl: -1 is not between 0 and 86400"),
        ("balena_api_timeout", 61, "balena_api_timeout: 61"),
        ("balena_blobs", "proxy", "balena_blobs: 'proxy' is not one of redirect"),
        ("balena_blobs", "nginx", "has no effect without balena_trust_forwarded=true"),
        ("balena_cache_dir", "~nobody-here/x", "balena_cache_dir: '~nobody-here/x' is"),
        ("balena_blobs_allow", "minio", "balena_blobs_allow: has no effect without"),
        ("balena_tags", "yes", "balena_tags: 'yes' is not one of ignore, select"),
        ("balena_tags_max", 61, "balena_tags_max: 61 is not between 1 and 60"),
        ("ssl_verify_upstream_trusted_ca", "/nowhere.pem", "there is no /nowhere.pem"),
    ],
)
def test_wrong_option_is_named(
    context: taddons.context,
    proxy: addon.RegistryProxy,
    option: str,
    value: object,
    said: str,
) -> None:
    """A value that cannot work is refused with a message that names the option."""
    with pytest.raises(exceptions.OptionsError, match=said.replace("'", ".")):
        context.configure(proxy, **{option: value})


def test_nginx_goes_through_no_forward_proxy(
    context: taddons.context,
    proxy: addon.RegistryProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What would not work is refused, in the place of a pull that fails."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    context.options.connection_strategy = "lazy"
    with pytest.raises(exceptions.OptionsError, match="by no forward proxy"):
        context.configure(proxy, balena_blobs="nginx", balena_trust_forwarded=True)


def test_metrics_forget_a_cache_that_is_switched_off(
    context: taddons.context, proxy: addon.RegistryProxy, tmp_path: Path
) -> None:
    """Its size is no longer that of anything."""
    metrics = f"127.0.0.1:{free_port()}"

    def size_max() -> float:
        with urlopen(f"http://{metrics}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        name = "balena_proxy_cache_bytes_max "
        return next(float(each[len(name) :]) for each in lines if each.startswith(name))

    context.configure(
        proxy, balena_cache_dir=str(tmp_path), balena_metrics_listen=metrics
    )
    assert size_max() == 20 * 10**9
    context.configure(proxy, balena_cache_dir="")
    assert size_max() == 0


def test_wrong_option_ends_the_start(
    context: taddons.context,
    loaded: addon.RegistryProxy,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At the start the message is one line at ERROR, which ends mitmproxy."""
    context.configure(loaded, mode=[MODE], balena_api_url="wrong", **REQUIRED)
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert record.getMessage().startswith("balena_api_url: 'wrong'")
    assert record.exc_info is None


def test_nothing_in_the_module_is_taken_for_a_hook() -> None:
    """Mitmproxy calls functions of the script that have the name of a hook."""
    assert not {name for name in hooks.all_hooks if hasattr(addon, name)}


def test_nobody_is_let_in_without_the_addon(
    context: taddons.context, proxy: addon.RegistryProxy
) -> None:
    """Where the script is loaded anew and fails, mitmproxy forwards nothing (T9)."""

    async def steps() -> None:
        proxy.done()
        client = tflow.tclient_conn()
        await context.master.addons.trigger_event(ClientConnectedHook(client))
        assert client.error
        proxy.running()
        client = tflow.tclient_conn()
        await context.master.addons.trigger_event(ClientConnectedHook(client))
        assert not client.error

    asyncio.run(steps())


def test_done_closes_every_connection(proxy: addon.RegistryProxy) -> None:
    """A script that is loaded anew would not know them, nor rewrite their answers."""

    async def steps() -> None:
        silent = asyncio.StreamReader()
        reader = RequestReader(silent, "c", idle_seconds=60, request_seconds=60)
        client = SimpleNamespace(reader=reader)
        proxy._connections._clients["c"] = client  # type: ignore[assignment]
        reading = asyncio.create_task(reader.read(1))
        await asyncio.sleep(0)
        proxy.done()
        with pytest.raises(TimeoutError):
            await reading
        proxy._connections._clients.clear()

    asyncio.run(steps())


def test_connection_without_an_address(proxy: addon.RegistryProxy) -> None:
    """The flow says why there was none, in the system's words."""

    async def steps() -> http.HTTPFlow:
        flow = await forwarded(proxy)
        server = connection.Server(address=("registry2.example.com", 443))
        data = server_hooks.ServerConnectionHookData(server, flow.client_conn)
        proxy._hosts = Hosts(look_up=no_address)
        await proxy.server_connect(data)
        proxy.server_connect_error(data)
        assert server.error
        flow.error = mitmproxy_flow.Error(f"Connection killed: {server.error}")
        proxy.error(flow)
        return flow

    flow = asyncio.run(steps())
    assert flow.error
    assert flow.error.msg == "[Errno -2] Name or service not known"
    assert "there is no host of the name registry2.example.com" in flow.comment


def no_address(_host: str, _port: int) -> list[str]:
    """Find none."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
