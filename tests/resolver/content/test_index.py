"""What is known of a digest is where it is, and by which tag a client pulled it."""

import json

import pytest

from resolver.content.index import (
    NAMES_MAX,
    PLACES_MAX,
    SIGNS_MAX,
    Index,
    Place,
    read_digests,
)
from resolver.grammar.reference import Alias, Digest, Location, Slug, parse_alias
from tests.resolver.fake import DIGEST, ident

SLUG, OTHER = Slug("org/app"), Slug("org/other")
NAMED = parse_alias("org/app/1.6.0")


def digest(number: int) -> Digest:
    """Return a digest."""
    return Digest(f"sha256:{number:064x}")


def place(number: int, name: Alias | None = None, client: str = "") -> Place:
    """Return a place."""
    return Place(Location(f"v2/{number:032x}"), name, client)


def test_what_is_noted_is_found_for_that_application_alone() -> None:
    """The latest place comes first, and each once for each client."""
    index = Index()
    index.add(SLUG, [digest(1), digest(2)], place(1))
    index.add(SLUG, [digest(1)], place(2, NAMED, "a"))
    assert index.places(SLUG, digest(1)) == (place(2, NAMED, "a"), place(1))
    assert index.places(SLUG, digest(2)) == (place(1),)
    assert index.places(OTHER, digest(1)) == index.places(SLUG, digest(3)) == ()
    index.add(SLUG, [digest(1)], place(2, None, "a"))
    assert index.places(SLUG, digest(1)) == (place(2, None, "a"), place(1))


def test_memory_is_bounded() -> None:
    """What was asked for last is kept, and what was not is forgotten."""
    index = Index(digests_max=3)
    index.add(SLUG, map(digest, range(3)), place(1))
    assert index.places(SLUG, digest(0))
    index.add(SLUG, [digest(3)], place(1))
    assert len(index) == 3
    assert not index.places(SLUG, digest(1))


def test_places_are_bounded() -> None:
    """Many for one digest count as many, and there are not too many for any."""
    index = Index(digests_max=PLACES_MAX)
    index.add(SLUG, [digest(1)], place(1))
    for number in range(2 * PLACES_MAX):
        index.add(SLUG, [digest(0)], place(number))
    assert len(index.places(SLUG, digest(0))) == PLACES_MAX
    assert not index.places(SLUG, digest(1))


IMAGE = {
    "config": {"digest": digest(1)},
    "layers": [{"digest": digest(2)}, {"digest": digest(3)}],
}
BODIES = {
    json.dumps(IMAGE): [1, 2, 3],
    json.dumps({"manifests": [{"digest": digest(4)}, {"digest": digest(5)}]}): [4, 5],
    json.dumps({"blobs": [{"digest": digest(6)}]}): [6],
    json.dumps({"config": [], "layers": {"digest": digest(1)}}): [],
    json.dumps({"layers": [None, 1, [], {}, {"digest": "x"}, {"digest": 1}]}): [],
    json.dumps([IMAGE]): [],
    "": [],
    "[" * 9000: [],
    "\xff": [],
}


@pytest.mark.parametrize(("body", "numbers"), BODIES.items(), ids=ident)
def test_manifest_names_what_is_beside_it(body: str, numbers: list[int]) -> None:
    """Config and layers of an image, manifests of an index, and itself."""
    found = read_digests(200, DIGEST, body.encode("latin-1"))
    assert found == [DIGEST, *map(digest, numbers)]


def test_answer_that_is_no_manifest_says_nothing() -> None:
    """An error, and an answer without a digest, leave nothing behind."""
    for status in (404, 401, 304, 307, 500):
        assert read_digests(status, DIGEST, json.dumps(IMAGE).encode()) == []
    assert read_digests(200, None, b"") == read_digests(200, "x", b"") == []


def test_endless_manifest_is_cut() -> None:
    """One manifest does not make everything else be forgotten."""
    layers = [{"digest": digest(n)} for n in range(NAMES_MAX * 2)]
    body = json.dumps({"layers": layers}).encode()
    assert len(read_digests(200, None, body)) == NAMES_MAX


def test_manifest_of_too_many_values_is_not_read() -> None:
    """It would stop the event loop; what is beside it the registry is asked for."""
    layers = [{"digest": digest(number)} for number in range(SIGNS_MAX // 2)]
    manifest = json.dumps({"layers": layers}).encode()
    assert read_digests(200, digest(1), manifest) == [digest(1)]
