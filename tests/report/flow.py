"""Flows as the proxy leaves them, made without one."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mitmproxy import flow, http, io
from mitmproxy.test import tflow

from mitm.story.kind import CONTENT, Kind, Login, Outcome, OwnKind
from mitm.story.record import KEY, Record
from report.request import Request, read_request

ALIAS = "balenablocks/browser/2.3"
CLIENT = "192.0.2.7"
LOCATION = "v2/567e62d1e73529e7a31757ac1f3fb902"
DIGEST = "sha256:" + "ab" * 32
BEGIN = 1_700_000_000.0
"""2023-11-14, 22:13:20 UTC."""
MESSAGE = "balenablocks/browser has no release 9; its newest is 2.3.8"
FOUND: Mapping[str, Any] = {
    "release": "2.3.8+rev2",
    "revision": "2",
    "commit": "b4b201f0003841fd5509c6d06b45899b",
    "location": LOCATION,
    "cache": "miss",
    "reason": "the greatest final release of 2.3.x",
}
REFUSED: Mapping[str, Any] = {"code": "NAME_UNKNOWN", "message": MESSAGE}


def make_flow(
    kind: Kind | OwnKind,
    outcome: Outcome | None = Outcome.SERVED,
    *,
    at: float = 0.0,
    seconds: float = 0.1,
    status: int = 200,
    alias: str = ALIAS,
    target: Mapping[str, Any] | None = None,
    method: str = "GET",
    client: str = CLIENT,
    comment: str = "",
    body: bytes = b"",
    path: str = "",
    agent: str = "docker/20",
    **known: Any,
) -> http.HTTPFlow:
    """Return a flow that began so many seconds after `BEGIN`.

    `target` is what the alias came to, and `known` what the record has beside that.
    """
    path = path or _path(kind, alias)
    headers = http.Headers([(b"User-Agent", agent.encode())])
    asked = http.Request.make(method, f"https://registry.example{path}", b"", headers)
    answer = http.Response.make(status, body)
    answer.timestamp_end = BEGIN + at + seconds
    made = tflow.tflow(req=asked, resp=answer)
    made.client_conn.peername = (client, 50_000)
    made.request.timestamp_start = BEGIN + at
    made.comment = comment
    made.metadata[KEY] = {
        "kind": str(kind),
        "outcome": outcome and str(outcome),
        "request_id": made.id,
        "alias": None if kind is Kind.BASE else alias or None,
        "path": path,
        "login": str(_login(kind, outcome)),
        "seconds": seconds,
        "aliases": [{"alias": alias, **target}] if target else [],
        **known,
    }
    return made


def docker_pull(
    at: float = 0.0, *, alias: str = ALIAS, client: str = CLIENT
) -> list[http.HTTPFlow]:
    """Return the flows of a pull as docker makes it; it takes 1.8 seconds."""
    make = partial(make_flow, alias=alias, client=client)
    token = make(
        Kind.TOKEN,
        at=at + 0.2,
        seconds=0.3,
        target=FOUND,
        api_seconds=0.25,
        comment="token for it",
        body=b'{"token": "[redacted]", "expires_in": 14400}',
    )
    sent: dict[str, Any] = {
        "bytes": 1_000_000,
        "registry_seconds": 0.2,
        "digest": DIGEST,
    }
    return [
        make(Kind.BASE, Outcome.CHALLENGED, at=at, status=401),
        make(OwnKind.RESOLUTION, at=at + 0.25, request_id=token.id, comment="asked"),
        make(OwnKind.GRANT, at=at + 0.4, request_id=token.id),
        token,
        make(Kind.MANIFEST, at=at + 0.6, method="HEAD", target=FOUND),
        make(Kind.BLOB, at=at + 0.8, seconds=1.0, target=FOUND, **sent),
    ]


def refused_pull(at: float = 0.0, *, alias: str = ALIAS) -> list[http.HTTPFlow]:
    """Return the flows of a pull of a release that there is not."""
    make = partial(make_flow, alias=alias)
    return [
        make(Kind.BASE, Outcome.CHALLENGED, at=at, seconds=0.05, status=401),
        make(Kind.TOKEN, Outcome.REFUSED, at=at + 0.1, target=REFUSED, **REFUSED),
        make(Kind.MANIFEST, Outcome.REFUSED, at=at + 0.3, status=404, **REFUSED),
    ]


def requests_of(flows: Iterable[http.HTTPFlow]) -> list[Request]:
    """Return what the page knows of the flows, in the order of time."""
    return sorted(map(request_of, flows), key=lambda each: each.begin)


def request_of(made: http.HTTPFlow) -> Request:
    """Return what the page knows of a flow."""
    record = Record.read(made)
    assert record
    return read_request(made, record)


def save(path: Path, flows: Iterable[flow.Flow]) -> Path:
    """Save the flows as mitmproxy does."""
    with path.open("wb") as file:
        writer = io.FlowWriter(file)
        for one in flows:
            writer.add(one)
    return path


def _login(kind: Kind | OwnKind, outcome: Outcome | None) -> Login:
    """Return how the client logged in: for content with a token, once it has one."""
    has_token = kind in CONTENT and outcome is not Outcome.CHALLENGED
    return Login.TOKEN if has_token else Login.NONE


def _path(kind: Kind | OwnKind, alias: str) -> str:
    match kind:
        case Kind.TOKEN:
            return "/auth/v1/token"
        case Kind.MANIFEST:
            return f"/v2/{alias}/manifests/latest"
        case Kind.BLOB:
            return f"/v2/{alias}/blobs/{DIGEST}"
    return "/v2/"
