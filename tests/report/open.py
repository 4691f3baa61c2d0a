"""Pulls from a registry that wants no token, on connections that nothing links."""

from typing import Any

from mitmproxy import http

from mitm.story.kind import Kind, Login, Outcome
from tests.report.flow import make_flow

LAYERS = 3


def open_pull(
    at: float = 0.0, *, login: Login = Login.NONE, agent: str = "skopeo/1.9.3"
) -> list[http.HTTPFlow]:
    """Return a pull in which each request has a connection of its own."""
    known: dict[str, Any] = {"login": str(login), "agent": agent}
    flows = [make_flow(Kind.BASE, at=at, seconds=0.01, **known)]
    flows.append(make_flow(Kind.MANIFEST, at=at + 0.02, seconds=0.05, **known))
    flows += [
        make_flow(Kind.BLOB, at=at + 0.1 + n / 100, digest=f"sha256:{n:064x}", **known)
        for n in range(LAYERS)
    ]
    for number, flow in enumerate(flows):
        flow.metadata["balena"]["connection"] = f"{at}-{agent}-{number}"
    return flows


def refused_push(at: float = 0.0) -> list[http.HTTPFlow]:
    """Return a push: it asks for each layer, then wants to write."""
    known: dict[str, Any] = {"login": str(Login.NONE), "agent": "skopeo/1.9.3"}
    flows: list[http.HTTPFlow] = []
    for n in range(LAYERS):
        flows += [
            make_flow(
                Kind.BLOB,
                Outcome.REFUSED,
                at=at + n / 10,
                seconds=0.01,
                status=404,
                method="HEAD",
                digest=f"sha256:{n:064x}",
                **known,
            ),
            make_flow(
                Kind.PUSH,
                Outcome.REFUSED,
                at=at + n / 10 + 0.02,
                seconds=0.01,
                status=405,
                method="POST",
                message="'POST' is not possible",
                **known,
            ),
        ]
    for number, flow in enumerate(flows):
        flow.metadata["balena"]["connection"] = f"{at}-{number}"
    return flows
