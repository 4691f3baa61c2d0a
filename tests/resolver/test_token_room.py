"""A token has as many releases as fit into the header in which it is sent."""

from dataclasses import replace

import pytest

from resolver.reference import Location, parse_alias
from resolver.release import Release
from resolver.resolution import Resolution
from resolver.scope import Scope
from resolver.tag_resolution import TagResolution
from resolver.tag_table import TagEntry
from resolver.token import Aliases, append_aliases
from resolver.token_room import HEADER_LENGTH_MAX, TokenRoom, header_length
from tests.resolver.fake import jwt as make_jwt
from tests.resolver.fake import pullable
from tests.resolver.test_tag_suffix import entry


def tagged(name: str, count: int = 99, version: str = "1.{}.0") -> TagResolution:
    """Return an alias with so many releases."""
    made = [
        entry(version.format(n), f"v2/{hash((name, n)) % (1 << 128):032x}", 0)
        for n in range(count, 0, -1)
    ]
    entries = [
        TagEntry(_numbered(one, number), one.location)
        for number, one in enumerate(made)
    ]
    alias = parse_alias(name)
    first = entries[0]
    assert first.location
    target = Resolution(
        alias, first.release, first.release.images[0], first.location, "first"
    )
    return TagResolution(alias, target, tuple(entries), (), is_whole=True)


def _numbered(one: TagEntry, number: int) -> Release:
    return replace(one.release, id=number, commit=f"{number:032x}")


def issued(room: TokenRoom, count: int, *names: str, issuer: str = "api") -> str:
    """Return the token of which the room told the length."""
    found = {name: tagged(name) for name in names}
    tables = room.fit(found, count, ())
    places = dict.fromkeys(p for table in tables.values() for p in table.locations)
    jwt = make_jwt(pullable(places), iss=issuer, jti="x" * 200)
    room.has_issued(jwt, map(Scope, places))
    locations = {name: Location(table.locations[0]) for name, table in tables.items()}
    return append_aliases(jwt, Aliases(locations, {}, tables))


def counts(room: TokenRoom, count: int, *names: str, beside: int = 0) -> set[int]:
    """Return how many releases of each alias there is room for."""
    scopes = [Scope(f"v2/{number:032x}") for number in range(beside)]
    fitted = room.fit({name: tagged(name) for name in names}, count, scopes)
    return {len(table) for table in fitted.values()}


@pytest.mark.parametrize(
    ("count", "names", "kept"),
    [
        (1, 1, 1),
        (20, 1, 20),
        (40, 1, 40),
        (60, 1, 41),
        (20, 2, 20),
        (60, 2, 20),
        (20, 8, 4),
        (20, 32, 1),
    ],
)
def test_room(count: int, names: int, kept: int) -> None:
    """Aliases of one token share what there is."""
    room = TokenRoom()
    aliases = [f"org/app{n}" for n in range(names)]
    assert counts(room, count, *aliases) == {kept}


def test_what_else_the_token_is_for_takes_room() -> None:
    """Locations that are asked for beside the tables are counted."""
    assert counts(TokenRoom(), 60, "org/app", beside=20) == {28}
    assert counts(TokenRoom(), 60, "org/app", beside=99) == {1}


@pytest.mark.parametrize("count", [1, 10, 20, 40, 60])
def test_length_is_told_from_the_token_before(count: int) -> None:
    """Whatever is in a JWT beside locations, the second one fits."""
    room = TokenRoom()
    for issuer in ("api", "a" * 3000, "b" * 3000):
        token = issued(room, count, "org/app", "org/other", issuer=issuer)
    assert header_length(len(token)) <= HEADER_LENGTH_MAX


def test_long_names_of_a_client_change_nothing_for_others() -> None:
    """What a client asks for beside is not taken for the length of any JWT."""
    room = TokenRoom()
    before = counts(room, 60, "org/app")
    long = [f"resin/{'x' * 240}{n}" for n in range(30)]
    room.has_issued(make_jwt(pullable(long)), map(Scope, long))
    after = counts(room, 60, "org/app")
    assert min(after) >= min(before)
