"""Where tags select, a request for `<org>/<app>` goes to the release that is meant."""

import json

import pytest

from resolver.errors import (
    AccessDenied,
    AliasInvalid,
    RegistryError,
    ReleaseUnknown,
    RequestInvalid,
    ScopeInsufficient,
    TagUnknown,
    TokenInvalid,
)
from resolver.forward import Forward
from resolver.reference import Location
from resolver.tag_list import TagPage
from resolver.tag_route import Search, route
from resolver.tag_table import TagTable
from resolver.target import Base, Content, parse_target
from resolver.token import Aliases, append_aliases
from tests.resolver.fake import DIGEST, LOCATION, basic, ident, jwt, pullable
from tests.resolver.test_tag_suffix import entry

OTHER = Location(f"v2/{'1' * 32}")
JWT = jwt(pullable([LOCATION, OTHER]))
TABLE = TagTable(
    (entry("2.4.0", OTHER, 0, "a" * 32), entry()),
    (entry("1.0.0", None, 0, "b" * 32, "web", "db"),),
)
ALIASES = Aliases(
    {
        "org/app": Location(LOCATION),
        "org/app/2.3.8": Location(LOCATION),
        "org/plain": Location(LOCATION),
    },
    {
        "org/hidden": AccessDenied("hidden"),
        "org/loose": ReleaseUnknown("no target release"),
    },
    {"org/app": TABLE, "org/loose": TABLE},
)
TOKEN = append_aliases(JWT, ALIASES)


def target(path: str) -> Base | Content:
    """Return what the path under /v2/ is for."""
    found = parse_target("GET", f"/v2/{path}")
    assert isinstance(found, Base | Content)
    return found


def routed(path: str, token: str = TOKEN) -> Forward | Search | TagPage | None:
    """Return what becomes of the request."""
    return route(target(path), f"Bearer {token}")


@pytest.mark.parametrize(
    ("tag", "location", "version", "reason"),
    [
        ("2", OTHER, "2.4.0", "the greatest final release of 2.x"),
        ("2.3", LOCATION, "2.3.8+rev2", "the greatest final release of 2.3.x"),
        ("2.3.8_rev2", LOCATION, "2.3.8+rev2", "exactly that version"),
        ("b4b201f", LOCATION, "2.3.8+rev2", "the one release whose commit begins"),
        ("latest", LOCATION, "2.3.8+rev2", "the target release of the application"),
        ("Pinned", LOCATION, "2.3.8+rev2", "the target release of the application"),
    ],
)
def test_tag_becomes_the_location(
    tag: str, location: str, version: str, reason: str
) -> None:
    """The stored tag is asked for there, and nobody is warned."""
    found = routed(f"org/app/manifests/{tag}")
    assert isinstance(found, Forward)
    assert found.path == f"/v2/{location}/manifests/latest"
    assert (found.authorization, found.location) == (f"Bearer {JWT}", location)
    assert found.warning is None
    assert found.is_noted
    assert found.release
    assert found.release.raw_version == version
    assert found.tagged
    assert (found.tagged.tag, found.tagged.release) == (tag, found.release)
    assert found.tagged.reason.startswith(reason)


@pytest.mark.parametrize(
    ("rest", "kind"),
    [
        (f"blobs/{DIGEST}", "blobs"),
        (f"manifests/{DIGEST}", "manifests"),
        (f"referrers/{DIGEST}", "manifests"),
        (f"manifests/{DIGEST.replace(':', '-')}.sig", "manifests"),
    ],
)
def test_digest_may_be_at_any_location(rest: str, kind: str) -> None:
    """The target's is the first, and the request goes where it is found."""
    found = routed(f"org/app/{rest}")
    assert isinstance(found, Search)
    assert (found.digest, found.kind) == (DIGEST, kind)
    assert found.locations == (LOCATION, OTHER)
    decided = found.at(OTHER)
    assert decided.path == f"/v2/{OTHER}/{rest}"
    assert decided.release
    assert decided.release.raw_version == "2.4.0"
    assert (decided.is_noted, decided.tagged) == (True, None)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "org/app/2.3.8/manifests/2.4.0",
        f"org/app/2.3.8/blobs/{DIGEST}",
        "org/app/2.3.8/tags/list",
        f"{LOCATION}/manifests/2.4.0",
        "resin/resinos/manifests/2.4.0",
        "org/plain/manifests/latest",
        "org/plain/manifests/Current",
        f"org/plain/manifests/{DIGEST}",
        f"org/plain/blobs/{DIGEST}",
        "org/plain/tags/list",
        "org/hidden/manifests/latest",
        "org/other/manifests/2.4.0",
    ],
    ids=ident,
)
def test_rest_is_as_it_was(path: str) -> None:
    """A selector in the path wins; so does what has no table."""
    assert routed(path) is None


@pytest.mark.parametrize("authorization", [None, "", "Bearer ", basic("u", "key")])
def test_request_without_token_is_as_it_was(authorization: str | None) -> None:
    """The registry itself issues the challenge."""
    assert route(target("org/app/manifests/2.3"), authorization) is None


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("org/app/manifests/9.9.9", TagUnknown, "org/app has no release 9.9.9"),
        ("org/app/manifests/1.0.0_rev0", TagUnknown, "has several images: db, web"),
        ("org/loose/manifests/latest", TagUnknown, "no target release"),
        ("org/plain/manifests/2.3", ScopeInsufficient, "not issued for org/plain"),
        ("org/hidden/manifests/2.3", AccessDenied, "hidden"),
        ("org/app/tags/list?n=x", RequestInvalid, "no number of tags"),
        ("app/manifests/2.3", AliasInvalid, "does not name a release"),
    ],
)
def test_refusal(path: str, error: type[RegistryError], message: str) -> None:
    """The right image, or an error that says what is wrong."""
    with pytest.raises(error, match=message) as refused:
        routed(path)
    assert LOCATION not in refused.value.message
    assert JWT not in refused.value.message


def test_unreadable_token() -> None:
    """A bad suffix makes the client get another token."""
    with pytest.raises(TokenInvalid):
        routed("org/app/manifests/2.3", f"{JWT}~forged")


def test_token_whose_table_had_to_be_cut() -> None:
    """`latest` is served where the table has no room for the target release."""
    cut = Aliases(ALIASES.locations, {}, {"org/app": TagTable(TABLE.ranked[:1])})
    found = routed("org/app/manifests/latest", append_aliases(JWT, cut))
    assert isinstance(found, Forward)
    assert (found.location, found.release, found.tagged) == (LOCATION, None, None)


def test_list_of_tags() -> None:
    """The proxy lists them itself; `latest` only where there is a target release."""
    for name, latest in (("org/app", ["latest"]), ("org/loose", [])):
        found = routed(f"{name}/tags/list")
        assert isinstance(found, TagPage)
        assert json.loads(found.body) == {
            "name": name,
            "tags": ["2.3.8", "2.3.8_rev2", "2.4.0", *latest],
        }


def test_token_is_never_shown() -> None:
    """A search that is logged does not show the token (R15)."""
    assert JWT not in repr(routed(f"org/app/blobs/{DIGEST}"))
