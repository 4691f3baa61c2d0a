"""A tag selects what the path would select, or nothing."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.api import Api
from resolver.credential import ANONYMOUS
from resolver.errors import AccessDenied, ReleaseUnknown, TagUnknown
from resolver.reference import Alias, Slug, parse_alias
from resolver.release import Release, parse_releases
from resolver.resolution import ApiResolver, Resolution
from resolver.selection import select_release
from resolver.selector import PrefixReading, TargetReading, parse_selector
from resolver.tag_resolution import TagResolution, TagResolver
from resolver.tag_table import Tagged, TagTable
from tests.resolver.fake import (
    API,
    PROPERTY,
    REGISTRY_HOST,
    SLUG,
    SOON,
    FakeTransport,
    image_row,
    release_row,
    rows,
)

ALIAS = parse_alias(SLUG)
type Row = dict[str, Any]


def release(number: int, raw_version: str, **fields: object) -> Row:
    """Return a release as the API shows it, with an image at its number."""
    version, _, build = raw_version.partition("+")
    parts = build.split(".") if build else []
    revisions = [part for part in parts if part.startswith("rev")]
    revision = int(revisions[0][3:]) if revisions else 0
    rest = ".".join(part for part in parts if part not in revisions)
    is_draft = "-1648" in raw_version
    made = release_row(
        raw_version,
        None if is_draft else revision,
        image_row(f"{number:032x}"),
        id=number,
        commit=f"{number * 0x1111111:07x}".ljust(32, "f"),
        semver=f"{version}+{rest}" if rest else version,
    )
    return made | fields


def several(number: int, raw_version: str) -> Row:
    """Return a release with two images."""
    links = [
        {"id": 1, "image": [image_row(f"{number:032x}", name)]}
        for name in ("web", "db")
    ]
    return release(number, raw_version, release_image=links)


def version(row: Row) -> tuple[int, ...]:
    """Return the three numbers of a release's version."""
    return tuple(map(int, row["semver"].partition("-")[0].partition("+")[0].split(".")))


def resolve(
    releases: Sequence[Row], target: Row | None = None, count: int = 20
) -> TagResolution:
    """Return what the tags come to, where the API has these releases."""
    ordered = sorted(releases, key=lambda row: (version(row), row["id"]), reverse=True)
    found = [row for row in ordered if row["status"] == "success"]
    application = {
        "slug": SLUG,
        "should_be_running__release": [target] if target else [],
        "owns__release": found[: 3 * count + 1],
    }
    network = FakeTransport({"/v7/application": rows(application)})
    api = Api(API, network)
    resolver = TagResolver(api, ApiResolver(api, {REGISTRY_HOST}))
    resolved = resolver.resolve(ALIAS, count, ANONYMOUS, SOON)
    assert len(network.sent) == 1
    return resolved


def table(
    releases: Sequence[Row], target: Row | None = None, count: int = 20
) -> TagTable:
    """Return the table that a token would carry."""
    return resolve(releases, target, count).table(count)


def selected(found: TagTable, tag: str) -> str:
    """Return the version that the tag selects, or the message where it does not."""
    try:
        return found.select(ALIAS.slug, tag).release.raw_version
    except TagUnknown as error:
        return error.message


def found_by(found: TagTable, tag: str) -> Tagged | None:
    """Return what the tag selects, if it does."""
    try:
        return found.select(ALIAS.slug, tag)
    except TagUnknown:
        return None


FLEET = [
    release(1, "1.0.0"),
    release(2, "1.1.0"),
    release(3, "2.0.0-rc.1"),
    release(4, "2.0.0"),
    release(5, "2.0.0+rev1"),
    release(6, "2.1.0+build.5"),
    release(7, "2.1.1", is_invalidated=True),
    release(8, "2.1.2", is_passing_tests=False),
    release(9, "2.2.0-1648554962021"),
    release(10, "3.0.0", status="failed"),
    several(11, "3.1.0"),
    release(12, "1.2.0-RC1"),
    release(13, "1.1.1"),
]
SELECTED = {
    "1.0.0": "1.0.0",
    "v1.0.0": "1.0.0",
    "V1.0.0": "1.0.0",
    "1": "1.1.1",
    "1.x": "1.1.1",
    "1.1": "1.1.1",
    "2": "2.1.0+build.5",
    "2.0": "2.0.0+rev1",
    "2.0.0": "2.0.0+rev1",
    "2.0.0_rev0": "2.0.0",
    "2.0.0_rev1": "2.0.0+rev1",
    "2.0.0-rc.1": "2.0.0-rc.1",
    "1.2.0-rc1": "1.2.0-RC1",
    "1.2.0-RC1": "1.2.0-RC1",
    "2.1.0": "2.1.0+build.5",
    "2.1.0_build.5": "2.1.0+build.5",
    "2.1.1": "2.1.1",
    "2.1.2": "2.1.2",
    "2.2.0-1648554962021": "2.2.0-1648554962021",
    "1111111": "1.0.0",
    "1111111fffffffffffffffffffffffff": "1.0.0",
    "1111111FFFFFFFFFFFFFFFFFFFFFFFFF": "1.0.0",
}


