"""Requests as they come to their end, and flows that carry a record."""

from collections.abc import Mapping
from typing import Any

from mitmproxy import http
from mitmproxy.test import tflow

from mitm.story.record import KEY, KnownRelease, Record
from resolver.content.forward import Forward
from resolver.grammar import endpoint
from resolver.grammar.reference import Location, parse_alias
from resolver.release.release import parse_releases
from resolver.release.resolution import Resolution
from resolver.token.answer import TokenAnswer
from tests.resolver.fake import COMMIT, LOCATION, release_row

ALIAS = "org/app/2.3"
DIGEST = f"sha256:{'ab' * 32}"
MANIFEST = f"/v2/{ALIAS}/manifests/latest"
BLOB = f"/v2/{ALIAS}/blobs/{DIGEST}"
TOKEN = "/auth/v1/token"
RELEASE = KnownRelease("2.3.8+rev2", "2", COMMIT)


def resolution(name: str = ALIAS) -> Resolution:
    """Return what the alias stands for."""
    (release,) = parse_releases({"d": [release_row()]})
    alias, location = parse_alias(name), Location(LOCATION)
    return Resolution(alias, release, release.images[0], location, "the only one")


def token_answer(*names: str, **fields: Any) -> TokenAnswer:
    """Return what comes of a request for a token, with these aliases found."""
    return TokenAnswer(
        b"{}", tuple(map(resolution, names)), **{"refusals": {}, **fields}
    )


def request(path: str = MANIFEST, method: str = "GET", **known: Any) -> Record:
    """Return the record of a request of which this is known."""
    record = Record("3f2a9c1b-0000", ("192.0.2.7", 1), method, path)
    record.aim(endpoint.parse_endpoint(method, path))
    if answer := known.pop("answer", None):
        record.issued(answer)
    if known.pop("is_sent", False):
        release, tag = known.pop("release", None), known.pop("tag", None)
        reason = "the greatest" if tag else None
        location = Location(LOCATION)
        record.forwarded(
            Forward("/", "Bearer x", location=location, tag=tag, reason=reason)
        )
        record.recall({location: release} if release else {})
    for name, value in known.items():
        setattr(record, name, value)
    return record


def flow_with(
    state: Mapping[str, Any] | None,
    status: int = 200,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> http.HTTPFlow:
    """Return a flow that was answered, and carries this record if any."""
    flow = tflow.tflow()
    flow.request.method = method
    flow.response = http.Response.make(status, b"", dict(headers or {}))
    if state is not None:
        flow.metadata[KEY] = dict(state)
    return flow
