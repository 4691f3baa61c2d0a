"""A request goes upstream with the location, its own token and nothing of ours."""

import json
import logging

import pytest

from resolver.content.forward import (
    Forward,
    Search,
    challenge_for,
    forward,
)
from resolver.content.tag_list import TagPage
from resolver.errors import (
    AccessDenied,
    AliasInvalid,
    BlobUnknown,
    RegistryError,
    ReleaseUnknown,
    RequestInvalid,
    ScopeInsufficient,
    TagUnknown,
    TokenError,
    TokenInvalid,
)
from resolver.grammar.challenge import Challenge
from resolver.release.candidate import Candidates
from resolver.token.claims import append_aliases
from resolver.token.suffix import Aliases
from tests.resolver.fake import (
    DIGEST,
    LOCATION,
    REGISTRY_HOST,
    basic,
    candidate,
    endpoint,
    fixed,
    ident,
    jwt,
    pullable,
)

JWT = jwt([{"type": "repository", "name": LOCATION, "actions": ["pull"]}])
ALIAS = "org/app/2.3.8"
TOKEN = append_aliases(
    JWT,
    Aliases(
        {ALIAS: fixed(LOCATION), "org/app": fixed(LOCATION)},
        {
            "org/gone": ReleaseUnknown("gone"),
            "org/hidden": AccessDenied("hidden"),
        },
    ),
)
ARTIFACT = "sha256-" + "a1" * 32
ARTIFACT_512 = "sha512-" + "a1" * 32


def forward_ignoring_tags(
    path: str, authorization: str | None = f"Bearer {TOKEN}"
) -> Forward:
    """Return the request as it goes upstream, where tags are ignored."""
    request = forward(endpoint(path), authorization, selects=False)
    assert isinstance(request, Forward)
    return request


@pytest.mark.parametrize(
    ("path", "upstream"),
    [
        (f"{ALIAS}/manifests/latest", "manifests/latest"),
        (f"{ALIAS}/manifests/2.3.8", "manifests/latest"),
        (f"{ALIAS}/manifests/{DIGEST}", f"manifests/{DIGEST}"),
        (f"{ALIAS}/manifests/{ARTIFACT}", f"manifests/{ARTIFACT}"),
        (f"{ALIAS}/manifests/{ARTIFACT}.sig", f"manifests/{ARTIFACT}.sig"),
        (f"{ALIAS}/manifests/{ARTIFACT_512}", f"manifests/{ARTIFACT_512}"),
        (f"{ALIAS}/manifests/sha256-00.sig", "manifests/latest"),
        (f"{ALIAS}/manifests/{ARTIFACT}0", "manifests/latest"),
        (f"{ALIAS}/manifests/{ARTIFACT}.sig.2", "manifests/latest"),
        (f"{ALIAS}/manifests/latest?ns=x", "manifests/latest"),
        (f"{ALIAS}/blobs/{DIGEST}", f"blobs/{DIGEST}"),
        (f"{ALIAS}/tags/list?n=1&x=2", "tags/list?n=1"),
        (f"{ALIAS}/referrers/{DIGEST}", f"referrers/{DIGEST}"),
        ("org/app/manifests/latest", "manifests/latest"),
    ],
    ids=ident,
)
def test_alias_becomes_its_location(path: str, upstream: str) -> None:
    """With its token an alias becomes the location, and a tag `latest` (R7, R9)."""
    request = forward_ignoring_tags(path)
    assert request.path == f"/v2/{LOCATION}/{upstream}"
    assert request.authorization == f"Bearer {JWT}"
    assert request.location == LOCATION
    assert str(request.alias) in {ALIAS, "org/app"}


