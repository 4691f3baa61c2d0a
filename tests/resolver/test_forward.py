"""A request goes upstream with the location, its own token and nothing of ours."""

import logging

import pytest

from resolver.challenge import Challenge
from resolver.errors import (
    AccessDenied,
    AliasInvalid,
    RegistryError,
    ReleaseUnknown,
    ScopeInsufficient,
    TokenError,
    TokenInvalid,
)
from resolver.forward import FORWARDED_HEADERS, Forward, challenge_for, forward
from resolver.reference import Location
from resolver.target import Base, Content, parse_target
from resolver.token import Aliases, append_aliases
from tests.resolver.fake import DIGEST, LOCATION, REGISTRY_HOST, basic, ident, jwt

JWT = jwt([{"type": "repository", "name": LOCATION, "actions": ["pull"]}])
ALIAS = "org/app/2.3.8"
TOKEN = append_aliases(
    JWT,
    Aliases(
        {ALIAS: Location(LOCATION), "org/app": Location(LOCATION)},
        {
            "org/gone": ReleaseUnknown("gone"),
            "org/hidden": AccessDenied("hidden"),
        },
    ),
)
ARTIFACT = "sha256-" + "a1" * 32
ARTIFACT_512 = "sha512-" + "a1" * 32


def target(path: str) -> Base | Content:
    """Return what the path under /v2/ is for."""
    found = parse_target("GET", f"/v2/{path}")
    assert isinstance(found, Base | Content)
    return found


def forwarded(path: str, authorization: str | None = f"Bearer {TOKEN}") -> Forward:
    """Return the request as it goes upstream."""
    return forward(target(path), authorization)