@pytest.mark.parametrize(("tag", "expected"), SELECTED.items(), ids=SELECTED.keys())
def test_tag_selects(tag: str, expected: str) -> None:
    """Rules S1 to S10 hold for a tag as for a selector."""
    assert selected(table(FLEET, FLEET[3]), tag) == expected


NEWEST = "its newest are 2.1.0, 2.1.0_build.5, 2.0.0, 2.0.0_rev1, 2.0.0-rc.1"
REFUSED = {
    "9.9.9": f"{SLUG} has no release 9.9.9 that can be pulled; {NEWEST}",
    "2.2": f"{SLUG} has no release 2.2 that can be pulled; {NEWEST}",
    "2.2.0": f"{SLUG} has no release 2.2.0 that can be pulled; {NEWEST}",
    "3.0.0": f"{SLUG} has no release 3.0.0 that can be pulled; {NEWEST}",
    "stable": f"{SLUG} has no release stable that can be pulled; {NEWEST}",
    "3.1.0": f"release 3.1.0 of {SLUG} has several images: db, web; name one, as in"
    f" {SLUG}/3.1.0/db",
}


@pytest.mark.parametrize(("tag", "message"), REFUSED.items(), ids=REFUSED.keys())
def test_tag_selects_nothing(tag: str, message: str) -> None:
    """What there is not is refused with what there is."""
    assert selected(table(FLEET, FLEET[3]), tag) == message


def test_beyond_the_table() -> None:
    """Where there are more releases the refusal says how they are pulled."""
    found = table([release(n, f"1.{n}.0") for n in range(1, 30)], count=3)
    for tag, path in {
        "1.5": "1.5",
        "1.5.0-RC1": "1.5.0-rc1",
        "stable": "<version>",
        "1.0.0-": "<version>",
    }.items():
        assert selected(found, tag) == (
            f"{SLUG} has no release {tag} among the 3 that tags find; its newest are"
            f" 1.29.0, 1.28.0, 1.27.0; one beyond them is pulled as {SLUG}/{path}"
        )


def test_table_has_the_target_the_greatest_and_some_drafts() -> None:
    """A quarter is for the latest drafts; the target is there wherever it is."""
    finals = [release(n, f"1.{n}.0") for n in range(1, 60)]
    drafts = [release(n, f"1.{n}.0-1648{n}") for n in range(60, 99)]
    found = table([*finals, *drafts], finals[4], 20)
    assert len(found) == 20
    assert [e.release.raw_version for e in found.ranked[:2]] == ["1.59.0", "1.58.0"]
    assert [e.release.raw_version for e in found.exact] == [
        "1.5.0",
        *(f"1.{n}.0-1648{n}" for n in range(98, 94, -1)),
    ]
    assert not found.is_whole
    one = table([*finals, *drafts], finals[4], 1)
    assert [e.release.raw_version for e in one.entries] == ["1.5.0"]


def test_old_line_does_not_hide_a_greater_release() -> None:
    """A release made later of a lesser version takes nobody's place in a range."""
    releases = [release(n, f"2.{n}.0") for n in range(1, 9)]
    backports = [release(n, f"1.0.{n}") for n in range(9, 40)]
    found = table([*releases, *backports], count=4)
    assert selected(found, "2") == "2.8.0"
    assert "is pulled as" in selected(found, "1")


def test_target_further_down_is_found_exactly_only() -> None:
    """`1` and `1.2.0` may mean a release that the table has no room for."""
    releases = [release(n, f"1.{n}.0") for n in range(1, 99)]
    found = table(releases, releases[1], count=5)
    for tag in ("1.2.0", "1.2"):
        assert "is pulled as" in selected(found, tag)
    for tag in ("1.2.0_rev0", "2222222"):
        assert selected(found, tag) == "1.2.0"


def test_version_that_is_cut_in_two_is_not_ranked() -> None:
    """Of the last version that was looked at, the plain release may be missing."""
    builds = [release(n, f"1.0.0+build.{n}") for n in range(2, 8)]
    found = table([release(1, "1.0.0"), *builds, release(9, "1.3.0")], count=2)
    assert selected(found, "1.3") == "1.3.0"
    assert selected(found, "1.0.0_build.7") == "1.0.0+build.7"
    assert "is pulled as" in selected(found, "1.0.0")


def test_releases_that_nobody_counts_up() -> None:
    """Where all have one version, the latest revisions are there, and a few drafts."""
    finals = [release(n, f"0.0.0+rev{n}") for n in range(1, 90)]
    drafts = [release(n, f"0.0.0-1648{n}") for n in range(90, 95)]
    found = table([*finals, *drafts], finals[-1], 8)
    assert selected(found, "0.0.0") == selected(found, "0") == "0.0.0+rev89"
    assert selected(found, "0.0.0_rev85") == "0.0.0+rev85"
    assert selected(found, "0.0.0-164894") == "0.0.0-164894"


