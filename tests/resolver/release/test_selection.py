"""Of the releases that the API names one is selected, and one of its images."""

import random
from collections.abc import Sequence

import pytest
import semver
from hypothesis import given
from hypothesis import strategies as st

from resolver.errors import ReleaseUnknown
from resolver.grammar.reference import parse_alias
from resolver.grammar.selector import (
    CommitReading,
    PrefixReading,
    RangeReading,
    RawVersionReading,
    ReleaseReading,
    VersionReading,
    parse_selector,
)
from resolver.release.release import Release, parse_releases
from resolver.release.selection import select_image, select_release
from tests.resolver.fake import COMMIT, PROPERTY, image_row, release_row

ALIAS = parse_alias("org/app/0")


def select(
    readings: Sequence[ReleaseReading], releases: Sequence[Release]
) -> Release | None:
    """Return the release alone."""
    selection = select_release(ALIAS, readings, releases)
    return selection.release if selection else None


# As the catalog of the measured API has them.
CATALOG = parse_releases(
    {
        "d": [
            release_row("2.3.8", 0, commit="11e1ee23d7ddf6ab6da99bac26c9d274"),
            release_row("2.3.8+rev2", 2, commit=COMMIT),
            release_row("2.3.8+rev1", 1, commit="8efb5303ef9d64b5900c5bfe00aa54fa"),
            release_row("2.3.8+rev10", 10, status="failed"),
            release_row("2.3.8+rev11", 11, image_row(status="failed")),
            release_row("2.3.8+rev12", 12, image_row(), image_row(status="running")),
            release_row("2.3.8+rev13", 13, release_image=[]),
            release_row("2.4.1-1648554962021", None, semver="2.4.1"),
            release_row("2.0.1-rc.1.1795452922763", None, semver="2.0.1-rc.1"),
            release_row("2.0.0-beta.1", 0),
            release_row("2.1.0+build.5", 0, semver="2.1.0+build.5"),
            release_row("2.1.0+build.6.rev9", 9, semver="2.1.0+build.6"),
            release_row("1.8.0", 0),
            release_row("1.8.0+dev", 0, variant="dev"),
            release_row("1.8.1", 0),
            release_row("1.8.1+rev7.dev", 7, variant="dev"),
            release_row("1.9.0+build.1.rev9", 9, semver="1.9.0+build.1"),
            release_row("1.9.0", 0),
            release_row("2.3.7", 0, commit="d" * 32, status="failed"),
            release_row("2.3.7+rev1", 1, commit="d" * 32),
            release_row("2.9.1", 0, is_invalidated=False),
            release_row("2.9.1+rev1", 1, is_invalidated=True),
            release_row("2.9.3", 0),
            release_row("2.9.3-1795452923826", None, semver="2.9.3"),
            release_row("0.0.0", 3, id=5, commit="e" * 32),
            release_row("0.0.0", 3, id=7, commit="e" * 40),
            release_row("0.0.0", 3, id=6, commit="f" * 32),
        ]
    }
)


@pytest.mark.parametrize(
    ("reading", "raw_version"),
    [
        (VersionReading("2.3.8"), "2.3.8+rev2"),
        (VersionReading("2.0.0-beta.1"), "2.0.0-beta.1"),
        (VersionReading("2.1.0"), "2.1.0+build.6.rev9"),
        (VersionReading("1.8.0"), "1.8.0"),
        (VersionReading("1.8.1"), "1.8.1"),
        (VersionReading("1.9.0"), "1.9.0"),
        (VersionReading("2.3.7"), "2.3.7+rev1"),
        (VersionReading("2.9.1"), "2.9.1+rev1"),
        (VersionReading("2.9.3"), "2.9.3"),
        (VersionReading("2.4.1"), None),
        (VersionReading("2.4.1-1648554962021"), None),
        (VersionReading("2.0.1-rc.1"), None),
        (VersionReading("2.3"), None),
        (VersionReading("2.3.80"), None),
        (VersionReading("9.9.9"), None),
        (RawVersionReading("2.4.1-1648554962021"), "2.4.1-1648554962021"),
        (RawVersionReading("2.0.1-rc.1.1795452922763"), "2.0.1-rc.1.1795452922763"),
        (RawVersionReading("2.4.1"), None),
        (RawVersionReading("2.0.1-rc.1"), None),
        (RawVersionReading("2.3.8+rev1"), "2.3.8+rev1"),
        (RawVersionReading("2.3.8"), "2.3.8"),
        (RawVersionReading("2.3.8+rev10"), None),
        (RawVersionReading("2.1.0+build.5"), "2.1.0+build.5"),
        (RawVersionReading("1.8.0+dev"), "1.8.0+dev"),
        (RangeReading(2, 3), "2.3.8+rev2"),
        (RangeReading(2, 9), "2.9.3"),
        (RangeReading(2, None), "2.9.3"),
        (RangeReading(1, 8), "1.8.1"),
        (RangeReading(1, None), "1.9.0"),
        (RangeReading(2, 4), None),
        (RangeReading(2, 0), None),
        (RangeReading(9, None), None),
        (PrefixReading("11e1ee2"), "2.3.8"),
        (PrefixReading("ddddddd"), "2.3.7+rev1"),
        (PrefixReading("8efb5303"), "2.3.8+rev1"),
        (PrefixReading("1234567"), None),
        (CommitReading("11e1ee23d7ddf6ab6da99bac26c9d274"), "2.3.8"),
        (CommitReading("d" * 32), "2.3.7+rev1"),
        (CommitReading("11e1ee23"), None),
        (CommitReading("0" * 32), None),
    ],
    ids=str,
)
def test_select_release(reading: ReleaseReading, raw_version: str | None) -> None:
    """A reading finds the release that rules S2 to S7 say."""
    release = select((reading,), CATALOG)
    assert (release and release.raw_version) == raw_version


