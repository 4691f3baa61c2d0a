"""The suffix of a token is written within its limits, and read strictly."""

import json

import pytest

from resolver.errors import (
    AccessDenied,
    Refusal,
    ReleaseUnknown,
    TokenInvalid,
)
from resolver.token.claims import (
    SEPARATOR,
    Claims,
    append_aliases,
    parse_token,
    pullable_names,
    read_claims,
)
from resolver.token.suffix import LENGTH_MAX, MESSAGE_LENGTH_MAX, Aliases
from tests.resolver.fake import (
    EXPIRES,
    HASH,
    ISSUED,
    LOCATION,
    base64url,
    fixed,
    ident,
    jwt,
    location_of,
)

JWT = jwt([{"type": "repository", "name": LOCATION, "actions": ["pull"]}])
GOOD = {"v": 1, "a": {"org/app": LOCATION}, "r": {}}


def aliases(locations: dict[str, str], **refusals: Refusal) -> Aliases:
    """Return aliases with these locations; a refusal's slug is `org/<name>`."""
    return Aliases(
        {alias: fixed(name) for alias, name in locations.items()},
        {f"org/{name}": refusal for name, refusal in refusals.items()},
    )


def append(payload: object) -> str:
    """Return a token as anybody can forge it."""
    return f"{JWT}{SEPARATOR}{base64url(payload)}"


def test_token_without_aliases_stays_as_it_is() -> None:
    """A login's token has no suffix."""
    assert append_aliases(JWT, Aliases()) == JWT
    assert location_of(JWT, "org/app") is None


def test_suffix_is_written_as_documented() -> None:
    """The suffix is base64url of JSON with version, aliases and refusals."""
    text = append_aliases(JWT, aliases({"a/b": LOCATION}, c=AccessDenied("né")))
    json_text = f'{{"v":1,"a":{{"a/b":"{LOCATION}"}},"r":{{"org/c":["DENIED","né"]}}}}'
    assert text == append(json_text.encode())


def test_long_message_is_cut() -> None:
    """A refusal's message is cut at 300 characters, written or read."""
    assert (MESSAGE_LENGTH_MAX, LENGTH_MAX) == (300, 4096)
    text = append_aliases(JWT, aliases({}, c=AccessDenied("é" * 301)))
    forged = append({"v": 1, "a": {}, "r": {"org/c": ["DENIED", "é" * 400]}})
    for token in (text, forged):
        with pytest.raises(AccessDenied) as caught:
            location_of(token, "org/c")
        assert caught.value.message == "é" * MESSAGE_LENGTH_MAX


def test_messages_give_way_to_aliases() -> None:
    """In a full suffix messages shrink first, then refusals go before aliases."""
    locations = {f"org/app{i}": LOCATION for i in range(20)}
    refusals = {f"r{i}": ReleaseUnknown("m" * 300) for i in range(10)}
    token = parse_token(append_aliases(JWT, aliases(locations, **refusals)))
    assert set(token.aliases.candidates) == set(locations)
    assert len(token.aliases.refusals) == 10
    assert {len(r.message) for r in token.aliases.refusals.values()} == {150}

    locations |= {f"org/app{i}": LOCATION for i in range(20, 50)}
    token = parse_token(append_aliases(JWT, aliases(locations, **refusals)))
    assert set(token.aliases.candidates) == set(locations)
    assert len(token.aliases.refusals) == 10
    assert {len(r.message) for r in token.aliases.refusals.values()} == {18}

    refusals |= {f"org/refused{i}": ReleaseUnknown("m") for i in range(60)}
    token = parse_token(append_aliases(JWT, aliases(locations, **refusals)))
    assert set(token.aliases.candidates) == set(locations)
    assert 0 < len(token.aliases.refusals) < 70


def test_full_suffix_drops_the_last_aliases() -> None:
    """A client asks again for the aliases that its token had no room for."""
    locations = {f"org/app{i}": LOCATION for i in range(200)}
    text = append_aliases(JWT, aliases(locations, c=AccessDenied("no")))
    kept = parse_token(text).aliases
    assert list(kept.candidates) == list(locations)[: len(kept.candidates)]
    assert len(kept.candidates) > 40
    assert not kept.refusals


@pytest.mark.parametrize(
    "suffix",
    [
        "",
        "é",
        base64url(GOOD) + "=",
        base64url(GOOD) + "\n",
        base64url(GOOD) + SEPARATOR,
        base64url({**GOOD, "a": {"??>": LOCATION}}).replace("-", "+").replace("_", "/"),
        base64url(b"\xff\xfe"),
        base64url(b'{"v":1,"a":{},"r":{"\xff":1}}'),
        base64url(json.dumps(GOOD).encode("utf-16")),
        base64url(b"[" * 3000),
        base64url(b'{"a":' * 600),
        base64url(b"9" * 3000),
        "A" * (LENGTH_MAX + 1),
        base64url(b" " * 3072 + json.dumps(GOOD).encode()),
    ],
    ids=ident,
)
def test_unreadable_suffix(suffix: str) -> None:
    """What is no base64url of a small JSON text in UTF-8 is an invalid token."""
    with pytest.raises(TokenInvalid) as caught:
        parse_token(f"{JWT}~{suffix}")
    assert caught.value.error == "invalid_token"
    assert JWT not in caught.value.message


