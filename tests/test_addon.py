"""What the hooks do to single flows."""

import asyncio
import gzip
import json
import logging
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from mitmproxy import ctx, exceptions, hooks, http
from mitmproxy.addons.onboarding import Onboarding
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy.layers.http import _http1
from mitmproxy.proxy.server_hooks import ClientConnectedHook
from mitmproxy.test import taddons, tflow, tutils

import addon
from mitm.command import Commands
from mitm.guard import inbound
from mitm.guard.reader import RequestReader
from mitm.option import REQUIRED
from mitm.story.record import Login
from resolver import errors
from resolver.grammar import credential
from resolver.grammar.reference import Location, parse_alias
from resolver.release.candidate import Candidates
from resolver.token.answer import TokenAnswer
from resolver.token.claims import append_aliases
from resolver.token.service import TokenRequest
from resolver.token.suffix import Aliases
from tests.mitm.exposure import sent
from tests.resolver.fake import candidate, fixed, jwt, pullable

ALIAS = "org/app/2.3"
LOCATION = Location("v2/567e62d1e73529e7a31757ac1f3fb902")
DIGEST = "sha256:" + "ab" * 32
JWT = "head.payload.signature"
TOKEN = append_aliases(JWT, Aliases({ALIAS: fixed(LOCATION)}))
MODE = "reverse:https://registry2.example.com@127.0.0.1:0"


class Tokens:
    """A token service that answers everything in the same way."""

    def __init__(self, outcome: TokenAnswer | Exception) -> None:
        self.outcome = outcome
        self.asked: list[TokenRequest] = []

    async def answer(self, request: TokenRequest) -> TokenAnswer:
        """Remember the request, and answer it."""
        self.asked.append(request)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    async def registry_service(self) -> str:
        """Return the name that challenges have."""
        return "registry2.example.com"

    def close(self) -> None:
        """Have nothing to let go of."""


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


async def answered(
    proxy: addon.RegistryProxy, method: str, path: str, *headers: tuple[str, str]
) -> http.Response:
    """Return what the addon answers by itself."""
    flow = make_flow(method, path, *headers)
    await proxy.request(flow)
    assert flow.response is not None
    return flow.response


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


@pytest.mark.parametrize(
    "path", ["/", "/v1/", "/v2x", "/auth/v1", "/v7/release", "//v2/"]
)
def test_other_paths_are_not_forwarded(proxy: addon.RegistryProxy, path: str) -> None:
    """Nothing but the named endpoints reaches an upstream."""
    response = asyncio.run(answered(proxy, "GET", path))
    assert message(response)[:2] == (404, "UNSUPPORTED")


def test_head_has_the_head_of_get_and_no_body(proxy: addon.RegistryProxy) -> None:
    """An answer to HEAD has no body, which would break the client's connection."""
    response = asyncio.run(answered(proxy, "HEAD", "/v2/A/manifests/1"))
    assert response.status_code == 400
    assert response.raw_content == b""
    assert int(response.headers["content-length"]) > 0


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
        *("host", "authorization", "accept", "accept-encoding", "content-length")
    }
    assert flow.request.headers["Accept-Encoding"] == "identity"
    assert flow.request.headers["Content-Length"] == "0"


def test_key_does_not_reach_the_registry(proxy: addon.RegistryProxy) -> None:
    """An API key is for the API; a request to the registry goes without it."""
    flow = make_flow("GET", "/v2/", ("Authorization", "Basic dTprZXk="))
    asyncio.run(proxy.request(flow))
    assert flow.response is None
    assert "Authorization" not in flow.request.headers


def test_challenge_names_alias_and_proxy(proxy: addon.RegistryProxy) -> None:
    """The registry's challenge comes with our realm, and without the location."""
    flow = make_flow(
        "GET", f"/v2/{ALIAS}/blobs/{DIGEST}", ("Authorization", f"Bearer {TOKEN}")
    )
    asyncio.run(proxy.request(flow))
    body = json.dumps({"errors": [{"code": "UNAUTHORIZED", "detail": LOCATION}]})
    flow.response = http.Response.make(
        401,
        body,
        {
            "Content-Type": "application/json; charset=utf-8",
            "WWW-Authenticate": 'Bearer realm="https://api.example.com/auth/v1/token",'
            f'service="registry2.example.com",scope="repository:{LOCATION}:pull",'
            'error="invalid_token"',
        },
    )
    proxy.responseheaders(flow)
    proxy.response(flow)
    assert flow.response.headers["WWW-Authenticate"] == (
        'Bearer realm="http://proxy.example:8080/auth/v1/token",'
        f'service="registry2.example.com",scope="repository:{ALIAS}:pull",'
        'error="invalid_token"'
    )
    assert LOCATION.encode() not in (flow.response.content or b"")
    assert ALIAS.encode() in (flow.response.content or b"")


