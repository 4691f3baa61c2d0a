"""A token reads as what it says, and its signature is nowhere."""

import json

import pytest

from mitm.story.kind import Kind
from mitm.view.claims import describe_moment
from resolver.release.candidate import Candidates
from resolver.token.claims import append_aliases
from resolver.token.suffix import Aliases
from tests.mitm.view.sample import ALIAS, make_flow, shown, squeezed
from tests.resolver.fake import (
    EXPIRES,
    ISSUED,
    LOCATION,
    base64url,
    candidate,
    fixed,
    jwt,
    pullable,
)

ALIASES = Aliases({ALIAS: fixed(LOCATION)})


def described(token: str, **told: object) -> str:
    """Return what is shown of an answer with the token."""
    body = json.dumps({"token": token, **told}).encode()
    view, text = shown(make_flow(Kind.TOKEN, body=body))
    assert view == "registry token"
    return text


def test_token_whose_tags_select() -> None:
    """Each release is shown under the tag that selects exactly it."""
    several = candidate("1.7.0", None, "helper", "main", commit="")
    found = Candidates((candidate(), several))
    granted = jwt(pullable([LOCATION]))
    token = append_aliases(granted, Aliases({"org/app": found}))
    text = described(token, expires_in=300)
    lines = squeezed(text)
    assert f"org/app:2.3.8_rev2 b4b201f {LOCATION}" in lines
    assert 'org/app:1.7.0 "" several images' in lines
    assert "5 min, because of its tags, so that it soon asks again" in " ".join(lines)


@pytest.mark.parametrize(
    ("claims", "line"),
    [
        ({"sub": "d_1234"}, "who d_1234"),
        ({"aud": ["a", "b"]}, 'audience ["a", "b"]'),
        ({"exp": ISSUED + 90061}, "valid until 2026-11-24T18:25:53Z, for 1 d 1 h"),
        ({"exp": ISSUED - 1}, "which is before it was issued"),
        ({"exp": 1e300}, "valid until 1e+300"),
        ({"exp": "soon"}, "valid until soon"),
        ({"exp": None}, "valid until none"),
        ({"iat": True}, "issued true"),
        ({"nbf": ISSUED + 60}, "valid from 1 min later"),
        ({"sub": "a\nopens\n  x"}, r"who a\nopens\n x"),
    ],
)
def test_claims(claims: dict[str, object], line: str) -> None:
    """Odd claims are shown as they stand, in one line each."""
    assert any(line in each for each in squeezed(described(jwt(**claims))))


def test_access_that_is_none() -> None:
    """An access list is shown, whatever stands in it."""
    entry = {"name": "registry", "type": "registry", "actions": ["*"]}
    lines = squeezed(described(jwt([entry, 5, {"name": LOCATION, "actions": "pull"}])))
    assert lines[-3:] == ["registry (registry) *", "5", f"{LOCATION} pull"]
    assert squeezed(described(jwt("all")))[-1] == "no list: all"


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (EXPIRES - ISSUED, None),
        (None, None),
        (60, "told the client that it is good for 1 min"),
        ("x", "told the client a time that is none"),
    ],
)
def test_time_that_the_client_was_told(told: object, line: str | None) -> None:
    """It is shown where it is not the token's own."""
    lines = squeezed(described(jwt(), expires_in=told))
    assert [each for each in lines if each.startswith("told")] == (
        [line] if line else []
    )


@pytest.mark.parametrize("suffix", ["[redacted]", "e30", "x" * 5000, ""])
def test_aliases_that_cannot_be_read(suffix: str) -> None:
    """The token still says what it says, and what is wrong with the rest."""
    text = described(f"{jwt()}~{suffix}")
    assert "aliases" in text
    assert "opens" in text
    assert suffix not in text or not suffix


def test_other_tokens_are_not_shown() -> None:
    """A JWT of a session has secrets among its claims, and no access list."""
    session = f"e30.{base64url({'sub': 'carol', 'jwt_secret': 'hidden'})}.c2ln"
    for token in (session, "made-up-key", "[redacted]", append_aliases("x", ALIASES)):
        text = described(token, expires_in=60)
        assert "no registry token" in text
        assert "the client that it is good for 1 min" in text
        assert "hidden" not in text
        assert token not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1795454692, "2026-11-23T17:24:52Z"),
        (1795454692.9, "2026-11-23T17:24:52Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-1, "-1"),
        (1 << 35, "34359738368"),
        (float("inf"), "Infinity"),
        ("now\n", r"now\n"),
        (None, "none"),
    ],
)
def test_moments(value: object, text: str) -> None:
    """RFC 3339 in UTC, and what is no date as it stands."""
    assert describe_moment(value) == text
