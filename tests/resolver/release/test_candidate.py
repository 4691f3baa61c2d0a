"""A tag picks the candidate that the path would find, or nothing is picked."""

from collections.abc import Iterable

import pytest

from resolver.errors import TagUnknown
from resolver.grammar.reference import Location, parse_alias
from resolver.release.candidate import (
    Candidate,
    Candidates,
    hide_from_ranges,
    order,
)
from tests.resolver.fake import LOCATION, SLUG, candidate, fixed

ALIAS = parse_alias(SLUG)


def place(number: int) -> Location:
    """Return a location."""
    return Location(f"v2/{number:032x}")


def candidate_at(
    number: int, raw_version: str, *services: str, **fields: bool
) -> Candidate:
    """Return a release with an image at its number."""
    commit = f"{number * 0x1111111:07x}".ljust(32, "f")
    return candidate(
        raw_version, place(number), *services, id=number, commit=commit, **fields
    )


FLEET = Candidates(
    order(
        [
            candidate_at(1, "1.0.0"),
            candidate_at(2, "1.1.0"),
            candidate_at(3, "2.0.0-rc.1"),
            candidate_at(4, "2.0.0", is_target=True),
            candidate_at(5, "2.0.0+rev1"),
            candidate_at(6, "2.1.0+build.5"),
            candidate_at(7, "2.1.1", is_invalidated=True),
            candidate_at(8, "2.1.2", is_passing_tests=False),
            candidate_at(11, "3.1.0", "web", "db"),
            candidate_at(12, "1.2.0-RC1"),
            candidate_at(13, "1.1.1"),
        ]
    )
)


def versions_of(rows: Iterable[Candidate]) -> list[str]:
    """Return the versions of the rows."""
    return [row.release.raw_version for row in rows if row.release]


def pick_version(candidates: Candidates, tag: str) -> str | None:
    """Return the version that the tag picks, or None where it picks none."""
    pick = candidates.pick(ALIAS, tag)
    release = pick and pick.candidate.release
    return release.raw_version if release else None


def test_tag_of_several_images() -> None:
    """No tag tells them apart, and the refusal names the path that does (S8)."""
    with pytest.raises(TagUnknown, match=f"db, web; name one, as in {SLUG}/3.1.0/db"):
        FLEET.pick(ALIAS, "3.1.0")


def test_order_is_that_of_versions() -> None:
    """Semver precedence, then plain releases, then revisions; what is none is last."""
    texts = ["x", "1.0.0+b", "1.0.0", "1.0.0-rc.1", "1.0.0+rev1", "1.10.0", "1.9.0"]
    assert versions_of(order(map(candidate, texts))) == [
        *("1.10.0", "1.9.0", "1.0.0+rev1", "1.0.0", "1.0.0+b", "1.0.0-rc.1", "x")
    ]


def test_order_of_pre_releases_is_that_of_semver() -> None:
    """Numbers by their value, then words; the shorter one before the longer one."""
    texts = ["2", "11", "alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11"]
    versions = [f"1.0.0-{text}" for text in texts] + ["1.0.0"]
    found = order([candidate(text) for text in sorted(versions)])
    assert versions_of(found) == versions[::-1]


@pytest.mark.parametrize("tag", ["latest", "2.3.8", "1.0.0-"])
def test_fixed_one_is_picked_by_every_tag(tag: str) -> None:
    """An alias with a selector has said which release is meant."""
    pick = fixed().pick(ALIAS, tag)
    assert pick
    assert (pick.location, pick.reason) == (LOCATION, "")
    assert fixed().is_fixed
    assert not FLEET.is_fixed


NEWEST = "its newest are 3.1.0, 2.1.0, 2.0.0, 2.0.0-rc.1, 1.2.0-rc1"
TARGET = "its target is 2.0.0_rev0"


@pytest.mark.parametrize(
    ("tag", "is_whole", "path"),
    [
        ("9.9.9-RC1", False, "9.9.9-rc1"),
        ("1.0.0-", False, "<version>"),
        # Drafts are pulled by path, and are not counted among all.
        ("2.2.0-1648", True, "2.2.0-1648"),
        ("abcdef0", True, "abcdef0"),
    ],
)
def test_refusal_says_what_there_is(tag: str, path: str, *, is_whole: bool) -> None:
    """Where there may be others it says how they are pulled."""
    assert Candidates(FLEET.rows, is_whole).error_for(ALIAS, tag).message == (
        f"{SLUG} has no release {tag} among the 11 that tags find; {NEWEST}; {TARGET};"
        f" if there is one, it is pulled as {SLUG}/{path}"
    )


