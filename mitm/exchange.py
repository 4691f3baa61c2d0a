"""One object for a flow: what came, what was decided, and what the client gets.

`resolver` decides, by `forward` and `answer`; here that is written into the flow, of an
answer the head before the body.
"""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Self

from mitmproxy import ctx, http
from mitmproxy.net.http import http1

from mitm import redaction, reply
from mitm.guard import inbound
from mitm.secret import (
    SENT_HEADERS,
    Login,
    Secret,
    SentHeader,
    TokenBody,
    keep_headers,
    withhold,
)
from mitm.story.record import Record
from resolver import errors
from resolver.content import answer
from resolver.content.encoding import CodingError, decode
from resolver.content.forward import Forward
from resolver.grammar.client import Client
from resolver.grammar.endpoint import Base, Content
from resolver.storage.redirect import Route
from resolver.token.answer import TokenAnswer
from resolver.token.request import TokenRequest
from resolver.upstream.outgoing import Proxy
from resolver.upstream.transport import extended_via

UNREADABLE = (
    "the registry's answer is packed in a way that cannot be read; try again later"
)
STATUS_MAX = 599
"""Of all that HTTP has (RFC 9110 section 15)."""
VERSIONS = ("HTTP/1.0", "HTTP/1.1")
"""What a registry answers by, but for HTTP/2, which is agreed upon before."""


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


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a request goes upstream, and how its answer is shown."""

    endpoint: Base | Content
    """What of the registry is asked for."""
    forward: Forward
    view: answer.View
    route: Route | None = None
    """Where it goes instead of the registry."""

    @property
    def blob_route(self) -> tuple[Route, str] | None:
        """The route of a blob, with its digest."""
        if self.route and isinstance(self.endpoint, Content):
            return self.route, str(self.endpoint.reference)
        return None


@dataclass(slots=True, eq=False)
class Exchange:
    """What is known of a client's flow, from its head to the end of its answer."""

    target: str = field(repr=False)
    """Path and query, as the client sent them."""
    headers: dict[str, str] = field(repr=False)
    """All of the request's headers, by their names in lower case."""
    body: bytes = field(default=b"", repr=False)
    record: Record | None = None
    """What happened; None before the request is whole."""
    decision: Decision | None = None
    """None as long as the request does not go upstream."""
    is_endless: bool = False
    """Whether nothing but the end of the connection is the end of the answer."""
    error_body: bytes | None = None
    """Our own, where the registry's answer could not be passed on."""
    proxy: Proxy | None = None
    """The forward proxy that the request goes by."""
    secrets: list[Secret] = field(default_factory=list)
    """Of the message that is sent next."""

    @classmethod
    def begin(cls, flow: http.HTTPFlow) -> Self:
        """Return the exchange of a flow whose head has come, without its secrets."""
        request = flow.request
        exchange = cls(request.path, inbound.joined_values(request.headers))
        shown = exchange.authorization
        if shown is not None and not exchange.shows_secrets:
            shown = redaction.redacted_login(shown)
        withhold(flow, shown)
        return exchange

    @property
    def shows_secrets(self) -> bool:
        """Whether the flow shows its secrets, because somebody asked for that."""
        return bool(ctx.options.balena_show_secrets)

    @property
    def authorization(self) -> str | None:
        """The client's login, or its token."""
        return self.headers.get("authorization")

    @property
    def client(self) -> Client:
        """Who sent it, as far as it says so."""
        return Client(self.headers.get("user-agent", ""))

    @property
    def route(self) -> Route | None:
        """Where the request went instead of the registry."""
        return self.decision.route if self.decision else None

    @property
    def has_failed(self) -> bool:
        """Whether the client gets an error of ours."""
        return self.record is not None and self.record.error is not None

    def name(self, flow: http.HTTPFlow) -> None:
        """Let the client know under which name the log has its request."""
        if self.record and flow.response:
            flow.response.headers[reply.REQUEST_ID_HEADER] = self.record.request_id

    def keep_error(self, response: http.Response) -> None:
        """Keep the body of an error of ours, for the time when the registry's has come.

        On a 416 docker-registry declares the length of the blob, sends a few words, and
        closes the connection; so there ours goes out first, and that is its end.
        """
        self.error_body = response.raw_content
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            response.headers["Connection"] = "close"
            response.stream = Substitute(self.error_body or b"")

    def is_answered(self, flow: http.HTTPFlow) -> bool:
        """Return whether the client has all of our answer, though another one broke."""
        stream = flow.response.stream if flow.response else None
        return isinstance(stream, Substitute) and stream.is_sent

    def take_body(self, request: http.Request) -> None:
        """Take over the body of the request, with the login that may be in it."""
        self.body = request.raw_content or b""
        request.trailers = None
        if self.body and not self.shows_secrets:
            request.content = redaction.redacted_form(self.body)

    def send(self, flow: http.HTTPFlow, secret: Secret) -> None:
        """Let a secret be sent that the flow does not show (see `mitm.courier`).

        No courier comes to a request that is replayed, so that shows its own until it
        was answered; nobody waits for the answer.
        """
        shows_secrets = self.shows_secrets
        if not shows_secrets:
            self.secrets.append(secret)
        if shows_secrets or (flow.is_replay and flow.response is None):
            secret.reveal(flow)

    def send_first(self, flow: http.HTTPFlow, secret: Secret) -> None:
        """Let one be sent that no option shows, and that the others are put into."""
        self.secrets.insert(0, secret)
        if flow.is_replay and flow.response is None:
            secret.reveal(flow)

    def answer_token(
        self, flow: http.HTTPFlow, token: TokenAnswer, request: TokenRequest
    ) -> None:
        """Answer the flow with a token, which only the client gets to see.

        Args:
            flow: the request for it.
            token: the token; or an error in the words of who issues tokens.
            request: what an error may repeat.

        """
        shown = (
            redaction.redacted_answer(token.body)
            if token.status < HTTPStatus.MULTIPLE_CHOICES
            else redaction.without_request(
                token.body, request.credential.authorization, request.parameters
            )
        )
        headers = token.headers or reply.JSON_HEADERS
        reply.answer(flow, token.status, token.body, *headers, reply.NO_STORE)
        if flow.response:
            flow.response.raw_content = shown  # Under the length of what is sent.
        self.send(flow, TokenBody(_text(token.body), _text(shown)))

    def withhold_login(self, flow: http.HTTPFlow) -> None:
        """Let the client alone see an error that repeats its login or token."""
        response = flow.response
        if response is None or response.status_code < HTTPStatus.BAD_REQUEST:
            return
        body = shown = response.raw_content or b""
        sent = self.decision.forward.authorization if self.decision else None
        for login in (self.authorization, sent):
            shown = redaction.without_login(shown, login)
        if shown != body:
            response.raw_content = shown  # Under the length of what is sent.
            self.send(flow, TokenBody(_text(body), _text(shown)))

    def forget(self, flow: http.HTTPFlow) -> None:
        """Let no secret be sent any more, and leave none in the flow."""
        for secret in self.secrets:
            secret.hide(flow)
        self.secrets.clear()

    def send_login(self, flow: http.HTTPFlow, authorization: str | None) -> None:
        """Let the request go upstream with a token, or without any login."""
        if authorization is None:
            keep_headers(flow.request, None, SENT_HEADERS)
            return
        shown = redaction.redacted_login(authorization)
        keep_headers(flow.request, shown, SENT_HEADERS)
        self.send(flow, Login(authorization, shown))