@pytest.mark.parametrize(
    ("path", "upstream"),
    [
        ("", "/v2/"),
        ("?x=1", "/v2/"),
        (f"{LOCATION}/manifests/latest", f"/v2/{LOCATION}/manifests/latest"),
        (f"{LOCATION}/manifests/2.3.8", f"/v2/{LOCATION}/manifests/2.3.8"),
        (f"{LOCATION}/blobs/{DIGEST}", f"/v2/{LOCATION}/blobs/{DIGEST}"),
        ("resin/resinos/manifests/2.0.0", "/v2/resin/resinos/manifests/2.0.0"),
    ],
)
@pytest.mark.parametrize(
    ("authorization", "sent"),
    [
        (f"Bearer {TOKEN}", f"Bearer {JWT}"),
        (f"bearer  {JWT} ", f"Bearer {JWT}"),
        ("Bearer opaque", "Bearer opaque"),
        ("Bearer", None),
        ("Bearer ", None),
        (basic("u", "key"), None),
        ("key", None),
        ("", None),
        (None, None),
    ],
    ids=["suffixed", "jwt", "opaque", "bare", "empty", "basic", "odd", "blank", "none"],
)
def test_stored_name_passes(
    path: str, upstream: str, authorization: str | None, sent: str | None
) -> None:
    """What the registry knows passes; a suffix and an API key do not (R1, R7)."""
    request = forward_ignoring_tags(path, authorization)
    assert request == Forward(upstream, sent)


@pytest.mark.parametrize("authorization", [None, "", "Bearer", basic("u", "key")])
def test_alias_without_token_meets_the_challenge(authorization: str | None) -> None:
    """Without a token the alias goes upstream, which challenges for it (R6)."""
    request = forward_ignoring_tags(f"{ALIAS}/manifests/2.3.8", authorization)
    assert request.path == f"/v2/{ALIAS}/manifests/2.3.8"
    assert (request.authorization, request.location) == (None, None)
    assert str(request.alias) == ALIAS


@pytest.mark.parametrize(
    ("name", "token", "error"),
    [
        ("org/other", TOKEN, ScopeInsufficient),
        ("org/app/2.3.8/main", TOKEN, ScopeInsufficient),
        (ALIAS, JWT, ScopeInsufficient),
        (ALIAS, "opaque", ScopeInsufficient),
        ("org/gone", TOKEN, ReleaseUnknown),
        ("org/hidden", TOKEN, AccessDenied),
        (ALIAS, f"{JWT}~", TokenInvalid),
        (ALIAS, f"{TOKEN}~", TokenInvalid),
        (ALIAS, f"{TOKEN}é", TokenInvalid),
        (LOCATION, f"{JWT}~forged", TokenInvalid),
        ("app", TOKEN, AliasInvalid),
        ("org.io/app", TOKEN, AliasInvalid),
    ],
    ids=ident,
)
@pytest.mark.parametrize("rest", ["manifests/latest", f"blobs/{DIGEST}", "tags/list"])
def test_refusal(name: str, token: str, error: type[RegistryError], rest: str) -> None:
    """A token that does not carry the alias never fetches another's image (R7, R8)."""
    with pytest.raises(error) as caught:
        forward_ignoring_tags(f"{name}/{rest}", f"Bearer {token}")
    assert JWT not in caught.value.message
    assert LOCATION not in caught.value.message


@pytest.mark.parametrize("name", ["app", "a/b/c/d/e", "org/my.app"])
def test_malformed_alias_is_refused_without_token(name: str) -> None:
    """A name that can never be an alias is refused at once (R6)."""
    with pytest.raises(AliasInvalid):
        forward_ignoring_tags(f"{name}/manifests/latest", None)


