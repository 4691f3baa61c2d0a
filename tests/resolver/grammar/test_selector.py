"""A selector is read in the order of rule S10."""

import pytest

from resolver.grammar.selector import (
    CommitReading,
    PrefixReading,
    RangeReading,
    RawVersionReading,
    ReleaseReading,
    VersionReading,
    parse_selector,
)
from tests.resolver.fake import ident

COMMIT = "11e1ee23d7ddf6ab6da99bac26c9d274"
DRAFT = "2.4.1-1648554962021"


@pytest.mark.parametrize("text", [None, "latest", "current", "default", "pinned"])
def test_keyword_means_the_target_release(text: str | None) -> None:
    """No selector, or a keyword, asks for the target release (S1)."""
    assert parse_selector(text) is None


READINGS: dict[str, tuple[ReleaseReading, ...]] = {
    # A version, with a leading v or without (S2).
    "0.0.0": (VersionReading("0.0.0"),),
    "v2.3.8": (VersionReading("2.3.8"),),
    # What looks like a pre-release is a version first and a draft then (S4).
    DRAFT: (VersionReading(DRAFT), RawVersionReading(DRAFT)),
    "2.0.0-beta.1": (VersionReading("2.0.0-beta.1"), RawVersionReading("2.0.0-beta.1")),
    # A version with a build part is exactly one release (S3).
    "v2.3.8_rev1": (RawVersionReading("2.3.8+rev1"),),
    "2.3.8_rev0": (RawVersionReading("2.3.8"),),
    "2.1.0_build.5.rev0": (RawVersionReading("2.1.0+build.5"),),
    "3.0.0_rev1.prod": (RawVersionReading("3.0.0+rev1.prod"),),
    "3.0.0_rev0.prod": (RawVersionReading("3.0.0+prod"),),
    "2.0.0-rc.1_rev0": (RawVersionReading("2.0.0-rc.1"),),
    # 32 to 40 hex digits are a commit, 7 or more the beginning of one (S5).
    COMMIT: (CommitReading(COMMIT), PrefixReading(COMMIT)),
    "1" * 40: (CommitReading("1" * 40), PrefixReading("1" * 40)),
    "11e1ee2": (PrefixReading("11e1ee2"),),
    "d" * 31: (PrefixReading("d" * 31),),
    "0123456": (PrefixReading("0123456"),),
    # A major number, or major and minor, are a range (S6), and that comes first.
    "v2.x": (RangeReading(2, None),),
    "0": (RangeReading(0, None),),
    "2147483647": (RangeReading(2**31 - 1, None), PrefixReading("2147483647")),
    "2.3": (RangeReading(2, 3),),
    "2.3.x": (RangeReading(2, 3),),
    "1234567": (RangeReading(1234567, None), PrefixReading("1234567")),
}


@pytest.mark.parametrize(("text", "readings"), READINGS.items(), ids=ident)
def test_readings(text: str, readings: tuple[ReleaseReading, ...]) -> None:
    """Where a text can be read in several ways the order is that of S10."""
    assert parse_selector(text) == readings


@pytest.mark.parametrize(
    "text",
    [
        *("", "main", "LATEST", "1.2.3.4", "1.2.03", "1.2.3-", "1.2.3-01", "1.2.3\n"),
        *("99999.2147483648", "2.", "2.x.x", "vv2", "1.2.3' or 1"),
        *("abcdef", "d" * 41, "D" * 32, "g" * 32, "d" * 32 + "\n"),
        "1" * 5000 + ".0.0",
    ],
    ids=ident,
)
def test_unreadable(text: str) -> None:
    """A text with no reading finds nothing, and is no error."""
    assert parse_selector(text) == ()
