"""A table is written into a token in few bytes, and read strictly."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.errors import TagUnknown, TokenInvalid
from resolver.forward import forward
from resolver.reference import Location, Slug
from resolver.release import SUCCESS, Image, Release
from resolver.tag_suffix import read_tables, write_table
from resolver.tag_table import TagEntry, TagTable
from resolver.target import Base, Content, parse_target
from resolver.token import (
    SEPARATOR,
    SUFFIX_LENGTH_MAX,
    Aliases,
    append_aliases,
    parse_token,
)
from tests.resolver.fake import (
    COMMIT,
    HASH,
    LOCATION,
    PROPERTY,
    SLUG,
    base64url,
    ident,
    jwt,
    pullable,
)

NAMES = [LOCATION, f"v2/{'0' * 32}", "resin/resinos"]
JWT = jwt(pullable(NAMES))
ROW = ["2.3.8+rev2", "tLIB8AA4Qf1VCcbQa0WJmw", 0, 2, 0]
GOOD: dict[str, Any] = {"w": 1, "s": [["db", "web"]], "g": [ROW], "x": []}
SUFFIX: dict[str, Any] = {"v": 2, "a": {SLUG: LOCATION}, "r": {}, "t": {SLUG: GOOD}}


def entry(
    raw_version: str = "2.3.8+rev2",
    place: str | None = LOCATION,
    revision: int | None = 2,
    commit: str = COMMIT,
    *services: str,
) -> TagEntry:
    """Return a release as the API has it."""
    images = tuple(Image("", name, SUCCESS, None) for name in services or ("main",))
    semver = raw_version.partition("+")[0]
    return TagEntry(
        Release(
            *(7, commit, raw_version, semver, revision, "", SUCCESS),
            is_invalidated=False,
            is_passing_tests=True,
            images=images,
        ),
        None if place is None else Location(place),
    )


def suffixed(payload: object) -> str:
    """Return a token as anybody can forge it."""
    return f"{JWT}{SEPARATOR}{base64url(payload)}"


def test_table_is_written_as_documented() -> None:
    """A location is a number of the JWT's access list, a commit takes 22 characters."""
    draft = entry("2.4.1-1648", None, None, "x", "web", "db")
    found = TagTable((entry(),), (draft,), is_whole=False)
    written = write_table(found, NAMES)
    assert json.dumps(written) == json.dumps(
        {
            "w": 0,
            "s": [["db", "web"]],
            "g": [ROW],
            "x": [["2.4.1-1648", "", -1, -1, 0]],
        }
    )
    text = append_aliases(JWT, Aliases({SLUG: Location(LOCATION)}, {}, {SLUG: found}))
    payload = {"v": 2, "a": {SLUG: LOCATION}, "r": {}, "t": {SLUG: written}}
    assert text == suffixed(json.dumps(payload, separators=(",", ":")).encode())


def test_token_without_tables_is_of_the_first_version() -> None:
    """A proxy that does not know tables reads it (mixed replicas)."""
    text = append_aliases(JWT, Aliases({SLUG: Location(LOCATION)}))
    assert text == suffixed(
        json.dumps(
            {"v": 1, "a": {SLUG: LOCATION}, "r": {}}, separators=(",", ":")
        ).encode()
    )
    assert parse_token(text).location(SLUG) == LOCATION


def test_table_is_refused_where_tags_do_not_select() -> None:
    """It is taken for a bad suffix, and for no image of another tag."""
    login = f"Bearer {suffixed(SUFFIX)}"
    for path in (f"/v2/{SLUG}/manifests/latest", "/v2/", f"/v2/{LOCATION}/tags/list"):
        target = parse_target("GET", path)
        assert isinstance(target, Base | Content)
        with pytest.raises(TokenInvalid):
            forward(target, login)
        assert forward(target, login, with_tables=True).authorization == f"Bearer {JWT}"


def test_what_could_not_be_read_again_is_left_out() -> None:
    """An odd release does not make the token unreadable, and leaves no gap."""
    odd = [
        entry("2.3.9\n"),
        entry(""),
        entry("é"),
        entry("9" * 256),
        entry("2.3.9", f"v2/{'1' * 32}"),
        entry("2.3.9", None, 0, COMMIT, "web", "\x1b"),
        entry("2.3.9", LOCATION, 1 << 31),
    ]
    for bad in odd:
        found = TagTable((entry("3.0.0"), bad, entry("2.0.0")), (bad,))
        text = append_aliases(JWT, Aliases({}, {}, {SLUG: found}))
        read = parse_token(text).aliases.tables[SLUG]
        assert [e.release.raw_version for e in read.ranked] == ["3.0.0"]
        assert [e.release.raw_version for e in read.exact] == ["2.0.0"]
        assert not read.is_whole


VERSIONS = st.from_regex(r"[0-9]{1,2}\.[0-9]\.[0-9](-rc\.1)?(\+b\.1)?", fullmatch=True)
COMMITS = st.binary(min_size=16, max_size=20).map(bytes.hex)


@st.composite
def entries(draw: st.DrawFn) -> TagEntry:
    """Return any release that can be written."""
    revision = draw(st.none() | st.integers(0, 3))
    version = draw(VERSIONS)
    mark = "." if "+" in version else "+"
    names = draw(st.sampled_from([(), ("db", "web"), ("a", "b", "c")]))
    return entry(
        f"{version}{mark}rev{revision}" if revision else version,
        None if names else draw(st.sampled_from(NAMES[:2])),
        revision,
        draw(COMMITS),
        *names,
    )