@pytest.mark.parametrize(
    ("name", "tag", "instead"),
    [
        ("org/app", "2.3.9", "org/app/2.3.9"),
        ("org/app", "2", "org/app/2"),
        ("org/app", "2.0.0-RC1", "org/app/2.0.0-rc1"),
        ("org/app", "2.3.8_rev1", "org/app/2.3.8_rev1"),
        ("org/app", "11e1ee2", "org/app/11e1ee2"),
        (ALIAS, "2.3.9", "org/app/2.3.9"),
        (ALIAS, "2.3.8", None),
        (ALIAS, "latest", None),
        ("org/app", "latest", None),
        ("org/app", "my-tag", None),
        ("org/app", "11e1ee", None),
        ("org/app", "1.0.0--", None),
        ("org/app", ARTIFACT, None),
        ("org/app", DIGEST, None),
    ],
    ids=ident,
)
def test_ignored_tag_is_warned_of(name: str, tag: str, instead: str | None) -> None:
    """A tag that looks like a version is answered with what would select it (R9)."""
    warning = forward_ignoring_tags(f"{name}/manifests/{tag}").warning
    assert (warning is None) is (instead is None)
    if warning:
        assert f"the tag {tag} " in warning
        assert f"pull {instead} " in warning
        assert warning.isprintable()
        assert warning.isascii()
        assert '"' not in warning


@pytest.mark.parametrize(
    ("path", "error", "scope"),
    [
        ("", TokenInvalid("x"), None),
        (f"{ALIAS}/tags/list", TokenInvalid("x"), f"repository:{ALIAS}:pull"),
        (
            f"{ALIAS}/manifests/latest",
            ScopeInsufficient("x"),
            f"repository:{ALIAS}:pull",
        ),
        (
            "org/app/manifests/1.6.0",
            ScopeInsufficient("x", name="org/app/1.6.0"),
            "repository:org/app/1.6.0:pull",
        ),
    ],
    ids=ident,
)
def test_challenge(path: str, error: TokenError, scope: str | None) -> None:
    """A token that does not serve is answered with a challenge for the alias (R7)."""
    realm = "https://proxy.example/auth/v1/token"
    request = challenge_for(error, endpoint(path), realm, REGISTRY_HOST)
    assert request == Challenge(realm, REGISTRY_HOST, scope, error.error)
    assert error.error in {"invalid_token", "insufficient_scope"}


