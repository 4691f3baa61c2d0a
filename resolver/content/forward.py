"""A request under /v2/ before it goes upstream.

Rules R6 to R9 of the design: the alias becomes its location, the suffix of the token
is cut off, and the tag becomes `latest`, because balena stores one image in each
repository. Which location that is the token's candidates say: a tag picks one of them,
and a digest may be at any.
"""

from dataclasses import dataclass, field, replace

from resolver.content.tag_list import TagPage, list_tags
from resolver.errors import (
    AccessDenied,
    AliasInvalid,
    BlobUnknown,
    ContentUnknown,
    Refusal,
    RegistryError,
    ReleaseUnknown,
    ScopeInsufficient,
    TagUnknown,
    TokenError,
)
from resolver.grammar.challenge import Challenge, pull_scope
from resolver.grammar.endpoint import Base, Content, Kind
from resolver.grammar.reference import (
    Alias,
    Digest,
    Location,
    RepositoryName,
    Tag,
    artifact_digest,
    is_artifact_tag,
    is_stored_name,
    parse_alias,
)
from resolver.grammar.selector import KEYWORDS, TargetReading, parse_selector
from resolver.release.candidate import Candidates, Pick, tag_alias
from resolver.release.release import Release
from resolver.token.claims import Token, parse_token

STORED_TAG = Tag("latest")
"""The one tag of a repository that balena stores a release image in."""

FORWARDED_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "range",
        "user-agent",
    }
)
"""What of a request goes upstream, beside the token: nothing that tells where the
client is (R14), no cookie, and no other login."""


@dataclass(frozen=True, slots=True)
class Forward:
    """The request as it goes upstream."""

    path: str
    authorization: str | None = field(repr=False)
    alias: Alias | None = None
    """The name that the client used, where it is not the registry's own."""
    location: Location | None = None
    """What stands for it upstream; None as long as the client has no token."""
    scope: str | None = None
    """What a challenge in the answer asks for, where that is more than the alias."""
    warning: str | None = None
    """What the client should be told beside the answer."""
    tag: str | None = None
    """The tag that selected the release, where one did."""
    release: Release | None = None
    """Whose image it is, as far as the token tells."""
    reason: str | None = None
    """Why the tag selected that one."""


@dataclass(frozen=True, slots=True)
class Search:
    """A request for something that one of several locations has, or none."""

    target: Content
    alias: Alias
    sought: Digest | Tag
    """Its digest; or a tag, where that says only a part of one."""
    jwt: str = field(repr=False)
    lists: tuple[Candidates, ...]
    locations: tuple[Location, ...]
    """Where it may be; that of the target release first."""
    tagged: tuple[str, ...] = ()
    """The aliases of tags that the token is for."""

    @property
    def unknown(self) -> ContentUnknown:
        """The error where none of the locations has it."""
        error = BlobUnknown if self.kind is Kind.BLOB else TagUnknown
        count = sum(map(len, self.lists))
        return error(
            f"{self.sought} is in none of the {count} releases of {self.alias} that"
            f" tags find; what is in another one is pulled as"
            f" {self.alias.slug}/<version>@{self.sought}"
        )

    @property
    def kind(self) -> Kind:
        """What is looked for: a manifest or a blob."""
        return Kind.BLOB if self.target.kind is Kind.BLOB else Kind.MANIFEST

    @property
    def is_manifest(self) -> bool:
        """Whether a manifest is asked for by its digest."""
        is_sought = self.target.reference == self.sought
        return is_sought and self.target.kind is Kind.MANIFEST

    def at(self, location: Location) -> Forward:
        """Return the request as it goes to that location."""
        found = (candidates.release_at(location) for candidates in self.lists)
        release = next(filter(None, found), None)
        decided = _send_to(self.target, self.alias, location, self.jwt)
        return replace(decided, release=release)


