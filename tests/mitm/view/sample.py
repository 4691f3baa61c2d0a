"""Flows as the proxy leaves them, and what mitmproxy shows of them."""

import io
from collections.abc import Mapping
from typing import Any

from mitmproxy import contentviews, http
from mitmproxy import io as flow_io
from mitmproxy.test import tflow

from mitm.story.record import KEY

JSON = "application/json; charset=utf-8"
ALIAS = "balenablocks/browser-aarch64/2.3"
UNKNOWN = "balenablocks/browser-aarch64/9.9.9"


def make_flow(
    kind: str | None,
    path: str = "/",
    *,
    status: int = 200,
    body: bytes = b"",
    content_type: str = JSON,
    headers: Mapping[str, str] | None = None,
    record: Mapping[str, Any] | None = None,
) -> http.HTTPFlow:
    """Return a flow of that kind; of another proxy's where that is None."""
    flow = tflow.tflow()
    flow.request = http.Request.make("GET", f"http://registry.example{path}")
    fields = {"Content-Type": content_type, **(headers or {})}
    flow.response = http.Response.make(
        status, body, {name: value for name, value in fields.items() if value}
    )
    if kind:
        flow.metadata[KEY] = {"kind": str(kind), **(record or {})}
    return flow


def shown(flow: http.HTTPFlow, message: http.Message | None = None) -> tuple[str, str]:
    """Return what mitmproxy shows unasked, of the response or another message."""
    seen = message or flow.response
    assert seen is not None
    result = contentviews.prettify_message(seen, flow)
    assert "failed" not in result.description
    return str(result.view_name), result.text


def squeezed(text: str) -> list[str]:
    """Return the lines, with one space where there are several."""
    return [" ".join(line.split()) for line in text.splitlines()]


def reloaded(flow: http.HTTPFlow) -> http.HTTPFlow:
    """Return the flow as it comes back from a file."""
    file = io.BytesIO()
    flow_io.FlowWriter(file).add(flow)
    file.seek(0)
    (found,) = flow_io.FlowReader(file).stream()
    assert isinstance(found, http.HTTPFlow)
    return found