@pytest.mark.parametrize(
    ("tag", "expected"), [("PINNED", "2.0.0"), ("1.2.0-Rc1", "1.2.0-RC1")]
)
def test_case_of_a_tag_does_not_count(tag: str, expected: str) -> None:
    """A tag may have capitals, where a path has none (S9)."""
    assert pick_version(FLEET, tag) == expected


ALL = (
    "2.1.0 2.1.0_build.5 2.0.0 2.0.0_rev1 2.0.0_rev0 2.0.0-rc.1 1.2.0-RC1 1.1.1 1.1.0"
    " 1.0.0"
)
BOTH = candidate("1.0.0", None, "web", "db")


@pytest.mark.parametrize(
    ("rows", "tags"),
    [
        (FLEET.rows, ALL),
        ((hide_from_ranges(candidate("1.0.0", is_target=True)),), "1.0.0"),
        ((candidate("2.4.1-1648", is_target=True),), "2.4.1-1648"),
        (
            (candidate("1.0.0+rev1", None, "web", "db"), candidate("1.0.0")),
            "1.0.0_rev0",
        ),
        (fixed().rows, ""),
    ],
    ids=["versions", "target", "draft", "several images", "fixed"],
)
def test_tags_are_what_can_be_picked(rows: tuple[Candidate, ...], tags: str) -> None:
    """What a range leaves out is left out, but not the target release."""
    assert Candidates(rows).tags() == tags.split()


FINALS = tuple(candidate_at(n, f"1.{n}.0") for n in range(9, 0, -1))
PINNED = (*FINALS[:7], candidate_at(2, "1.2.0", is_target=True), FINALS[8])
REVISED = (
    *(candidate_at(n, f"1.{n}.0") for n in (9, 8, 7)),
    candidate_at(6, "1.0.0+rev2"),
    candidate_at(5, "1.0.0+rev1"),
    candidate_at(4, "1.0.0", is_target=True),
)


@pytest.mark.parametrize(
    ("rows", "count", "kept"),
    [
        (FINALS, 2, "1.9.0 1.8.0"),
        (PINNED, 3, "1.9.0 1.8.0 1.2.0"),
        (PINNED, 1, "1.2.0"),
        (REVISED, 5, "1.9.0 1.8.0 1.7.0 1.0.0+rev2 1.0.0"),
        (REVISED, 4, "1.9.0 1.8.0 1.0.0+rev2 1.0.0"),
        (REVISED, 2, "1.0.0+rev2 1.0.0"),
        (REVISED, 1, ""),
    ],
)
def test_cut(rows: tuple[Candidate, ...], count: int, kept: str) -> None:
    """The target stays, and beside it what its version means; no range finds them."""
    found = Candidates(rows).cut(count)
    assert versions_of(found.rows) == kept.split()
    assert not found.is_whole
    assert found.locations[:1] == Candidates(rows).locations[:1]
    assert found.is_fixed == (not kept)
    for tag in ("latest", "1", "1.0", "1.0.0", "1.2", "1.2.0"):
        assert pick_version(found, tag) in (pick_version(Candidates(rows), tag), None)
    assert found.cut(count) == found


@pytest.mark.parametrize(
    ("missing", "kept"),
    [
        ([], "1.9.0 1.8.0 1.7.0 1.0.0+rev2 1.0.0+rev1 1.0.0"),
        ([8], "1.9.0 1.0.0+rev2 1.0.0"),
        ([8, 6], ""),
        ([8, 4], "1.9.0"),
    ],
)
def test_what_does_not_fit_ends_the_candidates(missing: list[int], kept: str) -> None:
    """Where a greater release is missing, no lesser one stands for it."""
    whole = Candidates(REVISED)
    found = whole.keep(
        lambda row: row.location not in [place(number) for number in missing]
    )
    assert versions_of(found.rows) == kept.split()
    assert found.is_whole == (not missing)
    # Where it is not known what its version means, every tag means the target.
    assert found.is_fixed == (not kept)
    assert (found.locations[:1] == (place(4),)) == (4 not in missing)


def test_locations_are_each_there_once() -> None:
    """That of the target release is the first; what has several images has none."""
    rows = (*PINNED, PINNED[0], BOTH)
    assert Candidates(rows).locations == tuple(map(place, (2, 9, 8, 7, 6, 5, 4, 3, 1)))
    assert Candidates(rows).release_at(place(9)) == PINNED[0].release
    assert Candidates(rows).release_at(place(99)) is None
