"""Whatever a token carries, it serves for what it says and for nothing else."""

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from resolver.content.forward import Forward, forward
from resolver.errors import (
    REFUSALS,
    AliasInvalid,
    ErrorCode,
    Refusal,
    TokenError,
    TokenInvalid,
)
from resolver.grammar.endpoint import Content, parse_endpoint
from resolver.grammar.reference import is_stored_name, parse_location
from resolver.token.claims import (
    append_aliases,
    parse_token,
    pullable_names,
    read_claims,
)
from resolver.token.suffix import LENGTH_MAX, MESSAGE_LENGTH_MAX, Aliases
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import WIRE, check_shown, mutated, mutated_json
from tests.resolver.fake import DIGEST, ISSUED, LOCATION, base64url, fixed, jwt

ALIASES = st.sampled_from(["org/app", "org/app/2.3.8", "org/app/1.0.0/main", "v2/app"])
LOCATIONS = st.sampled_from([LOCATION, f"{LOCATION}-1", f"v2/{'0' * 32}"])
CODES = st.sampled_from([str(code) for code in ErrorCode])
MESSAGES = st.sampled_from(["no", "größer", 'a"\\b', "m" * 301]) | st.text(max_size=9)
PAYLOADS = st.fixed_dictionaries(
    {
        "v": st.just(1),
        "a": st.dictionaries(ALIASES, LOCATIONS, max_size=3),
        "r": st.dictionaries(
            ALIASES | st.text(max_size=5),
            st.tuples(st.sampled_from([str(code) for code in REFUSALS]), MESSAGES).map(
                list
            ),
            max_size=2,
        ),
    }
)
PIECES = (
    *('"', "{", "}", "[", "]", ",", ":", " ", "[" * 3000, '{"a":' * 700, "9" * 5000),
    *('"v":1,', '"a":{},', '"org/app":', "1e999", "NaN", "-", "\\ud800", "\\u0000"),
    *("v2/", LOCATION, "/../", "resin/resinos", "evil.example/", "\n", "\x1b", "é"),
)
TEXTS = mutated(mutated_json(PAYLOADS).map(json.dumps), PIECES)
SUFFIXES = mutated(
    TEXTS.map(lambda text: base64url(text.encode("utf-8", "surrogatepass")))
    | st.binary(max_size=40).map(base64url),
    ("=", "==", "~", "+", "/", "-", "_", ".", "A" * 4096, "\n", "é", "\udcff"),
)
CLAIMS = mutated_json(
    st.fixed_dictionaries(
        {
            "iat": st.just(ISSUED),
            "exp": st.just(ISSUED + 60),
            "access": st.lists(
                st.fixed_dictionaries(
                    {
                        "name": LOCATIONS | ALIASES,
                        "alias": ALIASES,
                        "actions": st.just(["pull"]),
                    }
                ),
                max_size=2,
            ),
        }
    )
)
JWTS = st.one_of(
    CLAIMS.map(lambda claims: f"e30.{base64url(claims)}.c2ln"),
    st.just(jwt()),
    mutated(st.just(jwt()), (".", "..", "=", "~", " ", "A" * 99)),
)


def read_anything(suffix: str) -> Any:
    """Return what a suffix says, to a reader that takes anything."""
    return json.loads(base64.urlsafe_b64decode(suffix + "=" * (-len(suffix) % 4)))


@given(JWTS, st.dictionaries(ALIASES, LOCATIONS), st.dictionaries(ALIASES, MESSAGES))
@FUZZ
def test_what_fits_is_carried_whole(
    text: str, locations: dict[str, str], messages: dict[str, str]
) -> None:
    """A few aliases and refusals come back as they were, whatever the JWT is."""
    if "~" in text:
        return  # The API's token has none: `resolver.upstream.api`.
    refusals = {
        name: leaf(message)
        for (name, message), leaf in zip(
            messages.items(), [*REFUSALS.values()] * 2, strict=False
        )
        if message.isprintable()
    }
    stored = {name: parse_location(place) for name, place in locations.items()}
    aliases = {name: fixed(place) for name, place in stored.items() if place}
    read = parse_token(append_aliases(text, Aliases(aliases, refusals)))
    assert read.jwt == text
    assert read.aliases.candidates == aliases
    assert {
        name: (type(r), r.message) for name, r in read.aliases.refusals.items()
    } == {
        name: (type(r), r.message[:MESSAGE_LENGTH_MAX]) for name, r in refusals.items()
    }