def test_odd_semver_is_in_no_range() -> None:
    """A release whose version is none is found by itself, and spoils no range."""
    odd = release_row("odd", 0, semver="1.0", commit="a" * 32)
    releases = parse_releases({"d": [odd, release_row("1.0.0", 0)]})
    found = select((RangeReading(1, None),), releases)
    assert found
    assert found.raw_version == "1.0.0"
    found = select((CommitReading("a" * 32),), releases)
    assert found
    assert found.raw_version == "odd"


def test_first_fitting_reading_wins() -> None:
    """Readings are tried in their order, and not mixed (S10)."""
    readings = (VersionReading("9.9.9"), RawVersionReading("2.4.1-1648554962021"))
    found = select((*readings, VersionReading("2.3.8")), CATALOG)
    assert found
    assert found.raw_version == "2.4.1-1648554962021"
    found = select((VersionReading("2.3.8"), *readings), CATALOG)
    assert found
    assert found.raw_version == "2.3.8+rev2"


def test_equal_releases_are_told_apart() -> None:
    """Between releases of the same version and revision the later one wins."""
    found = select((VersionReading("0.0.0"),), CATALOG[::-1])
    assert found
    assert found.id == 7


def test_final_release_goes_before_a_draft() -> None:
    """A commit that is both a final release and a draft means the final one."""
    draft = release_row("1.0.0-1", None, id=9)
    final = release_row("1.0.0", 0, id=8)
    older = release_row("1.0.0-0", None, id=7)
    found = select(
        (CommitReading(COMMIT),), parse_releases({"d": [draft, final, older]})
    )
    assert found
    assert found.raw_version == "1.0.0"


def test_nothing_is_selected_from_nothing() -> None:
    """Without readings, or without releases, there is no release."""
    assert select((), CATALOG) is None
    assert select((VersionReading("2.3.8"),), ()) is None


def release_with(*services: str) -> Release:
    """Return release 1.7.0 with these image services."""
    images = (image_row(f"{i:032x}", name) for i, name in enumerate(services))
    return parse_releases({"d": [release_row("1.7.0", 0, *images)]})[0]


@pytest.mark.parametrize(
    ("name", "services", "found"),
    [
        ("org/app", ("main",), "main"),
        ("org/app/1.7.0", ("main",), "main"),
        ("org/app/1.7.0/main", ("main",), "main"),
        ("org/app/1.7.0/helper", ("main", "helper"), "helper"),
        ("org/app/latest/main", ("helper", "main"), "main"),
    ],
)
def test_select_image(name: str, services: tuple[str, ...], found: str) -> None:
    """An image is the only one, or the one that is named (S8)."""
    image = select_image(parse_alias(name), release_with(*services))
    assert image.image_service == found


@pytest.mark.parametrize(
    ("name", "services", "message"),
    [
        (
            "org/app/1.7.0",
            ("main", "helper"),
            (
                "release 1.7.0 of org/app has several images: helper, main;"
                " name one, as in org/app/1.7.0/helper"
            ),
        ),
        (
            "org/app/1.7.0",
            ("Main", "helper"),
            (
                "release 1.7.0 of org/app has several images: Main, helper;"
                " name one, as in org/app/1.7.0/main"
            ),
        ),
        (
            "org/app",
            ("main", "helper"),
            (
                "release 1.7.0 of org/app has several images: helper, main;"
                " name one, as in org/app/latest/helper"
            ),
        ),
        (
            "org/app/1.7.0/mian",
            ("main", "helper"),
            "release 1.7.0 of org/app has no image service mian; it has helper, main",
        ),
        (
            "org/app/1.7.0/mian",
            ("main",),
            "release 1.7.0 of org/app has no image service mian; it has main",
        ),
    ],
    ids=["several", "upper", "several-latest", "unknown-of-two", "unknown-of-one"],
)
def test_no_image(name: str, services: tuple[str, ...], message: str) -> None:
    """A refusal names the image services that there are (S8)."""
    with pytest.raises(ReleaseUnknown) as caught:
        select_image(parse_alias(name), release_with(*services))
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("text", "raw_version"),
    [
        ("2.0.0-rc1", "2.0.0-RC1"),
        ("2.0.0-rc2", "2.0.0-rc2"),
        ("2.0.0_build.a", "2.0.0+BUILD.A"),
    ],
)
def test_case_is_ignored_where_nothing_fits_exactly(
    text: str, raw_version: str
) -> None:
    """A reference is lower case, a version need not be (S9)."""
    releases = parse_releases(
        {
            "d": [
                release_row("2.0.0-RC1", 0),
                release_row("2.0.0-RC2", 5),
                release_row("2.0.0-rc2", 0),
                release_row("2.0.0+BUILD.A", 0, semver="2.0.0+BUILD.A"),
            ]
        }
    )
    readings = parse_selector(text)
    assert isinstance(readings, tuple)
    found = select(readings, releases)
    assert found is not None
    assert found.raw_version == raw_version


