"""Decides how request and answer are rewritten in a flow: of this, head before body.

What is written there is `resolver`'s decision, of `forward` and `answer`.
"""

import logging
from dataclasses import dataclass
from http import HTTPStatus

from mitmproxy import http
from mitmproxy.net.http import status_codes

from mitm import secret, storage
from resolver import errors
from resolver.content import answer
from resolver.content.forward import Forward
from resolver.grammar import challenge, endpoint
from resolver.storage.redirect import Route
from resolver.token import claims
from resolver.upstream import observer

logger = logging.getLogger(__name__)

UNREADABLE = "the registry's answer is encoded in a way that cannot be read"


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is known of a request that went upstream, until its answer came."""

    target: endpoint.Base | endpoint.Content
    view: answer.View
    warning: str | None
    route: Route | None = None
    """Where it went instead of the registry."""
    noted: Forward | None = None
    """What was decided, where a manifest is asked for."""
    client: str = ""
    """The client's address."""


class Substitute:
    """Sends a body of ours in the place of the registry's, whatever becomes of that."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.is_sent = False

    def __call__(self, _: bytes) -> bytes:
        """Return the body once, in the place of the first piece or of the end."""
        body = b"" if self.is_sent else self._body
        self.is_sent = True
        return body


def stand_in(response: http.Response) -> bytes | None:
    """Return the body of an error of ours, for the time when the registry's has come.

    On a 416 docker-registry declares the length of the blob, sends a few words, and
    closes the connection; so there ours goes out first, and that is its end.
    """
    body = response.raw_content
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        response.headers["Connection"] = "close"
        response.stream = Substitute(body or b"")
    return body


def is_answered(flow: http.HTTPFlow) -> bool:
    """Return whether the client has all of its answer, though the registry's broke."""
    stream = flow.response.stream if flow.response else None
    return isinstance(stream, Substitute) and stream.is_sent


def rewrite_request(
    request: http.Request,
    wanted: endpoint.Base | endpoint.Content,
    decided: Forward,
    registry_host: str,
) -> None:
    """Make the client's request one that the registry understands."""
    request.path = decided.path
    if request.raw_content:
        request.content = b""
    request.host_header = registry_host
    if not answer.is_blob(wanted):
        # An error may have to be read and rewritten, whatever it unpacks to.
        request.headers["accept-encoding"] = "identity"
    secret.send_login(request, decided.authorization)


def rewrite_head(flow: http.HTTPFlow, response: http.Response, known: Exchange) -> None:
    """Rewrite the head of the answer, and say whether the body is streamed.

    Raises:
        ServiceUnavailable: it is no answer to a request, or has no end of its own.
        RangeUnsatisfiable: it says so, in words that are nobody's.

    """
    if (status := response.status_code) < HTTPStatus.OK:
        # mitmproxy takes it for the answer itself, and 101 for another protocol.
        response.status_code = HTTPStatus.BAD_GATEWAY
        raise errors.ServiceUnavailable.because(
            observer.Reason.SENSELESS,
            f"the registry answers with status {status}, which ends no request; try"
            " again later",
        )
    if flow.request.method != "HEAD" and _ends_with_the_connection(response):
        # Whether it broke off could be seen by nobody.
        raise errors.ServiceUnavailable.because(
            observer.Reason.SENSELESS,
            "the registry does not say how long its answer is; try again later",
        )
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        wanted = flow.request.headers.get("range", "")
        raise answer.unsatisfiable(wanted, response.headers.get("content-range", ""))
    if known.route and isinstance(known.target, endpoint.Content):
        storage.rewrite_head(flow, response, known.route, str(known.target.reference))
        return
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        _explain_refused_token(flow, response)
    # Latin-1 keeps every byte of a header as it is.
    header = known.view.header
    response.headers.fields = tuple(
        (
            name,
            header(name.decode("latin-1"), value.decode("latin-1")).encode("latin-1"),
        )
        for name, value in response.headers.fields
    )
    is_rewritten = answer.is_rewritten(known.target, response.status_code)
    if flow.request.method == "HEAD" and is_rewritten:
        # The length is that of a body with the location in it.
        response.headers.pop("content-length", None)
    secret.hide_redirect(flow, response)
    if known.warning:
        response.headers.add("Warning", f'299 - "{known.warning}"')
    if response.status_code >= HTTPStatus.BAD_REQUEST:
        response.reason = status_codes.RESPONSES.get(response.status_code, "")
    response.stream = answer.is_streamed(
        known.target, response.status_code, response.headers
    )


def _ends_with_the_connection(response: http.Response) -> bool:
    """Return whether content is framed by nothing (RFC 9112 section 6.3, rule 8)."""
    return (
        response.status_code in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
        and response.http_version.startswith("HTTP/1")
        and "content-length" not in response.headers
        and "transfer-encoding" not in response.headers
    )


def _explain_refused_token(flow: http.HTTPFlow, response: http.Response) -> None:
    """Log what an operator has to compare where tokens are refused (rule R15)."""
    said = challenge.parse_challenge(response.headers.get("www-authenticate", ""))
    if said and said.error == "invalid_token":
        jwt = flow.request.headers.get("authorization", "").partition(" ")[2]
        issued = claims.read_claims(jwt)
        logger.warning(
            "the registry refuses a token: it was issued at %s for %s s, the registry's"
            " clock says %s; if it is not over, clocks or keys of API and registry"
            " differ",
            issued.issued_at,
            issued.expires_in,
            response.headers.get("date", "nothing"),
            extra={"client": flow.client_conn.peername},
        )


def rewrite_body(response: http.Response, known: Exchange) -> None:
    """Rewrite the body of an answer that was not streamed."""
    if known.route:
        storage.rewrite_body(response)
        return
    if not answer.is_rewritten(known.target, response.status_code):
        return
    try:
        body = response.content
    except ValueError:
        # Its encoding is none that can be undone; so its words are left out.
        unreadable = errors.error_body(errors.ErrorCode.UNKNOWN, UNREADABLE)
        response.headers.pop("content-encoding", None)
        response.content = unreadable
        return
    if body:
        response.content = known.view.body(body)