def test_error_that_cannot_be_decoded_is_left_out(proxy: addon.RegistryProxy) -> None:
    """The status stays, and nothing is passed on that could name the location."""
    flow = make_flow(
        "GET", f"/v2/{ALIAS}/blobs/{DIGEST}", ("Authorization", f"Bearer {TOKEN}")
    )
    asyncio.run(proxy.request(flow))
    flow.response = http.Response.make(404)
    flow.response.raw_content = LOCATION.encode()
    flow.response.headers["Content-Encoding"] = "gzip"
    proxy.responseheaders(flow)
    proxy.response(flow)
    assert message(flow.response)[:2] == (404, "UNKNOWN")
    assert "Content-Encoding" not in flow.response.headers


def test_token_for_another_alias_is_sent_back(proxy: addon.RegistryProxy) -> None:
    """A token without the alias gets a challenge, and nothing of another alias."""
    proxy._endpoints._tokens = Tokens(errors.InternalError("not asked"))  # type: ignore[assignment]
    headers = ("Authorization", f"Bearer {TOKEN}")
    response = asyncio.run(
        answered(proxy, "GET", "/v2/org/other/manifests/latest", headers)
    )
    assert response.status_code == 401
    challenge = response.headers["WWW-Authenticate"]
    assert (
        'scope="repository:org/other/latest:pull",error="insufficient_scope"'
        in challenge
    )


@pytest.mark.parametrize("failing", ["request", "responseheaders"])
def test_bug_is_answered_with_500(
    proxy: addon.RegistryProxy,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
) -> None:
    """An exception nobody expected closes the door, and the log has its traceback."""
    flow = make_flow("GET", "/v2/", ("Authorization", f"Bearer {TOKEN}"))
    if failing == "request":
        monkeypatch.delattr("resolver.content.forward.parse_token")
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


def test_token_answer_is_sent_but_not_saved(proxy: addon.RegistryProxy) -> None:
    """The client gets its token; a saved flow has neither token nor key (R15)."""
    body = json.dumps({"token": TOKEN}).encode()
    proxy._endpoints._tokens = Tokens(TokenAnswer(body, (), {}))  # type: ignore[assignment]
    flow = make_flow("GET", "/auth/v1/token", ("Authorization", "Basic dTprZXk="))
    asyncio.run(proxy.request(flow))
    proxy.responseheaders(flow)
    proxy.response(flow)
    assert flow.response is not None
    with sent(flow, proxy._exchanges[flow]):
        assert flow.response.raw_content == body
    assert int(flow.response.headers["content-length"]) == len(body)
    saved = str(flow.get_state())
    assert "dTprZXk=" not in saved
    assert "signature" not in saved
    assert "signature" not in str(flow.response.text)


def test_key_of_a_form_is_not_saved(proxy: addon.RegistryProxy) -> None:
    """The password grant's form is taken out of the flow when it is answered."""
    proxy._endpoints._tokens = Tokens(errors.CredentialRejected("no"))  # type: ignore[assignment]
    flow = make_flow(
        "POST",
        "/auth/v1/token",
        ("Content-Type", "application/x-www-form-urlencoded"),
    )
    flow.request.content = b"grant_type=password&username=u&password=secretkey"
    asyncio.run(proxy.request(flow))
    proxy.response(flow)
    assert flow.response is not None
    assert flow.response.status_code == 401
    assert "secretkey" not in str(flow.get_state())


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


@pytest.mark.parametrize("method", ["get", "head", "Get"])
def test_method_is_taken_as_it_is_sent(proxy: addon.RegistryProxy, method: str) -> None:
    """Mitmproxy shows it in upper case and would send it as it came (R11)."""
    flow = make_flow("GET", "/v2/")
    flow.request.data.method = method.encode()
    asyncio.run(proxy.request(flow))
    assert flow.response is not None
    assert flow.response.status_code == 405


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


