"""Queries: how the API is asked, in OData, as paths below `/v7`.

`, ( ) : ; =` and `/` outside of literals have to stay as they are, or the API answers
400; inside a literal everything may be percent-encoded, and a quote is doubled.
Parameter encoders of HTTP libraries break that, so the text is built here.
Every word of a user goes through `literal`, and through nothing else.
"""

from collections.abc import Iterable
from urllib.parse import quote

from resolver.grammar.reference import Slug
from resolver.grammar.selector import (
    CommitReading,
    PrefixReading,
    RangeReading,
    RawVersionReading,
    ReleaseReading,
    VersionReading,
)
from resolver.release.release import SUCCESS

_IMAGES = (
    "release_image($select=id;$expand=image($select=id,status,"
    "is_stored_at__image_location,content_hash;"
    "$expand=is_a_build_of__service($select=service_name)))"
)
_RELEASE_FIELDS = (
    "id,commit,raw_version,semver,revision,variant,status,is_invalidated,"
    "is_passing_tests"
)
_TARGET = f"should_be_running__release($select={_RELEASE_FIELDS};$expand={_IMAGES})"
_GREATEST_VERSION = "semver_major desc,semver_minor desc,semver_patch desc"
_GREATEST_FIRST = f"{_GREATEST_VERSION},revision desc"


def literal(text: str) -> str:
    """Return the text as an OData string literal, percent-encoded."""
    return f"'{quote(text.replace("'", "''"), safe='')}'"


def releases(
    slug: Slug, readings: Iterable[ReleaseReading], *, top: int | None = None
) -> str:
    """Ask for the releases that any of the readings may mean, with their images.

    With `top` only so many come, the greatest versions first.
    """
    conditions = " or ".join(f"({_condition(reading)})" for reading in readings)
    cut = "" if top is None else f"&$orderby={_GREATEST_FIRST}&$top={top}"
    return _spaced(
        f"release?$select={_RELEASE_FIELDS}"
        f"&$filter=belongs_to__application/any(a:a/slug eq {literal(slug)})"
        f" and status eq '{SUCCESS}' and ({conditions}){cut}"
        f"&$expand={_IMAGES}"
    )


def like(slug: Slug, readings: Iterable[ReleaseReading], *, top: int) -> str:
    """Ask for what the readings would mean if everything could be pulled.

    Drafts, failed builds and invalidated releases are among them.
    """
    conditions = " or ".join(f"({_resemblance(reading)})" for reading in readings)
    return _spaced(
        f"release?$select={_RELEASE_FIELDS}"
        f"&$filter=belongs_to__application/any(a:a/slug eq {literal(slug)})"
        f" and ({conditions})&$orderby={_GREATEST_VERSION},id desc&$top={top}"
        f"&$expand={_IMAGES}"
    )


def target_release(slug: Slug) -> str:
    """Ask for the application's target release, with its images."""
    return _application(slug, _TARGET)


def all_releases(slug: Slug) -> str:
    """Ask for every release of the application, and which one is the target."""
    return _application(
        slug,
        f"owns__release($select={_RELEASE_FIELDS},start_timestamp;$expand={_IMAGES}),"
        "should_be_running__release($select=id,raw_version)",
    )


def greatest_releases(slug: Slug, top: int) -> str:
    """Ask for the target release and, the greatest versions first, for so many others.

    Others are final. Of one version, what has no pre-release comes first.
    """
    return _application(
        slug,
        f"{_TARGET},owns__release($select={_RELEASE_FIELDS};"
        f"$filter=status eq '{SUCCESS}' and is_final eq true;"
        f"$orderby={_GREATEST_VERSION},semver_prerelease asc,revision desc;"
        f"$top={top};$expand={_IMAGES})",
    )


def _application(slug: Slug, expansion: str) -> str:
    return _spaced(
        f"application?$select=slug&$filter=slug eq {literal(slug)}&$expand={expansion}"
    )


def _condition(reading: ReleaseReading) -> str:
    """Return what the reading finds, and what it finds if case is ignored (S9).

    The API reads `and` and `or` from left to right, so every mix has parentheses.
    """
    match reading:
        case VersionReading(version):
            field = _raw_version(version)
            whole, begin = literal(version), literal(f"{version}+")
            return (
                f"is_final eq true and"
                f" ({field} eq {whole} or startswith({field},{begin}))"
            )
        case RawVersionReading(raw_version):
            return f"{_raw_version(raw_version)} eq {literal(raw_version)}"
        case CommitReading(commit):
            return f"commit eq {literal(commit)}"
        case RangeReading(major, minor):
            within = "" if minor is None else f" and semver_minor eq {minor}"
            return (
                "is_final eq true and is_invalidated eq false"
                " and is_passing_tests eq true and semver_prerelease eq ''"
                f" and semver_major eq {major}{within}"
            )
        case PrefixReading(prefix):
            return f"startswith(commit,{literal(prefix)})"


def _resemblance(reading: ReleaseReading) -> str:
    """Return what the reading finds, whatever became of the release."""
    match reading:
        case VersionReading(version):
            # A draft has a time behind it in its whole version alone.
            return f"semver eq {literal(version)}"
        case RangeReading(major, minor):
            within = "" if minor is None else f" and semver_minor eq {minor}"
            return f"semver_major eq {major}{within}"
        case _:
            return _condition(reading)


def _raw_version(text: str) -> str:
    """Return the field to compare with a lower-case text that may have letters."""
    return "tolower(raw_version)" if text.upper() != text else "raw_version"


def _spaced(query: str) -> str:
    return query.replace(" ", "%20")
