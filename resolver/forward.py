"""Decides what becomes of a request under /v2/ before it goes upstream.

Rules R6 to R9 of the design: the alias becomes its location, the suffix of the token
is cut off, and the tag becomes `latest`, because balena stores one image in each
repository.
"""

import re
from dataclasses import dataclass, field, replace

from resolver.challenge import Challenge, pull_scope
from resolver.errors import AliasInvalid, ScopeInsufficient, TokenError
from resolver.reference import (
    Alias,
    Location,
    RepositoryName,
    Tag,
    is_stored_name,
    parse_alias,
)
from resolver.selector import TargetReading, parse_selector
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

_ARTIFACT_TAG = re.compile(r"sha256-[0-9a-f]{64}(?:\.[a-z]+)?")
"""Cosign's signatures and the like, and the specification's referrers tag."""


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


def forward(target: Base | Content, authorization: str | None) -> Forward:
    """Return the request that goes upstream.

    Only a Bearer token goes along: an API key is nothing for the registry.

    Raises:
        AliasInvalid: the name is neither alias nor location.
        Refusal: the alias was refused when the token was issued (R8).
        TokenInvalid: the token's suffix cannot be read.
        ScopeInsufficient: the token does not carry the alias (R7).

    """
    bearer = _bearer(authorization)
    if isinstance(target, Base):
        jwt = parse_token(bearer).jwt if bearer else None
        return Forward(target.path, _authorization(jwt))
    if is_stored_name(target.name):
        jwt = parse_token(bearer).jwt if bearer else None
        return Forward(target.path, _authorization(jwt))
    alias = parse_alias(target.name)
    if bearer is None:
        return Forward(target.path, None, alias)
    return _rewrite(target, alias, parse_token(bearer))


def challenge_for(
    error: TokenError, target: Base | Content, token_url: str, service: str
) -> Challenge:
    """Return the challenge that tells the client which token to get."""
    scope = pull_scope(target.name) if isinstance(target, Content) else None
    return Challenge(token_url, service, scope, error.error)


def _rewrite(target: Content, alias: Alias, token: Token) -> Forward:
    location = token.location(target.name)
    if location is None:
        raise ScopeInsufficient(
            f"the token was not issued for {alias}; a client gets one by itself, so"
            " try again, or log out and in"
        )
    reference, warning = target.reference, None
    if target.kind is Kind.MANIFEST and _is_ignored(reference):
        warning = _tag_warning(alias, str(reference))
        reference = STORED_TAG
    stored = replace(target, name=RepositoryName(location), reference=reference)
    return Forward(stored.path, _authorization(token.jwt), alias, location, warning)


def is_artifact_tag(reference: str) -> bool:
    """Return whether the reference is a tag of a signature or the like (rule R9)."""
    return _ARTIFACT_TAG.fullmatch(reference) is not None


def _is_ignored(reference: str | None) -> bool:
    """Return whether the reference is a tag of the user's own (rule R9)."""
    return (
        reference is not None
        and ":" not in reference
        and not is_artifact_tag(reference)
    )


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


def _bearer(authorization: str | None) -> str | None:
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _authorization(jwt: str | None) -> str | None:
    return None if jwt is None else f"Bearer {jwt}"
