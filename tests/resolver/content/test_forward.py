"""A request goes upstream with the location, its own token and nothing of ours."""

import json
import logging
from contextlib import suppress

import pytest

from resolver.content.forward import Forward, Search, forward
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
    TokenInvalid,
)
from resolver.grammar.reference import parse_alias
from resolver.release.candidate import Candidates
from resolver.token.claims import append_aliases, parse_token
from resolver.token.suffix import Aliases
from tests.resolver.fake import (
    DIGEST,
    LOCATION,
    base64url,
    basic,
    candidate,
    endpoint,
    fixed,
    ident,
    jwt,
    pullable,
)
from tests.resolver.work import count_calls

JWT = jwt(pullable([LOCATION]))
ALIAS = "org/app/2.3.8"
TOKEN = append_aliases(
    JWT,
    Aliases(
        {ALIAS: fixed(), "org/app": fixed()},
        {"org/gone": ReleaseUnknown("gone"), "org/hidden": AccessDenied("hidden")},
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


UPSTREAM = {
    f"{ALIAS}/manifests/latest": "manifests/latest",
    f"{ALIAS}/manifests/2.3.8?ns=x": "manifests/latest",
    "org/app/manifests/latest": "manifests/latest",
    f"{ALIAS}/manifests/sha256-00.sig": "manifests/latest",
    f"{ALIAS}/manifests/{ARTIFACT}0": "manifests/latest",
    f"{ALIAS}/manifests/{ARTIFACT}.sig.2": "manifests/latest",
    f"{ALIAS}/manifests/{ARTIFACT}": f"manifests/{ARTIFACT}",
    f"{ALIAS}/manifests/{ARTIFACT}.sig": f"manifests/{ARTIFACT}.sig",
    f"{ALIAS}/manifests/{ARTIFACT_512}": f"manifests/{ARTIFACT_512}",
    f"{ALIAS}/manifests/{DIGEST}": f"manifests/{DIGEST}",
    f"{ALIAS}/blobs/{DIGEST}": f"blobs/{DIGEST}",
    f"{ALIAS}/tags/list?n=1&x=2": "tags/list?n=1",
    f"{ALIAS}/referrers/{DIGEST}": f"referrers/{DIGEST}",
}


@pytest.mark.parametrize(("path", "upstream"), UPSTREAM.items(), ids=ident)
def test_alias_becomes_its_location(path: str, upstream: str) -> None:
    """With its token an alias becomes the location, and a tag `latest` (R7, R9)."""
    request = forward_ignoring_tags(path)
    assert request.path == f"/v2/{LOCATION}/{upstream}"
    assert request.authorization == f"Bearer {JWT}"
    assert request.location == LOCATION
    assert str(request.alias) in {ALIAS, "org/app"}


LOGINS = {
    f"Bearer {TOKEN}": f"Bearer {JWT}",
    f"bearer  {JWT} ": f"Bearer {JWT}",
    "Bearer opaque": "Bearer opaque",
    "Bearer": None,
    "Bearer ": None,
    basic("u", "key"): None,
    "key": None,
    None: None,
}


@pytest.mark.parametrize(
    ("path", "upstream"),
    [
        ("?x=1", ""),
        (f"{LOCATION}/manifests/2.3.8", f"{LOCATION}/manifests/2.3.8"),
        ("resin/resinos/manifests/2.0.0", "resin/resinos/manifests/2.0.0"),
    ],
)
@pytest.mark.parametrize(("login", "sent"), LOGINS.items(), ids=ident)
def test_stored_name_passes(
    path: str, upstream: str, login: str | None, sent: str | None
) -> None:
    """What the registry knows passes; a suffix and an API key do not (R1, R7)."""
    assert forward_ignoring_tags(path, login) == Forward(f"/v2/{upstream}", sent)


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
        (LOCATION, f"{JWT}~forged", TokenInvalid),
        ("org.io/app", TOKEN, AliasInvalid),
        ("a/b/c/d/e", None, AliasInvalid),
    ],
    ids=ident,
)
@pytest.mark.parametrize("rest", ["manifests/latest", f"blobs/{DIGEST}", "tags/list"])
def test_refusal(
    name: str, token: str | None, error: type[RegistryError], rest: str
) -> None:
    """A token that does not carry the alias never fetches another's image (R7, R8)."""
    with pytest.raises(error) as caught:
        forward_ignoring_tags(f"{name}/{rest}", token and f"Bearer {token}")
    assert JWT not in caught.value.message
    assert LOCATION not in caught.value.message