def forward(
    target: Base | Content,
    authorization: str | None,
    *,
    selects: bool,
    takes_scopes: bool = True,
) -> Forward | Search | TagPage:
    """Return the request that goes upstream, or where it may have to go, or its answer.

    Only a Bearer token goes along: an API key is nothing for the registry.

    Args:
        target: what is asked for.
        authorization: what the client sent.
        selects: whether the tag of an alias without selector selects (R9).
        takes_scopes: whether the client gets another token where a challenge says so.

    Raises:
        AliasInvalid: the name is neither alias nor location.
        Refusal: the alias was refused when the token was issued (R8).
        TagUnknown: the tag selects nothing that can be pulled.
        TokenInvalid: the token's suffix cannot be read.
        ScopeInsufficient: the token does not carry the alias, or that of the tag (R7).
        RequestInvalid: a list of tags is asked for in no number.

    """
    bearer = bearer_token(authorization)
    if isinstance(target, Base) or is_stored_name(target.name):
        jwt = parse_token(bearer).jwt if bearer else None
        return Forward(target.path, _authorization(jwt))
    alias = parse_alias(target.name)
    tagged = None
    if selects and is_own_tag(target):
        tagged = tag_alias(alias, str(target.reference))
    if bearer is None:
        scope = scope_of(alias, tagged) if tagged else None
        return Forward(target.path, None, alias, scope=scope)
    token = parse_token(bearer)
    if target.kind is Kind.TAGS:
        return _list(target, alias, token)
    if not is_own_tag(target):
        return _find(target, alias, token, selects=selects)
    if not selects or alias.selector is not None:
        return _send_any(target, alias, token)
    decided = _pick(target, alias, tagged, token, takes_scopes=takes_scopes)
    scope = scope_of(tagged) if tagged else None
    return replace(decided, scope=scope, tag=str(target.reference))


def scope_of(*aliases: Alias) -> str:
    """Return the scope of a challenge for these."""
    return " ".join(pull_scope(str(alias)) for alias in aliases)


def challenge_for(
    error: TokenError, target: Base | Content, token_url: str, service: str
) -> Challenge:
    """Return the challenge that tells the client which token to get."""
    scope = pull_scope(target.name) if isinstance(target, Content) else None
    if isinstance(error, ScopeInsufficient) and error.name:
        scope = pull_scope(error.name)
    return Challenge(token_url, service, scope, error.error)


def is_own_tag(target: Content) -> bool:
    """Return whether a manifest is asked for by a tag of the user's own (rule R9)."""
    return (
        target.kind is Kind.MANIFEST
        and target.reference is not None
        and ":" not in target.reference
        and not is_artifact_tag(target.reference)
    )


