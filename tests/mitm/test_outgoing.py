"""What of a forward proxy stands in a flow, and what never does."""

import base64
from collections.abc import Iterator

import pytest
from mitmproxy import connection, http
from mitmproxy.addons.export import Export
from mitmproxy.net.http import http1
from mitmproxy.test import taddons, tflow

import addon
from mitm import outgoing
from mitm.exchange import Exchange
from mitm.secret import Login
from resolver.errors import ServiceUnavailable
from resolver.upstream.outgoing import NONE, Proxies
from tests.mitm.exposure import assert_hidden, everything, sent
from tests.mitm.test_courier import SENT, SHOWN

REGISTRY = ("registry.test", 80)
PASSWORD = "s3cret"
CREDENTIALS = base64.b64encode(f"u:{PASSWORD}".encode()).decode()
PROXIES = Proxies.of({"ALL_PROXY": f"http://u:{PASSWORD}@proxy.test:3128"})


@pytest.fixture(autouse=True)
def options() -> Iterator[taddons.context]:
    """mitmproxy, with the addon's options."""
    with taddons.context(Export(), addon.RegistryProxy()) as context:
        yield context


def asking(scheme: str, version: str = "HTTP/1.1") -> http.HTTPFlow:
    """Return a flow that is to go to the registry."""
    flow = tflow.tflow()
    request = flow.request
    request.scheme, request.http_version = scheme, version
    request.data.host, request.data.port = REGISTRY
    request.data.path = b"/v2/"
    request.headers = http.Headers([(b"Authorization", SHOWN.encode())])
    if request.is_http2:
        request.authority = "registry.test"
    else:
        request.headers["Host"] = "registry.test"
    flow.server_conn = connection.Server(address=REGISTRY)
    return flow


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2.0"])
def test_plain_request_is_sent_to_the_proxy(version: str) -> None:
    """It has the whole URL and the login, and the flow has neither."""
    flow, exchange = asking("http", version), Exchange("/v2/", {})
    exchange.secrets.append(Login(SENT, SHOWN))
    before = flow.request.get_state()
    outgoing.lead(flow, exchange, PROXIES)
    assert flow.server_conn.via is None
    assert_hidden(flow)
    for _ in range(2):
        with sent(flow, exchange):
            request = flow.request
            assert (request.host, request.port) == ("proxy.test", 3128)
            head = http1.assemble_request_head(request)
            assert head.startswith(b"GET http://registry.test/v2/ HTTP/1.1\r\n")
            assert b"Host: registry.test\r\n" in head
            assert f"Authorization: {SENT}\r\n".encode() in head
            assert f"Proxy-Authorization: Basic {CREDENTIALS}\r\n".encode() in head
        assert_hidden(flow)
        assert flow.request.get_state() == before
        assert not [
            text for text in (PASSWORD, CREDENTIALS) if text in everything(flow)
        ]


def test_login_of_the_proxy_is_shown_by_no_option(options: taddons.context) -> None:
    """What shows keys and tokens shows those of clients alone."""
    options.options.balena_show_secrets = True
    flow, exchange = asking("http"), Exchange("/v2/", {})
    outgoing.lead(flow, exchange, PROXIES)
    assert CREDENTIALS not in everything(flow)
    with sent(flow, exchange):
        assert CREDENTIALS in str(flow.request.headers)


def test_encrypted_request_goes_through_a_tunnel() -> None:
    """The connection is via the proxy, and one of this flow alone."""
    flow, exchange = asking("https"), Exchange("/v2/", {})
    shared = flow.server_conn
    outgoing.lead(flow, exchange, PROXIES)
    assert flow.server_conn.via == ("http", ("proxy.test", 3128))
    assert (shared.via, shared.sni) == (None, "registry.test")
    assert not exchange.secrets
    outgoing.lead(flow, exchange, NONE)
    assert flow.server_conn.via is None


def test_tunnel_is_logged_in_for() -> None:
    """Nobody but the proxy is told."""
    flow = asking("https")
    flow.server_conn.address = ("proxy.test", 3128)
    outgoing.log_in(flow, PROXIES)
    assert flow.request.headers["Proxy-Authorization"] == f"Basic {CREDENTIALS}"
    other = asking("https")
    outgoing.log_in(other, PROXIES)
    assert "Proxy-Authorization" not in other.request.headers


def test_answer_about_the_login_is_no_registrys() -> None:
    """The client is told nothing of it, and the log everything."""
    flow, exchange = asking("http"), Exchange("/v2/", {})
    refused = http.Response.make(407)
    outgoing.check_head(refused, exchange)
    outgoing.lead(flow, exchange, PROXIES)
    outgoing.check_head(http.Response.make(401), exchange)
    with pytest.raises(ServiceUnavailable) as failed:
        outgoing.check_head(refused, exchange)
    assert "proxy.test" not in failed.value.message
    assert "proxy.test:3128 does not accept the login" in failed.value.explanation


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (
            "Upstream proxy 192.0.2.1:3128 refused HTTP CONNECT request: 403 Forbidden",
            "the proxy proxy.test:3128 refuses to connect to it: 403 Forbidden",
        ),
        (
            "Upstream proxy proxy.test:3128 refused HTTP CONNECT request: 407 ",
            "the proxy proxy.test:3128 does not accept the login in ALL_PROXY (407)",
        ),
        ("connection closed", "connection closed, through the proxy proxy.test:3128"),
    ],
)
def test_words_of_a_failure(failure: str, said: str) -> None:
    """They name the proxy, where one was asked."""
    exchange = Exchange("/v2/", {})
    assert outgoing.explain(failure, exchange) == failure
    exchange.proxy = PROXIES.https
    assert outgoing.explain(failure, exchange) == said
