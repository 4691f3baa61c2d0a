"""What a client asks the token endpoint, by GET or with a form (rules R3 and R5).

https://distribution.github.io/distribution/spec/auth/token/ and
https://distribution.github.io/distribution/spec/auth/oauth/
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from resolver.errors import GrantUnsupported, RequestInvalid
from resolver.grammar.challenge import RELAY_PATH
from resolver.grammar.credential import (
    ANONYMOUS,
    Credential,
    basic_authorization,
    parse_authorization,
    parse_login,
)
from resolver.grammar.scope import Scope, parse_scopes

FORM_FIELDS_MAX = 64
_OF_REALM = parse_qsl(RELAY_PATH.partition("?")[2])
_FORM_TYPE = "application/x-www-form-urlencoded"

type Parameters = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a client asks the token endpoint."""

    scopes: tuple[Scope, ...]
    credential: Credential = field(repr=False)
    """The login, whether it stood in a header or in the form."""
    parameters: Parameters = field(default=(), repr=False)
    """All that the client sent, in its order."""
    is_form: bool = False
    """Whether that was a form."""


def parse_token_query(query: str, authorization: str | None) -> TokenRequest:
    """Return what a GET asks.

    Raises:
        RequestInvalid: the header or the number of scopes is not acceptable.

    """
    parameters = _parse_query(query)
    return TokenRequest(
        _scopes(parameters), parse_authorization(authorization), parameters
    )


def parse_token_form(content_type: str | None, body: bytes) -> TokenRequest:
    """Return what a POST asks; the password grant stands for a GET with Basic (R5).

    Raises:
        RequestInvalid: it is no form, or too long a one.
        GrantUnsupported: it is of another grant.

    """
    form = _parse_form(content_type, body)
    if _value(form, "grant_type") != "password":
        raise GrantUnsupported(
            "the only grant_type of a form for a token is password; without a form, a"
            " token is asked for with GET: log in with any user name and a balena API"
            " key as password"
        )
    login = parse_authorization(_form_login(form))
    return TokenRequest(_scopes(form), login, form, is_form=True)


def parse_any_query(query: str, authorization: str | None) -> TokenRequest:
    """Return what a GET asks that is passed on as it is.

    Raises:
        RequestInvalid: the header or the number of scopes is not acceptable.

    """
    parameters = [each for each in _parse_query(query) if each not in _OF_REALM]
    return TokenRequest(_scopes(parameters), parse_login(authorization), parameters)


def parse_any_form(content_type: str | None, body: bytes) -> TokenRequest:
    """Return what a POST asks that is passed on as it is, of whatever grant.

    Raises:
        RequestInvalid: it is no form, or too long a one.

    """
    form = _parse_form(content_type, body)
    token = _value(form, "refresh_token")
    login = ANONYMOUS
    if token:
        login = Credential(f"Bearer {token}", token)
    elif _value(form, "password"):
        login = parse_login(_form_login(form))
    return TokenRequest(_scopes(form), login, form, is_form=True)


def _parse_query(query: str) -> Parameters:
    # Bytes that are no UTF-8 stand in the query as surrogates; no scope has them.
    return _parse_parameters(query.encode(errors="replace").decode())


def _parse_form(content_type: str | None, body: bytes) -> Parameters:
    if content_type is None or _media_type(content_type) != _FORM_TYPE:
        raise RequestInvalid(f"a POST for a token is a form, of type {_FORM_TYPE}")
    try:
        return _parse_parameters(body.decode())
    except UnicodeDecodeError as error:
        raise RequestInvalid("the form for a token is not UTF-8") from error


def _form_login(form: Parameters) -> str:
    """Return the header that stands for the login in the form."""
    user, password = _value(form, "username"), _value(form, "password")
    if ":" in user:
        raise RequestInvalid("a user name has no colon in it (RFC 7617)")
    return basic_authorization(user, password)


def _scopes(parameters: Parameters) -> tuple[Scope, ...]:
    return parse_scopes(value for name, value in parameters if name == "scope")


def _value(parameters: Parameters, name: str) -> str:
    """Return the first value of that name, or nothing."""
    return next((value for each, value in parameters if each == name), "")


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _parse_parameters(text: str) -> Parameters:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
    except ValueError as error:
        raise RequestInvalid(
            f"a token request has at most {FORM_FIELDS_MAX} parameters"
        ) from error
