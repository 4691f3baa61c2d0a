"""Blobs that nginx sends, fetches and keeps, so that none passes through Python.

Rule C7 of the design: the proxy decides who may have a blob, and nginx moves the bytes
(https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_ignore_headers,
``X-Accel-Redirect``). It asks twice, and says what for in a header of its own, which it
sets anew in every request, so that no client's gets here:

``send``
    for a client, which the answer tells it to send the blob to, by its digest. That is
    all; where the blob is kept already, nobody else is asked.
``find``
    for itself, if it is not: with the same path and token, it asks where the blob is,
    and for whom the token is.

Without the header there is no such nginx in front, and the blob passes through here.
``deploy/nginx/cache.conf`` is the other half.
"""

import hashlib
from enum import StrEnum

from mitmproxy import http

from mitm import redaction, reply
from mitm.exchange import Exchange
from mitm.secret import SentHeader
from mitm.storage import Place, Storage
from mitm.story.kind import Mover
from resolver.content import answer, forward
from resolver.grammar.endpoint import Base, Content

TASK_HEADER = "x-blob-task"
REDIRECT_HEADER = "X-Accel-Redirect"
SEND_PATH = "/_blobs/"
FETCH_PATH = "/_fetch/"
"""Locations of nginx's that no request from outside reaches."""

EMPTY = frozenset(
    f"{name}:{hashlib.new(name).hexdigest()}" for name in ("sha256", "sha512")
)
"""The blob without a byte, of which there is no slice."""


class Task(StrEnum):
    """What nginx asks for."""

    SEND = "send"
    FIND = "find"


async def answer_nginx(
    flow: http.HTTPFlow,
    exchange: Exchange,
    endpoint: Base | Content,
    decision: forward.Forward,
    storage: Storage,
) -> bool:
    """Return whether nginx is answered; if not, the request goes upstream.

    It does where the registry does not give the blob, so that the client gets the
    registry's own words.

    Raises:
        RegistryError: as in `Storage.may_have` and `Storage.locate`.

    """
    record = exchange.record
    assert record, "the request is whole"  # noqa: S101
    is_get = flow.request.method == "GET" and answer.is_blob(endpoint)
    digest = str(endpoint.reference) if isinstance(endpoint, Content) else ""
    if not is_get or decision.is_challenged or digest in EMPTY:
        return False
    address = str(record.client[0])
    match exchange.headers.get(TASK_HEADER):
        case Task.SEND:
            if not await storage.may_have(decision, digest, address):
                return False
            record.mover = Mover.NGINX
            reply.answer(flow, 200, b"", (REDIRECT_HEADER, SEND_PATH + digest))
            return True
        case Task.FIND:
            if (place := await storage.locate(decision, address)) is None:
                return False
            if not place.is_registry:
                record.storage = place.destination.host
            record.mover = Mover.NGINX_FETCH
            _tell_place(flow, exchange, digest, decision, place)
            return True
    return False


def _tell_place(
    flow: http.HTTPFlow,
    exchange: Exchange,
    digest: str,
    decision: forward.Forward,
    place: Place,
) -> None:
    """Answer with the place, whose path and login nobody but nginx gets to see."""
    destination = place.destination
    hidden = {"X-Blob-Path": redaction.without_signature(destination.path)}
    secrets = {"X-Blob-Path": destination.path}
    if place.is_registry and decision.authorization:
        secrets["X-Blob-Authorization"] = decision.authorization
        shown = redaction.redacted_login(decision.authorization)
        hidden["X-Blob-Authorization"] = shown
    reply.answer(
        flow,
        200,
        b"",
        (REDIRECT_HEADER, FETCH_PATH + digest),
        ("X-Blob-Server", place.server),
        ("X-Blob-Host", destination.netloc),
        ("X-Blob-Name", destination.host),
        *hidden.items(),
    )
    for name, sent in secrets.items():
        exchange.send(flow, SentHeader(sent, hidden[name], name))
