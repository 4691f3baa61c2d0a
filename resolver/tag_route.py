"""Decides what becomes of a request for `<org>/<app>` where tags select.

Rules S1 to S10 hold for the tag as for a selector in the path. What is asked for by
digest may be at any location that the token opens for the alias; which of them has it
is found out by `resolver.whereabouts`. A path with a selector, and any other name, is
left to `resolver.forward`.
"""

from dataclasses import dataclass, field, replace

from resolver.errors import BlobUnknown, ContentUnknown, ReleaseUnknown, TagUnknown
from resolver.forward import (
    STORED_TAG,
    Forward,
    bearer_token,
    is_own_tag,
    not_issued_for,
    send_to,
)
from resolver.reference import (
    Alias,
    Digest,
    Location,
    Tag,
    artifact_digest,
    is_stored_name,
    parse_alias,
)
from resolver.resolution import TARGET_REASON
from resolver.selector import KEYWORDS
from resolver.tag_list import TagPage, list_tags
from resolver.tag_table import Tagged, TagTable
from resolver.target import Base, Content, Kind
from resolver.token import Token, parse_token


@dataclass(frozen=True, slots=True)
class Search:
    """A request for something that one of several locations has, or none."""

    target: Content
    alias: Alias
    kind: Kind
    """What is looked for: a manifest or a blob."""
    sought: Digest | Tag
    """Its digest; or a tag, where that says only a part of one."""
    jwt: str = field(repr=False)
    table: TagTable
    locations: tuple[Location, ...]
    """Where it may be; the target release's location first."""

    def at(self, location: Location) -> Forward:
        """Return the request as it goes to that location."""
        decided = send_to(self.target, self.alias, location, self.jwt)
        release = self.table.release_at(location)
        return replace(decided, release=release, is_noted=True)

    @property
    def absence(self) -> ContentUnknown:
        """The error where there is no location to look at."""
        error = BlobUnknown if self.kind is Kind.BLOB else TagUnknown
        return error(
            f"{self.sought} is not known: no release of {self.alias} that tags find has"
            " a single image"
        )


def route(
    target: Base | Content, authorization: str | None
) -> Forward | Search | TagPage | None:
    """Return what becomes of the request, or None where tags have no part in it.

    Raises:
        TagUnknown: the tag selects nothing that can be pulled.
        Refusal: the alias was refused when the token was issued (R8).
        TokenInvalid: the token's suffix cannot be read.
        ScopeInsufficient: the token does not say what the tags select (R7).
        RequestInvalid: a list of tags is asked for in no number.

    """
    bearer = bearer_token(authorization)
    if not isinstance(target, Content) or is_stored_name(target.name) or not bearer:
        return None
    alias = parse_alias(target.name)
    if alias.selector is not None:
        return None
    token = parse_token(bearer)
    table = token.aliases.tables.get(target.name)
    if table is None:
        _check_tag(target, alias, token)
        return None
    if target.kind is Kind.TAGS:
        return _list(target, alias, token, table)
    if is_own_tag(target):
        return _select(target, alias, token, table)
    return _search(target, alias, token, table)


def _check_tag(target: Content, alias: Alias, token: Token) -> None:
    """Let nobody take the target release for what a tag selects.

    The token may be that of a replica whose tags do not select.
    """
    is_selecting = is_own_tag(target) and str(target.reference).lower() not in KEYWORDS
    if is_selecting and token.location(target.name):
        raise not_issued_for(alias)


def _list(target: Content, alias: Alias, token: Token, table: TagTable) -> TagPage:
    """Return the tags; nothing that the holder of the token does not hold already."""
    tags = list(table.tags(alias.slug))
    if target.name in token.aliases.locations:
        tags.append(STORED_TAG)
    return list_tags(target.name, tags, target.query)


def _select(target: Content, alias: Alias, token: Token, table: TagTable) -> Forward:
    tag = str(target.reference)
    stored = replace(target, reference=STORED_TAG)
    if tag.lower() not in KEYWORDS:
        tagged = table.select(alias.slug, tag)
        decided = send_to(stored, alias, tagged.location, token.jwt)
        return replace(decided, tagged=tagged, release=tagged.release, is_noted=True)
    location = _target_location(alias, token)
    decided = replace(send_to(stored, alias, location, token.jwt), is_noted=True)
    release = table.release_at(location)
    if release is None:  # The table had to be cut.
        return decided
    tagged = Tagged(tag, release, location, TARGET_REASON)
    return replace(decided, tagged=tagged, release=release)


def _target_location(alias: Alias, token: Token) -> Location:
    try:
        location = token.location(str(alias))
    except ReleaseUnknown as refusal:
        raise TagUnknown(refusal.message) from refusal
    if location is None:
        raise not_issued_for(alias)
    return location


def _search(
    target: Content, alias: Alias, token: Token, table: TagTable
) -> Forward | Search:
    assert target.reference, "a list is not searched for"  # noqa: S101
    sought = artifact_digest(target.reference) or target.reference
    own = token.aliases.locations.get(target.name)
    first = () if own is None else (own,)
    places = tuple(dict.fromkeys((*first, *table.locations)))
    kind = Kind.BLOB if target.kind is Kind.BLOB else Kind.MANIFEST
    search = Search(target, alias, kind, sought, token.jwt, table, places)
    if not places:
        raise search.absence
    return search.at(places[0]) if len(places) == 1 else search
