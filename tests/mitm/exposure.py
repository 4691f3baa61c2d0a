"""Whatever mitmproxy shows of a flow, in one text, to look for secrets in it."""

from collections.abc import Iterator
from contextlib import contextmanager

from mitmproxy import http
from mitmproxy.addons import cut, export

from mitm.exchange import Exchange
from tests.mitm.sample import KEY, LOGIN, SIGNATURE

SECRETS = (KEY, LOGIN, SIGNATURE)
CUTS = (
    *("request.headers", "request.header[authorization]", "request.headers.fields"),
    *("request.data.headers", "request.headers.items", "request.path", "request.url"),
    *("request.raw_content", "request.content", "request.text", "request.trailers"),
    *("response.raw_content", "response.content", "response.text"),
    *("response.data.content", "response.data", "error.msg", "metadata", "comment"),
)


def everything(flow: http.HTTPFlow) -> str:
    """Return whatever mitmproxy shows, saves, copies or exports of the flow."""
    shown = [str(flow.get_state()), str(flow.copy().get_state()), repr(flow)]
    shown += [str(cut.extract(spec, flow)) for spec in CUTS]
    shown += [str(bytes(flow.request.headers)), repr(flow.request.headers)]
    has_body = flow.response and flow.response.raw_content is not None
    for name, export_flow in export.formats.items():
        if has_body or name != "raw_response":
            shown.append(str(export_flow(flow)))
    return "\n".join(shown)


def assert_hidden(flow: http.HTTPFlow) -> None:
    """See that no secret is in what the flow shows."""
    shown = everything(flow)
    assert not [secret for secret in SECRETS if secret in shown]


@contextmanager
def sent(flow: http.HTTPFlow, exchange: Exchange) -> Iterator[None]:
    """Let the flow have what is sent, as it does while mitmproxy sends it."""
    secrets = tuple(exchange.secrets)
    for secret in secrets:
        secret.reveal(flow)
    yield
    for secret in secrets:
        secret.hide(flow)