@given(
    ranked=st.lists(entries().filter(lambda e: e.release.is_final), max_size=8),
    exact=st.lists(entries(), min_size=1, max_size=8),
    whole=st.booleans(),
)
@PROPERTY
def test_round_trip(
    ranked: list[TagEntry], exact: list[TagEntry], *, whole: bool
) -> None:
    """What is written is read again, as far as selection needs it."""
    found = TagTable(tuple(ranked), tuple(exact), whole)
    text = append_aliases(JWT, Aliases({}, {}, {SLUG: found}))
    read = parse_token(text).aliases.tables[SLUG]
    assert read.is_whole == whole
    assert len(read.ranked) == len(ranked)
    for sent, got in zip(found.entries, read.entries, strict=True):
        assert got.location == sent.location
        for name in ("raw_version", "commit", "revision", "is_invalidated"):
            assert getattr(got.release, name) == getattr(sent.release, name)
        core = sent.release.raw_version.partition("+")[0]
        assert got.release.semver.partition("+")[0] == core
        assert ("+" in got.release.semver) == ("+b" in sent.release.raw_version)
        own = [image.image_service for image in sent.release.images]
        assert len(got.release.images) == len(own)
    ids = [e.release.id for e in read.entries]
    assert ids == sorted(set(ids), reverse=True)


@pytest.mark.parametrize(("ranked", "exact"), [(99, 99), (300, 0), (0, 99), (70, 5)])
def test_long_table_is_cut(ranked: int, exact: int) -> None:
    """Whatever the table, the suffix keeps within its length, and the alias in it."""
    finals = [entry(f"1.{n}.0", LOCATION, 0) for n in range(ranked, 0, -1)]
    drafts = [entry(f"1.{n}.0-1648", LOCATION, None) for n in range(exact, 0, -1)]
    found = TagTable(tuple(finals), tuple(drafts))
    aliases = Aliases({SLUG: Location(LOCATION)}, {}, {SLUG: found})
    text = append_aliases(JWT, aliases)
    assert len(text) <= len(JWT) + len(SEPARATOR) + SUFFIX_LENGTH_MAX
    read = parse_token(text)
    assert read.location(SLUG) == LOCATION
    kept = read.aliases.tables[SLUG]
    assert 0 < len(kept) < len(found)
    assert not kept.is_whole
    for part, whole in ((kept.ranked, found.ranked), (kept.exact, found.exact)):
        versions = [e.release.raw_version for e in whole]
        assert [e.release.raw_version for e in part] == versions[: len(part)]


def forged(**changes: object) -> object:
    """Return a suffix with another table."""
    return {**SUFFIX, "t": {SLUG: {**GOOD, **changes}}}


def row(**changes: object) -> object:
    """Return a suffix with another release."""
    names = ("raw", "commit", "image", "revision", "state")
    values = dict(zip(names, ROW, strict=True)) | changes
    return forged(g=[list(values.values())])


FORGED = [
    {**SUFFIX, "v": 1},
    {**SUFFIX, "v": 3},
    {**SUFFIX, "x": {}},
    {**SUFFIX, "t": {}},
    {**SUFFIX, "t": []},
    {**SUFFIX, "t": {SLUG: None}},
    {**SUFFIX, "t": {"x" * 256: GOOD}},
    {"v": 2, "a": {}, "r": {}},
    {"v": 1, "a": {}, "r": {}, "t": {SLUG: GOOD}},
    forged(w=2),
    forged(w="1"),
    forged(s={}),
    forged(s=[["db"]]),
    forged(s=[["db", 1]]),
    forged(s=[["db", "we\nb"]]),
    forged(g={}),
    forged(x=None),
    forged(more=1),
    forged(g=[None]),
    forged(g=[[]]),
    forged(g=[[*ROW, 0]]),
    row(raw=1),
    row(raw=""),
    row(raw="2.3.8\x1b[31m"),
    row(raw="x" * 256),
    row(raw="größer"),
    row(commit="!"),
    row(commit="AAAA"),
    row(commit="tLIB8AA4Qf1VCcbQa0WJmx"),
    row(commit="tLIB8AA4Qf1VCcbQa0WJmw=="),
    row(commit="A" * 99),
    row(commit=None),
    row(image="v2/" + HASH),
    row(image=3),
    row(image=2),
    row(image=-2),
    row(image=1 << 70),
    row(image=0.0),
    row(revision=-1),
    row(revision=-2),
    row(revision=1 << 31),
    row(revision=None),
    row(state=4),
    row(state=-1),
]


@pytest.mark.parametrize("payload", FORGED, ids=ident)
def test_forged_table(payload: object) -> None:
    """A table of another schema, or that leads out of the JWT, is an invalid token."""
    with pytest.raises(TokenInvalid):
        parse_token(suffixed(payload))


def test_forged_table_leads_where_the_jwt_does() -> None:
    """Whatever is written there, the location is one that the JWT names."""
    claimed = jwt(pullable([f"v2/{'9' * 32}"]))
    read = parse_token(f"{claimed}{SEPARATOR}{base64url(SUFFIX)}")
    assert read.aliases.tables[SLUG].locations == (f"v2/{'9' * 32}",)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 4) | st.sampled_from(ROW[:2]),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from("wsgx"), inner)
    ),
    max_leaves=20,
)


@given(JSON | st.fixed_dictionaries(dict.fromkeys("wsgx", JSON)))
@PROPERTY
def test_anything_is_read_or_refused(payload: object) -> None:
    """Nothing but a ValueError comes of what anybody can write."""
    try:
        read = read_tables({SLUG: payload}, NAMES)
    except ValueError:
        return
    for tag in ("2.3", "2", "tLIB8AA", "b4b201f", "2.3.8_rev2"):
        with suppress(TagUnknown):
            assert read[SLUG].select(Slug(SLUG), tag).location in NAMES
