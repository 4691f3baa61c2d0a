"""A tag picks the candidate that the path would find, or nothing is picked."""

import pytest

from resolver.errors import TagUnknown
from resolver.grammar.reference import Location, parse_alias
from resolver.release.candidate import (
    TARGET_REASON,
    Candidate,
    Candidates,
    hide_from_ranges,
    order,
    tag_alias,
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


def pick_version(candidates: Candidates, tag: str) -> str | None:
    """Return the version that the tag picks, or why it picks none."""
    try:
        pick = candidates.pick(ALIAS, tag)
    except TagUnknown as error:
        return error.message
    return (
        pick.candidate.release.raw_version if pick and pick.candidate.release else None
    )


PICKED = {
    "latest": "2.0.0",
    "Pinned": "2.0.0",
    "1.0.0": "1.0.0",
    "1.1": "1.1.1",
    "2.0": "2.0.0+rev1",
    "2.0.0": "2.0.0+rev1",
    "2.0.0_rev0": "2.0.0",
    "1.2.0-rc1": "1.2.0-RC1",
    "2.1.1": "2.1.1",
    "1111111FFFFFFFFFFFFFFFFFFFFFFFFF": "1.0.0",
    "9.9.9": None,
    "stable": None,
    "1.0.0-": None,
    "3.1.0": f"release 3.1.0 of {SLUG} has several images: db, web; name one, as in"
    f" {SLUG}/3.1.0/db",
}


@pytest.mark.parametrize(("tag", "expected"), PICKED.items(), ids=PICKED.keys())
def test_tag_picks(tag: str, expected: str | None) -> None:
    """Rules S1 to S10 hold for a tag as for a selector."""
    assert pick_version(FLEET, tag) == expected


def test_pick_says_why() -> None:
    """What was picked comes with its location and the rule that found it."""
    pick = FLEET.pick(ALIAS, "1.1")
    assert pick
    assert (pick.location, pick.candidate) == (place(13), FLEET.rows[-3])
    assert pick.reason == "the greatest final release of 1.1.x"
    latest = FLEET.pick(ALIAS, "latest")
    assert latest
    assert (latest.location, latest.reason) == (place(4), TARGET_REASON)


def test_order_is_that_of_versions() -> None:
    """Semver precedence, then plain releases, then revisions; what is none is last."""
    texts = ["x", "1.0.0+b", "1.0.0", "1.0.0-rc.1", "1.0.0+rev1", "1.10.0", "1.9.0"]
    found = [row.release for row in order(map(candidate, texts)) if row.release]
    assert [release.raw_version for release in found] == [
        *("1.10.0", "1.9.0", "1.0.0+rev1", "1.0.0", "1.0.0+b", "1.0.0-rc.1", "x")
    ]


def test_prefix_of_several_commits() -> None:
    """It is refused with the commits that begin so (S5)."""
    rows = tuple(candidate(f"1.{n}.0", commit=f"abcdef0{n}" * 4) for n in (1, 2))
    with pytest.raises(TagUnknown, match=r"2 commits of .* begin with abcdef0"):
        Candidates(rows).pick(ALIAS, "abcdef0")


@pytest.mark.parametrize("tag", ["latest", "2.3.8", "anything", "1.0.0-"])
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
        ("9.9.9", True, None),
        ("stable", True, None),
        ("9.9.9", False, "9.9.9"),
        ("9.9.9-RC1", False, "9.9.9-rc1"),
        ("stable", False, "<version>"),
        ("1.0.0-", False, "<version>"),
        # Drafts are pulled by path, and are not counted among all.
        ("2.2.0-1648", True, "2.2.0-1648"),
        ("abcdef0", True, "abcdef0"),
    ],
)
def test_refusal_says_what_there_is(
    tag: str, path: str | None, *, is_whole: bool
) -> None:
    """Where there may be others it says how they are pulled."""
    among, beyond = "that can be pulled", ""
    if path:
        among = "among the 11 that tags find"
        beyond = f"; any other is pulled as {SLUG}/{path}"
    said = Candidates(FLEET.rows, is_whole).error_for(ALIAS, tag).message
    assert said == f"{SLUG} has no release {tag} {among}; {NEWEST}; {TARGET}{beyond}"


ALL = (
    "2.1.0 2.1.0_build.5 2.0.0 2.0.0_rev1 2.0.0_rev0 2.0.0-rc.1 1.2.0-RC1 1.1.1 1.1.0"
    " 1.0.0"
)
TAGS = {
    "versions": (FLEET.rows, ALL),
    "target": ((hide_from_ranges(candidate("1.0.0", is_target=True)),), "1.0.0"),
    "draft": ((candidate("2.4.1-1648", is_target=True),), "2.4.1-1648"),
    "several images": ((candidate("1.0.0", None, "web", "db"),), ""),
    "version of several images": (
        (candidate("1.0.0+rev1", None, "web", "db"), candidate("1.0.0")),
        "1.0.0_rev0",
    ),
    "fixed": (fixed().rows, ""),
}


@pytest.mark.parametrize(("rows", "tags"), TAGS.values(), ids=TAGS.keys())
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
        (FINALS, 9, "1.9.0 1.8.0 1.7.0 1.6.0 1.5.0 1.4.0 1.3.0 1.2.0 1.1.0"),
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
    releases = [row.release for row in found.rows if row.release]
    assert [release.raw_version for release in releases] == kept.split()
    assert found.is_whole == (count == len(rows))
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
        ([8, 5], "1.9.0 1.0.0+rev2 1.0.0"),
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
    releases = [row.release for row in found.rows if row.release]
    assert [release.raw_version for release in releases] == kept.split()
    assert found.is_whole == (not missing)
    # Where it is not known what its version means, every tag means the target.
    assert found.is_fixed == (not kept)
    assert (found.locations[:1] == (place(4),)) == (4 not in missing)


def test_locations_are_each_there_once() -> None:
    """That of the target release is the first; what has several images has none."""
    rows = (*PINNED, PINNED[0], candidate("1.0.0", None, "web", "db"))
    assert Candidates(rows).locations == tuple(map(place, (2, 9, 8, 7, 6, 5, 4, 3, 1)))
    assert Candidates(rows).release_at(place(9)) == PINNED[0].release
    assert Candidates(rows).release_at(place(99)) is None


@pytest.mark.parametrize(
    ("name", "tag", "expected"),
    [
        ("org/app", "2.3.8", "org/app/2.3.8"),
        ("org/app", "2.0.0-RC1", "org/app/2.0.0-rc1"),
        ("org/app", "latest", "org/app/latest"),
        ("org/app", "1.0.0-", None),
        ("org/app", "_x", None),
        ("org/app", "a" * 128, f"org/app/{'a' * 128}"),
        ("org/app/2.3.8", "2.3.8", None),
        ("org/app/2.3.8/main", "2.3.8", None),
    ],
)
def test_tag_alias(name: str, tag: str, expected: str | None) -> None:
    """The alias of a tag is the path that pulls the same; some tags stand in none."""
    found = tag_alias(parse_alias(name), tag)
    assert (found and str(found)) == expected
