"""Decides how a secret passes through a flow without being in it (rule R15).

Whatever shows, saves or exports flows reads them at any moment, also while a blob is
streamed for minutes. So the login is taken out before anybody else sees the flow, and
what is sent is not what is shown.
"""

import sys
from dataclasses import dataclass, field
from types import MethodType
from typing import Self

from mitmproxy import ctx, http
from mitmproxy.net.http.http1 import assemble
from mitmproxy.proxy.layers import http as http_layer

from mitm import redaction, signed
from mitm.guard import inbound
from resolver.content import forward
from resolver.grammar.challenge import TOKEN_PATH
from resolver.grammar.client import Client

READ_HEADERS = frozenset({"content-length", "content-type", "expect", "host"})
"""Headers that this addon or mitmproxy itself reads."""
SENDER = http_layer.__name__
"""The module of mitmproxy that sends answers."""
ASSEMBLER = assemble.__name__
"""The module of mitmproxy that makes bytes of a head, to send it."""
_KEPT_HEADERS = frozenset(
    name.encode() for name in forward.FORWARDED_HEADERS | READ_HEADERS
)


@dataclass(frozen=True, slots=True)
class Withheld:
    """What a client sent, and no flow shows."""

    target: str = field(repr=False)
    """Path and query."""
    headers: dict[str, str] = field(repr=False)
    """All of them, by their names in lower case."""

    @property
    def authorization(self) -> str | None:
        """The client's login, or its token."""
        return self.headers.get("authorization")

    @property
    def client(self) -> Client:
        """Who sent it, as far as it says so."""
        return Client(self.headers.get("user-agent", ""))


def withhold(flow: http.HTTPFlow) -> Withheld:
    """Take out of a flow what may be a secret, and return it.

    Called before the body is there, and before any other addon sees the flow.
    """
    request = flow.request
    held = Withheld(request.path, inbound.joined_values(request.headers))
    request.path = request.path.partition("?")[0]
    shown = held.authorization
    if shown is not None and not ctx.options.balena_show_secrets:
        shown = redaction.redacted_login(shown)
    _keep_headers(request, shown)
    if "@" in (host := request.host_header or ""):
        # What stands before an @ may be a login; with or without, it is no host.
        request.host_header = f"{redaction.REDACTED}@{host.rpartition('@')[2]}"
    if flow.error:
        flow.error.msg = redaction.without_bytes(flow.error.msg)
    flow.revert = MethodType(_revert_if_over, flow)  # type: ignore[method-assign]
    return held


def take_body(request: http.Request) -> bytes:
    """Take the body out of a request, where a login may be in it, and return it."""
    body = request.raw_content or b""
    request.trailers = None
    if body and not ctx.options.balena_show_secrets:
        request.content = redaction.redacted_form(body)
    return body


def send_login(request: http.Request, authorization: str | None) -> None:
    """Let the request go upstream with a token, or without any login."""
    request.headers.pop("expect", None)
    if authorization is None or ctx.options.balena_show_secrets or ctx.options.http2:
        # HTTP/2 sends what is shown; there the token is in the flow until it was sent.
        _keep_headers(request, authorization)
        return
    shown = redaction.redacted_login(authorization)
    _keep_headers(request, shown)
    request.headers = _SecretHeaders.of(
        request.headers, "authorization", shown, authorization
    )


def hide_redirect(flow: http.HTTPFlow, response: http.Response) -> None:
    """Let the client go to the storage, and show the URL without what signs it."""
    sent = response.headers.get("location", "")
    shown = redaction.redacted_url(sent)
    if shown == sent or ctx.options.balena_show_secrets:
        return
    if flow.client_conn.alpn == b"h2":
        return  # HTTP/2 sends what is shown; it is taken out afterwards.
    response.headers["location"] = shown
    response.headers = _SecretHeaders.of(response.headers, "location", shown, sent)


