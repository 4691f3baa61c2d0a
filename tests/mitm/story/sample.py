"""Requests as they come to their end, and flows that carry a record."""

from collections.abc import Mapping
from typing import Any

from mitmproxy import http
from mitmproxy.test import tflow

from mitm.story.record import KEY, Record
from resolver.content.forward import Forward
from resolver.grammar import endpoint
from resolver.grammar.reference import Location, parse_alias
from resolver.release.release import parse_releases
from resolver.release.resolution import Resolution
from resolver.token.answer import TokenAnswer
from tests.resolver.fake import LOCATION, release_row

ALIAS = "org/app/2.3"
MANIFEST = f"/v2/{ALIAS}/manifests/latest"
BLOB = f"/v2/{ALIAS}/blobs/sha256:{'ab' * 32}"
TOKEN = "/auth/v1/token"


def resolution(name: str = ALIAS) -> Resolution:
    """Return what the alias stands for."""
    (release,) = parse_releases({"d": [release_row()]})
    alias, location = parse_alias(name), Location(LOCATION)
    return Resolution(alias, release, release.images[0], location, "the only one")


def token_answer(*names: str, **fields: Any) -> TokenAnswer:
    """Return what comes of a request for a token, with these aliases found."""
    body = fields.pop("body", "{}").encode()
    return TokenAnswer(
        body, tuple(map(resolution, names)), **{"refusals": {}, **fields}
    )


def request(path: str = MANIFEST, method: str = "GET", **known: Any) -> Record:
    """Return the record of a request of which this is known."""
    record = Record("3f2a9c1b-0000", ("192.0.2.7", 1), method, path)
    record.aim(endpoint.parse_endpoint(method, path))
    if answer := known.pop("answer", None):
        record.issued(answer)
    if known.pop("is_sent", False):
        record.forwarded(Forward("/", "Bearer x", location=Location(LOCATION)), "h.io")
    for name, value in known.items():
        setattr(record, name, value)
    return record


def flow_with(state: Mapping[str, Any] | None, status: int = 200) -> http.HTTPFlow:
    """Return a flow that was answered, and carries this record if any."""
    flow = tflow.tflow()
    flow.response = http.Response.make(status)
    if state is not None:
        flow.metadata[KEY] = dict(state)
    return flow
