"""What the proxy saw of a request that did not go well, for the rules of `cause`."""

import time

from mitmproxy import http

from cause.evidence import BODY_LENGTH_MAX, Evidence
from cause.finding import Role
from mitm.story.record import REFUSALS_AND_FAILURES, Kind, Outcome, Record
from resolver.grammar.credential import bearer_token
from resolver.token.claims import read_payload, read_token

_BAD = REFUSALS_AND_FAILURES | {Outcome.ABORTED}


def gather(flow: http.HTTPFlow, record: Record) -> Evidence | None:
    """Return what was seen of a request that is over; None where it went well."""
    if record.outcome not in _BAD or record.is_optional:
        return None
    request, response = flow.request, flow.response
    is_ours = record.error is not None or not record.is_forwarded
    role = Role.TOKEN if record.kind is Kind.TOKEN else Role.REGISTRY
    role = Role.STORAGE if record.storage else role
    token = bearer_token(request.headers.get("authorization"))
    return Evidence(
        role=None if is_ours else role,
        host=record.host,
        kind=record.kind,
        name=record.alias or "",
        method=record.method,
        request=_by_name(request.headers),
        status=record.status,
        headers=_by_name(response.headers) if response else {},
        body=(response.raw_content or b"")[:BODY_LENGTH_MAX] if response else b"",
        failure=record.failure or "",
        is_client_gone=record.outcome is Outcome.ABORTED,
        taken=record.bytes if record.failure else None,
        seconds=record.seconds,
        claims=read_payload(read_token(token).jwt) if token else {},
        login=record.login or "",
        code=record.code or "",
        message=record.message or "",
        now=time.time(),
    )


def _by_name(headers: http.Headers) -> dict[str, str]:
    """Return header fields without logins, by their names in lower case."""
    return {
        name.lower(): value
        for name, value in headers.items()
        if name.lower() not in ("authorization", "cookie", "set-cookie")
    }
