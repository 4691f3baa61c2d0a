"""A token's suffix is written within its limits and read strictly; a JWT leniently."""

import gc
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from resolver.errors import AccessDenied, Refusal, ReleaseUnknown, TokenInvalid
from resolver.grammar.reference import Alias, Slug
from resolver.release.candidate import Candidate, Candidates
from resolver.token.claims import (
    PARSED_SIZE_MAX,
    READ_LENGTH_MAX,
    SEPARATOR,
    Claims,
    append_aliases,
    parse_token,
    pullable_names,
    read_claims,
    read_token,
)
from resolver.token.suffix import LENGTH_MAX, MESSAGE_DEFAULT, ROWS_MAX, Aliases
from resolver.upstream.api import TOKEN_LENGTH_MAX
from tests.resolver.fake import (
    EXPIRES,
    HASH,
    ISSUED,
    LOCATION,
    SLUG,
    base64url,
    candidate,
    fixed,
    ident,
    jwt,
    location_of,
    pullable,
)

JWT = jwt(pullable([LOCATION, f"v2/{'0' * 32}", "resin/resinos"]))
GOOD = {"v": 1, "a": {"org/app": LOCATION}, "r": {}}
ROW: list[object] = ["2.3.8+rev2", "tLIB8AA4Qf1VCcbQa0WJmw", 0, 2, 0]


def padded(length: int) -> str:
    """Return a JWT of that many characters."""
    return f"{JWT}{'x' * (length - len(JWT))}"


def append(payload: object) -> str:
    """Return a token as anybody can forge it."""
    return f"{JWT}{SEPARATOR}{base64url(payload)}"


def carry(locations: int, *refusals: Refusal) -> Aliases:
    """Return what a token carries of so many aliases, and of these refusals."""
    candidates = {f"org/app{n}": fixed() for n in range(locations)}
    refused = {f"org/refused{n}": refusal for n, refusal in enumerate(refusals)}
    return parse_token(append_aliases(JWT, Aliases(candidates, refused))).aliases


def carry_rows(*rows: Candidate) -> tuple[Candidates, list[str]]:
    """Return what a token carries of the candidates, and their versions in order."""
    text = append_aliases(JWT, Aliases({SLUG: Candidates(rows)}))
    assert len(text) <= len(JWT) + len(SEPARATOR) + LENGTH_MAX
    read = parse_token(text).aliases.candidates[SLUG]
    return read, [row.release.raw_version for row in read.rows if row.release]


def test_token_without_aliases_stays_as_it_is() -> None:
    """A login's token has no suffix, nor has one for a name that no path can have."""
    too_long = Aliases({}, {"x" * 256: AccessDenied("no")})
    assert append_aliases(JWT, Aliases()) == append_aliases(JWT, too_long) == JWT
    assert location_of(JWT, "org/app") is None


SEVERAL = candidate("2.4.0", None, "web", "db", commit="x", is_target=True)
MANY = Candidates((SEVERAL, candidate()), is_whole=False)
TEXT_ROWS = (
    '[["2.4.0","",["db","web"],0,2],["2.3.8+rev2","tLIB8AA4Qf1VCcbQa0WJmw",0,2,0]]'
)
WRITTEN = {
    f'{{"v":1,"a":{{"org/a":"{LOCATION}"}},"r":{{"org/b":["DENIED","né"]}}}}': (
        Aliases({"org/a": fixed()}, {"org/b": AccessDenied("né")})
    ),
    f'{{"v":2,"a":{{"org/a":{{"w":0,"c":{TEXT_ROWS}}}}},"r":{{}}}}': (
        Aliases({"org/a": MANY})
    ),
}


@pytest.mark.parametrize(("text", "aliases"), WRITTEN.items(), ids=["plain", "rows"])
def test_suffix_is_written_as_documented(text: str, aliases: Aliases) -> None:
    """It is base64url of JSON; without rows of the first version, for older proxies."""
    assert append_aliases(JWT, aliases) == append(text.encode())


@pytest.mark.parametrize(
    ("locations", "refusals", "message"),
    [
        (20, 1, "m" * 300),
        (20, 10, "m" * 150),
        (50, 10, "m" * 18),
        (50, 70, MESSAGE_DEFAULT),
    ],
    ids=str,
)
def test_messages_give_way_to_aliases(
    locations: int, refusals: int, message: str
) -> None:
    """In a full suffix messages shrink first, then refusals go before aliases."""
    read = carry(locations, *[ReleaseUnknown("m" * 400)] * refusals)
    assert len(read.candidates) == locations
    assert {refusal.message for refusal in read.refusals.values()} == {message}
    assert (len(read.refusals) < refusals) is (message == MESSAGE_DEFAULT)


