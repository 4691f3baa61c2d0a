"""A selector is read in the order of rule S10."""

import pytest

from resolver.grammar.selector import (
    CommitReading,
    PrefixReading,
    RangeReading,
    RawVersionReading,
    VersionReading,
    parse_selector,
)
from tests.resolver.fake import ident


@pytest.mark.parametrize("text", [None, "latest", "current", "default", "pinned"])
def test_keyword_means_the_target_release(text: str | None) -> None:
    """No selector, or a keyword, asks for the target release (S1)."""
    assert parse_selector(text) is None


@pytest.mark.parametrize("text", ["2.3.8", "0.0.0", "10.20.30", "v2.3.8"])
def test_version(text: str) -> None:
    """A version is a version alone, with a leading v or without (S2)."""
    assert parse_selector(text) == (VersionReading(text.removeprefix("v")),)


@pytest.mark.parametrize(
    "text", ["2.4.1-1648554962021", "2.0.1-rc.1.1795452922763", "2.0.0-beta.1"]
)
def test_pre_release_may_be_a_draft(text: str) -> None:
    """What looks like a pre-release is a version first and a draft then (S4, S10)."""
    assert parse_selector(text) == (VersionReading(text), RawVersionReading(text))


@pytest.mark.parametrize(
    "text",
    [
        "11e1ee23d7ddf6ab6da99bac26c9d274",
        "0123456789abcdef0123456789abcdef01234567",
        "1" * 32,
        "d" * 36,
    ],
)
def test_commit(text: str) -> None:
    """32 to 40 hex digits are a commit, or the beginning of one (S5)."""
    assert parse_selector(text) == (CommitReading(text), PrefixReading(text))


@pytest.mark.parametrize("text", ["11e1ee2", "d" * 31, "0123456", "1234567a"])
def test_commit_prefix(text: str) -> None:
    """7 hex digits or more are the beginning of a commit (S5)."""
    assert parse_selector(text) == (PrefixReading(text),)


@pytest.mark.parametrize(
    ("text", "raw_version"),
    [
        ("2.3.8_rev1", "2.3.8+rev1"),
        ("v2.3.8_rev1", "2.3.8+rev1"),
        ("2.3.8_rev0", "2.3.8"),
        ("2.1.0_build.5", "2.1.0+build.5"),
        ("2.1.0_build.5.rev0", "2.1.0+build.5"),
        ("3.0.0_rev1.prod", "3.0.0+rev1.prod"),
        ("3.0.0_rev0.prod", "3.0.0+prod"),
        ("2.0.0-rc.1_rev0", "2.0.0-rc.1"),
    ],
)
def test_build_part(text: str, raw_version: str) -> None:
    """A version with a build part is exactly one release (S3)."""
    assert parse_selector(text) == (RawVersionReading(raw_version),)


@pytest.mark.parametrize(
    ("text", "major", "minor"),
    [
        ("2", 2, None),
        ("v2", 2, None),
        ("2.x", 2, None),
        ("2.3", 2, 3),
        ("2.3.x", 2, 3),
        ("0", 0, None),
        ("2147483647", 2147483647, None),
    ],
)
def test_range(text: str, major: int, minor: int | None) -> None:
    """A major number, or major and minor, are a range (S6)."""
    readings = parse_selector(text)
    assert isinstance(readings, tuple)
    assert readings[0] == RangeReading(major, minor)


def test_digits_are_a_range_before_they_are_a_commit() -> None:
    """Where a text can be read in several ways the order is that of S10."""
    assert parse_selector("1234567") == (
        RangeReading(1234567, None),
        PrefixReading("1234567"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "main",
        "LATEST",
        "1.2.3.4",
        "1.2.03",
        "1.2.3-",
        "1.2.3-01",
        "1.2.3\n",
        "99999.2147483648",
        "2.99999999999",
        "2.",
        "2.x.x",
        "vv2",
        "abcdef",
        "1.2.3' or 1 eq 1",
        "d" * 41,
        "D" * 32,
        "g" * 32,
        "d" * 32 + "\n",
        "1" * 5000 + ".0.0",
    ],
    ids=ident,
)
def test_unreadable(text: str) -> None:
    """A text with no reading finds nothing, and is no error."""
    assert parse_selector(text) == ()