@pytest.mark.parametrize(
    ("path", "upstream"),
    [
        (f"{ALIAS}/manifests/latest", "manifests/latest"),
        (f"{ALIAS}/manifests/2.3.8", "manifests/latest"),
        (f"{ALIAS}/manifests/anything", "manifests/latest"),
        (f"{ALIAS}/manifests/{DIGEST}", f"manifests/{DIGEST}"),
        (f"{ALIAS}/manifests/{ARTIFACT}", f"manifests/{ARTIFACT}"),
        (f"{ALIAS}/manifests/{ARTIFACT}.sig", f"manifests/{ARTIFACT}.sig"),
        (f"{ALIAS}/manifests/{ARTIFACT}.att", f"manifests/{ARTIFACT}.att"),
        (f"{ALIAS}/manifests/{ARTIFACT}.sbom", f"manifests/{ARTIFACT}.sbom"),
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
    found = forwarded(path)
    assert found.path == f"/v2/{LOCATION}/{upstream}"
    assert found.authorization == f"Bearer {JWT}"
    assert found.location == LOCATION
    assert str(found.alias) in {ALIAS, "org/app"}


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
    found = forwarded(path, authorization)
    assert found == Forward(upstream, sent)


@pytest.mark.parametrize("authorization", [None, "", "Bearer", basic("u", "key")])
def test_alias_without_token_meets_the_challenge(authorization: str | None) -> None:
    """Without a token the alias goes upstream, which challenges for it (R6)."""
    found = forwarded(f"{ALIAS}/manifests/2.3.8", authorization)
    assert found.path == f"/v2/{ALIAS}/manifests/2.3.8"
    assert (found.authorization, found.location) == (None, None)
    assert str(found.alias) == ALIAS


@pytest.mark.parametrize(
    ("name", "token", "error"),
    [
        ("org/other", TOKEN, ScopeInsufficient),
        ("org/app/2.3.9", TOKEN, ScopeInsufficient),
        ("org/app/2.3.8/main", TOKEN, ScopeInsufficient),
        (ALIAS, JWT, ScopeInsufficient),
        (ALIAS, "opaque", ScopeInsufficient),
        ("org/gone", TOKEN, ReleaseUnknown),
        ("org/hidden", TOKEN, AccessDenied),
        ("org/gone/2.3.8", TOKEN, ScopeInsufficient),
        (ALIAS, f"{JWT}~", TokenInvalid),
        (ALIAS, f"{TOKEN}~", TokenInvalid),
        (ALIAS, f"{TOKEN}é", TokenInvalid),
        (LOCATION, f"{JWT}~forged", TokenInvalid),
        ("app", TOKEN, AliasInvalid),
        ("a/b/c/d/e", TOKEN, AliasInvalid),
        ("org.io/app", TOKEN, AliasInvalid),
    ],
    ids=ident,
)
@pytest.mark.parametrize("rest", ["manifests/latest", f"blobs/{DIGEST}", "tags/list"])
def test_refusal(name: str, token: str, error: type[RegistryError], rest: str) -> None:
    """A token that does not carry the alias never fetches another's image (R7, R8)."""
    with pytest.raises(error) as caught:
        forwarded(f"{name}/{rest}", f"Bearer {token}")
    assert JWT not in caught.value.message
    assert LOCATION not in caught.value.message


@pytest.mark.parametrize("name", ["app", "a/b/c/d/e", "org/my.app"])
def test_malformed_alias_is_refused_without_token(name: str) -> None:
    """A name that can never be an alias is refused at once (R6)."""
    with pytest.raises(AliasInvalid):
        forwarded(f"{name}/manifests/latest", None)


def test_base_refuses_a_forged_token() -> None:
    """A suffix that cannot be read is refused on any path."""
    with pytest.raises(TokenInvalid):
        forwarded("", f"Bearer {JWT}~forged")


def test_alias_claim_serves() -> None:
    """A plain JWT of the API serves for the alias that it names (R7)."""
    token = jwt([{"name": LOCATION, "actions": ["pull"], "alias": ALIAS}])
    found = forwarded(f"{ALIAS}/manifests/latest", f"Bearer {token}")
    assert found.path == f"/v2/{LOCATION}/manifests/latest"
    assert found.authorization == f"Bearer {token}"


@pytest.mark.parametrize(
    ("name", "tag", "instead"),
    [
        ("org/app", "2.3.9", "org/app/2.3.9"),
        ("org/app", "2", "org/app/2"),
        ("org/app", "2.3", "org/app/2.3"),
        ("org/app", "v2.3.9", "org/app/v2.3.9"),
        ("org/app", "2.0.0-RC1", "org/app/2.0.0-rc1"),
        ("org/app", "2.3.8_rev1", "org/app/2.3.8_rev1"),
        ("org/app", "11e1ee2", "org/app/11e1ee2"),
        (ALIAS, "2.3.9", "org/app/2.3.9"),
        (ALIAS, "2.3.8", None),
        (ALIAS, "latest", None),
        ("org/app", "latest", None),
        ("org/app", "main", None),
        ("org/app", "my-tag", None),
        ("org/app", "vnext", None),
        ("org/app", "11e1ee", None),
        ("org/app", "1.0.0--", None),
        ("org/app", ARTIFACT, None),
        ("org/app", DIGEST, None),
    ],
    ids=ident,
)
def test_ignored_tag_is_warned_of(name: str, tag: str, instead: str | None) -> None:
    """A tag that looks like a version is answered with what would select it (R9)."""
    warning = forwarded(f"{name}/manifests/{tag}").warning
    assert (warning is None) is (instead is None)
    if warning:
        assert f"the tag {tag} " in warning
        assert f"pull {instead} " in warning
        assert warning.isprintable()
        assert warning.isascii()
        assert '"' not in warning


@pytest.mark.parametrize("name", [LOCATION, "resin/resinos"])
def test_tag_of_a_stored_name_counts(name: str) -> None:
    """A location's tag is not ignored, so nobody is warned."""
    assert forwarded(f"{name}/manifests/2.3.9").warning is None


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
    ],
    ids=ident,
)
def test_challenge(path: str, error: TokenError, scope: str | None) -> None:
    """A token that does not serve is answered with a challenge for the alias (R7)."""
    realm = "https://proxy.example/auth/v1/token"
    found = challenge_for(error, target(path), realm, REGISTRY_HOST)
    assert found == Challenge(realm, REGISTRY_HOST, scope, error.error)
    assert error.error in {"invalid_token", "insufficient_scope"}


def test_headers_are_forwarded_by_name() -> None:
    """What content negotiation and ranges need goes on, in lower case."""
    assert {"accept", "range", "if-range", "user-agent"} < FORWARDED_HEADERS
    assert all(name == name.lower() for name in FORWARDED_HEADERS)


def test_token_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither text nor log of a forwarded request has the token in it (R15)."""
    caplog.set_level(logging.DEBUG)
    found = forwarded(f"{ALIAS}/manifests/latest")
    assert JWT not in f"{found} {found!r} {caplog.text}"
