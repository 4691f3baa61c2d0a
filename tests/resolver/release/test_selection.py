"""Of the releases that the API names one is selected, and one of its images."""

from collections.abc import Sequence

import pytest

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
from tests.resolver.fake import COMMIT, image_row, release_row

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
        (VersionReading("2.3.80"), None),
        (RawVersionReading("2.4.1-1648554962021"), "2.4.1-1648554962021"),
        (RawVersionReading("2.0.1-rc.1.1795452922763"), "2.0.1-rc.1.1795452922763"),
        (RawVersionReading("2.4.1"), None),
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
        (RangeReading(9, None), None),
        (PrefixReading("11e1ee2"), "2.3.8"),
        (PrefixReading("ddddddd"), "2.3.7+rev1"),
        (PrefixReading("8efb5303"), "2.3.8+rev1"),
        (CommitReading("11e1ee23d7ddf6ab6da99bac26c9d274"), "2.3.8"),
        (CommitReading("d" * 32), "2.3.7+rev1"),
        (CommitReading("11e1ee23"), None),
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
    release = select((RangeReading(1, None),), releases)
    assert release
    assert release.raw_version == "1.0.0"
    release = select((CommitReading("a" * 32),), releases)
    assert release
    assert release.raw_version == "odd"


@pytest.mark.parametrize(
    ("readings", "raw_version"),
    [
        ("9.9.9 2.4.1-1648554962021 2.3.8", "2.4.1-1648554962021"),
        ("2.3.8 9.9.9 2.4.1-1648554962021", "2.3.8+rev2"),
        ("", None),
    ],
)
def test_first_fitting_reading_wins(readings: str, raw_version: str | None) -> None:
    """Readings are tried in their order, and not mixed (S10)."""
    each = [
        RawVersionReading(text) if "-" in text else VersionReading(text)
        for text in readings.split()
    ]
    release = select(each, CATALOG)
    assert (release and release.raw_version) == raw_version
    assert select(each, ()) is None


def test_equal_releases_are_told_apart() -> None:
    """Of the same version and revision the later one wins, and final ones do (S5)."""
    release = select((VersionReading("0.0.0"),), CATALOG[::-1])
    assert release
    assert release.id == 7
    rows = [
        release_row("1.0.0-1", None, id=9),
        release_row("1.0.0", 0, id=8),
        release_row("1.0.0-0", None, id=7),
    ]
    release = select((CommitReading(COMMIT),), parse_releases({"d": rows}))
    assert release
    assert release.raw_version == "1.0.0"


def release_with(*services: str) -> Release:
    """Return release 1.7.0 with these image services."""
    images = (image_row(f"{i:032x}", name) for i, name in enumerate(services))
    return parse_releases({"d": [release_row("1.7.0", 0, *images)]})[0]


SEVERAL = "release 1.7.0 of org/app has several images: "
UNKNOWN = "release 1.7.0 of org/app has no image service mian; it has "


@pytest.mark.parametrize(
    ("name", "services", "message"),
    [
        ("org/app/1.7.0", "main helper", "helper, main; name one, as in org/app/1.7.0"),
        ("org/app/1.7.0", "Main zoo", "Main, zoo; name one, as in org/app/1.7.0/main"),
        ("org/app", "a b", "a, b; name one, as in org/app/latest/a"),
        ("org/app/1.7.0/mian", "main helper", "helper, main"),
        ("org/app/1.7.0/mian", "main", "main"),
    ],
)
def test_no_image(name: str, services: str, message: str) -> None:
    """A refusal names the image services that there are (S8)."""
    with pytest.raises(ReleaseUnknown) as caught:
        select_image(parse_alias(name), release_with(*services.split()))
    begin = UNKNOWN if "mian" in name else SEVERAL
    assert caught.value.message.startswith(begin + message)


@pytest.mark.parametrize("name", ["org/app/1.7.0/helper", "org/app/latest/main"])
def test_select_image(name: str) -> None:
    """An image is the one that is named, whatever the case it has (S8, S9)."""
    image = select_image(parse_alias(name), release_with("helper", "MAIN"))
    assert image.image_service.lower() == name.rpartition("/")[2]


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
    release = select(readings, releases)
    assert release is not None
    assert release.raw_version == raw_version


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
    release = select((PrefixReading("abcdef09"),), releases)
    assert release is None