def test_token_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither text nor log of a forwarded request has the token in it (R15)."""
    caplog.set_level(logging.DEBUG)
    request = forward_ignoring_tags(f"{ALIAS}/manifests/latest")
    assert JWT not in f"{request} {request!r} {caplog.text}"


OTHER = f"v2/{'1' * 32}"
THIRD = f"v2/{'2' * 32}"
MANY = Candidates(
    (
        candidate("2.4.0", OTHER, commit="a" * 32),
        candidate(is_target=True),
        candidate("1.0.0", None, "web", "db", commit="b" * 32),
    )
)
LOOSE = Candidates(MANY.rows[:1] + MANY.rows[2:])
WIDE_JWT = jwt(pullable([LOCATION, OTHER, THIRD]))
WIDE = append_aliases(
    WIDE_JWT,
    Aliases(
        {
            "org/app": MANY,
            "org/app/1.6.0": fixed(THIRD),
            "org/app/2.3.8": fixed(LOCATION),
            "org/loose": LOOSE,
            "org/old": Candidates((candidate("1.0.0", is_invalidated=True),)),
            "org/plain": fixed(LOCATION),
            "org/several": Candidates(MANY.rows[2:]),
            "org/tagged/2.4.0": fixed(OTHER),
        },
        {
            "org/app/9.9.9": ReleaseUnknown("has no release 9.9.9"),
            "org/hidden": AccessDenied("hidden"),
            "org/hidden/1": AccessDenied("hidden"),
            "org/loose": ReleaseUnknown("no target release"),
            "org/empty": ReleaseUnknown("it offers no version"),
        },
    ),
)


def forward_by_tag(
    path: str, token: str | None = WIDE, *, takes_scopes: bool = True
) -> Forward | Search | TagPage:
    """Return what becomes of the request where tags select."""
    login = None if token is None else f"Bearer {token}"
    return forward(endpoint(path), login, selects=True, takes_scopes=takes_scopes)


@pytest.mark.parametrize(
    ("path", "location", "version", "reason"),
    [
        ("org/app/manifests/2", OTHER, "2.4.0", "the greatest final release of 2.x"),
        ("org/app/manifests/2.3", LOCATION, "2.3.8+rev2", "the greatest final release"),
        (
            "org/app/manifests/2.3.8_rev2",
            LOCATION,
            "2.3.8+rev2",
            "exactly that version",
        ),
        ("org/app/manifests/b4b201f", LOCATION, "2.3.8+rev2", "the one release whose"),
        ("org/app/manifests/latest", LOCATION, "2.3.8+rev2", "the target release"),
        ("org/app/manifests/Pinned", LOCATION, "2.3.8+rev2", "the target release"),
        ("org/app/manifests/1.6.0", THIRD, None, None),
        ("org/app/manifests/2.3.8", LOCATION, None, None),
        ("org/plain/manifests/latest", LOCATION, None, None),
        ("org/tagged/manifests/2.4.0", OTHER, None, None),
    ],
)
@pytest.mark.parametrize("takes_scopes", [True, False])
def test_tag_selects(
    path: str,
    location: str,
    version: str | None,
    reason: str | None,
    *,
    takes_scopes: bool,
) -> None:
    """The stored tag is asked for at what the tag picks, and nobody is warned (R9)."""
    request = forward_by_tag(path, takes_scopes=takes_scopes)
    assert isinstance(request, Forward)
    assert request.path == f"/v2/{location}/manifests/latest"
    assert (request.authorization, request.location) == (f"Bearer {WIDE_JWT}", location)
    name, _, tag = path.partition("/manifests/")
    assert (request.tag, request.warning) == (tag, None)
    assert request.scope == f"repository:{name}/{tag.lower()}:pull"
    assert (request.release and request.release.raw_version) == version
    assert (request.reason or "").startswith(reason or "")


REFUSALS = [
    ("org/app/manifests/9.9.9", TagUnknown, TagUnknown, "has no release 9.9.9"),
    ("org/app/manifests/9.9.8", ScopeInsufficient, TagUnknown, "no release 9.9.8"),
    ("org/app/manifests/9.9.8-", TagUnknown, TagUnknown, "no release 9.9.8- "),
    ("org/app/manifests/1.0.0", TagUnknown, TagUnknown, "several images: db, web"),
    ("org/loose/manifests/latest", TagUnknown, TagUnknown, "no target release"),
    ("org/loose/manifests/7", ScopeInsufficient, TagUnknown, "no release 7 "),
    ("org/plain/manifests/2.3", ScopeInsufficient, ScopeInsufficient, "not issued for"),
    ("org/tagged/manifests/2", ScopeInsufficient, ScopeInsufficient, "not issued for"),
    ("org/tagged/tags/list", ScopeInsufficient, ScopeInsufficient, "not issued for"),
    ("org/empty/manifests/1.0.0", ScopeInsufficient, TagUnknown, ""),
    ("org/empty/manifests/latest", TagUnknown, TagUnknown, "offers no version"),
    ("org/hidden/manifests/2.3", AccessDenied, AccessDenied, "hidden"),
    ("org/hidden/manifests/1", AccessDenied, AccessDenied, "hidden"),
    (f"org/hidden/blobs/{DIGEST}", AccessDenied, AccessDenied, "hidden"),
    ("org/other/manifests/latest", ScopeInsufficient, ScopeInsufficient, "/latest"),
    ("org/app/tags/list?n=x", RequestInvalid, RequestInvalid, "no number of tags"),
    ("org/several/tags/list", ReleaseUnknown, ReleaseUnknown, "<version>/<service>"),
    (f"org/several/blobs/{DIGEST}", BlobUnknown, BlobUnknown, "<version>@sha256:a1"),
    (f"org/several/manifests/{DIGEST}", TagUnknown, TagUnknown, "<version>@sha256:a1"),
    ("app/manifests/2.3", AliasInvalid, AliasInvalid, "does not name a release"),
]


@pytest.mark.parametrize(("path", "error", "else_", "message"), REFUSALS, ids=ident)
def test_tag_is_refused(
    path: str, error: type[RegistryError], else_: type[RegistryError], message: str
) -> None:
    """The client is told what is wrong, or gets the token with which it is told.

    docker's classic store would not ask for another token: it is told at once.
    """
    for takes_scopes, expected in ((True, error), (False, else_)):
        with pytest.raises(expected) as refused:
            forward_by_tag(path, takes_scopes=takes_scopes)
        assert type(refused.value) is expected
        assert message in refused.value.message
        assert LOCATION not in refused.value.message
        assert WIDE_JWT not in refused.value.message
        if isinstance(refused.value, ScopeInsufficient):
            name, _, tag = path.partition("/manifests/")
            asked = f"{name}/{tag}" if tag else name.removesuffix("/tags/list")
            assert refused.value.name == asked


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("org/app/manifests/1.6.0", "repository:org/app/1.6.0:pull"),
        ("org/app/manifests/2.0.0-RC1", "repository:org/app/2.0.0-rc1:pull"),
        ("org/app/manifests/latest", "repository:org/app/latest:pull"),
        ("org/app/manifests/1.0.0-", None),
        (f"org/app/manifests/{DIGEST}", None),
        (f"org/app/manifests/{ARTIFACT}.sig", None),
        ("org/app/tags/list", None),
        ("org/app/2.3.8/manifests/1.6.0", None),
    ],
)
def test_first_challenge_names_the_tag(path: str, scope: str | None) -> None:
    """It names the tag's alias beside the application (R9)."""
    request = forward_by_tag(path, token=None)
    assert isinstance(request, Forward)
    assert request.path == f"/v2/{path}"
    assert request.scope == (scope and f"repository:org/app:pull {scope}")
    assert forward_ignoring_tags(path, None).scope is None


