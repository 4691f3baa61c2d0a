"""A credential is read from its header, passed on untouched, and never shown."""

import pytest

from resolver.errors import RequestInvalid
from resolver.grammar.credential import ANONYMOUS, parse_authorization
from tests.resolver.fake import basic, ident

SECRET = "made-up-key-0123456789"


@pytest.mark.parametrize(
    ("header", "authorization", "key"),
    [
        (basic("", SECRET), basic("", SECRET), SECRET),
        (basic("u", "a:b"), basic("u", "a:b"), "a:b"),
        (basic("u", ""), basic("u", ""), None),
        ("Basic dQ==", "Basic dQ==", None),
        (basic("ü", "schlüssel"), basic("ü", "schlüssel"), None),
        (basic("ü", "k"), basic("ü", "k"), "k"),
        (basic("u", "k").replace("Basic", "  bAsIc  "), basic("u", "k"), "k"),
        (f"bearer   {SECRET} ", f"Bearer {SECRET}", SECRET),
    ],
    ids=ident,
)
def test_credential(header: str, authorization: str, key: str | None) -> None:
    """The header goes to the token endpoint, the key alone to the OData side."""
    credential = parse_authorization(header)
    assert (credential.authorization, credential.key) == (authorization, key)


@pytest.mark.parametrize("header", [None, "  ", "Basic  ", "basic Og=="])
def test_nobody_is_logged_in(header: str | None) -> None:
    """No header and an empty Basic are both anonymous (R3)."""
    assert parse_authorization(header) == ANONYMOUS


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer schlüssel",
        "Bearer a\r\nX-Injected: b",
        "Digest username=u",
        SECRET,
        "Basic dTpr!",
        "Basic dTpr\0",
        "Basic /zr+",
    ],
    ids=ascii,
)
def test_header_is_refused(header: str) -> None:
    """What is no sound Basic or Bearer is refused, and not repeated in the message."""
    with pytest.raises(RequestInvalid) as caught:
        parse_authorization(header)
    value = header.partition(" ")[2]
    assert not value or value not in caught.value.message
    assert SECRET not in caught.value.message


@pytest.mark.parametrize(
    ("header", "is_like_key"),
    [
        (None, None),
        (basic("u", "k" * 32), True),
        (basic("u", "k" * 33), True),
        ("Bearer head.payload.signature", True),
        (basic("u", "hunter2"), False),
        (basic("u", "k" * 31 + "!"), False),
        (basic("u", ""), False),
    ],
    ids=ident,
)
def test_what_looks_like_a_key(header: str | None, *, is_like_key: bool | None) -> None:
    """A key has 32 letters and digits or more, and a session is a JWT."""
    assert parse_authorization(header).is_like_key is is_like_key
