"""What a client sends is in no flow at any moment, and goes where it has to."""

import json
from collections.abc import Callable, Iterator

import pytest
from mitmproxy import flow as mitmproxy_flow
from mitmproxy import flowfilter, http
from mitmproxy.addons.export import Export
from mitmproxy.net.http import http1
from mitmproxy.test import taddons, tflow, tutils

import addon
from mitm import secret
from mitm.exchange import Exchange
from resolver.grammar.credential import ANONYMOUS
from resolver.grammar.secret import REDACTED
from resolver.token.answer import TokenAnswer
from resolver.token.request import TokenRequest
from tests.mitm.exposure import assert_hidden, everything, sent
from tests.mitm.sample import CLAIMS, KEY, LOGIN, REGISTRY, SESSION, SIGNATURE, SUFFIX

TOKEN = REGISTRY + SUFFIX
SHOWN = f"Bearer {CLAIMS}.{REDACTED}"
ANSWER = json.dumps({"token": TOKEN, "access_token": TOKEN}).encode()
URL = "https://storage.example/blob?Signature=" + SIGNATURE


@pytest.fixture(autouse=True)
def options() -> Iterator[taddons.context]:
    """mitmproxy, with the addon's options."""
    with taddons.context(addon.RegistryProxy(), Export()) as context:
        yield context


def arriving(*headers: tuple[str, str], path: str = "/v2/") -> http.HTTPFlow:
    """Return a flow of which the request's head has come."""
    fields = [(b"Host", b"proxy.example:8080")]
    fields += [(name.encode(), value.encode()) for name, value in headers]
    request = tutils.treq(
        method=b"GET",
        authority=b"",
        path=path.encode(),
        content=b"",
        headers=http.Headers(fields),
    )
    flow = tflow.tflow(req=request)
    flow.live = True
    return flow


@pytest.mark.parametrize(
    ("login", "shown"),
    [
        (f"Basic {LOGIN}", f"Basic {REDACTED}"),
        (f"Bearer {KEY}", f"Bearer {REDACTED}"),
        (f"Bearer {SESSION}", f"Bearer {REDACTED}"),
        (f"Bearer {REGISTRY}", SHOWN),
        (KEY, REDACTED),
    ],
)
def test_login_is_withheld(login: str, shown: str) -> None:
    """Query and headers are for the proxy alone; of the login its kind is shown."""
    path = f"/auth/v1/token?scope=x&apikey={KEY}"
    flow = arriving(
        ("AUTHORIZATION", login),
        ("Cookie", KEY),
        ("X-Registry-Auth", LOGIN),
        ("Proxy-Authorization", f"Basic {LOGIN}"),
        ("Referer", f"https://example.com/?apikey={KEY}"),
        path=path,
    )
    exchange = Exchange.begin(flow)
    assert (exchange.target, exchange.authorization) == (path, login)
    assert exchange.headers["cookie"] == KEY
    assert flow.request.path == "/auth/v1/token"
    assert flow.request.headers["authorization"] == shown
    assert_hidden(flow)
    assert KEY not in repr(exchange)


@pytest.mark.parametrize("other", [f"Basic {LOGIN}", f"Bearer {KEY}"])
def test_every_login_is_withheld(other: str) -> None:
    """A request with two logins shows neither, whichever of them is first."""
    token = f"Bearer {TOKEN}"
    for logins in ((other, token), (token, other)):
        flow = arriving(*(("Authorization", login) for login in logins))
        assert Exchange.begin(flow).authorization == ", ".join(logins)
        assert_hidden(flow)


def test_login_before_the_host_is_withheld() -> None:
    """A host with a login is none, and what it is instead can still be told."""
    flow = arriving()
    flow.request.host_header = f"u:{KEY}@proxy.example"
    assert Exchange.begin(flow).headers["host"] == f"u:{KEY}@proxy.example"
    assert flow.request.host_header == f"{REDACTED}@proxy.example"
    assert_hidden(flow)


