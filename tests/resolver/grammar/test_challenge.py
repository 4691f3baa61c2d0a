"""Challenges are read as RFC 9110 writes them, and written as the registry does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.grammar.challenge import (
    Challenge,
    parse_challenge,
    pull_scope,
)
from tests.resolver.fake import CHALLENGE, PROPERTY, ident

REALM = "https://api.example.com/auth/v1/token"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            CHALLENGE,
            Challenge(REALM, "registry2.example.com", "repository:a/b:pull"),
        ),
        (
            f'{CHALLENGE},error="insufficient_scope"',
            Challenge(
                REALM,
                "registry2.example.com",
                "repository:a/b:pull",
                "insufficient_scope",
            ),
        ),
        (f'Bearer realm="{REALM}"', Challenge(REALM)),
        (f"Bearer realm={REALM},service=r", Challenge(REALM, "r")),
        (f'bEARER   realm="{REALM}"', Challenge(REALM)),
        (f' Bearer\trealm = "{REALM}" , service = r ', Challenge(REALM, "r")),
        (f'Bearer REALM="{REALM}",Service="r"', Challenge(REALM, "r")),
        (f'Bearer service="r",realm="{REALM}"', Challenge(REALM, "r")),
        ("Bearer realm=here,service=there", Challenge("here", "there")),
        (r'Bearer realm="a\"b\\c"', Challenge('a"b\\c')),
        ('Bearer realm="a,b",service="c=d"', Challenge("a,b", "c=d")),
        (f'Bearer realm="{REALM}",realm="https://evil"', Challenge(REALM)),
        (f'Bearer realm="{REALM}",charset="UTF-8"', Challenge(REALM)),
        ('Bearer realm=""', Challenge("")),
        (f'Bearer realm="{REALM}",', Challenge(REALM)),
    ],
    ids=ident,
)
def test_parse(header: str, expected: Challenge) -> None:
    """A Bearer challenge is read whatever its order, case, spaces and quoting."""
    assert parse_challenge(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        'Basic realm="x"',
        'Bearerrealm="x"',
        'Bearer service="r"',
        'Bearer realm="x',
        'Bearer realm="x\\"',
        "Bearer realm=",
        "Bearer realm",
        'Bearer realm="x" service="r"',
        'Bearer realm="x";service="r"',
        'Bearer realm="x"\0',
        'Bearer réalm="x"',
        'Bearer realm="' + "\\" * 4999,
        "Bearer " + "a=b," * 999 + "a",
    ],
    ids=ident,
)
def test_no_bearer_challenge(header: str) -> None:
    """What is no sound Bearer challenge with a realm is none."""
    assert parse_challenge(header) is None


@pytest.mark.parametrize(
    ("challenge", "header"),
    [
        (Challenge(REALM), f'Bearer realm="{REALM}"'),
        (
            Challenge(REALM, "r", "repository:a/b:pull", "invalid_token"),
            (
                f'Bearer realm="{REALM}",service="r",scope="repository:a/b:pull",'
                'error="invalid_token"'
            ),
        ),
        (Challenge('a"b\\c', error="e"), r'Bearer realm="a\"b\\c",error="e"'),
    ],
    ids=["realm", "all", "quoted"],
)
def test_write(challenge: Challenge, header: str) -> None:
    """A challenge is written in the registry's order, with what it has."""
    assert str(challenge) == header


ANY = st.text('"\\,= ab') | st.text()


@given(ANY, st.none() | ANY, st.none() | ANY, st.none() | ANY)
@PROPERTY
def test_written_challenge_is_read_again(
    realm: str, service: str | None, scope: str | None, error: str | None
) -> None:
    """No value breaks out of its quotes: what is written is what is read."""
    challenge = Challenge(realm, service, scope, error)
    assert parse_challenge(str(challenge)) == challenge


@pytest.mark.parametrize(
    ("realm", "origin"),
    [
        (REALM, "https://api.example.com"),
        ("http://api.example.com:8080/x", "http://api.example.com:8080"),
        ("https://[::1]:8080/x?y#z", "https://[::1]:8080"),
        ("HTTPS://api.example.com/", "https://api.example.com"),
        ("/auth/v1/token", None),
        ("//api.example.com/auth", None),
        ("ftp://api.example.com/", None),
        ("file:///etc/passwd", None),
        ("https://", None),
        ("https:", None),
        ("https://[", None),
        ("https://[zz]/", None),
        ("", None),
        ("registry", None),
    ],
)
def test_origin(realm: str, origin: str | None) -> None:
    """The origin of a realm is scheme and host, where it is an absolute URL."""
    assert Challenge(realm).origin == origin


def test_first_bearer_challenge_counts() -> None:
    """Other schemes beside a Bearer challenge are passed over."""
    bearer, service = f'Bearer realm="{REALM}",service="r"', Challenge(REALM, "r")
    assert parse_challenge(f'{bearer}, Basic realm="x"') == service
    assert parse_challenge(f'Basic realm="x", {bearer}') == service
    assert parse_challenge(f'Basic realm="x", {bearer}, Bearer realm="y"') == service
    assert parse_challenge('Basic realm="x"') is None


def test_pull_scope() -> None:
    """The scope of a repository is named as the registry names it."""
    assert pull_scope("org/app/2.3.8") == "repository:org/app/2.3.8:pull"
