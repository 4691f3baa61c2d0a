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
from tests.resolver.fake import image_row, release_row

ALIAS = parse_alias("org/app/0")
DRAFT = "2.4.1-1648554962021"


def select(
    readings: Sequence[ReleaseReading], releases: Sequence[Release]
) -> str | None:
    """Return the raw version of the release alone."""
    selection = select_release(ALIAS, readings, releases)
    return selection.release.raw_version if selection else None


def releases(*rows: dict[str, object]) -> tuple[Release, ...]:
    """Return the releases of an answer."""
    return parse_releases({"d": [*rows]})


# As the catalog of the measured API has them.
CATALOG = releases(
    release_row("2.3.8", 0, commit="11e1ee23d7ddf6ab6da99bac26c9d274"),
    release_row("2.3.8+rev2", 2),
    release_row("2.3.8+rev1", 1),
    release_row("2.3.8+rev10", 10, status="failed"),
    release_row("2.3.8+rev11", 11, image_row(status="failed")),
    release_row("2.3.8+rev12", 12, image_row(), image_row(status="running")),
    release_row("2.3.8+rev13", 13, release_image=[]),
    release_row(DRAFT, None, semver="2.4.1"),
    release_row("2.0.0-beta.1", 0),
    release_row("2.0.0-RC1", 0),
    release_row("2.0.0-RC2", 5),
    release_row("2.0.0-rc2", 0),
    release_row("2.1.0+build.5", 0, semver="2.1.0+build.5"),
    release_row("2.1.0+BUILD.6.rev9", 9, semver="2.1.0+BUILD.6"),
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
    # What is no version is found by itself, and spoils no range.
    release_row("odd", 0, semver="1.0", commit="a" * 32),
)


@pytest.mark.parametrize(
    ("reading", "raw_version"),
    [
        (VersionReading("2.3.8"), "2.3.8+rev2"),
        (VersionReading("2.0.0-beta.1"), "2.0.0-beta.1"),
        (VersionReading("2.1.0"), "2.1.0+BUILD.6.rev9"),
        (VersionReading("1.8.1"), "1.8.1"),
        (VersionReading("1.9.0"), "1.9.0"),
        (VersionReading("2.9.1"), "2.9.1+rev1"),
        (VersionReading("2.9.3"), "2.9.3"),
        (VersionReading("2.4.1"), None),
        (VersionReading("2.3.80"), None),
        (RawVersionReading(DRAFT), DRAFT),
        (RawVersionReading("2.4.1"), None),
        (RawVersionReading("2.3.8+rev1"), "2.3.8+rev1"),
        (RawVersionReading("2.3.8"), "2.3.8"),
        (RawVersionReading("2.3.8+rev10"), None),
        (RawVersionReading("2.1.0+build.5"), "2.1.0+build.5"),
        (RangeReading(2, 3), "2.3.8+rev2"),
        (RangeReading(2, None), "2.9.3"),
        (RangeReading(1, 8), "1.8.1"),
        (RangeReading(1, None), "1.9.0"),
        (RangeReading(2, 4), None),
        (PrefixReading("11e1ee2"), "2.3.8"),
        (CommitReading("d" * 32), "2.3.7+rev1"),
        (CommitReading("11e1ee23"), None),
        (CommitReading("a" * 32), "odd"),
    ],
    ids=str,
)
def test_select_release(reading: ReleaseReading, raw_version: str | None) -> None:
    """A reading finds the release that rules S2 to S7 say."""
    assert select((reading,), CATALOG) == raw_version


@pytest.mark.parametrize(
    ("text", "raw_version"),
    [
        ("2.0.0-rc1", "2.0.0-RC1"),
        ("2.0.0-rc2", "2.0.0-rc2"),
        ("2.1.0_build.6.rev9", "2.1.0+BUILD.6.rev9"),
    ],
)
def test_case_is_ignored_where_nothing_fits_exactly(
    text: str, raw_version: str
) -> None:
    """A reference is lower case, a version need not be (S9)."""
    assert select(parse_selector(text) or (), CATALOG) == raw_version


def test_first_fitting_reading_wins() -> None:
    """Readings are tried in their order, and not mixed (S10)."""
    nothing, draft = VersionReading("9.9.9"), RawVersionReading(DRAFT)
    version = VersionReading("2.3.8")
    assert select([nothing, draft, version], CATALOG) == DRAFT
    assert select([version, nothing, draft], CATALOG) == "2.3.8+rev2"
    assert select([], CATALOG) is None


def test_equal_releases_are_told_apart() -> None:
    """Of the same version and revision the later one wins, and final ones do (S5)."""
    same = releases(*(release_row("0.0.0", 3, id=number) for number in (6, 7, 5)))
    selection = select_release(ALIAS, (VersionReading("0.0.0"),), same)
    assert selection
    assert selection.release.id == 7
    of_one_commit = releases(
        release_row("1.0.0-1", None, id=9),
        release_row("1.0.0", 0, id=8),
        release_row("1.0.0-0", None, id=7),
    )
    reading = CommitReading(of_one_commit[0].commit)
    assert select((reading,), of_one_commit) == "1.0.0"


def release_with(*services: str) -> Release:
    """Return release 1.7.0 with these image services."""
    images = (image_row(f"{i:032x}", name) for i, name in enumerate(services))
    return releases(release_row("1.7.0", 0, *images))[0]


@pytest.mark.parametrize(
    ("name", "services", "message"),
    [
        ("org/app/1.7.0", "main helper", "helper, main; name one, as in org/app/1.7.0"),
        ("org/app/1.7.0", "Main zoo", "Main, zoo; name one, as in org/app/1.7.0/main"),
        ("org/app", "a b", "a, b; name one, as in org/app/latest/a"),
        ("org/app/1.7.0/mian", "main a", "no image service mian; it has a, main"),
    ],
)
def test_no_image(name: str, services: str, message: str) -> None:
    """A refusal names the image services that there are (S8)."""
    with pytest.raises(ReleaseUnknown, match=message):
        select_image(parse_alias(name), release_with(*services.split()))


@pytest.mark.parametrize("name", ["org/app/1.7.0/helper", "org/app/latest/main"])
def test_select_image(name: str) -> None:
    """An image is the one that is named, whatever the case it has (S8, S9)."""
    image = select_image(parse_alias(name), release_with("helper", "MAIN"))
    assert image.image_service.lower() == name.rpartition("/")[2]


def test_ambiguous_prefix_is_refused_with_the_candidates() -> None:
    """A prefix that fits several commits names them, as far as they differ (S5)."""
    found = releases(
        release_row("1.0.0", 0, commit="abcdef0123"),
        release_row("1.1.0", 0, commit="abcdef0124"),
        release_row("1.2.0", 0, commit="abcdef0999", status="failed"),
    )
    with pytest.raises(ReleaseUnknown, match=r"2 .*: abcdef0123 .*, abcdef0124 .*;"):
        select((PrefixReading("abcdef0"),), found)
    assert select((PrefixReading("abcdef09"),), found) is None