def test_failure_is_shown_without_what_was_sent() -> None:
    """A request that cannot be read may be quoted; its login is not kept."""
    proxy, flow = addon.RegistryProxy(), arriving(("Authorization", f"Bearer {KEY}"))
    flow.error = mitmproxy_flow.Error(f"invalid header name: b'Bearer {KEY}', refused")
    proxy.requestheaders(flow)
    assert flow.error.msg == f"invalid header name: {REDACTED}, refused"
    flow.error = mitmproxy_flow.Error(f"uppercase header name b'{KEY}'")
    proxy.error(flow)
    assert flow.error.msg == f"uppercase header name {REDACTED}"
    assert flow not in proxy._exchanges
    assert_hidden(flow)


def test_what_mitmproxy_reads_is_left() -> None:
    """Without these headers a client would wait to be told to go on, or be cut off."""
    read = {
        "Connection": "close",
        "Expect": "100-continue",
        "Content-Type": "application/x-www-form-urlencoded",
        "Content-Length": "20",
    }
    flow = arriving(*read.items())
    Exchange.begin(flow)
    assert dict(flow.request.headers) == {"Host": "proxy.example:8080", **read}


def test_body_is_taken_out() -> None:
    """The form is for the proxy alone, and so are trailers, which may be a login."""
    flow = arriving(path="/auth/v1/token")
    form = f"grant_type=password&username=u&password={KEY}".encode()
    flow.request.raw_content = form
    flow.request.trailers = http.Headers(authorization=f"Bearer {KEY}")
    exchange = Exchange.begin(flow)
    exchange.take_body(flow.request)
    assert exchange.body == form
    assert flow.request.text == (
        f"grant_type=password&username={REDACTED}&password={REDACTED}"
    )
    assert_hidden(flow)


def forwarded() -> tuple[http.HTTPFlow, Exchange]:
    """Return a flow whose token goes upstream."""
    flow = arriving(("Authorization", f"Bearer {TOKEN}"), ("User-Agent", "docker"))
    exchange = Exchange.begin(flow)
    exchange.send_login(flow, f"Bearer {REGISTRY}")
    return flow, exchange


def answered() -> tuple[http.HTTPFlow, Exchange]:
    """Return a flow that is answered with a token."""
    flow = arriving()
    exchange = Exchange.begin(flow)
    exchange.answer_token(
        flow, TokenAnswer(ANSWER, (), {}), TokenRequest((), ANONYMOUS)
    )
    return flow, exchange


def redirected() -> tuple[http.HTTPFlow, Exchange]:
    """Return a flow that is answered with the URL of a storage."""
    flow = arriving()
    exchange = Exchange.begin(flow)
    flow.response = http.Response.make(307, b"", {"Location": URL.partition("?")[0]})
    exchange.send(flow, secret.SentHeader(URL, URL.partition("?")[0]))
    return flow, exchange


def told() -> tuple[http.HTTPFlow, Exchange]:
    """Return a flow that is answered with what nginx needs for a fetch."""
    flow = arriving()
    exchange = Exchange.begin(flow)
    shown = {"X-Blob-Path": "/blob", "X-Blob-Authorization": "Bearer [redacted]"}
    flow.response = http.Response.make(200, b"", shown)
    for name, text in shown.items():
        exchange.send(flow, secret.SentHeader(f"{text}{SIGNATURE}", text, name))
    return flow, exchange


def signed() -> tuple[http.HTTPFlow, Exchange]:
    """Return a flow that goes to a storage."""
    flow = arriving(path=f"/blob?{REDACTED}")
    exchange = Exchange.begin(flow)
    exchange.send(flow, secret.SignedPath(f"/blob?Signature={SIGNATURE}", "/blob"))
    return flow, exchange


WAYS = [forwarded, answered, redirected, told, signed]
type Way = Callable[[], tuple[http.HTTPFlow, Exchange]]


