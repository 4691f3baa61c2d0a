"""Selectors: what the third component of an alias asks for (design section 3).

::

    selector = keyword | version | range | commit | commit-prefix
    keyword  = "latest" | "current" | "default" | "pinned"
    version  = ["v"] semver [ ("_" | "+") build ]   ; semver 2.0.0
    draft    = version with the creation time in it: the whole raw version
    range    = ["v"] major [ "." minor ] [ ".x" ]
    commit   = 32 to 40 hex
    commit-prefix = 7 or more hex

`_` stands for `+`, which no reference can carry. A text may be readable in several
ways; the readings stand in the order of rule S10, and the first one that finds a
release wins. A text with no reading finds nothing.
"""

import re
from dataclasses import dataclass

import semver

KEYWORDS = frozenset({"latest", "current", "default", "pinned"})
"""All of them mean the target release (rule S1)."""
NUMBER_MAX = 2**31 - 1
"""What the API's integer columns hold; it fails on greater ones."""
FIRST_REVISION = "rev0"
"""How the first revision is asked for; its raw version leaves it out."""

_COMMIT = re.compile(r"[0-9a-f]{32,40}")
_COMMIT_PREFIX = re.compile(r"[0-9a-f]{7,40}")
_RANGE = re.compile(
    r"""
    (?P<major> 0 | [1-9][0-9]{0,9} )
    (?: \. (?P<minor> 0 | [1-9][0-9]{0,9} ) )?
    (?: \. x )?
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class VersionReading:
    """The final release of that version with the highest revision (rule S2)."""

    version: str


@dataclass(frozen=True, slots=True)
class RawVersionReading:
    """Exactly the release with that raw version (rules S3 and S4)."""

    raw_version: str


@dataclass(frozen=True, slots=True)
class CommitReading:
    """The release with that whole commit (rule S5)."""

    commit: str


@dataclass(frozen=True, slots=True)
class RangeReading:
    """The greatest final release in the range (rule S6)."""

    major: int
    minor: int | None


@dataclass(frozen=True, slots=True)
class PrefixReading:
    """The one release whose commit begins like that (rule S5)."""

    prefix: str


ReleaseReading = (
    VersionReading | RawVersionReading | CommitReading | RangeReading | PrefixReading
)
"""A reading that is looked up among the releases of the application."""


def parse_selector(text: str | None) -> tuple[ReleaseReading, ...] | None:
    """Return how the selector can be read, in the order of rule S10.

    None is the application's target release (rule S1).
    """
    if text is None or text in KEYWORDS:
        return None
    readings: list[ReleaseReading] = [*_read_version(text)]
    if _COMMIT.fullmatch(text):
        readings.append(CommitReading(text))
    readings += _read_range(text)
    if _COMMIT_PREFIX.fullmatch(text):
        readings.append(PrefixReading(text))
    return tuple(readings)


def _read_version(text: str) -> tuple[ReleaseReading, ...]:
    try:
        version = semver.Version.parse(text.removeprefix("v").replace("_", "+", 1))
    except ValueError:
        return ()
    if version.build is not None:
        return (RawVersionReading(_without_first_revision(version)),)
    if version.prerelease is None:
        return (VersionReading(str(version)),)
    # A draft carries its creation time where a pre-release stands.
    return (VersionReading(str(version)), RawVersionReading(str(version)))


def _without_first_revision(version: semver.Version) -> str:
    """Return the raw version; that of a first revision does not say so (S3)."""
    identifiers = str(version.build).split(".")
    others = [name for name in identifiers if name != FIRST_REVISION]
    return str(version.replace(build=".".join(others) or None))


def _read_range(text: str) -> tuple[ReleaseReading, ...]:
    match = _RANGE.fullmatch(text.removeprefix("v"))
    if not match:
        return ()
    major = int(match["major"])
    minor = None if match["minor"] is None else int(match["minor"])
    if max(major, minor or 0) > NUMBER_MAX:
        return ()
    return (RangeReading(major, minor),)
