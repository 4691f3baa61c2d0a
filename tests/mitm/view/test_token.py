"""A token reads as what it says, and its signature is nowhere."""

import json
from pathlib import Path

import pytest

import tests.localcloud
from localcloud import LocalCloud
from mitm.redaction import redacted_answer
from mitm.story.record import Kind, OwnKind
from mitm.view.claims import describe_moment
from resolver.release.candidate import Candidates
from resolver.token.claims import append_aliases
from resolver.token.suffix import Aliases
from tests.localcloud.client import ask
from tests.localcloud.test_recordings import read_recording
from tests.mitm.view.sample import (
    ALIAS,
    UNKNOWN,
    issue_token,
    make_flow,
    shown,
    squeezed,
)
from tests.resolver.fake import (
    EXPIRES,
    ISSUED,
    LOCATION,
    base64url,
    basic,
    candidate,
    fixed,
    jwt,
    pullable,
)

ALIASES = Aliases({ALIAS: fixed(LOCATION)})
RECORDINGS = Path(tests.localcloud.__file__).with_name("recordings")


def described(token: str, **told: object) -> str:
    """Return what is shown of an answer with the token."""
    body = json.dumps({"token": token, **told}).encode()
    view, text = shown(make_flow(Kind.TOKEN, body=body))
    assert view == "registry token"
    return text


def test_token_of_the_proxy(cloud: LocalCloud) -> None:
    """Who may pull what, how long, under which name, and what was refused and why."""
    body = issue_token(cloud, ALIAS, UNKNOWN)
    view, text = shown(make_flow(Kind.TOKEN, body=body))
    assert view == "registry token"
    lines = squeezed(text)
    assert "who anonymous, without a login" in lines
    assert f"issuer {cloud.issuer.name}" in lines
    assert f"audience {cloud.registry_host}" in lines
    assert f"{ALIAS} {LOCATION}" in lines
    assert f"{LOCATION} pull" in lines
    assert any(line.endswith("Z, for 4 h") for line in lines)
    told = (
        "told the client that it is good for 1 min, because of the refusal, so that it"
    )
    assert f"{told} soon asks again" in " ".join(lines)
    refusal = text[text.index(UNKNOWN) : text.index("stands for")]
    assert "NAME_UNKNOWN" in refusal
    assert "its newest are" in refusal


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


def test_signature_is_not_shown(cloud: LocalCloud) -> None:
    """Also where the flow has it; the rest reads the same as without."""
    body = issue_token(cloud, ALIAS, UNKNOWN)
    token = json.loads(body)["token"]
    signature = token.partition("~")[0].rpartition(".")[2]
    assert len(signature) > 80
    text = shown(make_flow(Kind.TOKEN, body=body))[1]
    assert signature not in text
    assert signature[:10] not in text
    assert text == shown(make_flow(Kind.TOKEN, body=redacted_answer(body)))[1]


def test_token_of_the_api(cloud: LocalCloud) -> None:
    """It has the user, and an alias where the API resolved one itself."""
    alias = "balenablocks/browser-aarch64/2.3.8"
    headers = {"Authorization": basic("u", cloud.keys["carol"])}
    path = f"/auth/v1/token?scope=repository:{alias}:pull"
    answer = ask(cloud.api_url, path, headers)
    view, text = shown(make_flow(OwnKind.GRANT, path, body=answer.body))
    assert view == "registry token"
    lines = squeezed(text)
    assert "who carol" in lines
    assert f"{LOCATION} pull {alias}" in lines
    assert not any(line.startswith("told") for line in lines)
    assert "stands for" not in lines


@pytest.mark.parametrize(
    ("name", "opens"),
    [
        ("token-no-scope", ["nothing"]),
        (
            "token-private-location-anonymous",
            ["repository actions", "v2/875ff9869a2373a5d97612c498e0bcf1 nothing"],
        ),
        (
            "token-two-location-scopes",
            [
                "repository actions",
                "v2/1491e71e5fce93aa53ff96e0d993b5ae pull",
                "v2/567e62d1e73529e7a31757ac1f3fb902 pull",
            ],
        ),
    ],
)
def test_recorded_token(name: str, opens: list[str]) -> None:
    """What the real API issued, down to nothing at all."""
    recording = read_recording(RECORDINGS / f"{name}.http")
    body = recording.body.encode()
    lines = squeezed(shown(make_flow(OwnKind.GRANT, recording.target, body=body))[1])
    assert lines[lines.index("opens") + 1 :] == opens
    assert "issued 2026-11-23T17:24:52Z, valid from 10 s earlier" in lines
    assert "valid until 2026-11-23T21:24:52Z, for 4 h" in lines


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