def bearer_token(authorization: str | None) -> str | None:
    """Return the token in an ``Authorization`` header, or None for another login."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def not_issued_for(alias: Alias) -> ScopeInsufficient:
    """Return the error that makes a client get another token (R7)."""
    return ScopeInsufficient(
        f"the token was not issued for {alias}; a client gets one by itself, so"
        " try again, or log out and in",
        name=str(alias),
    )


def _pick(
    target: Content,
    alias: Alias,
    tagged: Alias | None,
    token: Token,
    *,
    takes_scopes: bool,
) -> Forward:
    """Return the request for what the tag of `<org>/<app>` picks."""
    tag = str(target.reference)
    is_target = tag.lower() in KEYWORDS
    may_ask_again = tagged is not None and takes_scopes
    if tagged and (refusal := token.refusal(str(tagged))):
        raise _of_tag(refusal) from refusal
    found = token.candidates(str(tagged)) if tagged else None
    own = found or token.candidates(target.name)
    # A fixed one of the application is its target, by a replica that ignores tags.
    if own and (found or is_target or not own.is_fixed):
        if pick := own.pick(alias, tag):
            return _send(target, alias, pick, token)
        if not is_target:
            unknown = own.unknown(alias, tag)
            if not may_ask_again:
                raise unknown
            raise ScopeInsufficient(unknown.message, name=str(tagged)) from unknown
    if refusal := token.refusal(target.name):
        is_final = isinstance(refusal, AccessDenied | AliasInvalid)
        if is_final or is_target or not may_ask_again:
            raise _of_tag(refusal) from refusal
    raise not_issued_for(tagged or alias)


def _send_any(target: Content, alias: Alias, token: Token) -> Forward:
    """Return the request where the tag says nothing."""
    own = token.candidates(target.name)
    pick = own.pick(alias, STORED_TAG) if own else None
    if pick is None:
        raise token.refusal(target.name) or not_issued_for(alias)
    warning = _tag_warning(alias, str(target.reference))
    return replace(_send(target, alias, pick, token), warning=warning)


def _list(target: Content, alias: Alias, token: Token) -> Forward | TagPage:
    """Return the tags; nothing that the holder of the token does not hold already."""
    own = token.candidates(target.name)
    if own is None:
        raise token.refusal(target.name) or not_issued_for(alias)
    if own.is_fixed:
        return _send_to(target, alias, own.locations[0], token.jwt)
    tags = own.tags()
    if own.pick(alias, STORED_TAG):
        tags.append(STORED_TAG)
    if not own.locations:
        example = f"{alias.slug}/<version>/<service>"
        raise ReleaseUnknown(
            f"{alias.slug} has no release that a tag can pull: each has several images,"
            f" and one is pulled by path, as in {example}"
        )
    return list_tags(target.name, tags, target.query)


def _find(
    target: Content, alias: Alias, token: Token, *, selects: bool
) -> Forward | Search:
    """Return the request for what a digest names, or the locations where it may be."""
    own = token.candidates(target.name)
    lists: tuple[Candidates, ...] = (own,) if own else ()
    is_many = selects and alias.selector is None
    tagged = token.beside(alias) if is_many else {}
    lists += tuple(tagged.values())
    if not lists:
        raise token.refusal(target.name) or not_issued_for(alias)
    places = tuple(dict.fromkeys(p for found in lists for p in found.locations))
    assert target.reference, "a list is not searched for"  # noqa: S101
    sought = artifact_digest(target.reference) or target.reference
    search = Search(target, alias, sought, token.jwt, lists, places, tuple(tagged))
    if not places:
        raise search.unknown
    return search if is_many or len(places) > 1 else search.at(places[0])


def _of_tag(refusal: Refusal) -> RegistryError:
    """Return the refusal of a tag: a wrong one is told like a wrong path (R9)."""
    is_unknown = isinstance(refusal, ReleaseUnknown)
    return TagUnknown(refusal.message) if is_unknown else refusal


def _send(target: Content, alias: Alias, pick: Pick, token: Token) -> Forward:
    """Return the request for the one tag under which balena stores an image."""
    stored = replace(target, reference=STORED_TAG)
    return replace(
        _send_to(stored, alias, pick.location, token.jwt),
        release=pick.candidate.release,
        reason=pick.reason or None,
    )


def _send_to(target: Content, alias: Alias, location: Location, jwt: str) -> Forward:
    """Return the request for what is stored at the location."""
    stored = replace(target, name=RepositoryName(location))
    return Forward(stored.path, _authorization(jwt), alias, location)


def _tag_warning(alias: Alias, tag: str) -> str | None:
    """Return what to say about a tag that looks like a version and selects nothing."""
    selector = tag.lower()
    readings = parse_selector(selector)
    selects = bool(readings) and not isinstance(readings, TargetReading)
    if not selects or selector == alias.selector:
        return None
    try:
        named = parse_alias(str(Alias(alias.slug, selector, alias.image_service)))
    except AliasInvalid:
        return None  # A tag may end in a hyphen, a name may not.
    return f"the tag {tag} selects nothing and is ignored: pull {named} for that one"


def _authorization(jwt: str | None) -> str | None:
    return None if jwt is None else f"Bearer {jwt}"
