"""What the proxy saw of a request that did not go well, for the rules of `cause`."""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import replace
from http import HTTPStatus

from mitmproxy import http

from cause.answer import BODY_LENGTH_MAX
from cause.evidence import Evidence
from cause.finding import Role
from mitm.guard.pace import LEAST_RATE
from mitm.story.kind import REFUSALS_AND_FAILURES, Kind, Outcome
from mitm.story.record import Record, host_of
from mitm.story.symptom import symptom_of
from resolver import errors
from resolver.grammar.challenge import parse_challenge
from resolver.grammar.credential import bearer_token
from resolver.symptom import Seen, Symptom
from resolver.token.claims import pullable_names, read_payload, read_token
from resolver.upstream.clock import read_ahead

_BAD = REFUSALS_AND_FAILURES | {Outcome.ABORTED}
_SECRET = ("authorization", "cookie", "set-cookie", "location")
"""Headers that are no evidence."""
_SIGNED_MANIFEST = "application/vnd.docker.distribution.manifest.v1+prettyjws"
"""Of which the digest is not that of the whole."""
_DIGEST = b"docker-content-digest"
_SHA256 = "sha256:"
_HASHED_LENGTH_MAX = 256 << 10
"""Bytes of a manifest that are hashed here, while others wait; few have so many."""
_DOCUMENTS = (Kind.BASE, Kind.MANIFEST, Kind.TAGS, Kind.REFERRERS)


def gather(flow: http.HTTPFlow, record: Record) -> Evidence | None:
    """Return what was seen of a request that is over; None where it went well."""
    if record.is_optional:
        return None
    digests = _digests(flow, record)
    if record.outcome not in _BAD and not _is_odd(record, digests):
        return None
    error = record.error or (record.fetch.error if record.fetch else None)
    role, seen = _role(record, error), _seen(flow, record, error)
    if record.failure and not record.cache:
        symptom, words = symptom_of(record)
        seen = replace(seen, symptom=symptom, words=words, proxy=record.proxy)
    request, now = flow.request, time.time()
    token = read_token(bearer_token(request.headers.get("authorization")) or "")
    reader = record.reader
    return Evidence(
        role=role,
        host=_host(record, error),
        kind=record.kind,
        name=record.refused[0].alias if record.refused else record.alias or "",
        method=record.method,
        request=_by_name(request.headers.fields),
        status=seen.status if role else record.status,
        headers=seen.headers,
        body=seen.body,
        failure=record.failure or "",
        is_client_gone=record.outcome is Outcome.ABORTED,
        seconds=_seconds(flow, record),
        claims=read_payload(token.jwt),
        pullable=pullable_names(token.jwt) if token.has_access else None,
        login=record.login or "",
        code=record.code or "",
        message=record.message or "",
        now=now,
        symptom=seen.symptom,
        words=seen.words,
        certificate=record.certificate,
        proxy=seen.proxy,
        patience=reader.seconds if reader and record.failure else None,
        has_begun=record.head is not None,
        is_endless=record.is_endless,
        is_unreadable=isinstance(error, errors.AnswerUnreadable),
        least_rate=LEAST_RATE if record.is_slow else "",
        digest=digests[0],
        body_digest=digests[1],
        led_to=_led_to(record),
        is_back=record.is_back,
        realm=_realm(flow, record),
        is_like_key=record.is_like_key,
        path=record.path or "",
        reference=record.reference,
        location=record.location or "",
        namespace=record.namespace,
        client_scheme=record.client_scheme,
        token_length=record.token_length,
        registry=record.registry,
        api="" if record.has_own_names else record.issuer,
        has_own_names=record.has_own_names,
        clocks=_clocks(record, seen, now),
    )


def _role(record: Record, error: errors.RegistryError | None) -> Role | None:
    """Return who answered, or should have; None where the proxy itself did."""
    if not (record.is_forwarded or error):
        return _awaited(record)
    if error and (error.role or record.head is None):
        return error.role
    if record.cache:
        return None  # Which is this proxy's.
    if record.kind is Kind.TOKEN:
        return Role.TOKEN
    return Role.STORAGE if record.storage else Role.REGISTRY


def _seconds(flow: http.HTTPFlow, record: Record) -> float | None:
    """Return how long it took; to a client that went, until it did.

    While the API is waited for, nobody looks whether the client is there.
    """
    end = flow.client_conn.timestamp_end
    if record.outcome is not Outcome.ABORTED or end is None:
        return record.seconds
    return end - flow.request.timestamp_start


