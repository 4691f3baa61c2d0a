"""Challenges are read as RFC 9110 writes them, and written as the registry does."""

import pytest

from resolver.grammar.challenge import Challenge, parse_challenge
from tests.resolver.fake import API, CHALLENGE, REGISTRY_HOST, ident

REALM = f"{API}/auth/v1/token"
SCOPE = "repository:a/b:pull"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (CHALLENGE, Challenge(REALM, REGISTRY_HOST, SCOPE)),
        (f'{CHALLENGE},error="e"', Challenge(REALM, REGISTRY_HOST, SCOPE, "e")),
        (f"Bearer service=r,realm={REALM}", Challenge(REALM, "r")),
        (f' bEARER\trealm = "{REALM}" , Service = r ', Challenge(REALM, "r")),
        (r'Bearer realm="a\"b\\c",service="c,d=e"', Challenge('a"b\\c', "c,d=e")),
        (f'Bearer realm="{REALM}",realm="https://evil"', Challenge(REALM)),
        (f'Bearer realm="{REALM}",charset="UTF-8",', Challenge(REALM)),
        ('Bearer realm=""', Challenge("")),
    ],
    ids=ident,
)
def test_parse(header: str, expected: Challenge) -> None:
    """A Bearer challenge is read whatever its order, case, spaces and quoting."""
    assert parse_challenge(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        'Basic realm="x"',
        'Bearerrealm="x"',
        'Bearer service="r"',
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


def test_write() -> None:
    """A challenge is written in the registry's order, with what it has."""
    assert str(Challenge(REALM, REGISTRY_HOST, SCOPE)) == CHALLENGE
    quoted = Challenge('a"b\\c', error="e")
    assert str(quoted) == r'Bearer realm="a\"b\\c",error="e"'


@pytest.mark.parametrize(
    ("realm", "origin"),
    [
        ("http://api.example.com:8080/x", "http://api.example.com:8080"),
        ("https://[::1]:8080/x?y#z", "https://[::1]:8080"),
        ("HTTPS://api.example.com/", "https://api.example.com"),
        ("/auth/v1/token", None),
        ("ftp://api.example.com/", None),
        ("https://", None),
        ("https://[zz]/", None),
    ],
)
def test_origin(realm: str, origin: str | None) -> None:
    """The origin of a realm is scheme and host, where it is an absolute URL."""
    assert Challenge(realm).origin == origin
