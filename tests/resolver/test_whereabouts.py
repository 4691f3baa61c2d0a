"""What is remembered of a location says nothing about another one."""

import json

import pytest

from resolver.reference import Digest, Location
from resolver.whereabouts import NAMES_MAX, Whereabouts, named_digests
from tests.resolver.fake import DIGEST, ident

ONE, OTHER = Location(f"v2/{'1' * 32}"), Location(f"v2/{'2' * 32}")


def digest(number: int) -> Digest:
    """Return a digest."""
    return Digest(f"sha256:{number:064x}")


def test_what_is_noted_is_found_there_alone() -> None:
    """A client whose token does not open the location does not get there."""
    known = Whereabouts()
    known.note(ONE, [digest(1), digest(2)])
    assert known.find(digest(1), [OTHER, ONE]) == ONE
    assert known.find(digest(1), [OTHER]) is None
    assert known.find(digest(3), [ONE]) is None
    known.note(OTHER, [digest(1)])
    assert known.find(digest(1), [OTHER, ONE]) == OTHER
    assert known.find(digest(1), [ONE]) == ONE


def test_memory_is_bounded() -> None:
    """What was asked for last is kept, and what was not is forgotten."""
    known = Whereabouts(pairs_max=3)
    known.note(ONE, map(digest, range(3)))
    assert known.find(digest(0), [ONE])
    known.note(ONE, [digest(3)])
    assert len(known) == 3
    assert [bool(known.find(digest(n), [ONE])) for n in range(4)] == [
        *(True, False, True, True),
    ]


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
    "{": [],
    "[" * 9000: [],
    '"\ud800"'.encode("utf-8", "surrogatepass").decode("latin-1"): [],
}


@pytest.mark.parametrize(("body", "numbers"), BODIES.items(), ids=ident)
def test_manifest_names_what_is_beside_it(body: str, numbers: list[int]) -> None:
    """Config and layers of an image, manifests of an index, and itself."""
    found = named_digests(200, DIGEST, body.encode("latin-1"))
    assert found == [DIGEST, *map(digest, numbers)]


def test_answer_that_is_no_manifest_says_nothing() -> None:
    """An error, and an answer without a digest, leave nothing behind."""
    for status in (404, 401, 304, 307, 500):
        assert named_digests(status, DIGEST, json.dumps(IMAGE).encode()) == []
    assert named_digests(200, None, b"") == named_digests(200, "x", b"") == []


def test_endless_manifest_is_cut() -> None:
    """One manifest does not make everything else be forgotten."""
    layers = [{"digest": digest(n)} for n in range(NAMES_MAX * 2)]
    body = json.dumps({"layers": layers}).encode()
    assert len(named_digests(200, None, body)) == NAMES_MAX
