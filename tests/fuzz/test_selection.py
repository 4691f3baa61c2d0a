"""What a selector finds is what a plain model finds, and no word leaves its literal."""

import random
import re

import semver
from hypothesis import given
from hypothesis import strategies as st

from resolver.grammar.reference import Slug, parse_alias
from resolver.grammar.selector import (
    CommitReading,
    RangeReading,
    RawVersionReading,
    VersionReading,
)
from resolver.release import query
from resolver.release.release import Release, parse_releases
from resolver.release.selection import select_release
from tests.fuzz.profile import FUZZ
from tests.resolver.fake import SLUG, release_row

ALIAS = parse_alias("org/app/0")


def find(
    reading: RangeReading | VersionReading, releases: list[Release]
) -> Release | None:
    """Return the release that the reading finds."""
    selection = select_release(ALIAS, (reading,), releases)
    return selection.release if selection else None


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
@FUZZ
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
        assert find(RangeReading(major, minor), releases) == expected


@given(st.lists(ROWS, max_size=25), st.randoms(use_true_random=False))
@FUZZ
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
        found = find(VersionReading(version), releases)
        assert (found is None) == (not fitting)
        if found:
            plain = [r for r in fitting if not r.variant and "+" not in r.semver]
            assert found.revision == max(r.revision or 0 for r in plain or fitting)
            assert found in (plain or fitting)


INJECTION = "1' or status eq 'failed') or startswith(commit,'"


OUTSIDE = re.compile(r"[A-Za-z0-9_$?&=,;:()/%-]*")


def skeleton(text: str) -> str:
    """Return a query without what its literals say."""
    return re.sub(r"'[^']*'", "''", text)


@given(st.text("'%() ,;a") | st.just(INJECTION))
@FUZZ
def test_user_words_stay_in_literals(text: str) -> None:
    """Whatever a user writes changes the literals of a query and nothing else."""
    word = "a" if text.upper() != text else "1"
    plain = (VersionReading(word), RawVersionReading(word), CommitReading(word))
    odd = (VersionReading(text), RawVersionReading(text), CommitReading(text))
    found = query.releases(Slug(text), odd)
    assert skeleton(found) == skeleton(query.releases(Slug(SLUG), plain))
    assert OUTSIDE.fullmatch(skeleton(found).replace("''", ""))
    assert skeleton(query.target_release(Slug(text))) == skeleton(
        query.target_release(Slug(SLUG))
    )
    assert skeleton(query.greatest_releases(Slug(text), 9)) == skeleton(
        query.greatest_releases(Slug(SLUG), 9)
    )