@given(JWTS, SUFFIXES)
@FUZZ
def test_suffix_is_read_as_what_it_says(text: str, suffix: str) -> None:
    """A forged suffix is refused, or is within the grammar and read to the letter."""
    try:
        read = parse_token(f"{text}~{suffix}")
    except TokenInvalid as error:
        check_shown(error)
        return
    text, _, suffix = f"{text}~{suffix}".partition("~")
    assert read.jwt == text
    assert len(suffix) <= LENGTH_MAX
    assert "=" not in suffix
    payload = read_anything(suffix)
    assert payload.keys() == {"v", "a", "r"}
    assert payload["v"] in (1, 2)
    found = {name: c.locations[0] for name, c in read.aliases.candidates.items()}
    assert found == payload["a"]
    assert all(map(parse_location, payload["a"].values()))
    assert read.aliases.refusals.keys() == payload["r"].keys()
    for name, refusal in read.aliases.refusals.items():
        code, message = payload["r"][name]
        assert refusal.message.isprintable()
        assert refusal.code == code
        assert refusal.message == message[:MESSAGE_LENGTH_MAX]


def locations_of(text: str, alias: str) -> set[str]:
    """Return the locations that a JWT claims for the alias, to a plain reader."""
    try:
        payload = json.loads(base64.urlsafe_b64decode(text.split(".")[1] + "=="))
        entries = [entry for entry in payload["access"] if isinstance(entry, dict)]
    except (ValueError, LookupError, TypeError):
        return set()
    return {str(e.get("name")) for e in entries if e.get("alias") == alias}


SCHEMES = st.sampled_from(["Bearer ", "bearer  ", "BEARER ", "Bearer", "Basic ", ""])
NAMES = st.one_of(ALIASES, LOCATIONS, st.sampled_from(["resin/resinos", "alpine"]))
TAILS = st.sampled_from(["manifests/1.0.0", f"blobs/{DIGEST}", "tags/list?n=1"])


@given(NAMES, TAILS, SCHEMES, JWTS, st.none() | SUFFIXES)
@FUZZ
def test_forged_token_leads_to_nothing_else(
    name: str, tail: str, scheme: str, text: str, suffix: str | None
) -> None:
    """Upstream goes the JWT alone, for what the token says of that very alias (R7)."""
    token = text if suffix is None else f"{text}~{suffix}"
    secrets = [text] if len(text) > 20 else []
    target = parse_endpoint("GET", f"/v2/{name}/{tail}")
    assert isinstance(target, Content)
    try:
        found = forward(target, scheme + token, selects=False)
    except AliasInvalid as error:
        check_shown(error, *secrets)
        assert name == "alpine" or read_anything(token.partition("~")[2])["r"][name]
        return
    except Refusal:
        assert read_anything(token.partition("~")[2])["r"][name]
        return
    except TokenError as error:
        check_shown(error, *secrets)
        return
    assert isinstance(found, Forward)
    kept = token.partition("~")[0].strip()
    is_bearer = scheme.lower().startswith("bearer ")
    if not is_bearer or not (kept or suffix is not None):
        assert (found.path, found.authorization) == (target.path, None)
        return
    assert (found.authorization or "").removeprefix("Bearer ").strip() == kept
    assert "~" not in (found.authorization or "")
    if is_stored_name(name):
        assert found.path == target.path
        return
    upstream = found.path.removeprefix("/v2/").rpartition(f"/{tail.partition('/')[0]}")[
        0
    ]
    assert upstream == found.location
    assert parse_location(upstream)
    carried = read_anything(token.partition("~")[2])["a"] if "~" in token else {}
    expected = {carried[name]} if name in carried else locations_of(kept, name)
    assert upstream in expected


@given(JWTS | CLAIMS.map(json.dumps) | WIRE)
@FUZZ
def test_claims_are_what_the_jwt_says(text: str) -> None:
    """Whatever stands in a JWT, its times and names are its own, or nothing (R4)."""
    claims = read_claims(text)
    assert (claims.issued_at is None) == (claims.expires_in is None)
    assert claims.issued_at is None or claims.issued_at.endswith("Z")
    names = pullable_names(text)
    if names:
        entries = read_anything(text.split(".")[1])["access"]
        allowed = [e for e in entries if isinstance(e, dict) and e.get("actions")]
        assert names <= {str(entry.get("name")) for entry in allowed}
