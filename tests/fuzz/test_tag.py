"""Whatever candidates a token carries, a tag leads to what its JWT names or nowhere."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from resolver.content.forward import Forward, Search, forward
from resolver.content.tag_list import TagPage
from resolver.errors import RegistryError
from resolver.grammar.endpoint import Content, parse_endpoint
from resolver.grammar.reference import parse_tag
from resolver.release.candidate import Candidate, Candidates
from resolver.token.claims import append_aliases, parse_token
from resolver.token.suffix import Aliases
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import check_shown, mutated_json
from tests.resolver.fake import DIGEST, LOCATION, base64url, candidate, jwt, pullable

NAME = "org/app"
NAMES = [LOCATION, f"v2/{'0' * 32}", "resin/resinos"]
JWT = jwt(pullable(NAMES))
COMMITS = st.sampled_from(["tLIB8AA4Qf1VCcbQa0WJmw", "", "A" * 22])
ROWS = st.tuples(
    st.sampled_from(["2.3.8+rev2", "2.3.8", "2.4.1-1648", "0.0.0", "x", "1.0.0-RC1"]),
    COMMITS,
    st.integers(-1, 3) | st.just(["db", "web"]),
    st.integers(-1, 3),
    st.integers(0, 3),
).map(list)
CANDIDATES = st.fixed_dictionaries(
    {"w": st.integers(0, 1), "c": st.lists(ROWS, max_size=6)}
)
SUFFIXES = st.fixed_dictionaries(
    {
        "v": st.just(2),
        "a": st.dictionaries(
            st.sampled_from([NAME, f"{NAME}/2.3", f"{NAME}/9.9.9"]),
            CANDIDATES | st.just(LOCATION),
            max_size=3,
        ),
        "r": st.sampled_from([{}, {NAME: ["NAME_UNKNOWN", "no target"]}]),
    }
)
TAILS = st.sampled_from(
    [
        *(f"manifests/{tag}" for tag in ("latest", "2", "2.3", "2.3.8", "1.0.0-rc1")),
        *(f"manifests/{tag}" for tag in ("b4b201f", "0000000", "x", "2.4.1-1648")),
        *(f"{kind}/{DIGEST}" for kind in ("manifests", "blobs", "referrers")),
        *("tags/list", "tags/list?n=1", f"manifests/{DIGEST.replace(':', '-')}.sig"),
    ]
)


@given(
    suffix=SUFFIXES | mutated_json(SUFFIXES),
    tail=TAILS,
    selects=st.booleans(),
    takes_scopes=st.booleans(),
)
@FUZZ
def test_tag_leads_to_what_the_jwt_names(
    suffix: Any, tail: str, *, selects: bool, takes_scopes: bool
) -> None:
    """The registry is asked with the JWT, for a location in it; or nobody is."""
    target = parse_endpoint("GET", f"/v2/{NAME}/{tail}")
    assert isinstance(target, Content)
    token = f"{JWT}~{base64url(json.dumps(suffix).encode())}"
    login = f"Bearer {token}"
    try:
        request = forward(target, login, selects=selects, takes_scopes=takes_scopes)
    except RegistryError as error:
        check_shown(error, JWT)
        return
    if isinstance(request, Search):
        assert set(request.locations) <= set(NAMES[:2])
        request = request.at(request.locations[-1])
    if isinstance(request, TagPage):
        tags = json.loads(request.body)["tags"]
        assert all(map(parse_tag, tags))
        assert len(set(tags)) == len(tags)
    if isinstance(request, Forward):
        assert request.location in NAMES[:2]
        assert request.path.startswith(f"/v2/{request.location}/")
        assert request.authorization == f"Bearer {JWT}"


VERSIONS = st.from_regex(r"[0-9]{1,2}\.[0-9]\.[0-9](-rc\.1)?(\+b\.1)?", fullmatch=True)


HASHES = st.binary(min_size=16, max_size=20).map(bytes.hex)


@st.composite
def releases(draw: st.DrawFn) -> Candidate:
    """Return any release that can be written."""
    revision = draw(st.none() | st.integers(0, 3))
    version = draw(VERSIONS)
    mark = "." if "+" in version else "+"
    names = draw(st.sampled_from([(), ("db", "web"), ("a", "b", "c")]))
    return candidate(
        f"{version}{mark}rev{revision}" if revision else version,
        None if names else draw(st.sampled_from(NAMES[:2])),
        *names,
        revision=revision,
        commit=draw(HASHES),
    )


@given(rows=st.lists(releases(), min_size=1, max_size=16), whole=st.booleans())
@FUZZ
def test_what_is_written_is_read_again(rows: list[Candidate], *, whole: bool) -> None:
    """What is written is read again, as far as selection needs it."""
    sent_candidates = Candidates(tuple(rows), whole)
    text = append_aliases(JWT, Aliases({NAME: sent_candidates}))
    read = parse_token(text).aliases.candidates[NAME]
    assert read.is_whole == whole
    for sent, got in zip(rows, read.rows, strict=True):
        assert (got.location, got.is_target) == (sent.location, sent.is_target)
        assert got.release
        assert sent.release
        for name in ("raw_version", "commit", "revision"):
            assert getattr(got.release, name) == getattr(sent.release, name)
        core = sent.release.raw_version.partition("+")[0]
        assert got.release.semver.partition("+")[0] == core
        assert ("+" in got.release.semver) == ("+b" in sent.release.raw_version)
        assert len(got.release.images) == len(sent.release.images)
    ids = [row.release.id for row in read.rows if row.release]
    assert ids == sorted(set(ids), reverse=True)