@pytest.mark.parametrize(
    ("tag", "instead"),
    [("2.0.0-RC1", "org/app/2.0.0-rc1"), ("11e1ee", None), ("1.0.0--", None)],
)
def test_ignored_tag_is_warned_of(tag: str, instead: str | None) -> None:
    """A tag that looks like a version is answered with what would select it (R9)."""
    warning = forward_ignoring_tags(f"org/app/manifests/{tag}").warning
    assert (warning is None) is (instead is None)
    assert warning is None or f"pull {instead} for" in warning


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
            "org/app/2.3.8": fixed(),
            "org/loose": LOOSE,
            "org/old": Candidates((candidate("1.0.0", is_invalidated=True),)),
            "org/plain": fixed(),
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
    path: str, *, takes_scopes: bool = True
) -> Forward | Search | TagPage:
    """Return what becomes of the request where tags select."""
    login = f"Bearer {WIDE}"
    return forward(endpoint(path), login, selects=True, takes_scopes=takes_scopes)


SELECTED = {
    "org/app:2": (OTHER, "2.4.0", "the greatest final release of 2.x"),
    "org/app:2.3.8_rev2": (LOCATION, "2.3.8+rev2", "exactly that version"),
    "org/app:latest": (LOCATION, "2.3.8+rev2", "the target release"),
    "org/app:Pinned": (LOCATION, "2.3.8+rev2", "the target release"),
    "org/app:1.6.0": (THIRD, None, None),
    "org/app:2.3.8": (LOCATION, None, None),
    "org/plain:latest": (LOCATION, None, None),
    "org/tagged:2.4.0": (OTHER, None, None),
}


@pytest.mark.parametrize(("pulled", "expected"), SELECTED.items(), ids=ident)
@pytest.mark.parametrize("takes_scopes", [True, False])
def test_tag_selects(
    pulled: str, expected: tuple[str, str | None, str | None], *, takes_scopes: bool
) -> None:
    """The stored tag is asked for at what the tag picks, and nobody is warned (R9)."""
    name, _, tag = pulled.partition(":")
    request = forward_by_tag(f"{name}/manifests/{tag}", takes_scopes=takes_scopes)
    assert isinstance(request, Forward)
    location, version, reason = expected
    assert request.path == f"/v2/{location}/manifests/latest"
    assert (request.authorization, request.location) == (f"Bearer {WIDE_JWT}", location)
    assert (request.tag, request.warning) == (tag, None)
    assert request.scope == f"repository:{name}/{tag.lower()}:pull"
    assert (request.release and request.release.raw_version) == version
    assert (request.reason or "").startswith(reason or "")


REFUSALS = [
    ("org/app/manifests/9.9.9", TagUnknown, TagUnknown),
    ("org/app/manifests/9.9.8", ScopeInsufficient, TagUnknown),
    ("org/app/manifests/9.9.8-", TagUnknown, TagUnknown),
    ("org/app/manifests/1.0.0", TagUnknown, TagUnknown),
    ("org/loose/manifests/latest", TagUnknown, TagUnknown),
    ("org/loose/manifests/7", ScopeInsufficient, TagUnknown),
    ("org/plain/manifests/2.3", ScopeInsufficient, ScopeInsufficient),
    ("org/tagged/manifests/2", ScopeInsufficient, ScopeInsufficient),
    ("org/tagged/tags/list", ScopeInsufficient, ScopeInsufficient),
    ("org/empty/manifests/1.0.0", ScopeInsufficient, TagUnknown),
    ("org/empty/manifests/latest", TagUnknown, TagUnknown),
    ("org/hidden/manifests/2.3", AccessDenied, AccessDenied),
    ("org/hidden/manifests/1", AccessDenied, AccessDenied),
    (f"org/hidden/blobs/{DIGEST}", AccessDenied, AccessDenied),
    ("org/other/manifests/latest", ScopeInsufficient, ScopeInsufficient),
    ("org/app/tags/list?n=x", RequestInvalid, RequestInvalid),
    ("org/several/tags/list", ReleaseUnknown, ReleaseUnknown),
    (f"org/several/blobs/{DIGEST}", BlobUnknown, BlobUnknown),
    (f"org/several/manifests/{DIGEST}", TagUnknown, TagUnknown),
]