def _awaited(record: Record) -> Role | None:
    """Return who was being asked when the client went away, if it did."""
    if record.outcome is not Outcome.ABORTED:
        return None
    return _issuer(record) if record.kind is Kind.TOKEN else Role.REGISTRY


def _issuer(record: Record) -> Role:
    """Return who issues tokens."""
    return Role.TOKEN if record.has_own_names else Role.API


def _host(record: Record, error: errors.RegistryError | None) -> str:
    server = error.server if error else ""
    usual = record.issuer if record.kind is Kind.TOKEN else record.registry
    return host_of(server) or server or record.host or usual


def _realm(flow: http.HTTPFlow, record: Record) -> str:
    """Return where the client was told to get a token."""
    if record.outcome is not Outcome.CHALLENGED or flow.response is None:
        return ""
    header = flow.response.headers.get("www-authenticate", "")
    challenge = parse_challenge(header)
    return challenge.realm if challenge else ""


def _clocks(record: Record, seen: Seen, now: float) -> dict[Role, float]:
    """Return how far the clocks of others are ahead, as far as is known."""
    clocks = {
        Role.REGISTRY: read_ahead(seen.headers, now),
        _issuer(record): record.issuer_ahead,
    }
    return {role: ahead for role, ahead in clocks.items() if ahead is not None}


def _seen(
    flow: http.HTTPFlow, record: Record, error: errors.RegistryError | None
) -> Seen:
    """Return what was seen of the server."""
    if record.kind is Kind.TOKEN and error is None and record.is_forwarded:
        return _relayed(flow)
    if record.head and not record.cache:
        status, fields = record.head
        return Seen(
            status=status,
            headers=_by_name(fields),
            body=record.content[:BODY_LENGTH_MAX],
        )
    if error is None or error.seen != Seen():
        return error.seen if error else Seen()
    if isinstance(error, errors.ServiceUnavailable):
        if error.reason is errors.Reason.TIMEOUT:
            return Seen(Symptom.SILENT)
        if error.reason is errors.Reason.SENSELESS and error.role is Role.API:
            return Seen(status=HTTPStatus.OK)  # It was read, and understood by nobody.
    return Seen()


def _relayed(flow: http.HTTPFlow) -> Seen:
    """Return what was seen of a token server whose answer was passed on."""
    answer = flow.response
    if answer is None:
        return Seen()
    is_token = answer.status_code < HTTPStatus.BAD_REQUEST
    return Seen(
        status=answer.status_code,
        headers=_by_name(answer.headers.fields),
        body=b"" if is_token else (answer.raw_content or b"")[:BODY_LENGTH_MAX],
    )


def _digests(flow: http.HTTPFlow, record: Record) -> tuple[str, str]:
    """Return what a manifest that was served should be, and what it is."""
    is_whole = record.kind is Kind.MANIFEST and record.status == HTTPStatus.OK
    body = flow.response and flow.response.raw_content
    is_short = body and len(body) <= _HASHED_LENGTH_MAX
    if not (is_whole and body and is_short and record.head and record.method == "GET"):
        return "", ""
    fields = record.head[1]
    if _header(fields, b"content-type").partition(";")[0] == _SIGNED_MANIFEST:
        return "", ""
    wanted = record.digest or _header(fields, _DIGEST)
    if not wanted.startswith(_SHA256):
        return "", ""
    return wanted, f"{_SHA256}{hashlib.sha256(body).hexdigest()}"


def _led_to(record: Record) -> str:
    """Return the host that the client was sent to, if it was."""
    return host_of(_header(record.head[1], b"location") if record.head else "")


def _is_odd(record: Record, digests: tuple[str, str]) -> bool:
    """Return whether an answer that was passed on may be none that a client can use."""
    if record.head is None:
        return False
    status, fields = record.head
    if record.outcome is Outcome.CHALLENGED or record.is_back:
        return True
    names = {name.lower(): value for name, value in fields}
    if record.kind is Kind.BLOB:
        return b"content-encoding" in names
    is_page = names.get(b"content-type", b"").lower().startswith(b"text/html")
    is_moved = status >= HTTPStatus.MULTIPLE_CHOICES
    return record.kind in _DOCUMENTS and (
        digests[0] != digests[1] or is_page or (is_moved and record.kind is Kind.BASE)
    )


def _header(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """Return the value of a header, or of the first of that name."""
    values = (value for field, value in fields if field.lower() == name)
    return next(values, b"").decode("latin-1")


def _by_name(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return header fields without secrets, by their names in lower case."""
    pairs = (
        (name.decode("latin-1").lower(), value.decode("latin-1"))
        for name, value in fields
    )
    return {name: value for name, value in pairs if name not in _SECRET}
