"""Whatever a token carries, it leads to what it says and its JWT names, or nowhere."""

import base64
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from resolver.content.forward import Forward, Search, forward
from resolver.content.tag_list import TagPage
from resolver.errors import (
    REFUSALS,
    Refusal,
    RegistryError,
    TokenError,
    TokenInvalid,
)
from resolver.grammar.endpoint import Content, parse_endpoint
from resolver.grammar.reference import is_stored_name, parse_location, parse_tag
from resolver.token.claims import (
    parse_token,
)
from resolver.token.suffix import (
    LENGTH_MAX,
    MESSAGE_DEFAULT,
    MESSAGE_LENGTH_MAX,
)
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import check_shown, mutated, mutated_json
from tests.resolver.fake import (
    DIGEST,
    ISSUED,
    LOCATION,
    SLUG,
    base64url,
    jwt,
    pullable,
)

ALIASES = st.sampled_from(["org/app", "org/app/2.3.8", "org/app/1.0.0/main", "v2/app"])
LOCATIONS = st.sampled_from([LOCATION, f"{LOCATION}-1", f"v2/{'0' * 32}"])
MESSAGES = st.sampled_from(["no", "größer", 'a"\\b', "m" * 301]) | st.text(max_size=9)
PAYLOADS = st.fixed_dictionaries(
    {
        "v": st.just(1),
        "a": st.dictionaries(ALIASES, LOCATIONS, max_size=3),
        "r": st.dictionaries(
            ALIASES | st.text(max_size=5),
            st.tuples(st.sampled_from([*map(str, REFUSALS)]), MESSAGES).map(list),
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
ENTRIES = st.fixed_dictionaries(
    {"name": LOCATIONS | ALIASES, "alias": ALIASES, "actions": st.just(["pull"])}
)
CLAIMS = mutated_json(
    st.fixed_dictionaries(
        {
            "iat": st.just(ISSUED),
            "exp": st.just(ISSUED + 60),
            "access": st.lists(ENTRIES, max_size=2),
        }
    )
)
JWTS = st.one_of(
    CLAIMS.map(lambda claims: f"e30.{base64url(claims)}.c2ln"),
    st.just(jwt()),
    mutated(st.just(jwt()), (".", "..", "=", "~", " ", "A" * 99)),
)
NO_MESSAGE = base64url({"v": 1, "a": {}, "r": {"org/app": ["NAME_INVALID", ""]}})


def read_anything(suffix: str) -> Any:
    """Return what a suffix says, to a reader that takes anything."""
    return json.loads(base64.urlsafe_b64decode(suffix + "=" * (-len(suffix) % 4)))


@given(JWTS, SUFFIXES)
@FUZZ
def test_suffix_is_read_as_what_it_says(text: str, suffix: str) -> None:
    """A forged suffix is refused, or is within the grammar and read to the letter."""
    text, _, suffix = f"{text}~{suffix}".partition("~")
    try:
        read = parse_token(f"{text}~{suffix}")
    except TokenInvalid as error:
        check_shown(error)
        return
    assert read.jwt == text
    assert len(suffix) <= LENGTH_MAX
    assert "=" not in suffix
    payload = read_anything(suffix)
    assert payload.keys() == {"v", "a", "r"}
    found = {name: c.locations[0] for name, c in read.aliases.candidates.items()}
    assert found == payload["a"]
    assert all(map(parse_location, found.values()))
    refusals = read.aliases.refusals
    assert {name: [r.code, r.message] for name, r in refusals.items()} == {
        name: [code, message[:MESSAGE_LENGTH_MAX] or MESSAGE_DEFAULT]
        for name, (code, message) in payload["r"].items()
    }
    assert all(refusal.message.isprintable() for refusal in refusals.values())


def locations_of(text: str, alias: str) -> set[str]:
    """Return the locations that a JWT claims for the alias, to a plain reader."""
    try:
        entries = read_anything(text.split(".")[1])["access"]
        entries = [entry for entry in entries if isinstance(entry, dict)]
    except (ValueError, LookupError, TypeError):
        return set()
    return {str(e.get("name")) for e in entries if e.get("alias") == alias}


SCHEMES = st.sampled_from(["Bearer ", "bearer  ", "BEARER ", "Bearer", "Basic ", ""])
NAMES = st.one_of(ALIASES, LOCATIONS, st.sampled_from(["resin/resinos", "alpine"]))
TAILS = st.sampled_from(["manifests/1.0.0", f"blobs/{DIGEST}", "tags/list?n=1"])


@given(NAMES, TAILS, SCHEMES, JWTS, st.none() | SUFFIXES)
@example("org/app", "tags/list", "Bearer ", jwt(), NO_MESSAGE)
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
    except (Refusal, TokenError) as error:
        check_shown(error, *(() if isinstance(error, Refusal) else secrets))
        if isinstance(error, Refusal) and name != "alpine":
            assert read_anything(token.partition("~")[2])["r"][name]
        return
    assert isinstance(found, Forward)
    kept = token.partition("~")[0].strip()
    is_bearer = scheme.lower().startswith("bearer ")
    if not is_bearer or not (kept or suffix is not None):
        assert (found.path, found.authorization) == (target.path, None)
        return
    assert (found.authorization or "").removeprefix("Bearer ").strip() == kept
    if is_stored_name(name):
        assert found.path == target.path
        return
    upstream, _, _ = found.path.rpartition(f"/{tail.partition('/')[0]}")
    assert upstream == f"/v2/{found.location}"
    assert parse_location(found.location or "")
    carried = read_anything(token.partition("~")[2])["a"] if "~" in token else {}
    expected = {carried[name]} if name in carried else locations_of(kept, name)
    assert found.location in expected


STORED = [LOCATION, f"v2/{'0' * 32}"]
JWT = jwt(pullable([*STORED, "resin/resinos"]))
ROWS = st.tuples(
    st.sampled_from(["2.3.8+rev2", "2.3.8", "2.4.1-1648", "0.0.0", "x", "1.0.0-RC1"]),
    st.sampled_from(["tLIB8AA4Qf1VCcbQa0WJmw", "", "A" * 22]),
    st.integers(-1, 3) | st.just(["db", "web"]),
    st.integers(-1, 3),
    st.integers(0, 3),
).map(list)
CANDIDATES = st.fixed_dictionaries(
    {"w": st.integers(0, 1), "c": st.lists(ROWS, max_size=6)}
)
TAGGED = st.fixed_dictionaries(
    {
        "v": st.just(2),
        "a": st.dictionaries(
            st.sampled_from([SLUG, f"{SLUG}/2.3", f"{SLUG}/9.9.9"]),
            CANDIDATES | st.just(LOCATION),
            max_size=3,
        ),
        "r": st.sampled_from([{}, {SLUG: ["NAME_UNKNOWN", "no target"]}]),
    }
)
TAGS = ("latest", "2", "2.3", "2.3.8", "1.0.0-rc1", "b4b201f", "x", "2.4.1-1648")
ASKED = st.sampled_from(
    [
        *(f"manifests/{tag}" for tag in TAGS),
        *(f"{kind}/{DIGEST}" for kind in ("manifests", "blobs", "referrers")),
        *("tags/list", "tags/list?n=1", f"manifests/{DIGEST.replace(':', '-')}.sig"),
    ]
)


@given(suffix=TAGGED | mutated_json(TAGGED), tail=ASKED, takes_scopes=st.booleans())
@FUZZ
def test_tag_leads_to_what_the_jwt_names(
    suffix: Any, tail: str, *, takes_scopes: bool
) -> None:
    """The registry is asked with the JWT, for a location in it; or nobody is."""
    target = parse_endpoint("GET", f"/v2/{SLUG}/{tail}")
    assert isinstance(target, Content)
    login = f"Bearer {JWT}~{base64url(suffix)}"
    try:
        request = forward(target, login, selects=True, takes_scopes=takes_scopes)
    except RegistryError as error:
        check_shown(error, JWT)
        return
    if isinstance(request, TagPage):
        tags = json.loads(request.body)["tags"]
        assert all(map(parse_tag, tags))
        assert len(set(tags)) == len(tags)
        return
    if isinstance(request, Search):
        assert set(request.locations) <= set(STORED)
        request = request.at(request.locations[-1])
    assert request.location in STORED
    assert request.path.startswith(f"/v2/{request.location}/")
    assert request.authorization == f"Bearer {JWT}"
