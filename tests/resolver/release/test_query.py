"""Queries keep the API's syntax literal and every user's word in a literal."""

import pytest

from resolver.grammar.reference import Slug
from resolver.grammar.selector import (
    CommitReading,
    PrefixReading,
    RangeReading,
    RawVersionReading,
    ReleaseReading,
    VersionReading,
)
from resolver.release import query
from tests.resolver.fake import COMMIT, SLUG

"""What stands outside of literals; `%` for the spaces alone."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "''"),
        ("2.3.8+rev1", "'2.3.8%2Brev1'"),
        ("org/app", "'org%2Fapp'"),
        ("it's", "'it%27%27s'"),
        ("'", "'%27%27'"),
        ("%27", "'%2527'"),
        ("a&$top=1", "'a%26%24top%3D1'"),
        ("(,;:=)", "'%28%2C%3B%3A%3D%29'"),
        ("\r\n\0", "'%0D%0A%00'"),
        ("é", "'%C3%A9'"),
        ("’", "'%E2%80%99'"),  # noqa: RUF001 - a quote that is none
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
RANGE = (
    "is_final eq true and is_invalidated eq false and is_passing_tests eq true"
    " and semver_prerelease eq '' and semver_major eq 2"
)


@pytest.mark.parametrize(
    ("readings", "condition"),
    [
        ((VersionReading("2.3.8"),), f"(({PLAIN}))"),
        (
            (VersionReading("2.0.0-rc1"), RawVersionReading("2.0.0-rc1")),
            (
                "((is_final eq true and (tolower(raw_version) eq '2.0.0-rc1'"
                " or startswith(tolower(raw_version),'2.0.0-rc1%2B')))"
                " or (tolower(raw_version) eq '2.0.0-rc1'))"
            ),
        ),
        ((RawVersionReading("2.4.1-1"),), "((raw_version eq '2.4.1-1'))"),
        ((CommitReading(COMMIT),), f"((commit eq '{COMMIT}'))"),
        ((PrefixReading("11e1ee2"),), "((startswith(commit,'11e1ee2')))"),
        ((RangeReading(2, None),), f"(({RANGE}))"),
        ((RangeReading(2, 3),), f"(({RANGE} and semver_minor eq 3))"),
    ],
    ids=str,
)
def test_releases(readings: tuple[ReleaseReading, ...], condition: str) -> None:
    """One query asks for all readings, among built releases of one application."""
    assert query.releases(Slug(SLUG), readings).replace("%20", " ") == (
        "release?$select=id,commit,raw_version,semver,revision,variant,status,"
        "is_invalidated,is_passing_tests"
        "&$filter=belongs_to__application/any(a:a/slug eq"
        " 'balenablocks%2Fbrowser-aarch64') and status eq 'success' and "
        + condition
        + "&$expand=release_image($select=id;$expand=image($select=id,status,"
        "is_stored_at__image_location,content_hash;"
        "$expand=is_a_build_of__service($select=service_name)))"
    )


def test_greatest_of_a_range() -> None:
    """A few releases of a range come with the greatest versions first."""
    asked = query.releases(Slug(SLUG), (RangeReading(2, None),), top=3)
    assert (
        "&$orderby=semver_major desc,semver_minor desc,semver_patch desc,revision desc"
        "&$top=3&$expand="
    ) in asked.replace("%20", " ")


def test_target_release() -> None:
    """The target release is asked for through the application, with its images."""
    assert query.target_release(Slug(SLUG)).replace("%20", " ") == (
        "application?$select=slug&$filter=slug eq 'balenablocks%2Fbrowser-aarch64'"
        "&$expand=should_be_running__release("
        "$select=id,commit,raw_version,semver,revision,variant,status,"
        "is_invalidated,is_passing_tests;"
        "$expand=release_image($select=id;$expand=image($select=id,status,"
        "is_stored_at__image_location,content_hash;"
        "$expand=is_a_build_of__service($select=service_name))))"
    )


def test_greatest_releases() -> None:
    """Target and greatest versions come in one answer, by what the API takes."""
    fields = (
        "$select=id,commit,raw_version,semver,revision,variant,status,"
        "is_invalidated,is_passing_tests;"
    )
    images = (
        "$expand=release_image($select=id;$expand=image($select=id,status,"
        "is_stored_at__image_location,content_hash;"
        "$expand=is_a_build_of__service($select=service_name)))"
    )
    assert query.greatest_releases(Slug(SLUG), 61).replace("%20", " ") == (
        "application?$select=slug&$filter=slug eq 'balenablocks%2Fbrowser-aarch64'"
        f"&$expand=should_be_running__release({fields}{images}),"
        f"owns__release({fields}$filter=status eq 'success' and is_final eq true;"
        "$orderby=semver_major desc,semver_minor desc,semver_patch desc,"
        f"semver_prerelease asc,revision desc;$top=61;{images})"
    )