@pytest.mark.parametrize(
    ("rest", "kind"),
    [
        (f"blobs/{DIGEST}", "blobs"),
        (f"manifests/{DIGEST}", "manifests"),
        (f"referrers/{DIGEST}", "manifests"),
        (f"manifests/{ARTIFACT}.sig", "manifests"),
    ],
)
def test_digest_may_be_at_any_location(rest: str, kind: str) -> None:
    """The target's is the first; the tags that the token is for have theirs, too."""
    request = forward_by_tag(f"org/app/{rest}")
    assert isinstance(request, Search)
    assert (request.reference, request.kind) == (DIGEST, kind)
    assert request.locations == (LOCATION, OTHER, THIRD)
    there = request.at(request.locations[1])
    assert there.path == f"/v2/{OTHER}/{rest}"
    assert there.release
    assert there.release.raw_version == "2.4.0"
    tagged = forward_by_tag(f"org/tagged/{rest}")
    assert isinstance(tagged, Search)
    assert tagged.locations == (OTHER,)
    alone = forward_by_tag(f"{ALIAS}/{rest}")
    assert isinstance(alone, Forward)
    assert alone.location == LOCATION


def test_list_of_tags() -> None:
    """The proxy lists them itself; `latest` only where there is a target release."""
    for name, tags in (
        ("org/app", ["2.3.8", "2.3.8_rev2", "2.4.0", "latest"]),
        ("org/loose", ["2.4.0"]),
        ("org/old", []),
    ):
        request = forward_by_tag(f"{name}/tags/list")
        assert isinstance(request, TagPage)
        assert json.loads(request.body) == {"name": name, "tags": tags}


def test_other_replica_ignores_tags() -> None:
    """A token with candidates is good for the target there, and a tag is ignored."""
    request = forward_ignoring_tags("org/app/manifests/2.4.0", f"Bearer {WIDE}")
    assert request.location == LOCATION
    assert request.warning
