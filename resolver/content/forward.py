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
from resolver.grammar.challenge import Challenge
from resolver.grammar.credential import bearer_token, parse_login
from resolver.grammar.endpoint import Base, Content, ContentKind
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
from resolver.grammar.scope import Scope
from resolver.grammar.selector import KEYWORDS, parse_selector
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
    repository: str = ""
    """The name that the client used, where it is the registry's own."""
    needs_token: bool = True
    """Whether nobody gets anything without a token."""

    @property
    def name(self) -> str:
        """What the client wants something of, by the name that it used."""
        return self.repository if self.alias is None else str(self.alias)

    @property
    def is_challenged(self) -> bool:
        """Whether the registry has nothing to say but where to get a token."""
        return self.needs_token and self.authorization is None

    @property
    def is_image(self) -> bool:
        """Whether it is for the one image of its location, which is always there.

        A digest may be of another release, and an artifact has never to be there.
        """
        path = f"/v2/{self.location}/{ContentKind.MANIFEST}/{STORED_TAG}"
        return self.location is not None and self.path == path


@dataclass(frozen=True, slots=True)
class Search:
    """A request for something that one of several locations has, or none."""

    content: Content
    alias: Alias
    reference: Digest | Tag
    """Its digest; or a tag, where that says only a part of one."""
    jwt: str = field(repr=False)
    candidates: tuple[Candidates, ...]
    locations: tuple[Location, ...]
    """Where it may be; that of the target release first."""
    tag_names: tuple[str, ...] = ()
    """The aliases of tags that the token is for."""

    @property
    def error(self) -> ContentUnknown:
        """The error where none of the locations has it."""
        error = BlobUnknown if self.kind is ContentKind.BLOB else TagUnknown
        count = sum(map(len, self.candidates))
        return error(
            f"{self.reference} is in none of the {count} releases of {self.alias} that"
            f" tags find; what is in another one is pulled as"
            f" {self.alias.slug}/<version>@{self.reference}"
        )

    @property
    def kind(self) -> ContentKind:
        """What is looked for: a manifest or a blob."""
        return (
            ContentKind.BLOB
            if self.content.kind is ContentKind.BLOB
            else ContentKind.MANIFEST
        )

    @property
    def is_manifest(self) -> bool:
        """Whether a manifest is asked for by its digest."""
        is_whole = self.content.reference == self.reference
        return is_whole and self.content.kind is ContentKind.MANIFEST

    def at(self, location: Location) -> Forward:
        """Return the request as it goes to that location."""
        releases = (each.release_at(location) for each in self.candidates)
        release = next(filter(None, releases), None)
        request = _send_to(self.content, self.alias, location, self.jwt)
        return replace(request, release=release)


def forward(
    endpoint: Base | Content,
    authorization: str | None,
    *,
    selects: bool,
    takes_scopes: bool = True,
) -> Forward | Search | TagPage:
    """Return the request that goes upstream, or where it may have to go, or its answer.

    Only a Bearer token goes along: an API key is nothing for the registry.

    Args:
        endpoint: what is asked for.
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
    if isinstance(endpoint, Base) or is_stored_name(endpoint.name):
        jwt = parse_token(bearer).jwt if bearer else None
        return Forward(endpoint.path, _authorization(jwt))
    alias = parse_alias(endpoint.name)
    tag_name = None
    if selects and is_own_tag(endpoint):
        tag_name = tag_alias(alias, str(endpoint.reference))
    if bearer is None:
        scope = scope_of(alias, tag_name) if tag_name else None
        return Forward(endpoint.path, None, alias, scope=scope)
    token = parse_token(bearer)
    if endpoint.kind is ContentKind.TAGS:
        return _list(endpoint, alias, token)
    if not is_own_tag(endpoint):
        return _find(endpoint, alias, token, selects=selects)
    if not selects or alias.selector is not None:
        return _send_any(endpoint, alias, token)
    request = _pick(endpoint, alias, tag_name, token, takes_scopes=takes_scopes)
    scope = scope_of(tag_name) if tag_name else None
    return replace(request, scope=scope, tag=str(endpoint.reference))


def pass_on(endpoint: Base | Content, authorization: str | None) -> Forward:
    """Return the request where names are the registry's own: unchanged.

    Raises:
        RequestInvalid: the login has characters that no header can have.

    """
    return Forward(
        endpoint.path,
        parse_login(authorization).authorization,
        repository=str(endpoint.name) if isinstance(endpoint, Content) else "",
        needs_token=False,
    )


def scope_of(*aliases: Alias) -> str:
    """Return the scope of a challenge for these."""
    return " ".join(str(Scope(str(alias))) for alias in aliases)


def challenge_for(
    error: TokenError, endpoint: Base | Content, token_url: str
) -> Challenge:
    """Return the challenge that tells the client which token to get."""
    scope = str(Scope(endpoint.name)) if isinstance(endpoint, Content) else None
    if isinstance(error, ScopeInsufficient) and error.name:
        scope = str(Scope(error.name))
    return Challenge(token_url, error.service, scope, error.error)


def is_own_tag(content: Content) -> bool:
    """Return whether a manifest is asked for by a tag of the user's own (rule R9)."""
    return (
        content.kind is ContentKind.MANIFEST
        and content.reference is not None
        and ":" not in content.reference
        and not is_artifact_tag(content.reference)
    )