def refusal_suffix(*value: object) -> dict[str, object]:
    """Return a suffix with this refusal."""
    return {**GOOD, "r": {"org/app": list(value)}}


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"v": 1, "a": {}},
        {**GOOD, "v": 3},
        {**GOOD, "a": []},
        {**GOOD, "a": {"org/app": "v2/short"}},
        {**GOOD, "a": {"org/app": f"{LOCATION}/../x"}},
        {**GOOD, "a": {"org/app": f"{LOCATION}\n"}},
        {**GOOD, "a": {"org/app": f"evil.example.com/{LOCATION}"}},
        {**GOOD, "a": {"org/app": "resin/resinos"}},
        {**GOOD, "a": {"x" * 256: LOCATION}},
        {**GOOD, "r": {"x" * 256: ["DENIED", "no"]}},
        refusal_suffix("DENIED", "no", "more"),
        refusal_suffix(403, "no"),
        refusal_suffix("UNKNOWN", "no"),
        refusal_suffix("DENIED", "two\nlines"),
        refusal_suffix("DENIED", "\x1b[31mred"),
        {**GOOD, "r": {"org/app": "DENIED"}},
    ],
    ids=ident,
)
def test_forged_suffix(payload: object) -> None:
    """A suffix of another schema, or with no location in it, is an invalid token."""
    full = json.dumps(GOOD).encode().ljust(LENGTH_MAX // 4 * 3)
    assert location_of(append(full), "org/app") == LOCATION
    with pytest.raises(TokenInvalid):
        parse_token(append(payload))


@pytest.mark.parametrize(
    ("access", "location"),
    [
        ([{"name": LOCATION, "actions": ["pull"], "alias": "org/app"}], LOCATION),
        ([{"name": LOCATION, "alias": "org/other"}], None),
        ([{"name": "org/app", "actions": ["pull"], "alias": "org/app"}], None),
        ([{"name": "v2/../x", "alias": "org/app"}], None),
        ([{"name": LOCATION, "alias": ["org/app"]}], None),
        ([{"name": LOCATION}], None),
        ([None, 1, "org/app", []], None),
        ({"org/app": LOCATION}, None),
        (None, None),
    ],
    ids=ident,
)
def test_alias_claim_is_honoured(access: object, location: str | None) -> None:
    """A plain JWT serves for the aliases that the API itself resolved (R7)."""
    assert location_of(jwt(access), "org/app") == location


def test_own_aliases_go_before_the_claims() -> None:
    """What the proxy resolved counts more than what the API did."""
    claimed = jwt([{"name": f"v2/{HASH[::-1]}", "alias": "org/app"}])
    text = append_aliases(claimed, aliases({"org/app": LOCATION}))
    assert location_of(text, "org/app") == LOCATION
    text = append_aliases(claimed, aliases({}, app=AccessDenied("no")))
    with pytest.raises(AccessDenied):
        location_of(text, "org/app")


def test_claims_of_time() -> None:
    """The claims say when the token was issued and for how long it serves (R4)."""
    assert read_claims(jwt()) == Claims("2026-11-23T17:24:52Z", 14400)
    assert read_claims(jwt(iat=ISSUED + 0.9, exp=EXPIRES + 0.9)).expires_in == 14400


@pytest.mark.parametrize("value", [None, "1", True, -1, 1 << 35, 1e99, [], {}])
@pytest.mark.parametrize("name", ["iat", "exp"])
def test_senseless_time(name: str, value: object) -> None:
    """A time that is no number of this age says nothing."""
    assert read_claims(jwt(**{name: value})) == Claims(None, None)


NO_JWT = ["", "opaque", "a.b", "a.b.c.d", "..", "a.!.c", f"a.{base64url(b'[]')}.c"]


@pytest.mark.parametrize("text", [*NO_JWT, f"a.{base64url(b'[' * 90000)}.c"], ids=ident)
def test_no_jwt_says_nothing(text: str) -> None:
    """A token that is no JWT has no claims."""
    assert read_claims(text) == Claims(None, None)
    assert pullable_names(text) is None
    assert location_of(text, "org/app") is None


def test_pullable_names() -> None:
    """Only repositories with the action pull can be pulled from."""
    access = [
        {"name": "a", "actions": ["pull"]},
        {"name": "b", "actions": ["push", "pull"]},
        {"name": "c", "actions": []},
        {"name": "d", "actions": ["push"]},
        {"name": "f"},
        "g",
    ]
    assert pullable_names(jwt(access)) == frozenset("ab")
    assert pullable_names(jwt()) == frozenset()


def test_token_is_never_shown() -> None:
    """The text of a token has nothing of the JWT in it (R15)."""
    token = parse_token(append_aliases(JWT, aliases({"org/app": LOCATION})))
    assert not [part for part in JWT.split(".") if part in f"{token} {token!r}"]
