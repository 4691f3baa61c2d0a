"""A signed URL is sent, and shown to nobody."""

from collections.abc import Iterator

import pytest
from mitmproxy import http
from mitmproxy.net.http.http1 import assemble_request, assemble_request_head
from mitmproxy.test import taddons, tflow

import addon
from mitm import secret
from mitm.signed import SENDER, SignedRequest, without_signature

PATH = "/data?X-Amz-Signature=abc&x=%2F"


@pytest.fixture(autouse=True)
def options() -> Iterator[taddons.context]:
    """mitmproxy, with the addon's options."""
    with taddons.context(addon.RegistryProxy()) as context:
        yield context


def signed_flow() -> http.HTTPFlow:
    """Return a flow whose request is signed."""
    flow = tflow.tflow()
    flow.request = SignedRequest.of(flow.request, PATH)
    return flow


def sent(request: http.Request, expression: str = "assemble(request)") -> bytes:
    """Return the head that mitmproxy's own layer sends."""
    known = {"assemble": assemble_request_head, "request": request, "__name__": SENDER}
    head: bytes = eval(expression, known)
    return head


def test_whole_path_is_sent() -> None:
    """Byte by byte as it is signed, also where HTTP/2 is put into HTTP/1."""
    request = signed_flow().request
    for expression in ("assemble(request)", "assemble(request.copy())"):
        assert sent(request, expression).startswith(f"GET {PATH} HTTP".encode())


def test_path_is_shown_without_its_query() -> None:
    """Whatever saves, exports, copies or shows a flow has no signature."""
    flow = signed_flow()
    shown = (
        flow.request.path,
        flow.request.pretty_url,
        str(flow.get_state()),
        repr(flow.request),
        assemble_request(flow.request).decode(),
        sent(flow.copy().request).decode(),
    )
    assert "/data?[redacted]" in shown[0]
    assert not [text for text in shown if "Signature" in text]


def test_signature_is_forgotten_with_the_flow() -> None:
    """Once it has done its work nothing can be sent with it again."""
    flow = signed_flow()
    secret.forget(flow)
    assert b"Signature" not in sent(flow.request)


def test_signature_is_shown_on_demand(options: taddons.context) -> None:
    """With balena_show_secrets a flow shows what is sent."""
    options.options.balena_show_secrets = True
    assert signed_flow().request.path == PATH


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://s.example/data?Signature=abc", "https://s.example/data?[redacted]"),
        ("/data;token=abc", "/data?[redacted]"),
        ("/data#abc", "/data?[redacted]"),
        ("/data", "/data"),
    ],
)
def test_what_follows_the_path_is_not_shown(url: str, shown: str) -> None:
    """A signature may stand in any part behind the path."""
    assert without_signature(url) == shown
