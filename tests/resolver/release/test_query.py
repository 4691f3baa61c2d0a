"""Queries keep the API's syntax literal and every user's word in a literal."""

import pytest

from resolver.grammar.reference import Slug
from resolver.grammar.selector import (
    PrefixReading,
    RangeReading,
    RawVersionReading,
    ReleaseReading,
    VersionReading,
)
from resolver.release import query
from tests.resolver.fake import SLUG


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it's", "'it%27%27s'"),
        ("%27", "'%2527'"),
        ("a/b+c&$top=1", "'a%2Fb%2Bc%26%24top%3D1'"),
        ("(,;:)\n\0", "'%28%2C%3B%3A%29%0A%00'"),
        ("é’", "'%C3%A9%E2%80%99'"),  # noqa: RUF001 - a quote that is none
    ],
    ids=repr,
)
def test_literal(text: str, expected: str) -> None:
    """A literal doubles quotes and percent-encodes all that could mean something."""
    assert query.literal(text) == expected


PLAIN = (
    "is_final eq true and (raw_version eq '2.3.8'"
    " or startswith(raw_version,'2.3.8%2B'))"
)
IN_LOWER_CASE = (
    "is_final eq true and (tolower(raw_version) eq '2.0.0-rc1'"
    " or startswith(tolower(raw_version),'2.0.0-rc1%2B'))"
)
RANGE = (
    "is_final eq true and is_invalidated eq false and is_passing_tests eq true"
    " and semver_prerelease eq '' and semver_major eq 2"
)


@pytest.mark.parametrize(
    ("readings", "condition"),
    [
        ((VersionReading("2.3.8"),), f"(({PLAIN}))"),
        (
            (VersionReading("2.0.0-rc1"), RawVersionReading("2.4.1-1")),
            f"(({IN_LOWER_CASE}) or (raw_version eq '2.4.1-1'))",
        ),
        ((PrefixReading("11e1ee2"),), "((startswith(commit,'11e1ee2')))"),
        ((RangeReading(2, None),), f"(({RANGE}))"),
        ((RangeReading(2, 3),), f"(({RANGE} and semver_minor eq 3))"),
    ],
    ids=str,
)
def test_releases(readings: tuple[ReleaseReading, ...], condition: str) -> None:
    """One query asks for all readings, perhaps for the greatest few."""
    asked = query.releases(Slug(SLUG), readings).replace("%20", " ")
    assert f" and status eq 'success' and {condition}&$expand=" in asked
    some = query.releases(Slug(SLUG), readings, top=3).replace("%20", " ")
    assert some == asked.replace(
        "&$expand=",
        "&$orderby=semver_major desc,semver_minor desc,semver_patch desc,revision desc"
        "&$top=3&$expand=",
    )


@pytest.mark.parametrize(
    ("reading", "condition"),
    [
        (VersionReading("2.3.8"), "semver eq '2.3.8'"),
        (RawVersionReading("2.4.1-1"), "raw_version eq '2.4.1-1'"),
        (PrefixReading("11e1ee2"), "startswith(commit,'11e1ee2')"),
        (RangeReading(2, None), "semver_major eq 2"),
        (RangeReading(2, 3), "semver_major eq 2 and semver_minor eq 3"),
    ],
    ids=str,
)
def test_like(reading: ReleaseReading, condition: str) -> None:
    """What became of a release does not matter where it is asked why it is no use."""
    asked = query.like(Slug(SLUG), [reading], top=5).replace("%20", " ")
    assert f" and (({condition}))&$orderby=semver_major desc" in asked
    assert "$top=5" in asked
    assert "status eq" not in asked