def _text(body: bytes) -> str:
    """Return a body as the text that stands for it among secrets."""
    return body.decode(errors="surrogateescape")


def rewrite_request(
    flow: http.HTTPFlow, exchange: Exchange, decision: Decision
) -> None:
    """Make the client's request one that the registry understands."""
    request = flow.request
    request.path = decision.forward.path
    if request.raw_content:
        request.content = b""
    request.host_header = decision.view.registry_host
    if not answer.is_blob(decision.endpoint):
        # An error may have to be read and rewritten, whatever it unpacks to.
        request.headers["accept-encoding"] = "identity"
    exchange.send_login(flow, decision.forward.authorization)
    request.headers["via"] = extended_via(exchange.headers.get("via", ""))


def check_head(
    flow: http.HTTPFlow, response: http.Response, exchange: Exchange
) -> None:
    """See that the answer of registry or storage can be passed on.

    Raises:
        ServiceUnavailable: it is no answer to a request, or has no end of its own.
        RangeUnsatisfiable: it says so, in words that are nobody's.

    """
    exchange.is_endless = _is_endless(flow, response)
    status = response.status_code
    if not HTTPStatus.OK <= status <= STATUS_MAX:
        # mitmproxy takes it for the answer itself, and 101 for another protocol.
        response.status_code = HTTPStatus.BAD_GATEWAY
        raise errors.ServiceUnavailable.because(
            errors.Reason.SENSELESS,
            f"the registry answers with status {status}, which ends no request; try"
            " again later",
        )
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        wanted = flow.request.headers.get("range", "")
        raise answer.unsatisfiable(wanted, response.headers.get("content-range", ""))
    if flow.server_conn.alpn != b"h2" and response.http_version not in VERSIONS:
        raise errors.ServiceUnavailable.because(
            errors.Reason.SENSELESS,
            f"the registry answers by {response.http_version}, which it was not asked"
            " by; try again later",
        )
    if exchange.is_endless:
        # Whether it broke off could be seen by nobody.
        raise errors.ServiceUnavailable.because(
            errors.Reason.SENSELESS,
            "the registry does not say how long its answer is; try again later",
        )