def test_log_line_has_no_location_and_no_control_character(
    proxy: addon.RegistryProxy,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log shows what the client asked for, in characters that print."""
    asyncio.run(answered(proxy, "GET", "/x\x1b]0;title\x07"))
    flow = make_flow(
        "GET", f"/v2/{ALIAS}/blobs/{DIGEST}", ("Authorization", f"Bearer {TOKEN}")
    )
    asyncio.run(proxy.request(flow))
    flow.response = http.Response.make(404, b"{}")
    monkeypatch.delattr("resolver.content.answer.is_rewritten")
    proxy.response(flow)
    lines = [record.getMessage() for record in caplog.records]
    assert f"GET blob {DIGEST[:19]} of {ALIAS}: 500" in " ".join(lines)
    assert LOCATION not in " ".join(lines)
    assert all(line.isprintable() for line in lines)


def test_key_in_a_query_is_not_kept(proxy: addon.RegistryProxy) -> None:
    """A key that somebody puts into the query reaches neither log nor registry."""
    for path in (
        "/v2/?apikey=secretkey",
        "/auth/v1/token?apikey=secretkey",
        "/x?secretkey",
    ):
        proxy._endpoints._tokens = Tokens(errors.CredentialRejected("no"))  # type: ignore[assignment]
        flow = make_flow("GET", path)
        asyncio.run(proxy.request(flow))
        assert "secretkey" not in str(flow.get_state())


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


@pytest.mark.parametrize("is_open", [False, True])
def test_signed_redirect_is_sent_and_not_shown(
    proxy: addon.RegistryProxy, *, is_open: bool
) -> None:
    """The client finds the storage; what is saved opens nothing there."""
    ctx.options.balena_show_secrets = is_open
    path = f"/v2/{ALIAS}/blobs/{DIGEST}"
    flow = make_flow("GET", path, ("Authorization", f"Bearer {TOKEN}"))
    proxy.requestheaders(flow)
    asyncio.run(proxy.request(flow))
    url = "https://storage.example/blob?Signature=secret"
    flow.response = http.Response.make(307, b"", {"Location": url})
    proxy.responseheaders(flow)
    with sent(flow, proxy._exchanges[flow]):
        assert flow.response.headers["Location"] == url
    proxy.response(flow)
    assert ("Signature=secret" in str(flow.get_state())) == is_open
    assert "https://storage.example/blob?" in str(flow.get_state())


def test_replayed_request_is_asked_as_at_first(proxy: addon.RegistryProxy) -> None:
    """Its path is the client's again, and what proves nothing is no login."""
    flow = make_flow(
        "GET", f"/v2/{ALIAS}/manifests/latest", ("Authorization", f"Bearer {TOKEN}")
    )
    proxy.requestheaders(flow)
    asyncio.run(proxy.request(flow))
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
        (
            "balena_blobs",
            "proxy",
            "balena_blobs: 'proxy' is not one of redirect, follow",
        ),
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


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "UNSUPPORTED"), (502, "UNAVAILABLE"), (504, "UNAVAILABLE")],
)
def test_pages_of_mitmproxy_are_oci_errors(status: int, code: str) -> None:
    """What mitmproxy answers by itself names no address, and clients can read it."""
    page = _http1.make_error_response(status, "Connect call failed ('10.0.0.7', 5000)")
    head, _, body = page.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(body)["errors"][0]["code"] == code
    assert b"10.0.0.7" not in page


@pytest.mark.parametrize(
    ("alias", "said"),
    [
        ("org/app/2.3.8+rev1", "org/app/2.3.8_rev1 is what was asked for"),
        ("alpine", "'alpine' does not name a release"),
    ],
)
def test_command_shows_what_an_alias_stands_for(
    proxy: addon.RegistryProxy,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    alias: str,
    said: str,
) -> None:
    """`balena.resolve` says it in the event log, with the key of the environment."""
    monkeypatch.setenv("BALENA_API_KEY", "secretkey")

    class Known(Tokens):
        async def look_up(self, name: str, asker: credential.Credential) -> str:
            """Find everything that is an alias."""
            assert asker.key == "secretkey"
            return str(parse_alias(name))

    monkeypatch.setattr(
        "resolver.release.description.describe_resolution",
        "{} is what was asked for".format,
    )
    caplog.set_level(logging.INFO)
    proxy._endpoints._tokens = Known(errors.InternalError("not asked"))  # type: ignore[assignment]

    async def call() -> None:
        prompt = Commands(proxy.current_endpoints)
        prompt.resolve(alias)
        await asyncio.gather(*prompt._running)

    asyncio.run(call())
    assert said in caplog.text
    assert "secretkey" not in caplog.text


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
