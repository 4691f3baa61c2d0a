"""What is said of logins, tokens, realms, rights and clocks, and what is not."""

from dataclasses import replace

import pytest

from cause.access import other_service, other_time
from cause.evidence import Evidence
from cause.finding import Cause, Finding, Role
from cause.judge import judge

NOW = 1_700_000_000.0
HOUR = 3600.0
LOCATION = "v2/567e62d1e73529e7a31757ac1f3fb902"
OTHER = f"v2/{'0' * 32}"
CLAIMS = {
    "iat": NOW - HOUR,
    "nbf": NOW - HOUR,
    "exp": NOW + 3 * HOUR,
    "aud": "r.example",
    "sub": "carol",
    "access": [{"name": LOCATION, "type": "repository", "actions": ["pull"]}],
}
CHALLENGE = 'Bearer realm="https://api.example/auth/v1/token",service="r.example"'
REFUSED = Evidence(
    Role.REGISTRY,
    host="r.example",
    kind="manifest",
    name="org/app/1",
    status=401,
    headers={"www-authenticate": f'{CHALLENGE},error="invalid_token"'},
    claims=CLAIMS,
    pullable=frozenset({LOCATION}),
    code="UNAUTHORIZED",
    now=NOW,
    location=LOCATION,
    clocks={Role.REGISTRY: 1.0, Role.API: -1.0},
)
"""A token that the registry does not take."""
DENIED = Evidence(
    None,
    kind="token",
    name="org/app/1",
    status=200,
    code="DENIED",
    message="org/app is private or does not exist",
    login="none",
    api="api.example",
)
"""An application that the API does not show."""


def found(seen: Evidence) -> Finding:
    """Return what is found, where something is."""
    said = judge(seen)
    assert said
    return said


def claiming(**claims: object) -> Evidence:
    """Return the refusal of a token with these claims."""
    return replace(REFUSED, claims=CLAIMS | claims)


@pytest.mark.parametrize(
    ("seen", "cause", "words"),
    [
        (
            claiming(exp=NOW - 1),
            Cause.CLIENT,
            "its time was over at 2023-11-14T22:13:1",
        ),
        (
            replace(claiming(nbf=NOW + HOUR), clocks={Role.API: HOUR}),
            *(
                Cause.CLOCK,
                "the clock of the API is 1 h ahead of this machine's, and the",
            ),
        ),
        (
            replace(REFUSED, clocks={Role.REGISTRY: 4 * HOUR}),
            *(Cause.CLOCK, "that of the registry 2023-11-15T02:13:20Z"),
        ),
        (
            claiming(aud="other.example"),
            *(Cause.REALM, "for the service other.example, and the registry is r.exam"),
        ),
        (
            replace(REFUSED, location=OTHER),
            *(Cause.RIGHTS, "no right to pull v2/0000..., only v2/567e..."),
        ),
        (
            claiming(iss="api.example"),
            *(Cause.REALM, "issued by the issuer api.example for the service r.exam"),
        ),
        (claiming(iss=1, aud=None), Cause.REALM, "take the token, which was issued"),
        (
            replace(REFUSED, pullable=frozenset()),
            *(Cause.RIGHTS, "no right to pull v2/567e..., nor anything else"),
        ),
        (
            replace(claiming(sub=""), pullable=frozenset()),
            *(Cause.LOGIN, "without a login, it has no right to pull v2/567e..."),
        ),
        (replace(REFUSED, pullable=None), Cause.REALM, "does not take the token"),
    ],
    ids=[
        *(
            "over",
            "early",
            "late",
            "service",
            "name",
            "issuer",
            "no issuer",
            "no right",
        ),
        *("no login", "no list"),
    ],
)
def test_refused_token(seen: Evidence, cause: Cause, words: str) -> None:
    """The first thing that does not fit is named, and no location is."""
    said = found(seen)
    assert said.cause is cause
    assert "the registry r.example " in said.sentence
    assert words in said.sentence
    assert LOCATION not in said.sentence + said.advice


@pytest.mark.parametrize(
    "seen",
    [
        replace(REFUSED, claims={}),
        replace(REFUSED, status=404, code="MANIFEST_UNKNOWN", location=""),
        replace(
            REFUSED,
            headers={"www-authenticate": f'{CHALLENGE},error="insufficient_scope"'},
        ),
        replace(REFUSED, status=403, code="UNKNOWN"),
        replace(REFUSED, kind="catalog", name="", location=""),
    ],
    ids=["no JWT", "absent", "scope", "403", "catalog"],
)
def test_token_of_which_nothing_is_known(seen: Evidence) -> None:
    """Where nothing is seen that does not fit, nothing is said."""
    assert judge(seen) is None


def test_forbidden() -> None:
    """A registry that takes the token may have rights of its own."""
    said = found(replace(REFUSED, status=403, code="DENIED"))
    assert said.cause is Cause.RIGHTS
    assert said.sentence.startswith("the registry r.example takes the token, and does")


