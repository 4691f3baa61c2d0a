"""What is passed on of a token request is what the client sent."""

from urllib.parse import urlencode

import pytest

from resolver.errors import RequestInvalid
from resolver.grammar.challenge import RELAY_PATH
from resolver.token.request import parse_any_form, parse_any_query
from tests.resolver.fake import basic

FORM = "application/x-www-form-urlencoded"
OWN = RELAY_PATH.partition("?")[2]


def test_query_keeps_every_parameter() -> None:
    """All come in their order, but for the one that the proxy's own realm has."""
    query = f"account=u&{OWN}&offline_token=true&scope=repository:a:pull&scope=x:y:z&z="
    request = parse_any_query(query, None)
    assert urlencode(request.parameters, safe=":") == query.replace(f"{OWN}&", "")
    assert [scope.name for scope in request.scopes] == ["a"]


@pytest.mark.parametrize(
    ("header", "sent"),
    [
        (None, None),
        ("", None),
        ("Basic Og==", None),
        (basic("u", "p"), basic("u", "p")),
        ("basic not-base64", "basic not-base64"),
        ("Bearer opaque~token", "Bearer opaque~token"),
    ],
)
def test_login_is_as_it_came(header: str | None, sent: str | None) -> None:
    """It is the realm's to judge; an empty one is none."""
    credential = parse_any_query("", header).credential
    assert credential.authorization == sent
    assert (credential.fingerprint is None) == (sent is None)
    assert "opaque" not in repr(credential)


@pytest.mark.parametrize("header", ["Basic \udcff", "Basic a\nb", "Bearer ü"])
def test_login_that_no_header_can_have(header: str) -> None:
    """It is refused in words, and goes nowhere."""
    with pytest.raises(RequestInvalid, match="no login can have"):
        parse_any_query("", header)


def test_login_of_a_form_is_known() -> None:
    """So that whoever logs in has a share, and no error shows what they sent."""
    password = parse_any_form(FORM, b"grant_type=password&username=u&password=p")
    token = parse_any_form(FORM, b"grant_type=refresh_token&refresh_token=r")
    nobody = parse_any_form(FORM, b"grant_type=other&code=c")
    assert password.credential.authorization == basic("u", "p")
    assert token.credential.authorization == "Bearer r"
    assert nobody.credential.authorization is None
    assert all(each.is_form for each in (password, token, nobody))


@pytest.mark.parametrize(
    ("media_type", "body"),
    [("application/json", b"{}"), (FORM, b"\xff"), (FORM, b"a=&" * 65)],
)
def test_form_that_is_none(media_type: str, body: bytes) -> None:
    """It is refused as the other ones are."""
    with pytest.raises(RequestInvalid):
        parse_any_form(media_type, body)