def test_tags_are_the_versions_that_can_be_pulled() -> None:
    """Several images, and what a range leaves out, are left out."""
    assert list(table(FLEET, FLEET[3]).tags(ALIAS.slug)) == [
        "2.1.0",
        "2.1.0_build.5",
        "2.0.0",
        "2.0.0_rev1",
        "2.0.0-rc.1",
        "1.2.0-RC1",
        "1.1.1",
        "1.1.0",
        "1.0.0",
        "2.2.0-1648554962021",
    ]


@pytest.mark.parametrize("target", [None, FLEET[9], FLEET[10]])
def test_target_that_cannot_be_pulled(target: Row | None) -> None:
    """Other tags select all the same, and the refusal names them."""
    found = resolve(FLEET, target)
    assert isinstance(found.target, ReleaseUnknown)
    message = found.target.message
    assert (NEWEST in message) == (target is not FLEET[10])
    assert ("several images: db, web" in message) == (target is FLEET[10])
    assert selected(found.table(20), "2.0.0") == "2.0.0+rev1"


@pytest.mark.parametrize(
    ("releases", "message"),
    [
        ([], "has no target release that can be pulled; it has no release"),
        ([release(1, "1.0.0", status="failed")], "it has no release"),
        ([release(1, "1.0.0", release_image=[])], "it has no release"),
        (
            [
                release_row(
                    "1.0.0", 0, image_row(host="other.example"), id=1, semver="1.0.0"
                )
            ],
            "is stored in another registry",
        ),
    ],
)
def test_nothing_to_pull(releases: list[Row], message: str) -> None:
    """Where no tag selects anything the alias is refused as a whole."""
    for target in (None, *releases):
        with pytest.raises(ReleaseUnknown, match=message):
            resolve(releases, target)


def test_application_that_is_not_there() -> None:
    """A private application reads like one that does not exist (S11)."""
    api = Api(API, FakeTransport({"/v7/application": rows()}))
    with pytest.raises(AccessDenied):
        TagResolver(api, ApiResolver(api, None)).resolve(ALIAS, 20, ANONYMOUS, SOON)


def test_what_is_not_opened_ends_the_ranked() -> None:
    """Where a greater release is missing, lesser ones are found exactly only."""
    whole = table([release(n, f"1.{n}.0") for n in range(1, 5)])
    missing = whole.ranked[1].location
    found = whole.only(lambda entry: entry.location != missing)
    assert [e.release.raw_version for e in found.ranked] == ["1.4.0"]
    assert [e.release.raw_version for e in found.exact] == ["1.2.0", "1.1.0"]
    assert not found.is_whole
    assert whole.only(lambda _: True) == whole
    assert [e.release.raw_version for e in whole.halved().entries] == ["1.4.0", "1.3.0"]


PATCHES = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1))
SUFFIXES = st.sampled_from(["", "", "+rev1", "+rev2", "-rc.1", "-RC1", "+b", "-1648"])
STATES = st.fixed_dictionaries(
    {},
    optional={
        "is_invalidated": st.just(value=True),
        "is_passing_tests": st.just(value=False),
        "status": st.just("failed"),
    },
)
VERSIONS = st.builds(lambda n, s: f"{'.'.join(map(str, n))}{s}", PATCHES, SUFFIXES)
RELEASES = st.lists(
    st.tuples(VERSIONS, STATES), unique_by=lambda made: made[0], max_size=14
).map(lambda made: [release(n + 1, v, **s) for n, (v, s) in enumerate(made)])


@given(RELEASES, st.integers(0, 13), st.integers(1, 6), st.data())
@PROPERTY
def test_tag_never_selects_what_the_path_would_not(
    releases: list[Row], target: int, count: int, data: st.DataObject
) -> None:
    """However small the table: the same release as by path, or none."""
    chosen = releases[target] if target < len(releases) else None
    try:
        found = table(releases, chosen, count)
    except ReleaseUnknown:
        return
    assert 1 <= len(found) <= count
    everything: tuple[Release, ...] = parse_releases({"d": releases})
    texts = [row[name] for row in releases for name in ("raw_version", "commit")]
    cuts = [text[:length] for text in texts for length in (1, 3, 7, 99)]
    known = sorted({text.replace("+", "_").lower() for text in cuts})
    tag = data.draw(st.sampled_from(known))
    readings = parse_selector(tag)
    assert not isinstance(readings, TargetReading)
    alias = Alias(Slug(SLUG), tag)
    by_tag = found_by(found, tag)
    if by_tag is None:
        # Where the table is whole, nothing that there is is missed.
        assert not found.is_whole or not select_release(alias, readings, everything)
        return
    if any(isinstance(reading, PrefixReading) for reading in readings):
        assert by_tag.release.commit.startswith(tag)
        return
    by_path = select_release(alias, readings, everything)
    assert by_path
    assert by_tag.release.id == by_path.release.id
    assert by_tag.location.endswith(f"{by_path.release.id:032x}")


def test_line_in_the_log() -> None:
    """The log says what `latest` is, and among how many releases tags select."""
    found = resolve(FLEET, FLEET[3])
    assert isinstance(found.target, Resolution)
    assert str(found) == f"{found.target}, 12 releases for tags"
    assert str(resolve(FLEET)) == "no target, 12 releases for tags"
