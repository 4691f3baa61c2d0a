"""Candidates are written into a token in few bytes, and read strictly."""

import json
from typing import Any

import pytest

from resolver.errors import TokenInvalid
from resolver.grammar.reference import Alias, Slug
from resolver.release.candidate import Candidate, Candidates
from resolver.token.claims import SEPARATOR, append_aliases, parse_token
from resolver.token.suffix import LENGTH_MAX, ROWS_MAX, Aliases
from tests.resolver.fake import (
    HASH,
    LOCATION,
    SLUG,
    base64url,
    candidate,
    fixed,
    ident,
    jwt,
    pullable,
)

NAMES = [LOCATION, f"v2/{'0' * 32}", "resin/resinos"]
JWT = jwt(pullable(NAMES))
ROW = ["2.3.8+rev2", "tLIB8AA4Qf1VCcbQa0WJmw", 0, 2, 0]
GOOD: dict[str, Any] = {"w": 1, "c": [ROW]}
SUFFIX: dict[str, Any] = {"v": 2, "a": {SLUG: GOOD}, "r": {}}


def append(payload: object) -> str:
    """Return a token as anybody can forge it."""
    return f"{JWT}{SEPARATOR}{base64url(payload)}"


def carry(candidates: Candidates) -> Candidates:
    """Return the candidates as they come out of a token."""
    text = append_aliases(JWT, Aliases({SLUG: candidates}))
    return parse_token(text).aliases.candidates[SLUG]


def versions(candidates: Candidates) -> list[str]:
    """Return the raw versions, in their order."""
    return [row.release.raw_version for row in candidates.rows if row.release]


def test_candidates_are_written_as_documented() -> None:
    """A location is a number of the JWT's access list, a commit takes 22 characters."""
    several = candidate("2.4.0", None, "web", "db", commit="x", is_target=True)
    found = Candidates((several, candidate()), is_whole=False)
    text = append_aliases(JWT, Aliases({SLUG: found, "org/app": fixed(LOCATION)}))
    rows = [["2.4.0", "", ["db", "web"], 0, 2], ROW]
    entries = {SLUG: {"w": 0, "c": rows}, "org/app": LOCATION}
    payload = {"v": 2, "a": entries, "r": {}}
    assert text == append(json.dumps(payload, separators=(",", ":")).encode())


def test_token_without_rows_is_of_the_first_version() -> None:
    """A proxy that does not know rows reads it (mixed replicas)."""
    text = append_aliases(JWT, Aliases({SLUG: fixed(LOCATION)}))
    payload = {"v": 1, "a": {SLUG: LOCATION}, "r": {}}
    assert text == append(json.dumps(payload, separators=(",", ":")).encode())


ODD = [
    candidate("2.3.9\n"),
    candidate(""),
    candidate("é"),
    candidate("9" * 256),
    candidate("2.3.9", f"v2/{'1' * 32}"),
    candidate("2.3.9", None, "web", "\x1b"),
    candidate("2.3.9", revision=1 << 31),
]


@pytest.mark.parametrize("odd", ODD)
def test_what_could_not_be_read_again_is_left_out(odd: Candidate) -> None:
    """An odd release does not make the token unreadable, and leaves no gap."""
    pinned = candidate("1.0.0", is_target=True)
    rows = (candidate("3.0.0"), odd, candidate("2.0.0"), pinned)
    read = carry(Candidates(rows))
    assert versions(read) == ["3.0.0", "1.0.0"]
    assert not read.is_whole
    alias = Alias(Slug(SLUG))
    assert read.pick(alias, "latest")
    assert read.pick(alias, "1.0.0")
    assert read.pick(alias, "1") is None


@pytest.mark.parametrize("count", [64, 99, 300])
def test_many_candidates_are_cut(count: int) -> None:
    """Whatever there is, the suffix keeps within its length, the target in it."""
    rows = [candidate(f"1.{n}.0") for n in range(count, 0, -1)]
    target = candidate("0.9.0", is_target=True)
    text = append_aliases(JWT, Aliases({SLUG: Candidates((*rows, target))}))
    assert len(text) <= len(JWT) + len(SEPARATOR) + LENGTH_MAX
    kept = parse_token(text).aliases.candidates[SLUG]
    assert 0 < len(kept) <= ROWS_MAX
    assert not kept.is_whole
    greatest = [f"1.{n}.0" for n in range(count, 0, -1)]
    assert versions(kept) == [*greatest[: len(kept) - 1], "0.9.0"]


def forge(**changes: object) -> object:
    """Return a suffix with other candidates."""
    return {**SUFFIX, "a": {SLUG: {**GOOD, **changes}}}


def row(**changes: object) -> object:
    """Return a suffix with another release."""
    names = ("raw", "commit", "image", "revision", "flags")
    values = dict(zip(names, ROW, strict=True)) | changes
    return forge(c=[list(values.values())])


FORGED = [
    {**SUFFIX, "v": 3},
    {**SUFFIX, "x": {}},
    {**SUFFIX, "a": {SLUG: None}},
    {**SUFFIX, "a": {"x" * 256: GOOD}},
    {"v": 2, "a": {}},
    forge(w=2),
    forge(w="1"),
    forge(more=1),
    forge(c=[[]]),
    forge(c=[[*ROW, 0]]),
    forge(c=[ROW] * (ROWS_MAX + 1)),
    row(raw=""),
    row(raw="2.3.8\x1b[31m"),
    row(raw="x" * 256),
    row(raw="größer"),
    row(commit="!"),
    row(commit="AAAA"),
    row(commit="tLIB8AA4Qf1VCcbQa0WJmx"),
    row(commit="tLIB8AA4Qf1VCcbQa0WJmw=="),
    row(commit=None),
    row(image="v2/" + HASH),
    row(image=3),
    row(image=2),
    row(image=0.0),
    row(image=["db", 1]),
    row(image=["db", "we\nb"]),
    row(revision=-2),
    row(revision=1 << 31),
    row(flags=4),
    row(flags=1.0),
]


@pytest.mark.parametrize("payload", FORGED, ids=ident)
def test_forged_candidates(payload: object) -> None:
    """A list of another schema, or that leads out of the JWT, is an invalid token."""
    with pytest.raises(TokenInvalid):
        parse_token(append(payload))
