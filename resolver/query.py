"""Decides how the API is asked: the OData queries, as paths below `/v7`.

`, ( ) : ; =` and `/` outside of literals have to stay as they are, or the API answers
400; inside a literal everything may be percent-encoded, and a quote is doubled.
Parameter encoders of HTTP libraries break that, so the text is built here.
Every word of a user goes through `literal`, and through nothing else.
"""

from collections.abc import Iterable
from urllib.parse import quote

from resolver.reference import Slug
from resolver.release import SUCCESS
from resolver.selector import (
    CommitReading,
    DraftReading,
    ReleaseReading,
    VersionReading,
)

NEWEST_COUNT = 5
"""How many versions a refusal names."""

_IMAGES = (
    "release_image($select=id;$expand=image($select=id,status,"
    "is_stored_at__image_location,content_hash;"
    "$expand=is_a_build_of__service($select=service_name)))"
)
_RELEASE_FIELDS = "id,commit,raw_version,semver,revision,variant,status"


def literal(text: str) -> str:
    """Return the text as an OData string literal, percent-encoded."""
    return f"'{quote(text.replace("'", "''"), safe='')}'"


def releases(slug: Slug, readings: Iterable[ReleaseReading]) -> str:
    """Ask for the releases that any of the readings may mean, with their images."""
    found = " or ".join(f"({_condition(reading)})" for reading in readings)
    return _spaced(
        f"release?$select={_RELEASE_FIELDS}"
        f"&$filter=belongs_to__application/any(a:a/slug eq {literal(slug)})"
        f" and status eq '{SUCCESS}' and ({found})"
        f"&$expand={_IMAGES}"
    )


def target_release(slug: Slug) -> str:
    """Ask for the application's target release, with its images."""
    return _spaced(
        f"application?$select=slug&$filter=slug eq {literal(slug)}"
        f"&$expand=should_be_running__release($select={_RELEASE_FIELDS};"
        f"$expand={_IMAGES})"
    )


def newest_versions(slug: Slug) -> str:
    """Ask which final releases there are, the latest first, to explain a refusal."""
    return _spaced(
        f"application?$select=slug&$filter=slug eq {literal(slug)}"
        f"&$expand=owns__release($select=raw_version;$filter=status eq '{SUCCESS}'"
        f" and is_final eq true and is_invalidated eq false;$orderby=id desc;"
        f"$top={NEWEST_COUNT})"
    )


def _condition(reading: ReleaseReading) -> str:
    match reading:
        case VersionReading(version):
            return (
                f"is_final eq true and (semver eq {literal(version)}"
                f" or startswith(raw_version,{literal(version + '+')}))"
            )
        case DraftReading(raw_version):
            return f"is_final eq false and raw_version eq {literal(raw_version)}"
        case CommitReading(commit):
            return f"commit eq {literal(commit)}"


def _spaced(query: str) -> str:
    return query.replace(" ", "%20")
