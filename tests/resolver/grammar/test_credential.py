"""A credential is read from its header, passed on untouched, and never shown."""

import base64
import logging
import pickle

import pytest

from resolver.errors import RequestInvalid
from resolver.grammar.credential import (
    ANONYMOUS,
    Credential,
    basic_authorization,
    parse_authorization,
)
from tests.resolver.fake import basic, ident

SECRET = "made-up-key-0123456789"


def encoded(data: bytes) -> str:
    """Return the header of Basic authentication for these bytes."""
    return "Basic " + base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("header", "authorization", "key"),
    [
        (basic("u", SECRET), basic("u", SECRET), SECRET),
        (basic("", SECRET), basic("", SECRET), SECRET),
        (basic("u", "a:b"), basic("u", "a:b"), "a:b"),
        (basic("d_0123", "k"), basic("d_0123", "k"), "k"),
        (basic("u", ""), basic("u", ""), None),
        (encoded(b"u"), encoded(b"u"), None),
        (basic("u", "schlüssel"), basic("u", "schlüssel"), None),
        (basic("u", "a\r\nb"), basic("u", "a\r\nb"), None),
        (basic("ü", "k"), basic("ü", "k"), "k"),
        (basic("u", "k").replace("Basic", "bAsIc  "), basic("u", "k"), "k"),
        (f"  {basic('u', 'k')} ", basic("u", "k"), "k"),
        (f"Bearer {SECRET}", f"Bearer {SECRET}", SECRET),
        (f"bearer   {SECRET}", f"Bearer {SECRET}", SECRET),
    ],
    ids=ident,
)
def test_credential(header: str, authorization: str, key: str | None) -> None:
    """The header goes to the token endpoint, the key alone to the OData side."""
    found = parse_authorization(header)
    assert (found.authorization, found.key) == (authorization, key)


@pytest.mark.parametrize(
    "header", [None, "", "  ", "Basic Og==", "Basic", "Basic  ", "basic Og=="]
)
def test_nobody_is_logged_in(header: str | None) -> None:
    """No header and an empty Basic are both anonymous (R3)."""
    assert parse_authorization(header) == ANONYMOUS


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer  ",
        "Bearer schlüssel",
        "Bearer \udcff",
        "Bearer a\r\nX-Injected: b",
        "Digest username=u",
        "Negotiate abc",
        SECRET,
        "Basic:dTpr",
        "Basic dTpr!",
        "Basic dTp r",
        "Basic dTprZQ",
        "Basic dTpré",
        "Basic \udcff",
        "Basic dTpr\0",
        encoded(b"\xff:\xfe"),
    ],
    ids=ascii,
)
def test_header_is_refused(header: str) -> None:
    """What is no sound Basic or Bearer is refused, and not repeated in the message."""
    with pytest.raises(RequestInvalid) as caught:
        parse_authorization(header)
    _, _, value = header.partition(" ")
    assert not value.strip() or value not in caught.value.message
    assert SECRET not in caught.value.message


@pytest.mark.parametrize(
    ("user", "password"), [("u", SECRET), ("", "k"), ("ü", "ß"), ("u", "a:b")]
)
def test_password_grant_is_basic(user: str, password: str) -> None:
    """User and password become the header that RFC 7617 describes, in UTF-8."""
    header = basic_authorization(user, password)
    assert base64.b64decode(header.removeprefix("Basic ")).decode() == (
        f"{user}:{password}"
    )


@pytest.mark.parametrize("header", [basic("u", SECRET), f"Bearer {SECRET}"])
def test_credential_is_never_shown(
    header: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither text, format nor log of a credential has the secret in it (R15)."""
    credential = parse_authorization(header)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").debug(
            "%s %r %s", credential, credential, [credential]
        )
    shown = f"{credential} {credential!r} {[credential]} {caplog.text}"
    for secret in (SECRET, header, header.partition(" ")[2]):
        assert secret not in shown


def test_credentials_are_told_apart() -> None:
    """Credentials compare by what they hold, although none of it is shown."""
    assert Credential("Bearer a", "a") != Credential("Bearer b", "b")
    assert Credential("Bearer a", "a") == pickle.loads(
        pickle.dumps(Credential("Bearer a", "a"))
    )
