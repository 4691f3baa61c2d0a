"""A selector is read as keyword, version, draft or commit, in the order of S10."""

import pytest

from resolver.selector import (
    CommitReading,
    DraftReading,
    TargetReading,
    VersionReading,
    parse_selector,
)
from tests.resolver.fake import ident


@pytest.mark.parametrize("text", [None, "latest", "current", "default", "pinned"])
def test_keyword_means_the_target_release(text: str | None) -> None:
    """No selector, or a keyword, asks for the target release (S1)."""
    assert parse_selector(text) == TargetReading()


@pytest.mark.parametrize("text", ["2.3.8", "0.0.0", "10.20.30"])
def test_version(text: str) -> None:
    """A version is a version alone (S2)."""
    assert parse_selector(text) == (VersionReading(text),)


@pytest.mark.parametrize(
    "text", ["2.4.1-1648554962021", "2.0.1-rc.1.1795452922763", "2.0.0-beta.1"]
)
def test_pre_release_may_be_a_draft(text: str) -> None:
    """What looks like a pre-release is a version first and a draft then (S4, S10)."""
    assert parse_selector(text) == (VersionReading(text), DraftReading(text))


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
    """32 to 40 hex digits are a commit (S5)."""
    assert parse_selector(text) == (CommitReading(text),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "main",
        "latests",
        "LATEST",
        "1.2.3.4",
        "01.2.3",
        "1.02.3",
        "1.2.03",
        "1.2.3-",
        "1.2.3-01",
        "-1.2.3",
        "1.2.3\n",
        "1.2.3 ",
        "1.2.3'",
        "1.2.3' or 1 eq 1",
        "1.2.é",
        "1.2.3\0",
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
