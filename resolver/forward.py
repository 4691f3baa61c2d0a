"""Decides what becomes of a request under /v2/ before it goes upstream.

Rules R6 to R9 of the design: the alias becomes its location, the suffix of the token
is cut off, and the tag becomes `latest`, because balena stores one image in each
repository.
"""

from dataclasses import dataclass, field, replace

from resolver.challenge import Challenge, pull_scope
from resolver.errors import (
    AliasInvalid,
    ScopeInsufficient,
    TokenError,
    TokenInvalid,
)
from resolver.reference import (
    Alias,
    Location,
    RepositoryName,
    Tag,
    is_artifact_tag,
    is_stored_name,
    parse_alias,
)
from resolver.release import Release
from resolver.selector import TargetReading, parse_selector
from resolver.tag_table import Tagged
from resolver.target import Base, Content, Kind
from resolver.token import Token, parse_token

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
    warning: str | None = None
    """What the client should be told beside the answer."""
    tagged: Tagged | None = None
    """What its tag selected, where tags select."""
    release: Release | None = None
    """Whose image it is, as far as the token tells."""
    is_noted: bool = False
    """Whether it is to be noted what is at the location: see `resolver.whereabouts`."""


def forward(
    target: Base | Content, authorization: str | None, *, with_tables: bool = False
) -> Forward:
    """Return the request that goes upstream.

    Only a Bearer token goes along: an API key is nothing for the registry.
    The token may carry tables where tags select: see `resolver.tag_route`.

    Raises:
        AliasInvalid: the name is neither alias nor location.
        Refusal: the alias was refused when the token was issued (R8).
        TokenInvalid: the token's suffix cannot be read.
        ScopeInsufficient: the token does not carry the alias (R7).

    """
    bearer = bearer_token(authorization)
    read = parse_token if with_tables else _parse_plain_token
    if isinstance(target, Base):
        jwt = read(bearer).jwt if bearer else None
        return Forward(target.path, _authorization(jwt))
    if is_stored_name(target.name):
        jwt = read(bearer).jwt if bearer else None
        return Forward(target.path, _authorization(jwt))
    alias = parse_alias(target.name)
    if bearer is None:
        return Forward(target.path, None, alias)
    return _rewrite(target, alias, read(bearer))


def challenge_for(
    error: TokenError, target: Base | Content, token_url: str, service: str
) -> Challenge:
    """Return the challenge that tells the client which token to get."""
    scope = pull_scope(target.name) if isinstance(target, Content) else None
    return Challenge(token_url, service, scope, error.error)


def send_to(target: Content, alias: Alias, location: Location, jwt: str) -> Forward:
    """Return the request for what is stored at the location."""
    stored = replace(target, name=RepositoryName(location))
    return Forward(stored.path, _authorization(jwt), alias, location)


def is_own_tag(target: Content) -> bool:
    """Return whether a manifest is asked for by a tag of the user's own (rule R9)."""
    return (
        target.kind is Kind.MANIFEST
        and target.reference is not None
        and ":" not in target.reference
        and not is_artifact_tag(target.reference)
    )


def not_issued_for(alias: Alias) -> ScopeInsufficient:
    """Return the error that makes a client get another token (R7)."""
    return ScopeInsufficient(
        f"the token was not issued for {alias}; a client gets one by itself, so"
        " try again, or log out and in"
    )


def bearer_token(authorization: str | None) -> str | None:
    """Return the token in an ``Authorization`` header, or None for another login."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _parse_plain_token(text: str) -> Token:
    """Return a token without tables; others belong to proxies whose tags select."""
    token = parse_token(text)
    if token.aliases.tables:
        raise TokenInvalid("the token is one of a proxy whose tags select")
    return token


def _rewrite(target: Content, alias: Alias, token: Token) -> Forward:
    location = token.location(target.name)
    if location is None:
        raise not_issued_for(alias)
    if not is_own_tag(target):
        return send_to(target, alias, location, token.jwt)
    warning = _tag_warning(alias, str(target.reference))
    stored = replace(target, reference=STORED_TAG)
    return replace(send_to(stored, alias, location, token.jwt), warning=warning)


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
