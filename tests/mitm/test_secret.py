"""What a client sends is in no flow at any moment, and goes where it has to."""

from collections.abc import Iterator

import pytest
from mitmproxy import flow as mitmproxy_flow
from mitmproxy import flowfilter, http
from mitmproxy.addons.export import Export
from mitmproxy.net.http import http1
from mitmproxy.test import taddons, tflow, tutils

import addon
from mitm import secret
from mitm.redaction import REDACTED
from tests.mitm.exposure import assert_hidden, everything
from tests.mitm.sample import CLAIMS, KEY, LOGIN, REGISTRY, SESSION, SIGNATURE, SUFFIX

TOKEN = REGISTRY + SUFFIX


@pytest.fixture
def options() -> Iterator[taddons.context]:
    """mitmproxy, with the addon's options."""
    with taddons.context(addon.RegistryProxy(), Export()) as context:
        context.options.http2 = False
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


def sent(flow: http.HTTPFlow) -> list[tuple[str, str]]:
    """Return the headers that mitmproxy sends, with their names in lower case."""
    head: bytes = http1.assemble_request_head(flow.request)
    _, *lines = head.decode().rstrip().split("\r\n")
    pairs = [line.partition(": ") for line in lines]
    return [(name.lower(), value) for name, _, value in pairs]


def sent_login(flow: http.HTTPFlow) -> list[str]:
    """Return the logins among the headers that mitmproxy sends."""
    return [value for name, value in sent(flow) if name == "authorization"]


