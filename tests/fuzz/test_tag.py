"""Whatever candidates a token carries, a tag leads to what its JWT names or nowhere."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from resolver.content.forward import Forward, Search, forward
from resolver.content.tag_list import TagPage
from resolver.errors import RegistryError
from resolver.grammar.endpoint import Content, parse_target
from resolver.grammar.reference import parse_tag
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import check_shown, mutated_json
from tests.resolver.fake import DIGEST, LOCATION, base64url, jwt, pullable

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
    target = parse_target("GET", f"/v2/{NAME}/{tail}")
    assert isinstance(target, Content)
    token = f"{JWT}~{base64url(json.dumps(suffix).encode())}"
    login = f"Bearer {token}"
    try:
        found = forward(target, login, selects=selects, takes_scopes=takes_scopes)
    except RegistryError as error:
        check_shown(error, JWT)
        return
    if isinstance(found, Search):
        assert set(found.locations) <= set(NAMES[:2])
        found = found.at(found.locations[-1])
    if isinstance(found, TagPage):
        tags = json.loads(found.body)["tags"]
        assert all(map(parse_tag, tags))
        assert len(set(tags)) == len(tags)
    if isinstance(found, Forward):
        assert found.location in NAMES[:2]
        assert found.path.startswith(f"/v2/{found.location}/")
        assert found.authorization == f"Bearer {JWT}"