def rewrite_head(
    flow: http.HTTPFlow, response: http.Response, exchange: Exchange, decision: Decision
) -> None:
    """Rewrite the head of the registry's answer, and say whether it is streamed."""
    # Latin-1 keeps every byte of a header as it is.
    view = decision.view
    fields = answer.pass_on(response.headers.fields, answer.ANSWER_HEADERS)
    response.headers.fields = tuple(
        (
            name,
            view.header(name.decode("latin-1"), value.decode("latin-1")).encode(
                "latin-1"
            ),
        )
        if view.is_rewritten(name, value)
        else (name, value)
        for name, value in fields
    )
    if flow.request.method == "HEAD":
        _leave_length_out(response, decision)
    _hide_redirect(flow, response, exchange)
    if warning := decision.forward.warning:
        response.headers.add("Warning", f'299 - "{warning}"')
    response.stream = answer.is_streamed(
        decision.endpoint, response.status_code, response.headers
    )


def _leave_length_out(response: http.Response, decision: Decision) -> None:
    """Leave out the length of a body that would be another one for the client."""
    is_packed = not answer.is_blob(decision.endpoint) and bool(
        response.headers.pop("content-encoding", None)
    )
    # The location is in it, or it would be unpacked.
    if is_packed or answer.is_rewritten(decision.endpoint, response.status_code):
        response.headers.pop("content-length", None)


def _hide_redirect(
    flow: http.HTTPFlow, response: http.Response, exchange: Exchange
) -> None:
    """Let the client go to the storage, and show the URL without what signs it."""
    sent = response.headers.get("location", "")
    shown = redaction.redacted_url(sent)
    if shown != sent and not exchange.shows_secrets:
        response.headers["location"] = shown
        exchange.send(flow, SentHeader(sent, shown))


def _is_endless(flow: http.HTTPFlow, response: http.Response) -> bool:
    """Return whether content is framed by nothing (RFC 9112 section 6.3).

    mitmproxy has read the head by the same function; of transfer codings it takes some
    that say nothing of the end, and some that are none of ours to undo.
    """
    if flow.server_conn.alpn == b"h2":
        return False
    try:
        length: int | None = http1.expected_http_body_size(flow.request, response)
    except ValueError:
        return True
    if length is None:
        return str(response.headers["transfer-encoding"]).lower() != "chunked"
    return length < 0


def unpack_body(response: http.Response) -> None:
    """Undo the content coding of a body that was not streamed, for all who read it.

    mitmproxy itself would, wherever somebody looks at it, to whatever length.

    Raises:
        AnswerUnreadable: it cannot be undone within bounds.

    """
    if response.stream or not response.raw_content:
        return
    try:
        body = decode(
            response.raw_content, response.headers.get("content-encoding", "")
        )
    except CodingError as error:
        raise errors.AnswerUnreadable.because(
            errors.Reason.SENSELESS, UNREADABLE
        ) from error
    response.headers.pop("content-encoding", None)
    response.content = body


def rewrite_body(response: http.Response, decision: Decision) -> None:
    """Rewrite the body of an answer of the registry that was not streamed."""
    if not answer.is_rewritten(decision.endpoint, response.status_code):
        return
    if response.raw_content:
        response.content = decision.view.body(response.raw_content)
