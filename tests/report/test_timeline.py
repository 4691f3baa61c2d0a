"""How the time of a pull is drawn."""

from collections.abc import Mapping
from typing import Any

import pytest
from mitmproxy import http

from mitm.story.kind import Kind, OwnKind
from report.grouping import group_requests
from report.timeline import TICKS_MAX, Part, draw, split_time
from tests.report.flow import docker_pull, make_flow, request_of, requests_of

API, REGISTRY = "api_seconds", "registry_seconds"


@pytest.mark.parametrize(
    ("kind", "facts", "parts"),
    [
        (Kind.TOKEN, {API: 0.25}, {Part.API: 0.25, Part.PROXY: 0.75}),
        (Kind.BLOB, {REGISTRY: 0.25}, {Part.REGISTRY: 0.25, Part.TRANSFER: 0.75}),
        (Kind.BLOB, {REGISTRY: 9.0}, {Part.REGISTRY: 1.0}),
        (
            Kind.BLOB,
            {REGISTRY: 0.25, "cache": "miss"},
            {Part.REGISTRY: 0.25, Part.TRANSFER: 0.75},
        ),
        (
            Kind.BLOB,
            {REGISTRY: 0.25, "cache": "hit"},
            {Part.PROXY: 0.25, Part.TRANSFER: 0.75},
        ),
        (Kind.MANIFEST, {}, {Part.PROXY: 1.0}),
        (Kind.MANIFEST, {"failure": "no answer"}, {Part.REGISTRY: 1.0}),
        (OwnKind.RESOLUTION, {}, {Part.API: 1.0}),
        (OwnKind.GRANT, {}, {Part.API: 1.0}),
        (OwnKind.PROBE, {}, {Part.REGISTRY: 1.0}),
    ],
)
def test_on_whom_time_was_spent(
    kind: Kind, facts: Mapping[str, Any], parts: Mapping[Part, float]
) -> None:
    """The time of a request is split into API, registry and the rest."""
    request = request_of(make_flow(kind, seconds=1.0, **facts))
    assert split_time(request) == parts


@pytest.mark.parametrize(
    "asked",
    [
        make_flow(Kind.BLOB, seconds=1.0, method="HEAD", registry_seconds=0.25),
        make_flow(Kind.BLOB, seconds=1.0, status=307, registry_seconds=0.25),
        make_flow(Kind.BLOB, seconds=1.0, status=404, registry_seconds=0.25),
        make_flow(Kind.BASE, seconds=1.0, status=401, registry_seconds=0.25),
    ],
    ids=["head", "redirect", "error", "ping"],
)
def test_nothing_is_transferred(asked: http.HTTPFlow) -> None:
    """Where the client got no content, no time was spent on sending any."""
    parts = {Part.REGISTRY: 0.25, Part.PROXY: 0.75}
    assert split_time(request_of(asked)) == parts


def test_bars_follow_each_other() -> None:
    """The parts of a bar stand one after the other, and end where the request ended."""
    (pull,) = group_requests(requests_of(docker_pull())).pulls
    blob = draw(pull).rows[-1]
    waiting, transfer = blob.segments
    assert blob.offset == pytest.approx(0.8)
    assert waiting.left == pytest.approx(100 * 0.8 / 1.8)
    assert transfer.left == pytest.approx(waiting.left + waiting.width)
    assert transfer.left + transfer.width == pytest.approx(100)


@pytest.mark.parametrize("seconds", [0.0, 0.004, 0.3, 1.0, 7.7, 59, 3601, 1e6])
def test_ticks(seconds: float) -> None:
    """The axis has a few round marks, from nothing to the end, however long it is."""
    (pull,) = group_requests(requests_of([make_flow(Kind.BLOB, seconds=seconds)])).pulls
    ticks = draw(pull).ticks
    assert 3 <= len(ticks) <= TICKS_MAX + 1
    assert ticks[0].left == 0
    assert 50 < ticks[-1].left < 100.1


def test_short_requests_are_seen() -> None:
    """A request of no time at all has a bar, inside of the axis."""
    flows = [make_flow(Kind.BLOB, seconds=100), make_flow(Kind.BLOB, at=100, seconds=0)]
    (pull,) = group_requests(requests_of(flows)).pulls
    for row in draw(pull).rows:
        assert row.segments
        for segment in row.segments:
            assert segment.width > 0
            assert segment.left + segment.width <= 100.01
