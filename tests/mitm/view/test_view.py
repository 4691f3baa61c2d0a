"""Which of a flow's messages the views take, and which they leave to mitmproxy."""

import json
import logging

import pytest
from mitmproxy import contentviews
from mitmproxy.test import tflow

from mitm.story.kind import Kind, OwnKind
from mitm.view import VIEWS, register_views
from tests.mitm.view.sample import make_flow, reloaded, shown
from tests.resolver.fake import jwt

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TOKEN = json.dumps({"token": jwt()}).encode()
ERROR = b'{"errors":[{"code":"DENIED","message":"no","detail":null}]}'
MANIFEST = b'{"schemaVersion":2,"config":{},"layers":[]}'
RELEASES = b'{"d":[]}'
BODIES = [TOKEN, ERROR, MANIFEST, RELEASES]


@pytest.mark.parametrize(
    ("kind", "status", "body", "view"),
    [
        (Kind.TOKEN, 200, TOKEN, "registry token"),
        (OwnKind.GRANT, 200, TOKEN, "registry token"),
        (OwnKind.RESOLUTION, 200, RELEASES, "registry releases"),
        (Kind.MANIFEST, 200, MANIFEST, "registry manifest"),
        (Kind.MANIFEST, 404, ERROR, "registry error"),
        (Kind.TOKEN, 401, ERROR, "registry error"),
        (OwnKind.PROBE, 401, ERROR, "registry error"),
        (Kind.TAGS, 404, ERROR, "registry error"),
        (Kind.TAGS, 200, b'{"name":"org/app","tags":["latest"]}', "JSON"),
        (Kind.READY, 200, b'{"ready":true}', "JSON"),
        (Kind.TOKEN, 500, b'{"error":"down"}', "JSON"),
        (Kind.TOKEN, 400, b'{"detail":"errors"}', "JSON"),
        (OwnKind.GRANT, 200, RELEASES, "JSON"),
        (OwnKind.RESOLUTION, 400, b'"Malformed url"', "JSON"),
        (Kind.MANIFEST, 200, b'{"schemaless":true}', "JSON"),
        (Kind.MANIFEST, 200, b"", "Raw"),
        (Kind.MANIFEST, 404, MANIFEST, "JSON"),
        (Kind.TAGS, 200, TOKEN, "JSON"),
    ],
)
def test_view_of_an_answer(kind: str, status: int, body: bytes, view: str) -> None:
    """Facts, status and the first bytes decide, and the same in a saved file."""
    flow = make_flow(kind, status=status, body=body)
    assert shown(flow)[0] == view
    assert shown(reloaded(flow)) == shown(flow)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("content_type", ["application/json", OCI_MANIFEST])
def test_other_traffic_is_left_alone(
    body: bytes, status: int, content_type: str
) -> None:
    """What has no facts of this proxy keeps mitmproxy's own view."""
    flow = make_flow(None, status=status, body=body, content_type=content_type)
    assert shown(flow) == ("JSON", json.dumps(json.loads(body), indent=4))
    assert shown(flow, flow.request)[0] == "Raw"


def test_other_protocols_are_left_alone() -> None:
    """A message that is no HTTP has no view here."""
    tcp, sockets = tflow.ttcpflow(), tflow.twebsocketflow()
    assert sockets.websocket
    for flow, message in (
        (tcp, tcp.messages[0]),
        (sockets, sockets.websocket.messages[0]),
    ):
        metadata = contentviews.Metadata(flow=flow)
        assert {view.render_priority(message.content, metadata) for view in VIEWS} == {
            -1.0
        }


def test_nothing_is_parsed_to_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mitmproxy asks all the views of each body, also of one of megabytes."""

    def refuse(_: object) -> object:
        raise AssertionError("a body was parsed")

    monkeypatch.setattr(json, "loads", refuse)
    for kind in (*Kind, *OwnKind):
        for body in BODIES:
            flow = make_flow(kind, body=body + b" " * (4 << 20))
            for message in (flow.request, flow.response):
                metadata = contentviews.Metadata(flow=flow, http_message=message)
                for view in VIEWS:
                    priority = view.render_priority(body, metadata)
                    assert priority < 0 or priority > 2


def test_views_are_registered_once(caplog: pytest.LogCaptureFixture) -> None:
    """Loaded anew, the script changes nothing, and mitmproxy has nothing to say."""
    changed: list[str] = []

    def note(view: contentviews.Contentview) -> None:
        changed.append(view.name)

    contentviews.registry.on_change.connect(note)
    with caplog.at_level(logging.DEBUG):
        register_views()
    contentviews.registry.on_change.disconnect(note)
    assert not caplog.records
    assert not changed
    for view in VIEWS:
        assert contentviews.registry[view.name] is view
        assert view.name in contentviews.registry.available_views()
