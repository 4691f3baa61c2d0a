"""Credentials: what a client proves itself with in its ``Authorization`` header.

::

    Basic base64(user ":" API key)     docker login, registry secrets (RFC 7617)
    Bearer API key or session token    tools of balena's own (RFC 6750)

A credential is only passed on, never checked here: the API decides.
"""

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from resolver.errors import RequestInvalid


@dataclass(frozen=True, slots=True)
class Credential:
    """What the client proves itself with; never shown, not even by ``repr``."""

    authorization: str | None = field(repr=False)
    """The header for the token endpoint, as the client sent it."""
    key: str | None = field(repr=False)
    """The API key alone, which the OData side takes as Bearer."""

    @property
    def is_like_key(self) -> bool | None:
        """Whether it looks like what balena issues; None where there is none."""
        return None if self.authorization is None else is_like_key(self.key or "")

    @property
    def fingerprint(self) -> bytes | None:
        """What tells keys apart; None where there is none."""
        return None if self.key is None else fingerprint(self.key)


_KEY = re.compile(r"[A-Za-z0-9]{32,}|[\w-]+\.[\w-]+\.[\w-]+")
"""An API key, or a token of a session."""
_SALT = os.urandom(16)
EMPTY_BASIC = "Og=="
"""What some clients send where nobody is logged in: base64 of a colon."""

KEY_VARIABLE = "BALENA_API_KEY"
"""Where commands take an API key from; arguments are seen by everybody."""
ANONYMOUS = Credential(authorization=None, key=None)


def parse_authorization(header: str | None) -> Credential:
    """Return the credential in an ``Authorization`` header to the token endpoint.

    An empty Basic (``Og==``) is dropped, because some clients send it where nobody
    is logged in and the API answers it with 401 (rule R3).

    Raises:
        RequestInvalid: the header is neither Basic nor Bearer, or cannot be decoded.

    """
    scheme, value = _split(header)
    if not scheme:
        return ANONYMOUS
    if scheme == "bearer" and _ascii(value):
        return Credential(authorization=f"Bearer {value}", key=value)
    if scheme != "basic":
        raise RequestInvalid(
            "the Authorization header is neither Basic nor Bearer as they should be:"
            " log in with any user name and a balena API key as password"
        )
    try:
        user, _, password = (
            base64.b64decode(value, validate=True).decode().partition(":")
        )
    except ValueError as error:
        raise RequestInvalid(
            "the Authorization header is not valid Basic authentication (RFC 7617)"
        ) from error
    if not user and not password:
        return ANONYMOUS
    return Credential(authorization=f"Basic {value}", key=_ascii(password))


def parse_login(header: str | None) -> Credential:
    """Return the login that is passed on to a registry of any kind, as it came.

    Raises:
        RequestInvalid: it has characters that no header can have.

    """
    scheme, value = _split(header)
    if not scheme or (scheme == "basic" and value == EMPTY_BASIC):
        return ANONYMOUS
    if header is None or not _ascii(header):
        raise RequestInvalid(
            "the Authorization header has characters that no login can have: encode it"
            " as Basic or Bearer authentication does (RFC 7617, RFC 6750)"
        )
    return Credential(header, value)


def credential_of_environment(environment: Mapping[str, str]) -> Credential:
    """Return the credential with the API key of the environment, if there is one.

    Raises:
        RequestInvalid: it cannot be a key.

    """
    # A file that the key was read from ends with a line feed.
    key = environment.get(KEY_VARIABLE, "").strip()
    if key and not _ascii(key):
        raise RequestInvalid(
            f"{KEY_VARIABLE} holds characters that no balena API key has: set it to the"
            " key alone, on one line"
        )
    return Credential(f"Bearer {key}", key) if key else ANONYMOUS


def is_like_key(secret: str) -> bool:
    """Return whether it looks like what balena issues, and not like a password."""
    return _KEY.fullmatch(secret) is not None


def fingerprint(secret: str) -> bytes:
    """Return what tells secrets apart, and from which none can be found."""
    return hashlib.blake2b(
        secret.encode(errors="surrogatepass"), key=_SALT, digest_size=16
    ).digest()


def bearer_token(header: str | None) -> str | None:
    """Return the token in an ``Authorization`` header, or None for another login."""
    scheme, value = _split(header)
    return value or None if scheme == "bearer" else None


def basic_authorization(user: str, password: str) -> str:
    """Return the header that the OAuth2 password grant stands for (rule R5)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _split(header: str | None) -> tuple[str, str]:
    """Return the scheme in lower case, and what follows it; nothing for no header."""
    scheme, _, value = (header or "").strip().partition(" ")
    return scheme.lower(), value.strip()


def _ascii(key: str) -> str | None:
    """Return the key where a header can carry it; no API key has other characters."""
    return key if key.isascii() and key.isprintable() and key else None