@pytest.mark.usefixtures("options")
@pytest.mark.parametrize(
    ("login", "shown"),
    [
        (f"Basic {LOGIN}", f"Basic {REDACTED}"),
        (f"Bearer {KEY}", f"Bearer {REDACTED}"),
        (f"Bearer {SESSION}", f"Bearer {REDACTED}"),
        (f"Bearer {REGISTRY}", f"Bearer {CLAIMS}.{REDACTED}"),
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
    held = secret.withhold(flow)
    assert (held.target, held.authorization) == (path, login)
    assert held.headers["cookie"] == KEY
    assert flow.request.path == "/auth/v1/token"
    assert flow.request.headers["authorization"] == shown
    assert_hidden(flow)
    assert KEY not in repr(held)


@pytest.mark.usefixtures("options")
@pytest.mark.parametrize("other", [f"Basic {LOGIN}", f"Bearer {KEY}"])
def test_every_login_is_withheld(other: str) -> None:
    """A request with two logins shows neither, whichever of them is first."""
    token = f"Bearer {TOKEN}"
    for logins in ((other, token), (token, other)):
        flow = arriving(*(("Authorization", login) for login in logins))
        assert secret.withhold(flow).authorization == ", ".join(logins)
        assert_hidden(flow)


@pytest.mark.usefixtures("options")
def test_login_before_the_host_is_withheld() -> None:
    """A host with a login is none, and what it is instead can still be told."""
    flow = arriving()
    flow.request.host_header = f"u:{KEY}@proxy.example"
    held = secret.withhold(flow)
    assert held.headers["host"] == f"u:{KEY}@proxy.example"
    assert flow.request.host_header == f"{REDACTED}@proxy.example"
    assert_hidden(flow)


@pytest.mark.usefixtures("options")
def test_reason_is_shown_without_what_was_sent() -> None:
    """A malformed header is quoted by mitmproxy, and it may have been a login."""
    flow = arriving()
    flow.error = mitmproxy_flow.Error(f"invalid header name: b'Bearer {KEY}', refused")
    secret.withhold(flow)
    assert flow.error.msg == f"invalid header name: {REDACTED}, refused"


@pytest.mark.usefixtures("options")
def test_failure_is_shown_without_what_was_sent() -> None:
    """A request that breaks off may be quoted; its login is not kept any longer."""
    proxy, flow = addon.RegistryProxy(), arriving(("Authorization", f"Bearer {KEY}"))
    proxy.requestheaders(flow)
    assert flow in proxy._withheld
    flow.error = mitmproxy_flow.Error(f"uppercase header name b'{KEY}'")
    proxy.error(flow)
    assert flow.error.msg == f"uppercase header name {REDACTED}"
    assert flow not in proxy._withheld
    assert_hidden(flow)


@pytest.mark.usefixtures("options")
def test_what_mitmproxy_reads_is_left() -> None:
    """Without these headers a client would wait to be told to go on, or be cut off."""
    read = {
        "Connection": "close",
        "Expect": "100-continue",
        "Content-Type": "application/x-www-form-urlencoded",
        "Content-Length": "20",
    }
    flow = arriving(*read.items())
    secret.withhold(flow)
    assert dict(flow.request.headers) == {"Host": "proxy.example:8080", **read}


@pytest.mark.usefixtures("options")
def test_body_is_taken_out() -> None:
    """The form is for the proxy alone, and so are trailers, which may be a login."""
    flow = arriving(path="/auth/v1/token")
    form = f"grant_type=password&username=u&password={KEY}".encode()
    flow.request.raw_content = form
    flow.request.trailers = http.Headers(authorization=f"Bearer {KEY}")
    assert secret.take_body(flow.request) == form
    assert flow.request.text == (
        f"grant_type=password&username={REDACTED}&password={REDACTED}"
    )
    assert_hidden(flow)


@pytest.fixture
def forwarded(options: taddons.context) -> http.HTTPFlow:
    """A flow whose token goes upstream."""
    del options
    flow = arriving(("Authorization", f"Bearer {TOKEN}"), ("User-Agent", "docker"))
    secret.withhold(flow)
    secret.send_login(flow.request, f"Bearer {REGISTRY}")
    return flow


def test_token_is_sent_and_not_shown(forwarded: http.HTTPFlow) -> None:
    """The registry gets the token, once, and whoever looks at the flow its claims."""
    shown = f"Bearer {CLAIMS}.{REDACTED}"
    assert sent_login(forwarded) == [f"Bearer {REGISTRY}"]
    assert forwarded.request.headers["authorization"] == shown
    assert_hidden(forwarded)
    secret.forget(forwarded)
    assert sent_login(forwarded) == [shown]


@pytest.mark.parametrize("kind", ["~h", "~hq"])
def test_token_is_not_found_by_a_filter(forwarded: http.HTTPFlow, kind: str) -> None:
    """Whoever may filter could else guess the token, letter by letter."""
    assert flowfilter.match(f"{kind} docker", forwarded)
    assert not flowfilter.match(f"{kind} {SIGNATURE[:4]}", forwarded)


def test_token_is_sent_where_headers_were_edited(forwarded: http.HTTPFlow) -> None:
    """Interfaces write back all that they show, and the token has to survive that."""
    shown = list(forwarded.request.headers.items(multi=True))
    forwarded.request.headers.clear()
    for name, value in [*shown, ("X-Debug", shown[-1][1])]:
        forwarded.request.headers.add(name, value)
    assert sent_login(forwarded) == [f"Bearer {REGISTRY}"]
    assert ("x-debug", f"Bearer {CLAIMS}.{REDACTED}") in sent(forwarded)


def test_login_of_an_editor_is_sent(forwarded: http.HTTPFlow) -> None:
    """Who writes another token sends that one, and it is forgotten as any other."""
    forwarded.request.headers["Authorization"] = "Bearer edited"
    assert sent_login(forwarded) == ["Bearer edited"]
    secret.forget(forwarded)
    assert forwarded.request.headers["authorization"] == f"Bearer {REDACTED}"


def test_request_goes_without_a_login(forwarded: http.HTTPFlow) -> None:
    """Where there is no token nothing takes its place, and nothing else is told."""
    forwarded.request.headers["Expect"] = "what nobody knows"
    secret.send_login(forwarded.request, None)
    assert not {"authorization", "expect"} & dict(sent(forwarded)).keys()


def test_flow_that_is_under_way_is_not_reverted(forwarded: http.HTTPFlow) -> None:
    """Else what is shown would be sent; once it is over, edits can be undone."""
    forwarded.backup()
    forwarded.comment = "edited"
    forwarded.revert()
    assert sent_login(forwarded) == [f"Bearer {REGISTRY}"]
    forwarded.live = False
    forwarded.revert()
    assert forwarded.comment == ""
    assert_hidden(forwarded)


@pytest.mark.parametrize("option", ["http2", "balena_show_secrets"])
def test_token_is_shown_until_it_is_forgotten(
    options: taddons.context, option: str
) -> None:
    """HTTP/2 sends what is shown; with the option it is meant to be shown, for good."""
    options.options.http2 = False
    options.options.update(**{option: True})
    flow = arriving(("Authorization", f"Bearer {TOKEN}"))
    secret.withhold(flow)
    secret.send_login(flow.request, f"Bearer {REGISTRY}")
    assert flow.request.headers["authorization"] == f"Bearer {REGISTRY}"
    secret.forget(flow)
    assert (SIGNATURE in everything(flow)) == (option == "balena_show_secrets")


def test_nothing_is_left_of_what_was_shown(options: taddons.context) -> None:
    """Where the option was switched off in between, the flow is cleared in the end."""
    options.options.balena_show_secrets = True
    flow = arriving(("Authorization", f"Basic {LOGIN}"), path="/auth/v1/token?scope=x")
    flow.request.raw_content = f"grant_type=password&password={KEY}".encode()
    assert secret.withhold(flow).authorization == f"Basic {LOGIN}"
    assert secret.take_body(flow.request) == flow.request.raw_content
    assert LOGIN in everything(flow)
    options.options.balena_show_secrets = False
    secret.forget(flow)
    assert flow.request.headers["authorization"] == f"Basic {REDACTED}"
    assert_hidden(flow)


def test_login_is_shown_with_the_option(options: taddons.context) -> None:
    """Who switched it on sees how the client logs in, and nothing of its cookies."""
    options.options.balena_show_secrets = True
    flow = arriving(("Authorization", f"Basic {LOGIN}"), ("Cookie", "a=b"))
    secret.withhold(flow)
    assert flow.request.headers["authorization"] == f"Basic {LOGIN}"
    assert "cookie" not in flow.request.headers
