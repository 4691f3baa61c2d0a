"""Decides what the third component of an alias asks for (design section 3).

::

    selector = keyword | version | draft | commit
    keyword  = "latest" | "current" | "default" | "pinned"
    version  = major "." minor "." patch [ "-" pre-release ]     ; semver 2.0.0
    draft    = version with the creation time in it: the whole raw_version
    commit   = 32 to 40 hex

A text may be readable in several ways; the readings stand in the order of rule S10
and the first one that finds a release wins. A text with no reading finds nothing.
"""

import re
from dataclasses import dataclass

import semver

KEYWORDS = frozenset({"latest", "current", "default", "pinned"})
"""All of them mean the target release (rule S1)."""

_COMMIT = re.compile(r"[0-9a-f]{32,40}")


@dataclass(frozen=True, slots=True)
class TargetReading:
    """The application's target release (rule S1)."""


@dataclass(frozen=True, slots=True)
class VersionReading:
    """The final release of that version with the highest revision (rule S2)."""

    version: str


@dataclass(frozen=True, slots=True)
class DraftReading:
    """The draft with that whole raw version (rule S4)."""

    raw_version: str


@dataclass(frozen=True, slots=True)
class CommitReading:
    """The release with that whole commit (rule S5)."""

    commit: str


ReleaseReading = VersionReading | DraftReading | CommitReading
"""A reading that is looked up among the releases of the application."""


def parse_selector(text: str | None) -> TargetReading | tuple[ReleaseReading, ...]:
    """Return how the selector can be read, in the order of rule S10."""
    if text is None or text in KEYWORDS:
        return TargetReading()
    if _COMMIT.fullmatch(text):
        return (CommitReading(text),)
    try:
        version = semver.Version.parse(text)
    except ValueError:
        return ()
    if version.prerelease is None:
        return (VersionReading(text),)
    return (VersionReading(text), DraftReading(text))