def test_ambiguous_prefix_is_refused_with_the_candidates() -> None:
    """A prefix that fits several commits names them, as far as they differ (S5)."""
    releases = parse_releases(
        {
            "d": [
                release_row("1.0.0", 0, commit="abcdef0123" + "0" * 22),
                release_row("1.1.0", 0, commit="abcdef0124" + "0" * 22),
                release_row(
                    "1.2.0", 0, commit="abcdef0999" + "0" * 22, status="failed"
                ),
            ]
        }
    )
    with pytest.raises(ReleaseUnknown) as refused:
        select((PrefixReading("abcdef0"),), releases)
    assert refused.value.message == (
        "2 commits of org/app begin with abcdef0: abcdef0123 (1.0.0),"
        " abcdef0124 (1.1.0); give more of the one that is meant"
    )
    found = select((PrefixReading("abcdef09"),), releases)
    assert found is None


PARTS = st.integers(0, 3)
ROWS = st.builds(
    lambda numbers, pre, build, revision, number, **fields: release_row(
        "r",
        revision,
        id=number,
        commit=f"{number:032x}",
        semver=".".join(map(str, numbers)) + pre + build,
        **fields,
    ),
    st.tuples(PARTS, PARTS, PARTS),
    st.sampled_from(["", "", "", "-beta.1", "-rc.2"]),
    st.sampled_from(["", "", "+build.5"]),
    st.none() | PARTS,
    st.integers(1, 10**6),
    status=st.sampled_from(["success", "success", "failed", "running"]),
    is_invalidated=st.sampled_from([False, False, True]),
    is_passing_tests=st.sampled_from([True, True, False]),
    variant=st.sampled_from(["", "", "prod"]),
)


@given(
    st.lists(ROWS, max_size=25, unique_by=lambda row: int(row["id"])),
    PARTS,
    st.none() | PARTS,
    st.randoms(use_true_random=False),
)
@PROPERTY
def test_range_is_the_greatest_of_a_plain_model(
    rows: list[dict[str, object]],
    major: int,
    minor: int | None,
    shuffler: random.Random,
) -> None:
    """A range finds the maximum of what it may, in whatever order it comes (S6)."""
    releases = list(parse_releases({"d": rows}))
    model = [
        (semver.Version.parse(r.semver).to_tuple()[:3], plain, r.revision, r.id, r)
        for r in releases
        if r.status == "success"
        and r.revision is not None
        and not r.is_invalidated
        and r.is_passing_tests
        and semver.Version.parse(r.semver).prerelease is None
        and semver.Version.parse(r.semver).major == major
        and (minor is None or semver.Version.parse(r.semver).minor == minor)
        for plain in [not r.variant and "+" not in r.semver]
    ]
    expected = max(model, key=lambda row: row[:4])[4] if model else None
    for _ in range(3):
        shuffler.shuffle(releases)
        assert select((RangeReading(major, minor),), releases) == expected


@given(st.lists(ROWS, max_size=25), st.randoms(use_true_random=False))
@PROPERTY
def test_version_is_the_highest_revision_of_a_plain_model(
    rows: list[dict[str, object]], shuffler: random.Random
) -> None:
    """A version never finds a draft or a failed release, in any order (S2, S7)."""
    releases = list(parse_releases({"d": rows}))
    for version in {release.semver.partition("+")[0] for release in releases}:
        fitting = [
            r
            for r in releases
            if r.semver.partition("+")[0] == version
            and r.status == "success"
            and r.revision is not None
        ]
        shuffler.shuffle(releases)
        found = select((VersionReading(version),), releases)
        assert (found is None) == (not fitting)
        if found:
            plain = [r for r in fitting if not r.variant and "+" not in r.semver]
            assert found.revision == max(r.revision or 0 for r in plain or fitting)
            assert found in (plain or fitting)