def not_issued_for(alias: Alias) -> ScopeInsufficient:
    """Return the error that makes a client get another token (R7)."""
    return ScopeInsufficient(
        f"the token was not issued for {alias}; a client gets one by itself, so"
        " try again, or log out and in",
        name=str(alias),
    )


def _pick(
    content: Content,
    alias: Alias,
    tag_name: Alias | None,
    token: Token,
    *,
    takes_scopes: bool,
) -> Forward:
    """Return the request for what the tag of `<org>/<app>` picks."""
    tag = str(content.reference)
    is_target = tag.lower() in KEYWORDS
    may_ask_again = tag_name is not None and takes_scopes
    if tag_name and (refusal := token.refusal(str(tag_name))):
        raise _of_tag(refusal) from refusal
    of_tag = token.candidates(str(tag_name)) if tag_name else None
    candidates = of_tag or token.candidates(str(alias))
    # A fixed one of the application is its target, by a replica that ignores tags.
    if candidates and (of_tag or is_target or not candidates.is_fixed):
        if pick := candidates.pick(alias, tag):
            return _send(content, alias, pick, token)
        if not is_target:
            error = candidates.error_for(alias, tag)
            if not may_ask_again:
                raise error
            raise ScopeInsufficient(error.message, name=str(tag_name)) from error
    if refusal := token.refusal(str(alias)):
        is_final = isinstance(refusal, AccessDenied | AliasInvalid)
        if is_final or is_target or not may_ask_again:
            raise _of_tag(refusal) from refusal
    raise not_issued_for(tag_name or alias)


def _send_any(content: Content, alias: Alias, token: Token) -> Forward:
    """Return the request where the tag says nothing."""
    candidates = token.candidates(str(alias))
    pick = candidates.pick(alias, STORED_TAG) if candidates else None
    if pick is None:
        raise _nothing_for(alias, token)
    warning = _tag_warning(alias, str(content.reference))
    return replace(_send(content, alias, pick, token), warning=warning)


def _list(content: Content, alias: Alias, token: Token) -> Forward | TagPage:
    """Return the tags; nothing that the holder of the token does not hold already."""
    candidates = token.candidates(str(alias))
    if candidates is None:
        raise _nothing_for(alias, token)
    if candidates.is_fixed:
        return _send_to(content, alias, candidates.locations[0], token.jwt)
    tags = candidates.tags()
    if candidates.pick(alias, STORED_TAG):
        tags.append(STORED_TAG)
    if not candidates.locations:
        example = f"{alias.slug}/<version>/<service>"
        raise ReleaseUnknown(
            f"{alias.slug} has no release that a tag can pull: each has several images,"
            f" and one is pulled by path, as in {example}"
        )
    return list_tags(content.name, tags, content.query)


def _find(
    content: Content, alias: Alias, token: Token, *, selects: bool
) -> Forward | Search:
    """Return the request for what a digest names, or the locations where it may be."""
    is_many = selects and alias.selector is None
    of_alias = token.candidates(str(alias))
    of_tags = token.tag_candidates(alias) if is_many else {}
    candidates = ((of_alias,) if of_alias else ()) + tuple(of_tags.values())
    if not candidates:
        raise _nothing_for(alias, token)
    locations = tuple(dict.fromkeys(x for each in candidates for x in each.locations))
    assert content.reference, "a list is not searched for"  # noqa: S101
    reference = artifact_digest(content.reference) or content.reference
    search = Search(
        content, alias, reference, token.jwt, candidates, locations, tuple(of_tags)
    )
    if not locations:
        raise search.error
    return search if is_many or len(locations) > 1 else search.at(locations[0])


def _nothing_for(alias: Alias, token: Token) -> RegistryError:
    """Return why the token opens nothing: a refusal (R8), or it is for others (R7)."""
    return token.refusal(str(alias)) or not_issued_for(alias)


def _of_tag(refusal: Refusal) -> RegistryError:
    """Return the refusal of a tag: a wrong one is told like a wrong path (R9)."""
    is_unknown = isinstance(refusal, ReleaseUnknown)
    return TagUnknown(refusal.message) if is_unknown else refusal


def _send(content: Content, alias: Alias, pick: Pick, token: Token) -> Forward:
    """Return the request for the one tag under which balena stores an image."""
    stored = replace(content, reference=STORED_TAG)
    return replace(
        _send_to(stored, alias, pick.location, token.jwt),
        release=pick.candidate.release,
        reason=pick.reason or None,
    )


def _send_to(content: Content, alias: Alias, location: Location, jwt: str) -> Forward:
    """Return the request for what is stored at the location."""
    stored = replace(content, name=RepositoryName(location))
    return Forward(stored.path, _authorization(jwt), alias, location)


def _tag_warning(alias: Alias, tag: str) -> str | None:
    """Return what to say about a tag that looks like a version and selects nothing."""
    selector = tag.lower()
    if not parse_selector(selector) or selector == alias.selector:
        return None
    try:
        path = parse_alias(str(Alias(alias.slug, selector, alias.image_service)))
    except AliasInvalid:
        return None  # A tag may end in a hyphen, a name may not.
    return f"the tag {tag} selects nothing and is ignored: pull {path} for that one"


def _authorization(jwt: str | None) -> str | None:
    return None if jwt is None else f"Bearer {jwt}"