@pytest.mark.parametrize(("path", "error", "otherwise"), REFUSALS, ids=ident)
def test_tag_is_refused(
    path: str, error: type[RegistryError], otherwise: type[RegistryError]
) -> None:
    """The client is told what is wrong, or gets the token with which it is told.

    docker's classic store would not ask for another token: it is told at once.
    """
    for takes_scopes, expected in ((True, error), (False, otherwise)):
        with pytest.raises(expected) as refused:
            forward_by_tag(path, takes_scopes=takes_scopes)
        assert type(refused.value) is expected
        assert LOCATION not in refused.value.message
        assert WIDE_JWT not in refused.value.message
        if isinstance(refused.value, ScopeInsufficient):
            asked = path.replace("/manifests/", "/").removesuffix("/tags/list")
            assert refused.value.name == asked


FIRST = {
    "org/app/manifests/1.6.0": "org/app/1.6.0",
    "org/app/manifests/2.0.0-RC1": "org/app/2.0.0-rc1",
    "org/app/manifests/latest": "org/app/latest",
    "org/app/manifests/1.0.0-": None,
    f"org/app/manifests/{DIGEST}": None,
    f"org/app/manifests/{ARTIFACT}.sig": None,
    "org/app/tags/list": None,
    "org/app/2.3.8/manifests/1.6.0": None,
}


@pytest.mark.parametrize(("path", "name"), FIRST.items(), ids=ident)
def test_first_challenge_names_the_tag(path: str, name: str | None) -> None:
    """An alias goes upstream as it is; the tag's is named beside it (R6, R9)."""
    scope = name and f"repository:org/app:pull repository:{name}:pull"
    alias = parse_alias(path.partition("/manifests")[0].removesuffix("/tags/list"))
    for login in (None, basic("u", "key")):
        request = forward(endpoint(path), login, selects=True)
        assert request == Forward(f"/v2/{path}", None, alias, scope=scope)
    assert forward_ignoring_tags(path, None).scope is None


@pytest.mark.parametrize(
    "rest",
    [f"blobs/{DIGEST}", f"manifests/{DIGEST}", f"manifests/{ARTIFACT}.sig"],
)
def test_digest_may_be_at_any_location(rest: str) -> None:
    """The target's is the first; the tags that the token is for have theirs, too."""
    for name, places in (
        ("org/app", (LOCATION, OTHER, THIRD)),
        ("org/tagged", (OTHER,)),
    ):
        search = forward_by_tag(f"{name}/{rest}")
        assert isinstance(search, Search)
        assert (search.reference, search.locations) == (DIGEST, places)
    alone = forward_by_tag(f"{ALIAS}/{rest}")
    assert isinstance(alone, Forward)
    assert alone.location == LOCATION


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("org/app", ["2.3.8", "2.3.8_rev2", "2.4.0", "latest"]),
        ("org/loose", ["2.4.0"]),
        ("org/old", []),
    ],
)
def test_list_of_tags(name: str, tags: list[str]) -> None:
    """The proxy lists them itself; `latest` only where there is a target release."""
    request = forward_by_tag(f"{name}/tags/list")
    assert isinstance(request, TagPage)
    assert json.loads(request.body) == {"name": name, "tags": tags}


def test_other_replica_ignores_tags() -> None:
    """A token with candidates is good for the target there, and a tag is ignored."""
    request = forward_ignoring_tags("org/app/manifests/2.4.0", f"Bearer {WIDE}")
    assert request.location == LOCATION
    assert request.warning


def forged_rows(count: int, length: int) -> str:
    """Return a token with so many rows, whose versions are long and hardly differ."""
    text = "1.0.0-" + ".".join(["0"] * length)
    found = [[f"{text}.{number}", "", 0, 0, 0] for number in range(count)]
    payload = {"v": 2, "a": {"org/app": {"w": 1, "c": found}}, "r": {}}
    return f"{JWT}~{base64url(payload)}"


@pytest.mark.parametrize("rest", ["tags/list", "manifests/9.9.9", "manifests/9"])
@pytest.mark.parametrize(("length", "most"), [(1, 150), (28, 230)])
def test_work_grows_with_the_rows_alone(rest: str, length: int, most: int) -> None:
    """Twice as many rows take hardly more than twice the work, whatever they say (T8).

    Not a comparison of versions, identifier by identifier, for each pair of them.
    """

    def work(count: int) -> int:
        token = forged_rows(count, length)
        parse_token(token)  # Which is remembered.

        def ask() -> None:
            with suppress(TagUnknown):
                forward(
                    endpoint(f"org/app/{rest}"),
                    f"Bearer {token}",
                    selects=True,
                    takes_scopes=False,
                )

        return count_calls(ask)

    few, many = work(16), work(32)
    assert many < 2.2 * few
    assert many < most * 32