def test_full_suffix_drops_the_last_aliases() -> None:
    """A client asks again for the aliases that its token had no room for."""
    kept = carry(200, AccessDenied("no"))
    assert len(kept.candidates) > 40
    assert list(kept.candidates) == [f"org/app{n}" for n in range(len(kept.candidates))]
    assert not kept.refusals


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
    read, versions = carry_rows(candidate("3.0.0"), odd, candidate("2.0.0"), pinned)
    assert versions == ["3.0.0", "1.0.0"]
    assert not read.is_whole
    assert read.pick(Alias(Slug(SLUG)), "1") is None


@pytest.mark.parametrize("count", [64, 99, 300])
def test_many_candidates_are_cut(count: int) -> None:
    """Whatever there is, the suffix keeps within its length, the target in it."""
    greatest = [f"1.{n}.0" for n in range(count, 0, -1)]
    target = candidate("0.9.0", is_target=True)
    kept, versions = carry_rows(*map(candidate, greatest), target)
    assert 0 < len(kept) <= ROWS_MAX
    assert not kept.is_whole
    assert versions == [*greatest[: len(kept) - 1], "0.9.0"]
    # Where nothing else decides, the first one counts as the latest.
    numbers = [row.release.id for row in kept.rows if row.release]
    assert numbers == sorted(set(numbers), reverse=True)


def test_candidates_of_several_aliases_are_cut_together() -> None:
    """As many as are read in all, so that a token is never refused for their number."""
    many = Candidates(tuple(candidate(f"1.{n}.0", commit="") for n in range(50, 0, -1)))
    names = ("org/a", "org/b", "org/c")
    read = parse_token(append_aliases(JWT, Aliases(dict.fromkeys(names, many)))).aliases
    assert [*read.candidates] == [*names]
    assert ROWS_MAX // 2 < sum(map(len, read.candidates.values())) <= ROWS_MAX


UNREADABLE = [
    "",
    "é",
    base64url(GOOD) + "=",
    base64url(GOOD) + "\n",
    base64url(GOOD) + SEPARATOR,
    base64url({**GOOD, "a": {"??>": LOCATION}}).replace("-", "+").replace("_", "/"),
    base64url(b"\xff\xfe"),
    base64url(json.dumps(GOOD).encode("utf-16")),
    base64url(b"[" * 3000),
    base64url(b"9" * 3000),
    "A" * (LENGTH_MAX + 1),
    base64url(b" " * 3072 + json.dumps(GOOD).encode()),
]


@pytest.mark.parametrize("suffix", UNREADABLE, ids=ident)
def test_unreadable_suffix(suffix: str) -> None:
    """What is no base64url of a small JSON text in UTF-8 is an invalid token."""
    with pytest.raises(TokenInvalid):
        parse_token(f"{JWT}~{suffix}")


def suffix_with(entry: object, alias: str = "org/app") -> object:
    """Return a suffix with this entry for the alias."""
    return {"v": 2, "a": {alias: entry}, "r": {}}


def refused(*value: object, alias: str = "org/app") -> object:
    """Return a suffix with this refusal."""
    return {**GOOD, "r": {alias: list(value)}}


def rows(*found: object, **changes: object) -> object:
    """Return a suffix with these candidates."""
    return suffix_with({"w": 1, "c": list(found), **changes})


