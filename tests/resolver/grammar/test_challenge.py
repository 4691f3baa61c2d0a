"""Challenges are read as RFC 9110 writes them, and written as the registry does."""

import pytest

from resolver.grammar.challenge import (
    Challenge,
    parse_challenge,
)
from tests.resolver.fake import CHALLENGE, ident

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
        'Basic realm="x"',
        'Bearerrealm="x"',
        'Bearer service="r"',
        'Bearer realm="x',
        "Bearer realm",
        'Bearer realm="x" service="r"',
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


@pytest.mark.parametrize(
    ("realm", "origin"),
    [
        (REALM, "https://api.example.com"),
        ("http://api.example.com:8080/x", "http://api.example.com:8080"),
        ("https://[::1]:8080/x?y#z", "https://[::1]:8080"),
        ("HTTPS://api.example.com/", "https://api.example.com"),
        ("/auth/v1/token", None),
        ("ftp://api.example.com/", None),
        ("https://", None),
        ("https://[", None),
        ("https://[zz]/", None),
        ("", None),
    ],
)
def test_origin(realm: str, origin: str | None) -> None:
    """The origin of a realm is scheme and host, where it is an absolute URL."""
    assert Challenge(realm).origin == origin
