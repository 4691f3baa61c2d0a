"""The secrets that are taken out of every text that comes near the page (rule R15).

Of a location the beginning is left, as in the log: enough to tell two apart.
The page shows neither headers nor bodies. This is for a key that stands somewhere else
too, as in the name of an image: what is a secret in one flow is cut out of all of them.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from urllib.parse import parse_qs

from mitmproxy import http

from resolver.grammar.challenge import TOKEN_PATH
from resolver.grammar.secret import REDACTED, without_secrets
from resolver.token.claims import SEPARATOR

LENGTH_MIN = 8
"""Characters; what is shorter is a word, and would be cut out of other words."""
_TOKEN_FIELDS = ("token", "access_token", "refresh_token")
_FORM_FIELDS = ("password", "refresh_token")


class Secrets:
    """What was a secret in any of the flows."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._longest_first: list[str] = []

    def collect(self, flow: http.HTTPFlow) -> None:
        """Remember the secrets of a flow that was saved with them."""
        found = [*_in_login(flow.request.headers.get("authorization", ""))]
        if _path(flow) == TOKEN_PATH:
            found += _in_form(flow.request.raw_content)
            if flow.response:
                found += _in_answer(flow.response.raw_content)
        self._known.update(
            text for text in found if len(text) >= LENGTH_MIN and REDACTED not in text
        )
        self._longest_first.clear()

    def cut(self, text: str) -> str:
        """Return the text without any secret."""
        if not self._longest_first:
            self._longest_first = sorted(self._known, key=len, reverse=True)
        for secret in self._longest_first:
            text = text.replace(secret, REDACTED)
        return without_secrets(text)


def _path(flow: http.HTTPFlow) -> str:
    return flow.request.path.partition("?")[0]


def _in_login(authorization: str) -> Iterator[str]:
    """Return what an ``Authorization`` header proves: all of it, and the password."""
    scheme, _, login = authorization.strip().partition(" ")
    login = login.strip()
    if scheme.lower() != "basic":
        yield from _in_token(login or scheme)
        return
    yield login
    try:
        decoded = base64.b64decode(login, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return
    yield decoded
    yield decoded.partition(":")[2]


def _in_token(token: str) -> Iterator[str]:
    """Return the token, and of a JWT the signature: its claims are no secret."""
    jwt = token.partition(SEPARATOR)[0]
    yield token
    yield jwt
    yield jwt.rpartition(".")[2]


def _in_form(body: bytes | None) -> Iterator[str]:
    """Return the secrets in the form of a token request."""
    try:
        form = parse_qs((body or b"").decode())
    except ValueError:
        return
    for name in _FORM_FIELDS:
        yield from form.get(name, ())


def _in_answer(body: bytes | None) -> Iterator[str]:
    """Return the secrets in the answer of a token endpoint."""
    try:
        answer = json.loads(body or b"")
    except (ValueError, RecursionError):
        return
    if not isinstance(answer, dict):
        return
    for name in _TOKEN_FIELDS:
        yield from _in_token(str(answer.get(name, "")))