def forget(flow: http.HTTPFlow) -> None:
    """Leave nothing that is secret in a flow that has done its work."""
    request = flow.request
    if isinstance(request, signed.SignedRequest):
        request.forget()
    if ctx.options.balena_show_secrets:
        return
    if (response := flow.response) and response.stream:
        # What is not streamed is sent only now.
        for location in response.headers.get_all("location"):
            response.headers["location"] = redaction.redacted_url(location)
    if isinstance(request.headers, _SecretHeaders):
        request.headers = http.Headers(request.headers.fields)
    # What was written into it since then, by an editor, may be secret as well.
    shown = request.headers.get("authorization")
    _keep_headers(request, None if shown is None else redaction.redacted_login(shown))
    if request.raw_content and request.path.partition("?")[0] == TOKEN_PATH:
        # The option was on when it came.
        request.content = redaction.redacted_form(request.raw_content)


def _revert_if_over(flow: http.HTTPFlow) -> None:
    """Revert a flow, unless it is under way: then what is shown would be sent."""
    if not flow.live:
        http.HTTPFlow.revert(flow)


class _SecretHeaders(http.Headers):
    """Headers with a value that is sent, and shown to nobody.

    mitmproxy sends `bytes`; everything else reads `fields`, or searches `bytes` with a
    filter like `~hq`, which would tell the value letter by letter.
    """

    _name = _sent = _shown = b""

    @classmethod
    def of(cls, headers: http.Headers, name: str, shown: str, sent: str) -> Self:
        """Return the headers; the one that shows the one value sends the other."""
        made = cls(headers.fields)
        made._name = name.encode()
        made._shown = shown.encode("utf-8", "surrogateescape")
        made._sent = sent.encode("utf-8", "surrogateescape")
        return made

    def __bytes__(self) -> bytes:
        """Return the headers as they are sent, for whoever sends them."""
        caller = sys._getframe(1).f_globals.get("__name__")  # noqa: SLF001
        if caller != ASSEMBLER:
            return super().__bytes__()
        return bytes(
            http.Headers(
                [
                    (name, self._sent if self._is_hidden(name, value) else value)
                    for name, value in self.fields
                ]
            )
        )

    def _is_hidden(self, name: bytes, value: bytes) -> bool:
        return name.lower() == self._name and value == self._shown


class TokenResponse(http.Response):
    """Sends a token, and shows its claims to whatever saves, prints or views flows.

    The layer of mitmproxy that sends it reads `raw_content`, and so does much else:
    only that layer gets the token. If another version sends it from elsewhere, clients
    get a token without its signature, and every test of a pull fails.
    """

    _sent: bytes | None = None
    """None in a copy, and where somebody edited the body: what is shown is sent."""

    @classmethod
    def of(cls, response: http.Response) -> http.Response:
        """Return the answer with the token in its body hidden."""
        if ctx.options.balena_show_secrets:
            return response
        made = cls(**vars(response.data))
        made._sent = response.raw_content
        made.data.content = redaction.redacted_answer(made._sent or b"")
        return made

    def set_content(self, value: bytes | None) -> None:
        """Change what is sent, unless what is shown is only set again.

        As mitmproxy's own options do that change bodies, and find nothing to change.
        """
        if value != self.data.content:
            super().set_content(value)

    @property
    def raw_content(self) -> bytes | None:
        """The body: as it is for whoever sends it, and as it is shown for others."""
        caller = sys._getframe(1).f_globals.get("__name__")  # noqa: SLF001
        is_sent = caller == SENDER and self._sent is not None
        return self._sent if is_sent else self.data.content

    @raw_content.setter
    def raw_content(self, content: bytes | None) -> None:
        self._sent, self.data.content = None, content


def _keep_headers(request: http.Request, authorization: str | None) -> None:
    """Keep the headers that are forwarded or read, and show this login, or none."""
    fields = [
        (name, value)
        for name, value in request.headers.fields
        if name.lower() in _KEPT_HEADERS
    ]
    if authorization is not None:
        shown = authorization.encode("utf-8", "surrogateescape")
        fields.append((b"Authorization", shown))
    request.headers.fields = tuple(fields)