@pytest.mark.parametrize("way", WAYS)
def test_secret_is_sent_and_not_shown(way: Way) -> None:
    """Who it is for gets it; whoever looks at the flow, or filters, does not."""
    flow, exchange = way()
    assert_hidden(flow)
    for kind in ("~h", "~hq", "~bs", "~u"):
        assert not flowfilter.match(f"{kind} {SIGNATURE[:4]}", flow)
    with sent(flow, exchange):
        assert SIGNATURE in everything(flow)
    assert_hidden(flow)
    exchange.forget(flow)
    with sent(flow, exchange):
        assert_hidden(flow)


@pytest.mark.parametrize("way", WAYS)
def test_secret_is_shown_with_the_option(options: taddons.context, way: Way) -> None:
    """Who switched it on sees what is sent, and nothing has to be kept for it."""
    options.options.balena_show_secrets = True
    flow, exchange = way()
    assert SIGNATURE in everything(flow)
    assert not exchange.secrets


def test_length_is_that_of_what_is_sent() -> None:
    """A client that waits for more, or stops before the end, has no token."""
    flow, exchange = answered()
    with sent(flow, exchange):
        assert flow.response
        assert flow.response.raw_content == ANSWER
        assert flow.response.headers["content-length"] == str(len(ANSWER))


def test_token_is_sent_where_headers_were_edited() -> None:
    """Interfaces write back all that they show, and the token has to survive that."""
    flow, exchange = forwarded()
    shown = list(flow.request.headers.items(multi=True))
    flow.request.headers.clear()
    for name, value in [*shown, ("X-Debug", SHOWN)]:
        flow.request.headers.add(name, value)
    with sent(flow, exchange):
        head = http1.assemble_request_head(flow.request).decode()
    assert f"Authorization: Bearer {REGISTRY}\r\n" in head.replace(
        "authorization", "Authorization"
    )
    assert f"X-Debug: {SHOWN}\r\n" in head


def test_what_an_editor_wrote_is_sent() -> None:
    """Who writes another token or answer sends that one, and it is forgotten too."""
    flow, exchange = forwarded()
    flow.request.headers["Authorization"] = "Bearer edited"
    with sent(flow, exchange):
        assert flow.request.headers["Authorization"] == "Bearer edited"
    secret.forget(flow.request)
    assert flow.request.headers["authorization"] == f"Bearer {REDACTED}"
    flow, exchange = answered()
    assert flow.response
    flow.response.text = "edited"
    with sent(flow, exchange):
        assert flow.response.text == "edited"


def test_request_goes_without_a_login() -> None:
    """Where there is no token nothing takes its place, and nothing else is told."""
    flow, exchange = forwarded()
    exchange.secrets.clear()
    flow.request.headers["Expect"] = "what nobody knows"
    exchange.send_login(flow, None)
    with sent(flow, exchange):
        assert not {"authorization", "expect"} & set(flow.request.headers)


def test_nothing_is_left_of_what_was_shown(options: taddons.context) -> None:
    """Where the option was switched off in between, the flow is cleared in the end."""
    options.options.balena_show_secrets = True
    flow = arriving(("Authorization", f"Basic {LOGIN}"), path="/auth/v1/token?scope=x")
    exchange = Exchange.begin(flow)
    flow.request.raw_content = f"grant_type=password&password={KEY}".encode()
    assert flow.request.headers["authorization"] == f"Basic {LOGIN}"
    exchange.take_body(flow.request)
    assert exchange.body == flow.request.raw_content
    secret.forget(flow.request)
    assert flow.request.headers["authorization"] == f"Basic {REDACTED}"
    assert_hidden(flow)


def test_login_of_a_replay_is_sent_without_a_courier() -> None:
    """No client connects for a replay; what was written for it is sent, then hidden."""
    flow = arriving(("Authorization", f"Bearer {REGISTRY}"))
    flow.is_replay = "request"
    exchange = Exchange.begin(flow)
    exchange.send_login(flow, f"Bearer {REGISTRY}")
    assert flow.request.headers["authorization"] == f"Bearer {REGISTRY}"
    exchange.forget(flow)
    assert_hidden(flow)