SHORT_ROWS = {"w": 1, "c": [["1.0.0", "", 0, 0, 0]] * (ROWS_MAX // 2 + 1)}
"""Half of so many of them are read."""


def row(**changes: object) -> object:
    """Return a suffix with a release of which something is changed."""
    names = ("raw", "commit", "image", "revision", "flags")
    return rows([*(dict(zip(names, ROW, strict=True)) | changes).values()])


FORGED = [
    {},
    {"v": 1, "a": {}},
    {**GOOD, "v": 3},
    {**GOOD, "x": {}},
    {**GOOD, "a": []},
    {**GOOD, "r": {"org/app": "DENIED"}},
    suffix_with(None),
    suffix_with("v2/short"),
    suffix_with(f"{LOCATION}/../x"),
    suffix_with(f"{LOCATION}\n"),
    suffix_with(f"evil.example.com/{LOCATION}"),
    suffix_with("resin/resinos"),
    suffix_with(LOCATION, "x" * 256),
    refused("DENIED", "no", alias="x" * 256),
    refused("DENIED", "no", "more"),
    refused(403, "no"),
    refused("UNKNOWN", "no"),
    refused("DENIED", "two\nlines"),
    refused("DENIED", "\x1b[31mred"),
    rows(w=2),
    rows(w="1"),
    rows(more=1),
    rows([]),
    rows([*ROW, 0]),
    rows(*[ROW] * (ROWS_MAX + 1)),
    {"v": 2, "a": {f"org/{n}": SHORT_ROWS for n in "ab"}, "r": {}},
    row(raw=""),
    row(raw="2.3.8\x1b[31m"),
    row(raw="x" * 256),
    row(raw="größer"),
    row(commit="!"),
    row(commit="AAAA"),
    row(commit="tLIB8AA4Qf1VCcbQa0WJmx"),
    row(commit="tLIB8AA4Qf1VCcbQa0WJmw=="),
    row(commit=None),
    row(image=f"v2/{HASH}"),
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
def test_forged_suffix(payload: object) -> None:
    """A suffix of another schema, or that leads out of the JWT, is an invalid token."""
    with pytest.raises(TokenInvalid):
        parse_token(append(payload))


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps(GOOD).encode().ljust(LENGTH_MAX // 4 * 3),
        row(),
        refused("DENIED", ""),
        suffix_with({"w": 1, "c": [["1.0.0", "", 0, 0, 0]] * ROWS_MAX}),
    ],
    ids=["as long as may be", "row", "refusal", "rows"],
)
def test_sound_suffix(payload: object) -> None:
    """What the forged ones differ from a little is read."""
    assert parse_token(append(payload)).jwt == JWT


@pytest.mark.parametrize(
    ("access", "location"),
    [
        ([{"name": LOCATION, "alias": "org/app"}], LOCATION),
        ([{"name": LOCATION, "alias": "org/other"}], None),
        ([{"name": n, "alias": "org/app"} for n in ("x", LOCATION, "v2/")], LOCATION),
        (
            [{"name": LOCATION[:-1] + n, "alias": "org/app"} for n in "21"],
            f"{LOCATION[:-1]}2",
        ),
        ([{"name": "org/app", "actions": ["pull"], "alias": "org/app"}], None),
        ([{"name": "v2/../x", "alias": "org/app"}], None),
        ([{"name": LOCATION, "alias": ["org/app"]}], None),
        ([None, 1, "org/app", []], None),
        ({"org/app": LOCATION}, None),
        (None, None),
    ],
    ids=ident,
)
def test_alias_claim_is_honoured(access: object, location: str | None) -> None:
    """A plain JWT serves for the aliases that the API itself resolved (R7)."""
    assert location_of(jwt(access), "org/app") == location


def test_token_longer_than_any_is_not_read() -> None:
    """A client gets another one by itself; the longest that is issued is read."""
    longest = append_aliases(padded(TOKEN_LENGTH_MAX), Aliases({"org/app": fixed()}))
    assert location_of(longest, "org/app") == LOCATION
    for text in (padded(READ_LENGTH_MAX + 1), f"{padded(60_000)}{SEPARATOR}x"):
        with pytest.raises(TokenInvalid, match=f"than the {READ_LENGTH_MAX} char"):
            parse_token(text)
        assert not read_token(text).has_access
        assert read_token(text).size == 0  # Nothing of it is kept.
        assert read_claims(text.partition(SEPARATOR)[0]) == Claims(None, None)


def test_token_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked of it, and whether it can be read or not."""
    read: list[str] = []

    loads = json.loads

    def note(text: str, **options: Any) -> object:
        read.append(text)
        return loads(text, **options)

    monkeypatch.setattr(json, "loads", note)
    claimed = jwt([{"name": LOCATION, "alias": "org/app"}], jti="once")
    suffix = base64url({"v": 1, "a": {}, "r": {}})
    for text in (claimed, f"{claimed}~{suffix}", f"{claimed}~{base64url({})}"):
        read.clear()
        for _ in range(3):
            with suppress(TokenInvalid):
                assert location_of(text, "org/app") == LOCATION
                assert parse_token(text).candidates("org/other") is None
        assert len(read) == text.count(SEPARATOR) + 1


WHALE = "\U0001f433"
"""Four bytes, and so is each character beside it."""
CLAIMED = [{"name": f"v2/{n:032x}", "alias": f"{n}"} for n in range(350)]
CLAIMED_IN_LETTERS = [
    {"name": f"v2/{n:032x}", "alias": f"{WHALE}{n:0200}"} for n in range(80)
]
VERSIONS = [f"1.{number}.0+b" for number in range(45)]
SERVICES = [f"{number:02x}" for number in range(256)]
NOBODY_LIKES = {f"{number}": ["DENIED", ""] for number in range(120)}
WHALES = {letter: ["DENIED", WHALE * 99] for letter in "abcde"}
COSTLY: dict[str, tuple[dict[str, object], object]] = {
    "rows": ({}, rows(*([text, ROW[1], 0, 0, 0] for text in VERSIONS))),
    "short rows": ({}, rows(*[["x", "", 0, 0, 0]] * ROWS_MAX)),
    "long rows": ({}, rows(*[["x" * 200, "", 0, 0, 0]] * 13)),
    "images": ({}, rows(["x", "", SERVICES, 0, 0])),
    "refusals": ({}, {**GOOD, "r": NOBODY_LIKES}),
    "letters": ({}, json.dumps({**GOOD, "r": WHALES}, ensure_ascii=False).encode()),
    "aliases": ({}, {**GOOD, "a": {f"{n}": LOCATION for n in range(50)}}),
    "claims": ({"access": CLAIMED}, GOOD),
    "claims in letters": ({"access": CLAIMED_IN_LETTERS}, GOOD),
    "values": ({"x": ["x" * 8] * 1700}, GOOD),
    "unreadable": ({"x": "x" * 20_000}, b"x" * 3000),
}
"""Claims and suffix of what takes the most memory for its bytes."""


def forge(number: int, claims: dict[str, object], suffix: object) -> str:
    """Return a token that nobody issued, and that is like no other one."""
    forged = jwt(**{"access": [{"name": LOCATION}], **claims, "jti": number})
    return f"{forged}{SEPARATOR}{base64url(suffix)}"


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Yield what returns how many bytes are held that were not before."""

    def held() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        yield held
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("parts", COSTLY.values(), ids=COSTLY)
def test_size_of_a_token_is_what_it_takes(
    parts: tuple[dict[str, object], object],
) -> None:
    """Its memory is counted in full, and is a small multiple of its characters."""
    with traced() as held:
        texts = [forge(number, *parts) for number in range(20)]
        counted = sum(read_token(text).size for text in texts)
        taken = held()
    assert taken <= counted <= 4 * taken
    assert taken <= 20 * sum(map(len, texts))


def test_tokens_are_remembered_within_their_bytes() -> None:
    """However many there are, of whatever kind, they take no more memory (T8)."""
    with traced() as held:
        for number in range(1000, 1060):
            for claims, suffix in COSTLY.values():
                read_token(forge(number, {"x": "x" * 15_000} | claims, suffix))
        assert held() < 1.1 * PARSED_SIZE_MAX


def test_own_aliases_go_before_the_claims() -> None:
    """What the proxy resolved counts more than what the API did."""
    claimed = jwt([{"name": f"v2/{HASH[::-1]}", "alias": "org/app"}])
    text = append_aliases(claimed, Aliases({"org/app": fixed()}))
    assert location_of(text, "org/app") == LOCATION
    refusals = Aliases({}, {"org/app": AccessDenied("no")})
    with pytest.raises(AccessDenied):
        location_of(append_aliases(claimed, refusals), "org/app")


def test_claims_of_time() -> None:
    """The claims say when the token was issued and for how long it serves (R4)."""
    assert read_claims(jwt()) == Claims("2026-11-23T17:24:52Z", 14400)
    assert read_claims(jwt(iat=ISSUED + 0.9, exp=EXPIRES + 0.9)).expires_in == 14400


@pytest.mark.parametrize("value", [None, "1", True, -1, 1 << 35, 1e99, []])
@pytest.mark.parametrize("name", ["iat", "exp"])
def test_senseless_time(name: str, value: object) -> None:
    """A time that is no number of this age says nothing."""
    assert read_claims(jwt(**{name: value})) == Claims(None, None)


@pytest.mark.parametrize("value", [[], {}, 1.5, "x"], ids=repr)
def test_payload_of_many_small_values_is_not_read(value: object) -> None:
    """No claims of the API's are like that; reading them would cost far more (T8)."""
    assert pullable_names(jwt(x=[value] * 30)) == frozenset()
    assert pullable_names(jwt(x=[value] * 3000)) is None
    assert pullable_names(jwt(pullable([LOCATION] * 250))) == frozenset({LOCATION})


NO_JWT = ["", "opaque", "a.b", "a.b.c.d", "..", "a.!.c", f"a.{base64url(b'[]')}.c"]


@pytest.mark.parametrize("text", [*NO_JWT, f"a.{base64url(b'[' * 20000)}.c"], ids=ident)
def test_no_jwt_says_nothing(text: str) -> None:
    """A token that is no JWT has no claims."""
    assert read_claims(text) == Claims(None, None)
    assert pullable_names(text) is None
    assert location_of(text, "org/app") is None


def test_pullable_names() -> None:
    """Only repositories with the action pull can be pulled from."""
    actions = {"a": ["pull"], "b": ["push", "pull"], "c": [], "d": ["push"], "e": None}
    access = [{"name": name, "actions": each} for name, each in actions.items()]
    assert pullable_names(jwt([*access, {"name": "f"}, "g"])) == frozenset("ab")
    assert pullable_names(jwt()) == frozenset()


def test_token_is_never_shown() -> None:
    """The text of a token has nothing of the JWT in it (R15)."""
    token = parse_token(append_aliases(JWT, Aliases({"org/app": fixed()})))
    assert not [part for part in JWT.split(".") if part in f"{token} {token!r}"]
