"""Whatever table a token carries, a tag leads to what its JWT names or to an error."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from resolver.tag_route import Search, route

from resolver.errors import RegistryError
from resolver.forward import Forward
from resolver.reference import parse_tag
from resolver.tag_list import TagPage
from resolver.target import Content, parse_target
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
    st.integers(-2, 3),
    st.integers(-1, 3),
    st.integers(0, 3),
).map(list)
TABLES = st.fixed_dictionaries(
    {
        "w": st.integers(0, 1),
        "s": st.just([["db", "web"], ["a", "b"]]),
        "g": st.lists(ROWS, max_size=4),
        "x": st.lists(ROWS, max_size=4),
    }
)
SUFFIXES = st.fixed_dictionaries(
    {
        "v": st.just(2),
        "a": st.sampled_from([{}, {NAME: LOCATION}]),
        "r": st.sampled_from([{}, {NAME: ["NAME_UNKNOWN", "no target"]}]),
        "t": st.fixed_dictionaries({NAME: TABLES}),
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


@given(SUFFIXES | mutated_json(SUFFIXES), TAILS)
@FUZZ
def test_table_leads_to_what_the_jwt_names(suffix: Any, tail: str) -> None:
    """The registry is asked with the JWT, for a location in it; or nobody is."""
    target = parse_target("GET", f"/v2/{NAME}/{tail}")
    assert isinstance(target, Content)
    token = f"{JWT}~{base64url(json.dumps(suffix).encode())}"
    try:
        found = route(target, f"Bearer {token}")
    except RegistryError as error:
        check_shown(error, JWT)
        return
    if isinstance(found, Search):
        assert len(found.locations) > 1
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