@pytest.mark.parametrize(
    ("issued", "clocks", "begin", "whose"),
    [
        (
            *(0, {Role.REGISTRY: -2 * HOUR, Role.TOKEN: 0.0}),
            *("the clock of the registry is 2 h behind", "clock of the registry"),
        ),
        (
            *(0, {Role.REGISTRY: -2 * HOUR, Role.API: 0.0}),
            *("the clock of the registry is 2 h behind", "clock of the registry"),
        ),
        (
            *(HOUR, {Role.REGISTRY: 0.0, Role.API: HOUR}),
            *("the clock of the API is 1 h ahead of this", "clock of the API"),
        ),
        (
            *(HOUR, {Role.REGISTRY: 0.0, Role.TOKEN: HOUR}),
            *(
                "the clock of the token server is 1 h ahead",
                "clock of the token server",
            ),
        ),
        (
            *(HOUR, {Role.REGISTRY: 0.0, Role.API: 0.0}),
            *("the clock of the API is 1 h ahead of this", "clock of the API"),
        ),
        (
            *(HOUR, {Role.REGISTRY: -2 * HOUR, Role.API: HOUR}),
            *("the clocks of registry and API are 3 h apart", "clocks of registry and"),
        ),
        (
            *(HOUR, {}),
            "the clock of the registry or the token server is wrong",
            "clocks of registry and token server",
        ),
    ],
    ids=str,
)
def test_wrong_clock(
    issued: float, clocks: dict[Role, float], begin: str, whose: str
) -> None:
    """Who differs from the others comes first, and by how much; the times follow."""
    claims = {"iat": NOW + issued, "nbf": NOW + issued}
    said = other_time(claims, clocks, NOW, words="it says no")
    assert said
    assert said.sentence.startswith(begin)
    assert ", and it says no: the token is valid from 20" in said.sentence
    assert said.advice.startswith(f"synchronise the {whose}")
    assert said.advice.endswith(" (NTP)")


@pytest.mark.parametrize(
    "claims",
    [{}, {"nbf": NOW + 59, "exp": NOW + 60}, {"exp": NOW - 59}, {"nbf": "soon"}],
    ids=str,
)
def test_time_that_is_right(claims: dict[str, object]) -> None:
    """Clocks may differ by a minute, and what is no time says nothing."""
    assert other_time(claims, {}, NOW, words="no") is None


@pytest.mark.parametrize(
    ("claims", "service"),
    [({}, "r.example"), ({"aud": ["x", "r.example"]}, "r.example"), ({"aud": "x"}, "")],
)
def test_service_that_is_right(claims: dict[str, object], service: str) -> None:
    """One of several is enough, and without a name nothing differs."""
    assert other_service(claims, service) is None


@pytest.mark.parametrize(
    ("seen", "cause", "words"),
    [
        (DENIED, Cause.LOGIN, "did not log in, and without a login the API api.exam"),
        (
            replace(DENIED, login="key"),
            Cause.RIGHTS,
            "shows it no application org/app:",
        ),
        (replace(DENIED, login="token"), Cause.RIGHTS, "takes the login, and shows"),
        (
            replace(DENIED, kind="manifest", login="token", claims=CLAIMS),
            *(Cause.RIGHTS, "takes the login, and shows"),
        ),
        (
            replace(DENIED, kind="manifest", login="token", claims={"sub": ""}),
            *(Cause.LOGIN, "the client did not log in"),
        ),
    ],
    ids=["none", "key", "bearer", "token of somebody", "token of nobody"],
)
def test_denied(seen: Evidence, cause: Cause, words: str) -> None:
    """Whether there was a login decides; a token says it as well."""
    said = found(seen)
    assert said.cause is cause
    assert words in said.sentence


@pytest.mark.parametrize(
    ("is_like_key", "words"),
    [(True, "does not know the key"), (False, "it may be the password of an account")],
)
def test_unknown_key(*, is_like_key: bool, words: str) -> None:
    """What looks like a key is a wrong one, and what does not is none."""
    seen = replace(DENIED, code="UNAUTHORIZED", status=401, login="key")
    assert words in found(replace(seen, is_like_key=is_like_key)).sentence


@pytest.mark.parametrize(
    ("realm", "scheme", "is_found"),
    [
        ("http://p.example/auth/v1/token", "https", True),
        ("https://p.example/auth/v1/token", "https", False),
        ("http://p.example/auth/v1/token", "http", False),
        ("http://p.example/auth/v1/token", "", False),
        ("", "https", False),
    ],
)
def test_plain_realm(*, realm: str, scheme: str, is_found: bool) -> None:
    """Only a client that came by TLS is led out of it."""
    seen = Evidence(None, status=401, realm=realm, client_scheme=scheme)
    said = judge(seen)
    assert (said is not None) == is_found
    if said:
        assert realm in said.sentence
        assert "TRUST_PROXY=true" in said.advice


@pytest.mark.parametrize(
    ("status", "body", "is_found"),
    [
        (431, b"", True),
        (400, b"<h1>400 Bad Request</h1>Request Header Or Cookie Too Large", True),
        (400, b"<h1>400 Bad Request</h1>", False),
        (404, b"Request Header Or Cookie Too Large", False),
    ],
)
def test_long_token(*, status: int, body: bytes, is_found: bool) -> None:
    """It is named where the server says that a header is too long, and its length."""
    seen = replace(REFUSED, status=status, body=body, code="", token_length=4321)
    said = judge(replace(seen, location=""))
    assert (said is not None) == is_found
    if said:
        assert "of 4321 characters" in said.sentence


def test_token_that_the_registry_did_not_see() -> None:
    """Where its challenge has no error, something in between took the token away."""
    said = found(replace(REFUSED, headers={"www-authenticate": CHALLENGE}))
    assert said.cause is Cause.BETWEEN
    assert "as if it had been sent no token" in said.sentence
    assert "Authorization" in said.advice
