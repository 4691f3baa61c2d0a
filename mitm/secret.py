"""Secrets that pass through a flow without being in it (rule R15).

Whatever shows, saves or exports flows reads them at any moment, also while a blob is
streamed for minutes. So a login is taken out before anybody else sees the flow, and
what is sent stands in the flow only while mitmproxy sends it (see `mitm.courier`).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from mitmproxy import http

from mitm import redaction
from resolver.content import forward
from resolver.grammar.challenge import TOKEN_PATH
from resolver.grammar.secret import REDACTED

READ_HEADERS = frozenset({"content-length", "content-type", "expect", "host"})
"""Headers that this addon or mitmproxy itself reads."""
_KEPT_HEADERS = frozenset(
    name.encode() for name in forward.FORWARDED_HEADERS | READ_HEADERS
)
SENT_HEADERS = _KEPT_HEADERS - {b"expect"}
"""Headers that go upstream; the proxy itself has told the client to go on."""


@dataclass(slots=True)
class Secret(ABC):
    """A part of a flow that is sent, and what is shown in its place.

    Where somebody edited what is shown, what they wrote is sent.
    """

    sent: str = field(repr=False)
    shown: str

    def reveal(self, flow: http.HTTPFlow) -> None:
        """Put what is sent into the flow."""
        self._replace(flow, self.shown, self.sent)

    def hide(self, flow: http.HTTPFlow) -> None:
        """Put what is shown in its place."""
        self._replace(flow, self.sent, self.shown)

    @abstractmethod
    def _replace(self, flow: http.HTTPFlow, old: str, new: str) -> None:
        """Put the new text in the place of the old one, if that is there."""


type Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(slots=True)
class Login(Secret):
    """The token that the registry gets."""

    _swap: tuple[Fields, Fields] = field(default=((), ()), init=False, repr=False)
    """The request's headers, with what is shown and with what is sent.

    To find the one header takes longer than to put all in the place of all, which is
    done several times for a request.
    """

    def reveal(self, flow: http.HTTPFlow) -> None:
        """Put what is sent into the flow."""
        shown, sent = self._swap
        headers = flow.request.headers
        if headers.fields is shown:
            headers.fields = sent
            return
        shown = headers.fields
        self._replace(flow, self.shown, self.sent)
        self._swap = shown, headers.fields

    def hide(self, flow: http.HTTPFlow) -> None:
        """Put what is shown in its place."""
        shown, sent = self._swap
        headers = flow.request.headers
        if headers.fields is sent:
            headers.fields = shown
        else:
            self._replace(flow, self.sent, self.shown)

    def _replace(self, flow: http.HTTPFlow, old: str, new: str) -> None:
        if flow.request.headers.get("authorization") == old:
            flow.request.headers["authorization"] = new


class SignedPath(Secret):
    """The path at a storage, with the query that signs it."""

    __slots__ = ()

    def _replace(self, flow: http.HTTPFlow, old: str, new: str) -> None:
        if flow.request.path == old:
            flow.request.path = new


@dataclass(slots=True)
class SentHeader(Secret):
    """A header of an answer, as the URL of a storage that a client is sent to."""

    name: str = "location"

    def _replace(self, flow: http.HTTPFlow, old: str, new: str) -> None:
        if flow.response and flow.response.headers.get(self.name) == old:
            flow.response.headers[self.name] = new


class TokenBody(Secret):
    """The answer of the token endpoint."""

    __slots__ = ()

    def _replace(self, flow: http.HTTPFlow, old: str, new: str) -> None:
        if flow.response and flow.response.raw_content == _bytes(old):
            flow.response.raw_content = _bytes(new)


def _bytes(text: str) -> bytes:
    """Return a body whose bytes need be no UTF-8."""
    return text.encode(errors="surrogateescape")


def withhold(flow: http.HTTPFlow, authorization: str | None) -> None:
    """Take out of a flow what may be a secret, and show this login in its place.

    Called before the body is there, and before any other addon sees the flow.
    """
    request = flow.request
    request.path = request.path.partition("?")[0]
    keep_headers(request, authorization)
    if "@" in (host := request.host_header or ""):
        # What stands before an @ may be a login; with or without, it is no host.
        request.host_header = f"{REDACTED}@{host.rpartition('@')[2]}"
    if flow.error:
        flow.error.msg = redaction.without_bytes(flow.error.msg)


def forget(request: http.Request) -> None:
    """Leave no login in a request that was sent, whoever wrote it there since."""
    if authorization := request.headers.get("authorization"):
        shown = redaction.redacted_login(authorization)
        if shown != authorization:
            keep_headers(request, shown)
    if request.raw_content and request.path.partition("?")[0] == TOKEN_PATH:
        # The option that shows secrets may have been on when it came.
        request.content = redaction.redacted_form(request.raw_content)


def keep_headers(
    request: http.Request,
    authorization: str | None,
    kept: frozenset[bytes] = _KEPT_HEADERS,
) -> None:
    """Keep the headers that are forwarded or read, with this login or none."""
    fields = [
        (name, value) for name, value in request.headers.fields if name.lower() in kept
    ]
    if authorization is not None:
        shown = authorization.encode("utf-8", "surrogateescape")
        fields.append((b"Authorization", shown))
    request.headers.fields = tuple(fields)
